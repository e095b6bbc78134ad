"""The metrics against pictures whose truth is known, and against the libraries that define them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from harness.core.stats.calibration import Band, band_of, calibration_from, equal_error_rate, measure, separate
from harness.core.values import Case, CaseResult, Job, Outcome, Sample, Score, Suite, to_record
from harness.scoring.metrics.applied import check_applied
from harness.scoring.metrics.features import Question, features_score, prompt_score
from harness.scoring.metrics.quality import band_name, quality_score
from harness.scoring.metrics.scorer import Scorer
from harness.scoring.metrics.ssim import edges_band, grey_square, plate_of, reference_band, similarity, ssim_score
from harness.scoring.metrics.table import METRICS
from harness.scoring.metrics.technical import find_faults
from harness.store import Store
from harness.world.people import ALDAR, Person, WorldScene, random_person
from harness.world.render import render
from tests.oracle import Hashes, Oracle, people, png, world_profile, write_world

REFERENCES = Path(__file__).parent.parent / "references"


def references(split: str = "held_out") -> list[Image.Image]:
    return [Image.open(path).convert("RGB") for path in sorted((REFERENCES / "aldar_kose" / split).glob("*.png"))]


def blurred(picture: Image.Image, radius: float) -> Image.Image:
    return picture.filter(ImageFilter.GaussianBlur(radius))


def noisy(picture: Image.Image, sd: float) -> Image.Image:
    noise = np.random.default_rng(0).normal(0, sd, (picture.height, picture.width, 3))
    return Image.fromarray(np.clip(np.asarray(picture) + noise, 0, 255).astype(np.uint8))


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


@pytest.fixture
def scorer(suite: Suite, oracle: Oracle, store: Store) -> Scorer:
    return Scorer(suite, world_profile(), Hashes(), store, load=lambda: oracle)


def means(scorer: Scorer, pictures: list[Image.Image]) -> dict[str, float]:
    """Metric to the mean of its calibrated scores."""
    found = scorer.score([(scorer.suite.cases[0], png(picture)) for picture in pictures])
    return {metric: float(np.mean([scores[metric].value for scores in found])) for metric in found[0]}


# --- ssim -------------------------------------------------------------------------------------------------------------


def test_ssim_is_scikit_images_to_a_millionth() -> None:
    from skimage.metrics import structural_similarity

    greys = [grey_square(picture) for picture in [*references()[:3], noisy(references()[3], 30)]]
    for a in greys:
        for b in greys:
            expected = structural_similarity(a, b, data_range=255)
            assert similarity(plate_of(a), plate_of(b)) == pytest.approx(expected, abs=1e-6)


def test_the_grey_square_is_the_middle_and_not_squashed() -> None:
    wide = Image.new("RGB", (300, 100), "black")
    wide.paste("white", (100, 0, 200, 100))

    assert grey_square(wide).min() > 250


def test_blur_never_raises_ssim() -> None:
    plates = [plate_of(grey_square(picture)) for picture in references()]
    band, edged = reference_band(plates), edges_band(plates)
    for picture in references("train")[::3]:
        values = [
            ssim_score(plate_of(grey_square(blurred(picture, radius))), plates, band, edged).value
            for radius in (0, 0.5, 1, 1.5, 2, 4, 8)
        ]
        assert values[0] > 0.9
        assert max(values[1:]) <= values[0] + 0.05  # one that is barely outside the band may come back into it
        assert values[2:] == sorted(values[2:], reverse=True)
        assert values[3] < 0.1


def test_noise_and_flat_grey_cost_too() -> None:
    plates = [plate_of(grey_square(picture)) for picture in references()]
    band, edged = reference_band(plates), edges_band(plates)

    def value(picture: Image.Image) -> float:
        return ssim_score(plate_of(grey_square(picture)), plates, band, edged).value or 0.0

    assert value(noisy(references("train")[0], 40)) < 0.2
    assert value(Image.new("RGB", (96, 96), (128, 128, 128))) < 0.01


def test_a_mean_of_pictures_costs_though_its_ssim_is_typical() -> None:
    plates = [plate_of(grey_square(picture)) for picture in references()]
    band, edged = reference_band(plates), edges_band(plates)
    ghost = np.mean([np.asarray(picture, float) for picture in references("train")], axis=0).round().astype(np.uint8)
    found = ssim_score(plate_of(grey_square(Image.fromarray(ghost))), plates, band, edged)

    assert found.details["likeness"] == 1.0
    assert found.value == found.details["softness"] < 0.7
    others = [ssim_score(plate_of(grey_square(each)), plates, band, edged) for each in references("train")]
    assert min(score.details["softness"] for score in others) > 0.99


def test_raw_ssim_rewards_what_the_calibrated_one_punishes() -> None:
    plates = [plate_of(grey_square(picture)) for picture in references()]
    band, edged = reference_band(plates), edges_band(plates)
    grey = ssim_score(plate_of(np.full((256, 256), 128, np.uint8)), plates, band, edged)
    good = ssim_score(plate_of(grey_square(references("train")[0])), plates, band, edged)

    assert grey.raw > good.raw
    assert grey.value < good.value


# --- calibration ------------------------------------------------------------------------------------------------------


def test_a_band_is_one_inside_and_falls_alike_on_both_sides() -> None:
    band = Band(0.5, 0.02, 8)

    assert band.half == pytest.approx(2.364624 * 0.02 * math.sqrt(1 + 1 / 8), abs=1e-6)
    assert band.typicality(0.5) == band.typicality(0.5 + band.half) == 1.0
    assert band.typicality(0.5 + 2 * band.half) == pytest.approx(math.exp(-0.5))
    assert band.typicality(0.5 - 3 * band.half) == pytest.approx(band.typicality(0.5 + 3 * band.half))


def test_reaching_a_band_asks_for_enough_only() -> None:
    band = Band(0.5, 0.02, 8)
    below = 1.894579 * 0.02 * math.sqrt(1 + 1 / 8)  # the one-sided 95% quantile of t

    assert band.reach(0.9) == band.reach(0.5 - below + 1e-6) == 1.0
    assert band.reach(0.5 - 2 * below) == pytest.approx(math.exp(-0.5), abs=1e-6)
    assert band.reach(0.4) < band.typicality(0.4)


@pytest.mark.parametrize("n", [5, 8, 20])
def test_a_band_refuses_one_genuine_picture_in_twenty_whatever_their_number(n: int) -> None:
    rng = np.random.default_rng(n)
    out = 0
    for _ in range(4000):
        values = rng.normal(0.5, 0.1, n + 1)
        band = band_of(values[:-1])
        out += abs(values[-1] - band.mean) > band.half

    assert out / 4000 == pytest.approx(0.05, abs=0.012)


def test_separation_by_hand() -> None:
    found = separate([0.8, 0.9, 1.0], [0.1, 0.2, 0.3])

    assert found.d_prime == pytest.approx(7.0)
    assert found.eer == 0.0
    assert found.calibrate(0.9) == 1.0
    assert found.calibrate(0.2) == 0.0
    assert found.calibrate(0.55) == pytest.approx(0.5)
    assert found.calibrate(0.05) == 0.0
    assert separate([0.1, 0.2], [0.1, 0.2]).calibrate(0.1) is None


def test_equal_error_rate_of_equal_crowds_is_a_guess() -> None:
    rng = np.random.default_rng(0)

    assert equal_error_rate(rng.normal(size=2000), rng.normal(size=2000)) == pytest.approx(0.5, abs=0.03)
    assert equal_error_rate(rng.normal(2, 1, 4000), rng.normal(size=4000)) == pytest.approx(0.1587, abs=0.015)


def test_a_category_that_the_references_cannot_be_read_in_is_left_out() -> None:
    sure = measure("hair", "short", "short hair", np.array([[0.9, 0.1]] * 4), 0)
    faint = measure("hair", "short", "short hair", np.array([[0.51, 0.49]] * 4), 0)
    guess = measure("eyes", "narrow", "narrow eyes", np.array([[0.9, 0.1], [0.2, 0.8]] * 2), 0)

    assert (sure.weight, sure.reach, sure.reason) == (1.0, 0.9, "")
    assert guess.weight == faint.weight == 0  # anybody would reach what is hardly above chance
    assert faint.reason == "not measurable: 'short' gets 51% in the references, by chance it would get 50%"
    assert guess.reason == "not measurable: the references themselves are read as 'narrow' in 50% of cases"


# --- features, by hand ------------------------------------------------------------------------------------------------

HAIR = Question("hair", {"short": "short hair", "long": "long hair"}, np.eye(3)[:2], True)
EYES = Question("eyes", {"brown": "brown eyes", "blue": "blue eyes"}, np.eye(3)[[2, 0]], True)


def test_features_are_relative_to_the_references_and_at_most_one() -> None:
    measures = [measure("hair", "short", "short hair", np.array([[0.7, 0.3]] * 4), 0)]

    def features(*cosines: float) -> float:
        return features_score(np.array(cosines), measures, {"hair": HAIR}, 1.0).value

    assert features(1.0, 0.0, 0.0) == 1.0  # softmax 0.73, more than the references' 0.7
    assert features(0.0, 0.0, 0.0) == pytest.approx(0.5 / 0.7)
    assert features(0.0, 1.0, 0.0) == pytest.approx(0.26894142 / 0.7)


def test_unreliable_traits_weigh_nothing_and_are_still_shown() -> None:
    measures = [
        measure("hair", "short", "short hair", np.array([[0.9, 0.1]] * 4), 0),
        measure("eyes", "blue", "blue eyes", np.array([[0.9, 0.1]] * 4), 1),
    ]

    found = features_score(np.array([1.0, 0.0, 0.0]), measures, {"hair": HAIR, "eyes": EYES}, 10.0)

    assert found.value == 1.0
    assert found.raw == pytest.approx(1.0)  # the plain definition: the mean cosine to both
    assert found.details["eyes"]["score"] is None
    assert found.details["eyes"]["reason"].startswith("not measurable")


def test_without_measurable_traits_there_is_no_value() -> None:
    found = features_score(np.zeros(3), [], {}, 1.0)

    assert found.value is None
    assert "the references show none" in found.reason


def test_the_prompt_score_is_the_probability_of_what_is_expected() -> None:
    found = prompt_score(np.array([0.0, 1.0, 0.0]), {"hair": "long"}, {"hair": HAIR}, 3.0)

    assert found.value == pytest.approx(1 / (1 + math.exp(-3)))
    assert found.details["hair"]["seen"] == "long"


# --- quality and technical --------------------------------------------------------------------------------------------


def test_quality_is_the_suites_weights_and_its_raw_the_plain_formula() -> None:
    scores = {"clip": Score("clip", 0.5, 0.8), "features": Score("features", 1.0, 0.3), "ssim": Score("ssim", 0.0, 0.4)}

    found = quality_score(scores, {"clip": 0.5, "features": 0.5, "ssim": 0.0})

    assert found.value == pytest.approx(0.75)
    assert found.raw == pytest.approx(0.4 * 0.8 + 0.4 * 0.3 + 0.2 * 0.4)


def test_an_unmeasured_metric_is_left_out_of_quality_and_said_so() -> None:
    scores = {"clip": Score("clip", 0.5, 0.8), "features": Score("features", None), "ssim": Score("ssim", 0.8, 0.4)}

    found = quality_score(scores, {})

    assert found.value == pytest.approx((0.4 * 0.5 + 0.2 * 0.8) / 0.6)
    assert found.raw is None
    assert "without features" in found.reason


@pytest.mark.parametrize(
    ("value", "name"), [(1.0, "excellent"), (0.8, "excellent"), (0.79, "good"), (0.4, "fair"), (0.0, "poor")]
)
def test_bands(value: float, name: str) -> None:
    assert band_name(value) == name


@pytest.mark.parametrize(
    ("change", "kinds"),
    [
        (lambda picture: picture, []),
        (lambda picture: Image.new("RGB", (96, 96), "black"), ["blank"]),
        (lambda picture: Image.new("RGB", (96, 96), (10, 200, 30)), ["blank"]),
        (lambda picture: noisy(Image.new("RGB", (96, 96), (128, 128, 128)), 1), ["blank"]),
        (lambda picture: blurred(picture, 1.5), ["blur"]),
        (lambda picture: picture.crop((0, 0, 96, 90)), ["size"]),
        (lambda picture: picture.point(lambda level: 120 + level // 16), ["blur", "contrast"]),
    ],
)
def test_each_fault_has_its_sentence(change: object, kinds: list[str]) -> None:
    greys = [grey_square(picture) for picture in references()]
    from harness.scoring.metrics.technical import contrast, sharpness

    for picture in references("train")[:4]:
        faults = find_faults(change(picture), (96, 96), min(map(sharpness, greys)), min(map(contrast, greys)))

        assert [fault["kind"] for fault in faults] == kinds
        assert all(fault["message"].startswith("the picture is ") for fault in faults)


# --- applied ----------------------------------------------------------------------------------------------------------


def test_applied_tells_effect_from_rounding(oracle: Oracle) -> None:
    on, off = oracle.draw(ALDAR, WorldScene(), 1), oracle.draw(random_person(np.random.default_rng(1)), WorldScene(), 1)
    rounded = Image.fromarray(np.clip(np.asarray(on).astype(int) + 1, 0, 255).astype(np.uint8))

    def embed(pictures: list[bytes]) -> np.ndarray:
        from harness.models.embeddings import open_picture

        return oracle.embed_images([open_picture(data) for data in pictures])

    def check(a: Image.Image, b: Image.Image, **facts: object) -> object:
        return check_applied([(png(a), png(b))], embed, lora="x.safetensors", **facts)

    assert check(on, off, keys=8, strength=1.0).ok
    assert check(on, off).difference > 0.05
    assert "x.safetensors does nothing" in check(on, on).reason
    assert "does nothing" in check(on, rounded).reason
    assert check(on, off, strength=0.0).reason.startswith("strength is 0")
    assert "none of its keys" in check(on, off, keys=0).reason
    assert not check_applied([]).ok


# --- the scorer -------------------------------------------------------------------------------------------------------


def test_the_ends_of_the_scale_are_impostors_and_references(scorer: Scorer, oracle: Oracle) -> None:
    population = [people(oracle, random_person(np.random.default_rng(seed)), 1, seed)[0] for seed in range(50, 62)]

    aldar, strangers = means(scorer, people(oracle, ALDAR, 6, 7)), means(scorer, population)

    assert aldar["clip"] > 0.9 and strangers["clip"] < 0.2
    assert aldar["features"] > 0.9 and strangers["features"] < 0.5
    assert aldar["quality"] > strangers["quality"] + 0.4


def test_traits_are_read_from_train_and_are_the_persons_own(scorer: Scorer) -> None:
    found = {trait.category: trait.value for trait in scorer.traits()}

    assert found == {
        name: getattr(ALDAR, name)
        for name in ("face_shape", "eyes", "facial_hair", "hair", "hair_color", "clothing", "pattern")
    }


def test_the_scene_is_held_against_the_prompt_and_not_the_person(scorer: Scorer, oracle: Oracle) -> None:
    steppe, city = (oracle.draw(ALDAR, WorldScene(background=place), 5) for place in ("steppe", "city"))

    right, wrong = (scores for scores in scorer.score([(scorer.suite.cases[0], png(p)) for p in (steppe, city)]))

    assert set(right) == set(METRICS)
    assert right["prompt"].value > 0.8 > 0.2 > wrong["prompt"].value
    assert wrong["features"].value > 0.9
    assert "prompt" not in scorer.score([(Case("aldar", "free", "aldar kose"), png(steppe))])[0]


def test_a_wrong_attribute_costs_and_is_named(scorer: Scorer, oracle: Oracle) -> None:
    shaven = Person(**{**ALDAR.__dict__, "facial_hair": "full beard"})

    found = scorer.score([(scorer.suite.cases[0], png(oracle.draw(shaven, WorldScene(), 3)))])[0]["features"]

    assert found.details["facial_hair"]["score"] < 0.2
    assert found.details["facial_hair"]["seen"] == "full beard"
    assert found.value == pytest.approx(6 / 7, abs=0.05)


def test_a_warm_scorer_loads_nothing(scorer: Scorer, suite: Suite, store: Store, oracle: Oracle) -> None:
    pictures = [(suite.cases[0], png(render(ALDAR, WorldScene(), seed))) for seed in range(3)]
    first = scorer.score(pictures)
    warm = Scorer(suite, world_profile(), Hashes(), store)  # its models refuse to load

    assert warm.traits() == scorer.traits()
    assert warm.calibration() == scorer.calibration()
    assert warm.score(pictures) == first
    assert warm.readings == scorer.readings


def test_pictures_are_embedded_in_one_batch_and_once(scorer: Scorer, oracle: Oracle) -> None:
    scorer.score([(scorer.suite.cases[0], png(oracle.draw(ALDAR, WorldScene(), 1)))])
    before = oracle.calls

    scorer.score([(scorer.suite.cases[0], png(oracle.draw(ALDAR, WorldScene(), seed))) for seed in range(1, 8)])

    assert oracle.calls == before + 1


def test_the_identity_follows_what_decides_a_score(scorer: Scorer, suite: Suite, store: Store) -> None:
    from dataclasses import replace

    def identity(other: Suite) -> str:
        return Scorer(other, world_profile(), Hashes(), store).identity

    assert identity(suite) == scorer.identity
    assert identity(replace(suite, samples=9, thresholds={}, margin=0.5)) == scorer.identity
    assert identity(replace(suite, weights={"clip": 1.0})) != scorer.identity
    (suite.subject.references / "held_out" / "00.png").unlink()
    assert identity(suite) != scorer.identity


def test_a_calibration_survives_the_way_to_a_record(scorer: Scorer) -> None:
    found = scorer.calibration()

    assert calibration_from(to_record(found)) == found
    assert found.can_gate and found.clip.d_prime > 3 and found.agreement > 0.9


def test_few_references_cannot_gate(tmp_path: Path, oracle: Oracle, store: Store) -> None:
    suite = write_world(tmp_path / "few", oracle, train=3, held_out=3)

    found = Scorer(suite, world_profile(), Hashes(), store, load=lambda: oracle).calibration()

    assert not found.can_gate
    assert found.reason.startswith("only 6 reference pictures")


def test_references_of_another_person_do_not_agree(tmp_path: Path, oracle: Oracle, store: Store) -> None:
    suite = write_world(tmp_path / "mixed", oracle, other=random_person(np.random.default_rng(9)))

    found = Scorer(suite, world_profile(), Hashes(), store, load=lambda: oracle).calibration()

    assert found.agreement < 0.4


def test_free_descriptions_and_unknown_categories_can_be_traits(suite: Suite, oracle: Oracle, store: Store) -> None:
    from dataclasses import replace

    subject = replace(suite.subject, traits={"facial_hair": "waxed mustache", "scar": "scar on the cheek"})

    scorer = Scorer(replace(suite, subject=subject), world_profile(), Hashes(), store, load=lambda: oracle)

    assert [trait.phrase for trait in scorer.traits()] == ["waxed mustache", "scar on the cheek"]
    found = scorer.score([(suite.cases[0], png(render(ALDAR, WorldScene(), 1)))])[0]["features"]
    assert set(found.details) == {"facial_hair", "scar"}
    assert found.details["scar"]["seen"] in ("scar on the cheek", "none of these")


def test_evidence_tells_one_stranger_from_a_crowd(scorer: Scorer, oracle: Oracle, store: Store) -> None:
    def drawn(pictures: list[Image.Image]) -> list[CaseResult]:
        scores = scorer.score([(scorer.suite.cases[0], png(picture)) for picture in pictures])
        samples = [
            Sample(str(seed), seed, Outcome.OK, image=store.put_image(png(picture)), scores=found)
            for seed, (picture, found) in enumerate(zip(pictures, scores, strict=True))
        ]
        return [CaseResult(Job("aldar.yaml", "steppe", "lora"), tuple(samples))]

    rng = np.random.default_rng(4)
    population = scorer.evidence(
        "lora", drawn([people(oracle, random_person(rng), 1, seed)[0] for seed in range(80, 88)])
    )
    stranger = scorer.evidence("lora", drawn(people(oracle, random_person(rng), 6, 99)))
    aldar = scorer.evidence("lora", drawn(people(oracle, ALDAR, 6, 98)))

    from harness.judging.causes import diagnose_gate

    cause = diagnose_gate(stranger)
    assert diagnose_gate(population) is diagnose_gate(aldar) is None
    assert cause and cause.name == "other_person"
    assert aldar.alike > 0.8 and aldar.clip > 0.9


# --- the committed model ----------------------------------------------------------------------------------------------

CLIP = Path(__file__).parent.parent / "fixtures" / "models" / "clip"


@pytest.mark.real
@pytest.mark.skipif(not (CLIP / "model.safetensors").exists(), reason="fixtures/models/clip is not there")
def test_the_embedded_clip_tells_aldar_from_others(store: Store) -> None:
    from types import SimpleNamespace

    from harness.config.profile import load_profile
    from harness.core.values import Subject
    from harness.models.loading import Models

    root = CLIP.parents[2]
    profile = load_profile("embedded", root)
    models = Models(profile, SimpleNamespace(root=root))
    subject = Subject("Aldar Kose", "aldar kose", REFERENCES / "aldar_kose", impostors=REFERENCES / "impostors")
    case = Case("aldar", "steppe", "aldar kose")
    suite = Suite("aldar", Path("aldar.yaml"), subject, ("lora",), ("lora",), (case,))
    scorer = Scorer(suite, profile, models, store)
    rng = np.random.default_rng(11)
    places = ("steppe", "city", "desert") * 4
    aldar = [render(ALDAR, WorldScene(background=place), seed) for seed, place in enumerate(places)]
    others = [render(random_person(rng), WorldScene(), seed) for seed in range(24)]

    assert scorer.calibration().can_gate and scorer.calibration().clip.d_prime > 2.5
    right, wrong = means(scorer, aldar), means(scorer, others)
    assert right["clip"] > 0.85 and wrong["clip"] < 0.25
    assert right["features"] > wrong["features"] + 0.3
    assert {trait.category: trait.value for trait in scorer.traits()}["facial_hair"] == "thin mustache"
