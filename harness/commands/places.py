"""Whether the folder of a report can take one, tried before anything is drawn or paid for."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path

from harness.core.errors import UsageError

LEAST = 1_000_000  # bytes: a page with its first pictures


class ReportFolderError(UsageError):
    """The folder of the report cannot be made, written to, or has no space left."""


def try_folder(folder: Path) -> None:
    """Write to a folder as a report would, and take it away again; what was not there before is not there afterwards.

    Raises:
        ReportFolderError: that cannot be done.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as stream:
            stream.write(b"\0" * LEAST)
            stream.flush()
    except OSError as error:
        text = f"{folder}: no report can be written there ({error.strerror or error}); nothing was drawn"
        raise ReportFolderError(f"{text}. Free some space, or name another folder: --report-dir DIR") from error
    finally:
        for path in made:
            with suppress(OSError):
                path.rmdir()
