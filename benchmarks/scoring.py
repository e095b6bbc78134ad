"""Our scoring against the plain way: batched and remembered embeddings, local statistics of the references kept.

The plain way takes one picture at a time, sends it and all 20 references through CLIP, and asks scikit-image for the
SSIM of each pair. Both ways answer with the same raw numbers: the mean CLIP cosine and the mean SSIM. Both start from
a loaded model and encoded pictures; ours pays for embedding and preparing the references within its time.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.process import ROOT
from harness.config.profile import load_profile
from harness.core.arrays import Floats
from harness.core.settings import Settings
from harness.models.embeddings import Embeddings, open_picture
from harness.models.loading import Models
from harness.scoring.metrics.ssim import grey_square, mean_similarity, plate_of
from harness.store import Store
from harness.studies.metric_card.protocol import png
from harness.world.card import FRESH, portraits
from harness.world.people import ALDAR

REFERENCES, PICTURES, ROUNDS = 20, 48, 3


def measure() -> dict[str, float]:
    """Speed relative to the plain way (medians over rounds, the two in turn), and the largest difference."""
    rng = np.random.default_rng(FRESH + 6)
    references = [png(picture) for picture in portraits(ALDAR, REFERENCES, rng)]
    pictures = [png(picture) for picture in portraits(ALDAR, PICTURES, rng)]
    clip = Models(load_profile("embedded", ROOT), Settings.load(ROOT, {})).clip()
    score_plainly(references[:2], pictures[:1], clip)  # the first forward allocates
    plain, ours, worst = [], [], 0.0
    for _ in range(ROUNDS):
        started = time.perf_counter()
        expected = score_plainly(references, pictures, clip)
        plain.append(time.perf_counter() - started)
        with TemporaryDirectory() as folder, Store(Path(folder)) as store:
            started = time.perf_counter()
            found = score_batched(references, pictures, clip, store)
            ours.append(time.perf_counter() - started)
        worst = max(worst, float(np.abs(found - expected).max()))
    slow, fast = float(np.median(plain)) / PICTURES, float(np.median(ours)) / PICTURES
    print(f"{PICTURES} pictures against {REFERENCES} references, medians of {ROUNDS} rounds, one after the other\n")
    print("| way | ms a picture |\n|---|---|")
    print(f"| plain: one at a time, all references each time | {1e3 * slow:.1f} |")
    print(f"| ours: batched, references once | {1e3 * fast:.1f} |")
    return {"speedup": round(slow / fast, 2), "max_abs_diff": worst}


def score_plainly(references: Sequence[bytes], pictures: Sequence[bytes], clip: Any) -> Floats:
    """(n, 2): mean cosine and mean SSIM."""
    from skimage.metrics import structural_similarity

    rows = []
    for data in pictures:
        picture = open_picture(data)
        vector = clip.embed_images([picture])[0]
        cosines, likeness = [], []
        for other in references:
            reference = open_picture(other)
            cosines.append(float(clip.embed_images([reference])[0] @ vector))
            likeness.append(structural_similarity(grey_square(picture), grey_square(reference), data_range=255))
        rows.append((np.mean(cosines), np.mean(likeness)))
    return np.array(rows)


def score_batched(references: Sequence[bytes], pictures: Sequence[bytes], clip: Any, store: Store) -> Floats:
    """The same as the harness does it, with an empty store."""
    embeddings = Embeddings(lambda: clip, store, "benchmark")
    gallery = embeddings.images(references)
    plates = [plate_of(grey_square(open_picture(data))) for data in references]
    cosines = (embeddings.images(pictures) @ gallery.T).mean(1)
    likeness = [mean_similarity(plate_of(grey_square(open_picture(data))), plates) for data in pictures]
    return np.stack([cosines, np.array(likeness)], axis=1)
