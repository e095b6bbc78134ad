"""Whether a profile's models know pictures like these: outside of that their scores are numbers and no answers.

A summary file that a profile names (`models: domain:`) says what its models know; see `harness.models.domain`. Without
one nothing is refused, and it is said that this was not measured.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy.special import ndtr

from harness.config.profile import Profile, general_profiles
from harness.core.values import DISTANCE, DOMAIN, METRICS, Score, digest, to_record
from harness.models.domain import (
    BOUND,
    DomainSummary,
    Viewer,
    find_summary,
    kept_back,
    load_viewer,
    made_for,
    summarise,
)
from harness.models.embeddings import open_file, open_picture
from harness.models.loading import Models
from harness.scoring.metrics.ssim import grey_square
from harness.scoring.metrics.technical import find_blank
from harness.scoring.references.gather import gather_folder
from harness.store import Store

MOST = 0.5  # of a set: with more pictures outside the whole set cannot be judged
WITHHELD = (*METRICS, "prompt", "aesthetics")  # what the profile's CLIP or its references decide
SUREST = 0.999  # more than that no normal law is believed
AT_ONCE = 64  # pictures held in memory together
KIND = "domain"  # of what the store remembers


@dataclass(frozen=True)
class DomainCheck:
    """What was found of a set of pictures, or of one."""

    profile: str
    measured: bool = True  # False: the profile names no summary of what its models know
    outside: tuple[bool, ...] = ()  # a picture: unlike everything that the models know
    sure: float = 0.0  # share of the known pictures that those outside are farther off than, by their normal law
    better: tuple[str, ...] = ()  # profiles whose models are not of one world

    @property
    def count(self) -> int:
        """How many pictures are outside."""
        return sum(self.outside)

    @property
    def blind(self) -> bool:
        """Whether these models cannot judge the set."""
        return self.count > MOST * len(self.outside)

    @property
    def remedy(self) -> str:
        """Which profile could."""
        if not self.better:
            return "use a profile whose models know such pictures"
        return f"use a profile whose models know pictures of every kind: --profile {' or '.join(self.better)}"

    @property
    def sentence(self) -> str:
        """For people."""
        if not self.measured:
            return (
                f"not measured: profile {self.profile} names no summary of what its models know "
                "(`models: domain:`; `harness domain` makes one)"
            )
        total = len(self.outside)
        if not self.count:
            return f"the models of profile {self.profile} know pictures like {'this' if total == 1 else 'these'}"
        farther = f"farther off than {min(self.sure, SUREST):.1%} of it"
        unlike = f"unlike everything that the models of profile {self.profile} know ({farther})"
        if not self.blind:
            return f"{self.count} of {total} pictures are {unlike}"
        which = "it is" if total == 1 else f"{self.count} of {total} are"
        these = "this picture" if total == 1 else "these pictures"
        return f"these models cannot judge {these}: {which} {unlike}; {self.remedy}"

    @property
    def record(self) -> dict[str, object]:
        """As plain JSON data."""
        return {**to_record(self), "blind": self.blind, "sentence": self.sentence}


class DomainJudge:
    """Looks at pictures for one profile. Construction and `identity` need no torch."""

    def __init__(self, profile: Profile, models: Models, store: Store | None = None) -> None:
        """`store`: where what was found is remembered."""
        self.profile, self.models, self.store = profile, models, store

    @cached_property
    def summary(self) -> DomainSummary | None:
        """What the models know; None: the profile does not say."""
        return find_summary(self.profile, self.models)

    @cached_property
    def identity(self) -> str:
        """A hash of everything that decides what is found; "" where nothing is."""
        return digest([self.summary.sha, *self.summary.made_for]) if self.summary else ""

    def distances(self, pictures: Sequence[bytes]) -> list[float]:
        """How far beyond the bound each encoded picture is, in standard deviations of the known; above 0 is foreign."""
        if self.summary is None:
            return [-BOUND] * len(pictures)
        keys = [digest([self.identity, hashlib.sha256(data).hexdigest()]) for data in pictures]
        known = {key: self._recall(key) for key in dict.fromkeys(keys)}
        missing = {key: data for key, data in zip(keys, pictures, strict=True) if known[key] is None}
        if missing:
            for key, distance in zip(missing, self._distances(list(missing.values())), strict=True):
                known[key] = distance
                if self.store:
                    self.store.put_memo(KIND, key, distance)
        return [float(known[key] or 0.0) - BOUND for key in keys]

    def _distances(self, pictures: Sequence[bytes]) -> list[float]:
        """As the summary has them; a blank picture is a fault of its own, whatever the models know."""
        assert self.summary is not None
        images = [open_picture(data) for data in pictures]
        found = self.summary.distances(self._viewer(images))
        blank = [bool(find_blank(image, grey_square(image))) for image in images]
        return [0.0 if empty else float(distance) for empty, distance in zip(blank, found, strict=True)]

    def check(self, pictures: Sequence[bytes]) -> DomainCheck:
        """A set of encoded pictures."""
        if self.summary is None:
            return DomainCheck(getattr(self.profile, "name", ""), measured=False)
        return self.conclude(self.distances(pictures))

    def check_files(self, paths: Sequence[Path]) -> DomainCheck:
        """The same of files."""
        return self.check([path.read_bytes() for path in paths] if self.summary else [])

    def conclude(self, distances: Sequence[float]) -> DomainCheck:
        """What the pictures' distances beyond the bound say together."""
        outside = tuple(distance > 0 for distance in distances)
        some = [distance for distance in distances if distance > 0]
        sure = float(ndtr(np.median(some) + BOUND)) if some else 0.0
        return DomainCheck(self.profile.name, True, outside, sure, self._better if some else ())

    @cached_property
    def _better(self) -> tuple[str, ...]:
        return general_profiles(self.models.root, self.profile.name)

    @cached_property
    def _viewer(self) -> Viewer:
        return load_viewer(self.models)

    def _recall(self, key: str) -> float | None:
        known = self.store.memo(KIND, key) if self.store else None
        return None if known is None else float(known)


@dataclass(frozen=True)
class Summarised:
    """What a new summary was made of."""

    summarised: int
    kept_back: int
    beyond: float  # share of those kept back that lie beyond the bound


def summarise_folders(folders: Sequence[Path], models: Models, into: Path) -> Summarised:
    """Write a summary of the pictures in some folders, their train/ and held_out/ too.

    Raises:
        ModelError: too few of them.
        ReferencesError: one cannot be read, or a folder is not there.
    """
    paths = [path for folder in folders for path in gather_folder(folder).pictures]
    order = np.random.default_rng(len(paths)).permutation(len(paths))  # folders may differ, and so may their ends
    view, rows = load_viewer(models), []
    for start in range(0, len(order), AT_ONCE):
        rows.append(view([open_file(paths[place]) for place in order[start : start + AT_ONCE]]))
    features = np.concatenate(rows)
    summary = summarise(features, made_for(models, models.profile))
    summary.save(into)
    back = summary.distances(features[kept_back(len(features))])
    return Summarised(len(features) - len(back), len(back), float(np.mean(back > BOUND)))


def placed(scores: Mapping[str, Score], distance: float) -> Mapping[str, Score]:
    """A picture's scores with how far it is from what the models know, given beyond the bound."""
    known = scores["technical"]
    far = {DISTANCE: round(distance + BOUND, 4)}
    return {**scores, "technical": replace(known, details={**known.details, **far})}


def withhold(scores: Mapping[str, Score], reason: str, own: bool) -> dict[str, Score]:
    """A picture's scores without values that nobody may believe; raw numbers stay, faults of the file too.

    Args:
        reason: why the picture cannot be judged, or the references that it is held against.
        own: the picture itself is what the models do not know.
    """
    kept = {name: Score(name, None, score.raw, reason) if name in WITHHELD else score for name, score in scores.items()}
    return {**kept, DOMAIN: Score(DOMAIN, None, reason=reason)} if own else kept
