"""In repositories without a suite the plugin is a quiet guest; where suites are, it is there whatever the words."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness.commands.ci import named_tests
from harness.commands.cli import main
from harness.core.claim import ALWAYS, OPTIONS, is_suite_file
from tests.support import ROOT
from tests.test_foreign_harness import run_pytest
from tests.test_plugin_hooks import SUITE, Project

pytest_plugins = ["pytester"]
PYTEST = (sys.executable, "-m", "pytest")
MOST = 15  # modules that a foreign session may pay for
COUNT = """
import json, sys, pytest
pytest.main(["-q", "-p", "no:cacheprovider", *sys.argv[1:]])
print(json.dumps(sorted(sys.modules)))
"""
FOREIGN = {
    "version and cases": "version: 1\ncases:\n  - {id: a, prompt: b}\n",
    "version and subject": "version: 1\nsubject:\n  name: mail\n",
    "suite and cases": "suite: login\ncases:\n  - {id: a, steps: []}\n",
    "suite, subject and cases": "suite: a\nsubject: b\ncases: [1, 2]\n",
    "all but a trigger": "version: 1\nsuite: a\nsubject: {name: b}\nproviders: [aws]\ncases: []\n",
    "compose": "version: '3'\nservices: {}\n",
    "nothing": "",
}


def write_foreign(folder: Path) -> None:
    (folder / "test_own.py").write_text("def test_own():\n    assert True\n", encoding="utf-8")
    for name, text in FOREIGN.items():
        (folder / f"{name.replace(' ', '_')}.yaml").write_text(text, encoding="utf-8")


def modules(folder: Path, *words: str) -> set[str]:
    done = run_pytest(folder, sys.executable, "-c", COUNT, *words)
    found: list[str] = json.loads(done.stdout.splitlines()[-1])
    return set(found)


def test_a_session_without_suites_imports_little_and_says_nothing(tmp_path: Path) -> None:
    write_foreign(tmp_path)

    added = modules(tmp_path) - modules(tmp_path, "-p", "no:pytest_lora_harness")

    assert len(added) <= MOST
    assert not {name.partition(".")[0] for name in added} & {"numpy", "pydantic", "requests", "jinja2", "harness"}
    done = run_pytest(tmp_path, *PYTEST)
    assert done.returncode == 0 and "1 passed" in done.stdout
    assert "harness" not in done.stdout.split("plugins:", 1)[-1].split("\n", 1)[-1], done.stdout
    assert "lora_suite" not in run_pytest(tmp_path, *PYTEST, "--markers").stdout
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) in ([], ["__pycache__"])


@pytest.mark.parametrize("name", FOREIGN)
def test_files_of_others_are_not_ours(tmp_path: Path, name: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(FOREIGN[name], encoding="utf-8")

    assert not is_suite_file(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [("", ""), ("suite: painted", "suit: painted"), ("providers:", "provders:"), ("cases:", "csaes:"),
     ("version: 1", ""), ("cases:", "matrix:")],
)  # fmt: skip
def test_a_suite_with_a_slip_is_still_ours(tmp_path: Path, old: str, new: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(SUITE.replace(old, new), encoding="utf-8")

    assert is_suite_file(path)


@pytest.mark.parametrize("option", [name for name in OPTIONS if name not in ALWAYS])
def test_short_options_are_anybodys_elsewhere(pytester: pytest.Pytester, option: str) -> None:
    """Another plugin, and a repository's own conftest, may have each of them."""
    pytester.makeconftest(f"def pytest_addoption(parser):\n    parser.addoption({option!r}, default='theirs')\n")
    pytester.makepyfile(f"def test_it(pytestconfig):\n    assert pytestconfig.getoption({option!r}) == 'mine'\n")

    run = pytester.runpytest_inprocess("-p", "no:cacheprovider", f"{option}=mine")

    run.assert_outcomes(passed=1)


def test_whoever_uses_a_short_one_elsewhere_is_told_the_long_one(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(): pass")

    run = pytester.runpytest_inprocess("--store", "x", "--shard=1/2")

    assert run.ret == 4
    run.stderr.fnmatch_lines(["*--store is --harness-store, --shard is --harness-shard here*harness_suites*"])


@pytest.mark.parametrize("ini", ["harness_suites = suites\n", ""])
def test_where_suites_are_short_and_long_ones_mean_the_same(project: Project, ini: str) -> None:
    project.suite()
    project.pytester.makeini(f"[pytest]\n{ini}")

    for word in ("--providers", "--harness-providers"):
        project.run(word, "lora", "suites/painted.yaml").assert_outcomes(passed=3)


def test_a_value_that_is_a_path_moves_nothing(
    project: Project,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    project.suite()
    project.pytester.makeini("[pytest]\nharness_suites = suites\n")
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    other = elsewhere / "x.safetensors"
    other.write_text("0.9", encoding="utf-8")

    for words in (("--lora", str(other)), (f"--lora={other}",), ("--lora", str(other), "--store", "kept")):
        run = project.run(*words, "suites/painted.yaml", "--providers", "lora")
        assert run.ret == 0, run.stdout.str()
        assert project.results["suites"][0]["file"] == "suites/painted.yaml"
    assert (project.folder / ".harness").is_dir() and (project.folder / "kept").is_dir()
    assert sorted(path.name for path in elsewhere.iterdir()) == ["pytest.ini", "x.safetensors"]


def test_the_root_is_the_suites_own_wherever_one_stands(
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    project.suite()
    project.pytester.makeini("[pytest]\nharness_suites = suites\n")
    for place in (project.folder / "suites", Path("/")):
        monkeypatch.chdir(place)
        run = project.run(str(project.folder / "suites" / "painted.yaml"), "--providers", "lora")
        assert run.ret == 0, run.stdout.str()
        assert not (project.folder / "suites" / "reports").exists()
    assert project.results["suites"][0]["file"] == "suites/painted.yaml"


def test_a_project_with_a_harness_of_its_own_in_a_folder_of_tests_keeps_it(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "harness.py").write_text("WHOSE = 'the project'\n", encoding="utf-8")
    (tmp_path / "tests" / "test_it.py").write_text(
        "import harness\n\ndef test_it():\n    assert harness.WHOSE\n", "utf-8"
    )

    done = run_pytest(tmp_path, *PYTEST, "tests")

    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout


# --- init and ci -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ini", [None, "pytest.ini", "../pyproject.toml"])
def test_init_writes_what_is_missing_and_no_conftest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ini: str | None
) -> None:
    folder = tmp_path / "sub"
    folder.mkdir()
    if ini:
        (folder / ini).write_text("[pytest]\n" if ini.endswith("ini") else "[tool.pytest.ini_options]\n", "utf-8")
    monkeypatch.chdir(folder)

    assert main(["init"]) == 0

    assert not (folder / "conftest.py").exists()
    assert ".harness/" in (folder / ".gitignore").read_text(encoding="utf-8")
    written = (folder / "pytest.ini").read_text(encoding="utf-8") if (folder / "pytest.ini").exists() else ""
    assert written == {None: "[pytest]\nharness_suites = suites\n", "pytest.ini": "[pytest]\n"}.get(ini, "")


def test_ci_takes_no_options_value_for_tests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("out", "suites"):
        (tmp_path / name).mkdir()

    for option in ("--report-dir", "--harness-store", "-k", "--rootdir", "--basetemp"):
        assert named_tests([option, "out"]) == []
        assert named_tests([option, "out", "suites"]) == ["suites"]
    assert named_tests(["--report-dir=out", "out", "-q", "suites"]) == ["out", "suites"]


def test_this_repository_names_its_suites() -> None:
    done = subprocess.run(
        [*PYTEST, "--collect-only", "-q", "suites/smoke.yaml", "--providers", "lora"],
        cwd=ROOT, capture_output=True, text=True, check=False, env=None,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


# --- what a person types first ---------------------------------------------------------------------------------------


def test_a_folder_of_suites_is_linted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", str(ROOT / "suites")]) == 0
    said = capsys.readouterr().out
    assert "smoke.yaml: " in said and "aldar_kose.yaml: " in said and "embedded.yaml" not in said

    assert main(["lint", str(tmp_path)]) == 2
    assert "no suite lies in this folder" in capsys.readouterr().err


def test_a_record_is_named_without_an_option(
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    project.suite()
    project.run()
    monkeypatch.chdir(project.folder)

    for words in (["reports/results.json"], ["reports"], ["--from", "reports/results.json"]):
        assert main(["report", *words]) == 0
        assert "wrote reports/index.html" in capsys.readouterr().out
