"""What the package imports stands in pyproject.toml with bounds, and what stands there is imported."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from importlib.metadata import packages_distributions, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.support import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NOT_OF_THE_PACKAGE = ("dev", "docs", "sdks")  # extras of those who work on it
ABSENT: Mapping[str, str] = {"bitsandbytes": "bitsandbytes", "modelscope": "modelscope"}
"""Modules that need not be installed here, with their distributions."""
NOT_IMPORTED: Mapping[str, str] = {
    "pytest-xdist": "pytest loads it by itself; the plugin answers its hooks",
}
"""Needed all the same, and why."""
PRIVATE = ("pytest", "urllib3", "requests", "torch")  # what they keep to themselves is used: tests/test_internals.py


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def requirements() -> dict[str, Requirement]:
    """What the package needs, always or for an extra, by canonical name."""
    extras = PROJECT["optional-dependencies"]
    texts = [
        *PROJECT["dependencies"],
        *(text for name in extras if name not in NOT_OF_THE_PACKAGE for text in extras[name]),
    ]
    return {canonical(each.name): each for each in map(Requirement, texts)}


def imports_of(tree: ast.AST) -> Iterator[str]:
    """Top-level modules that a file imports anywhere, by statement or by `import_module("NAME")` and its like."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]
        elif isinstance(node, ast.Call) and re.search(r"\b(import_module|find_spec)$", ast.unparse(node.func)):
            yield from (str(word.value).partition(".")[0] for word in node.args[:1] if isinstance(word, ast.Constant))


def imported() -> dict[str, str]:
    """Distributions that the package imports, each with a file that does."""
    known, result = packages_distributions(), {}
    for path in sorted([*(ROOT / "harness").rglob("*.py"), ROOT / "pytest_lora_harness.py"]):
        for name in imports_of(ast.parse(path.read_text(encoding="utf-8"))):
            if name not in sys.stdlib_module_names and name != "harness":
                homes = [ABSENT[name]] if name in ABSENT else known[name]
                result.update({canonical(home): path.relative_to(ROOT).as_posix() for home in homes})
    return result


def test_imports_are_found_however_they_are_written(tmp_path: Path) -> None:
    text = (
        "import a.b\nif x:\n    from c.d import e\ndef f():\n    import_module('g.h'); importlib.util.find_spec('i')\n"
    )

    assert set(imports_of(ast.parse(text))) == {"a", "c", "g", "i"}


def test_whatever_is_imported_is_named() -> None:
    named = requirements()

    assert {name: path for name, path in imported().items() if name not in named} == {}


def test_whatever_is_named_is_imported() -> None:
    assert set(requirements()) - set(imported()) == set(NOT_IMPORTED)


@pytest.mark.parametrize("name", requirements())
def test_it_has_bounds(name: str) -> None:
    requirement = requirements()[name]
    operators = {each.operator for each in requirement.specifier}

    assert ">=" in operators
    assert "<" in operators or name not in PRIVATE, f"private names of {name} are used: it needs an upper bound"
    if name not in ABSENT:
        assert requirement.specifier.contains(version(name))
