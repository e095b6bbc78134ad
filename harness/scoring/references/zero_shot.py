"""What CLIP sees in reference pictures, and how far it can be believed: every answer comes with a measured reliability.

Nobody labelled these pictures, so reliability is measured on what is known without labels: a reading must be confident,
must agree with the captions where those name a value, and without such captions must survive mirroring.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from harness.config.profile import Profile
from harness.core.arrays import Floats
from harness.core.settings import Settings
from harness.core.stats.calibration import LEAST_PICTURES, above_chance
from harness.core.values import Vocabulary, digest
from harness.models.embeddings import Embeddings, open_file, softmax
from harness.models.identity import library_class
from harness.models.loading import Models
from harness.scoring.references.traits import TraitReading, read_category
from harness.store import Store

RELIABLE = 0.5  # least reliability of a category that is judged, on the scale where guessing is 0 and certainty 1
LEAST_CAPTIONS = 5  # that name a value of a category before they count
WORKING = 512  # pixels of the longer side of the variants that are embedded
VERSION = 1  # of the variants: raise it, and they are embedded anew


@dataclass(frozen=True)
class CategorySeen:
    """One category over all pictures of a set."""

    category: str
    values: tuple[str, ...]  # what each picture is read as
    probabilities: tuple[float, ...]  # of those values
    reading: TraitReading  # aggregated over the pictures
    confidence: float  # mean probability of the readings above chance, [0, 1]
    stability: float  # readings that survive mirroring, above chance, [0, 1]
    captions: float | None  # agreement with captions above chance; None: fewer than five name a value
    alternatives: int  # that the vocabulary has
    reason: str = ""  # why it is not judged

    @property
    def legibility(self) -> float:
        """Confidence, or what else is known where that is less: captions, without them the mirror images; [0, 1]."""
        return max(0.0, min(self.confidence, self.stability if self.captions is None else self.captions))

    def shares(self) -> dict[str, float]:
        """Value to share of the pictures, the most frequent first."""
        counts = {value: self.values.count(value) / len(self.values) for value in dict.fromkeys(self.values)}
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


class ZeroShotTagger:
    """CLIP's view of one set of pictures, each embedded once a store."""

    def __init__(
        self,
        embeddings: Embeddings,
        vocabulary: Mapping[str, Vocabulary],
        templates: Sequence[str],
        paths: Sequence[Path],
        captions: Mapping[Path, str],
    ) -> None:
        self.embeddings, self.vocabulary, self.templates = embeddings, vocabulary, tuple(templates)
        self.paths, self.captions = tuple(paths), dict(captions)

    @cached_property
    def vectors(self) -> Floats:
        """Unit vectors of the pictures, (n, d)."""
        return self.embeddings.images([variant(path, "plain") for path in self.paths])

    @cached_property
    def mirrored(self) -> Floats:
        """Unit vectors of their mirror images."""
        return self.embeddings.images([variant(path, "mirrored") for path in self.paths])

    @cached_property
    def copies(self) -> Floats:
        """Unit vectors of each picture cut by 4% at every edge and compressed: what a copy looks like to this model."""
        return self.embeddings.images([variant(path, "copy") for path in self.paths])

    @cached_property
    def seen(self) -> tuple[CategorySeen, ...]:
        """Every category of the vocabulary, judged or with the reason why not."""
        return tuple(self.read(category) for category in self.vocabulary)

    def read(self, category: str) -> CategorySeen:
        vocabulary = self.vocabulary[category]
        phrases = {value: vocabulary.phrase(value) for value in vocabulary.alternatives}
        texts = self.embeddings.phrases(list(phrases.values()), self.templates)
        scale, names = self.embeddings.logit_scale, list(phrases)
        plain, flipped = (softmax(v @ texts.T, scale) for v in (self.vectors, self.mirrored))
        best, again = plain.argmax(1), flipped.argmax(1)
        values = tuple(names[place] for place in best)
        n = len(names)
        result = CategorySeen(
            category=category,
            values=values,
            probabilities=tuple(float(row.max()) for row in plain),
            reading=read_category(category, phrases, plain, vocabulary.identity),
            confidence=above_chance(float(plain.max(1).mean()), n),
            stability=above_chance(float(np.mean(best == again)), n),
            captions=self.caption_agreement(vocabulary, values),
            alternatives=n,
        )
        return with_reason(result)

    def caption_agreement(self, vocabulary: Vocabulary, values: Sequence[str]) -> float | None:
        """How often a reading is what the caption says, above chance; None when too few captions say anything."""
        right = []
        for path, value in zip(self.paths, values, strict=True):
            named = named_values(self.captions.get(path, ""), vocabulary)
            if len(named) == 1:
                right.append(named[0] == value)
        if len(right) < LEAST_CAPTIONS:
            return None
        return above_chance(float(np.mean(right)), len(vocabulary.alternatives))

    def alike_pairs(self) -> tuple[list[tuple[int, int, float]], float, str]:
        """Pairs as alike to the model as copies are, with their cosine; the bound; why it cannot be judged, or "".

        The bound is what nine of ten real copies of these very pictures reach. That two pictures are this alike to a
        model does not make them copies: people drawn in one pose reach it too.
        """
        bound = float(np.quantile((self.vectors * self.copies).sum(1), 0.1))
        pairs = self.pairs_from(bound)
        n = len(self.paths)
        if n > 2 and len(pairs) > max(1, TOO_MANY * n * (n - 1) / 2):
            return [], bound, f"to this model {len(pairs)} pairs are as alike as copies are (cosine {bound:.3f})"
        return pairs, bound, ""

    def standing_out(self) -> tuple[list[tuple[int, int, float]], float]:
        """Pairs so much more alike to the model than the others that this alone makes them copies; the bound.

        Measured in robust standard deviations of the logarithm of 1 - cosine over all pairs; the bound is a cosine.
        """
        n = len(self.paths)
        if n < LEAST_PICTURES:
            return [], 1.0
        apart = np.log(np.maximum(1 - self.alike[np.triu_indices(n, 1)], 1e-6))
        middle = float(np.median(apart))
        spread = max(1.4826 * float(np.median(np.abs(apart - middle))), LEAST_SPREAD)
        bound = 1 - float(np.exp(middle - FAR * spread))
        return self.pairs_from(bound), bound

    def pairs_from(self, bound: float) -> list[tuple[int, int, float]]:
        """Pairs of at least this cosine, by place."""
        n = len(self.paths)
        return [(a, b, float(self.alike[a, b])) for b in range(n) for a in range(b) if self.alike[a, b] >= bound]

    @cached_property
    def alike(self) -> Floats:
        """Cosines of all pairs, straight or mirrored, whichever is higher: (n, n), symmetric."""
        table = np.maximum(self.vectors @ self.vectors.T, self.vectors @ self.mirrored.T)
        return np.maximum(table, table.T)


FAR = 8.0  # robust standard deviations; two different pictures of one drawn person reach 6
LEAST_SPREAD = 0.15  # of those logarithms: where all pairs are alike by chance, a small difference means nothing
TOO_MANY = 0.1  # of all pairs: a model to which so many are alike does not tell pictures of this kind apart


def with_reason(found: CategorySeen) -> CategorySeen:
    """The same, with the reason when it is not reliable enough."""
    if found.alternatives < 2:
        return replace(found, reason="it has one value only")
    if found.legibility >= RELIABLE:
        return found
    fields = {"confidence": found.confidence}
    if found.captions is None:
        fields["agreement with the mirror images"] = found.stability
    else:  # a lamp held in the left hand may mean nothing to a model that only saw right ones
        fields["agreement with the captions"] = found.captions
    worst = min(fields, key=lambda name: fields[name])
    return replace(found, reason=f"read too unsurely: {worst} {fields[worst]:.2f} (at least {RELIABLE:g})")


def named_values(caption: str, vocabulary: Vocabulary) -> list[str]:
    """The values whose phrase the caption contains."""
    text = f" {caption.casefold()} ".replace(",", " , ")
    return [value for value in vocabulary.alternatives if f" {vocabulary.phrase(value).casefold()} " in text]


def variant(path: Path, kind: str) -> bytes:
    """PNG bytes of a picture of at most WORKING pixels a side: as it is, mirrored, or cut and compressed."""
    picture = open_file(path)
    picture.thumbnail((WORKING, WORKING), Image.Resampling.LANCZOS)
    if kind == "mirrored":
        picture = ImageOps.mirror(picture)
    if kind == "copy":
        x, y = round(0.04 * picture.width), round(0.04 * picture.height)
        picture = picture.crop((x, y, picture.width - x, picture.height - y)).resize(picture.size)
        squeezed = io.BytesIO()
        picture.save(squeezed, "JPEG", quality=60)
        picture = Image.open(squeezed).convert("RGB")
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def open_tagger(
    profile: Profile,
    settings: Settings,
    store: Store,
    vocabulary: Mapping[str, Vocabulary],
    paths: Sequence[Path],
    captions: Mapping[Path, str],
) -> ZeroShotTagger:
    """The profile's CLIP over a set of pictures; nothing is loaded before the first question.

    Raises:
        ModelError: the weights are not on this machine.
    """
    models = Models(profile, settings)
    identity: list[Any] = [VERSION, models.model_hash(profile.models.clip), library_class("transformers", "pillow")]
    embeddings = Embeddings(models.clip, store, digest(identity))
    return ZeroShotTagger(embeddings, vocabulary, profile.templates, paths, captions)
