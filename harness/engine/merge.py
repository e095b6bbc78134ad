"""Several runs of parts of the same suites as one: their records united, and every verdict given again.

What a verdict needs of the pictures stands in the records, so the merge draws nothing, scores nothing and opens no
model: cases are judged with the variance of all of them, gates over all of them, and the whole is held against the
baseline that the shards carried. One thing is taken over as the shards found it: that the LoRA was applied.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from harness.core.errors import UsageError
from harness.core.sharding import read_shard
from harness.core.stats.calibration import Calibration, calibration_from
from harness.core.values import CaseResult, Decision, Job, SetScore, Suite, Trait, Usage, Verdict, sample_from
from harness.engine.merge_sets import merge_sets
from harness.engine.record import notes_of
from harness.judging.baseline import BaselineLookup, found_from, hold_record, hold_verdict
from harness.judging.judge import judge_case, judge_gate, pooled_sds
from harness.judging.results import ABOUT, SuiteRun, build_results, check_results, suite_record
from harness.scoring.metrics.applied import applied_from

Record = Mapping[str, Any]
SAME = ("profile", "size", "models", "versions", "locked")  # of a run's record: other ones are other pictures


@dataclass(frozen=True)
class PartialRun:
    """What one run found out about one suite."""

    record: Record  # of the suite
    cases: Sequence[Record]
    gates: Sequence[Record]
    emulated: frozenset[str]


def merge_results(records: Sequence[Record]) -> dict[str, Any]:
    """The record of the whole run.

    Args:
        records: contents of `results.json`, of shards (all of them) or of runs that selected different cases.

    Raises:
        UsageError: another schema, profile or version of the libraries, another definition or scorer of a suite, a
            case twice, a shard that is missing or stands there twice.
    """
    for number, record in enumerate(records, 1):
        check_results(record, f"run {number} of {len(records)}")
    if not records:
        raise UsageError("nothing to merge; name the results.json of every shard")
    check_runs([record["run"] for record in records])
    check_shards(records)
    names = dict.fromkeys(suite["name"] for record in records for suite in record["suites"])
    suites = [merge_suite(name, list(parts_of(name, records))) for name in names]
    engine = merge_numbers([record["engine"] for record in records])
    troubles = [str(record["run"].get("trouble") or "") for record in records]
    usage = Usage(engine["images_generated"], engine["images_cached"], engine["model_loads"], engine.get("seconds", {}))
    extra = {name: value for name, value in engine.items() if name not in {*vars(usage), "cost_usd", "emulated_usd"}}
    rounds = [item for record in records for item in record["rounds"]]
    trouble = next(filter(None, troubles), "")
    return build_results(merge_runs(records), suites, usage, rounds, trouble, extra)


# --- may they be merged? ------------------------------------------------------------------------------------------


def check_runs(runs: Sequence[Record]) -> None:
    """All of one profile and of one set of libraries."""
    for run in runs:
        for name in SAME:
            if run.get(name) != runs[0].get(name):
                raise UsageError(
                    f"runs {runs[0]['id']} and {run['id']} differ in {name}: {runs[0].get(name)!r:.200} and "
                    f"{run.get(name)!r:.200}; make all shards alike"
                )


def check_shards(records: Sequence[Record]) -> None:
    """Each of N shards once; one that has no case of its own need not be there."""
    shards = [read_shard(record["run"]["shard"]) for record in records if record["run"].get("shard")]
    if not shards:
        return
    if len(shards) < len(records):
        raise UsageError("a shard and a run without --shard cannot be merged")
    if len({shard.of for shard in shards}) > 1:
        raise UsageError(f"shards of different runs: {', '.join(map(str, shards))}; name those of one run")
    twice = next((shard for place, shard in enumerate(shards) if shard in shards[:place]), None)
    if twice:
        raise UsageError(f"shard {twice} stands there twice; name each once")
    suites = {item["name"]: suite_of(item) for record in records for item in record["suites"]}
    locked, drawn = bool(records[0]["run"].get("locked")), {shard.number for shard in shards}
    for suite in suites.values():
        for shard in (read_shard(f"{number}/{shards[0].of}") for number in range(1, shards[0].of + 1)):
            own = [case.id for case in suite.cases if case.id in shard.cases(suite)]
            if shard.number not in drawn and any(locked or suite.case(case).split == "open" for case in own):
                raise UsageError(f"shard {shard} is missing, and with it {len(own)} cases of {suite.name}; run it too")


def check_parts(name: str, parts: Sequence[PartialRun]) -> None:
    """One definition, one scorer, one LoRA, no case twice."""
    for key in ("definition", "samples", "lora"):
        if any(part.record.get(key) != parts[0].record.get(key) for part in parts):
            raise UsageError(f"suite {name}: the runs have another {key}; make all shards from one commit, alike")
    scorers = [part.record["scorer"] for part in parts if part.record.get("scorer")]
    if any(scorer != scorers[0] for scorer in scorers):
        raise UsageError(f"suite {name}: the runs have another scorer; make all shards alike, on machines alike")
    seen: set[tuple[str, str]] = set()
    for case in (case for part in parts for case in part.cases):
        pair = (str(case["case"]), str(case["provider"]))
        if pair in seen:
            raise UsageError(f"suite {name}: {pair[0]} by {pair[1]} stands in two runs; name runs of different cases")
        seen.add(pair)


# --- one suite ----------------------------------------------------------------------------------------------------


def parts_of(name: str, records: Sequence[Record]) -> Iterator[PartialRun]:
    """What each run says of a suite."""
    for record in records:
        for suite in record["suites"]:
            if suite["name"] == name:
                rows = [row for row in record["leaderboard"] if row["suite"] == name]
                yield PartialRun(
                    suite,
                    [case for case in record["cases"] if case["suite"] == name],
                    [item for item in record["gate"].get("items", ()) if item["suite"] == name],
                    frozenset(row["provider"] for row in rows if row["emulated"]),
                )


def merge_suite(name: str, parts: Sequence[PartialRun]) -> SuiteRun:
    """All runs of one suite, judged as one."""
    check_parts(name, parts)
    suite = suite_of(parts[0].record)
    results = merge_cases(suite, parts)
    calibration = calibration_of(parts)
    verdicts = judge_cases(suite, results, calibration)
    sets = {
        provider: merge_sets(kept, provider, results)
        for provider in suite.gate
        if (kept := [sets_of(part, provider) for part in parts if part.record.get("sets", {}).get(provider)])
    }
    run = SuiteRun(
        suite,
        results,
        verdicts,
        emulated=frozenset[str]().union(*(part.emulated for part in parts)),
        traits=[Trait(**trait) for trait in first_of(parts, "traits") or ()],
        calibration=calibration,
        references=first_of(parts, "references") or {},
        scorer=first_of(parts, "scorer") or {},
        recipe=merge_recipes([part.record.get("recipe", {}) for part in parts]),
        notes=notes_of(suite, results),
        sets=sets,
        about={name: first_of(parts, name) for name in ABOUT},
    )
    return judge_gates(run, parts, calibration)


def suite_of(record: Record) -> Suite:
    """The suite that a record was made from.

    Raises:
        UsageError: an older version made it, or it was changed.
    """
    if not record.get("definition"):
        raise UsageError(f"suite {record['name']}: its record lacks the definition; make it again with this version")
    try:
        return TypeAdapter(Suite).validate_python(record["definition"])
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UsageError(f"suite {record['name']}: its definition is damaged at {where}: {first['msg']}") from error


def merge_cases(suite: Suite, parts: Sequence[PartialRun]) -> dict[str, list[CaseResult]]:
    """By provider, both in the suite's order."""
    order = {case.id: place for place, case in enumerate(suite.cases)}
    providers = {provider: place for place, provider in enumerate(suite.providers)}
    results: dict[str, list[CaseResult]] = {}
    records = [case for part in parts for case in part.cases]
    for case in sorted(records, key=lambda case: (providers.get(case["provider"], 0), order.get(case["case"], 0))):
        job = Job(suite.path.as_posix(), case["case"], case["provider"])
        if job.case not in order:
            raise UsageError(f"suite {suite.name} has no case {job.case!r}; the record was changed, make it again")
        samples = tuple(sample_from(sample) for sample in case["samples"])
        results.setdefault(job.provider, []).append(CaseResult(job, samples, case.get("skipped", "")))
    return results


def judge_cases(
    suite: Suite, results: Mapping[str, Sequence[CaseResult]], calibration: Calibration | None
) -> dict[Job, Verdict]:
    """As `harness.engine` does: seeds are judged with the variance of all cases of their provider."""
    findings: dict[Job, Verdict] = {}
    for group in results.values():
        pooled = pooled_sds(group)
        scored = any(result.scored for result in group)
        for result in group:
            case = suite.case(result.job.case)
            findings[result.job] = judge_case(suite, case, result, pooled, calibration=calibration if scored else None)
    return findings


def judge_gates(run: SuiteRun, parts: Sequence[PartialRun], calibration: Calibration | None) -> SuiteRun:
    """The gates that the runs looked at, judged over all cases, and the baseline, held against all cases."""

    result, record = found_of(parts), suite_record(run)
    gates: dict[str, Verdict] = {}
    for provider in run.suite.gate:
        items = [item for part in parts for item in part.gates if item["provider"] == provider]
        if items and run.results.get(provider):
            gate = judge_gate_again(run, provider, items, result, calibration)
            gates[provider] = hold_verdict(result, record, provider, gate) if result else gate
    held = hold_record(result, run.suite, record, run.results) if result else None
    return replace(run, gates=gates, baseline=held)


def judge_gate_again(
    run: SuiteRun, provider: str, items: Sequence[Record], found: BaselineLookup | None, calibration: Calibration | None
) -> Verdict:

    own = run.results[provider]
    shown = [item["details"]["applied"] for item in items if item["details"].get("applied")]
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
        known = next((item for item in items if item.get("cause")), {})  # it took the LoRA file to see it
        return replace(verdict, cause=known.get("cause", ""), cause_name=known.get("cause_name", ""))
    return verdict


# --- the parts ----------------------------------------------------------------------------------------------------


def first_of(parts: Iterable[PartialRun], key: str) -> Any:
    """What the first run knows that knows it at all."""
    return next((part.record[key] for part in parts if part.record.get(key)), None)


def calibration_of(parts: Iterable[PartialRun]) -> Calibration | None:
    kept = first_of(parts, "calibration")
    return calibration_from({name: value for name, value in kept.items() if name != "reason"}) if kept else None


def sets_of(part: PartialRun, provider: str) -> dict[str, SetScore]:
    return {name: SetScore(**result) for name, result in part.record["sets"][provider].items()}


def found_of(parts: Sequence[PartialRun]) -> BaselineLookup | None:
    """The baseline that the runs were held against.

    Raises:
        UsageError: they were no shards, and so did not keep it.
    """
    held = [part.record["baseline"] for part in parts if part.record.get("baseline")]
    if not held:
        return None
    if any("found" not in each for each in held):
        raise UsageError(
            f"suite {parts[0].record['name']}: only runs made with --shard keep the baseline that they were held "
            "against; make them so, or with --baseline off"
        )
    return found_from(held[0]["found"])


def merge_recipes(recipes: Sequence[Mapping[str, Record]]) -> dict[str, dict[str, Any]]:
    """By provider, what the requests of all runs share."""
    merged: dict[str, dict[str, Any]] = {}
    for provider in dict.fromkeys(name for recipe in recipes for name in recipe):
        known = [recipe[provider] for recipe in recipes if recipe.get(provider)]
        merged[provider] = (
            {name: value for name, value in known[0].items() if all(other.get(name) == value for other in known)}
            if known
            else {}
        )
    return merged


def merge_numbers(records: Sequence[Record]) -> dict[str, Any]:
    """Counts, dollars and seconds added up; a limit that one run did not have is none."""
    merged: dict[str, Any] = {}
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


def merge_runs(records: Sequence[Record]) -> dict[str, Any]:
    """Which runs they were, and when; the seconds are the longest shard's, because they run side by side."""
    runs = [record["run"] for record in records]
    return {
        **{name: runs[0][name] for name in SAME if name in runs[0]},
        "id": f"merged-{runs[0]['id']}",
        "started": min(run["started"] for run in runs),
        "seconds": max((run.get("seconds") or 0.0) for run in runs),
        "warnings": list(dict.fromkeys(text for run in runs for text in run.get("warnings", ()))),
        "merged": [{"id": run["id"], **({"shard": run["shard"]} if run.get("shard") else {})} for run in runs],
    }
