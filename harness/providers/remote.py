"""What all remote services share: options, keys, calls, polls, downloads, money; an adapter adds only its contract."""

from __future__ import annotations

import base64
import binascii
import json
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import ValidationError

from harness.config.profile import ProviderConfig, extend_vocabulary
from harness.config.prompts.subject import describe_subject
from harness.config.prompts.syntax import plain_text
from harness.core.errors import HarnessError, MissingKey, SuiteError, nearest
from harness.core.moved import keep_former_names
from harness.core.settings import Secret
from harness.core.threads import DaemonThreads
from harness.core.values import Case, Generation, Outcome, Request, Suite
from harness.emulator import share
from harness.emulator.shared import Shared
from harness.providers import ProviderContext
from harness.providers.http_client.exchange import Call, Deadline, Reply, Unanswered
from harness.providers.http_client.options import RemoteOptions
from harness.providers.http_client.waits import forbids_retry
from harness.providers.prompts import traits_of

if TYPE_CHECKING:
    from harness.providers.http_client.session import Session

AHEAD = 3  # pictures under way or waiting to be handed over, for each call that may run at once
EMULATED_KEY = "emulator-key-0"  # no word that messages use: keys are struck out of them


@dataclass(frozen=True)
class Picture:
    """One picture of a reply: its bytes, or where to fetch them, or why it is missing."""

    data: bytes | None = None
    url: str = ""
    problem: Unanswered | None = None


@dataclass(frozen=True)
class ParsedReply:
    """What a reply held; fewer pictures than were asked for is for `RemoteProvider.absent` to explain."""

    pictures: tuple[Picture, ...]
    meta: Mapping[str, Any] = field(default_factory=dict)  # plain JSON: reported model, rewritten prompt, real seed


@dataclass(frozen=True)
class Pending:
    """A task that the service has accepted and not finished."""

    task: str
    url: str = ""  # where to ask, when the service says so
    state: str = ""  # in the service's own word


STATUS: dict[int, tuple[Outcome, str]] = {
    400: (Outcome.PROVIDER_ERROR, "the service did not accept the request; check the options in the profile"),
    401: (Outcome.AUTH, "the key was not accepted; check the variable"),
    402: (Outcome.QUOTA, "the account is out of credit; top it up"),
    403: (Outcome.AUTH, "the key may not do this; check the account's rights"),
    404: (Outcome.MODEL_RETIRED, "no such model or address; the service may have retired it: correct the profile"),
    408: (Outcome.TIMEOUT, "the service gave up waiting"),
    410: (Outcome.MODEL_RETIRED, "the model is retired; choose another in the profile"),
    413: (
        Outcome.PROVIDER_ERROR,
        "the request is too large for the service; shorten the prompt, or choose a smaller picture",
    ),
    429: (Outcome.QUOTA, "too many requests, also after waiting; lower `concurrency` or set `per_minute`"),
    504: (Outcome.TIMEOUT, "the service's gateway gave up waiting; possibly billed, so not sent again"),
}
"""What an HTTP status means, and what to do about it."""
STATUS |= dict.fromkeys((300, 301, 302, 303, 307, 308), (Outcome.PROVIDER_ERROR, "the service moved; correct `url`"))
STATUS |= dict.fromkeys((405, 409, 415, 422), STATUS[400])
UNKNOWN = (Outcome.PROVIDER_ERROR, "the service failed; try again later")
FINAL = frozenset({401, 402, 403, 404, 410})  # asking again in this run cannot help
GONE = frozenset({404, 410})
MAYBE_BILLED = frozenset({408, 500, 502, 504})


class RemoteProvider:
    """Draws by asking a service; every way in which it can fail is an outcome of its own.

    An adapter is a subclass that sets `adapter`, `service` and `Options`, and says how to `ask` and how to `read`.
    """

    adapter: ClassVar[str]  # with its version: "freepik/1"; part of the cache key
    service: ClassVar[str]  # the emulator's name for it
    Options: ClassVar[type[RemoteOptions]] = RemoteOptions
    seeded: bool = True  # False: the service takes no seed, and every sample is another draw

    def __init__(self, name: str, config: ProviderConfig, context: ProviderContext) -> None:
        self.name, self.context = name, context
        self.options = self.read_options(config.options)
        self.emulated = is_emulated(self.options.emulated, context)
        self._lock = threading.Lock()
        self._session: Session | None = None
        self._emulator: Shared | None = None
        self._final: Unanswered | None = None  # the answer to everything, once the service said so

    # --- what an adapter says -------------------------------------------------------------------------------------

    def ask(self, request: Request, count: int) -> Call:
        """The call for `count` pictures of one prompt; `request` is the first of them."""
        raise NotImplementedError

    def read(self, reply: Reply) -> ParsedReply | Pending:
        """What a reply with a status under 300 holds.

        Raises:
            Unanswered: a refusal, or nothing that can be understood.
        """
        raise NotImplementedError

    def poll(self, pending: Pending) -> Call:
        """The call that asks how a task stands; `paid=False`."""
        raise NotImplementedError

    def read_poll(self, reply: Reply, pending: Pending) -> ParsedReply | Pending:
        """The same for a poll's reply. A state that is not known is pending, until the deadline."""
        return self.read(reply)

    def problem(self, reply: Reply) -> Unanswered:
        """What a reply with a status of 300 or more means."""
        return explain_status(reply)

    def absent(self) -> Unanswered:
        """Why a reply holds fewer pictures than were asked for, when it does not say so itself."""
        return no_picture("the reply holds fewer pictures than were asked for")

    def settings(self) -> Mapping[str, object]:
        """What beside prompt, seed, size and model decides the pixels, plain JSON; part of the cache key."""
        return {}

    def check(self, prompt: str) -> str:
        """What is wrong with a prompt that the service would misread; "" when nothing is."""
        return ""

    def examine(self, data: bytes, request: Request) -> Unanswered | None:
        """What a picture means that this service sends in place of the one asked for; None: it is what it seems."""
        return None

    def notes(self, request: Request) -> Mapping[str, object]:
        """What became of a request on its way, plain JSON: the size asked for, the seed, what the service ignores."""
        return {}

    def probe(self) -> Call | None:
        """The cheapest real call, for `harness doctor --providers`; None: there is none but drawing."""
        return None

    def read_options(self, options: Mapping[str, object]) -> Any:
        """The profile's options, checked; the adapter's own type."""
        return parse_options(self.Options, options, f"provider {self.name!r}", self.context)

    # --- what the engine asks -------------------------------------------------------------------------------------

    @property
    def price_usd(self) -> float | None:
        """Of one picture; None when the profile does not say."""
        return self.options.price.usd if self.options.price else None

    def missing(self) -> str:
        options = self.options
        needed = bool(options.key) and not self.emulated
        return options.key if needed and self.context.settings.secret(options.key) is None else ""

    def requests(self, suite: Suite, case: Case, seeds: Sequence[int]) -> tuple[Request, ...]:
        """One request a seed. Where the service takes none, the seed only tells the samples apart."""
        width, height = self.context.profile.size
        where = "emulated" if self.emulated else self.options.url.rstrip("/")
        template = Request(
            adapter=self.adapter,
            model=f"{self.name} {where} {self.options.model}".strip(),
            prompt=self._plain(self._prompt(suite, case)),
            negative=self._plain(case.negative or suite.negative or self.context.profile.negative),
            seed=0,
            width=width,
            height=height,
            extra=dict(self.settings()),
        )
        return tuple(
            replace(template, seed=seed, index=0 if self.seeded else index) for index, seed in enumerate(seeds)
        )

    def draw(self, requests: Sequence[Request]) -> Iterator[Generation]:
        """A few calls at a time, answers in the order of the requests; nothing is sent for whoever stops listening."""
        if self.missing():
            raise MissingKey(self.name, self.missing())
        groups = group_requests(requests, self.options.per_call)
        yield from in_order(self._draw_group, groups, self.options.concurrency, self.name)

    def close(self) -> None:
        with self._lock:
            if self._session is not None:
                self._session.close()
            if self._emulator is not None:
                self._emulator.release()
            self._emulator = self._session = None

    @property
    def session(self) -> Session:
        """The way to the service; in an emulated run to the emulator, started when first needed."""
        from harness.providers.http_client.session import open_session

        with self._lock:
            if self._session is None:
                url, key = self.options.url, self.context.settings.secret(self.options.key)
                if self.emulated:
                    self._emulator = share(self.context.settings.emulator_address)
                    self._emulator.plan(self.service_name, self.options.faults)
                    url, key = f"{self._emulator.url}/{self.service_name}", Secret(EMULATED_KEY)
                self._session = open_session(self.name, url, self.options, key if self.options.key else None)
            return self._session

    @property
    def service_name(self) -> str:
        """The emulator's name for this service."""
        return self.service

    # --- one call with everything behind it -----------------------------------------------------------------------

    def _prompt(self, suite: Suite, case: Case) -> str:
        if not self.options.describe:
            return case.prompt
        vocabulary = extend_vocabulary(self.context.profile, suite).vocabulary
        return describe_subject(suite, case, traits_of(suite, self.context, vocabulary), vocabulary)

    def _plain(self, prompt: str) -> str:
        """Services know no `(word:1.2)`; where the profile's prompts are weighted, they get the words alone."""
        return plain_text(prompt) if self.context.profile.prompts == "weighted" else prompt

    def _draw_group(self, requests: Sequence[Request]) -> list[Generation]:
        """One call's pictures, one drawing a request."""
        if self._final is not None:
            return [self._failed(self._final, 0.0) for _ in requests]
        started, budget = time.perf_counter(), self.context.budget
        try:
            wrong = self.check(requests[0].prompt)
            if wrong:
                raise Unanswered(Outcome.PROVIDER_ERROR, wrong)
            taken = budget.take(self.name, self.price_usd, len(requests))
        except Unanswered as failure:
            return [self._failed(failure, 0.0) for _ in requests]
        drawings: list[Generation] = []
        try:
            drawings = self._exchange(requests, started)
        except Unanswered as failure:
            if failure.final:
                self._final = Unanswered(failure.outcome, str(failure), final=True)
            drawings = [self._failed(failure, time.perf_counter() - started) for _ in requests]
        except HarnessError:
            raise  # nothing of this provider can be drawn
        except Exception as error:  # a reply that no adapter foresaw must not cost the pictures of other calls
            lost = Unanswered(Outcome.PROVIDER_ERROR, f"the reply was not understood ({error!r})", billed=True)
            drawings = [self._failed(lost, time.perf_counter() - started) for _ in requests]
        finally:
            budget.settle(taken, drawings)
        return drawings

    def _exchange(self, requests: Sequence[Request], started: float) -> list[Generation]:
        first, deadline = requests[0], Deadline(self.options.deadline, queueing=True)
        call = self.ask(first, len(requests))
        if self.emulated:  # the emulator counts what is paid for twice, also where a service takes no seed
            call = replace(call, headers={**call.headers, "X-Sample": first.key})
        reply = self.session.send(call, deadline)
        result = self.read(self._accepted(reply))
        while isinstance(result, Pending):
            result = self._wait(result, deadline)
        pictures = list(result.pictures[: len(requests)])
        pictures += [Picture(problem=self.absent())] * (len(requests) - len(pictures))
        meta = {**self.notes(first), **result.meta, **({"attempts": reply.attempts} if reply.attempts > 1 else {})}
        pairs = zip(pictures, requests, strict=True)
        drawings = [self._drawing(picture, request, meta, deadline) for picture, request in pairs]
        seconds = (time.perf_counter() - started) / len(drawings)
        return [replace(drawing, seconds=seconds) for drawing in drawings]

    def _accepted(self, reply: Reply) -> Reply:
        if reply.status < 300:
            return reply
        problem = self.problem(reply)
        text = self.session.redact(str(problem))
        raise Unanswered(problem.outcome, text, final=problem.final, billed=problem.billed)

    def _wait(self, pending: Pending, deadline: Deadline) -> ParsedReply | Pending:
        """One poll, after a pause. A task that was accepted is never submitted again."""
        if deadline.left <= self.options.poll_every:
            state = f" ({pending.state})" if pending.state else ""
            message = f"task {pending.task} was not finished in time{state}; possibly billed, so not sent again"
            raise Unanswered(Outcome.TIMEOUT, message, billed=True)
        time.sleep(self.options.poll_every)
        try:
            reply = self.session.send(self.poll(pending), deadline)
            if reply.status in GONE:  # the task, not the model
                raise Unanswered(Outcome.PROVIDER_ERROR, f"HTTP {reply.status}: the service lost it; run again")
            return self.read_poll(self._accepted(reply), pending)
        except Unanswered as failure:
            lost = "; possibly billed, so not sent again" if failure.outcome is Outcome.TIMEOUT else ""
            text = f"task {pending.task}: {failure}{lost}"
            raise Unanswered(failure.outcome, text, final=failure.final, billed=True) from None

    def _drawing(
        self, picture: Picture, request: Request, meta: Mapping[str, object], deadline: Deadline
    ) -> Generation:
        """Fetch what is only named; its metadata carries no address, since addresses are signed."""
        try:
            if picture.problem is not None:
                raise picture.problem
            data = picture.data if picture.data is not None else self._fetch(picture.url, deadline)
            problem = self.examine(data, request)
            if problem is not None:
                raise problem
        except Unanswered as failure:
            return self._failed(failure, 0.0)
        return Generation(Outcome.OK, data, cost_usd=self.price_usd or 0.0, meta=dict(meta))

    def _fetch(self, url: str, deadline: Deadline) -> bytes:
        """The picture at an address; it was made, so it is paid for."""
        try:
            return self.session.download(url, deadline)
        except Unanswered as failure:
            message = f"{failure}; run again, failures are not kept"
            raise Unanswered(failure.outcome, message, billed=True) from None

    def _failed(self, failure: Unanswered, seconds: float) -> Generation:
        meta = {"possibly_billed": True} if failure.billed else {}
        message = f"{self.name}: {self.session.redact(str(failure)) if self._session else failure}"
        return Generation(failure.outcome, message=message, seconds=seconds, meta=meta)


# --- for adapters ---------------------------------------------------------------------------------------------------


def is_emulated(wanted: bool | None, context: ProviderContext) -> bool:
    """Whether the emulator answers: as HARNESS_EMULATOR says, else the provider's option, else the profile."""
    if context.settings.emulator == "off":
        return False
    if context.settings.emulator:
        return wanted is not False
    return context.profile.emulator if wanted is None else wanted


def parse_options(
    model: type[RemoteOptions], options: Mapping[str, object], where: str, context: ProviderContext
) -> Any:
    """Options of a profile, checked against `model`.

    Raises:
        SuiteError: an unknown or wrong option, with the nearest right spelling.
    """
    path = context.profile.path
    for key in options:
        if key not in model.model_fields:
            raise SuiteError(f"{where}: no option called {key!r}; {nearest(key, model.model_fields)}", path)
    try:
        parsed = model.model_validate(options)
        bundle = Path(parsed.ca_bundle).expanduser()
        return parsed.model_copy(update={"ca_bundle": str(path.parent / bundle)}) if parsed.ca_bundle else parsed
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "options"
        raise SuiteError(f"{where}: {place}: {first['msg']}", path) from error


def group_requests(requests: Sequence[Request], most: int) -> Iterator[list[Request]]:
    """Neighbours that differ in nothing but the seed and the index, at most `most` of them together."""
    group: list[Request] = []
    for request in requests:
        alike = bool(group) and replace(request, seed=0, index=0) == replace(group[0], seed=0, index=0)
        if group and (len(group) >= most or not alike):
            yield group
            group = []
        group.append(request)
    if group:
        yield group


def in_order(
    draw: Callable[[Sequence[Request]], list[Generation]],
    groups: Iterable[Sequence[Request]],
    threads: int,
    name: str,
    stop: Callable[[], object] = lambda: None,
) -> Iterator[Generation]:
    """Groups drawn by a few threads, answers in order; only a few wait to be handed over, so memory stays flat.

    `stop` is told when whoever listens has gone and something is still under way.
    """
    waiting, running = deque(groups), deque[Future[list[Generation]]]()
    with DaemonThreads(threads, name) as pool:
        try:
            while waiting or running:
                while waiting and len(running) < AHEAD * threads:
                    running.append(pool.submit(draw, waiting.popleft()))
                yield from running.popleft().result()
        finally:
            for future in running:
                future.cancel()
            if running:
                stop()


def explain_status(reply: Reply) -> Unanswered:
    """What an HTTP error means, in the words of the table and of the service."""
    outcome, advice = STATUS.get(reply.status, UNKNOWN)
    text = error_text(reply.body)
    if reply.status == 429 and forbids_retry(reply.headers, reply.body):
        message = "the account's quota is used up; raise it, or wait until it is renewed"
        return Unanswered(Outcome.QUOTA, f"HTTP 429: {message} ({text})", final=True)
    message = f"HTTP {reply.status}: {advice}" + (f" ({text})" if text else "")
    return Unanswered(outcome, message, final=reply.status in FINAL, billed=reply.status in MAYBE_BILLED)


def refusal(said: Any, *, billed: bool = False) -> Unanswered:
    """The service did not want to draw this; `said` is its own word for why."""
    return Unanswered(Outcome.REFUSED, f"refused by the service ({said}); reword the prompt", billed=billed)


def no_picture(why: str) -> Unanswered:
    """An answer without a usable picture."""
    return Unanswered(Outcome.BAD_IMAGE, f"{why}; run again, failures are not kept", billed=True)


def read_json(reply: Reply) -> dict[str, object]:
    """A reply's JSON object, also behind blank lines or in a list of one.

    Raises:
        Unanswered: bad_image, the reply is something else.
    """
    try:
        answer = json.loads(reply.body)
    except (ValueError, RecursionError) as error:
        kind = "an HTML page" if reply.body.lstrip()[:1] == b"<" else "no JSON"
        raise no_picture(f"the reply is {kind}") from error
    if isinstance(answer, list) and len(answer) == 1:
        answer = answer[0]
    if not isinstance(answer, dict):
        raise no_picture("the reply is no JSON object")
    return answer


def read_list(answer: Any, name: str) -> list[Any]:
    """The list under a name; empty where there is none, since every service says "nothing" in its own way."""
    result = answer.get(name) if isinstance(answer, dict) else None
    return result if isinstance(result, list) else []


def read_dict(answer: Any, name: str) -> dict[str, object]:
    """The object under a name; empty where there is none."""
    result = answer.get(name) if isinstance(answer, dict) else None
    return result if isinstance(result, dict) else {}


def read_base64(text: Any) -> bytes:
    """The bytes of a picture, with or without a `data:` prefix.

    Raises:
        Unanswered: bad_image, not base64.
    """
    if not isinstance(text, str) or not text:
        raise no_picture("the reply holds no picture")
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise no_picture(f"the picture is not base64: {error}") from error


def inline_picture(text: Any) -> Picture:
    """One of several pictures in base64; a broken one leaves the others alone."""
    try:
        return Picture(read_base64(text))
    except Unanswered as problem:
        return Picture(problem=problem)


def linked_picture(url: Any) -> Picture:
    """One of several pictures by address."""
    if isinstance(url, str) and url:
        return Picture(url=url)
    return Picture(problem=no_picture("the reply names no picture"))


def wrap_seed(seed: int, low: int, high: int) -> int:
    """A seed that the service takes: itself within [low, high], else brought there, neighbours staying apart."""
    return low + (seed - low) % (high - low + 1)


def nearest_shape(width: int, height: int, shapes: Mapping[str, tuple[int, int]]) -> str:
    """The name of the shape whose proportions, and then whose area, are nearest; shapes are pixels or ratios."""

    def distance(name: str) -> tuple[float, int]:
        wide, high = shapes[name]
        return round(abs(math.log(wide * height / (high * width))), 6), abs(wide * high - width * height)

    return min(shapes, key=distance)


def error_text(body: bytes) -> str:
    """The service's own words about an error, in whichever of the usual forms; "" when there are none."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    while isinstance(answer, list) and answer:
        answer = answer[0]
    for name in ("error", "problem", "detail", "err"):
        if isinstance(answer, dict) and answer.get(name):
            answer = answer[name]
    while isinstance(answer, list) and answer:
        answer = answer[0]
    if isinstance(answer, dict):
        answer = next((answer[name] for name in ("message", "msg", "status", "name") if answer.get(name)), "")
    return " ".join(str(answer).split())[:300]


keep_former_names(__name__)
