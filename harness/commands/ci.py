"""`harness ci` runs the suites for a pipeline; `harness merge` judges what several shards drew."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core.errors import StoreError
from harness.core.settings import Settings

if TYPE_CHECKING:
    import pytest

USAGE = """usage: harness ci [SUITES...] [OPTIONS OF PYTEST]

Run suites (all of suites/ when none is named) as a pipeline wants it: pytest's output, a JUnit file beside the report,
and one last line of JSON with the verdict. Every option is pytest's own: --baseline, --shard, --budget, -n and so on.

exit codes: 0 passed, 1 a verdict or a test failed, 2 interrupted or a suite could not be read, 3 pytest itself broke,
4 a wrong option, 5 nothing was collected, 10 a gate provider or the engine broke, 11 a proof was demanded and the
verdict is open"""


SHA_LENGTH = 64  # hexadecimal digits of a picture's name
USAGE_ERROR = 4  # pytest's exit code


class Watcher:
    """A plugin that remembers the session's configuration, because that is where its results are."""

    def __init__(self) -> None:
        self.config: pytest.Config | None = None

    def pytest_configure(self, config: pytest.Config) -> None:
        self.config = config


def ci(arguments: Sequence[str]) -> int:
    """`harness ci ...`: every option is pytest's, and so is the exit status; the last line on stdout is JSON."""
    if any(word in ("-h", "--help") for word in arguments):
        print(USAGE)
        return 0
    import pytest

    watcher = Watcher()
    paths = [word for word in arguments if not word.startswith("-") and is_test(word)]
    words = [*junit_words(arguments), *arguments, *([] if paths else ["suites"])]
    status = int(pytest.main(words, plugins=[watcher]))
    print(json.dumps(watched_record(watcher, status), ensure_ascii=False), flush=True)
    return status


def is_test(word: str) -> bool:
    """Whether an argument names tests; an option's value that is a file is none."""
    path = Path(word.split("::")[0])
    return path.is_dir() or (path.is_file() and path.suffix in {".yaml", ".yml", ".py"})


def junit_words(arguments: Sequence[str]) -> list[str]:
    """A JUnit file beside the report with the tests' output, unless one is asked for elsewhere."""
    if any(word.startswith(("--junitxml", "--junit-xml")) for word in arguments):
        return []
    folder = Settings.load(Path.cwd(), {"report_dir": option(arguments, "--report-dir")}).report_dir
    return ["--junitxml", str(folder / "junit.xml"), "-o", "junit_logging=system-out"]


def option(arguments: Sequence[str], name: str) -> str | None:
    """An option's value, written with = or as the next word."""
    for place, word in enumerate(arguments):
        if word.startswith(f"{name}="):
            return word.partition("=")[2]
        if word == name and place + 1 < len(arguments):
            return arguments[place + 1]
    return None


def watched_record(watcher: Watcher, status: int) -> dict[str, Any]:
    """The last line of a session that has ended."""
    from harness.commands.session import SESSION
    from harness.report.ci.outputs import final_record

    session = watcher.config.stash.get(SESSION, None) if watcher.config else None
    if session is None or status == USAGE_ERROR:
        return final_record(None, status, Path(), ["pytest refused its options; see above"])
    trouble = [session.trouble] if session.trouble else []
    return final_record(session.results, status, session.settings.report_dir, [*session.problems, *trouble])


# --- shards -------------------------------------------------------------------------------------------------------


class Folders:
    """The pictures beside several reports, as a report wants them."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = folders

    def image(self, sha: str) -> bytes:
        """The bytes of a picture.

        Raises:
            StoreError: no folder has it.
        """
        for folder in self.folders:
            path = folder / f"{sha}.png"
            if len(sha) == SHA_LENGTH and sha.isalnum() and path.is_file():
                return path.read_bytes()
        raise StoreError(f"no shard's report has the picture {sha[:12]}")

    def derived(self, kind: str, suffix: str, sha: str, make: Callable[[bytes], bytes]) -> bytes:
        """What `make` makes of a picture; nothing is kept."""
        return make(self.image(sha))


def merge_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("results", nargs="+", type=Path, metavar="RESULTS.JSON", help="of every shard, or their folders")
    sub.add_argument("--report-dir", type=Path, default=Path("reports"), help="of the whole run (default: reports)")


def merge(options: argparse.Namespace) -> int:
    """Unite shards, judge their suites again, write the whole report; exits as one run over everything would have."""
    from harness.engine.merge import merge_results
    from harness.judging.record import load_results
    from harness.report import write_report
    from harness.report.ci.outputs import exit_code, final_record, publish, write_contact_sheet
    from harness.report.terminal import summary_text

    files = [path / "results.json" if path.is_dir() else path for path in options.results]
    results = merge_results([load_results(path) for path in files])
    pictures = Folders([path.parent / "images" for path in files])
    page = write_report(results, pictures, options.report_dir)
    write_contact_sheet(results, pictures.image, options.report_dir)
    print(summary_text(results, width(), page, markup=sys.stdout.isatty() and not os.environ.get("NO_COLOR")))
    for line in publish(results, [], Settings.load(Path.cwd())):
        print(line)
    status = exit_code(results)
    print(json.dumps(final_record(results, status, options.report_dir), ensure_ascii=False), flush=True)
    return status


def width() -> int:
    """Columns of the terminal, or of a log."""
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns
    except (OSError, ValueError):
        return 100
