"""A red case is confirmed before it counts: as many seeds again, and its own spread must agree.

A case is first judged with the spread of all cases (`judge_case`), because three seeds alone say too little. That
spread is too small for a hard prompt, whose seeds vary by more than the others': exactly on its bound it is red in one
run of three. So a gate provider's case that looks red is drawn again, as many seeds as it has, and is red only if
its own spread over all of them proves it too (`stats.surely_below`). Where no more can be drawn it is held against what
there is; what its own spread does not bear out stays open.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from harness.core import stats
from harness.core.stats.calibration import Calibration
from harness.core.text import bounds_text
from harness.core.values import Case, CaseResult, Complaint, Decision, Interval, Job, Suite, Verdict, to_record
from harness.judging.adaptive import level_at
from harness.judging.judge import judge_case, pooled_sds
from harness.judging.scores import values_by_metric


@dataclass(frozen=True)
class MoreSeeds:
    """How far a red case can be drawn again."""

    seeds: int = 0  # that a red case should have; 0: nothing can be drawn any more
    blocked: Mapping[Job, str] = field(default_factory=dict)  # cases that can have no more, and why

    def waits(self, result: CaseResult) -> int:
        """The seeds that a case waits for; 0 where it has them or cannot have them."""
        return self.seeds if len(result.samples) < self.seeds and result.job not in self.blocked else 0


def can_turn_red(suite: Suite) -> bool:
    """Whether any case has a bound to fall below."""
    return any(suite.threshold(case, name).fail is not None for case in suite.cases for name in suite.metrics(case))


def judge_cases(
    suite: Suite,
    results: Sequence[CaseResult],
    calibration: Calibration | None = None,
    more: MoreSeeds | None = None,
) -> dict[Job, Verdict]:
    """The verdicts on one provider's cases, red ones confirmed.

    Args:
        more: None: no case can be drawn again.
    """
    pooled, more = pooled_sds(results), more or MoreSeeds()
    verdicts = {}
    for result in results:
        case = suite.case(result.job.case)
        first = judge_case(suite, case, result, pooled, calibration=calibration)
        verdicts[result.job] = confirm(suite, case, result, first, more)
    return verdicts


def confirm(suite: Suite, case: Case, result: CaseResult, verdict: Verdict, more: MoreSeeds) -> Verdict:
    """A verdict whose red bounds have been confirmed, or are open and say what they wait for.

    Competitors only inform, so nothing is drawn for them and nothing changes. Neither does what no score says: a blank
    picture, say.
    """
    red = red_bounds(suite, case, verdict) if result.job.provider in suite.gate else {}
    if not red:
        return verdict
    level, values = level_at(suite, len(result.samples)), values_by_metric([result], red)
    seeds = {name: list(scores.values()) for name, scores in values.items()}
    waits = more.waits(result)
    proven = [name for name, bound in red.items() if not waits and stats.surely_below(seeds[name], bound, level)]
    own = {name: stats.mean_interval(seeds[name], level) for name in red}
    words = [
        confirmed(item, len(seeds[item.metric])) if item.metric in proven
        else unconfirmed(item, own[item.metric], waits, more.blocked.get(result.job, "")) if item.metric in red
        else item
        for item in verdict.complaints
    ]  # fmt: skip
    still = any(item.severity == "fail" for item in words)
    waiting = [name for name in red if name not in proven]
    details = {
        **verdict.details,
        "confirmation": {"seeds": len(result.samples), "own": to_record(own), "proven": proven},
        **({"confirm": waits} if waits and not still else {}),
        **({"open": list(dict.fromkeys([*waiting, *verdict.details.get("open", ())]))} if waiting else {}),
    }
    decision = Decision.FAIL if still else Decision.INCONCLUSIVE
    return replace(verdict, decision=decision, complaints=tuple(sorted(words, key=severity)), details=details)


def first_look(
    results: Mapping[str, Sequence[CaseResult]], suite: Suite, samples: int | None
) -> Mapping[str, Sequence[CaseResult]]:
    """Results without the seeds that only confirm red cases: what is weighed together was chosen by no score.

    Where the number of samples is open, all of them count.
    """
    if suite.min_samples:
        return results
    most = samples or suite.samples
    return {
        name: [replace(result, samples=result.samples[:most]) for result in group] for name, group in results.items()
    }


def red_bounds(suite: Suite, case: Case, verdict: Verdict) -> dict[str, float]:
    """Metric to `fail` of every bound that a verdict is red for."""
    if verdict.decision is not Decision.FAIL:
        return {}
    failed = {item.metric for item in verdict.complaints if item.severity == "fail"} & set(verdict.scores)
    bounds = {name: suite.threshold(case, name).fail for name in sorted(failed - {"technical"})}  # a fault is no luck
    return {name: bound for name, bound in bounds.items() if bound is not None}


def severity(item: Complaint) -> bool:
    """What fails comes first."""
    return item.severity == "warn"


def confirmation_notes(verdicts: Mapping[Job, Verdict]) -> list[str]:
    """For people: how many red cases were drawn again, and what came of it; a line a provider."""
    notes = []
    for provider in dict.fromkeys(job.provider for job in verdicts):
        mine = [verdict for job, verdict in verdicts.items() if job.provider == provider]
        held = [each.details["confirmation"] for each in mine if "confirmation" in each.details]
        if not held:
            continue
        sure = sum(bool(each["proven"]) for each in held)
        most = max(each["seeds"] for each in held)
        red = "one case" if len(held) == 1 else f"{len(held)} cases"
        end = f"{sure} confirmed, {len(held) - sure} open" if sure < len(held) else "all confirmed"
        notes.append(f"{provider}: {red} looked red by the spread of all; by their own, of up to {most} seeds: {end}")
    return notes


# --- in words -----------------------------------------------------------------------------------------------------


def confirmed(item: Complaint, seeds: int) -> Complaint:
    return replace(item, message=f"{item.message}; confirmed with {seeds} seeds")


def unconfirmed(item: Complaint, own: Interval, waits: int, blocked: str) -> Complaint:
    """Red by the spread of all cases, and open: what is missing, or what the case's own seeds say."""
    if waits:
        text = f"to be confirmed with {waits} seeds, it has {own.n}"
    elif own.n < stats.ENOUGH:
        text = f"not confirmed: {own.n} {'seed says' if own.n == 1 else 'seeds say'} too little by themselves"
    else:
        text = f"not confirmed: by their own spread {own.n} seeds give {bounds_text(own)}"
    why = f" (no more could be drawn: {blocked})" if blocked else ""
    return replace(item, message=f"{item.message}; {text}{why}", severity="warn")
