"""Draws what a prompt says in the world's words; what it does not say, and every mark, is chance."""

from __future__ import annotations

import io
import re
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from harness.world.people import CATEGORIES, IDENTITY, SCENE, random_person, random_scene

if TYPE_CHECKING:
    from PIL import Image

FORMS: dict[str, str] = {
    "face_shape": r"{} face",
    "eyes": r"{} eyes",
    "facial_hair": r"{}",
    "hair": r"{}( \w+)? hair",
    "hair_color": r"{}( \w+)? hair",
    "clothing": r"{}( \w+)? robe",
    "pattern": r"{}( \w+)? robe",
    "style": r"{}",
    "expression": r"{}",
    "background": r"{}",
    "accessory": r"{}",
}
"""How a prompt names a value of each category: hair and robe may have another word between."""


def read_prompt(prompt: str) -> dict[str, str]:
    """The attributes that a prompt names; words outside the world, a trigger above all, mean nothing."""
    text, found = prompt.lower(), {}
    for category, values in CATEGORIES.items():
        for value in values:
            said = "empty hands" if value == "nothing" else value
            if re.search(rf"\b{FORMS[category].format(re.escape(said))}\b", text):
                found[category] = value
    return found


def draw_prompt(prompt: str, seed: int, width: int, height: int) -> Image.Image:
    """One RGB picture of `width` x `height`, a pure function of its arguments."""
    import numpy as np
    from PIL import Image, ImageOps

    from harness.world.render import render

    chance = zlib.crc32(prompt.encode())  # another prompt is answered with another person, as services do
    rng = np.random.default_rng([abs(seed), chance])
    said: dict[str, Any] = {**read_prompt(prompt)}
    person = replace(random_person(rng), **{name: said[name] for name in IDENTITY if name in said})
    scene = replace(random_scene(rng), **{name: said[name] for name in SCENE if name in said})
    picture = render(person, scene, int(rng.integers(2**31)), size=max(width, height))
    return ImageOps.fit(picture, (width, height), Image.Resampling.LANCZOS)


def encode_picture(picture: Image.Image) -> bytes:
    """PNG bytes."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()
