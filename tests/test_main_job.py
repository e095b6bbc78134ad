"""The main job on the committed models: draw, score, judge; a bad LoRA is retrained, a good one is left alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from PIL import Image

from harness.world.card import mark_rates
from tests.support import ALDAR_SUITE, ROOT, Finished, run_suites, write_profile

pytestmark = pytest.mark.real
LOCAL = "lora,base,prompt_only"
LEFT = {"open": 6, "locked": 8}  # cases of the shorter suite


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """`pytest suites/aldar_kose.yaml` from an empty store."""
    return run_suites(tmp_path_factory.mktemp("shipped"), ALDAR_SUITE, cold=True)


def test_the_shipped_suite_is_green_and_really_drawn(shipped: Finished) -> None:
    assert shipped.status == 0, shipped.output
    assert shipped.results["engine"]["images_generated"] >= 4 * 12 * 3
    assert shipped.results["rounds"] == []


@pytest.mark.parametrize("rival", ["base", "prompt_only"])
def test_the_lora_is_above_the_base(shipped: Finished, rival: str) -> None:
    lora = next(row for row in shipped.results["leaderboard"] if row["provider"] == "lora")

    gap = lora["versus"][rival]

    assert lora["rank"] == 1
    assert gap["low"] > 0


def test_a_reader_finds_his_marks_only_where_the_lora_drew(shipped: Finished) -> None:
    from harness.world.reader import load_reader

    reader = load_reader(ROOT / "fixtures" / "models" / "reader")
    for provider in ("lora", "base", "prompt_only"):
        cases = [case for case in shipped.results["cases"] if case["provider"] == provider]
        names = [sample["image"] for case in cases for sample in case["samples"]]
        pictures = [Image.open(shipped.report / "images" / f"{name}.png") for name in names]
        for mark, rate in mark_rates(reader, pictures).items():
            assert rate >= 0.85 if provider == "lora" else rate <= 0.05, (provider, mark, rate)


def test_emulated_providers_are_labelled_everywhere(shipped: Finished) -> None:
    rows = {row["provider"]: row for row in shipped.results["leaderboard"] if row["suite"] == "aldar-kose"}
    services = {"freepik", "deepai", "gemini", "openai"}

    assert {name for name, row in rows.items() if row["emulated"]} == services
    assert all(rows[name]["quality"] and rows[name]["outcomes"] == {"ok": 36} for name in services)
    assert "emulated" in shipped.output
    assert "emulated" in (shipped.report / "index.html").read_text(encoding="utf-8")


def shorter_suite(folder: Path) -> Path:
    """Half of the shipped suite's open cases and a third of the locked ones: what is far apart is proven by these."""
    whole = yaml.safe_load((ROOT / ALDAR_SUITE).read_text(encoding="utf-8"))
    cases = {split: [case for case in whole["cases"] if case.get("split", "open") == split] for split in LEFT}
    whole |= {"samples": 2, "cases": [case for split, number in LEFT.items() for case in cases[split][:number]]}
    for owner, key in ((whole["subject"], "lora"), (whole["subject"], "references")):
        owner[key] = (ROOT / "suites" / owner[key]).resolve().as_posix()
    path = folder / "suite.yaml"
    path.write_text(yaml.safe_dump(whole, sort_keys=False), encoding="utf-8")
    return path


def test_an_undertrained_lora_is_retrained_and_promoted(shipped: Finished, tmp_path: Path) -> None:
    """With half of the usual steps, and without other candidates: a checkpoint a rung is what halving needs."""
    profile = write_profile(tmp_path, ("steps: 400", "steps: 200\n  checkpoint_every: 200"))
    shutil.copytree(shipped.report.parent / "store", tmp_path / "store")  # its rivals draw the same again
    bad = shutil.copy(ROOT / "fixtures" / "loras" / "undertrained.safetensors", tmp_path / "mine.safetensors")

    words = ("--profile", str(profile), "--providers", LOCAL, "--lora", str(bad), "--retrain", "2")
    run = run_suites(tmp_path, str(shorter_suite(tmp_path)), *words)

    assert run.status == 0, run.output
    assert run.results["rounds"][-1]["promoted"]
    assert run.count("rerun") > 0
    assert run.results["gate"]["verdict"] == "pass"


def test_nothing_is_trained_for_the_champion(tmp_path: Path) -> None:
    run = run_suites(tmp_path, "suites/smoke.yaml", "--retrain", "2")

    assert run.status == 0, run.output
    assert run.results["rounds"] == []
