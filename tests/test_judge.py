"""Verdicts as truth tables: what is held against what, and which cause is named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.core import stats
from harness.core.stats.calibration import Band, Calibration, Separation, Sight
from harness.core.values import (
    Case,
    CaseResult,
    Decision,
    Interval,
    Job,
    Outcome,
    Sample,
    Score,
    SetScore,
    Subject,
    Suite,
    Threshold,
    Verdict,
    to_record,
    verdict_from,
)
from harness.judging.adaptive import needs_more_samples
from harness.judging.causes import area_of, diagnose_gate
from harness.judging.complaints import hold
from harness.judging.judge import judge_case, judge_gate, pooled_sds, wants_training
from harness.scoring.metrics.applied import Applied
from harness.scoring.metrics.evidence import Evidence

PASS, FAIL, INCONCLUSIVE, ERROR = Decision.PASS, Decision.FAIL, Decision.INCONCLUSIVE, Decision.ERROR
NOT_JUDGED = Decision.NOT_JUDGED


def suite(thresholds: Mapping[str, Threshold] | None = None, **options: Any) -> Suite:
    subject = Subject("Aldar Kose", "aldar kose", Path("references"))
    cases = tuple(Case("aldar", f"case-{number}", "aldar kose") for number in range(8))
    bounds = {"quality": Threshold(0.6, 0.7)} if thresholds is None else thresholds
    return Suite("aldar", Path("aldar.yaml"), subject, ("lora",), ("lora",), cases, thresholds=bounds, **options)


def sample(seed: int, quality: float | None = 0.8, faults: Sequence[str] = (), **scores: float | None) -> Sample:
    found = {"quality": quality, **scores}
    values = {name: Score(name, value, reason="no reason" if value is None else "") for name, value in found.items()}
    listed = [{"kind": kind, "message": f"the picture is {kind}"} for kind in faults]
    values["technical"] = Score("technical", 0.0 if faults else 1.0, details={"faults": listed})
    return Sample(f"request {seed}", seed, Outcome.OK, image=f"image {seed}", scores=values)


def result(case: str, samples: Sequence[Sample], provider: str = "lora", skipped: str = "") -> CaseResult:
    return CaseResult(Job("aldar.yaml", case, provider), tuple(samples), skipped)


def results(means: Sequence[float], spread: float = 0.0, seeds: int = 3, provider: str = "lora") -> list[CaseResult]:
    """One case a mean, its seeds `spread` around it."""
    offsets = np.linspace(-spread, spread, seeds)
    return [
        result(f"case-{number}", [sample(seed, mean + offsets[seed]) for seed in range(seeds)], provider)
        for number, mean in enumerate(means)
    ]


def lost(seed: int, outcome: Outcome, message: str = "") -> Sample:
    return Sample(f"request {seed}", seed, outcome, message=message)


def calibration(d_prime: float = 4.0, agreement: float = 1.0, few: bool = False) -> Calibration:
    clip = Separation(0.9, 0.3, 0.05, 0.1, d_prime, 0.01, 8, 48)
    band = Band(0.4, 0.03, 8)
    return Calibration(clip, band, band, (), 50.0, 40.0, agreement, 0.3, 6 if few else 20, leave_one_out=few)


def says(verdict: Verdict) -> str:
    return " | ".join(complaint.message for complaint in verdict.complaints)


# --- one case ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mean", "sd", "decision", "warned"),
    [
        (0.40, 0.05, FAIL, False),  # the interval lies below
        (0.58, 0.05, INCONCLUSIVE, True),  # it holds the threshold, from below
        (0.62, 0.05, INCONCLUSIVE, True),  # and from above
        (0.68, 0.05, PASS, True),  # above `fail`, below `warn`
        (0.80, 0.05, PASS, False),
        (0.58, 0.00, FAIL, False),  # no spread: the mean decides
        (0.60, 0.00, PASS, True),  # the threshold itself passes
    ],
)
def test_a_case_is_judged_by_its_interval(mean: float, sd: float, decision: Decision, warned: bool) -> None:
    one = results([mean])[0]

    verdict = judge_case(suite(), suite().cases[0], one, {"quality": (sd, 30)})

    assert verdict.decision is decision
    assert any(complaint.severity == "warn" for complaint in verdict.complaints) is warned


@pytest.mark.parametrize(("value", "decision"), [(0.59, FAIL), (0.60, PASS), (0.69, PASS), (0.9, PASS)])
def test_with_one_sample_the_mean_decides(value: float, decision: Decision) -> None:
    verdict = judge_case(suite(), suite().cases[0], result("case-0", [sample(0, value)]), {"quality": (0.2, 30)})

    assert verdict.decision is decision
    assert verdict.scores["quality"].low is None


def test_the_spread_is_pooled_over_the_suite() -> None:
    drawn = results([0.4, 0.6, 0.8, 0.7], spread=0.1)
    drawn[0] = results([0.5], spread=0.001)[0]  # three seeds that happen to agree

    verdict = judge_case(suite(), suite().cases[0], drawn[0], pooled_sds(drawn))

    assert verdict.decision is INCONCLUSIVE
    sd, df = pooled_sds(drawn)["quality"]
    assert df == 8
    assert verdict.scores["quality"].high == pytest.approx(0.5 + 2.306 * sd / 3**0.5, abs=1e-3)


def test_a_cases_own_threshold_comes_before_the_suites() -> None:
    lenient = Case("aldar", "case-0", "aldar kose", thresholds={"quality": Threshold(0.3)})

    assert judge_case(suite(), lenient, results([0.4])[0], {}).decision is PASS


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome is not Outcome.OK])
def test_a_missing_picture_is_an_error_with_its_outcome_and_never_a_zero(outcome: Outcome) -> None:
    verdict = judge_case(suite(), suite().cases[0], result("case-0", [sample(0), lost(1, outcome, "why")]), {})

    assert verdict.decision is ERROR
    assert verdict.scores == {}
    assert f"1 of 2 pictures are missing ({outcome.value}): why" in says(verdict)


def test_nothing_drawn_and_nothing_scored_are_errors() -> None:
    bare = Sample("request", 0, Outcome.OK, image="image")

    assert judge_case(suite(), suite().cases[0], result("case-0", []), {}).decision is ERROR
    assert judge_case(suite(), suite().cases[0], result("case-0", [bare]), {}).decision is ERROR
    skipped = result("case-0", [], skipped="KEY is not set")
    assert "KEY is not set" in says(judge_case(suite(), suite().cases[0], skipped, {}))


def test_what_could_not_be_measured_is_open_and_not_passed() -> None:
    bounds = {"features": Threshold(0.6)}

    verdict = judge_case(suite(bounds), suite().cases[0], result("case-0", [sample(0, 0.9, features=None)]), {})

    assert verdict.decision is INCONCLUSIVE
    assert "features could not be measured (no reason)" in says(verdict)


@pytest.mark.parametrize(
    ("faults", "decision"),
    [
        ([["blank"], [], []], FAIL),
        ([["blur"], [], []], PASS),
        ([["blur"], ["blur"], []], FAIL),
        ([["size"], [], []], PASS),
        ([["size"], ["size"], []], FAIL),
        ([["contrast"], ["contrast"], ["contrast"]], FAIL),
    ],
)
def test_technical_faults(faults: list[list[str]], decision: Decision) -> None:
    drawn = result("case-0", [sample(seed, 0.9, kinds) for seed, kinds in enumerate(faults)])

    verdict = judge_case(suite(), suite().cases[0], drawn, {"quality": (0.05, 30)})

    assert verdict.decision is decision
    assert f"the picture is {faults[0][0]}" in says(verdict)


def test_a_failing_case_names_the_missing_traits() -> None:
    details = {"hair": {"value": "short", "score": 0.9}, "eyes": {"value": "narrow", "score": 0.1}}
    score = {"quality": Score("quality", 0.2), "features": Score("features", 0.5, details=details)}
    drawn = result("case-0", [Sample("request", 0, Outcome.OK, scores=score)])

    assert "missing: eyes 'narrow' 0.10" in says(judge_case(suite(), suite().cases[0], drawn, {}))


def test_few_references_only_report() -> None:
    verdict = judge_case(suite(), suite().cases[0], results([0.1])[0], {}, calibration=calibration(few=True))

    assert verdict.decision is NOT_JUDGED
    assert "cannot judge: only 6 reference pictures" in says(verdict)
    assert "(not binding)" in says(verdict)


@pytest.mark.parametrize(
    ("value", "decision", "warned"),
    [(0.599, FAIL, False), (0.60, PASS, True), (0.699, PASS, True), (0.70, PASS, False)],
)
def test_both_bounds_of_a_threshold_are_on_its_better_side(value: float, decision: Decision, warned: bool) -> None:
    verdict = judge_case(suite(), suite().cases[0], result("case-0", [sample(0, value)]), {})

    assert verdict.decision is decision
    assert any(complaint.severity == "warn" for complaint in verdict.complaints) is warned


@pytest.mark.parametrize(
    ("low", "high", "decision"),
    [(0.50, 0.599, FAIL), (0.50, 0.60, INCONCLUSIVE), (0.599, 0.9, INCONCLUSIVE), (0.60, 0.9, PASS)],
)
def test_an_interval_that_touches_a_bound_from_within_is_open(low: float, high: float, decision: Decision) -> None:
    found = hold("clip", Interval((low + high) / 2, low, high, 8), Threshold(0.6))

    assert [each.decision for each in found] == ([] if decision is PASS else [decision])
    assert [each.open for each in found] == ([] if decision is PASS else [decision is INCONCLUSIVE])


@pytest.mark.parametrize(
    ("blurred", "drawn", "decision"), [(1, 2, PASS), (2, 4, PASS), (3, 4, FAIL), (3, 6, PASS), (4, 6, FAIL)]
)
def test_blur_fails_when_more_than_half_of_the_pictures_have_it(blurred: int, drawn: int, decision: Decision) -> None:
    pictures = [sample(seed, 0.9, ["blur"] if seed < blurred else []) for seed in range(drawn)]

    verdict = judge_case(suite(), suite().cases[0], result("case-0", pictures), {"quality": (0.01, 30)})

    assert verdict.decision is decision
    assert f"{blurred} of {drawn} pictures: the picture is blur" in says(verdict)


@pytest.mark.parametrize(("score", "told"), [(0.49, True), (0.50, False)])
@pytest.mark.parametrize("metric", ["quality", "features", "clip"])
def test_a_trait_below_one_half_is_missing_and_told_where_traits_count(metric: str, score: float, told: bool) -> None:
    details = {"eyes": {"value": "narrow", "score": score}, "kind": "person", "hair": {"value": "short", "score": None}}
    scores = {"quality": Score("quality", 0.9), "features": Score("features", 0.5, details=details)}
    scores[metric] = replace(scores.get(metric, Score(metric, 0.9)), value=0.2)
    drawn = result("case-0", [Sample("request", 0, Outcome.OK, scores=scores)])

    verdict = judge_case(suite({metric: Threshold(0.6)}), suite().cases[0], drawn, {})

    assert verdict.decision is FAIL
    assert (
        ("missing: eyes 'narrow' 0.49" in says(verdict)) is ("missing" in says(verdict)) is (told and metric != "clip")
    )


def test_no_more_than_the_three_worst_traits_are_named_by_their_means() -> None:
    def picture(seed: int, shift: float) -> Sample:
        details = {name: {"value": name, "score": 0.1 * number + shift} for number, name in enumerate("dcba")}
        return Sample(str(seed), seed, Outcome.OK, scores={"features": Score("features", 0.2, details=details)})

    drawn = result("case-0", [picture(0, 0.05), picture(1, 0.15)])

    verdict = judge_case(suite({"features": Threshold(0.6)}), suite().cases[0], drawn, {"features": (0.01, 9)})

    assert "missing: d 'd' 0.10, c 'c' 0.20, b 'b' 0.30" in says(verdict) and "a 'a'" not in says(verdict)


def test_a_threshold_without_a_value_is_open_whichever_bound_it_has_and_none_asks_nothing() -> None:
    drawn = result("case-0", [sample(0, 0.9, dino=None)])

    for bound, decision in ((Threshold(0.6), INCONCLUSIVE), (Threshold(None, 0.6), INCONCLUSIVE), (Threshold(), PASS)):
        made = suite({"dino": bound})
        verdicts = judge_case(made, made.cases[0], drawn, {}), judge_gate(made, "lora", [drawn])
        assert [verdict.decision for verdict in verdicts] == [decision] * 2
        assert all("open" not in verdict.details for verdict in verdicts)


# --- where the references may not gate --------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["quality", "clip", "features", "ssim", "aesthetics", "dino", "drift"])
@pytest.mark.parametrize("weak", [{"d_prime": 0.99}, {"few": True}])
def test_what_the_references_give_its_meaning_cannot_fail_where_they_may_not_gate(
    metric: str, weak: dict[str, Any]
) -> None:
    made = suite({metric: Threshold(0.6)})
    drawn = [result(f"case-{n}", [sample(0, **{"quality": 0.9, metric: 0.1 + 0.01 * n})]) for n in range(8)]

    case = judge_case(made, made.cases[0], drawn[0], {}, calibration=calibration(**weak))
    gate = judge_gate(made, "lora", drawn, calibration=calibration(**weak))

    assert case.decision is gate.decision is NOT_JUDGED
    assert "(not binding)" in says(case) and "(not binding)" in says(gate)
    assert says(case).startswith("cannot judge: ") and says(gate).startswith("cannot judge: ") and gate.details["blind"]
    assert judge_case(made, made.cases[0], drawn[0], {}, calibration=calibration(1.0)).decision is FAIL
    assert judge_gate(made, "lora", drawn, calibration=calibration(1.0)).decision is FAIL


@pytest.mark.parametrize("metric", ["technical", "mine"])
def test_what_needs_no_references_fails_without_them(metric: str) -> None:
    """The exemption is for scores against references and for nothing else."""
    made = suite({metric: Threshold(0.6)})
    faults = ["blank"] if metric == "technical" else []
    values = {} if metric == "technical" else {metric: 0.1}
    drawn = [result(f"case-{n}", [sample(0, 0.9, faults, **values)]) for n in range(8)]

    for verdict in (
        judge_case(made, made.cases[0], drawn[0], {}, calibration=calibration(few=True)),
        judge_gate(made, "lora", drawn, calibration=calibration(few=True)),
    ):
        assert verdict.decision is FAIL
        assert all("not binding" not in each.message for each in verdict.complaints if each.metric == metric)


@pytest.mark.parametrize(
    ("faults", "decision"),
    [
        (["blank"], FAIL),
        (["size"], FAIL),
        (["blur"], NOT_JUDGED),
        (["contrast"], NOT_JUDGED),
        (["blur", "contrast"], NOT_JUDGED),
        (["blur", "size"], FAIL),
    ],
)
@pytest.mark.parametrize("bounds", [{}, {"technical": Threshold(0.6)}])
def test_faults_in_units_of_the_references_bind_only_where_references_may_gate(
    faults: list[str], decision: Decision, bounds: Mapping[str, Threshold]
) -> None:
    made = suite(bounds)
    drawn = [result(f"case-{n}", [sample(0, 0.9, faults)]) for n in range(8)]

    for sound, wanted in ((calibration(few=True), decision), (calibration(), FAIL)):
        gate = judge_gate(made, "lora", drawn, calibration=sound)
        assert gate.decision is judge_case(made, made.cases[0], drawn[0], {}, calibration=sound).decision is wanted
        assert all(f"the picture is {kind}" in says(gate) for kind in faults)
        assert ("blurred" in gate.cause) is ("blur" in faults and sound.can_gate)


@pytest.mark.parametrize(("wrong", "drawn", "decision"), [(1, 2, PASS), (2, 4, PASS), (3, 4, FAIL), (0, 4, PASS)])
def test_a_wrong_size_of_most_pictures_fails_and_of_one_warns(wrong: int, drawn: int, decision: Decision) -> None:
    pictures = [sample(seed, 0.9, ["size"] if seed < wrong else []) for seed in range(drawn)]

    verdict = judge_case(suite(), suite().cases[0], result("case-0", pictures), {"quality": (0.01, 30)})

    assert verdict.decision is decision and ("the picture is size" in says(verdict)) is (wrong > 0)


def test_without_references_nothing_is_passed_either() -> None:
    """However good it looks: what cannot fail proves nothing."""
    good = judge_gate(suite(), "lora", results(GOOD), calibration=calibration(few=True))

    assert good.decision is NOT_JUDGED and not needs_more_samples(good) and not wants_training([good])
    assert verdict_from(to_record(good)) == good


@pytest.mark.parametrize(
    ("name", "decision"), [("copy", FAIL), ("diversity", FAIL), ("response", FAIL), ("drift", NOT_JUDGED)]
)
def test_an_alarm_that_sees_without_references_fails_without_them(name: str, decision: Decision) -> None:
    made, sets = suite(alarms={name: "fail"}), {name: SetScore(name, "9 of 9 pictures", True)}

    assert judge_gate(made, "lora", results(GOOD), calibration=calibration(few=True), sets=sets).decision is decision
    assert judge_gate(made, "lora", results(GOOD), calibration=calibration(), sets=sets).decision is FAIL


def test_differences_of_scores_that_mean_nothing_fail_nobody() -> None:
    low = results([mean - 0.1 for mean in GOOD])
    must, others = suite({}, beat=("base",)), {"base": results(GOOD, provider="base")}

    for sound, decision in ((calibration(), FAIL), (calibration(d_prime=0.7), NOT_JUDGED)):
        assert judge_gate(suite({}), "lora", low, baseline=results(GOOD), calibration=sound).decision is decision
        assert judge_gate(must, "lora", low, others=others, calibration=sound).decision is decision


def test_a_lora_without_effect_and_missing_pictures_are_told_whatever_the_references_are() -> None:
    weak, idle = calibration(few=True), Applied(False, "x.safetensors does nothing")
    drawn = [*results(GOOD[:-1]), result("case-7", [lost(0, Outcome.QUOTA)])]

    assert judge_gate(suite(), "lora", results(GOOD), calibration=weak, applied=idle).decision is FAIL
    assert judge_gate(suite(), "lora", drawn, calibration=weak).decision is ERROR
    assert judge_case(suite(), suite().cases[7], drawn[-1], {}, calibration=weak).decision is ERROR


# --- the gate ---------------------------------------------------------------------------------------------------------

GOOD = [0.78, 0.80, 0.82, 0.79, 0.81, 0.80, 0.83, 0.77]


@pytest.mark.parametrize(
    ("means", "decision"),
    [
        (GOOD, PASS),
        ([value - 0.4 for value in GOOD], FAIL),
        ([0.3, 0.9, 0.35, 0.85, 0.4, 0.8, 0.5, 0.7], FAIL),  # their mean is 0.59998, and no seed leaves a doubt
    ],
)
def test_the_gate_speaks_of_these_prompts_and_tells_of_others_beside(means: list[float], decision: Decision) -> None:
    means = [value - 1e-5 for value in means]
    verdict = judge_gate(suite(), "lora", results(means, seeds=10), calibration=calibration())

    own, others = verdict.scores["quality"], stats.simultaneous(np.array(means)[:, None])[0]
    assert verdict.decision is decision
    assert own.n == 8 and own.low == pytest.approx(own.high), "ten seeds that agree"
    assert verdict.details["other_prompts"]["quality"] == pytest.approx(to_record(others))
    assert others.low is not None and others.low < own.mean


def test_with_one_seed_a_prompt_the_gate_falls_back_to_prompts_like_these() -> None:
    verdict = judge_gate(suite(), "lora", results([0.3, 0.9, 0.35, 0.85, 0.4, 0.8, 0.5, 0.7], seeds=1))

    assert verdict.decision is INCONCLUSIVE
    assert verdict.scores["quality"] == stats.mean_interval([0.3, 0.9, 0.35, 0.85, 0.4, 0.8, 0.5, 0.7])


def test_a_verdict_survives_the_way_to_a_record() -> None:
    verdict = judge_gate(suite(), "lora", results(GOOD), calibration=calibration(), baseline=results(GOOD))

    assert verdict_from(to_record(verdict)) == verdict


def test_secondary_metrics_are_held_at_holms_level() -> None:
    """Just below at its own level is not below at the level of three."""
    bounds = {"quality": Threshold(0.2), "clip": Threshold(0.6), "ssim": Threshold(0.6), "features": Threshold(0.6)}
    values = np.array([0.50, 0.61, 0.53, 0.59, 0.50, 0.60, 0.55, 0.57])

    drawn = [result(f"case-{n}", [sample(0, 0.9, clip=float(v), ssim=0.9, features=0.9)]) for n, v in enumerate(values)]

    verdict = judge_gate(suite(bounds), "lora", drawn, calibration=calibration())
    assert verdict.scores["clip"].high is not None and verdict.scores["clip"].high < 0.6
    assert verdict.decision is INCONCLUSIVE
    assert "is below 0.60, but not surely enough when 3 bounds are tested at once" in says(verdict)
    assert "holds the threshold" not in says(verdict)
    primary = judge_gate(suite({"clip": Threshold(0.6)}), "lora", drawn, calibration=calibration())
    assert primary.decision is FAIL  # a family of one has nothing to correct


def test_with_one_case_the_mean_decides_in_every_metric() -> None:
    """One cluster has no interval, and so no p for Holm's correction."""
    made = suite({"quality": Threshold(0.2), "clip": Threshold(0.6), "ssim": Threshold(0.6)})

    for clip, decision in ((0.59, FAIL), (0.60, PASS)):
        drawn = [result("case-0", [sample(0, 0.9, clip=clip, ssim=0.9)])]
        assert judge_gate(made, "lora", drawn).decision is decision


def test_a_bound_of_nothing_is_a_bound_that_everything_reaches() -> None:
    made = suite({"quality": Threshold(0.2), "clip": Threshold(0.0), "ssim": Threshold(0.0)})
    drawn = [result(f"case-{n}", [sample(0, 0.9, clip=0.1 * n, ssim=0.01 * n)]) for n in range(8)]

    assert judge_gate(made, "lora", drawn).decision is PASS


@pytest.mark.parametrize(
    ("change", "noise", "decision"),
    [
        (0.0, 0.002, PASS),
        (-0.01, 0.002, PASS),  # worse, but proven within the margin
        (-0.10, 0.002, FAIL),
        (-0.03, 0.02, FAIL),  # proven worse, and by more than the margin
        (-0.03, 0.05, INCONCLUSIVE),  # worse by more than the margin, but not proven
        (-0.015, 0.01, INCONCLUSIVE),  # proven worse, but perhaps within the margin
        (0.0, 0.2, INCONCLUSIVE),  # too noisy to prove anything
    ],
)
def test_regression_has_three_answers(change: float, noise: float, decision: Decision) -> None:
    wobble = noise * np.array([1, -1, 1, -1, 1, -1, 1, -1])
    now = results([mean + change + shift for mean, shift in zip(GOOD, wobble, strict=True)])

    verdict = judge_gate(suite({}), "lora", now, baseline=results(GOOD), calibration=calibration())

    assert verdict.decision is decision
    assert verdict.details["regression"]["mean"] == pytest.approx(change)


def test_a_complaint_does_not_contradict_its_interval() -> None:
    (found,) = hold("clip", Interval(0.54, 0.50, 0.58, 8), Threshold(0.60), below=False)

    assert found.decision is INCONCLUSIVE and found.open and "holds" not in found.complaint.message
    words = "clip 0.54 [0.50, 0.58] is below 0.60, but not surely enough when several bounds are tested at once"
    assert words in found.complaint.message


def test_no_score_is_shown_outside_its_range() -> None:
    (found,) = hold("clip", Interval(0.04, -0.06, 0.14, 8), Threshold(0.6))

    assert "clip 0.04 [0.00, 0.14]" in found.complaint.message


@pytest.mark.parametrize(
    ("changes", "decision", "words"),
    [
        ([-0.10, -0.11, -0.10, -0.09], FAIL, "sign flips of 4 prompts agree: p 0.12"),
        (
            [-0.10, -0.12, -0.11, -0.10, 0.001],
            INCONCLUSIVE,
            "not proven to stay within the margin 0.02 (sign flips of 5 prompts do not bear it out: p 0.12)",
        ),
    ],
)
def test_with_few_prompts_the_signs_must_agree(changes: list[float], decision: Decision, words: str) -> None:
    """The interval lies below 0 in both."""
    now = results([mean + change for mean, change in zip(GOOD, changes, strict=False)])

    verdict = judge_gate(suite({}), "lora", now, baseline=results(GOOD[: len(changes)]), calibration=calibration())

    assert verdict.details["regression"]["high"] < 0 and verdict.details["regression"]["sign_flip_p"] == 0.125
    assert verdict.decision is decision
    assert words in says(verdict)


@pytest.mark.parametrize(
    ("change", "noise", "decision", "words"),
    [
        (-0.0201, 0.0, FAIL, "worse, and by more than the margin 0.02"),
        (-0.0199, 0.0, PASS, ""),
        (-0.0201, 0.022, FAIL, "worse, and by more than"),  # the interval ends just below 0
        (-0.0201, 0.025, INCONCLUSIVE, "not proven to stay within"),  # and just above
        (-0.0199, 0.022, INCONCLUSIVE, "worse, but not proven to be so by more than"),
        (0.0, 0.022, PASS, ""),  # it ends just within the margin
        (0.0, 0.025, INCONCLUSIVE, "not proven to stay within"),
        (0.05, 0.2, INCONCLUSIVE, "not proven to stay within"),
    ],
)
def test_a_regression_is_worse_surely_and_by_the_margin(
    change: float, noise: float, decision: Decision, words: str
) -> None:
    now = results([mean + change + noise * (1 if n % 2 else -1) for n, mean in enumerate(GOOD)])

    verdict = judge_gate(suite({}), "lora", now, baseline=results(GOOD))

    assert verdict.decision is decision
    assert words in says(verdict) if words else verdict.complaints == ()
    assert f"baseline {change:+.3f} [" in says(verdict) or not words


@pytest.mark.parametrize(("change", "decision"), [(-0.021, INCONCLUSIVE), (-0.019, PASS)])
def test_one_case_in_common_with_the_baseline_proves_nothing(change: float, decision: Decision) -> None:
    verdict = judge_gate(suite({}), "lora", results([0.8 + change]), baseline=results([0.8]))

    assert verdict.decision is decision and "open" not in verdict.details
    assert ("one case in common proves nothing" in says(verdict)) is (decision is INCONCLUSIVE)


def test_the_margin_is_the_suites_own() -> None:
    now, wide = results([mean - 0.04 for mean in GOOD]), suite({}, margin=0.05)

    assert judge_gate(wide, "lora", now, baseline=results(GOOD)).decision is PASS
    assert judge_gate(suite({}), "lora", now, baseline=results(GOOD)).decision is FAIL


@pytest.mark.parametrize(
    ("severity", "rings", "judged", "decision"),
    [
        ("fail", True, True, FAIL),
        ("warn", True, True, PASS),
        ("off", True, True, PASS),
        ("fail", False, True, PASS),
        ("fail", False, False, INCONCLUSIVE),
        ("warn", False, False, PASS),
    ],
)
def test_an_alarm_means_what_the_suite_says(severity: str, rings: bool, judged: bool, decision: Decision) -> None:
    sets = {"diversity": SetScore("diversity", "not judged: one seed", rings, judged)}

    verdict = judge_gate(suite(alarms={"diversity": severity}), "lora", results(GOOD), sets=sets)

    assert verdict.decision is decision and "open" not in verdict.details
    silent = severity == "off" or (not rings and decision is PASS)
    assert [each.metric for each in verdict.complaints] == ([] if silent else ["diversity"])


def test_one_alarm_is_not_taken_as_another_is() -> None:
    sets = {name: SetScore(name, f"{name} rings", True) for name in ("copy", "diversity", "drift")}
    assert judge_gate(suite(), "lora", results(GOOD), sets=sets).decision is PASS  # by themselves they warn

    verdict = judge_gate(suite(alarms={"copy": "off", "diversity": "fail"}), "lora", results(GOOD), sets=sets)

    assert verdict.decision is FAIL and says(verdict) == "diversity rings"  # drift is off where nothing is said


@pytest.mark.parametrize(
    ("severity", "widespread", "decision"),
    [("warn", True, FAIL), ("warn", False, PASS), ("off", True, PASS), ("fail", False, FAIL)],
)
def test_copies_of_most_prompts_are_red_whatever_a_copy_means(
    severity: str, widespread: bool, decision: Decision
) -> None:
    sets = {"copy": SetScore("copy", "many copies", True, details={"widespread": widespread})}

    assert judge_gate(suite(alarms={"copy": severity}), "lora", results(GOOD), sets=sets).decision is decision


def test_what_is_not_judged_opens_a_gate_only_where_its_suite_asked_for_it() -> None:
    sets = {"response": SetScore("response", "not judged: one prompt", judged=False)}

    assert judge_gate(suite(), "lora", results(GOOD), sets=sets).decision is PASS
    asked = judge_gate(suite(alarms={"response": "fail"}), "lora", results(GOOD), sets=sets)
    assert asked.decision is INCONCLUSIVE


@pytest.mark.parametrize(("bound", "told"), [(0.0, True), (-0.1, True), (0.001, False)])
def test_a_bound_that_nothing_can_miss_is_told(bound: float, told: bool) -> None:
    verdict = judge_gate(suite({"quality": Threshold(bound)}), "lora", results(GOOD))

    assert verdict.decision is PASS and ("can never fail" in says(verdict)) is told


def test_a_baseline_of_other_cases_proves_nothing() -> None:
    old = [result(f"other-{number}", [sample(0)]) for number in range(4)]

    assert judge_gate(suite(), "lora", results(GOOD), baseline=old).decision is INCONCLUSIVE


@pytest.mark.parametrize(("rival", "decision"), [(0.60, PASS), (0.95, FAIL), (0.80, FAIL), (None, NOT_JUDGED)])
def test_who_must_be_beaten(rival: float | None, decision: Decision) -> None:
    wobble = 0.02 * np.array([1, -1, 1, -1, 1, -1, 1, -1])
    others = {} if rival is None else {"base": results([rival + shift for shift in wobble], provider="base")}

    verdict = judge_gate(suite(beat=("base",)), "lora", results(GOOD), others=others, calibration=calibration())

    assert verdict.decision is decision


@pytest.mark.parametrize(
    ("told", "rival", "lead", "decision"),
    [
        (0.79, "prompt_only", -0.049, PASS),  # a prompt is enough: not to lose is asked
        (0.79, "prompt_only", -0.051, FAIL),
        (0.79, "base", -0.049, FAIL),  # of nobody else
        (0.81, "prompt_only", -0.049, FAIL),  # the encoder tells lookalikes: a lead is asked
        (0.81, "prompt_only", 0.01, PASS),
        (None, "prompt_only", -0.049, FAIL),
    ],
)
def test_where_a_prompt_is_enough_a_lora_must_not_lose_to_it(
    told: float | None, rival: str, lead: float, decision: Decision
) -> None:
    seen = replace(calibration(), sight=Sight((0.1, 0.9), (0.8, 0.3), 0.9, 0.7, told))
    others = {rival: results([mean - lead for mean in GOOD], provider=rival)}

    verdict = judge_gate(suite({}, beat=(rival,)), "lora", results(GOOD), others=others, calibration=seen)

    assert verdict.decision is decision


@pytest.mark.parametrize(
    ("allowances", "lead", "decision", "words"),
    [
        ({"gemini": 0.05}, -0.049, PASS, ""),
        ({"gemini": 0.05}, -0.051, FAIL, "it is worse by more than the 0.05 allowed"),
        ({"gemini": 0.04}, -0.049, FAIL, "it is worse by more than the 0.04 allowed"),
        ({"freepik": 0.05}, -0.049, FAIL, "it is worse"),  # of nobody else
        ({"gemini": 0.05, "best_competitor": 0.05}, -0.049, PASS, ""),
    ],
)
def test_who_may_be_trailed_by_a_little_need_not_be_beaten(
    allowances: dict[str, float], lead: float, decision: Decision, words: str
) -> None:
    rivals = ("gemini", *(name for name in allowances if name == "best_competitor"))
    others = {"gemini": results([mean - lead for mean in GOOD], provider="gemini")}

    verdict = judge_gate(suite({}, beat=rivals, allowances=allowances), "lora", results(GOOD), others=others)

    assert verdict.decision is decision and says(verdict).endswith(words)
    assert verdict.details["beat"]["gemini"]["mean"] == pytest.approx(lead), "the gap itself is not shifted"


def test_an_allowance_that_is_not_proven_is_named() -> None:
    wobble = 0.2 * np.array([1, -1, 1, -1, 1, -1, 1, -1])
    others = {"gemini": results(np.array(GOOD) + 0.03 + wobble, provider="gemini")}

    verdict = judge_gate(suite({}, beat=("gemini",), allowances={"gemini": 0.05}), "lora", results(GOOD), others=others)

    assert verdict.decision is FAIL and "not proven to stay within 0.05" in says(verdict)
    assert not wants_training([verdict])


def test_an_unproven_lead_is_red_at_the_last_look_and_a_rival_without_pictures_hides_no_other() -> None:
    others = {name: results(GOOD, provider=name) for name in ("base", "gemini")}

    verdict = judge_gate(suite({}, beat=("nobody", "base", "gemini")), "lora", results(GOOD), others=others)

    assert verdict.decision is FAIL and "open" not in verdict.details
    assert verdict.details["unproven"] and not wants_training([verdict])
    assert says(verdict).count("+0.000 [+0.000, +0.000]: not proven better") == 2
    assert "nobody has no pictures to compare with" in says(verdict)
    alone = judge_gate(suite({}, beat=("nobody",)), "lora", results(GOOD))
    assert alone.decision is NOT_JUDGED and "open" not in alone.details


@pytest.mark.parametrize(("seeds", "decision"), [(2, INCONCLUSIVE), (5, INCONCLUSIVE), (12, FAIL)])
@pytest.mark.parametrize("demand", ["warn", "fail"])
def test_while_samples_are_to_come_an_unproven_lead_is_open(seeds: int, decision: Decision, demand: str) -> None:
    made = suite({}, beat=("base",), samples=12, min_samples=2, on_inconclusive=demand)
    drawn, rival = results(GOOD, seeds=seeds), {"base": results(GOOD, seeds=seeds, provider="base")}

    verdict = judge_gate(made, "lora", drawn, others=rival)

    assert verdict.decision is decision and needs_more_samples(verdict) is (decision is INCONCLUSIVE)


def test_what_is_proven_wrong_beside_an_unproven_lead_is_a_reason_to_train() -> None:
    low = results([mean - 0.4 for mean in GOOD])

    verdict = judge_gate(suite(beat=("base",)), "lora", low, others={"base": low})

    assert verdict.decision is FAIL and "unproven" not in verdict.details and wants_training([verdict])


@pytest.mark.parametrize("rival", [0.1, 0.95])
def test_one_case_in_common_with_a_rival_proves_nothing(rival: float) -> None:
    others = {"base": results([rival], provider="base")}

    verdict = judge_gate(suite({}, beat=("base",)), "lora", results(GOOD), others=others)

    assert verdict.decision is NOT_JUDGED and "one case in common proves nothing" in says(verdict)


def test_a_list_of_equals_that_must_be_beaten_costs_no_more_than_one() -> None:
    """Each of three alone at 2.5% would fail 6.5% of runs."""
    must, names, fails, runs = suite({}, beat=("a", "b", "c")), "abc", 0, 600
    for seed in range(runs):
        means = np.random.default_rng(seed).normal(0.7, 0.05, (4, 8))
        others = {name: results(means[place], seeds=1, provider=name) for place, name in enumerate(names, 1)}
        verdict = judge_gate(must, "lora", results(means[0], seeds=1), others=others)
        assert verdict.decision in (PASS, FAIL)
        fails += wants_training([verdict])

    assert fails / runs < 0.04


def test_one_of_a_list_who_is_surely_better_fails_the_gate_and_another_only_perhaps() -> None:
    """At its own level the second is better too; at that of three it is not."""
    shift = np.array([0.025, 0.045] * 4)
    others = {
        "a": results([mean + 0.1 for mean in GOOD], provider="a"),
        "b": results(np.array(GOOD) - 0.3, provider="b"),
        "c": results(np.array(GOOD) + 0.011 + (shift - 0.035) * 1.2, provider="c"),
    }

    listed = judge_gate(suite({}, beat=("a", "b", "c")), "lora", results(GOOD), others=others)
    alone = judge_gate(suite({}, beat=("c",)), "lora", results(GOOD), others=others)
    three = judge_gate(suite({}, beat=("b", "c", "d")), "lora", results(GOOD), others={**others, "d": others["b"]})

    assert listed.decision is FAIL and "quality against a" in says(listed)
    assert alone.decision is FAIL
    assert three.decision is FAIL and "not surely enough when 3 must be beaten at once" in says(three)
    assert three.details["unproven"] and "quality against c -0." in says(three)
    assert wants_training([listed, alone]) and not wants_training([three])


def test_the_best_competitor_is_no_base_and_corrected_for_being_chosen() -> None:
    others = {
        "base": results([0.99] * 8, provider="base"),
        "gemini": results([0.5 + 0.01 * (n % 3) for n in range(8)], provider="gemini"),
        "freepik": results([0.6 + 0.01 * (n % 2) for n in range(8)], provider="freepik"),
    }

    verdict = judge_gate(suite(beat=("best_competitor",)), "lora", results(GOOD), others=others)

    assert verdict.decision is PASS
    assert verdict.details["beat"]["best_competitor"]["mean"] == pytest.approx(0.195, abs=0.01)


def test_bad_calibration_refuses_to_gate_either_way() -> None:
    for means in (GOOD, [0.1] * 8):
        verdict = judge_gate(suite(), "lora", results(means), calibration=calibration(d_prime=0.7))

        assert verdict.decision is NOT_JUDGED
        assert "cannot be told from the impostors (d' 0.70" in says(verdict)


def test_a_lora_without_effect_fails_however_good_the_pictures() -> None:
    verdict = judge_gate(suite(), "lora", results(GOOD), applied=Applied(False, "x.safetensors does nothing"))

    assert verdict.decision is FAIL
    assert verdict.cause == "LoRA not loaded or without effect: x.safetensors does nothing"


def test_a_gate_with_missing_pictures_is_an_error() -> None:
    drawn = [*results(GOOD[:-1]), result("case-7", [lost(0, Outcome.QUOTA, "out of credits")])]

    verdict = judge_gate(suite(), "lora", drawn, calibration=calibration())

    assert verdict.decision is ERROR
    assert "quota" in verdict.cause and "out of credits" in verdict.cause


def test_an_empty_gate_is_an_error() -> None:
    assert judge_gate(suite(), "lora", []).decision is ERROR


# --- what is still open, and what is a reason to train ----------------------------------------------------------------


def test_what_more_pictures_could_settle_is_said() -> None:
    near = judge_gate(suite(), "lora", results([0.5, 0.7, 0.55, 0.68, 0.52, 0.71, 0.6, 0.61], spread=0.1))
    far = judge_gate(suite(), "lora", results(GOOD))

    assert near.decision is INCONCLUSIVE and near.details["open"] == ["quality"] and near.details["faults"] == {}
    assert far.decision is PASS and "open" not in far.details


def test_what_pictures_cannot_settle_is_not_called_open() -> None:
    unmeasured = judge_case(suite({"features": Threshold(0.6)}), suite().cases[0], result("case-0", [sample(0)]), {})
    weak = judge_gate(suite(), "lora", results([0.5, 0.7] * 4), calibration=calibration(d_prime=0.7))

    assert unmeasured.decision is INCONCLUSIVE and weak.decision is NOT_JUDGED
    assert "open" not in unmeasured.details and "open" not in weak.details


@pytest.mark.parametrize(("fall", "named"), [(0.19, False), (0.21, True)])
def test_a_prompt_that_surely_fell_fails_the_gate_by_its_name(fall: float, named: bool) -> None:
    """One of eight, which their mean cannot prove: the outlier blows up its own spread."""
    now = results([GOOD[0] - fall, *[value + 0.001 for value in GOOD[1:]]])

    verdict = judge_gate(suite({}), "lora", now, baseline=results(GOOD))

    assert (verdict.decision is FAIL) is named
    assert verdict.details["regression"]["high"] > 0
    if named:
        assert list(verdict.details["fallen"]) == ["case-0"]
        assert "quality of one prompt fell by more than 0.2 against the baseline: case-0 from 0.78 to 0.57" in says(
            verdict
        )


def test_many_that_fell_are_counted_and_the_first_are_named() -> None:
    verdict = judge_gate(suite({}), "lora", results([value - 0.5 for value in GOOD]), baseline=results(GOOD))

    assert "quality of 8 prompts fell by more than 0.2" in says(verdict) and says(verdict).count(" from 0.") == 5
    assert "and 3 more" in says(verdict) and len(verdict.details["fallen"]) == 8


def test_a_regression_is_open_only_while_the_baseline_has_seeds_left() -> None:
    """Nothing more can be learnt from seeds that the baseline never drew."""
    noisy = [mean + shift for mean, shift in zip(GOOD, 0.2 * np.array([1, -1] * 4), strict=True)]

    short = judge_gate(suite({}), "lora", results(noisy), baseline=results(GOOD))
    long = judge_gate(suite({}), "lora", results(noisy), baseline=results(GOOD, seeds=6))

    assert short.decision is long.decision is INCONCLUSIVE
    assert "open" not in short.details and long.details["open"] == ["regression"]


def test_an_unproven_lead_is_no_reason_to_train_and_a_proven_fault_is() -> None:
    equal = {"gemini": results([value + 0.001 for value in GOOD[::-1]], provider="gemini")}
    better = {"gemini": results([value + 0.1 for value in GOOD], provider="gemini")}
    must = suite(beat=("best_competitor",))

    assert not wants_training([judge_gate(must, "lora", results(GOOD), others=equal)])
    assert wants_training([judge_gate(must, "lora", results(GOOD), others=better)])
    assert wants_training([Verdict(PASS), Verdict(FAIL)])
    assert not wants_training([Verdict(PASS), Verdict(INCONCLUSIVE), Verdict(ERROR)])


# --- what the LoRA learned from ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("train", "held_out", "decision", "words"),
    [
        ("old", "new", PASS, ""),
        ("new", "old", FAIL, "train/ and held_out/ are swapped"),
        ("new", "newer", PASS, "train/ is not what the LoRA learned from"),
    ],
)
@pytest.mark.parametrize("few", [False, True])
def test_a_lora_that_learned_from_other_pictures_is_told_on_a_green_gate_too(
    train: str, held_out: str, decision: Decision, words: str, few: bool
) -> None:
    facts = evidence(metadata=MADE, references=train, held_out=held_out)

    verdict = judge_gate(suite(), "lora", results(GOOD), evidence=facts, calibration=calibration(few=few))

    assert verdict.decision is (NOT_JUDGED if few and decision is PASS else decision)
    told = [each.message for each in verdict.complaints if each.metric == "references"]
    assert len(told) == bool(words) and words in "".join(told)


# --- causes -----------------------------------------------------------------------------------------------------------

HEALTHY = Evidence("lora", "Aldar Kose", "aldar kose", 24, clip=0.9, train=0.95, alike=0.95, agreement=1.0)
MADE = {"harness.subject": "Aldar Kose", "harness.trigger": "aldar kose", "harness.references": "old"}


def evidence(**changes: Any) -> Evidence:
    return Evidence(**{**HEALTHY.__dict__, **changes})


def diagnose(facts: Evidence) -> str:
    """The cause in words; "" where there is none."""
    cause = diagnose_gate(facts)
    return cause.sentence if cause else ""


@pytest.mark.parametrize(
    ("facts", "cause"),
    [
        (evidence(), ""),
        (evidence(clip=0.3, train=0.3, alike=0.35), ""),  # an under-trained LoRA has no planted cause
        (evidence(applied=Applied(False, "no", strength=0.0)), "strength is 0"),
        (evidence(applied=Applied(False, "none of its keys fits", keys=0)), "LoRA not loaded"),
        (evidence(applied=Applied(False, "x does nothing", keys=9, strength=1.0)), "LoRA not loaded or without effect"),
        (evidence(missing={"quota": 3}, message="out of credits"), "pictures are missing (3 quota): out of credits"),
        (evidence(faults={"blank": 24}), "blank images: 24 of 24"),
        (evidence(faults={"blank": 1}), ""),
        (evidence(faults={"blur": 20}), "blurred pictures: 20 of 24"),
        (evidence(agreement=0.1, clip=0.1, train=0.9), "so held_out/ is the wrong one"),
        (evidence(agreement=0.1, clip=0.1, train=0.1), "references of another person: train/ and held_out/"),
        (evidence(metadata={**MADE, "harness.subject": "Baba Yaga"}), "trained for subject 'Baba Yaga'"),
        (evidence(metadata={**MADE, "harness.trigger": "baba"}), "LoRA of another person"),
        (evidence(metadata=MADE, references="new"), ""),  # more pictures were added since: no fault
        (evidence(metadata=MADE, references="new", clip=0.1), "references of another person"),
        (evidence(metadata=MADE, references="old", clip=0.1, alike=0.2), ""),
        (evidence(metadata=MADE, references="new", held_out="old"), "train/ and held_out/ are swapped"),
        (evidence(metadata=MADE, references="new", held_out="old", clip=0.1), "train/ and held_out/ are swapped"),
        (evidence(metadata=MADE, references="old", held_out="new"), ""),
        (evidence(clip=0.05, likest="07.png"), "nearest impostor: 07.png"),
    ],
)
def test_causes(facts: Evidence, cause: str) -> None:
    assert cause in diagnose(facts) if cause else diagnose(facts) == ""


@pytest.mark.parametrize(
    ("over", "under", "cause"),
    [
        ({"faults": {"blank": 13}}, {"faults": {"blank": 12}}, "blank images: 13 of 24"),
        ({"faults": {"blur": 13}}, {"faults": {"blur": 12}}, "blurred pictures: 13 of 24"),
        ({"agreement": 0.49}, {"agreement": 0.50}, "train/ and held_out/ do not show the same one (likeness 0.49"),
        ({"applied": Applied(True, strength=0)}, {"applied": Applied(True, strength=1e-9)}, "strength is 0"),
        ({"applied": Applied(False, "no")}, {"applied": Applied(True, "no")}, "without effect: no"),
        ({"missing": {"timeout": 1}}, {"missing": {}}, "pictures are missing (1 timeout): see the outcome"),
    ],
)
def test_a_cause_is_told_from_its_bound_on(over: dict[str, Any], under: dict[str, Any], cause: str) -> None:
    assert cause in diagnose(evidence(**over))
    assert diagnose(evidence(**under)) == ""


@pytest.mark.parametrize(
    ("facts", "stranger"),
    [
        ({"clip": 0.49, "alike": 0.95}, True),
        ({"clip": 0.50, "alike": 0.95}, False),  # the middle between impostor and genuine
        ({"clip": 0.55, "alike": 0.95}, False),
        ({"clip": 0.20, "alike": 0.60}, True),
        ({"clip": 0.20, "alike": 0.59}, False),  # several strangers are no one person
        ({"clip": 0.45, "alike": 0.76}, True),
        ({"clip": 0.45, "alike": 0.74}, False),  # hardly liker to each other than to the references
        ({"clip": 0.10, "alike": None}, False),
        ({"clip": None, "alike": 0.95}, False),
    ],
)
def test_one_stranger_is_alike_in_himself_and_unlike_the_references(facts: dict[str, Any], stranger: bool) -> None:
    assert ("the pictures are alike among themselves" in diagnose(evidence(**facts))) is stranger


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"clip": 0.49}, True),
        ({"clip": 0.50}, False),
        ({"clip": 0.49, "alike": 0.60}, True),
        ({"clip": 0.49, "alike": 0.59}, False),  # under-trained: of nobody in particular
        ({"clip": 0.49, "alike": None}, True),
        ({"clip": None}, False),
        ({"clip": 0.49, "references": "old"}, False),
        ({"clip": 0.49, "metadata": {}}, False),
    ],
)
def test_other_pictures_than_the_lora_learnt_from_are_told_of_where_it_shows(facts: dict[str, Any], told: bool) -> None:
    cause = diagnose(evidence(**{"metadata": MADE, "references": "new", **facts}))

    assert ("was trained on other pictures than those in train/ now" in cause) is told


@pytest.mark.parametrize(("train", "told"), [(0.42, True), (0.40, False), (None, False)])
def test_which_part_of_the_references_is_wrong_is_told_where_the_pictures_show_it(
    train: float | None, told: bool
) -> None:
    cause = diagnose(evidence(agreement=0.1, clip=0.11, train=train))

    assert "do not show the same one" in cause and ("held_out/ is the wrong one" in cause) is told
    assert "the wrong one" not in diagnose(evidence(agreement=0.1, clip=None, train=0.9))


@pytest.mark.parametrize("name", ["subject", "trigger"])
def test_a_name_is_the_same_whatever_its_case_and_another_is_not(name: str) -> None:
    ours = "Straße Қожа"

    def cause(theirs: str, mine: str = ours) -> str:
        return diagnose(evidence(**{name: mine, "metadata": {f"harness.{name}": theirs}}))

    assert cause(ours.upper()) == cause(ours.lower()) == cause("") == cause("Baba", mine="") == ""
    assert f"was trained for {name} 'Straße Қожа 2', the suite tests 'Straße Қожа'" in cause(f"{ours} 2")


def test_a_right_subject_excuses_no_wrong_trigger() -> None:
    wrong = {"harness.subject": "Aldar Kose", "harness.trigger": "aldar"}

    assert "trained for trigger 'aldar'" in diagnose(evidence(metadata=wrong))


def test_the_surest_cause_is_told_first() -> None:
    everything = {
        "applied": Applied(False, "no", strength=0.0),
        "missing": {"quota": 3},
        "agreement": 0.1,
        "clip": 0.1,
        "faults": {"blank": 24, "blur": 24},
        "metadata": {"harness.subject": "Baba"},
        "references": "new",
    }
    mended: list[dict[str, Any]] = [
        {"applied": Applied(False, "no", strength=1.0)},
        {"applied": None},
        {"missing": {}},
        {"faults": {"blur": 24}},
        {"faults": {}},
        {"agreement": 1.0},
        {"metadata": MADE},
        {"references": "old"},
        {"alike": 0.1},
    ]
    told = [diagnose(evidence(**everything))]
    for step in mended:
        everything |= step
        told.append(diagnose(evidence(**everything)))

    beginnings = [
        *("strength is 0", "LoRA not loaded", "pictures are missing", "blank", "blurred"),
        *("references of another person: train/", "LoRA of another person:  was trained for"),
        *("references of another person:  was trained", "LoRA of another person: the pictures are alike"),
    ]
    assert [text.startswith(words) for text, words in zip(told, beginnings, strict=False)] == [True] * 9
    assert told[9] == "" and area_of("") == "suite"


@pytest.mark.parametrize(
    ("facts", "area"),
    [
        (evidence(applied=Applied(False, "no", strength=0.0)), "strength"),
        (evidence(applied=Applied(False, "none of its keys fits", keys=0)), "lora"),
        (evidence(clip=0.05), "lora"),
        (evidence(missing={"quota": 3}), "provider"),
        (evidence(faults={"blank": 24}), "rendering"),
        (evidence(faults={"blur": 20}), "rendering"),
        (evidence(agreement=0.1, clip=0.1, train=0.1), "references"),
        (evidence(metadata=MADE, references="new", clip=0.1), "references"),
        (evidence(metadata={"harness.trigger": "baba"}), "lora"),
    ],
)
def test_a_cause_is_mended_where_it_arises(facts: Evidence, area: str) -> None:
    cause = diagnose_gate(facts)

    assert cause and cause.area == area_of(cause.name) == area


def test_references_of_another_person_turn_the_gate_red_even_when_scores_pass() -> None:
    verdict = judge_gate(suite(), "lora", results(GOOD), calibration=calibration(agreement=0.1))

    assert verdict.decision is FAIL
    assert "references of another person" in verdict.cause and verdict.cause_name == "references_disagree"


def test_the_cause_is_the_first_complaint() -> None:
    verdict = judge_gate(suite(), "lora", results([0.1] * 8), evidence=evidence(faults={"blank": 24}))

    assert verdict.complaints[0].metric == "cause"
    assert verdict.complaints[0].message == verdict.cause and verdict.complaints[0].severity == "fail"
    lost_one = judge_gate(suite(), "lora", [result("case-0", [lost(0, Outcome.QUOTA)])])
    assert [each.severity for each in lost_one.complaints] == ["error", "error"]
