"""One socket on this machine, and who may speak to it.

Whoever does not bring the token of this start gets 403 and nothing else, whatever is asked. Then: only addresses of
this machine in `Host` (a name that resolves here is an attack), only our own `Origin` and the page's own secret with
whatever changes something, only small forms, and a policy that lets a page load nothing but what lies here.
"""

from __future__ import annotations

import secrets
import socketserver
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

from harness.core.errors import HarnessError, UsageError
from harness.report.review.app_state import AppState
from harness.report.review.responses import Query, Refusal, Response

HOST = "127.0.0.1"
PATIENCE_S = 30.0  # with a client that says nothing
LARGEST_FORM, LARGEST_DRAIN = 64 * 1024, 1024 * 1024  # bytes that are read, that are thrown away to answer politely
DIGITS = 15  # of a length that is read as a number
FIELDS = 40
FILE = "file"  # whence a browser comes that was sent here by a file
ENTRY = b'<!doctype html><title>review</title><meta http-equiv="refresh" content="0; url=/"><a href="/">Review</a>\n'
POLICY = (
    "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
HEADERS: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # with no-referrer a browser would hide the Origin of our own forms
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class ReviewServer(ThreadingHTTPServer):
    """The review's server; `address` is where a browser goes first."""

    daemon_threads = True

    def __init__(self, state: AppState, port: int) -> None:
        """
        Args:
            port: 0 takes a free one.

        Raises:
            UsageError: the port is taken.
        """
        self.state = state
        self.token, self.session, self.secret = (secrets.token_urlsafe(32) for _ in range(3))
        self.entered: Callable[[], object] = lambda: None  # called when a token was spent and the next one is there
        self._door = threading.Lock()
        try:
            super().__init__((HOST, port), ReviewHandler)
        except (OSError, OverflowError) as error:
            raise UsageError(f"--port {port}: {error}; choose another, 0 takes a free one") from error

    def server_bind(self) -> None:
        """Without the look-up of our own name, which may hang where there is no network."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, int(self.server_address[1])

    @property
    def hosts(self) -> tuple[str, ...]:
        """What `Host` may say."""
        return f"{HOST}:{self.server_port}", f"localhost:{self.server_port}"

    @property
    def cookie(self) -> str:
        """The cookie's name: cookies know no ports, and two servers may run."""
        return f"harness_review_{self.server_port}"

    @property
    def address(self) -> str:
        return f"http://{self.hosts[0]}/?token={self.token}"

    def spend(self, token: str) -> bool:
        """Whether this is the token that lets one browser in; there is a new one for the next."""
        with self._door:
            if not same(token, self.token):
                return False
            self.token = secrets.token_urlsafe(32)
        self.entered()
        return True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that hangs up is no error of ours."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class ReviewHandler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    timeout = PATIENCE_S
    unread = 0  # bytes of a body
    server_version, sys_version = "harness", ""

    @property
    def home(self) -> ReviewServer:
        return cast(ReviewServer, self.server)

    def answer(self) -> None:
        """Every request comes here, whatever its method."""
        try:
            reply = self.decide()
        except Refusal as refusal:
            self.drain()
            reply = self.explain(refusal)
        except HarnessError as error:
            reply = self.explain(Refusal(HTTPStatus.CONFLICT, str(error)))
        except ConnectionError:
            self.close_connection = True
            return
        except Exception:
            traceback.print_exc()
            reply = self.explain(Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "see the terminal where the server runs"))
        self.send(reply)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_TRACE = do_CONNECT = answer

    def decide(self) -> Response:
        """Let in, check, and hand over to the page or act of this path."""
        from harness.report.review.routes import find_act, find_page

        self.unread = max(0, read_length(self.headers.get("Content-Length", "")))
        self.close_connection |= self.unread > 0 or self.command not in ("GET", "HEAD")
        if self.headers.get_all("Host", []) not in [[host] for host in self.home.hosts]:
            raise Refusal(HTTPStatus.FORBIDDEN)
        target = urlsplit(self.path) if self.path.startswith("/") else urlsplit("/")
        query = read_fields(target.query)
        if target.path == "/" and self.command == "GET" and self.home.spend(query.get("token")):
            cookie = f"{self.home.cookie}={self.home.session}; Path=/; HttpOnly; SameSite=Strict"
            if query.get("from") == FILE:  # where a redirect leads from a file, a browser keeps strict cookies back
                return Response(body=ENTRY, headers={"Set-Cookie": cookie})
            return Response(HTTPStatus.SEE_OTHER, headers={"Location": "/", "Set-Cookie": cookie})
        if not self.is_known():
            raise Refusal(HTTPStatus.FORBIDDEN)
        page, act = find_page(target.path), find_act(target.path)
        if page and self.command in ("GET", "HEAD"):
            return page(self.home.state, query, self.home.secret)
        if act and self.command == "POST":
            return act(self.home.state, self.read_form())
        if page or act:
            raise Refusal(HTTPStatus.METHOD_NOT_ALLOWED, allow="GET, HEAD" if page else "POST")
        raise Refusal(HTTPStatus.NOT_FOUND, "there is no such page")

    def is_known(self) -> bool:
        """Whether the cookie is that of this start."""
        try:
            cookies = SimpleCookie(self.headers.get("Cookie", ""))
        except CookieError:
            return False
        result = cookies.get(self.home.cookie)
        return result is not None and same(result.value, self.home.session)

    def read_form(self) -> Query:
        """The fields of a form of ours. Raises Refusal for anybody else's, and for what is too large."""
        if self.headers.get("Origin") not in [f"http://{host}" for host in self.home.hosts]:
            raise Refusal(HTTPStatus.FORBIDDEN, "a form of another site; nothing was done")
        if self.headers.get_content_type() != "application/x-www-form-urlencoded":
            raise Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "a form is expected")
        length = read_length(self.headers.get("Content-Length", ""))
        if length < 0 or "Transfer-Encoding" in self.headers:
            raise Refusal(HTTPStatus.LENGTH_REQUIRED, "the form must say how long it is")
        if length > LARGEST_FORM:
            raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a form has {LARGEST_FORM:,} bytes at most")
        self.unread = 0
        fields = read_fields(self.rfile.read(length).decode("utf-8", "replace"))
        if not same(fields.get("csrf"), self.home.secret):
            raise Refusal(HTTPStatus.FORBIDDEN, "the page is from before this server started; open it again")
        return fields

    def drain(self) -> None:
        """Throw away what was sent, up to a bound: a socket that is closed on unread bytes loses our answer."""
        left = min(self.unread, LARGEST_DRAIN)
        while left > 0 and (part := self.rfile.read(min(left, LARGEST_FORM))):
            left -= len(part)

    def explain(self, refusal: Refusal) -> Response:
        """A refusal as a page, or as two words for those who were not let in."""
        from harness.report.review.pages import trouble_page

        headers = {"Allow": refusal.allow} if refusal.allow else {}
        if refusal.status == HTTPStatus.FORBIDDEN and not refusal.words:
            return Response(refusal.status, b"403 Forbidden\n", "text/plain; charset=utf-8")
        page = trouble_page(self.home.state, refusal, self.home.secret)
        return Response(refusal.status, page.body, page.kind, headers)

    def send(self, reply: Response) -> None:
        try:
            self.send_response(reply.status)
            headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-store", **HEADERS, **reply.headers}
            headers |= {"Content-Type": reply.kind, "Content-Length": str(len(reply.body))}
            headers |= {"Connection": "close"} if self.close_connection else {}
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(reply.body)
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the library finds wrong with a request by itself: no page, no version."""
        self.close_connection = True
        status = HTTPStatus(code)
        if status is HTTPStatus.NOT_IMPLEMENTED:  # a method that nobody knows
            known = self.headers.get("Host") in self.home.hosts and self.is_known()
            status = HTTPStatus.METHOD_NOT_ALLOWED if known else HTTPStatus.FORBIDDEN
        if self.request_version == "HTTP/0.9":
            return
        self.send(Response(status, f"{status.value} {status.phrase}\n".encode(), "text/plain; charset=utf-8"))

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the terminal is for the address and for errors, and an address holds the token."""


def read_length(text: str) -> int:
    """What `Content-Length` says, -1 for nothing that it may say; more digits than any body has are its largest."""
    if not (text.isascii() and text.isdecimal()):
        return -1
    return int(text) if len(text) <= DIGITS else 10**DIGITS


def read_fields(text: str) -> Query:
    """The fields of a query or a form. Raises Refusal for too many."""
    try:
        result = parse_qs(text, keep_blank_values=True, errors="replace", max_num_fields=FIELDS)
    except ValueError as error:
        raise Refusal(HTTPStatus.BAD_REQUEST, "too many fields") from error
    return Query({name: values[-1] for name, values in result.items()})


def same(given: str, wanted: str) -> bool:
    """Compared in a time that does not depend on how much is right."""
    return secrets.compare_digest(given.encode("utf-8", "replace"), wanted.encode())
