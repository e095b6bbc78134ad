"""The plan: which pictures a set of jobs needs, in which order, in which batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from harness.core.errors import HarnessError, MissingKey
from harness.core.values import Case, CaseResult, Job, Outcome, Provider, Request, Sample, Suite


@dataclass(frozen=True)
class Step:
    """One job and what it needs; nothing when it is skipped or cannot be asked for at all."""

    job: Job
    suite: Suite
    case: Case
    provider: Provider | None  # None: it could not be opened
    seeds: tuple[int, ...]
    requests: tuple[Request, ...] = ()  # one a seed
    skipped: str = ""
    error: str = ""

    @property
    def result(self) -> CaseResult | None:
        """What is known without drawing."""
        if self.skipped:
            return self.with_samples((), self.skipped)
        if self.error:
            return self.with_samples(
                Sample("", seed, Outcome.PROVIDER_ERROR, message=self.error) for seed in self.seeds
            )
        return None

    def with_samples(self, samples: Iterable[Sample], skipped: str = "") -> CaseResult:
        """What came of it."""
        return CaseResult(self.job, tuple(samples), skipped, self.suite.repeats.get(self.case.id, ""))


@dataclass(frozen=True)
class Task:
    """One picture to be drawn, and by whom: the provider that made the request knows its files."""

    request: Request
    provider: Provider
    suite: str  # name, for progress
    order: tuple[str | int, ...] = ()  # of its job in the suite


def plan_step(suite: Suite, case: Case, job: Job, provider: Provider, seeds: tuple[int, ...]) -> Step:
    """What one job needs. A provider that cannot be asked makes a skipped or a failed step, never an exception."""
    step = Step(job, suite, case, provider, seeds)
    try:
        variable = provider.missing()
        if variable:
            return replace(step, skipped=str(MissingKey(job.provider, variable)))
        return replace(step, requests=tuple(provider.requests(suite, case, seeds)))
    except MissingKey as error:
        return replace(step, skipped=str(error))
    except HarnessError as error:
        return replace(step, error=str(error))


def build_plan(
    jobs: Iterable[Job],
    suites: Mapping[str, Suite],
    open_provider: Callable[[str, Suite], Provider],
    samples: int | None = None,
) -> tuple[Step, ...]:
    """One step a job, in the suites' own order, whatever the order in which they were collected.

    Args:
        suites: by the path that the jobs name.
        open_provider: by name, for a suite; HarnessError makes that provider's steps errors.
        samples: seeds a case, in place of the suite's own number.
    """
    places = {
        (path, case.id): (path, index) for path, suite in suites.items() for index, case in enumerate(suite.cases)
    }
    ordered = sorted(set(jobs), key=lambda job: (places[job.path, job.case], job.provider))
    steps = []
    for job in ordered:
        suite = suites[job.path]
        case, seeds = suite.case(job.case), suite.seeds(samples)
        try:
            steps.append(plan_step(suite, case, job, open_provider(job.provider, suite), seeds))
        except HarnessError as error:
            steps.append(Step(job, suite, case, None, seeds, error=str(error)))
    return tuple(steps)


def tasks_of(steps: Iterable[Step]) -> list[Task]:
    """Every picture once, sorted by what must be loaded for it (adapter, model, LoRA), then by provider and case."""
    tasks: dict[str, Task] = {}
    for index, step in enumerate(steps):
        for request in step.requests if step.provider else ():
            assert step.provider is not None
            order = (step.job.provider, step.job.path, index, request.seed, request.index)
            tasks.setdefault(request.key, Task(request, step.provider, step.suite.name, order))
    return sorted(tasks.values(), key=lambda task: (*loads(task.request), *task.order))


def loads(request: Request) -> tuple[str | float, ...]:
    """What drawing a request needs loaded or switched; neighbours should share it."""
    return (request.adapter, request.model, request.lora, request.strength, request.width, request.height)


def batch_of(task: Task) -> tuple[object, ...]:
    """Tasks with the same may be drawn together: one provider, and nothing different but prompt and seed."""
    alike = replace(task.request, prompt="", negative="", seed=0, index=0, extra={})
    return (task.provider.name, id(task.provider), alike.key)


def chunks(tasks: Sequence[Task]) -> Iterator[list[Task]]:
    """Tasks as they are handed to their providers.

    A model on this machine gets its batches, filled in sorted order from what is missing: the same plan on the same
    store is drawn in the same batches, however many processes wait for it. After an interrupted run the batches are
    made anew of what is left; batch mates only change rounding, and the batch's size is part of the cache key. A
    service (batch 1) gets everything at once and keeps its own concurrency.
    """
    for _, group in groupby(tasks, batch_of):
        alike = list(group)
        size = alike[0].request.batch if on_this_machine(alike[0]) else len(alike)
        for start in range(0, len(alike), max(1, size)):
            yield alike[start : start + max(1, size)]


def on_this_machine(task: Task) -> bool:
    return task.request.adapter.startswith("local/") or task.request.batch > 1


def lanes(tasks: Sequence[Task]) -> list[list[Task]]:
    """What may go on at the same time: this machine's models one after the other, each service beside them."""
    results: dict[str, list[Task]] = {}
    for task in tasks:
        results.setdefault("" if on_this_machine(task) else task.provider.name, []).append(task)
    return list(results.values())
