"""What a suite can prove before anything is drawn: power, the smallest effect, the chance of a red run for nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv, nctdtr, ndtr, ndtri

from harness.core.stats.comparing import FEW, rows_differ
from harness.core.stats.intervals import LEVEL, StandardDeviations, quantile
from harness.core.stats.looking import FAR, crossing

POWER = 0.8
GRID = 201  # points of the prior that are averaged over
DRAWS = 4_000  # simulated comparisons of few prompts
NODES, WEIGHTS = np.polynomial.legendre.leggauss(200)
Looks = Sequence[tuple[int, float]]
"""(seeds of a case, level of its interval) at each look, seeds rising."""


def noncentral(t: float, df: float, shift: float) -> float:
    """The noncentral t distribution up to `t`; far out, where scipy has no answer, the normal one."""
    result = float(nctdtr(df, shift, t))
    return result if math.isfinite(result) else float(ndtr(t - shift))


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


def change_found(effect: float, sd: float, clusters: int, margin: float, level: float = LEVEL) -> float:
    """How often a true change is told: the interval excludes 0 *and* the mean reaches `margin`, as the judge has it.

    The mean must pass the margin and t standard errors, and what prompts show of their spread varies as chi-squared.
    With fewer than `FEW` prompts the signs must agree too, which is simulated.

    Args:
        effect: the true mean change, above 0 for one in its own direction.
        sd: the standard deviation of per-prompt differences.
    """
    if clusters < 2:
        return 0.0
    if sd <= 0:
        return float(effect > 0 and effect >= margin)
    if clusters < FEW:
        values = effect + sd * _normals(clusters)
        return float((rows_differ(values, level) & (values.mean(1) >= margin)).mean())
    error, reach = sd / math.sqrt(clusters), quantile((1 - level) / 2, clusters - 1)
    seen = np.sqrt(2 * gammaincinv((clusters - 1) / 2, (NODES + 1) / 2) / (clusters - 1))
    return float(WEIGHTS @ ndtr(effect / error - np.maximum(margin / error, reach * seen)) / 2)


@lru_cache(maxsize=8)
def _normals(clusters: int) -> NDArray[np.float64]:
    return np.random.default_rng(clusters).standard_normal((DRAWS, clusters))


def smallest_change(sd: float, clusters: int, margin: float, power: float = POWER, level: float = LEVEL) -> float:
    """The smallest true change that is told with this power (`change_found`); infinite below two clusters."""
    if clusters < 2:
        return math.inf
    if sd <= 0:
        return margin
    return sd * _solve(lambda effect: change_found(effect, 1.0, clusters, margin / sd, level) - power)


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


def reach(error: float, df: float, level: float = LEVEL, power: float = POWER) -> float:
    """How far a true value must stand from a bound for its t interval to leave the bound out with this power.

    Args:
        error, df: the standard error of what is seen, and how well it is known.
    """
    if error <= 0:
        return 0.0
    edge = quantile((1 - level) / 2, df)
    return error * _solve(lambda effect: 1 - noncentral(edge, df, effect) - power)


def case_fails(truth: float, bound: float, seeds: int, sd: float, level: float = LEVEL) -> float:
    """How often a case of this true score is below its bound by the spread of its own seeds, as a red one must be.

    Args:
        sd: of its seeds.
    """
    if sd <= 0:
        return float(truth < bound)
    if seeds < 2:
        return 0.0
    df, distance = seeds - 1, (truth - bound) / sd
    return noncentral(-quantile((1 - level) / 2, df), df, distance * math.sqrt(seeds))


def spurious_red(
    bounds: Sequence[float], looks: Looks, prior: tuple[float, StandardDeviations] | None, sd: float
) -> float:
    """The most that the chance can be that a case fails one metric, at any look, although its true score reaches its
    bound. However unequally seeds vary: every red case is confirmed by its own.

    Args:
        bounds: `fail` of each case that has one.
        looks: the seeds with which red cases are confirmed, and the level of their intervals.
        prior: the mean of cases' true scores, and how they vary (normally) around it; None: every case stands
            exactly on its bound, which is the worst there is.
        sd: of seeds within a case.
    """
    chance = {bound: _spurious(bound, looks, prior, sd) for bound in set(bounds)}
    return 1 - math.prod(1 - chance[bound] for bound in bounds)


def _spurious(bound: float, looks: Looks, prior: tuple[float, StandardDeviations] | None, sd: float) -> float:
    """One case's share: failing while true enough, averaged over the prior."""
    if prior is None or prior[1].between <= 0:
        truth = bound if prior is None else prior[0]
        return fails_once(truth, bound, looks, sd) if truth >= bound else 0.0
    places = np.linspace(-4, 4, GRID)
    weights = np.exp(-(places**2) / 2)
    truths = prior[0] + prior[1].between * places
    fails = [fails_once(truth, bound, looks, sd) if truth >= bound else 0.0 for truth in truths]
    return float(weights @ np.array(fails) / weights.sum())


def fails_once(truth: float, bound: float, looks: Looks, sd: float) -> float:
    """How often a case of this true score fails its bound at one look at least, each look among others.

    What `case_fails` says of each look becomes a bound of the normal process that all looks share.
    """
    chances = [case_fails(truth, bound, seeds, sd, level) for seeds, level in looks]
    if len(chances) == 1 or max(chances) in (0.0, 1.0):
        return max(chances)
    edges = [float(np.clip(-ndtri(chance), -FAR, FAR)) for chance in chances]
    return sum(crossing([seeds / looks[-1][0] for seeds, _ in looks], edges))
