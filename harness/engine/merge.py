"""Several runs of parts of the same suites as one: their records united, and every verdict given again.

What a verdict needs of the pictures stands in the records, so the merge draws nothing, scores nothing and opens no
model: cases are judged with the variance of all of them, gates over all of them, and the whole is held against the
baseline that the shards carried. One thing is taken over as the shards found it: that the LoRA was applied.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from harness.core.errors import UsageError
from harness.core.sharding import read_shard
from harness.core.stats.calibration import Calibration
from harness.core.values import CaseResult, Decision, Job, Suite, Verdict
from harness.engine.merge_sets import merge_sets
from harness.engine.record import notes_of
from harness.judging.baseline import BaselineLookup, found_from, hold_record, hold_verdict
from harness.judging.comparable import Parts
from harness.judging.confirmation import first_look, judge_cases
from harness.judging.judge import judge_gate
from harness.judging.record import (
    CaseRecord,
    EngineRecord,
    MergedRun,
    RunFacts,
    RunRecord,
    SuiteFindings,
    SuiteRecord,
    VerdictRecord,
)
from harness.judging.results import SuiteRun, build_results, suite_record
from harness.scoring.metrics.applied import applied_from

SAME = ("profile", "size", "models", "versions", "locked")  # of a run: other ones are other pictures


@dataclass(frozen=True)
class PartialRun:
    """What one run found out about one suite."""

    record: SuiteRecord
    cases: Sequence[CaseRecord]
    gates: Sequence[VerdictRecord]
    emulated: frozenset[str]


def merge_results(records: Sequence[RunRecord]) -> RunRecord:
    """The record of the whole run.

    Args:
        records: of shards (all of them) or of runs that selected different cases.

    Raises:
        UsageError: another profile or version of the libraries, another definition or scorer of a suite, a case twice,
            a shard that is missing or stands there twice.
    """
    if not records:
        raise UsageError("nothing to merge; name the results.json of every shard")
    check_runs([record.run for record in records])
    check_shards(records)
    keys = dict.fromkeys(key_of(suite) for record in records for suite in record.suites)
    suites = [merge_suite(list(parts_of(key, records))) for key in keys]
    rounds = [item for record in records for item in record.rounds]
    trouble = next(filter(None, (record.run.trouble for record in records)), "")
    return build_results(merge_runs(records), suites, merge_engines(records), rounds, trouble)


# --- may they be merged? ------------------------------------------------------------------------------------------


def check_runs(runs: Sequence[RunFacts]) -> None:
    """All of one profile and of one set of libraries."""
    for run in runs:
        for name in SAME:
            first, other = getattr(runs[0], name), getattr(run, name)
            if other != first:
                raise UsageError(
                    f"runs {runs[0].id} and {run.id} differ in {name}: {first!r:.200} and {other!r:.200}; make all "
                    "shards alike"
                )


def check_shards(records: Sequence[RunRecord]) -> None:
    """Each of N shards once; one that has no case of its own need not be there."""
    shards = [read_shard(record.run.shard) for record in records if record.run.shard]
    if not shards:
        return
    if len(shards) < len(records):
        raise UsageError("a shard and a run without --shard cannot be merged")
    if len({shard.of for shard in shards}) > 1:
        raise UsageError(f"shards of different runs: {', '.join(map(str, shards))}; name those of one run")
    twice = next((shard for place, shard in enumerate(shards) if shard in shards[:place]), None)
    if twice:
        raise UsageError(f"shard {twice} stands there twice; name each once")
    suites = {key_of(item): suite_of(item) for record in records for item in record.suites}
    locked, drawn = records[0].run.locked, {shard.number for shard in shards}
    for suite in suites.values():
        for shard in (read_shard(f"{number}/{shards[0].of}") for number in range(1, shards[0].of + 1)):
            own = [case.id for case in suite.cases if case.id in shard.cases(suite)]
            if shard.number not in drawn and any(locked or suite.case(case).split == "open" for case in own):
                raise UsageError(f"shard {shard} is missing, and with it {len(own)} cases of {suite.name}; run it too")


def check_parts(name: str, parts: Sequence[PartialRun]) -> None:
    """One definition, one scorer, one LoRA, no case twice."""
    for key in ("definition", "samples", "lora"):
        if any(getattr(part.record, key) != getattr(parts[0].record, key) for part in parts):
            raise UsageError(f"suite {name}: the runs have another {key}; make all shards from one commit, alike")
    scorers = [part.record.scorer for part in parts if part.record.scorer]
    if any(scorer != scorers[0] for scorer in scorers):
        raise UsageError(f"suite {name}: the runs have another scorer; make all shards alike, on machines alike")
    seen: set[tuple[str, str]] = set()
    for case in (case for part in parts for case in part.cases):
        if (case.case, case.provider) in seen:
            raise UsageError(
                f"suite {name}: {case.case} by {case.provider} stands in two runs; name runs of different cases"
            )
        seen.add((case.case, case.provider))


# --- one suite ----------------------------------------------------------------------------------------------------


def key_of(record: SuiteRecord) -> str:
    """What tells suites apart, whatever they are called and wherever each machine has its project."""
    return record.file or record.own_name


def parts_of(key: str, records: Sequence[RunRecord]) -> Iterator[PartialRun]:
    """What each run says of a suite."""
    for record in records:
        for suite in record.suites:
            if key_of(suite) == key:
                yield PartialRun(
                    suite,
                    record.cases_of(suite.name),
                    [item for item in record.gate.items if item.suite == suite.name],
                    frozenset(row.provider for row in record.rows(suite.name) if row.emulated),
                )


def merge_suite(parts: Sequence[PartialRun]) -> SuiteRun:
    """All runs of one suite, judged as one."""
    check_parts(parts[0].record.own_name, parts)
    suite, records = suite_of(parts[0].record), [part.record for part in parts]
    results = merge_cases(suite, parts)
    kept = next((record.calibration for record in records if record.calibration), None)
    calibration = kept.restored() if kept else None
    verdicts: dict[Job, Verdict] = {}
    for group in results.values():  # nothing can be drawn any more: red cases are confirmed by what there is
        scored = any(result.scored for result in group)
        verdicts |= judge_cases(suite, group, calibration if scored else None)
    planned = first_look(results, suite, None)
    sets = {
        provider: merge_sets(known, provider, planned)
        for provider in suite.gate
        if (known := [record.sets[provider] for record in records if record.sets.get(provider)])
    }
    run = SuiteRun(
        suite,
        results,
        verdicts,
        emulated=frozenset[str]().union(*(part.emulated for part in parts)),
        traits=first_of(records, "traits"),
        calibration=kept,
        references=first_of(records, "references"),
        scorer=first_of(records, "scorer"),
        recipe=merge_recipes([record.recipe for record in records]),
        notes=notes_of(suite, results),
        sets=sets,
        file=records[0].file,
        about=SuiteFindings(**{name: first_of(records, name) for name in SuiteFindings.model_fields}),
    )
    return judge_gates(run, parts, calibration)


def suite_of(record: SuiteRecord) -> Suite:
    """The suite that a record was made from.

    Raises:
        UsageError: an older version made it, or it was changed.
    """
    if not record.definition:
        raise UsageError(f"suite {record.name}: its record lacks the definition; make it again with this version")
    try:
        return TypeAdapter(Suite).validate_python(record.definition)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UsageError(f"suite {record.name}: its definition is damaged at {where}: {first['msg']}") from error


def merge_cases(suite: Suite, parts: Sequence[PartialRun]) -> dict[str, list[CaseResult]]:
    """By provider, both in the suite's order."""
    order = {case.id: place for place, case in enumerate(suite.cases)}
    providers = {provider: place for place, provider in enumerate(suite.providers)}
    results: dict[str, list[CaseResult]] = {}
    records = [case for part in parts for case in part.cases]
    for case in sorted(records, key=lambda case: (providers.get(case.provider, 0), order.get(case.case, 0))):
        if case.case not in order:
            raise UsageError(f"suite {suite.name} has no case {case.case!r}; the record was changed, make it again")
        results.setdefault(case.provider, []).append(case.result(suite.repeats, suite.path.as_posix()))
    return results


def judge_gates(run: SuiteRun, parts: Sequence[PartialRun], calibration: Calibration | None) -> SuiteRun:
    """The gates that the runs looked at, judged over all cases, and the baseline, held against all cases."""

    result, record = found_of(parts), suite_record(run)
    gates: dict[str, Verdict] = {}
    for provider in run.suite.gate:
        items = [item for part in parts for item in part.gates if item.provider == provider]
        if items and run.results.get(provider):
            gate = judge_gate_again(run, provider, items, result, calibration)
            gates[provider] = hold_verdict(result, record, provider, gate) if result else gate
    held = hold_record(result, run.suite, record, run.results) if result else None
    return replace(run, gates=gates, baseline=held)


def judge_gate_again(
    run: SuiteRun,
    provider: str,
    items: Sequence[VerdictRecord],
    found: BaselineLookup | None,
    calibration: Calibration | None,
) -> Verdict:

    own = run.results[provider]
    shown = [item.details["applied"] for item in items if item.details.get("applied")]
    applied = next((each for each in shown if not each["ok"]), shown[0] if shown else None)
    binds = found is not None and found.baseline is not None and found.binding
    verdict = judge_gate(
        run.suite,
        provider,
        own,
        others={name: group for name, group in run.results.items() if name != provider},
        baseline=found.baseline.results(run.suite, provider, own) if binds and found and found.baseline else None,
        applied=applied_from(applied) if applied else None,
        calibration=calibration if any(result.scored for result in own) else None,
        sets=run.sets.get(provider),
    )
    if verdict.decision in (Decision.FAIL, Decision.ERROR) and not verdict.cause:
        known = next((item for item in items if item.cause), None)  # it took the LoRA file to see it
        return replace(verdict, cause=known.cause, cause_name=known.cause_name) if known else verdict
    return verdict


# --- the parts ----------------------------------------------------------------------------------------------------


def first_of(records: Sequence[SuiteRecord], key: str) -> Any:
    """What the first run knows that knows it at all; else what stands for nothing."""
    values = [getattr(record, key) for record in records]
    return next(filter(None, values), values[0])


def found_of(parts: Sequence[PartialRun]) -> BaselineLookup | None:
    """The baseline that the runs were held against.

    Raises:
        UsageError: they were no shards, and so did not keep it.
    """
    held = [part.record.baseline for part in parts if part.record.baseline]
    if not held:
        return None
    if any(each.found is None for each in held):
        raise UsageError(
            f"suite {parts[0].record.name}: only runs made with --shard keep the baseline that they were held "
            "against; make them so, or with --baseline off"
        )
    return found_from(held[0].found)


def merge_recipes(recipes: Sequence[Mapping[str, Parts]]) -> dict[str, Parts]:
    """By provider, what the requests of all runs share."""
    merged: dict[str, Parts] = {}
    for provider in dict.fromkeys(name for recipe in recipes for name in recipe):
        known = [recipe[provider] for recipe in recipes if recipe.get(provider)]
        first = known[0] if known else {}
        merged[provider] = {
            name: value for name, value in first.items() if all(other.get(name) == value for other in known)
        }
    return merged


def merge_engines(records: Sequence[RunRecord]) -> EngineRecord:
    """What all engines did together."""
    return EngineRecord.of(merge_numbers([record.engine.plain for record in records]))


def merge_numbers(records: Sequence[Parts]) -> dict[str, object]:
    """Counts, dollars and seconds added up; a limit that one run did not have is none."""
    merged: dict[str, object] = {}
    for name in dict.fromkeys(key for record in records for key in record):
        values = [record.get(name) for record in records]
        known = [value for value in values if value is not None]
        if known and all(isinstance(value, Mapping) for value in known):
            merged[name] = merge_numbers([value for value in known if isinstance(value, Mapping)])
        elif len(known) == len(values) and all(isinstance(value, int | float) for value in known):
            merged[name] = sum(value for value in known if isinstance(value, int | float))
        else:
            merged[name] = None
    return merged


def merge_runs(records: Sequence[RunRecord]) -> RunFacts:
    """Which runs they were, and when; the seconds are the longest shard's, because they run side by side."""
    runs = [record.run for record in records]
    shared = {name: getattr(runs[0], name) for name in SAME if name in runs[0].model_fields_set}
    return RunFacts(
        **shared,
        id=f"merged-{runs[0].id}",
        started=min(run.started for run in runs),
        seconds=max(run.seconds or 0.0 for run in runs),
        warnings=tuple(dict.fromkeys(text for run in runs for text in run.warnings)),
        merged=tuple(MergedRun(id=run.id, **({"shard": run.shard} if run.shard else {})) for run in runs),
    )
