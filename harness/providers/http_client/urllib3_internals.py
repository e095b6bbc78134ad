"""What urllib3 keeps to itself and the transport needs: connections that go only where an attempt leads."""

from __future__ import annotations

import socket
import ssl
import time
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import NewConnectionError

from harness.providers.http_client.attempt import A_DAY, CURRENT, explain

IDLE = 3.0  # seconds after which a kept connection is not trusted: the service may be about to close it


class Watched(HTTPConnection):
    """A connection that goes only where the current attempt leads, and says when the request left."""

    debuglevel = 0  # http.client would print headers, whoever switched that on
    opened = 0.0

    @property
    def is_connected(self) -> bool:
        return super().is_connected and time.monotonic() - self.opened < IDLE

    def _new_conn(self) -> socket.socket:
        attempt = CURRENT.get()
        try:
            opened = attempt.open(self._dns_host, self.port, float(self.timeout or A_DAY))
        except OSError:
            raise NewConnectionError(self, "no connection") from None
        for option in self.socket_options or ():  # small packets at once, not after the other side's acknowledgement
            opened.setsockopt(*option)
        return opened

    def connect(self) -> None:
        attempt = CURRENT.get()
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
        attempt = CURRENT.get()
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
