"""The geometry of small drawings: numbers to places in an SVG of a fixed size. Pure; templates draw them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.scoring.calibration.distributions import Discrimination, Sides, density

WIDTH, HEIGHT = 640.0, 170.0
LEFT, RIGHT, TOP, BOTTOM = 44.0, 12.0, 14.0, 26.0


@dataclass(frozen=True)
class Scale:
    """One axis: values from `low` to `high` on the places from `start` to `stop`; a value beyond stays at the edge."""

    low: float
    high: float
    start: float
    stop: float

    def at(self, value: float) -> float:
        share = (min(self.high, max(self.low, value)) - self.low) / ((self.high - self.low) or 1.0)
        return round(self.start + share * (self.stop - self.start), 1)


@dataclass(frozen=True)
class Tick:
    place: float
    label: str


@dataclass(frozen=True)
class DensityPlot:
    """Both crowds of one score, ready to be drawn."""

    genuine: str  # outline, an SVG path
    impostor: str
    genuine_marks: tuple[float, ...]  # a short line each
    impostor_marks: tuple[float, ...]
    ticks: tuple[Tick, ...]
    fail: float | None
    warn: float | None
    roc: str  # the points of a polyline in a square of ROC_SIDE
    label: str  # the same in words


ROC_SIDE = 150.0


def draw_finding(sides: Sides, finding: Discrimination) -> DensityPlot:
    """The picture of one score's two crowds."""
    values = np.array([*sides.genuine, *sides.impostor])
    low, high = min(0.0, float(values.min())) - 0.05, max(1.0, float(values.max())) + 0.05
    x = Scale(low, high, LEFT, WIDTH - RIGHT)
    wanted = finding.suggested
    square = Scale(0, 1, 0, ROC_SIDE)
    roc = " ".join(f"{square.at(a)},{round(ROC_SIDE - square.at(b), 1)}" for _, a, b in finding.roc)
    return DensityPlot(
        genuine=outline(sides.genuine, x),
        impostor=outline(sides.impostor, x),
        genuine_marks=tuple(x.at(value) for value in sides.genuine),
        impostor_marks=tuple(x.at(value) for value in sides.impostor),
        ticks=tuple(Tick(x.at(v), f"{v:g}") for v in tick_values(low, high)),
        fail=x.at(wanted.fail) if wanted else None,
        warn=x.at(wanted.warn) if wanted else None,
        roc=roc,
        label=describe(sides, finding),
    )


def describe(sides: Sides, finding: Discrimination) -> str:
    result, wanted = finding.separation, finding.suggested
    message = f"{sides.metric}: genuine pictures about {result.genuine:.2f}, impostors about {result.impostor:.2f}"
    return f"{message}; thresholds fail {wanted.fail:.2f} and warn {wanted.warn:.2f}" if wanted else message


def outline(values: Sequence[float], x: Scale) -> str:
    """A crowd's smooth outline as a closed path above the axis."""
    at = np.linspace(x.low, x.high, 161)
    base, tall = HEIGHT - BOTTOM, HEIGHT - BOTTOM - TOP
    heights = density(values, at)
    points = [
        f"{x.at(float(v))} {round(base - tall * float(h), 1)}" for v, h in zip(at, heights, strict=True) if h > 1e-3
    ]
    first, last = points[0].split()[0], points[-1].split()[0]
    return f"M{first} {base} L{' L'.join(points)} L{last} {base} Z"


def tick_values(low: float, high: float, step: float = 0.2) -> list[float]:
    """Round numbers between two bounds."""
    first = int(np.ceil(low / step - 1e-9))
    return [round(number * step, 10) for number in range(first, int(np.floor(high / step + 1e-9)) + 1)]
