"""The faults that `python -m benchmarks mutants` plants: where, which, and that the tests it runs are there."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.mutants import (
    NEAREST,
    Mutant,
    compiles,
    copy_checkout,
    idle_places,
    mutable_files,
    nearest,
    own_mutants,
)
from benchmarks.process import ROOT

SOURCE = '''\
def rule(score: float | None, bound=0.5, *, strict: int | None = 3) -> int | str:
    """Қ: letters of several bytes stand before what is changed."""
    if score is not None and score.real >= bound and "қ":
        show(score, places=2, help="қ" * 2)
    return name.strip()
'''


def planted(kind: str) -> list[str]:
    """The changed lines of all mutants of one kind."""
    found = []
    for (line, _), each, make in own_mutants(SOURCE):
        if each == kind:
            text = make()
            assert compiles(text)
            found.append(Mutant("rule.py", line, kind, text).change(SOURCE).partition(" / ")[2])
    return found


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("moved by 0.8", ["+ def rule(score: float | None, bound=0.4, *, strict: int | None = 3) -> int | str:"]),
        ("moved by 1.25", ["+ def rule(score: float | None, bound=0.625, *, strict: int | None = 3) -> int | str:"]),
        (
            "part of a condition dropped",
            [
                "+ if ((score.real >= bound) and ('қ')):",
                "+ if ((score is not None) and ('қ')):",
                "+ if ((score is not None) and (score.real >= bound)):",
            ],
        ),
        ("keyword dropped", ["+ show(score, help='қ' * 2)"]),
        ("statement dropped", ["+ pass"]),
        ("method dropped", ["+ return (name)"]),
    ],
)
def test_what_the_library_lacks_is_planted_and_still_python(kind: str, changes: list[str]) -> None:
    assert planted(kind) == changes


def test_types_and_words_for_people_are_left_alone() -> None:
    lines = SOURCE.splitlines()
    said = {lines[start[0] - 1].encode()[start[1] : end[1]].decode() for start, end in idle_places(SOURCE)}

    assert said == {"float | None", "int | None", "int | str", '"қ" * 2'}
    assert not compiles("def rule(a, /, b, /):\n    pass\n")


def test_every_file_that_is_mutated_has_tests_that_are_there() -> None:
    files = mutable_files()

    assert all(any(path.match(pattern) for path in map(Path, files)) for pattern in NEAREST)
    for path in files:
        tests = nearest(path)
        assert tests and all((ROOT / name).is_file() for name in tests), path
    assert not any(path.endswith("__init__.py") for path in files)


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="the copy is of what git knows")
def test_mutants_are_planted_in_a_copy_without_caches(tmp_path: Path) -> None:
    copy_checkout(tmp_path / "copy")

    assert (tmp_path / "copy" / "harness" / "plugin.py").is_file() and (tmp_path / "copy" / "tests").is_dir()
    assert not list((tmp_path / "copy").rglob("__pycache__")) and not (tmp_path / "copy" / ".git").exists()
