"""The alternative to a LoRA: what the base draws without it, whom every score is held against.

*Strangers* are the class word in scenes that no suite uses, *lookalikes* the same scenes and seeds with the subject's
description spelled out, and *redrawn references* are the train pictures repainted by the base: style, palette and
composition stay, who they show fades. All of them come from the model under test, so they stand in its domain, whatever
that is. They are drawn once for a base, a subject's train pictures and its description.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from io import BytesIO
from itertools import cycle, islice
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from harness.config.local_options import LocalOptions
from harness.config.profile import Profile, local_options
from harness.config.prompts.subject import describe_subject
from harness.core.errors import ModelError
from harness.core.values import Case, Outcome, Request, Sample, Suite, Trait, Vocabulary, digest, hash_file, to_record
from harness.models.embeddings import open_file
from harness.models.loading import Models
from harness.models.redrawing import redraw
from harness.models.requests import base_request
from harness.store import Store

VERSION = 1  # of what is drawn: raise it, and cohorts are drawn anew
STRENGTHS = (0.1, 0.5, 0.9)  # of the redrawn references: from through the models and unchanged to somebody else
COUNT = 16  # strangers, lookalikes, and redrawn references of each strength
SEED = 7_700_000  # of the first of them; suites count from their own, which are small

Draw = Callable[[Sequence[Request]], Sequence[Image.Image | None]]


@dataclass(frozen=True)
class Cohort:
    """Pictures of the alternative, by the SHA-256 under which the store holds them."""

    strangers: tuple[str, ...]
    lookalikes: tuple[str, ...]  # () without a description
    redrawn: Mapping[float, tuple[str, ...]]  # strength to pictures, in the order of `redrawn_from`
    redrawn_from: tuple[Path, ...] = ()  # train pictures, some more than once where there are few

    @property
    def groups(self) -> dict[str, tuple[str, ...]]:
        """Each kind of others by name; references redrawn until somebody else stands there."""
        last = self.redrawn[max(self.redrawn)] if self.redrawn else ()
        return {"strangers": self.strangers, "lookalikes": self.lookalikes, "redrawn references": last}


class CohortSource(Protocol):
    """What draws a cohort; `LocalCohort` is one."""

    @property
    def identity(self) -> str: ...

    def draw(self, traits: Sequence[Trait], train: Sequence[Path]) -> Cohort: ...


@dataclass(frozen=True)
class LocalCohort:
    """Where the cohort of one suite comes from: this machine's base, as the provider under test uses it."""

    suite: Suite
    profile: Profile
    options: LocalOptions
    models: Models
    store: Store
    tell: Callable[[str], None] = lambda text: None

    @cached_property
    def identity(self) -> str:
        """A hash of everything that decides the cohort but the subject's description and pictures."""
        words = {name: to_record(known) for name, known in self.profile.vocabulary.items() if not known.identity}
        return digest([VERSION, self.ask("", 0).key, words, STRENGTHS, COUNT, SEED])

    def draw(self, traits: Sequence[Trait], train: Sequence[Path]) -> Cohort:
        """The cohort, from the store as far as it is there.

        Args:
            traits: the description, () where there is none.
            train: pictures that are redrawn.

        Raises:
            ModelError: the base is not here, or draws NaN.
        """
        vocabulary, train = self.profile.vocabulary, tuple(islice(cycle(train), COUNT))
        scenes = list(enumerate(scene_cases(self.suite, vocabulary, {trait.category for trait in traits}), SEED))
        unknown = [self.ask(describe_subject(self.suite, case, (), vocabulary), seed) for seed, case in scenes]
        described = [self.ask(describe_subject(self.suite, case, traits, vocabulary), seed) for seed, case in scenes]
        self.announce([*unknown, *(described if traits else [])], train)
        redrawn = {strength: self.redraw(train, strength) for strength in STRENGTHS}
        return Cohort(self.plain(unknown), self.plain(described) if traits else (), redrawn, train)

    def announce(self, requests: Sequence[Request], train: Sequence[Path]) -> None:
        """Say what is drawn once, where the most of it is not there."""
        if len(self.store.samples([request.key for request in requests])) < len(requests):
            total = len(requests) + len(STRENGTHS) * len(train)
            self.tell(
                f"{self.suite.name}: first the base draws {total} pictures without the LoRA, which scores are held "
                "against; once for this base, description and train pictures (`harness calibrate --freeze` keeps them)"
            )

    def ask(self, prompt: str, seed: int) -> Request:
        return base_request(self.profile, self.models, self.options, prompt, self.suite.negative, seed)

    def plain(self, requests: Sequence[Request]) -> tuple[str, ...]:
        return draw_missing(requests, self.store, lambda part: self.models.pipeline().draw(part))

    def redraw(self, files: Sequence[Path], strength: float) -> tuple[str, ...]:
        """The files' pictures repainted under the class word."""
        word = describe_subject(self.suite, Case(self.suite.name, "unknown", self.suite.subject.trigger), (), {})
        asked = [redrawn_request(self.ask(word, seed), path, strength) for seed, path in enumerate(files, SEED)]
        known = {request.key: path for request, path in zip(asked, files, strict=True)}

        def repaint(part: Sequence[Request]) -> Sequence[Image.Image | None]:
            pictures = [open_file(known[request.key]) for request in part]
            return redraw(self.models.pipeline(), part, pictures, strength)

        return draw_missing(asked, self.store, repaint)


def cohort_of(
    suite: Suite, profile: Profile, models: Models, store: Store, tell: Callable[[str], None] = lambda text: None
) -> LocalCohort | None:
    """The cohort of a suite whose LoRA under test is drawn on this machine; None where no base of ours draws.

    A base that is not here draws nothing either, and a folder of impostors then is all there is; without one the error
    says where the base is missing.

    Args:
        tell: hears once that much will be drawn.
    """
    local = [name for name in suite.gate if name in profile.providers and profile.providers[name].adapter == "local"]
    if not local or not (is_here(models) or own_impostors(suite, profile) is None):
        return None
    options = replace(local_options(profile, local[0]), blur=0.0)  # what spoils pictures on purpose is no base's
    return LocalCohort(suite, profile, options, models, store, tell)


def own_impostors(suite: Suite, profile: Profile) -> Path | None:
    """The folder of pictures of others that the suite or else the profile names."""
    return suite.subject.impostors or profile.impostors


def is_here(models: Models) -> bool:
    """Whether the base is on this machine: a run of services alone needs none."""
    try:
        return bool(models.base_hash())
    except ModelError:
        return False


def scene_cases(suite: Suite, vocabulary: Mapping[str, Vocabulary], described: Collection[str] = ()) -> list[Case]:
    """Prompts with the trigger in scenes of the profile's own words.

    Args:
        described: categories of the subject's description, of which a scene says nothing: of a style, its style.
    """
    rng = np.random.default_rng(SEED)
    scenes = [
        words
        for name, words in vocabulary.items()
        if not words.identity and name not in described and len(words.alternatives) > 1
    ]
    cases = []
    for number in range(COUNT):
        phrases = [words.phrase(str(rng.choice(list(words.alternatives)))) for words in scenes]
        cases.append(Case(suite.name, f"cohort-{number}", ", ".join([suite.subject.trigger, *phrases])))
    return cases


def redrawn_request(request: Request, path: Path, strength: float) -> Request:
    """The request of a picture redrawn: it depends on that picture, and on how much of it is kept."""
    return replace(request, extra={**request.extra, "redrawn": hash_file(path), "strength": strength})


def draw_missing(requests: Sequence[Request], store: Store, draw: Draw) -> tuple[str, ...]:
    """The SHA-256 of each request's picture; those that the store lacks are drawn in the request's batches."""
    known = store.samples([request.key for request in requests])
    missing = [request for request in requests if request.key not in known]
    size = max(1, requests[0].batch) if requests else 1
    for start in range(0, len(missing), size):
        part = missing[start : start + size]
        for request, picture in zip(part, draw(part), strict=True):
            if picture is None:
                raise ModelError(f"the model produced NaN at {request.dtype}; set `dtype: float32` in the profile")
            sample = Sample(request.key, request.seed, Outcome.OK, store.put_image(png(picture)))
            store.put_sample(request, sample)
            known[request.key] = sample
    return tuple(str(known[request.key].image) for request in requests)


def png(picture: Image.Image) -> bytes:
    """Encoded without loss."""
    buffer = BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()
