"""Which of several training settings mattered: main effects over paired cases, with intervals. Pure functions.

A main effect holds one level of a factor against another, everything else the same: for every trained pair that differs
in nothing else, for every case and seed, one difference. Two things vary, and each has its interval: what is drawn
(`gap`, clustered by case), and how a training happened to turn out (`runs`, over the trained pairs). A difference is
proven when the first leaves out 0 at Holm's level over all comparisons, and the second, where there are three pairs or
more, leaves it out too.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.core import stats
from harness.core.stats import Pair
from harness.core.values import Interval
from harness.judging.changes import judge_change, p_differs

ENOUGH_RUNS = 3  # trained pairs; two have an interval that holds nearly everything


@dataclass(frozen=True)
class Trial:
    """One trained combination and the scores of its pictures."""

    settings: Mapping[str, Any]  # factor to level
    values: Mapping[Pair, float]  # (case, seed) to quality

    @property
    def mean(self) -> float:
        """Over cases of their means; NaN without a score."""
        groups: dict[Hashable, list[float]] = {}
        for (case, _), value in self.values.items():
            groups.setdefault(case, []).append(value)
        means = stats.cluster_means(groups)
        return math.fsum(means) / len(means) if means else math.nan


@dataclass(frozen=True)
class Effect:
    """One level of a factor against its first, all else the same."""

    factor: str
    level: Any
    against: Any
    gap: Interval  # level minus against, over cases
    runs: Interval  # the same over trained pairs; no bounds for a single one
    p: float  # two-sided, Holm's over all comparisons
    word: str  # improved, regressed, unchanged, inconclusive


def main_effects(trials: Sequence[Trial], margin: float, level: float = stats.LEVEL) -> list[Effect]:
    """Every level of every factor against the factor's first one, in the order of the trials.

    Args:
        margin: a smaller difference does not matter, in quality.
    """
    results = []
    factors = list(dict.fromkeys(name for trial in trials for name in trial.settings))
    for factor in factors:
        levels = list(dict.fromkeys(trial.settings[factor] for trial in trials))
        for other in levels[1:]:
            pairs = trained_pairs(trials, factor, other, levels[0])
            if pairs:
                results.append((factor, other, levels[0], *differences_of(pairs, level)))
    ps = stats.holm([p_differs(gap, level) for *_, gap, _ in results])
    return [
        Effect(factor, other, first, gap, runs, p, judge(gap, runs, margin, p < 1 - level))
        for (factor, other, first, gap, runs), p in zip(results, ps, strict=True)
    ]


def trained_pairs(trials: Sequence[Trial], factor: str, level: Any, against: Any) -> list[tuple[Trial, Trial]]:
    """Trials that differ in this factor alone and have pictures in common."""

    def rest(trial: Trial) -> tuple[tuple[str, Any], ...]:
        return tuple(sorted((name, value) for name, value in trial.settings.items() if name != factor))

    before = {rest(trial): trial for trial in trials if trial.settings[factor] == against}
    pairs = [(trial, before.get(rest(trial))) for trial in trials if trial.settings[factor] == level]
    return [(now, then) for now, then in pairs if then is not None and now.values.keys() & then.values.keys()]


def differences_of(pairs: Sequence[tuple[Trial, Trial]], level: float) -> tuple[Interval, Interval]:
    """The mean difference twice: over cases, each averaged over the trained pairs, and over the trained pairs."""
    each = [stats.differences(now.values, then.values) for now, then in pairs]
    cases: dict[Hashable, list[float]] = {}
    for groups in each:
        for case, values in groups.items():
            cases.setdefault(case, []).append(math.fsum(values) / len(values))
    runs = [math.fsum(means) / len(means) for means in (stats.cluster_means(groups) for groups in each)]
    return stats.clustered(cases, level), stats.mean_interval(runs, level)


def judge(gap: Interval, runs: Interval, margin: float, proven: bool) -> str:
    """One of the six words of `harness.judging.changes`."""
    if runs.low is not None and runs.high is not None and runs.n >= ENOUGH_RUNS:
        proven = proven and not runs.low <= 0 <= runs.high
    return judge_change(gap, margin, proven)
