"""The base of every emulated service, and how one is written.

A service is one file in harness/emulator/services/ with a subclass of Service, named SERVICE at the file's end, and one
line in the table of services/__init__.py. Here is a whole one:

    class Studio(Service):
        auth = (("x-api-key", ""),)  # header (lower case) and prefix; several: any of them; (): no key is needed
        delivers = ("base64",)  # how pictures come: "base64", "url", "bytes"; ("text",) for a text service
        forms = ("refused",)  # the faults of kind `own` that this service serves itself

        replies = (("/v1/models", [{"id": "new-model"}]),)  # GET addresses that are always answered alike

        @route("POST", "/v1/images", paid=True)
        def draw_images(self, asked: Asked) -> Answer:
            body = self.json_body(asked)
            prompt = read_text(body, "prompt")  # these readers raise Rejected, in the service's own form
            self.check_model(read_text(body, "model"))  # turns away what `config/service_models.py` says has ended
            width, height = (read_int(body, side, 8, 4096) for side in ("width", "height"))
            if asked.fault == "refused":
                return answer_json({"images": [], "refused": "the prompt violates the policy"})
            pictures = self.draw(asked, prompt, width, height, seed=find_int(body, "seed", 0, 2**32 - 1))
            return answer_json({"images": [picture.base64 for picture in pictures]})

        def problem(self, problem: Problem) -> Answer:
            return answer_json({"error": {"message": problem.message}}, problem.http)

What the server does for every service (nothing to write): finds the route and checks the key (`authorize`); chooses the
fault (X-Emulate header, [[marker]] in the prompt, queue, chance) and leaves it in `asked.fault`; counts in the ledger;
answers limits and `status` faults by way of `problem`; turns a raised `Rejected` into `problem`; after the handler
applies `socket`, `body` and `json` faults to its Answer. `draw` applies `picture`, `base64` and `empty` faults,
`publish` those of kind `cdn`, `start` and `look` those of kind `task`.

What the service does itself: routes, validation as strict as the real one's, its replies, the form of its errors
(`problem`), and the faults in `forms`: look at `asked.fault` where they belong. A handler always draws with `draw`, so
that delay, scale, samples and faults work alike everywhere. A task service sets `tasks = True` and uses `start` when
something is submitted and `look` in its poll route. A text service takes no `draw`; it calls `self.work()` once for a
paid reply, so that the delay of a benchmark holds for it too.

Accounting: routes with `paid=True` are in the ledger. `accepted` follows from the answer's status (see Answer.billed);
a handler that knows better sets `Answer.accepted`. A request that comes again after it was accepted is `resubmitted`;
requests are the same when path, parsed body, uploaded files and X-Sample header are.
"""

from __future__ import annotations

import base64
import re
import threading
import time
import zlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from itertools import count as counter
from typing import Any, ClassVar, TypeVar
from uuid import UUID

from harness.config.service_models import find_model, living
from harness.emulator.cdn import Cdn
from harness.emulator.exchange import Answer, Asked, Problem, Rejected, answer_json, invalid
from harness.emulator.faults import FAULTS, LIST
from harness.emulator.pictures import encode_faulty

MAX_TASKS = 5000  # a service forgets the oldest
MARKER = re.compile(r"\s*\[\[(\w+)\]\]")  # a prompt may ask for a fault: "a person [[refused]]"
WRONG_KEY = "wrong-key"  # the one key that is not accepted
KIND_OF: dict[str, tuple[str, ...]] = {
    "base64": ("picture", "base64", "empty", "json"),
    "url": ("picture", "cdn", "empty", "json"),
    "bytes": ("picture",),
    "text": ("json",),
}
"""How pictures are delivered to the kinds of faults that can befall them."""


@dataclass(frozen=True)
class Route:
    """One address of a service. `path` is a regular expression for all of it; its named groups become arguments."""

    method: str
    path: str
    handler: Callable[..., Answer]  # takes Asked and the groups
    paid: bool = False  # draws or writes something: spends a fault and is in the ledger
    open: bool = False  # needs no key


Handler = TypeVar("Handler", bound=Callable[..., Answer])


def route(method: str, path: str, *, paid: bool = False, open: bool = False) -> Callable[[Handler], Handler]:
    """Make the method of a service that follows the handler of an address; of several when it stands there again."""

    def declare(handler: Handler) -> Handler:
        vars(handler).setdefault("addresses", []).append(partial(Route, method, path, paid=paid, open=open))
        return handler

    return declare


@dataclass(frozen=True)
class Pic:
    """One picture as a service delivers it, faults and all."""

    data: bytes
    mime: str  # as declared
    base64: str
    width: int  # pixels, before the fault
    height: int
    seed: int


@dataclass
class EmulatedTask:
    """One submitted job. `draw` is called when it is done, once."""

    id: str
    asked: Asked
    draw: Callable[[], list[Pic]]
    polls_left: int
    ready: float  # not before this moment of the monotonic clock
    polls: int = 0
    extra: Mapping[str, Any] = field(default_factory=dict)  # what the service wants to remember
    pictures: list[Pic] | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass
class GenerationContext:
    """What the server lends to its services."""

    url: str  # of the emulator: http://127.0.0.1:PORT
    cdn: Cdn
    scale: float = 1.0  # pictures are this fraction of the size asked for
    delay: float = 0.0  # seconds that a paid request takes
    today: Callable[[], date] = date.today  # by it models have ended or not
    stopped: threading.Event = field(default_factory=threading.Event)


class Service:
    """One emulated service, mounted under `name`; one object for all threads, so state needs `self.lock`."""

    auth: ClassVar[tuple[tuple[str, str], ...]] = (("authorization", "Bearer "),)
    delivers: ClassVar[tuple[str, ...]] = ("base64",)
    tasks: ClassVar[bool] = False
    forms: ClassVar[tuple[str, ...]] = ()
    lacks: ClassVar[frozenset[str]] = frozenset()  # faults that would apply, but that this service cannot show
    kept: ClassVar[tuple[str, ...]] = ()  # models that are served though they have ended
    replies: ClassVar[tuple[tuple[str, Any], ...]] = ()  # GET addresses that are always answered alike, and the JSON

    def __init__(self, name: str, stage: GenerationContext) -> None:
        self.name, self.stage = name, stage
        self.lock = threading.Lock()
        self._tasks: OrderedDict[str, EmulatedTask] = OrderedDict()
        self._counter = counter(1)
        handlers = [getattr(self, name) for name in dir(self)]
        self._routes = [
            *(make(one) for one in handlers for make in getattr(one, "addresses", ())),
            *(Route("GET", path, partial(answer_always, reply)) for path, reply in self.replies),
        ]

    # --- what a service says ----------------------------------------------------------------------------------------

    def routes(self) -> Sequence[Route]:
        """Every address, of which no two are for the same requests."""
        return self._routes

    def problem(self, problem: Problem) -> Answer:
        """An error in the service's own form, by `problem.kind`.

        The server adds the headers of 429 faults, and makes 502 and 504 itself: those are a proxy's pages.
        `problem.wait` is set by the fault `rate_json` alone: say it in the body, where the service would.
        """
        return answer_json({"error": {"message": problem.message}}, problem.http)

    def authorize(self, asked: Asked) -> None:
        """Let in whoever has a key in the right header with the right prefix.

        Raises:
            Rejected: `missing_key` or `auth`.
        """
        if not self.auth:
            return
        for header, prefix in self.auth:
            value = asked.headers.get(header, "")
            key = value.removeprefix(prefix).strip()
            if value.startswith(prefix) and key:
                if key == WRONG_KEY:
                    raise Rejected(Problem("auth", "Invalid API key"))
                return
        raise Rejected(Problem("missing_key", "Missing API key"))

    @classmethod
    def serves(cls) -> frozenset[str]:
        """The names of all faults that this service can show."""
        kinds = {"none", "status", "socket", "body", *(kind for how in cls.delivers for kind in KIND_OF[how])}
        kinds |= {"task"} if cls.tasks else set()
        general = {fault.name for fault in LIST if fault.kind in kinds}
        return frozenset((general | set(cls.forms)) - cls.lacks)

    # --- what a service uses ----------------------------------------------------------------------------------------

    def json_body(self, asked: Asked) -> Mapping[str, object]:
        """The JSON object of a request, turned away unless its Content-Type says JSON."""
        if asked.mime != "application/json":
            raise Rejected(Problem("invalid", f"Content-Type must be application/json, not {asked.mime or 'nothing'}"))
        if asked.malformed:
            raise Rejected(Problem("invalid", "the body is not a JSON object"))
        return asked.payload

    def check_model(self, model: str, known: Sequence[str] = ()) -> None:
        """Turn away an id whose day has come, and with `known` any other that does not begin with one of them."""
        listed = find_model(self.name, model)
        ended = listed is not None and listed.ended(self.stage.today()) and model not in self.kept
        if ended or (known and not model.startswith(tuple(known))):
            raise Rejected(Problem("retired", f"The model '{model}' does not exist.", field="model"))

    def models(self, draws: bool = True) -> tuple[str, ...]:
        """The ids of those of its models that answer today."""
        return (*self.kept, *living(self.name, self.stage.today(), draws))

    def work(self) -> None:
        """Take the time that a paid request takes; over at once when the emulator closes."""
        if self.stage.delay:
            self.stage.stopped.wait(self.stage.delay)

    def draw(
        self,
        asked: Asked,
        prompt: str,
        width: int,
        height: int,
        *,
        seed: int | None = None,
        count: int = 1,
        mime: str = "image/png",
    ) -> list[Pic]:
        """`count` pictures of `width` x `height` pixels before the emulator's scale; fewer when a fault says so.

        `seed` None: another draw for another X-Sample header, or without one for every call.
        """
        self.work()
        return self.paint(asked, prompt, width, height, seed, count, mime)

    def paint(
        self, asked: Asked, prompt: str, width: int, height: int, seed: int | None, count: int, mime: str
    ) -> list[Pic]:
        """`draw` without the delay."""
        from harness.emulator.image_generator import paint

        if asked.fault == "no_pictures":
            return []
        first = self.sample_seed(asked) if seed is None else seed
        size = tuple(max(8, round(side * self.stage.scale)) for side in (width, height))
        pictures = []
        for number in range(first, first + count):
            picture = paint(self.name, plain_prompt(prompt), number, size[0], size[1])
            data, declared = encode_faulty(picture, mime, asked.fault)
            text = encode_base64(data, declared, asked.fault)
            pictures.append(Pic(data, declared, text, size[0], size[1], number))
        return pictures

    def publish(self, asked: Asked, picture: Pic) -> str:
        """The address of a picture, led astray when the fault says so."""
        return self.stage.cdn.publish(picture.data, picture.mime, asked.fault)

    def new_id(self) -> str:
        """A UUID; another each time."""
        number = next(self._counter)
        return str(UUID(int=(zlib.crc32(self.name.encode()) << 96) | number, version=4))

    def start(self, asked: Asked, draw: Callable[[], list[Pic]], **extra: Any) -> EmulatedTask:
        """Accept a task: done after one or two polls, and not before the emulator's delay.

        `draw` draws with `paint` (the delay is the task's). Keep in `extra` what the poll's reply needs.
        """
        number = self.new_id()
        polls = 2 if FAULTS[asked.fault].kind == "task" else 1 + zlib.crc32(number.encode()) % 2
        task = EmulatedTask(number, asked, draw, polls, time.monotonic() + self.stage.delay, extra=extra)
        with self.lock:
            self._tasks[task.id] = task
            while len(self._tasks) > MAX_TASKS:
                self._tasks.popitem(last=False)
        return task

    def look(self, task_id: str) -> tuple[str, EmulatedTask]:
        """One poll: the task's state in plain words, for the service to say in its own.

        waiting, running   not done
        unknown            not done, in a word that no document names
        done               `task.pictures` is set; it may be empty (`task_no_picture`, `no_pictures`)
        failed, refused    ended without a picture

        Raises:
            Rejected: no such task, or a poll fault.
        """
        task = self.find(task_id)
        with task.lock:
            task.polls += 1
            fault, first = task.asked.fault, task.polls == 1
            if fault == "poll_gone":
                raise Rejected(Problem("not_found", f"task {task_id} not found"))
            if fault == "poll_rate" and first:
                raise Rejected(Problem("rate", "Too many requests"))
            if fault == "poll_502" and first:
                raise Rejected(Problem("bad_gateway", "bad gateway"))
            if fault == "task_unknown_state" and first:
                return "unknown", task
            if fault == "task_stuck" or task.polls < task.polls_left or time.monotonic() < task.ready:
                return ("waiting" if first else "running"), task
            if fault in ("task_failed", "task_refused"):
                return fault.removeprefix("task_"), task
            if task.pictures is None:
                task.pictures = [] if fault == "task_no_picture" else task.draw()
            return "done", task

    def find(self, task_id: str) -> EmulatedTask:
        """A task that was started, without counting a poll.

        Raises:
            Rejected: there is none of that id.
        """
        with self.lock:
            if task_id not in self._tasks:
                raise Rejected(Problem("not_found", f"task {task_id} not found"))
            return self._tasks[task_id]

    def sample_seed(self, asked: Asked) -> int:
        """The seed of a request that has none: by its X-Sample header, or without one another each time."""
        return zlib.crc32(asked.sample.encode()) if asked.sample else next(self._counter)


def answer_always(reply: Any, asked: Asked) -> Answer:
    """What `Service.replies` says."""
    return answer_json(reply)


def plain_prompt(prompt: str) -> str:
    """A prompt without its [[fault]] marker."""
    return MARKER.sub("", prompt)


def encode_base64(data: bytes, mime: str, fault: str) -> str:
    """Base64 of a picture, as the fault has it."""
    text = base64.b64encode(data).decode()
    if fault == "bad_base64":
        return text[:40] + "!not*base64!" + text[40:]
    return f"data:{mime};base64,{text}" if fault == "data_prefix" else text


# --- readers of a request's fields: the value, or Rejected in the service's own form -------------------------------


def read_text(
    body: Mapping[str, object], name: str, *, least: int = 1, most: int = 100_000, default: str | None = None
) -> str:
    """A text of `least` to `most` characters. Without a `default` the field is required."""
    value = body.get(name)
    if value is None and default is not None:
        return default
    if value is None:
        raise invalid(name, f"{name} is required")
    if not isinstance(value, str):
        raise invalid(name, f"{name} must be a string")
    if not least <= len(value.strip()) <= most:
        raise invalid(name, f"{name} must have {least} to {most} characters")
    return value


def read_int(body: Mapping[str, object], name: str, least: int, most: int, default: int | None = None) -> int:
    """A whole number in a range. Without a `default` the field is required."""
    value = find_int(body, name, least, most)
    if value is None:
        value = default
    if value is None:
        raise invalid(name, f"{name} is required")
    return value


def find_int(body: Mapping[str, object], name: str, least: int, most: int) -> int | None:
    """A whole number in a range; None when it is absent or null."""
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise invalid(name, f"{name} must be an integer")
    if not least <= value <= most:
        raise invalid(name, f"{name} must be between {least} and {most}")
    return value


def read_number(body: Mapping[str, object], name: str, least: float, most: float, default: float) -> float:
    """A number in a range."""
    value = body.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise invalid(name, f"{name} must be a number")
    if not least <= value <= most:
        raise invalid(name, f"{name} must be between {least:g} and {most:g}")
    return float(value)


def read_bool(body: Mapping[str, object], name: str, default: bool) -> bool:
    """True or false."""
    value = body.get(name, default)
    if not isinstance(value, bool):
        raise invalid(name, f"{name} must be a boolean")
    return value


def read_choice(body: Mapping[str, object], name: str, known: Sequence[str], default: str) -> str:
    """One of the known words; absent or null: `default`."""
    value = body.get(name)
    if value is None:
        return default
    if value not in known:
        raise invalid(name, f"{name} must be one of {', '.join(known)}")
    return str(value)


def read_section(body: Mapping[str, object], path: str, says: str = "") -> Mapping[str, object]:
    """The object at the end of a path like `parameters.outputOptions`, whose first part the body is; {} when absent."""
    value = body.get(path.rpartition(".")[2], {})
    if not isinstance(value, dict):
        raise invalid(path, says or f"{path} must be an object")
    return value


def only(body: Mapping[str, object], known: Sequence[str]) -> None:
    """Turn away fields that the service does not have."""
    for name in body:
        if name not in known:
            raise invalid(name, f"unknown field {name}")
