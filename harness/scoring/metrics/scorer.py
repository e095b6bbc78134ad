"""Scores the pictures of one suite: what the references say is computed once, what a picture says once a picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

from harness.config.profile import Profile, extend_vocabulary
from harness.core.arrays import Floats
from harness.core.errors import LoraError
from harness.core.values import DISTANCE, Case, CaseResult, Lora, Score, Suite, digest, to_record
from harness.models.embeddings import Embedder, open_picture
from harness.models.loading import Models
from harness.models.lora.header import read_header
from harness.scoring.domain import placed, withhold
from harness.scoring.metrics.applied import Applied, check_applied
from harness.scoring.metrics.clip import self_similarity
from harness.scoring.metrics.cohort import cohort_of
from harness.scoring.metrics.copying import TrainSet
from harness.scoring.metrics.drift import Drift, measure_drift
from harness.scoring.metrics.evidence import Evidence, gather_evidence
from harness.scoring.metrics.extras import Others, make_extras
from harness.scoring.metrics.protocol import Extra, MetricContext
from harness.scoring.metrics.ssim import (
    grey_square,
    plate_of,
)
from harness.scoring.metrics.subject import DTYPE, VERSION, SubjectScale
from harness.scoring.metrics.table import METRICS, SampleViews
from harness.scoring.references import (
    set_hash,
)
from harness.store import Store


class Scorer(SubjectScale):
    """The metrics of one suite. Construction, `identity` and everything found before need no torch."""

    @cached_property
    def identity(self) -> str:
        """A hash of everything that decides a score but the picture and the case's `expect`."""
        added = {extra.name: extra.identity for extra in self.extras}
        told = [DISTANCE] if self._known else []  # pictures that were scored before tell nothing of it
        return digest([self._ground_identity, dict(self.suite.weights), *([added] if added else []), *told])

    @cached_property
    def parts(self) -> dict[str, object]:
        """What `identity` is made of, by name, so that a baseline is refused by the name of what differs."""
        traits = self.suite.subject.traits
        return {
            "version": VERSION,
            "clip": self._clip,
            "dtype": DTYPE,
            "libraries": self._libraries,
            "references_train": set_hash(self.references.train),
            "references_held_out": set_hash(self.references.held_out),
            "impostors": set_hash(self.impostors),
            "cohort": self._cohort.identity if self._cohort else "none",
            "vocabulary": digest(to_record(self.vocabulary)),
            "traits": "auto" if traits is None else digest(dict(traits)),
            "size": list(self.profile.size),
            **self._bites,
            **self._known,
            "weights": dict(self.suite.weights),
            **{f"metrics.{extra.name}": extra.identity for extra in self.extras},
        }

    @cached_property
    def extras(self) -> tuple[Extra, ...]:
        """The metrics that the profile adds to those of every suite."""
        bench = MetricContext(
            self.suite, self.profile, self.models, self.store, self._embeddings, lambda: self.references
        )
        source = self._cohort
        others = Others(source.identity if source else "", lambda: self.impostors, self.draw_cohort if source else None)
        return make_extras(bench, others)

    # --- what a picture says ------------------------------------------------------------------------------------------

    def score(self, items: Sequence[tuple[Case, bytes]]) -> list[Mapping[str, Score]]:
        """Metric to score, one mapping a picture, in order; without values where these models cannot judge."""
        results, far = self.measure(items), self.domain.distances([data for _, data in items])
        if self._known:
            results = [placed(scores, each) for scores, each in zip(results, far, strict=True)]
        looks = [self.domain.conclude([each]) for each in far]
        return [
            withhold(scores, look.sentence if look.blind else self.blind, look.blind)
            if look.blind or self.blind
            else scores
            for scores, look in zip(results, looks, strict=True)
        ]

    def measure(self, items: Sequence[tuple[Case, bytes]]) -> list[Mapping[str, Score]]:
        """The same of pictures whatever they are. Pictures are encoded bytes, embedded in batches."""
        if not items:
            return []
        vectors = self.embed([data for _, data in items])
        results = [self._score(case, data, vector) for (case, data), vector in zip(items, vectors, strict=True)]
        for extra in self.extras:
            for scores, score in zip(results, extra.score(items, vectors, results), strict=True):
                if score is not None:
                    scores[extra.name] = score
        return list(results)

    def applied(
        self, pairs: Sequence[tuple[bytes, bytes]], keys: int | None = None, lora: Lora | None = None
    ) -> Applied:
        """Whether the LoRA was applied, from pictures of the same prompts and seeds (with it, without it)."""
        name = lora.path.name if lora else "the LoRA"
        return check_applied(pairs, self.embed, keys=keys, strength=lora.strength if lora else None, lora=name)

    def evidence(
        self, provider: str, results: Sequence[CaseResult], lora: Lora | None = None, applied: Applied | None = None
    ) -> Evidence:
        """Everything that tells why a gate is red; cheap when the pictures were scored before."""
        finding = gather_evidence(provider, results, applied, self.calibration())
        images = [sample.image for result in results for sample in result.scored if sample.image]
        alike = (
            self_similarity(self.embed([self.store.image(image) for image in images]), self.calibration())
            if images
            else None
        )
        try:
            metadata = read_header(lora.path).metadata if lora else {}
        except LoraError:  # whoever loads the file says what is wrong with it
            metadata = {}
        return replace(
            finding,
            subject=self.suite.subject.name,
            trigger=self.suite.subject.trigger,
            alike=alike,
            lora=lora.path.name if lora else "",
            metadata=metadata,
            references=set_hash(self.references.train),
            held_out=set_hash(self.references.held_out) if self.references.held_out else "",
        )

    def train_set(self) -> TrainSet | None:
        """The pictures that must not be drawn again, ready to be compared with; None where none is for training."""
        return self._sets["train"]

    def held_set(self) -> TrainSet | None:
        """The pictures that nobody who draws may have seen; None where none is held out."""
        return self._sets["held_out"]

    @cached_property
    def _sets(self) -> dict[str, TrainSet | None]:
        sides = {"train": self.references.train, "held_out": self.references.held_out}
        vectors = {name: self._vectors(paths) if paths else None for name, paths in sides.items()}
        return {
            name: TrainSet(sides[name], vectors[name], sides[other], vectors[other], name) if sides[name] else None
            for name, other in (("train", "held_out"), ("held_out", "train"))
        }

    def drift(self, pairs: Mapping[str, tuple[Sequence[bytes], Sequence[bytes]]]) -> Drift | None:
        """What the LoRA does to others: prompt to its pictures with it and without it, encoded, seed by seed."""
        vectors = {prompt: (self.embed(on), self.embed(off)) for prompt, (on, off) in pairs.items() if on}
        return measure_drift(vectors, self._vectors(self.references.gallery), self.calibration().clip)

    def _score(self, case: Case, data: bytes, vector: Floats) -> dict[str, Score]:
        picture = open_picture(data)
        expected = {category: self._questions.of(category, value) for category, value in case.expect.items()}
        look = SampleViews(case, picture, vector, plate_of(grey_square(picture, self.sampling)), expected)
        results: dict[str, Score] = {}
        for name, metric in METRICS.items():
            if (score := metric(look, self.ground, results)) is not None:
                results[name] = score
        return results


def scorer_of(
    suite: Suite,
    profile: Profile,
    models: Models,
    store: Store,
    *,
    load: Callable[[], Embedder] | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> Scorer:
    """The scorer of a suite, against the cohort that this machine's base draws where one is under test.

    Args:
        load: brings another embedder than the profile's CLIP.
        tell: hears once that a cohort will be drawn.
    """
    extended = extend_vocabulary(profile, suite)
    return Scorer(suite, extended, models, store, load, cohort_of(suite, extended, models, store, tell))
