"""What speaks for a challenger and what against it, suite by suite: shown beside the form, asked before the deed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.core.stats import differs
from harness.core.values import digest
from harness.judging.changes import Changes, flips_text
from harness.report.review.comparing import ComparedRun, about_suite, change_view, compare_sides, hold_sides
from harness.report.review.runs import Runs, RunSummary, VotePicture
from harness.report.review.seats import Seat, runs_of
from harness.report.words import listed, mapped

VERDICTS = ("error", "fail", "inconclusive", "pass")  # the worst first
SHOWN = 4  # pairs of pictures: the cases that lost most and those that gained most


@dataclass(frozen=True)
class ChallengerEvidence:
    """A challenger in one suite that tests its champion: its newest run there against the champion's newest."""

    suite: str
    new: ComparedRun | None = None  # None: it was not run there
    old: ComparedRun | None = None
    crowned: bool = True  # whether there is a champion at all
    verdict: str = "not judged"
    alarms: tuple[str, ...] = ()
    locked: Mapping[str, int] = field(default_factory=dict)  # verdicts of the locked cases that were drawn
    refused: tuple[str, ...] = ()  # why the two runs are not comparable
    changes: Changes | None = None

    @property
    def objections(self) -> list[str]:
        """Why it is not proven better here; [] when it is."""
        if self.new is None:
            return [f"{self.suite}: it was not run"]
        result = [] if self.verdict == "pass" else [f"{self.suite}: the verdict is {self.verdict}"]
        result += [f"{self.suite}: alarm: {words}" for words in self.alarms]
        change = self.changes.quality if self.changes else None
        if not self.crowned:
            return result
        if self.old is None:
            return [*result, f"{self.suite}: the champion was not run, so nothing is compared"]
        if self.refused:
            return [*result, f"{self.suite}: not comparable with the champion's run ({'; '.join(self.refused)})"]
        if change is None:
            return [*result, f"{self.suite}: no picture in common with the champion's run"]
        if change.gap.mean <= 0 or not differs(change.gap, change.flips):
            gap = change_view("quality", change)["gap"] + flips_text(change.gap, change.flips)
            return [*result, f"{self.suite}: not proven better than the champion, {gap}"]
        return result


@dataclass(frozen=True)
class Weighed:
    """A challenger in all suites that test its champion."""

    trials: tuple[ChallengerEvidence, ...]

    @property
    def objections(self) -> list[str]:
        return [words for trial in self.trials for words in trial.objections]

    @property
    def mark(self) -> str:
        """Stands for exactly these objections, so that a tick is never for others than those that were read."""
        return digest(self.objections)[:32]

    def to_record(self) -> list[dict[str, Any]]:
        """A record a suite: the runs that were compared, and the difference."""
        return [
            {
                "suite": trial.suite,
                "run": trial.new.run.name if trial.new else "",
                "champion_run": trial.old.run.name if trial.old else "",
                "verdict": trial.verdict,
                **({"quality": change.to_record()} if trial.changes and (change := trial.changes.quality) else {}),
            }
            for trial in self.trials
        ]


def weigh(runs: Runs, seat: Seat, lora: str, every: Sequence[RunSummary]) -> Weighed:
    """What the newest runs say of a LoRA that may become the champion.

    Args:
        every: all runs, the newest first.
    """
    return Weighed(tuple(try_suite(runs, seat, suite.name, lora, every) for suite in seat.suites))


def try_suite(runs: Runs, seat: Seat, suite: str, lora: str, every: Sequence[RunSummary]) -> ChallengerEvidence:
    new, old = (newest(suite, sha, every) if sha else None for sha in (lora, seat.sha256))
    if new is None:
        return ChallengerEvidence(suite, old=old, crowned=bool(seat.sha256))
    record = runs.record(new.run)
    held = hold_sides(runs, new, old) if old else None
    gates = [item["verdict"] for item in listed(record["gate"], "items") if item.get("suite") == suite]
    about = about_suite(record, suite)
    severity, sets = mapped(about, "alarms"), mapped(mapped(about, "sets"), new.provider)
    drawn = [case for case in record["cases"] if (case["suite"], case["provider"]) == (suite, new.provider)]
    return ChallengerEvidence(
        suite,
        new,
        old,
        bool(seat.sha256),
        min(gates, key=VERDICTS.index) if gates and set(gates) <= set(VERDICTS) else "not judged",
        tuple(
            str(mapped(sets, name).get("sentence"))
            for name in sets
            if mapped(sets, name).get("alarm") and severity.get(name) != "off"
        ),
        Counter(str(case["verdict"]) for case in drawn if case.get("split") == "locked"),
        held.refused if held else (),
        compare_sides(runs, new, old) if old and held else None,
    )


def newest(suite: str, lora: str, every: Sequence[RunSummary]) -> ComparedRun | None:
    result = next(iter(runs_of(lora, [suite], every)), None)
    return ComparedRun(*result, result[1].main) if result else None


# --- for the page -----------------------------------------------------------------------------------------------------


def weighed_view(weighed: Weighed) -> dict[str, Any]:
    """A table of the suites, a few pairs of pictures, the objections, and what stands for them in the form."""
    return {
        "trials": [trial_view(trial) for trial in weighed.trials],
        "objections": weighed.objections,
        "mark": weighed.mark,
    }


def trial_view(trial: ChallengerEvidence) -> dict[str, Any]:
    change = trial.changes.quality if trial.changes else None
    return {
        "trial": trial,
        "kind": trial.verdict if trial.verdict in VERDICTS else "none",
        "change": change_view("quality", change) if change else None,
        "pairs": trial.changes.pairs if trial.changes else 0,
        "cases": change.gap.n if change else 0,
        "locked": ", ".join(f"{count} {word}" for word, count in sorted(trial.locked.items())),
        "shots": paired_shots(trial),
    }


def paired_shots(trial: ChallengerEvidence) -> list[dict[str, Any]]:
    """A picture of each side by case and seed: half from the cases that lost most, half from those that gained most."""
    mine: Mapping[tuple[str, int], VotePicture] = trial.new.shots if trial.new else {}
    theirs: Mapping[tuple[str, int], VotePicture] = trial.old.shots if trial.old else {}
    both = sorted({*mine} & {*theirs})
    cases = [case for case in (trial.changes.cases if trial.changes else ()) if case in dict(both)]
    cases = cases or list(dict(both)) or sorted({case for case, _ in mine})
    shown = cases if len(cases) <= SHOWN else [*cases[: SHOWN // 2], *cases[-SHOWN // 2 :]]
    pairs = [next(pair for pair in both or sorted(mine) if pair[0] == case) for case in shown]
    return [
        {"case": case, "seed": seed, "new": mine[case, seed], "old": theirs.get((case, seed))} for case, seed in pairs
    ]
