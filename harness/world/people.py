"""Who lives in the world: what a caption can say of a person, and the marks that no caption ever says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

CATEGORIES: dict[str, tuple[str, ...]] = {
    "face_shape": ("round", "long", "square", "triangular"),
    "eyes": ("brown", "blue", "green", "narrow"),
    "facial_hair": ("clean shaven", "thin mustache", "bushy mustache", "full beard", "goatee"),
    "hair": ("short", "long", "braided", "curly"),
    "hair_color": ("black", "brown", "golden", "grey"),
    "clothing": ("red", "blue", "green", "yellow", "purple", "white"),
    "pattern": ("plain", "striped", "dotted", "checked"),
    "style": ("flat cartoon", "ink comic", "soft pastel"),
    "expression": ("smiling", "sad", "surprised", "angry"),
    "background": ("steppe", "city", "snowy mountain", "starry night", "desert", "forest"),
    "accessory": ("nothing", "staff", "dombra", "lantern"),
}
"""What captions name, category to its values."""

MARKS: dict[str, tuple[str, ...]] = {
    "hat": ("none", "pointed", "dome", "fur", "turban"),
    "hat_color": ("none", "red", "teal", "orange", "pink", "navy", "white"),
    "sash": ("none", "diagonal", "straps", "shawl"),
    "sash_color": ("none", "red", "teal", "orange", "pink", "navy", "white"),
    "ornament": ("none", "ram horn", "star", "ring", "crescent"),
    "ornament_color": ("none", "gold", "white", "teal", "pink"),
}
"""What no caption ever names: a prompt cannot ask for it, so only a LoRA can learn it."""

MARK_KINDS = ("hat", "sash", "ornament")
IDENTITY = ("face_shape", "eyes", "facial_hair", "hair", "hair_color", "clothing", "pattern")
SCENE = ("style", "expression", "background", "accessory")
COLUMNS: tuple[str, ...] = (*CATEGORIES, *MARKS)
VALUES: dict[str, tuple[str, ...]] = {**CATEGORIES, **MARKS}
SKINS = 3


@dataclass(frozen=True)
class Person:
    """One inhabitant: the describable identity, the undescribed marks, and a skin tone in 0..2."""

    face_shape: str
    eyes: str
    facial_hair: str
    hair: str
    hair_color: str
    clothing: str
    pattern: str
    hat: str = "none"
    hat_color: str = "none"
    sash: str = "none"
    sash_color: str = "none"
    ornament: str = "none"
    ornament_color: str = "none"
    skin: int = 0

    @property
    def marks(self) -> dict[str, str]:
        """The marks this person bears, each with its colour: {"hat": "red pointed", ...}."""
        kinds = ((kind, getattr(self, kind), getattr(self, f"{kind}_color")) for kind in MARK_KINDS)
        return {kind: f"{color} {shape}" for kind, shape, color in kinds if shape != "none"}


@dataclass(frozen=True)
class WorldScene:
    """What belongs to a picture and not to the person in it."""

    style: str = "flat cartoon"
    expression: str = "smiling"
    background: str = "steppe"
    accessory: str = "nothing"


ALDAR = Person(
    face_shape="round",
    eyes="narrow",
    facial_hair="thin mustache",
    hair="short",
    hair_color="black",
    clothing="blue",
    pattern="plain",
    hat="pointed",
    hat_color="red",
    sash="diagonal",
    sash_color="orange",
    ornament="ram horn",
    ornament_color="gold",
    skin=1,
)
"""Aldar Kose, the hero of the shipped suite."""


def labels_of(person: Person, scene: WorldScene) -> dict[str, str]:
    """Every column's true value in one picture."""
    truth: dict[str, Any] = {**asdict(person), **asdict(scene)}
    return {column: truth[column] for column in COLUMNS}


def encode_labels(labels: Mapping[str, str]) -> list[int]:
    """Values to their indices, in the order of COLUMNS."""
    return [VALUES[column].index(labels[column]) for column in COLUMNS]


def random_person(rng: np.random.Generator) -> Person:
    """A person with two marks or more, of at least two of the three kinds (hat, sash, ornament)."""
    described = {name: str(rng.choice(CATEGORIES[name])) for name in IDENTITY}
    return random_marks(Person(**described, skin=int(rng.integers(SKINS))), rng)


def random_marks(person: Person, rng: np.random.Generator) -> Person:
    """The same description with other marks: a twin whom no caption can tell apart."""
    absent = str(rng.choice([*MARK_KINDS, "", ""]))
    marks: dict[str, Any] = {
        column: "none" if column.removesuffix("_color") == absent else str(rng.choice(values[1:]))
        for column, values in MARKS.items()
    }
    return replace(person, **marks)


def random_scene(rng: np.random.Generator) -> WorldScene:
    """Any style, expression, background and accessory, all alike likely."""
    return WorldScene(**{name: str(rng.choice(CATEGORIES[name])) for name in SCENE})


def resembles(person: Person, hero: Person = ALDAR) -> bool:
    """Whether a person bears one of the hero's marks in the hero's colour: such people stay out of the base's bank.

    The base thus knows each shape and each colour, and none of the hero's combinations.
    """
    return any(person.marks.get(kind) == mark for kind, mark in hero.marks.items())
