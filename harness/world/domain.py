"""What the embedded models know: drawings of the world, and what the embedded base makes of its captions."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from harness.core.values import Lora, Request
from harness.models.domain import DomainSummary, load_viewer, made_for, summarise
from harness.models.loading import Models
from harness.world.captions import caption
from harness.world.people import ALDAR, labels_of, random_marks, random_person, random_scene
from harness.world.render import SIZE, render

SEED = 70_000_000  # pictures that no bank, reference or benchmark has
RENDERED, DRAWN = 720, 240
PLAIN = 0.1  # share of the renders on white or grey ground: no scene of the world, and CLIP reads people there as well
SPOILT = 0.3  # share of the renders that are spoilt as services and careless LoRAs spoil them; CLIP reads them still
SIZES = (96, 96, 96, 192, 384)  # pixels: half-way to CLIP all are 96, but not resampled alike


def spoil(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Other colours, contrast, light and tint, and a third each: grain, softness, the blocks of a JPEG."""
    picture = picture.resize((SIZE, SIZE), Image.Resampling.LANCZOS)
    picture = ImageEnhance.Color(picture).enhance(rng.uniform(0.5, 1.8))
    picture = ImageEnhance.Contrast(picture).enhance(rng.uniform(0.65, 1.25))
    picture = ImageEnhance.Brightness(picture).enhance(rng.uniform(0.7, 1.2))
    values, kind = np.asarray(picture, np.float32) * rng.uniform(0.85, 1.12, 3), int(rng.integers(3))
    if kind == 0:
        values = values + rng.normal(0, rng.uniform(3, 15), (SIZE, SIZE, 1))
    picture = Image.fromarray(values.clip(0, 255).astype(np.uint8))
    if kind == 1:
        return picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.4, 1.6)))
    if kind == 2:
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=int(rng.integers(35, 90)))
        return Image.open(buffer).convert("RGB")
    return picture


def known_renders(count: int, seed: int = SEED, spoilt: float = SPOILT) -> list[Image.Image]:
    """People of the world in its scenes, the hero and his twins among them, at several sizes, some of them spoilt."""
    rng = np.random.default_rng(seed)
    pictures = []
    for number in range(count):
        person = (ALDAR, random_marks(ALDAR, rng))[number % 2] if number % 10 < 2 else random_person(rng)
        scene = random_scene(rng)
        if rng.random() < PLAIN:
            scene = replace(scene, background=("white", "white", "grey")[number % 3])
        picture = render(person, scene, int(rng.integers(2**31)), SIZES[number % len(SIZES)])
        pictures.append(spoil(picture, rng) if rng.random() < spoilt else picture)
    return pictures


def known_prompts(count: int, seed: int = SEED) -> list[str]:
    """Captions of people as the base was taught them."""
    rng = np.random.default_rng(seed)
    return [caption(labels_of(random_person(rng), random_scene(rng)), rng) for _ in range(count)]


def draw_captions(models: Models, prompts: Sequence[str], lora: Lora | None = None) -> list[Image.Image]:
    """One picture a prompt, as a run of the profile draws it, with seeds from 0 on."""
    profile, drawn = models.profile, list[Image.Image]()
    width, height = profile.size
    shared = Request(
        "world", "", "", 0, width, height, steps=profile.steps, guidance=profile.guidance,
        scheduler=profile.scheduler, dtype=models.dtype, batch=profile.batch,
    )  # fmt: skip
    for start in range(0, len(prompts), profile.batch):
        part = prompts[start : start + profile.batch]
        requests = [replace(shared, prompt=prompt, seed=seed) for seed, prompt in enumerate(part, start)]
        drawn += [picture for picture in models.pipeline().draw(requests, lora) if picture is not None]
        print(f"\rdomain: {len(drawn)} of {len(prompts)} pictures", end="", flush=True)
    print()
    return drawn


def write_domain(models: Models, path: Path, rendered: int = RENDERED, drawn: int = DRAWN) -> DomainSummary:
    """Draw both kinds, look at them, and write the summary."""
    return summarise_pictures(models, path, known_renders(rendered) + draw_captions(models, known_prompts(drawn)))


def summarise_pictures(models: Models, path: Path, pictures: Sequence[Image.Image]) -> DomainSummary:
    """Write the summary of pictures, in an order that mixes their kinds."""
    order = np.random.default_rng(SEED).permutation(len(pictures))
    features = load_viewer(models)([pictures[place] for place in order])
    summary = summarise(features, made_for(models, models.profile))
    summary.save(path)
    return summary
