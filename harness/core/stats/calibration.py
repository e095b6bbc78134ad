"""Raw numbers to [0, 1] with a meaning: where a picture stands among pictures whose truth is known. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness.core.arrays import Floats
from harness.core.stats import quantile

LEAST_D = 1.0  # below it genuine and impostor overlap so far that a threshold means nothing
LEAST_PICTURES = 8  # references in all; fewer cannot be split into what trains and what judges
LEAST_AREA = 0.8  # lower bound of the area under the curve from which a score tells two groups apart
LEAST_FALL = 0.3  # of the way from strangers to the subject: how far likeness must fall when the subject is redrawn
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


def area_at_least(genuine: Floats, other: Floats, tail: float = 0.025) -> float:
    """The lower bound of `area_under_curve`, with 1 - `tail` confidence; never sure at perfect separation.

    Method 5 of Newcombe, "Confidence intervals for an effect size measure based on the Mann-Whitney statistic, part 2"
    (2006): a score interval with Hanley and McNeil's variance. Twelve against twelve that do not overlap give 0.83,
    twenty-four against as many 0.92.
    """
    m, n = len(genuine), len(other)
    if not m or not n:
        return 0.0
    area = area_under_curve(genuine, other)
    spare, z = (m + n) / 2 - 1, quantile(tail, math.inf)

    def too_low(bound: float) -> bool:
        variance = bound * (1 - bound) / (m * n) * (1 + spare * ((1 - bound) / (2 - bound) + bound / (1 + bound)))
        return area - bound > z * math.sqrt(variance)

    low, high = 0.0, area
    for _ in range(50):  # the bound is where both sides are equal
        middle = (low + high) / 2
        low, high = (middle, high) if too_low(middle) else (low, middle)
    return low


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


def measure(
    category: str, value: str, phrase: str, probabilities: Floats, truth: int, strangers: Floats | None = None
) -> Measure:
    """What one trait is worth.

    Args:
        probabilities: (n, alternatives) of the references.
        truth: the value's column.
        strangers: (m, alternatives) of pictures of others by the same model. The weight is then 2 L - 1, where L is the
            lower bound of the chance that a reference shows the trait more than a stranger; None: the accuracy above
            chance on the references alone, which is consistency and no more.
    """
    alternatives = probabilities.shape[1]
    accuracy = float(np.mean(probabilities.argmax(1) == truth))
    reach = float(np.median(probabilities[:, truth]))
    chance = 1 / alternatives
    weight, reason = max(0.0, above_chance(accuracy, alternatives)), ""
    if weight < LEAST_RELIABILITY:
        reason = f"not measurable: the references themselves are read as {value!r} in {accuracy:.0%} of cases"
    elif above_chance(reach, alternatives) < LEAST_RELIABILITY:
        reason = f"not measurable: {value!r} gets {reach:.0%} in the references, by chance it would get {chance:.0%}"
    if strangers is not None and not reason:
        least = area_at_least(probabilities[:, truth], strangers[:, truth])
        weight = max(0.0, 2 * least - 1)
        if not weight:
            reason = (
                f"not measurable: others are read as {value!r} as surely as the references (AUC at least {least:.2f})"
            )
    return Measure(category, value, phrase, accuracy, reach, 0.0 if reason else weight, reason)


def above_chance(rate: float, alternatives: int) -> float:
    """A rate of being right on the scale where guessing among the alternatives is 0 and always right is 1."""
    chance = 1 / alternatives
    return (rate - chance) / (1 - chance) if alternatives > 1 else 0.0


@dataclass(frozen=True)
class Sight:
    """Whether an encoder sees who a picture shows, found without labels on the references as the base redraws them.

    Who they show fades with the strength of the redrawing while style, palette and composition stay. An encoder that
    sees identity finds the weakest redrawing nearer to the held-out pictures than the strongest, surely and by much.
    """

    strengths: tuple[float, ...]
    means: tuple[float, ...]  # mean similarity to the held-out references at each strength
    told: float  # lower bound of the chance that a weak redrawing is nearer than a strong one
    fall: float  # from the weakest to the strongest, in units of the way from strangers to the subject
    described: float | None = None  # upper bound of the chance that a reference is nearer than a lookalike

    @property
    def reason(self) -> str:
        """Why it is blind, or ""."""
        steps = ", ".join(f"{mean:.2f}" for mean in self.means)
        if self.told < LEAST_AREA:
            return (
                f"CLIP does not see who is shown: references redrawn by the base until they show somebody else are as "
                f"like the held-out pictures as before ({steps}; told apart at least {self.told:.2f} of the time, "
                f"{LEAST_AREA:g} is needed): choose a model that knows such pictures"
            )
        if self.fall < LEAST_FALL:
            return (
                f"CLIP hardly sees who is shown: between references and others drawn over them its likeness falls by "
                f"{self.fall:.0%} of the way to strangers ({steps}; {LEAST_FALL:.0%} is needed)"
            )
        return ""

    @property
    def sees(self) -> bool:
        return not self.reason

    @property
    def enough(self) -> bool:
        """Whether a description in words draws somebody whom the encoder surely cannot tell from the references.

        Where it may or may not, a LoRA must beat its prompt as ever.
        """
        return self.described is not None and self.described < LEAST_AREA


def sight_of(
    similarities: Mapping[float, Floats], genuine: Floats, strangers: Floats, lookalikes: Floats | None = None
) -> Sight:
    """From similarities to the held-out references.

    Args:
        similarities: strength of redrawing to those of its pictures.
        genuine: of the train pictures.
        strangers, lookalikes: of the base's pictures without and with the description.
    """
    strengths = tuple(sorted(similarities))
    weak, strong = similarities[strengths[0]], similarities[strengths[-1]]
    span = float(np.mean(genuine) - np.mean(strangers))
    return Sight(
        strengths,
        tuple(float(np.mean(similarities[strength])) for strength in strengths),
        area_at_least(weak, strong),
        float(np.mean(weak) - np.mean(strong)) / span if span > 0 else 0.0,
        1 - area_at_least(lookalikes, genuine) if lookalikes is not None and len(lookalikes) else None,
    )


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
    zero: str = "impostors"  # whom the scale of `clip` calls 0: the nearest of the groups that are not the subject
    sight: Sight | None = None  # whether CLIP sees who a picture shows; None: nothing could be redrawn
    weights: Mapping[str, float] = field(default_factory=dict)  # metric to the share of its weight that it keeps

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
        if self.sight and not self.sight.sees:
            return self.sight.reason
        if self.clip.d_prime < LEAST_D:
            return (
                f"the references cannot be told from the {self.zero} (d' {self.clip.d_prime:.2f}, below {LEAST_D:g}; "
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
            "sight": sight_from(record.get("sight")),
        }
    )


def sight_from(record: Mapping[str, Any] | None) -> Sight | None:
    """The way back of one part."""
    if record is None:
        return None
    return Sight(**{**record, "strengths": tuple(record["strengths"]), "means": tuple(record["means"])})
