"""Genuine against impostor on one score: how far apart, how surely, and where a threshold belongs. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr

from harness.core.arrays import Floats
from harness.core.stats import quantile
from harness.core.stats.calibration import (
    LEAST_D,
    LEAST_HALF,
    Separation,
    area_under_curve,
    equal_error_level,
    separate,
)
from harness.core.values import Interval

FALSE_ALARM = 0.05  # share of genuine pictures that a threshold may refuse
DRAWS = 2_000  # of the bootstrap
STEP = 0.01  # thresholds are written in hundredths


@dataclass(frozen=True)
class Sides:
    """One score of the pictures whose truth is known, on the scale that thresholds have; `clip` is not cut off."""

    metric: str
    genuine: tuple[float, ...]  # each held-out reference against the others
    impostor: tuple[float, ...]  # each impostor against all of them
    reason: str = ""  # why there is no score


@dataclass(frozen=True)
class Suggested:
    """Two thresholds and what they cost: shares of genuine pictures refused and of impostors let through."""

    fail: float
    warn: float
    warn_range: tuple[float, float]  # 95%, bootstrap: where `warn` would lie with other references
    false_alarm: float  # at `fail`, as Student's t predicts it for one more genuine picture
    false_alarm_warn: float
    refused: Interval  # share of these genuine pictures below `fail`, 95% exact
    refused_warn: Interval  # and below `warn`
    passed: Interval  # share of the impostors at or above `fail`, 95% exact
    passed_warn: Interval  # and at or above `warn`
    apart: bool  # whether a gap lies between what impostors reach and what the genuine do


@dataclass(frozen=True)
class Discrimination:
    """What one score can do."""

    metric: str
    separation: Separation
    d_prime: Interval  # 95%, bootstrap
    eer: Interval  # 95%, exact and conservative
    auc: float  # the chance that a genuine picture scores above an impostor
    roc: tuple[tuple[float, float, float], ...]  # (threshold, impostors accepted, genuine accepted)
    suggested: Suggested | None
    reason: str = ""  # why nothing is suggested


def examine(sides: Sides, false_alarm: float = FALSE_ALARM) -> Discrimination:
    """Everything about one score's two sides; at least two genuine and two impostors."""
    genuine, impostor = np.asarray(sides.genuine), np.asarray(sides.impostor)
    result = separate(genuine, impostor)
    d_prime = resampled(genuine, impostor, lambda g, i: separate(g, i).d_prime, result.d_prime)
    eer = eer_interval(genuine, impostor, result.eer)
    reason = ""
    if result.d_prime < LEAST_D:
        reason = f"does not tell the subject from others (d' {result.d_prime:.2f}, below {LEAST_D:g})"
    suggested = None if reason else suggest(genuine, impostor, false_alarm)
    area = area_under_curve(genuine, impostor)
    return Discrimination(sides.metric, result, d_prime, eer, area, roc_of(genuine, impostor), suggested, reason)


def roc_of(genuine: Floats, impostor: Floats) -> tuple[tuple[float, float, float], ...]:
    """Each threshold with the shares of impostors and of genuine that it accepts, from all to nobody."""
    levels = np.unique(np.concatenate([genuine, impostor]))
    levels = np.append(levels, levels[-1] + STEP)
    return tuple((round(float(t), 6), float(np.mean(impostor >= t)), float(np.mean(genuine >= t))) for t in levels)


def resampled(genuine: Floats, impostor: Floats, figure: Callable[[Floats, Floats], float], value: float) -> Interval:
    """A figure with its 95% percentile bootstrap interval; both sides are drawn anew."""
    rng = np.random.default_rng(0)
    draws = [
        figure(rng.choice(genuine, len(genuine)), rng.choice(impostor, len(impostor)))
        for _ in range(DRAWS if len(impostor) < 200 else DRAWS // 10)
    ]
    low, high = np.quantile(draws, [0.025, 0.975])
    return Interval(value, float(low), float(high), len(genuine))


def eer_interval(genuine: Floats, impostor: Floats, value: float) -> Interval:
    """The equal error rate with an interval that populations which do not overlap cannot shrink to nothing.

    At any threshold the true rate of equal errors lies between the true shares refused and accepted, so it lies between
    the lower and the upper of their exact bounds, each at 97.5% for 95% together; wide, and never too narrow.
    """
    level = equal_error_level(genuine, impostor)
    sides = [exact_share(population, 0.975) for population in (genuine < level, impostor >= level)]
    low, high = min(side.low or 0.0 for side in sides), max(side.high or 0.0 for side in sides)
    return Interval(value, low, high, len(genuine))


def exact_share(found: npt.NDArray[np.bool_], confidence: float = 0.95) -> Interval:
    """The share of True with its exact interval (Clopper and Pearson 1934)."""
    from scipy.stats import binomtest

    result = binomtest(int(found.sum()), len(found))
    bounds = result.proportion_ci(confidence, method="exact")
    return Interval(float(found.mean()), float(bounds.low), float(bounds.high), len(found))


# --- thresholds -------------------------------------------------------------------------------------------------------


def suggest(genuine: Floats, impostor: Floats, false_alarm: float) -> Suggested:
    """`warn`: what one more genuine picture reaches but for `false_alarm` of them. `fail`: half-way to the impostors.

    A LoRA's pictures are a third population that no reference tells about, so `fail` keeps the same distance from what
    impostors reach and from what the genuine do; where these overlap, it is `warn`.
    """
    low, high = lower_bound(genuine, false_alarm), highest_but(impostor, false_alarm)
    rng = np.random.default_rng(0)
    draws = [lower_bound(rng.choice(genuine, len(genuine)), false_alarm) for _ in range(DRAWS)]
    warn = on_scale(low)
    fail = on_scale((low + high) / 2) if high < low else warn
    return Suggested(
        fail=fail,
        warn=warn,
        warn_range=(on_scale(np.quantile(draws, 0.025)), on_scale(np.quantile(draws, 0.975))),
        false_alarm=predicted_below(genuine, fail),
        false_alarm_warn=predicted_below(genuine, warn),
        refused=exact_share(np.asarray(genuine) < fail),
        refused_warn=exact_share(np.asarray(genuine) < warn),
        passed=exact_share(np.asarray(impostor) >= fail),
        passed_warn=exact_share(np.asarray(impostor) >= warn),
        apart=bool(high < low),
    )


def lower_bound(values: Floats, tail: float) -> float:
    """What one more value stays above but for `tail` of them (prediction of Student's t: 8 references are few)."""
    return float(np.mean(values)) - quantile(tail, len(values) - 1) * prediction_sd(values)


def highest_but(values: Floats, tail: float) -> float:
    """What one more impostor stays at or below but for `tail` of them, by rank: twins and strangers are no bell curve.

    With too few for so small a share, the highest of them.
    """
    ranked = np.sort(np.asarray(values, float))
    rank = math.ceil((len(ranked) + 1) * (1 - tail) - 1e-9)
    return float(ranked[min(rank, len(ranked)) - 1])


def predicted_below(values: Floats, threshold: float) -> float:
    """The chance that one more value lies below a threshold."""
    return float(stdtr(len(values) - 1, (threshold - float(np.mean(values))) / prediction_sd(values)))


def prediction_sd(values: Floats) -> float:
    """The standard deviation of one more value about the mean of these; never none, since few can agree by chance."""
    return max(LEAST_HALF, float(np.std(values, ddof=1))) * math.sqrt(1 + 1 / len(values))


def on_scale(value: float) -> float:
    """A threshold as it is written: hundredths, rounded down so that it refuses no more than it should, in [0, 1]."""
    return round(min(1.0, max(0.0, math.floor(float(value) / STEP + 1e-9) * STEP)), 2)
