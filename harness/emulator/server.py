"""The emulator's server: threads, loopback only, one POST route."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from harness.emulator.artist import draw_prompt, encode_picture
from harness.emulator.faults import FAULTS, Answer, error
from harness.errors import UsageError, nearest

ROUTE = "/v1/images"
MARKER = re.compile(r"\[\[(\w+)\]\]")  # a prompt may ask for a fault: "a person [[refused]]"
FAULT_HEADER = "X-Emulate"  # and so may a header
MAX_REQUEST = 1_000_000  # bytes
MAX_SIDE = 4096  # pixels


@dataclass(frozen=True)
class Call:
    """One request that came in, for tests to look at."""

    headers: Mapping[str, str]
    payload: Mapping[str, Any]
    fault: str


class Emulator:
    """A running service at `url`; a context manager. `faults` are spent one a request, then all is well."""

    def __init__(self, faults: Iterable[str] = (), *, key: str = "", header: str = "X-Api-Key", port: int = 0) -> None:
        self.faults = [known_fault(name) for name in faults]
        self.key, self.header = key, header
        self.calls: list[Call] = []
        self.stopped = threading.Event()
        self._lock = threading.Lock()
        self._server = Server(("127.0.0.1", port), self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="emulator", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Emulator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop, and let go of whoever still waits for a slow answer."""
        self.stopped.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, headers: Mapping[str, str], payload: Mapping[str, Any]) -> Answer:
        """What the service says to one request."""
        marked = MARKER.search(str(payload.get("prompt", "")))
        with self._lock:
            planned = self.faults.pop(0) if self.faults else "ok"
            fault = headers.get(FAULT_HEADER.lower()) or (marked.group(1) if marked else planned)
            self.calls.append(Call(headers, payload, fault))
        if self.key and headers.get(self.header.lower()) != self.key:
            return FAULTS["auth"](b"")
        problem = check_payload(payload)
        if problem or fault not in FAULTS:
            return error(400, problem or f"no fault called {fault}")
        size = (int(payload["width"]), int(payload["height"]))
        return FAULTS[fault](encode_picture(draw_prompt(payload["prompt"], int(payload["seed"]), *size)))


def known_fault(name: str) -> str:
    if name not in FAULTS:
        raise UsageError(f"no fault called {name!r}; {nearest(name, FAULTS)}")
    return name


def check_payload(payload: Mapping[str, Any]) -> str:
    """What is wrong with a request; "" when nothing is."""
    if not isinstance(payload.get("prompt"), str) or not payload["prompt"].strip():
        return "prompt is missing"
    numbers = [payload.get(name) for name in ("seed", "width", "height")]
    if not all(isinstance(number, int) for number in numbers):
        return "seed, width and height must be whole numbers"
    return (
        ""
        if all(8 <= payload[name] <= MAX_SIDE for name in ("width", "height"))
        else f"sizes are 8 to {MAX_SIDE} pixels"
    )


class Server(ThreadingHTTPServer):
    """Knows its emulator, and says nothing when a client hangs up."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], emulator: Emulator) -> None:
        self.emulator = emulator
        super().__init__(address, Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that timed out is the point of `slow`, not news."""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(min(length, MAX_REQUEST))
        headers = {name.lower(): value for name, value in self.headers.items()}
        if self.path != ROUTE:
            self.send(error(404, f"no route {self.path}"))
            return
        try:
            payload = json.loads(body)
        except ValueError:
            payload = None
        readable = isinstance(payload, dict)
        self.send(self.server.emulator.answer(headers, payload) if readable else error(400, "not a JSON object"))

    def send(self, answer: Answer) -> None:
        if answer.delay and self.server.emulator.stopped.wait(answer.delay):
            answer = Answer(dropped=True)
        if answer.dropped:
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body) if answer.announced is None else answer.announced))
        self.end_headers()
        self.wfile.write(answer.body)
        if answer.announced is not None:
            self.close_connection = True  # the rest never comes

    def log_message(self, format: str, *args: Any) -> None:
        """Silent: the session tells what people need to know."""


def serve(port: int = 8008, faults: Sequence[str] = ()) -> None:
    """`harness emulator`: run until Ctrl-C."""
    with Emulator(faults, port=port) as emulator:
        print(f"emulated service at {emulator.url}{ROUTE}; Ctrl-C stops it", flush=True)
        try:
            emulator.stopped.wait()
        except KeyboardInterrupt:
            print("stopped")
