"""What pytest keeps to itself and the plugin needs, each in one place: `tests/test_internals.py` says what moved."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from _pytest import junitxml

MOST = 3  # other items of one cause that are named


def is_named(session: pytest.Session, path: Path) -> bool:
    """Whether whoever called pytest named this file or folder itself."""
    return path in session._initialpaths


def terminal_stream(config: pytest.Config) -> object:
    """What pytest's terminal writes to."""
    return config.get_terminal_writer()._file


def replace_stream(config: pytest.Config, stream: object) -> None:
    """Have pytest's terminal write elsewhere."""
    vars(config.get_terminal_writer())["_file"] = stream


def ini_value(config: pytest.Config, name: str) -> str:
    """What the project's ini says; "" where the plugin that knows the key is switched off (`-p no:junitxml`)."""
    try:
        return str(config.getini(name))
    except ValueError:
        return ""


def drop_junit(config: pytest.Config) -> None:
    """Write no JUnit file at the end, because it cannot be written."""
    junitxml.pytest_unconfigure(config)


def parameter_of(item: pytest.Item, name: str) -> object:
    """The value of a parametrized test's argument; None without one."""
    callspec = getattr(item, "callspec", None)
    return callspec.params.get(name) if callspec else None


def rerun_report(item: pytest.Item, text: str) -> pytest.TestReport:
    """A report whose outcome pytest itself does not know, as pytest-rerunfailures makes it."""
    return pytest.TestReport(item.nodeid, item.location, {}, "rerun", text, "call")  # type: ignore[arg-type]


@dataclass(frozen=True)
class Crash:
    """Where it went wrong, and the one line that pytest puts behind FAILED, and JUnit above the rest."""

    path: str
    lineno: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.lineno}: {self.message}"


@dataclass
class Told:
    """What a failing item says, in the form that pytest wants of a failure: its `longrepr`.

    Plain wherever a report goes, in colour in a terminal that has any. Items that one cause makes fail are shown as
    one: `more` are the others, which the first one names.
    """

    text: str
    path: str = ""
    line: int = 1
    coloured: str = ""
    cause: str = ""  # equal for items that one cause makes fail; "": this one stands alone
    more: list[str] = field(default_factory=list)  # node ids

    def __str__(self) -> str:
        return self.text

    @property
    def plain(self) -> dict[str, Any]:
        """What it takes to make it again, as JSON."""
        return {"text": self.text, "path": self.path, "line": self.line, "coloured": self.coloured, "cause": self.cause}

    @property
    def reprcrash(self) -> Crash:
        """What pytest reads its one line from."""
        first = self.text.partition("\n")[0]
        return Crash(self.path, self.line, first + (f" (and {len(self.more)} more items)" if self.more else ""))

    def toterminal(self, writer: Any) -> None:
        writer.line(self.coloured if writer.hasmarkup and self.coloured else self.text)
        if self.more:
            listed = ", ".join(self.more[:MOST]) + (", ..." if len(self.more) > MOST else "")
            writer.line(f"  the same for {len(self.more)} more: {listed}")


class Folding:
    """A plugin: errors of one cause are shown as one, as pytest does with skips; counted they are one by one."""

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_terminal_summary(self, terminalreporter: Any) -> Iterator[None]:
        errors = terminalreporter.stats.get("error", [])
        firsts: dict[str, Told] = {}
        shown = []
        for report in errors:
            told = report.longrepr
            if isinstance(told, Told) and told.cause and firsts.setdefault(told.cause, told) is not told:
                firsts[told.cause].more.append(report.nodeid)
            else:
                shown.append(report)
        if len(shown) < len(errors):
            terminalreporter.stats["error"] = shown
        try:
            yield
        finally:
            if len(shown) < len(errors):
                terminalreporter.stats["error"] = errors
