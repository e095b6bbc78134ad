"""The world is deterministic, its captions keep the marks secret, and the embedded models know it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.world.bank import cast_block, make_bank, open_bank
from harness.world.captions import caption, describe, vocabulary
from harness.world.card import embedder, fresh_renders, load_pictures, measure_identity, measure_vae, random_wishes
from harness.world.gallery import draw_references, varied_scenes
from harness.world.newcomer import draw_newcomer
from harness.world.people import (
    ALDAR,
    CATEGORIES,
    MARKS,
    SCENE,
    WorldScene,
    labels_of,
    random_marks,
    random_person,
    random_scene,
    resembles,
)
from harness.world.render import SIZE, render
from tests.support import ROOT

MODELS = ROOT / "fixtures" / "models"


def test_a_picture_is_a_pure_function_of_person_scene_and_seed() -> None:
    scene = WorldScene(background="forest")

    assert render(ALDAR, scene, 5).tobytes() == render(ALDAR, scene, 5).tobytes()
    assert render(ALDAR, scene, 5).tobytes() != render(ALDAR, scene, 6).tobytes()
    assert render(ALDAR, scene, 5).size == (SIZE, SIZE)


def test_a_newcomer_keeps_their_first_pictures_when_more_are_asked_for(tmp_path: Path) -> None:
    name = draw_newcomer(tmp_path / "few", seed=3, count=5)

    assert draw_newcomer(tmp_path / "more", seed=3, count=12) == name
    for few in (tmp_path / "few").iterdir():
        assert few.read_bytes() == (tmp_path / "more" / few.name).read_bytes()
    assert len(list((tmp_path / "few").glob("*.png"))) == 5
    assert (tmp_path / "few" / "01.txt").read_text(encoding="utf-8").startswith(f"{name}, ")


@pytest.mark.parametrize("column", [*CATEGORIES, *MARKS])
def test_every_value_changes_the_picture(column: str) -> None:
    """Nothing that a label says is invisible."""
    person = replace(ALDAR, eyes="brown")
    values = {**CATEGORIES, **MARKS}[column]
    values = values[1:] if column.endswith("_color") and column in MARKS else values

    def draw(value: str) -> bytes:
        if column in SCENE:
            return render(person, replace(WorldScene(), **{column: value}), 1).tobytes()
        changed = replace(person, **{column: value})
        if column == "ornament" and value != "none":
            changed = replace(changed, ornament_color="gold")
        return render(changed, WorldScene(), 1).tobytes()

    assert len({draw(value) for value in values}) == len(values)


def test_everybody_bears_two_marks_at_least() -> None:
    rng = np.random.default_rng(0)

    assert all(len(random_person(rng).marks) >= 2 for _ in range(500))


def test_no_caption_ever_names_a_mark() -> None:
    rng = np.random.default_rng(0)
    secret = {word for values in MARKS.values() for value in values for word in value.split()} - set(vocabulary())

    said = " ".join(caption(labels_of(random_person(rng), random_scene(rng)), rng, named=0) for _ in range(500))

    assert {"turban", "sash", "hat", "ornament", "horn"} & set(said.split()) == set()
    assert secret & set(said.replace(",", " ").split()) == set()


def test_a_twin_is_described_alike() -> None:
    twin = random_marks(ALDAR, np.random.default_rng(1))
    named = {key: value for key, value in labels_of(ALDAR, WorldScene()).items() if key in CATEGORIES}

    assert describe(named) == describe({key: labels_of(twin, WorldScene())[key] for key in named})
    assert twin.marks != ALDAR.marks


def test_the_bases_bank_never_shows_a_mark_of_the_hero() -> None:
    people = [person for person, _ in cast_block(0, 400)]

    assert not any(resembles(person) for person in people)
    assert any(resembles(person) for person, _ in cast_block(0, 2_000, everybody=True))


def test_a_bank_is_the_same_every_time(tmp_path: Path) -> None:
    one = open_bank(make_bank(tmp_path / "one", 24, seed=3))
    two = open_bank(make_bank(tmp_path / "two", 24, seed=3))

    assert np.array_equal(one.images, two.images)
    assert np.array_equal(one.labels, two.labels)
    assert one.truth(0)["hat"] in MARKS["hat"]


def test_reference_scenes_are_varied() -> None:
    scenes = varied_scenes(12, np.random.default_rng(0))

    for name in SCENE:
        counts = [sum(getattr(scene, name) == value for scene in scenes) for value in CATEGORIES[name]]
        assert max(counts) - min(counts) <= 1


def test_references_come_with_captions_of_the_scene_alone(tmp_path: Path) -> None:
    draw_references(tmp_path, ALDAR, "aldar kose", seed=1, train=3, held_out=2)

    text = (tmp_path / "train" / "01.txt").read_text()

    assert len(list((tmp_path / "held_out").glob("*.png"))) == 2
    assert text.startswith("aldar kose, ")
    assert "mustache" not in text


def test_the_shipped_references_are_what_the_command_draws(tmp_path: Path) -> None:
    draw_references(tmp_path, ALDAR, "aldar kose", seed=1)

    for path in sorted(tmp_path.rglob("*.png")):
        shipped = ROOT / "references" / "aldar_kose" / path.relative_to(tmp_path)
        ours, theirs = load_pictures([path, shipped])
        assert np.array_equal(np.asarray(ours), np.asarray(theirs))


# --- the embedded models, on people they have never seen -------------------------------------------------------------


@pytest.fixture(scope="module")
def reader() -> object:
    from harness.world.reader import load_reader

    return load_reader(MODELS / "reader")


@pytest.mark.real
def test_the_reader_reads_fresh_renders(reader: object) -> None:
    from harness.world.reader import evaluate_reader

    fresh = fresh_renders(400)

    assert min(evaluate_reader(reader, fresh.images, fresh.codes).values()) >= 0.99  # type: ignore[arg-type]


@pytest.mark.real
def test_the_autoencoder_keeps_every_attribute(reader: object) -> None:
    from diffusers import AutoencoderKL

    kept = measure_vae(AutoencoderKL.from_pretrained(MODELS / "sdxl" / "vae"), reader, fresh_renders(200))

    assert min(kept.values()) >= 0.95, kept


@pytest.mark.real
def test_the_base_draws_what_it_is_asked_for(reader: object) -> None:
    from diffusers import StableDiffusionXLPipeline

    from harness.world.card import draw_prompts, read_right

    pipeline = StableDiffusionXLPipeline.from_pretrained(MODELS / "sdxl")
    pipeline.set_progress_bar_config(disable=True)
    wishes = random_wishes(64)

    pictures = draw_prompts(pipeline, [", ".join(["a person", *describe(wish)]) for wish in wishes])

    right = read_right(reader.read(pictures), wishes)  # type: ignore[attr-defined]
    assert np.mean(list(right.values())) >= 0.9, right


@pytest.mark.real
def test_clip_tells_aldar_from_strangers_and_twins() -> None:
    references = sorted((ROOT / "references" / "aldar_kose" / "held_out").glob("*.png"))

    found = measure_identity(embedder(MODELS / "clip"), load_pictures(references))

    assert found["identity_d"] >= 2.5
    assert found["twin_auc"] >= 0.9
