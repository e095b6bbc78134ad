"""Documented import paths and names that have moved go on working, and say where they went."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from harness.core.moved import MOVED, RENAMED

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTED = [  # as the pages had them before the package got its rooms
    ("harness.values", "Case", "harness.core.values"),
    ("harness.values", "Decision", "harness.core.values"),
    ("harness.errors", "SuiteError", "harness.core.errors"),
    ("harness.settings", "Settings", "harness.core.settings"),
    ("harness.profile", "load_profile", "harness.config.profile"),
    ("harness.profile", "data_root", "harness.core.settings"),
    ("harness.suite", "load_suite", "harness.config.suite"),
    ("harness.judge", "judge_case", "harness.judging.judge"),
    ("harness.calibrate", "Separation", "harness.core.stats.calibration"),
    ("harness.leaderboard", "all_ranks", "harness.judging.leaderboard"),
    ("harness.stats", "clustered", "harness.core.stats"),
    ("harness.stats.power", "LEVEL", "harness.core.stats.power"),
    ("harness.metrics", "METRICS", "harness.scoring.metrics.table"),
    ("harness.metrics", "Scorer", "harness.scoring.metrics.scorer"),
    ("harness.metrics.third_party", "Context", "harness.scoring.metrics.third_party"),
    ("harness.net.exchange", "Call", "harness.providers.http_client.exchange"),
]


@pytest.mark.parametrize(("former", "name", "home"), DOCUMENTED)
def test_a_former_path_gives_the_same_thing_and_names_the_new_one(former: str, name: str, home: str) -> None:
    with pytest.warns(DeprecationWarning, match=rf"{former}\.{name} is .*{name} now"):
        found = getattr(importlib.import_module(former), name)

    assert found is getattr(importlib.import_module(home), name)


@pytest.mark.parametrize(("home", "former"), [(home, name) for home, names in RENAMED.items() for name in names])
def test_a_former_name_gives_the_thing_that_is_called_otherwise_now(home: str, former: str) -> None:
    paths = [path for path, homes in MOVED.items() if home in homes] or [home]

    with pytest.warns(DeprecationWarning, match=f"is {home}.{RENAMED[home][former]} now"):
        found = getattr(importlib.import_module(paths[0]), former)

    assert found is getattr(importlib.import_module(home), RENAMED[home][former])


def test_what_never_was_there_is_an_import_error_as_ever() -> None:
    for line in ("from harness.values import Nothing", "import harness.vaules", "from harness.providers import Nix"):
        with pytest.raises(ImportError):
            exec(line)


def test_the_package_itself_uses_no_former_path() -> None:
    """A fresh process in which such a use is an error, over every module that needs no model."""
    modules = [path.relative_to(ROOT).with_suffix("") for path in sorted((ROOT / "harness").rglob("*.py"))]
    names = [".".join(path.parts).removesuffix(".__init__") for path in modules if path.name != "__main__"]
    code = f"import importlib\nfor name in {names!r}: importlib.import_module(name)"

    done = subprocess.run(
        [sys.executable, "-W", "error:.*the former one goes:DeprecationWarning", "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr[-2000:]
