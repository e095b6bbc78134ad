"""Cases x providers and traits x providers: a number, a word and a sign in every cell, never colour alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.report.words import (
    Frame,
    Record,
    band,
    case_quality,
    listed,
    mapped,
    sample_value,
    text,
    trait_means,
    verdict_word,
)

WEAK = 0.6  # a trait under it is shown too little; the band "good" begins there


def matrix_view(frame: Frame, suite: str, cases: Sequence[Record], order: Sequence[str]) -> dict[str, Any]:
    """Cases down, providers across; what the filters look at stands in each line."""
    grouped: dict[str, dict[str, Record]] = {}
    for case in cases:
        grouped.setdefault(case["case"], {})[case["provider"]] = case
    gates = {case["provider"] for case in cases if case.get("gate")}
    return {
        "providers": [{"name": text(name, 80), "gate": name in gates} for name in order],
        "lines": [line_view(frame, suite, name, row, order) for name, row in grouped.items()],
    }


def line_view(frame: Frame, suite: str, name: str, row: Mapping[str, Record], order: Sequence[str]) -> dict[str, Any]:
    """One case by all providers."""
    first = next(iter(row.values()))
    gate = next((case for case in row.values() if case.get("gate")), first)
    tags = first.get("tags") if isinstance(first.get("tags"), list) else []
    expect = mapped(first, "expect")
    words = [name, first.get("prompt", ""), *(f"{key}: {value}" for key, value in expect.items()), *(tags or [])]
    return {
        "id": frame.anchor("case", suite, name),
        "case": text(name, 120),
        "prompt": text(first.get("prompt"), 240),
        "split": text(first.get("split"), 20),
        "search": text(" ".join(map(str, words)), 600).lower(),
        "weak": " ".join(trait_key(each) for each in weak_traits(gate)),
        "seeds": max((len(listed(case, "samples")) for case in row.values()), default=0),
        "cells": [cell_view(row[provider]) if provider in row else None for provider in order],
    }


def cell_view(case: Record) -> dict[str, Any]:
    """One provider's score of one case."""
    score, outcome = case_quality(case), case.get("outcome")
    word = text(case.get("verdict") or outcome or "nothing", 20) if score is None else band(score)
    if score is None and outcome not in (None, "ok"):
        word = text(outcome, 30).replace("_", " ")
    verdict = verdict_word(case.get("verdict"), bool(case.get("gate")))
    raw = case.get("verdict")
    return {
        "value": None if score is None else f"{score:.2f}",
        "word": word,
        "band": band(score) if score is not None else "none",
        "verdict": verdict,
        "state": raw if raw in ("pass", "fail", "inconclusive", "error", "skipped") else "none",
    }


def weak_traits(case: Record) -> list[str]:
    """Categories of which a case's pictures show too little."""
    return [category for category, (_, mean, _) in trait_means(listed(case, "samples")).items() if mean < WEAK]


def trait_key(category: Any) -> str:
    """A category as one word, for the trait filter."""
    return "_".join(text(category, 60).lower().split())


def traits_view(
    cases: Sequence[Record], order: Sequence[str], traits: Sequence[Record], rows: Sequence[Record]
) -> dict[str, Any]:
    """Mean score by trait and provider, with the best of each trait marked."""
    wanted = {str(trait.get("category")): str(trait.get("value")) for trait in traits}
    samples: dict[str, list[Any]] = {}
    for case in cases:
        samples.setdefault(case["provider"], []).extend(listed(case, "samples"))
    results = {provider: trait_means(samples.get(provider, [])) for provider in order}
    categories = list(dict.fromkeys(name for means in results.values() for name in means))
    providers = [provider for provider in order if results[provider]]
    ranks = {row["provider"]: mapped(row, "trait_ranks") for row in rows}
    lines = []
    for category in categories:
        value = wanted.get(category) or next(m[category][0] for m in results.values() if category in m)
        cells = [
            trait_cell(results[provider].get(category), mapped(ranks, provider).get(category)) for provider in providers
        ]
        label = {"category": text(category, 60).replace("_", " "), "value": text(value, 80)}
        lines.append({**label, "cells": cells})
    return {"providers": [text(provider, 80) for provider in providers], "lines": lines}


def trait_cell(found: tuple[str, float, int] | None, rank: Any) -> dict[str, Any] | None:
    if found is None:
        return None
    return {"value": f"{found[1]:.2f}", "band": band(found[1]), "first": rank == 1}


def spread_of(cases: Sequence[Record], provider: str) -> list[float]:
    """The quality of every picture of one provider."""
    return [
        value
        for case in cases
        if case["provider"] == provider
        for sample in listed(case, "samples")
        if (value := sample_value(sample, "quality")) is not None
    ]
