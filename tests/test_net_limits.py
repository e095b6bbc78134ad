"""Waiting as services ask for it, and limits that hold by the service's own clock."""

from __future__ import annotations

import gc
import heapq
import random
import threading
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime

import pytest

from harness.core.values import Outcome
from harness.providers.http_client.exchange import Deadline, Unanswered
from harness.providers.http_client.limits import CallSlot, Limiter, limiter_for
from harness.providers.http_client.waits import asked_wait, backoff, forbids_retry, parse_duration

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
AMPLE = Deadline(100_000)


class Simulated:
    """A clock that jumps to whatever happens next; nobody really waits."""

    def __init__(self) -> None:
        self.time = 0.0
        self.slept = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []

    def now(self) -> float:
        return self.time

    def wait(self, condition: threading.Condition, seconds: float) -> None:
        until = self.time + seconds
        if self._events and self._events[0][0] <= until:
            self.time, _, happen = heapq.heappop(self._events)
            happen()
        else:
            self.time = until
            self.slept += seconds

    def later(self, seconds: float, happen: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.time + seconds, len(self._events) + random.getrandbits(40), happen))


def take(
    limiter: Limiter, deadline: Deadline = AMPLE, longest: float | None = None
) -> tuple[CallSlot, Callable[[], None]]:
    stack = ExitStack()
    return stack.enter_context(limiter.slot(deadline, longest)), stack.close


def use(limiter: Limiter, times: int = 1) -> None:
    for _ in range(times):
        with limiter.slot(AMPLE) as slot:
            slot.went_well()


# --- how long a service asks to wait --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "body", "seconds"),
    [
        ({"retry-after": "7"}, b"", 7.0),
        ({"retry-after": "0.5"}, b"", 0.5),
        ({"retry-after": "-3"}, b"", 0.0),
        ({"retry-after": "Sat, 21 Nov 2026 12:00:30 GMT"}, b"", 30.0),
        ({"retry-after": "Sat, 21 Nov 2026 11:00:00 GMT"}, b"", 0.0),
        ({"retry-after": "Sat, 21 Nov 2026 09:00:05 GMT", "date": "Sat, 21 Nov 2026 09:00:00 GMT"}, b"", 5.0),
        ({"retry-after": "soon"}, b"", None),
        ({"retry-after": "nan"}, b"", None),
        ({"retry-after": "inf"}, b"", None),
        ({"retry-after-ms": "250", "retry-after": "9"}, b"", 0.25),
        ({"x-ratelimit-reset-requests": "1s"}, b"", 1.0),
        ({"x-ratelimit-reset-requests": "1s", "x-ratelimit-reset-tokens": "6m0s"}, b"", 360.0),
        (
            {
                "x-ratelimit-reset-requests": "1s",
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-tokens": "6m0s",
                "x-ratelimit-remaining-tokens": "90000",
            },
            b"",
            1.0,
        ),
        ({"x-ratelimit-reset": str(int(NOW.timestamp()) + 12)}, b"", 12.0),
        ({"ratelimit-reset": "4"}, b"", 4.0),
        ({}, b'{"error": {"details": [{"@type": "x"}, {"@type": "RetryInfo", "retryDelay": "37s"}]}}', 37.0),
        ({}, b'[{"error": {"details": [{"retryDelay": "0.5s"}]}}]', 0.5),
        ({}, b'{"detail": "throttled", "retry_after": 3}', 3.0),
        ({}, b'{"error": {"message": "Rate limit reached. Please try again in 1m2.5s."}}', 62.5),
        ({}, b'{"error": {"message": "busy"}}', None),
        ({}, b"[" * 50_000, None),
        ({}, b"<html>", None),
        ({}, b"", None),
    ],
)
def test_every_form_of_waiting_is_understood(headers: dict[str, str], body: bytes, seconds: float | None) -> None:
    assert asked_wait(headers, body, NOW) == seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1s", 1.0), ("6m0s", 360.0), ("250ms", 0.25), ("1h2m3.5s", 3723.5), ("37s", 37.0), ("1 s", None), ("s", None)],
)
def test_durations_are_read_as_go_writes_them(text: str, seconds: float | None) -> None:
    assert parse_duration(text) == seconds


def test_a_service_may_forbid_another_try() -> None:
    assert forbids_retry({"x-should-retry": "False"})
    assert forbids_retry({}, b'{"error": {"code": "insufficient_quota", "type": "insufficient_quota"}}')
    assert not forbids_retry({"x-should-retry": "true"}, b'{"error": {"code": "rate_limit_exceeded"}}')


def test_backoff_doubles_with_full_jitter_and_is_bounded() -> None:
    bounds = [backoff(attempt, 0.5, 30.0, lambda low, high: high) for attempt in (1, 2, 3, 7, 5000)]

    assert bounds == [0.5, 1.0, 2.0, 30.0, 30.0]
    assert backoff(3, 0.5, 30.0, lambda low, high: low) == 0.0


# --- at once ----------------------------------------------------------------------------------------------------------


def test_never_more_at_once_than_allowed() -> None:
    limiter, lock, running, peak = Limiter(3), threading.Lock(), [0], [0]

    def work() -> None:
        for _ in range(20):
            with limiter.slot(AMPLE):
                with lock:
                    running[0] += 1
                    peak[0] = max(peak[0], running[0])
                threading.Event().wait(0.001)
                with lock:
                    running[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert peak[0] == 3


def test_a_place_is_given_back_when_the_call_fails() -> None:
    limiter = Limiter(1, clock=Simulated())

    with pytest.raises(RuntimeError), limiter.slot(AMPLE):
        raise RuntimeError

    use(limiter)


def test_no_place_in_time_is_a_timeout_that_sent_nothing() -> None:
    limiter = Limiter(1, per_minute=30)
    _, done = take(limiter)

    with pytest.raises(Unanswered, match=r"1 calls at once, 30 a minute.* nothing was sent.*`concurrency`") as caught:
        take(limiter, Deadline(0.02))

    assert caught.value.outcome is Outcome.TIMEOUT and not caught.value.billed
    done()
    use(limiter)


# --- in a minute ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_the_rate_holds_in_every_minute_of_the_service(seed: int) -> None:
    """Requests arrive late, by chance; the service counts arrivals in any sliding minute."""
    rng, clock = random.Random(seed), Simulated()
    limiter, arrivals = Limiter(4, per_minute=7, clock=clock), []

    for _ in range(60):
        _, done = take(limiter)
        lasts = rng.choice([0.0, 0.5, 3.0, 20.0])
        arrivals.append(clock.now() + rng.uniform(0.0, min(lasts, 10.0)))
        clock.later(lasts, done)

    arrivals.sort()
    counts = [sum(start <= one < start + 60.0 for one in arrivals) for start in arrivals]
    assert max(counts) == 7


def test_the_rate_is_used_up_and_not_spread_out() -> None:
    clock = Simulated()
    limiter = Limiter(10, per_minute=5, clock=clock)

    use(limiter, 5)
    assert clock.now() == 0.0
    use(limiter, 5)

    assert 60.0 <= clock.now() < 61.0


def test_slow_calls_do_not_hold_up_the_rate_for_long() -> None:
    clock = Simulated()
    limiter = Limiter(10, per_minute=2, clock=clock)
    for _ in range(2):
        clock.later(50.0, take(limiter)[1])

    use(limiter)

    assert 70.0 <= clock.now() < 71.0


def test_less_than_one_a_minute() -> None:
    clock = Simulated()
    limiter = Limiter(10, per_minute=0.5, clock=clock)

    use(limiter, 3)

    assert 240.0 <= clock.now() < 242.0


def test_a_rate_that_the_deadline_forbids_is_not_waited_for() -> None:
    clock = Simulated()
    limiter = Limiter(10, per_minute=1, clock=clock)
    use(limiter)

    with pytest.raises(Unanswered, match="nothing was sent"):
        take(limiter, Deadline(30))

    assert clock.now() == 0.0


# --- slowing down -----------------------------------------------------------------------------------------------------


def test_a_burst_of_429_halves_once_and_answers_win_it_back() -> None:
    clock = Simulated()
    limiter = Limiter(8, clock=clock)
    burst = [take(limiter) for _ in range(4)]
    clock.time += 1

    for slot, done in burst:
        slot.slow_down()
        done()
    assert limiter.allowed == 4

    use(limiter, 5)
    assert limiter.allowed == 5
    use(limiter, 100)
    assert limiter.allowed == 8


def test_it_never_stops_altogether() -> None:
    limiter = Limiter(4, clock=Simulated())

    for _ in range(5):
        with limiter.slot(AMPLE) as slot:
            slot.slow_down()

    assert limiter.allowed == 1


def test_everybody_waits_as_long_as_the_service_asked() -> None:
    clock = Simulated()
    limiter = Limiter(4, clock=clock)
    with limiter.slot(AMPLE) as slot:
        slot.slow_down(7.0)

    use(limiter)

    assert clock.now() == 7.0


@pytest.mark.parametrize(("deadline", "longest"), [(AMPLE, 30.0), (Deadline(100), None)])
def test_a_silence_too_long_is_not_begun(deadline: Deadline, longest: float | None) -> None:
    clock = Simulated()
    limiter = Limiter(4, clock=clock)
    with limiter.slot(AMPLE) as slot:
        slot.slow_down(3600.0)

    with pytest.raises(Unanswered, match="silence for another 3600 s; lower `concurrency`") as caught:
        take(limiter, deadline, longest)

    assert caught.value.outcome is Outcome.QUOTA and clock.now() == 0.0


# --- shared -----------------------------------------------------------------------------------------------------------


def test_one_limiter_a_service_and_key_and_the_stricter_setting_holds() -> None:
    one = limiter_for(("https://studio.example", "a"), 8, 60)
    same = limiter_for(("https://studio.example", "a"), 4, None)
    other = limiter_for(("https://studio.example", "b"), 8, None)

    assert one is same and one is not other
    assert (one.concurrency, one.allowed, one.per_minute) == (4, 4, 60)


def test_a_limiter_that_nobody_holds_is_forgotten() -> None:
    limiter_for("short-lived", 1)
    gc.collect()

    assert limiter_for("short-lived", 9).concurrency == 9


def test_waiting_for_our_own_limits_costs_a_picture_no_time() -> None:
    limiter, queueing = Limiter(1), Deadline(0.05, queueing=True)
    entered = threading.Event()

    def come_second() -> None:
        with limiter.slot(queueing):
            entered.set()

    second = threading.Thread(target=come_second)
    with limiter.slot(AMPLE):
        second.start()
        assert not entered.wait(0.2) and not queueing.begun  # longer than its whole deadline
    second.join(5)

    assert entered.is_set() and queueing.begun
