"""Pictures of other worlds before the embedded models: are they told from those that the models know?

Method: every source of `benchmarks.foreign_sources` that is at hand (drawn here, carried by packages, lying on this
machine; the table says which), up to eight pictures each. Half of the sources were looked at when depths and bound were
chosen; the figures count the other half, which a hash of their names picks within each kind. Own pictures are fresh
renders at several sizes, on white ground and compressed, the shipped references and impostors, and what the base and
three LoRAs draw (the champion, one hardly trained, one of a stranger). A source is told where its pictures as a set
are; `own_told` is the share of single own pictures that are called foreign. Distances are logarithms, in spreads of the
known pictures' own beyond the bound.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.foreign_sources import is_counted, sources
from benchmarks.process import ROOT
from harness.config.profile import load_profile
from harness.core.arrays import Floats
from harness.core.settings import Settings
from harness.core.values import Lora
from harness.emulator.image_generator import HABITS
from harness.models.domain import BOUND, find_summary, load_viewer
from harness.models.embeddings import open_file
from harness.models.loading import Models
from harness.scoring.domain import MOST
from harness.scoring.references import picture_files
from harness.world.domain import draw_captions, known_prompts, known_renders
from harness.world.people import random_person, random_scene
from harness.world.render import render

SEED = 95_000_000  # of fresh renders and prompts: neither summary nor card has them
LORAS = ("references/aldar_kose/champion", "fixtures/loras/undertrained", "fixtures/loras/stranger")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--drawn", type=int, default=24, metavar="N", help="pictures by the base and by each LoRA")


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The share of counted sources that are told, of their pictures, and of own pictures that are wrongly called so."""
    models = Models(load_profile("embedded", ROOT), Settings.load(ROOT, {}))
    summary, view = find_summary(models.profile, models), load_viewer(models)
    if summary is None:
        raise RuntimeError("profile embedded names no summary of what its models know")

    def far(pictures: Sequence[Image.Image]) -> Floats:
        return np.asarray(summary.distances(view(pictures)) - BOUND)

    print(f"{'source':36} {'of':>8} {'told':>5} {'pictures':>9}  spreads beyond the bound")
    counted: list[tuple[bool, Floats]] = []
    for name, pictures in sources():
        found = far(pictures)
        if is_counted(name):
            counted.append((told(found), found))
        print(row(name, "counted" if is_counted(name) else "choosing", found))
    own = []
    for name, pictures in own_pictures(models, options.drawn):
        own.append(far(pictures))
        print(row(name, "own", own[-1]))
    every, mine = np.concatenate([found for _, found in counted]), np.concatenate(own)
    return {
        "sources_counted": len(counted),
        "pictures_counted": len(every),
        "foreign_told": float(np.mean([is_told for is_told, _ in counted])),
        "foreign_pictures_told": float(np.mean(every > 0)),
        "own_pictures": len(mine),
        "own_told": float(np.mean(mine > 0)),
    }


def told(far: Floats) -> bool:
    """Whether a set cannot be judged."""
    return bool(np.mean(far > 0) > MOST)


def row(name: str, use: str, far: Floats) -> str:
    least, middle, most = np.quantile(far, (0, 0.5, 1))
    inside = f"{least:+6.1f} to {most:+6.1f}, half beyond {middle:+6.1f}"
    return f"{name:36} {use:>8} {'yes' if told(far) else 'no':>5} {int((far > 0).sum()):4} / {len(far):2}  {inside}"


# --- the world's own ------------------------------------------------------------------------------------------------


def own_pictures(models: Models, drawn: int) -> Iterator[tuple[str, list[Image.Image]]]:
    """Everything that these models should be able to judge."""
    fresh = known_renders(400, SEED, spoilt=0)
    yield "renders", fresh
    yield "emulated services, each in its own way", list(emulated(fresh[:56]))
    yield "renders, 2, 5 and 10 times the size", list(larger(60))
    yield "renders, compressed and resized", [compressed(picture) for picture in fresh[:60]]
    yield "renders on white ground", list(on_white(60))
    for folder in ("references/aldar_kose/train", "references/aldar_kose/held_out", "references/impostors"):
        yield folder, [open_file(path) for path in picture_files(ROOT / folder)]
    for name, lora in {"the base": None, **{name: Lora(ROOT / f"{name}.safetensors") for name in LORAS}}.items():
        if drawn and (lora is None or lora.path.is_file()):
            yield f"drawn by {name}", draw_captions(models, prompts_for(lora, drawn), lora)


def emulated(pictures: Sequence[Image.Image]) -> Iterator[Image.Image]:
    """As the emulator's services spoil what they draw."""
    rng = np.random.default_rng(SEED + 3)
    for number, picture in enumerate(pictures):
        habit = list(HABITS.values())[number % len(HABITS)]
        yield habit.finish(picture.resize((96, 96), Image.Resampling.LANCZOS), rng)


def larger(count: int) -> Iterator[Image.Image]:
    rng = np.random.default_rng(SEED + 1)
    for number in range(count):
        size = 96 * (2, 5, 10)[number % 3]
        yield render(random_person(rng), random_scene(rng), int(rng.integers(2**31)), size)


def compressed(picture: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    picture.resize((160, 160), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=80)
    return Image.open(buffer).convert("RGB")


def on_white(count: int) -> Iterator[Image.Image]:
    """As a character sheet has them."""
    rng = np.random.default_rng(SEED + 2)
    for _ in range(count):
        yield render(random_person(rng), replace(random_scene(rng), background="white"), int(rng.integers(2**31)))


def prompts_for(lora: Lora | None, count: int) -> list[str]:
    """Captions of anybody; with the hero's trigger where there is a LoRA."""
    prompts = known_prompts(count, SEED)
    return prompts if lora is None else [f"aldar kose, {prompt.split(', ', 1)[-1]}" for prompt in prompts]
