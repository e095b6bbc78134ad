"""What a pytest session holds of the harness: settings, suites, and the run that draws and judges for its items."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.commands.places import NOWHERE, Places, ReportFolderError
from harness.config.profile import Profile, load_profile
from harness.config.suite import load_suite
from harness.core.errors import HarnessError, UsageError, nearest
from harness.core.settings import Settings
from harness.core.values import Case, Job, Listener, Suite

if TYPE_CHECKING:
    from harness.engine.broker import Broker, BrokerAddress, RemoteRun
    from harness.engine.context import ImproveContext, ImproveResult
    from harness.engine.run import Run
    from harness.judging.baseline import Saved
    from harness.judging.record import RunRecord


GLANCE_S = 0.1  # how often whoever waits for a report asks whether to hurry
SESSION: pytest.StashKey[HarnessSession] = pytest.StashKey()
"""Where a pytest session keeps its HarnessSession."""
AGAIN = "the same command writes it and draws nothing again"


class SessionSuites:
    """The suites of one pytest session, and what its options choose of them."""

    def __init__(self, options: Mapping[str, object], root: Path) -> None:
        self._options, self._root = options, root
        self._suites: dict[Path, Suite] = {}

    @cached_property
    def settings(self) -> Settings:
        return Settings.load(self._root, self._options)

    @cached_property
    def profile(self) -> Profile:
        return load_profile(self.settings.profile, self._root)

    def load(self, path: Path) -> Suite:
        """A suite, read once."""
        path = path.resolve()
        if path not in self._suites:
            self._suites[path] = load_suite(path, self.profile)
        return self._suites[path]

    def cases(self, suite: Suite) -> tuple[Case, ...]:
        """The open cases; the locked ones too when they were asked for; of a shard its own."""
        shard = self.settings.shard
        ours = shard.cases(suite) if shard else {case.id for case in suite.cases}
        return tuple(case for case in suite.cases if case.id in ours and (self.settings.locked or case.split == "open"))

    def providers(self, suite: Suite) -> tuple[str, ...]:
        """The suite's providers that the options want, in the suite's order."""
        wanted = self.settings.providers
        for name in wanted:
            if name not in self.profile.providers:
                raise UsageError(f"--providers: no provider called {name!r}; {nearest(name, self.profile.providers)}")
        return tuple(name for name in suite.providers if not wanted or name in wanted)

    def job(self, suite: Suite, case: Case, provider: str) -> Job:
        return Job(suite.path.as_posix(), case.id, provider)

    def gate_jobs(self, suite: Suite, provider: str) -> list[Job]:
        """What a gate needs: all cases of its provider and of those that it is held against."""
        names = dict.fromkeys([provider, *suite.rivals(self.providers(suite))])
        return [self.job(suite, case, name) for name in names for case in self.cases(suite)]

    @property
    def empty_shard(self) -> bool:
        """Whether this is a shard to which no case of the suites fell: with so few there is nothing to complain of."""
        return (
            bool(self._suites) and self.settings.shard is not None and not any(map(self.cases, self._suites.values()))
        )

    def header(self) -> str | None:
        """One line for pytest's header, only where suites are at hand."""
        try:
            if not (self._root / "suites").is_dir():
                return None
            under_test = f", lora {self.settings.lora.path.name}" if self.settings.lora else ""
            return f"harness: profile {self.profile.name}{under_test}, store {self.settings.store}"
        except Exception as error:  # a header must not hide what collection will say properly
            return f"harness: {error}"


class HarnessSession(SessionSuites):
    """One pytest session, in the only process, in xdist's controller, or in one of its workers."""

    def __init__(
        self,
        options: Mapping[str, object],
        root: Path,
        broker: BrokerAddress | None = None,
        listener: Listener | None = None,
        places: Places = NOWHERE,
    ) -> None:
        super().__init__(options, root)
        self._address, self._listener, self._places = broker, listener, places
        self._run: Run | RemoteRun | None = None
        self._broker: Broker | None = None
        self.submitted = self.finished = False
        self.trouble = ""  # why there are no results, or no report of them
        self._broken: HarnessError | None = None  # why nothing can be drawn
        self.results: RunRecord | None = None
        self.kept: Path | None = None  # the page of an earlier run that judged, where this one did not
        self.problems: list[str] = []  # suites that could not be collected
        self.saved: list[Saved] = []  # what came of --update-baseline

    @property
    def is_worker(self) -> bool:
        return self._address is not None

    # --- the run ------------------------------------------------------------------------------------------------

    @property
    def run(self) -> Run | RemoteRun:
        """Whoever draws and judges: here, or in the controller when this is a worker.

        Raises:
            HarnessError: nothing can be drawn, whoever asks.
        """
        if self._broken is not None:
            raise self._broken
        if self._run is None:
            if self._address is not None:
                from harness.engine.broker import RemoteRun

                self._run = RemoteRun(**self._address)
            else:
                self._run = self._open()
        return self._run

    def _open(self) -> Run:
        """The run of this process; opened late, so that a session without suites makes no store."""
        from harness.engine.run import Run
        from harness.store import Store

        if not isinstance(self._run, Run):
            store = Store(self.settings.store)
            self._run = Run(
                self.settings, self.profile, self.load, store, listener=self._listener, improve=self._improve
            )
        return self._run

    @staticmethod
    def _improve(context: ImproveContext) -> ImproveResult:
        from harness.training.improve.loop import improve  # torch

        return improve(context)

    def serve(self) -> BrokerAddress:
        """Open this controller's run to workers; the address to be sent to them."""
        if self._broker is None:
            from harness.engine.broker import Broker

            self._broker = Broker(self._open_checked)
        return self._broker.address

    @property
    def serves(self) -> bool:
        """Whether workers draw through this process."""
        return self._broker is not None

    def submit(self, jobs: Sequence[Job]) -> None:
        """Have the jobs drawn; where nothing can be, each item that asks is told why.

        Raises:
            ReportFolderError: there would be no place for what comes of it.
        """
        self.submitted = True
        try:
            if not self.is_worker:
                self._places.try_all(self.settings.report_dir)
            self.run.submit(jobs)
        except ReportFolderError:
            raise
        except HarnessError as error:
            self.trouble, self._broken = ("" if self.is_worker else str(error)), error

    def _open_checked(self) -> Run:
        """As `_open`, for workers: the folder of the report is tried before anything is drawn."""
        try:
            if self._run is None:
                self._places.try_all(self.settings.report_dir)
            return self._open()
        except HarnessError as error:
            self.trouble = str(error)
            raise

    @property
    def paid_calls(self) -> int:
        """How many of this process are under way."""
        from harness.engine.run import Run

        return self._run.paid_calls if isinstance(self._run, Run) else 0

    def standing(self, patience: float) -> str:
        """How far the run has come, and what is done before it ends; `patience` in seconds."""
        from harness.engine.run import Run

        done, total = self._run.standing if isinstance(self._run, Run) else (0, 0)
        if not total:
            return "stopping"
        paid = self.paid_calls
        what = f"{paid} paid call{'s' * (paid > 1)}" if paid else "the picture under way"
        rest = "" if done == total else f"; after it {what} may take {patience:.0f} s more"
        return f"stopping with {done} of {total} pictures, whose report is written now{rest}"

    def image_path(self, sha: str) -> Path:
        """Where a picture lies, for people."""
        from harness.store import image_path

        return image_path(self.settings.store, sha)

    @property
    def report_index(self) -> Path:
        return self.settings.report_dir / "index.html"

    def finish(self, patience: float | None = None) -> RunRecord | None:
        """Write the report, once; None in a worker and where no suite was run.

        Args:
            patience: seconds that the picture under way may take; None: as many as the engine thinks right.

        Raises:
            HarnessError: there is no record of the run.
        """
        from harness.engine.run import Run

        run = self._run
        if self.finished or not isinstance(run, Run) or not run.submitted:
            return self.results
        self.finished = True
        self.results = run.finish() if patience is None else run.finish(patience)
        self._write_report(run, self.results)
        return self.results

    def _write_report(self, run: Run, results: RunRecord) -> None:
        """A report that cannot be written costs no verdict: the terminal still has it."""
        from harness.engine.generation import explain
        from harness.report import set_aside, write_report
        from harness.report.ci.outputs import write_contact_sheet

        folder = self.settings.report_dir
        try:
            self.kept = set_aside(folder, results)
            write_report(results, run.store, folder)
            write_contact_sheet(results, run.store.image, folder)
        except Exception as error:
            why = (error.strerror or str(error)) if isinstance(error, OSError) else explain(error, 1)
            self.trouble = f"{folder}: the report cannot be written ({why}); use --report-dir DIR: {AGAIN}"

    @property
    def status(self) -> int:
        """What the suites alone would exit with; 0 where none was run."""
        if self.results is None:
            return 0
        from harness.report.ci.outputs import exit_code

        return exit_code(self.results)

    def update_baselines(self) -> bool:
        """Write each suite's baseline where that was asked for. Whether one was refused."""
        from harness.engine.run import Run

        if self.results and self.settings.update_baseline and isinstance(self._run, Run):
            from harness.judging.baseline import update_baseline
            from harness.judging.results import relative

            ran, anyway = {suite.path for suite in self.results.suites}, self.settings.update_baseline == "anyway"
            suites = [suite for suite in self._suites.values() if relative(suite.path) in ran]
            self.saved = [
                update_baseline(self.results, suite, self._run.store.image, anyway=anyway) for suite in suites
            ]
        return any(saved.refused for saved in self.saved)

    def publish(self, problems: list[str]) -> list[str]:
        """Tell CI what came of the run, where one is at work; the lines that it reads from the log.

        Args:
            problems: suites that could not be collected, each beginning with file and line.
        """
        self.problems = problems
        if self.is_worker or (self.results is None and not problems):
            return []
        from harness.report.ci.outputs import publish

        return publish(self.results, problems, self.settings)

    def interrupt(self, grace: float, last: float, hurry: Callable[[], bool]) -> None:
        """Write the report of what is done, while somebody waits for the prompt.

        In a thread of its own, because the record may wait for a model that is at work.

        Args:
            grace: seconds that the picture under way may take.
            last: seconds that are left once `hurry` says so.
        """
        thread = threading.Thread(target=self._finish_quietly, args=(grace,), name="harness-report", daemon=True)
        thread.start()
        left = last
        while thread.is_alive() and left > 0:
            thread.join(GLANCE_S)
            left -= GLANCE_S if hurry() else 0.0
        if thread.is_alive():
            self.trouble = "ended before the report was written; the same command goes on where it stopped"

    def _finish_quietly(self, grace: float) -> None:
        try:
            self.finish(grace)
        except HarnessError as error:
            self.trouble = str(error)

    @property
    def is_drawing(self) -> bool:
        """Whether something is under way in this process."""
        from harness.engine.run import Run

        return isinstance(self._run, Run) and self._run.is_drawing

    def close(self, patience: float | None = None, hurry: Callable[[], bool] = lambda: False) -> None:
        """Let go of everything.

        Args:
            patience: seconds that the picture under way may take; None: as many as the engine thinks right.
            hurry: asked meanwhile; True ends the waiting.
        """
        from harness.engine.run import Run

        if self._broker is not None:
            self._broker.close()
        if isinstance(self._run, Run) and patience is not None:
            self._run.close(patience, hurry)
        elif self._run is not None:
            self._run.close()
