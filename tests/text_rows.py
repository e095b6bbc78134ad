"""Every writer, every fault that its emulated service can show, and how the writer must report it."""

from __future__ import annotations

from dataclasses import dataclass

from harness.core.values import Outcome
from harness.emulator.faults import FAULTS
from harness.emulator.service import Service
from harness.emulator.services.deepseek import DeepSeek
from harness.emulator.services.gigachat import GigaChat
from harness.emulator.services.openai_chat import OpenAiChat

SERVICES: dict[str, type[Service]] = {"deepseek": DeepSeek, "gigachat": GigaChat, "openai": OpenAiChat}
DOES: dict[str, tuple[str, ...]] = {"deepseek": ("write",), "gigachat": ("write", "see"), "openai": ("write", "see")}
AS_TEXT = {Outcome.BAD_IMAGE: Outcome.PROVIDER_ERROR}  # there is no picture that could be bad
OTHERWISE: dict[tuple[str, str], Outcome] = {
    ("write", "refused_text"): Outcome.OK,  # a text is a text; about a picture the same words are a refusal
    ("write", "file_too_large"): Outcome.OK,  # nothing is uploaded
}


@dataclass(frozen=True)
class Row:
    """One cell of the table."""

    writer: str
    verb: str  # "write" or "see"
    fault: str
    outcome: Outcome

    @property
    def plan(self) -> list[str]:
        """The faults to queue: a first 401 of GigaChat only means that its token ended."""
        return [self.fault] * (2 if (self.writer, self.fault) == ("gigachat", "auth") else 1)

    @property
    def id(self) -> str:
        return f"{self.writer}-{self.verb}-{self.fault}"


def make_rows() -> tuple[Row, ...]:
    """The whole table."""
    return tuple(
        Row(writer, verb, fault, expected(verb, fault))
        for writer, service in SERVICES.items()
        for verb in DOES[writer]
        for fault in FAULTS
        if fault in service.serves()
    )


def expected(verb: str, fault: str) -> Outcome:
    """How an honest writer reports a fault."""
    outcome = FAULTS[fault].outcome
    return OTHERWISE.get((verb, fault), AS_TEXT.get(outcome, outcome))


ROWS = make_rows()
