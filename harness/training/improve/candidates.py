"""Several candidates a round by successive halving: each is trained a little, the better ones are trained on.

A training stops where a checkpoint lies and is resumed from it: nothing is trained twice, and a killed round goes on.
Candidates differ in what nobody can know beforehand, the rate. Source: Jamieson and Talwalkar, "Non-stochastic Best
Arm Identification and Hyperparameter Optimization" (2016).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.models.lora.train_config import TrainConfig
from harness.training.improve.plan import RATES, at_rate

RUNGS = (0.25, 0.5)  # of the steps: where candidates are compared
FACTORS = (1.0, 0.5, RATES[1])  # of the planned rate
KEPT = 0.5  # of the candidates go on from a rung
DEAD = 0.05  # of quality: who is so far behind the best at a rung goes, however few are left


class Paused(Exception):
    """A training that has reached its rung; the same call goes on."""


@dataclass(frozen=True)
class Candidate:
    """One configuration, and where its checkpoints come to lie."""

    config: TrainConfig
    work: Path
    why: str

    @property
    def checkpoints(self) -> tuple[Path, ...]:
        """Those that lie there, in order."""
        return tuple(sorted(self.work.glob("step-*.safetensors")))

    def checkpoint(self, step: int) -> Path | None:
        """The last checkpoint up to this step."""
        results = [path for path in self.checkpoints if step_of(path) <= step]
        return results[-1] if results else None


Train = Callable[[Candidate, int], None]
"""Trains a candidate until a checkpoint at this step lies there; returns at once where it does."""
Judge = Callable[[Path], float]
"""Validation quality of a checkpoint on open cases, higher is better."""


def step_of(checkpoint: Path) -> int:
    """The step in a checkpoint's name."""
    return int(checkpoint.stem.removeprefix("step-"))


def variants(config: TrainConfig, count: int, usual: float | None = None) -> list[tuple[TrainConfig, str]]:
    """The planned configuration, then others that learn slower and faster; fewer where the bounds make two the same.

    Args:
        usual: the profile's rate, which the bounds are multiples of; None: the planned one.
    """
    least, most = ((usual or config.learning_rate) * bound / config.learning_rate for bound in RATES)
    factors = [FACTORS[0], *(round(min(max(factor, least), most), 6) for factor in FACTORS[1:count])]
    return [(at_rate(config, config, factor), in_words(factor)) for factor in dict.fromkeys(factors)]


def in_words(factor: float) -> str:
    return {1.0: "as planned", 0.5: "at half the rate"}.get(factor, f"at {factor:.3g} times the rate")


def can_halve(config: TrainConfig) -> bool:
    """Whether there is a checkpoint at the first rung: of a short training comparing costs more than it saves."""
    return config.steps * RUNGS[0] >= config.checkpoint_every


def rung_steps(config: TrainConfig) -> list[int]:
    """The steps of the rungs, each at a checkpoint."""
    every = config.checkpoint_every
    return sorted({max(every, round(config.steps * share / every) * every) for share in RUNGS})


def halve(
    candidates: Sequence[Candidate], train: Train, judge: Judge, tell: Callable[[str], None]
) -> tuple[Candidate, list[dict[str, object]]]:
    """The candidate that is worth being trained to its end, and what was seen at each rung."""
    left, seen = list(candidates), list[dict[str, Any]]()
    for step in rung_steps(candidates[0].config):
        if len(left) < 2:
            break
        results = {}
        for candidate in left:
            train(candidate, step)
            checkpoint = candidate.checkpoint(step)
            results[candidate.why] = judge(checkpoint) if checkpoint else -1.0
        best = max(results.values())
        ranked = sorted(left, key=lambda item: -results[item.why])
        kept = [item for item in ranked[: max(1, int(len(left) * KEPT))] if results[item.why] >= best - DEAD]
        gone = [item.why for item in left if item not in kept]
        seen.append(
            {"step": step, "quality": {why: round(value, 4) for why, value in results.items()}, "stopped": gone}
        )
        tell(f"at step {step}: {', '.join(gone)} stopped, {', '.join(item.why for item in kept)} goes on")
        left = kept
    return left[0], seen
