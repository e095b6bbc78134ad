"""`harness init`: the demo suite, or a suite for a folder of somebody's own pictures."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from importlib.metadata import entry_points
from pathlib import Path

import yaml

from harness.core.errors import UsageError
from harness.core.project import configuration
from harness.core.settings import data_root

PICTURES = (".png", ".jpg", ".jpeg", ".webp")
LEAST = 3
HELD_OUT = 0.4  # of the pictures: scores need them as much as the training does
DEMO = ("suites", "references", ".env.example")
INI = "[pytest]\nharness_suites = suites\n"
IGNORED = ".harness/\nreports/\n.env\n"
PLUGIN = "pytest_lora_harness"
HALF_WAY = 0.5  # from what the description alone draws to the subject; `quality` counts the describable traits as well
EXPRESSIONS = ("smiling", "sad", "surprised", "angry")
PLACES = ("steppe", "city", "snowy mountain", "starry night", "desert", "forest")


def write_demo(into: Path) -> list[Path]:
    """Copy the shipped suites and references; files that are there already are kept."""
    written = []
    for name in DEMO:
        source = data_root() / name
        files = [source] if source.is_file() else sorted(path for path in source.rglob("*") if path.is_file())
        for path in files:
            target = into / path.relative_to(data_root())
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
                written.append(target)
    return [*written, *write_project(into)]


def write_project(into: Path) -> list[Path]:
    """What makes a folder a project: pytest's configuration where none is above it, and what git must not keep.

    A conftest only where no installed distribution brings the plugin: one that is not the topmost breaks pytest.
    """
    files = {".gitignore": IGNORED} | ({} if any(map(configuration, around(into))) else {"pytest.ini": INI})
    if not any(point.value == PLUGIN for point in entry_points(group="pytest11")):
        files["conftest.py"] = f'pytest_plugins = ["{PLUGIN}"]\n'
    written = []
    for name, text in files.items():
        target = into / name
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
            written.append(target)
    return written


def around(folder: Path) -> list[Path]:
    """A folder and those above it."""
    return [folder.resolve(), *folder.resolve().parents]


def write_subject(
    into: Path, pictures: Path, name: str, trigger: str, kind: str = "character", class_word: str = ""
) -> list[Path]:
    """References split into train and held_out, captions beside them, and a suite over common prompts.

    Raises:
        UsageError: the folder is missing, holds too few pictures, or the suite exists already.
    """
    result = sorted(path for path in pictures.glob("*") if path.suffix.lower() in PICTURES) if pictures.is_dir() else []
    if len(result) < LEAST:
        raise UsageError(f"{pictures}: {len(result)} pictures; {LEAST} are needed at least, 10 to 30 are good")
    slug = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    suite = into / "suites" / f"{slug}.yaml"
    if suite.exists():
        raise UsageError(f"{suite} exists already; choose another --name or remove it")
    folder = into / "references" / slug
    written = [*copy_split(result, folder), suite]
    suite.parent.mkdir(parents=True, exist_ok=True)
    suite.write_text(suite_text(slug, name, trigger, kind, class_word), encoding="utf-8")
    schema = into / "suites" / "schema" / "suite.json"  # what the suite's first line names
    if not schema.exists():
        schema.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(data_root() / "suites" / "schema" / "suite.json", schema)
        written.append(schema)
    return [*written, *write_project(into)]


def copy_split(found: list[Path], folder: Path) -> Iterable[Path]:
    """Every third to second picture is held out, evenly through the set; captions travel with their pictures."""
    held = {int((place + 0.5) / HELD_OUT) for place in range(max(1, int(len(found) * HELD_OUT)))}
    for place, path in enumerate(found):
        target = folder / ("held_out" if place in held else "train") / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        caption = path.with_suffix(".txt")
        if caption.exists():
            shutil.copyfile(caption, target.with_suffix(".txt"))
        yield target


def suite_text(slug: str, name: str, trigger: str, kind: str, class_word: str = "") -> str:
    """Twelve open prompts and eight locked ones, over expressions and places that every model knows."""
    grid = [(expression, place) for expression in EXPRESSIONS for place in PLACES]
    chosen = [grid[(7 * number) % len(grid)] for number in range(20)]  # 7 and 24 share no divisor: no pair comes twice
    cases = []
    for number, (expression, place) in enumerate(chosen):
        case = {
            "id": f"{expression}-{place}".replace(" ", "-"),
            "prompt": f"{{trigger}}, {expression}, {place} background",
            "expect": {"expression": expression, "background": place},
        }
        cases.append(case | ({"split": "locked"} if number >= 12 else {}))
    record = {
        "version": 1,
        "suite": slug.replace("_", "-"),
        "subject": {
            "name": name,
            "kind": kind,
            "trigger": trigger,
            **({"class_word": class_word} if class_word else {}),
            "lora": f"../references/{slug}/champion.safetensors",
            "references": f"../references/{slug}",
            "traits": "auto",
        },
        "providers": ["lora", "base", "prompt_only"],
        "gate": ["lora"],
        "samples": 3,
        "thresholds": {"quality": {"fail": 0.6, "warn": 0.7}, "clip": HALF_WAY, "prompt": 0.5},
        "beat": ["prompt_only"],
        "cases": cases,
    }
    head = "# yaml-language-server: $schema=./schema/suite.json\n"
    return head + yaml.safe_dump(record, sort_keys=False, allow_unicode=True, width=120)
