"""What can be said of a picture: one phrase a category, always in the same order."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from harness.world.people import CATEGORIES

TEMPLATES: tuple[str, ...] = ("{}", "a person, {}", "a portrait, {}", "a picture of a person, {}")
ORDER = ("expression", "face_shape", "eyes", "facial_hair", "hair", "clothing", "accessory", "background", "style")
OPENINGS = ("a person", "a portrait", "a picture of a person", "portrait of a person")
SYLLABLES = tuple(c + v for c in "bdgjklmnprstvz" for v in "aeiou")
KEEP = 0.85  # each phrase's chance to be said, so that shorter prompts stay in distribution
NAMED = 0.3  # how many captions open with an invented name, so that a trigger word is nothing new


def phrase(category: str, value: str) -> str:
    """How a prompt asks for one value of one category."""
    return {
        "face_shape": f"{value} face",
        "eyes": f"{value} eyes",
        "facial_hair": value,
        "hair": f"{value} hair",
        "hair_color": f"{value} hair",
        "clothing": f"{value} robe",
        "pattern": f"{value} robe",
        "style": value,
        "expression": value,
        "background": f"{value} background",
        "accessory": "empty hands" if value == "nothing" else f"holding a {value}",
    }[category]


def describe(labels: Mapping[str, str]) -> list[str]:
    """The phrases for the categories that `labels` holds; hair and robe join their two categories in one phrase."""
    phrases = []
    for category in ORDER:
        if category == "hair":
            words = [labels[name] for name in ("hair", "hair_color") if name in labels]
            phrases += [f"{' '.join(words)} hair"] if words else []
        elif category == "clothing":
            words = [labels[name] for name in ("clothing", "pattern") if name in labels]
            phrases += [f"{' '.join(words)} robe"] if words else []
        elif category in labels:
            phrases.append(phrase(category, labels[category]))
    return phrases


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
