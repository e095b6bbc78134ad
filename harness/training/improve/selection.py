"""Choosing before the held-out test: how LoRAs do on a few open cases, drawn with validation seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from harness.core.errors import HarnessError
from harness.core.values import Case, Lora
from harness.engine.context import ImproveContext
from harness.engine.set_metrics import SetScorer, Table, find_set_copies
from harness.judging.causes.cause import Cause
from harness.judging.scores import values_by_metric
from harness.models.lora.export import read_facts
from harness.training.improve.candidate_training import challengers
from harness.training.improve.candidates import step_of
from harness.training.improve.held_out_test import HeldOutTest
from harness.training.improve.open_results import open_cases
from harness.training.improve.remedies import RatedFile, earlier_checkpoints, other_strengths, shortfall
from harness.training.trainer import Trained

CHOICE_CASES = 12  # open cases that a checkpoint or a strength is chosen on; with 6 the luckiest one won, not the best
LAST_CHECKPOINTS = 3  # how many of a run's checkpoints are tried
STRENGTHS = (0.8, 1.2)  # tried beside 1 on the best checkpoint


class Cancelled(HarnessError):
    """The run wants to stop."""


@dataclass(frozen=True)
class Validation:
    """One round's comparisons."""

    context: ImproveContext
    ground: HeldOutTest
    failing: Sequence[str]  # ids of open cases

    @property
    def cases(self) -> tuple[Case, ...]:
        """A few open cases, the failing ones first."""
        different, repeats = dict[str, Case](), self.context.suite.repeats
        for case in open_cases(self.context):
            different.setdefault(repeats.get(case.id, case.id), case)
        cases = sorted(different.values(), key=lambda case: case.id not in self.failing)
        return tuple(cases[:CHOICE_CASES])

    def judge(self, lora: Lora) -> RatedFile:
        """How a LoRA does on these cases; copies of training pictures count against it."""
        if self.context.cancelled():
            raise Cancelled("stopped")
        results = self.ground.practise(lora, self.cases)
        values = values_by_metric(results, self.context.suite.metrics())
        if not values["quality"]:
            return RatedFile(lora, -1.0)
        short = shortfall(self.context.suite, values)
        scorer = self.context.scorer
        if isinstance(scorer, SetScorer) and self.context.suite.alarm("copy") != "off":
            short += float(find_set_copies(Table(self.context.store, scorer), results).alarm)
        return RatedFile(lora, fmean(values["quality"].values()), short)

    def others(self, champion: Lora, causes: Sequence[Cause], gap: float | None) -> list[RatedFile]:
        """The champion first, then itself at other strengths and earlier in its training; [] where none is worth it.

        Args:
            gap: how far quality is under its bound on the open cases; None when it is not.
        """
        strengths = other_strengths(causes, champion.strength, gap)
        if not strengths:
            return []
        others = [replace(champion, strength=value) for value in strengths]
        if "over_trained" in {cause.name for cause in causes}:
            early = earlier_checkpoints(challengers(self.context), read_facts(champion.path))
            others += [Lora(path, champion.strength) for path in early]
        return [self.judge(lora) for lora in (champion, *others)]

    def choose(self, made: Trained, steps: int) -> tuple[RatedFile, list[RatedFile]]:
        """The best of a training's last checkpoints, then of a few strengths; and all that were tried.

        Args:
            steps: of the whole training; checkpoints of its first half are not looked at.
        """
        late = [path for path in made.checkpoints if step_of(path) * 2 >= steps][-LAST_CHECKPOINTS:]
        tried = [self.judge(Lora(path)) for path in late]
        best = max(reversed(tried), key=lambda choice: choice.worth)
        tried += [self.judge(Lora(best.lora.path, strength)) for strength in STRENGTHS]
        return max([best, *tried], key=lambda choice: choice.worth), tried
