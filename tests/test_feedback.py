"""What fails, how far, and what to do about it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.core.values import (
    CaseResult,
    Complaint,
    Decision,
    Interval,
    Job,
    Outcome,
    Sample,
    Score,
    SetScore,
    Threshold,
    Verdict,
    to_record,
    verdict_from,
)
from harness.engine.merge import judge_gate_again
from harness.judging.causes import PROBES, find_problems
from harness.judging.causes.pictures import ProviderFacts
from harness.judging.feedback import Feedback, Recommendation, feedback, feedback_file
from harness.judging.record import VerdictRecord
from harness.judging.results import SuiteRun
from harness.scoring.references import TraitReading
from harness.store import Store
from tests.example_run import TRAITS, draw, example_run, verdict_of


@pytest.fixture(scope="module")
def weak(tmp_path_factory: pytest.TempPathFactory) -> SuiteRun:
    return example_run(Store(tmp_path_factory.mktemp("store")), level=0.45)


@pytest.fixture(scope="module")
def strong(tmp_path_factory: pytest.TempPathFactory) -> SuiteRun:
    return example_run(Store(tmp_path_factory.mktemp("store")), level=1.0)


def told(run: SuiteRun) -> Feedback:
    return feedback(run.suite, run.verdicts, run.results, TRAITS, gate=run.gates["lora"])


def test_a_failing_lora_is_told_which_metric_and_how_far(weak: SuiteRun) -> None:
    found = told(weak)

    clip = next(item for item in found.metrics if item.name == "clip")
    assert found.failing
    assert clip.gap is not None and 0.05 < clip.gap < 0.25
    assert clip.certain
    assert clip.images and all(len(image) == 64 for image in clip.images)


def test_lagging_traits_are_named_and_the_furthest_comes_first(weak: SuiteRun) -> None:
    found = told(weak)

    assert found.traits[0].name == "clothing: blue"
    assert (found.traits[0].category, found.traits[0].value) == ("clothing", "blue")
    assert [item.gap for item in found.traits] == sorted((item.gap for item in found.traits), reverse=True)


def test_a_good_lora_needs_nothing(strong: SuiteRun) -> None:
    found = told(strong)

    assert not found.failing
    assert (found.metrics, found.cases, found.recommendations) == ((), (), ())
    assert found.lead is not None and found.lead.low is not None and found.lead.low > 0


def test_the_best_competitor_is_the_nearest(strong: SuiteRun) -> None:
    found = told(strong)

    assert found.best_competitor == "painter"
    assert found.lora_score is not None and found.competitor_score is not None
    assert found.lora_score > found.competitor_score


def test_the_loras_own_base_is_no_competitor(strong: SuiteRun) -> None:
    results = {name: items for name, items in strong.results.items() if name in ("lora", "base", "prompt_only")}

    found = feedback(strong.suite, strong.verdicts, results, TRAITS, gate=strong.gates["lora"])

    assert (found.best_competitor, found.competitor_score, found.lead) == (None, None, None)


def test_locked_cases_never_reach_feedback(weak: SuiteRun, tmp_path: Path) -> None:
    locked = draw(Store(tmp_path), weak.suite, "lora", "locked-desert", 0.0)
    seen = replace(
        weak,
        results={**weak.results, "lora": [*weak.results["lora"], locked]},
        verdicts={**weak.verdicts, locked.job: verdict_of(weak.suite, locked)},
    )

    assert told(seen) == told(weak)


def test_a_diagnosed_cause_comes_first(weak: SuiteRun) -> None:
    complaints = (Complaint("applied", "not applied"),)
    gate = Verdict(Decision.FAIL, complaints=complaints, cause="strength is 0", cause_name="strength_zero")

    found = feedback(weak.suite, weak.verdicts, weak.results, TRAITS, gate=gate)

    assert found.cause == "strength is 0"
    assert (found.recommendations[0].area, found.recommendations[0].priority) == ("strength", "high")
    assert "strength is 0" in found.recommendations[0].message


@pytest.mark.parametrize(
    ("name", "area"),
    [
        ("other_person", "lora"),
        ("lora_without_effect", "lora"),
        ("references_disagree", "references"),
        ("strength_zero", "strength"),
        ("of a newer version", "suite"),
        ("", "suite"),  # of an older one
    ],
)
def test_after_a_cause_that_training_cannot_mend_no_training_is_advised(weak: SuiteRun, name: str, area: str) -> None:
    gate = Verdict(Decision.FAIL, cause="LoRA and references, in whatever words", cause_name=name)

    found = feedback(weak.suite, weak.verdicts, weak.results, TRAITS, gate=gate)

    assert found.recommendations[0].area == area
    assert not {item.area for item in found.recommendations} & {"training", "data"}
    assert not any("train longer" in item.message for item in found.recommendations)
    assert found.metrics, "what falls short is still told"


def test_a_cause_that_took_the_lora_file_to_see_keeps_its_area_in_a_merge(weak: SuiteRun) -> None:
    words = "LoRA of another person: give the right file"
    seen = VerdictRecord(verdict="fail", cause=words, cause_name="wrong_lora")

    gate = judge_gate_again(weak, "lora", [VerdictRecord(verdict="fail"), seen], None, None)
    found = feedback(weak.suite, weak.verdicts, weak.results, TRAITS, gate=gate)

    assert (gate.cause, gate.cause_name) == (seen.cause, "wrong_lora")
    assert gate == verdict_from(to_record(gate)) and found.recommendations[0].area == "lora"


def test_a_metric_that_single_cases_bound_is_told(weak: SuiteRun) -> None:
    """No threshold of the suite, and one of a single case, which the pictures do not reach."""
    first, *rest = weak.suite.cases
    bound = replace(weak.suite, thresholds={}, cases=(replace(first, thresholds={"clip": Threshold(0.99)}), *rest))

    (found,) = feedback(bound, weak.verdicts, weak.results, TRAITS).metrics

    assert (found.name, found.target, found.bound, found.cases) == ("clip", 0.99, "fail", (first.id,))


def test_between_fail_and_warn_is_told_and_fails_nothing(weak: SuiteRun) -> None:
    bound = replace(weak.suite, thresholds={"clip": Threshold(0.01, 0.99)})

    found = feedback(bound, {}, weak.results, TRAITS)

    (short,) = found.warned
    assert (short.name, short.bound, short.target) == ("clip", "warn", 0.99)
    assert found.metrics == () and found.to_record()["warned"][0]["gap"] > 0
    told = next(item for item in found.recommendations if item.message.startswith("clip is"))
    assert told.priority == "low" and "below the warning level 0.99, and not failing" in told.message
    assert not found.failing


def test_missing_pictures_are_a_matter_of_the_provider(weak: SuiteRun) -> None:
    job = Job(weak.suite.path.as_posix(), "angry-city", "lora")
    lost = CaseResult(job, (Sample("k", 0, Outcome.AUTH, message="key not accepted"),))
    verdict = Verdict(Decision.ERROR, complaints=(Complaint("outcome", "no picture", "error"),))

    found = feedback(weak.suite, {job: verdict}, {"lora": [lost]})

    assert found.lora_score is None and found.failing
    assert (found.recommendations[0].area, found.recommendations[0].priority) == ("provider", "high")
    assert "key not accepted" in found.recommendations[0].message


def test_the_record_is_plain_json_with_the_gaps(weak: SuiteRun) -> None:
    record = json.loads(json.dumps(told(weak).to_record(), allow_nan=False))

    wanted = {"lora_score", "best_competitor", "competitor_score", "score_gap", "needs_improvement", "recommendations"}
    assert wanted <= record.keys()
    assert record["score_gap"].keys() == {"mean", "low", "high", "n"}
    assert record["recommendations"][0].keys() == {"area", "message", "priority", "evidence"}
    assert record["metrics"][0]["gap"] > 0


def test_nothing_at_all_is_no_crash(weak: SuiteRun) -> None:
    found = feedback(weak.suite, {}, {})

    assert (found.provider, found.lora_score, found.best_competitor, found.lead) == ("lora", None, None, None)
    assert not found.failing


def test_every_score_has_its_interval_and_every_shortfall_its_evidence(weak: SuiteRun) -> None:
    record = told(weak).to_record()

    assert record["intervals"]["lora_score"]["mean"] == record["lora_score"]
    assert record["intervals"]["score_gap"]["low"] < record["intervals"]["score_gap"]["mean"]
    clip = next(item for item in record["recommendations"] if item["message"].startswith("clip is"))
    assert clip["evidence"]["gap"] > 0 and clip["evidence"]["certain"] and clip["evidence"]["images"]


# --- feedback.json ----------------------------------------------------------------------------------------------------


def test_the_file_has_plain_numbers_and_the_provider_most_in_need_first(weak: SuiteRun, strong: SuiteRun) -> None:
    good, bad = told(strong).to_record(), told(weak).to_record()

    file = json.loads(json.dumps(feedback_file([good, bad]), allow_nan=False))

    assert file["failing"] and file["lora_score"] == bad["lora_score"]
    assert file["score_gap"] == -bad["score_gap"]["mean"]
    assert file["intervals"]["score_gap"]["high"] == -bad["score_gap"]["low"]
    assert file["best_competitor"] == "painter" and file["recommendations"][0]["priority"] == "high"
    assert [other["lora_score"] for other in file["others"]] == [good["lora_score"]]


def test_the_file_of_a_run_without_a_gate_has_every_key() -> None:
    empty = feedback_file([])

    assert (empty["recommendations"], empty["others"], empty["failing"]) == ([], [], False)
    assert (empty["score_gap"], empty["needs_improvement"]) == (None, None)


def should_continue_training(told: dict[str, Any]) -> bool:
    """As training scripts decide it from such a file."""
    return bool(told["score_gap"] > 0.05)


@pytest.mark.parametrize(("lead", "goes_on"), [(-0.077, True), (-0.051, True), (-0.049, False), (0.077, False)])
def test_a_script_that_asks_who_is_behind_by_more_than_a_twentieth_decides_rightly(
    strong: SuiteRun, lead: float, goes_on: bool
) -> None:
    record = replace(told(strong), lead=Interval(lead, lead - 0.02, lead + 0.01, 4)).to_record()

    file = feedback_file([record])

    assert should_continue_training(file) is goes_on
    assert file["needs_improvement"] is (lead < 0)
    assert file["intervals"]["score_gap"] == to_record(Interval(-lead, -lead - 0.01, -lead + 0.02, 4))


def test_areas_say_how_far_the_lora_lags_and_agree_with_the_gap(weak: SuiteRun, strong: SuiteRun) -> None:
    behind, ahead = (feedback_file([told(run).to_record()]) for run in (weak, strong))

    assert behind["areas"].keys() == ahead["areas"].keys() == {"clip_similarity", "feature_matching", "ssim"}
    assert behind["score_gap"] > 0 and behind["areas"]["clip_similarity"]["mean"] > 0
    assert ahead["score_gap"] < 0 and ahead["areas"]["clip_similarity"]["mean"] < 0


def test_no_score_leaves_its_scale_and_no_difference_does(weak: SuiteRun) -> None:
    """Two prompts that differ widely: the t interval of their mean goes beyond."""
    cases = [item for item in weak.results["lora"] if item.job.case == weak.results["lora"][0].job.case]
    other = next(item for item in weak.results["lora"] if item.job.case != cases[0].job.case)
    apart = [_rescored(cases[0], 0.02), _rescored(other, 0.98)]
    rival = [
        _rescored(replace(item, job=replace(item.job, provider="painter")), 1.0 - at)
        for item, at in zip(apart, (0.02, 0.98), strict=True)
    ]

    found = feedback(weak.suite, {}, {"lora": apart, "painter": rival}, TRAITS)

    score, gap = found.intervals["lora_score"], found.lead
    assert score and (score.low, score.high) == (0.0, 1.0)
    assert gap and gap.low is not None and gap.high is not None and -1 <= gap.low < gap.high <= 1
    assert all(-1 <= (area.low or 0) <= (area.high or 0) <= 1 for area in found.areas.values())


def _rescored(result: CaseResult, level: float) -> CaseResult:
    scores = {name: Score(name, level, level) for name in ("clip", "features", "ssim", "quality")}
    return replace(result, samples=tuple(replace(sample, scores=scores) for sample in result.samples))


def test_the_best_two_of_each_area_and_trait_are_named(weak: SuiteRun) -> None:
    leaders = told(weak).leaders

    assert {"clip_similarity", "feature_matching", "ssim", "facial_hair"} <= leaders.keys()
    assert leaders["clip_similarity"][0] == "painter" and len(leaders["clip_similarity"]) == 2
    assert feedback_file([told(weak).to_record()])["leaders"]["facial_hair"] == list(leaders["facial_hair"])


def test_a_record_of_an_older_run_has_its_gap_turned_as_well() -> None:
    file = feedback_file([{"score_gap": 0.077, "needs_improvement": True}])

    assert (file["score_gap"], file["needs_improvement"], file["failing"]) == (-0.077, False, True)


# --- problems of LoRA practice, told from figures ---------------------------------------------------------------------


def shown(clip: float, expected: str = "sad", seen: str = "sad", case: str = "one") -> CaseResult:
    """Four pictures of one prompt that asks for an expression and shows another."""
    details = {"expression": {"value": expected, "seen": seen, "score": float(seen == expected)}}
    scores = {"clip": Score("clip", clip), "prompt": Score("prompt", 0.5, details=details)}
    samples = tuple(Sample(f"{case}{seed}", seed, Outcome.OK, "a" * 64, scores=scores) for seed in range(4))
    return CaseResult(Job("suite.yaml", case, "lora"), samples)


def copies(sources: dict[str, int], pictures: int = 12) -> dict[str, SetScore]:
    count = sum(sources.values())
    details = {"copies": count, "pictures": pictures, "share": count / pictures, "sources": sources}
    return {"copy": SetScore("copy", "copies", alarm=True, details=details)}


def read(category: str, value: str, share: float) -> dict[str, TraitReading]:
    return {category: TraitReading(category, value, value, share, share, True)}


SURE = Interval(0.2, 0.15, 0.25, 6)
SMILING = [
    shown(0.9, "sad", "smiling", "one"),
    shown(0.9, "angry", "smiling", "two"),
    shown(0.9, "smiling", "smiling", "three"),
]
SOBER = [shown(0.9, "sad", "sad", "one"), shown(0.9, "angry", "angry", "two")]
FACE = {"eyes": SURE, "clothing": SURE}
ON = {"ok": True, "difference": 0.31}

PROBLEMS: dict[str, tuple[ProviderFacts, str, str]] = {
    # what is measured: the facts, the area, words of the message
    "copies of many pictures": (
        ProviderFacts(SOBER, sets=copies({"01.png": 3, "02.png": 3, "03.png": 3})),
        "training",
        "9 of 12 pictures copy training pictures: over-trained",
    ),
    "copies of one picture": (
        ProviderFacts(SOBER, sets=copies({"04.png": 7, "02.png": 1})),
        "data",
        "7 of them 04.png: remove what repeats it",
    ),
    "one picture for every seed": (
        ProviderFacts(SOBER, sets={"diversity": SetScore("diversity", "", alarm=True, details={"share": 0.25})}),
        "training",
        "only 25% differ from the others of their prompt",
    ),
    "always smiling, like the training pictures": (
        ProviderFacts(SMILING, base=SOBER, readings=read("expression", "smiling", 0.83)),
        "data",
        "'smiling' is drawn in 100% [100%, 100%] of the pictures that ask for something else, and 83% of the training",
    ),
    "always smiling, unlike the training pictures": (
        ProviderFacts(SMILING, base=SOBER, readings=read("expression", "smiling", 0.4)),
        "training",
        "the training pictures do not explain it",
    ),
    "always smiling, like the base": (ProviderFacts(SMILING, base=SMILING), "prompt", "the base does so too"),
    "a face that was not learnt": (
        ProviderFacts([shown(0.4)], low={"clip": SURE}, lagging=FACE, readings=read("eyes", "narrow", 0.9)),
        "training",
        "the face is lost: clip 0.20 with eyes 0.20; the training pictures show it (in 90% of them at least)",
    ),
    "a face that the training pictures hardly show": (
        ProviderFacts([shown(0.4)], low={"clip": SURE}, lagging=FACE, readings=read("eyes", "narrow", 0.4)),
        "data",
        "eyes in 40%): add frontal portraits",
    ),
    "a trigger that calls nothing": (
        ProviderFacts([shown(0.05)], base=[shown(0.03)], applied=ON),
        "training",
        "control pictures differ by 0.31) and the subject does not come: clip 5%",
    ),
    "others that change": (
        ProviderFacts(SOBER, sets={"drift": SetScore("drift", "the subject leaks", alarm=True)}),
        "training",
        "the subject leaks",
    ),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_problem_is_told_with_its_figures(name: str) -> None:
    facts, area, message = PROBLEMS[name]

    (cause,) = find_problems(facts)

    assert cause.area == area == PROBES[cause.name].area and message in cause.sentence
    assert cause.figures


SILENT: dict[str, ProviderFacts] = {
    "pictures as they should be": ProviderFacts(SOBER, base=SOBER, readings=read("expression", "smiling", 0.9)),
    "misses that go every way": ProviderFacts(
        [shown(0.9, "sad", "angry", "one"), shown(0.9, "angry", "surprised", "two")]
    ),
    "a mean that is low and a face that is there": ProviderFacts(
        [shown(0.4)], low={"clip": SURE}, lagging={"clothing": SURE}
    ),
    "a LoRA that was not applied": ProviderFacts(
        [shown(0.0)], base=[shown(0.0)], applied={"ok": False, "difference": 0.0}
    ),
    "far from the subject and far from the base": ProviderFacts([shown(0.25)], base=[shown(0.0)], applied=ON),
    "too few seeds": ProviderFacts(SOBER, sets={"diversity": SetScore("diversity", "not judged", judged=False)}),
}


@pytest.mark.parametrize("name", SILENT)
def test_what_the_figures_do_not_show_is_not_claimed(name: str) -> None:
    assert find_problems(SILENT[name]) == []


def test_a_known_cause_silences_what_only_follows_from_it(weak: SuiteRun) -> None:
    gate = Verdict(Decision.FAIL, cause="LoRA of another person")
    sets = copies({"01.png": 9})

    with_cause = feedback(weak.suite, weak.verdicts, weak.results, TRAITS, gate=gate, sets=sets)
    without = feedback(weak.suite, weak.verdicts, weak.results, TRAITS, gate=weak.gates["lora"], sets=sets)

    def copied(found: Feedback) -> list[Recommendation]:
        return [item for item in found.recommendations if "copy training pictures" in item.message]

    assert not copied(with_cause) and len(copied(without)) == 1
