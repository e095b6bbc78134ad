"""One case: references, the LoRA under test, what it was before, its base, the competitors, and all their numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.core.values import METRICS
from harness.judging.leaderboard import BASE
from harness.report.held import inline_webp
from harness.report.matrix import WEAK
from harness.report.words import (
    Frame,
    Record,
    band,
    bar,
    case_quality,
    listed,
    mapped,
    number,
    plain_figure,
    sample_value,
    text,
    texts,
    trait_means,
    two_places,
    verdict_word,
)

SHOWN = 6  # references beside a case; all of them are in the chapter on measurement


@dataclass(frozen=True)
class Shelf:
    """What all cases of a suite share."""

    frame: Frame
    suite: str
    references: Sequence[Mapping[str, Any]]
    nearest: Mapping[str, Mapping[str, Any]]  # by drawn picture: the training picture it is nearest to
    before: Mapping[str, Sequence[Mapping[str, Any]]]  # by case: its pictures in the baseline
    recipes: Mapping[str, Any]  # by provider


def cases_view(
    frame: Frame, suite: str, record: Record, cases: Sequence[Record], order: Sequence[str]
) -> list[dict[str, Any]]:
    """Every case of a suite, in the suite's order."""
    grouped: dict[str, list[Record]] = {}
    for case in cases:
        grouped.setdefault(case["case"], []).append(case)
    references = mapped(record, "references")
    chosen = references.get("held_out") or references.get("gallery") or references.get("train") or []
    few = chosen[:SHOWN] if isinstance(chosen, list) else []
    shelf = Shelf(
        frame,
        suite,
        [frame.picture(sha, shared=True) for sha in few],
        nearest_pictures(frame, record),
        earlier_pictures(record),
        mapped(record, "recipe"),
    )
    return [case_view(shelf, name, items, order) for name, items in grouped.items()]


def case_view(shelf: Shelf, name: str, items: Sequence[Record], order: Sequence[str]) -> dict[str, Any]:
    """One case by all its providers, the gate first, its base next, competitors after."""
    ranked = sorted(items, key=lambda item: (role_of(item)[0], order.index(item["provider"])))
    first = ranked[0]
    line = number(first.get("line"))
    return {
        "id": shelf.frame.anchor("case", shelf.suite, name),
        "name": text(name, 120),
        "prompt": text(first.get("prompt")),
        "negative": text(first.get("negative"), 600),
        "expect": [f"{text(key, 60)}: {text(value, 80)}" for key, value in mapped(first, "expect").items()],
        "tags": texts(first.get("tags"), 60),
        "split": text(first.get("split"), 20),
        "line": "" if line is None else f"{line:.0f}",
        "verdict": verdict_word(first.get("verdict"), bool(first.get("gate"))),
        "references": shelf.references,
        "before": shelf.before.get(str(name), []),
        "providers": [provider_view(shelf, item) for item in ranked],
    }


def role_of(item: Record) -> tuple[int, str]:
    """What a provider is in a case, in the order of the columns."""
    if item.get("gate"):
        return 0, "under test"
    if item["provider"] not in BASE:
        return 2, "competitor"
    return 1, "its base" if item["provider"] == BASE[0] else "its base, told in words"


def provider_view(shelf: Shelf, item: Record) -> dict[str, Any]:
    """One provider's pictures of one case."""
    judged = mapped(item, "scores").get("quality")
    bounds = mapped(mapped(item, "thresholds"), "quality")
    score, provider = case_quality(item), item["provider"]
    samples = [sample_view(shelf, sample) for sample in listed(item, "samples")]
    return {
        "name": text(provider, 80),
        "role": role_of(item)[1],
        "recipe": shelf.frame.anchor("recipe", shelf.suite, provider) if mapped(shelf.recipes, provider) else "",
        "gate": bool(item.get("gate")),
        "emulated": any(sample["emulated"] for sample in samples),
        "verdict": verdict_word(item.get("verdict"), bool(item.get("gate"))),
        "quality": bar(judged, marks=bounds) if judged else None,
        "band": None if score is None else band(score),
        "traits": [
            {
                "name": f"{text(name, 40).replace('_', ' ')}: {text(value, 60)}",
                "value": f"{mean:.2f}",
                "weak": mean < WEAK,
            }
            for name, (value, mean, _) in trait_means(listed(item, "samples")).items()
        ],
        "complaints": [
            {"message": text(part.get("message"), 600), "severity": text(part.get("severity"), 12)}
            for part in listed(item, "complaints")
        ],
        "cause": text(item.get("cause"), 300),
        "skipped": text(item.get("skipped"), 300),
        "attempts": [verdict_word(part.get("verdict")) for part in listed(item, "attempts")],
        "numbers": numbers_view(listed(item, "samples")),
        "samples": samples,
    }


def trait_words(category: Any, value: Any) -> str:
    """`facial hair: thin mustache`."""
    return f"{text(category, 40).replace('_', ' ')}: {text(value, 60)}"


def sample_view(shelf: Shelf, sample: Record) -> dict[str, Any]:
    """One picture, or why there is none."""
    outcome = text(sample.get("outcome") or "ok", 30)
    quality = sample_value(sample, "quality")
    return {
        "seed": text(sample.get("seed"), 20),
        "outcome": outcome.replace("_", " "),
        "ok": outcome == "ok",
        "message": text(sample.get("message"), 500),
        "picture": shelf.frame.picture(sample.get("image")),
        "quality": None if quality is None else f"{quality:.2f}",
        "band": None if quality is None else band(quality),
        "missing": missing_traits(mapped(mapped(sample, "scores"), "features")),
        "nearest": shelf.nearest.get(str(sample.get("image"))),
        "emulated": bool(sample.get("emulated")),
        "cached": bool(sample.get("cached")),
    }


def numbers_view(samples: Sequence[Record]) -> list[dict[str, Any]]:
    """Metrics down, pictures across."""
    scores = [mapped(sample, "scores") for sample in samples]
    result = list(dict.fromkeys(name for each in scores for name in each))
    order = [*(name for name in METRICS if name in result), *(name for name in result if name not in METRICS)]
    return [
        {
            "metric": text(name, 40),
            "cells": [score_view(mapped(each, name)) if name in each else None for each in scores],
        }
        for name in order
    ]


def score_view(score: Record) -> dict[str, str]:
    value, raw = number(score.get("value")), number(score.get("raw"))
    return {
        "value": "–" if value is None else f"{value:.2f}",
        "raw": "" if raw is None else plain_figure(raw),
        "reason": text(score.get("reason"), 300),
    }


def missing_traits(features: Record) -> list[str]:
    """Traits that a picture shows too little of, and what the scorer saw in their place."""
    results = []
    for category, item in mapped(features, "details").items():
        value = number(item.get("score")) if isinstance(item, Mapping) else None
        if value is not None and value < WEAK:
            seen = text(item.get("seen"), 60)
            instead = f", seen: {seen}" if seen and item.get("seen") != item.get("value") else ""
            results.append(f"{trait_words(category, item.get('value'))} {value:.2f}{instead}")
    return results


def nearest_pictures(frame: Frame, suite: Record) -> dict[str, dict[str, Any]]:
    """By drawn picture: the training picture it is nearest to, as the copy metric found it."""
    results = {}
    for group in mapped(suite, "sets").values():
        details = mapped(mapped(group, "copy"), "details")
        pairs = {str(pair.get("image")): {**pair, "to": pair.get("training")} for pair in listed(details, "pairs")}
        for image, near in {**mapped(details, "nearest"), **pairs}.items():
            if isinstance(near, Mapping):
                results[str(image)] = {
                    "picture": frame.picture(near.get("to"), shared=True),
                    "name": text(near.get("name"), 80),
                    "likeness": two_places(near.get("lines")),
                    "copied": bool(near.get("copied")),
                }
    return results


def earlier_pictures(suite: Record) -> dict[str, list[dict[str, Any]]]:
    """By case: its picture of the baseline, for those cases that changed."""
    results: dict[str, list[dict[str, Any]]] = {}
    for held in mapped(mapped(suite, "baseline"), "providers").values():
        for case in listed(held, "cases"):
            if src := inline_webp(mapped(case, "thumbnail").get("webp")):
                results.setdefault(str(case.get("case")), []).append({"src": src, "href": None, "shared": ""})
    return results
