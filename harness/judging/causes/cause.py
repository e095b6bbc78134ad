"""What a cause is, and what a line of the table of probes holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

CERTAIN, LIKELY, HINT, FAINT = 0.95, 0.7, 0.5, 0.3
"""Confidences: shown by a record or a picture, by several signs, hinted at by one, hardly."""

Facts = TypeVar("Facts", contravariant=True)


@dataclass(frozen=True)
class Sign:
    """What a probe sees of its cause."""

    confidence: float  # [0, 1]
    evidence: tuple[str, ...] = ()  # in words, with figures
    cause: str = ""  # which, where a function tells several causes apart
    title: str = ""  # in place of the table's, where figures belong into it
    remedy: str = ""  # likewise
    figures: Mapping[str, Any] = field(default_factory=dict)  # behind the words, plain JSON


@dataclass(frozen=True)
class Cause:
    """One thing that explains why a gate is red."""

    name: str  # of the table; code reads this and `area`, never the words
    area: str  # where it is mended: strength, lora, references, provider, rendering, data, training, prompt
    remedy: str  # for people
    confidence: float  # [0, 1]
    evidence: tuple[str, ...]  # in words, with figures
    title: str = ""  # what it is called, for people
    figures: Mapping[str, Any] = field(default_factory=dict)  # behind the words, plain JSON

    @property
    def sentence(self) -> str:
        """What is wrong, what shows it and what to do."""
        return ": ".join(filter(None, (self.title, "; ".join(filter(None, (*self.evidence, self.remedy))))))

    @property
    def diagnosis(self) -> str:
        """What is wrong, how surely, and what shows it."""
        return f"{self.title} ({self.confidence:.0%}): {'; '.join(self.evidence)}"

    @property
    def priority(self) -> str:
        """How urgent its remedy is: high, medium or low."""
        return "high" if self.confidence >= LIKELY else "low" if self.confidence <= FAINT else "medium"

    def to_record(self) -> dict[str, object]:
        """Plain JSON of what the table does not know."""
        return {"name": self.name, "confidence": self.confidence, "evidence": list(self.evidence)}


@dataclass(frozen=True)
class Probe(Generic[Facts]):
    """One cause: how its signs are found, where it is mended, and what people are told."""

    find: Callable[[Facts], Iterable[Sign]]
    area: str
    title: str = ""
    remedy: str = ""

    def causes(self, name: str, facts: Facts) -> Iterator[Cause]:
        """The cause once for each of its signs."""
        for sign in self.find(facts):
            if sign.cause in ("", name):
                title, remedy = sign.title or self.title, sign.remedy or self.remedy
                yield Cause(name, self.area, remedy, sign.confidence, sign.evidence, title, sign.figures)
