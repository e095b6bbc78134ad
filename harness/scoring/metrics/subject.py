"""What one suite's references say, found once: traits, the scale's ends, what pictures are held against."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np

from harness.config.profile import Profile, merge_vocabulary
from harness.core.arrays import Floats
from harness.core.errors import ReferencesError
from harness.core.stats.calibration import Calibration, calibration_from
from harness.core.values import DOMAIN, Suite, Trait, digest, to_record
from harness.models.embeddings import Embedder, Embeddings, open_file, size_of
from harness.models.identity import library_class
from harness.models.loading import Models
from harness.scoring.domain import DomainJudge
from harness.scoring.metrics.anchors import Anchors, anchors_of_cohort, anchors_of_folder, ssim_weight
from harness.scoring.metrics.clip import population_similarity
from harness.scoring.metrics.cohort import Cohort, CohortSource, own_impostors
from harness.scoring.metrics.features import Questions, measure_trait
from harness.scoring.metrics.frozen import FrozenAnchors, read_frozen, write_frozen
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
from harness.scoring.metrics.table import ReferenceSet
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


class SubjectScale:
    """The references of one suite, and what follows from them. Construction and identities need no torch."""

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

    # --- what decides it ----------------------------------------------------------------------------------------------

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
        folder = own_impostors(self.suite, self.profile)
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

    # --- what is read and measured ------------------------------------------------------------------------------------

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

    # --- how pictures are seen ----------------------------------------------------------------------------------------

    def embed(self, pictures: Sequence[bytes]) -> Floats:
        """CLIP unit vectors (n, d) of encoded pictures."""
        return self._embeddings.images(pictures)

    def _pictures(self, shas: Sequence[str]) -> Floats:
        return self.embed([self.store.image(sha) for sha in shas])

    def _vectors(self, paths: Sequence[Path]) -> Floats:
        return self._embeddings.files(paths) if paths else np.zeros((0, 1), np.float32)

    def _read(self, category: str) -> TraitReading:
        vocabulary = self.vocabulary[category]
        question = self._questions.of(category, next(iter(vocabulary.alternatives)))
        pictures = self._vectors(self.references.train or self.references.gallery)
        probabilities = question.probabilities(pictures, self._embeddings.logit_scale)
        return read_category(category, question.phrases, probabilities, vocabulary.identity)
