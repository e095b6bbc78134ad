"""Two runs, or two providers of one, side by side: paired differences with intervals, and both pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from harness.core.clusters import find_repeats
from harness.judging.changes import Changes, compare_results
from harness.judging.comparable import Comparable, compare_parts, compare_recipes
from harness.judging.record import Change
from harness.report.review.responses import Query
from harness.report.review.runs import Runs, RunSummary, SuiteSummary, VotePicture
from harness.report.words import Bar, bounds_text

WORDS = {  # of harness.judging.changes, to (class, words)
    "improved": ("pass", "better"),
    "regressed": ("fail", "worse"),
    "higher": ("pass", "better, by little"),
    "lower": ("inconclusive", "worse, by little"),
    "unchanged": ("none", "no different"),
    "inconclusive": ("inconclusive", "still open"),
}
SENTENCES = {
    "improved": "is better than",
    "regressed": "is worse than",
    "higher": "is better, by less than the margin, than",
    "lower": "is worse, by less than the margin, than",
    "unchanged": "is no different from",
    "inconclusive": "cannot be told from",
}
OPEN = 6  # cases that are unfolded


@dataclass(frozen=True)
class ComparedRun:
    """One of the two."""

    run: RunSummary
    part: SuiteSummary
    provider: str

    @property
    def player(self) -> str:
        return self.part.players.get(self.provider, self.provider)

    @property
    def shots(self) -> dict[tuple[str, int], VotePicture]:
        """By case and seed."""
        return {
            (shot.case, shot.seed): shot
            for shot in self.run.shots
            if (shot.suite, shot.provider) == (self.part.name, self.provider)
        }


@dataclass(frozen=True)
class RunChoice:
    """One suite of one run, in a list to choose from."""

    value: str  # `0123456789ab/aldar-kose`
    label: str


def run_choices(runs: Sequence[RunSummary]) -> list[RunChoice]:
    """Every suite of every run."""
    return [
        RunChoice(
            f"{run.id}/{part.name}",
            " · ".join(
                filter(
                    None,
                    (run.started[:16].replace("T", " "), part.players.get(part.main), run.name.strip("."), part.name),
                )
            ),
        )
        for run in runs
        for part in run.parts.values()
    ]


def usual_pair(choices: Sequence[RunChoice]) -> dict[str, str]:
    """What a list to choose from begins with: the newest run that has an earlier one of its suite, and that one."""
    values = [item.value for item in choices]
    for place, new in enumerate(values):
        suite = new.partition("/")[2]
        old = next((value for value in values[place + 1 :] if value.partition("/")[2] == suite), None)
        if old:
            return {"new": new, "old": old}
    return {"new": values[0], "old": values[0]} if values else {"new": "", "old": ""}


def find_side(runs: Runs, chosen: str, provider: str) -> ComparedRun | None:
    """A side from its field, `0123456789ab/aldar-kose`; a provider that took no part is the run's main one."""
    run_id, _, suite = chosen.partition("/")
    run = runs.get(run_id)
    part = run.parts.get(suite) if run else None
    if run is None or part is None or not part.providers:
        return None
    return ComparedRun(run, part, provider if provider in part.providers else part.main)


@dataclass(frozen=True)
class ChangeView:
    """One line of differences; the scale goes from -1 to 1."""

    name: str
    change: Change

    @property
    def kind(self) -> str:
        return WORDS[self.change.verdict][0]

    @property
    def word(self) -> str:
        return WORDS[self.change.verdict][1]

    @property
    def than(self) -> str:
        return SENTENCES[self.change.verdict].removeprefix("is ")

    @property
    def gap(self) -> str:
        return bounds_text(self.change.gap, signed=True)

    @property
    def bar(self) -> Bar:
        return Bar(self.change.gap, -1.0)


@dataclass(frozen=True)
class PicturePair:
    """The pictures of both sides of one case and seed, as far as they have them."""

    case: str
    seed: int
    new: VotePicture | None
    old: VotePicture | None


@dataclass(frozen=True)
class ComparedCase:
    """One case with the pictures of both sides for each seed."""

    case: str
    prompt: str
    change: ChangeView | None
    pairs: tuple[PicturePair, ...]


@dataclass(frozen=True)
class ComparisonView:
    """Everything that the page of a comparison says; without two sides only the list to choose from."""

    new: ComparedRun | None
    old: ComparedRun | None
    problem: str = ""
    comparable: Comparable = field(default_factory=Comparable)
    changes: Changes | None = None
    open = OPEN

    @property
    def note(self) -> str:
        if self.changes is None or self.changes.quality or not self.comparable:
            return ""
        return "No case and seed has a score on both sides."

    @property
    def quality(self) -> ChangeView | None:
        return ChangeView("quality", quality) if self.changes and (quality := self.changes.quality) else None

    @property
    def sentence(self) -> str:
        """Who is better, in words."""
        if self.new is None or self.old is None or self.quality is None:
            return ""
        return f"{self.new.player} {SENTENCES[self.quality.change.verdict]} {self.old.player}"

    @property
    def metrics(self) -> list[ChangeView]:
        others = self.changes.metrics if self.changes else {}
        return [*filter(None, [self.quality]), *(ChangeView(name, item) for name, item in others.items())]

    @property
    def traits(self) -> list[ChangeView]:
        return [ChangeView(name, item) for name, item in (self.changes.traits if self.changes else {}).items()]

    @cached_property
    def cases(self) -> list[ComparedCase]:
        """Every case, the worst first; those without a difference last."""
        if self.new is None or self.old is None or self.changes is None:
            return []
        mine, theirs, changes = self.new.shots, self.old.shots, self.changes.cases
        pairs: dict[str, list[PicturePair]] = {name: [] for name in changes}
        for case, seed in sorted({*mine, *theirs}):
            pair = PicturePair(case, seed, mine.get((case, seed)), theirs.get((case, seed)))
            pairs.setdefault(case, []).append(pair)
        prompts = {shot.case: shot.prompt for shots in (theirs, mine) for shot in reversed(shots.values())}
        return [
            ComparedCase(
                case, prompts.get(case, ""), ChangeView(case, changes[case]) if case in changes else None, tuple(own)
            )
            for case, own in pairs.items()
        ]


def compare_view(runs: Runs, query: Query) -> ComparisonView:
    """What the fields of an address ask to see side by side."""
    new = find_side(runs, query.get("new"), query.get("new_by"))
    old = find_side(runs, query.get("old"), query.get("old_by"))
    if new is None or old is None:
        return ComparisonView(new, old)
    if new.part.name != old.part.name:
        return ComparisonView(new, old, f"These are runs of two suites, {new.part.name} and {old.part.name}.")
    if (new.run.id, new.provider) == (old.run.id, old.provider):
        return ComparisonView(new, old, "These are the same: choose another run, or another provider of this one.")
    comparable = hold_sides(runs, new, old)
    changes = compare_sides(runs, new, old) if comparable else Changes(new.part.margin)
    return ComparisonView(new, old, "", comparable, changes)


def compare_sides(runs: Runs, new: ComparedRun, old: ComparedRun) -> Changes:
    """Paired by prompt and seed, clustered by prompt."""
    sides = [runs.record(side.run).cases_of(side.part.name, side.provider) for side in (new, old)]
    repeats = find_repeats((case.case, case.prompt, case.negative) for side in sides for case in side)
    now, before = ([case.result(repeats) for case in side] for side in sides)
    return compare_results(now, before, new.part.margin)


def hold_sides(runs: Runs, new: ComparedRun, old: ComparedRun) -> Comparable:
    """Whether their scores mean the same: another recipe of one provider, or another scorer, is refused by name."""
    before, after = (runs.record(side.run).suite(side.part.name) for side in (old, new))
    if new.provider == old.provider:
        return compare_recipes(runs.record(old.run), after, new.provider)
    return compare_parts({}, {}, before.scorer, after.scorer)
