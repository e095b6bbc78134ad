"""How good are the pictures of a folder, whoever drew them? No suite, no store, nothing is drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from harness.core.arrays import Floats
from harness.core.errors import ReferencesError, UsageError
from harness.core.values import hash_file, to_record
from harness.models.aesthetics_predictor import load_predictor
from harness.models.embeddings import open_file
from harness.models.loading import Models
from harness.scoring.metrics.aesthetics import LEAST, MOST
from harness.scoring.metrics.clip import clip_separation
from harness.scoring.metrics.ssim import grey_square, sharpness
from harness.scoring.metrics.technical import contrast, find_faults
from harness.scoring.references import picture_files

AT_ONCE = 32  # pictures held in memory together


@dataclass(frozen=True)
class PictureScore:
    """One picture. None: not asked for."""

    name: str  # the file's
    sha: str  # SHA-256 of its bytes
    width: int
    height: int
    sharpness: float  # variance of the Laplacian at 256 x 256 grey
    aesthetics: float | None = None  # published scale, 1 to 10; what the head puts beyond it stands at its end
    similarity: float | None = None  # mean CLIP cosine to the references
    likeness: float | None = None  # the same between impostors (0) and the references themselves (1), unclipped
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class FolderScore:
    """All pictures of a folder."""

    folder: str
    pictures: tuple[PictureScore, ...]
    unreadable: dict[str, str] = field(default_factory=dict)  # file to why
    notes: tuple[str, ...] = ()  # what was not measured, and why

    def mean(self, name: str) -> float | None:
        """Of one number over the pictures that have it."""
        values = [value for picture in self.pictures if (value := getattr(picture, name)) is not None]
        return float(np.mean(values)) if values else None

    @property
    def record(self) -> dict[str, object]:
        """As plain JSON data."""
        means = {name: self.mean(name) for name in NUMBERS}
        return {**to_record(self), "mean": means, "faulty": sum(bool(picture.faults) for picture in self.pictures)}


NUMBERS = ("aesthetics", "sharpness", "similarity", "likeness")


@dataclass(frozen=True)
class Reference:
    """Pictures that others are held against."""

    vectors: Floats  # CLIP unit vectors (n, d)
    sharpness: float  # of the blurriest
    contrast: float  # of the flattest
    scale: Callable[[float], float] | None  # a mean cosine between impostors (0) and these pictures (1)


def score_folder(folder: Path, models: Models, reference: Path | None = None) -> FolderScore:
    """Rate every picture directly in a folder; one that cannot be read is reported and left out.

    Args:
        reference: a folder of pictures of the subject, two at least.

    Raises:
        UsageError: no such folder, no picture in it, or too few references.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: there is no such folder")
    files = picture_files(folder)
    if not files:
        raise UsageError(f"{folder}: no picture in it (.png, .jpg, .jpeg or .webp)")
    held = load_reference(reference, models) if reference else None
    rate, note = rater(models)
    pictures: list[PictureScore] = []
    unreadable: dict[str, str] = {}
    for start in range(0, len(files), AT_ONCE):
        opened = {path: result for path in files[start : start + AT_ONCE] if (result := try_open(path, unreadable))}
        pictures += score_some(opened, rate, held, models)
    notes = [
        note,
        "" if held else "without --reference only blank pictures are called faulty: nothing says what is sharp",
    ]
    return FolderScore(str(folder), tuple(pictures), unreadable, tuple(filter(None, notes)))


def score_some(
    opened: dict[Path, Image.Image],
    rate: Callable[[Sequence[Image.Image]], Floats] | None,
    held: Reference | None,
    models: Models,
) -> list[PictureScore]:
    """Some pictures, together."""
    images = list(opened.values())
    ratings: list[float | None] = (
        [float(value) for value in np.clip(rate(images), LEAST, MOST)] if rate and images else [None] * len(images)
    )
    nearness: list[float | None] = [None] * len(images)
    if held and images:
        nearness = [float(value) for value in (models.clip().embed_images(images) @ held.vectors.T).mean(1)]
    scores = []
    for (path, image), rating, near in zip(opened.items(), ratings, nearness, strict=True):
        least = (held.sharpness, held.contrast) if held else (0.0, 0.0)
        likeness = held.scale(near) if held and held.scale and near is not None else None
        scores.append(
            PictureScore(
                path.name,
                hash_file(path),
                *image.size,
                sharpness=sharpness(grey_square(image)),
                aesthetics=rating,
                similarity=near,
                likeness=likeness,
                faults=tuple(fault["message"] for fault in find_faults(image, None, *least)),
            )
        )
    return scores


def try_open(path: Path, unreadable: dict[str, str]) -> Image.Image | None:
    """The picture as RGB, or None with the reason noted."""
    try:
        return open_file(path)
    except ReferencesError as error:
        why = error.__cause__  # the table names the file itself
        unreadable[path.name] = "not a picture" if isinstance(why, UnidentifiedImageError) else str(why)
        return None


def rater(models: Models) -> tuple[Callable[[Sequence[Image.Image]], Floats] | None, str]:
    """What rates pictures, or why nothing does."""
    source = models.profile.models.aesthetics
    if source is None:
        return None, f"profile {models.profile.name} names no `models.aesthetics`: pictures are not rated"
    return load_predictor(source, models).rate, ""


def load_reference(folder: Path, models: Models) -> Reference:
    """The pictures of a folder, or of its held_out/ and train/ where it is split."""
    paths = picture_files(folder) or [*picture_files(folder / "held_out"), *picture_files(folder / "train")]
    if len(paths) < 2:
        raise UsageError(f"--reference {folder}: {len(paths)} pictures; 2 are needed at least")
    images = [open_file(path) for path in paths]
    greys = [grey_square(image) for image in images]
    vectors = models.clip().embed_images(images)
    impostors = picture_files(models.profile.impostors) if models.profile.impostors else []
    scale = None
    if impostors:
        others = models.clip().embed_images([open_file(path) for path in impostors])
        scale = clip_separation(vectors, others).scale
    return Reference(vectors, min(map(sharpness, greys)), min(map(contrast, greys)), scale)


def show(found: FolderScore) -> str:
    """A table for people, the mean last."""
    shown = [name for name in NUMBERS if found.mean(name) is not None]
    width = max(len("mean"), *(len(picture.name) for picture in found.pictures)) if found.pictures else 4
    lines = ["  ".join([f"{'picture':{width}}", *(f"{name:>10}" for name in shown), "faults"])]
    for picture in found.pictures:
        numbers = [figure(name, getattr(picture, name)) for name in shown]
        lines.append("  ".join([f"{picture.name:{width}}", *numbers, "; ".join(picture.faults) or "-"]))
    faulty = sum(bool(picture.faults) for picture in found.pictures)
    means = [figure(name, found.mean(name)) for name in shown]
    lines.append("  ".join([f"{'mean':{width}}", *means, f"{faulty} of {len(found.pictures)}"]))
    lines += [f"could not be read: {name}: {reason}" for name, reason in found.unreadable.items()]
    return "\n".join([*lines, *(f"note: {note}" for note in found.notes)])


def figure(name: str, value: float | None) -> str:
    return f"{'-' if value is None else format(value, '.0f' if name == 'sharpness' else '.2f'):>10}"
