"""Intervals and paired comparisons: pure functions, samples nested in clusters (seeds in prompts).

Seeds of one prompt share its difficulty, so they are not independent: every interval here is made of one mean a
cluster and Student's t with clusters - 1 degrees of freedom. Ignoring the clusters gives 13% false alarms at a
nominal 5%.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence

import numpy as np
from scipy.special import ndtri, stdtr, stdtrit  # scipy.stats takes a second to import, and collection waits for it

from harness.values import Interval

LEVEL = 0.95
EXACT_UP_TO = 16  # clusters: all 2**n sign patterns up to here, random ones above
PATTERNS = 20_000

Pair = tuple[Hashable, Hashable]  # (case, seed)


def quantile(tail: float, df: float) -> float:
    """Student's t that leaves `tail` above it; the normal one for infinite `df`."""
    return float(stdtrit(df, 1 - tail)) if math.isfinite(df) else float(-ndtri(tail))


def cluster_means(values: Mapping[Hashable, Sequence[float]]) -> list[float]:
    """One mean a cluster, empty clusters left out."""
    return [float(np.mean(group)) for group in values.values() if len(group)]


def mean_interval(values: Sequence[float], level: float = LEVEL) -> Interval:
    """The mean of independent values with its t interval; NaN is a programming error and raises ValueError."""
    if not len(values):
        raise ValueError("no values: there is no mean of nothing")
    if not np.all(np.isfinite(values)):
        raise ValueError(f"not a number among {list(values)}")
    n, mean = len(values), float(np.mean(values))
    if n < 2:
        return Interval(mean, None, None, n)
    half = quantile((1 - level) / 2, n - 1) * float(np.std(values, ddof=1)) / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, n)


def clustered(values: Mapping[Hashable, Sequence[float]], level: float = LEVEL) -> Interval:
    """The mean over clusters with its interval; `n` counts clusters; no bounds for fewer than two."""
    return mean_interval(cluster_means(values), level)


def differences(a: Mapping[Pair, float], b: Mapping[Pair, float]) -> dict[Hashable, list[float]]:
    """a - b for every (case, seed) that both have, gathered by case."""
    gathered: dict[Hashable, list[float]] = defaultdict(list)
    for case, seed in a:
        if (case, seed) in b:
            gathered[case].append(a[case, seed] - b[case, seed])
    return dict(gathered)


def paired(a: Mapping[Pair, float], b: Mapping[Pair, float], level: float = LEVEL) -> Interval | None:
    """The mean of a - b, paired by (case, seed) and clustered by case; None when they have no pair in common."""
    gathered = differences(a, b)
    return clustered(gathered, level) if gathered else None


def pooled_sd(groups: Sequence[Sequence[float]]) -> tuple[float, int]:
    """The standard deviation within groups, pooled, and its degrees of freedom; (0, 0) when no group has two values."""
    df = sum(len(group) - 1 for group in groups if len(group))
    if df < 1:
        return 0.0, 0
    squares = sum(float(np.sum((np.asarray(group) - np.mean(group)) ** 2)) for group in groups if len(group))
    return math.sqrt(squares / df), df


def pooled_interval(values: Sequence[float], sd: float, df: int, level: float = LEVEL) -> Interval:
    """The mean of one group with the spread known from all groups (`pooled_sd`): three seeds alone say too little."""
    n, mean = len(values), float(np.mean(values))
    if df < 1:
        return Interval(mean, None, None, n)
    half = quantile((1 - level) / 2, df) * sd / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, n)


def p_below(interval: Interval, bound: float, level: float = LEVEL) -> float:
    """One-sided p of "the mean is at least `bound`", from a t interval of `n` clusters; 1 when there is none."""
    if interval.low is None or interval.high is None or interval.n < 2:
        return 1.0
    half = (interval.high - interval.low) / 2
    error = half / quantile((1 - level) / 2, interval.n - 1)
    if error == 0:
        return 0.0 if interval.mean < bound else 1.0
    return float(stdtr(interval.n - 1, (interval.mean - bound) / error))


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
    if len(array) <= EXACT_UP_TO:
        signs = np.array(list(itertools.product((1, -1), repeat=len(array))), float)
        extra = 0
    else:
        signs = np.random.default_rng(seed).choice((1.0, -1.0), (PATTERNS, len(array)))
        extra = 1  # the observed pattern itself, so that p is never 0
    hits = int(np.sum(signs @ array >= array.sum() - 1e-12 * np.abs(array).sum()))
    return (hits + extra) / (len(signs) + extra)


def max_of_k(gaps: Mapping[str, Mapping[Hashable, Sequence[float]]], level: float = LEVEL) -> Interval | None:
    """How far one provider stands above the *best* of K others, given its paired differences to each, by case.

    The true gap is the smallest of the K differences, and the best of K equals looks better than it is. The lower
    bound needs no correction (the smallest lower bound is at most that of the true best); the upper bound must
    hold for all K at once, so its error is split among them (Bonferroni). None without others.
    """
    means = [cluster_means(group) for group in gaps.values() if cluster_means(group)]
    if not means:
        return None
    middle = min(float(np.mean(group)) for group in means)
    n = min(len(group) for group in means)
    if n < 2:
        return Interval(middle, None, None, n)
    tail, lows, highs = (1 - level) / 2, [], []
    for group in means:
        error = float(np.std(group, ddof=1)) / math.sqrt(len(group))
        lows.append(float(np.mean(group)) - quantile(tail, len(group) - 1) * error)
        highs.append(float(np.mean(group)) + quantile(tail / len(means), len(group) - 1) * error)
    return Interval(middle, min(lows), min(highs), n)


def detectable(sd: float, clusters: int, power: float = 0.8, level: float = LEVEL) -> float:
    """The smallest true difference that `clusters` paired prompts find with this power (t approximation).

    `sd`: the standard deviation of per-prompt differences. Infinite below two clusters.
    """
    if clusters < 2:
        return math.inf
    return (quantile((1 - level) / 2, clusters - 1) + quantile(1 - power, clusters - 1)) * sd / math.sqrt(clusters)
