"""What the embedded models know: drawings of the world, and what the embedded base makes of its captions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from harness.models.domain import DomainSummary, load_viewer, made_for, summarise
from harness.models.loading import Models
from harness.world.captions import caption
from harness.world.card import draw_prompts
from harness.world.people import ALDAR, labels_of, random_marks, random_person, random_scene
from harness.world.render import render

SEED = 70_000_000  # pictures that no bank, reference or benchmark has
RENDERED, DRAWN = 2_400, 400
SIZES = (96, 96, 96, 192, 384)  # pixels: half-way to CLIP all are 96, but not resampled alike


def known_renders(count: int, seed: int = SEED) -> list[Image.Image]:
    """People of the world in its scenes, the hero and his twins among them, at several sizes."""
    rng = np.random.default_rng(seed)
    pictures = []
    for number in range(count):
        person = (ALDAR, random_marks(ALDAR, rng))[number % 2] if number % 10 < 2 else random_person(rng)
        pictures.append(render(person, random_scene(rng), int(rng.integers(2**31)), SIZES[number % len(SIZES)]))
    return pictures


def known_prompts(count: int, seed: int = SEED) -> list[str]:
    """Captions of people as the base was taught them."""
    rng = np.random.default_rng(seed)
    return [caption(labels_of(random_person(rng), random_scene(rng)), rng) for _ in range(count)]


def write_domain(models: Models, path: Path, rendered: int = RENDERED, drawn: int = DRAWN) -> DomainSummary:
    """Draw both kinds, look at them, and write the summary."""
    pictures = known_renders(rendered) + draw_prompts(models.pipeline().pipe, known_prompts(drawn), SEED)
    order = np.random.default_rng(SEED).permutation(len(pictures))
    features = load_viewer(models)([pictures[place] for place in order])
    summary = summarise(features, made_for(models, models.profile))
    summary.save(path)
    return summary
