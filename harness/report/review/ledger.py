"""Votes and comments: a journal in the store that loses nothing, and a sorted file in the repository that git merges.

The journal is written and fsynced first. The file is everything that it held before (a colleague's votes came by git)
and everything in the journal, one record a line, sorted; it is replaced at once. A record is never changed, only
withdrawn, so two files are merged by putting their lines together: `read_file` also takes one with conflict marks.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.core.errors import StoreError, UsageError
from harness.core.files import write_file
from harness.store.journal import Journal

SCHEMA = 1
LARGEST = 64 * 2**20  # bytes of one file
MARKS = ("<<<<<<<", "|||||||", "=======", ">>>>>>>")  # what git leaves of a conflict
SHA = r"^[0-9a-f]{64}$"
Choice = Literal["left", "right", "tie", "skip"]
Among = Literal["all", "lora"]


class Said(BaseModel):
    """What every record has; a newer version may add keys."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False, frozen=True)

    id: str = Field(pattern=r"^[0-9a-f]{32}$")
    at: str  # ISO 8601, UTC
    who: str
    case: str
    withdrawn: bool = False


class PairSide(BaseModel):
    """One picture of a blind pair."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False, frozen=True)

    player: str  # provider, with the beginning of its LoRA's hash
    image: str = Field(pattern=SHA)
    scores: dict[str, float] = {}  # calibrated, as they were when the vote was cast


class Ballot(Said):
    """One person's answer to one pair."""

    seed: int
    left: PairSide
    right: PairSide
    choice: Choice
    among: Among = "all"  # the pairs that this one was drawn from, each as likely as the others


class Comment(Said):
    """What somebody wrote about a case."""

    text: str


Kind = TypeVar("Kind", bound=Said)


class RecordLedger(Generic[Kind]):
    """All records of one kind about one suite. Safe for many threads; other processes join in at the next write."""

    def __init__(self, kind: str, model: type[Kind], suite: str, journal: Path, file: Path) -> None:
        """
        Args:
            kind: `votes` or `comments`: the key in the file.
            journal: in the store; its folder must be there.
            file: in the repository; made when there is something to write.
        """
        self._kind, self._model, self._suite, self.file = kind, model, suite, file
        self._journal, self._lock = Journal(journal), threading.Lock()

    def all(self) -> list[Kind]:
        """Every record, the withdrawn ones too, in the order of the file.

        Raises:
            UsageError: a line of the file cannot be read.
        """
        known = {item.id: item for item in self._ours()}
        for item in read_file(self.file, self._model):
            if item.withdrawn or item.id not in known:
                known[item.id] = item
        return sorted(known.values(), key=place)

    def valid(self) -> list[Kind]:
        """Every record that was not withdrawn, the oldest first."""
        return sorted((item for item in self.all() if not item.withdrawn), key=lambda item: (item.at, item.id))

    def add(self, record: Kind) -> None:
        """Keep a record; it is on the disk when this returns.

        Raises:
            StoreError: the disk is full or a folder is not writable.
            UsageError: a line of the file cannot be read; the record is kept in the journal all the same.
        """
        with self._lock:
            self._journal.append(record.model_dump())
            self.export()

    def withdraw(self, record: Kind) -> None:
        """Take a record back; it stays in the file, marked, so that a merge does not bring it back to life."""
        self.add(record.model_copy(update={"withdrawn": True}))

    def export(self) -> None:
        """Bring the repository's file up to date; a file that says the same is left alone."""
        records = self.all()
        text = to_text(self._kind, self._suite, records)
        if records and (not self.file.is_file() or self.file.read_text(encoding="utf-8") != text):
            write_whole(self.file, text)

    def _ours(self) -> Iterable[Kind]:
        """The journal's, a later line over an earlier one."""
        for event in self._journal.events():
            try:
                yield self._model.model_validate(event)
            except ValidationError:
                continue  # a line that was cut off and happens to be JSON


def place(record: Said) -> tuple[Any, ...]:
    """The order of the file: ids are random, so what two people add seldom meets in one place."""
    return record.case, getattr(record, "seed", 0), record.id


def now() -> str:
    """The time, to the millisecond, so that votes keep their order."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def to_text(kind: str, suite: str, records: Iterable[Said]) -> str:
    """The file: JSON with a line a record."""
    lines = [json.dumps(record.model_dump(), ensure_ascii=False, sort_keys=True) for record in records]
    head = f'{{\n"kind": "lora-harness {kind}",\n"schema": {SCHEMA},\n"suite": {json.dumps(suite)},\n"{kind}": [\n'
    return head + ",\n".join(lines) + "\n]\n}\n"


def read_file(path: Path, model: type[Kind]) -> list[Kind]:
    """The records of a file, line by line; none when it is not there. Conflict marks of git are passed over.

    Raises:
        UsageError: it is too large, or a line is no such record.
    """
    if not path.is_file():
        return []
    if path.stat().st_size > LARGEST:
        raise UsageError(f"{path}: larger than {LARGEST // 2**20} MiB; move it away")
    results = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").split("\n"), 1):
        bare = line.strip().rstrip(",")
        if bare in ("", "{", "}", "]") or bare.startswith((*MARKS, '"')):
            continue
        try:
            results.append(model.model_validate(json.loads(bare)))
        except (ValueError, RecursionError) as error:  # a ValidationError is a ValueError
            raise UsageError(
                f"{path}:{number}: no such record ({first_line(error)}); mend or remove the line"
            ) from error
    return results


def first_line(error: BaseException) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
    return str(error).partition("\n")[0]


def write_whole(path: Path, text: str) -> None:
    """A text file, whole or not at all, also after a power cut.

    Raises:
        StoreError: the disk is full or the folder is not writable.
    """
    try:
        write_file(path, text)
    except OSError as error:
        raise StoreError(
            f"{path}: cannot be written ({error.strerror}); free some space or make it writable"
        ) from error


def append_line(path: Path, record: Mapping[str, Any]) -> None:
    """Add a line of JSON to a file of the repository; on the disk when this returns. Raises StoreError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{path.parent}: cannot be made ({error.strerror})") from error
    Journal(path).append(record)
