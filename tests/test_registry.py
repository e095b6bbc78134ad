"""The registry of champions: whole at any moment, and it forgets nobody."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from harness.core.errors import LoraError
from harness.core.values import hash_file
from harness.models.lora.export import read_tensors, write_tensors
from harness.models.lora.registry import HISTORY, pending, promote, read_champion, record_path, rescale, rollback
from harness.models.lora.train_config import TrainConfig


def write_lora(path: Path, value: float) -> Path:
    import torch

    tensors = {"unet.to_q.lora_A.weight": torch.ones(2, 4), "unet.to_q.lora_B.weight": torch.full((4, 2), value)}
    facts = {"harness.steps": "8", "harness.command": "harness train x", "harness.config": TrainConfig().to_json()}
    write_tensors(path, tensors, facts)
    return path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Where the champion will be; two candidates lie beside."""
    write_lora(tmp_path / "first.safetensors", 1.0)
    write_lora(tmp_path / "second.safetensors", 2.0)
    return tmp_path / "references" / "champion.safetensors"


def test_nobody_is_champion_of_an_empty_folder(home: Path) -> None:
    assert read_champion(home) is None


def test_the_first_champion_has_a_record_and_no_past(home: Path, tmp_path: Path) -> None:
    promote(tmp_path / "first.safetensors", home, {"quality": 0.8}, "the first one")

    champion = read_champion(home)
    assert champion and champion.sha256 == hash_file(home) and champion.lineage == ()
    assert champion.scores == {"quality": 0.8} and champion.reason == "the first one"
    assert champion.made["command"] == "harness train x" and champion.made["config"]["rank"] == 16


def test_a_predecessor_goes_to_the_history_with_its_record(home: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    promote(first, home, {}, "one")
    promote(second, home, {}, "two")

    champion = read_champion(home)
    assert champion and champion.lineage == (hash_file(first),) and champion.sha256 == hash_file(second)
    kept = home.parent / HISTORY / f"{hash_file(first)[:16]}.safetensors"
    assert hash_file(kept) == hash_file(first)
    assert json.loads(record_path(kept).read_text(encoding="utf-8"))["reason"] == "one"


def test_a_record_names_no_place_on_this_machine(home: Path, tmp_path: Path) -> None:
    promote(tmp_path / "first.safetensors", home, {}, "one")

    assert str(tmp_path) not in record_path(home).read_text(encoding="utf-8")


def test_a_reader_at_any_moment_of_a_promotion_finds_a_whole_champion_and_takes_nothing_away(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote(tmp_path / "first.safetensors", home, {}, "one")
    first, seen = hash_file(home), list[tuple[str, int]]()
    replace = Path.replace

    def read_around(self: Path, target: Path) -> Path:
        read()
        moved = replace(self, target)
        read()
        return moved

    def read() -> None:
        champion = read_champion(home)
        assert champion and champion.sha256 == hash_file(home)
        seen.append((champion.reason, len(champion.lineage)))

    monkeypatch.setattr(Path, "replace", read_around)
    promote(tmp_path / "second.safetensors", home, {}, "two")
    monkeypatch.undo()

    assert list(dict.fromkeys(seen)) == [("one", 0), ("two", 1)]
    champion = read_champion(home)
    assert champion and champion.reason == "two" and champion.lineage == (first,) and not pending(home).exists()


@pytest.mark.parametrize("moment", range(6))
def test_a_promotion_that_is_killed_at_any_moment_leaves_a_champion_with_its_past(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    """Before each move of a file in turn; a reader comes by, then another promotion."""

    class Killed(BaseException):
        pass

    promote(tmp_path / "first.safetensors", home, {}, "one")
    first, moved, replace = hash_file(home), [0], Path.replace

    def kill(self: Path, target: Path) -> Path:
        if moved[0] == moment:
            raise Killed
        moved[0] += 1
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", kill)
    try:
        promote(tmp_path / "second.safetensors", home, {}, "two")
        ended = True
    except Killed:
        ended = False
    monkeypatch.undo()

    champion = read_champion(home)
    assert champion and champion == read_champion(home) and champion.sha256 == hash_file(home)
    assert (champion.reason, champion.lineage) == (("one", ()) if champion.sha256 == first else ("two", (first,)))
    assert champion.reason == "two" or not ended
    third = promote(write_lora(tmp_path / "third.safetensors", 3.0), home, {}, "three")
    assert third.lineage == (*champion.lineage, champion.sha256) and not pending(home).exists()


def test_two_who_promote_at_once_come_one_after_the_other(home: Path, tmp_path: Path) -> None:
    files = [write_lora(tmp_path / f"{number}.safetensors", float(number)) for number in range(6)]
    workers = [threading.Thread(target=promote, args=(file, home, {}, file.stem)) for file in files]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    champion = read_champion(home)

    assert champion and champion.sha256 == hash_file(home)
    assert sorted((*champion.lineage, champion.sha256)) == sorted(hash_file(file) for file in files)


def test_who_was_compared_with_another_champion_is_not_promoted(home: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    promote(first, home, {}, "compared with nobody", over="")

    with pytest.raises(LoraError, match="another LoRA became the champion meanwhile"):
        promote(second, home, {}, "compared with nobody", over="")
    assert promote(second, home, {}, "compared with the first", over=hash_file(first)).lineage == (hash_file(first),)


def test_a_plain_rollback_takes_back_the_one_before(home: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    promote(first, home, {"quality": 0.8}, "one")
    promote(second, home, {}, "two")

    found = [rollback(home).sha256 for _ in range(4)]

    a, b = hash_file(first), hash_file(second)
    champion: Any = read_champion(home)
    assert found == [a, b, a, b] and champion.sha256 == b and champion.lineage == (a, b, a, b, a)


def test_a_plain_rollback_after_an_older_one_came_back_goes_to_who_left(home: Path, tmp_path: Path) -> None:
    names = [write_lora(tmp_path / f"{number}.safetensors", float(number)) for number in (1, 2, 3)]
    for file in names:
        promote(file, home, {}, file.stem)
    oldest, _, newest = map(hash_file, names)

    assert rollback(home, oldest[:8]).sha256 == oldest
    assert rollback(home).sha256 == newest


def test_a_file_put_there_by_hand_is_a_champion_without_a_past(home: Path, tmp_path: Path) -> None:
    promote(tmp_path / "first.safetensors", home, {}, "one")
    home.write_bytes((tmp_path / "second.safetensors").read_bytes())

    champion = read_champion(home)

    assert champion and champion.promoted == "" and champion.made["steps"] == "8"


def test_what_is_no_lora_is_not_promoted(home: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.safetensors"
    wrong.write_bytes(b"<!doctype html>")

    with pytest.raises(LoraError, match="HTML"):
        promote(wrong, home, {}, "never")
    assert not home.exists()


def test_a_strength_can_be_put_into_the_weights(tmp_path: Path) -> None:
    source = write_lora(tmp_path / "a.safetensors", 2.0)

    once = rescale(source, tmp_path / "b.safetensors", 0.5)
    twice = rescale(once, tmp_path / "c.safetensors", 0.5)

    tensors, metadata = read_tensors(twice)
    assert tensors["unet.to_q.lora_B.weight"].unique().tolist() == [0.5]
    assert tensors["unet.to_q.lora_A.weight"].unique().tolist() == [1.0]
    assert metadata["harness.scale"] == "0.25" and metadata["harness.steps"] == "8"
