"""The process's one emulator, for all providers of a run; or one that runs elsewhere on this machine."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Sequence
from urllib.parse import urlsplit

from harness.core.errors import UsageError
from harness.emulator.server import Emulator

SCALE = 1 / 8  # of the size asked for: nobody looks at an emulated picture closely


class Lender:
    """Starts an emulator for the first user and closes it after the last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._emulator: Emulator | None = None

    def lend(self) -> Lent:
        with self._lock:
            if self._emulator is None:
                self._emulator = Emulator(scale=SCALE)
            self._users += 1
            return Lent(self._emulator, self)

    def take_back(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0 and self._emulator is not None:
                self._emulator.close()
                self._emulator = None


class Lent:
    """One user's share of the process's emulator."""

    def __init__(self, emulator: Emulator, lender: Lender) -> None:
        self.emulator, self._lender = emulator, lender
        self._released = threading.Lock()  # taken for good by the first who gives it back

    @property
    def url(self) -> str:
        return self.emulator.url

    def plan(self, service: str, faults: Sequence[str]) -> None:
        """Queue faults for one service."""
        self.emulator.plan(service, faults)

    def release(self) -> None:
        """Give it back; harmless the second time."""
        if self._released.acquire(blocking=False):
            self._lender.take_back()


class Elsewhere:
    """An emulator of another process, planned by its control endpoint."""

    def __init__(self, address: str) -> None:
        self.url = address.rstrip("/")

    def plan(self, service: str, faults: Sequence[str]) -> None:
        """Queue faults.

        Raises:
            UsageError: nobody listens there, or it knows no such fault.
        """
        if not faults:
            return
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=5)
        try:
            body = json.dumps({"service": service, "faults": list(faults)})
            connection.request("POST", "/_control/faults", body, {"Content-Type": "application/json"})
            reply = connection.getresponse()
            text = reply.read(10_000).decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            raise UsageError(f"no emulator at {self.url}: {error}; start one with `harness emulator`") from error
        finally:
            connection.close()
        if reply.status != 200:
            raise UsageError(f"the emulator at {self.url} says: {text}")

    def release(self) -> None:
        """It belongs to another process."""


LENDER = Lender()
Shared = Lent | Elsewhere
"""What `share` lends."""


def share(address: str = "") -> Shared:
    """The process's shared emulator, started when first asked for and closed when nobody uses it any more.

    An `address` such as http://127.0.0.1:8899 means one that runs elsewhere; nothing is started then.
    """
    return Elsewhere(address) if address else LENDER.lend()
