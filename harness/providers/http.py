"""A generic picture service over HTTP: POST a JSON request, get base64 pictures in JSON.

POST {url}{path}   {KEY HEADER}: key   {"prompt", "negative", "seed", "width", "height" [, "model"]}
200 {"images": ["<base64>"]}           pictures
200 {"images": [], "refused": "why"}   refused by moderation
4xx, 5xx {"error": {"message": "why"}} anything else
"""

from __future__ import annotations

import base64
import binascii
import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.errors import MissingKey, SuiteError, nearest
from harness.providers.session import Policy, Reply, Session, Unanswered
from harness.values import Case, Drawing, Outcome, Request, Suite

if TYPE_CHECKING:
    from harness.emulator import Emulator
    from harness.profile import ProviderConfig
    from harness.providers import Context

ADAPTER = "http/1"
FINAL = frozenset({401, 402, 403, 404, 410})  # asking again in this run cannot help
STATUS: dict[int, tuple[Outcome, str]] = {
    400: (Outcome.PROVIDER_ERROR, "the service did not accept the request; check the options in the profile"),
    401: (Outcome.AUTH, "the key was not accepted; check the variable"),
    402: (Outcome.QUOTA, "the account is out of credit"),
    403: (Outcome.AUTH, "the key may not do this; check the account's rights"),
    404: (Outcome.MODEL_RETIRED, "no such model or address; the service may have retired it: correct the profile"),
    410: (Outcome.MODEL_RETIRED, "the model is retired; choose another in the profile"),
    429: (Outcome.QUOTA, "too many requests, also after waiting; lower `concurrency` or try later"),
}
"""What an HTTP status means, and what to do about it."""
STATUS |= dict.fromkeys(
    (301, 302, 303, 307, 308), (Outcome.PROVIDER_ERROR, "redirects are not followed; correct `url`")
)
STATUS |= dict.fromkeys((405, 415, 422), STATUS[400])
UNKNOWN = (Outcome.PROVIDER_ERROR, "the service failed; try again later")


class HttpOptions(BaseModel):
    """A profile's options of one service."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str = ""  # scheme and host; not used while emulated
    path: str = "/v1/images"
    model: str = ""
    key: str = ""  # the environment variable that holds the key; "" when none is needed
    header: str = "X-Api-Key"
    concurrency: int = Field(4, ge=1, le=64)
    cost_usd: float = Field(0.0, ge=0)  # of one picture
    emulated: bool = False
    faults: tuple[str, ...] = ()  # of the emulator, one a request, then all is well
    attempts: int = Policy.attempts
    deadline: float = Policy.deadline
    connect: float = Policy.connect
    read: float = Policy.read
    backoff: float = Policy.backoff
    longest_wait: float = Policy.longest_wait
    max_bytes: int = Policy.max_bytes

    @property
    def policy(self) -> Policy:
        return Policy(**self.model_dump(include={field.name for field in fields(Policy)}))


class HttpProvider:
    """Draws by asking a service; every way it can fail is an outcome of its own."""

    def __init__(self, name: str, config: ProviderConfig, context: Context) -> None:
        self.name, self.context = name, context
        self.options = read_options(name, config.options, context)
        self.emulated = self.options.emulated
        self._lock = threading.Lock()
        self._session: Session | None = None
        self._emulator: Emulator | None = None
        self._final: Drawing | None = None  # the answer to everything, once the service said so

    def missing(self) -> str:
        options = self.options
        needed = bool(options.key) and not options.emulated
        return options.key if needed and self.context.settings.secret(options.key) is None else ""

    def requests(self, suite: Suite, case: Case, seeds: Sequence[int]) -> tuple[Request, ...]:
        width, height = self.context.profile.size
        where = "emulated" if self.emulated else f"{self.options.url.rstrip('/')}/{self.options.path.lstrip('/')}"
        negative = case.negative or suite.negative or ""
        model = f"{self.name} {where} {self.options.model}".strip()
        return tuple(Request(ADAPTER, model, case.prompt, seed, width, height, negative) for seed in seeds)

    def draw(self, requests: Sequence[Request]) -> Iterator[Drawing]:
        """One picture a call, a few calls at a time, answers in the order of the requests."""
        if self.missing():
            raise MissingKey(self.name, self.missing())
        session = self._open()
        with ThreadPoolExecutor(self.options.concurrency, thread_name_prefix=self.name) as pool:
            futures = [pool.submit(self._draw_one, session, request) for request in requests]
            try:
                for future in futures:
                    yield future.result()
            finally:  # whoever stops listening does not pay for what was not sent yet
                for future in futures:
                    future.cancel()

    def close(self) -> None:
        with self._lock:
            if self._session is not None:
                self._session.close()
            if self._emulator is not None:
                self._emulator.close()
            self._emulator = self._session = None

    def _open(self) -> Session:
        """The session, and in an emulated profile the emulator, started when first needed."""
        with self._lock:
            if self._session is None:
                options, url = self.options, self.options.url
                if options.emulated:
                    from harness.emulator import Emulator

                    self._emulator = Emulator(faults=options.faults)
                    url = self._emulator.url
                key = self.context.settings.secret(options.key) if options.key and not options.emulated else None
                self._session = Session(url, options.policy, header=options.header, key=key)
            return self._session

    def _draw_one(self, session: Session, request: Request) -> Drawing:
        if self._final is not None:
            return self._final
        payload: dict[str, Any] = {"prompt": request.prompt, "seed": request.seed}
        payload |= {"width": request.width, "height": request.height}
        payload |= {"negative": request.negative} if request.negative else {}
        payload |= {"model": self.options.model} if self.options.model else {}
        started = time.perf_counter()
        try:
            data = read_picture(session.post(self.options.path, payload), session)
        except Unanswered as failure:
            drawing = Drawing(failure.outcome, message=str(failure), seconds=time.perf_counter() - started)
            if failure.final:
                self._final = Drawing(failure.outcome, message=str(failure))
            return drawing
        return Drawing(Outcome.OK, data, seconds=time.perf_counter() - started, cost_usd=self.options.cost_usd)


def read_options(name: str, options: Mapping[str, Any], context: Context) -> HttpOptions:
    """The options of a profile, checked."""
    where = f"provider {name!r}"
    for key in options:
        if key not in HttpOptions.model_fields:
            message = f"{where}: no option called {key!r}; {nearest(key, HttpOptions.model_fields)}"
            raise SuiteError(message, context.profile.path)
    try:
        parsed = HttpOptions.model_validate(options)
    except ValidationError as error:
        first = error.errors()[0]
        raise SuiteError(f"{where}: {first['loc'][0]}: {first['msg']}", context.profile.path) from error
    if not parsed.emulated and not parsed.url:
        raise SuiteError(f"{where}: needs `url`, or `emulated: true`", context.profile.path)
    return parsed


def read_picture(reply: Reply, session: Session) -> bytes:
    """The bytes of a reply's first picture; the engine checks that they are one.

    Raises:
        Unanswered: with the outcome that the status or the content stands for.
    """
    if reply.status != 200:
        outcome, advice = STATUS.get(reply.status, UNKNOWN)
        said = session.redact(error_text(reply.body))
        message = f"HTTP {reply.status}: {advice}" + (f" ({said})" if said else "")
        raise Unanswered(outcome, message, final=reply.status in FINAL)
    answer = read_json(reply.body)
    if answer.get("refused"):
        raise Unanswered(Outcome.REFUSED, f"refused by the service: {session.redact(answer['refused'])}")
    images = answer.get("images")
    if not isinstance(images, list) or not images or not isinstance(images[0], str):
        raise Unanswered(Outcome.BAD_IMAGE, "the reply holds no picture")
    try:
        return base64.b64decode(images[0], validate=True)
    except (binascii.Error, ValueError) as error:
        raise Unanswered(Outcome.BAD_IMAGE, f"the picture is not base64: {error}") from error


def read_json(body: bytes) -> dict[str, Any]:
    """A reply's JSON object."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError) as error:
        kind = "an HTML page" if body.lstrip()[:1] == b"<" else "no JSON"
        raise Unanswered(Outcome.BAD_IMAGE, f"the reply is {kind}") from error
    if not isinstance(answer, dict):
        raise Unanswered(Outcome.BAD_IMAGE, "the reply is no JSON object")
    return answer


def error_text(body: bytes) -> str:
    """The service's own words about an error, in whichever of the usual forms; "" when there are none."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    error = answer.get("error", answer) if isinstance(answer, dict) else answer
    return str(error.get("message", "")) if isinstance(error, dict) else str(error)
