"""A mended copy of the train pictures: some left out, some captions completed, some pictures of the LoRA's own added.

The subject's own folder stays as it is.

The copy lies in the store, named by its content, so that the same mending is made once and a training can be resumed.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.core.values import Subject, Vocabulary, digest, hash_file
from harness.judging.causes.cause import Cause
from harness.models.lora.training_pictures import TrainingPicture
from harness.scoring.references import load_references
from harness.scoring.references.zero_shot import named_values
from harness.training.buckets import MASK
from harness.training.data import train_pictures
from harness.training.improve.symptoms import Readings

FEWEST = 4  # train pictures that must be left; a mending that leaves fewer is none


@dataclass(frozen=True)
class Added:
    """A picture that joins the train pictures: one that the LoRA drew itself."""

    name: str  # of the file
    data: bytes = field(repr=False)  # PNG
    caption: str  # with the trigger


@dataclass(frozen=True)
class Mending:
    """What is changed in the pictures to learn from."""

    dropped: Mapping[str, str] = field(default_factory=dict)  # file to why
    captions: Mapping[str, str] = field(default_factory=dict)  # file to its new caption, with the trigger
    added: tuple[Added, ...] = ()
    reasons: tuple[str, ...] = ()  # in words

    def __bool__(self) -> bool:
        return bool(self.dropped or self.captions or self.added)


def fix_pictures(
    causes: Sequence[Cause], readings: Readings | None, subject: Subject, vocabulary: Mapping[str, Vocabulary]
) -> Mending:
    """What the causes that lie in the pictures ask for; nothing where none does."""
    names = {cause.name for cause in causes if cause.area == "data"}
    if readings is None or not names:
        return Mending()
    study, dropped = readings.study, dict[str, str]()
    if "wrong_person" in names:
        dropped |= dict.fromkeys(study.strangers, "another person")
    if "duplicates" in names:
        for group in study.groups:
            kept = next((name for name in group if name not in dropped), group[0])
            dropped |= {name: f"repeats {kept}" for name in group if name != kept and name not in dropped}
    pictures = train_pictures(subject)
    if len(pictures) - len(dropped) < FEWEST:
        dropped = {}
    left = [picture for picture in pictures if picture.path.name not in dropped]
    captions, text = complete(left, readings, vocabulary) if names & {"one_value", "missing_captions"} else ({}, "")
    reasons = [f"{count} pictures are left out: {why}" for why, count in counted(dropped).items()]
    return Mending(dropped, captions, reasons=(*reasons, *([text] if text else [])))


def counted(dropped: Mapping[str, str]) -> dict[str, int]:
    """Reason to the number of pictures."""
    results: dict[str, int] = {}
    for why in dropped.values():
        results[why] = results.get(why, 0) + 1
    return results


def complete(
    pictures: Sequence[TrainingPicture], readings: Readings, vocabulary: Mapping[str, Vocabulary]
) -> tuple[dict[str, str], str]:
    """Captions with whatever of the scene they do not say and CLIP reads reliably, and that in words."""
    captions, added = {}, dict[str, int]()
    for picture in pictures:
        text, place = picture.caption, readings.names.index(picture.path.name)
        for category, item in readings.seen.items():
            words = vocabulary[category]
            if not named_values(text, words):
                text = f"{text}, {words.phrase(item.values[place])}"
                added[category] = added.get(category, 0) + 1
        if text != picture.caption:
            captions[picture.path.name] = text
    message = ", ".join(f"{category} in {count}" for category, count in added.items())
    return captions, f"captions now say what CLIP reads in the pictures: {message}" if message else ""


def mended_subject(subject: Subject, mending: Mending, folder: Path) -> Subject:
    """The subject with a mended copy of its references.

    Args:
        folder: in the store; the copy gets a folder of its own in it.
    """
    references = load_references(subject)
    pictures = [item for item in train_pictures(subject) if item.path.name not in mending.dropped]
    captions = {item.path: mending.captions.get(item.path.name, item.caption) for item in pictures}
    matter = [[*hashes(path), path.name, text] for path, text in captions.items()]
    matter += [[hashlib.sha256(each.data).hexdigest(), each.name, each.caption] for each in mending.added]
    home = folder / f"mended-{digest([matter, [hashes(path) for path in references.held_out]])[:12]}"
    if not home.exists():
        part = home.with_name(home.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        held_out = {path: references.captions.get(path, "") for path in references.held_out}
        for split, result in (("train", captions), ("held_out", held_out)):
            (part / split).mkdir(parents=True)
            for path, text in result.items():
                for file in with_mask(path):
                    shutil.copyfile(file, part / split / file.name)
                (part / split / path.name).with_suffix(".txt").write_text(text + "\n", encoding="utf-8")
        for each in mending.added:
            (part / "train" / each.name).write_bytes(each.data)
            (part / "train" / each.name).with_suffix(".txt").write_text(each.caption + "\n", encoding="utf-8")
        part.replace(home)
    return replace(subject, references=home, split="folders")


def with_mask(picture: Path) -> list[Path]:
    """A picture, and beside it the mask that says what of it is learnt, where there is one."""
    mask = picture.with_name(picture.stem + MASK)
    return [picture, mask] if mask.is_file() else [picture]


def hashes(picture: Path) -> list[str]:
    return [hash_file(file) for file in with_mask(picture)]
