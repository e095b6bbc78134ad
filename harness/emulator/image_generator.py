"""Draws what a prompt says in the world's words; what it does not say is chance, and each service has a weakness."""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from harness.world.people import CATEGORIES, IDENTITY, SCENE, WorldScene, random_person, random_scene
from harness.world.render import render

FORMS: dict[str, str] = {
    "face_shape": r"{} face",
    "eyes": r"{} eyes",
    **dict.fromkeys(("hair", "hair_color"), r"{}( \w+)? hair"),
    **dict.fromkeys(("clothing", "pattern"), r"{}( \w+)? robe"),
}
"""How a prompt names a value where the value's word is not enough: hair and robe may have another one between."""


@cache
def patterns() -> tuple[tuple[str, str, re.Pattern[str]], ...]:
    """Category, value and the pattern that finds it in a prompt."""
    results = []
    for category, values in CATEGORIES.items():
        for value in values:
            text = "empty hands" if value == "nothing" else value
            form = FORMS.get(category, "{}").format(re.escape(text))
            results.append((category, value, re.compile(rf"\b{form}\b")))
    return tuple(results)


def read_prompt(prompt: str) -> dict[str, str]:
    """The attributes that a prompt names; words outside the world, a trigger above all, mean nothing."""
    text = prompt.lower()
    return {category: value for category, value, pattern in patterns() if pattern.search(text)}


# --- what each service is like -------------------------------------------------------------------------------------


Finish = Callable[[Image.Image, np.random.Generator], Image.Image]


@dataclass(frozen=True)
class Habit:
    """A service's weakness. All of it is chance with a seed, so the same request shows it in the same way."""

    finish: Finish
    slips: float = 0.04  # how often one word of the prompt is missed
    forgets: Mapping[str, float] = field(default_factory=dict)  # category to how often it is missed beside that
    favours: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # category to what comes instead


def faithful(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """As it was drawn."""
    return picture


def oversaturated(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    return ImageEnhance.Contrast(ImageEnhance.Color(picture).enhance(1.7)).enhance(1.12)


def soft(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Half the detail, and the blocks of a JPEG packed too hard."""
    small = picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.BOX)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=45)
    return Image.open(buffer).convert("RGB").resize(picture.size, Image.Resampling.BICUBIC)


def washed_out(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    return Image.blend(picture, Image.new("RGB", picture.size, (255, 248, 250)), 0.38)


def tinted(red: float, green: float, blue: float, grain: float = 0.0) -> Finish:
    """Every channel by its factor, and noise of `grain` levels."""

    def finish(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
        values = np.asarray(picture, dtype=np.float32) * np.asarray((red, green, blue), dtype=np.float32)
        if grain:
            values += rng.normal(0.0, grain, values.shape[:2])[..., None]
        return Image.fromarray(values.clip(0, 255).astype(np.uint8))

    return finish


def flat(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    return ImageEnhance.Contrast(picture).enhance(0.66)


def sharpened(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    return picture.filter(ImageFilter.UnsharpMask(2, 260, 0))


def blurred(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    return picture.filter(ImageFilter.GaussianBlur(1.3))


def cropped(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Too near: the shoulders are cut off."""
    edge = picture.width // 9
    return picture.resize(
        picture.size, Image.Resampling.BICUBIC, (edge, edge // 2, picture.width - edge, picture.height - edge * 3 // 2)
    )


def shifted_hue(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    hue, saturation, value = picture.convert("HSV").split()
    turned = hue.point([(level + 9) % 256 for level in range(256)])
    return Image.merge("HSV", (turned, saturation, value)).convert("RGB")


HABITS: dict[str, Habit] = {
    "freepik": Habit(oversaturated, forgets={"accessory": 0.35}),
    "deepai": Habit(soft, slips=0.1),
    "gemini": Habit(
        faithful, slips=0.02, favours={"background": ("city", "starry night")}, forgets={"background": 0.4}
    ),
    "imagen": Habit(washed_out),
    "openai": Habit(tinted(1.08, 1.0, 0.82, grain=9.0), slips=0.02),
    "a1111": Habit(tinted(1.0, 1.0, 1.0, grain=14.0), forgets={"expression": 0.25}),
    "comfyui": Habit(sharpened, forgets={"pattern": 0.25}),
    "replicate": Habit(cropped),
    "fal": Habit(tinted(0.88, 0.97, 1.1), forgets={"hair": 0.2}),
    "bfl": Habit(shifted_hue, slips=0.02),
    "stability": Habit(blurred, forgets={"face_shape": 0.25}),
    "together": Habit(flat, forgets={"facial_hair": 0.2}),
    "huggingface": Habit(tinted(0.68, 0.68, 0.72), slips=0.08),
    "studio": Habit(faithful, slips=0.0),
}
"""A service's name to how it draws."""
PLAIN = Habit(faithful, slips=0.0)


def paint(service: str, prompt: str, seed: int, width: int, height: int) -> Image.Image:
    """One RGB picture of `width` x `height` pixels, a pure function of its arguments; drawn small, then resized."""
    habit = HABITS.get(service, PLAIN)
    chance = zlib.crc32(f"{service}\n{prompt}".encode())  # another prompt is answered with another person
    rng = np.random.default_rng([abs(seed), chance])
    fields = {name: value for name, value in read_prompt(prompt).items() if not misses(habit, name, rng)}
    person = replace(random_person(rng), **pick(fields, IDENTITY))
    own = {name: str(rng.choice(values)) for name, values in habit.favours.items()}
    scene: WorldScene = replace(random_scene(rng), **{**own, **pick(fields, SCENE)})
    drawn = habit.finish(render(person, scene, int(rng.integers(2**31))), rng)
    return ImageOps.fit(drawn, (width, height), Image.Resampling.BICUBIC)


def misses(habit: Habit, category: str, rng: np.random.Generator) -> bool:
    """Whether this picture goes without what the prompt says of a category."""
    return bool(rng.random() < max(habit.slips, habit.forgets.get(category, 0.0)))


def pick(said: Mapping[str, str], names: tuple[str, ...]) -> dict[str, Any]:
    """Those of the words that are about `names`."""
    return {name: said[name] for name in names if name in said}
