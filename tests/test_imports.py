"""Imports point one way: what is imported when a module loads never leads back to it, and the core knows no pytest."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in (ROOT / "harness").rglob("*.py")
}
PYTEST = {
    "harness.plugin",
    *(f"harness.commands.{name}" for name in ("ci", "pytest_internals", "run", "session")),
}  # what may know it


def loaded(body: Sequence[ast.stmt]) -> Iterator[str]:
    """Everything that these statements import when they run; nothing that is for type checkers alone."""
    for statement in body:
        if isinstance(statement, ast.ImportFrom) and statement.module:
            yield statement.module
            yield from (f"{statement.module}.{name.name}" for name in statement.names)
        elif isinstance(statement, ast.Import):
            yield from (name.name for name in statement.names)
        elif isinstance(statement, ast.Try):
            yield from loaded(statement.body)


def test_no_module_leads_back_to_itself() -> None:
    trees = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}
    graph = {name: set(loaded(tree.body)) & set(FILES) - {name, "harness"} for name, tree in trees.items()}

    assert len(list(TopologicalSorter(graph).static_order())) >= len(FILES), "CycleError names a circle"


def test_only_the_plugin_knows_pytest() -> None:
    knowing = {
        name
        for name, path in FILES.items()
        if any(each.split(".")[0] in ("pytest", "_pytest") for each in loaded(ast.parse(path.read_text("utf-8")).body))
    }

    assert knowing <= PYTEST
