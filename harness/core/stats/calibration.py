"""Raw numbers to [0, 1] with a meaning: where a picture stands among pictures whose truth is known. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.core.arrays import Floats
from harness.core.stats import quantile

LEAST_D = 1.0  # below it genuine and impostor overlap so far that a threshold means nothing
LEAST_PICTURES = 8  # references in all; fewer cannot be split into what trains and what judges
LEAST_HALF = 0.01  # of a band: the choice of a resize filter alone moves an SSIM by more
LEAST_RELIABILITY = 0.25  # of a category: how far above chance (0) towards certainty (1) the references must be read


@dataclass(frozen=True)
class Separation:
    """How well a similarity tells the subject (genuine) from everybody else (impostor)."""

    genuine: float  # mean similarity, leave-one-out among the references
    impostor: float  # mean similarity of the impostors to the references
    genuine_sd: float
    impostor_sd: float
    d_prime: float  # distance of the two means in pooled standard deviations
    eer: float  # the error rate at which as many genuine are refused as impostors accepted
    n_genuine: int
    n_impostor: int

    def scale(self, raw: float) -> float:
        """Where `raw` stands between the impostors (0) and the genuine (1), unclipped."""
        span = self.genuine - self.impostor
        return (raw - self.impostor) / span if span > 0 else math.nan

    def calibrate(self, raw: float) -> float | None:
        """The same, clipped to [0, 1]; None when the impostors are as near as the references."""
        value = self.scale(raw)
        return None if math.isnan(value) else min(1.0, max(0.0, value))


def separate(genuine: Sequence[float] | Floats, impostor: Sequence[float] | Floats) -> Separation:
    """Means, d' and EER of two sets of similarities; at least two genuine and one impostor."""
    g, i = np.asarray(genuine, float), np.asarray(impostor, float)
    g_sd, i_sd = float(g.std(ddof=1)), float(i.std(ddof=1)) if len(i) > 1 else 0.0
    pooled = math.sqrt((g_sd**2 + i_sd**2) / 2)
    gap = float(g.mean() - i.mean())
    d_prime = gap / pooled if pooled > 0 else math.copysign(1e6, gap) if gap else 0.0
    return Separation(float(g.mean()), float(i.mean()), g_sd, i_sd, d_prime, equal_error_rate(g, i), len(g), len(i))


def area_under_curve(genuine: Floats, impostor: Floats) -> float:
    """The chance that a genuine score exceeds an impostor's, ties counting half."""
    g, i = np.asarray(genuine)[:, None], np.asarray(impostor)[None]
    return float((g > i).mean() + 0.5 * (g == i).mean())


def equal_error_rate(genuine: Floats, impostor: Floats) -> float:
    """Half the sum of both error rates at the threshold where they are closest; 0 is perfect, 0.5 is guessing."""
    level = equal_error_level(genuine, impostor)
    return float((np.mean(genuine < level) + np.mean(impostor >= level)) / 2)


def equal_error_level(genuine: Floats, impostor: Floats) -> float:
    """The threshold at which both error rates are closest."""
    levels = np.unique(np.concatenate([genuine, impostor]))
    apart = [abs(np.mean(genuine < level) - np.mean(impostor >= level)) for level in levels]
    return float(levels[int(np.argmin(apart))])


def leave_one_out(similarities: Floats) -> Floats:
    """Each reference's mean similarity to the others, from the (n, n) matrix of all pairs; n >= 2."""
    n = len(similarities)
    return (similarities.sum(1) - np.diag(similarities)) / (n - 1)


@dataclass(frozen=True)
class Band:
    """Where one more picture like the references is expected (95%, prediction of Student's t)."""

    mean: float
    sd: float
    n: int

    @property
    def half(self) -> float:
        """Half the band's width. t, not 1.96: with 5 references plain z refuses 10% of the genuine."""
        return self._width(0.025)

    def typicality(self, value: float) -> float:
        """1 inside the band, falling smoothly on both sides: 0.61 one half-width outside it, 0.14 two, 0.01 three."""
        return _fall(abs(value - self.mean), self.half)

    def reach(self, value: float) -> float:
        """The same where only too little costs: the one-sided 95% band, which is narrower on its one side."""
        return _fall(self.mean - value, self._width(0.05))

    def _width(self, tail: float) -> float:
        return max(LEAST_HALF, quantile(tail, self.n - 1) * self.sd * math.sqrt(1 + 1 / self.n))


def _fall(distance: float, half: float) -> float:
    """1 up to half a width, from there on a Gaussian's flank."""
    return math.exp(-0.5 * (max(0.0, distance - half) / half) ** 2)


def band_of(values: Sequence[float] | Floats) -> Band:
    """The band of at least two values."""
    array = np.asarray(values, float)
    return Band(float(array.mean()), float(array.std(ddof=1)), len(array))


@dataclass(frozen=True)
class Measure:
    """What calibration knows of one trait: how surely the references show it, and whether it can be scored at all."""

    category: str
    value: str
    phrase: str
    accuracy: float  # share of references whose best alternative is the trait's value
    reach: float  # median probability that the references give it; what a sample is measured against
    weight: float  # reliability: accuracy above chance, in [0, 1]; 0 when not measurable
    reason: str = ""  # why it is not measurable


def measure(category: str, value: str, phrase: str, probabilities: Floats, truth: int) -> Measure:
    """One trait's reliability from the references' probabilities (n, alternatives); `truth` is the value's column."""
    alternatives = probabilities.shape[1]
    accuracy = float(np.mean(probabilities.argmax(1) == truth))
    reach = float(np.median(probabilities[:, truth]))
    chance = 1 / alternatives
    weight, reason = max(0.0, above_chance(accuracy, alternatives)), ""
    if weight < LEAST_RELIABILITY:
        reason = f"not measurable: the references themselves are read as {value!r} in {accuracy:.0%} of cases"
    elif above_chance(reach, alternatives) < LEAST_RELIABILITY:
        reason = f"not measurable: {value!r} gets {reach:.0%} in the references, by chance it would get {chance:.0%}"
    return Measure(category, value, phrase, accuracy, reach, 0.0 if reason else weight, reason)


def above_chance(rate: float, alternatives: int) -> float:
    """A rate of being right on the scale where guessing among the alternatives is 0 and always right is 1."""
    chance = 1 / alternatives
    return (rate - chance) / (1 - chance) if alternatives > 1 else 0.0


@dataclass(frozen=True)
class Calibration:
    """All that scoring one subject needs to know, and whether it is good enough to gate on."""

    clip: Separation
    ssim: Band  # mean SSIM of one reference to the others
    edges: Band  # logarithm of how strong the references' edges are
    measures: tuple[Measure, ...]
    sharpness: float  # the blurriest reference's variance of Laplacian
    contrast: float  # the flattest reference's standard deviation of grey levels
    agreement: float  # of train/ with held_out/ on the scale of `clip`: 0 another person, 1 the same
    crowd: float  # mean similarity among the impostors themselves: how alike strangers look
    references: int
    leave_one_out: bool = False
    names: tuple[str, ...] = ()  # the impostors' file names, in the order of their embeddings
    sampling: int = 256  # pixels a side at which pictures were compared, references and drawings alike
    blind: str = ""  # why the models cannot judge the references

    @property
    def reason(self) -> str:
        """Why this calibration must not gate, or ""."""
        if self.blind:
            return self.blind
        if self.leave_one_out:
            return (
                f"only {self.references} reference pictures: with fewer than {LEAST_PICTURES} the suite reports and "
                "does not gate; add pictures of the subject"
            )
        if self.clip.d_prime < LEAST_D:
            return (
                f"the references cannot be told from the impostors (d' {self.clip.d_prime:.2f}, below {LEAST_D:g}; "
                f"EER {self.clip.eer:.0%}): mixed or poor reference pictures, or a CLIP that does not see the subject"
            )
        return ""

    @property
    def can_gate(self) -> bool:
        return not self.reason


def calibration_from(record: Mapping[str, Any]) -> Calibration:
    """The way back from `values.to_record`."""
    return Calibration(
        **{
            **record,
            "clip": Separation(**record["clip"]),
            "ssim": Band(**record["ssim"]),
            "edges": Band(**record["edges"]),
            "measures": tuple(Measure(**item) for item in record["measures"]),
            "names": tuple(record.get("names", ())),
        }
    )
