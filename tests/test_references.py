"""Which pictures may train and which may judge."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.core.errors import ReferencesError
from harness.core.values import Subject, Trait
from harness.scoring.references import (
    TraitReading,
    extract_traits,
    load_impostors,
    load_references,
    picture_files,
    read_category,
    set_hash,
)

REFERENCES = Path(__file__).parent.parent / "references"


def subject(folder: Path, split: str = "folders") -> Subject:
    return Subject("Aldar Kose", "aldar kose", folder, split=split)


def draw(folder: Path, count: int, start: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(start, start + count):
        Image.new("RGB", (8, 8), (number, 2 * number, 3 * number)).save(folder / f"{number:02}.png")
    return folder


def test_the_shipped_references_are_twelve_and_eight_with_captions() -> None:
    found = load_references(subject(REFERENCES / "aldar_kose"))

    assert (len(found.train), len(found.held_out), len(found.captions)) == (12, 8, 20)
    assert found.gallery == found.held_out
    assert not found.leave_one_out


def test_fewer_than_eight_are_all_compared_with(tmp_path: Path) -> None:
    draw(tmp_path / "train", 3), draw(tmp_path / "held_out", 2, start=3)

    found = load_references(subject(tmp_path))

    assert found.leave_one_out
    assert len(found.gallery) == 5


def test_an_automatic_split_depends_on_content_alone(tmp_path: Path) -> None:
    one = load_references(subject(draw(tmp_path / "one", 20), "auto"))
    renamed = tmp_path / "two"
    renamed.mkdir()
    for number, path in enumerate(picture_files(tmp_path / "one")):
        shutil.copy(path, renamed / f"{99 - number:02}.png")

    two = load_references(subject(renamed, "auto"))

    assert (len(one.train), len(one.held_out)) == (12, 8)
    assert set_hash(one.held_out) == set_hash(two.held_out)
    assert not set(one.train) & set(one.held_out)


def test_a_copy_cannot_leak_into_the_other_split(tmp_path: Path) -> None:
    draw(tmp_path / "one", 10)
    shutil.copy(tmp_path / "one" / "03.png", tmp_path / "one" / "copy.png")

    found = load_references(subject(tmp_path / "one", "auto"))

    assert len(found.all) == 10


def test_one_picture_in_both_splits_is_refused(tmp_path: Path) -> None:
    draw(tmp_path / "train", 6), draw(tmp_path / "held_out", 4, start=5)

    with pytest.raises(ReferencesError, match=r"is the same picture as .*05\.png: what trains must not judge"):
        load_references(subject(tmp_path))


def test_what_is_missing_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ReferencesError, match="no such folder; put reference pictures of Aldar Kose there"):
        load_references(subject(tmp_path / "nowhere"))
    with pytest.raises(ReferencesError, match="split: auto"):
        load_references(subject(draw(tmp_path / "flat", 9)))
    with pytest.raises(ReferencesError, match="at least 2 are needed, 8 to gate"):
        load_references(subject(draw(tmp_path / "single", 1), "auto"))
    draw(tmp_path / "uneven" / "train", 9)
    with pytest.raises(ReferencesError, match=r"9 pictures in train/ and 0 in held_out/"):
        load_references(subject(tmp_path / "uneven"))


def test_impostors_must_be_there(tmp_path: Path) -> None:
    assert len(load_impostors(REFERENCES / "impostors")) == 48
    with pytest.raises(ReferencesError, match="at least 2 pictures of other subjects"):
        load_impostors(tmp_path)


def test_a_set_hash_knows_neither_names_nor_order(tmp_path: Path) -> None:
    pictures = picture_files(draw(tmp_path, 4))

    assert set_hash(pictures) == set_hash(pictures[::-1])
    assert set_hash(pictures) != set_hash(pictures[1:])


def test_the_hash_is_of_the_sorted_hashes_of_the_files() -> None:
    from harness.core.values import digest, hash_file

    pictures = load_references(subject(REFERENCES / "aldar_kose")).train

    assert set_hash(pictures) == digest(sorted(hash_file(path) for path in pictures))


def test_a_trait_is_what_the_pictures_agree_on() -> None:
    phrases = {"smiling": "smiling", "sad": "sad"}
    agreed = read_category("hair", phrases, np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6]]), identity=True)
    split = read_category("eyes", phrases, np.array([[0.9, 0.1], [0.2, 0.8]]), identity=True)
    scene = read_category("expression", phrases, np.array([[0.9, 0.1], [0.8, 0.2]]), identity=False)

    assert extract_traits([agreed, split, scene]) == (Trait("hair", "smiling", "smiling"),)
    assert split.reason == "the pictures differ: only 50% show 'smiling'"
    assert isinstance(scene, TraitReading) and scene.share == 1.0


def test_a_styles_traits_are_of_rendering_and_not_of_the_people_it_shows() -> None:
    sure = np.array([[0.9, 0.1], [0.8, 0.2]])
    hair = read_category("hair", {"short": "short hair", "long": "long hair"}, sure, identity=True)
    style = read_category("style", {"ink": "an ink style", "oil": "an oil style"}, sure, identity=False)

    assert extract_traits([hair, style], "style") == (Trait("style", "ink", "an ink style"),)
    assert extract_traits([hair, style]) == (Trait("hair", "short", "short hair"),)
