"""Does the picture show the subject's traits, and what the case expects: CLIP zero-shot over alternatives.

A raw text-image cosine cannot be held against a threshold (good and bad captions differ by 0.06), so each trait is a
softmax over its alternatives, relative to what the references themselves reach.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.core.arrays import Floats
from harness.core.stats.calibration import Measure, measure
from harness.core.values import Score, Vocabulary
from harness.models.embeddings import Embeddings, softmax

NONE = "none of these"  # the alternative that lets a free description be wrong


@dataclass(frozen=True)
class Question:
    """One category as the model is asked about it: alternatives, how a prompt says each, and their vectors."""

    category: str
    phrases: Mapping[str, str]  # alternative to phrase
    vectors: Floats  # (alternatives, d), in the order of `phrases`
    identity: bool

    def cosines(self, pictures: Floats) -> Floats:
        """(n, alternatives)"""
        return np.asarray(pictures @ self.vectors.T)

    def probabilities(self, pictures: Floats, scale: float) -> Floats:
        """(n, alternatives), each row summing to 1."""
        return softmax(self.cosines(pictures), scale)

    def column(self, value: str) -> int:
        return list(self.phrases).index(value)


class Questions:
    """What the pictures of one suite are asked, each category and value once."""

    def __init__(self, vocabulary: Mapping[str, Vocabulary], embeddings: Embeddings, templates: Sequence[str]) -> None:
        """`templates`: sentences around a phrase, whose vectors are averaged."""
        self._vocabulary, self._embeddings, self._templates = vocabulary, embeddings, templates
        self._known: dict[tuple[str, str], Question] = {}

    def of(self, category: str, value: str) -> Question:
        """A category, with `value` among its alternatives."""
        if (category, value) not in self._known:
            phrases, vocabulary = self.phrases(category, value), self._vocabulary.get(category)
            vectors = self._embeddings.phrases(list(phrases.values()), self._templates)
            identity = vocabulary.identity if vocabulary else True
            self._known[category, value] = Question(category, phrases, vectors, identity)
        return self._known[category, value]

    def phrases(self, category: str, value: str) -> dict[str, str]:
        """The alternatives of a category with their phrases; a value the vocabulary lacks joins them."""
        vocabulary = self._vocabulary.get(category)
        phrases = {item: vocabulary.phrase(item) for item in vocabulary.alternatives} if vocabulary else {}
        if value not in phrases:
            phrases[value] = value
        return phrases if len(phrases) > 1 else {**phrases, NONE: "a person"}


def measure_trait(
    question: Question, value: str, gallery: Floats, scale: float, strangers: Floats | None = None
) -> Measure:
    """How surely the references show one trait, and more than strangers do where their unit vectors are known."""
    return measure(
        question.category,
        value,
        question.phrases[value],
        question.probabilities(gallery, scale),
        question.column(value),
        None if strangers is None else question.probabilities(strangers, scale),
    )


def features_score(
    vector: Floats,
    measures: Sequence[Measure],
    questions: Mapping[str, Question],
    scale: float,
    replaced: Collection[str] = (),
) -> Score:
    """Reliability-weighted mean over the measurable traits of probability relative to the references', at most 1.

    Args:
        replaced: categories that the case itself asks for: who wears another robe there is no less the subject.
    """
    measures = [trait for trait in measures if trait.category not in replaced]
    results: dict[str, dict[str, Any]] = {}
    raws = []
    for trait in measures:
        question = questions[trait.category]
        column = question.column(trait.value)
        cosines = question.cosines(vector[None])[0]
        chances = softmax(cosines, scale)
        raws.append(float(cosines[column]))
        results[trait.category] = {
            "value": trait.value,
            "score": min(1.0, float(chances[column]) / trait.reach) if trait.weight > 0 else None,
            "probability": float(chances[column]),
            "seen": list(question.phrases)[int(chances.argmax())],
            "weight": trait.weight,
            "cosine": float(cosines[column]),
            "reason": trait.reason,
        }
    raw = float(np.mean(raws)) if raws else None
    weight = sum(trait.weight for trait in measures)
    if weight == 0:
        reason = "no trait of the subject can be measured: " + (
            "; ".join(f"{trait.category}: {trait.reason}" for trait in measures)
            or "the references show none; name some under `traits`"
        )
        return Score("features", None, raw, reason, results)
    total = sum(trait.weight * float(results[trait.category]["score"] or 0.0) for trait in measures)
    return Score("features", total / weight, raw, details=results)


def prompt_score(vector: Floats, expect: Mapping[str, str], questions: Mapping[str, Question], scale: float) -> Score:
    """The mean probability of what the case expects; it says nothing about who the picture shows."""
    results: dict[str, dict[str, Any]] = {}
    for category, value in expect.items():
        question = questions[category]
        cosines = question.cosines(vector[None])[0]
        chances, column = softmax(cosines, scale), question.column(value)
        results[category] = {
            "value": value,
            "score": float(chances[column]),
            "seen": list(question.phrases)[int(chances.argmax())],
            "cosine": float(cosines[column]),
        }
    scores = [float(item["score"]) for item in results.values()]
    raws = [float(item["cosine"]) for item in results.values()]
    return Score("prompt", float(np.mean(scores)), float(np.mean(raws)), details=results)
