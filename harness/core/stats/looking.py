"""Two or three planned looks at growing data without more false alarms: group-sequential tests.

Looking eight times at 5% each gives 18% false alarms. Planned looks share the 5%: by Pocock's or O'Brien and Fleming's
boundaries, or by a spending function (Lan and DeMets 1983), which only needs to know how much of the final information
each look has. Tables to compare with: Jennison and Turnbull, "Group Sequential Methods" (2000), chapters 2 and 7.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
from scipy.special import ndtr, ndtri

Kind = Literal["pocock", "obrien-fleming"]
NODES, WEIGHTS = np.polynomial.legendre.leggauss(160)
FAR = 8.0  # standard errors: nothing lies beyond


def crossing(information: Sequence[float], bounds: Sequence[float], two_sided: bool = False) -> list[float]:
    """The probability of crossing first at each look when nothing is there: Armitage, McPherson and Rowe 1969.

    Args:
        information: the share of the final information at each look, rising to at most 1.
        bounds: the standard normal statistic that is crossed, upwards, or on both sides.
    """
    results: list[float] = []
    places, density = np.zeros(1), np.ones(1)  # of the score process, with the weights of integration in it
    before = 0.0
    for share, bound in zip(information, bounds, strict=True):
        step, edge = math.sqrt(share - before), bound * math.sqrt(share)
        beyond = ndtr((places - edge) / step) + (ndtr((-edge - places) / step) if two_sided else 0.0)
        results.append(float(density @ beyond))
        low = -edge if two_sided else -FAR * math.sqrt(share)
        half = (edge - low) / 2
        nodes = low + half * (NODES + 1)
        kernel = np.exp(-(((nodes[:, None] - places[None, :]) / step) ** 2) / 2) / (step * math.sqrt(2 * math.pi))
        places, density, before = nodes, (kernel @ density) * WEIGHTS * half, share
    return results


def spent(share: float, alpha: float, kind: Kind = "pocock", two_sided: bool = False) -> float:
    """How much of `alpha` may be used up when this share of the information is there (Lan and DeMets 1983)."""
    if share >= 1:
        return alpha
    if kind == "pocock":
        return alpha * math.log1p((math.e - 1) * share)
    side = alpha / 2 if two_sided else alpha
    return (2 if two_sided else 1) * 2 * float(ndtr(ndtri(side / 2) / math.sqrt(share)))


@lru_cache(maxsize=64)
def spending_bounds(
    information: tuple[float, ...], alpha: float, kind: Kind = "pocock", two_sided: bool = False
) -> tuple[float, ...]:
    """The bound of each look, so that no more than `spent` is ever used up."""
    bounds: list[float] = []
    for number in range(len(information)):
        shares = information[: number + 1]
        budget = spent(shares[-1], alpha, kind, two_sided)

        def used(bound: float, shares: Sequence[float] = shares) -> float:
            return sum(crossing(shares, [*bounds, bound], two_sided))

        bounds.append(_fall(used, budget))
    return tuple(bounds)


def levels(bounds: Sequence[float]) -> tuple[float, ...]:
    """Bounds of one-sided looks as the levels of two-sided intervals: repeated confidence intervals.

    The normal bound becomes a level, and the level Student's t (Pocock 1977): good from about ten clusters.
    """
    return tuple(1 - 2 * float(ndtr(-bound)) for bound in bounds)


def _fall(falling: Callable[[float], float], target: float) -> float:
    """Where a falling function of a bound meets its target, to 1e-10."""
    low, high = 0.05, FAR
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > target else (low, middle)
    return (low + high) / 2
