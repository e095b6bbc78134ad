"""Which pictures the models do not know, in numbers and words. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from itertools import islice

from harness.core.values import DISTANCE, DOMAIN, CaseResult, Sample, as_number

UNLIKE = (
    "most of these pictures are drawn in a way that the models hardly know, and what can be read in the pictures of {} "
    "says nothing of those; use a profile whose models know such pictures"
)
EDGE = 0.75  # standard deviations of known pictures' distances above their mean: three of four are nearer


def foreign(samples: Sequence[Sample]) -> list[Sample]:
    """The pictures that the models do not know; they have that score and no value of any other."""
    return [sample for sample in samples if DOMAIN in sample.scores]


def foreign_text(samples: Sequence[Sample]) -> str:
    """`36 of 36 pictures: ` and the reason; "" where the models know them all."""
    reasons = [sample.scores[DOMAIN].reason for sample in foreign(samples)]
    first = next(islice(reasons, 1), "")
    return f"{len(reasons)} of {len(samples)} pictures: {first}" if reasons else ""


def is_at_the_edge(results: Sequence[CaseResult]) -> bool:
    """Whether half of some pictures are farther from what the models know than three of four known ones are.

    One such picture means nothing, a set of them another style. Scores of an earlier version have no distance.
    """
    technical = [s.scores["technical"] for each in results for s in each.scored if "technical" in s.scores]
    known = [distance for score in technical if (distance := as_number(score.details.get(DISTANCE))) is not None]
    return bool(known) and statistics.median(known) > EDGE


def is_unlike(results: Sequence[CaseResult], control: Sequence[CaseResult]) -> bool:
    """Whether pictures are at the edge where a control's are not: what is read in these says nothing of those."""
    return is_at_the_edge(results) and not is_at_the_edge(control)


def blind_text(results: Sequence[CaseResult]) -> str:
    """The same of a provider's results, for the leaderboard."""
    return foreign_text([sample for result in results for sample in result.scored])
