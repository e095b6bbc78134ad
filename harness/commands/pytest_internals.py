"""What pytest keeps to itself and the plugin needs, each in one place: `tests/test_internals.py` says what moved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def is_named(session: pytest.Session, path: Path) -> bool:
    """Whether whoever called pytest named this file or folder itself."""
    return path in session._initialpaths


def terminal_stream(config: pytest.Config) -> object:
    """What pytest's terminal writes to."""
    return config.get_terminal_writer()._file


def parameter_of(item: pytest.Item, name: str) -> object:
    """The value of a parametrized test's argument; None without one."""
    callspec = getattr(item, "callspec", None)
    return callspec.params.get(name) if callspec else None


def rerun_report(item: pytest.Item, text: str) -> pytest.TestReport:
    """A report whose outcome pytest itself does not know, as pytest-rerunfailures makes it."""
    return pytest.TestReport(item.nodeid, item.location, {}, "rerun", text, "call")  # type: ignore[arg-type]


class Told(str):
    """What a failing item says: plain wherever a report goes, in colour in a terminal that has any."""

    coloured = ""

    @classmethod
    def make(cls, write: Callable[[bool], str]) -> Told:
        """`write` takes whether there are colours."""
        message = cls(write(False))
        message.coloured = write(True)
        return message

    def toterminal(self, writer: Any) -> None:
        writer.line(self.coloured if writer.hasmarkup else str(self))
