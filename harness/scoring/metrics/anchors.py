"""Where the scale of likeness begins and ends for one subject, and what its scores can tell.

0 is the alternative to the LoRA (`harness.scoring.metrics.cohort`), the group of it that is nearest to the subject,
and 1 is what a train picture reaches against the held-out ones: pictures of the subject of which neither is by a model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from harness.core.arrays import Floats
from harness.core.stats.calibration import (
    LEAST_AREA,
    Separation,
    Sight,
    area_at_least,
    band_of,
    leave_one_out,
    sight_of,
)
from harness.models.embeddings import open_picture
from harness.scoring.metrics.clip import clip_separation, separation_from
from harness.scoring.metrics.cohort import Cohort
from harness.scoring.metrics.ssim import Plate, edges, grey_square, mean_similarity, plate_of, similarity, typicality


@dataclass(frozen=True)
class Anchors:
    """What is known of one subject's scale."""

    clip: Separation
    agreement: float  # of train/ with held_out/: 0 another person, 1 the same
    zero: str = "impostors"
    strangers: Floats | None = None  # unit vectors of those whom traits are held against; None: nobody
    sight: Sight | None = None
    weights: Mapping[str, float] = field(default_factory=dict)


def anchors_of_folder(gallery: Floats, train: Floats, impostors: Floats) -> Anchors:
    """Without a cohort: each reference against the others, and everybody in the folder; unit vectors (n, d)."""
    clip = clip_separation(gallery, impostors)
    agreement = clip.scale(float((train @ gallery.T).mean())) if len(train) else 1.0
    return Anchors(clip, agreement if agreement == agreement else 0.0)  # NaN: no scale to stand on


def anchors_of_cohort(
    cohort: Cohort, embed: Callable[[Sequence[str]], Floats], gallery: Floats, train: Floats, impostors: Floats
) -> Anchors:
    """One encoder's, from the alternative; unit vectors (n, d).

    Args:
        embed: pictures by their SHA-256 to unit vectors.
        train: () where there are too few references to split, which then are held against each other.
        impostors: pictures of others that the user added.
    """

    def stand(vectors: Floats) -> Floats:
        return np.asarray((vectors @ gallery.T).mean(1))

    strangers = embed(cohort.strangers)
    among = leave_one_out(gallery @ gallery.T)
    genuine = stand(train) if len(train) else among
    groups = {name: stand(embed(pictures)) for name, pictures in cohort.groups.items() if pictures}
    if len(impostors):
        groups["impostors"] = stand(impostors)
    walk = {strength: stand(embed(pictures)) for strength, pictures in cohort.redrawn.items() if pictures}
    sight = sight_of(walk, genuine, groups["strangers"], groups.get("lookalikes")) if walk else None
    if sight and sight.enough:  # lookalikes are the subject: they begin no scale
        del groups["lookalikes"]
    clip, zero = separation_from(genuine, groups)
    far, near = float(np.mean(groups["strangers"])), float(np.mean(among))
    agreement = (float(np.mean(genuine)) - far) / (near - far) if near > far else 0.0
    return Anchors(clip, agreement, zero, strangers, sight)


def ssim_weight(plates: Sequence[Plate], others: Iterable[bytes], sampling: int) -> float:
    """1 where `ssim` tells the references from pictures of others, 0 where it does not."""
    table = np.array([[similarity(a, b) for b in plates] for a in plates])
    likeness, edged = band_of(leave_one_out(table)), band_of([edges(plate) for plate in plates])

    def rate(plate: Plate, raw: float) -> float:
        return typicality(raw, edges(plate), likeness, edged).value or 0.0

    own = [rate(plate, raw) for plate, raw in zip(plates, leave_one_out(table), strict=True)]
    strange = [plate_of(grey_square(open_picture(data), sampling)) for data in others]
    theirs = [rate(plate, mean_similarity(plate, plates)) for plate in strange]
    return 1.0 if area_at_least(np.array(own), np.array(theirs)) >= LEAST_AREA else 0.0
