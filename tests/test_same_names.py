"""Suites of one `suite:` name in different folders keep their own baselines, lines, sheets and histories."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from harness.core.project import find_project, project_path
from harness.engine.merge import merge_results
from harness.judging.record import load_results
from tests.test_plugin_hooks import Project

pytest_plugins = ["pytester"]


@pytest.fixture
def twins(project: Project) -> Project:
    """Two suites called painted: the one of folder `one` is green, that of folder `two` red."""
    project.pytester.makeini("[pytest]\n")
    text = project.suite().read_text(encoding="utf-8")
    shutil.rmtree(project.folder / "suites")
    project.level(0.3, "poor")
    for name, changed in (
        ("one", text),
        ("two", "# a\n# b\n# c\n" + text.replace("lora.safetensors", "poor.safetensors")),
    ):
        (project.folder / name).mkdir()
        (project.folder / name / "painted.yaml").write_text(changed, encoding="utf-8")
    return project


def marks(path: Path) -> dict[str, object]:
    held = json.loads(path.read_text(encoding="utf-8"))
    return {
        "suite": held["suite"],
        "file": held["file"],
        "scores": [round(item["scores"]["quality"], 1) for item in held["scores"]],
    }


def test_each_gets_the_baseline_of_its_own_pictures(twins: Project) -> None:
    run = twins.run("one", "two", "--providers", "lora", "--update-baseline-anyway")

    assert run.ret == 1
    good, poor = (marks(twins.folder / name / "baselines" / "painted.json") for name in ("one", "two"))
    assert good["suite"] == poor["suite"] == "painted"
    assert (good["file"], poor["file"]) == ("one/painted.yaml", "two/painted.yaml")
    assert set(good["scores"]) == {0.9} and set(poor["scores"]) == {0.3}
    again = twins.run("one", "--providers", "lora")
    assert again.ret == 0 and "improved" not in again.stdout.str()
    again.stdout.fnmatch_lines(["baseline: lora unchanged*", "*one/baselines/painted.json*"])


def test_each_is_told_of_by_a_name_and_a_file_of_its_own(twins: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")

    run = twins.run("one", "two", "--providers", "lora")

    errors = [line for line in run.outlines if line.startswith("::error")]
    assert errors and all("file=two/painted.yaml" in line for line in errors), errors
    record = twins.results
    assert [(item["name"], item["file"]) for item in record["suites"]] == [
        ("painted.one", "one/painted.yaml"),
        ("painted.two", "two/painted.yaml"),
    ]
    assert {row["suite"] for row in record["leaderboard"]} == {"painted.one", "painted.two"}
    means = {row["suite"]: round(row["quality"]["mean"], 2) for row in record["leaderboard"]}
    assert means == {"painted.one": 0.9, "painted.two": 0.3}
    assert [item["suite"] for item in record["gate"]["items"]] == ["painted.one", "painted.two"]
    page = (twins.folder / "reports" / "index.html").read_text(encoding="utf-8")
    assert page.count('id="painted-one-title"') + page.count("painted.one") >= 1 and "painted.two" in page


def test_who_is_alone_keeps_its_name(twins: Project) -> None:
    twins.run("two", "--providers", "lora")

    assert [item["name"] for item in twins.results["suites"]] == ["painted"]


def test_an_earlier_record_of_both_is_compared_with_by_its_file(twins: Project) -> None:
    twins.run("one", "two", "--providers", "lora")
    earlier = twins.folder / "earlier.json"
    shutil.copyfile(twins.folder / "reports" / "results.json", earlier)

    run = twins.run("one", "--providers", "lora", "--baseline", "earlier.json")

    assert run.ret == 0 and "improved" not in run.stdout.str()
    held = twins.results["suites"][0]["baseline"]["providers"]["lora"]
    assert held["pairs"] == held["same_pictures"] == 4


def test_two_of_one_folder_do_not_take_each_others_baseline(twins: Project) -> None:
    (twins.folder / "two" / "painted.yaml").rename(twins.folder / "one" / "other.yaml")

    run = twins.run("one", "--providers", "lora", "--update-baseline-anyway")

    run.stdout.fnmatch_lines(
        ["baseline: one/baselines/painted.json was not written: it is of one/other.yaml, another*"]
    )
    assert marks(twins.folder / "one" / "baselines" / "painted.json")["file"] == "one/other.yaml"
    alone = twins.run("one/painted.yaml", "--providers", "lora")
    alone.stdout.fnmatch_lines(["*is of one/other.yaml, another suite called 'painted'*"])
    assert alone.ret == 10


def test_a_renamed_suite_keeps_its_baseline(twins: Project) -> None:
    twins.run("one", "--providers", "lora", "--update-baseline")
    (twins.folder / "one" / "painted.yaml").rename(twins.folder / "one" / "renamed.yaml")

    run = twins.run("one", "--providers", "lora")

    assert run.ret == 0
    run.stdout.fnmatch_lines(["baseline: lora unchanged*", "*one/baselines/painted.json*"])


def test_a_baseline_of_the_version_before_is_read(twins: Project) -> None:
    twins.run("one", "--providers", "lora", "--update-baseline")
    path = twins.folder / "one" / "baselines" / "painted.json"
    held = json.loads(path.read_text(encoding="utf-8"))
    del held["file"]
    path.write_text(json.dumps(held), encoding="utf-8")

    run = twins.run("one", "--providers", "lora")

    assert run.ret == 0
    run.stdout.fnmatch_lines(["baseline: lora unchanged*", "*one/baselines/painted.json*"])
    twins.run("one", "--providers", "lora", "--update-baseline").stdout.fnmatch_lines(["*says the same already*"])


def test_shards_of_other_folders_are_merged_suite_by_suite(
    twins: Project, tmp_path_factory: pytest.TempPathFactory
) -> None:
    records = []
    for number in (1, 2):
        place = tmp_path_factory.mktemp(f"machine{number}") / "checkout"
        shutil.copytree(twins.folder, place)
        os.chdir(place)
        twins.run(f"--rootdir={place}", "one", "two", "--providers", "lora", "--shard", f"{number}/2")
        records.append(load_results(place / "reports" / "results.json"))
    os.chdir(twins.folder)

    whole = merge_results(records)

    assert [(item.name, item.file) for item in whole.suites] == [
        ("painted.one", "one/painted.yaml"),
        ("painted.two", "two/painted.yaml"),
    ]
    assert [len(whole.cases_of(name)) for name in ("painted.one", "painted.two")] == [2, 2]
    assert [item.verdict for item in whole.gate.items] == ["pass", "fail"]


# --- which project a file belongs to ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "root"),
    [
        ({"a/pytest.ini": "", "pyproject.toml": "[tool.pytest.ini_options]\n"}, "a"),
        ({"a/pyproject.toml": "[project]\n", "tox.ini": "[pytest]\n"}, ""),
        ({"a/pyproject.toml": "[project]\n"}, "a"),
        ({"a/setup.cfg": "[metadata]\n", "setup.cfg": "[tool:pytest]\n"}, ""),
        ({}, "a"),
    ],
)
def test_a_project_is_found_from_its_suite_upwards(
    tmp_path: Path, files: dict[str, str], root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = tmp_path / "a" / "suites" / "deep" / "x.yaml"
    suite.parent.mkdir(parents=True)
    suite.touch()
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")

    for here in (tmp_path, suite.parent, Path("/")):
        monkeypatch.chdir(here)
        assert find_project(suite) == tmp_path / root
        assert project_path(suite) == suite.relative_to(tmp_path / root).as_posix()


def test_without_a_sign_it_is_where_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a" / "x.yaml"
    file.parent.mkdir()
    file.touch()
    monkeypatch.chdir(tmp_path)
    assert find_project(file) == tmp_path
    monkeypatch.chdir("/usr")
    assert find_project(file) == tmp_path / "a"
