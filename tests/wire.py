"""A small server of raw bytes on loopback, for what no well-behaved library would send."""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

Script = bytes | Callable[["Wire", socket.socket], None]


@dataclass(frozen=True)
class Received:
    """One request as it came."""

    line: str
    headers: Mapping[str, str]  # names in lower case
    body: bytes
    raw: bytes


class Wire:
    """Answers requests with a script, one entry each; the last entry is repeated."""

    def __init__(self, *script: Script, tls: ssl.SSLContext | None = None) -> None:
        self.script = script or (reply(),)
        self.received: list[Received] = []
        self.connections = 0
        self.closing = threading.Event()
        self._tls, self._lock = tls, threading.Lock()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._socket.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._socket.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError):
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls:
                client = self._tls.wrap_socket(client, server_side=True)
            with client, client.makefile("rb") as stream:
                while received := read_request(stream):
                    with self._lock:
                        index = len(self.received)
                        self.received.append(received)
                    answer = self.script[min(index, len(self.script) - 1)]
                    if isinstance(answer, bytes):
                        client.sendall(answer)
                    else:
                        answer(self, client)
                        return


def read_request(stream: Any) -> Received | None:
    raw = stream.readline()
    while raw and not raw.endswith(b"\r\n\r\n"):
        line = stream.readline()
        if not line:
            return None
        raw += line
    if not raw:
        return None
    first, *lines = raw.decode("latin-1").split("\r\n")
    headers = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)
    }
    return Received(first, headers, stream.read(int(headers.get("content-length", 0))), raw)


def reply(status: int = 200, body: bytes = b"{}", **headers: str) -> bytes:
    """A whole reply; header names with underscores for hyphens."""
    given = {"Content-Length": str(len(body)), **{name.replace("_", "-"): value for name, value in headers.items()}}
    lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    return f"HTTP/1.1 {status} Said\r\n{lines}\r\n".encode() + body


def hang(wire: Wire, client: socket.socket) -> None:
    """Nothing, until the test is over."""
    wire.closing.wait(30)


def drop(wire: Wire, client: socket.socket) -> None:
    """The connection is closed without a word."""


def cut(wire: Wire, client: socket.socket) -> None:
    """Half a reply."""
    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b" " * 500)


def drip_body(wire: Wire, client: socket.socket) -> None:
    """A few bytes now and then: no single wait is long."""
    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while not wire.closing.wait(0.03):
        client.sendall(b" ")


def drip_headers(wire: Wire, client: socket.socket) -> None:
    """The same before the body."""
    client.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while not wire.closing.wait(0.03):
        client.sendall(b"a")


def drip_without_length(wire: Wire, client: socket.socket) -> None:
    """The same where the end of the connection is the end of the body."""
    client.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    while not wire.closing.wait(0.03):
        client.sendall(b" ")


def flood(wire: Wire, client: socket.socket) -> None:
    """200 MB, as much of it as the other side takes."""
    client.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    for _ in range(3200):
        client.sendall(b" " * 65536)


def refused_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def make_authority(folder: Path) -> Path:
    """A throwaway authority, `ca.pem`, and a certificate of 127.0.0.1 and cdn.example that it signed."""
    if shutil.which("openssl") is None:
        pytest.skip("makes certificates with the openssl program")
    curve = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
    (folder / "names.txt").write_text("subjectAltName=IP:127.0.0.1,DNS:cdn.example\n")
    for command in (
        f"req -x509 {curve} -keyout ca.key -out ca.pem -subj /CN=Throwaway -days 2",
        f"req {curve} -keyout server.key -out server.csr -subj /CN=server",
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem -days 2 -extfile names.txt",
    ):
        subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)
    return folder


def serve_tls(folder: Path) -> ssl.SSLContext:
    """What a server needs to prove itself with that certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    return context
