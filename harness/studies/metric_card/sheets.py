"""What is drawn and kept of one test identity: its pictures, their faults, and the scores that were found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)


SEEDS = 8  # pictures of one prompt, for mode collapse


KEPT = (1, 2, 4, 8)  # how many of them are different


NUISANCES = ("pose", "expression", "background", "style", "accessory")


Key = tuple[str, str]  # axis and level


@dataclass(frozen=True)
class PictureScores:
    """The scores of one picture."""

    scores: Mapping[str, float]  # gated metric to value
    traits: Mapping[str, float]  # measurable category to score
    raw: float  # mean cosine to the references


@dataclass(frozen=True)
class Copied:
    """One picture held against the training pictures."""

    kind: str  # "fresh", or what was done to the copied one
    lines: float
    found: bool


@dataclass(frozen=True)
class DiversityPoint:
    """What the diversity metric says of SEEDS pictures of which `kept` are different."""

    kept: int
    distinct: float
    alarm: bool


@dataclass(frozen=True)
class IdentityScores:
    """All that was seen of one identity."""

    number: int
    dev: bool
    refusal: str  # why its calibration refuses to gate, or ""
    shots: Mapping[Key, tuple[PictureScores, ...]]  # in the order of the scenes, so that levels are paired
    turned: str = ""  # the category whose hue was turned
    copies: tuple[Copied, ...] = ()
    kept: tuple[DiversityPoint, ...] = ()

    def of(self, axis: str, level: object = "") -> tuple[PictureScores, ...]:
        return self.shots.get((axis, str(level)), ())
