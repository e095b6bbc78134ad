"""What a run was asked for and what has come of it: its suites, the jobs, their steps and their results."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from harness.core.errors import EngineError, HarnessError
from harness.core.values import CaseResult, Job, Suite
from harness.engine.plan import Step
from harness.engine.set_metrics import ExtraSamples

Group = tuple[str, str]  # a suite's path, a provider


class JobTable:
    """The tables that every part of a run reads; `changed` guards what is written, and tells whoever waits for it."""

    def __init__(self, load: Callable[[Path], Suite], samples: int | None = None) -> None:
        """Args:
        load: reads a suite.
        samples: seeds a case from the command line, which end a suite's `samples: {min, max}`.
        """
        self.changed = threading.Condition()
        self.steps: dict[Job, Step] = {}
        self.extras: dict[Group, ExtraSamples] = {}
        self.blocked: dict[Job, str] = {}  # jobs for which no more can be drawn, and why
        self.samples = samples
        self._load = load
        self._suites: dict[str, Suite] = {}
        self._jobs: dict[Job, None] = {}  # submitted, in order
        self._results: dict[Job, CaseResult | HarnessError] = {}
        self._closed = False

    def suite(self, path: str) -> Suite:
        """The suite that jobs name by this path, read once.

        Raises:
            SuiteError: it cannot be read.
        """
        with self.changed:
            if path not in self._suites:
                suite = self._load(Path(path))
                if self.samples and suite.min_samples:  # a number from the command line is meant
                    suite = replace(suite, samples=self.samples, min_samples=None)
                self._suites[path] = suite
            return self._suites[path]

    # --- jobs -------------------------------------------------------------------------------------------------------

    def new(self, jobs: Iterable[Job]) -> list[Job]:
        """Those of the jobs that nobody has submitted yet."""
        return [job for job in dict.fromkeys(jobs) if job not in self._jobs]

    def add(self, jobs: Sequence[Job]) -> None:
        self._jobs.update(dict.fromkeys(jobs))

    @property
    def jobs(self) -> list[Job]:
        """Every job that was submitted, in that order."""
        return list(self._jobs)

    def check_submitted(self, jobs: Iterable[Job]) -> None:
        """Raises EngineError where nobody would ever draw one of them."""
        for job in jobs:
            if job not in self._jobs:
                raise EngineError(f"{job.case} by {job.provider} was never submitted, so nobody draws it")

    def of_suite(self, path: str) -> list[Job]:
        return [job for job in self.jobs if job.path == path]

    def of_group(self, group: Group) -> list[Job]:
        return [job for job in self.jobs if (job.path, job.provider) == group]

    def gate_groups(self, jobs: Iterable[Job]) -> list[Group]:
        """The suites and gate providers of some jobs, sorted."""
        groups = dict.fromkeys((job.path, job.provider) for job in jobs)
        return sorted((path, provider) for path, provider in groups if provider in self.suite(path).gate)

    def group_steps(self, group: Group) -> list[Step]:
        """In the suite's order, whatever the order of submission."""
        jobs = sort_jobs(self.of_group(group), self.suite(group[0]))
        return [self.steps[job] for job in jobs if job in self.steps]

    def extra_samples(self, group: Group) -> ExtraSamples:
        """What is drawn for a gate provider beside its cases."""
        return self.extras.get(group, ExtraSamples())

    # --- results ----------------------------------------------------------------------------------------------------

    def put(self, step: Step, result: CaseResult | HarnessError) -> None:
        """Keep a step's result, and tell whoever waits for it."""
        with self.changed:
            if self._closed:
                return
            self.steps[step.job], self._results[step.job] = step, result
            self.changed.notify_all()

    def close(self) -> None:
        """What comes now is too late for the record; the store still keeps its pictures."""
        with self.changed:
            self._closed = True

    def has(self, job: Job) -> bool:
        """Whether anything came of a job, a result or an error."""
        return job in self._results

    def finished(self, jobs: Iterable[Job]) -> list[Job]:
        """Those of the jobs that have a result which is no error."""
        return [job for job in jobs if isinstance(self._results.get(job), CaseResult)]

    def result(self, job: Job) -> CaseResult:
        """Raises EngineError where scoring broke down."""
        result = self._results[job]
        if isinstance(result, HarnessError):
            raise EngineError(str(result)) from result
        return result

    @property
    def errors(self) -> list[str]:
        """Why jobs have no result, in the order in which they ended."""
        return [str(error) for error in self._results.values() if isinstance(error, HarnessError)]

    def by_provider(self, path: str, of_open: bool = False) -> dict[str, list[CaseResult]]:
        """Finished results of a suite, or of its open cases; providers and cases in the suite's order."""
        suite, results = self.suite(path), dict[str, list[CaseResult]]()
        jobs = self.finished(sort_jobs(self.of_suite(path), suite))
        for job in sorted(jobs, key=lambda job: place(job.provider, suite.providers)):
            if not of_open or suite.case(job.case).is_open:
                results.setdefault(job.provider, []).append(self.result(job))
        return results


def place(name: str, names: Sequence[str]) -> int:
    return names.index(name) if name in names else len(names)


def sort_jobs(jobs: Iterable[Job], suite: Suite) -> list[Job]:
    """In the order of the suite's cases."""
    order = {case.id: index for index, case in enumerate(suite.cases)}
    return sorted(jobs, key=lambda job: order[job.case])
