from __future__ import annotations

import errno
import json
import os
import re
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.core.errors import StoreError
from harness.core.values import Outcome, Request, Sample, Score
from harness.store import Store, image_path
from harness.store.schema import MIGRATIONS

REQUEST = Request("local/1", "base", "a person", 0, 16, 16, extra={"tiles": [1, 2]})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store") as opened:
        yield opened


def put(store: Store, request: Request = REQUEST, data: bytes = b"picture") -> Sample:
    sample = Sample(request.key, request.seed, Outcome.OK, store.put_image(data), meta={"truncated": "hat"})
    store.put_sample(request, sample)
    return sample


def test_a_sample_is_found_again_by_its_request_in_another_process_too(store: Store) -> None:
    sample = put(store)
    store.close()

    with Store(store.folder) as again:
        assert again.samples([REQUEST.key, replace(REQUEST, seed=1).key]) == {REQUEST.key: replace(sample, cached=True)}
        assert again.image(sample.image or "") == b"picture"


def test_a_sample_keeps_everything_that_decided_its_pixels(store: Store) -> None:
    put(store)
    store.close()

    ((text,),) = sqlite3.connect(store.folder / "records.sqlite").execute("SELECT recipe FROM samples").fetchall()

    assert json.loads(text)["prompt"] == "a person"


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1}, {"lora": "ab"}, {"strength": 0.5}, {"dtype": "bfloat16"}, {"libraries": "torch 9"}, {"batch": 8},
        {"model": "c" * 64}, {"adapter": "local/2"}, {"steps": 3}, {"negative": "blur"}, {"index": 1},
        {"extra": {"tiles": [2, 1]}}, {"width": 32}, {"guidance": 2.0}, {"scheduler": "ddim"}, {"height": 32},
        {"prompt": "another"},
    ],
)  # fmt: skip
def test_whatever_decides_the_pixels_decides_the_key(change: dict[str, object]) -> None:
    assert replace(REQUEST, **change).key != REQUEST.key  # type: ignore[arg-type]
    assert replace(REQUEST, extra=dict(REQUEST.extra)).key == REQUEST.key


@pytest.mark.parametrize("outcome", [each for each in Outcome if each is not Outcome.OK])
def test_failures_are_never_remembered(store: Store, outcome: Outcome) -> None:
    store.put_sample(REQUEST, Sample(REQUEST.key, 0, outcome, message="no"))

    assert store.samples([REQUEST.key]) == {}


def test_a_tampered_picture_is_refused_and_counts_as_absent(store: Store) -> None:
    sample = put(store)
    store.image_path(sample.image or "").write_bytes(b"something else")

    assert store.samples([REQUEST.key]) == {}
    assert "damaged or tampered" in store.notices[0]
    with pytest.raises(StoreError, match="damaged or tampered"):
        store.image(sample.image or "")


def test_putting_a_damaged_picture_again_mends_it(store: Store) -> None:
    sample = put(store)
    store.image_path(sample.image or "").write_bytes(b"pict")

    assert put(store).image == sample.image
    assert store.image(sample.image or "") == b"picture"


def test_a_lost_picture_counts_as_absent(store: Store) -> None:
    sample = put(store)
    store.image_path(sample.image or "").unlink()

    assert store.samples([REQUEST.key]) == {}
    assert "cannot be read" in store.notices[0]


def test_two_stores_never_mix(store: Store, tmp_path: Path) -> None:
    put(store)

    with Store(tmp_path / "other") as other:
        assert other.samples([REQUEST.key]) == {}
        assert other.folder != store.folder


def test_pictures_lie_where_they_are_said_to(store: Store) -> None:
    sample = put(store)

    path = image_path(store.folder, sample.image or "")
    assert path == store.image_path(sample.image or "")
    assert path.read_bytes() == b"picture"
    assert not list(store.folder.rglob("*.part"))


def test_scores_are_kept_by_picture_and_scorer(store: Store) -> None:
    found = {
        "clip": Score("clip", 0.5, 0.7, details={"traits": {"hair": 0.2}}),
        "ssim": Score("ssim", None, reason="no"),
    }
    store.put_many_scores([("a" * 64, "scorer/1", found)])

    assert store.scores("a" * 64, "scorer/1") == found
    assert store.scores("a" * 64, "scorer/2") is None


def test_what_a_sample_scored_and_whether_it_was_cached_is_not_kept_with_it(store: Store) -> None:
    image = store.put_image(b"picture")
    scored = {"clip": Score("clip", 0.5)}
    store.put_sample(REQUEST, Sample(REQUEST.key, 0, Outcome.OK, image, cached=True, scores=scored))
    ((record,),) = store._query("SELECT record FROM samples", [])

    found = store.samples([REQUEST.key]).get(REQUEST.key)

    assert found and found.cached and found.scores == {} and not json.loads(record)["cached"]


def test_a_picture_that_came_without_bytes_is_not_remembered(store: Store) -> None:
    store.put_sample(REQUEST, Sample(REQUEST.key, 0, Outcome.OK))

    assert store.samples([REQUEST.key]) == {} and store._query("SELECT * FROM samples", []) == []


def test_more_samples_than_one_question_holds_are_found(store: Store) -> None:
    requests = [replace(REQUEST, seed=seed) for seed in (0, 499, 500, 1000)]
    for request in requests:
        put(store, request, str(request.seed).encode())
    asked = [replace(REQUEST, seed=seed).key for seed in range(1001)]

    assert store.samples(asked).keys() == {request.key for request in requests}
    assert store.samples([]) == {}


def test_the_same_bytes_are_written_once(store: Store) -> None:
    path = store.image_path(store.put_image(b"picture"))
    os.utime(path, (1, 1))

    store.put_image(b"picture")

    assert path.stat().st_mtime == 1


def test_reading_a_sample_marks_its_picture_as_used(store: Store) -> None:
    path = store.image_path(put(store).image or "")
    os.utime(path, (1, 1))

    assert store.image(path.stem) and path.stat().st_mtime == 1
    assert store.samples([REQUEST.key]) and path.stat().st_mtime > 1


def test_what_is_made_of_a_picture_is_made_once_and_again_when_it_is_gone(store: Store) -> None:
    sha, made = store.put_image(b"picture"), []

    def small(data: bytes) -> bytes:
        made.append(data)
        return data[:3]

    assert [store.derived("thumbs", "webp", sha, small) for _ in range(2)] == [b"pic"] * 2
    assert made == [b"picture"] and not list(store.folder.rglob("*.part"))
    (path,) = (store.folder / "thumbs").rglob("*.webp")
    assert path.name == f"{sha}.webp" and path.parent.name == sha[:2]
    path.unlink()
    assert store.derived("thumbs", "webp", sha, small) == b"pic" and len(made) == 2
    with pytest.raises(StoreError, match="cannot be read"):
        store.derived("thumbs", "webp", "0" * 64, small)


def test_scores_are_written_all_or_none(store: Store) -> None:
    good, sick = {"clip": Score("clip", 0.5)}, {"clip": Score("clip", float("nan"))}

    with pytest.raises(ValueError, match="JSON"):
        store.put_many_scores([("a" * 64, "s", good), ("b" * 64, "s", sick)])
    with pytest.raises(StoreError):
        store.put_many_scores([("a" * 64, "s", good), (object(), "s", good)])  # type: ignore[list-item]
    assert store.scores("a" * 64, "s") is None

    store.put_many_scores([("a" * 64, "s", good), ("b" * 64, "s", good)])
    store.put_many_scores([("a" * 64, "s", {"clip": Score("clip", 0.7)})])
    assert store.scores("a" * 64, "s") == {"clip": Score("clip", 0.7)} and store.scores("b" * 64, "s") == good


def test_the_last_memo_and_the_last_array_count(store: Store) -> None:
    for value in (1, 2):
        store.put_memo("traits", "k", {"n": value})
        store.put_array("embeddings", "k", np.full(2, value))

    assert store.memo("traits", "k") == {"n": 2} and list(store.array("embeddings", "k")) == [2, 2]  # type: ignore[arg-type]
    assert store.array("other", "k") is None and store.array("embeddings", "other") is None and not store.notices


def test_memos_and_arrays_come_back_as_they_were(store: Store) -> None:
    store.put_memo("traits", "k", {"hair": ["black", 1]})
    store.put_array("embeddings", "k", np.arange(6, dtype=np.float32).reshape(2, 3))

    assert store.memo("traits", "k") == {"hair": ["black", 1]}
    assert store.memo("other", "k") is None
    np.testing.assert_array_equal(store.array("embeddings", "k"), [[0, 1, 2], [3, 4, 5]])


def test_nothing_pickled_goes_in_or_out(store: Store) -> None:
    with pytest.raises(ValueError, match="allow_pickle"):
        store.put_array("embeddings", "k", np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match="JSON"):
        store.put_memo("traits", "k", float("nan"))


def test_a_poisoned_array_counts_as_absent(store: Store) -> None:
    store.put_array("embeddings", "k", np.zeros(3))
    (file,) = (store.folder / "arrays").rglob("*.npy")
    file.write_bytes(b"\x80\x04pickle")

    assert store.array("embeddings", "k") is None
    assert "computed again" in store.notices[0]


def test_records_of_a_newer_version_are_refused(store: Store) -> None:
    store.close()
    with sqlite3.connect(store.folder / "records.sqlite") as records:
        records.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    records.close()

    with pytest.raises(StoreError, match=r"newer version.*--store DIR"):
        Store(store.folder)


def test_records_that_are_no_database_are_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "records.sqlite").write_bytes(b"not a database, by any means" * 100)

    with pytest.raises(StoreError, match="move it away"):
        Store(tmp_path)


def test_a_folder_that_cannot_be_made_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(StoreError, match="--store DIR"):
        Store(tmp_path / "file" / "store")


def test_a_closed_store_has_no_user_and_closing_twice_is_fine(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    assert len(list((store.folder / "users").glob("*-*"))) == 1

    store.close()
    store.close()

    assert not list((store.folder / "users").glob("*-*"))
    with pytest.raises(StoreError):
        store.memo("a", "b")


def test_a_store_that_could_not_be_opened_has_no_user_either(store: Store) -> None:
    store.close()
    with sqlite3.connect(store.folder / "records.sqlite") as records:
        records.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    records.close()

    with pytest.raises(StoreError, match=rf"records {len(MIGRATIONS) + 1}, known {len(MIGRATIONS)}"):
        Store(store.folder)
    assert not list((store.folder / "users").glob("*-*"))


def test_a_crash_loses_nothing_that_was_written(store: Store) -> None:
    """Written ahead and flushed at each commit, so that a paid picture outlives a power cut."""
    ((mode,),) = store._query("PRAGMA journal_mode", [])
    ((level,),) = store._query("PRAGMA synchronous", [])

    assert (mode, level) == ("wal", 2)


def test_old_records_are_brought_forward_step_by_step(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store)
    store.close()
    more = (*MIGRATIONS, "CREATE TABLE votes (who TEXT);\n\nCREATE TABLE seats (place TEXT);\n", "DROP TABLE seats")
    monkeypatch.setattr("harness.store.schema.MIGRATIONS", more)

    with Store(store.folder) as newer:
        assert newer.samples([REQUEST.key]) and newer._query("SELECT * FROM votes", []) == []
        assert newer._query("PRAGMA user_version", []) == [(len(MIGRATIONS) + 2,)]
        with pytest.raises(StoreError, match="no such table: seats"):
            newer._query("SELECT * FROM seats", [])


def test_a_step_that_fails_half_way_leaves_no_trace(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store)
    store.close()
    with monkeypatch.context() as patched:
        patched.setattr("harness.store.schema.MIGRATIONS", (*MIGRATIONS, "CREATE TABLE a (b TEXT);\nNO SQL"))
        with pytest.raises(StoreError, match="syntax error"):
            Store(store.folder)

    with Store(store.folder) as again:
        assert again.samples([REQUEST.key]) and again._query("PRAGMA user_version", []) == [(len(MIGRATIONS),)]
        with pytest.raises(StoreError, match="no such table: a"):
            again._query("SELECT * FROM a", [])


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device; free some space, or use --store"),
        (OSError(errno.EACCES, "Permission denied"), "Permission denied; make it writable, or use --store DIR"),
        (OSError("odd"), "odd; make it writable"),
        (sqlite3.OperationalError("database or disk is full"), "is full; free some space, or use --store DIR"),
        (sqlite3.OperationalError("database is locked"), "is locked; close other programs that use it"),
        (sqlite3.DatabaseError("malformed"), "records.sqlite: malformed; move it away, or use --store DIR"),
    ],
)
def test_what_the_system_says_becomes_a_remedy(store: Store, error: Exception, remedy: str) -> None:
    with pytest.raises(StoreError, match=re.escape(remedy)), store._translated():
        raise error


def test_many_threads_share_a_store(store: Store) -> None:
    requests = [replace(REQUEST, seed=seed) for seed in range(40)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda request: put(store, request, str(request.seed).encode()), requests))

    assert len(store.samples([request.key for request in requests])) == 40


@pytest.mark.parametrize("rest", ['{"event": "tw', "\0\0\0"], ids=["half a line", "what a power cut leaves"])
def test_a_journal_survives_a_line_that_was_cut_off(store: Store, rest: str) -> None:
    journal = store.journal("run")
    journal.append({"event": "one"})
    with journal.path.open("a") as stream:
        stream.write(rest)
    journal.append({"event": "three"})

    assert [event["event"] for event in journal.events()] == ["one", "three"]
    assert json.loads(journal.path.read_text().splitlines()[0])["at"] > 0
    assert [path.name for path in (store.folder / "journal").iterdir()] == ["run.jsonl"]


def test_a_journal_holds_records_one_a_line_and_is_empty_before_its_first(store: Store) -> None:
    journal = store.journal("run")
    assert list(journal.events()) == []

    journal.append({"event": "қадам", "at": 5})
    journal.append({"event": "two"})
    with journal.path.open("a") as stream:
        stream.write('[1, 2]\n"text"\n\n')
    journal.append({"event": "three"})

    assert journal.path == store.folder / "journal" / "run.jsonl"
    assert [event["event"] for event in journal.events()] == ["қадам", "two", "three"]
    assert next(iter(journal.events()))["at"] == 5 and "қадам" in journal.path.read_text(encoding="utf-8")
    assert len(journal.path.read_text(encoding="utf-8").splitlines()) == 6
    with pytest.raises(ValueError, match="JSON"):
        journal.append({"score": float("nan")})


def test_a_journal_that_cannot_be_written_says_so(store: Store) -> None:
    journal = store.journal("run")
    journal.path.mkdir()

    with pytest.raises(StoreError, match=r"run.jsonl: cannot be written .*free some space or use --store DIR"):
        journal.append({"event": "one"})


def test_the_lock_is_free_after_an_error_and_for_the_silent(store: Store) -> None:
    with pytest.raises(RuntimeError), store.lock():
        raise RuntimeError
    told: list[str] = []
    with store.lock(told.append):
        assert told == []


def test_the_lock_is_held_by_one_and_the_other_is_told(store: Store) -> None:
    told: list[str] = []
    entered = threading.Event()

    def wait_for_it() -> None:
        with Store(store.folder) as other, other.lock(told.append):
            entered.set()

    with store.lock():
        waiter = threading.Thread(target=wait_for_it)
        waiter.start()
        assert not entered.wait(0.8)
    assert entered.wait(5)
    waiter.join()
    assert len(told) == 1
    assert "another run" in told[0]


def test_a_killed_holder_frees_the_lock(store: Store) -> None:
    code = (
        "import sys, time; from pathlib import Path; from harness.store import Store\n"
        f"with Store(Path({str(store.folder)!r})).lock(): print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    with holder:
        assert holder.stdout and holder.stdout.readline().strip() == "held"
        holder.kill()

    with store.lock():
        pass


def test_waiting_for_the_lock_can_be_cancelled(store: Store) -> None:
    with store.lock(), Store(store.folder) as other:
        lock = other.lock(cancelled=lambda: True)

        with pytest.raises(StoreError, match="cancelled"):
            lock.__enter__()


def test_opening_a_store_imports_nothing_heavy(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from harness.store import Store\n"
    code += f"Store(Path({str(tmp_path)!r})).close(); print([n for n in ('torch', 'numpy', 'PIL') if n in sys.modules])"

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert result.stdout.strip() == "[]"
