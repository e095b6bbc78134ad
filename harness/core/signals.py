"""SIGINT and SIGTERM: the first one interrupts, and says so; the second one ends the process with what it started."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

INTERRUPTED, TERMINATED = 130, 143  # what a shell calls a program that SIGINT ended, or SIGTERM
AGAIN = "what is under way may come to its end; a second signal ends at once"
Handler = Callable[[int, FrameType | None], object] | int | None


class Interrupts:
    """Handles both signals for commands that do not run pytest."""

    def __init__(self) -> None:
        self._count = 0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self._count += 1
        name = signal.Signals(number).name
        if self._count > 1:
            end_at_once(128 + number)
        with suppress(OSError, ValueError):
            os.write(2, f"\nharness: {name}: {AGAIN}\n".encode())  # past a buffer that may be in use just now
        raise KeyboardInterrupt(name)


def is_ours_to_take(number: int) -> bool:
    """Whether nobody else handles or ignores a signal."""
    now = signal.getsignal(number)
    return now in (signal.default_int_handler, signal.SIG_DFL) or isinstance(now, Interrupts)


@contextmanager
def interruptible() -> Iterator[None]:
    """Both signals end the block with KeyboardInterrupt, whose argument is the signal's name."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = Interrupts()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM) if is_ours_to_take(number)}
    for number in before:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, handler_before in before.items():
            signal.signal(number, handler_before)


def end_at_once(status: int) -> None:
    """End the process with all programs that it started; what has been written stays."""
    command = sys.modules.get("harness.providers.command")
    if command is not None:
        command.end_programs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(status)
