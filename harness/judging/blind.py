"""Whether pictures can be judged at all: a model that does not know what it looks at gives numbers, and no answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.core.stats.calibration import Calibration
from harness.core.values import DOMAIN, CaseResult, Sample, Score
from harness.judging.complaints import JudgedComplaint, unsure, warn
from harness.judging.foreign import blind_text, foreign, foreign_text

MOST = 0.5  # of a provider's pictures: with more outside, those that are left speak of something else
KEPT = (DOMAIN, "technical")  # what is said of a picture without its being judged
FEW = 0.1  # as many may be left out with a warning; own pictures are taken for foreign in 2%


def cannot_judge(calibration: Calibration | None, samples: Sequence[Sample]) -> str:
    """Why these pictures carry no verdict, or "": the references, their calibration, or the drawings themselves."""
    if calibration and calibration.reason:
        return calibration.reason
    return foreign_text(samples) if len(foreign(samples)) > MOST * len(samples) else ""


def left_out(samples: Sequence[Sample]) -> list[JudgedComplaint]:
    """What a verdict over the other pictures must say of those whose scores are missing for it."""
    count = len(foreign(samples))
    if not count:
        return []
    message = f"{foreign_text(samples)}; they are left out of every score"
    return [unsure(DOMAIN, message) if count > FEW * len(samples) else warn(DOMAIN, message)]


def in_the_dark(results: Sequence[CaseResult]) -> bool:
    """Whether most of a provider's pictures are foreign: the few others then look familiar by chance."""
    samples = [sample for result in results for sample in result.scored]
    return len(foreign(samples)) > MOST * len(samples)


def without_values(results: Sequence[CaseResult]) -> list[CaseResult]:
    """The same pictures with raw numbers alone, and why."""
    why = blind_text(results)

    def bare(sample: Sample) -> Sample:
        scores = {
            name: score if name in KEPT else Score(name, None, score.raw, score.reason or why)
            for name, score in sample.scores.items()
        }
        return replace(sample, scores=scores)

    return [replace(result, samples=tuple(map(bare, result.samples))) for result in results]
