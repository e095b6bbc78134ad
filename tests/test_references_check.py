"""A set with one planted fault is accused of exactly that fault, and a clean set of none."""

from __future__ import annotations

import html
import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps
from skimage import data

from harness.config.profile import Profile, load_profile
from harness.core.errors import ReferencesError, UsageError
from harness.core.settings import Settings
from harness.report.references_page import audit_page
from harness.scoring.references import picture_files
from harness.scoring.references.check import Audit, check_references
from harness.scoring.references.duplicates import find_pairs, take_fingerprint
from harness.scoring.references.gather import Gathered, gather_folder
from harness.scoring.references.zero_shot import ZeroShotTagger, open_tagger
from harness.store import Store
from harness.world.gallery import varied_scenes
from harness.world.people import WorldScene, random_person
from harness.world.render import render
from tests import command_line
from tests.support import ROOT

SIZE = (96, 96)
Change = Callable[[Image.Image], Image.Image]


def draw_set(
    folder: Path, seed: int = 3, count: int = 12, change: Callable[[WorldScene], WorldScene] = lambda s: s
) -> Path:
    """One person in varied scenes: 00.png, 01.png, ..."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    person = random_person(rng)
    for number, scene in enumerate(varied_scenes(count, rng)):
        render(person, change(scene), int(rng.integers(2**31))).save(folder / f"{number:02}.png")
    return folder


def alter(path: Path, change: Change) -> None:
    with Image.open(path) as picture:
        changed = change(picture.convert("RGB"))
    changed.save(path)


def check(folder: Path, kind: str = "character", tagger: ZeroShotTagger | None = None) -> Audit:
    return check_references(gather_folder(folder, kind=kind), SIZE, tagger)


def found(audit: Audit) -> dict[str, tuple[str, ...]]:
    """Kind to pictures of what asks to be mended."""
    return {item.kind: item.pictures for item in audit.findings if item.severity != "note"}


def astronauts(folder: Path, count: int = 10) -> Path:
    """Ten different photographs of one face, from the picture that scikit-image carries; the background changes."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    whole = Image.fromarray(data.astronaut()).crop((60, 0, 400, 340))
    for number in range(count):
        ground = rng.normal(0, 1, (17, 17, 3)).repeat(20, 0).repeat(20, 1) * 30 + rng.integers(60, 190, 3)
        ground += rng.normal(0, 6, ground.shape)
        picture = Image.fromarray(ground.clip(0, 255).astype(np.uint8))
        mask = Image.new("L", picture.size, 0)
        ImageDraw.Draw(mask).ellipse((80, 10, 250, 260), fill=255)
        x, y = (int(value) for value in rng.integers(-60, 60, 2))
        picture.paste(whole, (x, max(-10, y)), mask)
        picture.resize((192, 192), Image.Resampling.LANCZOS).save(folder / f"{number:02}.png")
    return folder


# --- clean --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [3, 5, 6, 7])  # in the others two pictures show the same scene in the same pose
def test_a_clean_set_is_not_accused(tmp_path: Path, seed: int) -> None:
    audit = check(draw_set(tmp_path / "set", seed=seed, count=20))

    assert audit.findings == ()
    assert audit.score > 0.95


def test_what_cannot_be_judged_is_said_with_the_reason(tmp_path: Path) -> None:
    told = {item.what: item.reason for item in check(draw_set(tmp_path / "set")).not_judged}

    assert {"watermarks and text", "closed eyes", "steep and wide-angle views", "several people"} <= set(told)
    assert "photographed faces" in told["several people"]
    assert told["what CLIP sees"] == "no CLIP was asked"


# --- single pictures ----------------------------------------------------------------------------------------------


def small(picture: Image.Image) -> Image.Image:
    return picture.resize((48, 48), Image.Resampling.LANCZOS)


def tall(picture: Image.Image) -> Image.Image:
    return ImageOps.pad(picture, (96, 260), color=(90, 140, 90)).filter(ImageFilter.UnsharpMask(1))


def letterbox(picture: Image.Image) -> Image.Image:
    picture = picture.copy()
    ImageDraw.Draw(picture).rectangle((0, 0, 96, 7), fill="black")
    ImageDraw.Draw(picture).rectangle((0, 88, 96, 96), fill="black")
    return picture


def speck(picture: Image.Image) -> Image.Image:
    ground = Image.new("RGB", (96, 96), (180, 200, 220))
    ground.paste(picture.resize((24, 24), Image.Resampling.LANCZOS), (30, 40))
    return ground


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("blur", lambda p: p.filter(ImageFilter.GaussianBlur(2))),
        ("dark", lambda p: ImageEnhance.Brightness(p).enhance(0.3)),
        ("over_exposed", lambda p: Image.eval(p, lambda level: min(255, level + 170))),
        ("low_contrast", lambda p: Image.eval(p, lambda level: 110 + level // 8)),
        ("low_information", lambda p: Image.new("RGB", p.size, (120, 130, 140))),
        ("too_small", small),
        ("aspect", tall),
        ("borders", letterbox),
        ("small_subject", speck),
    ],
)
def test_a_planted_fault_of_one_picture_is_found_there(tmp_path: Path, kind: str, change: Change) -> None:
    folder = draw_set(tmp_path / "set")
    alter(folder / "04.png", change)

    audit = check(folder)

    item = next(finding for finding in audit.findings if finding.kind == kind)
    assert item.pictures == ("04.png",)
    assert item.value is not None and item.bound is not None
    assert item.effect and item.remedy
    assert all(finding.pictures == ("04.png",) for finding in audit.findings)
    assert audit.score < check(draw_set(tmp_path / "clean")).score


def test_a_silhouette_is_found(tmp_path: Path) -> None:
    folder = draw_set(tmp_path / "set")
    shade = np.full((96, 96, 3), 235, np.uint8)
    shade += np.random.default_rng(0).integers(0, 12, shade.shape, dtype=np.uint8)
    picture = Image.fromarray(shade)
    ImageDraw.Draw(picture).ellipse((22, 12, 74, 96), fill=(14, 12, 16))
    picture.save(folder / "04.png")

    assert found(check(folder))["backlit"] == ("04.png",)


def test_a_file_that_is_no_picture_is_named(tmp_path: Path) -> None:
    folder = draw_set(tmp_path / "set")
    (folder / "04.png").write_bytes(b"not a picture")
    (folder / "old.gif").write_bytes(b"GIF89a")

    audit = check(folder)

    assert found(audit) == {"unreadable": ("04.png",), "ignored": ("old.gif",)}
    assert audit.serious


# --- copies -------------------------------------------------------------------------------------------------------


def squeeze(picture: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=50)
    return Image.open(buffer).convert("RGB")


def cut(picture: Image.Image) -> Image.Image:
    return picture.crop((6, 5, 92, 91)).resize(picture.size, Image.Resampling.LANCZOS)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("exact", lambda p: p),
        ("near", squeeze),
        ("near", cut),
        ("near", lambda p: ImageEnhance.Brightness(p).enhance(1.15)),
        ("near", lambda p: p.convert("L")),
        ("mirrored", ImageOps.mirror),
        ("mirrored", lambda p: squeeze(ImageOps.mirror(p))),
    ],
)
def test_a_copy_is_found_with_its_original(tmp_path: Path, kind: str, change: Change) -> None:
    folder = draw_set(tmp_path / "set")
    with Image.open(folder / "07.png") as picture:
        change(picture.convert("RGB")).save(folder / "copy.png", compress_level=1)

    audit = check(folder)

    assert found(audit) == {kind: ("07.png", "copy.png")}
    assert audit.parts["distinct"] == pytest.approx(12 / 13)


def crop(share: float) -> Change:
    """Cut at each edge by a share of the side, and enlarged again."""
    return lambda p: p.crop((round(share * 96),) * 2 + (96 - round(share * 96),) * 2).resize(p.size)


EDITS: dict[str, Change] = {
    "cut by 10% at each edge": crop(0.104),
    "cut by 15% at each edge": crop(0.15),
    "cut by 12%, then JPEG": lambda p: squeeze(crop(0.12)(p)),
    "lower quarter cut off": lambda p: p.crop((0, 0, 96, 72)),
    "lower quarter cut off, then stretched": lambda p: p.crop((0, 0, 96, 72)).resize(p.size),
    "left fifth cut off": lambda p: p.crop((19, 0, 96, 96)),
    "upper left corner": lambda p: p.crop((0, 0, 72, 72)),
    "moved by 8%": lambda p: ImageOps.expand(p.crop((8, 5, 96, 96)), (0, 0, 8, 5), fill=(90, 90, 90)),
    "turned by 2 degrees": lambda p: p.rotate(2, Image.Resampling.BICUBIC),
    "turned by 5 degrees": lambda p: p.rotate(5, Image.Resampling.BICUBIC),
    "mirrored and cut by 10%": lambda p: ImageOps.mirror(crop(0.104)(p)),
    "half the size": lambda p: p.resize((48, 48), Image.Resampling.LANCZOS),
}


@pytest.mark.parametrize("edit", EDITS)
def test_a_copy_is_found_whatever_was_cut_off_it(tmp_path: Path, edit: str) -> None:
    missed = 0
    for seed in range(4):
        folder = draw_set(tmp_path / str(seed), seed=100 + seed, count=2)
        with Image.open(folder / "00.png") as picture:
            EDITS[edit](picture.convert("RGB")).save(folder / "copy.png")
        pairs = find_pairs([take_fingerprint(path) for path in picture_files(folder)])
        missed += [(pair.first, pair.second) for pair in pairs] != [(0, 2)]

    assert missed == 0


def test_different_pictures_of_one_person_are_no_copies(tmp_path: Path) -> None:
    for seed in (100, 101, 102):  # 190 pairs each, one person, other scenes
        folder = draw_set(tmp_path / str(seed), seed=seed, count=20)
        assert find_pairs([take_fingerprint(path) for path in picture_files(folder)]) == []


def test_each_pair_is_named_by_its_own_relation(tmp_path: Path) -> None:
    folder = draw_set(tmp_path / "set")
    with Image.open(folder / "07.png") as picture:
        squeeze(picture.convert("RGB")).save(folder / "again.png")
        ImageOps.mirror(picture.convert("RGB")).save(folder / "mirror.png")

    said = found(check(folder))

    assert said["near"] == ("07.png", "again.png")
    assert said["mirrored"] == ("07.png", "mirror.png")


def test_a_copy_in_the_other_split_is_a_leak(tmp_path: Path) -> None:
    draw_set(tmp_path / "train", seed=3), draw_set(tmp_path / "held_out", seed=4, count=6)
    with Image.open(tmp_path / "train" / "05.png") as picture:
        squeeze(picture.convert("RGB")).save(tmp_path / "held_out" / "99.png")

    audit = check(tmp_path)

    assert found(audit)["leak"] == ("train/05.png", "held_out/99.png")
    assert audit.serious


def test_pictures_without_content_are_compared_by_their_bytes(tmp_path: Path) -> None:
    for number in range(3):
        Image.new("RGB", (40, 40), (9 * number, 0, 0)).save(tmp_path / f"{number}.png")

    assert find_pairs([take_fingerprint(path) for path in picture_files(tmp_path)]) == []


# --- the set ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "kind"), [(5, "too_few"), (51, "too_many")])
def test_the_number_of_pictures_has_bounds(tmp_path: Path, count: int, kind: str) -> None:
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 255, (12, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((96, 96), Image.Resampling.NEAREST).save(tmp_path / f"{number:02}.png")

    assert list(found(check(tmp_path))) == [kind]


def test_the_same_mark_in_one_corner_is_a_watermark(tmp_path: Path) -> None:
    folder = draw_set(tmp_path / "set")
    for path in picture_files(folder):
        alter(path, stamp)

    audit = check(folder)

    assert list(found(audit)) == ["watermark"]
    assert "top right corner" in audit.findings[0].reason


def stamp(picture: Image.Image) -> Image.Image:
    picture = picture.copy()
    ImageDraw.Draw(picture).text((68, 4), "(c)Ed", fill=(255, 255, 255), stroke_width=1, stroke_fill=(0, 0, 0))
    return picture


def test_captions_for_some_are_noted(tmp_path: Path) -> None:
    folder = draw_set(tmp_path / "set")
    (folder / "00.txt").write_text("someone, smiling", encoding="utf-8")

    noted = check(folder).findings

    assert [(item.kind, item.severity, len(item.pictures)) for item in noted] == [("some_captions", "note", 11)]


# --- photographed faces -------------------------------------------------------------------------------------------


def test_photographed_faces_are_counted(tmp_path: Path) -> None:
    folder = astronauts(tmp_path / "set")
    wide = Image.new("RGB", (192, 192), (120, 110, 100))
    face = Image.fromarray(data.astronaut()).crop((150, 20, 310, 210)).resize((96, 114))
    wide.paste(face, (0, 40)), wide.paste(ImageOps.mirror(face), (96, 44))
    wide.save(folder / "02.png")

    audit = check(folder)

    assert found(audit)["several_people"] == ("02.png",)
    assert not {"several people", "hidden or shadowed faces"} & {item.what for item in audit.not_judged}


def test_a_covered_face_is_missed(tmp_path: Path) -> None:
    folder = astronauts(tmp_path / "set")
    noise = np.random.default_rng(1).integers(90, 110, (192, 192, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "03.png")

    hidden = [item.pictures for item in check(folder).findings if item.kind == "face_hidden"]

    assert ("03.png",) in hidden


# --- what CLIP sees -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def profile() -> Profile:
    return load_profile("embedded", ROOT)


@pytest.fixture(scope="module")
def look(tmp_path_factory: pytest.TempPathFactory, profile: Profile) -> Iterator[Callable[[Gathered], ZeroShotTagger]]:
    """The embedded CLIP over a gathered set, loaded once."""
    settings = Settings.load(ROOT, {})
    with Store(tmp_path_factory.mktemp("store")) as store:
        first = open_tagger(profile, settings, store, profile.vocabulary, [], {})
        yield lambda g: ZeroShotTagger(
            first.embeddings, profile.vocabulary, profile.templates, list(g.pictures), g.captions
        )


@pytest.mark.real
@pytest.mark.parametrize(("category", "value"), [("expression", "sad"), ("background", "forest")])
def test_one_value_everywhere_is_found_with_its_share(
    tmp_path: Path, look: Callable[[Gathered], ZeroShotTagger], category: str, value: str
) -> None:
    folder = draw_set(tmp_path / "set", change=lambda scene: replace(scene, **{category: value}))

    audit = check(folder, tagger=look(gather_folder(folder)))

    said = [item.reason for item in audit.findings if item.kind == "one_value"]
    assert said == [f"{category} is {value!r} in 100% of the pictures (bound 70%)"]
    assert audit.serious
    assert audit.parts["variety"] < 0.6


@pytest.mark.real
def test_what_stands_out_to_clip_alone_is_a_copy_too(
    tmp_path: Path, look: Callable[[Gathered], ZeroShotTagger]
) -> None:
    folder = draw_set(tmp_path / "set", seed=104)
    with Image.open(folder / "07.png") as picture:
        squeeze(picture.convert("RGB")).save(folder / "copy.png")
    gathered = gather_folder(folder)

    pairs, bound = look(gathered).standing_out()

    assert [(a, b) for a, b, _ in pairs] == [(7, 12)]
    assert 0.9 < bound <= pairs[0][2]


@pytest.mark.real
def test_an_outfit_everywhere_is_noted_and_a_stranger_is_found(
    tmp_path: Path, look: Callable[[Gathered], ZeroShotTagger]
) -> None:
    folder = draw_set(tmp_path / "set")
    stranger = draw_set(tmp_path / "other", seed=77, count=1) / "00.png"
    (folder / "06.png").write_bytes(stranger.read_bytes())

    audit = check(folder, tagger=look(gather_folder(folder)))

    assert found(audit) == {"not_the_subject": ("06.png",)}
    assert [item.kind for item in audit.findings if item.severity == "note"] == ["fixed_outfit"]


@pytest.mark.real
def test_a_style_is_judged_as_a_style(tmp_path: Path, look: Callable[[Gathered], ZeroShotTagger]) -> None:
    rng = np.random.default_rng(0)
    folder = tmp_path / "style"
    folder.mkdir()
    for number, scene in enumerate(varied_scenes(14, rng)):
        style = "ink comic" if number % 2 else "soft pastel"
        render(random_person(rng), replace(scene, style=style), number).save(folder / f"{number:02}.png")

    audit = check(folder, "style", look(gather_folder(folder, kind="style")))

    assert list(found(audit)) == ["mixed_style"]
    assert "consistency" in audit.parts
    assert "closed eyes" not in {item.what for item in audit.not_judged}


# --- the command --------------------------------------------------------------------------------------------------


def call(*words: str) -> int:
    """`harness references ...`."""
    return command_line.call("references", *words)


def test_the_exit_status_says_whether_something_is_serious(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = draw_set(tmp_path / "set", count=20)
    assert call("check", str(folder), "--no-clip") == 0
    alter(folder / "04.png", small)
    alter(folder / "04.png", lambda p: p.resize((80, 80), Image.Resampling.LANCZOS))
    assert call("check", str(folder), "--no-clip") == 0
    assert call("check", str(folder), "--no-clip", "--strict") == 1
    capsys.readouterr()

    (folder / "05.png").write_bytes((folder / "06.png").read_bytes())
    status = call("check", str(folder), "--no-clip", "--json")

    record = json.loads(capsys.readouterr().out)
    assert status == 1
    assert record["serious"] is True
    assert {"exact", "too_small"} <= {item["kind"] for item in record["findings"]}
    assert {"kind", "severity", "pictures", "reason", "effect", "remedy"} <= set(record["findings"][0])


def test_one_picture_has_no_variety_and_cannot_be_split(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = draw_set(tmp_path / "set", count=1)
    (folder / "text.png").write_text("no picture", encoding="utf-8")

    audit = check(folder)
    assert "variety" not in audit.parts
    assert call("check", str(folder), "--no-clip") == 1
    told = capsys.readouterr().out
    assert told.startswith("set: 1 picture, 1 more could not be read,") and "2 pictures" not in told

    (folder / "text.png").unlink()
    with pytest.raises(ReferencesError, match="one picture cannot be split"):
        call("split", str(folder), "--dry-run", "--no-clip")
    with pytest.raises(UsageError, match=r"--share 0\.99: above 0, at most 0\.8"):
        call("split", str(folder), "--dry-run", "--share", "0.99")


@pytest.mark.filterwarnings("error")
def test_a_picture_of_one_pixel_is_measured(tmp_path: Path) -> None:
    for number in range(6):
        Image.new("RGB", (1, 1), (200, 9 * number, 3)).save(tmp_path / f"{number}.png")

    assert "nan" not in " ".join(item.reason for item in check(tmp_path).findings)


def test_a_caption_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    folder = draw_set(tmp_path / "set", count=2)
    (folder / "00.txt").write_bytes("Алдар".encode("cp1251"))

    with pytest.raises(ReferencesError, match=r"00\.txt: not UTF-8 \(byte 1\); save the caption as UTF-8"):
        gather_folder(folder)


def test_the_page_needs_no_network_and_escapes_names(tmp_path: Path) -> None:
    folder = draw_set(tmp_path / "set")
    (folder / "04.png").rename(folder / "<b>&4.png")
    alter(folder / "<b>&4.png", lambda p: p.filter(ImageFilter.GaussianBlur(3)))

    page = audit_page(check(folder))

    assert "default-src 'none'" in html.unescape(page) and "<script" not in page
    assert "&lt;b&gt;&amp;4.png" in page and "<b>&4" not in page
    assert not re.search(r'(?:src|href)="(?!data:)', page)
    assert page.count("data:image/webp;base64,") >= 12
