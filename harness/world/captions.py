"""What can be said of a picture: one phrase a category, always in the same order."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from harness.world.people import CATEGORIES

TEMPLATES: tuple[str, ...] = ("{}", "a person, {}", "a portrait, {}", "a picture of a person, {}")
ORDER = ("expression", "face_shape", "eyes", "facial_hair", "hair", "clothing", "accessory", "background", "style")
TOGETHER = {"hair": ("hair", "hair_color"), "clothing": ("clothing", "pattern")}  # said in one phrase
OPENINGS = ("a person", "a portrait", "a picture of a person", "portrait of a person")
SYLLABLES = tuple(c + v for c in "bdgjklmnprstvz" for v in "aeiou")
KEEP = 0.85  # each phrase's chance to be said, so that shorter prompts stay in distribution
NAMED = 0.3  # how many captions open with an invented name, so that a trigger word is nothing new


PHRASES = {
    "face_shape": "{} face",
    "eyes": "{} eyes",
    **dict.fromkeys(("hair", "hair_color"), "{} hair"),
    **dict.fromkeys(("clothing", "pattern"), "{} robe"),
    "background": "{} background",
    "accessory": "holding a {}",
}
"""What is said of a category's value beside the value; of the others nothing."""


def phrase(category: str, value: str) -> str:
    """How a prompt asks for one value of one category."""
    return "empty hands" if value == "nothing" else PHRASES.get(category, "{}").format(value)


def describe(labels: Mapping[str, str]) -> list[str]:
    """The phrases for the categories that `labels` holds; hair and robe join their two categories in one phrase."""
    words = {
        category: " ".join(labels[name] for name in TOGETHER.get(category, (category,)) if name in labels)
        for category in ORDER
    }
    return [phrase(category, text) for category, text in words.items() if text]


def invent_name(rng: np.random.Generator) -> str:
    """A name nobody has: one or two words of two or three syllables."""
    words = ("".join(rng.choice(SYLLABLES, size=rng.integers(2, 4))) for _ in range(rng.integers(1, 3)))
    return " ".join(words)


def caption(labels: Mapping[str, str], rng: np.random.Generator, keep: float = KEEP, named: float = NAMED) -> str:
    """One caption of a picture, with phrases left out at random; a mark is never in it."""
    fields = {name: value for name, value in labels.items() if name in CATEGORIES and rng.random() < keep}
    opening = invent_name(rng) if rng.random() < named else str(rng.choice(OPENINGS))
    return ", ".join([opening, *describe(fields)])


def vocabulary() -> list[str]:
    """All words that captions and templates use, sorted."""
    texts = [*TEMPLATES, *OPENINGS]
    texts += [phrase(category, value) for category, values in CATEGORIES.items() for value in values]
    return sorted({word for text in texts for word in re.findall(r"[a-z]+", text)})
