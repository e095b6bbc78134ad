"""What a person reads in the terminal."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from harness.engine.context import Progress
from harness.results import SuiteRun, build_results
from harness.store import Store
from harness.terminal import (
    ProgressLine,
    cells,
    clean,
    duration,
    failure_text,
    leaderboard_table,
    progress_text,
    summary_text,
)
from harness.values import CaseResult, Complaint, Decision, Job, Outcome, Sample, Usage, Verdict
from tests.example_run import ROUND, RUN, example_run


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def weak(store: Store) -> SuiteRun:
    return example_run(store, level=0.45)


@pytest.fixture(scope="module")
def record(weak: SuiteRun) -> dict[str, Any]:
    return build_results(RUN, [weak], Usage(48, 3, 1), (ROUND,))


@pytest.mark.parametrize("width", [30, 40, 60, 80, 100, 160])
def test_the_leaderboard_fits_the_terminal(record: dict[str, Any], width: int) -> None:
    text = leaderboard_table(record["leaderboard"], width)

    assert max(map(cells, text.splitlines())) <= width
    assert "painter" in text


def test_a_wide_leaderboard_says_everything(record: dict[str, Any]) -> None:
    text = leaderboard_table(record["leaderboard"], 160)

    assert "lora (gate)" in text
    assert "painter (emulated)" in text
    assert "7, 2 quota, 3 refused" in text
    assert "vs lora" in text and "-0.2" in text


def test_no_pictures_is_said_and_is_no_zero(record: dict[str, Any]) -> None:
    row = {**record["leaderboard"][0], "quality": None, "clip": None, "versus": {}, "outcomes": {"quota": 4}}

    text = leaderboard_table([row], 120)

    assert "no scores" in text and "4 quota" in text and "0.00" not in text


def test_the_summary_ends_with_the_verdict_and_the_report(record: dict[str, Any]) -> None:
    lines = summary_text(record, 100, Path("reports/index.html")).splitlines()

    assert lines[-1] == f"report:  {Path('reports/index.html')}"
    assert any(line.startswith("verdict: FAIL  aldar-kose, lora: quality is 0.45") for line in lines)
    assert any(line.startswith("round 1: promoted, challenger +0.31 [+0.24, +0.38]") for line in lines)
    assert "pictures: 48 drawn, 3 from the store" in lines


def test_a_failing_case_says_what_why_where_and_what_to_do(store: Store, weak: SuiteRun) -> None:
    result = weak.results["lora"][0]
    case = weak.suite.case(result.job.case)

    text = failure_text(weak.suite, case, "lora", weak.verdicts[result.job], result, store.image_path)

    assert text.startswith("aldar-kose::smiling-steppe::lora  FAIL")
    assert "prompt: aldar kose, smiling, steppe background" in text
    assert "0.48 [0.42, 0.54]  >= 0.60  below" in text
    assert "missing traits: clothing: blue 0.0" in text
    worst = min(result.samples, key=lambda sample: sample.scores["quality"].value or 0)
    assert f"worst sample: seed {worst.seed}" in text and str(store.image_path(worst.image or "")) in text
    assert "do: train longer" in text


def test_an_error_says_how_it_ended(weak: SuiteRun) -> None:
    job = Job(weak.suite.path.as_posix(), "angry-city", "lora")
    lost = CaseResult(job, (Sample("k", 0, Outcome.AUTH, message="401"), Sample("l", 1, Outcome.AUTH, message="401")))
    verdict = Verdict(Decision.ERROR, complaints=(Complaint("outcome", "no picture came", "error"),))

    text = failure_text(weak.suite, weak.suite.case("angry-city"), "lora", verdict, lost, Path)

    assert "seed 0: auth 401" in text
    assert "error: no picture came" in text
    assert "do: the key was not accepted" in text


def test_the_gate_names_its_cause(weak: SuiteRun) -> None:
    verdict = Verdict(Decision.FAIL, complaints=(Complaint("applied", "nothing changed"),), cause="strength is 0")

    text = failure_text(weak.suite, None, "lora", verdict, None, Path)

    assert text.startswith("aldar-kose::gate::lora  FAIL")
    assert "cause: strength is 0" in text and "do: mend the cause" in text


def test_a_foreign_text_cannot_drive_the_terminal() -> None:
    assert clean("\x1b[31mred\x07\nnext \u202eevil") == "?[31mred? next ?evil"
    assert len(clean("x" * 10_000)) == 400
    assert clean("Алдар Көсе") == "Алдар Көсе"


def test_hostile_names_fit_too(record: dict[str, Any]) -> None:
    hostile = copy.deepcopy(record)
    for row in hostile["leaderboard"]:
        row["provider"] = "名前\x1b[2J" + "ш" * 10_000
    hostile["gate"]["reasons"] = ["\x1b]0;title\x07" + "r" * 10_000]

    text = summary_text(hostile, 80)

    assert "\x1b" not in text and max(map(cells, text.splitlines())) < 500


def test_nothing_to_say_is_no_crash() -> None:
    assert "verdict: INCONCLUSIVE" in summary_text(build_results(RUN, [], Usage()))


def test_progress_says_how_far_and_how_long() -> None:
    text = progress_text(Progress("draw", 12, 48, 5, 0.25, 65.0, "lora"), 100)

    assert text == "drawing lora, 12/48 pictures (5 from the store), $0.25, 1 min 05 s left"
    assert cells(progress_text(Progress("train", message="x" * 500), 60)) <= 60
    assert (duration(4), duration(7_500)) == ("4 s", "2 h 05 min")


def test_the_live_line_cleans_up_after_itself() -> None:
    written: list[str] = []
    line = ProgressLine(written.append, live=True)

    line(Progress("draw", 1, 2))
    line(Progress("done"))

    assert written[0].startswith("\rdrawing, 1/2 pictures")
    assert written[1].startswith("\r ") and written[1].endswith("\r")


def test_where_no_line_can_be_overwritten_only_long_stages_are_told() -> None:
    written: list[str] = []
    line = ProgressLine(written.append, live=False)

    for stage in ("draw", "train", "train", "score", "done"):
        line(Progress(stage))

    assert "".join(written).split() == ["training"]
