"""Reference pictures: the hero's train and held-out splits with captions, and the frozen impostors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from harness.world.captions import describe
from harness.world.people import (
    ALDAR,
    CATEGORIES,
    SCENE,
    Person,
    WorldScene,
    random_marks,
    random_person,
    random_scene,
)
from harness.world.render import render

TRAIN, HELD_OUT, IMPOSTORS = 12, 8, 48


def varied_scenes(count: int, rng: np.random.Generator) -> list[WorldScene]:
    """Scenes in which every value of every category comes up about as often as any other."""
    columns = {}
    for name in SCENE:
        values = list(CATEGORIES[name]) * (count // len(CATEGORIES[name]) + 1)
        columns[name] = rng.permutation(values[:count])
    return [WorldScene(**{name: str(columns[name][row]) for name in SCENE}) for row in range(count)]


def draw_references(
    folder: Path, person: Person, trigger: str, seed: int, train: int = TRAIN, held_out: int = HELD_OUT
) -> None:
    """Write train/ and held_out/ of one person: NN.png, and NN.txt with the trigger and what belongs to the scene."""
    rng = np.random.default_rng(seed)
    for split, count in (("train", train), ("held_out", held_out)):
        draw_captioned(folder / split, person, trigger, varied_scenes(count, rng), rng)


def draw_captioned(
    folder: Path, person: Person, name: str, scenes: Sequence[WorldScene], rng: np.random.Generator
) -> None:
    """Write one person's pictures as NN.png, and NN.txt with the name and what belongs to the scene."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, scene in enumerate(scenes, start=1):
        render(person, scene, int(rng.integers(2**31))).save(folder / f"{number:02}.png")
        text = ", ".join([name, *describe(asdict(scene))])
        (folder / f"{number:02}.txt").write_text(f"{text}\n", encoding="utf-8")


def draw_impostors(folder: Path, seed: int, count: int = IMPOSTORS) -> None:
    """Write pictures of other people: two thirds are strangers, a third are the hero's twins with other marks."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        person = random_marks(ALDAR, rng) if number % 3 == 2 else random_person(rng)
        picture = render(replace(person, skin=int(rng.integers(3))), random_scene(rng), int(rng.integers(2**31)))
        picture.save(folder / f"{number + 1:02}.png")
