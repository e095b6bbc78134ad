"""What the numbers are worth: distributions with their thresholds, the metric card, the check of the references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from harness.core.values import Threshold
from harness.judging.record import CaseRecord, LeaderboardRow, PopulationRecord
from harness.report import plots
from harness.report.words import text

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes

ROW, FOOT, LABEL = 44.0, 20.0, 96.0  # of a plot with a row a provider or a metric
MARKS = 200  # pictures with a mark of their own in a row; the outline is drawn from all
REACH = (-0.6, 1.2)  # of the calibrated scale: what lies beyond stays at its edge


def populations_plot(
    populations: Sequence[PopulationRecord], thresholds: Mapping[str, Threshold], gate: LeaderboardRow | None
) -> Markup | None:
    """A row a metric: the references and the impostors as they were measured, and the mean of the gate's pictures."""
    results = [each for each in populations if each.genuine and each.impostor]
    if not results:
        return None
    low, high = REACH

    def paint(axes: Axes) -> None:
        dress(axes, len(results), low, high)
        for place, each in enumerate(reversed(results)):
            counts = f"{len(each.genuine)} / {len(each.impostor)}"
            plots.label(axes, place + 0.3, text(each.metric, 24), counts)
            for values, colour in ((each.impostor, plots.QUIET), (each.genuine, plots.PASS)):
                plots.population(axes, values, place, 0.7, low, high, colour)
                plots.rug(axes, np.clip(values, low, high).tolist(), place - 0.1, place - 0.02, colour)
            bounds(axes, thresholds.get(each.metric), place - 0.1, place + 0.75)
            if gate and (score := gate.scores.get(each.metric)):
                axes.plot([score.mean], [place + 0.05], marker="^", color=plots.RANGE, markersize=7)

    message = "; ".join(
        f"{text(each.metric, 24)}: genuine about {np.mean(each.genuine):.2f}, "
        f"impostors about {np.mean(each.impostor):.2f}"
        for each in results
    )
    return plots.draw(ROW * len(results) + FOOT + 8, "Scores of references and impostors", message, paint, LABEL)


def dress(axes: Axes, rows: int, low: float, high: float) -> None:
    """Room for so many rows over a scale from `low` to `high`, with a line a fifth."""
    axes.set_xlim(low, high)
    axes.set_ylim(-0.15, rows - 0.15)
    axes.set_yticks([])
    axes.set_xticks([step / 5 for step in range(int(low * 5), int(high * 5) + 1)])
    axes.grid(axis="x", color=plots.LINE, linewidth=0.6)


def bounds(axes: Axes, bound: Threshold | None, low: float, high: float) -> None:
    """A metric's thresholds across its row."""
    for kind, value in (("fail", bound.fail), ("warn", bound.warn)) if bound else ():
        if value is not None:
            plots.bound(axes, value, low, high, kind)


# --- every picture's quality --------------------------------------------------------------------------------------


def spread_plot(cases: Sequence[CaseRecord], rows: Sequence[LeaderboardRow], bound: Threshold | None) -> Markup | None:
    """The quality of every picture, a row a provider, with the thresholds across all rows."""
    known = {
        row.provider: [v for case in cases if case.provider == row.provider for v in case.qualities] for row in rows
    }
    results = [(row, text(row.provider, 24), values) for row in rows if (values := known[row.provider])]
    if not results:
        return None

    def paint(axes: Axes) -> None:
        dress(axes, len(results), 0.0, 1.0)
        for place, (row, name, values) in enumerate(reversed(results)):
            colour = plots.RANGE if row.gate else plots.QUIET
            plots.label(axes, place + 0.3, name[:24], f"{len(values)}", row.gate)
            if len(values) >= 4:  # fewer have no outline
                plots.outline(axes, values, 0, 1, place, 0.75, colour)
            plots.rug(axes, np.clip(spaced(values), 0, 1).tolist(), place - 0.1, place - 0.02, colour)
        bounds(axes, bound, -0.15, len(results) - 0.15)

    message = "; ".join(f"{name} about {np.mean(values):.2f}" for _, name, values in results)
    return plots.draw(ROW * len(results) + FOOT + 8, "Quality of every picture by provider", message, paint, LABEL)


def spaced(values: Sequence[float]) -> list[float]:
    """At most MARKS of the values, evenly over their order."""
    ordered = sorted(values)
    stride = max(1, -(-len(ordered) // MARKS))
    return ordered[::stride]
