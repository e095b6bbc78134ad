"""Small faults in the rules that decide, one at a time, in a copy of this checkout: do the nearest tests notice?

A mutant is one comparison turned, one half of an `and` dropped, one bound moved. Faults come from cosmic-ray's
operators (`pip install cosmic-ray`; no dependency of the project) and from a few of our own; which ones are planted
follows from the seed. A mutant is killed when a test of the nearest files fails; what lives is a rule that no test
holds, or a change that changes nothing. Annotations are left alone.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.process import ROOT

NEAREST: Mapping[str, tuple[str, ...]] = {
    "harness/judging/judge.py": ("test_judge.py",),
    "harness/judging/complaints.py": ("test_judge.py",),
    "harness/judging/causes/gate.py": ("test_judge.py",),
    "harness/judging/adaptive.py": ("test_adaptive.py",),
    "harness/training/improve/promotion.py": ("test_promotion.py", "test_improve.py"),
    "harness/training/improve/outcome.py": ("test_held_out_test.py", "test_improve.py"),
    "harness/training/improve/held_out_test.py": ("test_held_out_test.py", "test_setlevel.py", "test_improve.py"),
    "harness/providers/budget.py": ("test_budget.py",),
    "harness/store/*.py": ("test_store.py", "test_store_keeping.py", "test_cache_command.py", "test_tampering.py"),
    "harness/plugin.py": ("test_plugin_hooks.py", "test_plugin.py"),
}
"""The files that are mutated, and the tests that have to notice, the quickest first."""

LIMIT_S = 1_800.0  # until tests that hang count as a kill
SAID = ("help", "metavar", "frozen")  # keyword arguments that hold words for people, or guard against programmers


@dataclass(frozen=True)
class Mutant:
    """One changed file."""

    path: str
    line: int
    kind: str
    source: str

    def change(self, before: str) -> str:
        """`- old / + new` of the changed lines."""
        lines = list(difflib.unified_diff(before.splitlines(), self.source.splitlines(), lineterm="", n=0))[3:]
        return " / ".join(f"{line[0]} {line[1:].strip()}" for line in lines)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--number", type=int, default=40, metavar="N", help="how many mutants (default: 40)")
    parser.add_argument("--seed", type=int, default=0, help="which ones (default: 0)")
    parser.add_argument("--files", default="*", metavar="PATTERN", help="only files like this: 'harness/store/*'")
    parser.add_argument("--list", action="store_true", dest="only_list", help="name them and run nothing")


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """How many of so many mutants the tests kill."""
    files = [path for path in mutable_files() if fnmatch(path, options.files)]
    chosen = draw(files, options.number, options.seed)
    print(f"method: {len(chosen)} mutants of {len(files)} files, seed {options.seed}; the nearest tests, -x, a copy")
    texts = {path: (ROOT / path).read_text(encoding="utf-8") for path in files}
    lived = []
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "checkout"
        if not options.only_list:
            copy_checkout(home)
            sound(home, {mutant.path for mutant in chosen})
        for mutant in chosen:
            where = f"{mutant.path}:{mutant.line} {mutant.kind}: {mutant.change(texts[mutant.path])}"
            if options.only_list:
                print(where)
                continue
            started, killer = time.monotonic(), try_out(home, mutant, texts[mutant.path])
            print(f"{time.monotonic() - started:4.0f} s  {where}\n        {killer or 'LIVED'}", flush=True)
            lived += [] if killer else [where]
    if options.only_list:
        return {"mutants": len(chosen)}
    killed = len(chosen) - len(lived)
    return {"mutants": len(chosen), "killed": killed, "share": round(killed / max(1, len(chosen)), 3), "lived": lived}


# --- which ones ---------------------------------------------------------------------------------------------------


def mutable_files() -> list[str]:
    """Those that NEAREST names and that hold code."""
    found = sorted({path for pattern in NEAREST for path in ROOT.glob(pattern) if path.name != "__init__.py"})
    return [path.relative_to(ROOT).as_posix() for path in found]


def nearest(path: str) -> list[str]:
    """The test files of a file."""
    return [f"tests/{name}" for pattern, tests in NEAREST.items() if fnmatch(path, pattern) for name in tests]


def draw(files: Sequence[str], number: int, seed: int) -> list[Mutant]:
    """So many mutants, no two at one place; a longer file has more of them."""
    places: dict[tuple[str, tuple[int, int]], list[tuple[str, Callable[[], str | None]]]] = {}
    for path in files:
        source = (ROOT / path).read_text(encoding="utf-8")
        for place, kind, make in [*library_mutants(source), *own_mutants(source)]:
            places.setdefault((path, place), []).append((kind, make))
    chance, found = random.Random(seed), list[Mutant]()
    for path, place in chance.sample(sorted(places), len(places)):
        if len(found) == number:
            break
        kind, make = chance.choice(places[path, place])
        text = make()
        if text and text != (ROOT / path).read_text(encoding="utf-8") and compiles(text):
            found.append(Mutant(path, place[0], kind, text))
    return sorted(found, key=lambda mutant: (mutant.path, mutant.line))


Possible = Iterator[tuple[tuple[int, int], str, Callable[[], str | None]]]
"""Line and column, what is done, and the changed text."""


def library_mutants(source: str) -> Possible:
    """Those of cosmic-ray that make sense in this code: no bit operators, no `is` for `==`."""
    try:
        plugins, trees, mutating = (import_module(f"cosmic_ray.{name}") for name in ("plugins", "ast", "mutating"))
    except ImportError:
        raise SystemExit("this benchmark needs cosmic-ray: python -m pip install cosmic-ray") from None
    tree, idle = trees.get_ast(source), idle_places(source)
    nodes = list(trees.ast_nodes(tree))
    for name in plugins.operator_names():
        if not sensible(name.removeprefix("core/")):
            continue
        operator = plugins.get_operator(name)()
        spots = [start for node in nodes for start, _ in operator.mutation_positions(node)]
        for number, (line, column) in enumerate(spots):
            if not any(first <= (line, column) < last for first, last in idle):

                def make(operator: Any = operator, number: int = number) -> str | None:
                    found: str | None = mutating.mutate_code(source, operator, number)
                    return found

                yield (line, column), name.removeprefix("core/"), make


def sensible(name: str) -> bool:
    kind, _, words = name.partition("_")
    if kind in ("VariableInserter", "VariableReplacer"):
        return False
    if kind == "ReplaceBinaryOperator":
        return set(words.split("_")) <= {"Add", "Sub", "Mul", "Div"}
    if kind == "ReplaceComparisonOperator":
        return set(words.split("_")) <= {"Eq", "NotEq", "Lt", "LtE", "Gt", "GtE"} or words in ("Is_IsNot", "IsNot_Is")
    return True


def idle_places(source: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Where types stand, which nothing ever runs, and what keyword arguments of SAID say."""
    found = []
    for node in ast.walk(ast.parse(source)):
        parts = [getattr(node, name, None) for name in ("annotation", "returns")]
        parts += [word.value for word in getattr(node, "keywords", ()) if word.arg in SAID]
        for part in parts:
            if isinstance(part, ast.expr):
                found.append(((part.lineno, part.col_offset), (part.end_lineno or 0, part.end_col_offset or 0)))
    return found


def own_mutants(source: str) -> Possible:
    """What cosmic-ray lacks: a bound moved by a quarter; a condition's part, a method, a keyword, a call left out."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, float) and node.value:
            for factor in (0.8, 1.25):
                yield edit(source, node, f"moved by {factor}", repr(node.value * factor))
        if isinstance(node, ast.BoolOp):
            for part in node.values:
                rest = f" {'and' if isinstance(node.op, ast.And) else 'or'} ".join(
                    f"({ast.unparse(each)})" for each in node.values if each is not part
                )
                yield edit(source, node, "part of a condition dropped", f"({rest})")
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and not (node.args or node.keywords):
            yield edit(source, node, "method dropped", f"({ast.unparse(node.func.value)})")
        if isinstance(node, ast.Call):
            for word in (each for each in node.keywords if each.arg not in SAID):
                kept = [each for each in node.keywords if each is not word]
                yield edit(source, node, "keyword dropped", ast.unparse(ast.Call(node.func, node.args, kept)))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            yield edit(source, node, "statement dropped", "pass")


def edit(
    source: str, node: ast.expr | ast.stmt, kind: str, text: str
) -> tuple[tuple[int, int], str, Callable[[], str]]:
    """A part of the source replaced; ast counts columns in bytes."""
    lines = source.encode().splitlines(keepends=True)

    def make() -> str:
        before = b"".join(lines[: node.lineno - 1]) + lines[node.lineno - 1][: node.col_offset]
        last = node.end_lineno or node.lineno
        after = lines[last - 1][node.end_col_offset :] + b"".join(lines[last:])
        return (before + text.encode() + after).decode()

    return (node.lineno, node.col_offset), kind, make


def compiles(text: str) -> bool:
    """The library also turns the `*` before keyword arguments."""
    try:
        compile(text, "mutant", "exec", dont_inherit=True)
    except SyntaxError:
        return False
    return True


# --- do the tests notice? -----------------------------------------------------------------------------------------


def copy_checkout(home: Path) -> None:
    """What git knows or would take, so that no cache travels."""
    command = ["git", "ls-files", "-co", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
    for name in filter(None, listed):
        if (ROOT / name).is_file():
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, home / name)


def sound(home: Path, paths: set[str]) -> None:
    """Tests that fail by themselves would kill every mutant."""
    for tests in sorted({tuple(nearest(path)) for path in paths}):
        if broken := run_tests(home, tests):
            raise SystemExit(f"{broken} without any mutant; mend it first")


def try_out(home: Path, mutant: Mutant, before: str) -> str:
    """What kills a mutant; "" when it lives."""
    target = home / mutant.path
    target.write_text(mutant.source, encoding="utf-8")
    try:
        return run_tests(home, nearest(mutant.path))
    finally:
        target.write_text(before, encoding="utf-8")


def run_tests(home: Path, tests: Sequence[str]) -> str:
    """The first test that fails in the copy, "" when none does; every process that it starts imports the copy too."""
    known = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "HARNESS_"))}
    environment = {**known, "PYTHONPATH": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--tb=no", *tests]
    try:
        done = subprocess.run(
            command, cwd=home, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return "hangs"
    if done.returncode not in (0, 1, 2):  # 2: a test file that the mutant lets nobody import
        raise RuntimeError(f"pytest ended with {done.returncode}: {done.stdout[-500:]} {done.stderr[-500:]}")
    named = re.findall(r"^(?:FAILED|ERROR) \S*?::(\w+)", done.stdout, re.MULTILINE)
    return "" if done.returncode == 0 else next(iter(named), "cannot be imported")
