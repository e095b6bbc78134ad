"""Two runs, or two providers of one, side by side: paired differences with intervals, and both pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.judging.changes import Change, Changes, compare_results
from harness.judging.results import Comparable, compare_parts, compare_recipes
from harness.report.review.responses import Query
from harness.report.review.runs import Runs, RunSummary, SuiteSummary, VotePicture, case_results
from harness.report.terminal import bounds_text
from harness.report.words import bar, listed, mapped

WORDS: Mapping[str, tuple[str, str]] = {  # of harness.judging.changes, to (class, words)
    "improved": ("pass", "better"),
    "regressed": ("fail", "worse"),
    "higher": ("pass", "better, by little"),
    "lower": ("inconclusive", "worse, by little"),
    "unchanged": ("none", "no different"),
    "inconclusive": ("inconclusive", "still open"),
}
SENTENCES: Mapping[str, str] = {
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


def run_choices(runs: Sequence[RunSummary]) -> list[dict[str, str]]:
    """Every suite of every run, for a list to choose from."""
    return [
        {
            "value": f"{run.id}/{part.name}",
            "label": " · ".join(
                filter(
                    None,
                    (run.started[:16].replace("T", " "), part.players.get(part.main), run.name.strip("."), part.name),
                )
            ),
        }
        for run in runs
        for part in run.parts.values()
    ]


def usual_pair(choices: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """What a list to choose from begins with: the newest run that has an earlier one of its suite, and that one."""
    values = [item["value"] for item in choices]
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


def compare_view(runs: Runs, query: Query) -> dict[str, Any]:
    """Everything that the page of a comparison says; without two sides only the list to choose from."""
    new = find_side(runs, query.get("new"), query.get("new_by"))
    old = find_side(runs, query.get("old"), query.get("old_by"))
    empty: dict[str, Any] = {"new": new, "old": old, "problem": "", "refused": (), "warned": (), "verdict": None}
    empty |= {"metrics": [], "traits": [], "cases": [], "open": OPEN, "note": ""}
    if new is None or old is None:
        return empty
    if new.part.name != old.part.name:
        return {**empty, "problem": f"These are runs of two suites, {new.part.name} and {old.part.name}."}
    if (new.run.id, new.provider) == (old.run.id, old.provider):
        return {**empty, "problem": "These are the same: choose another run, or another provider of this one."}
    comparable = hold_sides(runs, new, old)
    changes = compare_sides(runs, new, old) if comparable else Changes(new.part.margin)
    return {
        **empty,
        "refused": comparable.refused,
        "warned": comparable.warned,
        "verdict": verdict_view(new, old, changes) if changes.quality else None,
        "metrics": [change_view(name, item) for name, item in head_first(changes).items()],
        "traits": [change_view(name, item) for name, item in changes.traits.items()],
        "cases": cases_view(new, old, changes),
        "note": "" if changes.quality or not comparable else "No case and seed has a score on both sides.",
    }


def compare_sides(runs: Runs, new: ComparedRun, old: ComparedRun) -> Changes:
    """Paired by case and seed, clustered by case."""
    sides = [case_results(runs.record(side.run), side.part.name, side.provider) for side in (new, old)]
    return compare_results(sides[0], sides[1], new.part.margin)


def hold_sides(runs: Runs, new: ComparedRun, old: ComparedRun) -> Comparable:
    """Whether their scores mean the same: another recipe of one provider, or another scorer, is refused by name."""
    before, after = (about_suite(runs.record(side.run), side.part.name) for side in (old, new))
    if new.provider == old.provider:
        return compare_recipes(runs.record(old.run), after, new.provider)
    return compare_parts({}, {}, mapped(before, "scorer"), mapped(after, "scorer"))


def about_suite(record: Mapping[str, Any], suite: str) -> Mapping[str, Any]:
    return next(item for item in listed(record, "suites") if item.get("name") == suite)


def head_first(changes: Changes) -> dict[str, Change]:
    return {**({"quality": changes.quality} if changes.quality else {}), **changes.metrics}


def verdict_view(new: ComparedRun, old: ComparedRun, changes: Changes) -> dict[str, Any]:
    quality = changes.quality
    if quality is None:
        return {}
    kind, _ = WORDS[quality.word]
    return {
        "kind": kind,
        "sentence": f"{new.player} {SENTENCES[quality.word]} {old.player}",
        "pairs": changes.pairs,
        "cases": quality.gap.n,
        "margin": f"{changes.margin:g}",
        **change_view("quality", quality),
    }


def change_view(name: str, change: Change) -> dict[str, Any]:
    """One line of differences; the scale goes from -1 to 1."""
    kind, word = WORDS[change.word]
    gap = {"mean": change.gap.mean, "low": change.gap.low, "high": change.gap.high, "n": change.gap.n}
    return {
        "name": name,
        "kind": kind,
        "word": word,
        "than": SENTENCES[change.word].removeprefix("is "),
        "before": f"{change.before:.2f}",
        "after": f"{change.after:.2f}",
        "gap": bounds_text(gap, signed=True),
        "bar": bar(gap, -1.0, 1.0),
    }


def cases_view(new: ComparedRun, old: ComparedRun, changes: Changes) -> list[dict[str, Any]]:
    """Every case, the worst first, with the pictures of both for each seed; those without a difference last."""
    mine, theirs = new.shots, old.shots
    pairs = sorted({*mine, *theirs})
    known = dict.fromkeys([*changes.cases, *(case for case, _ in pairs)])
    return [
        {
            "case": case,
            "prompt": next(
                (shots[pair].prompt for shots in (mine, theirs) for pair in pairs if pair in shots and pair[0] == case),
                "",
            ),
            "change": change_view(case, changes.cases[case]) if case in changes.cases else None,
            "seeds": [
                {"seed": seed, "new": mine.get((of, seed)), "old": theirs.get((of, seed))}
                for of, seed in pairs
                if of == case
            ],
        }
        for case in known
    ]
