"""The emulator's server: loopback only, a thread a connection, every service under its name."""

from __future__ import annotations

import random
import re
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from harness.core.errors import UsageError
from harness.emulator.cdn import Cdn
from harness.emulator.exchange import FAULT_HEADER, SCALE_HEADER, Answer, Asked, Problem, Rejected, answer_json
from harness.emulator.fault_injection import gateway_page, rate_headers, spoil, status_problem
from harness.emulator.fault_plans import applicable, check_faults
from harness.emulator.faults import FAULTS, known_fault
from harness.emulator.ledger import Limits, RequestLedger, Visit, identify
from harness.emulator.parsing import read_request
from harness.emulator.service import MARKER, GenerationContext, Route, Service
from harness.emulator.services import SERVICES, parts_of

MAX_REQUEST = 32 * 1024 * 1024  # bytes of a request's body
DIGITS = 15  # of a length that is read as a number
HERE = ("127.0.0.1", "localhost", "[::1]")  # what `Host` may say
MAX_CALLS = 20_000  # that are remembered
HOST = "127.0.0.1"


class Emulator:
    """Running services at `url`/<service>; a context manager.

    `faults` are spent one a paid request, then all is well: a mapping by service, or a sequence for whoever asks next.
    `fault_rate` of the other paid requests meet one of `rate_faults`; which, follows from `seed` and the request.
    `delay`: seconds that a paid request takes. `scale`: pictures are this fraction of the size asked for.
    `limits`: beyond them a service answers 429. `today`: models whose day has come by then are gone.

    Raises:
        UsageError: a fault or a service that there is not.
    """

    def __init__(
        self,
        faults: Mapping[str, Sequence[str]] | Sequence[str] = (),
        *,
        port: int = 0,
        scale: float = 1.0,
        delay: float = 0.0,
        fault_rate: float = 0.0,
        rate_faults: Sequence[str] = (),
        seed: int = 0,
        limits: Mapping[str, Limits] | None = None,
        today: date | None = None,
    ) -> None:
        self.ledger = RequestLedger(limits)
        self._faults = FaultPlan(fault_rate, rate_faults, seed)
        planned = faults if isinstance(faults, Mapping) else {"": faults}
        for service, names in planned.items():
            self.plan(service, names)
        self._calls: deque[Asked] = deque(maxlen=MAX_CALLS)
        self._parts: dict[str, list[Service]] = {}
        self._lock = threading.Lock()
        self._ssrf_trap = socket.create_server((HOST, 0))  # whoever connects here followed an address it should not
        self._ssrf_trap.setblocking(False)
        self._strays = 0
        self._server = EmulatorServer((HOST, port), self)
        self.cdn = Cdn(lambda: self.url, lambda: f"http://{HOST}:{self._ssrf_trap.getsockname()[1]}")
        self.stage = GenerationContext(self.url, self.cdn, scale, delay, lambda: today or date.today())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="emulator", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._server.server_address[1]}"

    @property
    def calls(self) -> list[Asked]:
        """Every request that came in, the oldest first."""
        return list(self._calls)

    @property
    def strays(self) -> int:
        """How often somebody connected to the port that only `url_to_loopback` names."""
        with self._lock:
            try:
                while True:
                    self._ssrf_trap.accept()[0].close()
                    self._strays += 1
            except OSError:
                return self._strays

    def plan(self, service: str, faults: Sequence[str]) -> None:
        """Queue faults for one service; "" is for whichever asks next.

        Raises:
            UsageError: a fault that there is not, or that the service does not serve.
        """
        names = check_faults(service, faults) if service else [known_fault(name).name for name in faults]
        self._faults.add(service, names)

    def __enter__(self) -> Emulator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def release(self) -> None:
        """What a user of `share` calls; for an emulator of one's own it is `close`."""
        self.close()

    def close(self) -> None:
        """Stop, and let go at once of whoever still waits for an answer."""
        if self.stage.stopped.is_set():
            return
        self.stage.stopped.set()
        self._server.shutdown()
        self._server.hang_up()
        self._server.server_close()
        self._thread.join()
        _ = self.strays  # the last count, before the port is given back
        self._ssrf_trap.close()

    # --- one request ------------------------------------------------------------------------------------------------

    def answer(self, asked: Asked) -> Answer:
        """What the server says to one request; never raises."""
        if asked.service == "_control":
            return self._control(asked)
        if asked.service == "cdn" or (asked.service in SERVICES and asked.path.startswith("/cdn/")):
            self._calls.append(asked)
            return self.cdn.fetch(asked)
        parts = self._parts_of(asked.service)
        results = [(part, route, match) for part in parts for route, match in matches(part, asked)]
        if not results:
            self._calls.append(asked)
            where = f"no route {asked.method} {asked.path}"
            return parts[0].problem(Problem("not_found", where)) if parts else answer_json({"error": where}, 404)
        part, route, match = results[0]
        return self._ask(part, route, match.groupdict(), asked)

    def _ask(self, part: Service, route: Route, groups: Mapping[str, str], asked: Asked) -> Answer:
        served = part.serves()
        fault = self._faults.choose(asked, route.paid, served)
        if fault not in served:
            text = f"the emulated {asked.service} has no fault {fault!r} here"
            return part.problem(Problem("invalid", text))
        asked = replace(asked, fault=fault)
        visit = self.ledger.enter(asked) if route.paid else None
        self._calls.append(asked)
        try:
            answer = self._serve(part, route, groups, asked, visit)
            if visit and answer.billed:
                self.ledger.accept(visit)
        finally:
            if visit:
                self.ledger.leave(visit)
        return answer

    def _serve(
        self, part: Service, route: Route, groups: Mapping[str, str], asked: Asked, visit: Visit | None
    ) -> Answer:
        try:
            if not route.open:
                part.authorize(asked)
            if visit and not visit.allowed:
                raise Rejected(Problem("rate", "Too many requests"))
            problem = status_problem(asked.fault)
            if problem:
                raise Rejected(problem)
            answer = route.handler(asked, **groups)
        except Rejected as rejected:
            return put_problem(part, rejected.problem, asked.fault)
        except Exception as error:
            text = f"the emulated {asked.service} broke: {type(error).__name__}: {error}"
            return put_problem(part, Problem("error", text), asked.fault)
        return spoil(answer, asked.fault) if answer.status < 300 else answer

    def _parts_of(self, service: str) -> list[Service]:
        with self._lock:
            if service not in self._parts and service in SERVICES:
                self._parts[service] = [kind(service, self.stage) for kind in parts_of(service)]
            return self._parts.get(service, [])

    def _control(self, asked: Asked) -> Answer:
        """POST /_control/faults {"service", "faults"} and GET /_control/ledger."""
        if (asked.method, asked.path) == ("GET", "/ledger"):
            return answer_json(self.ledger.record())
        if (asked.method, asked.path) != ("POST", "/faults"):
            return answer_json({"error": "POST /_control/faults or GET /_control/ledger"}, 404)
        faults = asked.payload.get("faults", [])
        if not isinstance(faults, list) or not all(isinstance(name, str) for name in faults):
            return answer_json({"error": "faults must be a list of names"}, 400)
        try:
            self.plan(str(asked.payload.get("service", "")), faults)
        except UsageError as error:
            return answer_json({"error": str(error)}, 400)
        return answer_json({"planned": faults})


class FaultPlan:
    """Which fault a request meets: its X-Emulate header, its prompt's [[marker]], the queues, then chance."""

    def __init__(self, rate: float, rate_faults: Sequence[str], seed: int) -> None:
        self._rate, self._rate_faults, self._seed = rate, [known_fault(name).name for name in rate_faults], seed
        self._lock = threading.Lock()
        self._queues: dict[str, deque[str]] = {}
        self._stuck: dict[str, str] = {}  # a request to the fault that it meets whenever it comes
        self._seen: dict[str, int] = {}  # a request and a fault to how often they met

    def add(self, service: str, names: Sequence[str]) -> None:
        with self._lock:
            self._queues.setdefault(service, deque()).extend(names)

    def choose(self, asked: Asked, paid: bool, served: frozenset[str]) -> str:
        """The name of the fault, spent; "ok" when there is none. Only a header befalls what is not paid."""
        identity = f"{asked.service} {identify(asked)}"
        named = asked.headers.get(FAULT_HEADER, "") or (find_marker(asked.payload) if paid else "")
        with self._lock:
            if named:
                often = self._count(f"{identity} {named}")
                return "ok" if often > 1 and named in FAULTS and FAULTS[named].once else named
            if not paid:
                return "ok"
            if identity in self._stuck:
                return self._stuck[identity]
            for service in (asked.service, ""):
                if self._queues.get(service):
                    fault = self._queues[service].popleft()
                    if FAULTS[fault].sticky:
                        self._stuck[identity] = fault
                    return fault
            return self._chance(identity, [name for name in self._rate_faults if name in served])

    def _chance(self, identity: str, names: Sequence[str]) -> str:
        if not self._rate or not names:
            return "ok"
        often = self._count(identity)
        luck = random.Random(f"{self._seed} {identity} {often}")  # the same whatever the order of the threads
        return luck.choice(names) if luck.random() < self._rate else "ok"

    def _count(self, key: str) -> int:
        self._seen[key] = self._seen.get(key, 0) + 1
        return self._seen[key]


def find_marker(value: Any) -> str:
    """The first [[fault]] in any text of a request; "" without one."""
    if isinstance(value, str):
        result = MARKER.search(value)
        return result.group(1) if result else ""
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return next((marker for marker in map(find_marker, items) if marker), "")


def matches(part: Service, asked: Asked) -> Iterator[tuple[Route, re.Match[str]]]:
    """The routes of a service that a request is for."""
    for route in part.routes():
        match = re.fullmatch(route.path, asked.path) if route.method == asked.method else None
        if match:
            yield route, match


def put_problem(part: Service, problem: Problem, fault: str) -> Answer:
    """A problem in the service's form, with the headers that a 429 has."""
    if problem.kind in ("bad_gateway", "gateway_timeout"):
        return gateway_page(problem)
    answer = part.problem(problem)
    return answer.with_headers(rate_headers(fault)) if problem.kind == "rate" else answer


# --- the socket -------------------------------------------------------------------------------------------------------


class EmulatorServer(ThreadingHTTPServer):
    """Knows its emulator and its connections, and says nothing when a client hangs up."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], emulator: Emulator) -> None:
        self.emulator = emulator
        self._open: dict[Any, threading.Thread] = {}
        self._guard = threading.Lock()
        super().__init__(address, EmulatorHandler)

    def process_request(self, request: Any, client_address: Any) -> None:
        thread = threading.Thread(target=self.process_request_thread, args=(request, client_address), daemon=True)
        with self._guard:
            self._open[request] = thread
        thread.start()

    def shutdown_request(self, request: Any) -> None:
        with self._guard:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """End every connection, whatever its thread waits for, and wait for the threads."""
        with self._guard:
            connections = dict(self._open)
            for connection in connections:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue  # its client was faster
        for thread in connections.values():
            thread.join(timeout=5)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that gave up waiting is the point of `hang`, not news."""


def is_here(host: str) -> bool:
    """Whether a `Host` is this machine's, with any port (it may be forwarded)."""
    name, _, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
    return (name or port).lower() in HERE


class EmulatorHandler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 65_536  # head and body leave together
    server: EmulatorServer

    def handle_any(self) -> None:
        length = self.headers.get("Content-Length") or "0"
        if not is_here(self.headers.get("Host") or ""):  # a page of elsewhere whose name was made to resolve here
            self.refuse(403, f"the emulator answers to {', '.join(HERE)} only")
        elif self.headers.get("Transfer-Encoding") or not length.isdigit():
            self.refuse(411, "a body needs a Content-Length")
        elif len(length) > DIGITS or int(length) > MAX_REQUEST:
            self.refuse(413, f"a body may have {MAX_REQUEST} bytes")
        else:
            body = self.rfile.read(int(length))
            headers = {name.lower(): value for name, value in self.headers.items()}
            if self.path.rstrip("/") == "":
                self.put(Answer(200, index(self.server.emulator.url).encode(), {"Content-Type": "text/plain"}))
            else:
                self.put(self.server.emulator.answer(read_request(self.command, self.path, headers, body)))

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = handle_any

    def refuse(self, status: int, why: str) -> None:
        self.close_connection = True
        self.put(answer_json({"error": {"message": why}}, status))

    def put(self, answer: Answer) -> None:
        """Send an answer, faults and all."""
        if answer.hangs:
            self.connection.recv(1)  # until the client gives up, or the server closes
        if answer.hangs or answer.dropped:
            self.close_connection = True
            return
        self.head(answer)
        if self.command == "HEAD":
            return
        stopped = self.server.emulator.stage.stopped
        if answer.stream is not None:
            for piece in answer.stream():
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")
        elif answer.drip:
            for place in range(len(answer.body)):
                self.wfile.write(answer.body[place : place + 1])
                self.wfile.flush()
                if stopped.wait(answer.drip):
                    break
            self.close_connection = True
        else:
            self.wfile.write(answer.body)
        self.wfile.flush()

    def head(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header(SCALE_HEADER, f"{self.server.emulator.stage.scale:g}")
        if answer.stream is not None:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            announced = len(answer.body) if answer.announced is None else answer.announced
            self.send_header("Content-Length", str(announced))
        if answer.announced is not None or answer.stream is not None:
            self.close_connection = True  # a lie about the length spoils whatever would follow
            self.send_header("Connection", "close")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Silent: the client tells what people need to know."""


def index(url: str) -> str:
    """What there is, for people."""
    lines = [f"  {name:<12} {url}/{name}" for name in SERVICES]
    return "\n".join(
        [
            "Emulated services; any key is right but `wrong-key`:",
            *lines,
            "",
            "Ask for a fault in three ways:",
            "  in the prompt       a person, smiling [[refused]]",
            "  in a header         X-Emulate: rate_seconds",
            f"""  ahead of time       curl -d '{{"service": "freepik", "faults": ["quota"]}}' """
            f"-H 'Content-Type: application/json' {url}/_control/faults",
            f"What was asked and accepted: {url}/_control/ledger",
            "",
        ]
    )


def serve(
    port: int = 8899,
    faults: Mapping[str, Sequence[str]] | Sequence[str] = (),
    delay: float = 0.0,
    scale: float = 1.0,
    services: Sequence[str] = (),
    say: Callable[[str], None] = print,
) -> None:
    """`harness emulator`: run until Ctrl-C.

    `services` names those whose faults are listed; all are served.

    Raises:
        UsageError: a fault or a service that there is not, or a port that is taken.
    """
    shown = {name: applicable(name) for name in services}
    try:
        emulator = Emulator(faults, port=port, delay=delay, scale=scale)
    except OSError as error:
        raise UsageError(
            f"port {port}: {error.strerror}; choose another with --port, 0 for any that is free"
        ) from error
    with emulator:
        try:
            say(index(emulator.url))
            for name, known in shown.items():
                say(f"Faults of {name}, and what a client should make of them:")
                say("\n".join(f"  {fault.name:<20} {fault.what} -> {fault.outcome}" for fault in known))
            say("Ctrl-C stops it")
            emulator.stage.stopped.wait()
        except KeyboardInterrupt:
            say("stopped")
