"""Which annotations hold a record without a type, whatever name it goes by: `dict[str, Any]` and its like.

A name at a module's level that stands for such a type counts as one wherever it is used: also by way of another name,
in a module that imports it, and in quotes.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from benchmarks.imports import Source

RECORDS = {"dict", "Dict", "Mapping", "MutableMapping"}
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Annotation:
    """One annotation of a signature."""

    module: str
    line: int
    text: str  # the function's name, and the annotation


@dataclass(frozen=True)
class Records:
    """The records without a type among a package's annotations."""

    source: Source
    aliases: set[str] = field(default_factory=set)  # module.name of what stands for a record

    @cached_property
    def annotations(self) -> list[Annotation]:
        """Those of parameters and of what functions return, in the order of the source; each counts once."""
        self._find_aliases()
        return [
            Annotation(module, node.lineno, f"{node.name}: {ast.unparse(part)}")
            for module, tree in self.source.trees.items()
            for node in ast.walk(tree)
            if isinstance(node, Function)
            for part in signature(node)
            if self.holds(part, module)
        ]

    def holds(self, node: ast.AST, module: str) -> bool:
        """Whether a type holds a record somewhere."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return self._holds_text(node.value, module)
        if isinstance(node, ast.Name | ast.Attribute) and self._find(ast.unparse(node), module) in self.aliases:
            return True
        return is_record(node) or any(self.holds(child, module) for child in ast.iter_child_nodes(node))

    def _holds_text(self, text: str, module: str) -> bool:
        try:
            return self.holds(ast.parse(text, mode="eval").body, module)
        except SyntaxError:  # of a Literal, say
            return False

    def _find_aliases(self) -> None:
        """All of them; again and again, because one may stand for another that is found later."""
        before = -1
        while before < len(self.aliases):
            before = len(self.aliases)
            for module, tree in self.source.trees.items():
                for name, value in assigned(tree.body):
                    if self.holds(value, module):
                        self.aliases.add(f"{module}.{name}")

    def _find(self, name: str, module: str) -> str:
        """Where a name was assigned: what was imported from a module that imported it is followed there."""
        seen = set[str]()
        while module in self._imports and module not in seen:
            seen.add(module)
            first, dot, rest = name.partition(".")
            origin = self._imports[module].get(first)
            if origin is None:
                break
            module, _, name = f"{origin}{dot}{rest}".rpartition(".")
        return f"{module}.{name}"

    @cached_property
    def _imports(self) -> dict[str, dict[str, str]]:
        return {module: dict(imported(tree)) for module, tree in self.source.trees.items()}


def signature(function: Function) -> Iterator[ast.expr]:
    """The annotations of a function's parameters and of what it returns."""
    given = function.args
    every = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
    yield from (one.annotation for one in every if one is not None and one.annotation is not None)
    if function.returns is not None:
        yield function.returns


def is_record(node: ast.AST) -> bool:
    """Whether this very node is a mapping of names to anything."""
    if not isinstance(node, ast.Subscript) or ast.unparse(node.value).rpartition(".")[2] not in RECORDS:
        return False
    if not isinstance(node.slice, ast.Tuple) or len(node.slice.elts) != 2:
        return False
    key, value = map(ast.unparse, node.slice.elts)
    return key == "str" and value.rpartition(".")[2] == "Any"


def assigned(body: list[ast.stmt]) -> Iterator[tuple[str, ast.expr]]:
    """What may be the aliases of types among a module's statements: names, and the types that they stand for."""
    for node in body:
        if isinstance(node, ast.If):
            yield from assigned([*node.body, *node.orelse])
        elif isinstance(node, ast.Assign) and isinstance(
            node.value, ast.Subscript | ast.BinOp | ast.Name | ast.Attribute
        ):
            yield from ((target.id, node.value) for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and "TypeAlias" in ast.unparse(node.annotation) and node.value:
            yield ast.unparse(node.target), node.value


def imported(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """The names that a module imports, wherever, to what they are elsewhere."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from ((name.asname or name.name, f"{node.module}.{name.name}") for name in node.names)
        elif isinstance(node, ast.Import):
            for name in node.names:
                yield (name.asname, name.name) if name.asname else (name.name.split(".")[0],) * 2
