"""Broken files by the thousand: each is valid or an error with file and line; never a traceback, never a hang."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.config.profile import Profile, load_profile
from harness.config.suite import load_suite
from harness.core.errors import SuiteError
from tests.support import ROOT, run_suites
from tests.yaml_mutations import MUTATIONS, mutate

AT_ONCE = 100
COLLECTED = 60  # files of the pytest session
SCRAP = 60  # bytes of a file in which nobody can see a suite any more
WHERE = re.compile(r"(?P<path>.+?\.yaml):(?P<line>\d+): \S")
LINE_ENDS = re.compile("\r\n|[\n\r\x85\u2028\u2029]")  # YAML's own
INCLUDING = "include: [hard-prompts]\nnegative: ready/en-character\n"

KINDS: dict[str, tuple[int, tuple[str, ...], str]] = {  # how many, which are broken, and where the broken one lies
    "suite": (1000, ("suites/aldar_kose.yaml", "suites/smoke.yaml"), "suites/broken.yaml"),
    "profile": (600, ("suites/profiles/embedded.yaml", "suites/profiles/sdxl.yaml"), "suites/profiles/broken.yaml"),
    "traits": (200, ("suites/profiles/traits/world.yaml",), "suites/profiles/traits/world.yaml"),
    "negatives": (200, ("suites/profiles/negatives.yaml",), "suites/negatives.yaml"),
    "pack": (200, ("suites/packs/hard-prompts.yaml",), "suites/packs/hard-prompts.yaml"),
}
ROUNDS = [(kind, start) for kind, (count, _, _) in KINDS.items() for start in range(0, count, AT_ONCE)]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The shipped suites with what they point at, and one that needs a pack and a ready negative."""
    shutil.copytree(ROOT / "suites", tmp_path / "suites", ignore=shutil.ignore_patterns("schema", "services"))
    (tmp_path / "references").symlink_to(ROOT / "references", target_is_directory=True)
    smoke = (ROOT / "suites" / "smoke.yaml").read_text(encoding="utf-8")
    (tmp_path / "suites" / "including.yaml").write_text(smoke + INCLUDING, encoding="utf-8")
    return tmp_path


@pytest.fixture(scope="module")
def profile() -> Profile:
    return load_profile("embedded", ROOT)


@pytest.mark.parametrize(("kind", "start"), ROUNDS)
def test_a_broken_file_is_an_error_with_file_and_line(tree: Path, profile: Profile, kind: str, start: int) -> None:
    _, sources, place = KINDS[kind]
    load = loaders(tree, profile)[kind]

    for seed in range(start, start + AT_ONCE):
        told, data = mutate(read(sources[seed // len(MUTATIONS) % len(sources)]), seed)
        (tree / place).write_bytes(data)
        try:
            found = load()
        except SuiteError as error:
            check_error(str(error), f"seed {seed}, {told}")
        else:
            assert found.providers, f"seed {seed}, {told}"


def loaders(tree: Path, profile: Profile) -> dict[str, Callable[[], Any]]:
    """How each kind of file is read, by the door that everybody uses."""
    suites = tree / "suites"
    return {
        "suite": lambda: load_suite(suites / "broken.yaml", profile),
        "profile": lambda: load_profile("broken", tree),
        "traits": lambda: load_profile("embedded", tree),
        "negatives": lambda: load_suite(suites / "including.yaml", profile),
        "pack": lambda: load_suite(suites / "including.yaml", profile),
    }


def check_error(text: str, told: str) -> None:
    """One line of bearable length that begins with a file and a line of it."""
    found = WHERE.match(text)
    assert found and "\n" not in text and len(text) < 1500, f"{told}: {text}"
    lines = len(LINE_ENDS.findall(Path(found["path"]).read_bytes().decode("utf-8", "replace"))) + 1
    assert 1 <= int(found["line"]) <= lines, f"{told}: {text}"


def read(source: str) -> str:
    return (ROOT / source).read_text(encoding="utf-8")


def test_pytest_collects_broken_suites_without_a_traceback(tree: Path) -> None:
    broken = tree / "suites" / "broken"
    broken.mkdir()
    (tree / "pyproject.toml").write_text("[tool.pytest.ini_options]\n", encoding="utf-8")
    text = read("suites/smoke.yaml").replace("../references", "../../references")
    files = {f"n{seed:02}": mutate(text, seed)[1] for seed in range(COLLECTED)}
    files = {name: data for name, data in files.items() if len(data) > SCRAP}
    for name, data in files.items():
        (broken / f"{name}.yaml").write_bytes(data)

    done = run_suites(tree, "suites/broken", "--collect-only", "-q", "--rootdir", str(tree), cwd=tree)

    assert done.status == 2, done.output
    assert not re.search("INTERNALERROR|Traceback", done.output), done.output
    errors = re.findall(r"_ ERROR collecting suites/broken/(n\d\d)\.yaml _+\n(.*)", done.output)
    collected = set(re.findall(r"^suites/broken/(n\d\d)\.yaml::", done.output, re.MULTILINE))
    assert errors and collected
    for name, text in errors:
        check_error(text, name)
    told = collected | {name for name, _ in errors}
    assert told == files.keys(), sorted(files.keys() - told)


def test_what_is_left_of_a_suite_is_still_taken_for_one(tree: Path) -> None:
    (tree / "suites" / "cut.yaml").write_text(read("suites/smoke.yaml")[:150], encoding="utf-8")

    done = run_suites(tree, "suites", "--collect-only", "-q", "--rootdir", str(tree), cwd=tree)

    assert done.status == 2 and re.search(r"cut\.yaml:\d+: ", done.output), done.output


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('references: "a\\0b"', "a path holds no control characters"),
        (f"references: {'x' * 400}", "longer than a path can be"),
        ("references: !!bool maybe", "does not fit"),
        ("references: !!timestamp maybe", "does not fit"),
        ("references: \x07bell", "the character U+0007 is not allowed"),
    ],
)
def test_values_that_once_were_a_traceback(tree: Path, profile: Profile, line: str, words: str) -> None:
    path = tree / "suites" / "odd.yaml"
    path.write_text(read("suites/smoke.yaml").replace("references: ../references/aldar_kose", line), encoding="utf-8")

    with pytest.raises(SuiteError, match=r"odd\.yaml:9: .*" + re.escape(words)):
        load_suite(path, profile)
