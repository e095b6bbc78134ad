"""The suite's references and impostors, scored as pictures of a run would be, and what follows from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.core.arrays import Floats
from harness.core.stats.calibration import LEAST_D, Calibration, band_of
from harness.core.values import METRICS, Score, to_record
from harness.models.embeddings import open_picture
from harness.scoring.calibration.distributions import FALSE_ALARM, Discrimination, Sides, examine
from harness.scoring.metrics.features import features_score, measure_trait
from harness.scoring.metrics.quality import quality_score
from harness.scoring.metrics.scorer import Scorer
from harness.scoring.metrics.ssim import edges, grey_square, plate_of, similarity, typicality
from harness.scoring.metrics.table import ReferenceSet

PRIMARY = METRICS[0]


@dataclass(frozen=True)
class CalibrationReport:
    """What calibration found out about one suite."""

    suite: str
    subject: str
    calibration: Calibration
    clip_hash: str  # of the model that looked
    sides: tuple[Sides, ...]
    findings: tuple[Discrimination, ...]
    false_alarm: float

    @property
    def refusal(self) -> str:
        """Why the suite must not gate, or ""."""
        return self.calibration.reason

    @property
    def suggested(self) -> dict[str, tuple[float, float]]:
        """Metric to (fail, warn) as they are written; empty where the suite must not gate.

        A score whose populations overlap is no gate: its threshold would refuse much before it caught anything.
        `quality` must have one, whatever it is worth.
        """
        kept = [] if self.refusal else [f for f in self.findings if f.suggested]
        results = {f.metric: f.suggested for f in kept if f.suggested and (f.suggested.apart or f.metric == PRIMARY)}
        return {metric: (bounds.fail, bounds.warn) for metric, bounds in results.items()}

    @property
    def record(self) -> dict[str, object]:
        """As plain JSON data."""
        bounds = {metric: {"fail": fail, "warn": warn} for metric, (fail, warn) in self.suggested.items()}
        own = {"can_gate": not self.refusal, "reason": self.refusal, "thresholds": bounds}
        return {"version": 1, **own, **to_record(self)}


def calibrate_suite(scorer: Scorer, false_alarm: float = FALSE_ALARM) -> CalibrationReport:
    """Both populations through every gated score."""
    calibration = scorer.calibration()
    sides = populations(scorer, scorer.ground)
    findings = tuple(examine(side, false_alarm) for side in sides if not side.reason)
    suite = scorer.suite
    clip_hash = scorer.models.model_hash(scorer.profile.models.clip)
    return CalibrationReport(suite.name, suite.subject.name, calibration, clip_hash, sides, findings, false_alarm)


def populations(scorer: Scorer, ground: ReferenceSet) -> tuple[Sides, ...]:
    """Every gated metric's scores of references, and of those who are called 0; a reference is held against others."""
    others, sampling = scorer.alternative(), ground.calibration.sampling
    plates = [plate_of(grey_square(open_picture(data), sampling)) for data in others]
    table = np.array([[similarity(a, b) for b in ground.plates] for a in ground.plates])
    crossed = np.array([[similarity(a, b) for b in ground.plates] for a in plates])
    strong = np.array([edges(plate) for plate in ground.plates])
    everybody = list(range(len(ground.plates)))
    genuine = []
    for row in everybody:
        kept = [place for place in everybody if place != row]
        genuine.append(_rate(ground, kept, ground.gallery[row], table[row, kept], float(strong[row]), table, strong))
    strangers = [
        _rate(ground, everybody, vector, crossed[row], edges(plates[row]), table, strong)
        for row, vector in enumerate(scorer.embed(others))
    ]
    return tuple(_side(metric, genuine, strangers) for metric in METRICS)


def rounded(sides: Sequence[Sides]) -> list[dict[str, object]]:
    """As plain data, of what could be measured; four digits, because pages draw them."""
    return [
        {"metric": side.metric, "genuine": _short(side.genuine), "impostor": _short(side.impostor)}
        for side in sides
        if not side.reason
    ]


def _short(values: Sequence[float]) -> list[float]:
    return [round(float(value), 4) for value in values]


def _rate(
    ground: ReferenceSet,
    kept: Sequence[int],
    vector: Floats,
    likeness: Floats,
    fine: float,
    table: Floats,
    strong: Floats,
) -> dict[str, Score]:
    """One picture's gated scores when only the references in `kept` are known."""
    gallery, known = ground.gallery[list(kept)], table[np.ix_(kept, kept)]
    value = ground.calibration.clip.scale(float((gallery @ vector).mean()))
    clip = Score("clip", None if np.isnan(value) else value)
    measures = [  # what a trait is worth was found on all of them
        replace(
            measure_trait(ground.questions[trait.category], trait.value, gallery, ground.scale),
            weight=trait.weight,
            reason=trait.reason,
        )
        for trait in ground.calibration.measures
    ]
    features = features_score(vector, measures, ground.questions, ground.scale)
    band = band_of((known.sum(1) - 1) / (len(kept) - 1)) if len(kept) > 2 else ground.calibration.ssim
    ssim = typicality(float(np.mean(likeness)), fine, band, band_of(strong[list(kept)]))
    capped = Score("clip", None if clip.value is None else min(1.0, max(0.0, clip.value)), 0.0)
    quality = quality_score(
        {"clip": capped, "features": features, "ssim": ssim}, ground.weights, ground.calibration.weights
    )
    return {"clip": clip, "features": features, "ssim": ssim, "quality": quality}


def _side(metric: str, genuine: Sequence[Mapping[str, Score]], strangers: Sequence[Mapping[str, Score]]) -> Sides:
    """One metric's two lists; the reason when a picture could not be scored."""
    lists = [[scores[metric].value for scores in group] for group in (genuine, strangers)]
    known = [tuple(value for value in values if value is not None) for values in lists]
    if len(known[0]) < 2 or len(known[1]) < 2:
        return Sides(metric, (), (), next(s[metric].reason for s in genuine) or "could not be measured")
    return Sides(metric, known[0], known[1])


# --- for lint ---------------------------------------------------------------------------------------------------------


def gate_notes(scorer: Scorer) -> list[str]:
    """What an earlier calibration says of a suite's right to gate; no model is loaded, so [] where there was none."""
    calibration, suite = scorer.known_calibration(), scorer.suite
    if calibration is None or calibration.can_gate or not suite.gate:
        return []
    remedy = f"`harness calibrate {suite.path.name}` shows both distributions"
    return [f"refuses to gate: {calibration.reason} ({remedy}; d' of {LEAST_D:g} and more can gate)"]
