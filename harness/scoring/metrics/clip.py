"""How near a picture stands to the subject: CLIP image-image cosine to the held-out references."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.core.arrays import Floats
from harness.core.stats.calibration import Calibration, Separation, leave_one_out, separate
from harness.core.values import UNCLIPPED, Score


def clip_separation(gallery: Floats, impostors: Floats) -> Separation:
    """Genuine: each reference to the others; impostor: each impostor to all references. Unit vectors (n, d)."""
    return separate(leave_one_out(gallery @ gallery.T), (impostors @ gallery.T).mean(1))


def population_similarity(impostors: Floats) -> float:
    """How alike strangers look: the mean cosine among different impostors."""
    return float(np.mean(leave_one_out(impostors @ impostors.T)))


def clip_score(vector: Floats, gallery: Floats, train: Floats, impostors: Floats, calibration: Calibration) -> Score:
    """Mean cosine to the gallery, raw and between impostors (0) and genuine (1)."""
    raw = float((gallery @ vector).mean())
    value = calibration.clip.calibrate(raw)
    likest = impostors @ vector
    details = {
        UNCLIPPED: calibration.clip.scale(raw) if value is not None else None,
        "train": calibration.clip.scale(float((train @ vector).mean())) if len(train) and value is not None else None,
        "likest_impostor": calibration.names[int(likest.argmax())],
        "likest_impostor_cosine": float(likest.max()),
        "nearest_reference_cosine": float((gallery @ vector).max()),
    }
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
