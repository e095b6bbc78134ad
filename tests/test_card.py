"""The metric card: what is planted, what is asked of the scores, and that a blind model gets no good card."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.card import figures_of
from harness.commands.card import effort_of
from harness.core.errors import UsageError
from harness.scoring.known_cards import find_card, judge_identity, judge_parts
from harness.store import Store
from harness.studies.metric_card.axes import AXES, Axis, Figure, freeze_thresholds, judge_axes, judge_walk, tau_of
from harness.studies.metric_card.distortions import (
    COPIES,
    HUES,
    WALKS,
    degenerate,
    overcook,
    region_of,
    shift,
    turn_hue,
)
from harness.studies.metric_card.page import axis_record, brief_record, card_page, card_record, card_text
from harness.studies.metric_card.protocol import (
    Card,
    Effort,
    alter,
    become,
    kinds_of,
    make_card,
    person_of,
    plan_strengths,
    plan_wrong,
    stranger,
    traits_of,
    turnable,
)
from harness.studies.metric_card.sheets import (
    KEPT,
    NUISANCES,
    SEEDS,
    STRENGTHS,
    Copied,
    DiversityPoint,
    IdentityScores,
    PictureScores,
)
from harness.world.people import IDENTITY, WorldScene, random_scene
from harness.world.render import render
from tests.command_line import parse
from tests.oracle import Hashes, world_profile

# --- what is planted --------------------------------------------------------------------------------------------------


def picture(seed: int = 1) -> Image.Image:
    return render(person_of(3), WorldScene(), seed)


def apart(a: Image.Image, b: Image.Image) -> float:
    return float(np.abs(np.asarray(a, np.float64) - np.asarray(b, np.float64)).mean())


@pytest.mark.parametrize("name", list(WALKS))
def test_every_walk_leads_further_away_at_each_step(name: str) -> None:
    spoil, strengths = WALKS[name]

    distances = [apart(picture(), spoil(picture(), strength, 7)) for strength in strengths]

    assert distances[0] > 0 and distances == sorted(distances)


def test_a_hue_turns_inside_its_region_only_and_comes_back_round() -> None:
    person = person_of(11)
    category = turnable(person)
    values = ("red", "blue", "green") if category == "clothing" else ("golden", "brown", "black")
    region = region_of([render(become(person, {category: value}), WorldScene(), 1) for value in values])
    before = render(person, WorldScene(), 1)

    turned = turn_hue(before, region, 90)

    assert 0.02 < region.mean() < 0.6
    assert apart(before, turned) > 3
    moved = np.abs(np.asarray(before, int) - np.asarray(turned, int)).max(-1)
    assert moved[~region].max() == 0
    assert apart(before, turn_hue(before, region, 360)) < 1


def test_a_hue_turns_without_its_lightness_so_that_a_pattern_stays_seen() -> None:
    from skimage.color import rgb2lab

    squares = np.kron(np.indices((4, 4)).sum(0) % 2, np.ones((8, 8), int))
    robe = Image.fromarray(np.where(squares[..., None] == 1, (150, 110, 60), (100, 90, 70)).astype(np.uint8))

    def lightness(image: Image.Image) -> Any:
        return rgb2lab(np.asarray(image))[..., 0]

    for degrees in HUES:
        turned = turn_hue(robe, np.ones((32, 32), bool), degrees)
        assert np.abs(lightness(turned) - lightness(robe)).max() < 1.0
    ways = [apart(robe, turn_hue(robe, np.ones((32, 32), bool), way * 45)) for way in (1, -1)]
    assert min(ways) > 5 and apart(*(turn_hue(robe, np.ones((32, 32), bool), way * 45) for way in (1, -1))) > 5


def test_what_is_wrong_is_one_thing_and_a_mark_changes_shape_and_colour() -> None:
    person, rng = person_of(5), np.random.default_rng(0)
    for kind in kinds_of(person):
        other = alter(person, kind, rng)
        changed = {name for name in vars(person) if getattr(person, name) != getattr(other, name)}
        assert changed == ({kind} if kind in IDENTITY else {kind, f"{kind}_color"})


def test_wrong_attributes_are_nested_and_end_with_all() -> None:
    person, rng = person_of(5), np.random.default_rng(0)
    scenes = [(random_scene(rng), 1)]

    drawn = dict(plan_wrong(person, scenes, rng))

    assert [level for axis, level in drawn if axis == "wrong"] == ["0", "1", "2", "3", "all"]
    assert {level for axis, level in drawn if axis == "trait"} == set(kinds_of(person))
    assert apart(drawn["wrong", "0"], render(person, *scenes[0])) == 0


def test_the_right_strength_is_the_character_and_none_is_somebody_else() -> None:
    person, rng = person_of(6), np.random.default_rng(0)
    scene = (WorldScene(), 4)

    drawn = {float(level): image for (_, level), image in plan_strengths(person, [scene], rng)}

    assert tuple(drawn) == STRENGTHS
    assert apart(drawn[1.0], render(person, *scene)) == 0
    away = [apart(drawn[strength], drawn[1.0]) for strength in STRENGTHS]
    assert away[0] > away[2] > 0 and away[-1] > away[5] > 0


def test_a_stranger_shares_at_most_two_attributes_and_no_mark() -> None:
    person = person_of(8)
    for seed in range(20):
        other = stranger(person, np.random.default_rng(seed))
        assert sum(getattr(person, name) == getattr(other, name) for name in IDENTITY) <= 2
        assert not set(person.marks.items()) & set(other.marks.items())


def test_becoming_somebody_entirely_leaves_nothing_but_the_skin() -> None:
    from dataclasses import replace

    person, rng = person_of(4), np.random.default_rng(1)
    base = stranger(person, rng)

    whole = become(base, traits_of(person, [*IDENTITY, "hat", "sash", "ornament"]))

    assert whole == replace(person, skin=base.skin)


def test_copies_and_pictures_of_nothing() -> None:
    original = picture()

    assert apart(COPIES["exact"](original), original) == 0
    assert apart(COPIES["mirrored"](COPIES["mirrored"](original)), original) == 0
    moved = np.asarray(shift(original, 4))
    assert (moved[4:, 4:] == np.asarray(original)[:-4, :-4]).all()
    assert apart(COPIES["recoloured"](original), original) > 5
    nothing = degenerate([original, picture(2)], 0)
    assert set(nothing) == {"flat grey", "black", "mean of the training pictures", "noise"}
    assert all(image.size == original.size for image in nothing.values())
    assert apart(overcook(original, picture(2), 1.0), original) == 0


# --- what is asked ----------------------------------------------------------------------------------------------------


def shot(quality: float, **traits: float) -> PictureScores:
    return PictureScores({"quality": quality, "clip": quality, "features": quality, "ssim": quality}, traits, quality)


def fine(category: str = "") -> dict[str, float]:
    return {name: 0.2 if name == category else 1.0 for name in IDENTITY}


def sheet(number: int = 0, *, walk: tuple[float, ...] = (0.9, 0.8, 0.7, 0.6, 0.5), dev: bool = False) -> IdentityScores:
    """An identity whose scores are as they should be; `walk`: quality at each strength of blur, JPEG and noise."""
    good = 1.0 - 0.001 * number
    shots: dict[tuple[str, str], tuple[PictureScores, ...]] = {
        ("genuine", ""): (shot(good, **fine()), shot(good - 0.01, **fine())),
        ("far", ""): (shot(0.1), shot(0.2)),
        ("near", "siblings"): (shot(0.8), shot(0.7)),
        ("near", "twins"): (shot(0.6), shot(0.7)),
    }
    for name in WALKS:
        shots |= {(name, str(level)): (shot(value),) for level, value in enumerate(walk, start=1)}
    for level, value in zip(HUES, (0.95, 0.9, 0.85, 0.8, 0.78, 0.76), strict=True):
        shots["hue", str(level)] = (shot(value, **fine("clothing")),)
    for level, value in zip(("0", "1", "2", "3", "all"), (good, 0.85, 0.7, 0.6, 0.1), strict=True):
        shots["wrong", level] = (shot(value),)
    shots |= {("trait", kind): (shot(0.85, **fine(kind)),) for kind in IDENTITY}
    shots |= {("nuisance", kind): (shot(good - 0.02),) for kind in NUISANCES}
    shots |= {("degenerate", kind): (shot(0.1),) for kind in ("black", "noise")}
    shots |= {("strength", str(s)): (shot(1 - 0.3 * abs(s - 1)),) for s in STRENGTHS}
    copies = tuple(Copied(kind, 0.99, True) for kind in COPIES) + (Copied("fresh", 0.5, False),) * 3
    kept = tuple(DiversityPoint(count, float(count), count <= SEEDS / 4) for count in KEPT)
    return IdentityScores(number, dev, "", shots, "clothing", copies, kept)


def judged(sheets: list[IdentityScores]) -> dict[str, Any]:
    return {axis.name: axis for axis in judge_axes(sheets, freeze_thresholds(sheets))}


def figures(axis: Any) -> dict[str, float]:
    return {figure.name: figure.value for figure in axis.figures}


def test_scores_that_are_as_they_should_be_keep_every_bound() -> None:
    axes = judged([sheet(number) for number in range(4)])

    assert len(axes) == len(WALKS) + len(AXES) == 12
    assert [name for name, axis in axes.items() if not axis.passed] == []
    assert figures(axes["blur"])["tau"] == -1.0
    assert figures(axes["hue"])["localised"] == figures(axes["localisation"])["localised"] == 1.0
    assert figures(axes["other characters"])["auc_far"] == 1.0
    assert figures(axes["strength"])["off_by"] == 0


def test_a_blur_that_pays_is_caught_even_where_the_walk_ends_low() -> None:
    sheets = [sheet(number, walk=(1.05, 0.8, 0.7, 0.6, 0.5)) for number in range(4)]

    axis = judge_walk(sheets, "blur")

    found = figures(axis)
    assert not axis.passed
    assert found["surest_gain"] > 0 and found["largest_rise"] > 0


def test_a_gain_that_chance_explains_is_no_gain() -> None:
    sheets = [sheet(number, walk=(0.99 + 0.02 * (number % 2), 0.8, 0.7, 0.6, 0.5)) for number in range(4)]

    assert figures(judge_walk(sheets, "noise"))["surest_gain"] <= 0


@pytest.mark.parametrize(
    ("axis", "change"),
    [
        ("localisation", {("trait", kind): (shot(0.85, **fine("eyes")),) for kind in IDENTITY}),
        ("other characters", {("far", ""): (shot(0.99), shot(1.0))}),
        ("nuisance", {("nuisance", "background"): (shot(0.5),)}),
        ("degenerate pictures", {("degenerate", "black"): (shot(1.0),)}),
        ("strength", {("strength", "1.75"): (shot(1.1),)}),
        ("wrong attributes", {("wrong", "3"): (shot(1.1),), ("wrong", "all"): (shot(1.2),)}),
    ],
)
def test_each_fault_of_the_scores_is_seen_on_its_axis(axis: str, change: dict[Any, Any]) -> None:
    from dataclasses import replace

    sheets = [sheet(number) for number in range(4)]
    thresholds = freeze_thresholds(sheets)
    broken = [replace(each, shots={**each.shots, **change}) for each in sheets]

    missed = [found.name for found in judge_axes(broken, thresholds) if not found.passed]

    assert missed == [axis]


def test_alarms_that_miss_or_cry_wolf_are_seen() -> None:
    from dataclasses import replace

    sheets = [
        replace(
            sheet(number),
            copies=(Copied("fresh", 0.95, True),) * 4 + sheet().copies,
            kept=tuple(DiversityPoint(count, 8.0, False) for count in KEPT),
        )
        for number in range(3)
    ]

    axes = judged(sheets)

    assert not axes["memorised copies"].passed and figures(axes["memorised copies"])["recall"] == 1.0
    assert not axes["mode collapse"].passed


def test_thresholds_come_from_the_dev_split() -> None:
    found = freeze_thresholds([sheet(number, dev=True) for number in range(4)])

    assert 0.98 < found["quality"] < 1.0
    assert 0.2 < found["clip_eer"] < 0.99  # in the gap between the two crowds


def test_bounds_and_taus() -> None:
    assert Figure("a", 0.8, ">=", 0.8).passed and not Figure("a", 0.79, ">=", 0.8).passed
    assert not Figure("a", math.nan, "<=", 1.0).passed and not Figure("a", math.nan, ">=", 0.0).passed
    assert Figure("a", 5.0).passed  # only reported
    assert tau_of([3, 2, 1]) == -1.0 and tau_of([3, 1, 2]) == pytest.approx(-1 / 3)


# --- what comes out ---------------------------------------------------------------------------------------------------


@pytest.fixture
def card() -> Card:
    sheets = [sheet(number) for number in range(4)]
    thresholds = freeze_thresholds(sheets)
    return Card(4, 2, 123, 4.5, "abc<b>", 1, thresholds, judge_axes(sheets, thresholds))


def test_the_record_is_plain_json_with_every_bound(card: Card) -> None:
    record = json.loads(json.dumps(card_record(card), allow_nan=False))

    assert record["passed"] == 12 and len(record["axes"]) == 12
    blur = record["axes"][0]
    assert blur["passed"] and blur["figures"][0] == {
        "name": "tau",
        "value": -1.0,
        "rule": "<=",
        "bound": -0.9,
        "note": "of the mean walk of quality",
        "passed": True,
    }
    assert blur["curves"][0]["levels"] == ["0", "1", "2", "3", "4", "5"]


def test_the_page_has_a_plot_for_every_walk_and_no_network(card: Card) -> None:
    page = card_page(card)

    assert page.count("<svg") >= 9
    assert "&lt;b&gt;" in page and "<script" not in page
    assert "http://" not in page and "https://" not in page
    assert "style=" not in page and "#0000f" not in page  # the policy forbids the one, the page's colours are not those
    assert "12 of 12 axes hold" in page


def test_the_table_and_the_flat_figures_name_every_axis(card: Card) -> None:
    text, flat = card_text(card), figures_of(card)

    assert all(axis.name in text for axis in card.axes)
    assert "12 of 12 axes hold; 4 identities and 2 more for the thresholds" in text
    assert flat["memorised_copies.recall"] == 1.0 and flat["blur.tau"] == -1.0


def effort(*words: str) -> Effort:
    """Of `harness card WORDS`."""
    params = parse(["card", *words]).params
    return effort_of(params["people"], params["quick"])


def test_efforts() -> None:
    assert effort() == Effort() and Effort().people == 30 and Effort().dev == 10
    assert effort("--quick").people == 6
    assert effort("--quick", "--people", "9").people == 9
    with pytest.raises(UsageError, match="at least 3"):
        effort("--people", "2")


# --- the whole of it --------------------------------------------------------------------------------------------------


class Thumbnails:
    """An embedder that sees blurred colours and reads nothing: a model too weak to be trusted."""

    logit_scale = 30.0

    def embed_images(self, images: Any) -> Any:
        return self._unit([np.asarray(image.resize((8, 8)), np.float64).ravel() - 100 for image in images])

    def embed_texts(self, texts: Any) -> Any:
        rng = np.random.default_rng(0)
        return self._unit([rng.normal(size=192) for _ in texts])

    def _unit(self, rows: Any) -> Any:
        array = np.stack(rows)
        return (array / np.linalg.norm(array, axis=1, keepdims=True)).astype(np.float32)


class WeakModels(Hashes):
    root = Path(__file__).parent.parent

    def clip(self) -> Any:
        return Thumbnails()


@pytest.mark.slow
def test_a_weak_model_gets_a_card_that_says_so(tmp_path: Path) -> None:
    from dataclasses import replace

    from harness.config.profile import load_profile

    root = Path(__file__).parent.parent
    shipped = load_profile("embedded", root)
    models = replace(shipped.models, domain=None)
    profile = replace(shipped, vocabulary=world_profile().vocabulary, models=models)
    with Store(tmp_path / "store") as store:
        card = make_card(profile, WeakModels(), store, Effort(people=3, genuine=3, scenes=1, copied=1, fresh=2))

    assert card.people == 3 and card.dev == 2 and card.pictures > 150
    axes = {axis.name: axis for axis in card.axes}
    assert not axes["localisation"].passed and not axes["nuisance"].passed
    assert axes["memorised copies"].passed  # lines need no model
    assert card_record(card)["passed"] < len(card.axes)
    assert "<svg" in card_page(card)


# --- a card that is kept ----------------------------------------------------------------------------------------------

PARTS = {"version": 2, "clip": "abc", "weights": {"clip": 0.4}, "references_train": "them", "metrics.dino": "d"}


def test_a_card_is_kept_in_brief_without_a_time(card: Card) -> None:
    from dataclasses import replace

    brief = brief_record(replace(card, scorer=judge_parts(PARTS)))

    assert brief["scorer"] == judge_identity(PARTS) and brief["identities"] == 4
    assert "seconds" not in brief and len(json.dumps(brief)) < 10_000
    blur = brief["axes"][0]
    assert (blur["name"], blur["value"], blur["goal"], blur["passed"]) == ("blur", -1.0, "tau ≤ -0.9", True)
    assert blur["what"].startswith("Does blur cost, and never pay? Besides: largest rise -0.0985")


def test_a_line_tells_the_figure_that_misses_its_bound() -> None:
    told = axis_record(Axis("blur", "is it?", (Figure("tau", -1, "<=", -0.9), Figure("largest_rise", 0.1, "<=", 0.0))))

    assert told == {
        "name": "blur",
        "value": 0.1,
        "goal": "largest rise ≤ 0",
        "passed": False,
        "what": "Is it? Besides: tau -1",
    }


def test_a_card_speaks_of_every_subject_of_its_scorer_and_of_no_other_scorer(card: Card, tmp_path: Path) -> None:
    from dataclasses import replace

    brief = brief_record(replace(card, scorer=judge_parts(PARTS)))
    (tmp_path / "card.json").write_text(json.dumps(brief), encoding="utf-8")
    (tmp_path / "broken.json").write_text("[", encoding="utf-8")

    found = find_card({**PARTS, "references_train": "others", "identity": "x", "traits": "y"}, [tmp_path])

    assert found is not None and found["identities"] == 4 and len(found["axes"]) == 12
    assert set(found["axes"][0]) == {"name", "value", "goal", "passed", "what"}
    assert find_card({**PARTS, "version": 3}, [tmp_path]) is None
    assert find_card({"identity": "x"}, [tmp_path]) is None and find_card({}, [tmp_path]) is None
    assert find_card(PARTS, [tmp_path / "nowhere"]) is None


def test_a_run_of_the_shipped_suite_is_shown_the_shipped_card(tmp_path: Path) -> None:
    from harness.config.profile import load_profile
    from harness.config.suite import load_suite
    from harness.core.settings import Settings
    from harness.judging.results import SuiteRun, suite_record
    from harness.models.loading import Models
    from harness.scoring.metrics.scorer import Scorer

    root = Path(__file__).parent.parent
    profile = load_profile("embedded", root)
    suite = load_suite(root / "suites" / "aldar_kose.yaml")
    with Store(tmp_path / "store") as store:
        scorer = Scorer(suite, profile, Models(profile, Settings.load(root, {})), store)
        record = suite_record(SuiteRun(suite, {}, scorer={"identity": scorer.identity, **scorer.parts}))
        other = suite_record(SuiteRun(suite, {}, scorer={**scorer.parts, "clip": "another"}))

    assert record.card and record.card.identities == 30
    assert all(axis.passed for axis in record.card.axes)
    assert other.card is None


def test_the_shipped_scores_were_found_by_the_formulas_at_hand() -> None:
    from benchmarks.score_table import PROMPTS, SEEDS, SHIPPED, load_table
    from harness.scoring.metrics.subject import VERSION

    table = load_table(SHIPPED)

    assert table.version == VERSION
    assert table.lora["quality"].shape == (PROMPTS, SEEDS)
    assert table.lora["quality"].mean() > 0.9 > 0.4 > table.wrong["quality"].mean()
