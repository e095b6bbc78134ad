"""Two sets of scores of the same cases and seeds, side by side: what regressed, improved, stayed, or cannot be told.

    proven lower, and by `margin` or more    regressed
    proven higher, and by `margin` or more   improved
    proven to lie within +-`margin`          unchanged
    proven lower, the mean within `margin`   lower
    proven higher, the mean within `margin`  higher
    otherwise                                inconclusive

Always now minus before, paired by prompt and seed. `quality` is clustered by prompt and decides by its interval, with
fewer than `stats.FEW` prompts by an exact sign-flip test that must agree; metrics, traits and single cases are
families, in which a difference counts as proven at Holm's level.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from scipy.special import stdtr

from harness.core import stats
from harness.core.stats import Pair
from harness.core.values import METRICS, CaseResult, Interval
from harness.judging.record import Change, HeldProvider, NoWorse
from harness.judging.scores import by_case, on_one_scale, trait_values

REGRESSED, IMPROVED, UNCHANGED, INCONCLUSIVE = "regressed", "improved", "unchanged", "inconclusive"
LOWER, HIGHER = "lower", "higher"  # proven, and by less than the margin, as far as the mean goes
PRIMARY = METRICS[0]
Values = Mapping[str, Mapping[Pair, float]]
"""Metric (or trait) to its values by (case, seed)."""


@dataclass(frozen=True)
class Changes:
    """Everything that two sets of scores say about each other."""

    margin: float
    pairs: int = 0  # pictures that both sides have
    quality: Change | None = None  # None: not one
    worse_p: float = 1.0  # one-sided, of quality being worse by `margin` or more
    metrics: Mapping[str, Change] = field(default_factory=dict)  # but quality
    traits: Mapping[str, Change] = field(default_factory=dict)
    cases: Mapping[str, Change] = field(default_factory=dict)  # of quality, the worst first
    level: float = stats.LEVEL  # of the intervals

    @property
    def word(self) -> str:
        return self.quality.verdict if self.quality else INCONCLUSIVE

    @property
    def no_worse(self) -> bool:
        """Non-inferiority: proven to be no worse than before by `margin` or more."""
        return self.worse_p < (1 - self.level) / 2

    @property
    def record(self) -> HeldProvider:
        """As a run's record tells it."""
        return HeldProvider(
            verdict=self.word,
            margin=self.margin,
            pairs=self.pairs,
            no_worse=NoWorse(proven=self.no_worse, p=self.worse_p),
            quality=self.quality,
            metrics=self.metrics,
            traits=self.traits,
            cases=tuple(change.model_copy(update={"case": name}) for name, change in self.cases.items()),
        )


def compare_scores(
    now: Values,
    before: Values,
    margin: float,
    level: float = stats.LEVEL,
    traits: tuple[Values, Values] = ({}, {}),
    cases: tuple[Mapping[Pair, float], Mapping[Pair, float]] | None = None,
) -> Changes:
    """All changes of two sides' values by prompt and seed.

    Args:
        traits: the same by category.
        cases: of quality, by case and seed; None: every case has a prompt of its own.
    """
    ours, theirs = now.get(PRIMARY, {}), before.get(PRIMARY, {})
    groups = stats.differences(ours, theirs)
    if not groups:
        return Changes(margin)
    gap, flips = stats.clustered(groups, level), stats.flips_of_few(groups)
    change = make_change(gap, ours, theirs, margin, p_differs(gap, level), stats.differs(gap, flips, level))
    return Changes(
        margin,
        sum(map(len, groups.values())),
        change if flips is None else change.model_copy(update={"sign_flip_p": flips}),
        stats.p_above(gap, -margin, level),
        compare_family({name: now[name] for name in in_order(now)}, before, margin, level),
        compare_family(*traits, margin, level),
        compare_cases(*(cases or (ours, theirs)), margin, level),
        level,
    )


def compare_family(now: Values, before: Values, margin: float, level: float = stats.LEVEL) -> dict[str, Change]:
    """Every metric that both sides have, clustered by case, with Holm's correction over all of them."""
    groups = {name: stats.differences(now[name], before[name]) for name in now if name in before}
    gaps = {name: stats.clustered(group, level) for name, group in groups.items() if group}
    ps = stats.holm([p_differs(gap, level) for gap in gaps.values()])
    return {
        name: make_change(gap, now[name], before[name], margin, p, p < 1 - level)
        for (name, gap), p in zip(gaps.items(), ps, strict=True)
    }


def compare_cases(
    now: Mapping[Pair, float], before: Mapping[Pair, float], margin: float, level: float = stats.LEVEL
) -> dict[str, Change]:
    """Each case by its seeds, the worst first; three seeds say too little of their spread, so all cases share it."""
    groups = stats.differences(now, before)
    sd, df = stats.pooled_sd(list(groups.values()))
    gaps = {case: stats.pooled_interval(values, sd, df, level) for case, values in groups.items()}
    ps = stats.holm([p_pooled(gap, sd, df) for gap in gaps.values()])
    results = {
        str(case): make_change(gap, of_case(now, case), of_case(before, case), margin, p, p < 1 - level)
        for (case, gap), p in zip(gaps.items(), ps, strict=True)
    }
    return dict(sorted(results.items(), key=lambda item: item[1].diff))


def judge_change(gap: Interval, margin: float, proven: bool | None = None) -> str:
    """One of the six words of this module.

    Args:
        proven: what a correction for many tests, or sign flips, say of "it differs", in place of the interval.
    """
    differs = stats.differs(gap) if proven is None else proven
    if gap.low is None or gap.high is None:
        return INCONCLUSIVE if gap.mean else UNCHANGED  # not the least difference: the same pictures
    if differs and abs(gap.mean) >= margin:
        return IMPROVED if gap.mean > 0 else REGRESSED
    if gap.low >= -margin and gap.high <= margin:
        return UNCHANGED
    return (HIGHER if gap.mean > 0 else LOWER) if differs else INCONCLUSIVE


def flips_text(gap: Interval, flips: float | None, level: float = stats.LEVEL) -> str:
    """What sign flips of few prompts say, as the end of a sentence; "" where there are enough of them."""
    if flips is None:
        return ""
    word = "agree" if stats.flips_agree(flips, gap.n, level) else "do not bear it out"
    return f" (sign flips of {gap.n} prompts {word}: p {flips:.2g})"


def make_change(
    gap: Interval,
    now: Mapping[Pair, float],
    before: Mapping[Pair, float],
    margin: float,
    p: float,
    differs: bool,
) -> Change:
    shared = now.keys() & before.keys()
    old, new = (on_scale(case_mean({pair: side[pair] for pair in shared})) for side in (before, now))
    word = judge_change(gap, margin, differs)
    return Change(verdict=word, before=old, after=new, diff=gap.mean, low=gap.low, high=gap.high, n=gap.n, p=p)


def in_order(names: Iterable[str]) -> list[str]:
    """The metrics of every suite, then those that a profile adds; not the primary one."""
    return sorted(
        set(names) - {PRIMARY}, key=lambda name: (METRICS.index(name) if name in METRICS else len(METRICS), name)
    )


# --- small things -------------------------------------------------------------------------------------------------


def compare_results(
    now: Sequence[CaseResult], before: Sequence[CaseResult], margin: float, level: float = stats.LEVEL
) -> Changes:
    """Two providers' results, or one's at two times."""
    ours, theirs = on_one_scale(now, before)
    mine, old = (side[PRIMARY] for side in on_one_scale(now, before, metrics=(PRIMARY,), cases=True))
    return compare_scores(ours, theirs, margin, level, (trait_values(now), trait_values(before)), (mine, old))


def case_mean(values: Mapping[Pair, float]) -> float:
    """The mean over cases of their means."""
    means = stats.cluster_means(by_case(values))
    return math.fsum(means) / len(means)


def on_scale(value: float) -> float:
    """As it is shown: differences are taken beyond the ends of the scale, scores are not."""
    return min(1.0, max(0.0, value))


def of_case(values: Mapping[Pair, float], case: Hashable) -> dict[Pair, float]:
    return {pair: value for pair, value in values.items() if pair[0] == case}


def p_differs(gap: Interval, level: float = stats.LEVEL) -> float:
    """Two-sided p of "the mean is 0", from a t interval of `n` clusters."""
    return min(1.0, 2 * min(stats.p_below(gap, 0.0, level), stats.p_above(gap, 0.0, level)))


def p_pooled(gap: Interval, sd: float, df: int) -> float:
    """The same for one case, whose spread is that of all."""
    if df < 1:
        return 1.0
    if sd == 0:
        return 0.0 if gap.mean else 1.0
    return float(2 * stdtr(df, -abs(gap.mean) / (sd / math.sqrt(gap.n))))
