"""The pytest plugin: every hook translates between pytest and the core, which does not know pytest.

PYTEST_DONT_REWRITE: a warning filter of pytest.ini that names QualityWarning imports this file before pytest could.
"""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.commands.pytest_internals import Told, parameter_of, rerun_report, terminal_stream
from harness.commands.session import SESSION, HarnessSession
from harness.core.errors import HarnessError, SuiteError, UsageError
from harness.core.project import find_project
from harness.core.values import Case, CaseResult, Complaint, Decision, Job, Suite, Verdict
from harness.report.ci.junit import attachment, junit_properties, worst_picture
from harness.report.terminal import ProgressLine, failure_text, summary_text

EXIT_BROKEN, EXIT_OPEN = 10, 11
SUFFIXES = (".yaml", ".yml")
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


class QualityFailure(Exception):
    """A verdict that fails; its text is what the person reads."""


# --- options and session ------------------------------------------------------------------------------------------


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Late, because pytest's own terminal reporter must be there already."""
    for mark, meaning in MARKS.items():
        config.addinivalue_line("markers", f"{mark}: {meaning}")
    reporter = config.pluginmanager.getplugin("terminalreporter")
    options = {
        name.removeprefix("harness_"): value
        for name, value in vars(config.option).items()
        if name.startswith("harness_")
    }
    config.stash[SESSION] = harness = HarnessSession(
        options=options,
        root=project_of(config),
        broker=getattr(config, "workerinput", {}).get("harness"),
        listener=ProgressLine(open_terminal(config), config.get_terminal_writer().hasmarkup) if reporter else None,
    )
    if any(options.values()):  # a project without suites must not suffer from what it never asked for
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


def spell_out(config: pytest.Config) -> None:
    """Letters that the terminal lacks become `\\u0433`; by itself pytest would write line ends as `\\n` then, too."""
    stream = terminal_stream(config) if config.pluginmanager.getplugin("terminalreporter") else None
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")


def open_terminal(config: pytest.Config) -> Callable[[str], object]:
    """A way to the terminal beside pytest's own.

    While a test waits for its pictures, pytest captures whatever is written, and that is just when progress matters.
    Capturing has not begun here, so a copy of the descriptor still leads to the terminal.
    """
    try:
        descriptor = os.dup(sys.stdout.fileno())
    except (OSError, ValueError):  # a program that runs pytest inside itself
        return config.get_terminal_writer().write
    stream = open(descriptor, "w", encoding=sys.stdout.encoding, errors="replace")  # noqa: PTH123, SIM115
    config.add_cleanup(stream.close)

    def write(text: str) -> None:
        sys.stdout.flush()
        stream.write(text)
        stream.flush()

    return write


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """xdist: the controller owns the models; a worker is told where to ask."""
    node.workerinput["harness"] = node.config.stash[SESSION].serve()


def pytest_report_header(config: pytest.Config) -> str | None:
    return config.stash[SESSION].header()


def pytest_unconfigure(config: pytest.Config) -> None:
    if SESSION in config.stash:
        config.stash[SESSION].close()


# --- collection ---------------------------------------------------------------------------------------------------


class SuiteFile(pytest.File):
    """One suite; its children are its cases and, last, the gate."""

    suite: Suite

    def collect(self) -> Iterator[pytest.Collector]:
        session = self.config.stash[SESSION]
        try:
            self.suite = session.load(self.path)
        except SuiteError as error:
            raise self.CollectError(str(error)) from error
        self.add_marker(pytest.mark.suite(self.suite.name))
        cases = session.cases(self.suite)
        for case in cases:
            yield CaseNode.from_parent(self, name=case.id, case=case)
        if cases:  # a shard may have none of them
            yield GateNode.from_parent(self, name="gate")


class CaseNode(pytest.Collector):
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


class GateNode(pytest.Collector):
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

    @property
    def harness(self) -> HarnessSession:
        return self.config.stash[SESSION]

    def reportinfo(self) -> tuple[Path, int, str]:
        """The heading has a space, because pytest's `-v` writes `::` for each dot of one that ends the node id."""
        heading = self.nodeid.rpartition("/")[2].replace("::", ": ", 1)
        return self.path, (self.case.line - 1) if self.case else 0, heading

    def note(self, verdict: Verdict) -> None:
        """Scores as JUnit properties."""
        self.verdict = verdict
        self.user_properties += junit_properties(self.suite, self.case, self.provider, verdict)

    def attach(self, result: CaseResult) -> None:
        """The picture that a JUnit reader shows beside a test: the worst one, as the report keeps it."""
        if sha := worst_picture(result):
            path = self.harness.report_index.parent / "images" / f"{sha}.png"
            self.user_properties.append(("image", path.name))
            if self.config.getini("junit_logging") != "no":  # GitLab and Jenkins read it from a test's output
                self.add_report_section("call", "stdout", attachment(path, self.config.rootpath))

    def warn_all(self, complaints: Iterable[Complaint]) -> None:
        for complaint in complaints:
            if complaint.severity == "warn" and self.provider in self.suite.gate:
                warnings.warn(QualityWarning(f"{self.name}: {complaint.message}"), stacklevel=2)

    def skip_unjudged(self) -> None:
        """What could not be judged neither passes nor fails."""
        if self.verdict.decision is Decision.NOT_JUDGED:
            pytest.skip(f"NOT JUDGED: {'; '.join(item.message for item in self.verdict.complaints)}")

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        messages = (QualityFailure, HarnessError, pytest.xfail.Exception)  # their text says it all; tracebacks are slow
        if isinstance(excinfo.value, messages):
            words = excinfo.value.args[0] if excinfo.value.args else ""
            return words if isinstance(words, Told) else str(excinfo.value)
        return super().repr_failure(excinfo, style)


class CaseItem(HarnessItem):
    """One case drawn by one provider."""

    case: Case

    @property
    def job(self) -> Job:
        return self.harness.job(self.suite, self.case, self.provider)

    def setup(self) -> None:
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
        self.warn_all(self.verdict.complaints)
        if self.verdict.decision in (Decision.FAIL, Decision.ERROR):
            if self.provider not in self.suite.gate:
                pytest.xfail(
                    "; ".join(complaint.message for complaint in self.verdict.complaints) or "below its thresholds"
                )
            if shard := self.harness.settings.shard:
                pytest.xfail(f"shard {shard} sees a part of the suite; `harness merge` judges it")
            raise QualityFailure(self.text(self.harness.run.result(self.job)))

    def text(self, result: CaseResult) -> Told:
        about = (self.suite, self.case, self.provider, self.verdict, result, self.harness.image_path)
        return Told.make(lambda markup: failure_text(*about, markup=markup))


class GateItem(HarnessItem):
    """The suite's verdict on one gate provider."""

    @property
    def jobs(self) -> list[Job]:
        return self.harness.gate_jobs(self.suite, self.provider)

    def setup(self) -> None:
        run = self.harness.run
        self.note(run.gate(self.suite.path.as_posix(), self.provider))
        if shard := self.harness.settings.shard:  # what it found goes into the record, for the merge
            pytest.skip(f"shard {shard} sees a part of the suite; `harness merge` judges it")
        self.skip_unjudged()
        if self.verdict.decision is Decision.ERROR:
            raise GateBroken(self.text())

    def runtest(self) -> None:
        self.warn_all(self.verdict.complaints)
        if self.verdict.decision is Decision.FAIL:
            raise QualityFailure(self.text())
        if self.verdict.decision is Decision.INCONCLUSIVE and self.suite.on_inconclusive == "fail":
            raise QualityFailure(self.text())

    def text(self) -> Told:
        about = (self.suite, None, self.provider, self.verdict, None, self.harness.image_path)
        return Told.make(lambda markup: failure_text(*about, markup=markup))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """pytest asks an item for words only when its call fails; a broken setup would be hundreds of lines of pytest."""
    report = yield
    if isinstance(item, HarnessItem) and call.when == "setup" and call.excinfo and report.failed:
        report.longrepr = item.repr_failure(call.excinfo)
    return report


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


def jobs_of(item: pytest.Item) -> list[Job]:
    """What must be drawn before an item can be judged."""
    if isinstance(item, CaseItem):
        return [item.job]
    if isinstance(item, GateItem):
        return item.jobs
    case = parameter_of(item, "lora_case")
    return [case.job] if isinstance(case, LoraCase) else []


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """The plan is known: what -k, -m and --lf left over is drawn in batches, ahead of the tests."""
    jobs = [job for item in session.items for job in jobs_of(item)]
    if jobs:
        spell_out(session.config)
    if jobs and not session.config.option.collectonly:
        session.config.stash[SESSION].submit(list(dict.fromkeys(jobs)))


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
        for saved in harness.saved:
            terminalreporter.write_line(f"baseline: {saved.text}", red=saved.refused)
    broken = [report for report in terminalreporter.stats.get("error", ()) if isinstance(report, pytest.CollectReport)]
    messages = [str(report.longrepr) for report in broken if report.nodeid.endswith((".yaml", ".yml"))]
    for line in harness.publish(list(dict.fromkeys(messages))):
        terminalreporter.write_line(line)
