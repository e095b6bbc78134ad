"""Finds the reference pictures of a subject and keeps what trains apart from what judges."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import ReferencesError
from harness.core.stats.calibration import LEAST_PICTURES
from harness.core.values import Subject, digest, hash_file
from harness.scoring.references.splitting import LEAST_HELD_OUT, split_pictures

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp"})


@dataclass(frozen=True)
class References:
    """The pictures of one subject, each in exactly one split."""

    train: tuple[Path, ...]  # what trainer, trait extraction and copy check may see
    held_out: tuple[Path, ...]  # what scores and calibration see
    captions: Mapping[Path, str]  # of the pictures with a .txt file beside them
    leave_one_out: bool = False  # too few to split: `gallery` is all of them, and nothing may gate

    @property
    def all(self) -> tuple[Path, ...]:
        return (*self.train, *(path for path in self.held_out if path not in self.train))

    @property
    def gallery(self) -> tuple[Path, ...]:
        """The pictures that a sample is compared with."""
        return self.all if self.leave_one_out else self.held_out


def load_references(subject: Subject) -> References:
    """The subject's references: `train/` and `held_out/`, or all pictures of the folder split by their content.

    Raises:
        ReferencesError: no folder, fewer than two pictures, an empty split, or one picture in both splits.
    """
    folder = subject.references
    if not folder.is_dir():
        raise ReferencesError(f"{folder}: no such folder; put reference pictures of {subject.name} there")
    if subject.split == "auto":
        pictures = picture_files(folder) or [*picture_files(folder / "train"), *picture_files(folder / "held_out")]
        train, held_out = split_pictures(pictures)
    else:
        train, held_out = picture_files(folder / "train"), picture_files(folder / "held_out")
        if not train and not held_out and picture_files(folder):
            raise ReferencesError(f"{folder}: no train/ and held_out/; make them, or write `split: auto` in the suite")
    return check_split(folder, train, held_out)


def check_split(folder: Path, train: Sequence[Path], held_out: Sequence[Path]) -> References:
    """The two splits as References, or the reason why they cannot be."""
    total = len(train) + len(held_out)
    if total < 2:
        raise ReferencesError(f"{folder}: {total} reference pictures; at least 2 are needed, {LEAST_PICTURES} to gate")
    known = {hash_file(path): path for path in train}
    for path in held_out:
        if twin := known.get(hash_file(path)):
            raise ReferencesError(
                f"{path} is the same picture as {twin}: what trains must not judge; remove it from one of the splits"
            )
    few = total < LEAST_PICTURES
    if not few and (not train or len(held_out) < LEAST_HELD_OUT):
        raise ReferencesError(
            f"{folder}: {len(train)} pictures in train/ and {len(held_out)} in held_out/; "
            f"at least 1 and {LEAST_HELD_OUT} are needed: move some, or write `split: auto` in the suite"
        )
    return References(tuple(train), tuple(held_out), read_captions([*train, *held_out]), leave_one_out=few)


def picture_files(folder: Path) -> list[Path]:
    """The pictures directly in a folder, by name; hidden files and NAME.mask.png are none. [] without the folder."""
    if not folder.is_dir():
        return []
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES
        and not path.name.startswith(".")
        and not path.stem.endswith(".mask")  # what of a picture counts in training
        and path.is_file()
    )


def read_captions(pictures: Iterable[Path]) -> dict[Path, str]:
    """The text beside each picture that has one.

    Raises:
        ReferencesError: a caption is not UTF-8, or cannot be read.
    """
    beside = {path: path.with_suffix(".txt") for path in pictures}
    texts = {path: read_caption(text) for path, text in beside.items() if text.is_file()}
    return {path: text for path, text in texts.items() if text}


def read_caption(path: Path) -> str:
    """One caption, its byte order mark and outer spaces taken away."""
    try:
        return path.read_text(encoding="utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise ReferencesError(f"{path}: not UTF-8 (byte {error.start + 1}); save the caption as UTF-8") from error
    except OSError as error:
        raise ReferencesError(f"{path}: cannot be read ({error.strerror or error})") from error


def load_impostors(folder: Path) -> tuple[Path, ...]:
    """The frozen pictures of others.

    Raises:
        ReferencesError: fewer than two of them, so there is nothing to call 0.
    """
    pictures = tuple(picture_files(folder))
    if len(pictures) < 2:
        raise ReferencesError(
            f"{folder}: {len(pictures)} impostor pictures; scores need at least 2 pictures of other subjects "
            "(`impostors` in the profile or the suite)"
        )
    return pictures


def set_hash(pictures: Iterable[Path]) -> str:
    """One hash for a set of pictures, whatever their names and order; a trained LoRA's metadata carry it."""
    return digest(sorted(hash_file(path) for path in pictures))
