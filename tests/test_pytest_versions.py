"""The plugin under every pytest that is supported, without xdist and with it: as many tests run as were collected."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.browsers import REQUIRED
from tests.known import copy_known
from tests.support import ROOT, write_suite
from tests.test_plugin import FLAT

VERSIONS = ("8.4.2", "9.0.2", "9.1.1", "9.2.0")  # the last of each line that is supported
IDS = ("one::flat", "two::flat", "gate::flat")
PLAIN, WORKERS = ("-p", "no:xdist"), ("-n", "2")

pytestmark = pytest.mark.real


@dataclass(frozen=True)
class Site:
    """One version of pytest, in front of the environment's own, and a suite that fails; its pictures are in a store."""

    version: str
    packages: Path
    folder: Path

    @property
    def suite(self) -> str:
        return str(self.folder / "flat.yaml")

    def run(self, cache: Path, *arguments: str) -> str:
        """`pytest ARGUMENTS`; what it says."""
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(self.packages), str(ROOT)])}
        command = [sys.executable, "-m", "pytest", *arguments, "--rootdir", str(ROOT)]
        command += ["-c", str(ROOT / "pyproject.toml"), "--store", str(self.folder.parent / "store")]
        command += ["--report-dir", str(cache / "report"), "-o", f"cache_dir={cache}"]
        command += ["-p", "no:hypothesispytest"]  # it takes longer to load than everything else together
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What all versions share, so that only the first one draws and scores."""
    folder = tmp_path_factory.mktemp("versions")
    copy_known(folder / "store")
    return folder


@pytest.fixture(scope="module", params=VERSIONS)
def site(request: pytest.FixtureRequest, store: Path) -> Site:
    folder = store / request.param
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder / "packages")]
    if subprocess.run([*pip, f"pytest=={request.param}"], capture_output=True, check=False).returncode:
        give_up = pytest.fail if REQUIRED else pytest.skip
        give_up(f"pytest {request.param} cannot be installed here")
    write_suite(folder, FLAT.replace("THRESHOLD", "{fail: 1.0}"), "flat.yaml")
    return Site(request.param, folder / "packages", folder)


def closing(output: str) -> str:
    return next(
        line for line in reversed(output.splitlines()) if re.search(r"\b(passed|failed|error|tests? ran)", line)
    )


@pytest.mark.parametrize("workers", [PLAIN, WORKERS], ids=["alone", "xdist"])
def test_what_was_collected_runs_and_what_failed_runs_again(
    site: Site, tmp_path: Path, workers: tuple[str, ...]
) -> None:
    junit = tmp_path / "junit.xml"

    first = site.run(tmp_path, site.suite, *workers, f"--junitxml={junit}", "-o", "junit_logging=system-out")
    again = site.run(tmp_path, site.suite, "--lf", *workers)

    assert f"pytest-{site.version}" in first
    assert "3 failed" in closing(first), first
    assert "3 failed" in closing(again), again
    cases = list(ElementTree.parse(junit).iter("testcase"))
    assert sorted(
        f"{(case.get('classname') or '').rpartition('.')[2]}::{case.get('name')}" for case in cases
    ) == sorted(IDS)
    assert "[[ATTACHMENT|" in (
        next(case for case in cases if "one" in str(case.get("classname"))).findtext("system-out") or ""
    )


def test_selection_and_ids(site: Site, tmp_path: Path) -> None:
    def collected(*arguments: str) -> tuple[str, ...]:
        """Only collected, because that is quick and drawing is none of pytest's business."""
        said = site.run(tmp_path, *arguments, "--collect-only", "-q", *PLAIN)
        return tuple(re.findall(r"^\S*?::(\S+::flat)$", said, re.MULTILINE))

    assert collected(site.suite) == IDS
    assert collected(f"{site.suite}::one::flat") == IDS[:1]
    assert collected(f"{site.suite}::two") == IDS[1:2]
    assert collected(site.suite, "-k", "two") == IDS[1:2]
    assert collected(site.suite, "-m", "gate") == IDS
    shards = [collected(site.suite, "--shard", f"{number}/2") for number in (1, 2)]
    assert sorted(name for shard in shards for name in shard) == sorted([*IDS, IDS[2]])


def test_what_is_collected_twice_is_an_error(site: Site, tmp_path: Path) -> None:
    twice = site.run(tmp_path, site.suite, site.suite, "--keep-duplicates", *PLAIN)

    assert "was collected twice" in twice and "Traceback" not in twice


def test_a_broken_suite_is_told_by_line(site: Site, tmp_path: Path) -> None:
    broken = site.folder / "broken.yaml"
    broken.write_text("version: 1\nsuite: [\n", encoding="utf-8")

    said = site.run(tmp_path, str(broken), *PLAIN)

    assert re.search(r"broken\.yaml:\d+: is not YAML", said) and "Traceback" not in said
