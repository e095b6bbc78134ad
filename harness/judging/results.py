"""From what a run knows to its record, `harness.judging.record.RunRecord`; report and summary are projections of it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.core.project import find_project, project_path
from harness.core.stats.calibration import Calibration
from harness.core.text import measured_text
from harness.core.values import (
    ALARMS,
    CaseResult,
    Decision,
    Job,
    SetScore,
    Suite,
    Threshold,
    Trait,
    Verdict,
    digest,
    to_record,
)
from harness.judging.blind import in_the_dark, without_values
from harness.judging.causes import cause_of
from harness.judging.complaints import ORDER
from harness.judging.confirmation import confirmation_notes
from harness.judging.feedback import feedback
from harness.judging.leaderboard import leaderboard
from harness.judging.prompts import prompt_notes
from harness.judging.record import (
    SCHEMA,
    CalibrationRecord,
    CardSummary,
    CaseRecord,
    EngineRecord,
    FeedbackRecord,
    GateRecord,
    HeldBaseline,
    LoraRecord,
    RoundRecord,
    RunFacts,
    RunRecord,
    SubjectRecord,
    SuiteFindings,
    SuiteRecord,
    VerdictRecord,
)
from harness.judging.scores import possible
from harness.scoring.known_cards import find_card

WORST = tuple(reversed(ORDER))
PATHS = frozenset({"path", "references", "impostors"})  # of a suite's own record


@dataclass(frozen=True)
class SuiteRun:
    """All that a run knows about one suite."""

    suite: Suite
    results: Mapping[str, Sequence[CaseResult]]  # by provider
    verdicts: Mapping[Job, Verdict] = field(default_factory=dict)
    gates: Mapping[str, Verdict] = field(default_factory=dict)  # by gate provider
    attempts: Mapping[Job, Sequence[Verdict]] = field(default_factory=dict)  # verdicts before retraining
    emulated: Collection[str] = ()
    traits: Sequence[Trait] = ()
    calibration: Calibration | CalibrationRecord | None = None
    references: Mapping[str, Sequence[str]] = field(default_factory=dict)  # split to SHA-256 of stored pictures
    scorer: Mapping[str, Any] = field(default_factory=dict)  # what decides a score, by name; at least `identity`
    recipe: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # by provider: what its requests share
    notes: Sequence[str] = ()  # for people: locked cases left out, a prompt cut off
    sets: Mapping[str, Mapping[str, SetScore]] = field(default_factory=dict)  # by gate provider and metric
    readings: Sequence[Any] = ()  # `harness.references.Reading`: every category as the training pictures show it
    baseline: HeldBaseline | None = None  # None: there is none
    file: str = ""  # from the project's root on; "": as it lies here
    own_name: str = ""  # what its file calls it, where the run has several suites of that name
    about: SuiteFindings = field(default_factory=SuiteFindings)


def build_results(
    run: RunFacts,
    suites: Sequence[SuiteRun],
    engine: EngineRecord,
    rounds: Sequence[RoundRecord] = (),
    trouble: str = "",
) -> RunRecord:
    """The record of a run: exactly what will be read back from its file.

    Args:
        run: which it was, and with what.
        suites: one a suite, in the order in which they ran.
        engine: what the engine did and spent; what the pictures cost is filled in here.
        rounds: of retraining.
        trouble: why the run broke down, if it did; turns the verdict to error.
    """
    suites, rounds = tell_apart([_lit(item) for item in suites], rounds)
    costs = {"cost_usd": _cost(suites), "emulated_usd": _cost(suites, True)}
    record = RunRecord(
        schema=SCHEMA,
        run=run,
        gate=gate_record(suites, trouble, run.shard),
        leaderboard=tuple(row for item in suites for row in leaderboard(item.suite, item.results, item.emulated)),
        cases=tuple(case for item in suites for case in _cases(item)),
        engine=engine.model_copy(update=costs),
        rounds=tuple(rounds),
        suites=tuple(map(suite_record, suites)),
        feedback=tuple(_feedback(item, provider, rounds) for item in suites for provider in _judged(item)),
    )
    return RunRecord.of(record)


def tell_apart(suites: Sequence[SuiteRun], rounds: Sequence[RoundRecord]) -> tuple[list[SuiteRun], list[RoundRecord]]:
    """Suites of one name get their folders' beside it, as a name that is an id; whoever is the only one keeps his."""
    named = [replace(item, file=item.file or project_path(item.suite.path)) for item in suites]
    count = Counter(item.suite.name for item in named)
    labels: dict[str, str] = {}
    for item in (each for each in named if count[each.suite.name] > 1):
        folder = re.sub(r"[^a-z0-9_-]+", ".", Path(item.file).parent.as_posix().lower()).strip(".")
        label = f"{item.suite.name}.{folder}" if folder else item.suite.name
        taken = label in labels.values() or (label != item.suite.name and label in count)
        labels[item.file] = f"{label}.{digest(item.file)[:6]}" if taken else label
    told = [
        replace(item, suite=replace(item.suite, name=labels[item.file]), own_name=item.suite.name)
        if item.file in labels
        else item
        for item in named
    ]
    names = {item.file: item.suite.name for item in told}
    return told, [each.model_copy(update={"suite": names.get(each.file, each.suite)}) for each in rounds]


def name_in(results: RunRecord, suite: Suite) -> str:
    """What a run's record calls a suite: its name, unless the run has several of that name."""
    known = [item for item in results.suites if item.own_name == suite.name]
    if len(known) > 1:
        file = project_path(suite.path)
        return next((item.name for item in known if file in (item.file, item.path)), suite.name)
    return known[0].name if known else suite.name


def _lit(item: SuiteRun) -> SuiteRun:
    """Without values of those whose pictures the models do not know."""
    dark = [name for name, results in item.results.items() if in_the_dark(results)]
    if not dark:
        return item
    return replace(
        item,
        results={name: without_values(own) if name in dark else own for name, own in item.results.items()},
        verdicts={job: replace(v, scores={}) if job.provider in dark else v for job, v in item.verdicts.items()},
        gates={name: replace(v, scores={}) if name in dark else v for name, v in item.gates.items()},
    )


def _cost(suites: Sequence[SuiteRun], emulated: bool = False) -> float:
    """What this run paid, or what emulated services would have asked for; pictures in the store were paid before."""
    results = [result for item in suites for group in item.results.values() for result in group]
    samples = [sample for result in results for sample in result.samples if not sample.cached]
    return sum(sample.cost_usd for sample in samples if sample.emulated is emulated)


def _judged(item: SuiteRun) -> list[str]:
    """The gate providers of a suite that took part in the run."""
    return [provider for provider in item.suite.gate if item.results.get(provider) or provider in item.gates]


# --- the verdict --------------------------------------------------------------------------------------------------


def gate_record(suites: Sequence[SuiteRun], trouble: str = "", shard: str = "") -> GateRecord:
    """The verdict of the run: the worst of the gate items' and of the gate providers' own cases.

    An inconclusive case alone does not open the verdict: its suite's gate weighs all cases together, and where it did
    not, because only some were run, nothing is judged but what is red. A shard (I/N) has no verdict of its own, except
    that something broke; its gate items are kept for the merge.
    """
    result: list[tuple[Decision, list[str]]] = [(Decision.ERROR, [trouble])] if trouble else []
    for item in suites:
        for provider in _judged(item):
            gate = item.gates.get(provider)
            if not shard:
                unseen = (Decision.NOT_JUDGED, [_unseen(item, provider)])
                result.append((gate.decision, _gate_reasons(item.suite, provider, gate)) if gate else unseen)
            red = {
                job.case: verdict
                for job, verdict in item.verdicts.items()
                if job.provider == provider and verdict.decision in (Decision.FAIL, Decision.ERROR)
            }
            explained = [] if shard or not gate else [case for case in red if _explains(gate, red[case])]
            if gate and len(explained) > 1:
                words = (
                    f"{item.suite.name}, {provider}: {len(explained)} cases for the same reason: {', '.join(explained)}"
                )
                result.append((gate.decision, [words]))
            for case, verdict in red.items():
                if case not in explained or len(explained) == 1:
                    result.append((verdict.decision, [_reason(f"{case} by {provider}", verdict)]))
    items = tuple(
        _verdict_record(verdict, suite=item.suite.name, provider=provider)
        for item in suites
        for provider, verdict in item.gates.items()
    )
    if shard:
        result = [(decision, words) for decision, words in result if decision is Decision.ERROR]
    if not result:
        why = f"shard {shard}: `harness merge` judges" if shard else "no gate provider was judged in this run"
        return GateRecord(verdict=Decision.NOT_JUDGED, reasons=(why,), items=items)
    worst = next(decision for decision in WORST if any(decision is each for each, _ in result))
    reasons = tuple(reason for decision, words in result if decision is worst for reason in words)
    return GateRecord(verdict=worst, reasons=reasons, items=items)


def _explains(gate: Verdict, case: Verdict) -> bool:
    """Whether the gate's cause is the case's too: so it is said once."""
    if not gate.cause or gate.decision is not case.decision:
        return False
    return case.decision is Decision.FAIL or all(
        item.message.partition(": ")[2] in gate.cause for item in case.complaints if item.severity == "error"
    )


def _unseen(item: SuiteRun, provider: str) -> str:
    """What a run of some cases says of a gate that it did not ask."""
    seen = {result.job.case for result in item.results.get(provider, ())}
    cases = [case.id for case in item.suite.cases if case.is_open or case.id in seen]
    return f"{item.suite.name}, {provider}: gate not judged, {len(seen)} of {len(cases)} cases seen"


def _verdict_record(verdict: Verdict, **item: str) -> VerdictRecord:
    return VerdictRecord(
        **item,
        verdict=verdict.decision.value,
        scores={name: possible(score) for name, score in verdict.scores.items()},
        complaints=verdict.complaints,
        cause=verdict.cause,
        details=verdict.details,
        **({"cause_name": verdict.cause_name} if verdict.cause_name else {}),
    )


def _reason(name: str, verdict: Verdict) -> str:
    words = "; ".join(item.message for item in verdict.complaints if item.severity != "warn")
    words = words or "; ".join(item.message for item in verdict.complaints)
    cause = f"{verdict.cause}: " if verdict.cause and verdict.cause not in words else ""
    score = verdict.scores.get("quality")
    return f"{name}: {cause}{words or f'quality {measured_text(score)}'}"


def _gate_reasons(suite: Suite, provider: str, gate: Verdict) -> list[str]:
    """One reason a complaint that matters; the score itself when there is nothing to complain of."""
    name = f"{suite.name}, {provider}"
    told = "outcome" if gate.cause_name == "pictures_missing" else ""  # the cause says the same
    serious = [item.message for item in gate.complaints if item.severity != "warn" and item.metric != told]
    if gate.decision is Decision.PASS:
        bound = suite.threshold(None, "quality").fail
        wanted = "" if bound is None else f", wanted {bound:.2f}"
        return [f"{name}: quality {measured_text(gate.scores.get('quality'))}{wanted}"]
    if not serious:
        return [_reason(name, gate)]
    cause = [f"{name}: {gate.cause}"] if gate.cause and not any(gate.cause in words for words in serious) else []
    return cause + [f"{name}: {words}" for words in serious]


# --- the parts ----------------------------------------------------------------------------------------------------


def _cases(item: SuiteRun) -> Iterable[CaseRecord]:
    """One record a case and provider, in the order of the suite's cases."""
    order = {case.id: index for index, case in enumerate(item.suite.cases)}
    every = [result for group in item.results.values() for result in group]
    for result in sorted(every, key=lambda result: order.get(result.job.case, len(order))):
        yield _case_record(item, result)


def _case_record(item: SuiteRun, result: CaseResult) -> CaseRecord:
    job = result.job
    case = next((case for case in item.suite.cases if case.id == job.case), None)
    verdict = item.verdicts.get(job)
    bounds = {metric: item.suite.threshold(case, metric) for metric in item.suite.metrics(case)}
    return CaseRecord(
        suite=item.suite.name,
        case=job.case,
        split=case.split if case else "open",
        provider=job.provider,
        gate=job.provider in item.suite.gate,
        verdict="skipped" if result.skipped else verdict.decision.value if verdict else None,
        outcome=result.outcome.value if result.samples else None,
        scores=verdict.scores if verdict else {},
        samples=result.samples,
        complaints=verdict.complaints if verdict else (),
        cause=verdict.cause if verdict else "",
        skipped=result.skipped,
        attempts=tuple(map(_verdict_record, item.attempts.get(job, ()))),
        prompt=case.prompt if case else "",
        negative=case.negative if case else "",
        expect=case.expect if case else {},
        tags=case.tags if case else (),
        line=case.line if case else 1,
        thresholds={name: bound for name, bound in bounds.items() if bound != Threshold()},
    )


def suite_record(item: SuiteRun) -> SuiteRecord:
    """What a reader must know of the suite to read its figures."""
    suite, subject = item.suite, item.suite.subject
    lora, card = subject.lora, find_card(item.scorer)
    return SuiteRecord(
        name=suite.name,
        path=relative(suite.path),
        file=item.file or project_path(suite.path),
        subject=SubjectRecord(name=subject.name, kind=subject.kind, trigger=subject.trigger),
        lora=LoraRecord(file=lora.path.name, strength=lora.strength) if lora else None,
        providers=suite.providers,
        gate=suite.gate,
        beat=suite.beat,
        allowances=suite.allowances,
        samples=suite.samples,
        seed=suite.seed,
        weights=suite.weights,
        thresholds=suite.thresholds,
        alarms={name: suite.alarm(name) for name in ALARMS},
        margin=suite.margin,
        traits=tuple(item.traits),
        calibration=calibration_record(item.calibration),
        references={split: tuple(images) for split, images in item.references.items()},
        scorer=item.scorer,
        recipe=item.recipe,
        notes=(*item.notes, *confirmation_notes(item.verdicts), *prompt_notes(item.gates)),
        sets=item.sets,
        baseline=item.baseline,
        card=CardSummary.of(card) if card else None,
        definition=definition_record(replace(suite, name=item.own_name or suite.name)),
        **{name: value for name in SuiteFindings.model_fields if (value := getattr(item.about, name))},
    )


def definition_record(suite: Suite) -> dict[str, object]:
    """All that the suite's file says, to judge runs of parts of it again. Paths from the project's root on."""
    record: dict[str, object] = to_record(suite)
    root = find_project(suite.path)

    def shown(path: Path) -> str:
        return path.relative_to(root).as_posix() if path.is_relative_to(root) else relative(path)

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {
                name: shown(Path(item)) if name in PATHS and isinstance(item, str) else plain(item)
                for name, item in value.items()
            }
        return [plain(item) for item in value] if isinstance(value, list) else value

    result: dict[str, object] = plain(record)
    return result


def calibration_record(calibration: Calibration | CalibrationRecord | None) -> CalibrationRecord | None:
    """A calibration with the reason why it must not gate, if there is one."""
    if isinstance(calibration, Calibration):
        return CalibrationRecord.of({**to_record(calibration), "reason": calibration.reason})
    return calibration


def relative(path: Path) -> str:
    """A path as the person at the keyboard would type it, where that is possible."""
    return path.relative_to(Path.cwd()).as_posix() if path.is_relative_to(Path.cwd()) else path.as_posix()


def _feedback(item: SuiteRun, provider: str, rounds: Sequence[RoundRecord] = ()) -> FeedbackRecord:
    gate = item.gates.get(provider)
    ours = [each for each in rounds if (each.suite, each.provider) == (item.suite.name, provider)]
    result = ours[-1].causes if ours and not ours[-1].promoted else ()  # of the LoRA that is judged
    message = feedback(
        item.suite,
        item.verdicts,
        item.results,
        item.traits,
        gate=gate,
        provider=provider,
        sets=item.sets.get(provider),
        readings=item.readings,
        causes=[cause_of(each.name, each.confidence, each.evidence) for each in result],
    )
    return FeedbackRecord.of(message.to_record())
