"""The run: draws ahead in a thread of its own while tests wait, judges, retrains, and tells what came of it."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core.errors import EngineError, HarnessError
from harness.core.git import git_state
from harness.core.values import (
    Case,
    CaseResult,
    Decision,
    Job,
    Listener,
    Lora,
    Progress,
    Suite,
    Usage,
    Verdict,
    to_record,
)
from harness.engine.context import ImproveContext, ImproveResult, ScorerLike, is_open
from harness.engine.gates import check_controls, judge_provider, lora_of
from harness.engine.plan import Step, build_plan, plan_step
from harness.engine.record import about_suite, keep_references, notes_of, recipes, scorer_record, versions
from harness.engine.resources import OpenProvider, Resources
from harness.engine.set_metrics import ExtraSamples, Sets, measure_sets, plan_beside
from harness.engine.spending import spending_record
from harness.judging.adaptive import next_draws, saved_text
from harness.judging.baseline import hold_record, hold_verdict
from harness.judging.record import EngineRecord, RoundRecord, RunFacts, RunRecord
from harness.models.identity import hash_once
from harness.store import Store

if TYPE_CHECKING:
    from harness.config.profile import Profile
    from harness.core.settings import Settings
    from harness.judging.results import SuiteRun
    from harness.models.loading import Models

Group = tuple[str, str]  # a suite's path, a provider
Improve = Callable[[ImproveContext], ImproveResult]
LOOK_S = 0.5  # how often a waiting test looks around, so that Ctrl-C works on every system
PATIENCE_S = 60.0  # how long closing waits for the picture that is being drawn


class Run:
    """One run over some suites; every method may be called from any thread.

    The suites are given, or a function that loads one by the path that a job names.
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
        self.settings, self.profile, self.store = settings, profile, store
        self.id = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}"
        self.started = datetime.now(UTC).replace(microsecond=0).isoformat()
        self._journal = store.journal(self.id)
        self._load = suites if callable(suites) else {suite.path: suite for suite in suites}.__getitem__
        self._suites: dict[str, Suite] = {}
        self._stop = threading.Event()
        self._listener, self._improve = listener or (lambda progress: None), improve
        self._resources = Resources(
            settings, profile, store, self._journal, listener=self._tell, cancelled=self._stop.is_set,
            models=models, providers=providers, scorers=scorers, loras=loras,
        )  # fmt: skip
        self._changed = threading.Condition()
        self._judging = threading.RLock()
        self._thread: threading.Thread | None = None
        self._jobs: dict[Job, None] = {}  # submitted, in order
        self._queue: list[Job] = []
        self._steps: dict[Job, Step] = {}
        self._results: dict[Job, CaseResult | HarnessError] = {}
        self._beside: dict[Group, ExtraSamples] = {}
        self._making: set[str] = set()  # suites whose pictures are being drawn
        self._sets: dict[Group, Sets] = {}
        self._verdicts: dict[Group, dict[Job, Verdict]] = {}
        self._attempts: dict[Job, tuple[Verdict, ...]] = {}
        self._gates: dict[Group, Verdict] = {}
        self._improved: set[Group] = set()
        self._settled: set[str] = set()  # suites of which no verdict waits for more samples
        self._promoted: dict[Group, Lora] = {}
        self._rounds: list[Mapping[str, Any]] = []
        self._dead: EngineError | None = None

    # --- what tests ask ---------------------------------------------------------------------------------------------

    @property
    def submitted(self) -> bool:
        """Whether there was anything to do."""
        return bool(self._jobs)

    def submit(self, jobs: Sequence[Job]) -> None:
        """Want these jobs; what was wanted before is not wanted twice. Drawing begins at once.

        Raises:
            SuiteError: a suite cannot be read, or has no such case.
            EngineError: the run has ended.
        """
        with self._changed:
            for job in jobs:
                self._suite(job.path)
            new = [job for job in dict.fromkeys(jobs) if job not in self._jobs]
            if not new:
                return
            self._look_alive()
            self._jobs.update(dict.fromkeys(new))
            self._queue += new
            for job in new:
                self._settled.discard(job.path)
                self._verdicts.pop((job.path, job.provider), None)
                self._gates = {group: verdict for group, verdict in self._gates.items() if group[0] != job.path}
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="harness-engine", daemon=True)
                self._thread.start()

    def result(self, job: Job) -> CaseResult:
        """A job's samples; waits until they are drawn, scored, and final.

        Raises:
            EngineError: the engine died, scoring broke down, or the run was cancelled.
        """
        self._await([job])
        return self._result(job)

    def verdict(self, job: Job) -> Verdict:
        """What its provider's whole suite says about a job: seeds are judged with the variance of all its cases."""
        group = (job.path, job.provider)
        known = self._verdicts.get(group, {})
        if job in known and self._final(job):  # a thousand cases ask a thousand times
            return known[job]
        jobs = self._group(group)
        self._await([*jobs, job])
        return self._judge(group, jobs)[job]

    def attempts(self, job: Job) -> tuple[Verdict, ...]:
        """Verdicts that a retraining has overtaken, the oldest first."""
        self._await([job])
        return self._attempts.get(job, ())

    def gate(self, path: str, provider: str) -> Verdict:
        """The suite's verdict on a gate provider; waits for every job of the suite."""
        self._await([job for job in list(self._jobs) if job.path == path])
        group = (path, provider)
        self._await_beside(group)
        with self._judging:
            if group not in self._gates:
                verdict = self._judge_gate(group)
                if result := self._resources.baselines.of(self._suites[path]):
                    from harness.judging.results import suite_record

                    verdict = hold_verdict(result, suite_record(self._suite_run(path, {})), provider, verdict)
                self._gates[group] = verdict
                self._journal.append({"event": "gate", "suite": path, "provider": provider, **to_record(verdict)})
            return self._gates[group]

    def feedback(self, path: str, provider: str | None = None) -> Any:
        """`harness.judging.feedback.Feedback` on a suite's (first) gate provider."""
        suite = self._suite(path)
        group = (path, provider or next(name for name in suite.gate if self._group((path, name))))
        gate = self.gate(*group)
        return self._feedback(group, self._judge(group, self._group(group)), gate)

    @property
    def usage(self) -> Usage:
        return self._resources.usage

    # --- the end ----------------------------------------------------------------------------------------------------

    def wait(self) -> None:
        """Until everything that was submitted is final. Raises EngineError as `result` does."""
        self._await(list(self._jobs))

    def cancel(self) -> None:
        """Stop after the picture that is being drawn; whoever waits is released with EngineError."""
        self._stop.set()
        with self._changed:
            self._changed.notify_all()

    def finish(self) -> RunRecord:
        """Stop, and make the record of what there is: the content of `results.json`."""
        from harness.judging.results import build_results

        self._leave()
        with self._judging:
            paths = list(dict.fromkeys(job.path for job in self._jobs))
            suites = [self._with_baseline(self._suite_run(path, self._verdicts_of(path))) for path in paths]
            broken = [str(error) for error in self._results.values() if isinstance(error, HarnessError)]
            budget = self._resources.budget
            trouble = str(self._dead) if self._dead else broken[0] if broken else budget.reached
            engine = EngineRecord(**to_record(self.usage), **spending_record(budget))
            rounds = [RoundRecord.of(item) for item in self._rounds]
            record = build_results(self._about(trouble), suites, engine, rounds, trouble)
            self._journal.append({"event": "finish", "gate": record.gate.plain, "usage": to_record(self.usage)})
        self._tell(Progress("done"))
        return record

    def _about(self, trouble: str) -> RunFacts:
        """Which run it was, and with what."""
        shard: dict[str, Any] = {"shard": str(self.settings.shard)} if self.settings.shard else {}
        return RunFacts(
            id=self.id, started=self.started, profile=self.profile.name, versions=versions(),
            profile_sha256=hash_once(self.profile.path) if self.profile.path.is_file() else "",
            seconds=round(time.time() - datetime.fromisoformat(self.started).timestamp(), 1),
            size=self.profile.size, models=to_record(self.profile.models), git=git_state(self.settings.root),
            warnings=tuple(self.store.notices), locked=self.settings.locked, trouble=trouble,
            **shard,
        )  # fmt: skip

    def close(self) -> None:
        """Stop and let go of models, providers and the store; closing twice is fine."""
        self._leave()
        self._resources.close()
        self.store.close()

    def _leave(self) -> None:
        self.cancel()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(PATIENCE_S)

    # --- the thread that works --------------------------------------------------------------------------------------

    def _work(self) -> None:
        """Take jobs until there are none. Whatever goes wrong here is told to everybody who waits."""
        try:
            while True:
                with self._changed:
                    jobs, self._queue = self._queue, []
                    if not jobs or self._stop.is_set():
                        self._thread = None
                        break
                self._make(jobs)
                self._look_again(jobs)
                self._retrain(jobs)
        except BaseException as error:
            message = str(error) if isinstance(error, HarnessError) else f"{type(error).__name__}: {error}"
            if not (self._stop.is_set() and isinstance(error, HarnessError)):  # told to stop, it may stop anywhere
                self._dead = EngineError(f"the engine died: {message}")
                self._dead.__cause__ = error
        with self._changed:
            self._changed.notify_all()

    def _make(self, jobs: Sequence[Job]) -> None:
        """Plan, draw and score jobs."""
        with self._changed:
            suites = {path: self._suites[path] for path in sorted({job.path for job in jobs})}
        steps = build_plan(jobs, suites, self._resources.provider, self.settings.samples)
        self._steps.update({step.job: step for step in steps})
        keys = [request.key for step in steps for request in step.requests]
        self._making = {job.path for job in jobs}
        self._journal.append({"event": "plan", "profile": self.profile.name, "started": self.started, "requests": keys})
        beside: list[Step] = []
        for group in self._gate_groups(jobs):
            self._beside[group] = plan_beside(self._resources, self._group_steps(group))
            beside += self._beside[group].steps
        try:
            self._resources.make(steps, self._done, beside)
        finally:
            self._making.clear()

    def _done(self, step: Step, result: CaseResult | HarnessError) -> None:
        with self._changed:
            self._results[step.job] = result
            self._changed.notify_all()

    # --- more samples where the verdict is open ---------------------------------------------------------------------

    def _look_again(self, jobs: Iterable[Job]) -> None:
        """Where a suite leaves the number of samples open, draw on until its verdicts are closed."""
        for path in dict.fromkeys(job.path for job in jobs):
            while not self._stop.is_set() and (wanted := self._wanted(path)):
                steps = [
                    plan_step(old.suite, old.case, job, old.provider, old.suite.seeds(seeds))
                    for job, seeds in wanted.items()
                    if (old := self._steps[job]).provider
                ]
                self._steps.update({step.job: step for step in steps})
                keys = [request.key for step in steps for request in step.requests]
                self._journal.append({"event": "look", "suite": path, "requests": keys})
                self._resources.make(steps, self._done)
                with self._judging:
                    for step in steps:
                        self._verdicts.pop((path, step.job.provider), None)
            with self._changed:
                if all(job.path != path for job in self._queue):  # more cases came meanwhile: then not yet
                    self._settled.add(path)
                self._changed.notify_all()

    def _wanted(self, path: str) -> dict[Job, int]:
        """The jobs that need more seeds, and how many they should then have; nothing where a picture is missing."""
        suite = self._suites[path]
        groups = self._gate_groups(job for job in list(self._jobs) if job.path == path)
        jobs = [job for job in list(self._jobs) if job.path == path]
        if suite.min_samples is None or not all(isinstance(self._results.get(job), CaseResult) for job in jobs):
            return {}
        try:
            judged = [self._judge(group, self._group(group)) for group in groups]
            verdicts = {job: verdict for group in judged for job, verdict in group.items()}
            gates = {group[1]: self._judge_gate(group) for group in groups}
        except HarnessError:  # whoever asks for the verdict is told
            return {}
        drawn = {job: len(self._steps[job].seeds) for job in jobs if self._steps[job].result is None}
        wanted: dict[Job, int] = {}
        for draw in next_draws(suite, verdicts, gates, drawn):
            wanted[draw.job] = draw.seed - suite.seed + 1  # seeds rise, so the last one counts them
        return wanted

    # --- retraining -------------------------------------------------------------------------------------------------

    def _retrain(self, jobs: Sequence[Job]) -> None:
        """Where a gate provider fails, let the improve loop try; then everybody may read final results."""
        improve = self._improve if self.settings.retrain else None
        for group in self._gate_groups(jobs) if improve else []:
            if group not in self._improved and not self._stop.is_set():
                lora = self._lora(group)
                complete = all(isinstance(self._results.get(job), CaseResult) for job in self._group(group))
                if complete and lora and improve:
                    self._improve_group(group, lora, improve)
            with self._changed:
                self._improved.add(group)
                self._changed.notify_all()

    def _improve_group(self, group: Group, lora: Lora | None, improve: Improve) -> None:
        from harness.judging.judge import wants_training

        everything = dict(self._judge(group, self._group(group)))
        verdicts = {job: each for job, each in everything.items() if is_open(self._suites[group[0]], job.case)}
        if not verdicts:
            return  # locked cases (--locked) are no reason to train, and no training may read them
        gate = self._judge_gate(group, of_open=True)
        if Decision.ERROR in (gate.decision, *(verdict.decision for verdict in verdicts.values())):
            return  # missing pictures are not mended by training
        feedback = self._feedback(group, verdicts, gate)
        if not wants_training((gate, *verdicts.values())):
            return
        self._tell(Progress("train", provider=group[1], suite=self._suites[group[0]].name))
        try:
            with self._resources.timed("train"):
                result = improve(self._context(group, lora, verdicts, gate, feedback))
        except Exception as error:  # a run that cannot retrain still has its verdict
            reason = str(error) if isinstance(error, HarnessError) else f"{type(error).__name__}: {error}"
            suite = self._suites[group[0]].name
            result = ImproveResult([{"suite": suite, "provider": group[1], "promoted": False, "reason": reason}])
        self._rounds += result.rounds
        for record in result.rounds:
            self._journal.append({"event": "round", **to_record(dict(record))})
        if result.promoted and not self._stop.is_set():
            self._redraw(group, result.promoted, everything)

    def _redraw(self, group: Group, promoted: Lora, before: Mapping[Job, Verdict]) -> None:
        """All of the provider's jobs with the promoted LoRA: a leaderboard must not mix two of them.

        Earlier verdicts stay visible where they were not a pass.
        """
        old = self._group_steps(group)
        steps = [
            step
            for each in old
            for step in self._resources.trial(each.suite, [each.case], group[1], each.seeds, promoted)
        ]
        beside = plan_beside(self._resources, steps, promoted)
        results = self._resources.evaluate(steps, beside.steps)
        with self._changed:
            self._promoted[group], self._beside[group] = promoted, beside
            self._verdicts.pop(group, None)
            for step, result in zip(steps, results, strict=True):
                self._steps[step.job], self._results[step.job] = step, result
                if before[step.job].decision is not Decision.PASS:
                    self._attempts[step.job] = (*self._attempts.get(step.job, ()), before[step.job])

    def _context(
        self, group: Group, lora: Lora | None, verdicts: Mapping[Job, Verdict], gate: Verdict, feedback: Any
    ) -> ImproveContext:
        suite, resources = self._suites[group[0]], self._resources

        def evaluate(lora: Lora | None, provider: str, cases: Sequence[Case], seeds: Sequence[int]) -> list[CaseResult]:
            under_test = self._lora(group)
            off = replace(under_test, strength=0.0) if under_test else None
            return resources.evaluate(resources.trial(suite, cases, provider, seeds, lora or off))

        return ImproveContext(
            suite=suite, provider=group[1], lora=lora, profile=self.profile, settings=self.settings, store=self.store,
            models=resources.models, scorer=resources.scoring.scorer(suite),
            results=self._by_provider(group[0], of_open=True), verdicts=verdicts, gate=gate, feedback=feedback,
            evaluate=evaluate, listener=self._tell, cancelled=self._stop.is_set,
        )  # fmt: skip

    # --- judging ----------------------------------------------------------------------------------------------------

    def _judge(self, group: Group, jobs: Sequence[Job]) -> dict[Job, Verdict]:
        """The verdicts of one provider's jobs in one suite."""
        from harness.judging.judge import judge_case, pooled_sds

        with self._judging:
            known = self._verdicts.get(group)
            if known is None or any(job not in known for job in jobs):
                suite, results = self._suites[group[0]], [self._result(job) for job in jobs]
                pooled = pooled_sds(results)
                scored = any(result.scored for result in results)
                calibration = self._resources.scoring.scorer(suite).calibration() if scored else None
                known = {
                    result.job: judge_case(suite, suite.case(result.job.case), result, pooled, calibration=calibration)
                    for result in results
                }
                self._verdicts[group] = known
                decisions = {job.case: verdict.decision.value for job, verdict in known.items()}
                self._journal.append({"event": "verdicts", "suite": group[0], "provider": group[1], "cases": decisions})
            return known

    def _judge_gate(self, group: Group, of_open: bool = False) -> Verdict:
        path, provider = group
        resources, steps, beside = self._resources, self._group_steps(group), self._beside.get(group, ExtraSamples())
        if not steps:
            raise EngineError(f"{path}: no case of gate provider {provider!r} was submitted, so it cannot be judged")
        with self._judging, resources.scoring.lock:
            applied = check_controls(resources, beside.controls, steps[0], self._promoted.get(group))
            suite, results = self._suites[path], self._by_provider(path, of_open)
            with resources.timed("score"):
                sets = self._sets[group] = measure_sets(resources, suite, provider, results, beside.strangers)
            return judge_provider(resources, suite, provider, results, applied, self._lora(group), sets)

    def _feedback(self, group: Group, verdicts: Mapping[Job, Verdict], gate: Verdict) -> Any:
        from harness.judging.feedback import feedback

        suite = self._suites[group[0]]
        scorer, results = self._resources.scoring.scorer(suite), self._by_provider(group[0])
        return feedback(
            suite, verdicts, results, scorer.traits(), gate=gate, provider=group[1],
            sets=self._sets.get(group), readings=getattr(scorer, "readings", ()),
        )  # fmt: skip

    # --- the record -------------------------------------------------------------------------------------------------

    def _verdicts_of(self, path: str) -> dict[Job, Verdict]:
        """Every verdict that can be had; after an interruption those of what was finished."""
        results: dict[Job, Verdict] = {}
        for provider in dict.fromkeys(job.provider for job in self._jobs if job.path == path):
            jobs = [job for job in self._group((path, provider)) if isinstance(self._results.get(job), CaseResult)]
            results |= self._judge((path, provider), jobs) if jobs else {}
        return results

    def _suite_run(self, path: str, verdicts: Mapping[Job, Verdict]) -> SuiteRun:
        from harness.judging.results import SuiteRun

        suite, results = self._suites[path], self._by_provider(path)
        steps = [step for job, step in self._steps.items() if job.path == path]
        scored = any(result.scored for group in results.values() for result in group)
        scorer = self._resources.scoring.scorer(suite) if scored else None
        sets = {provider: finding for (of_suite, provider), finding in self._sets.items() if of_suite == path}
        return SuiteRun(
            suite,
            results,
            verdicts,
            {provider: verdict for (of_suite, provider), verdict in self._gates.items() if of_suite == path},
            {job: verdicts for job, verdicts in self._attempts.items() if job.path == path},
            {step.job.provider for step in steps if step.provider and step.provider.emulated},
            scorer.traits() if scorer else (),
            scorer.calibration() if scorer else None,
            keep_references(self.store, scorer) if scorer else {},
            scorer_record(scorer) if scorer else {},
            recipes(steps),
            [*notes_of(suite, results), *self._saved(suite, results)],
            sets=sets,
            readings=getattr(scorer, "readings", ()),
            about=about_suite(
                self.store,
                suite,
                self.profile.size,
                scorer,
                {name: lora for name in suite.gate if (lora := self._lora((path, name)))},
            ),
        )

    def _with_baseline(self, run: SuiteRun) -> SuiteRun:
        """Held against the baseline, where there is one."""
        from harness.judging.results import suite_record

        result = self._resources.baselines.of(run.suite)
        if result is None:
            return run
        held = hold_record(result, run.suite, suite_record(run), run.results, keep=bool(self.settings.shard))
        return replace(run, baseline=held)

    def _saved(self, suite: Suite, results: Mapping[str, Sequence[CaseResult]]) -> list[str]:
        """What stopping early spared, as a note."""
        drawn = {result.job: len(result.samples) for group in results.values() for result in group if result.samples}
        text = saved_text(suite, drawn)
        return [text] if text else []

    # --- small things -----------------------------------------------------------------------------------------------

    def _tell(self, progress: Progress) -> None:
        self._listener(progress)

    def _suite(self, path: str) -> Suite:
        with self._changed:
            if path not in self._suites:
                suite = self._load(Path(path))
                if self.settings.samples and suite.min_samples:  # a number from the command line is meant
                    suite = replace(suite, samples=self.settings.samples, min_samples=None)
                self._suites[path] = suite
            return self._suites[path]

    def _group(self, group: Group) -> list[Job]:
        return [job for job in list(self._jobs) if (job.path, job.provider) == group]

    def _group_steps(self, group: Group) -> list[Step]:
        """In the suite's order, whatever the order of submission."""
        return [self._steps[job] for job in sort_jobs(self._group(group), self._suites[group[0]]) if job in self._steps]

    def _gate_groups(self, jobs: Iterable[Job]) -> list[Group]:
        groups = dict.fromkeys((job.path, job.provider) for job in jobs)
        return sorted((path, provider) for path, provider in groups if provider in self._suites[path].gate)

    def _by_provider(self, path: str, of_open: bool = False) -> dict[str, list[CaseResult]]:
        """Finished results of a suite, or of its open cases; providers and cases in the suite's order."""
        suite, results = self._suites[path], dict[str, list[CaseResult]]()
        jobs = [job for job in list(self._jobs) if job.path == path]
        for job in sorted(sort_jobs(jobs, suite), key=lambda job: place(job.provider, suite.providers)):
            result = self._results.get(job)
            if isinstance(result, CaseResult) and (not of_open or is_open(suite, job.case)):
                results.setdefault(job.provider, []).append(result)
        return results

    def _lora(self, group: Group) -> Lora | None:
        """The LoRA under test, if the provider uses one."""
        override = self._promoted.get(group) or self.settings.lora
        return next((lora for step in self._group_steps(group) if (lora := lora_of(step, override))), None)

    def _result(self, job: Job) -> CaseResult:
        result = self._results[job]
        if isinstance(result, HarnessError):
            raise EngineError(str(result)) from result
        return result

    def _final(self, job: Job) -> bool:
        if job not in self._results or (self._suites[job.path].min_samples and job.path not in self._settled):
            return False
        group = (job.path, job.provider)
        waits = self.settings.retrain and job.provider in self._suites[job.path].gate
        return not waits or group in self._improved

    def _look_alive(self) -> None:
        if self._dead:
            raise EngineError(str(self._dead)) from self._dead
        if self._stop.is_set():
            raise EngineError("the run was cancelled")

    def _await(self, jobs: Sequence[Job]) -> None:
        """Until all of them are final."""
        with self._changed:
            for job in jobs:
                if job not in self._jobs:
                    raise EngineError(f"{job.case} by {job.provider} was never submitted, so nobody draws it")
            while not all(map(self._final, jobs)):
                self._look_alive()
                self._changed.wait(LOOK_S)

    def _await_beside(self, group: Group) -> None:
        """Until what is drawn beside the cases is there as well: results may come from the store long before."""
        with self._changed:
            while group[0] in self._making:
                self._look_alive()
                wanted = [
                    request.key for step in self._beside.get(group, ExtraSamples()).steps for request in step.requests
                ]
                if all(key in self._resources.drawer.samples for key in wanted):
                    return
                self._changed.wait(LOOK_S)


def place(name: str, names: Sequence[str]) -> int:
    return names.index(name) if name in names else len(names)


def sort_jobs(jobs: Iterable[Job], suite: Suite) -> list[Job]:
    """In the order of the suite's cases."""
    order = {case.id: index for index, case in enumerate(suite.cases)}
    return sorted(jobs, key=lambda job: order[job.case])
