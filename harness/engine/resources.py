"""Where steps become results: looked up, drawn, scored; for a run's plan and for an improve loop's trials."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property

from harness.config.profile import Profile
from harness.core.errors import EngineError, HarnessError
from harness.core.settings import Settings
from harness.core.threads import DaemonThreads
from harness.core.values import (
    Case,
    CaseResult,
    Job,
    Listener,
    Lora,
    Outcome,
    Progress,
    Provider,
    Sample,
    Suite,
    Trait,
    Usage,
    to_record,
)
from harness.engine.context import ScorerLike
from harness.engine.generation import SampleGenerator
from harness.engine.plan import Step, Task, chunks, lanes, plan_step, tasks_of
from harness.engine.scoring import Scoring
from harness.engine.spending import estimate, estimate_text
from harness.judging.baseline import Baselines
from harness.models.loading import Models
from harness.providers import ProviderContext, open_provider
from harness.providers.budget import Budget
from harness.scoring.metrics.scorer import scorer_of
from harness.store import Journal, Store
from harness.store.recheck import RecomputingStore

SURE_DRAWN, SURE_S = 3, 5.0  # pictures and seconds before which a time that is left would be a wild guess
SCORE_EVERY = 8  # pictures of a service, so that tests finish while it goes on
OpenProvider = Callable[[str, Settings], Provider]
Done = Callable[[Step, CaseResult | HarnessError], None]


class Meter:
    """Counts pictures and tells the listener, with the time that is left once it can be told."""

    def __init__(self, listener: Listener) -> None:
        self._listener, self._lock = listener, threading.Lock()
        self._total = self._done = self._cached = self._drawn = 0
        self._cost, self._started = 0.0, 0.0

    def expect(self, total: int, cached: int) -> None:
        """More pictures are wanted, and some of them are there."""
        with self._lock:
            self._total, self._done, self._cached = self._total + total, self._done + cached, self._cached + cached
            self._drawn, self._started = 0, time.monotonic()
        self.tell("load")

    def found(self, more: int) -> None:
        """Another run drew some while this one waited."""
        with self._lock:
            self._done, self._cached = self._done + more, self._cached + more

    def drawn(self, task: Task, sample: Sample) -> None:
        with self._lock:
            self._done, self._drawn, self._cost = self._done + 1, self._drawn + 1, self._cost + sample.cost_usd
        self.tell("draw", task.provider.name, task.suite)

    @property
    def standing(self) -> tuple[int, int]:
        """Pictures that are there, and those wanted; without the lock, because who was interrupted may hold it."""
        return self._done, self._total

    def tell(self, stage: str, provider: str = "", suite: str = "", message: str = "") -> None:
        """Where the run stands now."""
        with self._lock:
            eta, gone = None, time.monotonic() - self._started
            left = self._total - self._done
            if self._drawn and (not left or (self._drawn >= SURE_DRAWN and gone >= SURE_S)):
                eta = gone / self._drawn * left
            progress = Progress(stage, self._done, self._total, self._cached, self._cost, eta, provider, suite, message)
        self._listener(progress)


class Resources:
    """Providers, models, drawer and scorers of one run."""

    def __init__(
        self,
        settings: Settings,
        profile: Profile,
        store: Store,
        journal: Journal,
        *,
        listener: Listener,
        cancelled: Callable[[], bool],
        models: Models | None = None,
        providers: OpenProvider | None = None,
        scorers: Callable[[Suite], ScorerLike] | None = None,
        loras: Mapping[str, Lora] | None = None,
    ) -> None:
        """`loras`: what single providers draw with in place of the LoRA under test."""
        self.settings, self.profile, self.store, self.journal = settings, profile, store, journal
        self.findings = RecomputingStore(store, keep=True) if settings.fresh else store  # of those who score
        self.under_test, self.baselines = replace(settings.under_test, own=loras or {}), Baselines(settings)
        self.listener, self.cancelled, self.meter = listener, cancelled, Meter(listener)
        self.budget = Budget(settings.budget, settings.max_calls)
        self.scoring = Scoring(store, scorers or self._scorer, fresh=settings.fresh)
        self.drawer = SampleGenerator(store, journal, fresh=settings.fresh, cancelled=cancelled, drawn=self.meter.drawn)
        self._given_models, self._open_provider = models, providers or self._from_profile
        self._providers: dict[tuple[str, Lora | None], Provider] = {}
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._lock = threading.Lock()

    @cached_property
    def models(self) -> Models:
        """Not loaded, only ready to be: a run that finds everything in the store never loads one."""
        return self._given_models or Models(self.profile, self.settings)

    # --- planning ---------------------------------------------------------------------------------------------------

    def provider(self, name: str, lora: Lora | None = None) -> Provider:
        """A provider by name, opened once; `lora` takes the place of the LoRA under test.

        Raises:
            HarnessError: the profile does not know it, or it cannot be set up.
        """
        lora = lora or self.under_test.override(name)
        key = (name, lora)
        if key not in self._providers:
            self._providers[key] = self._open_provider(name, replace(self.settings, lora=lora))
        return self._providers[key]

    def provider_of(self, name: str, suite: Suite) -> Provider:
        """A suite's provider by name, with the LoRA that is under test now. Raises as `provider` does."""
        return self.provider(name, self.under_test.override(name, suite))

    def trial(
        self, suite: Suite, cases: Sequence[Case], provider: str, seeds: Sequence[int], lora: Lora | None
    ) -> list[Step]:
        """Steps outside the plan, with any LoRA and any seeds."""
        opened = self.provider(provider, lora)
        jobs = [Job(suite.path.as_posix(), case.id, provider) for case in cases]
        return [plan_step(suite, case, job, opened, tuple(seeds)) for case, job in zip(cases, jobs, strict=True)]

    def _from_profile(self, name: str, settings: Settings) -> Provider:
        def traits(suite: Suite) -> Sequence[Trait]:
            with self.timed("score"), self.scoring.lock:
                return self.scoring.scorer(suite).traits()

        return open_provider(name, ProviderContext(self.profile, settings, self.models, traits, self.budget))

    def _scorer(self, suite: Suite) -> ScorerLike:
        def tell(text: str) -> None:
            self.meter.tell("cohort", message=text)

        return scorer_of(suite, self.profile, self.models, self.findings, tell=tell)

    # --- making -----------------------------------------------------------------------------------------------------

    def make(self, steps: Sequence[Step], done: Done, controls: Sequence[Step] = ()) -> None:
        """Draw and score all steps; `done` is told of each as soon as its pictures are scored, from any thread.

        Args:
            controls: drawn with the others and not scored.

        Raises:
            StoreError: pictures cannot be kept, or the run was cancelled while it waited for another.
        """
        tasks = tasks_of([*steps, *controls])
        missing = self.drawer.missing(tasks)
        self.meter.expect(len(tasks), len(tasks) - len(missing))
        bench = PendingSteps(self, steps, done)
        bench.finish_ready()
        if missing and not self.cancelled():
            with self.store.lock(lambda text: self.meter.tell("wait", message=text), self.cancelled):
                before, missing = len(missing), self.drawer.missing(missing)
                self.meter.found(before - len(missing))
                self._announce(missing)
                self._draw(missing, bench)
        bench.finish_ready()

    def _announce(self, tasks: Sequence[Task]) -> None:
        """Say what these pictures will cost, before the first of them is paid for."""
        shares = estimate(tasks)
        words = estimate_text(shares, self.budget)
        if words:
            self.journal.append({"event": "estimate", "shares": to_record(shares)})
            self.meter.tell("estimate", message=words)

    def evaluate(self, steps: Sequence[Step], controls: Sequence[Step] = ()) -> list[CaseResult]:
        """Results of steps, in order.

        Raises:
            EngineError: cancelled, or scoring broke down.
        """
        findings: dict[int, CaseResult | HarnessError] = {}
        places = {id(step): place for place, step in enumerate(steps)}
        self.make(steps, lambda step, result: findings.update({places[id(step)]: result}), controls)
        results = []
        for place in range(len(steps)):
            result = findings.get(place, EngineError("the run was cancelled"))
            if isinstance(result, HarnessError):
                raise result
            results.append(result)
        return results

    def _draw(self, tasks: Sequence[Task], bench: PendingSteps) -> None:
        """Every lane in a thread of its own; the first error is raised when all have ended."""
        results = lanes(tasks)
        if not results:
            return
        with DaemonThreads(len(results), "harness-lane") as pool:
            futures = [pool.submit(self._draw_lane, lane, bench) for lane in results]
        for future in futures:
            future.result()

    def _draw_lane(self, tasks: Sequence[Task], bench: PendingSteps) -> None:
        for chunk in chunks(tasks):
            samples, more = self.drawer.draw(chunk), True
            while more and not self.cancelled():
                with self.timed("draw"):
                    more = sum(1 for _ in zip(range(SCORE_EVERY), samples, strict=False)) == SCORE_EVERY
                bench.finish_ready()
            samples.close()

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Adds to a stage's seconds, those of loading models apart."""
        started, loading = time.perf_counter(), self._loading()
        try:
            yield
        finally:
            spent = time.perf_counter() - started - (self._loading() - loading)
            with self._lock:
                self._seconds[stage] += max(0.0, spent)

    def _loading(self) -> float:
        models = self.__dict__.get("models")
        return sum(models.seconds.values()) if models else 0.0

    @property
    def usage(self) -> Usage:
        models = self.__dict__.get("models")
        seconds = {stage: round(self._seconds[stage], 3) for stage in ("draw", "score", "train")}
        loads = models.loads if models else 0
        return Usage(self.drawer.generated, self.drawer.cached, loads, {"load": round(self._loading(), 3), **seconds})

    def close(self) -> None:
        """Give back what providers and models hold."""
        for provider in self._providers.values():
            provider.close()
        models = self.__dict__.get("models")
        if models and models is not self._given_models:
            models.close()


class PendingSteps:
    """The steps under way: each is scored and handed over when the last of its pictures has come."""

    def __init__(self, resources: Resources, steps: Sequence[Step], done: Done) -> None:
        self._resources, self._waiting, self._done = resources, list(steps), done
        self._keys = {id(step): [request.key for request in step.requests] for step in steps}
        self._lock = threading.Lock()

    def finish_ready(self) -> None:
        """Score what is complete, suite by suite, and hand it over."""
        samples = self._resources.drawer.samples
        with self._lock:
            ready = [step for step in self._waiting if all(key in samples for key in self._keys[id(step)])]
            taken = {id(step) for step in ready}
            self._waiting = [step for step in self._waiting if id(step) not in taken]
        by_suite: dict[str, list[Step]] = {}
        for step in ready:
            by_suite.setdefault(step.job.path, []).append(step)
        for group in by_suite.values():
            self._finish(group)

    def _finish(self, steps: Sequence[Step]) -> None:
        """A scorer that breaks down takes its own suite with it, and no other."""
        resources, suite = self._resources, steps[0].suite
        try:
            pictures = [(step.case, sample.image) for step in steps for sample in self._samples(step) if sample.image]
            if pictures:
                with resources.timed("score"):
                    resources.scoring.score(suite, pictures)
            results: list[CaseResult | HarnessError] = [self._result(step) for step in steps]
        except Exception as error:
            text = f"{suite.path}: scoring broke down: {error!r}"
            broken = error if isinstance(error, HarnessError) else EngineError(text)
            resources.journal.append({"event": "broken", "suite": suite.name, "error": str(broken)})
            results = [broken] * len(steps)
        for step, result in zip(steps, results, strict=True):
            self._done(step, result)

    def _samples(self, step: Step) -> list[Sample]:
        return [self._resources.drawer.samples[key] for key in self._keys[id(step)]]

    def _result(self, step: Step) -> CaseResult:
        """Samples with their scores; who made them is said by the step's own provider."""
        if step.result:
            return step.result
        scoring, emulated = self._resources.scoring, bool(step.provider and step.provider.emulated)
        samples = []
        for sample in self._samples(step):
            scored = sample.outcome is Outcome.OK and sample.image
            scores = scoring.scores(step.suite, step.case, sample.image or "") if scored else {}
            samples.append(replace(sample, scores=scores, emulated=emulated))
        return step.with_samples(samples)
