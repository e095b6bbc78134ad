"""Faults that people make, planted on purpose in a copy of the demo project: one cause, a random severity, a real LoRA.

A planted LoRA is trained as a person would train it, from the references and settings that the fault left, and is kept
under .cache/planted, because it costs a minute or two. Strengths cost nothing: they are written into the suite.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.process import ROOT
from harness.core.values import digest
from harness.world.captions import describe, phrase
from harness.world.gallery import varied_scenes
from harness.world.people import ALDAR, CATEGORIES, SCENE, WorldScene, labels_of, random_person
from harness.world.render import render

CACHE = ROOT / ".cache" / "planted"
SUITE = "suites/aldar_kose.yaml"
HOME = Path("references") / "aldar_kose"
TRIGGER = "aldar kose"
FULL = 400  # steps of the profile
BOUNDS = {"quality": 0.75, "clip": 0.70, "features": 0.65, "prompt": 0.60}
"""Of the planted suites: what a sound LoRA of this subject reaches in every case (its means are 0.93 to 0.95)."""
BARE = {"prior_weight": 0.0, "caption_dropout": 0.0, "steps": 600}
"""How faults of the pictures are trained: as most tutorials do, without the base's prior, which would hide them."""


@dataclass(frozen=True)
class Fault:
    """What was planted."""

    cause: str
    number: int
    told: str  # the severity in words
    training: dict[str, Any] = field(default_factory=dict)  # settings that the LoRA was trained with
    strength: float = 1.0  # in the suite

    @property
    def name(self) -> str:
        return f"{self.cause}-{self.number}"


Plant = Callable[[Path, np.random.Generator, Fault], Fault]
"""Changes the references of a project (its HOME folder) and tells what the fault is."""


def healthy(home: Path, rng: np.random.Generator, fault: Fault) -> Fault:
    return replace(
        fault, told="the champion's own recipe with another seed", training={"seed": int(rng.integers(1000))}
    )


def under_trained(home: Path, rng: np.random.Generator, fault: Fault) -> Fault:
    steps = int(FULL * rng.uniform(0.05, 0.2))
    return replace(fault, told=f"{steps} steps", training={"steps": steps})


def over_trained(home: Path, rng: np.random.Generator, fault: Fault) -> Fault:
    steps, rank = int(FULL * rng.uniform(2.5, 4)), int(rng.choice([32, 64]))
    training = {"steps": steps, "rank": rank, "alpha": rank, "prior_weight": 0.0, "caption_dropout": 0.0}
    return replace(fault, told=f"{steps} steps at rank {rank} without the base's prior", training=training)


def high_rate(home: Path, rng: np.random.Generator, fault: Fault) -> Fault:
    rate = round(2e-3 * float(rng.uniform(8, 20)), 4)
    return replace(fault, told=f"learning rate {rate:g}", training={"learning_rate": rate})


def low_rate(home: Path, rng: np.random.Generator, fault: Fault) -> Fault:
    rate = round(2e-3 * float(rng.uniform(0.01, 0.04)), 7)
    return replace(fault, told=f"learning rate {rate:g}", training={"learning_rate": rate})


def high_strength(home: Path, rng: np.random.Generator, fault: Fault) -> Fault:
    strength = round(float(rng.uniform(1.8, 2.8)), 2)
    return replace(fault, told=f"strength {strength:g}", strength=strength)


def low_strength(home: Path, rng: np.random.Generator, fault: Fault) -> Fault:
    strength = round(float(rng.uniform(0.1, 0.4)), 2)
    return replace(fault, told=f"strength {strength:g}", strength=strength)


def wrong_person(home: Path, rng: np.random.Generator, fault: Fault) -> Fault:
    """Some of the train pictures show somebody else, under the subject's captions."""
    pictures = sorted((home / "train").glob("*.png"))
    count = int(rng.integers(3, 6))
    stranger = random_person(rng)
    scenes = varied_scenes(count, rng)
    for scene, place in zip(scenes, rng.permutation(len(pictures))[:count], strict=True):
        write_pair(pictures[place], render(stranger, scene, int(rng.integers(2**31))), scene)
    return replace(fault, told=f"{count} of {len(pictures)} train pictures show another person", training=BARE)


def duplicates(home: Path, rng: np.random.Generator, fault: Fault) -> Fault:
    """One picture many times, saved anew each time as people's collections have it."""
    pictures = sorted((home / "train").glob("*.png"))
    chosen, count = pictures[int(rng.integers(len(pictures)))], int(rng.integers(20, 41))
    with Image.open(chosen) as image:
        original = image.convert("RGB")
    for number in range(count):
        copy = home / "train" / f"copy{number:02}.jpg"
        original.save(copy, quality=int(rng.integers(70, 96)))
        shutil.copyfile(chosen.with_suffix(".txt"), copy.with_suffix(".txt"))
    return replace(fault, told=f"{chosen.name} {count} more times", training=BARE)


def missing_captions(home: Path, rng: np.random.Generator, fault: Fault) -> Fault:
    """Captions that do not say what changes from picture to picture: the trigger has to stand for all of it."""
    silent = [str(name) for name in rng.permutation(["expression", "accessory", "background"])[: rng.integers(2, 4)]]
    for path in sorted((home / "train").glob("*.txt")):
        phrases = {phrase(category, value) for category in silent for value in CATEGORIES[category]}
        said = [part for part in path.read_text(encoding="utf-8").strip().split(", ") if part not in phrases]
        path.write_text(", ".join(said) + "\n", encoding="utf-8")
    return replace(fault, told=f"captions without {', '.join(sorted(silent))}", training=BARE)


def one_expression(home: Path, rng: np.random.Generator, fault: Fault) -> Fault:
    """The same face in nearly every picture, and no caption says so."""
    value, least = str(rng.choice(CATEGORIES["expression"])), float(rng.uniform(0.9, 1.0))
    pictures = sorted((home / "train").glob("*.png"))
    same = set(rng.permutation(len(pictures))[: round(least * len(pictures))].tolist())
    for place, (path, scene) in enumerate(zip(pictures, varied_scenes(len(pictures), rng), strict=True)):
        scene = replace(scene, expression=value) if place in same else scene
        write_pair(path, render(ALDAR, scene, int(rng.integers(2**31))), scene, silent=("expression",))
    return replace(
        fault, told=f"{value} in {len(same)} of {len(pictures)} train pictures, in no caption", training=BARE
    )


FAULTS: dict[str, Plant] = {
    "healthy": healthy,
    "under_trained": under_trained,
    "over_trained": over_trained,
    "wrong_person": wrong_person,
    "duplicates": duplicates,
    "missing_captions": missing_captions,
    "one_expression": one_expression,
    "high_strength": high_strength,
    "low_strength": low_strength,
    "high_rate": high_rate,
    "low_rate": low_rate,
}


def write_pair(picture: Path, image: Image.Image, scene: WorldScene, silent: tuple[str, ...] = ()) -> None:
    """A picture and its caption; `silent` categories are not said."""
    image.save(picture)
    said = {name: value for name, value in labels_of(ALDAR, scene).items() if name in SCENE and name not in silent}
    picture.with_suffix(".txt").write_text(", ".join([TRIGGER, *describe(said)]) + "\n", encoding="utf-8")


def plant(cause: str, number: int, project: Path) -> Fault:
    """Make a project with this fault in it: references, suite, and the LoRA that they lead to.

    Args:
        project: an empty or absent folder.
    """
    from harness.config.starter import write_demo

    write_demo(project)
    home = project / HOME
    rng = np.random.default_rng([list(FAULTS).index(cause), number])
    fault = FAULTS[cause](home, rng, Fault(cause, number, ""))
    champion = home / "champion.safetensors"
    kept = CACHE / f"{fault.name}-{digest(asdict(fault))[:8]}.safetensors"
    if fault.training:
        if not kept.exists():
            train_planted(project, fault, kept)
        champion.unlink()
        champion.with_suffix(".json").unlink()
        shutil.copyfile(kept, champion)
    write_suite(project / SUITE, fault)
    (project / "planted.json").write_text(json.dumps(asdict(fault)) + "\n", encoding="utf-8")
    return fault


def planted_in(project: Path) -> Fault | None:
    """The fault of a project that was planted to its end; None of any other folder."""
    record = project / "planted.json"
    return Fault(**json.loads(record.read_text(encoding="utf-8"))) if record.exists() else None


def train_planted(project: Path, fault: Fault, out: Path) -> None:
    """The LoRA that the fault leads to, by the project's own command."""
    from harness.config.profile import load_profile
    from harness.config.suite import load_suite
    from harness.core.settings import Settings
    from harness.training.suite_training import train_suite

    settings = Settings.load(project, {"store": str(CACHE / "store")})
    profile = load_profile(settings.profile, project)
    suite = load_suite(project / SUITE, profile)
    print(f"planting {fault.name}: {fault.told}", flush=True)
    train_suite(suite, profile, settings, out=out, changes=fault.training, command=f"harness train {SUITE}")


def write_suite(path: Path, fault: Fault) -> None:
    """The shipped suite with the gate alone, a bound on `prompt`, and the planted strength."""
    text = path.read_text(encoding="utf-8")
    text = text.replace(
        "providers: [lora, base, prompt_only, freepik, deepai, gemini, openai]", "providers: [lora, base]"
    )
    text = text.replace("beat: [base, prompt_only]", "beat: [base]")
    before = "  quality: {fail: 0.60, warn: 0.70}\n  clip: 0.50\n  features: 0.50\n"
    text = text.replace(before, "".join(f"  {name}: {bound}\n" for name, bound in BOUNDS.items()))
    line = "  lora: ../references/aldar_kose/champion.safetensors\n"
    if fault.strength != 1:
        named = f"{{file: ../references/aldar_kose/champion.safetensors, strength: {fault.strength}}}"
        text = text.replace(line, f"  lora: {named}\n")
    path.write_text(text, encoding="utf-8")
