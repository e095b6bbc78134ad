"""The pictures of a suite or a folder as they lie there, before anything is asked of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import ReferencesError
from harness.core.values import Subject
from harness.scoring.references.loading import picture_files, read_captions

SPLITS = ("train", "held_out")
OTHER_PICTURES = frozenset({".gif", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif", ".jfif"})


@dataclass(frozen=True)
class Gathered:
    """A folder's pictures, in the order of split and name."""

    folder: Path
    name: str
    trigger: str
    kind: str  # "character" or "style"
    pictures: Mapping[Path, str]  # path to split: "train", "held_out", or "" for one that lies directly in the folder
    captions: Mapping[Path, str]
    ignored: tuple[Path, ...]  # pictures of formats that are not read

    def label(self, path: Path) -> str:
        """How a picture is named to people: train/01.png."""
        return path.relative_to(self.folder).as_posix()


def gather_folder(folder: Path, name: str = "", trigger: str = "", kind: str = "character") -> Gathered:
    """The pictures directly in a folder, in its train/ and in its held_out/.

    Raises:
        ReferencesError: no such folder, or no picture in it.
    """
    if not folder.is_dir():
        raise ReferencesError(f"{folder}: no such folder; name a folder of pictures or a suite's YAML file")
    pictures = dict.fromkeys(picture_files(folder), "")
    for split in SPLITS:
        pictures |= dict.fromkeys(picture_files(folder / split), split)
    if not pictures:
        raise ReferencesError(f"{folder}: no pictures (.png, .jpg, .webp) in it, in its train/ or in its held_out/")
    places = [folder, *(folder / split for split in SPLITS)]
    ignored = [
        path
        for place in places
        if place.is_dir()
        for path in sorted(place.iterdir())
        if path.suffix.lower() in OTHER_PICTURES
    ]
    name = name or folder.resolve().name
    return Gathered(folder, name, trigger or name, kind, pictures, read_captions(pictures), tuple(ignored))


def gather_subject(subject: Subject) -> Gathered:
    """The references of a suite's subject."""
    return gather_folder(subject.references, subject.name, subject.trigger, subject.kind)
