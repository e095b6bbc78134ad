"""YAML to cases, strictly: past this file nothing in the package sees a raw dict."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, WithJsonSchema

from harness.config.local_options import WrongOption, read_loras
from harness.config.packs import read_packs
from harness.config.profile import CategoryEntry, Profile, merge_vocabulary, profile_schema, to_vocabulary
from harness.config.prompts.lint import lint_prompts
from harness.config.prompts.negatives import read_negative
from harness.config.prompts.tokens import Encoder
from harness.config.prompts.trigger import trigger_pattern
from harness.core.claim import is_suite_file
from harness.core.clusters import fold
from harness.core.errors import SuiteError, nearest
from harness.core.values import ALARMS, BESIDE, METRICS, Case, Lora, Subject, Suite, Threshold, Vocabulary
from harness.core.yaml import Document, PathText, Place, Strict, read_yaml, validate

__all__ = ["is_suite_file", "lint_suite", "load_suite"]
PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
WEIGHTS = {"clip": 0.4, "features": 0.4, "ssim": 0.2}
QUALITY = Threshold(fail=0.6, warn=0.7)  # where a suite says nothing
COMPETITOR = "best_competitor"
SEVERITIES = ("fail", "warn", "off")  # of an alarm over all pictures of a provider
MODELLED = ("aesthetics", "dino")  # metrics that exist where the profile names a model for them
CLIP_TOKENS = 77  # a smaller window is a small model's, and such a model knows few words
PARTS = re.compile(r"[,;.]|\band\b|\bwith\b")
MAX_CASES = 10_000  # listed or of a matrix; a product grows faster than its author thinks
LONGEST_NAME = 500  # characters of what people call a subject
LEAST_WEIGHT = 1e-6  # of the sum


class ThresholdEntry(Strict):
    """Bounds of one calibrated score."""

    fail: float | None = Field(default=None, ge=0, le=1, description="a mean proven to lie below it fails")
    warn: float | None = Field(default=None, ge=0, le=1, description="a mean below it is a warning")


class LoraEntry(Strict):
    """A LoRA file and how much of it is applied."""

    file: PathText = Field(description="a .safetensors file, from this file's folder on")
    strength: float = Field(
        default=1.0,
        ge=0,
        le=4,
        description="factor of its update; 1: as it was trained; 0.5 to 0.7: weak, above 1: drowns other LoRAs",
    )


class SubjectEntry(Strict):
    """The character or style that the LoRA was trained for."""

    name: str = Field(min_length=1, max_length=LONGEST_NAME, description="as people read it")
    kind: Literal["character", "style"] = Field(default="character", description="what the LoRA teaches")
    trigger: str = Field(
        min_length=1, max_length=LONGEST_NAME, description="stands for the subject in prompts and captions"
    )
    class_word: str | None = Field(
        default=None,
        min_length=1,
        max_length=LONGEST_NAME,
        description="what the subject is one of: a cat, say; a person unless given",
    )
    lora: PathText | LoraEntry | None = Field(
        default=None, description="the LoRA under test, from this file's folder on; `--lora` tests another"
    )
    references: PathText = Field(description="folder of the subject's pictures, with train/ and held_out/")
    impostors: PathText | None = Field(
        default=None, description="folder of pictures of others, which calibrate to 0; the profile's unless given"
    )
    traits: Literal["auto"] | dict[str, str] = Field(
        default="auto", description="category to value; auto: read from the train pictures"
    )
    split: Literal["folders", "auto"] = Field(
        default="folders",
        description="folders: train/ and held_out/ are there; auto: divided by content, copies stay together",
    )


class RegressionEntry(Strict):
    """When a LoRA counts as worse than the baseline."""

    margin: float = Field(
        default=0.02, ge=0, le=1, description="of quality; a proven loss of so much or more is a regression"
    )


class SamplesEntry(Strict):
    """More than `min` only where the verdict is still open."""

    min: int = Field(  # one seed has no interval, so it could never stay open
        default=2, ge=2, le=1000, description="seeds that every prompt gets"
    )
    max: int = Field(ge=2, le=1000, description="seeds at most, where the verdict is open")


Bound = float | ThresholdEntry
Allowance = Annotated[float, Field(gt=0, lt=0.5)]
BeatEntry = str | Annotated[dict[str, Allowance], Field(min_length=1, max_length=1)]
Severity = Annotated[str | bool, WithJsonSchema({"enum": list(SEVERITIES)})]  # YAML reads a plain `off` as false
Entry = Bound | Severity
Count = Annotated[int, Field(ge=1, le=1000)]


class CaseEntry(Strict):
    """One prompt with its expectations."""

    id: str = Field(description="a-z, 0-9, _, . and -; part of the test's name")
    prompt: str = Field(min_length=1, description="{trigger} is replaced by the subject's")
    negative: str = Field(
        default="", description="what the picture should not show, beside suite's and profile's; or ready/NAME"
    )
    expect: dict[str, str] = Field(
        default_factory=dict, description="category to value that the picture should show: `expression: smiling`"
    )
    thresholds: dict[str, Entry] = Field(
        default_factory=dict, description="metric to bounds, over the suite's for this case"
    )
    split: Literal["open", "locked"] = Field(
        default="open", description="locked: drawn only to decide a promotion, or with `--locked`"
    )
    tags: list[str] = Field(default_factory=list, description="words that the report filters by")


class SuiteSchema(Strict):
    """The exact shape of a file in suites/."""

    version: Literal[1] = Field(description="of this format")
    suite: str = Field(description="the suite's id: a-z, 0-9, _, . and -")
    subject: SubjectEntry = Field(description="whom or what the LoRA was trained for")
    providers: list[str] = Field(min_length=1, description="who draws every prompt, by the profile's names")
    gate: list[str] = Field(default_factory=list, description="providers that may turn the run red; others inform")
    samples: Count | SamplesEntry = Field(default=3, description="seeds per prompt, the same for every provider")
    seed: int = Field(default=0, ge=0, le=2**31, description="the seeds follow from it")
    weights: dict[str, float] = Field(
        default_factory=lambda: dict(WEIGHTS), description="of clip, features and ssim in quality; their sum becomes 1"
    )
    thresholds: dict[str, Entry] = Field(
        default_factory=dict,
        description="metric to bounds in [0, 1] (a number alone means fail), alarm to fail, warn or off; "
        "quality has {fail: 0.6, warn: 0.7} unless given",
    )
    drift: bool = Field(default=False, description="draw prompts about others too, with the LoRA and without it")
    regression: RegressionEntry = Field(
        default=RegressionEntry(margin=0.02), description="comparison with the baseline"
    )
    beat: list[BeatEntry] = Field(
        default_factory=list,
        description="providers that the gate must be proven to beat; also best_competitor; "
        "`NAME: 0.05` asks only to stay within so much quality of it",
    )
    on_inconclusive: Literal["warn", "fail"] = Field(
        default="warn", description="fail: an open verdict ends with exit code 11"
    )
    on_blind: Literal["fail", "report"] = Field(
        default="fail", description="report: a gate that cannot be judged ends with exit code 0, not 11"
    )
    negative: str = Field(
        default="", description="what no picture should show, beside the profile's; ready/NAME is a ready one"
    )
    loras: dict[str, list[PathText | LoraEntry]] = Field(
        default_factory=dict, description="provider to the LoRAs that are drawn beside the one under test"
    )
    vocabulary: dict[str, CategoryEntry] = Field(
        default_factory=dict, description="categories of traits beside the profile's, or more values of known ones"
    )
    include: list[PathText] = Field(
        default_factory=list, description="packs of cases, by name: hard-prompts, or packs/NAME.yaml beside this file"
    )
    cases: list[CaseEntry] = Field(default_factory=list, description="the prompts")
    matrix: dict[str, str | list[str]] = Field(
        default_factory=dict,
        description="a prompt with {placeholders}, a list for each: every combination is a case; also split",
    )


def load_suite(path: Path, profile: Profile | None = None) -> Suite:
    """Read one suite; with a profile its providers and categories are checked too.

    Raises:
        SuiteError: with file, line, key, the nearest right spelling and the remedy.
    """
    path = path.resolve()
    document = read_yaml(path)
    file = validate(document, SuiteSchema)
    added = {name: to_vocabulary(entry) for name, entry in file.vocabulary.items()}
    vocabulary = merge_vocabulary(profile.vocabulary if profile else {}, added)
    check_names(document, file, profile, vocabulary)
    subject = read_subject(document, file.subject, path.parent)
    if profile is not None:
        check_fit(document, subject, profile, file.gate)
    total = sum(file.weights.values())
    cases = tuple(read_cases(document, file, vocabulary, profile.words if profile else ""))
    check_locked(document, cases)
    return Suite(
        name=file.suite,
        path=path,
        subject=subject,
        providers=tuple(file.providers),
        gate=tuple(file.gate),
        cases=cases,
        samples=file.samples.max if isinstance(file.samples, SamplesEntry) else file.samples,
        min_samples=file.samples.min if isinstance(file.samples, SamplesEntry) else None,
        seed=file.seed,
        weights={name: weight / total for name, weight in file.weights.items()},
        thresholds={"quality": QUALITY, **read_thresholds(file.thresholds)},
        margin=file.regression.margin,
        beat=tuple(map(rival_of, file.beat)),
        allowances={name: by for item in file.beat if isinstance(item, dict) for name, by in item.items()},
        on_inconclusive=file.on_inconclusive,
        on_blind=file.on_blind,
        negative=read_negative(document, file.negative, "negative"),
        vocabulary=added,
        alarms=read_alarms(file),
        loras={name: read_beside(document, file, name, profile) for name in file.loras},
    )


# --- checks that need more than one key ---------------------------------------------------------------------------


def check_names(
    document: Document, file: SuiteSchema, profile: Profile | None, vocabulary: Mapping[str, Vocabulary]
) -> None:
    """Ids, providers, metrics and categories are spelt as they are known elsewhere."""
    document.check_id(file.suite, "suite")
    if isinstance(file.samples, SamplesEntry) and file.samples.max < file.samples.min:
        raise document.error(f"max {file.samples.max} is below min {file.samples.min}; swap them", "samples", "max")
    check_providers(document, file, profile)
    for name, weight in file.weights.items():
        if name not in WEIGHTS:
            raise document.error(f"no metric called {name!r}; {nearest(name, WEIGHTS)}", "weights", name)
        if not 0 <= weight < math.inf:
            raise document.error("a weight is 0 or more", "weights", name)
    total = sum(file.weights.values())
    if total <= 0:
        raise document.error("the weights are all 0; raise one", "weights")
    for name, weight in file.weights.items():
        if weight and not weight / total >= LEAST_WEIGHT:  # a sum may overflow
            raise document.error(f"{weight:g} vanishes beside the others; weights are shares of 1", "weights", name)
    check_metrics(document, file.thresholds, profile, "thresholds")
    for number, case in enumerate(file.cases):
        check_metrics(document, case.thresholds, profile, "cases", number, "thresholds")
    if profile is not None:
        check_categories(document, file, vocabulary)


def check_providers(document: Document, file: SuiteSchema, profile: Profile | None) -> None:
    """The profile has the suite's providers, the suite those that gate or are to be beaten, and none stands twice."""
    for key, names, choices, owner in (
        ("providers", file.providers, profile.providers if profile else file.providers, "the profile"),
        ("gate", file.gate, file.providers, "the suite's providers"),
        ("beat", list(map(rival_of, file.beat)), [*file.providers, COMPETITOR], "the suite's providers"),
    ):
        for place, name in enumerate(names):
            if name not in choices:
                raise document.error(f"no provider called {name!r} in {owner}; {nearest(name, choices)}", key, place)
            if name in names[:place]:
                raise document.error(f"{name!r} stands here twice; remove one", key, place)


def rival_of(entry: BeatEntry) -> str:
    """Who is to be beaten."""
    return entry if isinstance(entry, str) else next(iter(entry))


def check_categories(document: Document, file: SuiteSchema, known: Mapping[str, Vocabulary]) -> None:
    """Traits and expectations name categories that can be measured."""
    traits = file.subject.traits if isinstance(file.subject.traits, dict) else {}
    named: list[tuple[str, Place]] = [(name, ("subject", "traits", name)) for name in traits]
    for number, case in enumerate(file.cases):
        named += [(name, ("cases", number, "expect", name)) for name in case.expect]
    for name, place in named:
        if name not in known:
            remedy = f"{nearest(name, known)}; a new one is added under `vocabulary:`"
            raise document.error(f"no category called {name!r}; {remedy}", *place)


def check_metrics(document: Document, bounds: Mapping[str, Entry], profile: Profile | None, *place: str | int) -> None:
    """Thresholds stand on what is measured, and are numbers; alarms are severities, and the whole suite's."""
    added = profile.added if profile else MODELLED
    known = {*METRICS, *BESIDE, *added}
    for name, bound in bounds.items():
        if name in ALARMS:
            check_alarm(document, bound, *place, name)
            continue
        if name not in known and not (profile is None and "." in name):  # one's own metrics have a dot in their names
            if profile and name in MODELLED:
                remedy = f"name a model for it under `models: {name}:`"
                raise document.error(f"profile {profile.name} does not measure it; {remedy}", *place, name)
            raise document.error(f"no metric called {name!r}; {nearest(name, {*known, *ALARMS})}", *place, name)
        if isinstance(bound, str | bool):
            raise document.error(f"should be a valid number, or fail and warn (found {bound!r:.60})", *place, name)
        if isinstance(bound, float) and not 0 <= bound <= 1:
            raise document.error(f"{bound} is no calibrated score; thresholds lie in [0, 1]", *place, name)
        fail, warn = (bound.fail, bound.warn) if isinstance(bound, ThresholdEntry) else (None, None)
        if fail is not None and warn is not None and warn < fail:
            raise document.error(f"warn {warn} is below fail {fail}; swap them", *place, name)


def check_alarm(document: Document, entry: Entry, *place: str | int) -> None:
    """An alarm is raised or not, by all pictures together."""
    if place[0] == "cases":
        raise document.error("is judged over all pictures of a suite; write it under the suite's `thresholds`", *place)
    if isinstance(entry, str) and entry not in SEVERITIES:
        raise document.error(f"no severity called {entry!r}; {nearest(entry, SEVERITIES)}", *place)
    if not isinstance(entry, str | bool):
        raise document.error("is an alarm and no score; say fail, warn or off", *place)


def check_locked(document: Document, cases: Sequence[Case]) -> None:
    """What only a promotion may see is no open case under another id: whoever trains and chooses knows those."""
    seen = {fold(case.prompt): case for case in reversed(cases) if case.is_open}
    for case in cases:
        if not case.is_open and (same := seen.get(fold(case.prompt))):
            message = (
                f"locked case {case.id!r} asks for what the open case {same.id!r} in line {same.line} asks for "
                f"({case.prompt!r:.80}), so it would prove nothing; reword one of them, or remove it"
            )
            raise SuiteError(message, document.path, case.line)


def check_fit(document: Document, subject: Subject, profile: Profile, gate: Sequence[str]) -> None:
    """What the suite leaves to the profile is there, and the trigger fits into the text encoder's window."""
    if least_tokens(subject.trigger) > profile.max_tokens - 2:
        message = f"longer than the text encoder's window of {profile.max_tokens} tokens; shorten it"
        raise document.error(message, "subject", "trigger")
    local = any(profile.providers[name].adapter == "local" for name in gate if name in profile.providers)
    if subject.impostors is None and profile.impostors is None and not local:
        remedy = f"name a folder with pictures of others: profile {profile.name} has none"
        raise document.error(f"impostors is missing; {remedy}", "subject")


# --- from entries to values ---------------------------------------------------------------------------------------


def read_subject(document: Document, entry: SubjectEntry, folder: Path) -> Subject:
    """Paths are relative to the suite's file. A LoRA may be made later; references must be there."""
    references = (folder / entry.references).resolve()
    if not references.is_dir():
        remedy = "make it, with the pictures in train/ and held_out/, or run `harness init PICTURES`"
        raise document.error(f"there is no folder {references}; {remedy}", "subject", "references")
    if entry.split == "folders" and not any((references / name).is_dir() for name in ("train", "held_out")):
        remedy = "make train/ and held_out/ in it, or write `split: auto`"
        raise document.error(f"{references} is not split; {remedy}", "subject", "references")
    impostors = (folder / entry.impostors).resolve() if entry.impostors else None
    if impostors is not None and not impostors.is_dir():
        raise document.error(f"there is no folder {impostors}", "subject", "impostors")
    lora = LoraEntry(file=entry.lora, strength=1.0) if isinstance(entry.lora, str) else entry.lora
    if lora is not None and not lora.file.endswith(".safetensors"):
        raise document.error(
            f"{lora.file!r}: a LoRA is a .safetensors file; other formats can run code", "subject", "lora"
        )
    return Subject(
        name=entry.name,
        trigger=entry.trigger,
        references=references,
        kind=entry.kind,
        lora=Lora((folder / lora.file).resolve(), lora.strength) if lora else None,
        impostors=impostors,
        traits=entry.traits if isinstance(entry.traits, dict) else None,
        split=entry.split,
        class_word=entry.class_word or "",
    )


def read_beside(document: Document, file: SuiteSchema, provider: str, profile: Profile | None) -> tuple[Lora, ...]:
    """What one provider draws with beside the LoRA under test."""
    if provider not in file.providers:
        remedy = nearest(provider, file.providers)
        raise document.error(f"no provider called {provider!r} in the suite's providers; {remedy}", "loras", provider)
    if profile is not None and profile.providers[provider].adapter != "local":
        raise document.error(f"{provider!r} does not draw on this machine, so it takes no LoRA", "loras", provider)
    entries = [{"file": entry} if isinstance(entry, str) else entry.model_dump() for entry in file.loras[provider]]
    try:
        return read_loras(entries, document.path.parent, "loras", provider)
    except WrongOption as error:
        raise document.error(str(error), *error.place) from error


def read_thresholds(bounds: Mapping[str, Entry]) -> dict[str, Threshold]:
    """A number alone means fail; alarms are read by themselves."""
    return {
        name: Threshold(bound.fail, bound.warn) if isinstance(bound, ThresholdEntry) else Threshold(fail=bound)
        for name, bound in bounds.items()
        if not isinstance(bound, str | bool)
    }


def read_alarms(file: SuiteSchema) -> dict[str, str]:
    """What the suite says of alarms; drift costs pictures, so it is looked for only where the suite asks."""
    fields = {name: entry for name, entry in file.thresholds.items() if isinstance(entry, str | bool)}
    given = {name: entry if isinstance(entry, str) else "warn" if entry else "off" for name, entry in fields.items()}
    return {**({"drift": "warn"} if file.drift else {}), **given}


def read_cases(
    document: Document, file: SuiteSchema, vocabulary: Mapping[str, Vocabulary], words: str = ""
) -> Iterator[Case]:
    """The listed cases, then the matrix, then the packs in the profile's words; an id stands once."""
    entries: list[tuple[CaseEntry, Place]] = [(entry, ("cases", number)) for number, entry in enumerate(file.cases)]
    entries += [(entry, ("matrix",)) for entry in expand_matrix(document, file.matrix, vocabulary)]
    for pack, origin in read_packs(document, file.include, words, vocabulary):
        entries.append((CaseEntry(id=pack.id, prompt=pack.prompt, expect=pack.expect), origin))
    if len(entries) > MAX_CASES:
        raise document.error(
            f"{len(entries):,} cases; {MAX_CASES:,} are the most, split the suite", *entries[MAX_CASES][1]
        )
    if not entries:
        raise document.error("no case: add `cases:` or `matrix:`, or `include:` a pack")
    seen: dict[str, int] = {}
    for entry, place in entries:
        at = (*place, "id") if place[0] == "cases" else place
        document.check_id(entry.id, *at)
        if entry.id in seen:
            raise document.error(f"{entry.id!r} is the id of the case in line {seen[entry.id]}; choose another", *at)
        seen[entry.id] = document.line(place)
        yield Case(
            suite=file.suite,
            id=entry.id,
            prompt=fill(document, entry.prompt, {"trigger": file.subject.trigger}, (*place, "prompt")),
            negative=read_negative(document, entry.negative, *place, "negative"),
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


def expand_matrix(
    document: Document, matrix: Mapping[str, object], vocabulary: Mapping[str, Vocabulary]
) -> Iterator[CaseEntry]:
    """The product of the lists, each combination one case; values of a category's own alternatives are expected too."""
    if not matrix:
        return
    prompt, split = matrix.get("prompt"), matrix.get("split", "open")
    if not isinstance(prompt, str):
        raise document.error("a matrix needs a `prompt` with a {placeholder} for each list", "matrix")
    if split not in ("open", "locked"):
        raise document.error(f"must be open or locked (found {split!r})", "matrix", "split")
    lists: dict[str, list[str]] = {}
    for name, values in matrix.items():
        if name in ("prompt", "split"):
            continue
        if not isinstance(values, list) or not values:
            raise document.error("must be a list of values", "matrix", name)
        if name not in PLACEHOLDER.findall(prompt):
            raise document.error(f"the prompt does not use it; write {{{name}}} there", "matrix", name)
        lists[name] = values
    if (count := math.prod(len(values) for values in lists.values())) > MAX_CASES:
        raise document.error(f"{count:,} combinations; {MAX_CASES:,} are the most", "matrix")
    for chosen in itertools.product(*lists.values()):
        values = dict(zip(lists, chosen, strict=True))
        yield CaseEntry(
            id="-".join(re.sub(r"[^a-z0-9_.]+", "-", value.lower()).strip("-") for value in chosen),
            prompt=fill(document, prompt, {"trigger": "{trigger}", **values}, ("matrix", "prompt")),
            expect={
                name: value
                for name, value in values.items()
                if name in vocabulary and value in vocabulary[name].alternatives
            },
            split=split,
        )


# --- before anything is drawn -------------------------------------------------------------------------------------


def lint_suite(suite: Suite, profile: Profile, encoders: Sequence[Encoder] = ()) -> list[str]:
    """What is allowed and still worth a word: truncated prompts, words nobody knows, too little to prove anything.

    Without `encoders` tokens are not counted but guessed, and only the vocabulary's words count as known.
    """
    vocabulary = merge_vocabulary(profile.vocabulary, suite.vocabulary)
    phrases = [text for category in vocabulary.values() for text in category.alternatives.values()]
    known = {word for text in phrases for word in words(text)}
    notes = [f"line {case.line}: {case.id}: {note}" for case in suite.cases for note in lint_case(case, vocabulary)]
    notes += [f"line {case.line}: {case.id}: {note}" for case, note in propose_expect(suite, vocabulary)]
    notes += lint_prompts(suite, profile, encoders)
    if not encoders:
        notes += [
            f"line {case.line}: {case.id}: {note}"
            for case in suite.cases
            for note in lint_roughly(case.prompt, suite.subject.trigger, profile, known)
        ]
    notes += lint_repeats(suite)
    if len(suite.open_prompts) < 8:
        notes.append("fewer than 8 open prompts: intervals will be wide; more prompts help more than more seeds")
    if not any(case.split == "locked" for case in suite.cases):
        notes.append("no locked case: --retrain has nothing to prove a challenger on")
    if not suite.gate:
        notes.append("no gate: nothing can turn the run red; name a provider under `gate:`")
    return notes


def lint_repeats(suite: Suite) -> Iterator[str]:
    """Cases that draw what an earlier one draws: the same pictures prove nothing twice."""
    for name, first in suite.repeats.items():
        yield (
            f"line {suite.case(name).line}: {name}: draws the same as {first} (prompt, negative and size), so both "
            "count as one prompt; reword one of them"
        )


def lint_roughly(prompt: str, trigger: str, profile: Profile, known: set[str]) -> Iterator[str]:
    """What can be said of a prompt without the tokenizer."""
    if profile.prompts == "plain" and least_tokens(prompt) > profile.max_tokens - 2:
        yield f"longer than the encoder's {profile.max_tokens} tokens; its end is lost: shorten the prompt"
    unknown = sorted(set(words(trigger_pattern(trigger).sub("", prompt))) - known)
    if unknown and profile.max_tokens < CLIP_TOKENS:
        yield f"the profile's small models do not know {', '.join(unknown)}"


def lint_case(case: Case, vocabulary: Mapping[str, Vocabulary]) -> Iterator[str]:
    """Expectations that no vocabulary holds."""
    for name, value in case.expect.items():
        alternatives = vocabulary[name].alternatives if name in vocabulary else {}
        if value not in alternatives:
            yield f"expects {name} {value!r}, which the vocabulary lacks; {nearest(value, alternatives)}"


def propose_expect(suite: Suite, vocabulary: Mapping[str, Vocabulary]) -> Iterator[tuple[Case, str]]:
    """What prompts name in the vocabulary's words and no case expects: unasked, it costs identity, proves nothing."""
    trigger = trigger_pattern(suite.subject.trigger)
    for case in suite.cases:
        text = trigger.sub("", case.prompt)
        named = {name: values_in(text, known) for name, known in vocabulary.items() if name not in case.expect}
        found = {name: values[0] for name, values in named.items() if len(values) == 1}
        if found:
            listed = ", ".join(f"{name}: {value}" for name, value in found.items())
            yield case, f"the prompt names what no `expect` asks for; add expect: {{{listed}}}"


def values_in(prompt: str, known: Vocabulary) -> list[str]:
    """The values of a category that a prompt names: all words of the phrase between two commas (or and, with)."""
    parts = [set(words(part)) for part in PARTS.split(prompt)]
    phrases = {value: set(words(phrase)) for value, phrase in known.alternatives.items()}
    return [value for value, phrase in phrases.items() if phrase and any(phrase <= part for part in parts)]


def idle_bounds(suite: Suite) -> list[str]:
    """Bounds that no score can fall below: with them a green run proves nothing, so they are refused."""
    owners: list[tuple[str, Mapping[str, Threshold]]] = [("thresholds", suite.thresholds)]
    owners += [(f"line {case.line}: {case.id}: thresholds", case.thresholds) for case in suite.cases]
    return [
        f"{owner}: {metric}: fail {bound.fail:g} can never fail, as no score lies below 0; raise it or leave it out"
        for owner, bounds in owners
        for metric, bound in bounds.items()
        if bound.idle
    ]


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def least_tokens(text: str) -> int:
    """Tokens that any text encoder needs at least, start and end not counted: one a word, one a punctuation mark."""
    return len(re.findall(r"\w+|[^\w\s]", text))


def suite_schema() -> dict[str, object]:
    """The JSON schema of suites, for editors: suites/schema/suite.json."""
    return SuiteSchema.model_json_schema()


def write_schemas(folder: Path) -> None:
    """Both schemas as files, for the first line of suites and profiles."""
    for name, schema in (("suite", suite_schema()), ("profile", profile_schema())):
        (folder / f"{name}.json").write_text(json.dumps(schema, indent=2) + "\n", encoding="utf-8", newline="\n")
