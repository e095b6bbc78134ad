"""One run's events, append-only: after a power cut everything up to the last whole line is still true."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

from harness.core.errors import StoreError


class Journal:
    """JSON lines, each on the disk before `append` returns."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()

    def append(self, event: Mapping[str, object]) -> None:
        """Add one event; it is given the time, `at`, in seconds since 1970.

        Raises:
            StoreError: the disk is full or the folder is not writable.
        """
        line = json.dumps({"at": round(time.time(), 3), **event}, ensure_ascii=False, allow_nan=False) + "\n"
        try:
            with self._lock, self.path.open("a+b") as stream:
                whole = ends_whole(stream)
                stream.write((line if whole else "\n" + line).encode())  # the run before was cut off within a line
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            text = f"{self.path}: cannot be written ({error.strerror})"
            raise StoreError(f"{text}; free some space or use --store DIR") from error

    def events(self) -> Iterator[dict[str, object]]:
        """Every whole event, oldest first; a line that was cut off is left out."""
        if not self.path.exists():
            return
        with self.path.open("rb") as stream:
            for line in stream:
                try:
                    event = json.loads(line)
                except ValueError:
                    continue
                if isinstance(event, dict):
                    yield event


def ends_whole(stream: IO[bytes]) -> bool:
    """Whether a file is empty or ends with a line break."""
    if stream.seek(0, os.SEEK_END) == 0:
        return True
    stream.seek(-1, os.SEEK_END)
    return stream.read(1) == b"\n"
