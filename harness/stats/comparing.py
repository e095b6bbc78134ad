"""Tests of one mean against a bound: Student's t, sign flips, Holm's correction, non-inferiority."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from harness.stats.intervals import LEVEL, mean_interval, quantile
from harness.values import Interval

EXACT_UP_TO = 16  # clusters: all 2**n sign patterns up to here, random ones above
PATTERNS = 20_000


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
    """One-sided p of "the mean is at most `bound`": `p_below` in a mirror."""
    if interval.low is None or interval.high is None:
        return 1.0
    return p_below(Interval(-interval.mean, -interval.high, -interval.low, interval.n), -bound, level)


def non_inferior(values: Sequence[float], margin: float) -> float:
    """One-sided p of "worse by `margin` or more"; a small one proves that the mean lies above -margin.

    Args:
        values: one difference (new minus old) a cluster.
    """
    return p_above(mean_interval(values), -margin)


def equivalent(values: Sequence[float], margin: float) -> float:
    """The p of two one-sided tests (TOST, Schuirmann 1987): a small one proves the mean within +-margin."""
    found = mean_interval(values)
    return max(p_above(found, -margin), p_below(found, margin))


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given: a family's error rate stays at its level."""
    order = sorted(range(len(ps)), key=lambda index: ps[index])
    adjusted, running = [0.0] * len(ps), 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, (len(ps) - rank) * ps[index]))
        adjusted[index] = running
    return adjusted


def sign_flip(values: Sequence[float], seed: int = 0) -> float:
    """One-sided p of "the mean is not above zero" by flipping signs: exact up to 16 clusters, sampled above.

    For few clusters, where t leans on normality; below five clusters it can never reach 0.05.
    """
    array = np.asarray(values, float)
    signs, extra = sign_patterns(len(array), seed)
    hits = int(np.sum(signs @ array >= array.sum() - 1e-12 * np.abs(array).sum()))
    return (hits + extra) / (len(signs) + extra)


def sign_flip_family(columns: NDArray[np.float64], seed: int = 0) -> list[float]:
    """Adjusted one-sided ps of "this column's mean is not above zero", for all columns at once (max-t).

    A cluster's whole row flips together, so that the columns keep their correlation: Westfall and Young 1993.

    Args:
        columns: clusters x comparisons.
    """
    signs, extra = sign_patterns(len(columns), seed)
    seen = t_values(columns.mean(0), columns)
    largest = np.concatenate([t_values(part @ columns / len(columns), columns).max(1) for part in blocks(signs)])
    return [(int(np.sum(largest >= t - 1e-9)) + extra) / (len(signs) + extra) for t in seen]


def t_values(means: NDArray[np.float64], columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means as t statistics; flipping signs leaves the sum of squares as it is, so the spread needs no second look."""
    n = len(columns)
    variance = np.maximum((columns**2).mean(0) - means**2, 1e-30) * n / (n - 1)
    found: NDArray[np.float64] = means / np.sqrt(variance / n)
    return found


def blocks(signs: NDArray[np.float64], size: int = 8_192) -> list[NDArray[np.float64]]:
    """In parts, because all patterns of 16 clusters at once are large."""
    return [signs[start : start + size] for start in range(0, len(signs), size)]


@lru_cache(maxsize=8)
def sign_patterns(clusters: int, seed: int) -> tuple[NDArray[np.float64], int]:
    """Patterns x clusters of +-1, and how many to add for the observed one (sampled patterns may lack it)."""
    if clusters <= EXACT_UP_TO:
        return np.array(list(itertools.product((1.0, -1.0), repeat=clusters))), 0
    return np.random.default_rng(seed).choice((1.0, -1.0), (PATTERNS, clusters)), 1
