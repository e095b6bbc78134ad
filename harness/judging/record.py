"""`results.json`: the record of one run, one class a part, which is written, checked and read by the same classes.

A record is data that anybody may have edited. Its types are checked here, where it is read, and nowhere else: a field
without a default is promised, and a file without it is refused; a field with a default takes that where the value is
of a wrong type, unless the class names it in `PROMISED`. Keys that a newer version adds are kept. What was not set is
not written, so a file that is read and written again says the same.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationError

from harness.core.errors import UsageError
from harness.core.stats.calibration import Band, Calibration, Measure, Separation, Sight
from harness.core.values import (
    DOMAIN,
    METRICS,
    CaseResult,
    Complaint,
    Decision,
    Interval,
    Job,
    Recorded,
    Sample,
    SetScore,
    Threshold,
    Trait,
    to_record,
)
from harness.judging.scores import TraitMean, trait_means

SCHEMA: Final = 1
"""Raised whenever a key changes its meaning or goes away; a new key does not raise it."""

HALF_PAIR = re.compile("[\ud800-\udfff]")
LARGEST = 512 * 2**20  # bytes of a results file


class Part(Recorded, BaseModel):
    """A part of the file."""

    model_config = ConfigDict(
        extra="allow", strict=True, frozen=True, allow_inf_nan=False, validate_by_name=True, validate_by_alias=True
    )

    @classmethod
    def of(cls, value: object) -> Self:
        """From anything that JSON can say: plain data, values of this package, parts. Raises ValidationError."""
        return cls.model_validate_json(HALF_PAIR.sub("\N{REPLACEMENT CHARACTER}", to_json(value)))

    @property
    def plain(self) -> dict[str, Any]:
        """What is written of it: every key that was set, as plain JSON data with tuples for lists."""
        return self.model_dump(by_alias=True, exclude_unset=True)


def _from_gap(value: object) -> object:
    return (
        {("mean" if name == "diff" else name): item for name, item in value.items()}
        if isinstance(value, dict)
        else value
    )


def _to_gap(gap: Interval) -> dict[str, float | None]:
    return {"diff": gap.mean, "low": gap.low, "high": gap.high, "n": gap.n}


Gap = Annotated[Interval, BeforeValidator(_from_gap), PlainSerializer(_to_gap)]
"""A difference; its mean is called `diff` in the file."""


# --- the run --------------------------------------------------------------------------------------------------------


class MergedRun(Part):
    """One of the runs that were judged as one."""

    id: str
    shard: str = ""


class RunFacts(Part):
    """Which run it was, and with what."""

    id: str
    started: str  # ISO 8601
    profile: str
    versions: Mapping[str, Any]
    profile_sha256: str = ""
    seconds: float | None = None
    size: tuple[int, ...] = ()  # pixels: width, height
    models: Mapping[str, Any] = {}
    git: Mapping[str, Any] = {}
    warnings: tuple[str, ...] = ()
    locked: bool = False
    trouble: str = ""  # why the run broke down
    shard: str = ""  # I/N
    merged: tuple[MergedRun | str, ...] = ()  # the runs that are judged as one here, or why they could not be


class VerdictRecord(Part):
    """A verdict; of a gate item with its suite and provider."""

    suite: str = ""
    provider: str = ""
    verdict: str
    scores: Mapping[str, Interval] = {}
    complaints: tuple[Complaint, ...] = ()
    cause: str = ""  # in words
    cause_name: str = ""  # of `judging.causes`
    details: Mapping[str, Any] = {}


class GateRecord(Part):
    """The verdict of the run, and each gate item's."""

    verdict: Decision
    reasons: tuple[str, ...]
    items: tuple[VerdictRecord, ...] = ()


class EngineRecord(Part):
    """What the engine did; `cost_usd` of this run alone, because pictures in the store were paid before."""

    PROMISED = frozenset({"cost_usd"})

    images_generated: int
    images_cached: int
    model_loads: int
    seconds: Mapping[str, float] = {}  # by stage
    cost_usd: float = 0.0
    emulated_usd: float = 0.0  # what emulated services would have asked for
    paid_calls: int = 0
    unpriced_calls: int = 0
    possibly_billed_usd: float = 0.0
    held_back: int = 0  # pictures that the budget did not allow
    budget_usd: float | None = None
    max_calls: int | None = None


# --- the leaderboard and the cases ----------------------------------------------------------------------------------


class LeaderboardRow(Part):
    """One line of the leaderboard."""

    PROMISED = frozenset({*METRICS, "added", "simultaneous", "rank_range", "versus", "outcomes"})

    suite: str
    provider: str
    rank: int
    gate: bool
    emulated: bool
    quality: Interval | None = None  # calibrated, like the next three; None without a score
    clip: Interval | None = None
    features: Interval | None = None
    ssim: Interval | None = None
    added: Mapping[str, Interval | None] = {}  # metrics that stand in no suite by themselves
    common: Interval | None = None  # quality on the cases and seeds that all providers share: what `rank` is by
    simultaneous: Interval | None = None  # the same mean; the intervals of all rows hold at once
    rank_range: tuple[int, int] | None = None  # the best and the worst rank that the pictures leave possible
    ties: str = ""  # letters; rows that share one are not proven to differ
    best_gap: Gap | None = None  # quality minus the best competitor's, corrected for the choice of the best
    ranks: Mapping[str, int] = {}  # by metric, on what all providers share
    trait_ranks: Mapping[str, int] = {}  # by trait's category, likewise
    raw: Mapping[str, float] = {}  # clip_raw, features_raw, ssim_raw, quality_raw
    versus: Mapping[str, Gap] = {}  # quality minus the other provider's, paired by case and seed, clustered by case
    outcomes: Mapping[str, int] = {}  # how many samples ended how
    blind: str = ""  # how many of its pictures the models cannot judge, and why
    cost_usd: float = 0.0
    seconds: float = 0.0

    @cached_property
    def scores(self) -> dict[str, Interval]:
        """Every metric that has a score, those of every suite first."""
        results = {**{name: getattr(self, name) for name in METRICS}, **self.added}
        return {name: score for name, score in results.items() if score}

    @property
    def tied(self) -> bool:
        """Whether the pictures leave more than one rank possible."""
        return self.rank_range is not None and self.rank_range[0] != self.rank_range[1]


class CaseRecord(Part):
    """One case by one provider."""

    PROMISED = frozenset({"verdict", "outcome", "complaints"})

    suite: str
    case: str
    split: str
    provider: str
    gate: bool = False
    verdict: str | None = None  # a decision, or "skipped"
    outcome: str | None = None
    scores: Mapping[str, Interval] = {}
    samples: tuple[Sample, ...]
    complaints: tuple[Complaint, ...] = ()
    cause: str = ""
    skipped: str = ""
    attempts: tuple[VerdictRecord, ...] = ()  # verdicts before retraining
    prompt: str = ""
    negative: str = ""
    expect: Mapping[str, str] = {}
    tags: tuple[str, ...] = ()
    line: int | None = None  # in the suite's file
    thresholds: Mapping[str, Threshold] = {}

    def result(self, repeats: Mapping[str, str], path: str = "") -> CaseResult:
        """As the judge takes it.

        Args:
            repeats: cases that draw what an earlier one draws, to that one's id.
            path: of the suite's file.
        """
        job = Job(path or self.suite, self.case, self.provider)
        return CaseResult(job, self.samples, self.skipped, repeats.get(self.case, ""))

    @property
    def blind(self) -> bool:
        """Whether the models cannot judge any of its pictures."""
        scored = [sample for sample in self.samples if sample.scores]
        return bool(scored) and all(DOMAIN in sample.scores for sample in scored)

    @property
    def complaint(self) -> str:
        """What is wrong with it, in a sentence."""
        return "; ".join(item.message for item in self.complaints) or str(self.outcome)

    @cached_property
    def qualities(self) -> tuple[float, ...]:
        """The quality of every picture that has one."""
        return tuple(value for sample in self.samples if (value := sample.quality) is not None)

    @cached_property
    def quality(self) -> float | None:
        """Of the verdict where there is one, else the mean of the pictures."""
        if judged := self.scores.get("quality"):
            return judged.mean
        return sum(self.qualities) / len(self.qualities) if self.qualities else None

    @cached_property
    def trait_means(self) -> dict[str, TraitMean]:
        """How surely its pictures show each trait, by category."""
        return trait_means(self.samples)


# --- a suite --------------------------------------------------------------------------------------------------------


class SubjectRecord(Part):
    """Whom a suite is about."""

    name: str = ""
    kind: str = ""
    trigger: str = ""


class LoraRecord(Part):
    """A LoRA file, and those that are drawn together with it."""

    file: str = ""
    strength: float | None = None
    sha256: str = ""
    beside: tuple[LoraRecord, ...] = ()


class CalibrationRecord(Part):
    """What scoring the subject was calibrated with, and why it must not gate, if so."""

    clip: Separation | None = None
    ssim: Band | None = None
    edges: Band | None = None
    measures: tuple[Measure, ...] = ()
    sharpness: float = 0.0
    contrast: float = 0.0
    agreement: float = 0.0
    crowd: float = 0.0
    references: int = 0
    leave_one_out: bool = False
    names: tuple[str, ...] = ()
    sampling: int = 256
    blind: str = ""
    zero: str = "impostors"
    sight: Sight | None = None
    weights: Mapping[str, float] = {}
    reason: str = ""

    def restored(self) -> Calibration | None:
        """As scoring made it; None where the record does not hold all of it."""
        if self.clip is None or self.ssim is None or self.edges is None:
            return None
        return Calibration(
            self.clip, self.ssim, self.edges, self.measures, self.sharpness, self.contrast, self.agreement,
            self.crowd, self.references, self.leave_one_out, self.names, self.sampling, self.blind,
            self.zero, self.sight, self.weights,
        )  # fmt: skip


class Tried(Part):
    """A LoRA file at a strength, and how good its pictures were."""

    checkpoint: str = ""
    file: str = ""
    strength: float | None = None
    quality: float | None = None
    short: float | None = None
    image: str | None = None  # SHA-256
    date: str = ""


class CardAxis(Part):
    """One planted fault that the scores must notice."""

    name: str = ""
    value: float | None = None
    goal: str = ""
    passed: bool = False
    what: str = ""


class CardSummary(Part):
    """The metric card that was measured with the suite's scorer."""

    identities: int | None = None
    scorer: str = ""
    axes: tuple[CardAxis, ...] = ()


class AuditFinding(Part):
    """One thing that is wrong with the references."""

    kind: str = ""
    severity: str = ""
    title: str = ""
    pictures: tuple[str, ...] = ()
    reason: str = ""
    effect: str = ""
    remedy: str = ""
    value: float | None = None
    bound: float | None = None
    images: tuple[str, ...] = ()  # SHA-256


class AuditGap(Part):
    """What could not be looked at, and why."""

    what: str = ""
    reason: str = ""


class AuditRecord(Part):
    """What `harness references check` says of a suite's references."""

    score: float | None = None
    parts: Any = None
    findings: tuple[AuditFinding, ...] = ()
    not_judged: tuple[AuditGap, ...] = ()


class PopulationRecord(Part):
    """Every calibrated score of one metric of the references and of the impostors."""

    metric: str = ""
    genuine: tuple[float, ...] = ()
    impostor: tuple[float, ...] = ()


class CopyPair(Part):
    """A drawn picture and the training picture that it is nearest to."""

    case: str = ""
    seed: int | None = None
    image: str | None = None  # SHA-256, like the next
    training: str | None = None
    name: str = ""
    lines: float | None = None  # how alike they are, [0, 1]
    how: str = ""
    copied: bool = False


class NearPicture(Part):
    """The training picture that a drawn one is nearest to."""

    to: str | None = None  # SHA-256
    name: str = ""
    lines: float | None = None
    copied: bool = False


class CopyDetails(Part):
    """What the details of a set score may hold of single pictures."""

    pairs: tuple[CopyPair, ...] = ()
    nearest: Mapping[str, NearPicture] = {}  # by drawn picture
    held_out: CopyDetails | None = None  # the same of the held-out pictures

    @property
    def shown(self) -> tuple[CopyPair, ...]:
        """The pairs that people should see: those of the training pictures, and copies of held-out ones."""
        leaked = self.held_out.pairs if self.held_out else ()
        return (*self.pairs, *(pair for pair in leaked if pair.copied))


class FormerPicture(Part):
    """A small picture of a case in its baseline."""

    seed: int = 0
    webp: str = ""  # base64


class Change(Part):
    """What became of one thing, now minus before; of a single case with its id and perhaps its former picture."""

    case: str = ""
    verdict: str  # a word of `harness.judging.changes`
    before: float  # means over the pictures that both sides have
    after: float
    diff: float
    low: float | None = None
    high: float | None = None
    n: int  # cases, for one case its seeds
    p: float = 1.0  # two-sided, of no difference; Holm's in a family
    sign_flip_p: float | None = None  # the same by exact sign flips, where cases are few
    thumbnail: FormerPicture | None = None

    @property
    def gap(self) -> Interval:
        return Interval(self.diff, self.low, self.high, self.n)


class NoWorse(Part):
    """Non-inferiority: proven to be no worse than before by the margin or more."""

    proven: bool = False
    p: float = 1.0


class ChangedText(Part):
    """A setting then and now."""

    before: str = ""
    after: str = ""


class ChangedNumber(Part):
    """A figure then and now."""

    before: float = 0.0
    after: float = 0.0


class HeldProvider(Part):
    """One gate provider against its own earlier pictures."""

    PROMISED = frozenset({"quality", "cases", "pairs", "refused", "left_out"})

    verdict: str  # a word of `harness.judging.changes`, or "refused"
    margin: float | None = None
    pairs: int = 0  # pictures that both sides have
    no_worse: NoWorse | None = None
    quality: Change | None = None
    metrics: Mapping[str, Change] = {}  # but quality
    traits: Mapping[str, Change] = {}
    cases: tuple[Change, ...] = ()  # of quality, the worst first
    lora: ChangedText | None = None  # SHA-256
    strength: ChangedNumber | None = None
    refused: tuple[str, ...] = ()  # why they are not comparable
    warned: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()  # cases whose prompt has changed
    same_pictures: int | None = None

    @property
    def all_same(self) -> bool:
        """Whether every picture is the very same: nothing that draws has changed."""
        return self.same_pictures == self.pairs

    @property
    def changed_cases(self) -> list[Change]:
        """Cases proven to have changed, the worst first; where the suite regressed, all that lost something."""
        regressed = self.verdict == "regressed"
        return [
            case for case in self.cases if case.verdict in ("regressed", "improved") or (regressed and case.diff < 0)
        ]


class HeldBaseline(Part):
    """A suite beside its baseline."""

    PROMISED = frozenset({"problem", "made", "providers"})

    source: str  # where it was found, for people
    binding: bool = True  # False: it is only told of, because this run is to replace it
    problem: str = ""
    made: Mapping[str, Any] = {}  # date, commit, profile, versions
    providers: Mapping[str, HeldProvider] = {}  # by gate provider
    found: Any = None  # of a shard: the baseline itself, a `harness.judging.baseline.BaselineLookup`


class SuiteFindings(Part):
    """What a suite's record may tell besides, where there is something to tell."""

    under_test: Mapping[str, LoraRecord] = {}
    references_check: AuditRecord | None = None
    crowds: tuple[PopulationRecord, ...] = ()
    sweep: tuple[Tried, ...] = ()


class SuiteRecord(Part):
    """What a reader must know of a suite to read its figures."""

    PROMISED = frozenset({"baseline"})

    name: str
    path: str = ""
    file: str = ""  # the same from the project's root on, on every machine: what tells suites of one name apart
    subject: SubjectRecord = SubjectRecord()
    lora: LoraRecord | None = None
    providers: tuple[str, ...] = ()
    gate: tuple[str, ...] = ()
    beat: tuple[str, ...] = ()
    allowances: Mapping[str, float] = {}  # how far the gate may stay behind one under `beat`
    samples: int | None = None
    seed: int | None = None
    weights: Mapping[str, float] = {}
    thresholds: Mapping[str, Threshold] = {}
    alarms: Mapping[str, str] = {}
    margin: float | None = None
    traits: tuple[Trait, ...] = ()
    calibration: CalibrationRecord | None = None
    references: Mapping[str, tuple[str, ...]] = {}  # split to SHA-256 of stored pictures
    scorer: Mapping[str, Any] = {}  # what decides a score, by name; at least `identity`
    recipe: Mapping[str, Mapping[str, Any]] = {}  # by provider: what its requests share
    notes: tuple[str, ...] = ()  # for people: locked cases left out, a prompt cut off
    sets: Mapping[str, Mapping[str, SetScore]] = {}  # by gate provider and metric
    baseline: HeldBaseline | None = None
    card: CardSummary | None = None
    definition: Mapping[str, Any] = {}  # all that the suite's file says
    under_test: Mapping[str, LoraRecord] = {}  # by gate provider
    references_check: AuditRecord | None = None
    crowds: tuple[PopulationRecord, ...] = ()
    sweep: tuple[Tried, ...] = ()  # of the last `harness sweep`

    @property
    def own_name(self) -> str:
        """What its file says; `name` says more where a run has several suites of one name."""
        own = str(self.definition.get("name") or "")
        return own if own and self.name.startswith(f"{own}.") else self.name

    @property
    def demands_proof(self) -> bool:
        """Whether an open verdict must not leave the run green."""
        return self.definition.get("on_inconclusive") == "fail"

    @property
    def demands_judgement(self) -> bool:
        """Whether a gate that could not be judged must not leave the run green."""
        return self.definition.get("on_blind") != "report"


# --- feedback and retraining ----------------------------------------------------------------------------------------


class ShortfallRecord(Part):
    """One metric, trait or case below its bound: `harness.judging.feedback.Shortfall`."""

    kind: str = ""
    name: str = ""
    score: Interval | None = None
    target: float | None = None
    certain: bool = False
    category: str = ""
    value: str = ""
    cases: tuple[str, ...] = ()
    images: tuple[str, ...] = ()  # SHA-256 of the pictures that prove it, the worst first
    bound: str = ""
    gap: float | None = None

    @property
    def wanted(self) -> Threshold:
        """Its target, as a bound."""
        return Threshold(fail=self.target)


class RecommendationRecord(Part):
    """One thing to do: `harness.judging.advice.Recommendation`."""

    area: str = ""
    message: str
    priority: str
    evidence: Mapping[str, Any] = {}


class FeedbackRecord(Part):
    """How a suite's gate provider stands, and what would mend it: `harness.judging.feedback.Feedback`."""

    PROMISED = frozenset({"recommendations"})

    suite: str = ""
    provider: str = ""
    lora_score: float | None = None
    best_competitor: str | None = None
    competitor_score: float | None = None
    lead: Interval | float | None = Field(None, alias="score_gap")  # quality minus the best of the others', paired
    failing: bool = Field(False, alias="needs_improvement")
    metrics: tuple[ShortfallRecord, ...] = ()
    traits: tuple[ShortfallRecord, ...] = ()
    cases: tuple[ShortfallRecord, ...] = ()
    recommendations: tuple[RecommendationRecord, ...] = ()
    cause: str = ""
    warned: tuple[ShortfallRecord, ...] = ()
    intervals: Mapping[str, Interval | None] = {}
    areas: Mapping[str, Interval] = {}  # how far each lags behind the best competitor
    leaders: Mapping[str, tuple[str, ...]] = {}  # the best two of all, by area and trait

    @property
    def sure_lead(self) -> Interval | None:
        """The lead with its interval, where the record has one."""
        return self.lead if isinstance(self.lead, Interval) else None

    @property
    def shortfalls(self) -> tuple[ShortfallRecord, ...]:
        """Everything that is below its bound, metrics first."""
        return (*self.metrics, *self.traits, *self.cases)


class CauseRecord(Part):
    """What a retraining found to be wrong: `harness.judging.diagnosis.Cause`."""

    name: str
    confidence: float
    evidence: tuple[str, ...]


class RoundRecord(Part):
    """One round of retraining, as `harness.training.improve.loop` tells it."""

    PROMISED = frozenset({"gap"})

    round: int | None = None
    started: str = ""
    attempt: int | None = None
    suite: str = ""
    file: str = ""  # as a suite's
    provider: str = ""
    champion: LoraRecord | None = None
    failing_before: tuple[str, ...] = ()
    promoted: bool = False
    cause: str = ""
    evidence: Mapping[str, Any] | tuple[Any, ...] = ()
    confidence: float | None = None
    causes: tuple[CauseRecord, ...] = ()
    choice: tuple[Tried, ...] = ()
    plan: tuple[str, ...] = ()
    mended: Any = None
    changes: Mapping[str, Any] = {}
    config: Any = None
    start_from: str = ""
    candidates: Any = None
    steps: int | None = None
    loss: tuple[Any, ...] = ()  # [step, loss] pairs, or losses alone
    training_seconds: float | None = None
    look: int | None = None
    level: float | None = None
    goal: str = ""
    before: Mapping[str, Interval | None] = {}
    after: Mapping[str, Interval | None] = {}
    differences: Mapping[str, Interval | None] = {}
    sets: Any = None
    verdict: str = ""
    reason: str = ""
    over_base: Any = None
    competitor: str | None = None
    competitor_gap: Interval | None = None
    gap: Interval | None = None
    challenger: LoraRecord | None = None
    place: str = ""
    seconds: float | None = None
    pictures: int | None = None
    kept: str = ""
    failing_after: Any = None


# --- the whole ------------------------------------------------------------------------------------------------------


class RunRecord(Part):
    """The content of `results.json`."""

    PROMISED = frozenset({"feedback", "suites"})

    schema_: Literal[1] = Field(alias="schema")
    run: RunFacts
    gate: GateRecord
    leaderboard: tuple[LeaderboardRow, ...]
    cases: tuple[CaseRecord, ...]
    engine: EngineRecord
    rounds: tuple[RoundRecord, ...]
    suites: tuple[SuiteRecord, ...] = ()
    feedback: tuple[FeedbackRecord, ...] = ()

    @property
    def red_cases(self) -> list[CaseRecord]:
        """Gate providers' cases that failed or broke; a shard's only those that broke: a part fails nothing."""
        bad = ("error",) if self.run.shard else ("fail", "error")
        return [case for case in self.cases if case.gate and case.verdict in bad]

    def suite(self, name: str) -> SuiteRecord:
        """What it says of a suite; nothing but the name of one that it says nothing of."""
        return next((suite for suite in self.suites if suite.name == name), SuiteRecord(name=name))

    def rows(self, suite: str) -> list[LeaderboardRow]:
        """One suite's leaderboard, the best first."""
        return [row for row in self.leaderboard if row.suite == suite]

    def cases_of(self, suite: str, provider: str | None = None) -> list[CaseRecord]:
        """One suite's cases, of one provider or of all."""
        return [case for case in self.cases if case.suite == suite and provider in (None, case.provider)]

    def to_text(self) -> str:
        """The file: JSON with a line a record, so that two runs can be compared line by line."""
        return to_lines(self.plain)


# --- writing and reading --------------------------------------------------------------------------------------------


def _encode(value: object) -> object:
    return value.plain if isinstance(value, Part) else to_record(value)


def to_json(value: object) -> str:
    """JSON text of plain data, values of this package and parts; NaN and infinity become null, as JSON has no word."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, default=_encode)
    except ValueError:
        return json.dumps(finite(json.loads(json.dumps(value, default=_encode))), ensure_ascii=False)


def finite(value: Any) -> Any:
    """Plain JSON data, with every NaN and infinity as None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    return [finite(item) for item in value] if isinstance(value, list) else value


def to_lines(record: Mapping[str, object]) -> str:
    """A mapping as JSON, each of its lists with a line an item."""

    def part(value: object) -> str:
        if not isinstance(value, list | tuple) or not value:
            return to_json(value)
        return "[\n" + ",\n".join(map(to_json, value)) + "\n]"

    return "{\n" + ",\n".join(f"{to_json(key)}: {part(value)}" for key, value in record.items()) + "\n}\n"


def load_results(path: Path) -> RunRecord:
    """Read and check a `results.json`.

    Raises:
        UsageError: it is not there, is not JSON, is of another schema, or lacks what a run's record must hold.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise UsageError(f"{path}: larger than {LARGEST // 2**20} MiB; this is no results.json")
        return parse_results(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise UsageError(
            f"{path}: cannot be read ({error.strerror}); name the results.json of an earlier run"
        ) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not JSON ({error}); name the results.json of an earlier run") from error


def parse_results(text: str, where: str) -> RunRecord:
    """A record from its file's text; `where` it stands is for people. Raises UsageError as `load_results` does."""
    try:
        return RunRecord.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
    try:
        record = json.loads(text)
        written = to_json(record)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where}: not JSON ({error}); name the results.json of an earlier run") from error
    schema = record.get("schema") if isinstance(record, dict) else None
    if schema != SCHEMA or isinstance(schema, bool):
        newer = isinstance(schema, int) and schema > SCHEMA
        remedy = "update this package to read it" if newer else "make it again with this version"
        raise UsageError(f"{where}: schema {schema!r}, this version reads schema {SCHEMA}; {remedy}")
    if first["type"] == "json_invalid" and HALF_PAIR.search(written):  # half a surrogate pair is text to Python alone
        return parse_results(HALF_PAIR.sub("\N{REPLACEMENT CHARACTER}", written), where)
    key = ".".join(str(part) for part in first["loc"])
    raise UsageError(f"{where}: {key}: {first['msg']}; the file was changed or cut off, make it again")
