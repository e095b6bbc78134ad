"""The one way out to the network: retries, deadlines, caps, and a key that goes nowhere else.

A request is paid for, so it is sent again only when it was provably not accepted: the connection was refused, or the
service itself answered 429 or 5xx. Whatever hung or broke midway ends here, possibly billed.
"""

from __future__ import annotations

import queue
import random
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Protocol
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import DecodeError, ReadTimeoutError
from urllib3.exceptions import HTTPError as TransportError

from harness.errors import ProviderError
from harness.values import Outcome

RETRIED = frozenset({429, 500, 502, 503, 504, 529})
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
CHUNK = 64 * 1024  # bytes read at a time, at most, so that the cap and the deadline are seen in time
SHOWN = 200  # characters of a service's own words in a message


class Secret(Protocol):
    """A value that shows itself only when asked to."""

    def reveal(self) -> str: ...


@dataclass(frozen=True)
class Policy:
    """How patient a session is. Seconds, but for the counts."""

    attempts: int = 4
    deadline: float = 120.0  # for one request with all its retries
    connect: float = 5.0
    read: float = 60.0  # between two bytes
    backoff: float = 0.5  # before the second attempt; doubled each time, with jitter
    longest_wait: float = 30.0  # a service that asks for more is not waited for
    max_bytes: int = 32 * 1024 * 1024  # of one reply


@dataclass(frozen=True)
class Reply:
    """What came back, whole."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes


class Unanswered(Exception):
    """No usable reply: `outcome` says how it ended, the text says why; never leaves the providers.

    `final`: every other request of this run would end alike.
    """

    def __init__(self, outcome: Outcome, message: str, *, final: bool = False) -> None:
        self.outcome, self.final = outcome, final
        super().__init__(message)


class Session:
    """HTTP to one origin; threads may share it."""

    def __init__(self, origin: str, policy: Policy, *, header: str = "", key: Secret | None = None) -> None:
        parts = urlsplit(origin)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
            raise ProviderError(f"{origin!r} is no service address; write https://HOST[:PORT]")
        self.local = parts.hostname in LOOPBACK
        if key is not None and parts.scheme == "http" and not self.local:
            raise ProviderError(f"{origin}: a key is never sent without encryption; write https://")
        self.origin, self.policy = origin.rstrip("/"), policy
        self._key, self._header = key, header
        self._idle: queue.LifoQueue[requests.Session] = queue.LifoQueue()  # clients with their open connections

    def post(self, path: str, payload: Mapping[str, Any]) -> Reply:
        """Send JSON to `path`; retry what was provably not accepted, within the deadline.

        Raises:
            Unanswered: no reply, or one that is too large or was cut short. An HTTP error status is a reply.
        """
        url = self.url(path)
        deadline = time.monotonic() + self.policy.deadline
        for attempt in range(1, self.policy.attempts + 1):
            failure: Unanswered | None = None
            reply: Reply | None = None
            try:
                reply = self._send(url, payload, deadline)
            except requests.ConnectTimeout as error:
                failure = Unanswered(Outcome.PROVIDER_ERROR, f"no connection to {self.origin}: {self.redact(error)}")
            except requests.ConnectionError as error:
                failure = self._broken(error)
                if failure.outcome is Outcome.TIMEOUT:
                    raise failure from error
            if reply and reply.status not in RETRIED:
                return reply
            wait = self._wait(attempt, reply)
            if attempt == self.policy.attempts or wait > self.policy.longest_wait or time.monotonic() + wait > deadline:
                break
            time.sleep(wait)
        if failure:
            raise failure
        assert reply is not None  # the loop ran: there was a failure or a reply
        return reply

    def close(self) -> None:
        """Close the connections that nobody uses."""
        with suppress(queue.Empty):
            while True:
                self._idle.get_nowait().close()

    def url(self, path: str) -> str:
        """A path on this origin, and only there."""
        url = f"{self.origin}/{path.lstrip('/')}"
        if urlsplit(url)[:2] != urlsplit(self.origin)[:2]:
            raise ProviderError(f"path {path!r} leads away from {self.origin}")
        return url

    def redact(self, text: object) -> str:
        """Words for people: short, on one line, and without the key."""
        said = " ".join(str(text).split())
        if self._key is not None:
            said = said.replace(self._key.reveal(), "***")
        return said if len(said) <= SHOWN else said[: SHOWN - 3] + "..."

    def _send(self, url: str, payload: Mapping[str, Any], deadline: float) -> Reply:
        """One attempt; the body is read in pieces, under the cap and the deadline."""
        headers = {"Accept": "application/json", "User-Agent": "lora-harness"}
        if self._key is not None:
            headers[self._header] = self._key.reveal()
        left = max(0.05, deadline - time.monotonic())
        timeout = (min(self.policy.connect, left), min(self.policy.read, left))
        try:
            with (
                self._client() as client,
                client.post(
                    url, json=payload, headers=headers, timeout=timeout, stream=True, allow_redirects=False
                ) as response,
            ):
                body = self._read(response, deadline)
                names = {name.lower(): value for name, value in response.headers.items()}
                return Reply(response.status_code, names, body)
        except requests.ReadTimeout as error:
            raise self._hung() from error

    def _read(self, response: requests.Response, deadline: float) -> bytes:
        """The whole body, or why not."""
        body = bytearray()
        try:
            while piece := response.raw.read1(
                CHUNK, decode_content=True
            ):  # whatever has come, without waiting for more
                body += piece
                if len(body) > self.policy.max_bytes:
                    raise Unanswered(Outcome.BAD_IMAGE, f"the reply is larger than {self.policy.max_bytes} bytes")
                if time.monotonic() > deadline:
                    raise self._hung()
        except ReadTimeoutError as error:
            raise self._hung() from error
        except DecodeError as error:
            raise Unanswered(Outcome.BAD_IMAGE, f"the reply cannot be unpacked: {self.redact(error)}") from error
        except (TransportError, OSError) as error:
            message = f"the reply broke off after {len(body)} bytes; possibly billed, so not sent again"
            raise Unanswered(Outcome.BAD_IMAGE, message) from error
        return bytes(body)

    def _hung(self) -> Unanswered:
        return Unanswered(Outcome.TIMEOUT, f"{self.origin} did not answer in time; possibly billed, so not sent again")

    def _broken(self, error: requests.ConnectionError) -> Unanswered:
        """A connection never made may be tried again; one that broke after sending may have been accepted."""
        said = self.redact(error)
        if (
            "Failed to establish" in str(error)
            or "NewConnectionError" in repr(error)
            or "NameResolution" in repr(error)
        ):
            return Unanswered(Outcome.PROVIDER_ERROR, f"no connection to {self.origin}: {said}")
        message = f"the connection to {self.origin} broke; possibly billed, so not sent again: {said}"
        return Unanswered(Outcome.TIMEOUT, message)

    def _wait(self, attempt: int, reply: Reply | None) -> float:
        """Seconds before the next attempt: what the service asks for, else doubling with jitter."""
        asked = retry_after(reply.headers.get("retry-after", ""), datetime.now(UTC)) if reply else None
        doubled = self.policy.backoff * 2 ** (attempt - 1)
        return asked if asked is not None else doubled * random.uniform(0.5, 1.0)

    @contextmanager
    def _client(self) -> Iterator[requests.Session]:
        """A client for one thread at a time. No .netrc: only the configured key is sent. No proxy to this machine."""
        try:
            client = self._idle.get_nowait()
        except queue.Empty:
            client = requests.Session()
            client.auth = lambda prepared: prepared
            client.trust_env = not self.local
        try:
            yield client
        finally:
            self._idle.put(client)


def retry_after(value: str, now: datetime) -> float | None:
    """Seconds that a Retry-After header asks for, as a number or as a date; None when it says nothing usable."""
    try:
        seconds = float(value)
    except ValueError:
        try:
            when = parsedate_to_datetime(value)
        except ValueError:
            return None
        seconds = (when.replace(tzinfo=when.tzinfo or UTC) - now).total_seconds()
    return max(0.0, seconds) if seconds == seconds else None  # NaN is not a number of seconds
