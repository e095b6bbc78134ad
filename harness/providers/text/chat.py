"""What all services that write share: options, keys, calls, and all the ways in which an answer is none."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol
from urllib.parse import urlsplit
from uuid import uuid4

from pydantic import Field

from harness.config.profile import ProviderConfig
from harness.core.errors import MissingKey, ProviderError
from harness.core.settings import Secret
from harness.core.values import Outcome
from harness.emulator import share
from harness.emulator.shared import Shared
from harness.providers import ProviderContext
from harness.providers.http_client.exchange import Call, Deadline, Reply, Unanswered
from harness.providers.http_client.options import RemoteOptions
from harness.providers.http_client.session import Session, open_session
from harness.providers.refusals import is_refusal
from harness.providers.remote import EMULATED_KEY, explain_status, is_emulated, parse_options, read_json

SAMPLE = "X-Sample"  # by it the emulator tells a new question from an old one
Schema = Mapping[str, object]
Message = Mapping[str, object]


class WriterOptions(RemoteOptions):
    """What a profile may say of any writer. Long answers take long: minutes, not seconds."""

    concurrency: int = Field(2, ge=1, le=64)
    deadline: float = Field(300.0, gt=0)
    read: float = Field(120.0, gt=0)
    max_bytes: int = Field(4 * 1024 * 1024, gt=0)
    temperature: float | None = Field(0.7, ge=0, le=2)  # None: not sent
    max_tokens: int = Field(8000, ge=16)  # of one answer
    repeats: int = Field(2, ge=0, le=5)  # further attempts when an answer is blank


class Writer(Protocol):
    """Whatever answers in words. Construction asks nothing of anybody."""

    name: str
    emulated: bool
    sees: bool  # can be shown pictures

    @property
    def model(self) -> str:
        """Its model, as the profile says."""
        ...

    @property
    def concurrency(self) -> int:
        """Calls that may run at once."""
        ...

    def missing(self) -> str:
        """The variable that must be set first, or ""."""
        ...

    def write(self, system: str, user: str, schema: Schema | None = None) -> str:
        """The answer to one request; with a JSON schema the text of one JSON value, which the caller validates.

        Raises:
            Unanswered: with how it ended, and what to do.
        """
        ...

    def see(self, picture: bytes, question: str) -> str:
        """What it answers about one picture (PNG, JPEG or WebP).

        Raises:
            Unanswered: with how it ended, and what to do.
        """
        ...

    def close(self) -> None:
        """Give back what it holds."""
        ...


ENDINGS: dict[str, tuple[Outcome, str]] = {
    "length": (Outcome.PROVIDER_ERROR, "the answer was cut off: raise `max_tokens`, or ask for less"),
    "content_filter": (Outcome.REFUSED, "the service's filter stopped the answer: change the text or the picture"),
    "blacklist": (Outcome.REFUSED, "the service's censor stopped the answer: change the text or the picture"),
    "insufficient_system_resource": (Outcome.PROVIDER_ERROR, "the service ran out of resources; try again later"),
}
"""What the reasons for an ending mean, where the answer cannot be used."""


class ChatWriter:
    """Writes by asking a chat service.

    An adapter is a subclass that sets `adapter`, `service`, `Options` and says how its `body` looks.
    """

    adapter: ClassVar[str]
    service: ClassVar[str]  # the emulator's name for it
    Options: ClassVar[type[WriterOptions]] = WriterOptions
    path: ClassVar[str] = "/chat/completions"  # under the configured address
    sees = False

    def __init__(self, name: str, config: ProviderConfig, context: ProviderContext) -> None:
        self.name, self.context = name, context
        self.options = self.read_options(config.options)
        self.emulated = is_emulated(self.options.emulated, context)
        self._lock = threading.Lock()
        self._session: Session | None = None
        self._emulator: Shared | None = None

    # --- what an adapter says -------------------------------------------------------------------------------------

    def body(self, messages: Sequence[Message], schema: Schema | None) -> dict[str, object]:
        """The request's JSON."""
        raise NotImplementedError

    def look(self, picture: bytes, question: str, deadline: Deadline) -> str:
        """The answer about one picture."""
        raise Unanswered(Outcome.PROVIDER_ERROR, "is shown no pictures; choose another writer", final=True)

    def problem(self, reply: Reply) -> Unanswered:
        """What a reply with a status of 300 or more means."""
        return explain_status(reply)

    def probe(self) -> Call:
        """The cheapest real call: what models there are, which also says whether the key is right."""
        return Call("/models", "GET", paid=False)

    def read_options(self, options: Mapping[str, object]) -> Any:
        """The profile's options, checked; the adapter's own type."""
        return parse_options(self.Options, options, f"writer {self.name!r}", self.context)

    def open(self, url: str, key: Secret | None) -> Session:
        """The session to the service at `url`."""
        return open_session(self.name, url, self.options, key)

    # --- what others ask ------------------------------------------------------------------------------------------

    @property
    def model(self) -> str:
        return str(self.options.model)

    @property
    def concurrency(self) -> int:
        return int(self.options.concurrency)

    def missing(self) -> str:
        options = self.options
        needed = bool(options.key) and not self.emulated
        return options.key if needed and self.context.settings.secret(options.key) is None else ""

    def write(self, system: str, user: str, schema: Schema | None = None) -> str:
        deadline = Deadline(self.options.deadline)
        messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
        return self.answer(self.body(messages, schema), deadline)

    def see(self, picture: bytes, question: str) -> str:
        text = self.look(picture, question, Deadline(self.options.deadline))
        if is_refusal(text):  # kept as a caption it would be learnt
            message = f"the model refused ({self.session.redact(text)}); change the text or the picture"
            raise Unanswered(Outcome.REFUSED, message, billed=True)
        return text

    def close(self) -> None:
        with self._lock:
            if self._session is not None:
                self._session.close()
            if self._emulator is not None:
                self._emulator.release()
            self._emulator = self._session = None

    # --- one call with everything behind it -----------------------------------------------------------------------

    def answer(self, body: Mapping[str, object], deadline: Deadline) -> str:
        """The text of one answer. A blank one is asked for again, a few times: services know no better way."""
        for _ in range(1 + self.options.repeats):
            headers = {SAMPLE: uuid4().hex} if self.emulated else {}  # asked anew, not sent again
            text = self.read(self.accept(self.send(Call(self.path, json=dict(body), headers=headers), deadline)))
            if text.strip():
                return text
        message = f"the answer was blank {1 + self.options.repeats} times; try again later, or another model"
        raise Unanswered(Outcome.PROVIDER_ERROR, message, billed=True)

    def send(self, call: Call, deadline: Deadline) -> Reply:
        """One call; a subclass whose keys expire renews them here."""
        try:
            return self.session.send(call, deadline)
        except Unanswered as failure:
            raise no_picture(failure) from None

    def accept(self, reply: Reply) -> Reply:
        """The reply, unless it is an error, which is then told without any key that stands in it."""
        if reply.status < 300:
            return reply
        problem = self.problem(reply)
        text = self.session.redact(str(problem))
        raise Unanswered(problem.outcome, text, final=problem.final, billed=problem.billed)

    def read(self, reply: Reply) -> str:
        """The text of a reply in OpenAI's shape; "" for a blank one.

        Raises:
            Unanswered: a refusal, an answer that was cut off, or nothing that can be understood.
        """
        choice, message = first_choice(read_object(reply))
        if message.get("refusal"):
            text = self.session.redact(str(message["refusal"]))
            refused = f"the model refused ({text}); change the text or the picture"
            raise Unanswered(Outcome.REFUSED, refused, billed=True)
        ending = str(choice.get("finish_reason") or "stop")
        if ending in ENDINGS:
            outcome, advice = ENDINGS[ending]
            raise Unanswered(outcome, advice, billed=True)
        if ending != "stop":
            raise Unanswered(
                Outcome.PROVIDER_ERROR, f"the answer ended with {ending[:40]!r}, not with a text", billed=True
            )
        return read_content(message.get("content"))

    @property
    def session(self) -> Session:
        """The way to the service; in an emulated run to the emulator, started when first needed."""
        with self._lock:
            if self._session is None:
                if self.missing():
                    raise MissingKey(self.name, self.missing())
                key = self.context.settings.secret(self.options.key) if self.options.key else None
                if self.emulated:
                    key = Secret(EMULATED_KEY)
                self._session = self.open(self.address(self.options.url), key)
            return self._session

    def address(self, url: str) -> str:
        """A configured address, or the emulator's in its place with the same path; called under the lock."""
        if not self.emulated:
            return url
        if self._emulator is None:
            self._emulator = share(self.context.settings.emulator_address)
            self._emulator.plan(self.service, self.options.faults)
        return f"{self._emulator.url}/{self.service}{urlsplit(url).path.rstrip('/')}"


# --- for adapters ---------------------------------------------------------------------------------------------------


def read_object(reply: Reply) -> dict[str, object]:
    """A reply's JSON object, also behind blank lines.

    Raises:
        Unanswered: provider_error, the reply is something else.
    """
    try:
        return read_json(reply)
    except Unanswered as failure:
        raise no_picture(failure) from None


def no_picture(failure: Unanswered) -> Unanswered:
    """What is a bad picture from an image service is a broken service where texts are asked for."""
    outcome = Outcome.PROVIDER_ERROR if failure.outcome is Outcome.BAD_IMAGE else failure.outcome
    return Unanswered(outcome, str(failure), final=failure.final, billed=failure.billed)


def first_choice(answer: Mapping[str, object]) -> tuple[Mapping[str, object], Mapping[str, object]]:
    """The first choice of an answer in OpenAI's shape, and its message."""
    choices = answer.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        raise Unanswered(Outcome.PROVIDER_ERROR, "the reply holds no answer; try again later", billed=True)
    return choice, message


def read_content(content: Any) -> str:
    """The text of a message, whole or in parts."""
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def with_schema(system: str, schema: Schema | None) -> str:
    """Instructions that ask for JSON, for services that take no schema of their own; an example always helps."""
    if schema is None:
        return system
    shape, example = json.dumps(schema, ensure_ascii=False), json.dumps(example_of(schema, schema), ensure_ascii=False)
    return (
        f"{system}\n\nAnswer with one JSON object and nothing else, no code fence. "
        f"Its JSON schema:\n{shape}\nAn example of its form:\n{example}"
    )


def example_of(part: object, whole: Schema) -> Any:
    """A small value of a JSON schema's shape; `examples` in the schema win."""
    if not isinstance(part, Mapping):
        return ""
    if "$ref" in part:
        known = whole.get("$defs")
        return example_of(known[str(part["$ref"]).rpartition("/")[2]] if isinstance(known, Mapping) else None, whole)
    if part.get("examples"):
        return part["examples"][0]
    if part.get("type") == "object":
        return {name: example_of(inner, whole) for name, inner in part.get("properties", {}).items()}
    if part.get("type") == "array":
        return [example_of(part["items"], whole)]
    return {"integer": 1, "number": 1.0, "boolean": True}.get(str(part.get("type")), "")


def strip_fence(text: str) -> str:
    """JSON without the code fence that models like to put around it."""
    text = text.strip()
    if text.startswith("```"):
        text = text.partition("\n")[2].rpartition("```")[0]
    return text.strip()


def explain(writer: str, failure: Unanswered) -> ProviderError:
    """A failure as an error for the command line: who, how it ended, what to do."""
    return ProviderError(f"{writer}: {failure.outcome.value}: {failure}")
