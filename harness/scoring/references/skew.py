"""What is the same in every picture of a set, and what a style's pictures have in common."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from harness.core.arrays import Floats
from harness.scoring.references.quality import ImageStatistics
from harness.scoring.references.zero_shot import CategorySeen

OUTFIT = ("clothing", "outfit", "clothes")
STYLE = "style"
HARMLESS = ("accessory", STYLE)  # empty hands or one medium everywhere are no fault of a character's pictures
MUCH = 0.7  # of the pictures that share a value of the scene
NEARLY_ALL = 0.9
LEAST_SKEW = 6  # pictures: fewer share a value by chance
ONE_STYLE = 0.8  # of a style's pictures that must be of one style
ODD = 6.0  # robust standard deviations from the median of the set
BINS = 4  # a colour channel; 64 colours


@dataclass(frozen=True)
class Skew:
    """One category that hardly changes, or changes where it should not."""

    kind: str
    severity: str
    category: str
    value: str
    share: float
    bound: float


def find_skew(seen: Sequence[CategorySeen], subject: str) -> list[Skew]:
    """Categories of the scene with one value in most pictures; an outfit; a style's mixture."""
    results = []
    for item in seen:
        if item.reason or len(item.values) < LEAST_SKEW:
            continue
        value, share = next(iter(item.shares().items()))
        if subject == "style" and item.category == STYLE:
            if share < ONE_STYLE:
                results.append(Skew("mixed_style", "warn", item.category, value, share, ONE_STYLE))
        elif item.category in OUTFIT:
            if share >= NEARLY_ALL and subject == "character":
                results.append(Skew("fixed_outfit", "note", item.category, value, share, NEARLY_ALL))
        elif not item.reading.identity and share >= MUCH:
            severity = "note" if item.category in HARMLESS else "serious" if share >= NEARLY_ALL else "warn"
            results.append(Skew("one_value", severity, item.category, value, share, MUCH))
    return results


def variety(seen: Sequence[CategorySeen], subject: str) -> float | None:
    """Mean evenness over the scene's categories: 0 one value everywhere, 1 all alike often; None: none is judged."""
    results = []
    for item in seen:
        scene = not item.reading.identity and item.category not in HARMLESS
        if not item.reason and (scene or (subject == "style" and item.category != STYLE)):
            shares = np.array(list(item.shares().values()))
            most = min(len(item.values), count_alternatives(item))
            results.append(float(-(shares * np.log(shares)).sum() / np.log(most)) if most > 1 else 0.0)
    return float(np.mean(results)) if results else None


def count_alternatives(item: CategorySeen) -> int:
    """How many values a category has; a set that shows half of them evenly is not yet even."""
    return max(2, item.alternatives)


def odd_looks(looks: Sequence[ImageStatistics]) -> Iterator[tuple[ImageStatistics, str, float]]:
    """Pictures of a style whose palette or line work lies far from the others': picture, figure, distance."""
    if len(looks) < LEAST_SKEW:
        return
    figures = {
        "palette": palette_distance(looks),
        "saturation": np.array([look.colour for look in looks]),
        "lines": np.array([look.line for look in looks]),
        "softness": np.array([look.blur for look in looks]),
    }
    for name, values in figures.items():
        for look, far in zip(looks, robust_distance(values), strict=True):
            if far > ODD:
                yield look, name, float(far)


def robust_distance(values: Floats) -> Floats:
    """Distance from the median in robust standard deviations; the spread is never taken below a tenth of the median."""
    middle = float(np.median(values))
    spread = max(1.4826 * float(np.median(np.abs(values - middle))), 0.1 * abs(middle), 0.02)
    return np.abs(values - middle) / spread


def palette_distance(looks: Sequence[ImageStatistics]) -> Floats:
    """How far each picture's colours are from the others' on average, [0, 1]: 1 - intersection of histograms."""
    bars = np.stack([palette(look) for look in looks])
    shared = np.minimum(bars[:, None], bars[None]).sum(2)
    n = len(looks)
    return np.asarray(1 - (shared.sum(1) - 1) / (n - 1))


def palette(look: ImageStatistics) -> Floats:
    """Histogram of 64 colours, summing to 1."""
    pixels = np.asarray(look.small).reshape(-1, 3) // (256 // BINS)
    places = pixels[:, 0] * BINS * BINS + pixels[:, 1] * BINS + pixels[:, 2]
    return np.asarray(np.bincount(places, minlength=BINS**3) / len(places), np.float64)


def consistency(looks: Sequence[ImageStatistics]) -> float:
    """How alike a style's palettes and lines are, [0, 1]; 1: one palette, one density of lines."""
    if len(looks) < 2:
        return 1.0
    palettes = 1 - float(palette_distance(looks).mean())
    lines = np.array([look.line for look in looks])
    spread = float(lines.std() / lines.mean()) if lines.mean() > 0 else 0.0
    return float(np.sqrt(palettes * max(0.0, 1 - spread)))
