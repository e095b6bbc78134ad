"""A service described in YAML: what to send, and where in the replies everything stands.

Conditions and places are JMESPath expressions (jmespath.org), with two functions of our own: `from_json(text)` reads
JSON that a service sends as text, `capture(text, 'regex')` finds a piece of prose.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions, signature
from pydantic import AfterValidator, Field, model_validator

from harness.core.errors import SuiteError, nearest
from harness.core.settings import data_root
from harness.core.values import Outcome
from harness.core.yaml import Document, Strict, read_yaml, validate
from harness.providers.http_client.exchange import Unanswered
from harness.providers.http_client.options import RemoteOptions
from harness.providers.remote import nearest_shape

PLACEHOLDER = re.compile(r"\{\{([a-z]\w*)\}\}|\{([a-z]\w*)\}")  # {{word}} is the word in braces
ALWAYS = ("aspect_ratio", "count", "height", "model", "negative", "once", "prompt", "seed", "width", "workflow")
ORIGIN = re.compile(r"https?://(\*\.)?[a-z0-9.-]+(:\d+)?|https?://\[[0-9a-f:]+\](:\d+)?")
HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
WORKFLOW_CAP = 2_000_000  # bytes


# --- expressions ------------------------------------------------------------------------------------------------------


class OwnFunctions(Functions):
    """What JMESPath itself lacks."""

    @signature({"types": ["string", "null"]})
    def _func_from_json(self, text: str | None) -> Any:
        """JSON inside a text; null when it is none."""
        try:
            return json.loads(text or "null")
        except (ValueError, RecursionError):
            return None

    @signature({"types": ["string", "null"]}, {"types": ["string"]})
    def _func_capture(self, text: str | None, pattern: str) -> str | None:
        """The first group of the first match, or the match; null when there is none."""
        result = re.search(pattern, (text or "")[:100_000])
        return result.group(1 if result.re.groups else 0) if result else None


OWN = jmespath.Options(custom_functions=OwnFunctions())


def compiles(text: str) -> str:
    """An expression that JMESPath understands, or nothing."""
    try:
        jmespath.compile(text or "@")
    except JMESPathError as error:
        first = str(error).strip().splitlines()[0]
        raise ValueError(f"is no JMESPath expression: {first} (found {text!r})") from error
    return text


Place = Annotated[str, Field(min_length=1), AfterValidator(compiles)]
Unplaced = Annotated[str, AfterValidator(compiles)]  # may be ""


def look_up(expression: str, answer: Any) -> Any:
    """What stands at a place of a reply; None when it is absent or the expression does not fit the reply."""
    if not expression:
        return None
    try:
        return jmespath.search(expression, answer, options=OWN)
    except (JMESPathError, RecursionError, re.error):
        return None


def words_at(expression: str, answer: Any) -> str:
    """The same as a short text."""
    result = look_up(expression, answer)
    if result is None or result == "":
        return ""
    text = result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)
    return " ".join(text.split())[:300]


# --- the description --------------------------------------------------------------------------------------------------


class RequestEntry(Strict):
    """What is sent for one picture. Texts may hold placeholders; a body's key whose value is empty is left out."""

    method: Literal["POST", "PUT", "GET"] = "POST"
    path: str
    encoding: Literal["json", "multipart", "urlencoded"] = "json"
    headers: dict[str, str] = Field(default_factory=dict)
    body: dict[str, Any] = Field(default_factory=dict)


class PictureEntry(Strict):
    """Where the pictures stand in the final reply; `at` "" means that the reply itself is the picture."""

    at: Unplaced = ""
    kind: Literal["auto", "base64", "url", "bytes"] = "auto"
    url: str = ""  # how an address is made of the object found: "/view?filename={filename}"
    moderated: tuple[Literal["blurred", "black"], ...] = ()  # looks that mean a refusal

    @model_validator(mode="after")
    def _fits(self) -> PictureEntry:
        if (self.kind == "bytes") == bool(self.at):
            raise ValueError("`at` says where pictures stand in a reply; only kind bytes, the reply itself, needs none")
        if self.url and self.kind not in ("auto", "url"):
            raise ValueError("`url` goes with kind url")
        return self


class RuleEntry(Strict):
    """A reply that means something else than a picture; every condition given must hold."""

    when: Unplaced = ""
    each: Unplaced = ""  # a list that runs beside the pictures: true where the rule holds for one
    status: tuple[int, ...] = ()  # HTTP; empty: any
    message: Unplaced = ""

    @model_validator(mode="after")
    def _says(self) -> RuleEntry:
        if not (self.when or self.each or self.status):
            raise ValueError("needs `when`, `each` or `status`")
        return self


class FailedEntry(RuleEntry):
    """A rule with its outcome."""

    outcome: Literal["quota", "auth", "model_retired", "timeout", "provider_error", "bad_image"] = "provider_error"


class TaskEntry(Strict):
    """Where a reply names the task that it began."""

    id: Place
    url: Unplaced = ""  # where to ask for it


class PollEntry(Strict):
    """How to ask for a task. A state that is in no list is waited for, until the deadline."""

    path: str = ""  # with {task}; not needed where the task has its own address
    method: Literal["GET", "POST"] = "GET"
    body: dict[str, Any] = Field(default_factory=dict)
    state: Place
    done: tuple[str, ...]
    failed: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    result: Unplaced = ""  # where a finished task's reply names the address of its result


class SeedEntry(Strict):
    """The seeds that a service takes; others are brought into the range."""

    low: int = 0
    high: int = 2**32 - 1

    @model_validator(mode="after")
    def _fits(self) -> SeedEntry:
        if not self.low < self.high:
            raise ValueError("`low` is less than `high`")
        return self


class SizeEntry(Strict):
    """The sizes that a service takes, pixels; others become the nearest."""

    smallest: int = Field(default=1, ge=1)
    largest: int = Field(default=16_384, ge=1)
    multiple_of: int = Field(default=1, ge=1)
    aspect_ratios: tuple[Annotated[str, Field(pattern=r"^[1-9]\d*:[1-9]\d*$")], ...] = ()

    @model_validator(mode="after")
    def _fits(self) -> SizeEntry:
        if self.bounds[0] > self.bounds[1]:
            raise ValueError("there is no multiple of `multiple_of` between `smallest` and `largest`")
        return self

    @property
    def bounds(self) -> tuple[int, int]:
        """The shortest and the longest side that can be asked for."""
        step = self.multiple_of
        return -(-self.smallest // step) * step, self.largest // step * step


class ProbeEntry(Strict):
    """A call that costs nothing and needs the key, for `harness doctor --providers`."""

    path: str
    method: Literal["GET", "POST"] = "GET"


class Description(RemoteOptions):
    """A service, whole; a profile may say any of this itself, over a description in a file."""

    version: Literal[1] = 1
    service: str = ""  # its name
    about: str = ""
    source: str = ""  # where its contract is documented
    checked: date | None = None  # when somebody last compared the two
    values: dict[str, Any] = Field(default_factory=dict)  # further placeholders
    request: RequestEntry
    body: dict[str, Any] = Field(default_factory=dict)  # laid over the request's own
    workflow: str | dict[str, Any] = ""  # a JSON file, or what would stand in it: the value of {workflow}
    fingerprint: tuple[str, ...] = ()  # files that decide the pixels: a LoRA that the service loads, say
    picture: PictureEntry
    n: int = Field(1, ge=1, le=10)  # pictures that one call may ask for
    seed: SeedEntry = SeedEntry()
    size: SizeEntry = SizeEntry()
    refused: tuple[RuleEntry, ...] = ()
    failed: tuple[FailedEntry, ...] = ()
    status: dict[int, Outcome] = Field(default_factory=dict)  # what an HTTP status means here, where it is unusual
    message: Unplaced = ""  # where an error's words stand, where the usual places are not enough
    meta: dict[str, Place] = Field(default_factory=dict)  # what to remember of a reply
    empty: Literal["bad_image", "refused"] = "bad_image"  # what a reply without a picture means
    task: TaskEntry | None = None
    poll: PollEntry | None = None
    origins: tuple[str, ...] = ()  # further origins whose polls get the key: https://*.bfl.ai
    probe: ProbeEntry | None = None

    @property
    def template(self) -> Mapping[str, object]:
        """The request's body with `body` over it."""
        return merge(self.request.body, self.body)

    @property
    def seeded(self) -> bool:
        """Whether the service is told the seed."""
        return "seed" in set(placeholders([self.template, self.request.path, self.workflow]))

    @model_validator(mode="after")
    def _agrees(self) -> Description:
        check_placeholders(self)
        for name, text in self.request.headers.items():
            if not HEADER.fullmatch(name) or not text.isprintable():
                raise ValueError(f"request.headers: {name!r} is no header with a value on one line")
        for origin in self.origins:
            if not ORIGIN.fullmatch(origin):
                raise ValueError(f"origins: {origin!r} is no origin; write https://HOST or https://*.DOMAIN")
        if (self.task is None) != (self.poll is None):
            raise ValueError("`task` and `poll` go together")
        if self.poll and self.task and not (self.poll.path or self.task.url):
            raise ValueError("poll: needs a `path`, or `task.url`")
        if self.picture.kind == "bytes" and self.poll and not self.poll.result:
            raise ValueError("poll: needs `result`, since the picture is a reply of its own")
        if self.per_call > (1 if self.seeded else self.n):
            raise ValueError("per_call: a service with seeds is asked for one picture a call, others for `n` at most")
        flat = not any(isinstance(value, dict | list) for value in self.template.values())
        if self.request.encoding != "json" and not flat:
            raise ValueError(f"request.body: {self.request.encoding} holds plain values only")
        return self


def check_placeholders(description: Description) -> None:
    """Every placeholder has a value. Raises ValueError."""
    request, known = description.request, {*ALWAYS, *description.values}
    places: dict[str, tuple[Any, set[str]]] = {
        "request.path": (request.path, known),
        "request.headers": (list(request.headers.values()), known),
        "request.body": (description.template, known),
        "workflow": (description.workflow, known),
        "poll": ([description.poll.path, description.poll.body] if description.poll else "", {"task", "model"}),
    }
    for place, (template, names) in places.items():
        for name in placeholders(template):
            if name not in names:
                raise ValueError(f"{place}: no value for {{{name}}}; {nearest(name, names)}; or add it to `values`")
    if "aspect_ratio" in set(placeholders(description.template)) and not description.size.aspect_ratios:
        raise ValueError("size: needs `aspect_ratios`, since the body has {aspect_ratio}")
    if "workflow" in set(placeholders(description.template)) and not description.workflow:
        raise ValueError("workflow: is missing; name the file that {workflow} stands for")


def service_schema() -> dict[str, object]:
    """The JSON schema of descriptions, for editors: suites/schema/service.json."""
    return Description.model_json_schema()


def write_schema(folder: Path) -> None:
    """The schema as a file."""
    text = json.dumps(service_schema(), indent=2) + "\n"
    (folder / "service.json").write_text(text, encoding="utf-8", newline="\n")


# --- templates --------------------------------------------------------------------------------------------------------


def placeholders(template: Any) -> Iterator[str]:
    """The names in a template, in its order."""
    if isinstance(template, str):
        yield from (result.group(2) for result in PLACEHOLDER.finditer(template) if result.group(2))
    elif isinstance(template, Mapping):
        for item in template.values():
            yield from placeholders(item)
    elif isinstance(template, list | tuple):
        for item in template:
            yield from placeholders(item)


def fill(template: Any, values: Mapping[str, object], *, drop: bool = True) -> Any:
    """A template with its values; a text that is nothing but one placeholder takes the value as it is.

    `drop`: keys and list entries whose value is None or "" are left out, for services that refuse empty ones.
    """
    if isinstance(template, str):
        whole = PLACEHOLDER.fullmatch(template)
        return values[whole.group(2)] if whole and whole.group(2) else fill_text(template, values)
    if isinstance(template, Mapping):
        filled = {name: fill(item, values, drop=drop) for name, item in template.items()}
        return {name: item for name, item in filled.items() if not (drop and is_empty(item))}
    if isinstance(template, list | tuple):
        items = [fill(item, values, drop=drop) for item in template]
        return [item for item in items if not (drop and is_empty(item))]
    return template


def is_empty(value: Any) -> bool:
    return value is None or value == ""


def fill_text(template: str, values: Mapping[str, object], spell: Callable[[str, str], str] | None = None) -> str:
    """A text with its values; `spell` writes the value of a name as the place needs it."""

    def value(found: re.Match[str]) -> str:
        if found.group(1):
            return f"{{{found.group(1)}}}"
        text = plain_text(values[found.group(2)])
        return spell(found.group(2), text) if spell else text

    return PLACEHOLDER.sub(value, template)


def fill_path(template: str, values: Mapping[str, object]) -> str:
    """An address with its values quoted; only a model's name keeps its slashes, and nothing may climb.

    Raises:
        Unanswered: a value that would lead elsewhere.
    """

    def segment(name: str, text: str) -> str:
        parts = text.split("/") if name == "model" else [text]
        if any(part in ("", ".", "..") for part in parts):
            message = f"{{{name}}} {text!r} cannot stand in an address; correct the profile"
            raise Unanswered(Outcome.PROVIDER_ERROR, message)
        return quote(text, safe="/:" if name == "model" else "")

    route, mark, query = template.partition("?")
    return fill_text(route, values, segment) + mark + fill_text(query, values, lambda _, text: quote(text, safe=""))


def fill_headers(template: Mapping[str, str], values: Mapping[str, object]) -> dict[str, str]:
    """Headers with their values.

    Raises:
        Unanswered: a value that is not plain ASCII on one line.
    """
    headers = {name: fill_text(text, values) for name, text in template.items()}
    for name, text in headers.items():
        if not (text.isascii() and text.isprintable()):
            raise Unanswered(Outcome.PROVIDER_ERROR, f"header {name}: the value must be plain text on one line")
    return {name: text for name, text in headers.items() if text}


def plain_text(value: Any) -> str:
    """A value as forms and addresses write it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def merge(base: Mapping[str, object], over: Mapping[str, object]) -> dict[str, object]:
    """`over` laid over `base`, key by key and all the way down."""
    merged = dict(base)
    for name, item in over.items():
        old = merged.get(name)
        merged[name] = merge(old, item) if isinstance(old, Mapping) and isinstance(item, Mapping) else item
    return merged


def fit_size(width: int, height: int, size: SizeEntry) -> dict[str, object]:
    """Pixels and proportions that the service takes, as near to those wanted as can be."""
    shortest, longest = size.bounds
    scale = min(max(1.0, shortest / min(width, height)), longest / max(width, height))

    def side(pixels: int) -> int:
        return min(max(round(pixels * scale / size.multiple_of) * size.multiple_of, shortest), longest)

    pairs = {text: text.partition(":") for text in size.aspect_ratios}
    ratios = {text: (int(wide), int(high)) for text, (wide, _, high) in pairs.items()}
    shape = nearest_shape(width, height, ratios) if ratios else ""
    return {"width": side(width), "height": side(height), "aspect_ratio": shape}


# --- files ------------------------------------------------------------------------------------------------------------


def find_service(name: str, folders: Sequence[Path]) -> Path:
    """The file of a description: a path, or a name in suites/services/ of one of `folders` or of the shipped ones.

    Raises:
        SuiteError: there is none.
    """
    shelves = [folder / "suites" / "services" for folder in [*folders, data_root()]]
    choices = [*(folder / name for folder in folders), *(shelf / f"{name}.yaml" for shelf in shelves)]
    result = next((path for path in choices if path.is_file()), None)
    if result is None:
        known = {path.stem for shelf in shelves for path in shelf.glob("*.yaml")}
        raise SuiteError(f"no service called {name!r}; {nearest(name, known)}; or name a YAML file")
    return result.resolve()


@lru_cache(maxsize=64)
def _read_service(path: Path, changed: int) -> Document:
    document = read_yaml(path)
    service = validate(document, Description).service
    document.check_id(service, "service")
    return document


def read_service(path: Path) -> Document:
    """A description's file, checked. Raises SuiteError with file and line."""
    return _read_service(path, path.stat().st_mtime_ns)


def read_workflow(name: str, folders: Sequence[Path]) -> dict[str, object]:
    """A graph in ComfyUI's API format.

    Raises:
        SuiteError: no such file, no JSON, or the editor's own format.
    """
    path = next((folder / name for folder in folders if (folder / name).is_file()), None)
    if path is None:
        raise SuiteError(f"workflow: there is no file {name} in {' or '.join(map(str, folders))}")
    if path.stat().st_size > WORKFLOW_CAP:
        raise SuiteError(f"workflow: more than {WORKFLOW_CAP:,} bytes", path)
    try:
        graph = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise SuiteError(f"workflow: is no JSON: {error}", path) from error
    nodes = graph.values() if isinstance(graph, dict) else []
    if not nodes or not all(isinstance(node, dict) and "class_type" in node for node in nodes):
        raise SuiteError("workflow: is not in the API format; save it with Workflow > Export (API)", path)
    return dict(graph)
