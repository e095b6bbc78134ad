"""How much may be asked of a service at once and in a minute, by all threads together."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol
from weakref import WeakValueDictionary

from harness.core.values import Outcome
from harness.providers.http_client.exchange import Deadline, Unanswered

WINDOW = 60.1  # seconds that `per_minute` is about, and a little for clocks that differ
ARRIVAL = 10.0  # seconds: whatever was sent has arrived by then
GROWTH = 5  # answers in a row before one more call at once is tried again


class Clock(Protocol):
    """Time, and the only place where it is waited for."""

    def now(self) -> float:
        """Seconds, from wherever."""
        ...

    def wait(self, condition: threading.Condition, seconds: float) -> None:
        """Until somebody notifies, at most so long; the condition is held."""
        ...


class SystemClock:
    """The machine's own."""

    def now(self) -> float:
        return time.monotonic()

    def wait(self, condition: threading.Condition, seconds: float) -> None:
        condition.wait(min(seconds, threading.TIMEOUT_MAX))


@dataclass(eq=False)
class CallSlot:
    """The right to one call; tells the limiter how the service took it."""

    started: float
    limiter: Limiter
    ended: float | None = None

    def went_well(self) -> None:
        """The service answered."""
        self.limiter._grow()

    def slow_down(self, seconds: float = 0.0) -> None:
        """The service answered 429, and asked for so many seconds of silence."""
        self.limiter._shrink(self, seconds)


class Limiter:
    """At most `concurrency` calls at once and `per_minute` starts in any minute; threads share it.

    A start counts until 60 s after the call ended (or after `ARRIVAL`, if that is sooner): the service counts arrivals,
    and only then has this one surely arrived. So the limit holds by the service's clock too, however slow the way.
    A 429 halves the calls allowed at once and makes all callers wait as long as the service asked; answers in a row
    win the places back one by one. Callers are served in the order in which they came.
    """

    def __init__(self, concurrency: int, per_minute: float | None = None, *, clock: Clock | None = None) -> None:
        """`per_minute` may be a fraction: 0.5 is one call in two minutes."""
        self.concurrency, self.per_minute = concurrency, per_minute
        self.allowed = concurrency  # at once, now
        self._clock = clock or SystemClock()
        self._changed = threading.Condition()
        self._queue: deque[object] = deque()
        self._running = 0
        self._recent: deque[CallSlot] = deque()  # those that still count for the rate
        self._paused_until = self._slowed_at = float("-inf")
        self._successes = 0

    @contextmanager
    def slot(self, deadline: Deadline, longest_wait: float | None = None) -> Iterator[CallSlot]:
        """The right to one call, as long as the block lasts.

        Args:
            longest_wait: seconds; when the service asked for more silence than this, it is not waited for.

        Raises:
            Unanswered: `quota` when the service asked for too long a wait, `timeout` when no place came free in time.
                Nothing was sent.
        """
        slot = self._take(deadline, longest_wait)
        try:
            yield slot
        finally:
            with self._changed:
                slot.ended = self._clock.now()
                self._running -= 1
                self._changed.notify_all()

    def tighten(self, concurrency: int, per_minute: float | None) -> None:
        """Let the stricter of two settings hold."""
        with self._changed:
            self.concurrency = min(self.concurrency, concurrency)
            self.allowed = min(self.allowed, concurrency)
            self.per_minute = min(filter(None, (self.per_minute, per_minute)), default=None)

    def _take(self, deadline: Deadline, longest_wait: float | None) -> CallSlot:
        ticket = object()
        with self._changed:
            self._queue.append(ticket)
            try:
                while True:
                    wait = self._wait_for(ticket, deadline, longest_wait)
                    if wait is None:
                        break
                    self._clock.wait(self._changed, min(wait, deadline.left))
                deadline.begin()
                slot = CallSlot(self._clock.now(), self)
                self._running += 1
                if self.per_minute is not None:
                    self._recent.append(slot)
                return slot
            finally:
                self._queue.remove(ticket)
                self._changed.notify_all()

    def _wait_for(self, ticket: object, deadline: Deadline, longest_wait: float | None) -> float | None:
        """Seconds until it may be this caller's turn; None: it is."""
        now, left = self._clock.now(), deadline.left
        pause, window = self._paused_until - now, self._window_wait(now)
        if pause > (left if longest_wait is None else min(left, longest_wait)):
            message = f"the service asked for silence for another {pause:.0f} s; lower `concurrency`, set `per_minute`"
            raise Unanswered(Outcome.QUOTA, f"{message}, or ask again later")
        if deadline.begun and (not left or window > left):
            raise Unanswered(Outcome.TIMEOUT, self._too_late())
        if self._queue[0] is not ticket or self._running >= self.allowed:
            return left  # whoever goes or comes notifies
        return max(pause, window) if max(pause, window) > 0 else None

    def _too_late(self) -> str:
        rate = f", {self.per_minute:g} a minute" if self.per_minute else ""
        return (
            f"no place came free in time ({self.allowed} calls at once{rate}), so nothing was sent; "
            "raise `deadline`, or lower `concurrency` to what the limits let through"
        )

    def _window_wait(self, now: float) -> float:
        """Seconds until one more start keeps to the rate; 0.0 or less: now."""
        if self.per_minute is None:
            return 0.0
        most = max(1, int(self.per_minute))
        window = WINDOW * max(1.0, 1 / self.per_minute)
        while self._recent and self._counts_until(self._recent[0], now, window) <= now:
            self._recent.popleft()
        ends = sorted(self._counts_until(slot, now, window) for slot in self._recent)
        return ends[len(ends) - most] - now if len(ends) >= most else 0.0

    @staticmethod
    def _counts_until(slot: CallSlot, now: float, window: float) -> float:
        arrived = slot.started + ARRIVAL
        return min(arrived, now if slot.ended is None else slot.ended) + window

    def _shrink(self, slot: CallSlot, seconds: float) -> None:
        """One burst is one warning: calls that were on their way at the last halving do not halve again."""
        with self._changed:
            now = self._clock.now()
            self._successes = 0
            self._paused_until = max(self._paused_until, now + seconds)
            if slot.started >= self._slowed_at:
                self._slowed_at = now
                self.allowed = max(1, self.allowed // 2)

    def _grow(self) -> None:
        with self._changed:
            self._successes += 1
            if self._successes >= GROWTH and self.allowed < self.concurrency:
                self._successes = 0
                self.allowed += 1
                self._changed.notify_all()


_limiters: WeakValueDictionary[Hashable, Limiter] = WeakValueDictionary()
_registry = threading.Lock()


def limiter_for(key: Hashable, concurrency: int, per_minute: float | None = None) -> Limiter:
    """The process's one limiter for `key`, as long as somebody holds it; of several settings the strictest holds."""
    with _registry:
        limiter = _limiters.get(key)
        if limiter is None:
            limiter = _limiters[key] = Limiter(concurrency, per_minute)
        else:
            limiter.tighten(concurrency, per_minute)
        return limiter
