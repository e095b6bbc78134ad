"""What speaks for a challenger and what against it, suite by suite: shown beside the form, asked before the deed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness.core.stats import differs
from harness.core.values import digest
from harness.judging.changes import Changes, flips_text
from harness.judging.record import Change, Part
from harness.report.review.comparing import ChangeView, ComparedRun, PicturePair, compare_sides, hold_sides
from harness.report.review.runs import Runs, RunSummary
from harness.report.review.seats import Seat, runs_of
from harness.report.words import bounds_text

VERDICTS = ("error", "fail", "not_judged", "inconclusive", "pass")  # the worst first
SHOWN = 4  # pairs of pictures: the cases that lost most and those that gained most


class TestedSuite(Part):
    """What the newest runs of a challenger and of the champion said in one suite when it was decided."""

    suite: str = ""
    run: str = ""
    champion_run: str = ""
    verdict: str = ""
    quality: Change | None = None


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
        result = [] if self.verdict == "pass" else [f"{self.suite}: the verdict is {self.verdict.replace('_', ' ')}"]
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
        if change.gap.mean <= 0 or not differs(change.gap, change.sign_flip_p):
            gap = bounds_text(change.gap, signed=True) + flips_text(change.gap, change.sign_flip_p)
            return [*result, f"{self.suite}: not proven better than the champion, {gap}"]
        return result

    @property
    def kind(self) -> str:
        return self.verdict if self.verdict in VERDICTS else "none"

    @property
    def change(self) -> ChangeView | None:
        return ChangeView("quality", quality) if self.changes and (quality := self.changes.quality) else None

    @property
    def locked_words(self) -> str:
        return ", ".join(f"{count} {word}" for word, count in sorted(self.locked.items()))

    @property
    def shots(self) -> list[PicturePair]:
        """A picture of each side by case and seed: half of the cases that lost most, half of those that gained most."""
        mine, theirs = (side.shots if side else {} for side in (self.new, self.old))
        both = sorted({*mine} & {*theirs})
        cases = [case for case in (self.changes.cases if self.changes else ()) if case in dict(both)]
        cases = cases or list(dict(both)) or sorted({case for case, _ in mine})
        shown = cases if len(cases) <= SHOWN else [*cases[: SHOWN // 2], *cases[-SHOWN // 2 :]]
        pairs = [next(pair for pair in both or sorted(mine) if pair[0] == case) for case in shown]
        return [PicturePair(*pair, mine[pair], theirs.get(pair)) for pair in pairs]


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

    @property
    def record(self) -> tuple[TestedSuite, ...]:
        """The runs that were compared, suite by suite, and the difference."""
        return tuple(
            TestedSuite(
                suite=trial.suite,
                run=trial.new.run.name if trial.new else "",
                champion_run=trial.old.run.name if trial.old else "",
                verdict=trial.verdict,
                **({"quality": trial.change.change} if trial.change else {}),
            )
            for trial in self.trials
        )


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
    held, about = hold_sides(runs, new, old) if old else None, record.suite(suite)
    gates = [item.verdict for item in record.gate.items if item.suite == suite]
    sets = about.sets.get(new.provider, {})
    return ChallengerEvidence(
        suite,
        new,
        old,
        bool(seat.sha256),
        min(gates, key=VERDICTS.index) if gates and set(gates) <= set(VERDICTS) else "not judged",
        tuple(score.sentence for name, score in sets.items() if score.alarm and about.alarms.get(name) != "off"),
        Counter(str(case.verdict) for case in record.cases_of(suite, new.provider) if case.split == "locked"),
        held.refused if held else (),
        compare_sides(runs, new, old) if old and held else None,
    )


def newest(suite: str, lora: str, every: Sequence[RunSummary]) -> ComparedRun | None:
    result = next(iter(runs_of(lora, [suite], every)), None)
    return ComparedRun(*result, result[1].main) if result else None
