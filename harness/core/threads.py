"""Threads that do not keep a process from ending, as those of concurrent.futures do.

Whoever is interrupted while a picture takes a minute gets the prompt back: what a thread would still have brought is
drawn again by the next run.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

Given = ParamSpec("Given")
Result = TypeVar("Result")


class DaemonThreads:
    """At most `number` threads that take what is submitted, in that order; leaving the block waits for all of it."""

    def __init__(self, number: int, name: str) -> None:
        self._number, self._name = number, name
        self._queue: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []

    def submit(self, function: Callable[Given, Result], *args: Given.args, **kwargs: Given.kwargs) -> Future[Result]:
        """Have a function called by the next thread that is free."""
        result: Future[Result] = Future()

        def work() -> None:
            if not result.set_running_or_notify_cancel():
                return
            try:
                result.set_result(function(*args, **kwargs))
            except BaseException as error:
                result.set_exception(error)

        self._queue.put(work)
        if len(self._threads) < self._number:
            thread = threading.Thread(target=self._take, name=f"{self._name}_{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()
        return result

    def _take(self) -> None:
        while (work := self._queue.get()) is not None:
            work()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()
