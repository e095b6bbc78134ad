"""What the server does to any service's answer: status faults before the handler, broken answers after it."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from email.utils import formatdate
from functools import cache

from harness.emulator.cdn import HUGE, huge
from harness.emulator.exchange import Answer, Problem
from harness.emulator.faults import FAULTS

RETRY_IN = 0.05  # seconds that a 429 asks for: enough to see that it is kept, short enough for tests
DRIP = 0.1  # seconds between two bytes
RATE = "Rate limit exceeded, please slow down"
PROBLEMS: dict[str, Problem] = {
    "auth": Problem("auth", "Invalid API key"),
    "forbidden": Problem("forbidden", "This key has no permission for this resource"),
    "quota": Problem("quota", "The account is out of credit"),
    "rate_quota": Problem("rate_quota", "You exceeded your current quota, please check your plan and billing details"),
    "retired": Problem("retired", "The model does not exist or was shut down", field="model"),
    "invalid": Problem("invalid", "A parameter is not accepted", field="prompt"),
    "rate_json": Problem("rate", RATE, wait=RETRY_IN),
    "unavailable": Problem("unavailable", "The service is overloaded, please try again later"),
    "unavailable_always": Problem("unavailable", "The service is overloaded, please try again later"),
    "error_500": Problem("error", "Internal server error"),
    "bad_gateway": Problem("bad_gateway", "Bad Gateway"),
    "gateway_timeout": Problem("gateway_timeout", "Gateway Time-out"),
}
"""What each status fault is about; every other `rate_` fault is a plain 429."""


def status_problem(fault: str) -> Problem | None:
    """What a fault turns the request away with; None when it does not."""
    if FAULTS[fault].kind != "status":
        return None
    return PROBLEMS.get(fault, Problem("rate", RATE))


def rate_headers(fault: str) -> dict[str, str]:
    """How a 429 says when to come again."""
    if fault == "rate_date":
        return {"Retry-After": formatdate(time.time(), usegmt=True)}  # whole seconds: this one
    if fault == "rate_ms":
        return {"retry-after-ms": f"{RETRY_IN * 1000:.0f}"}
    if fault == "rate_reset":
        return {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": f"{RETRY_IN * 1000:.0f}ms"}
    return {} if fault in ("rate_json", "rate_bare", "rate_always") else {"Retry-After": f"{RETRY_IN:g}"}


def gateway_page(problem: Problem) -> Answer:
    """What a proxy says when the service behind it does not."""
    title = f"{problem.http} {'Bad Gateway' if problem.http == 502 else 'Gateway Time-out'}"
    page = f"<html><head><title>{title}</title></head><body><center><h1>{title}</h1></center></body></html>"
    return Answer(problem.http, page.encode(), {"Content-Type": "text/html"})


def spoil(answer: Answer, fault: str) -> Answer:
    """A good answer as the fault has it."""
    return SPOILERS[fault](answer) if fault in SPOILERS else answer


def with_body(answer: Answer, body: bytes, mime: str) -> Answer:
    return replace(answer, body=body, headers={**answer.headers, "Content-Type": mime})


def extra_keys(answer: Answer) -> Answer:
    try:
        value = json.loads(answer.body)
    except ValueError:
        return answer
    if not isinstance(value, dict):
        return answer
    news: Mapping[str, object] = {"x_deprecation": None, "x_trace": {"region": "test", "hops": [1, 2]}}
    return replace(answer, body=json.dumps({**news, **value, "x_notice": "see the changelog"}).encode())


@cache
def gzip_bomb() -> bytes:
    """200 MB of spaces, a megabyte in each of 200 members."""
    return gzip.compress(b" " * 1_000_000) * (HUGE // 1_000_000)


SPOILERS: dict[str, Callable[[Answer], Answer]] = {
    "hang": lambda answer: replace(answer, hangs=True),
    "drip": lambda answer: replace(answer, drip=DRIP),
    "dropped": lambda answer: replace(answer, dropped=True),
    "truncated": lambda answer: replace(
        answer, body=answer.body[: len(answer.body) // 2], announced=max(2, len(answer.body))
    ),
    "wrong_length": lambda answer: replace(answer, announced=len(answer.body) // 2),
    "html": lambda answer: with_body(answer, b"<!doctype html><title>We are updating</title>", "text/html"),
    "not_json": lambda answer: with_body(answer, b"\x00\xff\x00", "application/json"),
    "empty_body": lambda answer: replace(answer, body=b""),
    "huge_body": lambda answer: replace(answer, body=b"", stream=huge),
    "gzip_bomb": lambda answer: replace(
        answer, body=gzip_bomb(), headers={**answer.headers, "Content-Encoding": "gzip"}
    ),
    "blank_lines": lambda answer: replace(answer, body=b"\n\n \r\n\n" + answer.body),
    "extra_keys": extra_keys,
}
"""A fault to what it does to a good answer."""
