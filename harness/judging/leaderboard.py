"""Providers side by side on the same cases and seeds: pure functions from results to ranked rows."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce

import numpy as np

from harness.core import stats
from harness.core.stats import Pair, clustered, paired
from harness.core.values import METRICS, WITHOUT_LORA, CaseResult, Interval, Suite
from harness.judging.foreign import blind_text
from harness.judging.record import LeaderboardRow
from harness.judging.scores import by_case, on_one_scale, possible, trait_values, values_by_metric, values_of

THIN = 0.5  # a provider with less than this share of the fullest one's pictures must not shrink the common grid


Results = Mapping[str, Sequence[CaseResult]]
Values = Mapping[str, Mapping[Pair, float]]
"""Provider to its values by (case, seed)."""


def measured(suite: Suite, results: Results) -> tuple[str, ...]:
    """The metrics of every suite, then those with a threshold, then whatever else has a value, by name."""
    names = {name for items in results.values() for name in values_by_metric(items)}
    return tuple(dict.fromkeys([*suite.metrics(), *sorted(names)]))


def interval_of(values: Mapping[Pair, float]) -> Interval | None:
    """Their mean, clustered by case; None of nothing."""
    return clustered(by_case(values)) if values else None


def common_grid(quality: Mapping[str, Mapping[Pair, float]]) -> set[Pair]:
    """The (case, seed) pairs for which every provider has a picture; those that deliver little are not asked."""
    fullest = max((len(values) for values in quality.values()), default=0)
    grids = [set(values) for values in quality.values() if values and len(values) >= THIN * fullest]
    return reduce(set.__and__, grids) if grids else set()


@dataclass(frozen=True)
class SharedComparison:
    """What the shared pictures say of one provider beside the others."""

    simultaneous: Interval | None = None
    rank_range: tuple[int, int] | None = None
    ties: str = ""


@dataclass(frozen=True)
class Field:
    """All providers of one suite on the pictures they share."""

    suite: Suite
    results: Results
    whole: Values  # quality not cut off at 1, for differences
    common: Mapping[str, Interval | None]
    comparisons: Mapping[str, SharedComparison]
    ranks: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # metric to provider to rank
    trait_ranks: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # category to provider to rank
    metrics: tuple[str, ...] = METRICS


def leaderboard(suite: Suite, results: Results, emulated: Collection[str] = ()) -> tuple[LeaderboardRow, ...]:
    """One row a provider, the best first; those without a single score come last, unranked in substance.

    A row's `scores` are of all its own pictures, as in the verdicts; `rank` is by `common`, the quality on the pictures
    that all providers share, because a mean over other prompts compares nothing. `simultaneous`, `ties` and
    `rank_range` are of those pictures too, and hold for all rows at once.
    """
    quality = {provider: values_of(items, "quality") for provider, items in results.items()}
    grid = common_grid(quality)
    common = {provider: _on_grid(values, grid) for provider, values in quality.items()}

    def place(provider: str) -> tuple[bool, float, str]:
        interval = common[provider]
        return interval is None, -interval.mean if interval else 0.0, provider

    ranked = sorted(results, key=place)
    names = measured(suite, results)
    comparisons, ranks = stand(quality, grid, ranked), all_ranks(results, names)
    sides = on_one_scale(*results.values(), metrics=("quality",))
    whole = {provider: side["quality"] for provider, side in zip(results, sides, strict=True)}
    everybody = Field(suite, results, whole, common, comparisons, *ranks, metrics=names)
    return tuple(_row(everybody, provider, rank, provider in emulated) for rank, provider in enumerate(ranked, 1))


def stand(quality: Values, grid: set[Pair], ranked: Sequence[str]) -> dict[str, SharedComparison]:
    """Simultaneous intervals, ties and ranges of ranks of those that have the whole grid, the best first."""
    names = [name for name in ranked if grid and grid <= quality[name].keys()]
    if not names:
        return {}
    columns = np.array([case_means(quality[name], grid) for name in names]).T
    intervals, distinct = map(possible, stats.simultaneous(columns)), stats.distinct_pairs(columns)
    letters = stats.tie_letters(range(len(names)), distinct)
    ranges = stats.rank_ranges(len(names), distinct)
    result = zip(intervals, ranges, letters, strict=True)
    return {name: SharedComparison(*standing) for name, standing in zip(names, result, strict=True)}


def case_means(values: Mapping[Pair, float], grid: set[Pair]) -> list[float]:
    """One mean a case of the grid, cases in one order for all providers."""
    return stats.cluster_means(by_case({pair: values[pair] for pair in sorted(grid, key=str)}))


def all_ranks(
    results: Results, names: Sequence[str] = METRICS
) -> tuple[dict[str, dict[str, int]], dict[str, dict[str, int]]]:
    """Ranks by metric and by trait, each on the pictures in which all that were asked could be measured."""
    values = {provider: values_by_metric(items, names) for provider, items in results.items()}
    metrics = {name: {provider: own[name] for provider, own in values.items()} for name in names}
    traits: dict[str, dict[str, dict[Pair, float]]] = defaultdict(dict)
    for provider, items in results.items():
        for category, scores in trait_values(items).items():
            traits[category][provider] = scores
    by_metric = {name: ranks for name, each in metrics.items() if (ranks := rank(each))}
    return by_metric, {name: ranks for name, each in traits.items() if (ranks := rank(each))}


def rank(values: Values) -> dict[str, int]:
    """Provider to rank by its mean on the common grid; equals share the better rank, who lacks the grid has none."""
    grid = common_grid(values)
    means = {
        name: interval.mean
        for name, own in values.items()
        if grid and grid <= own.keys() and (interval := _on_grid(own, grid))
    }
    return {name: 1 + sum(other > mean for other in means.values()) for name, mean in means.items()}


def gap_to_best(
    quality: Values, provider: str, gate: Sequence[str], level: float = stats.LEVEL
) -> tuple[str | None, Interval | None]:
    """Who of the others is nearest or ahead, and quality minus the best of them, paired and corrected for the choice.

    Who gates too is no competitor, nor is the LoRA's own base; (None, None) without one.
    """
    rivals = [name for name in quality if name not in (*gate, *WITHOUT_LORA, provider)]
    results = {name: stats.differences(quality[provider], quality[name]) for name in rivals}
    gaps = {name: groups for name, groups in results.items() if groups}
    if not gaps:
        return None, None
    return min(gaps, key=lambda name: clustered(gaps[name]).mean), stats.max_of_k(gaps, level)


def _on_grid(values: Mapping[Pair, float], grid: set[Pair]) -> Interval | None:
    """The mean on the common grid; of a provider's own pictures where it has none of the grid."""
    shared = {pair: value for pair, value in values.items() if pair in grid}
    result = interval_of(shared or values)
    return possible(result) if result else None


def _row(everybody: Field, provider: str, number: int, emulated: bool) -> LeaderboardRow:
    suite, items = everybody.suite, everybody.results[provider]
    samples = [sample for item in items for sample in item.samples]
    whole = everybody.whole
    versus = {other: paired(whole[provider], values) for other, values in whole.items() if other != provider}
    scores = {name: possible(mean) for name in everybody.metrics if (mean := interval_of(values_of(items, name)))}
    standing = everybody.comparisons.get(provider, SharedComparison())
    return LeaderboardRow(
        suite=suite.name,
        provider=provider,
        rank=number,
        gate=provider in suite.gate,
        emulated=emulated or any(sample.emulated for sample in samples),
        quality=scores.get("quality"),
        clip=scores.get("clip"),
        features=scores.get("features"),
        ssim=scores.get("ssim"),
        added={name: score for name, score in scores.items() if name not in METRICS},
        common=everybody.common[provider],
        simultaneous=standing.simultaneous,
        rank_range=standing.rank_range,
        ties=standing.ties,
        best_gap=gap_to_best(whole, provider, suite.gate)[1],
        ranks={name: ranks[provider] for name, ranks in everybody.ranks.items() if provider in ranks},
        trait_ranks={name: ranks[provider] for name, ranks in everybody.trait_ranks.items() if provider in ranks},
        raw={f"{metric}_raw": raw for metric in everybody.metrics if (raw := _raw_mean(items, metric)) is not None},
        versus={other: gap for other, gap in versus.items() if gap is not None},
        outcomes=dict(Counter(sample.outcome.value for sample in samples)),
        cost_usd=sum(sample.cost_usd for sample in samples),
        seconds=sum(sample.seconds for sample in samples),
        **({"blind": blind} if (blind := blind_text(items)) else {}),
    )


def _raw_mean(items: Sequence[CaseResult], metric: str) -> float | None:
    """The mean of a metric's plain number, clustered by case."""
    raw = {
        (item.prompt_id, sample.seed): sample.scores[metric].raw
        for item in items
        for sample in item.scored
        if metric in sample.scores
    }
    interval = interval_of({pair: value for pair, value in raw.items() if value is not None})
    return interval.mean if interval else None
