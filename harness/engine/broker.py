"""A run for other processes: xdist's controller owns the models, its workers ask over a loopback socket.

One JSON line each way: {"token", "ask", "with"} and {"answer"} or {"error", "message"}. Workers import nothing heavy.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import secrets
import socket
import socketserver
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from harness.core import errors
from harness.core.errors import EngineError, HarnessError
from harness.core.values import CaseResult, Job, Verdict, case_result_from, to_record, verdict_from

if TYPE_CHECKING:
    from harness.engine.run import Run

LONGEST = 64 * 2**20  # bytes of one line
HOST = "127.0.0.1"


def jobs_from(records: Sequence[Mapping[str, str]]) -> list[Job]:
    return [Job(**record) for record in records]


ASK: Mapping[str, Callable[[Run, Any], Any]] = {
    "submit": lambda run, jobs: run.submit(jobs_from(jobs)),
    "result": lambda run, job: run.result(Job(**job)),
    "verdict": lambda run, job: run.verdict(Job(**job)),
    "attempts": lambda run, job: run.attempts(Job(**job)),
    "gate": lambda run, names: run.gate(*names),
}
"""What a worker may ask; nothing else can be called from outside."""


class BrokerAddress(TypedDict):
    """What a worker needs to know, as xdist sends it."""

    address: list[Any]  # host, port
    token: str


class Broker:
    """Serves one run to the processes that know its token, a thread a process."""

    def __init__(self, run: Run | Callable[[], Run]) -> None:
        """`run` may be a function that opens it when it is first asked for."""
        self._run, self._token = run, secrets.token_hex(32)
        self._opening = threading.Lock()
        self._links: set[socket.socket] = set()
        self._server = BrokerServer((HOST, 0), BrokerHandler)
        self._server.broker = self
        self._thread = threading.Thread(target=self._server.serve_forever, name="harness-broker", daemon=True)
        self._thread.start()

    @property
    def address(self) -> BrokerAddress:
        """What a worker needs to know, plain: `RemoteRun(**address)`."""
        return {"address": list(self._server.server_address[:2]), "token": self._token}

    @property
    def run(self) -> Run:
        with self._opening:
            if callable(self._run):
                self._run = self._run()
            return self._run

    def close(self) -> None:
        """Stop serving; whoever still waits is released with EngineError."""
        self._server.shutdown()
        self._server.server_close()
        for link in list(self._links):
            with contextlib.suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)

    def admits(self, token: object) -> bool:
        return isinstance(token, str) and hmac.compare_digest(token.encode(), self._token.encode())

    def answer(self, question: Mapping[str, object]) -> dict[str, object]:
        """The answer to one question; every failure is an answer too, so that nobody waits in vain."""
        try:
            ask = ASK.get(str(question.get("ask")))
            if ask is None:
                raise EngineError(f"the broker cannot be asked for {question.get('ask')!r}")
            return {"answer": to_record(ask(self.run, question.get("with")))}
        except Exception as error:
            kind = type(error).__name__ if isinstance(error, HarnessError) else "EngineError"
            text = str(error) if isinstance(error, HarnessError) else f"{type(error).__name__}: {error}"
            return {"error": kind, "message": text}


class BrokerServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = False
    daemon_threads = True
    block_on_close = False  # a thread may wait for a picture; its link is cut instead
    broker: Broker

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A worker that went away is no news: pytest-xdist reports it."""


class BrokerHandler(socketserver.StreamRequestHandler):
    """One worker's questions, one after the other."""

    server: BrokerServer

    def handle(self) -> None:
        broker = self.server.broker
        broker._links.add(self.request)
        try:
            while line := self.rfile.readline(LONGEST):
                question = json.loads(line)
                if not isinstance(question, dict) or not broker.admits(question.get("token")):
                    return
                self.wfile.write(json.dumps(broker.answer(question)).encode() + b"\n")
        except ValueError:
            return  # not our language
        finally:
            broker._links.discard(self.request)


class RemoteRun:
    """A run in another process, with the methods that tests need; waits as long as the answer takes."""

    def __init__(self, address: Sequence[Any], token: str) -> None:
        self._address, self._token = (str(address[0]), int(address[1])), token
        self._lock = threading.Lock()
        self._link: socket.socket | None = None
        self._lines: Any = None

    def submit(self, jobs: Sequence[Job]) -> None:
        self._ask("submit", to_record(list(jobs)))

    def result(self, job: Job) -> CaseResult:
        return case_result_from(self._ask("result", to_record(job)))

    def verdict(self, job: Job) -> Verdict:
        return verdict_from(self._ask("verdict", to_record(job)))

    def attempts(self, job: Job) -> tuple[Verdict, ...]:
        return tuple(map(verdict_from, self._ask("attempts", to_record(job))))

    def gate(self, path: str, provider: str) -> Verdict:
        return verdict_from(self._ask("gate", [path, provider]))

    def close(self) -> None:
        """Hang up; closing twice is fine."""
        with self._lock:
            if self._link is not None:
                self._lines.close()
                self._link.close()
                self._link = self._lines = None

    def _ask(self, ask: str, given: Any) -> Any:
        """One question and its answer.

        Raises:
            EngineError: the controller is gone.
            HarnessError: whatever it raised there, under its own type.
        """
        with self._lock:
            try:
                if self._link is None:
                    self._link = socket.create_connection(self._address, timeout=10)
                    self._link.settimeout(None)
                    self._lines = self._link.makefile("rb")
                text = json.dumps({"token": self._token, "ask": ask, "with": given})
                self._link.sendall(text.encode() + b"\n")
                line = self._lines.readline()
            except OSError as error:
                raise EngineError(f"the controller cannot be reached ({error}); see its output") from error
        if not line.endswith(b"\n"):
            raise EngineError("the controller has gone away; see its output for the reason")
        reply = json.loads(line)
        if "error" in reply:
            raise known_error(reply["error"])(reply["message"])
        return reply["answer"]


def known_error(name: str) -> Callable[[str], HarnessError]:
    """The class of an error told over the wire; what needs more than a message arrives as EngineError."""
    kind = getattr(errors, name, EngineError)
    plain = isinstance(kind, type) and issubclass(kind, HarnessError) and kind is not errors.MissingKey
    return kind if plain else EngineError
