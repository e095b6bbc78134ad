"""A mended copy of the train pictures holds all that their training reads."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from harness.scoring.references.loading import picture_files
from harness.training.buckets import MASK
from harness.training.improve.data_fixes import Mending, mended_subject
from tests.tiny import save_subject

MENDING = Mending({"05.png": "another person"})


def save_mask(folder: Path, name: str, value: int) -> None:
    Image.new("L", (40, 48), value).save(folder / f"{name}{MASK}")


def test_masks_come_along_with_their_pictures(tmp_path: Path) -> None:
    subject = save_subject(tmp_path, train=6)
    for split, name in (("train", "00"), ("train", "05"), ("held_out", "01")):
        save_mask(subject.references / split, name, 9)

    copy = mended_subject(subject, MENDING, tmp_path / "store").references

    assert sorted(path.name for path in copy.rglob(f"*{MASK}")) == ["00.mask.png", "01.mask.png"]
    source = subject.references / "train" / "00.mask.png"
    assert (copy / "train" / "00.mask.png").read_bytes() == source.read_bytes()
    assert [path.name for path in picture_files(copy / "train")] == [f"{number:02d}.png" for number in range(5)]


def test_another_mask_makes_another_copy(tmp_path: Path) -> None:
    subject = save_subject(tmp_path, train=6)
    homes = [mended_subject(subject, MENDING, tmp_path / "store").references]
    for split, value in (("train", 0), ("train", 255), ("held_out", 0)):
        save_mask(subject.references / split, "00", value)
        homes.append(mended_subject(subject, MENDING, tmp_path / "store").references)
    save_mask(subject.references / "train", "05", 0)  # of a picture that is left out

    assert len(set(homes)) == 4
    assert mended_subject(subject, MENDING, tmp_path / "store").references == homes[-1]
