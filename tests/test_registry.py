"""The registry of champions: whole at any moment, and it forgets nobody."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.errors import LoraError
from harness.training import registry
from harness.training.config import TrainConfig
from harness.training.export import read_tensors, write_tensors
from harness.training.registry import HISTORY, pending, promote, read_champion, record_path, rescale
from harness.values import hash_file


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


@pytest.mark.parametrize("moment", ["before the weights", "after the weights"])
def test_a_promotion_that_is_cut_off_is_finished_or_dropped(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    class Killed(BaseException):
        pass

    def kill(*_: object) -> None:
        raise Killed

    promote(tmp_path / "first.safetensors", home, {}, "one")
    if moment == "before the weights":
        monkeypatch.setattr(registry.shutil, "copyfile", kill)
    else:
        calls = iter([registry.settle, kill])

        def settle(weights: Path) -> None:
            next(calls)(weights)

        monkeypatch.setattr(registry, "settle", settle)
    with pytest.raises(Killed):
        promote(tmp_path / "second.safetensors", home, {}, "two")
    monkeypatch.undo()

    champion = read_champion(home)

    winner = "one" if moment == "before the weights" else "two"
    assert champion and champion.reason == winner and champion.sha256 == hash_file(home)
    assert not pending(home).exists()


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
