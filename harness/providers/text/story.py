"""A story from an idea, and its scenes as the cases of a suite: asked for, validated, mended, or refused."""

from __future__ import annotations

import json
import os
import re
import textwrap
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, Field, ValidationError

from harness.config.profile import Profile
from harness.config.prompts.order import says
from harness.config.suite import least_tokens, load_suite
from harness.core.errors import ModelError, ProviderError, SuiteError, UsageError, nearest
from harness.core.files import replacing
from harness.core.text import clean
from harness.core.values import Subject, Vocabulary
from harness.core.yaml import Strict
from harness.models.loading import locate_model
from harness.providers.http_client.exchange import Unanswered
from harness.providers.text.chat import Writer, explain, strip_fence
from harness.scoring.references import load_references

REPAIRS = 2  # rounds in which the writer may mend its answer
MOST_CASES = 100
LEAST_FIELDS = 2  # of a scene: less is no prompt
QUOTED = 12_000  # characters of a wrong answer that are sent back
LONGEST_ID = 60  # characters
STYLE = "style"  # of the pictures: a scene has no field for it


def one_line(text: str) -> str:
    """A phrase of a prompt: one line, English letters, nothing that a template or a terminal would act upon."""
    text = " ".join(text.split()).strip(" ,.;")
    if set(text) & set("{}<>[]"):
        raise ValueError("brackets have no place in a prompt; use plain words")
    if any(unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co") for char in text):
        raise ValueError("holds characters that cannot be seen; use plain words")
    foreign = [char for char in text if char.isalpha() and "LATIN" not in unicodedata.name(char, "")]
    if foreign:
        raise ValueError("must be English: the text encoders know little else")
    return text


Phrase = Annotated[str, Field(max_length=120), AfterValidator(one_line)]


class Scene(Strict):
    """One picture of the story; the prompt is made from the fields in this order, those that are empty left out."""

    title: str = Field(min_length=1, max_length=80, examples=["At the well"])
    subject: Phrase = Field("", description="who is with the hero; usually empty", examples=[""])
    view: Phrase = Field("", description="the angle: side view, from above", examples=[""])
    shot: Phrase = Field("", description="the distance: close-up, full body", examples=["full body"])
    pose: Phrase = Field("", description="how the hero stands, sits or lies", examples=["sitting"])
    hair: Phrase = Field("", description="only when it differs from the hero's own", examples=[""])
    face: Phrase = Field("", description="the expression", examples=["smiling"])
    action: Phrase = Field("", description="what the hero does", examples=["drinking water"])
    body: Phrase = Field("", description="build or skin, only when they differ from the hero's own", examples=[""])
    clothes: Phrase = Field("", description="only when they differ from the hero's own", examples=[""])
    scene: Phrase = Field("", description="the place", examples=["village square"])
    time: Phrase = Field("", description="the time of day or year", examples=["morning"])
    weather: Phrase = Field("", examples=["light rain"])
    objects: Phrase = Field("", description="things that are held or lie about", examples=["wooden bucket"])

    @property
    def phrases(self) -> list[str]:
        """What the prompt says besides the trigger, in its order."""
        return [text for name in ORDER if (text := getattr(self, name))]


ORDER = tuple(name for name in Scene.model_fields if name != "title")


class Story(Strict):
    """What a writer has to deliver."""

    title: str = Field(min_length=1, max_length=120, examples=["The well"])
    story: str = Field(min_length=40, max_length=6000, examples=["Once upon a time ... (five to ten sentences)"])
    scenes: list[Scene] = Field(min_length=1, max_length=MOST_CASES)


@dataclass(frozen=True)
class Wish:
    """What a story is to be about, and how its suite is to be."""

    idea: str
    cases: int
    name: str  # of the subject
    trigger: str
    language: str = "en"  # of the story; its scenes are English always
    locked: int = 0  # of the cases


# --- the writer's part ----------------------------------------------------------------------------------------------


def ask_story(writer: Writer, wish: Wish, vocabulary: Mapping[str, Vocabulary]) -> Story:
    """A story whose scenes fulfil the wish; a wrong answer goes back with what is wrong with it.

    Raises:
        ProviderError: the writer could not answer, or not properly after `REPAIRS` rounds.
    """
    system, wanted = instructions(wish, vocabulary), f"The idea: {wish.idea}"
    schema, user, wrong = story_schema(wish.cases), wanted, ""
    for _ in range(1 + REPAIRS):
        try:
            text = strip_fence(writer.write(system, user, schema))
        except Unanswered as failure:
            raise explain(writer.name, failure) from failure
        story, wrong = read_story(text, wish)
        if story is not None:
            return story
        user = (
            f"{wanted}\n\nYour answer was:\n{text[:QUOTED]}\n\nIt cannot be used:\n{wrong}\n"
            "Answer again with the whole JSON object, mended."
        )
    raise ProviderError(
        f"{writer.name}: no story after {1 + REPAIRS} attempts; nothing was written. Of the last answer:\n{wrong}"
    )


def instructions(wish: Wish, vocabulary: Mapping[str, Vocabulary]) -> str:
    """What the writer is told; the phrases that can be measured are among it."""
    known = "\n".join(
        f"- {name}: {', '.join(entry.alternatives.values())}"
        for name, entry in vocabulary.items()
        if not entry.identity and name != STYLE
    )
    return (
        f"You write short stories about {wish.name} and turn them into scenes for an image model.\n"
        f"Write the title and the story in the language {wish.language!r}, five to ten sentences. "
        f"Then give exactly {wish.cases} scenes of it in the story's order, each different from the others.\n"
        "A scene is described by short English phrases of one to five words in separate fields; leave a field empty "
        "rather than invent. Do not name the hero and do not describe how the hero looks: the model knows. "
        "At least two fields of each scene are filled, the expression and the place wherever they make sense.\n"
        f"Where it fits use these phrases word for word, because they can be measured:\n{known}\n"
        "No real persons, nothing violent, nothing sexual."
    )


def story_schema(cases: int) -> dict[str, object]:
    """The JSON schema of an answer with that many scenes."""
    schema = Story.model_json_schema()
    schema["properties"]["scenes"] |= {"minItems": cases, "maxItems": cases}
    return schema


def read_story(text: str, wish: Wish) -> tuple[Story | None, str]:
    """The story, or what is wrong with the answer, one line an error."""
    try:
        story = Story.model_validate(json.loads(text))
    except ValidationError as error:
        lines = [f"- {place(item['loc'])}: {item['msg']}" for item in error.errors()[:20]]
        return None, "\n".join(lines)
    except (ValueError, RecursionError) as error:
        return None, f"- it is not JSON: {clean(str(error))}"
    wrong = list(complaints(story, wish))
    return (None, "\n".join(wrong)) if wrong else (story, "")


def complaints(story: Story, wish: Wish) -> list[str]:
    """What no schema can say: the number of scenes, empty ones, two alike, the hero's name in a phrase."""
    wrong = []
    if len(story.scenes) != wish.cases:
        wrong.append(f"- scenes: {len(story.scenes)} of them; exactly {wish.cases} are wanted")
    seen: dict[str, int] = {}
    for number, scene in enumerate(story.scenes):
        text = ", ".join(scene.phrases)
        if len(scene.phrases) < LEAST_FIELDS:
            wrong.append(f"- scenes[{number}]: fewer than {LEAST_FIELDS} fields are filled")
        elif (twin := seen.setdefault(text.lower(), number)) != number:
            wrong.append(f"- scenes[{number}]: says the same as scenes[{twin}]; make it another one")
        if re.search(rf"(?<!\w){re.escape(wish.trigger)}(?!\w)", text, re.IGNORECASE):
            wrong.append(f"- scenes[{number}]: names the hero ({wish.trigger}); leave the name out")
    return wrong


def place(location: Sequence[int | str]) -> str:
    """("scenes", 2, "pose") as scenes[2].pose."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".") or "answer"


# --- scenes to cases ------------------------------------------------------------------------------------------------


def compose_cases(story: Story, wish: Wish, vocabulary: Mapping[str, Vocabulary]) -> list[dict[str, object]]:
    """One record a scene, as a suite lists them; the locked ones lie evenly among the open ones."""
    locked = {int((number + 0.5) * wish.cases / wish.locked) for number in range(wish.locked)}
    records: list[dict[str, object]] = []
    taken: set[str] = set()
    for number, scene in enumerate(story.scenes):
        name = free_name(slug(scene.title) or f"scene-{number + 1:02d}", taken)
        record: dict[str, object] = {"id": name, "prompt": ", ".join(["{trigger}", *scene.phrases])}
        expect = expectations(scene.phrases, vocabulary)
        records.append(
            record | ({"expect": expect} if expect else {}) | ({"split": "locked"} if number in locked else {})
        )
    return records


def slug(text: str) -> str:
    """Letters that an id may have; "" when a text has none of them."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:LONGEST_ID].strip("-")


def free_name(name: str, taken: set[str]) -> str:
    """The name, with a number behind it when it stands already; it is taken then."""
    choice, number = name if name != "gate" else "the-gate", 2
    while choice in taken:
        choice, number = f"{name}-{number}", number + 1
    taken.add(choice)
    return choice


def expectations(phrases: Sequence[str], vocabulary: Mapping[str, Vocabulary]) -> dict[str, str]:
    """What the vocabulary recognises in a prompt; a category that two values claim is left alone."""
    text = " , ".join(phrases).lower()
    expect = {}
    for category, known in vocabulary.items():
        texts = {value for value, phrase in known.alternatives.items() if says(text, phrase)}
        longest = {
            value
            for value in texts
            if not any(other != value and says(known.phrase(other).lower(), known.phrase(value)) for other in texts)
        }
        if len(longest) == 1:
            expect[category] = longest.pop()
    return expect


def long_prompts(cases: Sequence[Mapping[str, object]], trigger: str, profile: Profile, root: Path) -> list[str]:
    """A note for each prompt whose end the text encoder will not read."""
    count = token_counter(profile, root)
    room = profile.max_tokens - 2  # start and end
    return [
        f"{case['id']}: {tokens} tokens; the text encoder reads {room}, the rest is lost: shorten the prompt"
        for case in cases
        if (tokens := count(str(case["prompt"]).replace("{trigger}", trigger))) > room
    ]


def token_counter(profile: Profile, root: Path) -> Callable[[str], int]:
    """The profile's own tokenizer where it lies on this machine, else a lower bound."""
    try:
        file = locate_model(profile.models.base, root, profile.name) / "tokenizer" / "tokenizer.json"
    except ModelError:
        return least_tokens
    if not file.is_file():
        return least_tokens
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(file))
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)


# --- the suite ------------------------------------------------------------------------------------------------------


def find_subject(
    settings_root: Path, name: str | None, trigger: str | None, references: Path | None
) -> dict[str, object]:
    """The `subject` of the new suite, with absolute paths: that of a suite here, or of a folder of references.

    Raises:
        UsageError: there is no such subject, or there are several and none was named.
    """
    if references is None:
        known = known_subjects(settings_root)
        chosen = name or (next(iter(known.values())).name if len(known) == 1 else None)
        if chosen is None:
            choices = ", ".join(subject.name for subject in known.values()) or "none"
            raise UsageError(f"whom is the story about? Name one with --subject (the suites here know: {choices})")
        if chosen.lower() in known:
            record = subject_record(known[chosen.lower()])
            return record | ({"trigger": trigger} if trigger else {})
        references = settings_root / "references" / slug(chosen).replace("-", "_")
        if not references.is_dir():
            remedy = f"run `harness init PICTURES --name {chosen!r}` first, or give --references FOLDER"
            names = [subject.name for subject in known.values()]
            raise UsageError(f"--subject {chosen}: no suite here is about it; {nearest(chosen, names)}, or {remedy}")
        name = chosen
    name = name or references.name.replace("_", " ")
    subject = Subject(name=name, trigger=trigger or name.lower(), references=references.resolve())
    split = "folders" if any((references / part).is_dir() for part in ("train", "held_out")) else "auto"
    record = subject_record(subject) | {"split": split, "lora": (references / "champion.safetensors").resolve()}
    load_references(Subject(**{**subject.__dict__, "split": split}))  # complains of what cannot be used
    return record


def known_subjects(root: Path) -> dict[str, Subject]:
    """The subjects of the suites under `root`, by their names in lower case; a suite that is wrong is passed over."""
    known: dict[str, Subject] = {}
    for path in sorted((root / "suites").glob("*.yaml")):
        try:
            subject = load_suite(path).subject
        except SuiteError:
            continue
        known.setdefault(subject.name.lower(), subject)
    return known


def subject_record(subject: Subject) -> dict[str, object]:
    """A subject as a suite writes it, with absolute paths."""
    record: dict[str, object] = {"name": subject.name, "kind": subject.kind, "trigger": subject.trigger}
    if subject.lora is not None:
        strong = subject.lora.strength != 1.0
        record["lora"] = {"file": subject.lora.path, "strength": subject.lora.strength} if strong else subject.lora.path
    record["references"] = subject.references
    if subject.impostors is not None:
        record["impostors"] = subject.impostors
    record["traits"] = dict(subject.traits) if subject.traits is not None else "auto"
    return record | ({"split": subject.split} if subject.split != "folders" else {})


def relative(value: Any, folder: Path) -> Any:
    """Paths as a suite in `folder` writes them; other values as they are."""
    if isinstance(value, Path):
        try:
            return Path(os.path.relpath(value, folder)).as_posix()
        except ValueError:  # another drive
            return value.as_posix()
    return {name: relative(inner, folder) for name, inner in value.items()} if isinstance(value, dict) else value


def suite_text(
    story: Story,
    cases: Sequence[Mapping[str, object]],
    subject: Mapping[str, object],
    out: Path,
    profile: Profile,
    origin: str,
) -> str:
    """The suite's YAML: the story and where it comes from as comments, then what `harness init` would write."""
    local = [name for name, config in profile.providers.items() if config.adapter == "local"]
    providers = local or list(profile.providers)
    record = {
        "version": 1,
        "suite": slug(out.stem) or "story",
        "subject": relative(dict(subject), out.parent),
        "providers": providers,
        "gate": [name for name in providers if name == "lora"],
        "samples": 3,
        "thresholds": {"quality": {"fail": 0.6, "warn": 0.7}},
        "cases": list(cases),
    }
    schema = out.parent / "schema" / "suite.json"
    head = ["# yaml-language-server: $schema=./schema/suite.json"] if schema.is_file() else []
    paragraphs = [clean(part, 6000) for part in story.story.splitlines() if part.strip()]
    for part in (origin, clean(story.title), *paragraphs):
        head += [*textwrap.wrap(part, 116, initial_indent="# ", subsequent_indent="# "), "#"]
    body = yaml.safe_dump(record, sort_keys=False, allow_unicode=True, width=120)
    return "\n".join([*head[:-1], body])


def free_file(folder: Path, title: str) -> Path:
    """A file for a story of that title which is not there yet."""
    stem = slug(title).replace("-", "_") or "story"
    path, number = folder / f"{stem}.yaml", 2
    while path.exists():
        path, number = folder / f"{stem}_{number}.yaml", number + 1
    return path


def write_suite(text: str, out: Path, profile: Profile, force: bool) -> None:
    """Write the file, having proven that it loads; nothing is left behind otherwise.

    Raises:
        UsageError: it exists already. SuiteError: it does not load.
    """
    if out.exists() and not force:
        raise UsageError(f"{out} exists already; choose another --out, or --force to replace it")
    with replacing(out) as draft:
        draft.write_text(text, encoding="utf-8", newline="\n")
        load_suite(draft, profile)


def origin_of(writer: Writer, wish: Wish, today: date) -> str:
    """Where a suite comes from, in one sentence."""
    emulated = ", emulated" if writer.emulated else ""
    by = f"{writer.name} ({writer.model}{emulated})"
    return f"Written by `harness story` with {by} on {today.isoformat()} from the idea: {clean(wish.idea)}"
