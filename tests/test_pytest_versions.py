"""The plugin under the oldest and the newest pytest that are supported, without and with xdist."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT, write_suite
from tests.test_plugin import FLAT

VERSIONS = ("8.4.2", "9.2.0")


@pytest.fixture(scope="module", params=VERSIONS)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds one version of pytest, in front of the environment's own."""
    folder = tmp_path_factory.mktemp("site")
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--target",
        str(folder),
        f"pytest=={request.param}",
    ]
    if subprocess.run(pip, capture_output=True, check=False).returncode:
        pytest.skip(f"pytest {request.param} cannot be installed here")
    return folder


def run(site: Path, folder: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(ROOT)])}
    command = [sys.executable, "-m", "pytest", *arguments, "--rootdir", str(ROOT), "-c", str(ROOT / "pyproject.toml")]
    command += ["--store", str(folder / "store"), "--report-dir", str(folder / "report"), "-o", f"cache_dir={folder}"]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False).stdout


@pytest.mark.real
@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_failures_last_failed_and_selection(site: Path, tmp_path: Path, workers: tuple[str, ...]) -> None:
    suite = write_suite(tmp_path, FLAT.replace("THRESHOLD", "{fail: 1.0}"), "flat.yaml")

    first = run(site, tmp_path, str(suite), *workers)
    again = run(site, tmp_path, str(suite), "--lf", *workers)
    one = run(site, tmp_path, f"{suite}::one::flat", *workers)

    assert "3 failed" in first.splitlines()[-1], first
    assert "3 failed" in again.splitlines()[-1], again
    assert "1 failed" in one.splitlines()[-1], one
