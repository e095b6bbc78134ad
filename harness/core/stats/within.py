"""What the seeds within prompts say by themselves: one prompt's own spread, the mean of these very prompts, sure drops.

Prompts differ in how much their seeds vary, a hard one by ten times as much as an easy one. A spread pooled over all
of them calls a hard prompt on its bound wrong in one run of three; each rule here reads every prompt's own spread.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import betainc, stdtr, stdtrit

from harness.core.stats.comparing import holm
from harness.core.stats.intervals import LEVEL, Groups, mean_interval, pooled_sd, quantile
from harness.core.values import Interval

ENOUGH = 6  # seeds whose own spread is believed; of fewer the worst that scores allow is assumed
CEILING = 1.0  # the best that a score can be
TWICE = 2.0  # the prompt that varies most counts so often where degrees of freedom are told
RUNS, NUMBERS = 2_000, 1_000_000  # that are simulated
PRIOR = 8  # degrees of freedom that the spread of all prompts adds to one prompt's own


# --- one prompt against a bound -----------------------------------------------------------------------------------


def surely_below(values: Sequence[float], bound: float, level: float = LEVEL) -> bool:
    """Whether one prompt's own seeds prove that its true mean is below a bound.

    Student's t of its own spread must say so, and coins must not explain it: `coin_tail`.
    """
    own = mean_interval(values, level)
    return own.high is not None and own.high < bound and coin_tail(values, bound) <= (1 - level) / 2


def coin_tail(values: Sequence[float], bound: float) -> float:
    """How likely so little is if the truth is the bound, and every seed a coin between the worst and the best.

    Seeds that come out right or wrong (0.9 or 0.2) have a mean that t takes for more certain than it is. No seeds vary
    more around one mean than coins do (Hoeffding 1963), so their binomial tail is the caution. The best is the best
    that was seen; with fewer than `ENOUGH` seeds it is the best that there can be, because four seeds that came out
    wrong may have had luckier ones beside them.
    """
    low, high = min(values), CEILING if len(values) < ENOUGH else max(values)
    if bound > high or high <= low:
        return 0.0 if bound > high else 1.0
    right = sum(value - low for value in values) / (high - low)
    share = (bound - low) / (high - low)
    return float(betainc(max(len(values) - right, 1e-9), right + 1, 1 - share)) if share > 0 else 1.0


# --- the mean of these very prompts -------------------------------------------------------------------------------


@dataclass(frozen=True)
class OwnMean:
    """The mean over a suite's own prompts, with the standard error that their seeds alone leave."""

    mean: float
    error: float
    df: float
    n: int  # prompts

    def interval(self, level: float = LEVEL) -> Interval:
        half = quantile((1 - level) / 2, self.df) * self.error
        return Interval(self.mean, self.mean - half, self.mean + half, self.n)

    def p_below(self, bound: float) -> float:
        """One-sided p of "the mean is at least `bound`"."""
        if self.error == 0:
            return 0.0 if self.mean < bound else 1.0
        return float(stdtr(self.df, (self.mean - bound) / self.error))


def own_mean(groups: Groups) -> OwnMean | None:
    """The mean of these prompts, seeds varying within each by its own spread; None where no prompt has two seeds.

    Degrees of freedom are Welch's and Satterthwaite's, with the prompt that varies most counted twice: with three
    seeds each, one hard prompt that happens to agree would else lend its error the certainty of all others. A prompt
    with one seed takes the spread of all.
    """
    prompts = [group for group in groups.values() if len(group)]
    means = [math.fsum(group) / len(group) for group in prompts]
    squares = [sum((x - mean) ** 2 for x in group) for group, mean in zip(prompts, means, strict=True)]
    freedom = sum(map(len, prompts)) - len(prompts)
    if freedom < 1:
        return None
    pooled = sum(squares) / freedom
    known = [
        (square / (len(group) - 1) / len(group), len(group) - 1) if len(group) > 1 else (pooled, freedom)
        for group, square in zip(prompts, squares, strict=True)
    ]
    total, mean = sum(part for part, _ in known), math.fsum(means) / len(means)
    error = math.sqrt(total) / len(prompts)
    parts = sorted(known)
    parts[-1] = (TWICE * parts[-1][0], parts[-1][1])
    weights = sum(part**2 / df for part, df in parts)
    df = sum(part for part, _ in parts) ** 2 / weights if weights else freedom
    return OwnMean(mean, error, min(max(df, min(df for _, df in known)), freedom), len(prompts))


def own_reach(sds: Sequence[float], seeds: int, level: float = LEVEL, power: float = 0.8) -> float:
    """How far from a bound the true mean of prompts must stand for `own_mean` to decide it with this power.

    Simulated from fixed draws: normal seeds, two at least, of these standard deviations.
    """
    prompts = len(sds)
    runs = max(50, min(RUNS, NUMBERS // (prompts * seeds)))
    rows = np.random.default_rng(prompts).standard_normal((runs, prompts, seeds)) * np.asarray(sds)[:, None]
    parts = rows.var(2, ddof=1) / seeds
    doubled = np.sort(parts, axis=1)
    doubled[:, -1] *= TWICE
    df = np.clip(doubled.sum(1) ** 2 * (seeds - 1) / (doubled**2).sum(1), seeds - 1, prompts * (seeds - 1))
    half = stdtrit(df, (1 + level) / 2) * np.sqrt(parts.sum(1)) / prompts
    return float(np.quantile(rows.mean((1, 2)) + half, power))


# --- prompts that fell --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fall:
    """How far one prompt has fallen, above 0 for worse."""

    before: float
    after: float
    error: float
    df: float

    @property
    def drop(self) -> float:
        return self.before - self.after

    def p_within(self, most: float) -> float:
        """One-sided p of "it fell by `most` at most"."""
        if self.error == 0:
            return 0.0 if self.drop > most else 1.0
        return float(stdtr(self.df, (most - self.drop) / self.error))

    def interval(self, level: float = LEVEL) -> Interval:
        """Of the change, now minus before."""
        half = quantile((1 - level) / 2, self.df) * self.error
        return Interval(-self.drop, -self.drop - half, -self.drop + half, 1)


def falls(now: Groups, before: Groups) -> dict[Hashable, Fall]:
    """Every prompt that both sides have, by the seeds of each side; {} where no prompt has two seeds on a side.

    Three seeds say too little of their spread and the spread of all says too much, so a prompt's own variance is
    moderated: weighted with the pooled one as if that came from `PRIOR` degrees of freedom (Smyth 2004).
    """
    both = {prompt: (now[prompt], before[prompt]) for prompt in now if len(now[prompt]) and before.get(prompt)}
    sd, freedom = pooled_sd([side for sides in both.values() for side in sides])
    if freedom < 1:
        return {}
    return {prompt: _fall(*sides, sd, freedom) for prompt, sides in both.items()}


def _fall(after: Sequence[float], before: Sequence[float], sd: float, freedom: int) -> Fall:
    old, new = (math.fsum(side) / len(side) for side in (before, after))
    squares = sum((x - old) ** 2 for x in before) + sum((x - new) ** 2 for x in after)
    df = len(before) + len(after) - 2
    prior = min(PRIOR, max(0, freedom - df))
    variance = (prior * sd**2 + squares) / (prior + df)
    error = math.sqrt(variance * (1 / len(after) + 1 / len(before)))
    return Fall(old, new, error, prior + df)


def fallen(each: Mapping[Hashable, Fall], most: float, level: float = LEVEL) -> list[Hashable]:
    """The prompts that surely fell by more than `most`, all at once (Holm), the furthest first."""
    ps = holm([fall.p_within(most) for fall in each.values()])
    sure = [prompt for prompt, p in zip(each, ps, strict=True) if p < (1 - level) / 2]
    return sorted(sure, key=lambda prompt: -each[prompt].drop)
