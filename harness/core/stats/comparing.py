"""Tests of one mean against a bound: Student's t, sign flips, Holm's correction, non-inferiority."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from harness.core.stats.intervals import LEVEL, Groups, cluster_means, quantile
from harness.core.values import Interval

FEW = 8  # clusters: with fewer, a change counts only where sign flips agree with t


def p_below(interval: Interval, bound: float, level: float = LEVEL) -> float:
    """One-sided p of "the mean is at least `bound`", from a t interval of `n` clusters; 1 when there is none."""
    if interval.low is None or interval.high is None or interval.n < 2:
        return 1.0
    half = (interval.high - interval.low) / 2
    error = half / quantile((1 - level) / 2, interval.n - 1)
    if error == 0:
        return 0.0 if interval.mean < bound else 1.0
    return float(stdtr(interval.n - 1, (interval.mean - bound) / error))


def p_above(interval: Interval, bound: float, level: float = LEVEL) -> float:
    """One-sided p of "the mean is at most `bound`": `p_below` in a mirror.

    With -margin for the bound it is the test of non-inferiority: a small p proves "not worse by `margin` or more".
    """
    if interval.low is None or interval.high is None:
        return 1.0
    return p_below(Interval(-interval.mean, -interval.high, -interval.low, interval.n), -bound, level)


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given: a family's error rate stays at its level."""
    order = sorted(range(len(ps)), key=lambda index: ps[index])
    adjusted, running = [0.0] * len(ps), 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, (len(ps) - rank) * ps[index]))
        adjusted[index] = running
    return adjusted


def sign_flip(values: Sequence[float]) -> float:
    """Two-sided p of "the mean is 0" by flipping signs: the exact permutation test, over all 2**n patterns.

    For few clusters, where t leans on normality. n clusters cannot show less than 2 / 2**n.
    """
    return float(sign_flips(np.asarray([values], float))[0])


def sign_flips(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """`sign_flip` of every row: comparisons x clusters."""
    sums, least = np.abs(rows @ all_signs(rows.shape[1]).T), 1e-12 * np.abs(rows).sum(1)
    result: NDArray[np.float64] = (sums >= (np.abs(rows.sum(1)) - least)[:, None]).mean(1)
    return result


def flips_of_few(groups: Groups) -> float | None:
    """`sign_flip` of the clusters' means where there are fewer than `FEW`; None where t needs no witness."""
    means = cluster_means(groups)
    return sign_flip(means) if 1 < len(means) < FEW else None


def differs(gap: Interval, flips: float | None = None, level: float = LEVEL) -> bool:
    """Whether an interval excludes 0 and the sign flips of few clusters, where there are any, agree."""
    if gap.low is None or gap.high is None or gap.low <= 0 <= gap.high:
        return False
    return flips is None or flips_agree(flips, gap.n, level)


def rows_differ(rows: NDArray[np.float64], level: float = LEVEL) -> NDArray[np.bool_]:
    """`differs` of every row: comparisons x clusters, two at least."""
    clusters = rows.shape[1]
    error = rows.std(1, ddof=1) / math.sqrt(clusters)
    result: NDArray[np.bool_] = np.abs(rows.mean(1)) > quantile((1 - level) / 2, clusters - 1) * error
    return result & (sign_flips(rows) <= largest_p(clusters, level)) if clusters < FEW else result


def flips_agree(p: float, clusters: int, level: float = LEVEL) -> bool:
    """Whether sign flips do not contradict t: p is small enough, or as small as so few clusters can show.

    Five clusters cannot show 5%: there "as small" means that every one of them went the same way.
    """
    return p <= largest_p(clusters, level)


def largest_p(clusters: int, level: float = LEVEL) -> float:
    """The p of sign flips up to which they agree."""
    return max(1 - level, 2 / 2**clusters) * (1 + 1e-9)


@lru_cache(maxsize=8)
def all_signs(clusters: int) -> NDArray[np.float64]:
    """Patterns x clusters of +-1."""
    return np.array(list(itertools.product((1.0, -1.0), repeat=clusters)))
