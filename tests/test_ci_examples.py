"""The action, the workflows and the snippets of docs/ci: they parse, name what exists, and their scripts run."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from pytest_lora_harness import add_options
from tests.command_line import parse
from tests.support import ROOT

ACTION = ROOT / ".github" / "actions" / "lora-quality" / "action.yml"
EXAMPLES = ROOT / "docs" / "ci"
WORKFLOWS = [EXAMPLES / "github.yml", EXAMPLES / "github-shards.yml"]
LINE = json.dumps({"verdict": "fail", "exit_code": 1, "reasons": ["a ' quote; $(touch oops) and `touch oops`"]})
HARNESS = """\
#!/usr/bin/env bash
printf '%s\\n' "$@" > called.txt
echo "==== 3 failed ===="
printf '%s\\n' '{line}'
exit {status}
"""


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def steps(path: Path) -> list[dict[str, Any]]:
    document = load(path)
    jobs = document["jobs"].values() if "jobs" in document else [document["runs"]]
    return [step for job in jobs for step in job["steps"]]


def scripts() -> list[tuple[str, str]]:
    """(where it stands, a shell script) of every example."""
    found = [(path.name, step["run"]) for path in [ACTION, *WORKFLOWS] for step in steps(path) if "run" in step]
    gitlab = load(EXAMPLES / "gitlab.yml")
    found += [("gitlab.yml", line) for job in ("draw", "judge") for line in gitlab[job]["script"]]
    jenkins = (EXAMPLES / "Jenkinsfile").read_text(encoding="utf-8")
    return found + [("Jenkinsfile", line) for line in re.findall(r"sh '(.+)'", jenkins)]


def script(name: str) -> str:
    found: str = next(step["run"] for step in steps(ACTION) if step.get("name") == name)
    return found


class Options:
    """Catches the options that the plugin adds to pytest."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def getgroup(self, *_: str) -> Options:
        return self

    def addoption(self, *names: str, **_: Any) -> None:
        self.names.update(names)


# --- what they name exists ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("where", "text"), scripts())
def test_scripts_are_bash_and_call_commands_that_exist(where: str, text: str) -> None:
    assert subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True).returncode == 0
    options = Options()
    add_options(options, True)  # type: ignore[arg-type]  # it records what a parser is told
    for call in re.findall(r"(?<![\w-])harness (?=ci|merge|cache)([^\n;|]+)", text):
        words = [word.strip('"') for word in call.split()]
        if words[0] == "ci":
            assert {word for word in words if word.startswith("--")} <= options.names, f"{where}: {call}"
        else:
            parse(words)


@pytest.mark.parametrize("path", WORKFLOWS)
def test_workflows_use_the_action_with_inputs_that_it_has(path: Path) -> None:
    used = [step for step in steps(path) if "lora-quality" in step.get("uses", "")]

    assert used
    for step in used:
        assert (ROOT / step["uses"] / "action.yml").resolve() == ACTION
        assert set(step.get("with", {})) <= set(load(ACTION)["inputs"])


def test_inputs_reach_scripts_only_as_variables() -> None:
    """Text that is put into a script is executed: https://securitylab.github.com/research/github-actions-untrusted-input"""
    for path in [ACTION, *WORKFLOWS]:
        for step in steps(path):
            assert "${{" not in step.get("run", ""), step


def test_every_input_is_used_and_every_used_input_is_there() -> None:
    text = ACTION.read_text(encoding="utf-8")

    assert set(re.findall(r"inputs\.([\w-]+)", text)) == set(load(ACTION)["inputs"])
    assert set(re.findall(r"steps\.(\w+)\.outputs", text)) == {step["id"] for step in steps(ACTION) if "id" in step}


def test_forks_never_save_a_cache_and_never_see_secrets() -> None:
    save = next(step for step in steps(ACTION) if step.get("uses", "").startswith("actions/cache/save"))

    assert "github.event.pull_request.head.repo.full_name == github.repository" in save["if"]
    for path in WORKFLOWS:
        document = load(path)
        assert "pull_request_target" not in document[True] and document["permissions"] == {"contents": "read"}


def test_the_baseline_needs_the_whole_history() -> None:
    for path in WORKFLOWS:
        for job in load(path)["jobs"].values():
            named = [step for step in job["steps"] if "merge-base" in str(step.get("with", {}).get("baseline"))]
            checkouts = [step for step in job["steps"] if step.get("uses", "").startswith("actions/checkout")]
            assert not named or checkouts[0]["with"]["fetch-depth"] == 0
    assert load(EXAMPLES / "gitlab.yml")["variables"]["GIT_DEPTH"] == "0"


# --- the scripts run ----------------------------------------------------------------------------------------------


def bash(folder: Path, text: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """As a runner runs a step with `shell: bash`."""
    environment = {"PATH": f"{folder}:{os.environ['PATH']}", "RUNNER_TEMP": str(folder), **variables}
    environment["GITHUB_OUTPUT"] = str(folder / "output.txt")
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", text]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def stub(folder: Path, status: int, line: str = LINE) -> None:
    """A `harness` that remembers how it was called."""
    path = folder / "harness"
    path.write_text(HARNESS.format(line=line.replace("'", "'\\''"), status=status), encoding="utf-8")
    path.chmod(0o755)


def outputs(folder: Path) -> dict[str, str]:
    lines = (folder / "output.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines)


@pytest.mark.parametrize("status", [0, 1, 10, 11])
def test_the_run_step_reports_and_the_last_step_exits(tmp_path: Path, status: int) -> None:
    stub(tmp_path, status)

    step = bash(tmp_path, script("Draw and judge"), SUITES="suites", BASELINE="", SHARD="", OPTIONS="")
    told = outputs(tmp_path)
    last = bash(tmp_path, script("Verdict"), STATUS=told["exit-code"])

    assert step.returncode == 0, step.stderr
    assert json.loads(told["result"]) == json.loads(LINE) and told["verdict"] == "fail"
    assert last.returncode == status
    assert "3 failed" in step.stdout  # people read the log
    assert not (tmp_path / "oops").exists()


def test_the_run_step_hands_over_its_inputs(tmp_path: Path) -> None:
    stub(tmp_path, 0)
    hostile = "suites/a.yaml $(touch oops)"

    step = bash(
        tmp_path, script("Draw and judge"), SUITES=hostile, BASELINE="git:merge-base", SHARD="1/3", OPTIONS="--budget 2"
    )

    words = (tmp_path / "called.txt").read_text(encoding="utf-8").splitlines()
    assert step.returncode == 0, step.stderr
    assert words[:2] == ["ci", "suites/a.yaml"] and not (tmp_path / "oops").exists()
    for option, value in (("--baseline", "git:merge-base"), ("--shard", "1/3"), ("--budget", "2")):
        assert words[words.index(option) + 1] == value


def test_a_run_that_leaves_no_line_is_an_error(tmp_path: Path) -> None:
    stub(tmp_path, 3, line="Killed")

    bash(tmp_path, script("Draw and judge"), SUITES="suites", BASELINE="", SHARD="", OPTIONS="")

    assert (outputs(tmp_path)["verdict"], outputs(tmp_path)["exit-code"]) == ("error", "3")


def test_the_harness_is_installed_from_the_actions_own_repository(tmp_path: Path) -> None:
    (tmp_path / "python").write_text('#!/usr/bin/env bash\nprintf "%s\\n" "$@" > called.txt\n', encoding="utf-8")
    (tmp_path / "python").chmod(0o755)

    bash(tmp_path, script("Install"), INSTALL="", GITHUB_ACTION_PATH=str(ACTION.parent))

    target = (tmp_path / "called.txt").read_text(encoding="utf-8").splitlines()[-1]
    assert Path(target).resolve() == ROOT
    assert bash(tmp_path, script("Install"), INSTALL="false", GITHUB_ACTION_PATH="").returncode == 1


def test_a_run_without_a_store_has_nothing_to_keep_small(tmp_path: Path) -> None:
    stub(tmp_path, 1)

    assert bash(tmp_path, script("Keep the store small"), SIZE="2GB").returncode == 0
    assert not (tmp_path / "called.txt").exists()
