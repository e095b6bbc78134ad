"""SIGINT and SIGTERM during a run: the first ends it in order, a second one at once, and both leave the record.

A container that is stopped gets ten seconds, a cancelled job of GitHub's seven and a half until its second signal. So
the record of what is done is written first, and only then may the picture under way come to its end.
"""

from __future__ import annotations

import atexit
import signal
import threading
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from types import FrameType
from typing import Protocol

import pytest

from harness.core.signals import Handler, end_at_once, is_ours_to_take

STATUS = int(pytest.ExitCode.INTERRUPTED)
GRACE_S = 2.0  # for the picture under way, before the record is made without it
PATIENCE_S = 4.0  # for it afterwards, so that the store keeps it
PAID_S = 30.0  # for what is paid for, where a person waits, who can ask again
LAST_S = 3.0  # after a second signal, for the record that is being written


class Interruptible(Protocol):
    """A session that draws."""

    @property
    def paid_calls(self) -> int: ...

    def standing(self, patience: float) -> str: ...

    def interrupt(self, grace: float, last: float, hurry: Callable[[], bool]) -> None: ...


class Stopping:
    """What a session does about signals; handlers that are not Python's own stay in place."""

    def __init__(self, harness: Interruptible, say: Callable[[str], object]) -> None:
        """`say` writes at once, wherever the process is just now."""
        self.hurry = False  # whether somebody asked twice
        self.patience: float | None = None  # seconds that the picture under way may take; None: nothing was stopped
        self._harness, self._say, self._count, self._finishing = harness, say, 0, False
        self._before: dict[int, Handler] = {}
        self._quiet = ExitStack()

    def install(self, plugins: pytest.PytestPluginManager) -> None:
        """Take the signals that nobody else has taken; only the main thread may."""
        if not plugins.is_registered(self):
            plugins.register(self)
        if threading.current_thread() is not threading.main_thread():
            return
        for number in (signal.SIGINT, signal.SIGTERM):
            if number not in self._before and is_ours_to_take(number):
                self._before[number] = signal.signal(number, self._handle)

    def restore(self) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        self._before.clear()
        self._quiet.close()

    def pytest_keyboard_interrupt(self) -> None:
        """Whoever stopped the session may not wait for long, nor read what libraries say of the picture under way."""
        self.patience = GRACE_S if self.patience is None else self.patience
        self._quiet.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        self._harness.interrupt(GRACE_S, LAST_S, lambda: self.hurry)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """From here on a signal only hurries: an exception would cost the report that is being written."""
        self._finishing = True

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._count += 1
        name = signal.Signals(number).name
        if self._count == 1 and self._finishing:
            self.hurry = True
            self._say(f"\nharness: {name}: the report is being written; a second signal ends at once\n")
        elif self._count == 1:
            self.patience = PAID_S if number == signal.SIGINT and self._harness.paid_calls else PATIENCE_S
            self._say(f"\nharness: {name}: {self._harness.standing(self.patience)}; a second signal ends at once\n")
            raise KeyboardInterrupt(name)
        elif self._count == 2:
            self.hurry = True
            self._say(f"\nharness: {name}: ending now, with the record of what is done\n")
            timer = threading.Timer(LAST_S, end_at_once, [STATUS])
            timer.daemon = True
            timer.start()
        else:
            end_at_once(STATUS)


def end_without(is_alive: Callable[[], bool], status: int) -> None:
    """Where a thread still draws when the process ends, end it regardless: native code under way would crash it."""

    def leave() -> None:
        if is_alive():
            end_at_once(status)

    atexit.register(leave)
