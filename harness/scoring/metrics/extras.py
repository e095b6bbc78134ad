"""Metrics that a profile adds to those of every suite: aesthetics, DINOv2, and metrics of other packages.

Each sees whole batches, because models like them, and brings an identity of its own: without one a suite's scores
would not be computed anew when a head or a metric's code changes, and without any they stay what they were.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from harness.config.profile import RawHead
from harness.core.arrays import Floats
from harness.core.values import Case, Score, digest
from harness.models.aesthetics_predictor import Predictor, identify, load_predictor
from harness.models.embeddings import Embedder, Embeddings, open_file, open_picture
from harness.models.hub import locate, weights_hash
from harness.scoring.metrics.aesthetics import Yardstick, aesthetics_score, yardstick_of
from harness.scoring.metrics.anchors import Anchors, anchors_of_cohort, anchors_of_folder
from harness.scoring.metrics.cohort import Cohort
from harness.scoring.metrics.dino import dino_score, load_dino
from harness.scoring.metrics.protocol import Extra, MetricContext
from harness.scoring.metrics.third_party import load_metrics
from harness.scoring.references import set_hash

VERSION = 2  # of the formulas here, in aesthetics.py and in dino.py


@dataclass(frozen=True)
class Others:
    """Whom an encoder of its own is held against, as `clip` is."""

    identity: str  # of the cohort's source; "" without one
    impostors: Callable[[], Sequence[Path]]
    cohort: Callable[[], Cohort] | None


def make_extras(bench: MetricContext, others: Others) -> tuple[Extra, ...]:
    """Those that the profile names, in a fixed order."""
    models = bench.profile.models
    made: list[Extra] = []
    if rated := getattr(models, "aesthetics", None):
        made.append(AestheticsMetric(rated, bench))
    if dino := getattr(models, "dino", None):
        made.append(DinoMetric(dino, bench, others))
    if named := getattr(bench.profile, "metrics", ()):
        made += load_metrics(named, bench)
    return tuple(made)


class AestheticsMetric:
    """`aesthetics`: the published scale, calibrated on the references."""

    name = "aesthetics"

    def __init__(self, source: str | RawHead, bench: MetricContext) -> None:
        self.source, self.bench = source, bench

    @cached_property
    def identity(self) -> str:
        return digest([VERSION, identify(self.source, self.bench.models), set_hash(self.bench.gallery)])

    @cached_property
    def predictor(self) -> Predictor:
        return load_predictor(self.source, self.bench.models)

    @cached_property
    def yardstick(self) -> Yardstick:
        known = self.bench.store.memo("aesthetics_references", self.identity)
        if known is None:
            pictures = [open_file(path) for path in self.bench.gallery]
            known = [float(value) for value in self.predictor.rate(pictures)]
            self.bench.store.put_memo("aesthetics_references", self.identity, known)
        return yardstick_of(known)

    def score(
        self, items: Sequence[tuple[Case, bytes]], vectors: Floats, found: Sequence[Mapping[str, Score]]
    ) -> Sequence[Score]:
        ratings = self.predictor.rate([open_picture(data) for _, data in items])
        return [aesthetics_score(float(raw), self.yardstick) for raw in ratings]


class DinoMetric:
    """`dino`: likeness to the references by DINOv2, on the scale of `clip`."""

    name = "dino"

    def __init__(self, source: str, bench: MetricContext, others: Others) -> None:
        self.source, self.bench, self.others = source, bench, others

    @cached_property
    def model(self) -> str:
        """The hash of its weights."""
        return weights_hash(self.folder)

    @cached_property
    def folder(self) -> Path:
        return locate(self.source, self.bench.models.root, self.bench.profile.name)

    @cached_property
    def identity(self) -> str:
        return digest(
            [VERSION, self.model, set_hash(self.bench.gallery), set_hash(self.others.impostors()), self.others.identity]
        )

    @cached_property
    def embeddings(self) -> Embeddings:
        def load() -> Embedder:
            return load_dino(self.folder, self.source, self.bench.models.device)

        return Embeddings(load, self.bench.store, digest(["dino", VERSION, self.model]))

    @cached_property
    def gallery(self) -> Floats:
        return self.embeddings.files(self.bench.gallery)

    @cached_property
    def anchors(self) -> Anchors:
        """What DINO calls 0 and 1, found as for CLIP, and whether it sees who is shown."""
        files, embed, others = self.embeddings.files, self.embeddings.images, self.others
        strange, train = list(others.impostors()), list(self.bench.references().train)
        impostors = files(strange) if strange else self.gallery[:0]
        mine = files(train) if train else self.gallery[:0]
        if others.cohort is None:
            return anchors_of_folder(self.gallery, mine, impostors)
        image = self.bench.store.image
        return anchors_of_cohort(
            others.cohort(), lambda shas: embed(list(map(image, shas))), self.gallery, mine, impostors
        )

    def score(
        self, items: Sequence[tuple[Case, bytes]], vectors: Floats, found: Sequence[Mapping[str, Score]]
    ) -> Sequence[Score]:
        rows = self.embeddings.images([data for _, data in items])
        return [dino_score(row, self.gallery, self.anchors) for row in rows]
