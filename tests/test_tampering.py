"""Edited rows of the store do not count, and those whose digest was made anew are found by looking again."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from harness.commands.cli import main
from harness.config.suite import load_suite
from harness.core.values import Outcome, Request, Sample, Score
from harness.engine.rescoring import contradictions, rescore
from harness.store import Store, cache
from harness.store.recheck import RecomputingStore, difference
from harness.store.rows import COLUMNS, row_digest
from harness.store.schema import MIGRATIONS
from tests.painter import Brightness
from tests.test_plugin_hooks import Project

pytest_plugins = ["pytester"]
TOLD = "was edited since it was written"


def edit(store: Path, table: str, column: str, old: str, new: str, anew: bool = False) -> int:
    """Replace a text in a column of all rows; with `anew` their digests are made to fit. How many rows changed."""
    names = COLUMNS[table]
    with closing(sqlite3.connect(store / "records.sqlite")) as records, records:
        rows = records.execute(f"SELECT rowid, {', '.join(names)} FROM {table}").fetchall()
        changed = [row for row in rows if old in str(row[1 + names.index(column)])]
        for rowid, *values in changed:
            values[names.index(column)] = values[names.index(column)].replace(old, new)
            records.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (values[names.index(column)], rowid))
            if anew:
                digest = row_digest(table, *values)
                records.execute(f"UPDATE {table} SET digest = ? WHERE rowid = ?", (digest, rowid))
    return len(changed)


@pytest.fixture
def red(project: Project) -> Project:
    """A suite that was run, and is red."""
    project.suite()
    project.level(0.4)
    assert project.run().ret == 1
    return project


@pytest.fixture
def store(red: Project) -> Path:
    return red.folder / ".harness"


def test_edited_scores_do_not_count_and_are_told(red: Project, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert edit(store, "scores", "record", '"value":0.4', '"value":0.9')

    run = red.run()

    assert run.ret == 1, "the pictures are what they were"
    assert any(TOLD in words for words in red.results["run"]["warnings"])
    monkeypatch.chdir(red.folder)
    assert main(["cache", "verify"]) == 0, "the run has made them again"


def test_verify_tells_edited_rows_and_mends_them(
    red: Project, store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(red.folder)
    count = edit(store, "scores", "record", '"value":0.4', '"value":0.9')
    capsys.readouterr()

    assert main(["cache", "verify"]) == 1
    assert f"{count} edited" in capsys.readouterr().out
    assert main(["cache", "verify", "--mend"]) == 0
    assert main(["cache", "verify"]) == 0
    drawn = len(red.drawn)
    assert red.run().ret == 1 and len(red.drawn) == drawn, "scored again, not drawn again"


@pytest.mark.parametrize("digest", ["NULL", "''", "0", "'" + "0" * 64 + "'"])
def test_a_row_without_its_digest_was_edited(red: Project, store: Path, digest: str) -> None:
    with closing(sqlite3.connect(store / "records.sqlite")) as records, records:
        records.execute(f"UPDATE scores SET digest = {digest}")

    assert len(cache.verify(store).edited) > 0
    assert red.run().ret == 1 and TOLD in red.results["run"]["warnings"][0]


def test_a_record_that_names_a_better_picture_does_not_count(red: Project, store: Path) -> None:
    with Store(store) as kept:
        good = kept.put_image(b"a better one")
    with closing(sqlite3.connect(store / "records.sqlite")) as records, records:
        records.execute("UPDATE samples SET image = ?, record = replace(record, image, ?)", (good, good))

    drawn = len(red.drawn)
    assert red.run().ret == 1 and len(red.drawn) > drawn, "drawn again"


# --- edits whose digest was made anew ------------------------------------------------------------------------------


def test_scores_with_a_new_digest_are_found_by_scoring_again(red: Project, store: Path) -> None:
    suite = load_suite(red.folder / "suites" / "painted.yaml")
    with Store(store) as kept:
        whole = rescore(kept, [suite], lambda suite, twin: Brightness(), 1.0)
    assert whole.rows == whole.known > 0 and not whole.unknown and whole.differences == ()

    count = edit(store, "scores", "record", '"value":0.4', '"value":0.9', anew=True)

    assert cache.verify(store).sound and red.run().ret == 0, "nothing else can tell"
    with Store(store) as kept:
        told = rescore(kept, [suite], lambda suite, twin: Brightness(), 1.0)
        few = rescore(kept, [suite], lambda suite, twin: Brightness(), 0.05)
    assert len(told.differences) == count and "says 0.9" in told.differences[0]
    assert few.rows == 1
    assert red.run("--fresh").ret == 1, "what is drawn and scored anew proves it"


def test_what_another_scorer_found_is_counted_and_not_judged(red: Project, store: Path) -> None:
    suite = load_suite(red.folder / "suites" / "painted.yaml")
    with Store(store) as kept:
        found = rescore(kept, [suite], lambda suite, twin: Brightness("brightness/2"), 1.0)

    assert found.rows == found.known == 0 and found.unknown > 0 and not found.differences


def test_a_swapped_picture_with_a_new_digest_contradicts_the_journals(red: Project, store: Path) -> None:
    with Store(store) as kept:
        assert contradictions(store, kept) == []
        good = kept.put_image(b"a better one")
    with closing(sqlite3.connect(store / "records.sqlite")) as records:
        (image,) = records.execute("SELECT image FROM samples").fetchone()
    edit(store, "samples", "image", image, good, anew=True)

    with Store(store) as kept:
        told, *_ = contradictions(store, kept)
    assert f"says picture {good[:16]}, the journals say {image[:16]}" in told


def test_what_scores_rest_on_is_computed_again_too(tmp_path: Path) -> None:
    with Store(tmp_path) as kept:
        kept.put_memo("calibration", "a", {"zero": 0.31, "names": ["x"]})
        kept.put_array("embedding", "b", np.ones(3))
        kept.put_many_scores([("c" * 64, "s", {"clip": Score("clip", 0.5)})])
        twin = RecomputingStore(kept, keep=False)
        assert twin.memo("calibration", "a") is None and twin.array("embedding", "b") is None
        assert twin.scores("c" * 64, "s") is None
        twin.put_memo("calibration", "a", {"zero": 0.314, "names": ["x"]})
        twin.put_array("embedding", "b", np.ones(3) * 1.004)
        twin.put_many_scores([("c" * 64, "s", {"clip": Score("clip", 0.504)})])
        assert twin.differences == [], "two machines differ by as much"
        twin.put_memo("calibration", "a", {"zero": 0.32, "names": ["x"]})
        twin.put_array("embedding", "b", np.ones(3) * 1.006)
        twin.put_many_scores([("c" * 64, "s", {"clip": Score("clip", None, reason="blind")})])
        assert [words.partition(":")[0] for words in twin.differences] == [
            "arrays embedding b",
            "memos calibration a",
            f"scores {'c' * 16} s",
        ]
        assert kept.memo("calibration", "a") == {"zero": 0.31, "names": ["x"]}, "the store stays as it was"


@pytest.mark.parametrize("share", ["0", "0%", "101%", "five", "-1%", "nan"])
def test_a_share_is_a_part(
    red: Project, monkeypatch: pytest.MonkeyPatch, share: str, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(red.folder)

    assert main(["cache", "verify", f"--rescore={share}"]) == 2
    assert "a share of the scores" in capsys.readouterr().err


# --- stores of the version before ----------------------------------------------------------------------------------


def test_rows_of_the_version_before_are_believed_once(tmp_path: Path) -> None:
    request = Request("local/1", "base", "a person", 0, 16, 16)
    (tmp_path / "images").mkdir()
    with closing(sqlite3.connect(tmp_path / "records.sqlite")) as records, records:
        records.executescript(MIGRATIONS[0])
        records.execute("PRAGMA user_version = 1")
        records.execute("INSERT INTO memos VALUES ('a', 'b', '[1]', 0.0)")
        record = json.dumps({"clip": {"metric": "clip", "value": 0.5}})
        records.execute("INSERT INTO scores VALUES (?, 's', ?, 0.0)", ("c" * 64, record))
    assert cache.verify(tmp_path).edited == ()

    with Store(tmp_path) as kept:
        assert kept.memo("a", "b") == [1] and kept.scores("c" * 64, "s") == {"clip": Score("clip", 0.5)}
        sha = kept.put_image(b"picture")
        kept.put_sample(request, Sample(request.key, 0, Outcome.OK, sha))
    edit(tmp_path, "memos", "value", "1", "2")
    with Store(tmp_path) as kept:
        assert kept.memo("a", "b") is None and TOLD in kept.notices[0]
        assert kept.samples([request.key])


@pytest.mark.parametrize(
    ("said", "found", "words"),
    [
        ("smiling", "sad", "it says 'smiling', found 'sad'"),
        ("smiling", "smiling", ""),
        (True, False, "it says True, found False"),
        (None, 0.5, "it says None, found 0.5"),
        (0.9, 0.9049, ""),  # two machines
        (0.9, 0.9051, "it says 0.9, found 0.9051"),
        ([1.0, 2.0], [1.0], "it says [1.0, 2.0], found [1.0]"),
        ({"a": [{"b": "x"}]}, {"a": [{"b": "y"}]}, "a[0].b says 'x', found 'y'"),
        ({"a": 1.0, "b": 1.0}, {"a": 1.0}, "b says 1.0, found None"),
    ],
)
def test_the_first_difference_is_told_and_none_where_there_is_none(said: object, found: object, words: str) -> None:
    assert difference(said, found) == words
