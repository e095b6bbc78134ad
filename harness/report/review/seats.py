"""Seats: the LoRA file that a suite names, with its champion and its challengers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core.errors import HarnessError, UsageError
from harness.judging.record import Part
from harness.judging.results import relative
from harness.report.review.runs import RunSummary, SuiteSummary
from harness.report.words import text

if TYPE_CHECKING:
    from harness.core.values import Suite
    from harness.models.lora.registry import Champion


@dataclass(frozen=True)
class Challenger:
    """A LoRA that somebody may put in the champion's place."""

    sha256: str
    path: Path
    origin: str  # where it is from, in words
    told: str = ""  # what a round of retraining said of it


class Origin(Part):
    """Where a challenger is from."""

    source: str = ""
    taken: str = ""  # ISO 8601

    @property
    def words(self) -> str:
        return ", ".join(text(part, 200) for part in (self.source, self.taken[:10]) if part) or "elsewhere"


class ChallengerRecord(Part):
    """What the registry keeps of a challenger."""

    sha256: str
    path: str
    origin: Origin = Origin()


@dataclass(frozen=True)
class Seat:
    """A champion's place, the suites that test it, and who wants it."""

    weights: Path
    suites: tuple[Suite, ...]
    champion: Champion | None
    former: tuple[Mapping[str, Any], ...]  # records of earlier champions, the oldest first
    challengers: tuple[Challenger, ...]
    problem: str = ""  # why its registry cannot be read

    @property
    def sha256(self) -> str:
        return self.champion.sha256 if self.champion else ""

    def challenger(self, sha256: str) -> Challenger:
        """Raises UsageError when there is none."""
        result = next((item for item in self.challengers if item.sha256 == sha256), None)
        if result is None:
            raise UsageError("there is no such challenger (any more); open the page again")
        return result


def find_seats(suites: Iterable[Suite], runs: Sequence[RunSummary], loras: Path) -> list[Seat]:
    """Every champion's place that a suite names.

    Args:
        loras: the store's folder of challengers that rounds of retraining made.
    """
    places: dict[Path, list[Suite]] = {}
    for suite in suites:
        if suite.subject.lora is not None:
            places.setdefault(suite.subject.lora.path, []).append(suite)
    return [open_seat(weights, tuple(result), runs, loras) for weights, result in sorted(places.items())]


def open_seat(weights: Path, suites: tuple[Suite, ...], runs: Sequence[RunSummary], loras: Path) -> Seat:
    """One champion's place, read anew."""
    from harness.models.lora.registry import CHALLENGERS, read_challengers, read_champion, read_history

    try:
        champion = read_champion(weights)
        taken = [
            Challenger(record.sha256, weights.parent / CHALLENGERS / Path(record.path).name, record.origin.words)
            for record in map(ChallengerRecord.of, read_challengers(weights))
        ]
        former = tuple(read_history(weights)[:-1])
    except (HarnessError, OSError, ValueError, KeyError, TypeError) as error:
        return Seat(weights, suites, None, (), (), f"{relative(weights)}: the registry cannot be read ({error})")
    names = {suite.name for suite in suites}
    tried = {
        attempt.sha256: Challenger(
            attempt.sha256, loras / attempt.file, "a round of retraining", f"{attempt.verdict}: {attempt.reason}"
        )
        for run in reversed(runs)
        for part in run.parts.values()
        for attempt in part.attempts
        if part.name in names and attempt.sha256 and (loras / attempt.file).is_file()
    }
    every = {**tried, **{item.sha256: item for item in taken}}
    now_champion = champion.sha256 if champion else ""
    past = {record["sha256"] for record in former}
    waiting = tuple(item for sha, item in every.items() if sha != now_champion and sha not in past)
    return Seat(weights, suites, champion, former, waiting)


def runs_of(lora: str, suites: Iterable[str], runs: Iterable[RunSummary]) -> list[tuple[RunSummary, SuiteSummary]]:
    """The runs that had a LoRA under test, as they come."""
    names = set(suites)
    return [(run, part) for run in runs for part in run.parts.values() if part.name in names and part.lora == lora]
