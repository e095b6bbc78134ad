"""pytest's terminal, whatever stands behind it: a pipe whose reader goes away, a terminal without our letters."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from harness.commands.pytest_internals import replace_stream, terminal_stream
from harness.core.streams import drop_buffer, spell_out


class Terminal:
    """A way to the terminal beside pytest's own.

    While a test waits for its pictures, pytest captures whatever is written, and that is just when progress matters.
    Capturing has not begun when this is made, so a copy of the descriptor still leads to the terminal.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._descriptor = -1
        self._encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
        self._instead: Callable[[str], object] = config.get_terminal_writer().write
        try:
            self._descriptor = os.dup(sys.stdout.fileno())
        except (OSError, ValueError):  # a program that runs pytest inside itself
            return
        config.add_cleanup(self._close)

    def write(self, text: str) -> None:
        """After whatever pytest has to say."""
        if self._descriptor < 0:
            self._instead(text)
            return
        with suppress(BrokenPipeError):
            sys.stdout.flush()
        self.write_now(text)

    def write_now(self, text: str) -> None:
        """At once, past every buffer, so that a signal's handler may write in the middle of a line of pytest's."""
        if self._descriptor < 0:
            self._instead(text)
            return
        with suppress(OSError):  # whoever read this has gone
            os.write(self._descriptor, text.encode(self._encoding, "replace"))

    def _close(self) -> None:
        os.close(self._descriptor)
        self._descriptor = -1


class Unbroken:
    """A stream that goes on silently when its reader has gone: `pytest suites/ | head` must not cost the report."""

    def __init__(self, stream: Any) -> None:
        self._stream, self._gone = stream, False

    def write(self, text: str) -> int:
        if not self._gone:
            try:
                return int(self._stream.write(text))
            except BrokenPipeError:
                self._forget()
        return len(text)

    def flush(self) -> None:
        if not self._gone:
            try:
                self._stream.flush()
            except BrokenPipeError:
                self._forget()

    def _forget(self) -> None:
        """Nobody reads this any more, what is still in the buffer included."""
        self._gone = True
        drop_buffer(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def make_unbroken(config: pytest.Config) -> None:
    """pytest's terminal from now on: every letter in some form, and no error when its reader goes away."""
    if not config.pluginmanager.getplugin("terminalreporter"):
        return
    stream = terminal_stream(config)
    if isinstance(stream, io.TextIOWrapper):
        spell_out(stream)
        replace_stream(config, Unbroken(stream))
