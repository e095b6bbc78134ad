"""Promote or refuse: the decision over a held-out test's scores, and its reasons in words. Pure.

Every look at one champion is paid for: the k-th challenger of the same champion is held against ALPHA / 2**k, so that
all of them together, however many come, promote one that is no better with a probability of ALPHA at most.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from functools import partial
from statistics import fmean

from harness.core.stats import LEVEL, Pair, clustered, differs, flips_of_few, max_of_k, paired
from harness.core.stats import differences as gaps_of
from harness.core.text import measured_text
from harness.core.values import Interval, SetScore, Suite
from harness.judging.changes import flips_text
from harness.judging.following import MARGIN, PROMPT, Gap, Loss
from harness.judging.scores import by_case, possible

WORSE = 0.05  # how far a challenger may stand behind a champion that raises the same alarm
ALPHA = 0.05  # of promoting a challenger that is no better than one champion, over all who ever challenge it

Values = Mapping[str, Mapping[Pair, float]]
"""Metric to calibrated scores by (case, seed)."""

gap_text = partial(measured_text, signed=True)


@dataclass(frozen=True)
class Ruling:
    """How a held-out test ended."""

    promoted: bool
    reasons: tuple[str, ...]
    differences: Mapping[str, Interval]  # challenger minus champion, by metric
    before: Mapping[str, Interval]  # the champion's scores on the locked cases
    after: Mapping[str, Interval]  # the challenger's
    sets: Mapping[str, SetScore] = field(default_factory=dict)  # what the challenger's pictures say together
    base: Interval | None = None  # the challenger's quality minus that of the base without a LoRA
    rival: str = ""  # the competitor that is nearest or ahead
    rival_gap: Interval | None = None  # quality minus the best competitor's, corrected for the choice of the best
    look: int = 1  # how many challengers this champion has had, this one included
    level: float = LEVEL  # of the interval that had to lie above 0


NO_ANSWER = Gap(Interval(0.0), Loss.OPEN)
"""Of a challenger whose pictures answer none of the questions."""


def intervals(values: Values) -> dict[str, Interval]:
    """Each metric's mean, clustered by case."""
    return {metric: possible(clustered(by_case(scores))) for metric, scores in values.items() if scores}


@dataclass(frozen=True)
class RivalScores:
    """Quality of the others on the locked cases."""

    base: Mapping[Pair, float] = field(default_factory=dict)  # without a LoRA, the same cases and seeds
    rivals: Mapping[str, Mapping[Pair, float]] = field(default_factory=dict)  # competitors, each with its own seeds
    gain_on_open: Interval | None = None  # the challenger's over the champion, on open cases with fresh seeds
    strange: str = ""  # why its origin alone refuses the challenger
    following: Gap | None = None  # how it follows prompts against the champion; None: nothing can be asked


def level_of(look: int) -> float:
    """The level of the two-sided interval that the k-th challenger of one champion must have above 0.

    One-sided, ALPHA / 2**k is spent at look k: 2.5%, 1.25%, 0.63%, ... which add up to ALPHA (Bonferroni over a
    geometric series, the simplest alpha spending that needs no end). Interval levels are 1 - 2 * ALPHA / 2**k.
    """
    return 1 - 2 * ALPHA / 2 ** max(1, look)


def decide(
    suite: Suite,
    challenger: Values,
    champion: Values,
    doubt: str = "",
    sets: Mapping[str, SetScore] | None = None,
    usual: Mapping[str, SetScore] | None = None,
    beside: RivalScores | None = None,
    look: int = 1,
    goal: str = "quality",
) -> Ruling:
    """Promote what is proven better in one metric, no worse than base, nowhere proven worse, above all bounds. Pure.

    "Better" is an interval above 0 around a gain of the suite's margin at least, "worse" a whole interval below
    -margin: with many pictures any nothing becomes significant.

    Args:
        doubt: why the scores themselves cannot be trusted, which refuses everything; "" when they can.
        sets: what the challenger's pictures say together.
        usual: the same of the champion's; needed only where the challenger raises an alarm.
        beside: the base and the competitors; competitors are told of and refuse nobody.
        look: how many challengers this champion has had, this one included; each raises the proof that is asked for.
        goal: the one metric that has to be better, quality but for a suite in which something else fails.
    """
    beside, level, after = beside or RivalScores(), level_of(look), intervals(challenger)
    differences = compare(challenger, champion, goal, level)
    flips = flips_of_few(gaps_of(challenger[goal], champion[goal]))
    over_base = paired(challenger["quality"], beside.base)
    against = [
        *([f"the scores cannot decide: {doubt}"] if doubt else []),
        *undrawn(challenger, champion, goal),
        *([beside.strange] if beside.strange else []),
        *unproven(goal, differences.get(goal), flips, look, suite.margin),
        *(behind_base(over_base, suite.margin) if beside.base else []),
        *proven_worse(differences, goal, suite.margin),
        *follows_less(beside.following),
        *under_bounds(suite, after),
        *alarms_against(sets or {}, usual or {}),
        *learnt_held_out_test(differences.get("quality"), beside.gain_on_open, suite.margin),
    ]
    better = f"{goal}: better on the locked cases, {gap_text(differences.get(goal))}{spell_look(look)}"
    before, rival = intervals(champion), best_rival(challenger["quality"], beside.rivals)
    reasons = tuple(against or [better])
    return Ruling(not against, reasons, differences, before, after, sets or {}, over_base, *rival, look, level)


def compare(challenger: Values, champion: Values, goal: str, level: float) -> dict[str, Interval]:
    """Challenger minus champion by metric, the goal's interval at the level of this look."""
    results = {
        metric: paired(challenger[metric], champion[metric], level if metric == goal else LEVEL)
        for metric in challenger
        if metric in champion
    }
    return {metric: interval for metric, interval in results.items() if interval is not None}


# --- what speaks against a challenger -----------------------------------------------------------------------------


def unproven(goal: str, gain: Interval | None, flips: float | None, look: int, margin: float) -> list[str]:
    """The gain in the goal does not lie wholly above 0, or is too small to be worth a change.

    With few locked cases an exact sign-flip test must agree, as it must for a baseline.
    Two trainings by one recipe differ by a little, and enough locked cases prove any little; a regression asks for the
    margin as well.
    """
    if gain is None or gain.low is None:
        return [f"{goal}: too few pictures in common on the locked cases to prove anything"]
    if gain.mean <= 0 or not differs(gain, flips, level_of(look)):
        few = flips_text(gain, flips, level_of(look)) if gain.low > 0 else ""
        return [f"{goal}: not proven better on the locked cases, {gap_text(gain)}{few}{spell_look(look)}"]
    if gain.mean < margin:
        return [f"{goal}: better on the locked cases by less than the margin of {margin:g}, {gap_text(gain)}"]
    return []


def undrawn(challenger: Values, champion: Values, goal: str) -> list[str]:
    """Pictures that the champion has and the challenger lacks: the hard prompts may be the ones that broke."""
    asked = [(name, pair) for name in dict.fromkeys(("quality", goal)) for pair in champion[name]]
    missing = {pair for name, pair in asked if pair not in challenger[name]}
    return [f"{len(missing)} of its pictures of the locked cases could not be drawn"] if missing else []


def behind_base(over_base: Interval | None, margin: float) -> list[str]:
    """It may be worse than the base without a LoRA."""
    if over_base is not None and over_base.low is not None and over_base.low >= -margin:
        return []
    return [f"quality: not proven as good as the base without a LoRA, {gap_text(over_base)}"]


def proven_worse(differences: Mapping[str, Interval], goal: str, margin: float) -> list[str]:
    """Another metric lies wholly below the champion's."""
    worse = {
        metric: result
        for metric, result in differences.items()
        if metric != goal and result.high is not None and result.high < -margin
    }
    return [f"{metric}: worse on the locked cases, {gap_text(result)}" for metric, result in worse.items()]


def follows_less(gap: Gap | None) -> list[str]:
    """It may follow prompts less than what is in use: likeness that ignores what is asked is no gain.

    Asked wherever the base's pictures of the locked cases show that it can be read back.
    """
    if gap is None or gap.loss is Loss.NONE:
        return []
    shown = gap_text(None if gap is NO_ANSWER else gap.interval)
    return [f"{PROMPT}: not proven to follow prompts as well as before within {MARGIN:g}, {shown}"]


def under_bounds(suite: Suite, after: Mapping[str, Interval]) -> list[str]:
    """A mean is under the suite's own bound."""
    bounds = {metric: suite.threshold(None, metric).fail for metric in after}
    return [
        f"{metric}: {after[metric].mean:.2f} on the locked cases, under the suite's {bound:.2f}"
        for metric, bound in bounds.items()
        if bound is not None and after[metric].mean < bound
    ]


def learnt_held_out_test(locked: Interval | None, open_: Interval | None, margin: float) -> list[str]:
    """A gain on the locked cases that lies wholly above that on the open ones: nobody learns what he has not seen."""
    if locked is None or open_ is None or locked.low is None or open_.high is None:
        return []
    if locked.low <= open_.high + margin:
        return []
    return [
        f"quality: gains {gap_text(locked)} on the locked cases and {gap_text(open_)} on open ones: it knows the test"
    ]


def best_rival(own: Mapping[Pair, float], rivals: Mapping[str, Mapping[Pair, float]]) -> tuple[str, Interval | None]:
    """The competitor that is nearest or ahead, and the gap to the best of all, corrected for taking the maximum.

    Seeds of a service mean nothing here, so means of cases are compared, not single pictures.
    """
    ours = {case: fmean(values) for case, values in by_case(own).items()}
    gaps: dict[str, dict[Hashable, list[float]]] = {
        name: {case: [ours[case] - fmean(values)] for case, values in by_case(theirs).items() if case in ours}
        for name, theirs in rivals.items()
    }
    gaps = {name: groups for name, groups in gaps.items() if groups}
    if not gaps:
        return "", None
    return min(gaps, key=lambda name: clustered(gaps[name]).mean), max_of_k(gaps)


def spell_look(look: int) -> str:
    """Which challenger of this champion it is, and what was asked of it; "" of the first."""
    return f" at {level_of(look):.2%}, challenger {look} of this champion" if look > 1 else ""


def alarms_against(sets: Mapping[str, SetScore], usual: Mapping[str, SetScore]) -> list[str]:
    """Why the pictures together refuse a challenger.

    Copies always do: likeness that was copied proves nothing. The others do where the champion is better.
    """
    against = []
    for name, result in sets.items():
        if not result.alarm:
            continue
        before = usual.get(name)
        if name == "copy" or before is None or not before.alarm:
            against.append(f"{name}: on the locked cases {result.sentence}")
        elif shortcoming(result) > shortcoming(before) + WORSE:
            against.append(f"{name}: worse than the champion's, {result.sentence}")
    return against


def shortcoming(found: SetScore) -> float:
    """How bad an alarm is, 0 is good.

    The share of seeds that repeat a picture, of what does not change with the prompt, of the way that others come
    nearer.
    """
    if found.metric == "diversity":
        return 1 - float(found.details["share"])
    if found.metric == "response":
        return 1 - float(found.details["slope"])
    return max(float(found.details["leak"]["mean"]), float(found.details["taken"]))
