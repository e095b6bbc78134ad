"""Every import points up the list of rooms, whenever it runs; few wait, and those spare something heavy by it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from benchmarks.imports import Kind, Source, circles, floors, map_of, way_down
from benchmarks.process import ROOT
from benchmarks.reasons import HEAVY, STARTS, heavy, optional_distributions, unreasoned

HOUSE = Source(ROOT)
OPTIONAL = optional_distributions(ROOT / "pyproject.toml")
PYTEST = {
    "harness.plugin": "it is one",
    "pytest_lora_harness": "pytest loads it",
    "harness.commands.session": "its stash keeps the session",
    "harness.commands.pytest_internals": "it keeps what pytest does not promise",
    "harness.commands.stopping": "it is a plugin that is told of interruptions",
    "harness.commands.streams": "it stands in for what pytest's terminal writes to",
    "harness.commands.ci": "it runs pytest, with a plugin of its own",
    "harness.commands.run": "it is pytest",
}
"""What may know pytest, and why."""
TOP = {"__init__.py", "__main__.py", "plugin.py"}
LIGHT: Mapping[str, set[str]] = {
    "harness.config.profile": set(),
    "harness.config.suite": set(),
    "harness.commands.session": set(),
    "harness.engine.broker": set(),
    "harness.store": {"filelock"},
    "harness.plugin": {"numpy", "scipy"},
    "harness.engine.run": {"numpy", "scipy", "filelock"},
}
"""What collects suites, serves a worker, or makes a run of which every picture is there: all that is heavy in it."""


def make_house(root: Path, files: Mapping[str, str], order: str = "") -> Source:
    """A package of these files, and a README whose map names these rooms."""
    for name, text in files.items():
        path = root / "harness" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        for folder in path.relative_to(root).parents[:-1]:
            (root / folder / "__init__.py").touch()
    rooms = "".join(f"      {room:10}  a room\n" for room in order.split())
    (root / "README.md").write_text(f"# A\n\n## The map\n\n    harness/\n{rooms}\n## Licence\n", encoding="utf-8")
    return Source(root)


def waiting(source: Source, *optional: str) -> list[str]:
    """What waits without a reason: module and target."""
    return [f"{each.module} {' '.join(each.targets)}" for each in unreasoned(source, optional)]


# --- this package -------------------------------------------------------------------------------------------------


def test_no_file_leads_back_to_itself() -> None:
    assert circles(HOUSE.graph()) == []


def test_no_room_leads_back_to_itself() -> None:
    assert circles(HOUSE.rooms) == []


def test_no_import_runs_against_the_map() -> None:
    assert [f"{each.module}:{each.line} {each.targets}" for _, _, each in HOUSE.upward] == []


def test_the_map_names_every_room_once() -> None:
    assert sorted(HOUSE.order) == sorted(HOUSE.rooms)


def test_nothing_else_lies_at_the_top() -> None:
    assert {path.name for path in (ROOT / "harness").glob("*.py")} == TOP


def test_few_modules_know_pytest() -> None:
    knowing = {
        each.module
        for each in HOUSE.imports
        if any(target.split(".")[0] in ("pytest", "_pytest", "xdist") for target in each.targets)
    }

    assert knowing <= set(PYTEST)


@pytest.mark.parametrize("module", LIGHT)
def test_what_every_session_loads_is_light(module: str) -> None:
    assert heavy(HOUSE.loads(module)) <= LIGHT[module]


def test_imports_that_wait_have_a_reason() -> None:
    found = unreasoned(HOUSE, OPTIONAL)

    assert [f"{each.module}:{each.line} {', '.join(each.targets)}" for each in found] == []


def test_tables_of_reasons_name_what_there_is() -> None:
    assert set(STARTS) <= set(HOUSE.files)
    assert {name for names in HEAVY.values() for name in names} <= set(HEAVY)
    assert sorted(OPTIONAL) == ["bitsandbytes", "compel", "modelscope", "prodigyopt"]


# --- the rules themselves -----------------------------------------------------------------------------------------

BACK = {
    "at the top": "from harness.low import a",
    "in a function": "def f():\n    from harness.low import a",
    "in a method": "class A:\n    def f(self):\n        from harness.low.a import x",
    "for type checkers": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from harness.low.a import x",
    "after a try": "try:\n    import harness.low.a\nexcept ImportError:\n    pass",
    "by name": "from importlib import import_module\ndef f():\n    return import_module('harness.low.a')",
    "relative": "from ..low import a",
}


@pytest.mark.parametrize("how", BACK)
def test_a_circle_is_found_however_it_is_hidden(tmp_path: Path, how: str) -> None:
    house = make_house(tmp_path, {"low/a.py": "import harness.high.b", "high/b.py": BACK[how]}, "low/ high/")

    assert circles(house.graph()) == [["harness.high.b", "harness.low.a"]]
    assert circles(house.rooms) == [["high", "low"]]
    assert [(start, end) for start, end, _ in house.upward] == [("low", "high")]


def test_an_import_down_the_map_is_none(tmp_path: Path) -> None:
    house = make_house(tmp_path, {"low/a.py": "x = 'harness.high.b'", "high/b.py": BACK["at the top"]}, "low/ high/")

    assert circles(house.graph()) == circles(house.rooms) == house.upward == []


def test_a_circle_of_rooms_needs_none_of_files(tmp_path: Path) -> None:
    house = make_house(
        tmp_path, {"low/a.py": "import harness.high.b", "high/b.py": "", "high/c.py": BACK["in a function"]}
    )

    assert circles(house.graph()) == []
    assert circles(house.rooms) == [["high", "low"]]


def test_a_room_that_the_map_leaves_out_stands_nowhere(tmp_path: Path) -> None:
    house = make_house(tmp_path, {"low/a.py": "", "high/b.py": BACK["at the top"]}, "low/")

    assert [(start, end) for start, end, _ in house.upward] == [("high", "low")]


def test_a_submodule_is_not_its_package(tmp_path: Path) -> None:
    """`from harness.low import a` leads to the file `a`, `from harness.low import x` to the package's own."""
    house = make_house(tmp_path, {"low/a.py": "", "high/b.py": "from harness.low import a", "high/c.py": ""})
    (tmp_path / "harness" / "high" / "c.py").write_text("from harness.low import x")

    assert house.graph()["harness.high.b"] == {"harness.low.a"}
    assert house.graph()["harness.high.c"] == {"harness.low"}


def test_a_plugin_named_for_pytest_is_imported(tmp_path: Path) -> None:
    house = make_house(tmp_path, {"plugin.py": ""}, "plugin.py")
    (tmp_path / "pytest_lora_harness.py").write_text("if True:\n    pytest_plugins = ['harness.plugin']")

    assert house.rooms == {"plugin": set(), "pytest_lora_harness": {"plugin"}}


def test_the_map_ends_with_its_section() -> None:
    rooms = "    harness/\n      core/   x\n      plugin.py  y\n    beside.py  z\n"
    text = f"\n## More\n\n      no/   w\n\n## The map\n\n{rooms}\n## Yet more\n\n      no/   w\n"

    assert map_of(text) == ["core", "plugin", "beside"]


def test_floors_are_counted_from_the_ground() -> None:
    graph = {
        "roof": {"a", "ground"},
        "a": {"ground", "b"},
        "b": {"ground", "a"},
        "ground": set[str](),
        "yard": set[str](),
    }

    assert floors(graph) == {"ground": 1, "yard": 1, "a": 3, "b": 3, "roof": 4}
    assert way_down(graph) == ["roof", "a", "ground"]
    assert floors(graph | {"b": {"ground"}}) == {"ground": 1, "yard": 1, "b": 2, "a": 3, "roof": 4}


# --- reasons to wait ----------------------------------------------------------------------------------------------


def late(*statements: str) -> str:
    """A module that imports in a function."""
    return "def f():\n" + "".join(f"    {statement}\n" for statement in statements)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("import torch", True),
        ("from torch import nn", True),
        ("import harness.low.brings", True),  # torch
        ("import harness.low.brings_far", True),  # that, in turn
        ("import torchvision", False),  # another name, with the same beginning
        ("import harness.low.waits", False),  # loads torch as late as this does
        ("import json", False),
        ("from PIL import Image", False),
        ("from harness.low import small", False),
        ("import compel", True),  # optional
    ],
)
def test_what_waits_spares_something(tmp_path: Path, text: str, kept: bool) -> None:
    low = {
        "low/brings.py": "import torch",
        "low/brings_far.py": "import harness.low.brings",
        "low/waits.py": late("import torch"),
        "low/small.py": "",
    }
    for_checkers = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    "

    for number, module in enumerate((late(text), for_checkers + text)):
        house = make_house(tmp_path / str(number), {**low, "high/b.py": module})
        assert (not waiting(house, "compel")) is kept


@pytest.mark.parametrize("top", ["import torch", "import diffusers", "import harness.low.brings", "import harness.low"])
def test_nothing_waits_for_what_is_there(tmp_path: Path, top: str) -> None:
    """Whether its module loads torch itself, with another library, with a module, or with a package's own file."""
    files = {
        "low/brings.py": "import torch",
        "low/__init__.py": "import torch",
        "high/b.py": f"{top}\n{late('import torch')}",
    }

    assert waiting(make_house(tmp_path, files)) == ["harness.high.b torch"]


def test_what_prints_when_it_loads_may_wait_for_quiet(tmp_path: Path) -> None:
    text = "import diffusers\n" + late("from diffusers import UNet2DConditionModel, StableDiffusionXLPipeline")

    assert waiting(make_house(tmp_path, {"high/b.py": text})) == []
    (tmp_path / "harness" / "high" / "b.py").write_text(text.replace(", StableDiffusionXLPipeline", ""))
    assert waiting(Source(tmp_path)) == ["harness.high.b diffusers.UNet2DConditionModel"]


def test_only_starts_may_wait_for_small_things(tmp_path: Path) -> None:
    text = "import harness.low.a\n" + late("import harness.low.a", "import harness.low.b", "import json")
    house = make_house(tmp_path, {"low/a.py": "", "low/b.py": "", "plugin.py": text, "high/b.py": text})

    assert waiting(house) == [
        *("harness.high.b harness.low.a", "harness.high.b harness.low.b", "harness.high.b json"),
        "harness.plugin harness.low.a",
    ]


def test_kinds_of_imports(tmp_path: Path) -> None:
    text = """
import typing
if typing.TYPE_CHECKING:
    import a
    def f():
        import b
else:
    import c
class C:
    import d
    async def g(self):
        if True:
            import e
h = lambda: __import__("f")
"""
    kinds = {each.targets[0]: each.kind for each in make_house(tmp_path, {"low/a.py": text}).imports}

    assert kinds == {
        **dict.fromkeys(("typing", "c", "d"), Kind.LOAD),
        **dict.fromkeys(("a", "b"), Kind.TYPING),
        **dict.fromkeys(("e", "f"), Kind.LAZY),
    }


def test_whatever_decides_can_be_imported_first() -> None:
    """A circle through a package's `__init__` hides as long as somebody else came in by the right door."""
    program = """
import importlib, pkgutil, sys
import harness.core, harness.config, harness.judging
rooms = (harness.core, harness.config, harness.judging)
names = [each.name for room in rooms for each in pkgutil.walk_packages(room.__path__, room.__name__ + ".")]
for name in names:
    for known in [known for known in sys.modules if known.partition(".")[0] == "harness"]:
        del sys.modules[known]
    importlib.import_module(name)
print(len(names))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 50
