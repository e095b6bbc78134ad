"""Providers side by side on the same cases and seeds: pure functions from results to ranked rows."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Hashable, Mapping, Sequence
from functools import reduce

from harness.stats import Pair, clustered, paired
from harness.values import METRICS, CaseResult, Interval, Row, Score, Suite

THIN = 0.5  # a provider with less than this share of the fullest one's pictures must not shrink the common grid

Results = Mapping[str, Sequence[CaseResult]]


def scores_of(results: Sequence[CaseResult], metric: str) -> dict[Pair, Score]:
    """What one metric found in each picture, by (case, seed); pictures it could not measure are left out."""
    return {
        (result.job.case, sample.seed): score
        for result in results
        for sample in result.scored
        if (score := sample.scores.get(metric)) is not None and score.value is not None
    }


def values_of(results: Sequence[CaseResult], metric: str) -> dict[Pair, float]:
    """The calibrated values alone, in [0, 1]."""
    return {pair: score.value for pair, score in scores_of(results, metric).items() if score.value is not None}


def interval_of(values: Mapping[Pair, float]) -> Interval | None:
    """Their mean, clustered by case; None of nothing."""
    groups: dict[Hashable, list[float]] = defaultdict(list)
    for (case, _), value in values.items():
        groups[case].append(value)
    return clustered(groups) if groups else None


def common_grid(quality: Mapping[str, Mapping[Pair, float]]) -> set[Pair]:
    """The (case, seed) pairs for which every provider has a picture; those that deliver little are not asked."""
    fullest = max((len(values) for values in quality.values()), default=0)
    grids = [set(values) for values in quality.values() if values and len(values) >= THIN * fullest]
    return reduce(set.__and__, grids) if grids else set()


def leaderboard(suite: Suite, results: Results, emulated: Collection[str] = ()) -> tuple[Row, ...]:
    """One row a provider, the best first; those without a single score come last, unranked in substance.

    A row's `scores` are of all its own pictures, as in the verdicts; `rank` is by `common`, the quality on the pictures
    that all providers share, because a mean over other prompts compares nothing.
    """
    quality = {provider: values_of(items, "quality") for provider, items in results.items()}
    grid = common_grid(quality)
    common = {provider: _on_grid(values, grid) for provider, values in quality.items()}

    def place(provider: str) -> tuple[bool, float, str]:
        interval = common[provider]
        return interval is None, -interval.mean if interval else 0.0, provider

    ranked = sorted(results, key=place)
    return tuple(
        _row(suite, provider, rank, results[provider], quality, common[provider], provider in emulated)
        for rank, provider in enumerate(ranked, 1)
    )


def _on_grid(values: Mapping[Pair, float], grid: set[Pair]) -> Interval | None:
    """The mean on the common grid; of a provider's own pictures where it has none of the grid."""
    shared = {pair: value for pair, value in values.items() if pair in grid}
    return interval_of(shared or values)


def _row(
    suite: Suite,
    provider: str,
    rank: int,
    items: Sequence[CaseResult],
    quality: Mapping[str, Mapping[Pair, float]],
    common: Interval | None,
    emulated: bool,
) -> Row:
    samples = [sample for item in items for sample in item.samples]
    versus = {other: paired(quality[provider], values) for other, values in quality.items() if other != provider}
    return Row(
        suite=suite.name,
        provider=provider,
        rank=rank,
        gate=provider in suite.gate,
        emulated=emulated or any(sample.emulated for sample in samples),
        scores={metric: mean for metric in METRICS if (mean := interval_of(values_of(items, metric)))},
        raw={f"{metric}_raw": raw for metric in METRICS if (raw := _raw_mean(items, metric)) is not None},
        versus={other: gap for other, gap in versus.items() if gap is not None},
        outcomes=dict(Counter(sample.outcome.value for sample in samples)),
        cost_usd=sum(sample.cost_usd for sample in samples),
        seconds=sum(sample.seconds for sample in samples),
        common=common,
    )


def _raw_mean(items: Sequence[CaseResult], metric: str) -> float | None:
    """The mean of a metric's plain number, clustered by case."""
    raw = {
        (item.job.case, sample.seed): sample.scores[metric].raw
        for item in items
        for sample in item.scored
        if metric in sample.scores
    }
    interval = interval_of({pair: value for pair, value in raw.items() if value is not None})
    return interval.mean if interval else None
