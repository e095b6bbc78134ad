"""The pictures that confirm a red case: who can pay for them, and what is kept where they do not come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.core.errors import HarnessError
from harness.core.values import CaseResult, Outcome
from harness.engine.jobs import JobTable
from harness.engine.plan import Step, tasks_of
from harness.engine.resources import Resources


def affordable(resources: Resources, table: JobTable, steps: Sequence[Step]) -> list[Step]:
    """The steps whose new pictures the run may still buy; of the others the table keeps why not.

    A limit that only confirming would pass is not reached: the case stays open, and the run does not break for it.
    """
    kept, pictures, usd = list[Step](), 0, 0.0
    for step in steps:
        new, price = len(resources.drawer.missing(tasks_of([step]))), getattr(step.provider, "price_usd", 0.0)
        if new and price != 0.0:
            why = resources.budget.lacks(pictures + new, None if price is None else usd + new * price)
            if why:
                table.blocked[step.job] = why
                continue
            pictures, usd = pictures + new, usd + new * (price or 0.0)
        kept.append(step)
    return kept


class ConfirmingSteps:
    """Takes what came of red cases that were drawn again; where pictures are missing the earlier ones stand."""

    def __init__(self, table: JobTable) -> None:
        self._table = table

    def put(self, step: Step, result: CaseResult | HarnessError) -> None:
        """Keep a step's result; a picture that confirms nothing because it never came takes no verdict away."""
        table = self._table
        old, before = table.steps[step.job], table.result(step.job)
        if isinstance(result, HarnessError) or (result.samples and result.outcome is Outcome.OK):
            table.put(step, result)
            return
        lost = next((sample for sample in result.samples if sample.outcome is not Outcome.OK), None)
        why = ": ".join(filter(None, (lost.outcome.value, lost.message))) if lost else result.skipped
        table.blocked[step.job] = why
        came = [s for s in result.samples if s.outcome is Outcome.OK and s.seed not in old.seeds]
        seeds = {sample.seed for sample in came}
        more = tuple(request for request in step.requests if request.seed in seeds)
        merged = replace(old, seeds=(*old.seeds, *(s.seed for s in came)), requests=(*old.requests, *more))
        table.put(merged, replace(before, samples=(*before.samples, *came)))
