"""Who has the store open: one locked file each, so that nothing is collected under the feet of a running session.

The system lets go of a lock when its holder dies, so a file that can be locked has no user any more.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from harness.core.errors import StoreError

FOLDER, DOOR = "users", "door.lock"
PATIENCE_S = 600.0  # for which whoever opens a store waits while it is cleared out


class Use:
    """One user's place in a store, held until it is released or its process ends."""

    def __init__(self, lock: FileLock) -> None:
        self._lock = lock

    def release(self) -> None:
        """Leave; doing it twice is fine."""
        if self._lock.is_locked:
            self._lock.release()
            Path(self._lock.lock_file).unlink(missing_ok=True)


def join(store: Path) -> Use:
    """Take a place; waits while the store is being cleared out.

    Raises:
        StoreError: that took too long.
    """
    folder = store / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / DOOR, timeout=PATIENCE_S):
            lock = FileLock(folder / f"{os.getpid()}-{uuid.uuid4().hex[:8]}.lock", thread_local=False)
            lock.acquire(timeout=0)
    except Timeout as error:
        raise StoreError(
            f"{store}: `harness cache` has been at work for too long; end it, or use --store DIR"
        ) from error
    return Use(lock)


@contextmanager
def alone(store: Path) -> Iterator[None]:
    """Have the store to oneself; whoever comes meanwhile waits at the door.

    Raises:
        StoreError: somebody has it open.
    """
    folder = store / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / DOOR, timeout=0):
            if others := users(folder):
                raise StoreError(f"{store}: in use by process {', '.join(others)}; wait for it, or look with --dry-run")
            yield
    except Timeout as error:
        raise StoreError(f"{store}: another `harness cache` is at work; wait for it") from error


def users(folder: Path) -> list[str]:
    """The processes that have the store open; what dead ones left behind is removed."""
    results = []
    for path in sorted(folder.glob("*-*.lock")):
        lock = FileLock(path, thread_local=False)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            results.append(path.name.partition("-")[0])
        else:
            lock.release()
            path.unlink(missing_ok=True)
    return results
