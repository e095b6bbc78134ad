"""Champions and challengers as the page of decisions shows them: the evidence beside the form that decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.core.values import to_record
from harness.judging.results import relative
from harness.report.review.comparing import ComparedRun, change_view, compare_sides, hold_sides
from harness.report.review.decisions import baseline_objections
from harness.report.review.evidence import weigh, weighed_view
from harness.report.review.runs import Runs, RunSummary, SuiteSummary
from harness.report.review.seats import Challenger, Seat, runs_of
from harness.report.words import bar

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


def seats_view(state: AppState, runs: Sequence[RunSummary]) -> dict[str, Any]:
    """Every champion's place with its evidence; suites without one; and the last decisions."""
    seats, suites = state.seats(runs), state.suites(runs)
    decisions = state.decisions.all(suite.name for suite in suites)
    placed = {suite.name for seat in seats for suite in seat.suites}
    others = [suite for suite in suites if suite.name not in placed]
    return {
        "seats": [seat_view(state.runs, seat, runs, decisions) for seat in seats],
        "others": [
            {
                "suite": suite,
                "evidence": [
                    found_view(state.runs, *result, suite, None) for result in runs_of("", [suite.name], runs)
                ],
            }
            for suite in others
        ],
        "decisions": [{**line, "verb": VERBS.get(str(line.get("decision")), "?")} for line in decisions[:DECIDED]],
        "folder": relative(state.root / "reviews"),
    }


def seat_view(
    runs: Runs, seat: Seat, all_runs: Sequence[RunSummary], decisions: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """One champion's place."""
    own = evidence_view(runs, seat, seat.sha256, all_runs) if seat.sha256 else []
    return {
        "seat": seat,
        "name": seat.suites[0].name,
        "subject": seat.suites[0].subject.name,
        "suites": [suite.name for suite in seat.suites],
        "weights": relative(seat.weights),
        "evidence": own,
        "former": [dict(record) for record in reversed(seat.former)],
        "challengers": [challenger_view(runs, seat, item, all_runs, decisions) for item in seat.challengers],
    }


def challenger_view(
    runs: Runs,
    seat: Seat,
    challenger: Challenger,
    all_runs: Sequence[RunSummary],
    decisions: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    refusals = [line for line in decisions if (line.get("lora"), line.get("decision")) == (challenger.sha256, "refuse")]
    return {
        "item": challenger,
        "file": relative(challenger.path),
        "evidence": evidence_view(runs, seat, challenger.sha256, all_runs),
        "weighed": weighed_view(weigh(runs, seat, challenger.sha256, all_runs)),
        "refused": refusals[0] if refusals else None,
    }


def evidence_view(runs: Runs, seat: Seat, lora: str, all_runs: Sequence[RunSummary]) -> list[dict[str, Any]]:
    """The runs of a LoRA, the newest first, each against the champion's newest run of the same suite."""
    suites = {suite.name: suite for suite in seat.suites}
    rivals: dict[str, tuple[RunSummary, SuiteSummary]] = {}
    if seat.sha256 != lora:
        for result in runs_of(seat.sha256, suites, all_runs) if seat.sha256 else []:
            rivals.setdefault(result[1].name, result)
    return [
        found_view(runs, run, part, suites[part.name], rivals.get(part.name))
        for run, part in runs_of(lora, suites, all_runs)
    ]


def found_view(
    runs: Runs, run: RunSummary, part: SuiteSummary, suite: Any, rival: tuple[RunSummary, SuiteSummary] | None
) -> dict[str, Any]:
    """One run as evidence: what it reached, what speaks against it as a baseline, how it stands to the champion's."""
    quality = part.quality.get(part.main)
    view = {
        "run": run,
        "part": part,
        "value": f"{run.id}/{part.name}",
        "quality": bar(to_record(quality)) if quality else None,
        "objections": baseline_objections(runs.record(run), suite),
        "rival": f"{rival[0].id}/{part.name}" if rival else "",
        "change": None,
        "refused": (),
    }
    if rival is None:
        return view
    new, old = ComparedRun(run, part, part.main), ComparedRun(*rival, rival[1].main)
    held = hold_sides(runs, new, old)
    result = compare_sides(runs, new, old).quality if held else None
    return {**view, "change": change_view("quality", result) if result else None, "refused": held.refused}
