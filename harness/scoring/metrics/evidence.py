"""What is known when a gate is red: the facts from which a cause is told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness.core.stats.calibration import Calibration
from harness.core.values import CaseResult, Outcome, Sample
from harness.scoring.metrics.applied import Applied
from harness.scoring.metrics.clip import mean_or_none
from harness.scoring.metrics.technical import RELATIVE


@dataclass(frozen=True)
class Evidence:
    """Facts about one provider's pictures, its LoRA and the references. None: not known."""

    provider: str
    subject: str = ""
    trigger: str = ""
    pictures: int = 0
    faults: Mapping[str, int] = field(default_factory=dict)  # technical fault to number of pictures
    missing: Mapping[str, int] = field(default_factory=dict)  # outcome to number of pictures
    message: str = ""  # of the first missing picture
    clip: float | None = None  # mean calibrated score
    train: float | None = None  # the pictures to train/, 0 impostors to 1 genuine
    alike: float | None = None  # the pictures among themselves: 0 as strangers, 1 as the references
    agreement: float | None = None  # of train/ with held_out/, 0 another person to 1 the same
    likest: str = ""  # the impostor that most pictures are nearest to
    applied: Applied | None = None
    lora: str = ""  # the file's name
    metadata: Mapping[str, str] = field(default_factory=dict)  # of the LoRA file
    references: str = ""  # hash of train/ as it is now
    held_out: str = ""  # hash of held_out/ as it is now; "" where nothing is held out


def gather_evidence(
    provider: str, results: Sequence[CaseResult], applied: Applied | None, calibration: Calibration | None
) -> Evidence:
    """What results alone tell; the scorer adds what takes pictures and files (`Scorer.evidence`)."""
    samples = [sample for result in results for sample in result.samples]
    scored = [sample for sample in samples if sample.scores]
    lost = [sample for sample in samples if sample.outcome is not Outcome.OK]
    binding = calibration is None or calibration.can_gate
    faults = {kind: count for kind, count in count_faults(scored).items() if binding or kind not in RELATIVE}
    likest = Counter(str(clip.details.get("likest_impostor", "")) for s in scored if (clip := s.scores.get("clip")))
    return Evidence(
        provider,
        pictures=len(scored),
        faults=faults,
        missing=dict(Counter(sample.outcome.value for sample in lost)),
        message=lost[0].message if lost else "",
        clip=mean_or_none([sample.scores["clip"].value for sample in scored if "clip" in sample.scores]),
        train=mean_or_none([s.scores["clip"].details.get("train") for s in scored if "clip" in s.scores]),
        agreement=calibration.agreement if calibration and calibration.can_gate else None,
        likest=likest.most_common(1)[0][0] if likest else "",
        applied=applied,
    )


def faults_of(sample: Sample) -> list[Mapping[str, str]]:
    """The technical faults of one picture, as kind and message."""
    technical = sample.scores.get("technical")
    return list(technical.details.get("faults", ())) if technical else []


def count_faults(samples: Sequence[Sample]) -> dict[str, int]:
    """Kind of technical fault to the number of pictures that have it."""
    return dict(Counter(fault["kind"] for sample in samples for fault in faults_of(sample)))
