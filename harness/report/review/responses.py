"""What goes over the wire, before it does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import urlencode


@dataclass(frozen=True)
class Response:
    """An answer; `headers` go over the server's own."""

    status: HTTPStatus = HTTPStatus.OK
    body: bytes = b""
    kind: str = "text/html; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)


class Refusal(Exception):
    """A request that gets no page; without words it is nobody's business why."""

    def __init__(self, status: HTTPStatus, words: str = "", allow: str = "") -> None:
        super().__init__(words)
        self.status, self.words, self.allow = status, words, allow


@dataclass(frozen=True)
class Query:
    """The fields of an address or a form; one that is not there is empty."""

    fields: Mapping[str, str] = field(default_factory=dict)

    def get(self, name: str, default: str = "") -> str:
        return self.fields.get(name, default)


def redirect(path: str, **fields: str) -> Response:
    """See another page of ours next."""
    query = urlencode({name: value for name, value in fields.items() if value})
    return Response(HTTPStatus.SEE_OTHER, headers={"Location": f"{path}?{query}" if query else path})
