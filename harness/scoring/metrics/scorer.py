"""Scores the pictures of one suite: what the references say is computed once, what a picture says once a picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np

from harness.config.profile import Profile, extend_vocabulary, merge_vocabulary
from harness.core.arrays import Floats
from harness.core.errors import LoraError, ReferencesError
from harness.core.stats.calibration import Calibration, calibration_from
from harness.core.values import DOMAIN, Case, CaseResult, Lora, Score, Suite, Trait, digest, to_record
from harness.models.embeddings import Embedder, Embeddings, open_file, open_picture, size_of
from harness.models.identity import library_class
from harness.models.loading import Models
from harness.models.lora.header import read_header
from harness.scoring.domain import DomainJudge, withhold
from harness.scoring.metrics.anchors import Anchors, anchors_of_cohort, anchors_of_folder, ssim_weight
from harness.scoring.metrics.applied import Applied, check_applied
from harness.scoring.metrics.clip import population_similarity, self_similarity
from harness.scoring.metrics.cohort import Cohort, CohortSource, cohort_of
from harness.scoring.metrics.copying import TrainSet
from harness.scoring.metrics.drift import Drift, measure_drift
from harness.scoring.metrics.evidence import Evidence, gather_evidence
from harness.scoring.metrics.extras import Others, make_extras
from harness.scoring.metrics.features import Questions, measure_trait
from harness.scoring.metrics.frozen import FrozenAnchors, read_frozen, write_frozen
from harness.scoring.metrics.protocol import Extra, MetricContext
from harness.scoring.metrics.ssim import (
    SIDE,
    Plate,
    common_sampling,
    edges_band,
    grey_square,
    plate_of,
    reference_band,
    sharpness,
)
from harness.scoring.metrics.table import METRICS, ReferenceSet, SampleViews
from harness.scoring.metrics.technical import contrast
from harness.scoring.references import (
    References,
    TraitReading,
    extract_traits,
    load_impostors,
    load_references,
    read_category,
    set_hash,
)
from harness.store import Store

VERSION = 3  # of every formula in this package and in calibrate.py: raise it, and stored scores are computed anew
EMBEDDING = 1  # of how pictures and words are laid before CLIP: no formula's new version embeds anything again
LIBRARIES = ("transformers", "pillow", "scipy")  # the preprocessing is part of the measurement
DTYPE = "float32"  # in which `harness.models.loading` loads CLIP, whatever the profile draws in


class Scorer:
    """The metrics of one suite. Construction, `identity` and everything found before need no torch."""

    def __init__(
        self,
        suite: Suite,
        profile: Profile,
        models: Models,
        store: Store,
        load: Callable[[], Embedder] | None = None,
        cohort: CohortSource | None = None,
    ) -> None:
        """What one suite is scored with.

        Args:
            load: brings another embedder than the profile's CLIP.
            cohort: draws what scores are held against; None: the folder of impostors alone.
        """
        self.suite, self.profile, self.models, self.store = suite, profile, models, store
        self.vocabulary = merge_vocabulary(profile.vocabulary, suite.vocabulary)
        clip = models.model_hash(profile.models.clip)
        self._clip, self._cohort = clip, cohort
        self._embeddings = Embeddings(load or models.clip, store, digest([EMBEDDING, clip, self._libraries]))
        self.domain = DomainJudge(profile, models, store)
        self._questions = Questions(self.vocabulary, self._embeddings, profile.templates)

    # --- what decides a score -----------------------------------------------------------------------------------------

    @cached_property
    def identity(self) -> str:
        """A hash of everything that decides a score but the picture and the case's `expect`."""
        added = {extra.name: extra.identity for extra in self.extras}
        return digest([self._ground_identity, dict(self.suite.weights), *([added] if added else [])])

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
    def _ground_identity(self) -> str:
        """What decides traits and calibration: weights of `quality` do not."""
        return digest(
            {
                "version": VERSION,
                "clip": self._clip,
                "libraries": self._libraries,
                "references": [set_hash(self.references.train), set_hash(self.references.held_out)],
                "impostors": set_hash(self.impostors),
                "vocabulary": to_record(self.vocabulary),
                "traits": dict(self.suite.subject.traits) if self.suite.subject.traits is not None else None,
                "size": list(self.profile.size),
                **self._bites,
                **self._known,
                **({"kind": self.suite.subject.kind} if self.suite.subject.kind != "character" else {}),
                **({"cohort": self._cohort.identity} if self._cohort else {}),
            }
        )

    @cached_property
    def _libraries(self) -> str:
        return library_class(*LIBRARIES)

    @cached_property
    def references(self) -> References:
        return load_references(self.suite.subject)

    @cached_property
    def impostors(self) -> tuple[Path, ...]:
        """Pictures of others that somebody chose: all there is without a cohort, and one more group beside it."""
        folder = self.suite.subject.impostors or self.profile.impostors
        if folder is None and self._cohort:
            return ()
        if folder is None:
            raise ReferencesError(f"{self.suite.path}: no impostors; name a folder with pictures of other subjects")
        return load_impostors(folder)

    @cached_property
    def sampling(self) -> int:
        """Pixels a side at which references and drawings are compared."""
        return common_sampling(self.profile.size, self._sizes)

    @cached_property
    def _sizes(self) -> list[tuple[int, int]]:
        return [size_of(path) for path in self.references.gallery]

    @property
    def _bites(self) -> dict[str, object]:
        """The sampling, where it changes a reference; elsewhere scores are what they were without it."""
        bites = self.sampling < min(SIDE, max(map(min, self._sizes)))
        return {"sampling": self.sampling} if bites else {}

    @property
    def _known(self) -> dict[str, object]:
        """What the models know, where the profile says it."""
        return {DOMAIN: self.domain.identity} if self.domain.identity else {}

    @cached_property
    def extras(self) -> tuple[Extra, ...]:
        """The metrics that the profile adds to those of every suite."""
        bench = MetricContext(
            self.suite, self.profile, self.models, self.store, self._embeddings, lambda: self.references
        )
        source = self._cohort
        others = Others(source.identity if source else "", lambda: self.impostors, self.draw_cohort if source else None)
        return make_extras(bench, others)

    # --- what the references say --------------------------------------------------------------------------------------

    @cached_property
    def readings(self) -> tuple[TraitReading, ...]:
        """Every category of the vocabulary as the train pictures show it, for the report; () to blind models."""
        if self.blind:
            return ()
        known = self.store.memo("readings", self._ground_identity)
        if known is None:
            known = to_record([self._read(category) for category in self.vocabulary])
            self.store.put_memo("readings", self._ground_identity, known)
        return tuple(TraitReading(**record) for record in known)

    @cached_property
    def blind(self) -> str:
        """Why these models cannot judge the references, or ""."""
        found = self.domain.check_files(self.references.all)
        return found.sentence if found.blind else ""

    def traits(self) -> tuple[Trait, ...]:
        """The subject's traits: the suite's own, else those of its kind that the train pictures agree on."""
        given = self.suite.subject.traits
        if given is None:
            return () if self.blind else extract_traits(self.readings, self.suite.subject.kind)
        return tuple(
            Trait(category, value, self._questions.phrases(category, value)[value]) for category, value in given.items()
        )

    def calibration(self) -> Calibration:
        """What raw numbers mean for this subject; computed once a store."""
        return self._calibration

    @cached_property
    def _calibration(self) -> Calibration:
        known = self.known_calibration() or self._calibrate()
        self.store.put_memo("calibration", self._ground_identity, to_record(known))
        return known

    def known_calibration(self) -> Calibration | None:
        """The frozen one, or what an earlier run found; None: nothing was measured yet, and nothing is now."""
        if self.frozen:
            return self.frozen.calibration
        known = self.store.memo("calibration", self._ground_identity)
        return None if known is None else calibration_from(known)

    @cached_property
    def frozen(self) -> FrozenAnchors | None:
        """The anchors beside the suite, where they are of these models and references."""
        kept = read_frozen(self.suite) if self._cohort else None
        return kept if kept and kept.identity == self._ground_identity else None

    def freeze(self, populations: Sequence[Mapping[str, object]]) -> Path:
        """Keep the anchors beside the suite; where they are."""
        anchors = FrozenAnchors(self._ground_identity, self.calibration(), self.suite.weights, populations)
        return write_frozen(self.suite, anchors)

    def alternative(self) -> list[bytes]:
        """The pictures that the scale of `clip` calls 0, encoded."""
        zero = self.calibration().zero
        if zero == "impostors" or self._cohort is None:
            return [path.read_bytes() for path in self.impostors]
        groups = self.draw_cohort().groups
        return [self.store.image(sha) for sha in groups[zero]]

    def draw_cohort(self) -> Cohort:
        """What scores are held against, drawn where it is not in the store."""
        assert self._cohort is not None
        return self._cohort.draw(self.traits(), self.references.train or self.references.gallery)

    def _calibrate(self) -> Calibration:
        references = self.references
        gallery, impostors = self._vectors(references.gallery), self._vectors(self.impostors)
        if len(gallery) < 2:
            raise ReferencesError(f"{self.suite.subject.references}: one picture has no other to be compared with")
        greys = [grey_square(open_file(path), self.sampling) for path in references.gallery]
        plates = [plate_of(grey) for grey in greys]
        found, scale = self._anchor(gallery, impostors, plates), self._embeddings.logit_scale
        return Calibration(
            clip=found.clip,
            ssim=reference_band(plates),
            edges=edges_band(plates),
            measures=tuple(
                measure_trait(
                    self._questions.of(trait.category, trait.value), trait.value, gallery, scale, found.strangers
                )
                for trait in self.traits()
            ),
            sharpness=min(map(sharpness, greys)),
            contrast=min(map(contrast, greys)),
            agreement=found.agreement,
            crowd=population_similarity(impostors if found.strangers is None else found.strangers),
            references=len(references.all),
            leave_one_out=references.leave_one_out,
            names=tuple(path.name for path in self.impostors),
            sampling=self.sampling,
            blind=self.blind,
            zero=found.zero,
            sight=found.sight,
            weights=found.weights,
        )

    def _anchor(self, gallery: Floats, impostors: Floats, plates: Sequence[Plate]) -> Anchors:
        references = self.references
        apart = not references.leave_one_out and len(references.train)
        train = self._vectors(references.train) if apart else gallery[:0]
        if self._cohort is None or (self.blind and len(impostors)):  # to whom nothing is known, nothing is drawn
            return anchors_of_folder(gallery, train, impostors)
        cohort = self.draw_cohort()
        found = anchors_of_cohort(cohort, self._pictures, gallery, train, impostors)
        strangers = map(self.store.image, cohort.strangers)
        return replace(found, weights={"ssim": ssim_weight(plates, strangers, self.sampling)})

    def _pictures(self, shas: Sequence[str]) -> Floats:
        return self.embed([self.store.image(sha) for sha in shas])

    @cached_property
    def ground(self) -> ReferenceSet:
        """All that pictures are held against; found once."""
        calibration, references = self.calibration(), self.references
        return ReferenceSet(
            calibration=calibration,
            gallery=self._vectors(references.gallery),
            train=self._vectors(references.train) if references.train else self._vectors(references.gallery),
            impostors=self._vectors(self.impostors),
            plates=tuple(plate_of(grey_square(open_file(path), self.sampling)) for path in references.gallery),
            questions={
                trait.category: self._questions.of(trait.category, trait.value) for trait in calibration.measures
            },
            scale=self._embeddings.logit_scale,
            size=self.profile.size,
            weights=self.suite.weights,
        )

    # --- what a picture says ------------------------------------------------------------------------------------------

    def score(self, items: Sequence[tuple[Case, bytes]]) -> list[Mapping[str, Score]]:
        """Metric to score, one mapping a picture, in order; without values where these models cannot judge."""
        results = self.measure(items)
        looks = [self.domain.conclude([far]) for far in self.domain.distances([data for _, data in items])]
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

    def embed(self, pictures: Sequence[bytes]) -> Floats:
        """CLIP unit vectors (n, d) of encoded pictures."""
        return self._embeddings.images(pictures)

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

    def _vectors(self, paths: Sequence[Path]) -> Floats:
        return self._embeddings.files(paths) if paths else np.zeros((0, 1), np.float32)

    def _read(self, category: str) -> TraitReading:
        vocabulary = self.vocabulary[category]
        question = self._questions.of(category, next(iter(vocabulary.alternatives)))
        pictures = self._vectors(self.references.train or self.references.gallery)
        probabilities = question.probabilities(pictures, self._embeddings.logit_scale)
        return read_category(category, question.phrases, probabilities, vocabulary.identity)


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
