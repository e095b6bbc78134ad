"""What a suite can prove before anything is drawn: power, the smallest effect, the chance of a red run for nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy.special import nctdtr, ndtr

from harness.stats.intervals import LEVEL, Spread, quantile

POWER = 0.8
GRID = 201  # points of the prior that are averaged over


def noncentral(t: float, df: float, shift: float) -> float:
    """The noncentral t distribution up to `t`; far out, where scipy has no answer, the normal one."""
    found = float(nctdtr(df, shift, t))
    return found if math.isfinite(found) else float(ndtr(t - shift))


def power_of(effect: float, sd: float, clusters: int, level: float = LEVEL) -> float:
    """How often the two-sided t test of paired prompts finds a true difference of this size, in its own direction.

    Args:
        effect: the true mean difference.
        sd: the standard deviation of per-prompt differences.
    """
    if clusters < 2:
        return 0.0
    if sd <= 0:
        return 1.0 if effect else 0.0
    df = clusters - 1
    bound = quantile((1 - level) / 2, df)
    return 1 - noncentral(bound, df, abs(effect) / sd * math.sqrt(clusters))


def detectable(sd: float, clusters: int, power: float = POWER, level: float = LEVEL) -> float:
    """The smallest true difference that `clusters` paired prompts find with this power; infinite below two clusters."""
    if clusters < 2:
        return math.inf
    if sd <= 0:
        return 0.0
    return sd * _solve(lambda effect: power_of(effect, 1.0, clusters, level) - power)


def clusters_needed(effect: float, sd: float, power: float = POWER, level: float = LEVEL, most: int = 10_000) -> int:
    """The fewest prompts that find this effect with this power; `most` when more than that would be needed."""
    low, high = 2, most
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if power_of(effect, sd, middle, level) >= power else (middle + 1, high)
    return low


def _solve(rises: Callable[[float], float]) -> float:
    """Where a rising function crosses 0 above 0, to 1e-12 of its place."""
    high = 1.0
    while rises(high) < 0:
        high *= 2
    low = 0.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if rises(middle) < 0 else (low, middle)
    return high


def case_fails(truth: float, bound: float, seeds: int, sd: float, df: int, level: float = LEVEL) -> float:
    """How often a case of this true score fails its bound: its interval lies below; with one seed its mean does.

    Args:
        sd, df: of seeds within a case, pooled over the suite.
    """
    if sd <= 0:
        return float(truth < bound)
    distance = (truth - bound) / sd
    if seeds < 2:
        return float(ndtr(-distance))
    return noncentral(-quantile((1 - level) / 2, df), df, distance * math.sqrt(seeds))


def spurious_red(
    bounds: Sequence[float], seeds: int, prior: tuple[float, Spread] | None, sd: float, level: float = LEVEL
) -> float:
    """The chance that at least one case fails although its true score reaches its bound.

    Args:
        bounds: each case's `fail`.
        prior: the mean of cases' true scores, and how they vary (normally) around it; None: every case stands
            exactly on its bound, which is the worst there is.
        sd: of seeds within a case.
    """
    df, clean = max(1, len(bounds) * (seeds - 1)), 1.0
    for bound in bounds:
        clean *= 1 - _spurious(bound, seeds, prior, sd, df, level)
    return 1 - clean


def _spurious(bound: float, seeds: int, prior: tuple[float, Spread] | None, sd: float, df: int, level: float) -> float:
    """One case's share: failing while true enough, averaged over the prior."""
    if prior is None or prior[1].between <= 0:
        truth = bound if prior is None else prior[0]
        return case_fails(truth, bound, seeds, sd, df, level) if truth >= bound else 0.0
    places = np.linspace(-4, 4, GRID)
    weights = np.exp(-(places**2) / 2)
    truths = prior[0] + prior[1].between * places
    fails = [case_fails(truth, bound, seeds, sd, df, level) if truth >= bound else 0.0 for truth in truths]
    return float(weights @ np.array(fails) / weights.sum())


def gate_fails(truth: float, bound: float, clusters: int, sd: float, level: float = LEVEL) -> float:
    """How often a gate of this true mean fails its bound; `sd`: of one prompt's observed mean."""
    if clusters < 2 or sd <= 0:
        return float(truth < bound)
    shift = (truth - bound) / sd * math.sqrt(clusters)
    return noncentral(-quantile((1 - level) / 2, clusters - 1), clusters - 1, shift)
