"""The ways in which a service fails, each as the answer it would send."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Answer:
    """What goes over the socket."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0  # seconds before the first byte
    announced: int | None = None  # Content-Length, when it is a lie
    dropped: bool = False  # the connection is closed without a word


def answer_json(value: Any, status: int = 200, **more: Any) -> Answer:
    return Answer(status, json.dumps(value).encode(), {"Content-Type": "application/json"}, **more)


def picture(png: bytes) -> Answer:
    """All is well."""
    return answer_json({"images": [base64.b64encode(png).decode()]})


def error(status: int, message: str, headers: Mapping[str, str] | None = None) -> Answer:
    answer = answer_json({"error": {"message": message}}, status)
    return Answer(status, answer.body, {**answer.headers, **(headers or {})})


def garbage(png: bytes) -> Answer:
    return Answer(200, b"<!doctype html><title>We are updating</title>", {"Content-Type": "text/html"})


def truncated(png: bytes) -> Answer:
    whole = picture(png)
    return Answer(200, whole.body[: len(whole.body) // 2], whole.headers, announced=len(whole.body))


def slow(png: bytes) -> Answer:
    whole = picture(png)
    return Answer(200, whole.body, whole.headers, delay=30.0)


FAULTS: dict[str, Callable[[bytes], Answer]] = {
    "ok": picture,
    "auth": lambda png: error(401, "invalid api key"),
    "dropped": lambda png: Answer(dropped=True),
    "error": lambda png: error(500, "internal error"),
    "forbidden": lambda png: error(403, "not allowed on this plan"),
    "garbage": garbage,
    "half_picture": lambda png: picture(png[: len(png) // 2]),
    "huge": lambda png: Answer(200, b" " * 40_000_000, {"Content-Type": "application/json"}),
    "not_json": lambda png: Answer(200, b"\x00\xff\x00", {"Content-Type": "application/json"}),
    "quota": lambda png: error(402, "out of credit"),
    "rate_limit": lambda png: error(429, "slow down", {"Retry-After": "0.05"}),
    "redirect": lambda png: error(302, "moved", {"Location": "http://127.0.0.1:9/elsewhere"}),
    "refused": lambda png: answer_json({"images": [], "refused": "the prompt violates the policy"}),
    "retired": lambda png: error(404, "model not found"),
    "slow": slow,
    "truncated": truncated,
}
"""A fault's name to the answer it gives instead of the picture (PNG bytes)."""
