"""A page made from a record shows what the pictures' scores give, and says where the record says otherwise."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.commands.cli import main
from harness.engine.rederive import verified
from harness.judging.record import load_results
from tests.test_plugin_hooks import Project, lose

pytest_plugins = ["pytester"]
Edit = Callable[[dict[str, Any]], None]


@pytest.fixture
def red(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A suite that was run, and is red."""
    project.suite()
    project.level(0.4)
    assert project.run().ret == 1
    monkeypatch.chdir(project.folder)
    return project


def rerender(project: Project, edit: Edit, capsys: pytest.CaptureFixture[str]) -> tuple[str, str, dict[str, Any]]:
    """What `harness report` says, the page's text, and the record beside the page."""
    record = project.results
    edit(record)
    (project.folder / "edited.json").write_text(json.dumps(record), encoding="utf-8")
    capsys.readouterr()
    assert main(["report", "--from", "edited.json", "--report-dir", "again"]) == 0
    page = (project.folder / "again" / "index.html").read_text(encoding="utf-8")
    return capsys.readouterr().err, page, json.loads((project.folder / "again" / "results.json").read_text("utf-8"))


def test_an_honest_record_is_shown_as_it_is(red: Project, capsys: pytest.CaptureFixture[str]) -> None:
    told, page, again = rerender(red, lambda record: None, capsys)

    assert not told and "<title>FAIL" in page and again == red.results


def green(record: dict[str, Any]) -> None:
    record["gate"]["verdict"] = "pass"
    record["gate"]["reasons"] = ["painted, lora: quality 0.95 [0.94, 0.96], wanted 0.60"]


def green_everywhere(record: dict[str, Any]) -> None:
    green(record)
    for item in [*record["gate"]["items"], *record["cases"]]:
        item["verdict"] = "pass"
        item["complaints"] = []
        item["scores"] = {name: {**score, "mean": 0.95} for name, score in item["scores"].items()}
    for row in record["leaderboard"]:
        row["quality"] = {**row["quality"], "mean": 0.95}


@pytest.mark.parametrize("edit", [green, green_everywhere])
def test_an_edited_verdict_is_not_shown(red: Project, capsys: pytest.CaptureFixture[str], edit: Edit) -> None:
    told, page, again = rerender(red, edit, capsys)

    assert "it says pass, its scores say fail" in told
    assert "<title>FAIL" in page and "does not agree with its own pictures" in page
    assert again["gate"]["verdict"] == "fail" and "it says pass, its scores say fail" in again["gate"]["reasons"][0]


def test_edited_scores_of_pictures_are_held_against_the_store(red: Project, capsys: pytest.CaptureFixture[str]) -> None:
    def edit(record: dict[str, Any]) -> None:
        for case in record["cases"]:
            for sample in case["samples"] if case["provider"] == "lora" else ():
                for score in sample["scores"].values():
                    score["value"] = 0.95

    told, page, again = rerender(red, edit, capsys)

    assert "one by lora, seed 0: says clip 0.95, the store 0.40" in told or "says quality 0.95, the store 0.40" in told
    assert again["gate"]["verdict"] == "error" and "<title>PASS" not in page


def test_an_edited_row_is_told_and_the_verdict_stays(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    project.suite()
    assert project.run().ret == 0

    def edit(record: dict[str, Any]) -> None:
        record["leaderboard"][0]["quality"]["mean"] = 0.99

    record = project.results
    edit(record)
    path = project.folder / "edited.json"
    path.write_text(json.dumps(record), encoding="utf-8")
    shown, told = verified(load_results(path))

    assert told == ["the leaderboard's lora in painted: says quality 0.99, found 0.90"]
    assert shown.gate.verdict == "pass" and shown.rows("painted")[0].scores["quality"].mean < 0.91


def test_means_within_what_is_shown_are_the_same(project: Project) -> None:
    project.suite()
    project.run()
    record = project.results
    for by, count in ((0.004, 0), (0.006, 1)):
        edited = json.loads(json.dumps(record))
        edited["leaderboard"][0]["quality"]["mean"] += by
        path = project.folder / "edited.json"
        path.write_text(json.dumps(edited), encoding="utf-8")
        assert len(verified(load_results(path))[1]) == count


def test_a_record_without_what_is_needed_says_so(red: Project, capsys: pytest.CaptureFixture[str]) -> None:
    def edit(record: dict[str, Any]) -> None:
        for suite in record["suites"]:
            del suite["definition"]

    told, page, _ = rerender(red, edit, capsys)

    assert "its verdicts could not be derived again" in told and "<title>FAIL" in page


Prepare = Callable[[Project], tuple[str, ...]]


def some(project: Project) -> tuple[str, ...]:
    return ("-k", "one")


def more_seeds(project: Project) -> tuple[str, ...]:
    return ("--samples", "5", "--locked")


def shard(project: Project) -> tuple[str, ...]:
    return ("--shard", "1/2")


def lossy(project: Project) -> tuple[str, ...]:
    project.painters["lora"]["trouble"] = lose("two")
    return ()


def beaten(project: Project) -> tuple[str, ...]:
    project.suite(("cases:", "beat: [base]\ncases:"))
    return ()


def open_number(project: Project) -> tuple[str, ...]:
    project.suite(("samples: 2", "samples: {min: 2, max: 6}"))
    project.level(0.6)
    return ()


def unwritten(project: Project) -> tuple[str, ...]:
    project.suite(("{quality: 0.6}", "{quality: 0.6, prompt: 0.5}"))
    return ()


def regressed(project: Project) -> tuple[str, ...]:
    project.run("--update-baseline")
    project.level(0.75)
    return ()


def improved(project: Project) -> tuple[str, ...]:
    project.run("--update-baseline")
    project.level(0.95)
    return ()


@pytest.mark.parametrize(
    "prepare", [some, more_seeds, shard, lossy, beaten, open_number, unwritten, regressed, improved]
)
@pytest.mark.parametrize("level", [0.9, 0.61, 0.4])
def test_honest_records_of_every_kind_agree(project: Project, prepare: Prepare, level: float) -> None:
    project.suite()
    words = prepare(project)
    if prepare not in (open_number, regressed, improved):
        project.level(level)
    project.run(*words)

    path: Path = project.folder / "reports" / "results.json"
    shown, told = verified(load_results(path))

    assert told == [] and shown.gate.verdict == project.results["gate"]["verdict"]
