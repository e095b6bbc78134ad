"""An embedder that knows the truth of the pictures it was shown: CLIP's place in tests of everything around CLIP."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from PIL import Image

from harness.config.profile import Vocabulary
from harness.core.values import Case, Subject, Suite
from harness.world.captions import TEMPLATES, phrase
from harness.world.people import (
    ALDAR,
    CATEGORIES,
    IDENTITY,
    VALUES,
    Person,
    WorldScene,
    labels_of,
    random_person,
    random_scene,
)
from harness.world.render import render

COLUMNS = [(category, value) for category, values in VALUES.items() for value in values]
PLACE = {column: place for place, column in enumerate(COLUMNS)}
WORDS = {phrase(category, value): (category, value) for category, values in CATEGORIES.items() for value in values}


@dataclass
class Oracle:
    """One direction an attribute; a picture it has never seen is somebody without attributes."""

    logit_scale: float = 30.0
    noise: float = 0.15
    known: dict[str, Mapping[str, str]] = field(default_factory=dict)
    calls: int = 0

    def draw(self, person: Person, scene: WorldScene, seed: int) -> Image.Image:
        """A rendered picture whose truth is remembered."""
        picture = render(person, scene, seed)
        self.known[fingerprint(picture)] = labels_of(person, scene)
        return picture

    def embed_images(self, images: Sequence[Image.Image]) -> Any:
        self.calls += 1
        return unit([self._look(image) for image in images])

    def embed_texts(self, texts: Sequence[str]) -> Any:
        self.calls += 1
        return unit([self._read(text) for text in texts])

    def _look(self, image: Image.Image) -> Any:
        name = fingerprint(image)
        vector = np.random.default_rng(int(name[:12], 16)).normal(0, self.noise, len(COLUMNS))
        for column in self.known.get(name, {}).items():
            vector[PLACE[column]] += 1.0 if column[0] in IDENTITY or column[0] not in CATEGORIES else 0.6
        return vector

    def _read(self, text: str) -> Any:
        vector = np.full(len(COLUMNS), 1e-3)
        for words, column in WORDS.items():
            if re.search(rf"(^|, ){re.escape(words)}$", text):
                vector[PLACE[column]] += 1.0
        return vector


def fingerprint(image: Image.Image) -> str:
    return hashlib.sha256(image.convert("RGB").tobytes()).hexdigest()


def unit(vectors: Sequence[Any]) -> Any:
    array = np.stack(vectors)
    return (array / np.linalg.norm(array, axis=1, keepdims=True)).astype(np.float32)


def png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def people(oracle: Oracle, person: Person, count: int, seed: int) -> list[Image.Image]:
    """One person in `count` random scenes."""
    rng = np.random.default_rng(seed)
    return [oracle.draw(person, random_scene(rng), seed * 1000 + number) for number in range(count)]


def write_pictures(folder: Path, pictures: Sequence[Image.Image]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(pictures):
        picture.save(folder / f"{number:02}.png")
    return folder


def write_world(folder: Path, oracle: Oracle, train: int = 12, held_out: int = 8, other: Person | None = None) -> Suite:
    """References (held_out/ shows `other` where given), impostors, and a suite about them."""
    write_pictures(folder / "references" / "train", people(oracle, ALDAR, train, 1))
    write_pictures(folder / "references" / "held_out", people(oracle, other or ALDAR, held_out, 2))
    rng = np.random.default_rng(3)
    strangers = [oracle.draw(random_person(rng), random_scene(rng), 3000 + number) for number in range(24)]
    impostors = write_pictures(folder / "impostors", strangers)
    subject = Subject("Aldar Kose", "aldar kose", folder / "references", impostors=impostors)
    cases = (Case("aldar", "steppe", "aldar kose, steppe background", expect={"background": "steppe"}),)
    weights = {"clip": 0.4, "features": 0.4, "ssim": 0.2}
    return Suite("aldar", folder / "aldar.yaml", subject, ("lora",), ("lora",), cases, weights=weights)


def world_profile() -> Any:
    """What the scorer reads of a profile, with the world's words."""
    vocabulary = {
        category: Vocabulary({value: phrase(category, value) for value in values}, identity=category in IDENTITY)
        for category, values in CATEGORIES.items()
    }
    models = SimpleNamespace(clip="oracle")
    return SimpleNamespace(
        name="world", vocabulary=vocabulary, templates=TEMPLATES, models=models, impostors=None, size=(96, 96)
    )


class Hashes:
    """What the scorer asks of the models besides the embedder."""

    def model_hash(self, name: str) -> str:
        return f"hash of {name}"

    def clip(self) -> Any:
        raise AssertionError("no model may be loaded")
