"""A table of real scores to resample runs from: one LoRA and a wrong one, many prompts, many seeds, drawn once.

`python -m benchmarks.score_table [FILE]` draws with the embedded models and may be stopped at any time: the store keeps
every picture and every score, and the next call goes on. After a change of the formulas it scores the same pictures
anew, which takes minutes. The file is a few dozen kilobytes.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from benchmarks.process import ROOT
from harness.core import stats
from harness.core.values import METRICS, Case, CaseResult, Job, Lora, Suite

if TYPE_CHECKING:
    from harness.engine.run import Run

SHIPPED = ROOT / "fixtures" / "scores" / "gate.npz"
CACHED = ROOT / ".cache" / "scores" / "gate.npz"
STORE = ROOT / ".cache" / "scores" / "store"
STRANGER = ROOT / "fixtures" / "loras" / "stranger.safetensors"
EXPRESSIONS = ("smiling", "sad", "surprised", "angry")
PLACES = ("steppe", "forest", "desert", "city", "snowy mountain", "starry night")
THINGS = ("", "staff", "lantern", "dombra")
PROMPTS, SEEDS, FIRST_SEED = 48, 16, 50_000  # seeds that no suite and no held-out test uses

Scores = Mapping[str, NDArray[np.float64]]
"""Metric to calibrated scores, prompts x seeds."""


@dataclass(frozen=True)
class Table:
    """What was drawn once: the LoRA under test, and one of somebody else."""

    lora: Scores
    wrong: Scores
    origin: str
    version: int = 0  # of the formulas that scored the pictures; 0 where nothing was scored

    @property
    def spread(self) -> stats.StandardDeviations:
        """Of the LoRA's quality."""
        return stats.spread_of(list(self.lora["quality"]))


def load_table(path: Path | None = None) -> Table:
    """The given file, the committed one, the cached one, or the synthetic model, in this order."""
    for file in (path,) if path else (SHIPPED, CACHED):
        if file.exists():
            with np.load(file) as found:
                parts = [{name: found[f"{who}_{name}"].astype(float) for name in METRICS} for who in ("lora", "wrong")]
                version = int(found["version"]) if "version" in found else 0
            return Table(parts[0], parts[1], f"{file.name}: real scores", version)
    if path:
        raise FileNotFoundError(f"{path}: no such table; python -m benchmarks.score_table {path}")
    return synthetic_table()


def save_table(table: Table, path: Path) -> None:
    """Half floats: a score's third decimal is noise already."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {f"lora_{name}": values.astype(np.float16) for name, values in table.lora.items()}
    arrays |= {f"wrong_{name}": values.astype(np.float16) for name, values in table.wrong.items()}
    np.savez_compressed(path, version=table.version, **arrays)  # type: ignore[arg-type]  # numpy's stub takes the names for its own options


def synthetic_table(prompts: int = PROMPTS, seeds: int = SEEDS, seed: int = 0) -> Table:
    """Prompts vary, seeds vary within them, and 1 is the ceiling: what the embedded suite's own runs look like."""
    random = np.random.default_rng(seed)

    def make(mean: float, between: float, within: float) -> dict[str, NDArray[np.float64]]:
        hard = random.standard_normal((prompts, 1))  # a hard prompt is hard by every metric
        noise = random.standard_normal((prompts, seeds))
        latent = {
            name: mean
            + between * (0.9 * hard + 0.4 * random.standard_normal((prompts, 1)))
            + within * (0.9 * noise + 0.4 * random.standard_normal((prompts, seeds)))
            for name in METRICS
        }
        return {name: np.clip(values, 0, 1) for name, values in latent.items()}

    return Table(make(0.94, 0.06, 0.07), make(0.30, 0.04, 0.08), "synthetic: normal prompts and seeds, cut off at 1")


# --- drawing it ---------------------------------------------------------------------------------------------------


def table_cases(suite: Suite, count: int = PROMPTS) -> tuple[Case, ...]:
    """Prompts of one make: every expression in every place, with changing things in the hand."""
    every = list(product(EXPRESSIONS, PLACES, THINGS))
    chosen = [every[round(number * (len(every) - 1) / max(1, count - 1))] for number in range(count)]
    return tuple(
        Case(
            suite.name,
            "-".join(part for part in (face, place, thing) if part).replace(" ", "-"),
            ", ".join([suite.subject.trigger, face, *([f"holding a {thing}"] if thing else []), f"{place} background"]),
            expect={"expression": face, "background": place, **({"accessory": thing} if thing else {})},
        )
        for face, place, thing in chosen
    )


def draw_table(path: Path = CACHED, prompts: int = PROMPTS, seeds: int = SEEDS, store: Path = STORE) -> Table:
    """Draw, score and save: 2 x prompts x seeds pictures of the embedded models."""
    from harness.config.suite import load_suite
    from harness.scoring.metrics.subject import VERSION

    suite = load_suite(ROOT / "suites" / "aldar_kose.yaml")
    suite = replace(
        suite,
        cases=table_cases(suite, prompts),
        providers=("lora",),
        gate=("lora",),
        thresholds={},  # nothing is red, so nothing is drawn again to confirm it
        beat=(),
        samples=seeds,
        seed=FIRST_SEED,
    )
    parts = [score_lora(suite, lora, store) for lora in (suite.subject.lora, Lora(STRANGER))]
    table = Table(parts[0], parts[1], f"{path.name}: real scores", VERSION)
    save_table(table, path)
    return table


def score_lora(suite: Suite, lora: Lora | None, store: Path) -> dict[str, NDArray[np.float64]]:
    """Every metric of every picture of one LoRA."""
    from harness.config.profile import load_profile
    from harness.core.settings import Settings
    from harness.engine.run import Run
    from harness.store import Store

    settings = Settings(root=ROOT, store=store, lora=lora)
    profile = load_profile(settings.profile, ROOT)
    profile = replace(profile, models=replace(profile.models, domain=None))  # a table has a number in every place
    run = Run(settings, profile, [suite], Store(store))
    try:
        jobs = [Job(suite.path.as_posix(), case.id, "lora") for case in suite.cases]
        run.submit(jobs)
        return to_arrays(tell(run, jobs))
    finally:
        run.close()


def tell(run: Run, jobs: Sequence[Job]) -> list[CaseResult]:
    """Results in order, each said when it is there."""
    results = []
    for number, job in enumerate(jobs, 1):
        results.append(run.result(job))
        print(f"{number:3} of {len(jobs)}: {job.case}", flush=True)
    return results


def to_arrays(results: Sequence[CaseResult]) -> dict[str, NDArray[np.float64]]:
    """Metric to prompts x seeds; every picture must be there, because a resampled gap would be no run's gap."""
    found = {}
    for name in METRICS:
        rows = [[sample.scores[name].value for sample in result.samples] for result in results]
        found[name] = np.array(rows, dtype=float)
        if not np.isfinite(found[name]).all():
            raise ValueError(f"{name} could not be measured in every picture")
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.score_table", description=__doc__)
    parser.add_argument("file", nargs="?", type=Path, default=CACHED)
    parser.add_argument("--prompts", type=int, default=PROMPTS)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    options = parser.parse_args()
    print(draw_table(options.file.resolve(), options.prompts, options.seeds).spread)
