"""What results hold, as plain numbers by picture or by trait. Pure, and quick to import."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.core.values import UNCLIPPED, CaseResult, Sample, Score, as_number

if TYPE_CHECKING:
    from harness.core.stats import Pair  # stats brings scipy


def scores_of(results: Sequence[CaseResult], metric: str) -> dict[Pair, Score]:
    """What one metric found in each picture, by (case, seed); pictures it could not measure are left out."""
    return {
        (result.job.case, sample.seed): score
        for result in results
        for sample in result.scored
        if (score := sample.scores.get(metric)) is not None and score.value is not None
    }


def values_of(results: Sequence[CaseResult], metric: str) -> dict[Pair, float]:
    """The calibrated values of one metric by (case, seed), in [0, 1]."""
    return values_by_metric(results, (metric,))[metric]


def values_by_metric(results: Sequence[CaseResult], metrics: Iterable[str] = ()) -> dict[str, dict[Pair, float]]:
    """Calibrated values of every metric that found one in a picture, by (case, seed).

    Args:
        metrics: only these, each with {} at least; (): every one.
    """
    values: dict[str, dict[Pair, float]] = {metric: {} for metric in metrics}
    only = set(values)
    for result in results:
        for sample in result.scored:
            for name, score in sample.scores.items():
                if score.value is not None and (not only or name in only):
                    values.setdefault(name, {})[result.job.case, sample.seed] = score.value
    return values


def on_one_scale(*sides: Sequence[CaseResult], metrics: Iterable[str] = ()) -> list[dict[str, dict[Pair, float]]]:
    """Each side's values to be compared in pairs: not cut off at 0 and 1, because two good LoRAs are both at 1.

    Where a picture of either side lacks the number behind its cut-off value (a baseline of an earlier version), that
    metric is compared as it is shown, on all sides.
    """
    shown = [values_by_metric(side, metrics) for side in sides]
    whole = [_unclipped(side) for side in sides]
    cut = {
        name
        for known, given in zip(whole, shown, strict=True)
        for name in given
        if len(known.get(name, {})) != len(given[name])
    }
    return [
        {name: values if name in cut else known.get(name, {}) for name, values in given.items()}
        for known, given in zip(whole, shown, strict=True)
    ]


def _unclipped(results: Sequence[CaseResult]) -> dict[str, dict[Pair, float]]:
    values: dict[str, dict[Pair, float]] = defaultdict(dict)
    for result in results:
        for sample in result.scored:
            for name, score in sample.scores.items():
                if score.value is not None and (number := as_number(score.details.get(UNCLIPPED))) is not None:
                    values[name][result.job.case, sample.seed] = number
    return dict(values)


def by_case(values: Mapping[Pair, float]) -> dict[Hashable, list[float]]:
    """Case to its values."""
    groups: dict[Hashable, list[float]] = defaultdict(list)
    for (case, _), value in values.items():
        groups[case].append(value)
    return dict(groups)


# --- traits -------------------------------------------------------------------------------------------------------


def trait_values(results: Sequence[CaseResult]) -> dict[str, dict[Pair, float]]:
    """Category to the score of that trait in each picture that could be measured."""
    values: dict[str, dict[Pair, float]] = defaultdict(dict)
    for pair, score in scores_of(results, "features").items():
        for category, trait in score.traits.items():
            if trait.score is not None:
                values[category][pair] = trait.score
    return dict(values)


@dataclass(frozen=True)
class TraitMean:
    """How surely some pictures show a trait."""

    value: str  # what was wanted
    mean: float
    pictures: int

    def name(self, category: str) -> str:
        """`facial_hair: thin mustache`, or the category alone."""
        return f"{category}: {self.value}" if self.value else category


def trait_means(samples: Iterable[Sample]) -> dict[str, TraitMean]:
    """Category to the mean over the pictures in which it could be measured."""
    known: dict[str, list[float]] = {}
    wanted: dict[str, str] = {}
    for sample in samples:
        for category, trait in sample.traits.items():
            if trait.score is not None:
                known.setdefault(category, []).append(trait.score)
                wanted.setdefault(category, trait.value)
    return {name: TraitMean(wanted[name], sum(own) / len(own), len(own)) for name, own in known.items()}
