"""What results hold, as plain numbers by picture or by trait. Pure, and quick to import."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any, NamedTuple

from harness.core.values import CaseResult, Score

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


def by_case(values: Mapping[Pair, float]) -> dict[Hashable, list[float]]:
    """Case to its values."""
    groups: dict[Hashable, list[float]] = defaultdict(list)
    for (case, _), value in values.items():
        groups[case].append(value)
    return dict(groups)


# --- traits -------------------------------------------------------------------------------------------------------


class TraitMean(NamedTuple):
    """How well pictures show what is wanted of one category."""

    value: str  # that is wanted; "" where nothing says so
    mean: float
    pictures: int  # that could be measured

    def name(self, category: str) -> str:
        """`facial_hair: thin mustache`, or the category alone."""
        return f"{category}: {self.value}" if self.value else category


def trait_scores(details: Mapping[str, Any]) -> dict[str, float]:
    """Category to calibrated score from the details of a `features` score; what is not measurable is left out."""
    items = {str(category): item.get("score") for category, item in details.items() if isinstance(item, Mapping)}
    return {category: float(score) for category, score in items.items() if isinstance(score, Real)}


def trait_values(results: Sequence[CaseResult]) -> dict[str, dict[Pair, float]]:
    """Category to the score of that trait in each picture that could be measured."""
    values: dict[str, dict[Pair, float]] = defaultdict(dict)
    for pair, score in scores_of(results, "features").items():
        for category, value in trait_scores(score.details).items():
            values[category][pair] = value
    return dict(values)


def trait_means(details: Iterable[Mapping[str, Any]]) -> dict[str, TraitMean]:
    """Category to its mean over pictures, of which each has the details of a `features` score."""
    values: dict[str, list[float]] = defaultdict(list)
    wanted: dict[str, str] = {}
    for each in details:
        for category, value in trait_scores(each).items():
            values[category].append(value)
            wanted.setdefault(category, str(each[category].get("value") or ""))
    return {name: TraitMean(wanted[name], sum(group) / len(group), len(group)) for name, group in values.items()}
