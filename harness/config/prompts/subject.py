"""A subject put into words: what a prompt must say where no LoRA knows the trigger."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from harness.config.profile import Vocabulary
from harness.config.prompts.syntax import plain_text
from harness.core.values import Case, Suite, Trait


def written_traits(suite: Suite, vocabulary: Mapping[str, Vocabulary]) -> tuple[Trait, ...]:
    """The traits that the suite's author wrote, phrased by the profile's vocabulary where it has the category."""
    return tuple(
        Trait(category, value, phrase_of(category, value, vocabulary))
        for category, value in (suite.subject.traits or {}).items()
    )


def phrase_of(category: str, value: str, vocabulary: Mapping[str, Vocabulary]) -> str:
    """How a prompt asks for one value; free text stays as it is."""
    known = vocabulary.get(category)
    return known.phrase(value) if known and value in known.alternatives else value


def describe_subject(suite: Suite, case: Case, traits: Sequence[Trait], vocabulary: Mapping[str, Vocabulary]) -> str:
    """The case's prompt with the trigger replaced by the subject's traits.

    In a prompt of comma-separated phrases everything stands in the vocabulary's order, as captions do; in a sentence
    the trigger becomes the class word and the traits follow. What the prompt says of a category wins over the trait.
    """
    trigger = re.compile(rf"(?<!\w){re.escape(suite.subject.trigger)}(?!\w)", re.IGNORECASE)
    texts = [part.strip() for part in case.prompt.split(",") if part.strip()]
    phrases = [part for part in texts if not trigger.fullmatch(part)]
    placed = {part: category_of(part, case, vocabulary) for part in phrases}
    named = set(placed.values())
    order = {category: place for place, category in enumerate(vocabulary)}
    wanted = [(order.get(trait.category, len(order)), trait.phrase) for trait in traits if trait.category not in named]
    if len(phrases) == len(texts):  # a sentence, not a list: its own order stands
        sentence = trigger.sub(suite.subject.noun, case.prompt)
        return ", ".join([sentence, *join_nouns([phrase for _, phrase in sorted(wanted, key=rank)])])
    ranked: list[tuple[float, str]] = [*wanted]
    following: float = len(order)
    for phrase in reversed(phrases):  # what the vocabulary does not know stays before what it stood before
        following = order.get(placed[phrase], following - 0.5)
        ranked.append((following, phrase))
    return ", ".join([suite.subject.noun, *join_nouns([phrase for _, phrase in sorted(ranked, key=rank)])])


def rank(item: tuple[float, str]) -> float:
    """Sort by place alone, so that equals stay as they came."""
    return item[0]


def category_of(phrase: str, case: Case, vocabulary: Mapping[str, Vocabulary]) -> str:
    """Which category a phrase of a prompt speaks about; "" when the vocabulary cannot tell."""
    phrase = plain_text(phrase)  # weighted words are still those words
    for category, known in vocabulary.items():
        values = {*known.alternatives, *filter(None, [case.expect.get(category)])}
        if phrase.lower() in {known.phrase(value).lower() for value in values} | {value.lower() for value in values}:
            return category
    return ""


def join_nouns(phrases: Sequence[str]) -> list[str]:
    """Neighbours that end in one noun become one phrase: "short hair", "black hair" to "short black hair"."""
    joined: list[str] = []
    for phrase in phrases:
        head, _, noun = phrase.rpartition(" ")
        if joined and head and joined[-1].endswith(f" {noun}"):
            joined[-1] = f"{joined[-1].removesuffix(noun)}{phrase}"
        else:
            joined.append(phrase)
    return joined
