"""The structure of the package, read from its source: nothing of it is imported.

A room is a folder of the package, or a file at its top other than `__init__`, or `pytest_lora_harness` beside it. Every
import counts, whenever it runs (`benchmarks.imports`).

- rooms: the package's folders. top_files: the files beside them.
- floors: the longest way down. A room stands on the floor above the highest that it imports; n rooms in a circle stand
  above one another.
- arrows: pairs of rooms of which one imports the other. arrows_up: imports against the order of the README's map, and
  those from or to a room that it does not name.
- circles: groups of files that lead to one another, and groups of rooms that do.
- lazy: imports inside functions, of whatever. type_checking: imports under `TYPE_CHECKING`. unreasoned: those of both
  that spare nothing (`benchmarks.reasons`).
- any_records: annotations of parameters and returns that hold `dict[str, Any]`, `Mapping[str, Any]` or
  `MutableMapping[str, Any]`, by whatever alias (`benchmarks.records`).
- longest_class, longest_function: lines from the first decorator to the end.
- double_names: names that more than one class of the package has, nested ones too.
- code_lines: lines that hold code: no blank ones, no comments, no strings that are statements.

`--list FIGURE` shows what is counted, and where; `--root` measures another checkout.
"""

from __future__ import annotations

import argparse
import ast
import io
import tokenize
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeGuard

from benchmarks.imports import PACKAGE, Import, Kind, Source, circles, floors, way_down
from benchmarks.process import ROOT
from benchmarks.reasons import optional_distributions, unreasoned
from benchmarks.records import Records

COMMIT = "f9206fe"  # before the rooms
BEFORE: Mapping[str, int] = {
    "rooms": 18,
    "top_files": 46,
    "arrows": 394,
    "circles": 11,
    "lazy": 635,
    "type_checking": 220,
    "any_records": 621,
    "double_names": 53,
    "floors": 40,
    "longest_class": 536,
    "longest_function": 68,
    "code_lines": 35_747,
}
"""The figures at that commit, by the same method. Its README had no order of rooms that imports could run against."""

SILENT = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


# --- rooms and imports --------------------------------------------------------------------------------------------


def rooms(source: Source) -> list[str]:
    return sorted({path.parent.name for path in (source.root / PACKAGE).glob("*/*.py")})


def top_files(source: Source) -> list[str]:
    return sorted(path.name for path in (source.root / PACKAGE).glob("*.py"))


def storeys(source: Source) -> list[tuple[int, str]]:
    """The longest way down: each room's floor and name."""
    height = floors(source.rooms)
    return [(height[room], room) for room in way_down(source.rooms)]


def arrows(source: Source) -> list[str]:
    """The pairs of rooms, and how many imports each stands for."""
    count = Counter((start, end) for start, end, _ in source.arrows)
    return [f"{start} to {end}: {number} imports" for (start, end), number in sorted(count.items())]


def arrows_up(source: Source) -> list[str]:
    return [f"{start} to {end}: {said(source, each)}" for start, end, each in source.upward]


def all_circles(source: Source) -> list[str]:
    """Those of files, then those of rooms."""
    return [", ".join(group) for graph in (source.graph(), source.rooms) for group in circles(graph)]


def of_kind(kind: Kind) -> Callable[[Source], list[str]]:
    return lambda source: [said(source, each) for each in source.imports if each.kind is kind]


def needless(source: Source) -> list[str]:
    """The imports that wait without a reason."""
    project = source.root / "pyproject.toml"
    optional = optional_distributions(project) if project.is_file() else set[str]()
    return [said(source, each) for each in unreasoned(source, optional)]


def said(source: Source, each: Import) -> str:
    """An import, with a place that can be clicked."""
    return f"{place(source, each.module, each.line)} {', '.join(each.targets)}"


def place(source: Source, module: str, line: int) -> str:
    return f"{source.files[module].relative_to(source.root).as_posix()}:{line}"


# --- definitions --------------------------------------------------------------------------------------------------


def any_records(source: Source) -> list[str]:
    return [f"{place(source, each.module, each.line)} {each.text}" for each in Records(source).annotations]


def definitions(source: Source, *kinds: type[Definition]) -> Iterator[tuple[str, Definition]]:
    """Classes and functions wherever they are, with their modules."""
    for module, tree in source.trees.items():
        yield from ((module, node) for node in ast.walk(tree) if isinstance(node, kinds))


def longest(*kinds: type[Definition]) -> Callable[[Source], list[tuple[int, str]]]:
    """The ten longest of a kind: lines and place."""

    def measure_them(source: Source) -> list[tuple[int, str]]:
        found = []
        for module, node in definitions(source, *kinds):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            lines = (node.end_lineno or first) - first + 1
            found.append((lines, f"{place(source, module, first)} {node.name}"))
        return sorted(found, key=lambda each: (-each[0], each[1]))[:10]

    return measure_them


def double_names(source: Source) -> list[str]:
    """Each name that several classes have, and where they are."""
    found = defaultdict(list)
    for module, node in definitions(source, ast.ClassDef):
        found[node.name].append(place(source, module, node.lineno))
    return [f"{name}: {', '.join(found[name])}" for name in sorted(found) if len(found[name]) > 1]


# --- lines --------------------------------------------------------------------------------------------------------


def code_lines(text: str) -> int:
    """How many lines hold code."""
    written, held = text.split("\n"), set[int]()
    remarks = [node.value for node in ast.walk(ast.parse(text)) if is_remark(node)]
    spans = [((each.lineno, each.col_offset), each.end_lineno or 0) for each in remarks]
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        remark = token.type == tokenize.STRING and any(
            start <= token.start and token.end[0] <= end for start, end in spans
        )
        if token.type not in SILENT and not remark:
            held.update(range(token.start[0], token.end[0] + 1))
    return sum(bool(written[number - 1].strip()) for number in held)


def is_remark(node: ast.AST) -> TypeGuard[ast.Expr]:
    """Whether a statement is a string and nothing else: a docstring, or what stands under a constant."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


# --- all of it ----------------------------------------------------------------------------------------------------

COUNTED: Mapping[str, tuple[int, Callable[[Source], list[str]]]] = {
    "rooms": (14, rooms),
    "top_files": (3, top_files),
    "arrows": (90, arrows),
    "arrows_up": (0, arrows_up),
    "circles": (0, all_circles),
    "lazy": (120, of_kind(Kind.LAZY)),
    "type_checking": (60, of_kind(Kind.TYPING)),
    "unreasoned": (0, needless),
    "any_records": (150, any_records),
    "double_names": (0, double_names),
}
"""Figures that say how many: the most that is wanted, and what there is."""
MEASURED: Mapping[str, tuple[int, Callable[[Source], list[tuple[int, str]]]]] = {
    "floors": (12, storeys),
    "longest_class": (250, longest(ast.ClassDef)),
    "longest_function": (60, longest(ast.FunctionDef, ast.AsyncFunctionDef)),
}
"""Figures that say how much: the most that is wanted, and the worst, worst first."""


def add_options(parser: argparse.ArgumentParser) -> None:
    names = [*COUNTED, *MEASURED]
    parser.add_argument("--list", choices=names, metavar="FIGURE", help=f"show what is counted: {', '.join(names)}")
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout that is measured (default: this one)")


def measure(options: argparse.Namespace) -> dict[str, int]:
    """The figures, beside what is wanted and what was."""
    source = Source(options.root.resolve())
    shown = {name: look(source) for name, (_, look) in COUNTED.items()}
    worst = {name: look(source) for name, (_, look) in MEASURED.items()}
    goals = {name: goal for name, (goal, _) in [*COUNTED.items(), *MEASURED.items()]}
    figures = {name: len(lines) for name, lines in shown.items()}
    figures |= {name: max((size for size, _ in sizes), default=0) for name, sizes in worst.items()}
    figures["code_lines"] = sum(code_lines(path.read_text(encoding="utf-8")) for path in source.files.values())
    print("method: the source alone, by ast and tokenize; lazy imports and those for type checkers count like others")
    print(f"{'figure':17} {'now':>6} {'goal':>6} {COMMIT:>8}")
    for name, value in figures.items():
        print(f"{name:17} {value:6} {goals.get(name, ''):>6} {BEFORE.get(name, ''):>8}")
    lines: Iterable[str] = shown.get(options.list) or (f"{size:4} {what}" for size, what in worst.get(options.list, ()))
    for line in lines:
        print(line)
    return figures | {f"{name}_before": value for name, value in BEFORE.items()}
