"""A small project of its own for the commands that write: suites, references, an emulated profile."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
QUICK = {"read": 0.3, "deadline": 5.0, "backoff": 0.01, "attempts": 2}


def make_project(folder: Path, faults: Mapping[str, Sequence[str]] | None = None, **options: Any) -> Path:
    """A folder with the suite of Aldar Kose and a profile called `written` whose writers are emulated."""
    profiles = folder / "suites" / "profiles"
    shutil.copytree(ROOT / "suites" / "profiles" / "traits", profiles / "traits")
    profile = yaml.safe_load((ROOT / "suites" / "profiles" / "embedded.yaml").read_text(encoding="utf-8"))
    planned = faults or {}
    writers = {
        name: {"adapter": name, **QUICK, "faults": list(planned.get(name, ())), **options}
        for name in ("deepseek", "gigachat", "openai")
    }
    profile |= {
        "profile": "written",
        "emulator": True,
        "writers": writers,
        "impostors": str(ROOT / "references" / "impostors"),
    }
    (profiles / "written.yaml").write_text(yaml.safe_dump(profile), encoding="utf-8")
    references = folder / "references" / "aldar_kose"
    for split in ("train", "held_out"):
        add_pictures(references / split, 3, shift=split == "train")
    shutil.copyfile(ROOT / "suites" / "aldar_kose.yaml", folder / "suites" / "aldar_kose.yaml")
    return folder


def add_pictures(folder: Path, count: int, shift: bool = False, suffix: str = ".png") -> list[Path]:
    """Small pictures of one colour each, all of them different."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"picture_{number:02d}{suffix}" for number in range(count)]
    for number, path in enumerate(paths):
        Image.new("RGB", (24, 32), (200 - 40 * number, 60 + 20 * number, 100 if shift else 30)).save(path)
    return paths
