"""Where a gate provider fails: the improve loop tries, and what it promotes is drawn and judged in place of the old."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from harness.core.errors import HarnessError
from harness.core.project import project_path
from harness.core.values import Case, CaseResult, Decision, Job, Lora, Progress, Verdict, to_record
from harness.engine.context import ImproveContext, ImproveResult
from harness.engine.jobs import Group, JobTable
from harness.engine.resources import Resources
from harness.engine.set_metrics import plan_extras
from harness.engine.verdicts import RunVerdicts
from harness.judging.feedback import Feedback
from harness.judging.judge import wants_training

Improve = Callable[[ImproveContext], ImproveResult]


class Retraining:
    """Retrains each failing gate provider of a run once, in the worker's thread."""

    def __init__(
        self,
        resources: Resources,
        table: JobTable,
        verdicts: RunVerdicts,
        improve: Improve | None,
        look_again: Callable[[Sequence[Job]], None],
    ) -> None:
        """Args:
        improve: retrains a failing LoRA; None: nothing does.
        look_again: draws what the verdicts on a promoted LoRA wait for.
        """
        self.rounds: list[Mapping[str, object]] = []
        self.attempts: dict[Job, tuple[Verdict, ...]] = {}  # verdicts that a promotion has overtaken, the oldest first
        self._resources, self._table, self._verdicts = resources, table, verdicts
        self._improve = improve if resources.settings.retrain else None
        self._look_again = look_again
        self._over: set[Group] = set()

    def is_over(self, group: Group) -> bool:
        """Whether no retraining will change a provider's results any more."""
        return self._improve is None or group in self._over or group[1] not in self._table.suite(group[0]).gate

    def retrain(self, jobs: Sequence[Job]) -> None:
        """Where a gate provider fails, let the improve loop try; then everybody may read final results."""
        table = self._table
        for group in table.gate_groups(jobs) if self._improve else []:
            if group not in self._over and not self._resources.cancelled():
                own = table.of_group(group)
                lora = self._verdicts.lora(group)
                if self._improve and lora and len(table.finished(own)) == len(own):
                    self._improve_group(group, lora, self._improve)
            with table.changed:
                self._over.add(group)
                table.changed.notify_all()

    def _improve_group(self, group: Group, lora: Lora, improve: Improve) -> None:
        suite, everything = self._table.suite(group[0]), dict(self._verdicts.of_cases(group))
        verdicts = {job: each for job, each in everything.items() if suite.case(job.case).is_open}
        if not verdicts:
            return  # locked cases (--locked) are no reason to train, and no training may read them
        gate = self._verdicts.of_gate(group, of_open=True)
        if Decision.ERROR in (gate.decision, *(verdict.decision for verdict in verdicts.values())):
            return  # missing pictures are not mended by training
        if gate.details.get("blind"):
            return  # who cannot judge the champion cannot tell whether a challenger is better
        advice = self._verdicts.feedback(group, verdicts, gate)
        if not wants_training((gate, *verdicts.values())):
            return
        resources = self._resources
        resources.listener(Progress("train", provider=group[1], suite=suite.name))
        try:
            with resources.timed("train"):
                result = improve(self._context(group, lora, verdicts, gate, advice))
        except Exception as error:  # a run that cannot retrain still has its verdict
            reason = str(error) if isinstance(error, HarnessError) else f"{type(error).__name__}: {error}"
            result = ImproveResult([{"suite": suite.name, "provider": group[1], "promoted": False, "reason": reason}])
        rounds = [{**record, "file": project_path(suite.path)} for record in result.rounds]
        self.rounds += rounds
        for record in rounds:
            resources.journal.append({"event": "round", **to_record(dict(record))})
        if result.promoted and not resources.cancelled():
            self._redraw(group, result.promoted, everything)

    def _redraw(self, group: Group, promoted: Lora, before: Mapping[Job, Verdict]) -> None:
        """All of the provider's jobs with the promoted LoRA: a leaderboard must not mix two of them.

        Earlier verdicts stay visible where they were not a pass.
        """
        resources, table = self._resources, self._table
        steps = [
            step
            for old in table.group_steps(group)
            for step in resources.trial(old.suite, [old.case], group[1], old.seeds, promoted)
        ]
        under_test = resources.under_test.promote(table.suite(group[0]), group[1], promoted)
        extra = plan_extras(resources, steps, under_test)
        results = resources.evaluate(steps, extra.steps)
        with table.changed:
            resources.under_test, table.extras[group] = under_test, extra
            self._verdicts.forget(group)
            for step, result in zip(steps, results, strict=True):
                table.put(step, result)
                if before[step.job].decision is not Decision.PASS:
                    self.attempts[step.job] = (*self.attempts.get(step.job, ()), before[step.job])
                table.blocked.pop(step.job, None)
        self._look_again([step.job for step in steps])

    def _context(
        self, group: Group, lora: Lora, verdicts: Mapping[Job, Verdict], gate: Verdict, advice: Feedback
    ) -> ImproveContext:
        suite, resources = self._table.suite(group[0]), self._resources

        def evaluate(lora: Lora | None, provider: str, cases: Sequence[Case], seeds: Sequence[int]) -> list[CaseResult]:
            under_test = self._verdicts.lora(group)
            off = replace(under_test, strength=0.0) if under_test else None
            return resources.evaluate(resources.trial(suite, cases, provider, seeds, lora or off))

        return ImproveContext(
            suite=suite, provider=group[1], lora=lora, profile=resources.profile, settings=resources.settings,
            store=resources.store, models=resources.models, scorer=resources.scoring.scorer(suite),
            results=self._table.by_provider(group[0], of_open=True), verdicts=verdicts, gate=gate, feedback=advice,
            evaluate=evaluate, listener=resources.listener, cancelled=resources.cancelled,
        )  # fmt: skip
