"""YAML to cases, strictly: past this file nothing in the package sees a raw dict."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from harness.errors import nearest
from harness.profile import CategoryEntry, Strict, to_vocabulary
from harness.values import METRICS, Case, Lora, Subject, Suite, Threshold
from harness.yamlfile import Document, read_yaml, validate

if TYPE_CHECKING:
    from harness.profile import Profile

ID = re.compile(r"[a-z0-9_.-]+")
RESERVED = {"gate"}
PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
WEIGHTS = {"clip": 0.4, "features": 0.4, "ssim": 0.2}
QUALITY = Threshold(fail=0.6, warn=0.7)  # where a suite says nothing
COMPETITOR = "best_competitor"
TOKENS_A_LETTER = 0.5  # a text encoder's worst case is about a token for two letters of an unknown word


class ThresholdEntry(Strict):
    fail: float | None = Field(None, ge=0, le=1)
    warn: float | None = Field(None, ge=0, le=1)


class LoraEntry(Strict):
    file: str
    strength: float = Field(1.0, ge=0, le=4)


class SubjectEntry(Strict):
    name: str = Field(min_length=1)
    kind: Literal["character", "style"] = "character"
    trigger: str = Field(min_length=1)
    lora: str | LoraEntry | None = None
    references: str
    impostors: str | None = None
    traits: Literal["auto"] | dict[str, str] = "auto"
    split: Literal["folders", "auto"] = "folders"


class RegressionEntry(Strict):
    margin: float = Field(0.02, ge=0, le=1)


Bound = float | ThresholdEntry


class CaseEntry(Strict):
    id: str
    prompt: str = Field(min_length=1)
    negative: str = ""
    expect: dict[str, str] = Field(default_factory=dict)
    thresholds: dict[str, Bound] = Field(default_factory=dict)
    split: Literal["open", "locked"] = "open"
    tags: list[str] = Field(default_factory=list)


class SuiteFile(Strict):
    """The exact shape of a file in suites/."""

    version: Literal[1]
    suite: str
    subject: SubjectEntry
    providers: list[str] = Field(min_length=1)
    gate: list[str] = Field(default_factory=list)
    samples: int = Field(3, ge=1, le=1000)
    seed: int = Field(0, ge=0, le=2**31)
    weights: dict[str, float] = Field(default_factory=lambda: dict(WEIGHTS))
    thresholds: dict[str, Bound] = Field(default_factory=dict)
    regression: RegressionEntry = RegressionEntry(margin=0.02)
    beat: list[str] = Field(default_factory=list)
    on_inconclusive: Literal["warn", "fail"] = "warn"
    negative: str = ""
    vocabulary: dict[str, CategoryEntry] = Field(default_factory=dict)
    cases: list[CaseEntry] = Field(default_factory=list)
    matrix: dict[str, str | list[str]] = Field(default_factory=dict)


def load_suite(path: Path, profile: Profile | None = None) -> Suite:
    """Read one suite; with a profile its providers and categories are checked too.

    Raises:
        SuiteError: with file, line, key, the nearest right spelling and the remedy.
    """
    path = path.resolve()
    document = read_yaml(path)
    file = validate(document, SuiteFile)
    check_names(document, file, profile)
    subject = read_subject(document, file.subject, path.parent)
    if profile is not None:
        check_trigger(document, subject.trigger, profile.max_tokens)
    total = sum(file.weights.values())
    return Suite(
        name=file.suite,
        path=path,
        subject=subject,
        providers=tuple(file.providers),
        gate=tuple(file.gate),
        cases=tuple(read_cases(document, file)),
        samples=file.samples,
        seed=file.seed,
        weights={name: weight / total for name, weight in file.weights.items()},
        thresholds={"quality": QUALITY, **read_thresholds(file.thresholds)},
        margin=file.regression.margin,
        beat=tuple(file.beat),
        on_inconclusive=file.on_inconclusive,
        negative=file.negative,
    )


def extend_vocabulary(profile: Profile, path: Path) -> Profile:
    """The profile with the categories that a suite adds under `vocabulary:`."""
    added = validate(read_yaml(path), SuiteFile).vocabulary
    extra = {name: to_vocabulary(entry) for name, entry in added.items()}
    return replace(profile, vocabulary={**profile.vocabulary, **extra}) if extra else profile


# --- checks that need more than one key ---------------------------------------------------------------------------


def check_names(document: Document, file: SuiteFile, profile: Profile | None) -> None:
    """Ids, providers, metrics and categories are spelt as they are known elsewhere."""
    check_id(document, file.suite, "suite")
    known = list(profile.providers) if profile else file.providers
    for key, names, choices in (
        ("providers", file.providers, known),
        ("gate", file.gate, file.providers),
        ("beat", file.beat, [*file.providers, COMPETITOR]),
    ):
        for place, name in enumerate(names):
            if name not in choices:
                listed = " in the suite's providers" if key != "providers" else f" in profile {profile.name}" if profile else ""
                raise document.error(f"no provider called {name!r}{listed}; {nearest(name, choices)}", key, place)
            if name in names[:place]:
                raise document.error(f"{name!r} stands here twice; remove one", key, place)
    for name, weight in file.weights.items():
        if name not in WEIGHTS:
            raise document.error(f"no metric called {name!r}; {nearest(name, WEIGHTS)}", "weights", name)
        if weight < 0:
            raise document.error("a weight is 0 or more", "weights", name)
    if sum(file.weights.values()) <= 0:
        raise document.error("the weights are all 0; raise one", "weights")
    check_metrics(document, file.thresholds, "thresholds")
    categories = {**(profile.vocabulary if profile else {}), **file.vocabulary}
    for name in file.subject.traits if isinstance(file.subject.traits, dict) else ():
        if profile and name not in categories:
            raise document.error(f"no category called {name!r}; {nearest(name, categories)}", "subject", "traits", name)
    for number, case in enumerate(file.cases):
        check_metrics(document, case.thresholds, "cases", number, "thresholds")
        for name in case.expect if profile else ():
            if name not in categories:
                raise document.error(f"no category called {name!r}; {nearest(name, categories)}", "cases", number, "expect", name)


def check_id(document: Document, name: str, *place: str | int) -> None:
    if not ID.fullmatch(name):
        raise document.error(f"{name!r} is not an id; use a-z, 0-9, _, . and - only", *place)
    if name in RESERVED:
        raise document.error(f"{name!r} is reserved for the suite's verdict; choose another", *place)


def check_metrics(document: Document, bounds: Mapping[str, Bound], *place: str | int) -> None:
    for name, bound in bounds.items():
        if name not in METRICS:
            raise document.error(f"no metric called {name!r}; {nearest(name, METRICS)}", *place, name)
        if isinstance(bound, float) and not 0 <= bound <= 1:
            raise document.error(f"{bound} is no calibrated score; thresholds lie in [0, 1]", *place, name)
        if isinstance(bound, ThresholdEntry) and bound.fail is not None and bound.warn is not None and bound.warn < bound.fail:
            raise document.error(f"warn {bound.warn} is below fail {bound.fail}; swap them", *place, name)


def check_trigger(document: Document, trigger: str, max_tokens: int) -> None:
    if len(trigger) * TOKENS_A_LETTER > max_tokens - 2:
        raise document.error(f"longer than the text encoder's window of {max_tokens} tokens; shorten it", "subject", "trigger")


# --- from entries to values ---------------------------------------------------------------------------------------


def read_subject(document: Document, entry: SubjectEntry, folder: Path) -> Subject:
    """Paths are relative to the suite's file. A LoRA may be made later; references must be there."""
    references = (folder / entry.references).resolve()
    if not references.is_dir():
        remedy = "make it, with the pictures in train/ and held_out/, or run `harness init PICTURES`"
        raise document.error(f"there is no folder {references}; {remedy}", "subject", "references")
    impostors = (folder / entry.impostors).resolve() if entry.impostors else None
    if impostors is not None and not impostors.is_dir():
        raise document.error(f"there is no folder {impostors}", "subject", "impostors")
    lora = LoraEntry(file=entry.lora, strength=1.0) if isinstance(entry.lora, str) else entry.lora
    if lora is not None and not lora.file.endswith(".safetensors"):
        raise document.error(f"{lora.file!r}: a LoRA is a .safetensors file; other formats can run code", "subject", "lora")
    return Subject(
        name=entry.name,
        trigger=entry.trigger,
        references=references,
        kind=entry.kind,
        lora=Lora((folder / lora.file).resolve(), lora.strength) if lora else None,
        impostors=impostors,
        traits=entry.traits if isinstance(entry.traits, dict) else None,
        split=entry.split,
    )


def read_thresholds(bounds: Mapping[str, Bound]) -> dict[str, Threshold]:
    """A number alone means fail."""
    return {
        name: Threshold(bound.fail, bound.warn) if isinstance(bound, ThresholdEntry) else Threshold(fail=bound)
        for name, bound in bounds.items()
    }


def read_cases(document: Document, file: SuiteFile) -> Iterator[Case]:
    """The listed cases, then the matrix; an id stands once."""
    seen: dict[str, str] = {}
    entries = [(entry, ("cases", number)) for number, entry in enumerate(file.cases)]
    entries += [(entry, ("matrix",)) for entry in expand_matrix(document, file.matrix)]
    if not entries:
        raise document.error("no case: add `cases:` or `matrix:`")
    for entry, place in entries:
        at = (*place, "id") if place[0] == "cases" else place
        check_id(document, entry.id, *at)
        if entry.id in seen:
            raise document.error(f"{entry.id!r} is the id of {seen[entry.id]} too; choose another", *at)
        seen[entry.id] = "cases" if place[0] == "cases" else "the matrix"
        yield Case(
            suite=file.suite,
            id=entry.id,
            prompt=fill(document, entry.prompt, {"trigger": file.subject.trigger}, (*place, "prompt")),
            negative=entry.negative,
            expect=entry.expect,
            thresholds=read_thresholds(entry.thresholds),
            split=entry.split,
            line=document.line(place),
            tags=tuple(entry.tags),
        )


def fill(document: Document, text: str, values: Mapping[str, str], place: Sequence[str | int]) -> str:
    """Replace every {name}; one that is not known is a typo."""
    for name in PLACEHOLDER.findall(text):
        if name not in values:
            raise document.error(f"no placeholder called {{{name}}}; {nearest(name, values)}", *place)
    return PLACEHOLDER.sub(lambda match: values[match[1]], text)


def expand_matrix(document: Document, matrix: Mapping[str, Any]) -> Iterator[CaseEntry]:
    """The product of the lists, each combination one case; what a list is called is what its value is expected to be."""
    if not matrix:
        return
    prompt = matrix.get("prompt")
    if not isinstance(prompt, str):
        raise document.error("a matrix needs a `prompt` with a {placeholder} for each list", "matrix")
    lists = {name: values for name, values in matrix.items() if name not in {"prompt", "split"}}
    for name, values in lists.items():
        if not isinstance(values, list) or not values:
            raise document.error("must be a list of values", "matrix", name)
    split: Any = matrix.get("split", "open")
    if split not in ("open", "locked"):
        raise document.error(f"must be open or locked (found {split!r})", "matrix", "split")
    for values in itertools.product(*lists.values()):
        chosen = dict(zip(lists, values, strict=True))
        case_id = "-".join(re.sub(r"[^a-z0-9_.]+", "-", value.lower()).strip("-") for value in values)
        text = fill(document, prompt, {"trigger": "{trigger}", **chosen}, ("matrix", "prompt"))
        yield CaseEntry(id=case_id, prompt=text, split=split)


# --- before anything is drawn -------------------------------------------------------------------------------------


def lint_suite(suite: Suite, profile: Profile) -> list[str]:
    """What is allowed and still worth a word: prompts too long for the encoder, words that the vocabulary lacks."""
    known = {word for category in profile.vocabulary.values() for text in category.alternatives.values() for word in words(text)}
    notes = []
    for case in suite.cases:
        said = words(case.prompt.replace(suite.subject.trigger, ""))
        if len(words(case.prompt)) + case.prompt.count(",") > profile.max_tokens - 2:
            notes.append(f"line {case.line}: {case.id}: longer than the encoder's {profile.max_tokens} tokens; its end is lost")
        unknown = sorted(set(said) - known) if profile.max_tokens < 77 else []
        if unknown:
            notes.append(f"line {case.line}: {case.id}: the embedded models do not know {', '.join(unknown)}")
    if len(suite.cases) - sum(case.split == "locked" for case in suite.cases) < 8:
        notes.append("fewer than 8 open cases: intervals will be wide; more prompts help more than more seeds")
    if not any(case.split == "locked" for case in suite.cases):
        notes.append("no locked case: --retrain has nothing to prove a challenger on")
    return notes


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def suite_schema() -> dict[str, Any]:
    """The JSON schema of suites, for editors."""
    return SuiteFile.model_json_schema()
