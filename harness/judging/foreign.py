"""Which pictures the models do not know, in numbers and words. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from harness.core.values import DOMAIN, CaseResult, Sample


def foreign(samples: Sequence[Sample]) -> list[Sample]:
    """The pictures that the models do not know; they have that score and no value of any other."""
    return [sample for sample in samples if DOMAIN in sample.scores]


def foreign_text(samples: Sequence[Sample]) -> str:
    """`36 of 36 pictures: ` and the reason; "" where the models know them all."""
    reasons = [sample.scores[DOMAIN].reason for sample in foreign(samples)]
    first = next(islice(reasons, 1), "")
    return f"{len(reasons)} of {len(samples)} pictures: {first}" if reasons else ""


def blind_text(results: Sequence[CaseResult]) -> str:
    """The same of a provider's results, for the leaderboard."""
    return foreign_text([sample for result in results for sample in result.scored])
