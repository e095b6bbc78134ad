"""A suite's baseline: the scores that a team has agreed on, in a small file that is reviewed like code.

It lies at `baselines/<suite>.json` beside the suite, holds one score record a line, a thumbnail a case, and the hashes
of everything that decided them. A run is held against it in pairs (`judging.changes`); one of another recipe or scorer
is refused by the name of the field. It is written by `--update-baseline`, by a decision in
`harness review`, and by nothing else.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from harness.core.errors import UsageError
from harness.core.files import write_file
from harness.core.git import find_commit, git_state, read_commit
from harness.core.project import belongs_to_another
from harness.core.settings import Settings
from harness.core.values import (
    UNCLIPPED,
    Case,
    CaseResult,
    Complaint,
    Decision,
    Job,
    Outcome,
    Sample,
    Score,
    Suite,
    Verdict,
    as_number,
)
from harness.judging.adaptive import gate_seeds, level_at
from harness.judging.changes import REGRESSED, compare_results
from harness.judging.comparable import ADDED, UNDER_TEST, Comparable, Parts, compare_parts
from harness.judging.record import (
    LARGEST,
    CaseRecord,
    Change,
    ChangedNumber,
    ChangedText,
    FormerPicture,
    HeldBaseline,
    HeldProvider,
    RunRecord,
    SuiteRecord,
    VerdictRecord,
    parse_results,
)
from harness.judging.results import name_in, relative

KIND, SCHEMA = "lora-harness baseline", 1
FOLDER = "baselines"  # beside the suite
DIGITS = 6  # of a score in the file; what they cannot tell apart is equal
THUMB, THUMB_BYTES = 64, 1_500  # pixels of the longer side, bytes of WebP: 2 KB as text
QUALITIES = (75, 60, 45, 30, 15)  # of WebP, until it fits
WORST = 6  # cases that a record shows with their old pictures
REMEDY = "bless this run with --update-baseline, or leave the baseline out with --baseline off"
AGAINST_BASELINE = ("regression", "fallen")  # details of a verdict
OWN = "give one of them another `suite:` name, or compare with a file of its own"
Pictures = Callable[[str], bytes]
"""SHA-256 to an encoded picture."""


# --- the file -----------------------------------------------------------------------------------------------------


class _Part(BaseModel):
    """A newer version may add keys; those that are known are checked."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False, frozen=True)


class RecordedRecipe(_Part):
    """What one provider's pictures were made with."""

    lora: str = ""  # SHA-256; "" without one
    strength: float = 0.0
    recipe: dict[str, Any] = {}


class Prompt(_Part):
    """What a case asked for: with another prompt it is another case."""

    case: str
    prompt: str
    negative: str = ""


class Mark(_Part):
    """The scores of one picture."""

    provider: str
    case: str
    seed: int
    image: str = ""  # SHA-256
    scores: dict[str, float]
    unclipped: dict[str, float] = {}  # the same before they were cut to [0, 1], where that is known

    def score(self, name: str, like: Score | None) -> Score:
        """One of its scores; where it differs from `like` by less than the file's digits say, `like`'s own number."""
        value, whole = self.scores[name], self.unclipped.get(name)
        value = snap(value, like.value if like else None)
        if whole is None:
            return Score(name, value)
        exact = as_number(like.details.get(UNCLIPPED)) if like else None
        return Score(name, value, details={UNCLIPPED: snap(whole, exact)})


class Thumbnail(_Part):
    """A small picture of a case, for whoever reviews the file or reads a report."""

    provider: str
    case: str
    seed: int
    webp: str = Field(pattern=r"^[A-Za-z0-9+/]*={0,2}$", max_length=100_000)  # base64


class Baseline(_Part):
    """One suite's."""

    suite: str
    file: str = ""  # the suite's, from its project's root on; "": of a version that did not write it
    made: dict[str, Any] = {}  # date, commit, profile, versions
    scorer: dict[str, Any] = {}
    providers: dict[str, RecordedRecipe] = {}
    cases: list[Prompt] = []
    scores: list[Mark] = []
    thumbnails: list[Thumbnail] = []

    def comparable(self, record: SuiteRecord, provider: str) -> Comparable:
        """Whether it may be held against a run.

        Args:
            record: of the suite in that run.
        """
        if self.suite != record.own_name:
            words = f"suite: the baseline has none called {record.own_name!r}, it is of {self.suite!r}"
            return Comparable((words,))
        drawn = self.providers.get(provider, RecordedRecipe())
        return compare_parts(drawn.recipe, record.recipe.get(provider, {}), self.scorer, record.scorer)

    def reworded(self, suite: Suite) -> list[str]:
        """Cases that the suite still has, with another prompt."""
        now = {case.id: case for case in suite.cases}
        return [old.case for old in self.cases if old.case in now and not same_prompt(old, now[old.case])]

    def results(self, suite: Suite, provider: str, like: Sequence[CaseResult] = ()) -> list[CaseResult]:
        """A provider's scores as the results of a run, without the reworded cases.

        Args:
            like: the run's own; where a score differs by less than the file's digits say, it is taken from there.
        """
        left_out, exact = set(self.reworded(suite)), exact_scores(like)
        results: dict[str, list[Sample]] = {}
        for mark in self.scores:
            if mark.provider == provider and mark.case not in left_out:
                known = exact.get((mark.case, mark.seed), {})
                scores = {name: mark.score(name, known.get(name)) for name in mark.scores}
                sample = Sample("", mark.seed, Outcome.OK, image=mark.image or None, scores=scores)
                results.setdefault(mark.case, []).append(sample)
        path, repeats = suite.path.as_posix(), suite.repeats
        return [
            CaseResult(Job(path, case, provider), tuple(own), cluster=repeats.get(case, ""))
            for case, own in results.items()
        ]


def same_prompt(old: Prompt, now: Case) -> bool:
    return (old.prompt, old.negative) == (now.prompt, now.negative)


def exact_scores(results: Iterable[CaseResult]) -> dict[tuple[str, int], Mapping[str, Score]]:
    """(case, seed) to what was found in its picture."""
    return {(result.job.case, sample.seed): sample.scores for result in results for sample in result.scored}


def snap(value: float, exact: float | None) -> float:
    """A rounded value, or the exact one that it may stand for."""
    return exact if exact is not None and abs(exact - value) < 10**-DIGITS else value


def baseline_path(suite: Suite) -> Path:
    """Where a suite's baseline lies."""
    return suite.path.parent / FOLDER / f"{suite.name}.json"


def parse_baseline(text: str, suite: Suite | str, where: str) -> Baseline:
    """A baseline from its file's text, or from that of an earlier run's results.json.

    Args:
        suite: whose, in an earlier run; by its name alone, where the run has no other of that name.

    Raises:
        UsageError: neither, or one with a hole.
    """
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where}: not JSON ({error}); name a baseline, or an earlier run's results.json") from error
    if not isinstance(record, Mapping) or record.get("kind") != KIND:
        results = parse_results(text, where)
        return from_results(results, suite if isinstance(suite, str) else name_in(results, suite))
    if record.get("schema") != SCHEMA:
        raise UsageError(f"{where}: schema {record.get('schema')!r}, this version reads {SCHEMA}; update this package")
    try:
        return Baseline.model_validate({key: value for key, value in record.items() if key not in ("kind", "schema")})
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{where}: {key}: {first['msg']}; the file was damaged (by a merge?): {REMEDY}") from error


def from_results(results: RunRecord, suite: str) -> Baseline:
    """What a run's record says of one suite, as the record calls it: all providers, without thumbnails."""
    known = [item.name for item in results.suites]
    if suite not in known:
        return Baseline(suite=", ".join(known) or "no suite")
    about, cases, run = results.suite(suite), results.cases_of(suite), results.run
    marks = [mark for case in cases for mark in marks_of(case)]
    asked = {case.case: case for case in cases if case.prompt}
    prompts = [Prompt(case=name, prompt=case.prompt, negative=case.negative) for name, case in asked.items()]
    return Baseline(
        suite=about.own_name,
        file=about.file,
        made={"date": run.started, "profile": run.profile, "versions": run.versions},
        scorer=dict(about.scorer),
        providers={name: drawn_of(recipe) for name, recipe in about.recipe.items()},
        cases=sorted(prompts, key=lambda prompt: prompt.case),
        scores=sorted(marks, key=lambda mark: (mark.provider, mark.case, mark.seed)),
    )


def marks_of(case: CaseRecord) -> list[Mark]:
    """One mark a picture of a run's case that has scores."""
    results = []
    for sample in case.samples:
        values = {name: score.value for name, score in sample.scores.items()}
        scores = {name: round(value, DIGITS) for name, value in values.items() if value is not None}
        whole = {
            name: round(number, DIGITS)
            for name in scores
            if (number := as_number(sample.scores[name].details.get(UNCLIPPED))) is not None
        }
        if scores:
            mark = Mark(
                provider=case.provider, case=case.case, seed=sample.seed, image=sample.image or "", scores=scores
            )
            results.append(mark.model_copy(update={"unclipped": whole}) if whole else mark)
    return results


def drawn_of(recipe: Parts) -> RecordedRecipe:
    shared = {name: value for name, value in recipe.items() if name not in UNDER_TEST}
    strength = recipe.get("strength", 0.0)
    known = float(strength) if isinstance(strength, int | float) else 0.0
    return RecordedRecipe(lora=str(recipe.get("lora", "")), strength=known, recipe=shared)


def to_text(baseline: Baseline) -> str:
    """The file: keys in one order and a record a line, so that a review shows what changed and nothing else."""

    def dump(value: object) -> str:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)

    def part(value: object) -> str:
        if isinstance(value, Mapping) and value:
            return "{\n" + ",\n".join(f"{dump(name)}: {ordered(value[name])}" for name in sorted(value)) + "\n}"
        if isinstance(value, list) and value:
            return "[\n" + ",\n".join(map(dump, value)) + "\n]"
        return dump(value)

    def ordered(value: object) -> str:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True)

    record = {"kind": KIND, "schema": SCHEMA, **baseline.model_dump()}
    return "{\n" + ",\n".join(f"{dump(name)}: {part(value)}" for name, value in record.items()) + "\n}\n"


# --- making one ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Saved:
    """What came of `--update-baseline` for one suite."""

    text: str  # for people
    refused: bool = False


def update_baseline(results: RunRecord, suite: Suite, pictures: Pictures, *, anyway: bool = False) -> Saved:
    """Write a suite's baseline from a run's record, unless the run is red or incomplete.

    Args:
        anyway: write it all the same.
    """
    path, reasons = baseline_path(suite), objections(results, suite)
    shown = relative(path)
    ran = results.suite(name_in(results, suite)).file
    if belongs_to_another(ran, suite.path):
        return Saved(f"{shown} was not written: the run is of {ran}, another suite called {suite.name!r}", True)
    if taken := others_baseline(suite):
        return Saved(f"{shown} was not written: {taken}", True)
    if reasons and not anyway:
        message = "; ".join(reasons)
        return Saved(f"{shown} was not written: {message}. --update-baseline-anyway writes it all the same", True)
    made = make_baseline(results, suite, pictures)
    text = to_text(made)
    if path.is_file() and is_same(path, made):
        return Saved(f"{shown} says the same already")
    write_file(path, text)
    size = f"{len(made.scores)} scores, {len(made.thumbnails)} thumbnails, {round(len(text) / 1024)} KB"
    although = f", although {'; '.join(reasons)}" if reasons else ""
    return Saved(f"wrote {shown} ({size}){although}; review and commit it")


def make_baseline(results: RunRecord, suite: Suite, pictures: Pictures) -> Baseline:
    """A baseline of the suite's gate providers, with thumbnails and provenance."""
    result = from_results(results, name_in(results, suite))
    marks = [mark for mark in result.scores if mark.provider in suite.gate]
    first = {(mark.provider, mark.case): mark for mark in reversed(marks) if mark.image}
    thumbnails = [
        Thumbnail(provider=mark.provider, case=mark.case, seed=mark.seed, webp=shrink(pictures(mark.image)))
        for _, mark in sorted(first.items())
    ]
    kept = {mark.case for mark in marks}
    changes = {
        "made": {**result.made, **git_state(suite.path.parent)},
        "providers": {name: drawn for name, drawn in result.providers.items() if name in suite.gate},
        "cases": [prompt for prompt in result.cases if prompt.case in kept],
        "scores": marks,
        "thumbnails": thumbnails,
    }
    return result.model_copy(update=changes)


def objections(results: RunRecord, suite: Suite) -> list[str]:
    """Why a run should not become a baseline: what is red, and what is missing."""
    name, findings = name_in(results, suite), list[str]()
    gates = {item.provider: item for item in results.gate.items if item.suite == name}
    for provider in suite.gate:
        cases = {case.case: case for case in results.cases_of(name, provider)}
        wanted = [case.id for case in suite.cases if case.split == "open"]
        findings += _objections(provider, gates.get(provider), [cases.get(name) for name in wanted], suite)
        red = [name for name, case in cases.items() if case.verdict in ("fail", "error")]
        findings += [f"{len(red)} cases by {provider} are red ({', '.join(red[:3])})"] if red else []
    return findings or ([f"the run is red: {results.gate.reasons[0]}"] if broke_down(results) else [])


def others_baseline(suite: Suite) -> str:
    """Why this suite's place is not free: the baseline of another suite of its name and folder lies there."""
    path = baseline_path(suite)
    try:
        return whose(parse_baseline(path.read_text(encoding="utf-8"), suite, str(path)), suite)
    except (OSError, ValueError, UsageError):
        return ""  # none, or a damaged one, which is replaced


def whose(baseline: Baseline, suite: Suite) -> str:
    """Whose baseline it is, where it is not this suite's; "" where it is."""
    if not belongs_to_another(baseline.file, suite.path):
        return ""
    return f"it is of {baseline.file}, another suite called {suite.name!r}; {OWN}"


def _objections(
    provider: str, gate: VerdictRecord | None, cases: Sequence[CaseRecord | None], suite: Suite
) -> list[str]:
    least = suite.min_samples or suite.samples
    undrawn = sum(case is None for case in cases)
    thin = [case for case in cases if case is not None and len(marks_of(case)) < least]
    result = [f"the gate of {provider} was not judged"] if gate is None else []
    if gate is not None and gate.verdict in ("fail", "error", "not_judged"):
        result.append(f"the gate of {provider} says {gate.verdict.replace('_', ' ')}")
    result += [f"{undrawn} of {len(cases)} open cases were not drawn by {provider}"] if undrawn else []
    result += [f"{len(thin)} cases by {provider} have fewer than {least} scored pictures"] if thin else []
    return result


def broke_down(results: RunRecord) -> bool:
    """Whether the run has an error that belongs to no suite: the engine died, the budget was reached."""
    return results.gate.verdict == "error" and not any(item.verdict == "error" for item in results.gate.items)


def is_same(path: Path, made: Baseline) -> bool:
    """Whether a file says the same, whenever and by whatever commit it was made."""
    try:
        old = parse_baseline(path.read_text(encoding="utf-8"), made.suite, str(path))
    except (OSError, ValueError, UsageError):
        return False
    apart = {"made": {}, **({} if old.file else {"file": ""})}
    return old.model_copy(update=apart) == made.model_copy(update=apart)


def shrink(data: bytes) -> str:
    """A picture as base64 of a WebP of at most `THUMB_BYTES`, or of the smallest that there is."""
    with Image.open(io.BytesIO(data)) as opened:
        picture = opened.convert("RGB")
    picture.thumbnail((THUMB, THUMB), Image.Resampling.LANCZOS)
    small = b""
    for quality in QUALITIES:
        buffer = io.BytesIO()
        picture.save(buffer, "WEBP", quality=quality, method=6)
        small = buffer.getvalue()
        if len(small) <= THUMB_BYTES:
            break
    return base64.b64encode(small).decode()


# --- finding one --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BaselineLookup:
    """A suite's baseline, or why there is none."""

    where: str  # for people
    baseline: Baseline | None = None
    problem: str = ""
    severity: str = "error"  # of the problem: an error, or a warning where none can be expected yet
    binding: bool = True  # False: it is only told of, because this run is to replace it


LOOKUP = TypeAdapter(BaselineLookup)


def found_from(kept: object) -> BaselineLookup:
    """The baseline that a shard's record carries.

    Raises:
        UsageError: this is no record of one.
    """
    try:
        return LOOKUP.validate_python(kept)
    except ValidationError as error:
        raise UsageError(f"the record of a baseline is damaged ({error}); run the shard again") from error


class Baselines:
    """Finds and reads each suite's baseline, once a run."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._known: dict[Path, BaselineLookup | None] = {}

    def of(self, suite: Suite) -> BaselineLookup | None:
        """None: nothing to compare with, and nothing was asked for."""
        if suite.path not in self._known:
            try:
                self._known[suite.path] = self._find(suite)
            except UsageError as error:
                self._known[suite.path] = BaselineLookup(
                    f"--baseline {self._settings.baseline_from}", problem=str(error)
                )
        return self._known[suite.path]

    def _find(self, suite: Suite) -> BaselineLookup | None:
        settings, path = self._settings, baseline_path(suite)
        kind, _, reference = settings.baseline_from.partition(":")
        if settings.baseline:
            return read_file(settings.baseline, suite)
        if kind == "git":
            return self._at_commit(path, suite, reference or "merge-base")
        if kind == "off" or (kind == "auto" and not path.is_file()):
            return None
        if not path.is_file():
            return BaselineLookup(
                relative(path), problem=f"{relative(path)} is not there; make it with --update-baseline"
            )
        return replace(read_file(path, suite), binding=not (settings.update_baseline and kind == "auto"))

    def _at_commit(self, path: Path, suite: Suite, reference: str) -> BaselineLookup:
        message = (self._settings.secret(name) for name in ("GITHUB_BASE_REF", "CI_MERGE_REQUEST_TARGET_BRANCH_NAME"))
        target = next((secret.reveal() for secret in message if secret), "")
        commit = find_commit(suite.path.parent, reference, target)
        where = f"{relative(path)} at {commit[:10]} ({reference})"
        text = read_commit(path, commit)
        if text is None:
            return BaselineLookup(
                where, problem=f"{where}: there was no such file yet, so nothing is compared", severity="warn"
            )
        return parse_found(text, suite, where)


def read_file(path: Path, suite: Suite) -> BaselineLookup:
    """The baseline in a file; what is wrong with it is said in the answer."""
    try:
        if path.stat().st_size > LARGEST:
            raise UsageError(f"{path}: larger than {LARGEST // 2**20} MiB; this is no baseline")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError, UsageError) as error:
        return BaselineLookup(relative(path), problem=f"{relative(path)}: cannot be read ({error})")
    return parse_found(text, suite, relative(path))


def parse_found(text: str, suite: Suite, where: str) -> BaselineLookup:
    try:
        found = parse_baseline(text, suite, where)
    except UsageError as error:
        return BaselineLookup(where, problem=str(error))
    if taken := whose(found, suite):
        return BaselineLookup(where, problem=f"{where}: {taken}")
    return BaselineLookup(where, found)


# --- holding a run against it -------------------------------------------------------------------------------------


def hold_verdict(found: BaselineLookup, record: SuiteRecord, provider: str, verdict: Verdict) -> Verdict:
    """A gate's verdict, in the light of whether its baseline could be compared at all.

    Another recipe or scorer proves nothing, so it is refused; another dtype is only warned about.

    Args:
        record: of the suite in this run.
    """
    if verdict.decision is Decision.ERROR or not found.binding:
        return verdict
    if found.baseline is None:
        complaint = Complaint("baseline", found.problem, found.severity)
        if found.severity == "warn":
            return replace(verdict, complaints=(*verdict.complaints, complaint))
        return replace(verdict, decision=Decision.ERROR, complaints=(complaint, *verdict.complaints))
    comparable = found.baseline.comparable(record, provider)
    warned = tuple(Complaint("baseline", f"{found.where}: {words}", "warn") for words in comparable.warned)
    if comparable:
        return replace(verdict, complaints=(*verdict.complaints, *warned))
    message = f"{found.where} cannot be compared with this run: {'; '.join(comparable.refused)}; {REMEDY}"
    refused = Complaint("baseline", message, "error")
    own = (complaint for complaint in verdict.complaints if complaint.metric != "regression")  # measured nothing
    details = {name: item for name, item in verdict.details.items() if name not in AGAINST_BASELINE}
    return replace(verdict, decision=Decision.ERROR, complaints=(refused, *own, *warned), details=details)


def hold_record(
    found: BaselineLookup,
    suite: Suite,
    record: SuiteRecord,
    results: Mapping[str, Sequence[CaseResult]],
    keep: bool = False,
) -> HeldBaseline:
    """What a run's record says of its baseline: a suite's verdict for each gate provider, and each case's.

    Args:
        record: of the suite in this run.
        results: by provider.
        keep: the baseline itself is kept too, because a merge of shards will hold the whole run against it.
    """
    old = found.baseline
    providers = {
        name: hold_provider(old, suite, record, name, results[name]) for name in suite.gate if old and results.get(name)
    }
    kept = {"found": LOOKUP.dump_python(found)} if keep else {}
    return HeldBaseline(
        source=found.where, binding=found.binding, problem=found.problem, made=old.made if old else {},
        providers=providers, **kept,
    )  # fmt: skip


def hold_provider(
    baseline: Baseline, suite: Suite, record: SuiteRecord, provider: str, results: Sequence[CaseResult]
) -> HeldProvider:
    """One gate provider against its own earlier pictures."""
    comparable = baseline.comparable(record, provider)
    old, new = baseline.providers.get(provider, RecordedRecipe()), drawn_of(record.recipe.get(provider, {}))
    about = {
        "lora": ChangedText(before=old.lora, after=new.lora),
        "strength": ChangedNumber(before=old.strength, after=new.strength),
        "refused": comparable.refused,
        "warned": comparable.warned,
        "left_out": tuple(baseline.reworded(suite)),
    }
    if not comparable:
        return HeldProvider(verdict="refused", quality=None, metrics={}, cases=()).model_copy(update=about)
    before = baseline.results(suite, provider, results)
    level = level_at(suite, gate_seeds(results))
    changes = compare_results(results, before, suite.margin, level)
    other = {words.partition(":")[0].removeprefix(ADDED) for words in comparable.warned}  # measures something else now
    changes = replace(changes, metrics={name: item for name, item in changes.metrics.items() if name not in other})
    cases = with_pictures(changes.record, baseline, provider)
    return changes.record.model_copy(update={**about, "cases": cases, "same_pictures": same_pictures(results, before)})


def with_pictures(held: HeldProvider, baseline: Baseline, provider: str) -> tuple[Change, ...]:
    """Every case, the worst first; those that lost most with the picture that they once had."""
    small = {item.case: item for item in baseline.thumbnails if item.provider == provider}
    results = []
    for place, change in enumerate(held.cases):
        if place < WORST and change.case in small and REGRESSED in (change.verdict, held.verdict):
            picture = FormerPicture(seed=small[change.case].seed, webp=small[change.case].webp)
            change = change.model_copy(update={"thumbnail": picture})
        results.append(change)
    return tuple(results)


def same_pictures(now: Sequence[CaseResult], before: Sequence[CaseResult]) -> int:
    """How many pictures are the very same: all of them, and nothing that draws has changed."""
    sides = [
        {(result.job.case, sample.seed, sample.image) for result in side for sample in result.samples if sample.image}
        for side in (now, before)
    ]
    return len(sides[0] & sides[1])
