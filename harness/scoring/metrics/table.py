"""The metrics that every suite is scored by: one line of METRICS each, and what they are handed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from PIL import Image

from harness.core.arrays import Floats
from harness.core.stats.calibration import Calibration
from harness.core.values import Case, Score
from harness.scoring.metrics.clip import clip_score
from harness.scoring.metrics.features import Question, features_score, prompt_score
from harness.scoring.metrics.quality import quality_score
from harness.scoring.metrics.ssim import Plate, ssim_score
from harness.scoring.metrics.technical import technical_score


@dataclass(frozen=True)
class SampleViews:
    """One sample's picture in every form that a metric wants."""

    case: Case
    picture: Image.Image  # RGB
    vector: Floats  # CLIP, unit length (d,)
    plate: Plate  # grey 256 x 256
    expected: Mapping[str, Question]  # category to the question that the case's `expect` puts


@dataclass(frozen=True)
class ReferenceSet:
    """All that the pictures of one suite are held against."""

    calibration: Calibration
    gallery: Floats  # (references, d)
    train: Floats  # (train pictures, d)
    impostors: Floats  # (impostors, d)
    plates: tuple[Plate, ...]  # of the gallery
    questions: Mapping[str, Question]  # category to question, of the subject's traits
    scale: float  # of the softmax
    size: tuple[int, int]  # pixels, as the profile asks
    weights: Mapping[str, float]  # of quality


def clip(look: SampleViews, ground: ReferenceSet, _: Mapping[str, Score]) -> Score:
    return clip_score(look.vector, ground.gallery, ground.train, ground.impostors, ground.calibration)


def features(look: SampleViews, ground: ReferenceSet, _: Mapping[str, Score]) -> Score:
    replaced = look.case.expect.keys()
    return features_score(look.vector, ground.calibration.measures, ground.questions, ground.scale, replaced)


def ssim(look: SampleViews, ground: ReferenceSet, _: Mapping[str, Score]) -> Score:
    return ssim_score(look.plate, ground.plates, ground.calibration.ssim, ground.calibration.edges)


def quality(_: SampleViews, ground: ReferenceSet, found: Mapping[str, Score]) -> Score:
    return quality_score(found, ground.weights, ground.calibration.weights)


def prompt(look: SampleViews, ground: ReferenceSet, _: Mapping[str, Score]) -> Score | None:
    return prompt_score(look.vector, look.case.expect, look.expected, ground.scale) if look.case.expect else None


def technical(look: SampleViews, ground: ReferenceSet, _: Mapping[str, Score]) -> Score:
    known = ground.calibration
    return technical_score(look.picture, ground.size, known.sharpness, known.contrast, known.sampling)


METRICS: dict[str, Callable[[SampleViews, ReferenceSet, Mapping[str, Score]], Score | None]] = {
    "clip": clip,
    "features": features,
    "ssim": ssim,
    "quality": quality,  # reads the three above
    "prompt": prompt,
    "technical": technical,
}
"""Name to what finds it; later ones see the scores of those before. None: has nothing to say of this case."""
