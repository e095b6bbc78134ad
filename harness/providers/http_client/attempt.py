"""One request on its way: its connection is opened, watched, and cut off at the deadline."""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import ContextVar
from ipaddress import ip_address

from harness.providers.http_client.exchange import Deadline

A_DAY = 86_400.0

Resolver = Callable[[str, int], Sequence[str]]
"""Host and port to IP addresses, the best first; raises OSError."""
Connector = Callable[[str, int, float], socket.socket]
"""IP address, port and seconds to an open socket; raises OSError."""


def resolve(host: str, port: int) -> Sequence[str]:
    """The system's answer."""
    result = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(address[0]) for *_, address in result))


def connect(address: str, port: int, seconds: float) -> socket.socket:
    """A plain connection to an IP address."""
    return socket.create_connection((address, port), seconds)


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
        self._token = CURRENT.set(self)
        self._timer = threading.Timer(min(self.deadline.left, A_DAY), self._cut_off)
        self._timer.daemon = True
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        CURRENT.reset(self._token)
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


CURRENT: ContextVar[Attempt] = ContextVar("attempt")
"""The request that this thread is about, for the connection beneath it."""


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
