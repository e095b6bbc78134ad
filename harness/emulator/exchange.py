"""What travels between the server and a service: what was asked, what is answered, or what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

SAMPLE_HEADER = "x-sample"  # tells the samples of a seedless service apart; clients send it to the emulator only
FAULT_HEADER = "x-emulate"  # asks for a fault, and wins over the queue
SCALE_HEADER = "X-Emulated-Scale"  # of every answer: how much smaller its pictures are than was asked for


@dataclass(frozen=True)
class Upload:
    """One file of a multipart form."""

    filename: str
    data: bytes
    mime: str


@dataclass(frozen=True)
class Asked:
    """One request as it came in. Header names are in lower case; `path` has neither mount point nor query."""

    service: str
    method: str
    path: str
    headers: Mapping[str, str]
    query: Mapping[str, str] = field(default_factory=dict)
    mime: str = ""  # the body's media type in lower case, without parameters
    payload: Mapping[str, Any] = field(default_factory=dict)  # a JSON object or a form's fields, else {}
    files: Mapping[str, Upload] = field(default_factory=dict)  # of a multipart form
    fault: str = "ok"  # what is to go wrong, a name of FAULTS
    size: int = 0  # bytes of the body
    malformed: bool = False  # the body is not what its type says

    @property
    def sample(self) -> str:
        """Which sample of a seedless service this is; "" when the client does not say."""
        return self.headers.get(SAMPLE_HEADER, "")


@dataclass(frozen=True)
class Answer:
    """What goes over the socket. The last five fields are for the server, which makes the faults."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    accepted: bool | None = None  # whether the work was done or would be billed; None: as the status says
    stream: Callable[[], Iterator[bytes]] | None = None  # made while it is sent, instead of `body`
    announced: int | None = None  # Content-Length, when it is a lie
    drip: float = 0.0  # seconds between two bytes
    hangs: bool = False  # nothing is ever sent
    dropped: bool = False  # the connection is closed without a word

    @property
    def billed(self) -> bool:
        """Whether the request counts as accepted. A 4xx or a 503 was turned away; any other error may be billed."""
        return not (400 <= self.status < 500 or self.status == 503) if self.accepted is None else self.accepted

    def with_headers(self, headers: Mapping[str, str]) -> Answer:
        return replace(self, headers={**self.headers, **headers})


def answer_json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None, **more: Any) -> Answer:
    """A JSON answer."""
    return Answer(status, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})}, **more)


@dataclass(frozen=True)
class Problem:
    """Why a request is turned away, before a service puts it into its own form."""

    kind: str  # a key of STATUSES
    message: str
    status: int = 0  # 0: the kind's usual one
    field: str = ""  # of the request, when one is to blame
    code: str = ""  # the service's own, when the kind does not decide it
    wait: float | None = None  # seconds, when the body is to say how long (`rate_json`)

    @property
    def http(self) -> int:
        return self.status or STATUSES[self.kind]

    @property
    def retry_after(self) -> dict[str, float]:
        """`wait` as most services say it in an error's body; {} when nothing is to be said."""
        return {} if self.wait is None else {"retry_after": self.wait}


STATUSES: dict[str, int] = {
    "missing_key": 401,
    "auth": 401,
    "quota": 402,
    "forbidden": 403,
    "retired": 404,  # no such model, or no longer
    "not_found": 404,  # no such route or task
    "invalid": 400,
    "rate": 429,
    "rate_quota": 429,  # looks like a rate limit and is an empty account
    "error": 500,
    "bad_gateway": 502,
    "unavailable": 503,
    "gateway_timeout": 504,
}
"""Every kind of problem with its usual HTTP status."""


class Rejected(Exception):
    """Raised by a service at any depth; the server asks `Service.problem` for the form of it."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def openai_error(problem: Problem, kind: str, code: str | None) -> dict[str, object]:
    """The error object of OpenAI and of those who took it over; a problem's own code wins."""
    message, param = problem.message, problem.field or None
    return {"message": message, "type": kind, "param": param, "code": problem.code or code}


def invalid(field: str, message: str, status: int = 0) -> Rejected:
    """A field of the request is wrong."""
    return Rejected(Problem("invalid", message, status, field))
