"""`harness ci` runs the suites for a pipeline: pytest's output, a JUnit file, one last line of JSON."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click
import pytest

from harness.commands.options import ForeignCommand
from harness.commands.output import json_for
from harness.commands.session import SESSION
from harness.core.claim import OPTIONS
from harness.core.errors import HarnessError
from harness.core.project import find_project
from harness.core.settings import Settings
from harness.core.streams import drop_buffer
from harness.report.ci.outputs import final_record

USAGE = """usage: harness ci [SUITES...] [OPTIONS OF PYTEST]

Run suites (all of suites/ when none is named) as a pipeline wants it: pytest's output, a JUnit file beside the report,
and one last line of JSON with the verdict. Every option is pytest's own: --baseline, --shard, --budget, -n and so on.

exit codes: 0 passed, 1 a verdict or a test failed, 2 interrupted or a suite could not be read, 3 pytest itself broke,
4 a wrong option, 5 nothing was collected, 10 a gate provider or the engine broke, 11 a gate could not be
judged (unless its suite says `on_blind: report`), or a proof was demanded and the verdict is open"""


USAGE_ERROR = 4  # pytest's exit code
PYTESTS = (
    *("-k", "-m", "-p", "-n", "-c", "-o", "-W", "-r", "--rootdir", "--ignore", "--ignore-glob", "--deselect", "--tb"),
    *("--maxfail", "--basetemp", "--confcutdir", "--durations", "--dist", "--import-mode", "--color", "--log-file"),
    *("--junitxml", "--junit-xml", "--override-ini", "--config-file", "--numprocesses", "--maxprocesses"),
)
OURS = [name for name, (value, _) in OPTIONS.items() if value]
VALUED = {*PYTESTS, *OURS, *(name.replace("--", "--harness-", 1) for name in OURS)}
"""Options whose value may stand behind them as a word of its own."""


class Watcher:
    """A plugin that remembers the session's configuration, because that is where its results are."""

    def __init__(self) -> None:
        self.config: pytest.Config | None = None

    def pytest_configure(self, config: pytest.Config) -> None:
        self.config = config


@click.command(cls=ForeignCommand)
def ci(words: tuple[str, ...]) -> int:
    """Every option is pytest's, and so is the exit status; the last line on stdout is JSON."""
    if any(word in ("-h", "--help") for word in words):
        print(USAGE)
        return 0
    try:
        return run_watched(words)
    except HarnessError as error:
        print(f"harness: {error}", file=sys.stderr)
        return USAGE_ERROR


def run_watched(arguments: Sequence[str]) -> int:
    """Run pytest and print its results; the exit status."""
    watcher = Watcher()
    paths = named_tests(arguments)
    words = [*junit_words(arguments, paths), *arguments, *([] if paths else ["suites"])]
    status = int(pytest.main(words, plugins=[watcher]))
    try:
        text = json_for(sys.stdout, watched_record(watcher, status))
        print(text, flush=True)
    except BrokenPipeError:  # whoever reads has seen enough, and the status still counts
        drop_buffer(sys.stdout)
    return status


def named_tests(arguments: Sequence[str]) -> list[str]:
    """The arguments that name tests: no options, and not what stands behind one that takes a value."""
    before = ["", *arguments]
    return [
        word
        for word, last in zip(arguments, before, strict=False)
        if not word.startswith("-") and last not in VALUED and is_test(word)
    ]


def is_test(word: str) -> bool:
    """Whether an argument names tests; an option's value that is a file is none."""
    path = Path(word.split("::")[0])
    return path.is_dir() or (path.is_file() and path.suffix in {".yaml", ".yml", ".py"})


def junit_words(arguments: Sequence[str], paths: Sequence[str] = ()) -> list[str]:
    """A JUnit file beside the report with the tests' output, unless one is asked for elsewhere."""
    if any(word.startswith(("--junitxml", "--junit-xml")) for word in arguments):
        return []
    root = find_project(Path(paths[0].split("::")[0]) if paths else Path.cwd())
    given = option(arguments, "--report-dir") or option(arguments, "--harness-report-dir")
    folder = Settings.load(root, {"report_dir": given}).report_dir
    return ["--junitxml", str(folder / "junit.xml"), "-o", "junit_logging=system-out"]


def option(arguments: Sequence[str], name: str) -> str | None:
    """An option's value, written with = or as the next word."""
    for place, word in enumerate(arguments):
        if word.startswith(f"{name}="):
            return word.partition("=")[2]
        if word == name and place + 1 < len(arguments):
            return arguments[place + 1]
    return None


def watched_record(watcher: Watcher, status: int) -> dict[str, object]:
    """The last line of a session that has ended."""
    session = watcher.config.stash.get(SESSION, None) if watcher.config else None
    if session is None or status == USAGE_ERROR:
        return final_record(None, status, Path(), ["pytest refused its options; see above"])
    trouble = [session.trouble] if session.trouble else []
    return final_record(session.results, status, session.settings.report_dir, [*session.problems, *trouble])
