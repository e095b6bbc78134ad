"""What a gate's pictures say of its prompts: the mean of these, of others like them, and which fell."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from harness.core import stats
from harness.core.stats import Pair
from harness.core.text import bounds_text
from harness.core.values import CaseResult, Interval, Verdict, interval_from, to_record
from harness.judging.adaptive import DROP
from harness.judging.complaints import PRIMARY, JudgedComplaint, fail
from harness.judging.scores import by_case, values_of

NAMED = 5  # prompts in one sentence

Values = Mapping[str, Mapping[Pair, float]]
"""Metric to its values by (prompt, seed)."""


def own_prompts(values: Values, level: float = stats.LEVEL) -> dict[str, Interval]:
    """Each metric's mean over the suite's own prompts, with what their seeds leave open; this is what gates.

    With one seed a prompt nothing tells how seeds vary: then it is the mean of prompts like these, which varies more.
    """
    groups = {name: by_case(own) for name, own in values.items() if own}
    means = {name: stats.own_mean(group) for name, group in groups.items()}
    return {name: own.interval(level) if own else stats.clustered(groups[name], level) for name, own in means.items()}


def other_prompts(values: Values, level: float = stats.LEVEL) -> dict[str, Interval]:
    """Each metric's mean over all prompts of which these might be a sample, corrected for the few hard ones.

    Without bounds for one prompt, under however many ids.
    """
    means = {name: [math.fsum(x) / len(x) for x in by_case(own).values()] for name, own in values.items() if own}
    found: dict[str, Interval] = {}
    for count in {len(each) for each in means.values()}:  # a metric may be unmeasured on some
        names = [name for name, each in means.items() if len(each) == count]
        found |= zip(names, stats.one_by_one(np.array([means[name] for name in names]).T, level), strict=True)
    return {name: found[name] for name in means}


def p_below(values: Mapping[Pair, float], bound: float, level: float = stats.LEVEL) -> float:
    """One-sided p of "the mean over the suite's own prompts is at least `bound`"."""
    groups = by_case(values)
    own = stats.own_mean(groups)
    return own.p_below(bound) if own else stats.p_below(stats.clustered(groups, level), bound, level)


def prompt_notes(gates: Mapping[str, Verdict]) -> list[str]:
    """For people: what is known of quality over other prompts, beside what gates; a line a gate provider."""
    notes = []
    for provider, gate in gates.items():
        other, own = gate.details.get("other_prompts", {}).get(PRIMARY), gate.scores.get(PRIMARY)
        if other and own and own.n:
            few = "" if other["low"] is not None else " (one prompt says nothing of others)"
            notes.append(
                f"{provider}: quality {bounds_text(own)} over the suite's own prompts, which is what gates; "
                f"{bounds_text(interval_from(other))} over others like them{few}"
            )
    return notes


def fallen_prompts(
    results: Sequence[CaseResult],
    baseline: Sequence[CaseResult],
    details: dict[str, object],
    level: float = stats.LEVEL,
) -> list[JudgedComplaint]:
    """Prompts whose quality surely fell by more than `DROP`, by name: one that collapses hides in a mean over many.

    All seeds of either side count, so that a prompt that was drawn again is held by all of them.
    """
    now, before = (by_case(values_of(side, PRIMARY)) for side in (results, baseline))
    each = stats.falls(now, before)
    sure = stats.fallen(each, DROP, level)
    if not sure:
        return []
    changes = {prompt: each[prompt].interval(level) for prompt in sure}
    details["fallen"] = {
        str(prompt): {"before": each[prompt].before, "after": each[prompt].after, **to_record(change)}
        for prompt, change in changes.items()
    }
    named = ", ".join(
        f"{prompt} from {each[prompt].before:.2f} to {each[prompt].after:.2f} "
        f"({bounds_text(changes[prompt], signed=True)})"
        for prompt in sure[:NAMED]
    )
    more = f" and {len(sure) - NAMED} more" if len(sure) > NAMED else ""
    count = "one prompt" if len(sure) == 1 else f"{len(sure)} prompts"
    return [fail("regression", f"quality of {count} fell by more than {DROP:g} against the baseline: {named}{more}")]
