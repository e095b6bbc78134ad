"""What the numbers are worth: distributions with their thresholds, the metric card, the check of the references."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.report import plots
from harness.report.matrix import spread_of
from harness.report.pictures import is_hash
from harness.report.words import Frame, Record, interval, listed, mapped, number, plain_figure, text, texts, two_places

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes

ROW, FOOT, LABEL = 44.0, 20.0, 96.0  # of a plot with a row a provider or a metric
MARKS = 200  # pictures with a mark of their own in a row; the outline is drawn from all
REACH = (-0.6, 1.2)  # of the calibrated scale: what lies beyond stays at its edge


def calibration_view(suite: Record, rows: Sequence[Record]) -> dict[str, Any] | None:
    """How well the scorer tells the subject from others, with every reference and impostor that was measured."""
    calibration = mapped(suite, "calibration")
    if not calibration:
        return None
    clip = mapped(calibration, "clip")
    named = {name: number(clip.get(name)) for name in ("genuine", "impostor", "genuine_sd", "impostor_sd", "eer")}
    return {
        "reason": text(calibration.get("reason"), 400),
        "d_prime": two_places(clip.get("d_prime")),
        "eer": "" if named["eer"] is None else f"{named['eer']:.1%}",
        **{
            kind: "" if (mean := named[kind]) is None else f"{mean:.3f} ± {named[f'{kind}_sd'] or 0:.3f}"
            for kind in ("genuine", "impostor")
        },
        "counts": [text(clip.get("n_genuine"), 8), text(clip.get("n_impostor"), 8)],
        "crowds": populations_plot(listed(suite, "crowds"), mapped(suite, "thresholds"), rows),
        "measures": [
            {
                "trait": f"{text(item.get('category'), 60)}: {text(item.get('value'), 80)}".replace("_", " "),
                "accuracy": "" if (share := number(item.get("accuracy"))) is None else f"{share:.0%}",
                "counts": bool(number(item.get("weight"))),
                "reason": text(item.get("reason"), 200),
            }
            for item in listed(calibration, "measures")
        ],
    }


def populations_plot(populations: Sequence[Record], thresholds: Record, rows: Sequence[Record]) -> Markup | None:
    """A row a metric: the references and the impostors as they were measured, and the mean of the gate's pictures."""
    results = [
        (text(item.get("metric"), 24), numbers(item, "genuine"), numbers(item, "impostor")) for item in populations
    ]
    results = [(name, genuine, impostor) for name, genuine, impostor in results if genuine and impostor]
    if not results:
        return None
    gate = next((row for row in rows if row.get("gate")), {})
    low, high = REACH

    def paint(axes: Axes) -> None:
        dress(axes, len(results), low, high)
        for place, (name, genuine, impostor) in enumerate(reversed(results)):
            plots.label(axes, place + 0.3, name, f"{len(genuine)} / {len(impostor)}")
            for values, colour in ((impostor, plots.QUIET), (genuine, plots.PASS)):
                plots.population(axes, values, place, 0.7, low, high, colour)
                plots.rug(axes, np.clip(values, low, high).tolist(), place - 0.1, place - 0.02, colour)
            bounds(axes, mapped(thresholds, name), place - 0.1, place + 0.75)
            if mean := interval(gate.get(name)):
                axes.plot([mean["mean"]], [place + 0.05], marker="^", color=plots.RANGE, markersize=7)

    message = "; ".join(f"{n}: genuine about {np.mean(g):.2f}, impostors about {np.mean(i):.2f}" for n, g, i in results)
    return plots.draw(ROW * len(results) + FOOT + 8, "Scores of references and impostors", message, paint, LABEL)


def numbers(record: Record, key: str) -> list[float]:
    """The finite numbers of a list."""
    result = record.get(key)
    return [value for item in result if (value := number(item)) is not None] if isinstance(result, list) else []


def dress(axes: Axes, rows: int, low: float, high: float) -> None:
    """Room for so many rows over a scale from `low` to `high`, with a line a fifth."""
    axes.set_xlim(low, high)
    axes.set_ylim(-0.15, rows - 0.15)
    axes.set_yticks([])
    axes.set_xticks([step / 5 for step in range(int(low * 5), int(high * 5) + 1)])
    axes.grid(axis="x", color=plots.LINE, linewidth=0.6)


def bounds(axes: Axes, bound: Record, low: float, high: float) -> None:
    """A metric's thresholds across its row."""
    for kind in ("fail", "warn"):
        if (value := number(bound.get(kind))) is not None:
            plots.bound(axes, value, low, high, kind)


# --- every picture's quality --------------------------------------------------------------------------------------


def spread_view(cases: Sequence[Record], rows: Sequence[Record], bound: Record) -> dict[str, Any] | None:
    """The quality of every picture, a row a provider, with the thresholds across all rows."""
    results = [(row, values) for row in rows if (values := spread_of(cases, row["provider"]))]
    if not results:
        return None

    def paint(axes: Axes) -> None:
        dress(axes, len(results), 0.0, 1.0)
        for place, (row, values) in enumerate(reversed(results)):
            colour = plots.RANGE if row["gate"] else plots.QUIET
            plots.label(axes, place + 0.3, text(row["provider"], 24)[:24], f"{len(values)}", bool(row["gate"]))
            if len(values) >= 4:  # fewer have no outline
                plots.outline(axes, values, 0, 1, place, 0.75, colour)
            plots.rug(axes, np.clip(spaced(values), 0, 1).tolist(), place - 0.1, place - 0.02, colour)
        bounds(axes, bound, -0.15, len(results) - 0.15)

    message = "; ".join(f"{text(row['provider'], 24)} about {np.mean(values):.2f}" for row, values in results)
    named = [(kind, two_places(bound.get(kind))) for kind in ("fail", "warn")]
    return {
        "plot": plots.draw(
            ROW * len(results) + FOOT + 8, "Quality of every picture by provider", message, paint, LABEL
        ),
        "bounds": [(kind, value) for kind, value in named if value],
    }


def spaced(values: Sequence[float]) -> list[float]:
    """At most MARKS of the values, evenly over their order."""
    ordered = sorted(values)
    stride = max(1, -(-len(ordered) // MARKS))
    return ordered[::stride]


# --- card and references ------------------------------------------------------------------------------------------


def card_view(card: Record) -> dict[str, Any] | None:
    """The metric card: planted faults that the scores must notice, axis by axis; None without one."""
    axes = listed(card, "axes")
    if not axes:
        return None
    return {
        "identities": text(card.get("identities") or card.get("people"), 20),
        "kept": sum(bool(axis.get("passed")) for axis in axes),
        "axes": [
            {
                "name": text(axis.get("name"), 80),
                "what": text(axis.get("what"), 300),
                "value": "–" if (value := number(axis.get("value"))) is None else plain_figure(value),
                "goal": text(axis.get("goal"), 60),
                "passed": bool(axis.get("passed")),
            }
            for axis in axes
        ],
    }


def check_view(frame: Frame, suite: Record) -> dict[str, Any] | None:
    """What `harness references check` says of the set, with the pictures it says it of."""
    audit = mapped(suite, "references_check")
    if not audit:
        return None
    return {
        "score": two_places(audit.get("score")),
        "findings": [
            {
                **{key: text(item.get(key), 400) for key in ("title", "reason", "effect", "remedy")},
                "severity": text(item.get("severity"), 12),
                "kind": {"serious": "fail", "warn": "inconclusive"}.get(str(item.get("severity")), "none"),
                "pictures": texts(item.get("pictures"), 80)[:12],
                "images": [frame.picture(sha, shared=True) for sha in hashes(item)],
            }
            for item in listed(audit, "findings")
        ],
        "open": {text(item.get("what"), 80): text(item.get("reason"), 300) for item in listed(audit, "not_judged")},
    }


def hashes(item: Record) -> list[str]:
    """The pictures of a finding that the store was given."""
    result = item.get("images")
    return [sha for sha in result if is_hash(sha)][:4] if isinstance(result, list) else []


def references_view(frame: Frame, references: Record) -> dict[str, list[dict[str, Any]]]:
    """All reference pictures by split; each stands in the page once, however often it is shown."""
    return {
        text(split, 40).replace("_", " "): [frame.picture(sha, shared=True) for sha in hashes]
        for split, hashes in references.items()
        if isinstance(hashes, list)
    }
