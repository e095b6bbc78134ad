"""Diversity, copies, drift, DINOv2, metrics of one's own, packs of prompts: against pictures whose truth is known."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from vendi_score import vendi

from harness.config.profile import load_profile
from harness.config.suite import lint_suite, load_suite
from harness.core.errors import SuiteError
from harness.core.stats.calibration import Separation
from harness.core.values import hash_file
from harness.models.embeddings import normalize
from harness.scoring.metrics.copying import ALIKE, LIKELY, Copies, Nearest, TrainSet, gather_copies
from harness.scoring.metrics.diversity import Diversity, measure_spread, vendi_score
from harness.scoring.metrics.drift import measure_drift, unrelated_prompts
from harness.scoring.metrics.lines import Sketches, lines_of
from harness.scoring.metrics.scorer import Scorer
from harness.store import Store
from harness.world.people import ALDAR, CATEGORIES, WorldScene, random_person, random_scene
from harness.world.render import render
from tests.oracle import Oracle, png, unit, world_profile, write_world
from tests.support import write_suite

ROOT = Path(__file__).parent.parent
TRAIN = sorted((ROOT / "references" / "aldar_kose" / "train").glob("*.png"))
HELD_OUT = sorted((ROOT / "references" / "aldar_kose" / "held_out").glob("*.png"))


def opened(path: Path) -> Image.Image:
    return Image.open(path).convert("RGB")


# --- copies -----------------------------------------------------------------------------------------------------------


def shifted(picture: Image.Image, x: int, y: int) -> Image.Image:
    around = np.pad(np.asarray(picture), ((12, 12), (12, 12), (0, 0)), mode="edge")
    return Image.fromarray(around[12 - y : 108 - y, 12 - x : 108 - x])


def recoloured(picture: Image.Image) -> Image.Image:
    hues = np.array(picture.convert("HSV"))
    hues[..., 0] += np.uint8(90)
    return Image.fromarray(hues, "HSV").convert("RGB")


def compressed(picture: Image.Image) -> Image.Image:
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=70)
    return Image.open(stream).convert("RGB")


def mirrored(picture: Image.Image) -> Image.Image:
    return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "exact": lambda picture: picture,
    "moved by 4 px": lambda picture: shifted(picture, 4, 0),
    "moved both ways": lambda picture: shifted(picture, -4, 3),
    "mirrored": mirrored,
    "recoloured": recoloured,
    "compressed": compressed,
    "twice as large": lambda picture: picture.resize((192, 192), Image.Resampling.LANCZOS),
    "cropped to 85%": lambda picture: picture.crop((9, 4, 91, 86)).resize((96, 96), Image.Resampling.LANCZOS),
    "all of it": lambda picture: recoloured(shifted(mirrored(picture), 3, -2)),
}


@pytest.fixture(scope="module")
def train() -> TrainSet:
    return TrainSet(TRAIN, held_out=HELD_OUT[:2])


def copies_among(pictures: Sequence[Image.Image], train: TrainSet) -> Copies:
    return gather_copies(dict(enumerate(map(train.nearest, pictures))), len(pictures), train.normal)


@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_is_found_whatever_was_done_to_it(train: TrainSet, kind: str) -> None:
    for place in (1, 7):
        found = train.nearest(COPIES[kind](opened(TRAIN[place])))

        assert found.copied and found.sha == hash_file(TRAIN[place]), (kind, found)


def test_what_was_done_to_a_copy_is_told(train: TrainSet) -> None:
    assert train.nearest(opened(TRAIN[0])).how == ""
    assert train.nearest(mirrored(opened(TRAIN[0]))).how == "mirrored"
    assert train.nearest(shifted(opened(TRAIN[0]), 6, 0)).how == "moved by 6%"
    assert train.nearest(COPIES["cropped to 85%"](opened(TRAIN[0]))).how == "cropped to 85%"


def test_other_pictures_of_the_same_person_are_no_copies(train: TrainSet) -> None:
    rng = np.random.default_rng(17)
    pictures = [render(ALDAR, random_scene(rng), int(rng.integers(2**31))) for _ in range(12)]

    found = copies_among([*pictures, *map(opened, HELD_OUT[:3])], train)

    assert not found.found and not found.alarm
    assert found.nearest is not None and 0.5 < found.nearest.lines < ALIKE
    assert found.normal is not None and found.normal < ALIKE
    assert found.sentence.startswith("none of 15 pictures copies")


def test_copies_among_pictures_are_named_and_reported(train: TrainSet) -> None:
    rng = np.random.default_rng(18)
    others = [render(ALDAR, random_scene(rng), int(rng.integers(2**31))) for _ in range(3)]

    found = copies_among([*others, mirrored(opened(TRAIN[4])), opened(TRAIN[2])], train)

    assert [place for place, _ in found.found] == [4, 3] or [place for place, _ in found.found] == [3, 4]
    assert found.alarm and found.share == 0.4
    assert "2 of 5 pictures copy a training picture" in found.sentence and "memorised" in found.sentence


def test_one_copy_among_very_many_can_be_chance() -> None:
    one = Nearest("01.png", "sha", 0.91, None, "", True)

    assert Copies(4, ((0, one),), one, None).alarm
    assert not Copies(200, ((0, one),), one, None).alarm
    assert "can be chance" in Copies(200, ((0, one),), one, None).sentence


def test_an_embedding_confirms_what_the_lines_suspect(tmp_path: Path) -> None:
    """The same scene drawn anew: its lines are likely and not certain."""
    render(ALDAR, WorldScene(), 6).save(tmp_path / "scene.png")
    picture, paths, vectors = render(ALDAR, WorldScene(), 8), [tmp_path / "scene.png", TRAIN[1]], np.eye(2)
    blind, seeing = TrainSet(paths), TrainSet(paths, vectors, HELD_OUT[:1], unit([[0.8, 0.6]]))

    found = blind.nearest(picture)

    assert LIKELY <= found.lines < ALIKE and not found.copied and found.name == "scene.png"
    assert seeing.nearest(picture, unit([[1.0, 0.1]])[0]).copied
    assert not seeing.nearest(picture, unit([[0.8, 0.6]])[0]).copied


def test_correlation_is_that_of_the_overlap() -> None:
    rng = np.random.default_rng(0)
    plane, query = rng.random((64, 64)), rng.random((40, 40))
    sketches = Sketches([plane])

    table = sketches.correlate(query)[0]

    assert table.shape == (45, 45)
    inside = np.corrcoef(plane[5:45, 12:52].ravel(), query.ravel())[0, 1]
    assert table[10 + 5, 10 + 12] == pytest.approx(inside, abs=1e-9)
    corner = np.corrcoef(plane[:30, :35].ravel(), query[10:, 5:].ravel())[0, 1]  # 10 above, 5 to the left
    assert table[0, 5] == pytest.approx(corner, abs=1e-9)


# --- diversity --------------------------------------------------------------------------------------------------------


def test_the_vendi_score_is_the_published_one() -> None:
    """By the authors' own package, and at its two ends."""
    for count, width in ((9, 5), (5, 9), (24, 24)):
        vectors = normalize(np.random.default_rng(count).normal(size=(count, width)))
        assert vendi_score(vectors @ vectors.T) == pytest.approx(vendi.score_dual(vectors), abs=1e-9)

    assert vendi_score(np.eye(7)) == pytest.approx(7)
    assert vendi_score(np.ones((7, 7))) == pytest.approx(1)
    assert vendi_score(np.kron(np.eye(3), np.ones((4, 4)))) == pytest.approx(3)


def seeds(count: int, distinct: int, seed: int) -> tuple[list[bytes], Any]:
    """`count` pictures of one prompt of which `distinct` differ, and embeddings to match."""
    rng = np.random.default_rng(seed)
    scenes = [replace(random_scene(rng), background="steppe", expression="smiling") for _ in range(distinct)]
    drawn = [png(render(ALDAR, scene, seed * 100 + number)) for number, scene in enumerate(scenes)]
    vectors = unit(rng.normal(size=(distinct, 8)).tolist())
    places = np.arange(count) % distinct
    return [drawn[place] for place in places], vectors[places]


def diversity_of(own: Mapping[str, tuple[list[bytes], Any]], base: Mapping[str, tuple[list[bytes], Any]]) -> Diversity:
    return Diversity(*({case: measure_spread(*each) for case, each in group.items()} for group in (own, base)))


@pytest.mark.parametrize(("count", "distinct"), [(8, 1), (8, 2), (12, 3), (16, 4)])
def test_repeated_pictures_are_counted_once_and_raise_the_alarm(count: int, distinct: int) -> None:
    spread = measure_spread(*seeds(count, distinct, 1))

    assert spread.distinct == pytest.approx(distinct, rel=0.1)
    assert Diversity({"case": spread}).alarm


@pytest.mark.parametrize(("distinct", "rings"), [((1, 1, 1, 1), True), ((1, 1, 1, 2), True), ((1, 1, 2, 2), False)])
def test_of_three_seeds_nearly_all_prompts_must_draw_one_picture(distinct: tuple[int, ...], rings: bool) -> None:
    own = {f"case {number}": seeds(3, count, number) for number, count in enumerate(distinct)}

    found = diversity_of(own, {})

    assert found.share == pytest.approx(sum({1: 1 / 3, 2: 0.63}[count] for count in distinct) / 4, abs=0.04)
    assert found.alarm is rings


@pytest.mark.parametrize("count", [3, 8])
@pytest.mark.parametrize("seed", [2, 3, 4])
def test_different_pictures_of_one_person_in_one_place_raise_none(seed: int, count: int) -> None:
    own = {"steppe": seeds(count, count, seed)}
    base = {"steppe": seeds(count, count, seed + 10)}

    found = diversity_of(own, base)

    assert not found.alarm and found.share is not None and found.share > 0.75
    assert found.ratio is not None and found.ratio == pytest.approx(
        found.cases["steppe"].distance / found.base["steppe"].distance
    )
    assert "as far apart as the base's" in found.sentence


def test_a_base_that_repeats_itself_excuses_its_lora_and_few_seeds_prove_nothing() -> None:
    tight = diversity_of({"tight": seeds(8, 2, 5)}, {"tight": seeds(8, 2, 6)})
    few = diversity_of({"few": seeds(2, 1, 7)}, {})

    assert not tight.alarm and Diversity(tight.cases).alarm
    assert few.share is None and not few.alarm and "it takes 3 seeds" in few.sentence


# --- drift ------------------------------------------------------------------------------------------------------------

SCALE = Separation(0.8, 0.0, 0.05, 0.05, 16.0, 0.0, 8, 24)


def strangers(prompts: int, seeds: int, leak: float, move: float) -> dict[str, tuple[Any, Any]]:
    """Pairs in eight dimensions, of which the first is the subject; other seeds of a prompt lie about 0.5 apart."""
    rng = np.random.default_rng(4)
    pairs = {}
    for prompt in range(prompts):
        middle = rng.normal(size=8)
        middle[0] = 0
        off = unit([middle + rng.normal(0, 0.35, 8) * ([0] + [1] * 7) for _ in range(seeds)])
        on = off + move * rng.normal(0, 0.3, off.shape) * ([0] + [1] * 7)
        on[:, 0] += leak
        pairs[f"prompt {prompt}"] = (unit(on.tolist()), off)
    return pairs


def test_a_lora_that_leaves_others_alone_does_not_drift() -> None:
    gallery = np.eye(8)[:1]

    still = measure_drift(strangers(6, 4, leak=0.0, move=0.0), gallery, SCALE)
    stirred = measure_drift(strangers(6, 4, leak=0.0, move=0.5), gallery, SCALE)

    assert still is not None and (still.moved, still.ratio) == pytest.approx((0, 0), abs=1e-6)
    assert not still.alarm and still.leak.mean == 0 and still.pictures == 24
    assert stirred is not None and not stirred.alarm and 0 < (stirred.ratio or 0) < 1


def test_a_leak_and_a_drift_are_told_apart() -> None:
    gallery = np.eye(8)[:1]

    leak = measure_drift(strangers(6, 4, leak=0.6, move=0.0), gallery, SCALE)
    moved = measure_drift(strangers(6, 4, leak=0.0, move=3.0), gallery, SCALE)

    assert leak is not None and leak.leaks and leak.alarm and "the subject leaks" in leak.sentence
    assert leak.leak.mean > 0.5 and leak.taken > 0.5
    assert moved is not None and moved.alarm and not moved.leaks and "the style drifts" in moved.sentence
    assert measure_drift({}, gallery, SCALE) is None


def test_unrelated_prompts_are_in_the_profiles_words_and_name_none_of_the_subjects_traits() -> None:
    profile = load_profile("embedded", ROOT)
    traits = {"clothing": "blue", "facial_hair": "thin mustache"}

    prompts = unrelated_prompts(profile.vocabulary, traits, count=20)

    assert len(set(prompts)) == 20 and prompts == unrelated_prompts(profile.vocabulary, traits, count=20)
    assert not any("blue robe" in prompt or "thin mustache" in prompt or "aldar" in prompt for prompt in prompts)
    assert all(prompt.startswith("a person, ") and "background" in prompt for prompt in prompts)


# --- dino -------------------------------------------------------------------------------------------------------------


def write_dino(folder: Path) -> Path:
    """The real class, tiny, with weights that are not trained."""
    import torch
    from transformers import BitImageProcessorPil, Dinov2Config, Dinov2Model

    torch.manual_seed(0)
    sizes = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "mlp_ratio": 2}
    Dinov2Model(Dinov2Config(**sizes, image_size=28, patch_size=7)).save_pretrained(folder)
    crop = {"height": 28, "width": 28}
    BitImageProcessorPil(size={"shortest_edge": 28}, crop_size=crop).save_pretrained(folder)
    return folder


def test_dino_scores_by_the_class_token_of_the_real_model(tmp_path: Path) -> None:
    import torch
    from transformers import BitImageProcessorPil, Dinov2Model

    folder, oracle = write_dino(tmp_path / "dino"), Oracle()
    suite = write_world(tmp_path, oracle, train=6, held_out=4)
    profile = world_profile()
    profile.models.dino, profile.name = "dino", "mine"
    models = SimpleNamespace(root=tmp_path, device="cpu", profile=profile, model_hash=str)
    picture = render(ALDAR, WorldScene(), 5)
    with Store(tmp_path / "store") as store:
        scorer = Scorer(suite, profile, models, store, load=lambda: oracle)
        score = scorer.score([(suite.cases[0], png(picture))])[0]["dino"]
        gallery = [opened(path) for path in scorer.references.gallery]

    model, processor = Dinov2Model.from_pretrained(folder).eval(), BitImageProcessorPil.from_pretrained(folder)
    with torch.no_grad():
        tokens = [model(**processor([one], return_tensors="pt")).last_hidden_state[0, 0] for one in [picture, *gallery]]
    expected = np.mean([float(torch.cosine_similarity(tokens[0], token, dim=0)) for token in tokens[1:]])
    assert score.raw == pytest.approx(expected, abs=1e-5)
    assert score.value is None or 0 <= score.value <= 1
    assert set(score.details) == {"d_prime", "eer"}


# --- metrics of one's own ---------------------------------------------------------------------------------------------


def example() -> str:
    """The worked example of the documentation."""
    text = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    found = re.search(r"```python\n(# metrics/warmth\.py\n.*?)```", text, re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture
def own(tmp_path: Path) -> Callable[..., Scorer]:
    """A scorer whose profile names metrics; the documentation's is in metrics/warmth.py."""
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics" / "warmth.py").write_text(example(), encoding="utf-8")
    oracle = Oracle()
    suite = write_world(tmp_path, oracle, train=6, held_out=4)

    def make(*names: str) -> Scorer:
        profile = world_profile()
        profile.metrics, profile.name, profile.path = names, "mine", tmp_path / "mine.yaml"
        models = SimpleNamespace(root=tmp_path, device="cpu", profile=profile, model_hash=str)
        return Scorer(suite, profile, models, store, load=lambda: oracle)

    with Store(tmp_path / "store") as store:
        yield make


def test_the_documented_metric_is_a_score_like_any_other(own: Callable[..., Scorer]) -> None:
    scorer = own("metrics/warmth.py:warm_light")
    day = scorer.suite.cases[0]
    night = replace(day, id="night", prompt="aldar kose, starry night background")
    red, blue = (png(Image.new("RGB", (96, 96), name)) for name in ("red", "blue"))

    found = scorer.score([(day, red), (day, blue), (night, blue)])

    assert [scores["warmth.warm_light"].value for scores in found[:2]] == [1.0, 0.0]
    assert found[0]["warmth.warm_light"].metric == "warmth.warm_light" and found[0]["warmth.warm_light"].raw == 255
    assert "warmth.warm_light" not in found[2] and "quality" in found[2]


def test_a_changed_metric_is_another_identity(own: Callable[..., Scorer], tmp_path: Path) -> None:
    before = own("metrics/warmth.py:warm_light").identity

    assert before == own("metrics/warmth.py:warm_light").identity != own().identity
    (tmp_path / "metrics" / "warmth.py").write_text(example() + "\n# mended\n", encoding="utf-8")
    assert own("metrics/warmth.py:warm_light").identity != before


def test_a_metric_that_fails_or_oversteps_is_a_missing_score_with_a_reason(
    own: Callable[..., Scorer], tmp_path: Path
) -> None:
    code = "from harness.core.values import Score\n"
    code += "def broken(picture, case, context): return 1 / 0\n"
    code += "def loud(picture, case, context): return Score('x', 7.0)\n"
    code += "def bare(picture, case, context): return 0.5\n"
    code += "def curious(picture, case, context): return Score('x', float(len(context.references) == 4), "
    code += "details={'clip': context.scores['clip'].value, 'size': context.gallery.shape[0]})\n"
    (tmp_path / "mine.py").write_text(code, encoding="utf-8")
    scorer = own(*(f"mine.py:{name}" for name in ("broken", "loud", "bare", "curious")))

    found = scorer.score([(scorer.suite.cases[0], png(render(ALDAR, WorldScene(), 1)))])[0]

    assert found["mine.broken"].value is None and "ZeroDivisionError" in found["mine.broken"].reason
    assert found["mine.loud"].value is None and "lies in [0, 1]" in found["mine.loud"].reason
    assert "returned float, not a Score" in found["mine.bare"].reason
    assert found["mine.curious"].value == 1.0 and found["mine.curious"].details["size"] == 4


def test_an_installed_package_offers_its_metric_by_name(
    own: Callable[..., Scorer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = tmp_path / "site"
    info = packages / "studio_metrics-1.2.dist-info"
    info.mkdir(parents=True)
    (packages / "studio_warmth.py").write_text(example(), encoding="utf-8")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: studio-metrics\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("[lora_harness.metrics]\nstudio.warm_light = studio_warmth:warm_light\n")
    monkeypatch.syspath_prepend(str(packages))
    monkeypatch.delitem(sys.modules, "studio_warmth", raising=False)
    scorer = own("studio.warm_light")

    found = scorer.score([(scorer.suite.cases[0], png(Image.new("RGB", (96, 96), "red")))])[0]

    assert found["studio.warm_light"].value == 1.0
    with pytest.raises(SuiteError, match=r"no metric called 'studio.warm_ligth'; did you mean 'studio.warm_light'"):
        _ = own("studio.warm_ligth").identity


def test_a_profile_knows_the_names_of_its_metrics_without_importing_them() -> None:
    profile = replace(load_profile("sdxl", ROOT), metrics=("metrics/Warmth.py:warm_light", "studio.depth"))
    models = replace(profile.models, dino="facebook/dinov2-small")

    assert replace(profile, models=models).added[-3:] == ("dino", "warmth.warm_light", "studio.depth")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("metrics/none.py:f", "there is no Python file"),
        ("metrics/warmth.py:warm_ligt", "no function 'warm_ligt'; did you mean 'warm_light'"),
        ("nobody.offers", "no metric called 'nobody.offers'"),
    ],
)
def test_a_metric_that_is_not_there_is_told_with_the_profile(
    own: Callable[..., Scorer], name: str, message: str
) -> None:
    with pytest.raises(SuiteError, match=message) as caught:
        _ = own(name).identity

    assert "mine.yaml" in str(caught.value)


# --- packs ------------------------------------------------------------------------------------------------------------

INCLUDING = """\
version: 1
suite: mine
subject: {name: Aldar Kose, trigger: aldar kose, references: REFERENCES}
providers: [lora]
include: [hard-prompts]
cases:
  - {id: one, prompt: "{trigger}, smiling"}
"""


@pytest.mark.parametrize(("name", "least"), [("embedded", 12), ("sdxl", 24)])
def test_hard_prompts_are_included_in_the_words_of_the_profile(tmp_path: Path, name: str, least: int) -> None:
    profile = load_profile(name, ROOT)

    others = f", impostors: {(ROOT / 'references/impostors').as_posix()}}}" if name == "sdxl" else "}"
    text = re.sub(r"(subject: \{[^}]*)\}", lambda match: match.group(1) + others, INCLUDING)

    suite = load_suite(write_suite(tmp_path, text), profile)

    added = [case for case in suite.cases if case.id.startswith("hard-prompts.")]
    assert suite.cases[0].id == "one" and len(added) == len(suite.cases) - 1 >= least
    assert all("aldar kose" in case.prompt and case.line == 5 for case in added)
    assert len({case.prompt for case in added}) == len(added)
    assert not [note for note in lint_suite(suite, profile) if "hard-prompts" in note]
    topics = {case.id.removeprefix("hard-prompts.").partition("-")[0] for case in added}
    assert topics >= ({"clothes", "sport", "emotion", "angle", "crowd", "style"} if name == "sdxl" else {"clothes"})


def test_expectations_of_a_pack_are_the_vocabularys_own() -> None:
    import yaml

    prompts = yaml.safe_load((ROOT / "suites" / "packs" / "hard-prompts.yaml").read_text("utf-8"))["prompts"]
    for name, words in (("embedded", "world"), ("sdxl", "people")):
        vocabulary = load_profile(name, ROOT).vocabulary
        for case in prompts[words]:
            for category, value in case.get("expect", {}).items():
                assert value in vocabulary[category].alternatives, (case["id"], category)
    said = {category: {case.get("expect", {}).get(category) for case in prompts["world"]} for category in CATEGORIES}
    assert said["style"] >= set(CATEGORIES["style"]) and said["expression"] >= set(CATEGORIES["expression"])


def test_a_pack_of_ones_own_comes_first_and_a_misspelt_one_is_told(tmp_path: Path) -> None:
    (tmp_path / "packs").mkdir()
    pack = 'version: 1\npack: winter\nprompts: {people: [{id: skiing, prompt: "{trigger} skiing"}]}\n'
    (tmp_path / "packs" / "winter.yaml").write_text(pack)

    suite = load_suite(write_suite(tmp_path, INCLUDING.replace("hard-prompts", "winter")))

    assert [case.id for case in suite.cases] == ["one", "winter.skiing"]
    with pytest.raises(SuiteError, match=r"suite.yaml:5: include\[0\]: no pack called 'wintr'; did you mean 'winter'"):
        load_suite(write_suite(tmp_path, INCLUDING.replace("hard-prompts", "wintr")))
    with pytest.raises(SuiteError, match="'winter' stands here twice"):
        load_suite(write_suite(tmp_path, INCLUDING.replace("hard-prompts", "winter, winter")))
    (tmp_path / "packs" / "winter.yaml").write_text(pack.replace("prompt:", "promt:"))
    with pytest.raises(SuiteError, match=r"winter.yaml:3: prompts.people\[0\].promt: unknown key"):
        load_suite(write_suite(tmp_path, INCLUDING.replace("hard-prompts", "winter")))


def test_a_pack_is_not_taken_for_a_suite() -> None:
    from harness.config.suite import is_suite_file

    assert not is_suite_file(ROOT / "suites" / "packs" / "hard-prompts.yaml")


def test_the_lines_of_strangers_are_not_alike() -> None:
    rng = np.random.default_rng(2)
    planes = [lines_of(render(random_person(rng), random_scene(rng), number)) for number in range(6)]

    table = Sketches(planes).likeness()

    assert np.allclose(table, table.T) and table[np.triu_indices(6, 1)].max() < 0.8


def test_what_sets_showed_is_plain_json() -> None:
    import json

    found = [
        diversity_of({"case": seeds(4, 2, 8)}, {"case": seeds(4, 4, 9)}).record,
        (measure_drift(strangers(3, 2, 0.6, 0.0), np.eye(8)[:1], SCALE) or pytest.fail()).record,
    ]

    for record in found:
        assert json.loads(json.dumps(record)) == record and record["alarm"] in (True, False) and record["sentence"]
