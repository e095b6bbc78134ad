"""`harness references analyse`: what the pictures say of the subject, and a training prompt from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.config.prompts.order import PROMPT_ORDER, place_of
from harness.core.values import Trait
from harness.scoring.references.gather import Gathered
from harness.scoring.references.traits import RENDERING, extract_traits
from harness.scoring.references.zero_shot import CategorySeen, ZeroShotTagger


@dataclass(frozen=True)
class TraitRow:
    """One category over all pictures."""

    category: str
    value: str
    phrase: str
    share: float  # of the pictures that agree, [0, 1]
    confidence: float  # mean probability of the value over all pictures, [0, 1]
    legibility: float  # how surely CLIP reads this category in single pictures, [0, 1]
    identity: bool  # belongs to a person
    trait: bool  # one that extraction keeps, and a run weighs
    reason: str = ""  # why it is none, or why it is not judged
    second: str = ""  # the value that comes next
    second_confidence: float = 0.0  # its mean probability, [0, 1]


@dataclass(frozen=True)
class PictureRow:
    """One picture's own readings."""

    picture: str
    values: dict[str, str]  # category to value, legible categories only
    confidence: dict[str, float]  # category to probability, [0, 1]
    prompt: str


@dataclass(frozen=True)
class Analysis:
    """All that was read."""

    name: str
    trigger: str
    kind: str
    traits: tuple[TraitRow, ...]
    pictures: tuple[PictureRow, ...]
    prompt: str  # of the whole: the trigger and a character's traits; a style is left to its trigger
    caption: str  # what captions should say: what changes, not what the trigger must learn (of a style: the content)
    unread: tuple[str, ...]  # places of the prompt that no category of the vocabulary fills
    blind: str = ""  # why the models cannot judge these pictures; then nothing was read


def analyse(gathered: Gathered, tagger: ZeroShotTagger) -> Analysis:
    """Read every category in every picture; `sight` looks at exactly the gathered pictures."""
    seen = tagger.seen
    rows = tuple(trait_row(item, gathered.kind) for item in seen)
    messages = [
        Trait(row.category, row.value, row.phrase)
        for row in rows
        if row.trait and not row.reason and gathered.kind == "character"
    ]
    legible = [item for item in seen if not item.reason]
    filled = {place_of(item.category) for item in legible}
    texts = [item for item in legible if gathered.kind == "character" or item.category not in RENDERING]
    changing = [item.category for item in texts if gathered.kind == "style" or not item.reading.identity]
    return Analysis(
        name=gathered.name,
        trigger=gathered.trigger,
        kind=gathered.kind,
        traits=rows,
        pictures=tuple(picture_row(gathered, tagger, texts, place) for place in range(len(tagger.paths))),
        prompt=training_prompt(gathered.trigger, messages),
        caption=", ".join([gathered.trigger, *(f"<{category}>" for category in changing)]),
        unread=tuple(place for place in PROMPT_ORDER[1:] if place not in filled),
    )


def unread(gathered: Gathered, blind: str) -> Analysis:
    """Of pictures that the models do not know: the trigger, and why there is nothing else."""
    places, trigger = PROMPT_ORDER[1:], gathered.trigger
    return Analysis(gathered.name, trigger, gathered.kind, (), (), trigger, trigger, places, blind)


def trait_row(item: CategorySeen, kind: str) -> TraitRow:
    """One category in figures; reasons of extraction and of legibility alike."""
    reading, reason = item.reading, item.reason or item.reading.reason
    kept = bool(extract_traits([reading], kind))
    if kept and reason:
        reason = f"in no prompt: {reason}; a run weighs it by what it tells from strangers"
    return TraitRow(
        category=item.category,
        value=reading.value,
        phrase=reading.phrase,
        share=reading.share,
        confidence=reading.probability,
        legibility=item.legibility,
        identity=reading.identity,
        trait=kept,
        reason=reason,
        second=reading.second,
        second_confidence=reading.second_probability,
    )


def picture_row(gathered: Gathered, tagger: ZeroShotTagger, seen: Sequence[CategorySeen], place: int) -> PictureRow:
    """One picture's readings and its own prompt."""
    texts = []
    for item in seen:
        value = item.values[place]
        texts.append(Trait(item.category, value, tagger.vocabulary[item.category].phrase(value)))
    return PictureRow(
        picture=gathered.label(tagger.paths[place]),
        values={trait.category: trait.value for trait in texts},
        confidence={item.category: item.probabilities[place] for item in seen},
        prompt=training_prompt(gathered.trigger, texts),
    )


def training_prompt(trigger: str, traits: Sequence[Trait]) -> str:
    """The trigger and the phrases in the standard order; categories without a place close it."""
    parts: dict[str, list[str]] = {place: [] for place in (*PROMPT_ORDER, "")}
    parts[PROMPT_ORDER[0]].append(trigger)
    for trait in traits:
        parts[place_of(trait.category)].append(trait.phrase)
    return ", ".join(dict.fromkeys(phrase for phrases in parts.values() for phrase in phrases))
