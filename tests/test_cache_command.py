"""`harness cache`: what it shows, what it finds, what it removes, and what it must never remove."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.commands.cli import main
from harness.core.values import Outcome, Request, Sample, Score
from harness.store import Store
from harness.store.cache import read_age, read_size, size_text

DAY_S = 86_400
REQUEST = Request("local/1", "base", "a person", 0, 16, 16)


def put(store: Store, seed: int, days: float = 0, size: int = 1000) -> str:
    """A picture with its record, scores and small version, last used so many days ago."""
    request = replace(REQUEST, seed=seed)
    sha = store.put_image(bytes([seed]) * size)
    store.put_sample(request, Sample(request.key, seed, Outcome.OK, sha))
    store.put_many_scores([(sha, "scorer", {"clip": Score("clip", 0.5)})])
    store.derived("thumbs", "webp", sha, lambda data: data[:100])
    when = time.time() - days * DAY_S
    os.utime(store.image_path(sha), (when, when))
    store._execute("UPDATE samples SET created = ? WHERE image = ?", (when, sha))
    return sha


def sample_of(store: Store, seed: int = 0) -> Sample | None:
    key = replace(REQUEST, seed=seed).key
    return store.samples([key]).get(key)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a store of four pictures, 40, 30, 2 and 0 days old."""
    monkeypatch.chdir(tmp_path)
    with Store(tmp_path / ".harness") as store:
        for seed, days in enumerate((40, 30, 2, 0)):
            put(store, seed, days)
        store.put_array("embedding", "a", np.ones(3))
        store.journal("run-1").append({"event": "plan"})
    return tmp_path


def cache(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    status = main(["cache", *words, "--json"])
    return status, json.loads(capsys.readouterr().out)


def images(project: Path) -> int:
    return len(list((project / ".harness" / "images").rglob("*.png")))


def bless(project: Path, seed: int) -> str:
    """A baseline that names one of the pictures."""
    with Store(project / ".harness") as store:
        sample = sample_of(store, seed)
    assert sample and sample.image
    os.utime(project / ".harness" / "images" / sample.image[:2] / f"{sample.image}.png", (0, 0))
    folder = project / "suites" / "baselines"
    folder.mkdir(parents=True)
    (folder / "demo.json").write_text(json.dumps({"scores": [{"image": sample.image}]}), encoding="utf-8")
    return sample.image


# --- ls -----------------------------------------------------------------------------------------------------------


def test_ls_tells_sizes_ages_and_pins(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bless(project, 0)

    status, record = cache(capsys, "ls")

    kinds = {kind["name"]: kind for kind in record["kinds"]}
    assert status == 0
    assert (kinds["images"]["files"], kinds["images"]["bytes"]) == (4, 4000)
    assert (kinds["thumbs"]["bytes"], kinds["arrays"]["files"], kinds["journal"]["files"]) == (400, 1, 1)
    assert record["bytes"] == sum(kind["bytes"] for kind in record["kinds"])
    assert record["pinned"]["pictures"] == 1 and "demo.json" in next(iter(record["pinned"]["by"]))


def test_ls_as_text(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "ls"]) == 0

    told = capsys.readouterr().out
    assert "images" in told and "4 files" in told and "40 days old" in told


def test_without_a_store_the_remedy_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    assert main(["cache", "ls"]) == 2
    assert "there is no store yet" in capsys.readouterr().err


# --- verify -------------------------------------------------------------------------------------------------------


def test_verify_finds_a_changed_a_lost_and_a_lone_picture(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store(project / ".harness")
    first, second = (sample_of(store, seed) for seed in (0, 1))
    lone = store.put_image(b"nobody's")
    store.close()
    assert first and second and first.image and second.image
    store.image_path(first.image).write_bytes(b"tampered")
    store.image_path(second.image).unlink()

    status, record = cache(capsys, "verify")

    assert status == 1 and not record["sound"]
    assert [Path(name).stem for name in record["damaged"]] == [first.image]
    assert record["lost"] == [second.image]
    assert [Path(name).stem for name in record["orphans"]] == [lone]


def test_what_verify_mends_is_drawn_again(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Store(project / ".harness") as store:
        sample = sample_of(store)
        assert sample and sample.image
        store.image_path(sample.image).write_bytes(b"tampered")

    assert cache(capsys, "verify", "--mend")[0] == 0

    assert cache(capsys, "verify")[1]["sound"]
    with Store(project / ".harness") as store:
        assert sample_of(store) is None
        assert store.notices == []  # nothing is left to complain of


def test_a_whole_store_is_sound(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, record = cache(capsys, "verify")

    assert (status, record["sound"], record["files"], record["orphans"]) == (0, True, 5, [])


def test_damaged_records_are_told_of(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / ".harness" / "records.sqlite").write_bytes(b"no database" * 1000)

    status, record = cache(capsys, "verify")

    assert status == 1 and "not a database" in record["records"]


def test_pictures_that_people_voted_on_stay(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the project's votes, and in the journal of a vote whose file was not written any more."""
    with Store(project / ".harness") as store:
        voted, journalled, *_ = (sample_of(store, seed) for seed in range(4))
    assert voted and journalled
    for path, picture in (
        (project / "reviews" / "demo" / "votes.json", voted.image),
        (project / ".harness" / "review" / "demo.votes.jsonl", journalled.image),
    ):
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"left": {"image": picture}}), encoding="utf-8")

    assert cache(capsys, "ls")[1]["pinned"]["pictures"] == 2
    record = cache(capsys, "gc", "--max-size", "1", "--dry-run")[1]

    assert len(record["pictures"]) == 2 and {voted.image, journalled.image}.isdisjoint(record["pictures"])


# --- gc -----------------------------------------------------------------------------------------------------------


def test_gc_removes_by_age_with_records_scores_and_small_versions(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, record = cache(capsys, "gc", "--older-than", "20d")

    assert status == 0 and len(record["pictures"]) == 2 and record["bytes_freed"] == 2200
    with Store(project / ".harness") as store:
        found = [sample_of(store, seed) for seed in range(4)]
        assert [sample is not None for sample in found] == [False, False, True, True]
        assert all(store.scores(sha, "scorer") is None for sha in record["pictures"])
        assert (store.folder / "journal" / "run-1.jsonl").exists() and store.array("embedding", "a") is not None
    assert cache(capsys, "verify")[1]["sound"]
    assert len(list((project / ".harness" / "thumbs").rglob("*.webp"))) == 2


def test_gc_to_a_size_takes_the_longest_unused_first(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    total = cache(capsys, "ls")[1]["bytes"]

    record = cache(capsys, "gc", "--max-size", str(total - 1500), "--dry-run")[1]

    with Store(project / ".harness") as store:
        oldest = [sample_of(store, seed) for seed in (0, 1)]
    assert record["pictures"] == [sample.image for sample in oldest if sample]
    assert images(project) == 4  # a dry run


def test_reading_a_picture_from_the_store_is_using_it(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Store(project / ".harness") as store:
        assert sample_of(store)

    assert len(cache(capsys, "gc", "--older-than", "20d")[1]["pictures"]) == 1


def test_a_pinned_picture_stays_whatever_its_age(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blessed = bless(project, 0)

    record = cache(capsys, "gc", "--max-size", "0")[1]

    assert (len(record["pictures"]), record["pinned"]) == (3, 1)
    assert [path.stem for path in (project / ".harness" / "images").rglob("*.png")] == [blessed]


def test_a_champions_record_and_a_named_file_pin_too(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Store(project / ".harness") as store:
        shas = [sample.image for seed in (0, 1) if (sample := sample_of(store, seed))]
    (project / "references" / "hero").mkdir(parents=True)
    (project / "references" / "hero" / "champion.json").write_text(json.dumps({"scores": {"picture": shas[0]}}))
    (project / "results.json").write_text(json.dumps({"image": shas[1]}))

    record = cache(capsys, "gc", "--max-size", "0", "--pin", "results.json")[1]

    assert record["pinned"] == 2 and images(project) == 2


def test_gc_without_a_limit_only_removes_leftovers(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    half = project / ".harness" / "images" / "ab"
    half.mkdir(exist_ok=True)
    (half / "abc.png.1.2.part").write_bytes(b"half")
    os.utime(half / "abc.png.1.2.part", (0, 0))

    assert main(["cache", "gc"]) == 0

    assert "removed 0 pictures and 1 leftovers" in capsys.readouterr().out
    assert images(project) == 4 and not list(half.glob("*.part"))


def test_gc_waits_for_nobody_and_collects_under_nobodys_feet(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = (
        "import sys; from pathlib import Path; from harness.store import Store\n"
        "store = Store(Path('.harness')); print('open', flush=True); sys.stdin.readline()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=project, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as session:
        assert session.stdin and session.stdout and session.stdout.readline() == "open\n"
        refused = main(["cache", "gc", "--max-size", "0"])
        told = capsys.readouterr().err
        looked = main(["cache", "gc", "--max-size", "0", "--dry-run"])
        session.kill()  # the system lets go of its lock
    after = main(["cache", "gc", "--max-size", "0"])

    assert (refused, looked, after) == (2, 0, 0)
    assert f"in use by process {session.pid}" in told
    assert images(project) == 0


@pytest.mark.parametrize(
    "words", [("--max-size", "2 potatoes"), ("--older-than", "yesterday"), ("--older-than", "-3d")]
)
def test_a_limit_that_cannot_be_read(project: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, str]) -> None:
    assert main(["cache", "gc", f"{words[0]}={words[1]}"]) == 2
    assert f"{words[0]}: '{words[1]}' is no" in capsys.readouterr().err


def test_sizes_and_ages() -> None:
    assert (read_size("2GB"), read_size("1.5 mb"), read_size("1000")) == (2_000_000_000, 1_500_000, 1000)
    assert (read_age("12h"), read_age("30d"), read_age("2w")) == (43_200, 30 * DAY_S, 14 * DAY_S)
    assert (size_text(999), size_text(1_234_567), size_text(2 * 10**9)) == ("999 B", "1.2 MB", "2.0 GB")
