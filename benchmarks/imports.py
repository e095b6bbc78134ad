"""Who imports whom, read from the source: every import of a package, whenever it runs. Nothing is imported for it.

An import is a statement `import` or `from ... import`, a call of `import_module`, `resolve_name` or `__import__` with a
literal name, or a module named in `pytest_plugins`. One inside a function is lazy; one under `TYPE_CHECKING` never
runs. Modules that a table names by text (adapters, former paths) are no imports.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path

PACKAGE, BESIDE = "harness", "pytest_lora_harness"
CALLS = {"import_module", "resolve_name", "__import__"}
Graph = Mapping[str, Collection[str]]


class Kind(StrEnum):
    """When an import runs."""

    LOAD = "load"  # with its module
    LAZY = "lazy"  # when a function runs
    TYPING = "type_checking"  # never: type checkers read it


@dataclass(frozen=True)
class Import:
    """One statement."""

    module: str  # that holds it
    line: int
    kind: Kind
    targets: tuple[str, ...]  # modules of the package; of others also the name: `from torch import nn` is torch.nn

    @property
    def inside(self) -> tuple[str, ...]:
        """Its targets that belong to the package."""
        return tuple(target for target in self.targets if target.split(".")[0] in (PACKAGE, BESIDE))


# --- reading ------------------------------------------------------------------------------------------------------


class Reader(ast.NodeVisitor):
    """Finds the imports of one module."""

    def __init__(self, module: str, is_package: bool, known: Collection[str]) -> None:
        self.module, self.known, self.found = module, known, list[Import]()
        self._parent = module.split(".") if is_package else module.split(".")[:-1]
        self._functions = 0
        self._typing = False

    def _add(self, node: ast.AST, *targets: str) -> None:
        kind = Kind.TYPING if self._typing else Kind.LAZY if self._functions else Kind.LOAD
        self.found.append(Import(self.module, getattr(node, "lineno", 0), kind, targets))

    def visit_Import(self, node: ast.Import) -> None:
        self._add(node, *(name.name for name in node.names))

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """A submodule counts itself and not its package; `__future__` is no import."""
        above = self._parent[: len(self._parent) + 1 - node.level] if node.level else []
        origin = ".".join([*above, *filter(None, [node.module])])
        names = [f"{origin}.{name.name}" for name in node.names]
        if origin in self.known:
            names = [name if name in self.known else origin for name in names]
        if origin != "__future__":
            self._add(node, *dict.fromkeys(names))

    def visit_Call(self, node: ast.Call) -> None:
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        first = node.args[0] if node.args else None
        if called in CALLS and isinstance(first, ast.Constant) and isinstance(first.value, str):
            self._add(node, first.value.split(":")[0])
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        if any(isinstance(target, ast.Name) and target.id == "pytest_plugins" for target in node.targets):
            self._add(node, *(str(each.value) for each in ast.walk(node.value) if isinstance(each, ast.Constant)))
        self.generic_visit(node)

    def visit_If(self, node: ast.If) -> None:
        if ast.unparse(node.test).rpartition(".")[2] != "TYPE_CHECKING":
            self.generic_visit(node)
            return
        outer, self._typing = self._typing, True
        for statement in node.body:
            self.visit(statement)
        self._typing = outer
        for statement in node.orelse:
            self.visit(statement)

    def _enter(self, node: ast.AST) -> None:
        self._functions += 1
        self.generic_visit(node)
        self._functions -= 1

    visit_FunctionDef = visit_AsyncFunctionDef = visit_Lambda = _enter


@dataclass(frozen=True)
class Source:
    """The package below a folder, and the module beside it."""

    root: Path

    @cached_property
    def files(self) -> dict[str, Path]:
        """Module to file."""
        paths = [*sorted((self.root / PACKAGE).rglob("*.py")), *self.root.glob(f"{BESIDE}.py")]
        return {
            ".".join(path.relative_to(self.root).with_suffix("").parts).removesuffix(".__init__"): path
            for path in paths
        }

    @cached_property
    def trees(self) -> dict[str, ast.Module]:
        return {module: ast.parse(path.read_text(encoding="utf-8")) for module, path in self.files.items()}

    @cached_property
    def imports(self) -> list[Import]:
        """Every import of every module, in the order of the source."""
        found = []
        for module, tree in self.trees.items():
            reader = Reader(module, self.files[module].name == "__init__.py", self.files)
            reader.visit(tree)
            found += reader.found
        return found

    def graph(self, *kinds: Kind) -> dict[str, set[str]]:
        """Module to the package's modules that it imports; of all kinds where none is named."""
        graph: dict[str, set[str]] = {module: set() for module in self.files}
        for each in self.imports:
            if each.kind in (kinds or Kind):
                graph[each.module] |= set(each.inside) & set(self.files) - {each.module}
        return graph

    # --- rooms ----------------------------------------------------------------------------------------------------

    @cached_property
    def rooms(self) -> dict[str, set[str]]:
        """Room to the rooms that it imports."""
        rooms: dict[str, set[str]] = {room: set() for room in map(room_of, self.files) if room}
        for start, end, _ in self.arrows:
            rooms[start].add(end)
        return rooms

    @cached_property
    def arrows(self) -> list[tuple[str, str, Import]]:
        """Every import that leaves its room: from where, to where."""
        found = []
        for each in self.imports:
            start, ends = room_of(each.module), {room_of(target) for target in each.inside if target in self.files}
            found += [(start, end, each) for end in sorted(ends - {"", start}) if start]
        return found

    @cached_property
    def order(self) -> list[str]:
        """The rooms of the README's map, from the ground up."""
        return map_of((self.root / "README.md").read_text(encoding="utf-8"))

    @cached_property
    def upward(self) -> list[tuple[str, str, Import]]:
        """The imports that run against the map; a room that it does not name stands nowhere, so all of its do."""
        place = {room: number for number, room in enumerate(self.order)}
        return [
            (start, end, each)
            for start, end, each in self.arrows
            if not (start in place and end in place and place[end] < place[start])
        ]

    # --- what loads -----------------------------------------------------------------------------------------------

    def loads(self, module: str) -> set[str]:
        """All that is loaded with a module: itself, the packages above it, and what these import when they load."""
        if module not in self._loads:
            self._loads[module] = found = set[str]()
            ahead = [module]
            while ahead:
                name = ahead.pop()
                if name in found:
                    continue
                found.add(name)
                ahead += [name.rpartition(".")[0]] if "." in name else []
                ahead += self._loaded_by.get(name, ())
        return self._loads[module]

    @cached_property
    def _loads(self) -> dict[str, set[str]]:
        return {}

    @cached_property
    def _loaded_by(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for each in self.imports:
            if each.kind is Kind.LOAD:
                found.setdefault(each.module, set()).update(each.targets)
        return found


def room_of(module: str) -> str:
    """The folder of the package, or the file at its top, in which a module lies; "" for the package itself."""
    return module.removeprefix(PACKAGE).strip(".").split(".")[0]


def map_of(readme: str) -> list[str]:
    """The rooms in the order of the block under `## The map`: `      name/   what it is` or `      name.py  ...`."""
    block = readme.partition("\n## The map\n")[2].partition("\n## ")[0]
    return re.findall(r"^ {4,6}(\w+)(?:/|\.py) {2,}\S", block, re.MULTILINE)


# --- graphs -------------------------------------------------------------------------------------------------------


def circles(graph: Graph) -> list[list[str]]:
    """The groups of nodes that all lead to one another, two or more each (Tarjan), biggest first."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        number[node] = low[node] = len(number)
        stack.append(node)
        for target in sorted(graph.get(node, ())):
            if target not in number:
                visit(target)
            if target in stack:
                low[node] = min(low[node], low[target])
        if low[node] == number[node]:
            place = stack.index(node)
            found.append(sorted(stack[place:]))
            del stack[place:]

    for node in sorted(graph):
        if node not in number:
            visit(node)
    return sorted((group for group in found if len(group) > 1), key=len, reverse=True)


def floors(graph: Graph) -> dict[str, int]:
    """The floor on which each node stands: above the highest that it imports, the lowest on 1.

    A circle of n nodes takes n floors, and all of them stand on its highest.
    """
    together = {node: tuple(group) for group in circles(graph) for node in group}
    found: dict[str, int] = {}

    def floor(node: str) -> int:
        if node not in found:
            group = together.get(node, (node,))
            below = {target for member in group for target in graph.get(member, ())} - set(group)
            height = max(map(floor, sorted(below)), default=0) + len(group)
            found.update(dict.fromkeys(group, height))
        return found[node]

    for node in graph:
        floor(node)
    return found


def way_down(graph: Graph) -> Sequence[str]:
    """The longest way down, from the top floor to the lowest."""
    height = floors(graph)
    node = max(sorted(height), key=height.__getitem__)
    way = [node]
    while below := [target for target in graph[node] if height[target] < height[node]]:
        node = max(sorted(below), key=height.__getitem__)
        way.append(node)
    return way
