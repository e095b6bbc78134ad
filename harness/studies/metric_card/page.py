"""The metric card for terminals, programs and browsers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from harness.core.html import read_assets, render_page
from harness.core.values import to_record
from harness.report import plots
from harness.scoring.known_cards import judge_identity
from harness.studies.metric_card.axes import Axis, Figure
from harness.studies.metric_card.protocol import Card

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def card_record(card: Card) -> dict[str, object]:
    """A card as plain JSON data: every axis with its figures, their bounds, and whether they are kept."""
    axes = [
        {
            **to_record(axis),
            "passed": axis.passed,
            "figures": [figure_record(figure) for figure in axis.figures],
        }
        for axis in card.axes
    ]
    return {"version": 1, **to_record(card), "metrics_version": card.version, "passed": card.passed, "axes": axes}


def figure_record(figure: Figure) -> dict[str, object]:
    """A figure as JSON has it, which knows no NaN."""
    value = None if math.isnan(figure.value) else figure.value
    return {**to_record(figure), "value": value, "passed": figure.passed}


def brief_record(card: Card) -> dict[str, object]:
    """What is worth keeping of a card: its axes and the scorer that they hold for; no curves, no time.

    `harness.scoring.known_cards` finds it again for every run that is scored alike.
    """
    axes = [axis_record(axis) for axis in card.axes]
    return {
        "version": 1,
        "scorer": judge_identity(card.scorer),
        "parts": to_record(dict(card.scorer)),
        "identities": card.people,
        "dev": card.dev,
        "pictures": card.pictures,
        "thresholds": {name: round(value, 4) for name, value in card.thresholds.items()},
        "passed": card.passed,
        "axes": axes,
    }


def axis_record(axis: Axis) -> dict[str, object]:
    """One axis as a line: the figure that misses its bound, else the first, and the others in a sentence."""
    bound = [figure for figure in axis.figures if figure.rule]
    message = next((figure for figure in bound if not figure.passed), bound[0])
    others = [f"{figure.name.replace('_', ' ')} {figure.value:.3g}" for figure in axis.figures if figure is not message]
    question = axis.question[:1].upper() + axis.question[1:]
    return {
        "name": axis.name,
        "value": None if math.isnan(message.value) else round(message.value, 4),
        "goal": f"{message.name.replace('_', ' ')} {show_bound(message)}",
        "passed": axis.passed,
        "what": question + (f" Besides: {', '.join(others)}" if others else ""),
    }


def card_text(card: Card) -> str:
    """A card for the terminal."""
    return "\n".join(card_lines(card))


def card_lines(card: Card) -> Iterator[str]:
    yield f"{'axis':26}{'figure':34}{'value':>9}  {'bound':10}"
    for axis in card.axes:
        for number, figure in enumerate(axis.figures):
            name = axis.name if number == 0 else ""
            bound = f"{figure.rule} {figure.bound:g}" if figure.rule else ""
            mark = "" if not figure.rule else "ok" if figure.passed else "MISSED"
            yield f"{name:26}{figure.name:34}{figure.value:9.4f}  {bound:10}{mark:8}{figure.note}".rstrip()
    yield summary(card)


def summary(card: Card) -> str:
    """One sentence."""
    people = f"{card.people} identities and {card.dev} more for the thresholds, {card.pictures:,} pictures"
    return f"{card.passed} of {len(card.axes)} axes hold; {people}, {card.seconds:.0f} s"


# --- plots ------------------------------------------------------------------------------------------------------------


STYLES = ((plots.GENUINE, "-"), (plots.IMPOSTOR, (0, (7, 3))), (plots.THIRD, (0, (2, 3))), (plots.FOURTH, "-."))
"""Colour and dashes of the lines of one plot, by place; the page's key has the same colours."""
Plot = tuple[Markup, tuple[str, ...]]  # a drawing, and the names for its key


def plots_of(axis: Axis) -> tuple[Plot, ...]:
    """What an axis has to show: lines along a walk, and the outlines of populations."""
    return tuple(plot for plot in (plot_curves(axis), plot_populations(axis)) if plot)


def plot_curves(axis: Axis) -> Plot | None:
    """Mean scores along the walk, with their 95% intervals."""
    if not axis.curves:
        return None
    levels = axis.curves[0].levels
    top = max(1.0, *(value for curve in axis.curves for value in curve.means))

    def paint(axes: Axes) -> None:
        axes.set(xlim=(-0.1, len(levels) - 0.9), ylim=(0, 1.04 * top))
        axes.set_xticks(range(len(levels)), levels)
        axes.locator_params(axis="y", nbins=4)
        axes.yaxis.set_major_formatter("{x:g}")
        axes.grid(axis="y", color=plots.LINE, linewidth=1)
        for curve, (colour, dashes) in zip(axis.curves, STYLES, strict=False):
            for place, point in enumerate(curve.points):
                if point.low is not None and point.high is not None:
                    axes.plot([place, place], [point.low, point.high], color=colour, linewidth=1.2, alpha=0.7)
            axes.plot(curve.means, color=colour, linestyle=dashes, linewidth=2)

    message = "; ".join(f"{curve.name} from {curve.means[0]:.2f} to {curve.means[-1]:.2f}" for curve in axis.curves)
    drawing = plots.draw(plots.TALL, axis.name, message, paint, 44, 22, plots.BROAD)
    return drawing, tuple(curve.name for curve in axis.curves)


def plot_populations(axis: Axis) -> Plot | None:
    """The outlines of populations of pictures."""
    if not axis.crowds:
        return None
    values = [value for population in axis.crowds.values() for value in population]
    low, high = min(0.0, *values) - 0.03, max(1.0, *values) + 0.03

    def paint(axes: Axes) -> None:
        plots.scale(axes, low, high)
        for population, (colour, _) in zip(axis.crowds.values(), STYLES, strict=False):
            plots.outline(axes, population, low, high, 0, 1, colour, 1.2)

    message = "; ".join(f"{name} about {np.mean(population):.2f}" for name, population in axis.crowds.items())
    return plots.draw(plots.TALL, axis.name, message, paint, 12, 22, plots.BROAD), tuple(axis.crowds)


def card_page(card: Card) -> str:
    """A card as one HTML file: no network, no script, every string escaped."""
    return render_page(
        "harness.studies.metric_card",
        "page.html",
        read_assets("harness.report", "calibration/style.css"),
        card=card,
        axes=[(axis, plots_of(axis)) for axis in card.axes],
        says=summary(card),
        show=show_bound,
    )


def show_bound(figure: Figure) -> str:
    return f"{'≤' if figure.rule == '<=' else '≥'} {figure.bound:g}" if figure.rule else ""
