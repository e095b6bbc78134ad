"""How a LoRA does on the open cases: what a round starts from, and what tells whether another one is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.core.values import Case, CaseResult, Decision, Job, Lora, Verdict
from harness.engine.context import ImproveContext
from harness.judging.adaptive import confirming_seeds
from harness.judging.confirmation import MoreSeeds, judge_cases
from harness.judging.feedback import Feedback, feedback
from harness.judging.judge import judge_gate
from harness.training.improve.held_out_test import HeldOutTest


@dataclass(frozen=True)
class OpenResults:
    """How the LoRA under test does on the open cases."""

    feedback: Feedback
    results: Sequence[CaseResult]
    verdicts: Mapping[Job, Verdict]

    @property
    def failing(self) -> list[str]:
        """The ids of the open cases that fail."""
        return [job.case for job, verdict in self.verdicts.items() if verdict.decision is Decision.FAIL]

    @property
    def has_nothing_to_train(self) -> bool:
        """Green, or red by a fault alone that people mend and no training does: references of two persons, say."""
        result = self.feedback
        return not result.failing or bool(result.cause and not self.failing and not result.metrics)


def review(context: ImproveContext, lora: Lora, ground: HeldOutTest) -> OpenResults:
    """How a new champion does on the open cases.

    The run draws the very same pictures when it judges again, those that confirm a red case too, so they cost nothing
    twice.
    """
    suite, provider, cases = context.suite, context.provider, open_cases(context)
    results = ground.practise(lora, cases, suite.seeds(context.settings.samples))
    calibration, seeds = context.scorer.calibration(), confirming_seeds(suite, context.settings.samples)
    first = judge_cases(suite, results, calibration, MoreSeeds(seeds))
    red = [case for case, verdict in zip(cases, first.values(), strict=True) if verdict.details.get("confirm")]
    again = {result.job: result for result in ground.practise(lora, red, suite.seeds(seeds))} if red else {}
    results = [again.get(result.job, result) for result in results]
    verdicts, everybody = judge_cases(suite, results, calibration), {**context.results, provider: results}
    gate = judge_gate(suite, provider, results, others=everybody, calibration=calibration)
    message = feedback(suite, verdicts, everybody, context.scorer.traits(), gate=gate, provider=provider)
    return OpenResults(message, results, verdicts)


def open_cases(context: ImproveContext) -> tuple[Case, ...]:
    """The open cases that were submitted for the gate provider."""
    asked = {result.job.case for result in context.results[context.provider]}
    return tuple(case for case in context.suite.cases if case.id in asked and case.split == "open")
