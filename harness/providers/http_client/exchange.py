"""What travels between an adapter and the session: a call, a reply, or the reason why there is none."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.core.values import Outcome


@dataclass(frozen=True)
class Policy:
    """How patient a session is. Seconds, but for the counts."""

    attempts: int = 4
    deadline: float = 120.0  # for one picture: all attempts, polls and the download
    connect: float = 5.0
    read: float = 60.0  # between two bytes
    backoff: float = 0.5  # before the second attempt; doubled each time, with jitter
    longest_wait: float = 30.0  # a service that asks for more is not waited for
    max_bytes: int = 32 * 1024 * 1024  # of one reply or one download


@dataclass(frozen=True)
class Call:
    """One HTTP request that an adapter wants sent. At most one of `json`, `form`, `data` holds the body."""

    path: str  # under the service's address; or a whole URL that a reply gave, for a poll
    method: str = "POST"
    json: Any = None
    form: Mapping[str, str] | None = None  # multipart/form-data
    files: Mapping[str, tuple[str, bytes, str]] = field(default_factory=dict)  # with `form`: file name, bytes, type
    data: Mapping[str, str] | None = None  # application/x-www-form-urlencoded
    headers: Mapping[str, str] = field(default_factory=dict)  # beside the key's
    paid: bool = True  # False: a poll or a probe, harmless to send again


@dataclass(frozen=True)
class Reply:
    """What came back, whole; an HTTP error is a reply too."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes
    attempts: int = 1


class Unanswered(Exception):
    """No usable picture: `outcome` says how it ended, the text says why and what to do; never leaves the providers."""

    def __init__(self, outcome: Outcome, message: str, *, final: bool = False, billed: bool = False) -> None:
        """`final`: every other request of this run would end alike. `billed`: the service may charge for it."""
        self.outcome, self.final, self.billed = outcome, final, billed
        super().__init__(message)


class Deadline:
    """A moment by which everything about one picture must have ended."""

    def __init__(self, seconds: float, *, queueing: bool = False) -> None:
        """`queueing`: it begins when the first call may be sent, so that waiting for our own limits costs nothing."""
        self._seconds = seconds
        self._end = None if queueing else time.monotonic() + seconds

    def begin(self) -> None:
        """The first call may be sent; later ones change nothing."""
        if self._end is None:
            self._end = time.monotonic() + self._seconds

    @property
    def begun(self) -> bool:
        return self._end is not None

    @property
    def left(self) -> float:
        """Seconds, 0.0 or more."""
        return self._seconds if self._end is None else max(0.0, self._end - time.monotonic())

    @property
    def passed(self) -> bool:
        return self._end is not None and time.monotonic() >= self._end
