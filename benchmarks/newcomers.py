"""People whom nobody has seen before: twelve pictures, `harness init`, `train` and `pytest`, as a newcomer types them.

Each person is drawn at random with at least two marks that no caption names, so no prompt can ask for them. A person
is won when the LoRA's quality on the locked cases beats `prompt_only` with an interval that excludes 0. Finished people
are records in the work folder: a benchmark that was killed goes on.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.core.stats import Pair, paired
from harness.world.newcomer import PICTURES, SEED, draw_newcomer


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--people", type=int, default=10)
    parser.add_argument("--first", type=int, default=SEED, metavar="SEED", help="of the first person")
    parser.add_argument("--work", type=Path, default=Path(".cache/newcomers"), help="where finished people are kept")


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """How many of so many people were won."""
    print(f"method: {PICTURES} pictures with captions of the scene; init, train, pytest --locked; locked cases, paired")
    print(f"{'person':24} {'lora':>6} {'prompt_only':>11} {'difference':>24} {'won':>4} {'minutes':>8}")
    found = []
    for seed in range(options.first, options.first + options.people):
        found.append(settle(seed, options.work.resolve()))
        print(line(found[-1]), flush=True)
    return {"people": len(found), "won": sum(item["won"] for item in found)}


def settle(seed: int, work: Path) -> dict[str, Any]:
    """One person's record, from the work folder when it is there already."""
    kept = work / f"{seed}.json"
    if kept.exists():
        done: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
        return done
    folder, started = work / str(seed), time.monotonic()
    name = draw_newcomer(folder / "pictures", seed)
    type_in(folder, "init", "pictures", "--name", name)
    [suite] = (folder / "suites").glob("*.yaml")
    type_in(folder, "train", str(suite), "--store", "store")
    here = ("--rootdir", ".")  # the work folder may lie in a project of its own
    type_in(folder, "run", str(suite), "--locked", "--store", "store", "-q", *here, fine=(0, 1))
    results = json.loads((folder / "reports" / "results.json").read_text(encoding="utf-8"))
    record = {"seed": seed, "name": name, "minutes": (time.monotonic() - started) / 60, **judge(results)}
    kept.write_text(json.dumps(record, indent=1), encoding="utf-8")
    return record


def type_in(folder: Path, *words: str, fine: Sequence[int] = (0,)) -> None:
    """Run `harness ...` there. Raises RuntimeError with its last words when it fails."""
    command = [sys.executable, "-m", "harness", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode not in fine:
        raise RuntimeError(f"harness {' '.join(words)}: exit {done.returncode}\n{(done.stdout + done.stderr)[-2000:]}")


def judge(results: Mapping[str, Any]) -> dict[str, Any]:
    """The locked cases of both, paired by (case, seed)."""
    lora, prompt_only = (locked_quality(results, provider) for provider in ("lora", "prompt_only"))
    gap = paired(lora, prompt_only)
    if gap is None or gap.low is None:
        raise RuntimeError("the locked cases have no pictures in common")
    means = {"lora": float(np.mean(list(lora.values()))), "prompt_only": float(np.mean(list(prompt_only.values())))}
    return {**means, "difference": [gap.mean, gap.low, gap.high], "won": gap.low > 0}


def locked_quality(results: Mapping[str, Any], provider: str) -> dict[Pair, float]:
    """Quality by (case, seed), [0, 1]."""
    return {
        (case["case"], sample["seed"]): score["value"]
        for case in results["cases"]
        if case["split"] == "locked" and case["provider"] == provider
        for sample in case["samples"]
        if (score := sample["scores"].get("quality")) and score["value"] is not None
    }


def line(item: Mapping[str, Any]) -> str:
    mean, low, high = item["difference"]
    gap = f"{mean:+.2f} [{low:+.2f}, {high:+.2f}]"
    numbers = f"{item['lora']:6.2f} {item['prompt_only']:11.2f} {gap:>24}"
    return f"{item['name']:24} {numbers} {'yes' if item['won'] else 'no':>4} {item['minutes']:8.1f}"
