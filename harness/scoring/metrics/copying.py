"""Is a picture a reference drawn again? Memorisation passes every likeness test, so it is looked for by itself.

A copy of a `train` picture shows over-training, one of a `held_out` picture a leak: whoever drew has seen what judges.
Two tests, against the one set, with the other for what likeness is normal. The pixels: the lines of both pictures
(recolouring does not help), mirrored or not, at every shift and at several scales of a crop. And the CLIP embeddings:
a picture much nearer to one training picture than the held-out pictures are to any counts as a copy at a lower likeness
of the lines. Measured on the world: copies that were shifted by 4 px, mirrored or recoloured reach 0.95 and more, crops
to 80% and JPEG at quality 50 reach 0.90; of 650 other pictures of seven people one was called a copy (0.94), the next
reached 0.894.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from harness.core.arrays import Floats
from harness.core.values import hash_file
from harness.models.embeddings import open_file
from harness.scoring.metrics.lines import REACH, SIDE, Sketches, lines_of

SCALES = tuple(1 - 0.025 * step for step in range(13))  # how much of the training picture a crop shows, its side
ALIKE = 0.9  # correlation of lines from which two pictures are one
LIKELY = 0.87  # correlation of lines that an embedding can confirm; at 0.8 a new picture of the same scene is "a copy"
AS_NEAR = 0.5  # of the way from the likest held-out picture (0) to an equal one (1): what an embedding must go
FALSE = 0.01  # alarms a picture that copies nothing; so many prove nothing
DESCRIBED = 0.1  # prompts that describe a training picture, so that an honest LoRA draws its like: 5 of 42 measured
MOST = 0.5  # share of copies, or of prompts with one, that no description excuses
KINDS: Mapping[str, tuple[str, str]] = {
    "train": ("training", "memorised: a LoRA needs fewer steps, a lower rank or more pictures"),
    "held_out": ("held-out", "a leak: whoever drew this has seen the pictures that judge it, so no score counts"),
}
"""By the split of the references: what its pictures are called, and what many copies of them mean."""


@dataclass(frozen=True)
class Nearest:
    """The training picture that one picture is nearest to."""

    name: str  # its file
    sha: str  # SHA-256 of its bytes
    lines: float  # correlation of the lines, -1 to 1, at the best shift, scale and side
    embedding: float | None  # cosine to the same picture; None: there was no embedding
    how: str  # what was done to it: "mirrored, moved by 4%, cropped to 88%"; "" when nothing
    copied: bool


@dataclass(frozen=True)
class Copies:
    """What a set of pictures copied."""

    pictures: int
    found: tuple[tuple[int, Nearest], ...]  # (place in the pictures looked at, what it copies), the likest first
    nearest: Nearest | None  # of all pictures, copied or not
    normal: float | None  # the likest held-out picture's correlation; None: not looked at
    looked: int | None = None  # at so many of the pictures, those nearest to the training set; None: at all
    prompts: tuple[int, int] | None = None  # with a copy, and in all; None: every picture stands for itself
    split: str = "train"  # which references were looked for

    @property
    def share(self) -> float:
        """Of the pictures that are copies, 0 to 1."""
        return len(self.found) / self.pictures if self.pictures else 0.0

    @property
    def alarm(self) -> bool:
        """More copies than chance explains (one-sided binomial, 5%); by prompts where known, as their seeds agree."""
        from scipy.stats import binom

        if self.prompts is None:
            return self.pictures > 0 and len(self.found) > int(binom.ppf(0.95, self.pictures, FALSE))
        return self.prompts[0] > int(binom.ppf(0.95, self.prompts[1], DESCRIBED)) or self.share > MOST

    @property
    def widespread(self) -> bool:
        """Copies for more than half of the prompts: that is red, however severely a suite takes a copy."""
        return self.share > MOST if self.prompts is None else self.prompts[0] > MOST * self.prompts[1]

    @property
    def sentence(self) -> str:
        """For people: what was found, and what to do."""
        if self.nearest is None:
            return "no picture was held against the training pictures"
        kind, remedy = KINDS[self.split]
        if not self.found:
            message = f"none of {self.pictures} pictures copies a {kind} picture (likest: {self.nearest.lines:.2f})"
            return message + self._part
        worst = self.found[0][1]
        how = f" ({worst.how})" if worst.how else ""
        remedy = remedy if self.alarm else ""
        where = f" ({self.prompts[0]} of {self.prompts[1]} prompts)" if self.prompts else ""
        message = f"{len(self.found)} of {self.pictures} pictures{where} copy a {kind} picture, {worst.name}{how} most"
        few = "so few can be chance, or a prompt that describes it" if self.prompts else "so few can be chance"
        return f"{message} of all{self._part}; {remedy or f'look at them: {few}'}"

    @property
    def _part(self) -> str:
        """Whether only some of the pictures were looked at, in words."""
        return "" if self.looked is None else f", {self.looked} of them looked at, those nearest to the training set"


def tell_copies(found: Sequence[Copies]) -> str:
    """What both splits say together: the training pictures always, the held-out ones where one is copied."""
    return "; ".join(copies.sentence for copies in found if copies.split == "train" or copies.found)


class TrainSet:
    """The training pictures of one subject, ready to be compared with; or its held-out ones, the other way round."""

    def __init__(
        self,
        paths: Sequence[Path],
        vectors: Floats | None = None,
        held_out: Sequence[Path] = (),
        kept: Floats | None = None,
        split: str = "train",
    ) -> None:
        """Reads the training pictures at once.

        Args:
            vectors: CLIP unit vectors (n, d) of `paths`; without them lines alone decide.
            held_out: pictures of the subject that nobody trained on: what likeness is normal.
            kept: CLIP unit vectors of `held_out`; without them an embedding confirms nothing.
            split: of `paths`; with "held_out" all is the other way round.
        """
        self.split = split
        self.paths, self.vectors, self.held_out, self.kept = tuple(paths), vectors, tuple(held_out), kept
        self._sketches = Sketches([lines_of(open_file(path)) for path in paths])

    @cached_property
    def shas(self) -> tuple[str, ...]:
        return tuple(map(hash_file, self.paths))

    @cached_property
    def normal(self) -> float | None:
        """The highest correlation that a held-out picture reaches; None without any."""
        return max((self._search(open_file(path))[0] for path in self.held_out), default=None)

    @cached_property
    def _near(self) -> float | None:
        """The cosine from which an embedding is nearer than a picture of the same subject should be."""
        if self.vectors is None or self.kept is None or not len(self.kept):
            return None
        usual = float((self.kept @ self.vectors.T).max())
        return usual + AS_NEAR * (1 - usual)

    def nearest(self, picture: Image.Image, vector: Floats | None = None) -> Nearest:
        """The training picture whose lines are likest to those of `picture`; `vector`: its CLIP unit vector (d,)."""
        lines, row, how = self._search(picture)
        cosine = float(self.vectors[row] @ vector) if self.vectors is not None and vector is not None else None
        confirmed = cosine is not None and self._near is not None and cosine >= self._near and lines >= LIKELY
        return Nearest(self.paths[row].name, self.shas[row], lines, cosine, how, lines >= ALIKE or confirmed)

    def _search(self, picture: Image.Image) -> tuple[float, int, str]:
        """The best correlation, the training picture it is with, and what was done to that picture."""
        best, row, how = -2.0, 0, ""
        for scale in SCALES:
            query = lines_of(picture, round(SIDE * scale))
            for mirrored in (False, True):
                table = self._sketches.correlate(query[:, ::-1] if mirrored else query)
                if (top := float(table.max())) > best:
                    best = top
                    row, *shift = map(int, np.unravel_index(int(table.argmax()), table.shape))
                    how = describe(scale, mirrored, shift)
        return best, row, how


def describe(scale: float, mirrored: bool, shift: Sequence[int]) -> str:
    """What was done to a training picture, in words; where a crop lies is no news."""
    moved = max(abs(step - REACH) for step in shift) / SIDE if scale == 1 else 0.0
    parts = ["mirrored" if mirrored else "", f"moved by {moved:.0%}" if moved else ""]
    return ", ".join(filter(None, [*parts, f"cropped to {scale:.0%}" if scale < 1 else ""]))


def gather_copies(
    each: Mapping[int, Nearest],
    pictures: int,
    normal: float | None,
    prompts: Sequence[str] = (),
    split: str = "train",
) -> Copies:
    """A set of `pictures` from what is known of some, by their places; the others count as no copies.

    Args:
        prompts: of all pictures, an id each.
    """
    ranked = sorted(each.items(), key=lambda item: -item[1].lines)
    result = tuple((place, nearest) for place, nearest in ranked if nearest.copied)
    looked = len(each) if len(each) < pictures else None
    counts = (len({prompts[place] for place, _ in result}), len(set(prompts))) if prompts else None
    return Copies(pictures, result, ranked[0][1] if ranked else None, normal, looked, counts, split)
