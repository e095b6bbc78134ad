"""How good are the pictures of a folder, whoever drew them? No suite, no store, nothing is drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from harness.core.arrays import Floats
from harness.core.errors import ReferencesError, UsageError
from harness.core.values import hash_file, to_record
from harness.models.aesthetics_predictor import load_predictor
from harness.models.embeddings import open_file, size_of
from harness.models.loading import Models
from harness.scoring.domain import DomainCheck, DomainJudge
from harness.scoring.metrics.aesthetics import LEAST, MOST
from harness.scoring.metrics.clip import clip_separation
from harness.scoring.metrics.ssim import SIDE, common_sampling, grey_square, sharpness
from harness.scoring.metrics.technical import BLANK_WORDS, contrast, find_faults
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
    likeness: float | None = None  # the same between impostors (0) and the references themselves (1)
    faults: tuple[str, ...] = ()
    unclipped: float | None = None  # likeness before it is cut to [0, 1], for differences
    blind: str = ""  # why the models cannot judge it: then nothing but its sharpness is told


@dataclass(frozen=True)
class FolderScore:
    """All pictures of a folder."""

    folder: str
    pictures: tuple[PictureScore, ...]
    unreadable: dict[str, str] = field(default_factory=dict)  # file to why
    notes: tuple[str, ...] = ()  # what was not measured, and why
    blind: str = ""  # why the models cannot judge these pictures, or the references

    def mean(self, name: str) -> float | None:
        """Of one number over the pictures that have it."""
        values = [value for picture in self.pictures if (value := getattr(picture, name)) is not None]
        return float(np.mean(values)) if values else None

    @property
    def record(self) -> dict[str, object]:
        """As plain JSON data."""
        means = {name: self.mean(name) for name in NUMBERS}
        counts = {name: sum(bool(getattr(picture, name)) for picture in self.pictures) for name in ("faults", "blind")}
        return {**to_record(self), "mean": means, "faulty": counts["faults"], "outside": counts["blind"]}


NUMBERS = ("aesthetics", "sharpness", "similarity", "likeness")


@dataclass(frozen=True)
class Reference:
    """Pictures that others are held against."""

    vectors: Floats  # CLIP unit vectors (n, d)
    sharpness: float  # of the blurriest
    contrast: float  # of the flattest
    scale: Callable[[float], float] | None  # a mean cosine between impostors (0) and these pictures (1)
    sampling: int = SIDE  # pixels a side at which those were measured, as the pictures will be
    blind: str = ""  # why the models cannot judge them


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
    judge = DomainJudge(models.profile, models)
    held = load_reference(reference, models, judge, files) if reference else None
    rate, note = rater(models)
    pictures: list[PictureScore] = []
    unreadable: dict[str, str] = {}
    for start in range(0, len(files), AT_ONCE):
        opened = {path: result for path in files[start : start + AT_ONCE] if (result := try_open(path, unreadable))}
        looks = [judge.conclude([far]) for far in judge.distances([path.read_bytes() for path in opened])]
        pictures += map(told, score_some(opened, rate, held, models), looks)
    whole = judge.check_files([folder / picture.name for picture in pictures])
    if whole.blind:  # the few that look familiar among many foreign ones are no more to be believed
        pictures = [told(picture, whole) for picture in pictures]
    notes = [
        note,
        "" if held else "without --reference only blank pictures are called faulty: nothing says what is sharp",
        "" if whole.measured else f"whether these models know such pictures was {whole.sentence}",
    ]
    blind = whole.sentence if whole.blind else held.blind if held else ""
    return FolderScore(str(folder), tuple(pictures), unreadable, tuple(filter(None, notes)), blind)


def told(score: PictureScore, look: DomainCheck) -> PictureScore:
    """Without what models say of a picture that they do not know."""
    if not look.blind:
        return score
    blank = tuple(fault for fault in score.faults if fault.startswith(BLANK_WORDS))
    return replace(
        score,
        aesthetics=None,
        similarity=None,
        likeness=None,
        unclipped=None,
        faults=blank,
        blind=score.blind or look.sentence,
    )


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
        least = (held.sharpness, held.contrast, held.sampling) if held else (0.0, 0.0)
        whole = held.scale(near) if held and held.scale and not held.blind and near is not None else None
        scores.append(
            PictureScore(
                path.name,
                hash_file(path),
                *image.size,
                sharpness=sharpness(grey_square(image, held.sampling if held else SIDE)),
                aesthetics=rating,
                similarity=near,
                likeness=None if whole is None else min(1.0, max(0.0, whole)),
                unclipped=whole,
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


def load_reference(folder: Path, models: Models, judge: DomainJudge, files: Sequence[Path]) -> Reference:
    """The pictures of a folder, or of its held_out/ and train/ where it is split.

    Args:
        files: the pictures that will be held against them; those that cannot be read are left out.
    """
    paths = picture_files(folder) or [*picture_files(folder / "held_out"), *picture_files(folder / "train")]
    if len(paths) < 2:
        raise UsageError(f"--reference {folder}: {len(paths)} pictures; 2 are needed at least")
    images = [open_file(path) for path in paths]
    sides = [min(size_of(path)) for path in files if is_picture(path)]
    usual = int(np.median(sides)) if sides else SIDE
    sampling = common_sampling((usual, usual), [image.size for image in images])
    greys = [grey_square(image, sampling) for image in images]
    vectors = models.clip().embed_images(images)
    impostors = picture_files(models.profile.impostors) if models.profile.impostors else []
    scale = None
    if impostors:
        others = models.clip().embed_images([open_file(path) for path in impostors])
        scale = clip_separation(vectors, others).scale
    found = judge.check_files(paths)
    blind = f"the references: {found.sentence}" if found.blind else ""
    return Reference(vectors, min(map(sharpness, greys)), min(map(contrast, greys)), scale, sampling, blind)


def is_picture(path: Path) -> bool:
    try:
        return bool(size_of(path))
    except ReferencesError:
        return False


def show(found: FolderScore) -> str:
    """A table for people, the mean last."""
    shown = [name for name in NUMBERS if found.mean(name) is not None]
    width = max(len("mean"), *(len(picture.name) for picture in found.pictures)) if found.pictures else 4
    lines = ["  ".join([f"{'picture':{width}}", *(f"{name:>10}" for name in shown), "faults"])]
    for picture in found.pictures:
        numbers = [figure(name, getattr(picture, name)) for name in shown]
        words = [*picture.faults, *(["cannot judge"] if picture.blind else [])]
        lines.append("  ".join([f"{picture.name:{width}}", *numbers, "; ".join(words) or "-"]))
    faulty = sum(bool(picture.faults) for picture in found.pictures)
    means = [figure(name, found.mean(name)) for name in shown]
    lines.append("  ".join([f"{'mean':{width}}", *means, f"{faulty} of {len(found.pictures)}"]))
    lines += [f"could not be read: {name}: {reason}" for name, reason in found.unreadable.items()]
    lines = [found.blind, *lines] if found.blind else lines
    return "\n".join([*lines, *(f"note: {note}" for note in found.notes)])


def figure(name: str, value: float | None) -> str:
    return f"{'-' if value is None else format(value, '.0f' if name == 'sharpness' else '.2f'):>10}"
