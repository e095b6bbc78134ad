"""Retraining: what changed and why, the loss, how the exam ended, and the grid of strengths and checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.calibration.plots import Scale, Tick
from harness.report.advice import evidence_words
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
    texts,
    two_places,
)
from harness.terminal import duration

WIDE, TALL = 320.0, 120.0  # of a small plot
EDGE, FOOT = 36.0, 20.0  # room for its numbers, left and below
POINTS = 300  # of one curve, at most
SIGNS = {"promoted": ("pass", "✓"), "refused": ("fail", "✗"), "error": ("error", "!")}


def round_view(frame: Frame, count: int, record: Record) -> dict[str, Any]:
    """One round of retraining."""
    verdict = (
        "promoted" if record.get("promoted") is True else "error" if record.get("verdict") == "error" else "refused"
    )
    return {
        "number": text(record.get("round", count), 12),
        "attempt": text(record.get("attempt"), 12),
        "suite": text(record.get("suite"), 80),
        "verdict": verdict,
        "kind": SIGNS[verdict][0],
        "sign": SIGNS[verdict][1],
        "reason": text(record.get("reason"), 1_000),
        "cause": plain_words(record["cause"]) if record.get("cause") else "",
        "evidence": evidence_of(record.get("evidence")),
        "plan": texts(record.get("plan"), 600),
        "changes": [(text(name, 60), *change_words(item)) for name, item in mapped(record, "changes").items()],
        "gap": bar(record.get("gap") or mapped(record, "differences").get("quality"), -1.0, 1.0),
        "exam": exam_view(record),
        "loss": curve(record.get("loss")),
        "failing": texts(record.get("failing_before"), 80),
        "grid": grid_view(frame, listed(record, "choice")),
        "facts": round_facts(record),
    }


def exam_view(record: Record) -> list[dict[str, Any]]:
    """Champion and challenger on locked prompts, metric by metric."""
    return [
        {
            "metric": text(name, 40),
            "before": bar(mapped(record, "before").get(name)),
            "after": bar(mapped(record, "after").get(name)),
            "gap": bar(item, -1.0, 1.0),
        }
        for name, item in mapped(record, "differences").items()
    ]


def evidence_of(found: Any) -> dict[str, str]:
    """What a round's plan was made from, by name."""
    if isinstance(found, Mapping):
        return {text(name, 60).replace("_", " "): evidence_words(item) for name, item in found.items()}
    return {str(count): line for count, line in enumerate(texts(found, 400), 1)}


def change_words(item: Any) -> tuple[str, str]:
    """A setting before and after, for people."""
    before, after = item if isinstance(item, list) and len(item) == 2 else ("", item)
    return plain_words(before), plain_words(after)


def round_facts(record: Record) -> list[str]:
    seconds, pictures, steps = (number(record.get(name)) for name in ("seconds", "pictures", "steps"))
    facts = [f"{steps:,.0f} steps"] if steps else []
    facts += [f"{pictures:.0f} pictures drawn"] if pictures else []
    return facts + ([duration(seconds)] if seconds else [])


# --- plots --------------------------------------------------------------------------------------------------------


def curve(points: Any) -> dict[str, Any] | None:
    """A loss curve from [step, loss] pairs or plain losses; None for fewer than two."""
    if not isinstance(points, list):
        return None
    pairs = [
        (item[0], item[1]) if isinstance(item, list) and len(item) == 2 else (index, item)
        for index, item in enumerate(points)
    ]
    known = [(x, y) for a, b in pairs if (x := number(a)) is not None and (y := number(b)) is not None]
    if len(known) < 2:
        return None
    stride = max(1, len(known) // POINTS)
    known = [*known[:-1:stride], known[-1]]
    xs, ys = [x for x, _ in known], [y for _, y in known]
    across, up = Scale(min(xs), max(xs), EDGE, WIDE - 6), Scale(min(ys), max(ys), TALL - FOOT, 8)
    return {
        "line": " ".join(f"{across.at(x)},{up.at(y)}" for x, y in known),
        "first": f"{ys[0]:.3g}",
        "last": f"{ys[-1]:.3g}",
        "steps": f"{xs[-1]:,.0f}",
        "ups": [Tick(up.at(value), f"{value:.2g}") for value in (min(ys), max(ys))],
        "acrosses": [Tick(across.at(value), f"{value:,.0f}") for value in (min(xs), max(xs))],
        "wide": WIDE,
        "tall": TALL,
    }


def progress_view(rounds: Sequence[Record]) -> dict[str, Any] | None:
    """Quality of champion and challenger, round by round, with their intervals; None for fewer than two rounds."""
    known = [
        (count, before, after, record)
        for count, record in enumerate(rounds, 1)
        if (before := interval(mapped(record, "before").get("quality")))
        and (after := interval(mapped(record, "after").get("quality")))
    ]
    if len(known) < 2:
        return None
    across, up = Scale(0.5, len(rounds) + 0.5, EDGE, WIDE - 6), Scale(0.0, 1.0, TALL - FOOT, 8)

    def point(x: float, found: Record) -> dict[str, Any]:
        low, high = (found["mean"] if found[end] is None else found[end] for end in ("low", "high"))
        return {"x": x, "y": up.at(found["mean"]), "low": up.at(low), "high": up.at(high)}

    marks = [
        {
            "before": point(across.at(count - 0.12), before),
            "after": point(across.at(count + 0.12), after),
            "promoted": record.get("promoted") is True,
        }
        for count, before, after, record in known
    ]
    told = "; ".join(f"round {count} from {b['mean']:.2f} to {a['mean']:.2f}" for count, b, a, _ in known)
    return {
        "line": "",
        "marks": marks,
        "ups": [Tick(up.at(value), f"{value:g}") for value in (0, 0.5, 1)],
        "acrosses": [Tick(across.at(count), str(count)) for count, *_ in known],
        "label": f"Quality on locked prompts: {told}",
        "wide": WIDE,
        "tall": TALL,
    }


# --- strengths and checkpoints ------------------------------------------------------------------------------------


def grid_view(frame: Frame, tried: Sequence[Record]) -> dict[str, Any] | None:
    """Checkpoints down, strengths across; the best cell is marked. None for fewer than two tries."""
    cells: dict[tuple[str, float], Record] = {}
    for item in tried:
        strength = number(item.get("strength"))
        name = text(item.get("checkpoint") or item.get("file"), 80)
        if strength is not None and number(item.get("quality")) is not None:
            cells[name, strength] = item
    if len(cells) < 2:
        return None
    strengths = sorted({strength for _, strength in cells})
    best = max(cells, key=lambda key: number(cells[key].get("quality")) or 0.0)
    lines = []
    for name in dict.fromkeys(name for name, _ in cells):
        row = [cells.get((name, strength)) for strength in strengths]
        marks = [best == (name, strength) for strength in strengths]
        lines.append({"name": name, "cells": [try_view(frame, *each) for each in zip(row, marks, strict=True)]})
    return {"strengths": [f"{strength:g}" for strength in strengths], "lines": lines}


def try_view(frame: Frame, item: Record | None, best: bool) -> dict[str, Any] | None:
    """One checkpoint at one strength."""
    quality = number(item.get("quality")) if item else None
    if item is None or quality is None:
        return None
    shown = item.get("image")
    return {
        "value": two_places(quality),
        "band": band(quality),
        "best": best,
        "picture": frame.picture(shown) if shown else None,
    }
