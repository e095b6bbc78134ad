"""Planted faults turn the gate red, each with a message that names the cause."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.world.gallery import draw_references
from harness.world.people import random_person
from tests.support import ROOT, Finished, run_suites, write_broken_lora, write_profile

pytestmark = pytest.mark.real

CHAMPION = ROOT / "references" / "aldar_kose" / "champion.safetensors"
LORAS = ROOT / "fixtures" / "loras"
ITEMS = ("smiling-steppe", "angry-starry-night", "sad-forest-staff", "surprised-forest-comic", "gate")


def judge(folder: Path, *arguments: str, suite: Path | str = "suites/aldar_kose.yaml") -> Finished:
    """Four prompts and the gate of the shipped suite, drawn by the LoRA alone; what one drew, the next may use."""
    items = [f"{suite}::{item}::lora" for item in ITEMS]  # `-k gate` would be every item that bears the mark
    words = ("--providers", "lora", "--samples", "2", *arguments)
    return run_suites(folder, *items, *words, store=folder.parent / "store-of-faults")


def with_provider(folder: Path, line: str) -> str:
    """The embedded profile with another `lora` provider."""
    return str(write_profile(folder, ("lora: {adapter: local, use: lora}", f"lora: {line}")))


def reasons(run: Finished) -> str:
    return " ".join(run.results["gate"]["reasons"]).lower()


def test_the_champion_is_green(tmp_path: Path) -> None:
    run = judge(tmp_path)

    assert run.status == 11, run.output
    assert "failed" not in run.output.splitlines()[-1]
    assert run.results["gate"]["verdict"] == "not_judged"  # `beat` was not measured: its rivals were left out


def test_strength_zero(tmp_path: Path) -> None:
    run = judge(tmp_path, "--lora", f"{CHAMPION}@0")

    assert run.status == 1, run.output
    assert "strength" in reasons(run)


def test_a_lora_that_does_not_load(tmp_path: Path) -> None:
    broken = tmp_path / "broken.safetensors"
    write_broken_lora(broken)

    run = judge(tmp_path, "--lora", str(broken))

    assert run.status == 10, run.output
    assert "broken.safetensors" in run.output


def test_a_lora_of_another_person(tmp_path: Path) -> None:
    run = judge(tmp_path, "--lora", str(LORAS / "stranger.safetensors"))

    assert run.status == 1, run.output
    assert "person" in reasons(run) or "subject" in reasons(run)


def test_references_of_another_person(tmp_path: Path) -> None:
    draw_references(tmp_path / "references", random_person(np.random.default_rng(11)), "aldar kose", seed=3)
    text = (ROOT / "suites" / "aldar_kose.yaml").read_text(encoding="utf-8")
    text = text.replace("lora: ../references/aldar_kose/champion.safetensors", f"lora: {CHAMPION.as_posix()}")
    suite = tmp_path / "suite.yaml"
    suite.write_text(text.replace("references: ../references/aldar_kose", "references: references"), encoding="utf-8")

    run = judge(tmp_path, suite=suite)

    assert run.status == 1, run.output
    assert "reference" in reasons(run)


def test_blank_images(tmp_path: Path) -> None:
    run = judge(tmp_path, "--profile", with_provider(tmp_path, "{adapter: flat}"))

    assert run.status == 1, run.output
    assert "blank" in reasons(run)


def test_a_blurred_provider(tmp_path: Path) -> None:
    run = judge(tmp_path, "--profile", with_provider(tmp_path, "{adapter: local, use: lora, blur: 3}"))

    assert run.status == 1, run.output
    assert "blur" in reasons(run)


def test_a_competitors_failure_is_never_a_score(tmp_path: Path) -> None:
    broken = "{adapter: http, service: studio, emulated: true, faults: [refused, auth]}"
    line = f"{{adapter: local, use: lora}}\n  broken: {broken}"
    text = (ROOT / "suites" / "smoke.yaml").read_text(encoding="utf-8")
    suite = tmp_path / "smoke.yaml"
    text = text.replace("../references", (ROOT / "references").as_posix())
    suite.write_text(text.replace("[lora, base]", "[lora, broken]"), encoding="utf-8")

    run = run_suites(tmp_path, str(suite), "--profile", with_provider(tmp_path, line), "-rx")

    assert run.status == 0, run.output
    lost = [case for case in run.results["cases"] if case["provider"] == "broken" and case["outcome"] != "ok"]
    assert lost
    assert all(not sample["scores"] for case in lost for sample in case["samples"] if not sample["image"])
    assert "xfailed" in run.output
    assert next(row for row in run.results["leaderboard"] if row["provider"] == "broken")["emulated"]
