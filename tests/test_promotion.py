"""What speaks against a challenger: each rule just over and just under its bound, and what exempts from one alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.core.stats import max_of_k
from harness.core.values import (
    METRICS,
    CaseResult,
    Interval,
    Job,
    Outcome,
    Sample,
    Score,
    SetScore,
    Subject,
    Suite,
    Threshold,
)
from harness.judging.following import gap_between
from harness.judging.scores import values_by_metric
from harness.training.improve.promotion import (
    ALPHA,
    NO_ANSWER,
    WORSE,
    RivalScores,
    Ruling,
    alarms_against,
    behind_base,
    decide,
    gap_text,
    intervals,
    learnt_held_out_test,
    level_of,
    proven_worse,
    under_bounds,
    undrawn,
    unproven,
)

CASES = 8  # as many as need no second witness
Values = dict[str, dict[Any, float]]


def suite(**keys: Any) -> Suite:
    options: dict[str, Any] = {"thresholds": {"quality": Threshold(0.6)}, **keys}
    return Suite("demo", Path("demo.yaml"), Subject("A", "a", Path("references")), ("lora",), ("lora",), (), **options)


def drawn(value: float, wobble: float = 0.0, cases: int = CASES, seeds: Sequence[int] = (0, 1)) -> dict[Any, float]:
    """The same value in all pictures, every second case `wobble` above it and the others below."""
    return {
        (f"case-{number}", seed): value + (wobble if number % 2 else -wobble)
        for number in range(cases)
        for seed in seeds
    }


def scores(quality: float, wobble: float = 0.0, **others: float) -> Values:
    values = {"clip": 0.7, "features": 0.7, "ssim": 0.7, **others}
    return {"quality": drawn(quality, wobble), **{name: drawn(value) for name, value in values.items()}}


def ruling(challenger: Values, champion: Values, made: Suite | None = None, **keys: Any) -> Ruling:
    return decide(made or suite(), challenger, champion, **keys)


def gap(low: float, high: float, cases: int = CASES) -> Interval:
    return Interval((low + high) / 2, low, high, cases)


# --- better, and by enough --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("gain", "promoted"), [(0.019, False), (0.021, True)])
def test_a_sure_gain_counts_from_the_margin_on(gain: float, promoted: bool) -> None:
    found = ruling(scores(0.7 + gain), scores(0.7))

    assert found.promoted is promoted
    assert ("less than the margin of 0.02" in found.reasons[0]) is not promoted


def test_the_margin_is_the_suites_own() -> None:
    assert not ruling(scores(0.74), scores(0.7), suite(margin=0.05)).promoted
    assert ruling(scores(0.76), scores(0.7), suite(margin=0.05)).promoted


@pytest.mark.parametrize(("wobble", "promoted"), [(0.11, True), (0.13, False)])
def test_a_gain_must_lie_above_zero_with_its_whole_interval(wobble: float, promoted: bool) -> None:
    """Eight cases whose gains spread by 0.11 or 0.13 around 0.1: the lower bound is +0.0017 or -0.0162."""
    found = ruling(scores(0.8, wobble), scores(0.7))

    assert found.promoted is promoted
    assert ((found.differences["quality"].low or 0) > 0) is promoted
    assert found.reasons[0].startswith("quality: better" if promoted else "quality: not proven better")


def test_what_is_surely_worse_is_never_proven_better() -> None:
    assert unproven("quality", gap(-0.2, -0.1), None, 1, 0.02)[0].startswith("quality: not proven better")
    assert unproven("quality", gap(0.1, 0.2), None, 1, 0.02) == []


def test_one_case_in_common_is_told_as_such() -> None:
    assert "too few pictures in common" in unproven("quality", Interval(0.3, None, None, 1), None, 1, 0.02)[0]
    assert "too few pictures in common" in unproven("quality", None, None, 1, 0.02)[0]


@pytest.mark.parametrize(("flips", "proven"), [(0.03125, True), (0.0626, False)])
def test_the_signs_of_few_cases_must_agree(flips: float, proven: bool) -> None:
    against = unproven("quality", gap(0.1, 0.3, cases=6), flips, 1, 0.02)

    assert (against == []) is proven
    assert proven or "sign flips of 6 prompts do not bear it out" in against[0]


def test_signs_are_spoken_of_only_where_the_interval_alone_would_have_done() -> None:
    assert "sign flips" not in unproven("quality", gap(-0.1, 0.3, cases=6), 0.3, 1, 0.02)[0]


def test_each_further_challenger_is_held_at_a_narrower_level() -> None:
    """The same gain is enough for the first and not for the second."""
    first, second = (ruling(scores(0.8, 0.108), scores(0.7), look=look) for look in (1, 2))

    assert first.promoted and first.level == level_of(1) == 1 - ALPHA and " at " not in first.reasons[0]
    assert not second.promoted and (second.look, second.level) == (2, pytest.approx(0.975))
    assert second.reasons[0].endswith(" at 97.50%, challenger 2 of this champion")
    assert level_of(0) == level_of(1)


def test_only_the_goal_is_held_at_the_level_of_the_look() -> None:
    wobbly = {**scores(0.8), "clip": drawn(0.75, 0.1)}

    first, third = (ruling(wobbly, scores(0.7), look=look) for look in (1, 3))

    assert first.differences["clip"] == third.differences["clip"]


# --- no worse elsewhere -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("loss", "promoted"), [(0.019, True), (0.021, False)])
def test_another_metric_may_lose_the_margin_and_no_more(loss: float, promoted: bool) -> None:
    found = ruling(scores(0.9, ssim=0.7 - loss), scores(0.7))

    assert found.promoted is promoted and (promoted or "ssim: worse on the locked cases" in found.reasons[0])


def test_a_loss_counts_when_its_whole_interval_is_beyond_the_margin() -> None:
    assert proven_worse({"clip": gap(-0.3, -0.02)}, "quality", 0.02) == []
    assert len(proven_worse({"clip": gap(-0.3, -0.0201)}, "quality", 0.02)) == 1
    assert proven_worse({"clip": Interval(-0.3, None, None, 1)}, "quality", 0.02) == []


def test_the_goal_alone_is_spared_and_quality_is_not_when_something_else_is_the_goal() -> None:
    lost = {"quality": gap(-0.2, -0.1), "prompt": gap(-0.2, -0.1)}

    assert [text.split(":")[0] for text in proven_worse(lost, "prompt", 0.02)] == ["quality"]
    assert [text.split(":")[0] for text in proven_worse(lost, "quality", 0.02)] == ["prompt"]


@pytest.mark.parametrize(("low", "enough"), [(-0.02, True), (-0.0201, False)])
def test_it_is_no_worse_than_the_base_by_the_margin(low: float, enough: bool) -> None:
    assert (behind_base(gap(low, 0.1), 0.02) == []) is enough
    assert behind_base(None, 0.02) and behind_base(Interval(0.5, None, None, 1), 0.02)


def test_without_pictures_of_the_base_nothing_is_said_of_it() -> None:
    assert ruling(scores(0.9), scores(0.7)).base is None
    assert ruling(scores(0.9), scores(0.7), beside=RivalScores(drawn(0.91))).promoted
    behind = ruling(scores(0.9), scores(0.7), beside=RivalScores(drawn(0.93)))
    assert not behind.promoted and behind.base and behind.base.mean == pytest.approx(-0.03)
    elsewhere = ruling(scores(0.9), scores(0.7), beside=RivalScores(drawn(0.1, seeds=(9,))))
    assert not elsewhere.promoted and elsewhere.reasons[0].endswith("not measured")


@pytest.mark.parametrize(("value", "promoted"), [(0.61, True), (0.59, False)])
def test_a_mean_under_the_suites_bound_refuses_and_one_over_it_does_not(value: float, promoted: bool) -> None:
    found = ruling(scores(value), scores(0.3))

    assert found.promoted is promoted and (
        promoted or "0.59 on the locked cases, under the suite's 0.60" in says(found)
    )


def test_a_mean_on_the_bound_passes_and_a_warning_level_bounds_nothing() -> None:
    after = {"quality": gap(0.5, 0.7), "clip": gap(0.1, 0.2)}

    assert under_bounds(suite(thresholds={"quality": Threshold(0.6, 0.9), "clip": Threshold(None, 0.9)}), after) == []
    assert len(under_bounds(suite(thresholds={"quality": Threshold(0.61), "clip": Threshold(0.16)}), after)) == 2


def says(found: Ruling) -> str:
    return " | ".join(found.reasons)


# --- what is missing --------------------------------------------------------------------------------------------------


def test_a_picture_that_the_champion_has_is_missed_in_quality_and_in_the_goal() -> None:
    whole, lacking = scores(0.7, prompt=0.7), scores(0.9, prompt=0.9)
    del lacking["prompt"]["case-0", 1]

    assert undrawn(lacking, whole, "quality") == []
    assert undrawn(lacking, whole, "prompt") == ["1 of its pictures of the locked cases could not be drawn"]
    del lacking["quality"]["case-0", 1], lacking["quality"]["case-3", 0]
    assert undrawn(lacking, whole, "prompt") == ["2 of its pictures of the locked cases could not be drawn"]


def test_a_picture_that_only_the_challenger_has_is_not_missed() -> None:
    short = scores(0.7)
    del short["quality"]["case-0", 1]

    assert undrawn(scores(0.9), short, "quality") == []


# --- what cannot have been learnt honestly ----------------------------------------------------------------------------


@pytest.mark.parametrize(("low", "knows"), [(0.11, False), (0.13, True), (0.29, True)])
def test_a_locked_gain_must_not_lie_above_the_open_one_by_more_than_the_margin(low: float, knows: bool) -> None:
    """The open gain reaches up to 0.10, the margin is 0.02."""
    against = learnt_held_out_test(gap(low, 0.5), gap(0.0, 0.10), 0.02)

    assert bool(against) is knows and (not knows or "it knows the test" in against[0])


def test_it_is_the_interval_and_not_the_mean_that_tells_of_a_learnt_exam() -> None:
    assert learnt_held_out_test(gap(0.05, 0.95), gap(0.0, 0.10), 0.02) == []
    assert learnt_held_out_test(None, gap(0, 0.1), 0.02) == learnt_held_out_test(gap(0.3, 0.5), None, 0.02) == []
    assert learnt_held_out_test(Interval(0.5, None, None, 1), gap(0, 0.1), 0.02) == []
    assert learnt_held_out_test(gap(0.3, 0.5), Interval(0.0, None, None, 1), 0.02) == []


@pytest.mark.parametrize(("gain", "promoted"), [(0.13, True), (0.15, False)])
def test_a_challenger_may_gain_the_margin_more_where_nobody_practised(gain: float, promoted: bool) -> None:
    """Open cases gain up to 0.12; the suite's margin is 0.02."""
    found = ruling(scores(0.7 + gain), scores(0.7), beside=RivalScores(gain_on_open=gap(0.10, 0.12)))

    assert found.promoted is promoted and (promoted or "it knows the test" in says(found))


@pytest.mark.parametrize(
    "keys", [{"doubt": "few references"}, {"beside": RivalScores(strange="it learnt from others")}]
)
def test_doubt_and_a_strange_origin_refuse_whatever_is_scored(keys: dict[str, Any]) -> None:
    found = ruling(scores(0.99), scores(0.1), **keys)

    assert not found.promoted and len(found.reasons) == 1
    assert found.reasons[0] in ("the scores cannot decide: few references", "it learnt from others")


# --- alarms -----------------------------------------------------------------------------------------------------------


def alarm(name: str, much: float, rings: bool = True) -> SetScore:
    """`much` is how bad it is, 0 to 1."""
    details = {"copy": {}, "diversity": {"share": 1 - much}, "drift": {"leak": {"mean": much}, "taken": 0.0}}
    details["response"] = {"slope": 1 - much}
    return SetScore(name, f"{name} {much:.2f}", rings, details=details[name])


@pytest.mark.parametrize("usual", [{}, {"copy": alarm("copy", 0.9)}, {"copy": alarm("copy", 0.1)}])
def test_copies_always_refuse_whatever_the_champion_does(usual: Mapping[str, SetScore]) -> None:
    assert alarms_against({"copy": alarm("copy", 0.2)}, usual) == ["copy: on the locked cases copy 0.20"]
    assert alarms_against({"copy": alarm("copy", 0.2, rings=False)}, usual) == []


@pytest.mark.parametrize("name", ["diversity", "response", "drift"])
@pytest.mark.parametrize(("much", "refused"), [(0.30, False), (0.54, False), (0.56, True)])
def test_any_other_alarm_is_borne_where_the_champion_raises_it_as_badly(name: str, much: float, refused: bool) -> None:
    """The champion's is 0.5 bad, and WORSE is 0.05."""
    against = alarms_against({name: alarm(name, much)}, {name: alarm(name, 0.5)})

    assert WORSE == 0.05
    assert against == ([f"{name}: worse than the champion's, {name} {much:.2f}"] if refused else [])


@pytest.mark.parametrize("name", ["diversity", "response", "drift"])
def test_an_alarm_that_the_champion_does_not_raise_refuses(name: str) -> None:
    mine = {name: alarm(name, 0.5)}

    for usual in ({}, {name: alarm(name, 0.5, rings=False)}, {"copy": alarm("copy", 0.9)}):
        assert alarms_against(mine, usual) == [f"{name}: on the locked cases {name} 0.50"]


def test_the_champions_pardon_for_one_alarm_is_none_for_another() -> None:
    mine = {name: alarm(name, 0.5) for name in ("copy", "diversity", "drift")}

    against = alarms_against(mine, {"diversity": alarm("diversity", 0.5), "copy": alarm("copy", 0.5)})

    assert [text.split(":")[0] for text in against] == ["copy", "drift"]


@pytest.mark.parametrize(("leak", "taken", "refused"), [(0.54, 0.1, 0), (0.56, 0.1, 1), (0.1, 0.54, 0), (0.1, 0.56, 1)])
def test_drift_is_as_bad_as_the_worse_of_its_two_figures(leak: float, taken: float, refused: int) -> None:
    def drift(leak: float, taken: float) -> dict[str, SetScore]:
        return {"drift": SetScore("drift", "others change", True, details={"leak": {"mean": leak}, "taken": taken})}

    assert len(alarms_against(drift(leak, taken), drift(0.5, 0.5))) == refused


def test_a_silent_alarm_hides_no_other() -> None:
    mine = {"copy": alarm("copy", 0.1, rings=False), "diversity": alarm("diversity", 0.5), "drift": alarm("drift", 0.5)}

    assert [text.split(":")[0] for text in alarms_against(mine, {})] == ["diversity", "drift"]


def test_alarms_reach_the_ruling() -> None:
    sets, usual = {"diversity": alarm("diversity", 0.5)}, {"diversity": alarm("diversity", 0.5)}

    assert not ruling(scores(0.9), scores(0.7), sets=sets).promoted
    kept = ruling(scores(0.9), scores(0.7), sets=sets, usual=usual)
    assert kept.promoted and kept.sets == sets


# --- what is told -----------------------------------------------------------------------------------------------------


def test_a_ruling_tells_both_sides_and_their_differences_by_metric() -> None:
    found = ruling(scores(0.8), scores(0.7))

    assert found.reasons == ("quality: better on the locked cases, +0.10 [+0.10, +0.10]",)
    assert found.before["quality"].mean == pytest.approx(0.7) and found.after["quality"].mean == pytest.approx(0.8)
    assert {name: round(each.mean, 6) for name, each in found.differences.items()} == {
        "quality": 0.1,
        "clip": 0.0,
        "features": 0.0,
        "ssim": 0.0,
    }
    assert found.rival == "" and found.rival_gap is None and found.look == 1 and found.sets == {}


def test_reasons_are_told_all_at_once() -> None:
    found = ruling(scores(0.5, ssim=0.3), scores(0.7), beside=RivalScores(drawn(0.9)))

    assert [text.split(":")[0] for text in found.reasons] == ["quality", "quality", "ssim", "quality"]


def test_a_rival_is_compared_by_means_of_cases_and_refuses_nobody() -> None:
    """Seeds of a service are its own; a case that the challenger lacks is left out."""
    far, near = drawn(0.5, 0.01, seeds=(7,)), {**drawn(0.95, 0.01, seeds=(8, 9)), ("case-99", 8): 0.0}
    strangers = {("case-99", 0): 1.0}

    found = ruling(
        scores(0.9), scores(0.7), beside=RivalScores(rivals={"far": far, "near": near, "strangers": strangers})
    )

    gaps = {
        "far": {f"case-{n}": [0.4 - (0.01 if n % 2 else -0.01)] for n in range(CASES)},
        "near": {f"case-{n}": [-0.05 - (0.01 if n % 2 else -0.01)] for n in range(CASES)},
    }
    expected = max_of_k(gaps)
    assert found.promoted and found.rival == "near" and found.rival_gap and expected
    assert found.rival_gap.mean == pytest.approx(expected.mean) and found.rival_gap.low == pytest.approx(expected.low)
    assert found.rival_gap.mean == pytest.approx(-0.05)


@pytest.mark.parametrize(
    ("interval", "said"),
    [
        (None, "not measured"),
        (Interval(0.2, None, None, 1), "+0.20"),
        (Interval(0.2, None, 0.3, 2), "+0.20"),
        (Interval(0.2, 0.1, None, 2), "+0.20"),
        (gap(-0.15, 0.05), "-0.05 [-0.15, +0.05]"),
    ],
)
def test_an_interval_in_words(interval: Interval | None, said: str) -> None:
    assert gap_text(interval) == said


def test_values_are_gathered_by_case_and_seed_and_what_has_none_is_left_out() -> None:
    found = {"quality": Score("quality", 0.5), "clip": Score("clip", None, reason="too small")}
    samples = (
        Sample("a", 3, Outcome.OK, "0" * 64, scores=found),
        Sample("b", 4, Outcome.REFUSED, scores=found),
        Sample("c", 5, Outcome.OK, "0" * 64),
    )
    results = [CaseResult(Job("demo.yaml", "one", "lora"), samples)]

    values = values_by_metric(results, METRICS)

    assert values == {"quality": {("one", 3): 0.5}, "clip": {}, "features": {}, "ssim": {}}
    assert values_by_metric(results, ("clip",)) == {"clip": {}}
    assert intervals(values) == {"quality": Interval(0.5, None, None, 1)}


# --- following prompts ------------------------------------------------------------------------------------------------


def following(change: float, wobble: float = 0.0) -> RivalScores:
    return RivalScores(following=gap_between(drawn(0.7 + change, wobble), drawn(0.7)))


@pytest.mark.parametrize(("loss", "promoted"), [(0.049, True), (0.051, False)])
def test_a_challenger_may_follow_prompts_less_by_the_margin_and_no_more(loss: float, promoted: bool) -> None:
    found = ruling(scores(0.8), scores(0.7), beside=following(-loss))

    assert found.promoted is promoted
    assert ("prompt: not proven to follow prompts as well as before within 0.05, -0.05" in says(found)) is not promoted


@pytest.mark.parametrize(("wobble", "promoted"), [(0.055, True), (0.06, False)])
def test_it_is_the_whole_interval_that_must_lie_within(wobble: float, promoted: bool) -> None:
    """Eight prompts that differ by so much to either side: the interval reaches 0.049 or 0.054 below 0."""
    assert ruling(scores(0.8), scores(0.7), beside=following(0.0, wobble)).promoted is promoted


def test_what_cannot_be_read_back_is_not_asked_and_pictures_without_an_answer_refuse() -> None:
    assert ruling(scores(0.8), scores(0.7), beside=RivalScores()).promoted
    assert "not measured" in says(ruling(scores(0.8), scores(0.7), beside=RivalScores(following=NO_ANSWER)))
