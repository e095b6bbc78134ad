"""Keeping the store small and sound: what it holds, whether it is whole, and what may go."""

from __future__ import annotations

import hashlib
import re
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.core.errors import StoreError
from harness.store.rows import COLUMNS, is_edited, row_name, selection
from harness.store.users import FOLDER, alone

KINDS = ("images", "thumbs", "arrays", "journal", "loras", "review")  # folders, in the order in which they are shown
RECORDS = "records.sqlite"
DIGESTS = 2  # version of the records that first has digests of rows
NAMED = re.compile(r"[0-9a-f]{64}")
REVIEWS = "reviews"  # in the project: votes, comments and decisions
PINNING = ("suites", "references", REVIEWS)  # whose JSON files name pictures that must stay
LARGEST = 512 * 2**20  # bytes of a JSON file that is read for pins
STALE_S = 3600.0  # after which a half-written file has no writer any more
DAY_S = 86_400.0
UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}


@dataclass(frozen=True)
class Kind:
    """One sort of files."""

    name: str
    files: int
    bytes: int
    oldest: float | None  # seconds since 1970
    newest: float | None


@dataclass(frozen=True)
class CachedPicture:
    """One stored picture, with what was made from it."""

    sha: str
    path: Path
    bytes: int  # its small versions included
    used: float  # seconds since 1970: when it was last put, or a record of it was written
    beside: tuple[Path, ...] = ()  # its small versions


@dataclass(frozen=True)
class Health:
    """What `verify` found wrong. Paths are relative to the store."""

    files: int  # that were hashed
    damaged: tuple[str, ...] = ()  # their bytes are not those of their name
    lost: tuple[str, ...] = ()  # pictures that records name and that are not there
    orphans: tuple[str, ...] = ()  # pictures and arrays that no record names; not wrong, but nobody asks for them
    halves: tuple[str, ...] = ()  # that a killed process left half written
    edited: tuple[str, ...] = ()  # rows of the records that are no longer what was written
    records: str = "ok"  # SQLite's own check

    @property
    def sound(self) -> bool:
        """Orphans and halves only cost space."""
        return not (self.damaged or self.lost or self.edited or self.records != "ok")


@dataclass(frozen=True)
class RemovalPlan:
    """What `gc` removes."""

    pictures: tuple[CachedPicture, ...]
    files: tuple[Path, ...]  # halves and arrays without a record
    pinned: int  # pictures that stay because a baseline, a champion or a vote names them
    total: int  # bytes of the store before
    freed: int  # bytes


# --- looking ------------------------------------------------------------------------------------------------------


def kinds(store: Path) -> list[Kind]:
    """What the store holds by sort of files; sorts without files are left out."""
    groups = {name: files_of(store / name) for name in KINDS}
    groups["records"] = [path for path in store.glob(f"{RECORDS}*") if path.is_file()]
    shared = store / f"{RECORDS}-shm"  # memory of those who have the records open; it goes when they do
    groups["records"] = [path for path in groups["records"] if path != shared]
    known = {shared, *(path for group in groups.values() for path in group)}
    users = store / FOLDER
    groups["other"] = [path for path in files_of(store) if path not in known and users not in path.parents]
    return [kind_of(name, group) for name, group in groups.items() if group]


def kind_of(name: str, paths: Iterable[Path]) -> Kind:
    stats = [result for path in paths if (result := stat(path))]
    times = [when for _, when in stats]
    return Kind(name, len(stats), sum(size for size, _ in stats), min(times, default=None), max(times, default=None))


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []


def stat(path: Path) -> tuple[int, float] | None:
    """Bytes and time of change; None for a file that has just gone."""
    try:
        result = path.stat()
    except OSError:
        return None
    return result.st_size, result.st_mtime


def pins(root: Path, store: Path, more: Iterable[Path] = ()) -> dict[str, str]:
    """SHA-256 to the file that names it: baselines, champions, votes and decisions of the project, and files given.

    A vote is in the store's journal before it is in the project, so the journals of reviews count too.
    """
    files = [path for name in PINNING for path in sorted((root / name).rglob("*.json*"))]
    files += sorted((store / "review").glob("*.jsonl"))
    results: dict[str, str] = {}
    for path in [*files, *more]:
        try:
            text = path.read_text(encoding="utf-8", errors="replace") if path.stat().st_size <= LARGEST else ""
        except OSError as error:
            raise StoreError(f"{path}: cannot be read ({error.strerror}), so its pictures cannot be kept") from error
        results |= {sha: path.as_posix() for sha in NAMED.findall(text) if sha not in results}
    return results


def pictures(store: Path) -> list[CachedPicture]:
    """All stored pictures, those that were used longest ago first."""
    small: dict[str, list[Path]] = {}
    for path in files_of(store / "thumbs"):
        if not path.name.endswith(".part"):  # half written: a leftover, and counted as one
            small.setdefault(path.name[:64], []).append(path)
    written = dict(rows(store, "SELECT image, MAX(created) FROM samples GROUP BY image"))
    results = []
    for path in files_of(store / "images"):
        sha, about = path.name.removesuffix(".png"), stat(path)
        if NAMED.fullmatch(sha) and about:
            beside = tuple(small.get(sha, ()))
            size = about[0] + sum(known[0] for thumb in beside if (known := stat(thumb)))
            results.append(CachedPicture(sha, path, size, max(about[1], float(written.get(sha, 0.0))), beside))
    return sorted(results, key=lambda picture: (picture.used, picture.sha))


def rows(store: Path, question: str) -> list[tuple[Any, ...]]:
    """The records' answer; [] where there are none.

    Raises:
        StoreError: they are damaged.
    """
    path = store / RECORDS
    if not path.is_file():
        return []
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=60)) as records:
            return records.execute(question).fetchall()
    except sqlite3.DatabaseError as error:
        raise StoreError(f"{path}: {error}; `harness cache verify` says more") from error


# --- is it whole? -------------------------------------------------------------------------------------------------


def verify(store: Path) -> Health:
    """Hash every picture and array again, and hold the records against the files. Changes nothing."""
    try:
        records = str(rows(store, "PRAGMA quick_check")[0][0]) if (store / RECORDS).is_file() else "ok"
        edited = tuple(row_name(table, row) for table, row in edited_rows(store))
        images = {str(row[0]) for row in rows(store, "SELECT image, 0 FROM samples")}
        arrays = {str(row[0]) for row in rows(store, "SELECT file, 0 FROM arrays")}
    except StoreError as error:
        records, images, arrays, edited = str(error), set(), set(), ()
    damaged, orphans, halves, there, count = [], [], [], set(), 0
    for folder, named in (("images", images), ("arrays", arrays)):
        for path in files_of(store / folder):
            shown, sha = path.relative_to(store).as_posix(), path.name.partition(".")[0]
            if not NAMED.fullmatch(sha) or path.suffix not in (".png", ".npy"):
                halves.append(shown)
                continue
            count += 1
            there.add(sha)
            if is_damaged(path, sha):
                damaged.append(shown)
            elif sha not in named and records == "ok":
                orphans.append(shown)
    lost = tuple(sorted(images - there))
    return Health(count, tuple(damaged), lost, tuple(orphans), tuple(halves), edited, records)


def edited_rows(store: Path) -> list[tuple[str, tuple[Any, ...]]]:
    """The rows that are no longer what was written, with their tables; an older version's have no digests yet."""
    version = rows(store, "PRAGMA user_version")
    if not version or version[0][0] < DIGESTS:
        return []
    return [(table, row) for table in COLUMNS for row in rows(store, selection(table)) if is_edited(table, row)]


def is_damaged(path: Path, sha: str) -> bool:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest() != sha
    except OSError:
        return True


# --- what may go --------------------------------------------------------------------------------------------------


def plan_gc(
    store: Path, pinned: Mapping[str, str], *, max_bytes: int | None, older_s: float | None, now: float | None = None
) -> RemovalPlan:
    """What has to go: pictures not used for `older_s` seconds, then the ones used longest ago until the rest fits.

    Args:
        pinned: pictures that stay, whatever their age.
        max_bytes: of the whole store; None: no limit.
    """
    now = time.time() if now is None else now
    total = sum(kind.bytes for kind in kinds(store))
    files = leftovers(store, now)
    freed = sum(result[0] for path in files if (result := stat(path)))
    every = pictures(store)
    free = [picture for picture in every if picture.sha not in pinned]
    chosen = [picture for picture in free if older_s is not None and now - picture.used > older_s]
    freed += sum(picture.bytes for picture in chosen)
    for picture in free[len(chosen) :]:
        if max_bytes is None or total - freed <= max_bytes:
            break
        chosen.append(picture)
        freed += picture.bytes
    return RemovalPlan(tuple(chosen), tuple(files), len(every) - len(free), total, freed)


def leftovers(store: Path, now: float) -> list[Path]:
    """Files that a killed process left half written, and arrays whose record is gone."""
    named = {str(row[0]) for row in rows(store, "SELECT file, 0 FROM arrays")}
    results = []
    for folder in ("images", "arrays", "thumbs"):
        for path in files_of(store / folder):
            about = stat(path)
            half = path.name.endswith(".part")
            lone = folder == "arrays" and NAMED.fullmatch(path.stem) and path.stem not in named
            if about and (half or lone) and now - about[1] > STALE_S:
                results.append(path)
    return results


def collect(store: Path, plan: RemovalPlan) -> None:
    """Carry a plan out, in a store that one has to oneself. Journals always stay.

    Records go first, so that a kill in between costs space and no truth.
    """
    if (store / RECORDS).is_file() and plan.pictures:
        forget(store, [picture.sha for picture in plan.pictures])
    for path in [*plan.files, *(path for each in plan.pictures for path in (*each.beside, each.path))]:
        path.unlink(missing_ok=True)
    for folder in ("images", "arrays", "thumbs"):
        for sub in (store / folder).glob("*/"):
            if sub.is_dir() and not any(sub.iterdir()):
                sub.rmdir()


def forget(store: Path, images: Iterable[str]) -> None:
    """Remove what the records say of pictures, and give the space back."""
    keys = [(sha,) for sha in images]
    try:
        with closing(sqlite3.connect(store / RECORDS, timeout=60, isolation_level=None)) as records:
            records.execute("BEGIN IMMEDIATE")
            records.executemany("DELETE FROM samples WHERE image = ?", keys)
            records.executemany("DELETE FROM scores WHERE image = ?", keys)
            records.execute("COMMIT")
            records.execute("VACUUM")
    except sqlite3.DatabaseError as error:
        raise StoreError(f"{store / RECORDS}: {error}; `harness cache verify` says more") from error


def mend(store: Path, health: Health) -> int:
    """Remove damaged files and what the records say of them and of lost pictures: they are drawn again. How many.

    Raises:
        StoreError: somebody has the store open.
    """
    bad = [store / name for name in (*health.damaged, *health.halves)]
    with alone(store):
        if health.edited:
            forget_rows(store, edited_rows(store))
        if (store / RECORDS).is_file():
            forget(store, [*health.lost, *(path.stem for path in bad if path.suffix == ".png")])
        for path in bad:
            path.unlink(missing_ok=True)
    return len(bad) + len(health.lost) + len(health.edited)


def forget_rows(store: Path, found: Iterable[tuple[str, Sequence[Any]]]) -> None:
    """Remove single rows: what they said is made again."""
    with closing(sqlite3.connect(store / RECORDS, timeout=60)) as records, records:
        for table, row in found:
            names = COLUMNS[table][: 1 if table == "samples" else 2]
            where = " AND ".join(f"{name} = ?" for name in names)
            records.execute(f"DELETE FROM {table} WHERE {where}", row[: len(names)])  # noqa: S608 - words of ours


# --- words --------------------------------------------------------------------------------------------------------


def read_size(text: str) -> int:
    """`2GB`, `500 MB`, `1_000_000`: bytes; ValueError for anything else."""
    result = re.fullmatch(r"\s*(\d+(?:[._]\d+)*)\s*([a-z]*)\s*", text.lower())
    if not result or result[2] not in UNITS:
        raise ValueError(f"{text!r} is no size; say 500MB or 2GB")
    return int(float(result[1].replace("_", "")) * UNITS[result[2]])


def read_age(text: str) -> float:
    """`30d`, `12h`, `2w`: seconds; ValueError for anything else."""
    result = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([hdw])\s*", text.lower())
    if not result:
        raise ValueError(f"{text!r} is no age; say 12h, 30d or 8w")
    return float(result[1]) * {"h": 3600.0, "d": DAY_S, "w": 7 * DAY_S}[result[2]]


def size_text(count: int) -> str:
    """1234567 as 1.2 MB."""
    for unit, size in reversed(list(UNITS.items())):
        if count >= size > 1:
            return f"{count / size:.1f} {unit.upper()}"
    return f"{count} B"
