"""What was asked and what was accepted: the account that a client must not run up twice."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from harness.emulator.exchange import Asked

MINUTE = 60.0  # seconds


@dataclass(frozen=True)
class Limits:
    """What a service bears; beyond it is answered with 429. None: anything."""

    concurrency: int | None = None  # paid requests at once
    per_minute: int | None = None  # paid requests let in within any 60 seconds


@dataclass
class Entry:
    """One service's account. All of it is about paid requests: those that draw or write something."""

    asked: int = 0
    accepted: int = 0  # the work was done or would be billed, also where the answer was lost
    resubmitted: int = 0  # came again after they had been accepted
    peak: int = 0  # most at once
    per_minute_peak: int = 0  # most within any 60 seconds
    limit_exceeded: int = 0  # turned away for more than the limits


@dataclass
class Visit:
    """One paid request while the service works on it."""

    service: str
    identity: str
    allowed: bool = True
    counted: bool = False  # as resubmitted
    left: bool = False


@dataclass
class Account:
    """The running numbers behind an Entry."""

    entry: Entry = field(default_factory=Entry)
    inside: int = 0
    asked: deque[float] = field(default_factory=deque)  # moments of the last minute
    let_in: deque[float] = field(default_factory=deque)
    accepted: set[str] = field(default_factory=set)


class RequestLedger:
    """All services' accounts; every number is exact at any moment, whatever the threads do."""

    def __init__(self, limits: Mapping[str, Limits] | None = None) -> None:
        self._limits = dict(limits or {})
        self._lock = threading.Lock()
        self._accounts: dict[str, Account] = {}

    def __getitem__(self, service: str) -> Entry:
        """A service's account now; zeros for one that nobody asked."""
        with self._lock:
            return replace(self._account(service).entry)

    def __iter__(self) -> Iterator[str]:
        with self._lock:
            return iter([name for name, account in self._accounts.items() if account.entry.asked])

    def record(self) -> dict[str, dict[str, int]]:
        """Plain JSON: service to its numbers."""
        return {name: asdict(self[name]) for name in self}

    def enter(self, asked: Asked) -> Visit:
        """A paid request came in; `allowed` says whether the limits bear it."""
        visit, now = Visit(asked.service, identify(asked)), time.monotonic()
        limits = self._limits.get(asked.service, Limits())
        with self._lock:
            account = self._account(asked.service)
            forget(account.asked, now)
            forget(account.let_in, now)
            account.asked.append(now)
            account.inside += 1
            most, often = limits.concurrency, limits.per_minute
            visit.allowed = (most is None or account.inside <= most) and (often is None or len(account.let_in) < often)
            if visit.allowed:
                account.let_in.append(now)
            visit.counted = visit.identity in account.accepted
            entry = account.entry
            entry.asked += 1
            entry.resubmitted += visit.counted
            entry.limit_exceeded += not visit.allowed
            entry.peak = max(entry.peak, account.inside)
            entry.per_minute_peak = max(entry.per_minute_peak, len(account.asked))
        return visit

    def accept(self, visit: Visit) -> None:
        """The service did the work, or would bill it. Called before a byte of the answer is sent."""
        with self._lock:
            account = self._account(visit.service)
            again = visit.identity in account.accepted and not visit.counted  # two of them were at work at once
            account.accepted.add(visit.identity)
            account.entry.accepted += 1
            account.entry.resubmitted += again

    def leave(self, visit: Visit) -> None:
        """The service is done with it. Called before the answer is sent: its reader may ask again at once."""
        with self._lock:
            if not visit.left:
                visit.left = True
                self._account(visit.service).inside -= 1

    def _account(self, service: str) -> Account:
        return self._accounts.setdefault(service, Account())


def forget(moments: deque[float], now: float) -> None:
    """Drop what is more than a minute old."""
    while moments and moments[0] <= now - MINUTE:
        moments.popleft()


def identify(asked: Asked) -> str:
    """One text for one picture: equal for a request and for the same request sent again.

    The names under which ComfyUI saves are no part of it: they differ from call to call, so that it saves at all.
    """
    files = {name: hashlib.sha256(file.data).hexdigest() for name, file in asked.files.items()}
    whole = [asked.method, asked.path, without(asked.payload, "filename_prefix"), files, asked.sample]
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()


def without(value: Any, name: str) -> Any:
    """A request's JSON without the key of that name, however deep it stands."""
    if isinstance(value, Mapping):
        return {key: without(inner, name) for key, inner in value.items() if key != name}
    return [without(inner, name) for inner in value] if isinstance(value, list) else value
