"""The record of a run, from what its parts know: the content of `results.json`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from harness.core.git import git_state
from harness.core.values import Job, Verdict, to_record
from harness.engine.jobs import Group, JobTable
from harness.engine.record import about_suite, keep_references, low_bounds, notes_of, recipes, scorer_record, versions
from harness.engine.resources import Resources
from harness.engine.retraining import Retraining
from harness.engine.spending import spending_record
from harness.engine.verdicts import RunVerdicts
from harness.judging.adaptive import saved_text
from harness.judging.baseline import hold_record, hold_verdict
from harness.judging.record import EngineRecord, RoundRecord, RunFacts, RunRecord
from harness.judging.results import SuiteRun, build_results, suite_record
from harness.models.identity import hash_once


class RunRecorder:
    """Makes the record of what there is, at any time; the caller holds the verdicts' lock."""

    def __init__(self, resources: Resources, table: JobTable, verdicts: RunVerdicts, retraining: Retraining) -> None:
        self._resources, self._table, self._verdicts, self._retraining = resources, table, verdicts, retraining

    def record(self, run_id: str, started: str, trouble: str) -> RunRecord:
        """The content of `results.json`.

        Args:
            started: ISO 8601.
            trouble: why the run broke down; "": it did not.
        """
        resources = self._resources
        paths = dict.fromkeys(job.path for job in self._table.jobs)
        suites = [self._with_baseline(self._suite_run(path, self._verdicts.of_finished(path))) for path in paths]
        trouble = trouble or next(iter(self._table.errors), "") or resources.budget.reached
        engine = EngineRecord(**to_record(resources.usage), **spending_record(resources.budget))
        rounds = [RoundRecord.of(item) for item in self._retraining.rounds]
        return build_results(self._about(run_id, started, trouble), suites, engine, rounds, trouble)

    def hold(self, group: Group, verdict: Verdict) -> Verdict:
        """A gate provider's verdict, held against the baseline where there is one."""
        result = self._resources.baselines.of(self._table.suite(group[0]))
        if result is None:
            return verdict
        return hold_verdict(result, suite_record(self._suite_run(group[0], {})), group[1], verdict)

    def _about(self, run_id: str, started: str, trouble: str) -> RunFacts:
        """Which run it was, and with what."""
        profile, settings = self._resources.profile, self._resources.settings
        shard: dict[str, Any] = {"shard": str(settings.shard)} if settings.shard else {}
        return RunFacts(
            id=run_id, started=started, profile=profile.name, versions=versions(),
            profile_sha256=hash_once(profile.path) if profile.path.is_file() else "",
            seconds=round(time.time() - datetime.fromisoformat(started).timestamp(), 1),
            size=profile.size, models=to_record(profile.models), git=git_state(settings.root),
            warnings=tuple(self._resources.store.notices), locked=settings.locked, trouble=trouble, **shard,
        )  # fmt: skip

    def _suite_run(self, path: str, verdicts: Mapping[Job, Verdict]) -> SuiteRun:
        """What is known of one suite."""
        store, judged = self._resources.store, self._verdicts
        suite, results = self._table.suite(path), self._table.by_provider(path)
        steps = [step for job, step in self._table.steps.items() if job.path == path]
        scored = any(result.scored for group in results.values() for result in group)
        scorer = self._resources.scoring.scorer(suite) if scored else None
        tested = {name: lora for name in suite.gate if (lora := judged.lora((path, name)))}
        drawn = {result.job: len(result.samples) for group in results.values() for result in group if result.samples}
        saved = saved_text(suite, drawn)
        about = about_suite(store, suite, self._resources.profile.size, scorer, tested)
        return SuiteRun(
            suite,
            results,
            verdicts,
            gates={provider: verdict for (of_suite, provider), verdict in judged.gates.items() if of_suite == path},
            attempts={job: earlier for job, earlier in self._retraining.attempts.items() if job.path == path},
            emulated={step.job.provider for step in steps if step.provider and step.provider.emulated},
            traits=scorer.traits() if scorer else (),
            calibration=scorer.calibration() if scorer else None,
            references=keep_references(store, scorer) if scorer else {},
            scorer=scorer_record(scorer) if scorer else {},
            recipe=recipes(steps),
            notes=[*notes_of(suite, results), *low_bounds(suite, about.crowds), *([saved] if saved else [])],
            sets={provider: scores for (of_suite, provider), scores in judged.sets.items() if of_suite == path},
            readings=getattr(scorer, "readings", ()),
            about=about,
        )

    def _with_baseline(self, run: SuiteRun) -> SuiteRun:
        """Held against the baseline, where there is one."""
        result = self._resources.baselines.of(run.suite)
        if result is None:
            return run
        keep = bool(self._resources.settings.shard)  # the merge holds the whole run against it
        return replace(run, baseline=hold_record(result, run.suite, suite_record(run), run.results, keep=keep))
