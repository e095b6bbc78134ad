"""The run: draws ahead in a thread of its own while tests wait, judges, retrains, and tells what came of it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from harness.config.profile import Profile
from harness.core.settings import Settings
from harness.core.values import CaseResult, Job, Listener, Lora, Progress, Suite, Usage, Verdict, to_record
from harness.engine.context import ScorerLike
from harness.engine.jobs import JobTable
from harness.engine.recording import RunRecorder
from harness.engine.resources import OpenProvider, Resources
from harness.engine.retraining import Improve, Retraining
from harness.engine.sampling import RunSampling
from harness.engine.verdicts import RunVerdicts
from harness.engine.worker import PATIENCE_S, Worker
from harness.judging.feedback import Feedback
from harness.judging.record import RunRecord
from harness.models.loading import Models
from harness.store import Store

AFTERWARDS_S = 1.0  # for a thread to notice that what it waited for was ended


class Run:
    """One run over some suites; every method may be called from any thread.

    The suites are given, or a function that loads one by the path that a job names. What it consists of, each knowing
    only those before it: the worker's thread, the table of jobs, verdicts, sampling, retraining, the recorder.
    """

    def __init__(
        self,
        settings: Settings,
        profile: Profile,
        suites: Sequence[Suite] | Callable[[Path], Suite],
        store: Store,
        *,
        listener: Listener | None = None,
        models: Models | None = None,
        providers: OpenProvider | None = None,
        scorers: Callable[[Suite], ScorerLike] | None = None,
        improve: Improve | None = None,
        loras: Mapping[str, Lora] | None = None,
    ) -> None:
        """Opens what draws; nothing is drawn yet.

        Args:
            improve: what retrains a failing LoRA; handed in, because training stands above the engine.
            loras: what single providers draw with in place of the LoRA under test.
        """
        self.store = store
        self.id = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}"
        self.started = datetime.now(UTC).replace(microsecond=0).isoformat()
        load = suites if callable(suites) else {suite.path: suite for suite in suites}.__getitem__
        self._table = JobTable(load, settings.samples)
        self._worker = Worker(self._table.changed, self._work)
        self._resources = Resources(
            settings, profile, store, store.journal(self.id), listener=listener or (lambda progress: None),
            cancelled=lambda: self._worker.stopped, models=models, providers=providers, scorers=scorers, loras=loras,
        )  # fmt: skip
        self._verdicts = RunVerdicts(self._resources, self._table)
        self._sampling = RunSampling(self._resources, self._table, self._verdicts, self._worker)
        look_again = self._sampling.look_again
        self._retraining = Retraining(self._resources, self._table, self._verdicts, improve, look_again)
        self._recorder = RunRecorder(self._resources, self._table, self._verdicts, self._retraining)

    # --- what tests ask ---------------------------------------------------------------------------------------------

    @property
    def submitted(self) -> bool:
        """Whether there was anything to do."""
        return bool(self._table.jobs)

    def submit(self, jobs: Sequence[Job]) -> None:
        """Want these jobs; what was wanted before is not wanted twice. Drawing begins at once.

        Raises:
            SuiteError: a suite cannot be read, or has no such case.
            EngineError: the run has ended.
        """
        with self._table.changed:
            for job in jobs:
                self._table.suite(job.path)
            new = self._table.new(jobs)
            if not new:
                return
            self._worker.look_alive()
            self._table.add(new)
            for job in new:
                self._sampling.reopen(job.path)
                self._verdicts.forget((job.path, job.provider))
            self._worker.put(new)

    def result(self, job: Job) -> CaseResult:
        """A job's samples; waits until they are drawn, scored, and final.

        Raises:
            EngineError: the engine died, scoring broke down, or the run was cancelled.
        """
        self._await([job])
        return self._table.result(job)

    def verdict(self, job: Job) -> Verdict:
        """What its provider's whole suite says about a job: seeds are judged with the variance of all its cases."""
        known = self._verdicts.known(job)
        if known is not None and self._final(job):  # a thousand cases ask a thousand times
            return known
        group = (job.path, job.provider)
        jobs = self._table.of_group(group)
        self._await([*jobs, job])
        return self._verdicts.of_cases(group, jobs)[job]

    def attempts(self, job: Job) -> tuple[Verdict, ...]:
        """Verdicts that a retraining has overtaken, the oldest first."""
        self._await([job])
        return self._retraining.attempts.get(job, ())

    def gate(self, path: str, provider: str) -> Verdict:
        """The suite's verdict on a gate provider; waits for every job of the suite."""
        group = (path, provider)
        self._await(self._table.of_suite(path))
        self._worker.wait_until(lambda: self._sampling.has_extras(group))
        return self._verdicts.final_gate(group, self._recorder.hold)

    def feedback(self, path: str, provider: str | None = None) -> Feedback:
        """What fails of a suite's (first) gate provider, how far, and what to do about it."""
        gates = self._table.suite(path).gate
        group = (path, provider or next(name for name in gates if self._table.of_group((path, name))))
        gate = self.gate(*group)
        return self._verdicts.feedback(group, self._verdicts.of_cases(group), gate)

    @property
    def usage(self) -> Usage:
        return self._resources.usage

    # --- the end ----------------------------------------------------------------------------------------------------

    def wait(self) -> None:
        """Until everything that was submitted is final. Raises EngineError as `result` does."""
        self._await(self._table.jobs)

    def cancel(self) -> None:
        """Stop after the picture that is being drawn; whoever waits is released with EngineError."""
        self._worker.stop()

    def finish(self, patience: float = PATIENCE_S) -> RunRecord:
        """Stop, and make the record of what there is: the content of `results.json`.

        Args:
            patience: seconds that the picture under way may take; when it comes later, only the store keeps it.
        """
        if not self._worker.leave(patience):
            self._table.close()
        with self._verdicts.lock:
            record = self._recorder.record(self.id, self.started, str(self._worker.dead or ""))
            event = {"event": "finish", "gate": record.gate.plain, "usage": to_record(self.usage)}
            self._resources.journal.append(event)
        self._resources.listener(Progress("done"))
        return record

    @property
    def standing(self) -> tuple[int, int]:
        """Pictures that are there, and those wanted."""
        return self._resources.meter.standing

    @property
    def paid_calls(self) -> int:
        """How many are under way."""
        return self._resources.budget.under_way

    @property
    def is_drawing(self) -> bool:
        """Whether something is still under way, told to stop or not."""
        return self._worker.is_alive

    def close(self, patience: float = PATIENCE_S, hurry: Callable[[], bool] = lambda: False) -> None:
        """Stop and let go of models, providers and the store; closing twice is fine.

        What is under way then, a program say, is ended.

        Args:
            patience: seconds that the picture under way may take.
            hurry: asked meanwhile; True ends the waiting.
        """
        self._worker.leave(patience, hurry)
        self._resources.close()
        self._worker.leave(AFTERWARDS_S)
        self.store.close()

    # --- the worker's thread, and waiting for it --------------------------------------------------------------------

    def _work(self, jobs: Sequence[Job]) -> None:
        self._sampling.make(jobs, self.started)
        self._sampling.look_again(jobs)
        self._retraining.retrain(jobs)

    def _final(self, job: Job) -> bool:
        settled = self._table.has(job) and self._sampling.is_settled(job)
        return settled and self._retraining.is_over((job.path, job.provider))

    def _await(self, jobs: Sequence[Job]) -> None:
        """Until all of them are final."""
        self._table.check_submitted(jobs)
        self._worker.wait_until(lambda: all(map(self._final, jobs)))
