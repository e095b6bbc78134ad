"""What the references say of the subject: one value a category, read zero-shot, kept where the pictures agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.core.arrays import Floats
from harness.core.stats.calibration import LEAST_RELIABILITY, above_chance
from harness.core.values import Trait

RENDERING = (
    "style",
    "medium",
    "technique",
    "palette",
    "line",
)  # how a picture is made, not what it shows
LEAST_SHARE = 0.6  # of the train pictures that must agree before a value counts as the subject's


@dataclass(frozen=True)
class TraitReading:
    """What the train pictures show in one category."""

    category: str
    value: str  # the alternative with the highest mean probability
    phrase: str
    share: float  # of the pictures, those read as `value`
    probability: float  # mean over the pictures
    identity: bool  # belongs to the subject, not to one picture
    reason: str = ""  # why it is no trait
    second: str = ""  # the alternative with the next highest mean probability
    second_probability: float = 0.0

    @property
    def trait(self) -> Trait:
        return Trait(self.category, self.value, self.phrase)


def read_category(category: str, phrases: Mapping[str, str], probabilities: Floats, identity: bool) -> TraitReading:
    """One category from its probabilities (pictures, alternatives); `phrases`: alternative to how a prompt says it."""
    values = list(phrases)
    mean = probabilities.mean(0)
    best = int(np.argmax(mean))
    share = float(np.mean(probabilities.argmax(1) == best))
    reason = ""
    if share < LEAST_SHARE:
        reason = f"the pictures differ: only {share:.0%} show {values[best]!r}"
    elif above_chance(float(mean[best]), len(values)) < LEAST_RELIABILITY:
        reason = f"unclear: {values[best]!r} gets {mean[best]:.0%} of {len(values)} alternatives"
    read = TraitReading(category, values[best], phrases[values[best]], share, float(mean[best]), identity, reason)
    if len(values) < 2:
        return read
    second = int(np.argsort(-mean, kind="stable")[1])
    return replace(read, second=values[second], second_probability=float(mean[second]))


def extract_traits(readings: Sequence[TraitReading], kind: str = "character") -> tuple[Trait, ...]:
    """The traits of the subject: categories of its kind in which the pictures agree, in the vocabulary's order.

    A character's are those of identity. Expression, background, style and what is held belong to a picture; where all
    references share one it is still no trait, because a prompt asks for another. A style's are those of rendering: the
    faces that it happens to show are none.
    """
    own = [reading for reading in readings if (reading.category in RENDERING if kind == "style" else reading.identity)]
    return tuple(reading.trait for reading in own if not reading.reason)
