"""A record's verdicts once more, from the scores of the pictures in it: who edits the one must edit the other.

What this takes on trust are the scores themselves, and what was found at the LoRA file; the store knows the former.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Protocol, runtime_checkable

from harness.core.errors import HarnessError
from harness.core.values import Complaint, Decision, Interval, Score, Verdict
from harness.engine.merge import PartialRun, key_of, merge_suite, parts_of
from harness.engine.scoring import case_key
from harness.judging.changes import REGRESSED
from harness.judging.record import CaseRecord, HeldBaseline, LeaderboardRow, RunRecord
from harness.judging.results import WORST, SuiteRun, build_results

TOLERANCE = 5e-3  # of a mean
BASELINE = ("regression", "baseline")  # what complaints about it are called
DAMAGED = (HarnessError, TypeError, ValueError, LookupError, AttributeError)  # what details of another shape raise
OPEN = ("inconclusive", "fail")  # a red case that more seeds would have confirmed, had they been drawn
SHOWN = 3  # differences that stand beside the verdict


@runtime_checkable
class ScoreStore(Protocol):
    """What a store knows of pictures."""

    def scores(self, image: str, scorer: str) -> Mapping[str, Score] | None: ...


def verified(record: RunRecord, store: ScoreStore | None = None) -> tuple[RunRecord, list[str]]:
    """A record as its pictures' scores give it, and where it said otherwise; itself where they agree.

    Args:
        store: asked for the scores of the pictures, where it has them.
    """
    told = list(rescored(record, store)) if store else []
    distrust = bool(told)
    try:
        suites = [again(part) for suite in record.suites for part in parts_of(key_of(suite), [record])]
        derived = build_results(record.run, suites, record.engine, record.rounds, record.run.trouble)
    except DAMAGED as error:
        words = f"its verdicts could not be derived again ({error}); the run that made it can be made again"
        return with_gate(record, told, distrust) if told else record, [*told, words]
    told += differences(record, derived)
    if not told:
        return record, []
    return with_gate(derived if record.suites else record, told, distrust), told


def again(part: PartialRun) -> SuiteRun:
    """One suite judged from its samples. What its baseline decided is taken over where the record does not hold it."""
    held = part.record.baseline
    if held is None or held.found is not None:
        return merge_suite([part])
    bare = part.record.model_copy(update={"baseline": None})
    run = merge_suite([replace(part, record=bare)])
    gates = {name: with_baseline(verdict, name, part, held) for name, verdict in run.gates.items()}
    return replace(run, gates=gates, baseline=held)


def with_baseline(verdict: Verdict, provider: str, part: PartialRun, held: HeldBaseline) -> Verdict:
    """A verdict that was derived without the baseline, and what the record says of that."""
    said = [gate for gate in part.gates if gate.provider == provider]
    complaints = tuple(item for gate in said for item in gate.complaints if item.metric in BASELINE)
    decisions = {verdict.decision, *(Decision(gate.verdict) for gate in said if complaints)}
    own = held.providers.get(provider)
    if held.binding and own and own.verdict == REGRESSED and not complaints:
        complaints = (Complaint("regression", "quality against the baseline: regressed", "fail"),)
        decisions.add(Decision.FAIL)
    worst = next(decision for decision in WORST if decision in decisions)
    return replace(verdict, decision=worst, complaints=(*verdict.complaints, *complaints))


def with_gate(record: RunRecord, told: Sequence[str], distrust: bool) -> RunRecord:
    """A record whose verdict begins with what was said otherwise; with `distrust` it cannot be a pass."""
    few = "; ".join(told[:SHOWN]) + (f"; and {len(told) - SHOWN} more" if len(told) > SHOWN else "")
    words = f"the record does not agree with its own pictures' scores (edited, or of another version): {few}"
    gate = record.gate.model_copy(update={"reasons": (words, *record.gate.reasons)})
    if distrust and gate.verdict is Decision.PASS:
        gate = gate.model_copy(update={"verdict": Decision.ERROR})
    warnings = (*record.run.warnings, *told)
    return record.model_copy(update={"gate": gate, "run": record.run.model_copy(update={"warnings": warnings})})


# --- where they differ ---------------------------------------------------------------------------------------------


def differences(said: RunRecord, found: RunRecord) -> Iterator[str]:
    """What a record says of verdicts and means, and what its samples say."""
    if said.gate.verdict is not found.gate.verdict:
        yield f"it says {said.gate.verdict.value}, its scores say {found.gate.verdict.value}"
    gates = {(item.suite, item.provider): item for item in found.gate.items}
    for item in said.gate.items:
        again = gates.get((item.suite, item.provider))
        name = f"the gate of {item.provider} in {item.suite}"
        if again is None or item.verdict != again.verdict:
            yield f"{name}: says {item.verdict}, found {again.verdict if again else 'nothing'}"
        elif words := means_differ(item.scores, again.scores):
            yield f"{name}: {words}"
    cases = {(case.suite, case.case, case.provider): case for case in found.cases}
    for case in said.cases:
        yield from case_differs(case, cases.get((case.suite, case.case, case.provider)))
    rows = {(row.suite, row.provider): row for row in found.leaderboard}
    for row in said.leaderboard:
        yield from row_differs(row, rows.get((row.suite, row.provider)))


def case_differs(said: CaseRecord, found: CaseRecord | None) -> Iterator[str]:
    name = f"{said.case} by {said.provider}"
    if found is None:
        yield f"{name}: found nothing"
    elif said.verdict != found.verdict and (said.verdict, found.verdict) != OPEN and said.verdict is not None:
        yield f"{name}: says {said.verdict}, found {found.verdict}"
    elif words := means_differ(said.scores, found.scores):
        yield f"{name}: {words}"


def row_differs(said: LeaderboardRow, found: LeaderboardRow | None) -> Iterator[str]:
    name = f"the leaderboard's {said.provider} in {said.suite}"
    if found is None:
        yield f"{name}: found nothing"
    elif said.rank != found.rank:
        yield f"{name}: says rank {said.rank}, found {found.rank}"
    elif words := means_differ(said.scores, found.scores):
        yield f"{name}: {words}"


def means_differ(said: Mapping[str, Interval], found: Mapping[str, Interval]) -> str:
    """The first mean that differs, in words."""
    for name, score in said.items():
        mean = found[name].mean if name in found else None
        if mean is None or abs(score.mean - mean) > TOLERANCE:
            return f"says {name} {score.mean:.2f}, found {'none' if mean is None else f'{mean:.2f}'}"
    return ""


def rescored(record: RunRecord, store: ScoreStore) -> Iterator[str]:
    """Pictures of which the record says other scores than the store found."""
    scorers = {suite.name: str(suite.scorer.get("identity", "")) for suite in record.suites}
    for case in record.cases:
        key = case_key(scorers.get(case.suite, ""), case.expect)
        for sample in case.samples if key else ():
            known = store.scores(sample.image, key) if sample.image else None
            for name, score in (known or {}).items():
                said = sample.scores.get(name)
                if said is None or not alike(said.value, score.value):
                    yield (
                        f"{case.case} by {case.provider}, seed {sample.seed}: says {name} "
                        f"{value_text(said.value if said else None)}, the store {value_text(score.value)}"
                    )
                    break


def alike(one: float | None, other: float | None) -> bool:
    return one == other or (one is not None and other is not None and abs(one - other) <= TOLERANCE)


def value_text(value: float | None) -> str:
    return "nothing" if value is None else f"{value:.2f}"
