"""Somebody whom no model has seen: pictures as a person would bring them, for a first try and for benchmarks."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from harness.world.captions import describe, invent_name
from harness.world.gallery import varied_scenes
from harness.world.people import SCENE, labels_of, random_person, resembles
from harness.world.render import render

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
    folder.mkdir(parents=True, exist_ok=True)
    for number, scene in enumerate(varied_scenes(max(count, PICTURES), rng)[:count], start=1):
        render(person, scene, int(rng.integers(2**31))).save(folder / f"{number:02}.png")
        fields = {column: value for column, value in labels_of(person, scene).items() if column in SCENE}
        words = ", ".join([name, *describe(fields)])
        (folder / f"{number:02}.txt").write_text(words + "\n", encoding="utf-8")
    return name
