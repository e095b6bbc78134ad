"""Whether what a run writes in the end has a place, tried before anything is drawn or paid for."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from harness.core.errors import UsageError

LEAST = 1_000_000  # bytes: a page with its first pictures


@dataclass(frozen=True)
class Places:
    """Where pytest itself writes at the end."""

    files: Mapping[str, Path] = field(default_factory=dict)  # by the option that names it
    give_up: Callable[[], None] = lambda: None  # called where one cannot be written, which would end in a traceback

    def try_all(self, report: Path) -> None:
        """Raises ReportFolderError: one of them, or the report in this folder, would find no place."""
        try_folder(report)
        for option, path in self.files.items():
            try:
                try_file(path, option)
            except ReportFolderError:
                self.give_up()
                raise


NOWHERE = Places()  # nothing but the report


class ReportFolderError(UsageError):
    """The place of a report cannot be made, written to, or has no space left."""


def try_folder(folder: Path, remedy: str = "name another folder: --report-dir DIR") -> None:
    """Write to a folder as a report would, and take it away again; what was not there before is not there afterwards.

    Args:
        remedy: what to do where it is not the space.

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
        raise refusal(folder, error, remedy) from error
    finally:
        for path in made:
            with suppress(OSError):
                path.rmdir()


def try_file(path: Path, option: str) -> None:
    """The same of a file that an option names; one that is there stays as it is.

    Raises:
        ReportFolderError: it cannot be written.
    """
    remedy = f"name another file: {option}"
    try_folder(path.parent, remedy)
    try:
        if path.exists():
            path.open("ab").close()
    except OSError as error:
        raise refusal(path, error, remedy) from error


def refusal(path: Path, error: OSError, remedy: str) -> ReportFolderError:
    text = f"{path}: no report can be written there ({error.strerror or error}); nothing was drawn"
    return ReportFolderError(f"{text}. Free some space, or {remedy}")
