"""A second world: the same people as they would come from elsewhere. References larger, on white ground, or photo-like.

A model draws in its own size, so larger references are held against drawings of 96 px, as a user's are; what is
photo-like is so in references and drawings, and so is what another renderer makes of everybody.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from benchmarks.abroad_renderer import render_felt
from harness.world.gallery import HELD_OUT, TRAIN, varied_scenes
from harness.world.people import Person, WorldScene
from harness.world.render import SIZE, render

GRAIN, BLUR, LEAN, DARKEST = 7.0, 0.6, 0.05, 0.65  # levels, pixels, share of the side, light in the dimmest corner
Finish = Callable[[Image.Image, np.random.Generator], Image.Image]


def plain(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    return picture


def photo_like(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Seen a little from the side, lit from somewhere, out of focus and grainy."""
    width, height = picture.size
    leaning = leaned(picture, rng.uniform(0, LEAN, (4, 2)) * (width, height))
    light = rng.uniform(-1, 1, 2) / np.sqrt(2)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    shading = np.clip(1.05 + (DARKEST - 1) * (0.5 * (x * light[0] + y * light[1]) + 0.5 * (x**2 + y**2) / 2), 0.3, 1.3)
    blurred = np.asarray(leaning.filter(ImageFilter.GaussianBlur(BLUR * width / SIZE)), np.float32)
    grainy = blurred * shading[..., None] + rng.normal(0, GRAIN, (height, width, 1))
    return Image.fromarray(np.clip(grainy, 0, 255).astype(np.uint8))


def leaned(picture: Image.Image, inward: np.ndarray) -> Image.Image:
    """A perspective in which the picture's corners come from this far inside it; pixels, (4, 2)."""
    width, height = picture.size
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], float)
    ways = np.array([(1, 1), (-1, 1), (-1, -1), (1, -1)], float)
    rows, right = [], []
    for (x, y), (u, v) in zip(corners, corners + ways * inward, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        right += [u, v]
    found = np.linalg.solve(np.array(rows), np.array(right))
    return picture.transform(picture.size, Image.Transform.PERSPECTIVE, tuple(found), Image.Resampling.BICUBIC)


@dataclass(frozen=True)
class Look:
    """How references come, and how drawings do."""

    name: str = ""
    times: int = 1  # the size of references
    ground: str = ""  # behind everybody in references; "": as the scene has it
    finish: Finish = plain  # of references and of drawings
    renderer: Callable[[Person, WorldScene, int, int], Image.Image] = render  # of references and of drawings

    def draw_references(self, folder: Path, person: Person, seed: int) -> None:
        """Write train/ and held_out/ of one person."""
        rng = np.random.default_rng(seed)
        for split, count in (("train", TRAIN), ("held_out", HELD_OUT)):
            (folder / split).mkdir(parents=True, exist_ok=True)
            for number, scene in enumerate(varied_scenes(count, rng), start=1):
                placed = replace(scene, background=self.ground) if self.ground else scene
                picture = self.renderer(person, placed, int(rng.integers(2**31)), SIZE * self.times)
                self.finish(picture, rng).save(folder / split / f"{number:02}.png")

    def paint(self, person: Person, scene: WorldScene, seed: int) -> Image.Image:
        """Somebody in a scene, as large as drawings are."""
        return self.renderer(person, scene, seed, SIZE)

    def draw(self, picture: Image.Image, rng: np.random.Generator) -> Image.Image:
        """A drawing in this look."""
        return self.finish(picture.resize((SIZE, SIZE), Image.Resampling.LANCZOS), rng)


ON_WHITE = "on white ground"
HOME = Look()
LOOKS = (
    Look("2 times the size", 2),
    Look("5 times the size", 5),
    Look("10 times the size", 10),
    Look(ON_WHITE, ground="white"),
    Look("photo-like", finish=photo_like),
    Look("another renderer", renderer=render_felt),
)
