"""Metrics that a profile adds to those of every suite: aesthetics, DINOv2, and metrics of other packages.

Each sees whole batches, because models like them, and brings an identity of its own: without one a suite's scores
would not be computed anew when a head or a metric's code changes, and without any they stay what they were.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from harness.metrics.clip import clip_separation
from harness.metrics.embed import Embedder, Embeddings, open_file, open_picture
from harness.values import Case, Score, Suite, digest

if TYPE_CHECKING:
    from harness.calibrate import Floats, Separation
    from harness.metrics.aesthetics import Predictor, Yardstick
    from harness.models import Models
    from harness.profile import Profile, RawHead
    from harness.references import References
    from harness.store import Store

VERSION = 1  # of the formulas here, in aesthetics.py and in dino.py


class Extra(Protocol):
    """One added metric."""

    name: str

    @property
    def identity(self) -> str:
        """Of everything that decides its scores but the picture and the case; needs no torch."""
        ...

    def score(
        self, items: Sequence[tuple[Case, bytes]], vectors: Floats, found: Sequence[Mapping[str, Score]]
    ) -> Sequence[Score | None]:
        """One score a picture, or None where there is nothing to say of its case.

        Args:
            items: cases and encoded pictures.
            vectors: the pictures' CLIP unit vectors (n, d).
            found: what is known of each already.
        """
        ...


@dataclass(frozen=True)
class Bench:
    """What an added metric may work with; references are read only when it asks."""

    suite: Suite
    profile: Profile
    models: Models
    store: Store
    clip: Embeddings
    references: Callable[[], References]

    @property
    def gallery(self) -> tuple[Path, ...]:
        return self.references().gallery


def make_extras(bench: Bench, impostors: Callable[[], Sequence[Path]]) -> tuple[Extra, ...]:
    """Those that the profile names, in a fixed order."""
    models = bench.profile.models
    made: list[Extra] = []
    if rated := getattr(models, "aesthetics", None):
        made.append(AestheticsMetric(rated, bench))
    if dino := getattr(models, "dino", None):
        made.append(DinoMetric(dino, bench, impostors))
    if named := getattr(bench.profile, "metrics", ()):
        from harness.metrics.third_party import load_metrics

        made += load_metrics(named, bench)
    return tuple(made)


class AestheticsMetric:
    """`aesthetics`: the published scale, calibrated on the references."""

    name = "aesthetics"

    def __init__(self, source: str | RawHead, bench: Bench) -> None:
        self.source, self.bench = source, bench

    @cached_property
    def identity(self) -> str:
        from harness.metrics.aesthetics import identify
        from harness.references import set_hash

        return digest([VERSION, identify(self.source, self.bench.models), set_hash(self.bench.gallery)])

    @cached_property
    def predictor(self) -> Predictor:
        from harness.metrics.aesthetics import load_predictor

        return load_predictor(self.source, self.bench.models)

    @cached_property
    def yardstick(self) -> Yardstick:
        from harness.metrics.aesthetics import yardstick_of

        known = self.bench.store.memo("aesthetics_references", self.identity)
        if known is None:
            pictures = [open_file(path) for path in self.bench.gallery]
            known = [float(value) for value in self.predictor.rate(pictures)]
            self.bench.store.put_memo("aesthetics_references", self.identity, known)
        return yardstick_of(known)

    def score(
        self, items: Sequence[tuple[Case, bytes]], vectors: Floats, found: Sequence[Mapping[str, Score]]
    ) -> Sequence[Score]:
        from harness.metrics.aesthetics import aesthetics_score

        ratings = self.predictor.rate([open_picture(data) for _, data in items])
        return [aesthetics_score(float(raw), self.yardstick) for raw in ratings]


class DinoMetric:
    """`dino`: likeness to the references by DINOv2, on the scale of `clip`."""

    name = "dino"

    def __init__(self, source: str, bench: Bench, impostors: Callable[[], Sequence[Path]]) -> None:
        self.source, self.bench, self.impostors = source, bench, impostors

    @cached_property
    def model(self) -> str:
        """The hash of its weights."""
        from harness.metrics.hub import weights_hash

        return weights_hash(self.folder)

    @cached_property
    def folder(self) -> Path:
        from harness.metrics.hub import locate

        return locate(self.source, self.bench.models.root, self.bench.profile.name)

    @cached_property
    def identity(self) -> str:
        from harness.references import set_hash

        return digest([VERSION, self.model, set_hash(self.bench.gallery), set_hash(self.impostors())])

    @cached_property
    def embeddings(self) -> Embeddings:
        from harness.metrics.dino import load_dino

        def load() -> Embedder:
            return load_dino(self.folder, self.source, self.bench.models.device)

        return Embeddings(load, self.bench.store, digest(["dino", VERSION, self.model]))

    @cached_property
    def ground(self) -> tuple[Floats, Separation]:
        gallery = self.embeddings.files(self.bench.gallery)
        return gallery, clip_separation(gallery, self.embeddings.files(list(self.impostors())))

    def score(
        self, items: Sequence[tuple[Case, bytes]], vectors: Floats, found: Sequence[Mapping[str, Score]]
    ) -> Sequence[Score]:
        from harness.metrics.dino import dino_score

        gallery, separation = self.ground
        rows = self.embeddings.images([data for _, data in items])
        return [dino_score(row, gallery, separation) for row in rows]
