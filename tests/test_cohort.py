"""What scores are held against: the alternative that the base draws, and what an encoder can tell from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.config.profile import Profile, load_profile
from harness.config.schedulers import SCHEDULERS
from harness.config.suite import load_suite
from harness.core.errors import ModelError, SuiteError
from harness.core.settings import Settings
from harness.core.stats.calibration import LEAST_AREA, LEAST_FALL, area_at_least, measure, sight_of
from harness.core.values import Request, Suite, Trait
from harness.models.loading import Models
from harness.models.redrawing import redraw
from harness.scoring.calibration import calibrate_suite
from harness.scoring.calibration.populations import rounded
from harness.scoring.metrics.cohort import COUNT, STRENGTHS, Cohort, cohort_of, scene_cases
from harness.scoring.metrics.frozen import frozen_path
from harness.scoring.metrics.scorer import Scorer
from harness.store import Store
from harness.world.people import ALDAR, MARK_KINDS, Person, random_person, random_scene
from tests.oracle import Hashes, Oracle, png, world_profile, write_world
from tests.support import ROOT

BARE = replace(ALDAR, **{name: "none" for kind in MARK_KINDS for name in (kind, f"{kind}_color")})


@dataclass
class Planted:
    """A cohort whose truth is known: strangers, people of Aldar's description, and Aldar fading into `last`."""

    oracle: Oracle
    store: Store
    lookalike: Person | None = BARE
    last: Person | None = None  # None: strangers
    identity: str = "planted"
    drawn: int = 0

    def draw(self, traits: Sequence[Trait], train: Sequence[Path]) -> Cohort:
        self.drawn += 1
        rng = np.random.default_rng(17)
        strangers = [random_person(rng) for _ in range(12)]
        first = self.show([ALDAR] * 12, 200)
        last = self.show([self.last] * 12 if self.last else [random_person(rng) for _ in range(12)], 300)
        described = self.show([self.lookalike] * 12, 100) if self.lookalike else ()
        return Cohort(self.show(strangers, 0), described, {0.1: first, 0.9: last}, tuple(train))

    def show(self, people: Sequence[Person], seed: int) -> tuple[str, ...]:
        rng = np.random.default_rng(seed)
        pictures = [self.oracle.draw(person, random_scene(rng), seed + n) for n, person in enumerate(people)]
        return tuple(self.store.put_image(png(picture)) for picture in pictures)


@pytest.fixture
def oracle() -> Oracle:
    return Oracle()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    with Store(tmp_path / "store") as opened:
        yield opened


@pytest.fixture
def suite(tmp_path: Path, oracle: Oracle) -> Suite:
    return write_world(tmp_path, oracle)


def scorer_with(suite: Suite, oracle: Oracle, store: Store, cohort: Planted) -> Scorer:
    return Scorer(suite, world_profile(), Hashes(), store, lambda: oracle, cohort)


# --- the scale --------------------------------------------------------------------------------------------------------


def test_zero_is_whoever_of_the_alternative_is_nearest(suite: Suite, oracle: Oracle, store: Store) -> None:
    scorer = scorer_with(suite, oracle, store, Planted(oracle, store))

    found = scorer.calibration()

    assert found.zero == "lookalikes" and found.can_gate
    assert found.clip.scale(found.clip.impostor) == pytest.approx(0) and found.agreement == pytest.approx(1, abs=0.15)
    own, described = (
        scorer.score([(suite.cases[0], png(picture)) for picture in pictures])
        for pictures in (people(oracle, ALDAR), people(oracle, BARE))
    )
    assert np.mean([score["clip"].value for score in own]) > 0.9
    assert np.mean([score["clip"].value for score in described]) < 0.25  # on the folder's scale it is half-way
    folder = Scorer(suite, world_profile(), Hashes(), store, lambda: oracle)
    assert (
        np.mean([s["clip"].value for s in folder.score([(suite.cases[0], png(p)) for p in people(oracle, BARE)])]) > 0.4
    )


def people(oracle: Oracle, person: Person, count: int = 10) -> list[Image.Image]:
    rng = np.random.default_rng(5)
    return [oracle.draw(person, random_scene(rng), 9000 + number) for number in range(count)]


def test_without_a_description_the_redrawn_references_or_strangers_are_zero(
    suite: Suite, oracle: Oracle, store: Store
) -> None:
    half = replace(BARE, face_shape="long", eyes="blue")

    found = scorer_with(suite, oracle, store, Planted(oracle, store, lookalike=None, last=half)).calibration()

    assert found.zero == "redrawn references" and found.sight and found.sight.described is None


def test_an_encoder_that_finds_lookalikes_among_the_references_says_that_a_prompt_is_enough(
    suite: Suite, oracle: Oracle, store: Store
) -> None:
    found = scorer_with(suite, oracle, store, Planted(oracle, store, lookalike=ALDAR)).calibration()

    assert found.sight and found.sight.sees and found.sight.enough
    assert found.zero != "lookalikes" and found.can_gate


def test_an_encoder_to_which_the_subject_does_not_fade_is_blind_and_gates_nothing(
    suite: Suite, oracle: Oracle, store: Store
) -> None:
    found = scorer_with(suite, oracle, store, Planted(oracle, store, last=ALDAR)).calibration()

    assert found.sight and not found.sight.sees
    assert not found.can_gate and "does not see who is shown" in found.reason


def test_pictures_that_a_user_adds_are_one_more_group(
    suite: Suite, oracle: Oracle, store: Store, tmp_path: Path
) -> None:
    near = replace(ALDAR, hat_color="teal")
    rng = np.random.default_rng(8)
    folder = tmp_path / "near"
    folder.mkdir()
    for number in range(10):
        oracle.draw(near, random_scene(rng), 700 + number).save(folder / f"{number}.png")
    added = replace(suite, subject=replace(suite.subject, impostors=folder))

    assert scorer_with(added, oracle, store, Planted(oracle, store)).calibration().zero == "impostors"


def test_ssim_counts_only_where_it_tells(suite: Suite, oracle: Oracle, store: Store) -> None:
    scorer = scorer_with(suite, oracle, store, Planted(oracle, store))

    score = scorer.score([(suite.cases[0], png(people(oracle, ALDAR, 1)[0]))])[0]["quality"]

    assert scorer.calibration().weights == {"ssim": 0.0}
    assert "without ssim, which cannot tell the subject from others" in score.reason
    assert score.details["weights"] == {"clip": 0.4, "features": 0.4, "ssim": 0.0}
    assert 0 <= score.details["plain"] <= 1


def test_what_a_case_asks_for_is_not_held_against_the_subject(suite: Suite, oracle: Oracle, store: Store) -> None:
    scorer = scorer_with(suite, oracle, store, Planted(oracle, store))
    picture = png(people(oracle, replace(ALDAR, clothing="red"), 1)[0])
    plain, asked = suite.cases[0], replace(suite.cases[0], expect={"clothing": "red"})

    obeyed, ignored = (scorer.score([(case, picture)])[0]["features"] for case in (asked, plain))

    assert "clothing" not in obeyed.details and "clothing" in ignored.details
    assert obeyed.value is not None and ignored.value is not None and obeyed.value > ignored.value


# --- anchors that are kept --------------------------------------------------------------------------------------------


def test_kept_anchors_draw_nothing_and_count_only_for_what_they_are_of(
    suite: Suite, oracle: Oracle, store: Store, tmp_path: Path
) -> None:
    cohort = Planted(oracle, store)
    scorer = scorer_with(suite, oracle, store, cohort)
    path = scorer.freeze(rounded(calibrate_suite(scorer).sides))

    with Store(tmp_path / "empty") as empty:
        again = Planted(oracle, empty)
        assert path == frozen_path(suite)
        assert scorer_with(suite, oracle, empty, again).calibration() == scorer.calibration() and again.drawn == 0
        other = Planted(oracle, empty, identity="another base")
        assert scorer_with(suite, oracle, empty, other).frozen is None
        scorer_with(suite, oracle, empty, other).calibration()
        assert other.drawn == 1


@pytest.mark.parametrize("text", ["{", "{}", '{"version": 2}', '{"version": 1, "identity": "x"}'])
def test_a_file_of_anchors_that_cannot_be_read_is_told(suite: Suite, oracle: Oracle, store: Store, text: str) -> None:
    frozen_path(suite).parent.mkdir()
    frozen_path(suite).write_text(text, encoding="utf-8")

    with pytest.raises(SuiteError, match="anchors"):
        scorer_with(suite, oracle, store, Planted(oracle, store)).calibration()


# --- what can be told -------------------------------------------------------------------------------------------------


def test_the_bound_of_an_area_is_newcombes_and_never_sure() -> None:
    ten = np.arange(10.0)

    assert area_at_least(ten + 20, ten) == pytest.approx(0.800, abs=0.001)
    assert area_at_least(np.arange(24.0) + 30, np.arange(24.0)) == pytest.approx(0.916, abs=0.001)
    assert area_at_least(ten, ten) == pytest.approx(0.27, abs=0.02)  # 0.5 is in the interval
    assert area_at_least(ten, ten[:0]) == 0


def rungs(low: float, high: float, n: int = 24) -> dict[float, np.ndarray]:
    """Weakest redrawing about `high`, strongest about `low`, both with a spread of 0.02."""
    wave = 0.02 * np.sin(np.arange(n))
    return {0.1: high + wave, 0.9: low + wave}


def test_a_fall_that_does_not_matter_is_blindness_too() -> None:
    genuine, strangers = np.full(12, 0.9), np.full(24, 0.0)

    seen = sight_of(rungs(0.9 - 0.9 * (LEAST_FALL + 0.02), 0.9), genuine, strangers)
    flat = sight_of(rungs(0.9 - 0.9 * (LEAST_FALL - 0.02), 0.9), genuine, strangers)

    assert seen.sees and seen.told > LEAST_AREA
    assert flat.told > LEAST_AREA and not flat.sees and "hardly sees" in flat.reason


def test_a_few_pictures_that_do_not_overlap_are_no_proof() -> None:
    genuine, strangers = np.full(12, 0.9), np.zeros(24)

    assert sight_of(rungs(0.2, 0.9, 12), genuine, strangers).sees
    assert not sight_of(rungs(0.2, 0.9, 8), genuine, strangers).sees


def test_a_trait_that_strangers_show_as_surely_weighs_nothing() -> None:
    sure = np.column_stack([np.full(20, 0.9), np.full(20, 0.1)])
    others = np.column_stack([np.linspace(0.05, 0.5, 24), np.linspace(0.95, 0.5, 24)])

    alone = measure("hair", "short", "short hair", sure, 0)
    told = measure("hair", "short", "short hair", sure, 0, others)
    shared = measure("hair", "short", "short hair", sure, 0, sure)

    assert alone.weight == 1 and 0.7 < told.weight < 1
    assert shared.weight == 0 and "others are read as 'short'" in shared.reason


# --- drawing ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny_models(tiny: Path) -> tuple[Profile, Models]:
    profile = load_profile("embedded", ROOT)
    models = replace(profile.models, base=(tiny / "sdxl").as_posix(), clip=(tiny / "clip").as_posix())
    profile = replace(profile, models=models, size=(32, 32), steps=10, batch=4)
    return profile, Models(profile, Settings.load(ROOT, {}))


def near(a: Image.Image, b: Image.Image) -> float:
    """Mean distance of grey levels."""
    return float(np.abs(np.asarray(a, float) - np.asarray(b, float)).mean())


@pytest.mark.parametrize("scheduler", sorted(SCHEDULERS))
def test_a_weak_redrawing_stays_near_and_a_strong_one_goes_far(
    tiny_models: tuple[Profile, Models], scheduler: str
) -> None:
    _, models = tiny_models
    picture = Image.open(ROOT / "references/aldar_kose/train/01.png").convert("RGB")
    request = Request("local/1", "m", "a person", 5, 32, 32, steps=20, guidance=2.0, scheduler=scheduler)

    weak, same, strong = (
        redraw(models.pipeline(), [request], [picture], strength)[0] for strength in (0.05, 0.05, 0.95)
    )
    both = redraw(models.pipeline(), [request, replace(request, seed=6)], [picture, picture], 0.05)

    assert weak and strong and same and both[0]
    assert weak.size == (32, 32) and weak.tobytes() == same.tobytes()
    assert near(weak, both[0]) < 2
    kept = models.pipeline().draw([request])[0]
    assert kept and near(weak, strong) > near(weak, both[0])
    assert near(kept, models.pipeline().draw([request])[0]) == 0  # a plain picture is what it was


def test_a_cohort_is_drawn_once_and_told_of(tiny_models: tuple[Profile, Models], tmp_path: Path) -> None:
    profile, models = tiny_models
    suite, said = load_suite(ROOT / "suites/smoke.yaml", profile), list[str]()
    train = sorted((ROOT / "references/aldar_kose/train").glob("*.png"))
    trait = [Trait("hair", "short", "short hair")]
    with Store(tmp_path / "store") as store:
        source = cohort_of(suite, profile, models, store, said.append)
        assert source
        first = source.draw(trait, train)
        again = source.draw(trait, train)

        assert first == again and len(said) == 1 and f"draws {5 * COUNT} pictures" in said[0]
        assert len(first.strangers) == len(first.lookalikes) == COUNT and first.strangers != first.lookalikes
        assert {strength: len(group) for strength, group in first.redrawn.items()} == dict.fromkeys(STRENGTHS, COUNT)
        assert source.draw([], train).lookalikes == ()
        styled = [Trait("style", "ink comic", "ink comic")]
        assert not any("cartoon" in case.prompt for case in scene_cases(suite, profile.vocabulary, {"style"}))
        assert any("cartoon" in case.prompt for case in scene_cases(suite, profile.vocabulary))
        assert source.draw(styled, train).lookalikes != source.draw(styled, train).strangers
        other = cohort_of(suite, replace(profile, steps=9), models, store)
        assert other and other.identity != source.identity
        blurred = replace(profile.providers["lora"], options={"use": "lora", "blur": 2})
        spoilt = cohort_of(suite, replace(profile, providers={**profile.providers, "lora": blurred}), models, store)
        assert spoilt and spoilt.identity == source.identity  # a control of the metrics is no other base


def test_where_no_gate_is_drawn_here_there_is_no_cohort(tiny_models: tuple[Profile, Models], tmp_path: Path) -> None:
    profile, models = tiny_models
    suite = replace(load_suite(ROOT / "suites/smoke.yaml", profile), gate=("gemini",))

    with Store(tmp_path / "store") as store:
        assert cohort_of(suite, profile, models, store) is None


def test_a_base_that_is_not_here_leaves_the_folder_and_without_one_says_so(
    tiny_models: tuple[Profile, Models], tmp_path: Path
) -> None:
    profile, _ = tiny_models
    gone = replace(profile, models=replace(profile.models, base="nowhere/at-all"))
    models, suite = Models(gone, Settings.load(ROOT, {})), load_suite(ROOT / "suites/smoke.yaml", profile)

    with Store(tmp_path / "store") as store:
        assert cohort_of(suite, gone, models, store) is None
        source = cohort_of(suite, replace(gone, impostors=None), models, store)
        assert source
        with pytest.raises(ModelError, match="nowhere/at-all"):
            _ = source.identity
