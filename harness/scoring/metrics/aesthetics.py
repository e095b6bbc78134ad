"""What the rating of an aesthetics predictor (`models.aesthetics_predictor`, from 1 to 10) means.

The number prefers some styles to others, so it is only ever compared: with the references, and with the base's picture
of the same prompt and seed (`compare_aesthetics`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.core import stats
from harness.core.arrays import Floats
from harness.core.stats.calibration import Band, band_of
from harness.core.values import CaseResult, Interval, Score, to_record

LEAST, MOST = 1.0, 10.0  # of the published scale; a linear head can leave it


@dataclass(frozen=True)
class Yardstick:
    """What the references themselves are rated."""

    band: Band
    median: float


def yardstick_of(ratings: Sequence[float] | Floats) -> Yardstick:
    """From the ratings of two references at least."""
    return Yardstick(band_of(ratings), float(np.median(ratings)))


def aesthetics_score(raw: float, references: Yardstick) -> Score:
    """1: as pleasing as the references or more; falling below their band. `raw` on the published scale."""
    band = references.band
    details = {"references": references.median, "delta": raw - references.median, "low": band.mean - band.half}
    return Score("aesthetics", band.typicality(min(raw, band.mean)), raw, details=details)


@dataclass(frozen=True)
class Gain:
    """A provider's pictures against the base's, in points of the published scale."""

    mean: float
    base: float
    difference: Interval  # paired by case and seed, clustered by case

    @property
    def record(self) -> dict[str, object]:
        """As plain JSON data."""
        return {**to_record(self), "sentence": self.sentence}

    @property
    def sentence(self) -> str:
        """For people."""
        low, high = self.difference.low, self.difference.high
        bounds = "" if low is None or high is None else f" (95%: {low:+.2f} to {high:+.2f})"
        text = f"aesthetics {self.mean:.2f}, the base's at the same seeds {self.base:.2f}"
        return f"{text}: {self.difference.mean:+.2f}{bounds}"


def compare_aesthetics(own: Sequence[CaseResult], base: Sequence[CaseResult]) -> Gain | None:
    """How much more pleasing the pictures are than the base's; None where no case and seed was rated for both."""
    a, b = _ratings(own), _ratings(base)
    difference = stats.paired(a, b)
    if difference is None:
        return None
    both = a.keys() & b.keys()
    return Gain(float(np.mean([a[pair] for pair in both])), float(np.mean([b[pair] for pair in both])), difference)


def _ratings(results: Sequence[CaseResult]) -> dict[Any, float]:
    return {
        (result.prompt_id, sample.seed): finding.raw
        for result in results
        for sample in result.scored
        if (finding := sample.scores.get("aesthetics")) and finding.raw is not None
    }
