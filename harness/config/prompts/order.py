"""The places of a prompt, in their usual order, and which of them a phrase fills."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from harness.config.prompts.trigger import trigger_pattern
from harness.core.values import Vocabulary

PROMPT_ORDER: tuple[str, ...] = (
    "character", "view", "shot", "pose", "hair", "face", "action", "body", "clothes", "scene", "time", "weather",
    "objects",
)  # fmt: skip
"""The standard order of a prompt, the trigger first."""

PLACE_OF: Mapping[str, str] = {
    "angle": "view",
    "framing": "shot",
    "hair": "hair",
    "hair_color": "hair",
    "face_shape": "face",
    "eyes": "face",
    "facial_hair": "face",
    "expression": "face",
    "skin_tone": "body",
    "build": "body",
    "clothing": "clothes",
    "pattern": "clothes",
    "outfit": "clothes",
    "hat": "clothes",
    "background": "scene",
    "place": "scene",
    "accessory": "objects",
    "props": "objects",
}
"""Category of the vocabulary to its place in the prompt; a category named like a place goes there."""

WORDS: Mapping[str, str] = {
    "view": r"(front|back|side|top|profile|three-quarter) view|from (above|below|behind|the side)|(low|high) angle",
    "shot": r"close-?up|headshot|portrait|(full|half|upper)[- ](body|length)|(medium|wide|long|cowboy) shot",
    "pose": "standing|sitting|lying|kneeling|crouching|squatting|leaning|cross-legged",
    "hair": "hair|ponytail|topknot|braids?|bald",
    "face": "smil(e|ing)|sad|angry|surprised|laughing|crying|frowning|expression|eyes|beard|mustache",
    "action": "holding|carrying|running|walking|riding|jumping|dancing|playing|drinking|eating|reading|talking",
    "body": "skin|slim|slender|muscular|stocky|chubby|tall|build",
    "clothes": "wearing|robe|dress|coat|shirt|jacket|trousers|hat|cap|cloak|boots|armou?r|uniform",
    "scene": "background|steppe|forest|city|street|market|village|mountains?|desert|room|indoors|outdoors|palace|beach",
    "time": "morning|noon|afternoon|evening|night|dawn|dusk|sunrise|sunset|winter|summer|spring|autumn",
    "weather": "rain|rainy|snowing|snowfall|fog|foggy|storm|stormy|windy|sunny|cloudy|overcast",
}
"""What surely belongs to a place; a phrase that two places claim has none, save for the first two of `CLAIMS`."""
CLAIMS = {place: re.compile(rf"(?<![\w-])({words})(?![\w-])", re.IGNORECASE) for place, words in WORDS.items()}
FIRST = ("action", "scene")  # "holding a lantern in the rain" is what is done, "starry night background" where


class Placed(NamedTuple):
    """A phrase of a prompt, and where it belongs."""

    phrase: str
    place: str
    category: str = ""  # of the vocabulary, where that says the phrase


def place_of(category: str) -> str:
    """Where a category stands in the prompt; "" for one without a place, which comes last (style, say)."""
    return category if category in PROMPT_ORDER else PLACE_OF.get(category, "")


def says(text: str, phrase: str) -> bool:
    """Whether a lower-case text holds a phrase as whole words."""
    return re.search(rf"(?<!\w){re.escape(phrase.lower())}(?!\w)", text) is not None


def placed(prompt: str, trigger: str, vocabulary: Mapping[str, Vocabulary]) -> Iterator[Placed]:
    """The phrases between commas whose place is known; of others nothing is claimed."""
    for phrase in filter(None, (part.strip() for part in prompt.split(","))):
        if trigger and trigger_pattern(trigger).search(phrase):
            yield Placed(phrase, PROMPT_ORDER[0])
            continue
        text = phrase.lower()
        known = {
            name for name, entry in vocabulary.items() if any(says(text, each) for each in entry.alternatives.values())
        }
        claimed = [place for place, words in CLAIMS.items() if words.search(phrase)]
        if len(known) == 1 and place_of(category := known.pop()):
            yield Placed(phrase, place_of(category), category)
        elif first := next((place for place in FIRST if place in claimed), claimed[0] if len(claimed) == 1 else ""):
            yield Placed(phrase, first)


def lint_order(prompt: str, trigger: str, vocabulary: Mapping[str, Vocabulary]) -> Iterator[str]:
    """The first phrase that stands behind one it should precede.

    Two phrases of the vocabulary may also stand in its order: that of the captions which the profile's models learnt.
    """
    order, before = list(vocabulary), list[Placed]()
    for item in placed(prompt, trigger, vocabulary):
        for earlier in before:
            known = item.category and earlier.category
            learnt = known and order.index(earlier.category) <= order.index(item.category)
            if not learnt and PROMPT_ORDER.index(item.place) < PROMPT_ORDER.index(earlier.place):
                wrong = f"{item.phrase!r} ({item.place}) stands behind {earlier.phrase!r} ({earlier.place})"
                yield f"{wrong}; the usual order is {', '.join(PROMPT_ORDER)}"
                return
        before.append(item)
