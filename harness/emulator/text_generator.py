"""Writes what a chat service is asked for: JSON in the world's words, and what can be said of a picture at a glance."""

from __future__ import annotations

import io
import json
import random
import re
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from harness.world.captions import phrase
from harness.world.people import CATEGORIES

CATEGORY_OF = {"face": "expression", "expression": "expression", "scene": "background", "objects": "accessory"}
"""A property of a scene to the category of the world that fills it; the others stay empty."""

EVENTS = ("a stranger asked for help", "the wind changed", "a trick was played", "somebody laughed", "a debt was paid")
COLOURS: dict[str, tuple[int, int, int]] = {
    "black": (20, 20, 20),
    "white": (240, 240, 240),
    "grey": (128, 128, 128),
    "red": (200, 40, 40),
    "orange": (240, 150, 50),
    "yellow": (240, 220, 80),
    "green": (70, 150, 70),
    "teal": (60, 160, 160),
    "blue": (70, 110, 200),
    "purple": (130, 70, 160),
    "pink": (240, 150, 190),
    "brown": (120, 80, 50),
    "beige": (225, 200, 165),
}
DARK, BRIGHT = 85, 170  # of the mean grey value, 0 to 255


# --- words ----------------------------------------------------------------------------------------------------------


def write_text(words: str, schema: Mapping[str, object] | None) -> str:
    """The answer to a conversation: JSON of the schema's shape, else a few sentences. A pure function.

    Args:
        words: all that was said, instructions included.
    """
    chance = random.Random(zlib.crc32(words.encode()))
    if schema is None:
        return tell(idea_of(words), scenes_of(4, chance), chance)
    return json.dumps(fill(schema, schema, words, chance), ensure_ascii=False)


def find_schema(words: str) -> Mapping[str, object] | None:
    """The first JSON schema of an object in a text: services without a schema mode are told it in words."""
    decoder = json.JSONDecoder()
    for start in (match.start() for match in re.finditer(r"\{", words)):
        try:
            result, _ = decoder.raw_decode(words, start)
        except ValueError:
            continue
        if isinstance(result, dict) and isinstance(result.get("properties"), dict):
            return result
    return None


def count_of(words: str, part: Mapping[str, object]) -> int:
    """How many entries a list is to have: as the schema says, else as the words do."""
    given = part.get("minItems")
    least = int(given) if isinstance(given, int | float) else 0
    if least > 1:
        return least
    text = re.search(r"\b(?:exactly )?(\d{1,3}) (?:scenes|cases|prompts|pictures)\b", words)
    return int(text.group(1)) if text else max(1, least or 3)


def fill(
    part: Mapping[str, object], whole: Mapping[str, object], words: str, chance: random.Random, name: str = ""
) -> Any:
    """A value of a schema's shape; lists of objects become scenes, and a `story` tells them."""
    part = resolve(part, whole)
    kind = type_of(part)
    if kind == "object":
        parts = {key: resolve(inner, whole) for key, inner in properties_of(part).items()}
        lists = {key: inner for key, inner in parts.items() if inner.get("items")}
        made = {key: fill(inner, whole, words, chance, key) for key, inner in lists.items()}
        scenes: list[Any] = next((value for value in made.values() if value and isinstance(value[0], dict)), [])
        return {
            key: made[key] if key in made else fill_part(inner, whole, words, scenes, chance, key)
            for key, inner in parts.items()
        }
    if kind == "array":
        entry, count = resolve(part["items"], whole), count_of(words, part)
        if entry.get("type") != "object":
            return [fill_word(name, entry, words, [], chance) for _ in range(count)]
        return [scene_record(entry, scene, number) for number, scene in enumerate(scenes_of(count, chance))]
    return fill_word(name, part, words, [], chance)


def fill_part(
    part: Mapping[str, object],
    whole: Mapping[str, object],
    words: str,
    scenes: Sequence[Mapping[str, object]],
    chance: random.Random,
    name: str,
) -> Any:
    """A property: an object of its own, or a word."""
    if type_of(part) == "object" and properties_of(part):
        return fill(part, whole, words, chance, name)
    return fill_word(name, part, words, scenes, chance)


def type_of(part: Mapping[str, object]) -> str:
    """The type of a value; of several, the first that is not null."""
    kind = part.get("type")
    kinds = kind if isinstance(kind, list) else [kind]
    return str(next((one for one in kinds if one and one != "null"), ""))


def properties_of(part: Mapping[str, object]) -> Mapping[str, object]:
    properties = part.get("properties")
    return properties if isinstance(properties, Mapping) else {}


def resolve(part: object, whole: Mapping[str, object]) -> Mapping[str, object]:
    """A part of a schema, its $ref followed, of alternatives the first that is not null; {} for what is no schema."""
    if isinstance(part, Mapping) and (reference := part.get("$ref")):
        known = whole.get("$defs") or whole.get("definitions")
        part = known.get(str(reference).rpartition("/")[2]) if isinstance(known, Mapping) else None
    if not isinstance(part, Mapping):
        return {}
    choices = part.get("anyOf") or part.get("oneOf") or part.get("allOf")
    if isinstance(choices, list):
        return next((one for one in (resolve(each, whole) for each in choices) if one.get("type") != "null"), {})
    return part


def fill_word(
    name: str, part: Mapping[str, object], words: str, scenes: Sequence[Mapping[str, object]], chance: random.Random
) -> Any:
    """One plain value."""
    choices = [part["const"]] if "const" in part else part.get("enum")
    if isinstance(choices, list) and choices:
        return chance.choice(choices)
    kind = type_of(part)
    if kind in ("integer", "number"):
        return part.get("minimum", 1)
    if kind == "boolean":
        return True
    if kind in ("object", "array"):
        return {} if kind == "object" else []
    if name == "title":
        return " ".join(idea_of(words).split()[:6]).capitalize()
    if name in ("story", "text", "summary"):
        return tell(idea_of(words), scenes, chance)
    return ""


def scenes_of(count: int, chance: random.Random) -> list[dict[str, str]]:
    """That many scenes, no two alike while the world has others: expression, place, and what the hands hold."""
    grid = [
        {"expression": face, "background": where, "accessory": held}
        for held in CATEGORIES["accessory"]
        for face in CATEGORIES["expression"]
        for where in CATEGORIES["background"]
    ]
    chance.shuffle(grid)
    return [grid[number % len(grid)] for number in range(count)]


def scene_record(entry: Mapping[str, object], scene: Mapping[str, str], number: int) -> dict[str, object]:
    """A scene in the words of a schema's properties."""
    record: dict[str, object] = {}
    for name, part in properties_of(entry).items():
        if name in ("title", "name", "id"):
            record[name] = f"{scene['expression']} {scene['background']} {number + 1}".capitalize()
        elif name in CATEGORY_OF:
            category = CATEGORY_OF[name]
            empty = category == "accessory" and scene[category] == "nothing"
            record[name] = "" if empty else phrase(category, scene[category])
        else:
            inner = part if isinstance(part, Mapping) else {}
            free = type_of(inner) in ("", "string") and "enum" not in inner
            record[name] = "" if free else fill_word(name, inner, "", [], random.Random(number))
    return record


def idea_of(words: str) -> str:
    """What the story is to be about."""
    text = re.search(r"idea:\s*(.+)", words, re.IGNORECASE)
    return (text.group(1) if text else words.strip().splitlines()[-1] if words.strip() else "a journey").strip(" .")[
        :200
    ]


def tell(idea: str, scenes: Sequence[Mapping[str, object]], chance: random.Random) -> str:
    """A short story that goes through the scenes in their order."""
    sentences = [f"This is a story about {idea}."]
    for scene in scenes:
        texts = [str(value) for key, value in scene.items() if value and key not in ("title", "name", "id")]
        sentences.append(f"Then {chance.choice(EVENTS)}, and this was to be seen: {', '.join(texts)}.")
    sentences.append("And so it ended, as such stories do.")
    return " ".join(sentences)


# --- pictures -------------------------------------------------------------------------------------------------------


def describe_picture(data: bytes, question: str) -> str:
    """What can be said of a picture without a model: shape, light, and its main colours.

    Raises:
        OSError: no picture.
    """
    with Image.open(io.BytesIO(data)) as opened:
        image = opened.convert("RGB")
    shape = "square" if image.width == image.height else "wide" if image.width > image.height else "tall"
    colours = main_colours(image)
    light = image.convert("L").resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))
    level = float(light) if isinstance(light, int | float) else 128.0
    mood = "dark" if level < DARK else "bright" if level > BRIGHT else "evenly lit"
    if re.search(r"\b(tags|comma)", question, re.IGNORECASE):
        return ", ".join([*colours, mood, f"{shape} picture"])
    article = "An" if mood[0] in "aeiou" else "A"
    return f"{article} {mood} {shape} picture in {' and '.join(colours)}."


def look_at(data: bytes, question: str, schema: Mapping[str, object] | None) -> str:
    """The answer about a picture: a sentence or tags, or JSON of the schema's shape that holds them.

    Raises:
        OSError: no picture.
    """
    if schema is None:
        return describe_picture(data, question)
    chance = random.Random(zlib.crc32(data))
    sentence, tags = describe_picture(data, ""), describe_picture(data, "tags").split(", ")
    return json.dumps(see(schema, schema, sentence, tags, chance), ensure_ascii=False)


def see(
    part: object, whole: Mapping[str, object], sentence: str, tags: Sequence[str], chance: random.Random, name: str = ""
) -> Any:
    """A value of a schema's shape: every free text is the sentence, every list of texts the tags."""
    part = resolve(part, whole)
    kind = type_of(part)
    if kind == "object":
        return {key: see(inner, whole, sentence, tags, chance, key) for key, inner in properties_of(part).items()}
    if kind == "array":
        entry, least = resolve(part.get("items"), whole), part.get("minItems")
        count = max(1, int(least) if isinstance(least, int | float) else 1)
        if type_of(entry) == "string" and not entry.get("enum"):
            return [*tags, *[tags[0]] * (count - len(tags))]
        return [see(entry, whole, sentence, tags, chance, name) for _ in range(count)]
    return fill_word(name, part, "", [], chance) if kind != "string" or "enum" in part or "const" in part else sentence


def main_colours(image: Image.Image, most: int = 3) -> list[str]:
    """The names of the colours that cover most of a picture, the largest first."""
    pixels = np.asarray(image.resize((32, 32)), int).reshape(-1, 1, 3)
    nearest = np.square(pixels - list(COLOURS.values())).sum(2).argmin(1)  # of the colours that have a name
    counts = Counter(list(COLOURS)[place] for place in nearest)
    return sorted(counts, key=lambda name: (-counts[name], name))[:most]
