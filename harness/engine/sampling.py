"""The pictures of a run: planned, drawn and scored, and more of them where a suite leaves their number open."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from harness.core.errors import HarnessError
from harness.core.values import Decision, Job, Verdict
from harness.engine.confirming import ConfirmingSteps, affordable
from harness.engine.jobs import Group, JobTable
from harness.engine.plan import Step, build_plan, plan_step
from harness.engine.resources import Resources
from harness.engine.set_metrics import plan_extras
from harness.engine.verdicts import RunVerdicts
from harness.engine.worker import Worker
from harness.judging.adaptive import next_draws
from harness.judging.confirmation import can_turn_red


class RunSampling:
    """Draws what jobs want, in the worker's thread; tests ask it what is there already."""

    def __init__(self, resources: Resources, table: JobTable, verdicts: RunVerdicts, worker: Worker) -> None:
        self._resources, self._table, self._verdicts, self._worker = resources, table, verdicts, worker
        self._making: set[str] = set()  # suites whose pictures are being drawn
        self._settled: set[str] = set()  # suites of which no verdict waits for more samples

    def make(self, jobs: Sequence[Job], started: str) -> None:
        """Plan, draw and score jobs.

        Args:
            started: when the run began, for the journal; ISO 8601.
        """
        resources, table = self._resources, self._table
        suites = {path: table.suite(path) for path in sorted({job.path for job in jobs})}
        steps = build_plan(jobs, suites, resources.provider_of, resources.settings.samples)
        table.steps.update({step.job: step for step in steps})
        self._making = set(suites)
        event = {"event": "plan", "profile": resources.profile.name, "started": started}
        resources.journal.append({**event, "requests": keys_of(steps)})
        extra: list[Step] = []
        for group in table.gate_groups(jobs):
            table.extras[group] = plan_extras(resources, table.group_steps(group), resources.under_test)
            extra += table.extras[group].steps
        try:
            resources.make(steps, table.put, extra)
        finally:
            self._making.clear()

    def has_extras(self, group: Group) -> bool:
        """Whether what is drawn beside a gate provider's cases is there: their own may come from the store long before.

        Also True where nothing of the suite is being drawn, because then no more will come.
        """
        samples = self._resources.drawer.samples
        return group[0] not in self._making or all(
            key in samples for key in keys_of(self._table.extra_samples(group).steps)
        )

    # --- more samples where the verdict is open, or red and not confirmed -------------------------------------------

    def is_settled(self, job: Job) -> bool:
        """Whether no verdict that a job's own depends on waits for more samples."""
        suite = self._table.suite(job.path)
        waits = bool(suite.min_samples) or (job.provider in suite.gate and can_turn_red(suite))
        return not waits or job.path in self._settled

    def reopen(self, path: str) -> None:
        """More jobs of a suite have come."""
        self._settled.discard(path)

    def look_again(self, jobs: Iterable[Job]) -> None:
        """Draw red cases again; and where a suite leaves the number open, draw on until its verdicts are closed."""
        table = self._table
        for path in dict.fromkeys(job.path for job in jobs):
            while not self._worker.stopped and (wanted := self._wanted(path)):
                steps = [
                    plan_step(old.suite, old.case, job, old.provider, old.suite.seeds(seeds))
                    for job, seeds in wanted.items()
                    if (old := table.steps[job]).provider
                ]
                red = {step.job for step in steps if self._confirms(step.job)}
                again = affordable(self._resources, table, [step for step in steps if step.job in red])
                self._draw_again(path, again, confirm=True)
                self._draw_again(path, [step for step in steps if step.job not in red])
                with self._verdicts.lock:
                    for step in steps:
                        self._verdicts.forget((path, step.job.provider))
            with table.changed:
                if not self._worker.has_queued(path):  # more cases came meanwhile: then not yet
                    self._settled.add(path)
                table.changed.notify_all()

    def _confirms(self, job: Job) -> bool:
        """Whether a job's verdict is red until more of its seeds say so too."""
        verdict = self._verdicts.known(job)
        return verdict is not None and bool(verdict.details.get("confirm"))

    def _draw_again(self, path: str, steps: Sequence[Step], confirm: bool = False) -> None:
        """Draw and score steps with more seeds than before.

        Args:
            confirm: they belong to red cases, which lose nothing where a picture does not come.
        """
        if not steps:
            return
        event = "confirm" if confirm else "look"
        self._resources.journal.append({"event": event, "suite": path, "requests": keys_of(steps)})
        if confirm:
            text = f"{len(steps)} red case{'s' * (len(steps) > 1)} drawn again, to confirm it"
            self._resources.meter.tell("draw", suite=steps[0].suite.name, message=text)
            self._resources.make(steps, ConfirmingSteps(self._table).put)
        else:
            self._table.steps.update({step.job: step for step in steps})
            self._resources.make(steps, self._table.put)

    def _wanted(self, path: str) -> dict[Job, int]:
        """The jobs that need more seeds, and how many they should then have; nothing where a picture is missing."""
        table, suite = self._table, self._table.suite(path)
        jobs = [job for job in table.of_suite(path) if suite.min_samples or job.provider in suite.gate]
        if (not can_turn_red(suite) and not suite.min_samples) or len(table.finished(jobs)) < len(jobs):
            return {}
        groups = table.gate_groups(jobs)
        try:
            verdicts = {job: each for group in groups for job, each in self._verdicts.of_cases(group).items()}
            looking = groups if suite.min_samples else []  # a gate asks for more seeds where their number is open
            gates = {provider: Verdict(Decision.PASS) for _, provider in groups}
            gates |= {group[1]: self._verdicts.of_gate(group) for group in looking}
        except HarnessError:  # whoever asks for the verdict is told
            return {}
        drawn = {job: len(table.steps[job].seeds) for job in jobs if table.steps[job].result is None}
        wanted: dict[Job, int] = {}
        for draw in next_draws(suite, verdicts, gates, drawn):
            wanted[draw.job] = draw.seed - suite.seed + 1  # seeds rise, so the last one counts them
        return wanted


def keys_of(steps: Iterable[Step]) -> list[str]:
    """Of every picture that the steps ask for."""
    return [request.key for step in steps for request in step.requests]
