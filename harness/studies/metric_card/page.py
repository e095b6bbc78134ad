"""The metric card for terminals, programs and browsers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from harness import __version__
from harness.core.values import to_record
from harness.report.calibration_page import read_style, style_policy
from harness.report.svg import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Scale, Tick, outline, tick_values
from harness.scoring.known_cards import judge_identity
from harness.studies.metric_card.axes import Axis, Figure
from harness.studies.metric_card.protocol import Card


def card_record(card: Card) -> dict[str, Any]:
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


def figure_record(figure: Figure) -> dict[str, Any]:
    """A figure as JSON has it, which knows no NaN."""
    value = None if math.isnan(figure.value) else figure.value
    return {**to_record(figure), "value": value, "passed": figure.passed}


def brief_record(card: Card) -> dict[str, Any]:
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


def axis_record(axis: Axis) -> dict[str, Any]:
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


@dataclass(frozen=True)
class AxisLine:
    name: str
    points: str  # of a polyline
    bars: tuple[tuple[float, float, float], ...]  # x, low and high: the 95% interval


@dataclass(frozen=True)
class Plot:
    """One drawing: lines along a walk, or the outlines of crowds."""

    label: str
    x: tuple[Tick, ...]
    y: tuple[Tick, ...] = ()
    lines: tuple[AxisLine, ...] = ()
    populations: tuple[tuple[str, str], ...] = ()  # name and outline


def plots_of(axis: Axis) -> tuple[Plot, ...]:
    """What an axis has to show."""
    return tuple(plot for plot in (plot_curves(axis), plot_populations(axis)) if plot)


def plot_curves(axis: Axis) -> Plot | None:
    """Mean scores along the walk."""
    if not axis.curves:
        return None
    levels = axis.curves[0].levels
    top = max(1.0, *(value for curve in axis.curves for value in curve.means))
    x = Scale(0, len(levels) - 1, LEFT + 10, WIDTH - RIGHT - 10)
    y = Scale(0, top, HEIGHT - BOTTOM, TOP)
    lines = tuple(
        AxisLine(
            curve.name,
            " ".join(f"{x.at(place)},{y.at(point.mean)}" for place, point in enumerate(curve.points)),
            tuple(
                (x.at(place), y.at(point.low), y.at(point.high))
                for place, point in enumerate(curve.points)
                if point.low is not None and point.high is not None
            ),
        )
        for curve in axis.curves
    )
    across = tuple(Tick(x.at(place), level) for place, level in enumerate(levels))
    up = tuple(Tick(y.at(value), f"{value:g}") for value in tick_values(0, top, 0.25 if top <= 1 else top / 4))
    message = "; ".join(f"{curve.name} from {curve.means[0]:.2f} to {curve.means[-1]:.2f}" for curve in axis.curves)
    return Plot(f"{axis.name}: {message}", across, up, lines)


def plot_populations(axis: Axis) -> Plot | None:
    """The outlines of crowds of pictures."""
    if not axis.crowds:
        return None
    values = [value for population in axis.crowds.values() for value in population]
    x = Scale(min(0.0, *values) - 0.03, max(1.0, *values) + 0.03, LEFT, WIDTH - RIGHT)
    ticks = tuple(Tick(x.at(value), f"{value:g}") for value in tick_values(x.low, x.high))
    message = "; ".join(f"{name} about {np.mean(population):.2f}" for name, population in axis.crowds.items())
    return Plot(
        f"{axis.name}: {message}",
        ticks,
        populations=tuple((name, outline(each, x)) for name, each in axis.crowds.items()),
    )


def card_page(card: Card) -> str:
    """A card as one HTML file: no network, no script, every string escaped."""
    environment = Environment(
        loader=PackageLoader("harness.studies.metric_card", "templates"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = read_style()
    return environment.get_template("page.html").render(
        card=card,
        axes=[(axis, plots_of(axis)) for axis in card.axes],
        says=summary(card),
        show=show_bound,
        box={"width": WIDTH, "height": HEIGHT, "left": LEFT, "right": RIGHT, "top": TOP, "bottom": BOTTOM},
        style=style,
        policy=style_policy(style),
        version=__version__,
    )


def show_bound(figure: Figure) -> str:
    return f"{'≤' if figure.rule == '<=' else '≥'} {figure.bound:g}" if figure.rule else ""
