"""The records' schema, as the migrations that made it: one more entry is one more version. Never edit an old one."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from harness.core.errors import StoreError
from harness.store.rows import row_digest

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE samples (
        request TEXT PRIMARY KEY,   -- the request's key
        recipe TEXT NOT NULL,       -- the request itself, JSON
        record TEXT NOT NULL,       -- the sample, JSON, without scores
        image TEXT NOT NULL,        -- SHA-256
        created REAL NOT NULL       -- seconds since 1970
    );
    CREATE TABLE scores (
        image TEXT NOT NULL,
        scorer TEXT NOT NULL,       -- the scorer's identity, and what the case expects
        record TEXT NOT NULL,       -- metric to score, JSON
        created REAL NOT NULL,
        PRIMARY KEY (image, scorer)
    );
    CREATE TABLE memos (
        kind TEXT NOT NULL,
        key TEXT NOT NULL,
        value TEXT NOT NULL,        -- JSON
        created REAL NOT NULL,
        PRIMARY KEY (kind, key)
    );
    CREATE TABLE arrays (
        kind TEXT NOT NULL,
        key TEXT NOT NULL,
        file TEXT NOT NULL,         -- SHA-256 of the .npy file
        created REAL NOT NULL,
        PRIMARY KEY (kind, key)
    );
    CREATE INDEX samples_by_image ON samples (image);
    """,
    # of what decides each row; what earlier versions wrote is believed, from then on a row without one was edited
    """
    ALTER TABLE samples ADD COLUMN digest TEXT;
    ALTER TABLE scores ADD COLUMN digest TEXT;
    ALTER TABLE memos ADD COLUMN digest TEXT;
    ALTER TABLE arrays ADD COLUMN digest TEXT;
    UPDATE samples SET digest = row_digest('samples', request, recipe, record, image);
    UPDATE scores SET digest = row_digest('scores', image, scorer, record);
    UPDATE memos SET digest = row_digest('memos', kind, key, value);
    UPDATE arrays SET digest = row_digest('arrays', kind, key, file);
    """,
)


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the records to the newest version, each step whole or not at all, one process at a time.

    Raises:
        StoreError: they were written by a newer version of the program.
    """
    connection.create_function("row_digest", -1, row_digest, deterministic=True)
    while True:
        connection.execute("BEGIN IMMEDIATE")
        try:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version < len(MIGRATIONS):
                for statement in filter(str.strip, MIGRATIONS[version].split(";\n")):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {version + 1}")
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        if version > len(MIGRATIONS):
            raise StoreError(
                f"{path}: made by a newer version (records {version}, known {len(MIGRATIONS)}); "
                "upgrade lora-harness or choose another folder with --store DIR"
            )
        if version >= len(MIGRATIONS):
            return
