"""How near a picture stands to the subject: CLIP image-image cosine to the held-out references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from harness.core.arrays import Floats
from harness.core.stats.calibration import Calibration, Separation, leave_one_out, separate
from harness.core.values import UNCLIPPED, Score


def clip_separation(gallery: Floats, impostors: Floats) -> Separation:
    """Genuine: each reference to the others; impostor: each impostor to all references. Unit vectors (n, d)."""
    return separate(leave_one_out(gallery @ gallery.T), (impostors @ gallery.T).mean(1))


def separation_from(genuine: Floats, groups: Mapping[str, Floats]) -> tuple[Separation, str]:
    """The subject against the group that is nearest to it, and that group's name; similarities to the gallery."""
    nearest = max((name for name, group in groups.items() if len(group)), key=lambda name: float(np.mean(groups[name])))
    return separate(genuine, groups[nearest]), nearest


def population_similarity(impostors: Floats) -> float:
    """How alike strangers look: the mean cosine among different impostors."""
    return float(np.mean(leave_one_out(impostors @ impostors.T)))


def clip_score(vector: Floats, gallery: Floats, train: Floats, impostors: Floats, calibration: Calibration) -> Score:
    """Mean cosine to the gallery, raw and between impostors (0) and genuine (1)."""
    raw = float((gallery @ vector).mean())
    value = calibration.clip.calibrate(raw)
    details: dict[str, object] = {
        UNCLIPPED: calibration.clip.scale(raw) if value is not None else None,
        "train": calibration.clip.scale(float((train @ vector).mean())) if len(train) and value is not None else None,
        "nearest_reference_cosine": float((gallery @ vector).max()),
    }
    if len(impostors):
        likest = impostors @ vector
        details["likest_impostor"] = calibration.names[int(likest.argmax())]
        details["likest_impostor_cosine"] = float(likest.max())
    reason = "" if value is not None else "the impostors are as near to the references as these to each other"
    return Score("clip", value, raw, reason, details)


def self_similarity(vectors: Floats, calibration: Calibration) -> float | None:
    """How alike pictures are among themselves: 0 as strangers, 1 as the references; None for fewer than two."""
    span = calibration.clip.genuine - calibration.crowd
    if len(vectors) < 2 or span <= 0:
        return None
    return (float(np.mean(leave_one_out(vectors @ vectors.T))) - calibration.crowd) / span


def mean_or_none(values: Sequence[float | None]) -> float | None:
    """The mean of what could be measured."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
