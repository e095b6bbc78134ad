"""Retraining: what changed and why, the loss, how the exam ended, and the grid of strengths and checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.report import plots
from harness.report.advice import evidence_words
from harness.report.terminal import duration
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

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes

TALL = 150.0  # of a plot
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


def curve(points: Any) -> Markup | None:
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

    def paint(axes: Axes) -> None:
        axes.plot(*zip(*known, strict=True), color=plots.RANGE, linewidth=1.4)
        axes.locator_params(axis="y", nbins=4)
        axes.grid(axis="y", color=plots.LINE, linewidth=0.6)

    message = f"from {known[0][1]:.3g} to {known[-1][1]:.3g} in {known[-1][0]:,.0f} steps"
    return plots.draw(TALL, "Loss", message, paint)


def progress_view(rounds: Sequence[Record]) -> Markup | None:
    """Quality of champion and challenger, round by round, with their intervals; None for fewer than two rounds."""
    known = [
        (count, before, after, record.get("promoted") is True)
        for count, record in enumerate(rounds, 1)
        if (before := interval(mapped(record, "before").get("quality")))
        and (after := interval(mapped(record, "after").get("quality")))
    ]
    if len(known) < 2:
        return None

    def paint(axes: Axes) -> None:
        for count, before, after, promoted in known:
            for x, result, colour in ((count - 0.12, before, plots.QUIET), (count + 0.12, after, plots.RANGE)):
                ends = [result["mean"] if result[end] is None else result[end] for end in ("low", "high")]
                axes.plot([x, x], ends, color=colour, linewidth=1.5)
                filled = plots.PAPER if colour == plots.RANGE and not promoted else colour
                axes.plot([x], [result["mean"]], marker="o", color=colour, markerfacecolor=filled, markersize=7)
        axes.set_xlim(0.5, len(rounds) + 0.5)
        axes.set_ylim(0, 1)
        axes.set_yticks([0, 0.5, 1])
        axes.set_xticks([count for count, *_ in known])
        axes.grid(axis="y", color=plots.LINE, linewidth=0.6)

    message = "; ".join(f"round {count} from {b['mean']:.2f} to {a['mean']:.2f}" for count, b, a, _ in known)
    return plots.draw(TALL, "Quality on locked prompts", message, paint)


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
    dates = [text(item.get("date"), 20) for item in tried if item.get("date")]
    return {"strengths": [f"{strength:g}" for strength in strengths], "lines": lines, "date": "".join(dates[:1])}


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
