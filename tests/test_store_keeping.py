"""Keeping a store small and sound, rule by rule: what counts, what is stale, what is whole, who has it open."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.core.errors import StoreError
from harness.core.values import Outcome, Request, Sample, Score
from harness.store import Store
from harness.store.cache import (
    LARGEST,
    STALE_S,
    Health,
    collect,
    forget,
    kinds,
    mend,
    pictures,
    pins,
    plan_gc,
    read_age,
    read_size,
    size_text,
    verify,
)
from harness.store.users import alone, join

NOW = 2_000_000_000.0
REQUEST = Request("local/1", "base", "a person", 0, 16, 16)


def put(store: Store, seed: int, age: float = 0.0, size: int = 1000, thumb: int = 0) -> str:
    """A picture with its record, last used `age` seconds before NOW."""
    request = replace(REQUEST, seed=seed)
    sha = store.put_image(bytes([seed]) * size)
    store.put_sample(request, Sample(request.key, seed, Outcome.OK, sha))
    store.put_many_scores([(sha, "scorer", {"clip": Score("clip", 0.5)})])
    if thumb:
        store.derived("thumbs", "webp", sha, lambda data: data[:thumb])
    os.utime(store.image_path(sha), (NOW - age, NOW - age))
    store._execute("UPDATE samples SET created = ? WHERE image = ?", (NOW - age, sha))
    return sha


def write(path: Path, size: int = 10, age: float = 0.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    os.utime(path, (NOW - age, NOW - age))
    return path


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., Path]:
    """A closed store with a picture for each age."""

    def make(*ages: float, **keys: int) -> Path:
        with Store(tmp_path / "store") as store:
            for seed, age in enumerate(ages):
                put(store, seed, age, **keys)
        return tmp_path / "store"

    return make


def shas(store: Path) -> list[str]:
    """By seed: the first byte of a picture is its seed."""
    found = {picture.path.read_bytes()[0]: picture.sha for picture in pictures(store)}
    return [found[seed] for seed in sorted(found)]


# --- what it holds ----------------------------------------------------------------------------------------------------


def test_kinds_count_files_bytes_and_ages_and_leave_empty_ones_out(made: Callable[..., Path]) -> None:
    store = made(300, 100)
    write(store / "loras" / "a.safetensors", 77)
    write(store / "strange.txt", 5, age=9)

    found = {kind.name: kind for kind in kinds(store)}

    assert list(found) == ["images", "loras", "records", "other"]
    assert (found["images"].files, found["images"].bytes) == (2, 2000)
    assert (found["images"].oldest, found["images"].newest) == (NOW - 300, NOW - 100)
    assert found["loras"].bytes == 77 and found["records"].bytes > 1000
    assert (found["other"].files, found["other"].bytes, found["other"].oldest) == (1, 5, NOW - 9)


def test_neither_users_nor_shared_memory_are_of_the_store(made: Callable[..., Path]) -> None:
    with Store(made(0)) as store:
        assert (store.folder / "records.sqlite-shm").exists() and list((store.folder / "users").iterdir())
        found = {kind.name: kind for kind in kinds(store.folder)}

    assert found.keys() == {"images", "records"} and found["records"].files == 2, "the records and their log"


def test_what_is_of_no_kind_counts_wherever_the_store_lies(tmp_path: Path) -> None:
    folder = tmp_path / "users" / "me" / "store"
    with Store(folder):
        write(folder / "strange.txt", 5)
        (other,) = [kind for kind in kinds(folder) if kind.name == "other"]

    assert (other.files, other.bytes) == (1, 5)


def test_pictures_come_by_their_last_use_be_it_of_the_file_or_of_the_record(made: Callable[..., Path]) -> None:
    store = made(300, 200, 100)
    first, second, third = shas(store)
    os.utime(store / "images" / first[:2] / f"{first}.png", (NOW - 900, NOW - 900))
    with sqlite3.connect(store / "records.sqlite") as records:
        records.execute("UPDATE samples SET created = ? WHERE image = ?", (NOW - 900, third))
        records.execute("UPDATE samples SET created = ? WHERE image = ?", (NOW - 50, second))
    records.close()

    assert [(picture.sha, NOW - picture.used) for picture in pictures(store)] == [
        (first, 300),
        (third, 100),
        (second, 50),
    ]


def test_a_picture_counts_with_its_small_versions_and_strange_files_are_none(made: Callable[..., Path]) -> None:
    store = made(0, 0, thumb=30)
    sha = shas(store)[0]
    write(store / "thumbs" / sha[:2] / f"{sha}.big.webp", 7)
    write(store / "images" / "ab" / "abc.png")
    write(store / "thumbs" / "ab" / f"{'ab' * 32}.webp")

    found = {picture.sha: picture for picture in pictures(store)}

    assert found.keys() == set(shas(store)) and found[sha].bytes == 1037 and len(found[sha].beside) == 2
    assert found[shas(store)[1]].bytes == 1030


# --- pins -------------------------------------------------------------------------------------------------------------


def test_every_json_file_of_suites_references_and_reviews_pins(tmp_path: Path) -> None:
    shas = {name: letter * 64 for name, letter in zip(("suites", "references", "reviews", "src"), "abcd", strict=True)}
    for name, sha in shas.items():
        write(tmp_path / name / "deep" / "deeper" / "a.json").write_text(json.dumps([sha]))
    write(tmp_path / "store" / "review" / "x.votes.jsonl").write_text(json.dumps({"image": "e" * 64}) + "\n")
    write(tmp_path / "store" / "journal" / "run.jsonl").write_text(json.dumps({"image": "f" * 64}))
    write(tmp_path / "suites" / "notes.txt").write_text("9" * 64)
    given = write(tmp_path / "mine.json")
    given.write_text(f"{'8' * 64} {'A' * 64} {'a' * 64}")

    found = pins(tmp_path, tmp_path / "store", [given])

    assert found.keys() == {letter * 64 for letter in "abce8"}
    assert found["a" * 64].endswith("suites/deep/deeper/a.json"), "who names it first"
    assert pins(tmp_path, tmp_path / "store").keys() == found.keys() - {"8" * 64}


def test_a_file_that_cannot_be_read_pins_nothing_silently(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"none.json: cannot be read .*so its pictures cannot be kept"):
        pins(tmp_path, tmp_path / "store", [tmp_path / "none.json"])


@pytest.mark.parametrize(("size", "pinned"), [(100, 1), (101, 0)])
def test_a_file_too_large_to_be_a_record_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, pinned: int
) -> None:
    assert LARGEST == 512 * 2**20
    monkeypatch.setattr("harness.store.cache.LARGEST", 100)
    write(tmp_path / "suites" / "large.json").write_text("a" * 64 + " " * (size - 64))

    assert len(pins(tmp_path, tmp_path)) == pinned


# --- is it whole? -----------------------------------------------------------------------------------------------------


def test_verify_hashes_arrays_and_names_halves_damage_and_orphans_by_their_paths(made: Callable[..., Path]) -> None:
    store = made(0, 0)
    with Store(store) as opened:
        opened.put_array("embedding", "a", np.ones(3))
        lone = opened.put_image(b"nobody's")
    (array,) = (store / "arrays").rglob("*.npy")
    array.write_bytes(b"other")
    for name in (f"images/ab/{'ab' * 32}.png.1.2.part", "images/ab/abc.png", f"arrays/ab/{'ab' * 32}.txt"):
        write(store / name)

    found = verify(store)

    assert found.files == 4 and found.lost == () and found.records == "ok" and not found.sound
    assert found.damaged == (array.relative_to(store).as_posix(),)
    assert found.orphans == (f"images/{lone[:2]}/{lone}.png",)
    assert set(found.halves) == {
        f"images/ab/{'ab' * 32}.png.1.2.part",
        "images/ab/abc.png",
        f"arrays/ab/{'ab' * 32}.txt",
    }


@pytest.mark.parametrize(
    ("health", "sound"),
    [
        (Health(1), True),
        (Health(1, orphans=("a",), halves=("b",)), True),
        (Health(1, damaged=("a",)), False),
        (Health(1, lost=("a",)), False),
        (Health(1, records="row 3 missing from index"), False),
    ],
)
def test_only_what_is_wrong_is_unsound(health: Health, sound: bool) -> None:
    assert health.sound is sound


def test_where_nobody_can_say_what_the_records_name_nothing_is_an_orphan(made: Callable[..., Path]) -> None:
    store = made(0)
    (store / "records.sqlite").write_bytes(b"no database" * 500)
    broken = verify(store)
    for path in store.glob("records.sqlite*"):
        path.unlink()
    without = verify(store)

    assert broken.orphans == broken.damaged == () and "`harness cache verify`" in broken.records and broken.files == 1
    assert len(without.orphans) == 1 and without.records == "ok"


def test_mend_forgets_damage_losses_and_halves_and_counts_them(made: Callable[..., Path]) -> None:
    store = made(0, 0, 0)
    damaged, lost, whole = shas(store)
    half = write(store / "images" / "ab" / "abc.png.1.2.part")
    (store / "images" / damaged[:2] / f"{damaged}.png").write_bytes(b"other")
    (store / "images" / lost[:2] / f"{lost}.png").unlink()

    assert mend(store, verify(store)) == 3

    assert not half.exists() and shas(store) == [whole] and verify(store).sound
    with Store(store) as opened:
        assert [opened.scores(sha, "scorer") is not None for sha in (damaged, lost, whole)] == [False, False, True]


def test_nothing_is_mended_under_somebodys_feet(made: Callable[..., Path]) -> None:
    store = made(0)
    (store / "images" / shas(store)[0][:2] / f"{shas(store)[0]}.png").write_bytes(b"other")
    health = verify(store)

    with Store(store), pytest.raises(StoreError, match="in use by process"):
        mend(store, health)
    assert verify(store).damaged == health.damaged


# --- what may go ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("older", "gone"), [(99.0, 2), (100.0, 1), (199.0, 1), (200.0, 0), (None, 0)])
def test_what_was_used_longer_ago_goes_and_what_is_just_as_old_stays(
    made: Callable[..., Path], older: float | None, gone: int
) -> None:
    store = made(200, 100, 0)

    plan = plan_gc(store, {}, max_bytes=None, older_s=older, now=NOW)

    assert [picture.sha for picture in plan.pictures] == shas(store)[:gone] and plan.freed == 1000 * gone


@pytest.mark.parametrize(("spare", "gone"), [(0, 0), (1, 1), (1000, 1), (1001, 2), (10**9, 3)])
def test_no_more_goes_than_the_size_asks_for(made: Callable[..., Path], spare: int, gone: int) -> None:
    store = made(300, 200, 100)
    total = sum(kind.bytes for kind in kinds(store))

    plan = plan_gc(store, {}, max_bytes=max(0, total - spare), older_s=None, now=NOW)

    assert [picture.sha for picture in plan.pictures] == shas(store)[:gone]
    assert (plan.total, plan.freed, plan.pinned) == (total, 1000 * gone, 0)


def test_age_and_size_together_take_each_picture_once(made: Callable[..., Path]) -> None:
    store = made(300, 200, 100, 0)
    total = sum(kind.bytes for kind in kinds(store))

    plan = plan_gc(store, {}, max_bytes=total - 2500, older_s=250, now=NOW)

    assert [picture.sha for picture in plan.pictures] == shas(store)[:3] and plan.freed == 3000
    assert len(plan_gc(store, {}, max_bytes=total - 500, older_s=150, now=NOW).pictures) == 2, "age alone is enough"


def test_pinned_pictures_stay_and_others_go_in_their_place(made: Callable[..., Path]) -> None:
    store = made(300, 200, 100)
    first, second, _ = shas(store)
    total = sum(kind.bytes for kind in kinds(store))

    plan = plan_gc(store, {first: "baseline", "0" * 64: "gone"}, max_bytes=total - 1, older_s=None, now=NOW)

    assert [picture.sha for picture in plan.pictures] == [second] and plan.pinned == 1


@pytest.mark.parametrize(("age", "stale"), [(STALE_S, False), (STALE_S + 1, True)])
def test_a_half_written_file_and_a_lone_array_go_after_an_hour(
    made: Callable[..., Path], age: float, stale: bool
) -> None:
    store = made(0)
    with Store(store) as opened:
        opened.put_array("embedding", "a", np.ones(3))
    (named,) = (store / "arrays").rglob("*.npy")
    os.utime(named, (0, 0))
    half = [f"{folder}/ab/{'ab' * 32}.{end}.1.2.part" for folder, end in (("images", "png"), ("thumbs", "webp"))]
    left = [write(store / name, age=age) for name in (*half, f"arrays/ab/{'ab' * 32}.npy")]
    write(store / "arrays" / "ab" / "readme.npy", age=age)
    write(store / "images" / "ab" / f"{'cd' * 32}.jpg", age=age)
    write(store / "loras" / "a.part", age=age)

    plan = plan_gc(store, {}, max_bytes=None, older_s=None, now=NOW)

    assert set(plan.files) == (set(left) if stale else set()) and plan.freed == (30 if stale else 0)
    assert plan.pictures == ()


def test_a_half_written_small_version_is_counted_once(made: Callable[..., Path]) -> None:
    store = made(9, thumb=30)
    (sha,) = shas(store)
    write(store / "thumbs" / sha[:2] / f"{sha}.webp.1.2.part", 500, age=STALE_S + 1)

    plan = plan_gc(store, {}, max_bytes=0, older_s=None, now=NOW)

    assert plan.freed == 1000 + 30 + 500
    collect(store, plan)
    assert list((store / "thumbs").rglob("*")) == []


def test_collecting_takes_pictures_records_scores_and_empty_folders_and_no_journal(made: Callable[..., Path]) -> None:
    store = made(300, 0, thumb=30)
    gone, kept = shas(store)
    with Store(store) as opened:
        opened.journal("run").append({"event": "plan"})
        opened.put_array("embedding", "a", np.ones(3))

    collect(store, plan_gc(store, {}, max_bytes=None, older_s=200, now=NOW))

    assert not (store / "images" / gone[:2]).exists() and not (store / "thumbs" / gone[:2]).exists()
    assert shas(store) == [kept] and len(list((store / "thumbs").rglob("*.webp"))) == 1
    with Store(store) as opened:
        assert opened.scores(gone, "scorer") is None and opened.scores(kept, "scorer")
        keys = [replace(REQUEST, seed=seed).key for seed in (0, 1)]
        assert list(opened.samples(keys)) == keys[1:] and (store / "journal" / "run.jsonl").is_file()
        assert opened.array("embedding", "a") is not None
    assert verify(store).lost == ()


def test_collecting_in_a_store_without_records_is_fine(made: Callable[..., Path]) -> None:
    store = made(300)
    for path in store.glob("records.sqlite*"):
        path.unlink()

    collect(store, plan_gc(store, {}, max_bytes=0, older_s=None, now=NOW))

    assert pictures(store) == [] and not list(store.glob("records.sqlite*"))


def test_what_is_forgotten_gives_its_space_back(made: Callable[..., Path]) -> None:
    store = made(*range(40))
    with Store(store) as opened:
        for number in range(40):
            opened.put_many_scores([(shas(store)[number], "big", {"clip": Score("clip", 0.5, reason="x" * 5000)})])
    before = (store / "records.sqlite").stat().st_size

    forget(store, shas(store))

    assert (store / "records.sqlite").stat().st_size < before / 2
    (store / "records.sqlite").write_bytes(b"no database" * 500)
    with pytest.raises(StoreError, match=r"`harness cache verify` says more"):
        forget(store, ["0" * 64])


# --- who has it open --------------------------------------------------------------------------------------------------


def places(store: Path) -> list[str]:
    return sorted(path.name.partition("-")[0] for path in (store / "users").glob("*-*.lock"))


def test_a_place_is_taken_by_process_and_left_behind_by_nobody(tmp_path: Path) -> None:
    one, two = join(tmp_path), join(tmp_path)
    assert places(tmp_path) == [str(os.getpid())] * 2

    one.release()
    one.release()
    assert places(tmp_path) == [str(os.getpid())]
    with pytest.raises(StoreError, match=f"in use by process {os.getpid()}; wait for it, or look with --dry-run"):
        alone(tmp_path).__enter__()
    two.release()
    with alone(tmp_path):
        assert places(tmp_path) == []


def test_whoever_is_alone_is_alone_with_the_door(tmp_path: Path) -> None:
    with alone(tmp_path), pytest.raises(StoreError, match="another `harness cache` is at work"), alone(tmp_path):
        pass
    with alone(tmp_path):
        pass


@pytest.fixture
def dead(tmp_path: Path) -> Iterator[Path]:
    """A store that a killed process had open."""
    code = (
        "import os, sys; from pathlib import Path; from harness.store.users import join\n"
        f"join(Path({str(tmp_path)!r})); print('in', flush=True); sys.stdin.readline(); os._exit(9)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout and process.stdout.readline() == "in\n"
        process.kill()
    yield tmp_path


def test_a_dead_users_place_is_cleared_away(dead: Path) -> None:
    assert len(places(dead)) == 1
    with alone(dead):
        assert places(dead) == []


# --- sizes and ages ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("7", 7),
        ("7b", 7),
        ("7 KB", 7000),
        ("1.5MB", 1_500_000),
        (" 2gb ", 2 * 10**9),
        ("1_000kb", 10**6),
        ("3TB", 3 * 10**12),
    ],
)
def test_a_size_in_words(text: str, size: int) -> None:
    assert read_size(text) == size


@pytest.mark.parametrize("text", ["", "MB", "5 pb", "-1", "5MB or so", "about 5MB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no size; say 500MB or 2GB"):
        read_size(text)


@pytest.mark.parametrize(("text", "age"), [("1h", 3600), ("1.5 D", 129_600), (" 2w", 1_209_600)])
def test_an_age_in_words(text: str, age: float) -> None:
    assert read_age(text) == age


@pytest.mark.parametrize("text", ["", "5", "5m", "-1d", "1d ago", "in 1d"])
def test_what_is_no_age_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no age; say 12h, 30d or 8w"):
        read_age(text)


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 KB"), (999_999, "1000.0 KB"), (10**6, "1.0 MB"), (5 * 10**12, "5.0 TB")],
)
def test_a_size_for_people(count: int, text: str) -> None:
    assert size_text(count) == text
