"""Rows of the records, each with a digest over what decides it: an edited row is told, and does not count.

The digest has no key. It finds damage, and edits by whoever did not make it anew; `harness cache verify --rescore`
finds the others, because it looks at the pictures again.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "samples": ("request", "recipe", "record", "image"),
    "scores": ("image", "scorer", "record"),
    "memos": ("kind", "key", "value"),
    "arrays": ("kind", "key", "file"),
}
"""Each table's columns that decide something; the time is none of them."""


def row_digest(table: str, *values: object) -> str:
    """SHA-256 over a row's deciding values, hexadecimal."""
    return hashlib.sha256(
        json.dumps([table, *values], ensure_ascii=False, default=repr).encode("utf-8", "replace")
    ).hexdigest()


def insertion(table: str) -> str:
    """The statement that writes a row of `new_row`."""
    names = (*COLUMNS[table], "created", "digest")
    return f"INSERT OR REPLACE INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"  # noqa: S608 - words of ours


def new_row(table: str, *values: str) -> tuple[str | float, ...]:
    """A row as it is written now."""
    return (*values, time.time(), row_digest(table, *values))


def selection(table: str, where: str = "1") -> str:
    """The question that answers with rows for `is_edited`."""
    return f"SELECT {', '.join(COLUMNS[table])}, digest FROM {table} WHERE {where}"  # noqa: S608 - words of ours


def is_edited(table: str, row: Sequence[object]) -> bool:
    """Whether a row is no longer what was written."""
    *values, digest = row
    return row_digest(table, *values) != digest


def row_name(table: str, row: Sequence[object]) -> str:
    """A row for people: its table and what it is found by, cut."""
    return f"{table} {' '.join(str(value)[:16] for value in row[: 1 if table == 'samples' else 2])}"
