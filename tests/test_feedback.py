"""What fails, how far, and what to do about it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness.feedback import Feedback, feedback
from harness.results import SuiteRun
from harness.store import Store
from harness.values import CaseResult, Complaint, Decision, Job, Outcome, Sample, Verdict
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
    assert found.needs_improvement
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

    assert not found.needs_improvement
    assert (found.metrics, found.cases, found.recommendations) == ((), (), ())
    assert found.score_gap is not None and found.score_gap.low is not None and found.score_gap.low > 0


def test_the_best_competitor_is_the_nearest(strong: SuiteRun) -> None:
    found = told(strong)

    assert found.best_competitor == "painter"
    assert found.lora_score is not None and found.competitor_score is not None
    assert found.lora_score > found.competitor_score


def test_locked_cases_never_reach_feedback(weak: SuiteRun, tmp_path: Path) -> None:
    locked = draw(Store(tmp_path), weak.suite, "lora", "locked-desert", 0.0)
    seen = replace(
        weak,
        results={**weak.results, "lora": [*weak.results["lora"], locked]},
        verdicts={**weak.verdicts, locked.job: verdict_of(weak.suite, locked)},
    )

    assert told(seen) == told(weak)


def test_a_diagnosed_cause_comes_first(weak: SuiteRun) -> None:
    gate = Verdict(Decision.FAIL, complaints=(Complaint("applied", "not applied"),), cause="strength is 0")

    found = feedback(weak.suite, weak.verdicts, weak.results, TRAITS, gate=gate)

    assert found.cause == "strength is 0"
    assert found.recommendations[0].priority == "high"
    assert "strength is 0" in found.recommendations[0].message


def test_missing_pictures_are_a_matter_of_the_provider(weak: SuiteRun) -> None:
    job = Job(weak.suite.path.as_posix(), "angry-city", "lora")
    lost = CaseResult(job, (Sample("k", 0, Outcome.AUTH, message="key not accepted"),))
    verdict = Verdict(Decision.ERROR, complaints=(Complaint("outcome", "no picture", "error"),))

    found = feedback(weak.suite, {job: verdict}, {"lora": [lost]})

    assert found.lora_score is None and found.needs_improvement
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

    assert (found.provider, found.lora_score, found.best_competitor, found.score_gap) == ("lora", None, None, None)
    assert not found.needs_improvement
