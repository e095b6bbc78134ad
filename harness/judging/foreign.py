"""Which pictures the models do not know, in numbers and words. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from itertools import islice

from harness.core.values import DISTANCE, DOMAIN, CaseResult, Sample, as_number

EDGE = 1.0  # standard deviations of known pictures' distances above their mean


def foreign(samples: Sequence[Sample]) -> list[Sample]:
    """The pictures that the models do not know; they have that score and no value of any other."""
    return [sample for sample in samples if DOMAIN in sample.scores]


def foreign_text(samples: Sequence[Sample]) -> str:
    """`36 of 36 pictures: ` and the reason; "" where the models know them all."""
    reasons = [sample.scores[DOMAIN].reason for sample in foreign(samples)]
    first = next(islice(reasons, 1), "")
    return f"{len(reasons)} of {len(samples)} pictures: {first}" if reasons else ""


def is_at_the_edge(results: Sequence[CaseResult]) -> bool:
    """Whether half of some pictures are farther from what the models know than five of six known ones are.

    One such picture means nothing, a set of them another style. Pictures without a distance say nothing.
    """
    samples = [sample for result in results for sample in result.scored]
    found = [as_number(s.scores["prompt"].details.get(DISTANCE)) for s in samples if "prompt" in s.scores]
    known = [distance for distance in found if distance is not None]
    return bool(known) and statistics.median([*known, *[math.inf] * len(foreign(samples))]) > EDGE


def blind_text(results: Sequence[CaseResult]) -> str:
    """The same of a provider's results, for the leaderboard."""
    return foreign_text([sample for result in results for sample in result.scored])
