"""Champions and challengers as the page of decisions shows them: the evidence beside the form that decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.core.values import Suite
from harness.judging.results import relative
from harness.report.review.comparing import ChangeView, ComparedRun, compare_sides, hold_sides
from harness.report.review.decisions import DecisionLine, baseline_objections
from harness.report.review.evidence import Weighed, weigh
from harness.report.review.runs import Runs, RunSummary, SuiteSummary
from harness.report.review.seats import Challenger, Seat, runs_of
from harness.report.words import Bar, bar

if TYPE_CHECKING:
    from harness.report.review.app_state import AppState

DECIDED = 50  # decisions that are shown
VERBS: Mapping[str, str] = {
    "approve": "approved",
    "refuse": "refused",
    "bless": "blessed as the baseline",
    "rollback": "brought back",
    "failed": "could not be carried out",
}


@dataclass(frozen=True)
class EvidenceView:
    """One run as evidence: what it reached, what speaks against it as a baseline, how it stands to the champion's."""

    run: RunSummary
    part: SuiteSummary
    objections: list[str]
    rival: str = ""  # the champion's run, as a form names it
    change: ChangeView | None = None
    refused: tuple[str, ...] = ()

    @property
    def value(self) -> str:
        return f"{self.run.id}/{self.part.name}"

    @property
    def quality(self) -> Bar | None:
        return bar(self.part.quality.get(self.part.main))


@dataclass(frozen=True)
class ChallengerView:
    """Who wants a champion's place."""

    item: Challenger
    evidence: list[EvidenceView]
    weighed: Weighed
    refused: DecisionLine | None

    @property
    def file(self) -> str:
        return relative(self.item.path)


@dataclass(frozen=True)
class SeatView:
    """One champion's place."""

    seat: Seat
    evidence: list[EvidenceView]
    challengers: list[ChallengerView]

    @property
    def suites(self) -> list[str]:
        return [suite.name for suite in self.seat.suites]

    @property
    def subject(self) -> str:
        return self.seat.suites[0].subject.name

    @property
    def weights(self) -> str:
        return relative(self.seat.weights)


class DecisionsView:
    """Every champion's place with its evidence; suites without one; and the last decisions."""

    verbs = VERBS

    def __init__(self, state: AppState, runs: Sequence[RunSummary]) -> None:
        self._runs, self._every, suites = state.runs, runs, state.suites(runs)
        decisions = state.decisions.all(suite.name for suite in suites)
        self.decisions, self.folder = decisions[:DECIDED], relative(state.root / "reviews")
        self._refusals = {line.lora: line for line in reversed(decisions) if line.decision == "refuse"}
        seats = state.seats(runs)
        placed = {suite.name for seat in seats for suite in seat.suites}
        self.seats = [self._seat(seat) for seat in seats]
        self.others = [(suite, self._of("", {suite.name: suite})) for suite in suites if suite.name not in placed]

    def _seat(self, seat: Seat) -> SeatView:
        suites = {suite.name: suite for suite in seat.suites}
        own = self._of(seat.sha256, suites) if seat.sha256 else []
        rivals: dict[str, tuple[RunSummary, SuiteSummary]] = {}
        for result in runs_of(seat.sha256, suites, self._every) if seat.sha256 else []:
            rivals.setdefault(result[1].name, result)
        waiting = [
            ChallengerView(
                item,
                self._of(item.sha256, suites, rivals),
                weigh(self._runs, seat, item.sha256, self._every),
                self._refusals.get(item.sha256),
            )
            for item in seat.challengers
        ]
        return SeatView(seat, own, waiting)

    def _of(
        self,
        lora: str,
        suites: Mapping[str, Suite],
        rivals: Mapping[str, tuple[RunSummary, SuiteSummary]] | None = None,
    ) -> list[EvidenceView]:
        """The runs of a LoRA, the newest first, each against the champion's newest run of the same suite."""
        return [
            found_view(self._runs, run, part, suites[part.name], (rivals or {}).get(part.name))
            for run, part in runs_of(lora, suites, self._every)
        ]


def found_view(
    runs: Runs, run: RunSummary, part: SuiteSummary, suite: Suite, rival: tuple[RunSummary, SuiteSummary] | None
) -> EvidenceView:
    objections = baseline_objections(runs.record(run), suite)
    if rival is None:
        return EvidenceView(run, part, objections)
    new, old = ComparedRun(run, part, part.main), ComparedRun(*rival, rival[1].main)
    held = hold_sides(runs, new, old)
    quality = compare_sides(runs, new, old).quality if held else None
    change = ChangeView("quality", quality) if quality else None
    return EvidenceView(run, part, objections, f"{rival[0].id}/{part.name}", change, held.refused)
