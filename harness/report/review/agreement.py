"""Which metric says what people say: how often the picture that it prefers is the one that a person chose."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from scipy.special import stdtr

from harness.core import stats
from harness.core.stats import LEVEL
from harness.core.values import METRICS
from harness.report.review.ledger import Ballot, PairSide
from harness.report.review.runs import RunSummary
from harness.report.review.votes import ballot_pair

SAME = 1e-9  # two scores nearer than this are equal
Known = Mapping[tuple[str, str], Mapping[str, float]]
"""(case, picture) to its scores."""


@dataclass(frozen=True)
class Agreement:
    """One metric held against people's votes."""

    metric: str
    share: float  # of the decided votes that it foresees; where it sees no difference it has half a point
    low: float | None
    high: float | None
    votes: int  # decided ones of pictures that have its score
    cases: int
    even: int  # of these: it saw no difference
    decided_gap: float  # mean distance of its two scores where people decided
    tied_gap: float | None  # and where they could not: smaller in a good metric; None: no tie
    p: float = 1.0  # of "no better and no worse than a coin", Holm's over all metrics

    @property
    def word(self) -> str:
        if self.p >= 1 - LEVEL:
            return "cannot be told from a coin"
        return "agrees with people" if self.share > 0.5 else "contradicts people"


def measure_all(ballots: Sequence[Ballot], known: Known) -> list[Agreement]:
    """Every metric that has scores of both pictures of at least one decided vote, the best first."""
    names = sorted(
        {name for ballot in ballots for name in scores_of(ballot, ballot.left, known)},
        key=lambda name: (METRICS.index(name) if name in METRICS else len(METRICS), name),
    )
    results = [item for name in names if (item := measure(name, ballots, known))]
    ps = stats.holm([item.p for item in results])
    judged = [replace(item, p=p) for item, p in zip(results, ps, strict=True)]
    return sorted(judged, key=lambda item: -item.share)


def measure(metric: str, ballots: Iterable[Ballot], known: Known) -> Agreement | None:
    """One metric; None where no decided vote has its scores."""
    points: dict[str, list[float]] = {}
    decided, tied, even = [], [], 0
    for ballot in ballots:
        sides = [scores_of(ballot, side, known).get(metric) for side in (ballot.left, ballot.right)]
        if ballot.choice == "skip" or sides[0] is None or sides[1] is None:
            continue
        gap = sides[0] - sides[1]
        if ballot.choice == "tie":
            tied.append(abs(gap))
            continue
        decided.append(abs(gap))
        even += abs(gap) < SAME
        points.setdefault(ballot.case, []).append(point(gap, ballot.choice))
    if not decided:
        return None
    share, low, high, p = proportion(points)
    ties = math.fsum(tied) / len(tied) if tied else None
    decisive = math.fsum(decided) / len(decided)
    return Agreement(metric, share, low, high, len(decided), len(points), even, decisive, ties, p)


def point(gap: float, choice: str) -> float:
    """1: the metric prefers what the person chose; half, where it sees no difference."""
    if abs(gap) < SAME:
        return 0.5
    return float((gap > 0) == (choice == "left"))


def proportion(
    points: Mapping[str, Sequence[float]], level: float = LEVEL
) -> tuple[float, float | None, float | None, float]:
    """A share with Wilson's interval over clusters, and the two-sided p of one half.

    Votes on one case share its pictures, so they count as fewer: the effective number is what a simple sample would
    need for the variance between cases (Kott, Andersson and Nerman 2001), never more than the votes. Where all agree
    there is no variance to see, and only the cases are counted.

    Returns:
        share, low, high, p; no bounds and p 1 for fewer than two cases.
    """
    cases, total = len(points), sum(map(len, points.values()))
    share = math.fsum(map(math.fsum, points.values())) / total
    if cases < 2:
        return share, None, None, 1.0
    off = [math.fsum(group) - share * len(group) for group in points.values()]
    between = cases / (cases - 1) * math.fsum(value**2 for value in off) / total**2
    plain = share * (1 - share)
    size = cases if plain < SAME else min(float(total), plain / between) if between > 0 else float(total)
    t = stats.quantile((1 - level) / 2, cases - 1)
    middle = (share + t**2 / (2 * size)) / (1 + t**2 / size)
    half = t * math.sqrt(plain / size + t**2 / (4 * size**2)) / (1 + t**2 / size)
    p = float(2 * stdtr(cases - 1, -abs(share - 0.5) / math.sqrt(0.25 / size)))
    return share, max(0.0, middle - half), min(1.0, middle + half), p


def scores_of(ballot: Ballot, side: PairSide, known: Known) -> Mapping[str, float]:
    """A picture's scores as the newest run has them, else as they were when the vote was cast."""
    return known.get((ballot.case, side.image), side.scores)


def known_scores(runs: Sequence[RunSummary], suite: str) -> Known:
    """The scores of every picture of a suite, the newest run's.

    Args:
        runs: the newest first.
    """
    results: dict[tuple[str, str], Mapping[str, float]] = {}
    for run in runs:
        for shot in run.shots:
            if shot.suite == suite and shot.scores:
                results.setdefault((shot.case, shot.image), shot.scores)
    return results


def people_agree(suite: str, ballots: Iterable[Ballot]) -> tuple[float, int] | None:
    """How often two people who decided the same pair chose the same picture, and on how many such meetings.

    A metric cannot be expected to foresee people better than they foresee each other. None: no pair was judged twice.
    """
    chosen: dict[str, dict[str, str]] = {}
    for ballot in ballots:
        if ballot.choice in ("left", "right"):
            image = ballot.left.image if ballot.choice == "left" else ballot.right.image
            chosen.setdefault(ballot_pair(suite, ballot), {})[ballot.who] = image
    same = met = 0
    for images in chosen.values():
        answers = list(images.values())
        for place, answer in enumerate(answers):
            met += len(answers) - place - 1
            same += answers[place + 1 :].count(answer)
    return (same / met, met) if met else None
