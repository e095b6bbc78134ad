"""Reads a YAML file safely and remembers on which line everything stood."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator

from harness.core.errors import SuiteError, nearest
from harness.core.secrets import mask_keys, variable_name

MAX_BYTES, MAX_DEPTH, MAX_NODES = 2_000_000, 16, 300_000  # an alias counts each time it is used
ID = re.compile(r"[a-z0-9_.-]+")
FORBIDDEN = yaml.reader.Reader.NON_PRINTABLE
LONGEST_PATH, LONGEST_NAME = 4_000, 255  # bytes; longer ones no file system takes
LONGEST_ID = 150  # characters; with a suffix it must still be the name of a file
LONGEST_KEY, LONGEST = 60, 800  # characters of a key in a message, and of a message
PLAIN = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")
RESERVED = frozenset({"gate"})
Place = tuple[str | int, ...]
Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class Document:
    """Plain data, and the line of every key and list entry."""

    path: Path
    data: Any
    lines: Mapping[Place, int]

    def line(self, place: Place) -> int:
        """The line of a place, or of the nearest one around it."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)

    def error(self, message: str, *place: str | int) -> SuiteError:
        """An error that names file, line and key; of a text that goes on for pages beginning and remedy are kept."""
        where, message = mask_keys(spell(place)), mask_keys(message)
        if len(message) > LONGEST:
            message = f"{message[: LONGEST // 2]} ... {message[-LONGEST // 2 :]}"
        return SuiteError(f"{where}: {message}" if where else message, self.path, self.line(place))

    def check_id(self, name: str, *place: str | int) -> None:
        """Ids end up in test ids, file names and addresses, so they stay plain. Raises SuiteError."""
        if not ID.fullmatch(name):
            raise self.error(f"{name!r:.60} is not an id; use a-z, 0-9, _, . and - only", *place)
        if len(name) > LONGEST_ID:
            raise self.error(f"{name!r:.60} has {len(name):,} characters; an id has {LONGEST_ID} at most", *place)
        if name in RESERVED:
            raise self.error(f"{name!r} is reserved for the suite's verdict; choose another", *place)


def spell(place: Place) -> str:
    """("cases", 2, "id") as people write it: cases[2].id. A key is foreign text: on one line, cut, nothing hidden."""
    text = ""
    for part in place:
        if isinstance(part, str) and not (part.isprintable() and len(part) <= LONGEST_KEY):
            part = f"{part[:LONGEST_KEY]!a}"
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def read_yaml(path: Path) -> Document:
    """Load one YAML document.

    Raises:
        SuiteError: unreadable, not UTF-8, not YAML, too large or too deep, a key twice, a tag that is not plain data.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise SuiteError(f"cannot be read: {error.strerror or error}", path) from error
    if len(raw) > MAX_BYTES:
        raise SuiteError(f"{len(raw):,} bytes; {MAX_BYTES:,} are the most; split the suite", path, 1)
    try:
        text = raw.decode("utf-8-sig")
        check_characters(path, text)
        check_depth(path, text)
        loader = Loader(text)
        node = loader.get_single_node()
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise SuiteError(f"is not UTF-8 text (byte {error.start}); save it as UTF-8", path, line) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error)
        last = len((text + ".").splitlines())  # libyaml counts the end of a file without a line break as one more
        raise SuiteError(f"is not YAML: {problem}", path, min(mark.line + 1, last) if mark else 1) from error
    reader = _Reader(path, loader)
    return Document(path, reader.build(node, (), 0) if node is not None else None, reader.lines)


def check_characters(path: Path, text: str) -> None:
    """Refuse what YAML does not allow in a text, by line; libyaml only tells of an offset.

    Raises:
        SuiteError: a control character or another one that is not printable.
    """
    result = FORBIDDEN.search(text)
    if result:
        line = text.count("\n", 0, result.start()) + 1
        code = f"U+{ord(result[0]):04X}"
        raise SuiteError(f"the character {code} is not allowed; remove it, and save the file as UTF-8", path, line)


def check_depth(path: Path, text: str) -> None:
    """Refuse deep nesting before a tree is built: libyaml builds it recursively, and its stack ends in a crash.

    Raises:
        SuiteError: too deep. yaml.YAMLError: not YAML.
    """
    depth = 0
    for event in yaml.parse(text, Loader=Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            line = event.start_mark.line + 1 if event.start_mark else None
            raise SuiteError(f"is nested deeper than {MAX_DEPTH} levels", path, line)


class _Reader:
    """Turns nodes into data, counting as it goes."""

    def __init__(self, path: Path, loader: Any) -> None:
        self.path, self.loader = path, loader
        self.lines: dict[Place, int] = {}
        self.count = 0

    def build(self, node: Any, place: Place, depth: int) -> Any:
        self.count += 1
        line = node.start_mark.line + 1
        self.lines.setdefault(place, line)
        if depth > MAX_DEPTH:
            raise SuiteError(f"is nested deeper than {MAX_DEPTH} levels", self.path, line)
        if self.count > MAX_NODES:
            raise SuiteError(f"holds more than {MAX_NODES:,} values, aliases counted; is that meant?", self.path, line)
        if isinstance(node, yaml.CollectionNode) and node.tag not in PLAIN:
            raise SuiteError(f"{spell(place)}: not plain data: {node.tag}; remove the tag", self.path, line)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, place, depth)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, (*place, number), depth + 1) for number, item in enumerate(node.value)]
        try:
            return self.loader.construct_object(node)
        except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError) as error:
            # what PyYAML's constructors raise where an explicit tag does not fit its text
            problem = getattr(error, "problem", None) or f"{node.value!r:.60} does not fit {node.tag}; remove the tag"
            raise SuiteError(f"{spell(place)}: not plain data: {problem}", self.path, line) from error

    def _mapping(self, node: Any, place: Place, depth: int) -> dict[str, object]:
        data: dict[str, object] = {}
        for key_node, value in node.value:
            key, line = getattr(key_node, "value", None), key_node.start_mark.line + 1
            if not isinstance(key, str):
                raise SuiteError(f"{spell(place)}: a key must be a word", self.path, line)
            if key in data:
                raise SuiteError(f"{spell((*place, key))}: stands here twice; remove one", self.path, line)
            self.lines[(*place, key)] = line
            data[key] = self.build(value, (*place, key), depth + 1)
        return data


def path_text(text: str) -> str:
    """A text that can name a file; ValueError for one that makes the system itself raise."""
    parts = re.split(r"[/\\\\]", text)
    if any(unicodedata.category(char) in ("Cc", "Cs") for char in text):
        raise ValueError("a path holds no control characters")
    if len(text.encode()) > LONGEST_PATH or any(len(part.encode()) > LONGEST_NAME for part in parts):
        raise ValueError(f"longer than a path can be ({LONGEST_NAME} bytes a part)")
    return text


PathText = Annotated[str, AfterValidator(path_text)]
VariableName = Annotated[str, AfterValidator(variable_name)]


def validate(document: Document, model: type[Model]) -> Model:
    """The document as its model; the first error with file, line, key and the nearest right spelling."""
    if document.data is None:
        raise document.error("is empty; it must hold keys and values")
    if not isinstance(document.data, dict):
        raise document.error("must hold keys and values, `version: 1` first")
    try:
        return model.model_validate(document.data)
    except ValidationError as error:
        raise _explain(document, model, _most_telling(document, error.errors())) from error


def _most_telling(document: Document, items: Sequence[Any]) -> Any:
    """The first error in the file, less what only follows from another one.

    A misspelt key is also a missing one, and a union (a number, or fail and warn) complains of each of its members,
    of which the one that looked deepest understood the author best.
    """
    places = {id(item): _place(item["loc"]) for item in items}
    typos = {places[id(item)][:-1] for item in items if item["type"] == "extra_forbidden"}

    def follows(item: Any) -> bool:
        place = places[id(item)]
        deeper = any(len(other) > len(place) and other[: len(place)] == place for other in places.values())
        return deeper or (item["type"] == "missing" and place[:-1] in typos)

    return min((item for item in items if not follows(item)), key=lambda item: document.line(places[id(item)]))


UNION_MEMBERS = re.compile(
    r"(float|str|int|bool|constrained-\w+|[A-Z]\w+Entry|(list|dict|literal|function-after|union)\[.*\])"
)


def _place(location: tuple[int | str, ...]) -> Place:
    """A pydantic location without the names of union members that it mixes in."""
    return tuple(part for part in location if isinstance(part, int) or not UNION_MEMBERS.fullmatch(part))


def _explain(document: Document, model: type[BaseModel], item: Any) -> SuiteError:
    place, kind, result = _place(item["loc"]), item["type"], item["input"]
    if kind == "extra_forbidden":
        return document.error(f"unknown key; {nearest(str(place[-1]), fields_at(model, place[:-1]))}", *place)
    if kind == "missing":
        return document.error("is missing; add it", *place)
    message = item["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if kind != "value_error" and not isinstance(result, dict | list):
        message += f" (found {result!r:.60})"
    return document.error(f"{message[0].lower()}{message[1:]}{_remedy(item)}", *place)


def _remedy(item: Any) -> str:
    """What to do about a value of the wrong kind, where that is more than its message says."""
    result = item["input"]
    if item["type"] == "literal_error" and isinstance(result, str):
        choices = re.findall(r"'([^']*)'", str(item["ctx"]["expected"]))
        return f"; {nearest(result, choices)}"
    if item["type"] == "string_type" and not isinstance(result, dict | list | None):
        return '; YAML reads it as something else than text: put it in "quotes"'
    return ""


def fields_at(model: type[BaseModel], place: Place) -> list[str]:
    """The keys that a place of a model may hold."""
    current: Any = model
    for part in place:
        if isinstance(part, int):
            continue
        fields = getattr(current, "model_fields", {})
        if part in fields:
            current = inner_model(fields[part].annotation) or current
    return list(getattr(current, "model_fields", {}))


def inner_model(annotation: Any) -> type[BaseModel] | None:
    """The model inside list[M], M | None, dict[str, M] and the like."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Union, UnionType, list, tuple, dict, Mapping) or get_args(annotation):
        for argument in get_args(annotation):
            result = inner_model(argument)
            if result:
                return result
    return None


class Strict(BaseModel):
    """An unknown key is a typo, not an option; yes and no are no numbers, although Python takes them for 1 and 0."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def no_truth_for_numbers(cls, value: Any, info: ValidationInfo) -> Any:
        refuse_truth(value, cls.model_fields[str(info.field_name)].annotation)
        return value


TRUTH = "a number is expected, and not yes or no (which YAML also reads in on, off, true and false)"


def refuse_truth(value: Any, annotation: Any) -> None:
    """ValueError for a truth value where only a number can stand, in lists and mappings too."""
    if isinstance(value, bool):
        kinds = leaves(annotation)
        if bool not in kinds and kinds & {int, float}:
            raise ValueError(TRUTH)
    elif isinstance(value, list | dict):
        inner = [part for part in members(annotation) if get_origin(part) in (list, tuple, dict, Mapping)]
        for item in value.values() if isinstance(value, dict) else value:
            for part in inner:
                refuse_truth(item, get_args(part)[-1 if isinstance(value, dict) else 0])


def members(annotation: Any) -> tuple[Any, ...]:
    """What a union is made of; anything else by itself."""
    if get_origin(annotation) is Annotated:
        return members(get_args(annotation)[0])
    if get_origin(annotation) not in (Union, UnionType):
        return (annotation,)
    return tuple(part for each in get_args(annotation) for part in members(each))


def leaves(annotation: Any) -> set[Any]:
    """The plain types that a value itself may be of, a literal's among them."""
    literals = [part for part in members(annotation) if get_origin(part) is Literal]
    plain = {part for part in members(annotation) if isinstance(part, type)}
    return plain | {type(choice) for part in literals for choice in get_args(part)}
