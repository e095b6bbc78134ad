"""Somebody whom no model has seen: pictures as a person would bring them, for a first try and for benchmarks."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from harness.world.captions import invent_name
from harness.world.gallery import draw_captioned, varied_scenes
from harness.world.people import random_person, resembles

PICTURES = 12
LEAST_MARKS = 2
SEED = 2_026_000  # the base's bank is drawn from other seeds


def draw_newcomer(folder: Path, seed: int = SEED, count: int = PICTURES) -> str:
    """Write a random person's pictures as NN.png, and NN.txt with captions of their scenes; their invented name.

    The person has at least two marks that no caption names. Of one seed the first pictures are the same for every
    `count` up to 12, so that more can be added later.
    """
    rng = np.random.default_rng(seed)
    name, person = invent_name(rng), random_person(rng)
    while resembles(person) or len(person.marks) < LEAST_MARKS:
        person = random_person(rng)
    draw_captioned(folder, person, name, varied_scenes(max(count, PICTURES), rng)[:count], rng)
    return name
