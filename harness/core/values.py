"""The frozen nouns that travel through the package, and their way to and from plain records."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Protocol

from harness.core.clusters import find_repeats

METRICS: tuple[str, ...] = ("quality", "clip", "features", "ssim")
"""The metrics of every suite, the primary one first; the others of them carry the weights."""

BESIDE: tuple[str, ...] = ("prompt", "technical")
"""Found in every picture beside them; a threshold on one is judged like any other."""

BASE, PROMPT_ONLY = WITHOUT_LORA = ("base", "prompt_only")
"""Providers that draw without the LoRA under test: the prompt as it is, and the subject's description spelled out."""

DOMAIN = "domain"
"""A score of the pictures alone that are unlike everything the models know; it has no value, and `reason` says why."""

DISTANCE = "domain_distance"
"""In the details of `technical`: how far a picture is from what models know, in standard deviations of the known."""

UNCLIPPED = "unclipped"
"""In a score's details: the calibrated value before it is cut to [0, 1]; differences are not cut off at 1."""

ALARMS: Mapping[str, str] = {"copy": "warn", "diversity": "warn", "response": "fail", "drift": "off"}
"""What is asked of a provider's pictures together, and how much an alarm means where a suite says nothing."""


class Outcome(StrEnum):
    """How one request ended. Only `ok` is ever scored; everything else is shown, never a zero."""

    OK = "ok"
    REFUSED = "refused"
    QUOTA = "quota"
    AUTH = "auth"
    MODEL_RETIRED = "model_retired"
    TIMEOUT = "timeout"
    PROVIDER_ERROR = "provider_error"
    BAD_IMAGE = "bad_image"

    @classmethod
    def _missing_(cls, value: object) -> Outcome:
        """A word of another version's: whatever it says, it is no picture that may be scored."""
        return cls.PROVIDER_ERROR


class Decision(StrEnum):
    """What a verdict says."""

    PASS = "pass"  # noqa: S105  (a word, not a password)
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    NOT_JUDGED = "not_judged"  # nothing could tell: no pass, no fail, and more pictures would not help
    ERROR = "error"


def canonical_json(value: Any) -> str:
    """One text for one value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: Any) -> str:
    """SHA-256 of a value's canonical JSON, hexadecimal."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


class Recorded:
    """What stands in a run's record: read by pydantic, a field takes its default where the value is of a wrong type."""

    PROMISED: ClassVar[frozenset[str]] = frozenset()  # fields with a default that must be right all the same

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        schema = handler(source)
        inner = handler.resolve_ref_schema(schema)
        while inner["type"] not in ("model-fields", "dataclass-args"):
            inner = inner["schema"]
        fields = inner["fields"]
        for name, field_ in fields.items() if isinstance(fields, dict) else [(item["name"], item) for item in fields]:
            if field_["schema"]["type"] == "default" and name not in cls.PROMISED:
                field_["schema"]["on_error"] = "default"
        return schema


@dataclass(frozen=True)
class Threshold:
    """`fail`: below it is wrong; `warn`: below it is worth a look. Calibrated scores in [0, 1]; None: no bound."""

    fail: float | None = None
    warn: float | None = None

    @property
    def idle(self) -> bool:
        """Whether no score can fall below `fail`."""
        return self.fail is not None and self.fail <= 0


@dataclass(frozen=True)
class Lora:
    """A LoRA file and the strength at which it is applied (1.0: as trained)."""

    path: Path
    strength: float = 1.0
    beside: tuple[Lora, ...] = ()  # drawn together with it, and still on where it is switched off

    @property
    def parts(self) -> tuple[Lora, ...]:
        """It and those beside it, each by itself; without what strength 0 switches off."""
        own = (Lora(self.path, self.strength),) if self.strength else ()
        return (*own, *(part for lora in self.beside for part in lora.parts))


@dataclass(frozen=True)
class Trait(Recorded):
    """One thing that makes the subject recognisable."""

    category: str
    value: str  # one of the vocabulary's alternatives, or free text when the suite's author wrote it
    phrase: str  # how a prompt says it


@dataclass(frozen=True)
class Vocabulary:
    """One category of traits: its alternatives and how a prompt says each."""

    alternatives: Mapping[str, str]  # value to phrase
    identity: bool = True  # False: belongs to the scene, that is to the prompt

    def phrase(self, value: str) -> str:
        """How a prompt says a value; a value that is not listed is said as it is."""
        return self.alternatives.get(value, value)


@dataclass(frozen=True)
class Subject:
    """Whom a suite is about. Paths are absolute."""

    name: str
    trigger: str
    references: Path  # holds train/ and held_out/, or pictures to be split when `split` is "auto"
    kind: str = "character"
    lora: Lora | None = None
    impostors: Path | None = None  # frozen pictures of others; None: the profile's
    traits: Mapping[str, str] | None = None  # category to description; None: extracted from the references
    split: str = "folders"  # or "auto"
    class_word: str = ""  # what the subject is one of, "a cat" say; "" where the suite does not name it

    @property
    def noun(self) -> str:
        """Stands for the subject in a prompt that does not know it."""
        return self.class_word or "a person"


@dataclass(frozen=True)
class Case:
    """One prompt of one suite, templated, with what is expected of its pictures."""

    suite: str
    id: str
    prompt: str  # {trigger} already filled in
    negative: str = ""
    expect: Mapping[str, str] = field(default_factory=dict)  # category to value: what the picture must show
    thresholds: Mapping[str, Threshold] = field(default_factory=dict)  # over the suite's
    split: str = "open"  # or "locked"
    line: int = 1  # in the suite's file
    tags: tuple[str, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether it may be read by who trains and chooses; a locked one is kept for the held-out test."""
        return self.split == "open"


@dataclass(frozen=True)
class Suite:
    """One YAML file: a subject, its references, the prompts, the thresholds."""

    name: str
    path: Path
    subject: Subject
    providers: tuple[str, ...]
    gate: tuple[str, ...]
    cases: tuple[Case, ...]
    samples: int = 3  # seeds per prompt, the same for every provider; the most of them with `min_samples`
    min_samples: int | None = None  # seeds of the first look; more are drawn where the verdict is still open
    seed: int = 0  # the first of them
    weights: Mapping[str, float] = field(default_factory=dict)  # of clip, features, ssim; sums to 1
    thresholds: Mapping[str, Threshold] = field(default_factory=dict)
    margin: float = 0.02  # regression against the baseline that still passes
    beat: tuple[str, ...] = ()
    allowances: Mapping[str, float] = field(default_factory=dict)  # how far the gate may stay behind one under `beat`
    on_inconclusive: str = "warn"  # or "fail": exit code 11
    on_blind: str = "fail"  # exit code 11 where the gate cannot be judged; or "report"
    negative: str = ""
    vocabulary: Mapping[str, Vocabulary] = field(default_factory=dict)  # what the suite adds to the profile's
    alarms: Mapping[str, str] = field(default_factory=dict)  # of ALARMS, to fail, warn or off
    loras: Mapping[str, tuple[Lora, ...]] = field(default_factory=dict)  # provider to what it draws with beside

    def seeds(self, samples: int | None = None, offset: int = 0) -> tuple[int, ...]:
        """The seeds of every case, those of the first look by themselves; a promotion's offset nobody has seen."""
        first = self.seed + offset
        return tuple(range(first, first + (samples or self.min_samples or self.samples)))

    @cached_property
    def repeats(self) -> Mapping[str, str]:
        """Cases that draw what an earlier one draws, to the id under which their prompt counts."""
        return find_repeats((case.id, case.prompt, case.negative or self.negative) for case in self.cases)

    @property
    def open_prompts(self) -> tuple[Case, ...]:
        """The open cases that draw different prompts."""
        return tuple(case for case in self.cases if case.is_open and case.id not in self.repeats)

    def case(self, case_id: str) -> Case:
        return next(case for case in self.cases if case.id == case_id)

    def threshold(self, case: Case | None, metric: str) -> Threshold:
        """The case's own bound where it has one, else the suite's."""
        own = case.thresholds.get(metric) if case else None
        return own or self.thresholds.get(metric, Threshold())

    def metrics(self, case: Case | None = None) -> tuple[str, ...]:
        """Those of every suite, then whatever else has a threshold here."""
        return tuple(dict.fromkeys([*METRICS, *self.thresholds, *(case.thresholds if case else ())]))

    def rivals(self, names: Sequence[str]) -> tuple[str, ...]:
        """Whose pictures a gate's verdict needs beside its own, of `names`.

        Those to be beaten, and where cases expect something `prompt_only`: nobody may follow prompts worse.
        """
        if "best_competitor" in self.beat:
            return tuple(names)
        asks = (PROMPT_ONLY,) if any(case.expect for case in self.cases) else ()
        return tuple(name for name in names if name in (*self.beat, *asks))

    def alarm(self, name: str) -> str:
        """What an alarm over the pictures together means: fail, warn or off."""
        return self.alarms.get(name, ALARMS[name])


@dataclass(frozen=True)
class Job:
    """One test: a case of a suite drawn by one provider. `suite` is the suite's file as a POSIX path."""

    path: str
    case: str
    provider: str


@dataclass(frozen=True)
class Request:
    """Everything that decides the pixels, and nothing else; equal requests are drawn once."""

    adapter: str  # adapter and its version: "local/1"
    model: str  # hash of the model's files, or service address and model id
    prompt: str
    seed: int
    width: int  # pixels
    height: int
    negative: str = ""
    lora: str = ""  # SHA-256 of the file; "" without one
    strength: float = 0.0
    steps: int = 0
    guidance: float = 0.0
    scheduler: str = ""
    dtype: str = ""
    batch: int = 1  # the batch policy: batch mates change rounding, so another size is another picture
    libraries: str = ""  # compatibility class, "torch 2.13, diffusers 0.42"
    index: int = 0  # of the sample, for services without seeds
    extra: Mapping[str, Any] = field(default_factory=dict)  # what an adapter adds, plain JSON

    @property
    def key(self) -> str:
        """The cache key."""
        return digest({**self.__dict__, "extra": dict(self.extra)})


@dataclass(frozen=True)
class Generation:
    """A provider's answer to one request: encoded bytes (PNG, JPEG or WebP), or why there are none."""

    outcome: Outcome
    data: bytes | None = None
    message: str = ""  # for people; says what to do when the outcome is not ok
    seconds: float = 0.0
    cost_usd: float = 0.0
    meta: Mapping[str, Any] = field(default_factory=dict)  # plain JSON, free of secrets


@dataclass(frozen=True)
class Score(Recorded):
    """What one metric found in one picture."""

    metric: str
    value: float | None  # calibrated, [0, 1]; None: could not be measured, and `reason` says why
    raw: float | None = None  # under the plain definition
    reason: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)  # plain JSON, per trait say

    @property
    def traits(self) -> dict[str, TraitScore]:
        """What `features` says of each trait, by category."""
        items = {str(name): item for name, item in self.details.items() if isinstance(item, Mapping)}
        return {
            name: TraitScore(str(item.get("value", "")), as_number(item.get("score")), str(item.get("seen") or ""))
            for name, item in items.items()
        }


@dataclass(frozen=True)
class TraitScore:
    """How surely one picture shows one trait."""

    value: str  # what was wanted
    score: float | None  # calibrated, [0, 1]; None: could not be measured
    seen: str = ""  # what the scorer takes it for


def as_number(value: object) -> float | None:
    """A finite number of plain JSON data, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


@dataclass(frozen=True)
class SetScore(Recorded):
    """What one provider's pictures of a suite say together, where no single picture could."""

    metric: str  # copy, diversity, response, drift, aesthetics
    sentence: str  # for people: what was found and what to do, or why it was not judged
    alarm: bool = False
    judged: bool = True
    details: Mapping[str, Any] = field(default_factory=dict)  # the figures, plain JSON


@dataclass(frozen=True)
class Sample(Recorded):
    """One picture of one request (or its absence), who made it, and its scores."""

    PROMISED = frozenset({"image", "scores"})

    request: str  # the request's key
    seed: int
    outcome: Outcome
    image: str | None = None  # SHA-256 of the stored PNG
    message: str = ""
    seconds: float = 0.0
    cost_usd: float = 0.0
    cached: bool = False
    emulated: bool = False
    scores: Mapping[str, Score] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def quality(self) -> float | None:
        """Its calibrated quality, where it could be measured."""
        score = self.scores.get(METRICS[0])
        return score.value if score else None

    @property
    def traits(self) -> dict[str, TraitScore]:
        """How surely it shows each trait, by category."""
        features = self.scores.get("features")
        return features.traits if features else {}


@dataclass(frozen=True)
class Interval(Recorded):
    """A mean with its 95% confidence interval; low and high are None when one cannot be had (n < 2)."""

    mean: float
    low: float | None = None
    high: float | None = None
    n: int = 0  # clusters

    def within(self, least: float) -> Interval:
        """With bounds from `least` to 1, as it is where the mean lies beyond: of scores that are not cut off at 1."""
        if not least <= self.mean <= 1:
            return self
        low, high = (None if end is None else min(1.0, max(least, end)) for end in (self.low, self.high))
        return replace(self, low=low, high=high)


@dataclass(frozen=True)
class Complaint(Recorded):
    """One reason of a verdict, in words and numbers."""

    metric: str
    message: str  # says what was found, against what, and what to do
    severity: str = "fail"  # or "warn", "error"


@dataclass(frozen=True)
class CaseResult:
    """One job's samples with their scores."""

    job: Job
    samples: tuple[Sample, ...]
    skipped: str = ""  # why nothing was asked of the provider: a missing key, say
    cluster: str = ""  # the case under whose id its prompt counts, where an earlier one draws the same

    @property
    def prompt_id(self) -> str:
        """Whose seeds these are: one id for all cases that draw the same."""
        return self.cluster or self.job.case

    @property
    def scored(self) -> tuple[Sample, ...]:
        return tuple(sample for sample in self.samples if sample.outcome is Outcome.OK and sample.scores)

    @property
    def outcome(self) -> Outcome:
        """ok when every picture came; otherwise the first thing that went wrong."""
        return next((sample.outcome for sample in self.samples if sample.outcome is not Outcome.OK), Outcome.OK)


@dataclass(frozen=True)
class Verdict:
    """All that a test needs to pass or fail, and all that the report shows of it."""

    decision: Decision
    scores: Mapping[str, Interval] = field(default_factory=dict)
    complaints: tuple[Complaint, ...] = ()
    cause: str = ""  # a diagnosed cause in words: "strength is 0: ...", "LoRA of another person: ..."
    details: Mapping[str, Any] = field(default_factory=dict)
    cause_name: str = ""  # the same for code: a name of `harness.judging.causes`


class Provider(Protocol):
    """Whatever turns requests into pictures. Construction and `requests` import nothing heavy."""

    name: str
    emulated: bool

    def missing(self) -> str:
        """The variable that must be set first, or ""."""
        ...

    def requests(self, suite: Suite, case: Case, seeds: Sequence[int]) -> tuple[Request, ...]:
        """One request a seed."""
        ...

    def draw(self, requests: Sequence[Request]) -> Iterator[Generation]:
        """One drawing a request, in order; never raises for a single picture's failure."""
        ...

    def close(self) -> None:
        """Give back what it holds."""
        ...


@dataclass(frozen=True)
class Usage:
    """What the engine did, for `results.json` and the benchmarks."""

    images_generated: int = 0
    images_cached: int = 0
    model_loads: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)  # by stage: load, draw, score, train


PLAIN = frozenset({str, float, int, bool, type(None)})


def to_record(value: Any) -> Any:
    """Any of these values as plain JSON data."""
    if type(value) in PLAIN:  # by far the most, in a record of thousands of samples
        return value
    if hasattr(value, "__dataclass_fields__"):
        return {name: to_record(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, Mapping):
        return {str(key): to_record(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_record(item) for item in value]
    if isinstance(value, Path):
        return value.as_posix()
    return value.value if isinstance(value, StrEnum) else value


def score_from(record: Mapping[str, Any]) -> Score:
    return Score(**record)


def sample_from(record: Mapping[str, Any]) -> Sample:
    scores = {name: score_from(score) for name, score in record.get("scores", {}).items()}
    return Sample(**{**record, "outcome": Outcome(record["outcome"]), "scores": scores})


def interval_from(record: Mapping[str, Any]) -> Interval:
    return Interval(**record)


def case_result_from(record: Mapping[str, Any]) -> CaseResult:
    samples = tuple(sample_from(sample) for sample in record["samples"])
    return CaseResult(Job(**record["job"]), samples, record.get("skipped", ""), record.get("cluster", ""))


def verdict_from(record: Mapping[str, Any]) -> Verdict:
    return Verdict(
        Decision(record["decision"]),
        {name: interval_from(item) for name, item in record["scores"].items()},
        tuple(Complaint(**item) for item in record["complaints"]),
        record.get("cause", ""),
        record.get("details", {}),
        record.get("cause_name", ""),
    )


@dataclass(frozen=True)
class Progress:
    """Where a run stands."""

    stage: str  # estimate (of what services will cost), load, draw, score, train, wait (for another run), done
    done: int = 0  # pictures that are there, failed ones too
    total: int = 0  # pictures of the plan
    cached: int = 0  # of `done`, those that were in the store
    cost_usd: float = 0.0  # spent by this run
    eta_s: float | None = None  # seconds until the last picture; None: not known yet
    provider: str = ""
    suite: str = ""
    message: str = ""  # for people, when there is more to say: the step of a training, say


Listener = Callable[[Progress], None]
