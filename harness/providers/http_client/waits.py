"""How long a service asks to wait, in whichever form it says so, and how long to wait when it does not."""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LARGEST_BODY = 64 * 1024  # bytes; an error that says how long to wait is short
UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
SPOKEN = re.compile(r"(?:try|retry) again in ((?:(?:\d+(?:\.\d+)?|\.\d+)(?:ms|s|m|h))+)\b", re.IGNORECASE)
EPOCH = 1e9  # a reset above this is a moment, not a number of seconds
NEVER = frozenset(
    {
        *("insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "credit_balance_exhausted"),
        *("project_spend_limit_exceeded", "organization_spend_limit_exceeded", "organization_usage_limit_exceeded"),
    }
)
"""OpenAI's codes, and types, of an account that waiting does not help."""
USED_UP = re.compile(
    r"exceeded your current quota|spend(?:ing)? limit|out of (?:\w+ )?credit"
    r"|insufficient (?:balance|credit|fund|quota)",
    re.I,
)


def asked_wait(headers: Mapping[str, str], body: bytes, now: datetime) -> float | None:
    """Seconds that a reply asks to wait, 0.0 or more; None when it does not say.

    Args:
        headers: names in lower case.
        now: with a time zone; used for dates, unless the reply has a `Date` of its own (its clock may be off).
    """
    milliseconds = parse_seconds(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    for result in (
        retry_after(headers.get("retry-after", ""), read_date(headers.get("date", "")) or now),
        body_wait(body),
        limit_reset(headers, now),
    ):
        if result is not None:
            return result
    return None


def forbids_retry(headers: Mapping[str, str], body: bytes = b"") -> bool:
    """Whether a reply says that asking again is no use: `x-should-retry: false`, or the account has no quota left."""
    if headers.get("x-should-retry", "").strip().lower() == "false":
        return True
    parts = list(json_objects(body))
    if any(isinstance(part.get(name), str) and part[name] in NEVER for part in parts for name in ("code", "type")):
        return True
    quotas = [str(part["quotaId"]) for part in parts if "quotaId" in part]  # Google's: of a minute, or of a day
    if quotas:
        return any("PerDay" in quota for quota in quotas)
    words = [part.get(name) for part in parts for name in ("message", "status", "err")]
    texts = [word for word in words if isinstance(word, str)]
    return any(map(USED_UP.search, texts)) and asked_wait(headers, body, datetime.now(UTC)) is None


def backoff(attempt: int, base: float, longest: float, draw: Callable[[float, float], float] = random.uniform) -> float:
    """Seconds before the next attempt: anything up to the doubled base, so that callers spread out.

    Args:
        attempt: the one that just ended, from 1.
        base: seconds, the bound after the first attempt.
        longest: seconds, never more than this.
    """
    return draw(0.0, min(longest, base * 2.0 ** min(attempt - 1, 60)))


def retry_after(value: str, now: datetime) -> float | None:
    """`Retry-After`: a number of seconds, an HTTP date or a duration ("1m30s"); None when it says nothing usable."""
    seconds = parse_seconds(value)
    if seconds is None:
        seconds = parse_duration(value)
    if seconds is None and (when := read_date(value)) is not None:
        seconds = max(0.0, (when - now).total_seconds())
    return seconds


def parse_seconds(value: str) -> float | None:
    """A plain number of seconds; a negative one is 0.0, and what is no finite number is None."""
    try:
        seconds = float(value)
    except ValueError:
        return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def parse_duration(value: str) -> float | None:
    """Seconds of a duration as Go and protobuf write it: "250ms", "37s", "6m0s", "1h2m3.5s"."""
    text = value.strip()
    parts = PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return sum(float(number) * UNITS[unit] for number, unit in parts)


def read_date(value: str) -> datetime | None:
    """An HTTP date, with its time zone."""
    try:
        when = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return when if when.tzinfo is not None else when.replace(tzinfo=UTC)


def limit_reset(headers: Mapping[str, str], now: datetime) -> float | None:
    """When a used-up limit starts anew: `x-ratelimit-reset-*`, `x-ratelimit-reset`, `ratelimit-reset`."""
    waits = []
    for kind in ("-requests", "-tokens", ""):
        for prefix in ("x-ratelimit", "ratelimit"):
            value = headers.get(f"{prefix}-reset{kind}", "")
            seconds = parse_duration(value)
            if seconds is None:
                seconds = parse_seconds(value)
            if seconds is None or parse_seconds(headers.get(f"{prefix}-remaining{kind}", "0")) not in (0.0, None):
                continue  # says nothing, or is a limit that still has room
            waits.append(max(0.0, seconds - now.timestamp()) if seconds > EPOCH else seconds)
    return max(waits, default=None)


def body_wait(body: bytes) -> float | None:
    """What a JSON body says: Google's RetryInfo, `retry_after` in seconds, or "try again in 20s" in words."""
    spoken: float | None = None
    for part in json_objects(body):
        delay = part.get("retryDelay")
        if isinstance(delay, str) and (seconds := parse_duration(delay)) is not None:
            return seconds
        for name in ("retry_after", "retryAfter", "retry_after_seconds"):
            if isinstance(part.get(name), int | float | str) and not isinstance(part[name], bool):
                seconds = parse_seconds(str(part[name]))
                if seconds is not None:
                    return seconds
        message = part.get("message")
        if isinstance(message, str) and (text := SPOKEN.search(message)):
            spoken = parse_duration(text[1].lower())
    return spoken


def json_objects(body: bytes) -> Iterator[dict[str, object]]:
    """Every object of a short JSON body, outermost first; none when it is long or something else."""
    if len(body) > LARGEST_BODY:
        return
    try:
        waiting = [json.loads(body)]
    except (ValueError, RecursionError):
        return
    while waiting:
        part = waiting.pop(0)
        if isinstance(part, dict):
            yield part
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)
