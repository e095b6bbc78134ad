"""Feedback cards: what falls short, the pictures that prove it, and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.report.terminal import bounds_text
from harness.report.words import (
    Frame,
    Record,
    band,
    bar,
    interval,
    listed,
    mapped,
    number,
    plain_words,
    text,
    two_places,
)

SAID = ("images", "score", "target", "gap", "certain")  # evidence that the card shows elsewhere


def feedback_view(frame: Frame, item: Record) -> dict[str, Any]:
    """How a gate provider stands, and what would mend it."""
    short = [shortfall_view(frame, part) for kind in ("metrics", "traits", "cases") for part in listed(item, kind)]
    score, rival = number(item.get("lora_score")), number(item.get("competitor_score"))
    gap = interval(item.get("score_gap"))
    return {
        "provider": text(item.get("provider"), 80),
        "needs": bool(item.get("needs_improvement")),
        "cause": text(item.get("cause"), 400),
        "score": None if score is None else f"{score:.2f}",
        "band": None if score is None else band(score),
        "best": text(item.get("best_competitor"), 80),
        "best_score": None if rival is None else f"{rival:.2f}",
        "gap": bounds_text(gap, signed=True) if gap else None,
        "short": short,
        "advice": [advice_view(part) for part in listed(item, "recommendations")],
    }


def advice_view(part: Record) -> dict[str, Any]:
    """One recommendation with what was measured."""
    priority = text(part.get("priority"), 800)
    return {
        **{key: text(part.get(key), 800) for key in ("area", "message")},
        "priority": priority,
        "kind": priority if priority in ("high", "medium", "low") else "low",
        "evidence": {
            text(name, 60).replace("_", " "): evidence_words(result, signed="gap" in name or "gain" in name)
            for name, result in mapped(part, "evidence").items()
            if result is not None and name not in SAID
        },
    }


def evidence_words(value: Any, signed: bool = False) -> str:
    """A measured figure for people: an interval with its bounds, a number as it is, a list by its entries.

    Args:
        signed: it is a difference.
    """
    if isinstance(value, Mapping):
        if result := interval(value):
            return bounds_text(result, signed=signed)
        return ", ".join(f"{text(name, 60)}: {evidence_words(item)}" for name, item in value.items())
    plain = number(value)
    return plain_words(value) if plain is None or plain == int(plain) else f"{plain:.3g}"


def shortfall_view(frame: Frame, part: Record) -> dict[str, Any]:
    """A metric, trait or case below its bound, with at most three pictures."""
    target, images = number(part.get("target")), part.get("images")
    return {
        "kind": text(part.get("kind"), 20),
        "name": text(part.get("name"), 120).replace("_", " "),
        "bar": bar(part.get("score"), marks={"fail": target}),
        "target": two_places(target),
        "gap": two_places(part.get("gap")),
        "certain": bool(part.get("certain")),
        "images": [frame.picture(sha) for sha in images[:3]] if isinstance(images, list) else [],
    }
