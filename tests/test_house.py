"""The benchmark of the package's structure, on small packages whose figures are plain to see."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from benchmarks import house
from benchmarks.__main__ import main
from benchmarks.imports import Source
from benchmarks.records import Records


def records(root: Path, **files: str) -> list[str]:
    """The annotations of a package that hold a record."""
    folder = root / "harness" / "core"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    return [annotation.text for annotation in Records(Source(root)).annotations]


def source_of(root: Path, text: str) -> Source:
    (root / "harness" / "core").mkdir(parents=True)
    (root / "harness" / "core" / "a.py").write_text(text, encoding="utf-8")
    return Source(root)


@pytest.mark.parametrize(
    ("annotation", "counts"),
    [
        ("dict[str, Any]", True),
        ("Mapping[str, typing.Any]", True),
        ("abc.MutableMapping[str, Any]", True),
        ("list[dict[str, Any]]", True),
        ("Callable[[dict[str, Any]], None]", True),
        ("int | dict[str, Any]", True),
        ("'list[dict[str, Any]]'", True),
        ("dict[str, object]", False),
        ("dict[int, Any]", False),
        ("dict[str, list[Any]]", False),
        ("Sequence[Any]", False),
        ("Any", False),
        ("Literal['dict of']", False),
    ],
)
def test_records_without_a_type(tmp_path: Path, annotation: str, counts: bool) -> None:
    found = records(
        tmp_path, a=f"def f(x: {annotation}): ...", b=f"class A:\n    async def f(self) -> {annotation}: ..."
    )

    assert len(found) == 2 * counts


def test_only_signatures_count_and_each_annotation_once(tmp_path: Path) -> None:
    text = """
x: dict[str, Any] = {}
class A:
    y: dict[str, Any]
def f(a: dict[dict[str, Any], dict[str, Any]], /, b: dict[str, Any], *c: dict[str, Any], **d: dict[str, Any]) -> int:
    z: dict[str, Any] = {}
    def g(*, e: dict[str, Any]): ...
"""

    assert [line.split(":")[0] for line in records(tmp_path, a=text)] == ["f", "f", "f", "f", "g"]


ALIASES = {
    "of its own": "Record = dict[str, Any]\ndef f(x: Record): ...",
    "nested": "Rows = list[dict[str, Any]]\ndef f(x: Rows | None): ...",
    "of an alias": "B = C\nC = dict[str, Any]\ndef f(x: B): ...",
    "declared": "Record: TypeAlias = 'dict[str, Any]'\ndef f(x: 'Record'): ...",
    "imported": "from harness.core.types import Record\ndef f(x: Record): ...",
    "imported as": "from harness.core.types import Record as R\ndef f(x: R): ...",
    "of a module": "from harness.core import types\ndef f(x: types.Record): ...",
    "of a whole module": "import harness.core.types\ndef f(x: harness.core.types.Record): ...",
    "handed on": "from harness.core.through import Handed\nB = Handed\ndef f(x: B): ...",
    "for type checkers": "if CHECKING:\n    from harness.core.types import Record\n    B = Record\ndef f(x: B): ...",
}


@pytest.mark.parametrize("kind", ALIASES)
def test_an_alias_is_counted_through(tmp_path: Path, kind: str) -> None:
    found = records(
        tmp_path,
        a=ALIASES[kind],
        through="from harness.core.types import Record as Handed",
        types="from typing import Any\nRecord = dict[str, Any]",
    )

    assert len(found) == 1


def test_a_name_of_another_module_is_no_alias(tmp_path: Path) -> None:
    text = "from elsewhere import Record\nRow = {}['x']\nclass Mine: ...\ndef f(x: Record, y: Row, z: Mine): ..."

    assert records(tmp_path, a=text, types="Record = Mine = dict[str, Any]") == []


def test_a_class_name_that_occurs_twice(tmp_path: Path) -> None:
    source = source_of(
        tmp_path, "class A: ...\nclass B:\n    class A: ...\ndef f():\n    class C: ...\nclass D(A): ...\n"
    )

    assert house.double_names(source) == ["A: harness/core/a.py:1, harness/core/a.py:3"]


def test_lengths_begin_with_the_decorator(tmp_path: Path) -> None:
    text = "@a\n@b(\n    1\n)\nclass A:\n    x = 1\n\n    @c\n    def f(self):\n        '''Doc.'''\n        return 1\n"
    source = source_of(tmp_path, text)

    shown = house.MEASURED
    assert shown["longest_class"][1](source) == [(11, "harness/core/a.py:1 A")]
    assert shown["longest_function"][1](source) == [(4, "harness/core/a.py:8 f")]


def test_code_lines_are_neither_blank_nor_words() -> None:
    text = '''"""Of the module.

More.
"""

x = 1  # counts
# does not
"""What x is."""
y = """counts

counts too, the blank one does not
"""


def f(
    a,
):
    \'\'\'Doc "of" f.\'\'\'
    """and more""", 1
    return a; "after"
'''

    assert house.code_lines(text) == 1 + 3 + 3 + 2


def test_it_measures_this_package_and_another(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["house"]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])["figures"]
    assert figures["rooms"] == 14 and figures["top_files"] == 3 and figures["circles"] == figures["arrows_up"] == 0
    assert figures["code_lines"] > 30_000 and figures["code_lines_before"] == 35_747

    source_of(tmp_path, "def f():\n    import json\nclass A: ...\n")
    (tmp_path / "README.md").write_text("", encoding="utf-8")
    assert main(["house", "--root", str(tmp_path), "--list", "lazy"]) == 0
    out = capsys.readouterr().out
    assert "harness/core/a.py:2 json" in out and '"lazy": 1' in out


def test_every_figure_with_a_goal_can_be_listed() -> None:
    parser = argparse.ArgumentParser()
    house.add_options(parser)

    for name in (*house.COUNTED, *house.MEASURED):
        assert parser.parse_args(["--list", name]).list == name
