"""`results.json`: the record of one run, built and read back here; report and summary are projections of it."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.core.errors import UsageError
from harness.core.text import measured_text
from harness.core.values import (
    ALARMS,
    METRICS,
    CaseResult,
    Decision,
    Interval,
    Job,
    LeaderboardRow,
    SetScore,
    Suite,
    Threshold,
    Trait,
    Usage,
    Verdict,
    to_record,
)
from harness.judging.causes import cause_from
from harness.judging.feedback import feedback
from harness.judging.leaderboard import leaderboard
from harness.scoring.known_cards import find_card

SCHEMA = 1
"""Raised whenever a key changes its meaning or goes away; a new key does not raise it."""

WORST = (Decision.ERROR, Decision.FAIL, Decision.INCONCLUSIVE, Decision.PASS)
UNDER_TEST = frozenset({"lora", "strength", "prompt", "seed", "index"})
"""What a run and its baseline may differ in: the LoRA is what is compared, the others name the picture."""
ADDED = "scorer.metrics."  # metrics that a profile adds: they decide their own scores and nobody else's
PATHS = frozenset({"path", "references", "impostors"})  # of a suite's own record
ABOUT = ("under_test", "references_check", "crowds", "sweep")
"""What a suite's record may tell besides: the LoRA of each gate provider, what `harness references check` says of the
set, the scores of references and impostors, and the last `harness sweep`."""
LARGEST = 512 * 2**20  # bytes of a results file


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
    calibration: Any = None  # a dataclass or plain JSON
    references: Mapping[str, Sequence[str]] = field(default_factory=dict)  # split to SHA-256 of stored pictures
    scorer: Mapping[str, Any] = field(default_factory=dict)  # what decides a score, by name; at least `identity`
    recipe: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # by provider: what its requests share
    notes: Sequence[str] = ()  # for people: locked cases left out, a prompt cut off
    sets: Mapping[str, Mapping[str, SetScore]] = field(default_factory=dict)  # by gate provider and metric
    readings: Sequence[Any] = ()  # `harness.references.Reading`: every category as the training pictures show it
    baseline: Mapping[str, Any] | None = None  # what `harness.judging.baseline.hold_record` says; None: there is none
    about: Mapping[str, Any] = field(default_factory=dict)  # by names of ABOUT; plain JSON


def build_results(
    run: Mapping[str, Any],
    suites: Sequence[SuiteRun],
    usage: Usage,
    rounds: Sequence[Mapping[str, Any]] = (),
    trouble: str = "",
    spending: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The record of a run, plain JSON.

    Args:
        run: `id`, `started` (ISO 8601), `profile`, `versions`, and whatever else is worth keeping.
        suites: one a suite, in the order in which they ran.
        usage: what the engine did.
        rounds: of retraining, as `harness.training.improve.loop` tells them.
        trouble: why the run broke down, if it did; turns the verdict to error.
        spending: paid calls, what may be billed besides, and the limits; US dollars.
    """
    engine = {**to_record(usage), "cost_usd": _cost(suites), "emulated_usd": _cost(suites, True), **(spending or {})}
    record = {
        "schema": SCHEMA,
        "run": dict(run),
        "gate": gate_record(suites, trouble, str(run.get("shard", ""))),
        "leaderboard": [
            row_record(row) for item in suites for row in leaderboard(item.suite, item.results, item.emulated)
        ],
        "cases": [case for item in suites for case in _cases(item)],
        "engine": engine,
        "rounds": [to_record(dict(item)) for item in rounds],
        "suites": [suite_record(item) for item in suites],
        "feedback": [_feedback(item, provider, rounds) for item in suites for provider in _judged(item)],
    }
    plain: dict[str, Any] = finite(record)
    return plain


def finite(value: Any) -> Any:
    """Plain JSON data, with every NaN and infinity as None, because JSON has no word for them."""
    kind = type(value)
    if kind is str or kind is int or kind is bool or value is None:  # by far the most
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if kind is dict:
        return {key: finite(item) for key, item in value.items()}
    if kind is list or kind is tuple:
        return [finite(item) for item in value]
    record = to_record(value)
    return value if record is value else finite(record)


def _cost(suites: Sequence[SuiteRun], emulated: bool = False) -> float:
    """What this run paid, or what emulated services would have asked for; pictures in the store were paid before."""
    results = [result for item in suites for group in item.results.values() for result in group]
    samples = [sample for result in results for sample in result.samples if not sample.cached]
    return sum(sample.cost_usd for sample in samples if sample.emulated is emulated)


def _judged(item: SuiteRun) -> list[str]:
    """The gate providers of a suite that took part in the run."""
    return [provider for provider in item.suite.gate if item.results.get(provider) or provider in item.gates]


# --- the verdict --------------------------------------------------------------------------------------------------


def gate_record(suites: Sequence[SuiteRun], trouble: str = "", shard: str = "") -> dict[str, Any]:
    """The verdict of the run: the worst of the gate items' and of the gate providers' own cases.

    An inconclusive case alone does not open the verdict: its suite's gate weighs all cases together. A shard (I/N) has
    no verdict of its own, except that something broke; its gate items are kept for the merge.
    """
    result: list[tuple[Decision, list[str]]] = [(Decision.ERROR, [trouble])] if trouble else []
    for item in suites:
        for provider in _judged(item):
            gate = item.gates.get(provider)
            if gate and not shard:
                result.append((gate.decision, _gate_reasons(item.suite, provider, gate)))
            for job, verdict in item.verdicts.items():
                message = gate is None and not shard
                if job.provider == provider and (verdict.decision in (Decision.FAIL, Decision.ERROR) or message):
                    result.append((verdict.decision, [_reason(f"{job.case} by {provider}", verdict)]))
    items = [_gate_item(item, provider) for item in suites for provider in item.gates]
    if shard:
        result = [(decision, words) for decision, words in result if decision is Decision.ERROR]
    if not result:
        why = f"shard {shard}: `harness merge` judges" if shard else "no gate provider was judged in this run"
        return {"verdict": "inconclusive", "reasons": [why], "items": items}
    worst = next(decision for decision in WORST if any(decision is each for each, _ in result))
    reasons = [reason for decision, words in result if decision is worst for reason in words]
    return {"verdict": worst.value, "reasons": reasons, "items": items}


def _gate_item(item: SuiteRun, provider: str) -> dict[str, Any]:
    verdict = item.gates[provider]
    return {"suite": item.suite.name, "provider": provider, **_verdict_record(verdict)}


def _verdict_record(verdict: Verdict) -> dict[str, Any]:
    record: dict[str, Any] = to_record(verdict)
    return {"verdict": record.pop("decision"), **record}


def _reason(name: str, verdict: Verdict) -> str:
    words = "; ".join(item.message for item in verdict.complaints if item.severity != "warn")
    words = words or "; ".join(item.message for item in verdict.complaints)
    cause = f"{verdict.cause}: " if verdict.cause and verdict.cause not in words else ""
    score = verdict.scores.get("quality")
    return f"{name}: {cause}{words or f'quality {measured_text(score)}'}"


def _gate_reasons(suite: Suite, provider: str, gate: Verdict) -> list[str]:
    """One reason a complaint that matters; the score itself when there is nothing to complain of."""
    name = f"{suite.name}, {provider}"
    serious = [item.message for item in gate.complaints if item.severity != "warn"]
    if gate.decision is Decision.PASS:
        bound = suite.threshold(None, "quality").fail
        wanted = "" if bound is None else f", wanted {bound:.2f}"
        return [f"{name}: quality {measured_text(gate.scores.get('quality'))}{wanted}"]
    if not serious:
        return [_reason(name, gate)]
    cause = [f"{name}: {gate.cause}"] if gate.cause and not any(gate.cause in words for words in serious) else []
    return cause + [f"{name}: {words}" for words in serious]


# --- the parts ----------------------------------------------------------------------------------------------------


def row_record(row: LeaderboardRow) -> dict[str, Any]:
    """One line of the leaderboard; a metric without a score is None."""
    return {
        "suite": row.suite,
        "provider": row.provider,
        "rank": row.rank,
        "gate": row.gate,
        "emulated": row.emulated,
        **{metric: to_record(row.scores.get(metric)) for metric in METRICS},
        "added": {metric: to_record(result) for metric, result in row.scores.items() if metric not in METRICS},
        "common": to_record(row.common),
        "simultaneous": to_record(row.simultaneous),
        "rank_range": list(row.rank_range) if row.rank_range else None,
        "ties": row.ties,
        "best_gap": versus_record(row.best_gap) if row.best_gap else None,
        "ranks": dict(row.ranks),
        "trait_ranks": dict(row.trait_ranks),
        "raw": dict(row.raw),
        "versus": {other: versus_record(gap) for other, gap in row.versus.items()},
        "outcomes": dict(row.outcomes),
        "cost_usd": row.cost_usd,
        "seconds": row.seconds,
    }


def versus_record(gap: Interval) -> dict[str, Any]:
    return {"diff": gap.mean, "low": gap.low, "high": gap.high, "n": gap.n}


def _cases(item: SuiteRun) -> Iterable[dict[str, Any]]:
    """One record a case and provider, in the order of the suite's cases."""
    order = {case.id: index for index, case in enumerate(item.suite.cases)}
    every = [result for group in item.results.values() for result in group]
    for result in sorted(every, key=lambda result: order.get(result.job.case, len(order))):
        yield _case_record(item, result)


def _case_record(item: SuiteRun, result: CaseResult) -> dict[str, Any]:
    job = result.job
    case = next((case for case in item.suite.cases if case.id == job.case), None)
    verdict = item.verdicts.get(job)
    words = "skipped" if result.skipped else verdict.decision.value if verdict else None
    bounds = {metric: item.suite.threshold(case, metric) for metric in item.suite.metrics(case)}
    return {
        "suite": item.suite.name,
        "case": job.case,
        "split": case.split if case else "open",
        "provider": job.provider,
        "gate": job.provider in item.suite.gate,
        "verdict": words,
        "outcome": result.outcome.value if result.samples else None,
        "scores": to_record(verdict.scores) if verdict else {},
        "samples": [to_record(sample) for sample in result.samples],
        "complaints": to_record(verdict.complaints) if verdict else [],
        "cause": verdict.cause if verdict else "",
        "skipped": result.skipped,
        "attempts": [_verdict_record(earlier) for earlier in item.attempts.get(job, ())],
        "prompt": case.prompt if case else "",
        "negative": case.negative if case else "",
        "expect": dict(case.expect) if case else {},
        "tags": list(case.tags) if case else [],
        "line": case.line if case else 1,
        "thresholds": {name: to_record(bound) for name, bound in bounds.items() if bound != Threshold()},
    }


def suite_record(item: SuiteRun) -> dict[str, Any]:
    """What a reader must know of the suite to read its figures."""
    suite, subject = item.suite, item.suite.subject
    lora = subject.lora
    return {
        "name": suite.name,
        "path": relative(suite.path),
        "subject": {"name": subject.name, "kind": subject.kind, "trigger": subject.trigger},
        "lora": {"file": lora.path.name, "strength": lora.strength} if lora else None,
        "providers": list(suite.providers),
        "gate": list(suite.gate),
        "beat": list(suite.beat),
        "samples": suite.samples,
        "seed": suite.seed,
        "weights": dict(suite.weights),
        "thresholds": {name: to_record(bound) for name, bound in suite.thresholds.items()},
        "alarms": {name: suite.alarm(name) for name in ALARMS},
        "margin": suite.margin,
        "traits": to_record(list(item.traits)),
        "calibration": calibration_record(item.calibration),
        "references": {split: list(images) for split, images in item.references.items()},
        "scorer": to_record(dict(item.scorer)),
        "recipe": to_record({name: dict(shared) for name, shared in item.recipe.items()}),
        "notes": list(item.notes),
        "sets": to_record({provider: dict(result) for provider, result in item.sets.items()}),
        "baseline": to_record(item.baseline),
        "card": find_card(item.scorer),
        "definition": definition_record(suite),
        **{name: item.about[name] for name in ABOUT if item.about.get(name)},
    }


def definition_record(suite: Suite) -> dict[str, Any]:
    """All that the suite's file says, from which runs of parts of it are judged again. Paths as people type them."""
    record: dict[str, Any] = to_record(suite)

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {
                name: relative(Path(item)) if name in PATHS and isinstance(item, str) else plain(item)
                for name, item in value.items()
            }
        return [plain(item) for item in value] if isinstance(value, list) else value

    result: dict[str, Any] = plain(record)
    return result


def calibration_record(calibration: Any) -> dict[str, Any] | None:
    """A `harness.core.stats.calibration.Calibration` with the reason why it must not gate, if there is one."""
    if calibration is None:
        return None
    if isinstance(calibration, Mapping):
        return {str(key): value for key, value in calibration.items()}
    record: dict[str, Any] = to_record(calibration)
    return {**record, "reason": getattr(calibration, "reason", "")}


def relative(path: Path) -> str:
    """A path as the person at the keyboard would type it, where that is possible."""
    return path.relative_to(Path.cwd()).as_posix() if path.is_relative_to(Path.cwd()) else path.as_posix()


def _feedback(item: SuiteRun, provider: str, rounds: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    gate = item.gates.get(provider)
    ours = [record for record in rounds if (record.get("suite"), record.get("provider")) == (item.suite.name, provider)]
    result = ours[-1].get("causes", ()) if ours and not ours[-1].get("promoted") else ()  # of the LoRA that is judged
    message = feedback(
        item.suite,
        item.verdicts,
        item.results,
        item.traits,
        gate=gate,
        provider=provider,
        sets=item.sets.get(provider),
        readings=item.readings,
        causes=list(map(cause_from, result)),
    )
    return message.to_record()


# --- reading it back ----------------------------------------------------------------------------------------------


class _Open(BaseModel):
    """A part of the file: what is promised is checked, what is added is kept."""

    model_config = ConfigDict(extra="allow", strict=True)


class _Run(_Open):
    id: str
    started: str
    profile: str
    versions: dict[str, Any]


class _Gate(_Open):
    verdict: Literal["pass", "fail", "inconclusive", "error"]
    reasons: list[str]


class _Interval(_Open):
    mean: float
    low: float | None = None
    high: float | None = None


class _Versus(_Open):
    diff: float
    low: float | None = None
    high: float | None = None


class _Row(_Open):
    suite: str
    provider: str
    rank: int
    gate: bool
    emulated: bool
    quality: _Interval | None = None
    clip: _Interval | None = None
    features: _Interval | None = None
    ssim: _Interval | None = None
    simultaneous: _Interval | None = None
    rank_range: list[int] | None = None
    added: dict[str, _Interval | None] = {}
    raw: dict[str, float] = {}
    versus: dict[str, _Versus] = {}
    outcomes: dict[str, int] = {}


class _Score(_Open):
    value: float | None = None


class _Sample(_Open):
    image: str | None
    seed: int
    scores: dict[str, _Score]


class _Complaint(_Open):
    message: str


class _Case(_Open):
    suite: str
    case: str
    split: str
    provider: str
    verdict: str | None = None
    outcome: str | None = None
    samples: list[_Sample]
    complaints: list[_Complaint] = []


class _Advice(_Open):
    message: str
    priority: str


class _Feedback(_Open):
    recommendations: list[_Advice] = []


class _Round(_Open):
    gap: _Interval | None = None


class _Engine(_Open):
    images_generated: int
    images_cached: int
    model_loads: int
    cost_usd: float = 0.0


class _Change(_Versus):
    verdict: str
    before: float
    after: float
    n: int


class _ChangedCase(_Change):
    case: str


class _Held(_Open):
    verdict: str
    quality: _Change | None = None
    cases: list[_ChangedCase] = []
    pairs: int = 0
    refused: list[str] = []
    left_out: list[str] = []


class _HeldSuite(_Open):
    source: str
    problem: str = ""
    made: dict[str, Any] = {}
    providers: dict[str, _Held] = {}


class _Suite(_Open):
    name: str
    baseline: _HeldSuite | None = None


class _Results(_Open):
    run: _Run
    gate: _Gate
    leaderboard: list[_Row]
    cases: list[_Case]
    engine: _Engine
    rounds: list[_Round]
    feedback: list[_Feedback] = []
    suites: list[_Suite] = []


def load_results(path: Path) -> dict[str, Any]:
    """Read and check a `results.json`.

    Raises:
        UsageError: it is not there, is not JSON, is of another schema, or lacks what a run's record must hold.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise UsageError(f"{path}: larger than {LARGEST // 2**20} MiB; this is no results.json")
        record = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"{path}: cannot be read ({error.strerror}); name the results.json of an earlier run"
        ) from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: not JSON ({error}); name the results.json of an earlier run") from error
    check_results(record, str(path))
    return dict(record)


def check_results(record: Any, where: str) -> None:
    """Raise UsageError unless `record` is a run's record of this schema."""
    schema = record.get("schema") if isinstance(record, Mapping) else None
    if schema != SCHEMA or isinstance(schema, bool):
        newer = isinstance(schema, int) and schema > SCHEMA
        remedy = "update this package to read it" if newer else "make it again with this version"
        raise UsageError(f"{where}: schema {schema!r}, this version reads schema {SCHEMA}; {remedy}")
    try:
        _Results.model_validate(record)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{where}: {key}: {first['msg']}; the file was changed or cut off, make it again") from error


# --- as a baseline ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Comparable:
    """Whether a baseline may be compared with a run: not when `refused` holds anything."""

    refused: tuple[str, ...] = ()  # names of fields that differ, with both values
    warned: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return not self.refused


def compare_recipes(baseline: Mapping[str, Any], suite: Mapping[str, Any], provider: str) -> Comparable:
    """Hold the recipe and scorer of an earlier run against those of `suite` (its `suite_record`).

    Another dtype is a warning, and so is another version of a metric that the profile adds. Every other difference is
    a refusal, because the scores would not mean the same.
    """
    old = next((item for item in baseline.get("suites", ()) if item.get("name") == suite["name"]), None)
    if old is None:
        return Comparable(refused=(f"suite: the baseline has none called {suite['name']!r}",))
    recipes = old.get("recipe", {}).get(provider, {}), suite.get("recipe", {}).get(provider, {})
    return compare_parts(*recipes, old.get("scorer", {}), suite.get("scorer", {}))


def compare_parts(
    drawn: Mapping[str, Any], draws: Mapping[str, Any], scored: Mapping[str, Any], scores: Mapping[str, Any]
) -> Comparable:
    """A provider's recipe and the scorer's parts, each before and now."""
    shared = drawn.keys() & draws.keys()  # a recipe holds what all its requests share: with fewer cases that is more
    result = _differences("recipe", {name: drawn[name] for name in shared}, {name: draws[name] for name in shared})
    judged = _differences("scorer", scored, scores)
    if len(judged) > 1 and len(scored) > 1 and len(scores) > 1:  # the parts say more than the hash over all of them
        judged.pop("scorer.identity", None)
    result |= judged
    warned = {name for name in result if name.endswith(".dtype") or name.startswith(ADDED)}
    refused = tuple(words for name, words in result.items() if name not in warned)
    return Comparable(refused, tuple(words for name, words in result.items() if name in warned))


def _differences(kind: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, str]:
    names = sorted((old.keys() | new.keys()) - UNDER_TEST)
    return {
        f"{kind}.{name}": f"{kind}.{name}: {_short(old.get(name))} in the baseline, {_short(new.get(name))} now"
        for name in names
        if old.get(name) != new.get(name)
    }


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:12]}..."
