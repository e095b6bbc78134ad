"""One contract for everything that asks a service: what each fault must end as, tried over a real socket.

`tests/contract_rows.py` lists who is tried, `tests/test_remote_contract.py` tries it, and
`python -m benchmarks.providers --write` puts the table into docs/providers/faults.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from PIL import Image

from harness.config.profile import ProviderConfig
from harness.core.pictures import BadPicture, check_picture
from harness.core.settings import Secret
from harness.core.values import Generation, Outcome, Request
from harness.emulator import Emulator
from harness.emulator.faults import FAULTS, Fault
from harness.emulator.ledger import Entry
from harness.emulator.pictures import encode_faulty
from harness.emulator.services import parts_of
from harness.providers import ProviderContext, open_provider
from harness.providers.http_client.exchange import Unanswered
from harness.providers.text import open_writer
from harness.providers.text.chat import Writer
from harness.providers.text.story import story_schema
from tests import text_rows
from tests.tiny import make_context, make_suite

KEY, VARIABLE = "sk-planted-3f9c1b7d5e", "PLANTED_API_KEY"
PROMPT = "a person, smiling, steppe background"
QUICK: dict[str, Any] = {
    "key": VARIABLE,
    "backoff": 0.01,
    "poll_every": 0.01,
    "attempts": 3,
    "concurrency": 1,
    "max_bytes": 1_000_000,
}
"""Options that make every fault a short one."""
SHORT: dict[str, dict[str, float]] = {
    "hang": {"read": 0.25},
    "drip": {"deadline": 0.5},
    "task_stuck": {"deadline": 0.5},
}
"""Patience with the faults that use it up; all others get plenty, for slow machines."""

ADVICE = re.compile(
    r"check|correct|choose|top it up|name another|lower|raise|reword|wait|again|later|use |write |set |change |ask for",
    re.IGNORECASE,
)
"""Some of these words are in every message that says what to do."""
LEAKS = re.compile(rf"{re.escape(KEY)}|sig=|\?[a-z]+=|Traceback|Bearer ", re.IGNORECASE)
LOST = frozenset({"hang", "drip", "dropped", "truncated", "task_stuck", "gateway_timeout"})
"""The service did the work and the client never saw it: it must say that this may be billed."""


@dataclass(frozen=True)
class Ending:
    """How one request ended, and what is wrong with that beside the outcome."""

    outcome: Outcome
    message: str = ""
    complaints: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cell:
    """One square of the table."""

    row: str
    fault: Fault
    expected: Outcome
    ending: Ending

    @property
    def complaints(self) -> tuple[str, ...]:
        """Why it is not as it should be; empty when it is."""
        ending = self.ending
        wrong = () if ending.outcome is self.expected else (f"{ending.outcome} instead of {self.expected}",)
        return (*wrong, *ending.complaints)


class Row(Protocol):
    """Someone who asks a service: one column of the docs page."""

    @property
    def name(self) -> str: ...

    @property
    def adapter(self) -> str:
        """What its profile names; several rows may share one."""
        ...

    def faults(self) -> Sequence[Fault]:
        """Those that can befall it."""
        ...

    def expect(self, fault: Fault) -> Outcome:
        """What it must report."""
        ...

    def run(self, fault: Fault) -> Ending:
        """One request into that fault."""
        ...


def try_cell(row: Row, fault: Fault) -> Cell:
    return Cell(row.name, fault, row.expect(fault), row.run(fault))


def all_cells(rows: Iterable[Row]) -> list[tuple[Row, Fault]]:
    """Every row against every fault that can befall it: minutes, so the benchmark tries them and the docs show them."""
    return [(row, fault) for row in rows for fault in row.faults()]


def family_cells(rows: Sequence[Row]) -> list[tuple[Row, Fault]]:
    """Every fault once for each adapter, by its rows in turn: what rows share an adapter share its code."""
    cells: list[tuple[Row, Fault]] = []
    for adapter in dict.fromkeys(row.adapter for row in rows):
        family = [row for row in rows if row.adapter == adapter]
        faults = {fault.name: fault for row in family for fault in row.faults()}
        for turn, (name, fault) in enumerate(faults.items()):
            able = [row for row in family if name in {each.name for each in row.faults()}]
            cells.append((able[turn % len(able)], fault))
    return cells


# --- services that draw -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Remote:
    """A remote provider in front of the emulator. `lacks`: faults, by name or kind, of the service's other routes."""

    name: str
    adapter: str
    service: str
    options: Mapping[str, Any] = field(default_factory=dict)
    lacks: frozenset[str] = frozenset()

    def faults(self) -> Sequence[Fault]:
        served = parts_of(self.service)[0].serves()  # the first part draws
        return [
            fault for fault in FAULTS.values() if fault.name in served and not {fault.name, fault.kind} & self.lacks
        ]

    def expect(self, fault: Fault) -> Outcome:
        return fault.outcome

    def run(self, fault: Fault) -> Ending:
        several = fault.name == "refused_partial"
        with Emulator(scale=1 / 8) as emulator:
            emulator.plan(self.service, [fault.name])
            options = {
                **QUICK,
                **SHORT.get(fault.name, {}),
                "url": f"{emulator.url}/{self.service}",
                **({"per_call": 2} if several else {}),
            }
            context = make_provider_context(self.name, ProviderConfig(self.adapter, {**options, **self.options}))
            provider = open_provider(self.name, context)
            try:
                suite = make_suite(PROMPT, traits={})
                requests = provider.requests(suite, suite.cases[0], (3, 4) if several else (3,))
                drawings = list(provider.draw(requests))
            finally:
                provider.close()
            entry, strays = emulator.ledger[self.service], emulator.strays
        endings = [judge(drawing, request) for drawing, request in zip(drawings, requests, strict=True)]
        worst = next((one for one in endings if one.outcome is not Outcome.OK), endings[0])
        complaints = [*worst.complaints, *audit(fault, entry, drawings)]
        if strays:
            complaints.append("somebody connected to where an address led astray")
        if several and {one.outcome for one in endings} != {Outcome.OK, Outcome.REFUSED}:
            complaints.append("one picture of two is refused, not both")
        return Ending(worst.outcome, worst.message, tuple(complaints))


def make_provider_context(name: str, config: ProviderConfig, **changes: Any) -> ProviderContext:
    """A profile with one provider, its key, and the small pictures of the drawn world."""
    secrets = {VARIABLE: Secret(KEY)}
    return make_context(Path(), providers={name: config}, size=(96, 96), secrets=secrets, **changes)


def judge(drawing: Generation, request: Request) -> Ending:
    """A drawing as the engine takes it: what is no picture is a bad one."""
    if drawing.outcome is not Outcome.OK:
        complaints = complain(drawing.message)
        if drawing.data is not None or drawing.cost_usd:
            complaints.append("a failure with a picture or a cost")
        return Ending(drawing.outcome, drawing.message, tuple(complaints))
    complaints = [] if not LEAKS.search(str(drawing.meta)) else [f"the metadata leaks: {drawing.meta}"]
    try:
        check_picture(drawing.data, request)
    except BadPicture as error:
        return Ending(Outcome.BAD_IMAGE, f"the picture {error}", tuple(complaints))
    return Ending(Outcome.OK, "", tuple(complaints))


def complain(message: str) -> list[str]:
    """What is wrong with a message for people."""
    found = [] if ADVICE.search(message) else [f"the message does not say what to do: {message!r}"]
    if LEAKS.search(message):
        found.append(f"the message leaks: {message!r}")
    return found if "\n" not in message else [*found, "the message has several lines"]


def audit(fault: Fault, entry: Entry, drawings: Sequence[Generation]) -> list[str]:
    """What the service's own account says against the client."""
    found = [] if not entry.resubmitted else ["an accepted request was sent again"]
    if entry.accepted > 1:
        found.append(f"{entry.accepted} requests were accepted for one picture")
    if fault.name in LOST and not any(drawing.meta.get("possibly_billed") for drawing in drawings):
        found.append("it is not said that it may be billed")
    return found


# --- services that write ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Writing:
    """A writer in front of the emulator; which fault must end how is in tests/text_rows.py."""

    writer: str
    verb: str  # "write" or "see"
    addresses: Mapping[str, str] = field(default_factory=lambda: {"url": ""})  # options, under the service's address

    @property
    def name(self) -> str:
        return f"{self.writer} {self.verb}s"

    @property
    def adapter(self) -> str:
        return f"{self.writer} text"

    def faults(self) -> Sequence[Fault]:
        return [FAULTS[name] for name in self._rows()]

    def expect(self, fault: Fault) -> Outcome:
        return self._rows()[fault.name].outcome

    def run(self, fault: Fault) -> Ending:
        with Emulator() as emulator:
            emulator.plan(self.writer, self._rows()[fault.name].plan)
            options = {**QUICK, **SHORT.get(fault.name, {})}
            options |= {name: f"{emulator.url}/{self.writer}{path}" for name, path in self.addresses.items()}
            writers = {self.name: ProviderConfig(self.writer, options)}
            writer = open_writer(self.name, make_provider_context("none", ProviderConfig("flat"), writers=writers))
            try:
                text = self._ask(writer)
                ending = Ending(Outcome.OK, "", () if text.strip() else ("a blank text",))
            except Unanswered as failure:
                ending = Ending(failure.outcome, str(failure), tuple(complain(str(failure))))
            finally:
                writer.close()
            again = emulator.ledger[self.writer].resubmitted
        if again and not fault.name.startswith("blank_"):  # a blank answer did come, and is asked for again
            return Ending(ending.outcome, ending.message, (*ending.complaints, "an accepted request was sent again"))
        return ending

    def _ask(self, writer: Writer) -> str:
        if self.verb == "see":
            return writer.see(picture_bytes("ok"), "What is to be seen?")
        return writer.write("You write stories.", "The idea: a horse.", story_schema(2))

    def _rows(self) -> dict[str, text_rows.Row]:
        return {row.fault: row for row in text_rows.ROWS if (row.writer, row.verb) == (self.writer, self.verb)}


# --- pictures that are made on this machine ---------------------------------------------------------------------------

BYTES = ("ok", "empty_body", "half_picture", "svg", "gif", "blank", "pixel_bomb", "jpeg", "webp", "wrong_mime")
"""What can be wrong with a file, by the names of the services' faults."""
CODES = {"refused": 10, "quota": 11, "auth": 12, "retired": 13, "gateway_timeout": 14, "error_500": 1}
PROGRAM = """
import shutil, sys, time
fault, code, source, out = sys.argv[1:]
if fault == "hang":
    time.sleep(60)
if code == "0" and fault != "no_pictures":
    shutil.copyfile(source, out)
sys.exit(int(code))
"""


def picture_bytes(fault: str) -> bytes:
    """A small picture's file, as the fault has it."""
    image = Image.linear_gradient("L").resize((96, 96)).convert("RGB")
    return b"" if fault == "empty_body" else encode_faulty(image, "image/png", fault)[0]


@dataclass(frozen=True)
class Folder:
    """The provider of pictures that were made elsewhere."""

    name: str = "folder"
    adapter: str = "folder"

    def faults(self) -> Sequence[Fault]:
        return [FAULTS[name] for name in (*BYTES, "no_pictures")]

    def expect(self, fault: Fault) -> Outcome:
        """A file that is not there was never made."""
        return Outcome.PROVIDER_ERROR if fault.name == "no_pictures" else fault.outcome

    def run(self, fault: Fault) -> Ending:
        with TemporaryDirectory() as name:
            if fault.name != "no_pictures":
                (Path(name) / "case-0-3.png").write_bytes(picture_bytes(fault.name))
            return draw_here(self.name, ProviderConfig("folder", {"path": name}))


@dataclass(frozen=True)
class Program:
    """The provider that starts a program; its exit codes are outcomes."""

    name: str = "command"
    adapter: str = "command"

    def faults(self) -> Sequence[Fault]:
        return [FAULTS[name] for name in (*BYTES, *CODES, "hang", "no_pictures")]

    def expect(self, fault: Fault) -> Outcome:
        return fault.outcome

    def run(self, fault: Fault) -> Ending:
        with TemporaryDirectory() as name:
            program, source = Path(name) / "draw.py", Path(name) / "picture"
            program.write_text(PROGRAM, encoding="utf-8")
            source.write_bytes(picture_bytes(fault.name))
            code = str(CODES.get(fault.name, 0))
            command = ["python", "-I", "-S", str(program), fault.name, code, str(source), "{out}"]
            options = {"command": command, "timeout": 0.3 if fault.name == "hang" else 30.0}
            return draw_here(self.name, ProviderConfig("command", options))


def draw_here(name: str, config: ProviderConfig) -> Ending:
    """One request to a provider that asks no service."""
    provider = open_provider(name, make_provider_context(name, config))
    suite = make_suite(PROMPT, traits={})
    requests = provider.requests(suite, suite.cases[0], (3,))
    try:
        (drawing,) = provider.draw(requests)
    finally:
        provider.close()
    return judge(drawing, requests[0])


# --- the table --------------------------------------------------------------------------------------------------------


def table(cells: Sequence[Cell]) -> str:
    """Faults down, providers across, in Markdown; what is not as it should be stands in bold."""
    rows = list(dict.fromkeys(cell.row for cell in cells))
    found = {(cell.row, cell.fault.name): cell for cell in cells}
    used = {cell.fault.name for cell in cells}
    known = [*FAULTS.values(), *(cell.fault for cell in cells)]
    faults = [fault for fault in dict.fromkeys(known) if fault.name in used]
    lines = [["fault", "what happens", *rows], ["---"] * (len(rows) + 2)]
    for fault in faults:
        lines.append([f"`{fault.name}`", fault.what, *(square(found.get((row, fault.name))) for row in rows)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def square(cell: Cell | None) -> str:
    if cell is None:
        return ""
    return f"**{cell.ending.outcome}**" if cell.complaints else str(cell.ending.outcome)
