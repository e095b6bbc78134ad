"""Do different seeds give different pictures? Over-trained LoRAs draw one picture again and again.

Two views of the pictures of one prompt. How far their CLIP embeddings spread, relative to the base's pictures of the
same prompts and seeds: low for every LoRA of one person, because the base draws somebody else each time; so it is
reported and raises no alarm. And how many pictures are really different: the Vendi score (Friedman & Dieng 2022) of
which pictures share their lines; this one raises the alarm of mode collapse.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from harness.core.arrays import Floats
from harness.core.values import to_record
from harness.models.embeddings import open_picture
from harness.scoring.metrics.lines import Sketches, lines_of

SAME = 0.91  # correlation of lines at which two pictures are as likely one as two
BLUNT = 0.01  # how fast that changes
COLLAPSED = 0.4  # different pictures a seed below which it is an alarm: between a quarter and all
LEAST = 3  # pictures a prompt; fewer say nothing of collapse
APART = 0.2  # of the way from one picture for all seeds to all different: of four seeds that is COLLAPSED


@dataclass(frozen=True)
class PromptPictures:
    """The pictures of one prompt by one provider."""

    pictures: int
    distance: float  # mean 1 - cosine of all pairs, [0, 2]
    vendi: float  # effective number of different pictures by the cosines, 1 to `pictures`; the published definition
    distinct: float  # effective number of different pictures by their lines, 1 to `pictures`


@dataclass(frozen=True)
class Diversity:
    """One provider's seeds against the base's, over the prompts that both drew."""

    cases: Mapping[str, PromptPictures]
    base: Mapping[str, PromptPictures] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """Mean distance relative to the base's on the prompts of both; None without a base that varies."""
        both = [case for case in self.cases if case in self.base]
        usual = sum(self.base[case].distance for case in both)
        return sum(self.cases[case].distance for case in both) / usual if usual > 1e-9 else None

    @property
    def share(self) -> float | None:
        """Different pictures a seed, 0 to 1; where the base repeats itself too, of as many as the base has."""
        enough = {case: spread for case, spread in self.cases.items() if spread.pictures >= LEAST}
        usual = {case: self.base[case].distinct if case in self.base else enough[case].pictures for case in enough}
        shares = [min(1.0, spread.distinct / usual[case]) for case, spread in enough.items()]
        return float(np.mean(shares)) if shares else None

    @property
    def alarm(self) -> bool:
        """Whether fewer differ than the seeds of these prompts let expect; of three, one is a third already."""
        bounds = [collapsed(spread.pictures) for spread in self.cases.values() if spread.pictures >= LEAST]
        return self.share is not None and self.share < float(np.mean(bounds))

    @property
    def record(self) -> dict[str, object]:
        """As plain JSON data."""
        results = {"ratio": self.ratio, "share": self.share, "alarm": self.alarm, "sentence": self.sentence}
        return {**to_record(self), **results}

    @property
    def sentence(self) -> str:
        """For people: what was found, and what to do."""
        if self.share is None:
            return f"diversity was not judged: it takes {LEAST} seeds a prompt"
        total = sum(spread.pictures for spread in self.cases.values())
        message = f"{self.share:.0%} of {total} pictures differ from the others of their prompt"
        if self.ratio is not None:
            message += f", and they lie {self.ratio:.0%} as far apart as the base's"
        remedy = "mode collapse: every seed draws nearly the same; fewer steps, a lower rank or more varied pictures"
        return f"{message}; {remedy}" if self.alarm else message


def collapsed(pictures: int) -> float:
    """Different pictures a seed below which so many of one prompt are called nearly one."""
    return max(COLLAPSED, 1 / pictures + APART * (1 - 1 / pictures))


def vendi_score(likeness: Floats) -> float:
    """exp of the entropy of the eigenvalues of K / n: 1 when all are alike, n when none are.

    Args:
        likeness: K (n, n), symmetric, 1 on the diagonal; what keeps it from being positive is cut off.
    """
    values = np.clip(np.linalg.eigvalsh(likeness / len(likeness)), 0.0, None)
    shares = values[values > 1e-12] / values.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def same_pictures(correlations: Floats) -> Floats:
    """How likely pairs are one picture, [0, 1], from the correlations of their lines: a soft step at SAME."""
    result = 1 / (1 + np.exp(-(np.asarray(correlations) - SAME) / BLUNT))
    np.fill_diagonal(result, 1.0)
    return result


def measure_spread(pictures: Sequence[bytes], vectors: Floats) -> PromptPictures:
    """The pictures of one prompt, encoded, and their CLIP unit vectors (n, d); n of at least 2."""
    n, cosines = len(vectors), vectors @ vectors.T
    lines = Sketches([lines_of(open_picture(data)) for data in pictures])
    return PromptPictures(
        n,
        distance=float(1 - (cosines.sum() - np.trace(cosines)) / (n * (n - 1))),
        vendi=vendi_score(cosines),
        distinct=vendi_score(same_pictures(lines.likeness())),
    )
