"""Runs pytest as people do, in a process of its own, and reads what it left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from tests.known import ROOT, copy_known

__all__ = [
    "ALDAR_SUITE", "ROOT", "SMOKE", "Finished", "run_pytest", "run_suites", "write_broken_lora", "write_profile",
    "write_suite",
]  # fmt: skip
ALDAR_SUITE, SMOKE = "suites/aldar_kose.yaml", "suites/smoke.yaml"


@dataclass(frozen=True)
class Finished:
    """One finished pytest."""

    status: int
    output: str
    report: Path

    @cached_property
    def results(self) -> dict[str, Any]:
        return json.loads((self.report / "results.json").read_text(encoding="utf-8"))

    def count(self, word: str) -> int:
        """From the closing line: `3 passed` is 3."""
        closing = self.output.strip().splitlines()[-1].replace(",", "").split()
        return int(closing[closing.index(word) - 1]) if word in closing else 0

    def quality(self, provider: str) -> float:
        return next(row for row in self.results["leaderboard"] if row["provider"] == provider)["quality"]["mean"]


def run_suites(
    folder: Path,
    *arguments: str,
    cwd: Path = ROOT,
    python: str = sys.executable,
    store: Path | None = None,
    cold: bool = False,
) -> Finished:
    """`pytest ARGUMENTS` with the report in `folder`, and the store too unless another is named.

    A new store knows what `tests.known` says, or nothing at all where the start is to be cold.
    """
    report, store = folder / "report", store or folder / "store"
    if not (cold or store.exists() or "--collect-only" in arguments):
        copy_known(store)
    words = (
        *arguments,
        "--store",
        str(store),
        "--report-dir",
        str(report),
        "-o",
        f"cache_dir={folder / 'pytest_cache'}",
    )
    status, output = run_pytest(*words, cwd=cwd, python=python)
    return Finished(status, output, report)


def run_pytest(
    *arguments: str,
    cwd: Path,
    python: str = sys.executable,
    columns: int = 120,
    without: tuple[str, ...] = ("PYTEST_", "HARNESS_"),
    meanwhile: Callable[[subprocess.Popen[str]], None] = lambda run: None,
) -> tuple[int, str]:
    """Status and output of a pytest in a process of its own.

    Args:
        without: how variables of the environment begin that it is not to see.
        meanwhile: given the process while it runs.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith(without)}
    environment |= {"PYTHONUTF8": "1", "COLUMNS": str(columns), "HARNESS_EMULATOR": "profile"}
    run = subprocess.Popen(
        [python, "-m", "pytest", *arguments],
        cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8",
    )  # fmt: skip
    try:
        meanwhile(run)
        output, errors = run.communicate(timeout=1800)
    finally:
        run.kill()  # where it went on for too long
    return run.returncode, output + errors


def write_broken_lora(path: Path) -> None:
    """A LoRA file of a layer that no base has."""
    save_file({"unet.nowhere.lora_A.weight": np.ones((4, 8), np.float32)}, path)


def write_suite(folder: Path, text: str, name: str = "suite.yaml") -> Path:
    """A suite file with the repository's references filled in for REFERENCES."""
    path = folder / name
    path.write_text(text.replace("REFERENCES", (ROOT / "references" / "aldar_kose").as_posix()), encoding="utf-8")
    return path


def write_profile(folder: Path, *changes: tuple[str, str]) -> Path:
    """The embedded profile with these texts for others; its files are found from anywhere."""
    text = (ROOT / "suites" / "profiles" / "embedded.yaml").read_text(encoding="utf-8")
    folders = {"fixtures/": ROOT / "fixtures", "../../": ROOT, "traits/": ROOT / "suites" / "profiles" / "traits"}
    for old, new in [*((old, f"{path.as_posix()}/") for old, path in folders.items()), *changes]:
        assert old in text, old
        text = text.replace(old, new)
    path = folder / "profile.yaml"
    path.write_text(text, encoding="utf-8")
    return path
