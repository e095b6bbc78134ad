"""Whole runs over pictures whose truth is known: who draws the subject and ignores what is asked must not pass."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.config.suite import load_suite
from harness.core.values import Case
from harness.world.people import ALDAR, WorldScene, random_scene
from harness.world.render import render
from tests.support import ROOT, Finished, run_suites, write_profile

pytestmark = pytest.mark.real
REFERENCES = ROOT / "references" / "aldar_kose"
SEEDS = 2
SUITE = """
version: 1
suite: abroad
subject: {{name: Aldar Kose, trigger: aldar kose, references: {references}}}
providers: [{gates}, prompt_only]
gate: [{gates}]
samples: 2
thresholds: {{quality: {{fail: 0.6, warn: 0.7}}, prompt: 0.5}}
cases:
{cases}
"""


def scene_of(case: Case) -> WorldScene:
    """Exactly what a prompt of the shipped suite asks for."""
    return WorldScene(**{name: value for name, value in case.expect.items() if name in WorldScene.__dataclass_fields__})


def obedient(case: Case, seed: int) -> Image.Image:
    return render(ALDAR, scene_of(case), 50_000 + seed)


def deaf(case: Case, seed: int) -> Image.Image:
    """The hero himself, in new pictures, wherever he likes to be."""
    number = sum(map(ord, case.id)) * 10 + seed
    return render(ALDAR, random_scene(np.random.default_rng(number)), 60_000 + number)


def reference(split: str) -> Callable[[Case, int], Image.Image]:
    files = sorted((REFERENCES / split).glob("*.png"))
    return lambda case, seed: Image.open(files[(sum(map(ord, case.id)) + seed) % len(files)])


def monotonous(case: Case, seed: int) -> Image.Image:
    """Always the same place and face, otherwise as asked: the commonest kind of over-training."""
    return render(ALDAR, replace(WorldScene(), accessory=scene_of(case).accessory), 70_000 + seed)


def described(case: Case, seed: int) -> Image.Image:
    """What a perfect base makes of his description: as asked, without the marks that no prompt can name."""
    bare = replace(
        ALDAR, **dict.fromkeys(("hat", "hat_color", "sash", "sash_color", "ornament", "ornament_color"), "none")
    )
    return render(bare, scene_of(case), 80_000 + seed)


DRAWERS = {
    "prompt_only": described,
    "obedient": obedient,
    "deaf": deaf,
    "monotonous": monotonous,
    "copyist": reference("train"),
    "leak": reference("held_out"),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """One run in which all of them gate; twelve prompts that a description draws as well."""
    folder = tmp_path_factory.mktemp("abroad")
    cases = [case for case in load_suite(ROOT / "suites" / "aldar_kose.yaml").cases if case.is_open]
    for name, draw in DRAWERS.items():
        (folder / name).mkdir()
        for case in cases:
            for seed in range(SEEDS):
                draw(case, seed).convert("RGB").save(folder / name / f"{case.id}-{seed}.png")
    profile = folder_profile(folder)
    listed = [f'  - {{id: {case.id}, prompt: "{case.prompt}", expect: {dict(case.expect)}}}' for case in cases]
    suite = folder / "abroad.yaml"
    text = SUITE.format(references=REFERENCES.as_posix(), gates=", ".join(list(DRAWERS)[1:]), cases="\n".join(listed))
    suite.write_text(text, encoding="utf-8")
    return run_suites(folder, str(suite), "--profile", str(profile), "-q")


def folder_profile(folder: Path) -> Path:
    """The embedded one with folders for providers."""
    lines = [f"  {name}: {{adapter: folder, path: {(folder / name).as_posix()}}}" for name in DRAWERS]
    own = ("  prompt_only: {adapter: local, use: prompt_only}\n", "")
    return write_profile(folder, own, ("providers:\n", "\n".join(["providers:", *lines, ""])))


def gate(run: Finished, name: str) -> dict[str, Any]:
    return next(item for item in run.results["gate"]["items"] if item["provider"] == name)


def said(run: Finished, name: str, metric: str) -> str:
    return " | ".join(each["message"] for each in gate(run, name)["complaints"] if each["metric"] == metric)


def test_who_draws_the_subject_as_asked_passes(run: Finished) -> None:
    assert gate(run, "obedient")["verdict"] == "pass", gate(run, "obedient")["complaints"]
    assert not run.results["suites"][0]["sets"]["obedient"]["response"]["alarm"]


def test_a_training_picture_for_every_prompt_is_red_although_quality_is_perfect(run: Finished) -> None:
    found = gate(run, "copyist")

    assert found["verdict"] == "fail" and found["scores"]["quality"]["mean"] > 0.9
    assert "copy a training picture" in said(run, "copyist", "copy")
    assert "against prompt_only" in said(run, "copyist", "prompt") and "over-trained" in said(run, "copyist", "prompt")


def test_held_out_pictures_are_a_leak(run: Finished) -> None:
    assert gate(run, "leak")["verdict"] == "fail"
    assert "copy a held-out picture" in said(run, "leak", "copy") and "a leak" in said(run, "leak", "copy")


@pytest.mark.parametrize("name", ["deaf", "monotonous"])
def test_the_same_places_whatever_is_asked_are_red_without_a_single_copy(run: Finished, name: str) -> None:
    found = gate(run, name)

    assert found["verdict"] == "fail" and found["scores"]["quality"]["mean"] > 0.9
    assert not run.results["suites"][0]["sets"][name]["copy"]["alarm"]
    assert "over-trained" in said(run, name, "response") and "over-trained" in said(run, name, "prompt")


def test_a_champion_under_swapped_folders_is_told(tmp_path: Path) -> None:
    """What it learned from is what judges it now, by its own record."""
    references = tmp_path / "references"
    for split, other in (("train", "held_out"), ("held_out", "train")):
        shutil.copytree(REFERENCES / split, references / other)
    text = (ROOT / "suites" / "smoke.yaml").read_text(encoding="utf-8")
    text = text.replace(
        "../references/aldar_kose/champion.safetensors", (REFERENCES / "champion.safetensors").as_posix()
    )
    suite = tmp_path / "swapped.yaml"
    suite.write_text(text.replace("references: ../references/aldar_kose", f"references: {references.as_posix()}"))

    run = run_suites(tmp_path, str(suite), "-q")

    assert run.status == 1 and gate(run, "lora")["cause_name"] == "references_swapped"
    assert "train/ and held_out/ are swapped" in run.output
