"""One HTTP exchange on `requests`: where it may connect to, when it must have ended, and how far it came."""

from __future__ import annotations

import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from http.cookiejar import DefaultCookiePolicy
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple

import certifi
import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import DecodeError, NewConnectionError, ReadTimeoutError
from urllib3.util import parse_url

from harness.core.errors import ProviderError
from harness.providers.http_client.exchange import Deadline, Policy, Reply

CHUNK = 64 * 1024  # bytes read at a time, at most, so that the cap is seen in time
IDLE = 3.0  # seconds after which a kept connection is not trusted: the service may be about to close it
A_DAY = 86_400.0
PORTS = {"http": 80, "https": 443}

Resolver = Callable[[str, int], Sequence[str]]
"""Host and port to IP addresses, the best first; raises OSError."""
Connector = Callable[[str, int, float], socket.socket]
"""IP address, port and seconds to an open socket; raises OSError."""


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


def resolve(host: str, port: int) -> Sequence[str]:
    """The system's answer."""
    result = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(address[0]) for *_, address in result))


def connect(address: str, port: int, seconds: float) -> socket.socket:
    """A plain connection to an IP address."""
    return socket.create_connection((address, port), seconds)


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


class Attempt:
    """One request on its way. Used as a context it cuts the connection off at the deadline, whatever that is doing."""

    def __init__(self, resolver: Resolver, connector: Connector, deadline: Deadline) -> None:
        self.sent = self.cut = False
        self.received = 0  # bytes of the body, decoded
        self.reason = ""  # why there is no connection
        self.untrusted = False
        self._resolver, self._connector = resolver, connector
        self.deadline = deadline
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None

    def __enter__(self) -> Attempt:
        self._token = _current.set(self)
        self._timer = threading.Timer(min(self.deadline.left, A_DAY), self._cut_off)
        self._timer.daemon = True
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        _current.reset(self._token)
        with self._lock:
            self._socket = None  # a late timer must not cut off the next request on it

    def watch(self, connection: socket.socket) -> None:
        """This is the connection to cut off."""
        with self._lock:
            self._socket = connection
        if self.cut:
            self._cut_off()

    def open(self, host: str, port: int, seconds: float) -> socket.socket:
        """Resolve and connect, both within `seconds`.

        Raises:
            OSError: none of the addresses answered.
        """
        ends = time.monotonic() + seconds
        try:
            addresses = resolve_within(self._resolver, host, port, seconds)
            for last, address in enumerate(addresses, 1 - len(addresses)):
                left = max(0.01, ends - time.monotonic())
                try:
                    return self._connector(address, port, left if last == 0 else left / 2)
                except OSError:
                    if last == 0:
                        raise
            raise OSError("the name has no address")
        except OSError as error:
            self.reason = explain(error)
            raise

    def _cut_off(self) -> None:
        with self._lock:
            self.cut = True
            if self._socket is not None:
                with suppress(OSError):
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)  # not SSLSocket's: it forgets the encryption


_current: ContextVar[Attempt] = ContextVar("attempt")


def resolve_within(resolver: Resolver, host: str, port: int, seconds: float) -> Sequence[str]:
    """Addresses of a host; the system's own resolver knows no deadline, so it runs beside.

    Raises:
        OSError: not known, or not in time.
    """
    with suppress(ValueError):
        return (str(ip_address(host)),)
    answers: queue.SimpleQueue[Sequence[str] | OSError] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(resolver(host, port))
        except (OSError, UnicodeError) as error:
            answers.put(error if isinstance(error, OSError) else OSError("the name is not valid"))

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError("the name was not resolved in time") from None
    if isinstance(answer, OSError):
        raise answer
    return answer


def explain(error: OSError) -> str:
    """A failed connection in a few words."""
    if isinstance(error, socket.gaierror):
        return "the name cannot be resolved"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused, nobody listens there"
    if isinstance(error, TimeoutError):
        return str(error) if "resolved" in str(error) else "no answer in time"
    return (error.strerror or str(error) or type(error).__name__).lower()


class Watched(HTTPConnection):
    """A connection that goes only where the current attempt leads, and says when the request left."""

    debuglevel = 0  # http.client would print headers, whoever switched that on
    opened = 0.0

    @property
    def is_connected(self) -> bool:
        return super().is_connected and time.monotonic() - self.opened < IDLE

    def _new_conn(self) -> socket.socket:
        attempt = _current.get()
        try:
            opened = attempt.open(self._dns_host, self.port, float(self.timeout or A_DAY))
        except OSError:
            raise NewConnectionError(self, "no connection") from None
        for option in self.socket_options or ():  # small packets at once, not after the other side's acknowledgement
            opened.setsockopt(*option)
        return opened

    def connect(self) -> None:
        attempt = _current.get()
        try:
            super().connect()
        except ssl.SSLCertVerificationError as error:
            attempt.reason, attempt.untrusted = error.verify_message.rstrip("."), True
            raise
        except ssl.SSLError as error:
            attempt.reason = f"no encryption there ({error.reason or 'broken off'})"
            raise
        except OSError as error:
            attempt.reason = attempt.reason or explain(error)
            raise

    def request(self, *args: Any, **options: Any) -> None:
        attempt = _current.get()
        if self.sock is None:
            self.connect()
        attempt.watch(self.sock)
        if attempt.cut:
            raise TimeoutError  # too late, and nothing has left yet
        attempt.sent = True
        super().request(*args, **options)

    def getresponse(self) -> Any:
        response = super().getresponse()
        self.opened = time.monotonic()
        return response


class WatchedTLS(Watched, HTTPSConnection):
    """The same, encrypted."""


class Pool(HTTPConnectionPool):
    ConnectionCls = Watched


class PoolTLS(HTTPSConnectionPool):
    ConnectionCls = WatchedTLS


POOLS = {"http": Pool, "https": PoolTLS}


class Adapter(HTTPAdapter):
    """Requests' adapter with our connections; certificates are always checked, against our context."""

    def __init__(self, context: Callable[[], ssl.SSLContext]) -> None:
        self._context = context
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = POOLS

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **options)
        manager.pool_classes_by_scheme = POOLS
        return manager

    def build_connection_pool_key_attributes(self, request: Any, verify: Any, cert: Any = None) -> Any:
        host, _ = super().build_connection_pool_key_attributes(request, True, None)
        secure = host["scheme"] == "https"
        return host, {"ssl_context": self._context(), "cert_reqs": "CERT_REQUIRED"} if secure else {}

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """The context says all; requests would add to it."""


class Client(requests.Session):
    """One thread's connections. No cookies, no .netrc, no redirects; only the configured key is ever sent."""

    def __init__(self, context: Callable[[], ssl.SSLContext], proxies: bool) -> None:
        super().__init__()
        self.trust_env = proxies
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        for scheme in PORTS:
            self.mount(f"{scheme}://", Adapter(context))

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """None: requests would read the whole body of a redirect, however large."""
        return None


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
