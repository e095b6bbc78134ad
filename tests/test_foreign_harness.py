"""A project that has a `harness` of its own runs its tests as if this plugin were not installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT

TEST = "import harness\n\ndef test_it_is_ours():\n    assert harness.WHOSE == 'the project'\n"


def run_pytest(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`pytest WORDS` in a project's root, with our plugin installed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "HARNESS_"))}
    return subprocess.run(
        [*words, "-p", "no:cacheprovider", "-p", "no:hypothesispytest"],
        cwd=folder,
        env=environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def write_project(folder: Path, module: str) -> None:
    """A project with one test, and its own `harness` as a package, in src/, or as a single file."""
    path = folder / module
    path.parent.mkdir(parents=True)
    path.write_text("WHOSE = 'the project'\n", encoding="utf-8")
    (folder / "tests").mkdir()
    (folder / "tests" / "test_own.py").write_text(TEST, encoding="utf-8")
    source = path.parents[0 if path.name != "__init__.py" else 1].relative_to(folder).as_posix()
    (folder / "pytest.ini").write_text(f"[pytest]\npythonpath = {source}\n", encoding="utf-8")


@pytest.mark.parametrize("module", ["harness/__init__.py", "src/harness/__init__.py", "harness.py"])
def test_its_own_package_is_the_one_that_it_imports(tmp_path: Path, module: str) -> None:
    write_project(tmp_path / "project", module)

    done = run_pytest(tmp_path / "project", sys.executable, "-c", "import pytest; raise SystemExit(pytest.main())")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "lora-harness: stands aside, because" in done.stdout and "1 passed" in done.stdout


def test_our_options_are_not_there_and_that_is_said_by_pytest(tmp_path: Path) -> None:
    write_project(tmp_path / "project", "harness/__init__.py")

    done = run_pytest(tmp_path / "project", sys.executable, "-m", "pytest", "--retrain", "1")

    assert done.returncode == 4 and "unrecognized arguments" in done.stderr


def test_a_project_without_one_has_the_plugin_and_no_line_more(tmp_path: Path) -> None:
    (tmp_path / "test_own.py").write_text("def test_it():\n    import harness.plugin\n", encoding="utf-8")

    done = run_pytest(tmp_path, sys.executable, "-m", "pytest", "--retrain", "0")

    assert done.returncode == 0 and "stands aside" not in done.stdout, done.stdout + done.stderr
