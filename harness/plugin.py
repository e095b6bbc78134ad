"""The pytest plugin: every hook translates between pytest and the core, which does not know pytest.

PYTEST_DONT_REWRITE: a warning filter of pytest.ini that names QualityWarning imports this file before pytest could.
"""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.commands.places import Places, ReportFolderError
from harness.commands.pytest_internals import (
    Folding,
    Told,
    drop_junit,
    ini_value,
    parameter_of,
    rerun_report,
)
from harness.commands.session import SESSION, HarnessSession
from harness.commands.stopping import STATUS, Stopping, end_without
from harness.commands.streams import Terminal, make_unbroken
from harness.core.errors import HarnessError, UsageError
from harness.core.project import find_project
from harness.core.values import Case, CaseResult, Complaint, Decision, Job, Suite, Verdict
from harness.report.ci.junit import attachment, junit_properties, worst_picture
from harness.report.failure import failure_text, place_of
from harness.report.terminal import ProgressLine, summary_text

EXIT_BROKEN, EXIT_OPEN = 10, 11
SUFFIXES = (".yaml", ".yml")
TOLD = "harness_told"  # an attribute of reports
STOPPING: pytest.StashKey[Stopping] = pytest.StashKey()
UNSET: tuple[object, ...] = (None, "", (), [])  # values of options that nobody gave; a number may be 0
WRITTEN = {"xmlpath": "--junitxml FILE"}  # what pytest writes at the end
MARKS = {
    "suite(name)": "the suite that an item belongs to",
    "provider(name)": "who draws it",
    "case(id)": "which prompt it is",
    "gate": "an item that may turn the run red",
    "competitor": "an item that only informs",
    "lora_suite(path)": "parametrizes a test's `lora_case` fixture over a suite's cases",
}


class QualityWarning(UserWarning):
    """A score in the warn band, or a verdict that stays open."""


class GateBroken(HarnessError):
    """A gate provider did not deliver: an error, never a failure."""


class QualityFailure(AssertionError):
    """A verdict that fails; its text is what the person reads. What no assertion denies, some reports call broken."""


# --- options and session ------------------------------------------------------------------------------------------


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Late, because pytest's own terminal reporter must be there already."""
    for mark, meaning in MARKS.items():
        config.addinivalue_line("markers", f"{mark}: {meaning}")
    reporter = config.pluginmanager.getplugin("terminalreporter")
    terminal = Terminal(config) if reporter else None
    options = {
        name.removeprefix("harness_"): value
        for name, value in vars(config.option).items()
        if name.startswith("harness_")
    }
    written = {option: Path(path) for name, option in WRITTEN.items() if (path := getattr(config.option, name, None))}
    config.stash[SESSION] = harness = HarnessSession(
        options=options,
        root=project_of(config),
        broker=getattr(config, "workerinput", {}).get("harness"),
        listener=ProgressLine(terminal.write, config.get_terminal_writer().hasmarkup) if terminal else None,
        places=Places(written, lambda: drop_junit(config)),
    )
    make_unbroken(config)  # at once: `| head` has seen enough with the header, and wants its report
    config.pluginmanager.register(Folding())
    config.stash[STOPPING] = Stopping(harness, terminal.write_now if terminal else sys.stderr.write)
    given = [value for value in options.values() if value is not False and value not in UNSET]
    if given:  # a project without suites must not suffer from what it never asked for
        try:
            _ = harness.settings
        except UsageError as error:
            raise pytest.UsageError(str(error)) from None


def project_of(config: pytest.Config) -> Path:
    """The root of everything: the suites' project, wherever pytest's own lies, which values of options move."""
    if config.getoption("rootdir") or config.getoption("inifilename"):
        return config.rootpath
    places = [config.invocation_params.dir / word.split("::")[0] for word in config.args]
    there = [place for place in places if place.exists()]
    suites = [place for place in there if place.suffix in SUFFIXES]
    return find_project(next(iter([*suites, *there]), config.invocation_params.dir))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """xdist: the controller owns the models; a worker is told where to ask."""
    node.workerinput["harness"] = node.config.stash[SESSION].serve()


def pytest_report_header(config: pytest.Config) -> str | None:
    return config.stash[SESSION].header()


def pytest_unconfigure(config: pytest.Config) -> None:
    if SESSION not in config.stash:
        return
    harness, stopping = config.stash[SESSION], config.stash[STOPPING]
    harness.close(stopping.patience, lambda: stopping.hurry)
    stopping.restore()
    if harness.is_drawing:
        end_without(lambda: harness.is_drawing, STATUS)


# --- collection ---------------------------------------------------------------------------------------------------


class HarnessCollector(pytest.Collector):
    """What the collectors share: how it reads that they cannot collect."""

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        error = excinfo.value
        return Told(str(error), cause=str(error)) if isinstance(error, HarnessError) else super().repr_failure(excinfo)


class SuiteFile(HarnessCollector, pytest.File):
    """One suite; its children are its cases and, last, the gate."""

    suite: Suite

    def collect(self) -> Iterator[pytest.Collector]:
        session = self.config.stash[SESSION]
        self.suite = session.load(self.path)
        self.add_marker(pytest.mark.suite(self.suite.name))
        cases = session.cases(self.suite)
        for case in cases:
            yield CaseNode.from_parent(self, name=case.id, case=case)
        if cases:  # a shard may have none of them
            yield GateNode.from_parent(self, name="gate")


class CaseNode(HarnessCollector):
    """One case; its children are its providers."""

    def __init__(self, *, case: Case, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.case = case

    def collect(self) -> Iterator[pytest.Item]:
        assert isinstance(self.parent, SuiteFile)
        suite = self.parent.suite
        self.add_marker(pytest.mark.case(self.case.id))
        for provider in self.config.stash[SESSION].providers(suite):
            yield CaseItem.from_parent(self, name=provider, suite=suite, case=self.case)


class GateNode(HarnessCollector):
    """The suite's verdict, one item for each provider that may turn the run red."""

    def collect(self) -> Iterator[pytest.Item]:
        assert isinstance(self.parent, SuiteFile)
        suite = self.parent.suite
        for provider in self.config.stash[SESSION].providers(suite):
            if provider in suite.gate:
                yield GateItem.from_parent(self, name=provider, suite=suite, case=None)


class HarnessItem(pytest.Item):
    """What case and gate items share: a provider, a verdict awaited in setup, and how a failure reads."""

    def __init__(self, *, suite: Suite, case: Case | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.suite, self.case, self.provider = suite, case, self.name
        self.add_marker(pytest.mark.provider(self.provider, name=self.provider))
        self.add_marker("gate" if self.provider in suite.gate else "competitor")
        self.verdict = Verdict(Decision.ERROR)
        self._attached = ""
        self._noted: list[tuple[str, object]] = []  # what `user_properties` has of ours

    @property
    def harness(self) -> HarnessSession:
        return self.config.stash[SESSION]

    def reportinfo(self) -> tuple[Path, int, str]:
        """The heading has a space, because pytest's `-v` writes `::` for each dot of one that ends the node id."""
        heading = self.nodeid.rpartition("/")[2].replace("::", ": ", 1)
        return self.path, (self.case.line - 1) if self.case else 0, heading

    @property
    def is_dry(self) -> bool:
        """Whether pytest only shows what it would do: then nothing is asked, because nothing was drawn."""
        return bool(self.config.getoption("setuponly", False))

    def note(self, verdict: Verdict) -> None:
        """Scores as JUnit properties, once however often the item is run."""
        self.verdict = verdict
        self.user_properties[:] = [pair for pair in self.user_properties if pair not in self._noted]
        self._noted = [*junit_properties(self.suite, self.case, self.provider, verdict)]
        self.user_properties += self._noted

    def attach(self, result: CaseResult) -> None:
        """The picture that a JUnit reader shows beside a test: the worst one, as the report keeps it."""
        if sha := worst_picture(result):
            path = self.harness.report_index.parent / "images" / f"{sha}.png"
            pair = ("image", path.name)
            self._noted.append(pair)
            self.user_properties.append(pair)
            text = attachment(path, self.config.rootpath)
            wanted = ini_value(self.config, "junit_logging") not in ("", "no")  # GitLab and Jenkins read the output
            if wanted and text != self._attached:
                self._attached = text
                self.add_report_section("call", "stdout", text)

    def warn_all(self, complaints: Iterable[Complaint]) -> None:
        """At the line of the suite that asks for it; what is red says it among its own lines."""
        for complaint in complaints:
            if complaint.severity == "warn" and self.provider in self.suite.gate:
                self._warn(f"{self.name}: {complaint.message}")

    def _warn(self, text: str) -> None:
        """What warns stays green under `-W error`, unless a filter names QualityWarning itself."""
        message, (_, line) = QualityWarning(text), place_of(self.suite, self.case, self.verdict)
        try:
            warnings.warn_explicit(message, None, str(self.path), line)
        except QualityWarning:
            filters = [*self.config.getini("filterwarnings"), *(self.config.option.pythonwarnings or ())]
            if any(each.startswith("error") and QualityWarning.__name__ in each for each in filters):
                raise QualityFailure(self.told(text)) from None
            with warnings.catch_warnings():
                warnings.simplefilter("always", QualityWarning)
                warnings.warn_explicit(message, None, str(self.path), line)

    def skip_unjudged(self) -> None:
        """What could not be judged neither passes nor fails."""
        if self.verdict.decision is Decision.NOT_JUDGED:
            pytest.skip(f"NOT JUDGED: {'; '.join(item.message for item in self.verdict.complaints)}")

    def inform(self, reason: str) -> None:
        """Not good, and not red: xfailed, or skipped where pytest is told to take no xfail for what it is."""
        if self.config.getoption("runxfail", True):
            pytest.skip(reason)
        pytest.xfail(reason)

    def told(self, text: str, coloured: str = "", cause: str = "") -> Told:
        """A text at this item's place; `cause`: what other items may fail of, too."""
        path, line = place_of(self.suite, self.case, self.verdict)
        key = (
            f"{self.provider}: {re.sub('[0-9]+', '#', cause)}" if cause else ""
        )  # so many of so many, this or that seed
        return Told(text, path, line, coloured, key)

    def text(self, result: CaseResult | None, why: str | None = None) -> Told:
        """The verdict in words; `why`: what the gate found, for a case."""
        about = (self.suite, self.case, self.provider, self.verdict, result, self.harness.image_path)
        plain, coloured = (failure_text(*about, markup=markup, cause=why) for markup in (False, True))
        broken = self.verdict.decision is Decision.ERROR
        return self.told(plain, coloured, plain.partition("\n")[0] if broken else "")

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        return told_of(self, excinfo.value) or super().repr_failure(excinfo, style)


class CaseItem(HarnessItem):
    """One case drawn by one provider."""

    case: Case

    @property
    def job(self) -> Job:
        return self.harness.job(self.suite, self.case, self.provider)

    def setup(self) -> None:
        if self.is_dry:
            return
        run = self.harness.run
        result = run.result(self.job)
        if result.skipped:
            pytest.skip(result.skipped)
        verdict = run.verdict(self.job)
        report_attempts(self, run.attempts(self.job))
        self.note(verdict)
        if verdict.decision is not Decision.PASS:
            self.attach(result)
        self.skip_unjudged()
        if verdict.decision is Decision.ERROR and self.provider in self.suite.gate:
            raise GateBroken(self.text(result))

    def runtest(self) -> None:
        if self.verdict.decision in (Decision.FAIL, Decision.ERROR):
            if self.provider not in self.suite.gate:
                self.inform(
                    "; ".join(complaint.message for complaint in self.verdict.complaints) or "below its thresholds"
                )
            if shard := self.harness.settings.shard:
                self.inform(f"shard {shard} sees a part of the suite; `harness merge` judges it")
            raise QualityFailure(self.text(self.harness.run.result(self.job), self.why()))
        self.warn_all(self.verdict.complaints)

    def why(self) -> str | None:
        """The gate's cause, which explains its cases: told before any advice.

        None where nobody knows it: the session stops at this failure, or the gate is not among what was selected.
        """
        gates = [item for item in self.session.items if isinstance(item, GateItem) and item.name == self.name]
        if self.config.getoption("maxfail", 0) or not any(gate.suite is self.suite for gate in gates):
            return None
        return self.harness.run.gate(self.suite.path.as_posix(), self.provider).cause


class GateItem(HarnessItem):
    """The suite's verdict on one gate provider."""

    @property
    def jobs(self) -> list[Job]:
        return self.harness.gate_jobs(self.suite, self.provider)

    def setup(self) -> None:
        if self.is_dry:
            return
        run = self.harness.run
        self.note(run.gate(self.suite.path.as_posix(), self.provider))
        if shard := self.harness.settings.shard:  # what it found goes into the record, for the merge
            pytest.skip(f"shard {shard} sees a part of the suite; `harness merge` judges it")
        self.skip_unjudged()
        if self.verdict.decision is Decision.ERROR:
            raise GateBroken(self.text(None))

    def runtest(self) -> None:
        if self.verdict.decision is Decision.FAIL:
            raise QualityFailure(self.text(None))
        if self.verdict.decision is Decision.INCONCLUSIVE and self.suite.on_inconclusive == "fail":
            raise QualityFailure(self.text(None))
        self.warn_all(self.verdict.complaints)


def told_of(item: pytest.Item, error: BaseException) -> Told | None:
    """What an item of ours, or a test over a suite's cases, says of what we raised; None of anything else."""
    if not (isinstance(item, HarnessItem) or isinstance(parameter_of(item, "lora_case"), LoraCase)):
        return None
    if isinstance(error, QualityFailure | GateBroken) and error.args and isinstance(error.args[0], Told):
        return error.args[0]
    if isinstance(error, HarnessError):
        text = str(error)
        return item.told(text, cause=text) if isinstance(item, HarnessItem) else Told(text, cause=text)
    return Told(str(error)) if isinstance(error, pytest.xfail.Exception) else None  # tracebacks are slow


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """pytest asks an item for words only when its call fails; a broken setup would be hundreds of lines of pytest.

    What is told goes beside the report, too: workers send nothing but plain text to the one who shows it.
    """
    report = yield
    if call.excinfo and report.failed and (told := told_of(item, call.excinfo.value)):
        report.longrepr = told  # type: ignore[assignment]  # a dict on its way through xdist
        report.__dict__[TOLD] = told.plain
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """What a worker has sent, as it was."""
    told = getattr(report, TOLD, None)
    if told is not None and isinstance(report.longrepr, str):
        report.longrepr = Told(**told)  # type: ignore[assignment]  # pytest takes what has its methods


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """pytest-forked's children would wait for ever: whoever draws is a thread, and threads do not come along."""
    option = item.config.option
    if not getattr(option, "forked", False) or not is_ours(item):
        return (yield)
    option.forked = False
    try:
        return (yield)
    finally:
        option.forked = True


def report_attempts(item: pytest.Item, attempts: Iterable[Verdict]) -> None:
    """Earlier verdicts of a retrained case become `rerun` reports, as people know them from pytest-rerunfailures."""
    for verdict in attempts:
        text = "before retraining: " + "; ".join(complaint.message for complaint in verdict.complaints)
        item.ihook.pytest_runtest_logreport(report=rerun_report(item, text))


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
    outcome: str = report.outcome
    return ("rerun", "R", ("RERUN", {"yellow": True})) if outcome == "rerun" else None


# --- plain Python tests over a suite ------------------------------------------------------------------------------


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "lora_case" not in metafunc.fixturenames:
        return
    mark = metafunc.definition.get_closest_marker("lora_suite")
    if mark is None:
        raise pytest.UsageError(
            f"{metafunc.definition.nodeid}: `lora_case` needs @pytest.mark.lora_suite('suites/NAME.yaml')"
        )
    session = metafunc.config.stash[SESSION]
    suite = session.load(metafunc.config.rootpath / mark.args[0])
    cases = [LoraCase(session, suite, case, provider) for case in session.cases(suite) for provider in suite.gate]
    metafunc.parametrize("lora_case", cases, ids=[f"{case.case.id}-{case.provider}" for case in cases])


class LoraCase:
    """One case in the hands of a Python test: its samples and its verdict, awaited when asked for."""

    def __init__(self, session: HarnessSession, suite: Suite, case: Case, provider: str) -> None:
        self._session, self.suite, self.case, self.provider = session, suite, case, provider

    @property
    def job(self) -> Job:
        return self._session.job(self.suite, self.case, self.provider)

    @property
    def result(self) -> CaseResult:
        return self._session.run.result(self.job)

    @property
    def verdict(self) -> Verdict:
        return self._session.run.verdict(self.job)


# --- the run ------------------------------------------------------------------------------------------------------


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    seen: set[str] = set()
    for item in items:
        if isinstance(item, HarnessItem):
            if item.nodeid in seen:
                raise pytest.UsageError(f"{item.nodeid} was collected twice; give the suites' cases different ids")
            seen.add(item.nodeid)


def is_ours(item: pytest.Item) -> bool:
    """Whether an item waits for pictures: one of a suite, or a Python test over its cases."""
    return isinstance(item, HarnessItem) or isinstance(parameter_of(item, "lora_case"), LoraCase)


def jobs_of(item: pytest.Item) -> list[Job]:
    """What must be drawn before an item can be judged."""
    if isinstance(item, CaseItem):
        return [item.job]
    if isinstance(item, GateItem):
        return item.jobs
    case = parameter_of(item, "lora_case")
    return [case.job] if isinstance(case, LoraCase) else []


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """The plan is known: what -k, -m and --lf left over is drawn in batches, ahead of the tests.

    Not before, because pytest collects where it runs nothing, too: for --collect-only, --fixtures, --setup-plan, and
    where a file cannot be read.
    """
    config, harness = session.config, session.config.stash[SESSION]
    unread = session.testsfailed and not config.getoption("continue_on_collection_errors", False)
    if unread or config.option.collectonly or config.getoption("setuponly", False):
        return
    jobs = [job for item in session.items for job in jobs_of(item)]
    if not jobs and not harness.serves:
        return
    if not harness.is_worker:
        config.stash[STOPPING].install(config.pluginmanager)
    if jobs:
        try:
            harness.submit(list(dict.fromkeys(jobs)))
        except ReportFolderError as error:
            raise pytest.UsageError(str(error)) from None


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    harness = session.config.stash[SESSION]
    try:
        harness.finish()
    except HarnessError as error:
        harness.trouble = str(error)
    if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and harness.empty_shard:
        session.exitstatus = pytest.ExitCode.OK
    if harness.update_baselines() and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.USAGE_ERROR  # a baseline was asked for, and there is none
    if exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        status = EXIT_BROKEN if harness.trouble else harness.status
        if status in (EXIT_BROKEN, EXIT_OPEN):
            session.exitstatus = status


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    harness = config.stash[SESSION]
    if harness.trouble:
        terminalreporter.section("LoRA quality", sep="=", red=True)
        terminalreporter.write_line(harness.trouble)
    if harness.results is not None:
        terminalreporter.section("LoRA quality", sep="=")
        writer = config.get_terminal_writer()
        words = (harness.report_index, config.get_verbosity(), writer.hasmarkup)
        terminalreporter.write_line(summary_text(harness.results, writer.fullwidth, *words))
        if harness.kept:
            terminalreporter.write_line(f"         the report of the run before, which judged, is kept: {harness.kept}")
        if config.stash[STOPPING].patience is not None:
            terminalreporter.write_line("next:    the same command goes on from here, and draws nothing twice")
        for saved in harness.saved:
            terminalreporter.write_line(f"baseline: {saved.text}", red=saved.refused)
    broken = [report for report in terminalreporter.stats.get("error", ()) if isinstance(report, pytest.CollectReport)]
    messages = [str(report.longrepr) for report in broken if report.nodeid.endswith((".yaml", ".yml"))]
    for line in harness.publish(list(dict.fromkeys(messages))):
        terminalreporter.write_line(line)
