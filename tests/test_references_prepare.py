"""Pictures made ready, divided and described; the originals stay as they are."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps

from harness.core.errors import UsageError
from harness.core.values import Trait, hash_file
from harness.scoring.references import picture_files
from harness.scoring.references.analyse import training_prompt
from harness.scoring.references.duplicates import take_fingerprint
from harness.scoring.references.gather import gather_folder
from harness.scoring.references.prepare import PrepareOptions, bucket_sizes, find_subject, prepare_references
from harness.scoring.references.splitting import choose_held_out, split_pictures
from harness.world.people import random_person
from harness.world.render import render
from tests import command_line
from tests.support import ROOT
from tests.test_references_check import cut, draw_set


def call(*words: str) -> int:
    """`harness references ...`."""
    return command_line.call("references", *words)


def tree(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hash_file(path) for path in sorted(folder.rglob("*")) if path.is_file()
    }


def portrait() -> Image.Image:
    rng = np.random.default_rng(5)
    return render(random_person(rng), scene_of(rng), 1)


def scene_of(rng: np.random.Generator) -> object:
    from harness.world.people import random_scene

    return random_scene(rng)


# --- prepare ------------------------------------------------------------------------------------------------------


def test_the_subject_of_a_large_picture_is_found_and_cropped_to(tmp_path: Path) -> None:
    ground = Image.new("RGB", (400, 300), (200, 210, 215))
    ground.paste(portrait(), (280, 90))
    (tmp_path / "in").mkdir()
    ground.save(tmp_path / "in" / "a.png")

    box = find_subject(ground)
    done = list(prepare_references(gather_folder(tmp_path / "in"), tmp_path / "out", PrepareOptions(size=(96, 96))))

    assert box is not None
    assert abs(box.left - 280 / 400) < 0.03 and abs(box.right - 376 / 400) < 0.03
    made = Image.open(tmp_path / "out" / "a.png")
    assert made.size == (96, 96)
    assert done[0].steps[0].startswith("cropped to 11")


def test_metadata_goes_and_orientation_and_captions_stay(tmp_path: Path) -> None:
    source = tmp_path / "in" / "train"
    source.mkdir(parents=True)
    picture = portrait().resize((192, 192))
    exif = Image.Exif()
    exif[274], exif[315] = 6, "somebody"
    picture.transpose(Image.Transpose.ROTATE_90).save(source / "a.jpg", exif=exif, quality=95)
    (source / "a.txt").write_text("zed, smiling\n", encoding="utf-8")
    before = tree(tmp_path / "in")

    done = list(
        prepare_references(gather_folder(tmp_path / "in"), tmp_path / "out", PrepareOptions("centre", (96, 96)))
    )

    made = Image.open(tmp_path / "out" / "train" / "a.png")
    assert "turned upright" in done[0].steps
    assert not made.getexif() and set(made.info) == set()
    wanted = np.asarray(picture.resize((96, 96), Image.Resampling.LANCZOS), float)
    assert np.abs(np.asarray(made, float) - wanted).mean() < 8
    assert (tmp_path / "out" / "train" / "a.txt").read_text(encoding="utf-8") == "zed, smiling\n"
    assert tree(tmp_path / "in") == before


def test_nothing_is_cut_without_a_crop_and_bars_go(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    wide = Image.new("RGB", (200, 96), (40, 90, 60))
    wide.paste(portrait(), (0, 0)), wide.paste(ImageOps.mirror(portrait()), (104, 0))
    wide.save(tmp_path / "in" / "wide.png")
    boxed = portrait()
    ImageDraw.Draw(boxed).rectangle((0, 0, 96, 9), fill="black")
    ImageDraw.Draw(boxed).rectangle((0, 86, 96, 96), fill="black")
    boxed.save(tmp_path / "in" / "boxed.png")

    done = {
        item.source: item.steps
        for item in prepare_references(
            gather_folder(tmp_path / "in"), tmp_path / "out", PrepareOptions("none", (96, 96))
        )
    }

    assert done["wide.png"][-1] == "padded to 96x96"
    assert done["boxed.png"][0] == "bars cut off at top and bottom"
    assert Image.open(tmp_path / "out" / "wide.png").size == (96, 96)


def test_the_same_call_again_has_nothing_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = draw_set(tmp_path / "in", count=4)
    words = ("prepare", str(folder), "--into", str(tmp_path / "out"), "--size", "64")
    assert call(*words) == 0
    first = tree(tmp_path / "out")
    capsys.readouterr()

    assert call(*words) == 0

    assert "nothing to do" in capsys.readouterr().out
    assert tree(tmp_path / "out") == first
    (folder / "01.png").write_bytes((folder / "02.png").read_bytes())
    done = list(prepare_references(gather_folder(folder), tmp_path / "out", PrepareOptions(size=(64, 64))))
    assert [item.source for item in done if item.state == "made"] == ["01.png"]


def test_originals_are_never_in_reach(tmp_path: Path) -> None:
    folder = draw_set(tmp_path / "in", count=2)
    for into in (folder, folder / "deeper", tmp_path):
        with pytest.raises(UsageError, match="originals are never overwritten"):
            list(prepare_references(gather_folder(folder), into, PrepareOptions(size=(64, 64))))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "00.png").write_bytes(b"precious")

    with pytest.raises(UsageError, match="was not made by this command"):
        list(prepare_references(gather_folder(folder), tmp_path / "mine", PrepareOptions(size=(64, 64))))
    assert (tmp_path / "mine" / "00.png").read_bytes() == b"precious"


def test_buckets_have_one_area_and_fit_the_trainer() -> None:
    sizes = bucket_sizes((1024, 1024))

    assert {(1024, 1024), (832, 1216), (1216, 832), (768, 1344)} <= set(sizes)
    assert all(width % 64 == height % 64 == 0 and 0.85 < width * height / 1024**2 <= 1 for width, height in sizes)
    assert all(width % 8 == height % 8 == 0 for width, height in bucket_sizes((96, 96)))


# --- split --------------------------------------------------------------------------------------------------------


def test_copies_never_straddle(tmp_path: Path) -> None:
    folder = draw_set(tmp_path / "set", count=12)
    for number in range(8):
        with Image.open(folder / f"{number:02}.png") as opened:
            picture = opened.convert("RGB")
        changed = (cut(picture), ImageOps.mirror(picture), picture.resize((64, 64)))[number % 3]
        changed.save(folder / f"{number:02}-copy.png")

    train, held = split_pictures(picture_files(folder))

    assert {path.stem[:2] for path in train} & {path.stem[:2] for path in held} == set()
    assert len(held) == 8


def test_both_splits_see_every_cluster_that_a_model_sees(tmp_path: Path) -> None:
    """Twenty pictures of four kinds, one of them with two pictures; two copies of one kind stay together."""
    prints = [take_fingerprint(path) for path in picture_files(draw_set(tmp_path / "in", count=20))]
    kinds = np.array([0] * 9 + [1] * 5 + [2] * 4 + [3] * 2)
    vectors = np.eye(8)[kinds] + np.random.default_rng(0).normal(0, 0.05, (20, 8))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)

    held = choose_held_out(prints, alike=[(9, 10)], vectors=vectors)

    assert set(kinds[held]) == {0, 1, 2, 3} == set(np.delete(kinds, held)), "either part has every kind"
    assert len(held) == 8 and (9 in held) == (10 in held)
    turned = np.random.default_rng(1).permutation(20)
    again = choose_held_out([prints[place] for place in turned], None, [], vectors=vectors[turned])
    alone = choose_held_out(prints, vectors=vectors)
    assert sorted(turned[again]) == alone, "the order of the pictures does not matter"


def test_pictures_that_all_look_alike_are_split_as_without_a_model(tmp_path: Path) -> None:
    prints = [take_fingerprint(path) for path in picture_files(draw_set(tmp_path / "in", count=3))]

    assert len(choose_held_out(prints, vectors=np.ones((3, 4)) / 2)) == 2


def test_the_split_knows_content_and_not_names(tmp_path: Path) -> None:
    folder = draw_set(tmp_path / "one")
    (tmp_path / "two").mkdir()
    for number, path in enumerate(picture_files(folder)):
        (tmp_path / "two" / f"{50 - number}.png").write_bytes(path.read_bytes())

    held = [{hash_file(path) for path in split_pictures(picture_files(tmp_path / name))[1]} for name in ("one", "two")]

    assert held[0] == held[1]


def test_both_parts_show_the_same_mixture(tmp_path: Path) -> None:
    folder = draw_set(tmp_path / "set", count=20)
    prints = [take_fingerprint(path) for path in picture_files(folder)]
    labels = [{"expression": "smiling" if place < 10 else "sad", "place": str(place % 5)} for place in range(20)]

    held = choose_held_out(prints, labels)

    assert Counter(labels[place]["expression"] for place in held) == {"smiling": 4, "sad": 4}
    assert max(Counter(labels[place]["place"] for place in held).values()) == 2


def test_the_command_copies_moves_or_only_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = draw_set(tmp_path / "set", count=10)
    (folder / "03.txt").write_text("zed", encoding="utf-8")
    before = tree(folder)
    assert call("split", str(folder), "--no-clip", "--dry-run", "--json") == 0
    planned = json.loads(capsys.readouterr().out)["pictures"]
    assert tree(folder) == before

    assert call("split", str(folder), "--no-clip", "--into", str(tmp_path / "out")) == 0
    assert tree(folder) == before
    made = {path.name: path.parent.name for path in (tmp_path / "out").rglob("*.png")}
    assert made == {item["source"]: item["split"] for item in planned}
    assert next((tmp_path / "out").rglob("03.txt")).with_suffix(".png").exists()

    assert call("split", str(folder), "--no-clip", "--in-place") == 0
    assert picture_files(folder) == []
    assert sorted(before.values()) == sorted(tree(folder).values())
    with pytest.raises(UsageError, match="--in-place"):
        call("split", str(folder), "--no-clip")


# --- analyse ------------------------------------------------------------------------------------------------------


def test_a_prompt_keeps_the_standard_order() -> None:
    said = [
        Trait("style", "ink", "ink comic"),
        Trait("accessory", "staff", "holding a staff"),
        Trait("background", "steppe", "steppe background"),
        Trait("eyes", "blue", "blue eyes"),
        Trait("pose", "sitting", "sitting"),
        Trait("hair", "short", "short hair"),
        Trait("clothing", "red", "red robe"),
        Trait("weather", "rain", "in the rain"),
    ]

    assert training_prompt("zed", said) == (
        "zed, sitting, short hair, blue eyes, red robe, steppe background, in the rain, holding a staff, ink comic"
    )


@pytest.mark.real
def test_the_shipped_references_are_read_as_what_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)

    status = call("analyse", "suites/aldar_kose.yaml", "--store", str(tmp_path / "store"), "--json")

    record = json.loads(capsys.readouterr().out)
    assert status == 0
    assert record["prompt"].startswith("aldar kose, short hair, black hair, narrow eyes, thin mustache, blue robe")
    rows = {row["category"]: row for row in record["traits"]}
    assert rows["clothing"]["trait"] and rows["clothing"]["share"] == 1.0
    assert not rows["background"]["trait"]
    unsure = rows["face_shape"]  # too unsure for a prompt, and weighed by a run: never called unreadable
    assert unsure["trait"] and "a run weighs it by what it tells from strangers" in unsure["reason"]
    assert "face" not in record["prompt"] and unsure["second"] not in ("", unsure["value"])
    anchors = json.loads((ROOT / "suites/anchors/aldar_kose.json").read_bytes())["calibration"]
    weighed = {item["category"] for item in anchors["measures"]}
    assert {name for name, row in rows.items() if row["trait"]} == weighed
    first = record["pictures"][0]
    assert first["picture"] == "train/01.png"
    assert first["values"]["background"] == "starry night"
    assert "weather" in record["unread"]
