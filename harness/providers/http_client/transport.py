"""One HTTP exchange on `requests`: where it may connect to, when it must have ended, and how far it came."""

from __future__ import annotations

import queue
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

import certifi
import requests
from urllib3.exceptions import DecodeError, ReadTimeoutError
from urllib3.util import parse_url

from harness.core.errors import ProviderError
from harness.providers.http_client.attempt import Attempt
from harness.providers.http_client.exchange import Policy, Reply
from harness.providers.http_client.requests_internals import Client

CHUNK = 64 * 1024  # bytes read at a time, at most, so that the cap is seen in time
PORTS = {"http": 80, "https": 443}


class Origin(NamedTuple):
    """Scheme, host and port: the part of an address that decides who gets to see a request."""

    scheme: str
    host: str  # lower case, ASCII, no brackets
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + (f":{self.port}" if self.port != PORTS.get(self.scheme) else "")

    @property
    def loopback(self) -> bool:
        """Whether it is this machine, by name or by address."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def parse_origin(url: str) -> Origin:
    """The origin of an absolute http(s) address.

    Raises:
        ValueError: it is something else, names a user, or is written so that programs read it differently.
    """
    if not url.isprintable() or any(letter in url for letter in " \\"):
        raise ValueError("it holds spaces, backslashes or control characters")
    parts = parse_url(url)
    if parts.scheme not in PORTS:
        raise ValueError(f"its scheme is {parts.scheme or 'missing'}")
    if parts.auth is not None:
        raise ValueError("it names a user")
    host = (parts.host or "").strip("[]").rstrip(".")
    if not host or "%" in host:
        raise ValueError("it names no host")
    return Origin(parts.scheme, host, parts.port or PORTS[parts.scheme])


class RequestStage(Enum):
    """How far a request came that has no whole reply."""

    UNSENT = "unsent"  # no connection: certainly not accepted
    HUNG = "hung"  # sent, and no answer in time
    BROKE = "broke"  # sent, and the connection ended early
    UNUSABLE = "unusable"  # answered, with a body that cannot be read


@dataclass(frozen=True)
class Lost:
    """Instead of a reply."""

    stage: RequestStage
    reason: str
    untrusted: bool = False  # the certificate was refused: trying again cannot help


class TooLarge(Exception):
    """A body over the cap."""


class Clients:
    """Clients that threads borrow, one for each at a time, so that connections are used again."""

    def __init__(self, context: Callable[[], ssl.SSLContext], *, proxies: bool = False) -> None:
        """`proxies`: those of the environment are used."""
        self._context, self._proxies = context, proxies
        self._idle: queue.LifoQueue[Client] = queue.LifoQueue()
        self._closed = False

    @contextmanager
    def lend(self) -> Iterator[Client]:
        try:
            client = self._idle.get_nowait()
        except queue.Empty:
            client = Client(self._context, self._proxies)
        try:
            yield client
        finally:
            if self._closed:
                client.close()
            else:
                self._idle.put(client)

    def close(self) -> None:
        """Close the connections that nobody uses now; the others when they come back."""
        self._closed = True
        with suppress(queue.Empty):
            while True:
                self._idle.get_nowait().close()


def load_context(ca_bundle: Path | None) -> ssl.SSLContext:
    """Whom to trust: the usual authorities, and those of a file.

    Raises:
        ProviderError: the file is absent or holds no certificates.
    """
    context = ssl.create_default_context(cafile=certifi.where())
    if ca_bundle is not None:
        try:
            context.load_verify_locations(ca_bundle)
        except OSError as error:  # ssl.SSLError is one
            why = "there is no such file" if isinstance(error, FileNotFoundError) else "it holds no certificates (PEM)"
            raise ProviderError(f"ca_bundle {ca_bundle}: {why}; give the authority's file") from None
    return context


@lru_cache(maxsize=1)
def usual_context() -> ssl.SSLContext:
    """Without a file of its own; shared, since nothing is ever added to it."""
    return load_context(None)


def exchange(clients: Clients, request: requests.PreparedRequest, attempt: Attempt, policy: Policy) -> Reply | Lost:
    """Send once and read all, under the caps of the policy. Frames and errors of the libraries, which may hold the
    key, end here."""
    left = max(0.05, attempt.deadline.left)
    timeout = (min(policy.connect, left), min(policy.read, left))
    try:
        with (
            clients.lend() as client,
            attempt,
            client.send(request, stream=True, timeout=timeout, allow_redirects=False) as response,
        ):
            body = read_body(response, policy.max_bytes, attempt)
            headers = {name.lower(): value for name, value in response.headers.items()}
            if not attempt.cut:  # a body without a length would look whole
                return Reply(response.status_code, headers, body)
    except Exception as error:
        return classify(error, attempt)
    except BaseException as stop:  # Ctrl-C
        raise stop.with_traceback(None) from None
    return Lost(RequestStage.HUNG, f"{attempt.received} bytes came")


def read_body(response: requests.Response, most: int, attempt: Attempt) -> bytes:
    """The decoded body; whatever has come is taken at once, so that a drip is seen.

    Raises:
        TooLarge: by its announced or its real length.
    """
    announced = response.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > most:
        raise TooLarge
    body = bytearray()
    while piece := response.raw.read1(CHUNK, decode_content=True):
        body += piece
        attempt.received = len(body)
        if len(body) > most:
            raise TooLarge
    return bytes(body)


def classify(error: Exception, attempt: Attempt) -> Lost:
    """What a failure of the libraries means."""
    if isinstance(error, TooLarge):
        return Lost(RequestStage.UNUSABLE, "the reply is too large")
    if not attempt.sent:
        return Lost(RequestStage.UNSENT, attempt.reason or "no answer in time", attempt.untrusted)
    if isinstance(error, DecodeError):
        return Lost(RequestStage.UNUSABLE, "the reply cannot be unpacked")
    if attempt.cut or isinstance(error, requests.Timeout | ReadTimeoutError):
        return Lost(RequestStage.HUNG, f"{attempt.received} bytes came")
    return Lost(RequestStage.BROKE, f"after {attempt.received} bytes")
