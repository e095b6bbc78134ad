"""What results hold, as plain numbers by picture or by trait. Pure, and quick to import."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from harness.core.values import UNCLIPPED, CaseResult, Interval, Sample, Score, as_number

if TYPE_CHECKING:
    from harness.core.stats import Pair  # stats brings scipy


def scores_of(results: Sequence[CaseResult], metric: str) -> dict[Pair, Score]:
    """What one metric found in each picture, by (prompt, seed); pictures it could not measure are left out."""
    found: dict[Pair, Score] = {}
    for result in results:
        for sample in result.scored:
            score = sample.scores.get(metric)
            if score is not None and score.value is not None:
                found.setdefault((result.prompt_id, sample.seed), score)
    return found


def values_of(results: Sequence[CaseResult], metric: str) -> dict[Pair, float]:
    """The calibrated values of one metric by (prompt, seed), in [0, 1]."""
    return values_by_metric(results, (metric,))[metric]


def values_by_metric(results: Sequence[CaseResult], metrics: Iterable[str] = ()) -> dict[str, dict[Pair, float]]:
    """Calibrated values of every metric that found one in a picture, by (prompt, seed).

    A prompt is known by the first of the cases that draw it. Several of them show the same picture; where they expect
    different things of it, and so score it differently, its mean counts.

    Args:
        metrics: only these, each with {} at least; (): every one.
    """
    return _gather(results, lambda score: score.value, lambda result: result.prompt_id, metrics)


def values_of_cases(results: Sequence[CaseResult], metric: str) -> dict[Pair, float]:
    """The calibrated values of one metric by (case, seed): what each case shows, counted or not."""
    return _gather(results, lambda score: score.value, _case_of, (metric,))[metric]


def on_one_scale(
    *sides: Sequence[CaseResult], metrics: Iterable[str] = (), cases: bool = False
) -> list[dict[str, dict[Pair, float]]]:
    """Each side's values to be compared in pairs: not cut off at 1, because two good LoRAs are both there.

    Where a picture of either side lacks the number behind its cut-off value (a baseline of an earlier version), that
    metric is compared as it is shown, on all sides.

    Args:
        cases: by (case, seed) in place of (prompt, seed).
    """
    metrics, name_of = tuple(metrics), _case_of if cases else lambda result: result.prompt_id
    shown = [_gather(side, lambda score: score.value, name_of, metrics) for side in sides]
    whole = [_gather(side, _unclipped, name_of, metrics) for side in sides]
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


def _case_of(result: CaseResult) -> Hashable:
    return result.job.case


def _unclipped(score: Score) -> float | None:
    """Not cut off at 1; below 0 it is, because how far a stranger is off says nothing and would outweigh everything."""
    number = as_number(score.details.get(UNCLIPPED))
    return None if score.value is None or number is None else max(number, score.value)


def _gather(
    results: Sequence[CaseResult],
    number_of: Callable[[Score], float | None],
    name_of: Callable[[CaseResult], Hashable],
    metrics: Iterable[str],
) -> dict[str, dict[Pair, float]]:
    """Metric to a number of each picture; the mean where several cases show the same one."""
    values: dict[str, dict[Pair, float]] = {metric: {} for metric in metrics}
    only, often = set(values), Counter[object]()
    for result in results:
        for sample in result.scored:
            pair = (name_of(result), sample.seed)
            for name, score in sample.scores.items():
                if (not only or name in only) and (number := number_of(score)) is not None:
                    known, seen = values.setdefault(name, {}), often[name, pair]
                    known[pair] = (seen * known.get(pair, 0.0) + number) / (seen + 1)
                    often[name, pair] += 1
    return values


def by_case(values: Mapping[Pair, float]) -> dict[Hashable, list[float]]:
    """Prompt (or case) to its values."""
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


def possible(interval: Interval) -> Interval:
    """Without the part outside [0, 1]: no calibrated score lies there, and no truth is lost with it."""
    return replace(interval, mean=min(1.0, max(0.0, interval.mean))).within(0.0)


def possible_change(interval: Interval) -> Interval:
    """A difference of scores without the part outside [-1, 1]."""
    return interval.within(-1.0)
