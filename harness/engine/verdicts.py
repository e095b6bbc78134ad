"""What a run's results are judged to be: cases, gates, and the feedback on a gate provider."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

from harness.core.errors import EngineError
from harness.core.values import Job, Lora, Verdict, to_record
from harness.engine.gates import check_controls, judge_provider, lora_of
from harness.engine.jobs import Group, JobTable
from harness.engine.resources import Resources
from harness.engine.set_metrics import Sets, measure_sets
from harness.judging.adaptive import confirming_seeds
from harness.judging.confirmation import MoreSeeds, first_look, judge_cases
from harness.judging.feedback import Feedback, feedback


class RunVerdicts:
    """Judges a run's results, each once; safe for several threads, one of which judges at a time.

    `lock` may be held while the table's `changed` is taken, and never the other way round.
    """

    def __init__(self, resources: Resources, table: JobTable) -> None:
        self.lock = threading.RLock()
        self.sets: dict[Group, Sets] = {}  # what a gate provider's pictures say together
        self.gates: dict[Group, Verdict] = {}  # those that are final
        self._resources, self._table = resources, table
        self._cases: dict[Group, dict[Job, Verdict]] = {}

    def known(self, job: Job) -> Verdict | None:
        """A job's verdict where it was judged already."""
        return self._cases.get((job.path, job.provider), {}).get(job)

    def forget(self, group: Group) -> None:
        """Judge a provider's cases, and its suite's gates, anew: more pictures, or others, have come."""
        self._cases.pop(group, None)
        self.gates = {each: verdict for each, verdict in self.gates.items() if each[0] != group[0]}

    def of_cases(self, group: Group, jobs: Sequence[Job] | None = None) -> dict[Job, Verdict]:
        """The verdicts of one provider's jobs in one suite.

        Args:
            jobs: None: all that were submitted.

        Raises:
            EngineError: scoring broke down.
        """
        jobs = self._table.of_group(group) if jobs is None else jobs
        with self.lock:
            known = self._cases.get(group)
            if known is None or any(job not in known for job in jobs):
                suite, results = self._table.suite(group[0]), [self._table.result(job) for job in jobs]
                scored = any(result.scored for result in results)
                calibration = self._resources.scoring.scorer(suite).calibration() if scored else None
                more = MoreSeeds(confirming_seeds(suite, self._table.samples), self._table.blocked)
                known = self._cases[group] = judge_cases(suite, results, calibration, more)
                decisions = {job.case: verdict.decision.value for job, verdict in known.items()}
                event = {"event": "verdicts", "suite": group[0], "provider": group[1], "cases": decisions}
                self._resources.journal.append(event)
            return known

    def of_finished(self, path: str) -> dict[Job, Verdict]:
        """Every verdict on a suite's cases that can be had; after an interruption those of what was finished."""
        results: dict[Job, Verdict] = {}
        for group in dict.fromkeys((path, job.provider) for job in self._table.of_suite(path)):
            jobs = self._table.finished(self._table.of_group(group))
            results |= self.of_cases(group, jobs) if jobs else {}
        return results

    def of_gate(self, group: Group, of_open: bool = False) -> Verdict:
        """A gate provider's verdict from what there is now.

        Args:
            of_open: from the open cases alone.

        Raises:
            EngineError: no case of it was submitted.
        """
        path, provider = group
        resources, steps, extra = self._resources, self._table.group_steps(group), self._table.extra_samples(group)
        if not steps:
            raise EngineError(f"{path}: no case of gate provider {provider!r} was submitted, so it cannot be judged")
        with self.lock, resources.scoring.lock:
            applied = check_controls(resources, extra.controls, steps[0])
            suite, results = self._table.suite(path), self._table.by_provider(path, of_open)
            planned = first_look(results, suite, self._table.samples)
            with resources.timed("score"):
                sets = self.sets[group] = measure_sets(resources, suite, provider, planned, extra.strangers)
            return judge_provider(resources, suite, provider, results, applied, self.lora(group), sets)

    def final_gate(self, group: Group, hold: Callable[[Group, Verdict], Verdict]) -> Verdict:
        """A gate provider's verdict when every job of its suite is final.

        Args:
            hold: holds it against the baseline.
        """
        with self.lock:
            if group not in self.gates:
                verdict = self.gates[group] = hold(group, self.of_gate(group))
                event = {"event": "gate", "suite": group[0], "provider": group[1], **to_record(verdict)}
                self._resources.journal.append(event)
            return self.gates[group]

    def lora(self, group: Group) -> Lora | None:
        """The LoRA under test, if the provider uses one."""
        under_test = self._resources.under_test
        return next((lora for step in self._table.group_steps(group) if (lora := lora_of(step, under_test))), None)

    def feedback(self, group: Group, verdicts: Mapping[Job, Verdict], gate: Verdict) -> Feedback:
        """What fails of a gate provider, how far, and what to do about it."""
        suite, results = self._table.suite(group[0]), self._table.by_provider(group[0])
        scorer = self._resources.scoring.scorer(suite)
        return feedback(
            suite, verdicts, results, scorer.traits(), gate=gate, provider=group[1],
            sets=self.sets.get(group), readings=getattr(scorer, "readings", ()),
        )  # fmt: skip
