"""The thread that works while tests wait: a queue of jobs, the condition that all wait on, and how the thread ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from harness.core.errors import EngineError, HarnessError
from harness.core.values import Job

LOOK_S = 0.5  # how often a waiting test looks around, so that Ctrl-C works on every system
PATIENCE_S = 60.0  # how long closing waits for the picture that is being drawn
GLANCE_S = 0.1  # how often it asks whether it should still wait


class Worker:
    """Takes whatever is queued, all of it at once, until nothing is; then it ends, and the next job starts it anew."""

    def __init__(self, changed: threading.Condition, work: Callable[[Sequence[Job]], None]) -> None:
        """Args:
        changed: told when the thread ends or is told to stop; `work` tells it of whatever else is waited for.
        work: what is done with the jobs, in the thread. Whatever it raises is told to everybody who waits.
        """
        self.dead: EngineError | None = None  # what the thread died of
        self._changed, self._work = changed, work
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._queue: list[Job] = []

    @property
    def stopped(self) -> bool:
        """Whether work should end as soon as possible."""
        return self._stop.is_set()

    @property
    def is_alive(self) -> bool:
        """Whether the thread is still at work, told to stop or not."""
        thread = self._thread
        return thread is not None and thread.is_alive()

    def put(self, jobs: Sequence[Job]) -> None:
        """Queue jobs; work begins at once."""
        with self._changed:
            self._queue += jobs
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="harness-engine", daemon=True)
                self._thread.start()

    def has_queued(self, path: str) -> bool:
        """Whether a suite's jobs wait for the thread to take them."""
        with self._changed:
            return any(job.path == path for job in self._queue)

    def look_alive(self) -> None:
        """Raises EngineError where nothing will be done any more."""
        if self.dead:
            raise EngineError(str(self.dead)) from self.dead
        if self.stopped:
            raise EngineError("the run was cancelled")

    def wait_until(self, ready: Callable[[], bool]) -> None:
        """Wait for the thread's work; `ready` is asked whenever something changed, and holds the condition's lock.

        Raises:
            EngineError: the thread died, or was told to stop.
        """
        with self._changed:
            while not ready():
                self.look_alive()
                self._changed.wait(LOOK_S)

    def stop(self) -> None:
        """Have the thread stop after the picture that is being drawn, and release whoever waits."""
        self._stop.set()
        with self._changed:
            self._changed.notify_all()

    def leave(self, patience: float = PATIENCE_S, hurry: Callable[[], bool] = lambda: False) -> bool:
        """Stop, and wait until the thread has ended; it may call this too. Whether it has.

        Args:
            patience: seconds to wait at most.
            hurry: asked meanwhile; True ends the waiting.
        """
        self.stop()
        thread = self._thread
        if thread is None or thread is threading.current_thread():
            return True
        until = time.monotonic() + patience
        while thread.is_alive() and (left := until - time.monotonic()) > 0 and not hurry():
            thread.join(min(left, GLANCE_S))
        return not thread.is_alive()

    def _run(self) -> None:
        try:
            while True:
                with self._changed:
                    jobs, self._queue = self._queue, []
                    if not jobs or self.stopped:
                        self._thread = None
                        break
                self._work(jobs)
        except BaseException as error:
            message = str(error) if isinstance(error, HarnessError) else f"{type(error).__name__}: {error}"
            if not (self.stopped and isinstance(error, HarnessError)):  # told to stop, it may stop anywhere
                self.dead = EngineError(f"the engine died: {message}")
                self.dead.__cause__ = error
        with self._changed:
            self._changed.notify_all()
