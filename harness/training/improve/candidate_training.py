"""Trains what a plan says, several candidates where it pays, within the budget of minutes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.core.errors import HarnessError
from harness.core.values import Lora, Subject, digest
from harness.engine.context import ImproveContext
from harness.models.lora.train_config import TrainConfig
from harness.training.improve.candidates import FACTORS, Candidate, Paused, can_halve, halve, step_of, variants
from harness.training.improve.plan import TrainPlan
from harness.training.trainer import Trained, run_record, train


class OutOfTime(HarnessError):
    """The budget of minutes is used up."""


@dataclass(frozen=True)
class Maker:
    """One round's trainings."""

    context: ImproveContext
    attempt: int
    deadline: float  # on the monotonic clock
    say: Callable[[str], None]  # takes a line; what it raises stops the training, which can be resumed
    judge: Callable[[Lora], float]  # how good a checkpoint is on the validation cases

    def make(self, plan: TrainPlan, subject: Subject) -> tuple[Trained, TrainConfig, list[dict[str, object]]]:
        """The candidate that was trained to its end, its configuration, and what was seen at each rung.

        Raises:
            OutOfTime: before half of its steps; of a longer training its last checkpoint is taken.
        """
        count = len(FACTORS) if can_halve(plan.config) else 1
        rates = variants(plan.config, count, plan.usual)
        candidates = [Candidate(config, self._work(plan, subject, config), why) for config, why in rates]
        best, seen = candidates[0], list[dict[str, Any]]()
        if len(candidates) > 1:

            def advance(candidate: Candidate, step: int) -> None:
                if step not in map(step_of, candidate.checkpoints):
                    self._train(plan, subject, candidate, until=step)

            best, seen = halve(candidates, advance, lambda path: self.judge(Lora(path)), self.say)
        try:
            return self._train(plan, subject, best), best.config, seen
        except OutOfTime:
            made = stopped_at(best)
            if made.steps * 2 < best.config.steps:
                raise
        return made, best.config, seen

    def _work(self, plan: TrainPlan, subject: Subject, config: TrainConfig) -> Path:
        """The same training of this attempt finds its files again; other pictures or another base find none."""
        record = run_record(config, subject, self.context.profile, self.context.models, plan.start_from)
        return challengers(self.context) / f"work-{digest([record, self.attempt])[:12]}"

    def _train(self, plan: TrainPlan, subject: Subject, candidate: Candidate, until: int | None = None) -> Trained:
        """Train one candidate: to its end, or until a checkpoint at that step lies there."""

        def say(line: str) -> None:
            self.say(f"{candidate.why}: {line}" if until else line)
            if time.monotonic() > self.deadline:
                raise OutOfTime(f"the budget of {self.context.settings.retrain_budget:g} minutes is used up")
            if until is not None and until in map(step_of, candidate.checkpoints):
                raise Paused

        context, work = self.context, candidate.work
        out = challengers(context) / f"trained-{work.name.removeprefix('work-')}.safetensors"
        try:
            return train(
                candidate.config,
                subject,
                context.profile,
                context.models,
                out,
                work=work,
                start_from=plan.start_from,
                progress=say,
                command=f"pytest {context.suite.path.name} --retrain {context.settings.retrain}",
            )
        except Paused:
            return stopped_at(candidate)


def stopped_at(candidate: Candidate) -> Trained:
    """What a training that was stopped has left: its checkpoints so far."""
    kept = candidate.checkpoints
    return Trained(kept[-1] if kept else candidate.work, kept, step_of(kept[-1]) if kept else 0, 0.0, ())


def challengers(context: ImproveContext) -> Path:
    """Where the LoRAs of improve loops lie."""
    folder: Path = context.store.folder / "loras"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
