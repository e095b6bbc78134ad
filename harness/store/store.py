"""The store: what was drawn and found before, so that nothing is drawn, paid for or measured twice."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from harness.core.errors import StoreError
from harness.core.files import write_file
from harness.core.values import Outcome, Request, Sample, Score, canonical_json, sample_from, score_from, to_record
from harness.store.journal import Journal
from harness.store.rows import insertion, is_edited, new_row, row_name, selection
from harness.store.schema import migrate
from harness.store.users import join

if TYPE_CHECKING:
    import numpy as np

LOG = logging.getLogger(__name__)
BUSY_S = 60.0  # how long a write waits for another process's
AT_ONCE = 500  # keys in one question; SQLite's oldest limit is 999
Notice = Callable[[str], None]


class Store:
    """One folder; safe for many threads and for several processes at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder).resolve()
        self.notices: list[str] = []  # what people should know: damage that was found, and what is done about it
        self._lock = threading.RLock()
        with self._translated():
            for name in ("images", "arrays", "journal"):
                (self.folder / name).mkdir(parents=True, exist_ok=True)
            self._use = join(self.folder)
            path = self.folder / "records.sqlite"
            self._records = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
            try:
                self._records.execute("PRAGMA journal_mode = WAL")
                self._records.execute("PRAGMA synchronous = FULL")  # a paid picture outlives a power cut
                migrate(self._records, path)
            except BaseException:
                self._records.close()
                self._use.release()
                raise

    def close(self) -> None:
        """Release the records; the store cannot be used afterwards. Closing twice is fine."""
        with self._lock:
            self._records.close()
        self._use.release()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- images -----------------------------------------------------------------------------------------------------

    def put_image(self, png: bytes) -> str:
        """Keep the bytes of a picture; returns their SHA-256, its name."""
        return self._put_file("images", "png", png)

    def image(self, sha: str) -> bytes:
        """The bytes of a picture.

        Raises:
            StoreError: it is not there, or its bytes are no longer those that were put.
        """
        return self._file("images", "png", sha)

    def image_path(self, sha: str) -> Path:
        """Where a picture lies, for links and for people; it need not exist."""
        return image_path(self.folder, sha)

    def derived(self, kind: str, suffix: str, sha: str, make: Callable[[bytes], bytes]) -> bytes:
        """What `make` makes of a picture, a thumbnail say, made once a store; it may be deleted at any time.

        Raises:
            StoreError: there is no such picture; what `make` raises passes through.
        """
        path = self._path(kind, suffix, sha)
        try:
            return path.read_bytes()
        except OSError:
            data = make(self.image(sha))
        with self._translated():
            write_file(path, data, lasting=False)
        return data

    # --- samples ----------------------------------------------------------------------------------------------------

    def samples(self, requests: Sequence[str]) -> dict[str, Sample]:
        """Those of many requests that are there and whole; an altered or lost picture is told of and left out."""
        results: dict[str, Sample] = {}
        for start in range(0, len(requests), AT_ONCE):
            some = requests[start : start + AT_ONCE]
            marks = ",".join("?" * len(some))
            for _, _, record, _ in self._rows("samples", f"request IN ({marks})", some):
                sample = sample_from(json.loads(record))
                if self._whole(sample):
                    results[sample.request] = replace(sample, cached=True)
        return results

    def put_sample(self, request: Request, sample: Sample) -> None:
        """Remember a request's picture. A sample that is not ok is not remembered: it must be asked for again."""
        if sample.outcome is not Outcome.OK or sample.image is None:
            return
        record = to_record(replace(sample, scores={}, cached=False))
        self._put("samples", request.key, canonical_json(to_record(request)), canonical_json(record), sample.image)

    def _whole(self, sample: Sample) -> bool:
        try:
            self.image(sample.image or "")
        except StoreError as error:
            self._notice(f"{error}; it is drawn again")
            return False
        with suppress(OSError):  # `harness cache gc` goes by when a picture was last used
            os.utime(self.image_path(sample.image or ""))
        return True

    # --- scores -----------------------------------------------------------------------------------------------------

    def scores(self, image: str, scorer: str) -> Mapping[str, Score] | None:
        """What a scorer found in a picture, or None when it never looked."""
        for _, _, text in self._rows("scores", "image = ? AND scorer = ?", [image, scorer]):
            return {name: score_from(record) for name, record in json.loads(text).items()}
        return None

    def put_many_scores(self, found: Sequence[tuple[str, str, Mapping[str, Score]]]) -> None:
        """Several (picture, scorer, scores) at the price of one write to the disk."""
        rows = [new_row("scores", image, scorer, canonical_json(to_record(scores))) for image, scorer, scores in found]
        with self._lock, self._translated():
            self._records.execute("BEGIN IMMEDIATE")
            try:
                self._records.executemany(insertion("scores"), rows)
                self._records.execute("COMMIT")
            except BaseException:
                self._records.execute("ROLLBACK")
                raise

    # --- memos and arrays: whatever else is dear to compute ---------------------------------------------------------

    def memo(self, kind: str, key: str) -> Any | None:
        """A plain value kept under a name, or None."""
        for _, _, text in self._rows("memos", "kind = ? AND key = ?", [kind, key]):
            return json.loads(text)
        return None

    def put_memo(self, kind: str, key: str, value: Any) -> None:
        """Keep plain JSON data; what is not finite or not plain raises ValueError or TypeError."""
        self._put("memos", kind, key, canonical_json(to_record(value)))

    def array(self, kind: str, key: str) -> np.ndarray[Any, Any] | None:
        """An array kept under a name, or None; an altered one is warned about and counts as absent."""
        import numpy as np

        for _, _, sha in self._rows("arrays", "kind = ? AND key = ?", [kind, key]):
            try:
                result: np.ndarray[Any, Any] = np.load(io.BytesIO(self._file("arrays", "npy", sha)), allow_pickle=False)
            except (StoreError, ValueError, EOFError) as error:
                self._notice(f"{error}; it is computed again")
                return None
            return result
        return None

    def put_array(self, kind: str, key: str, value: np.ndarray[Any, Any]) -> None:
        import numpy as np

        buffer = io.BytesIO()
        np.save(buffer, value, allow_pickle=False)
        self._put("arrays", kind, key, self._put_file("arrays", "npy", buffer.getvalue()))

    # --- runs -------------------------------------------------------------------------------------------------------

    def journal(self, run_id: str) -> Journal:
        """The journal of one run, a new or an old one."""
        return Journal(self.folder / "journal" / f"{run_id}.jsonl")

    @contextmanager
    def lock(self, notice: Notice | None = None, cancelled: Callable[[], bool] = lambda: False) -> Iterator[None]:
        """Hold the engine's lock: one run draws at a time. The system frees it when its holder dies.

        Args:
            notice: told once, in words, when another run holds it and this one begins to wait.
            cancelled: asked while waiting; True raises StoreError.
        """
        lock = FileLock(self.folder / "engine.lock")
        message = False
        while True:
            try:
                lock.acquire(timeout=0.5 if message else 0)
                break
            except Timeout:
                if cancelled():
                    raise StoreError(f"{self.folder}: cancelled while waiting for another run") from None
                if not message and notice:
                    notice(f"another run draws into {self.folder}; waiting for it (--store DIR uses another place)")
                message = True
        try:
            yield
        finally:
            lock.release()

    # --- files and records ------------------------------------------------------------------------------------------

    def _path(self, kind: str, suffix: str, sha: str) -> Path:
        return file_path(self.folder, kind, suffix, sha)

    def _put_file(self, kind: str, suffix: str, data: bytes) -> str:
        sha = hashlib.sha256(data).hexdigest()
        path = self._path(kind, suffix, sha)
        with self._translated():
            if path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == sha:
                return sha
            write_file(path, data)
        return sha

    def _file(self, kind: str, suffix: str, sha: str) -> bytes:
        path = self._path(kind, suffix, sha)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise StoreError(f"{path}: cannot be read ({error.strerror})") from error
        if hashlib.sha256(data).hexdigest() != sha:
            raise StoreError(f"{path}: its bytes are not those that were stored (damaged or tampered with)")
        return data

    def _notice(self, text: str) -> None:
        """Not a Python warning: the engine's threads must not die of it where warnings are errors."""
        LOG.warning(text)
        self.notices.append(text)

    def _query(self, question: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        with self._lock, self._translated():
            return self._records.execute(question, values).fetchall()

    def _rows(self, table: str, where: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        """The deciding columns of the rows that are as they were written; an edited one is told of and left out."""
        rows = self._query(selection(table, where), values)
        for row in (row for row in rows if is_edited(table, row)):
            self._notice(
                f"{self.folder}: {row_name(table, row)} was edited since it was written (its digest differs); "
                "it does not count and is made again, and `harness cache verify --rescore 5%` looks at the others"
            )
        return [row[:-1] for row in rows if not is_edited(table, row)]

    def _put(self, table: str, *values: str) -> None:
        self._execute(insertion(table), new_row(table, *values))

    def _execute(self, statement: str, values: Sequence[Any]) -> None:
        with self._lock, self._translated():
            self._records.execute(statement, values)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """What the system and SQLite raise, as StoreError with what to do."""
        try:
            yield
        except sqlite3.OperationalError as error:
            remedy = "free some space" if "full" in str(error) else "close other programs that use it"
            raise StoreError(f"{self.folder}: {error}; {remedy}, or use --store DIR") from error
        except sqlite3.DatabaseError as error:
            raise StoreError(f"{self.folder}/records.sqlite: {error}; move it away, or use --store DIR") from error
        except OSError as error:
            remedy = "free some space" if error.errno == errno.ENOSPC else "make it writable"
            raise StoreError(f"{self.folder}: {error.strerror or error}; {remedy}, or use --store DIR") from error


def file_path(folder: Path, kind: str, suffix: str, sha: str) -> Path:
    return folder / kind / sha[:2] / f"{sha}.{suffix}"


def image_path(folder: Path, sha: str) -> Path:
    """Where a store in `folder` keeps a picture; for those who only want to name it, and open no store."""
    return file_path(folder, "images", "png", sha)
