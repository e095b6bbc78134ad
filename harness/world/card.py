"""The card: what the embedded models can do, measured on people they have never seen, read by the attribute reader."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from diffusers import AutoencoderKL, StableDiffusionXLPipeline
from PIL import Image
from safetensors.numpy import load_file
from transformers import CLIPImageProcessorPil, CLIPModel

from harness.core.html import templates
from harness.core.stats.calibration import area_under_curve, separate
from harness.models.aesthetics_predictor import HEAD_FILE, read_head
from harness.world.aesthetics import draw_rated, measure_head, see_all
from harness.world.captions import describe
from harness.world.clip import zero_shot
from harness.world.loop import autocast
from harness.world.people import (
    ALDAR,
    CATEGORIES,
    IDENTITY,
    MARK_KINDS,
    Person,
    encode_labels,
    labels_of,
    random_marks,
    random_person,
    random_scene,
)
from harness.world.reader import evaluate_reader, load_reader
from harness.world.render import render

FRESH = 90_000_000  # seeds from here on are the card's alone; the bank's are far below
CAPTIONS = 500
LEAST = 6  # attributes a caption names, at least


@dataclass(frozen=True)
class Fresh:
    """Renders nobody was trained on: (N, 96, 96, 3) pictures and their labels as words."""

    images: npt.NDArray[np.uint8]
    labels: tuple[dict[str, str], ...]

    @property
    def codes(self) -> npt.NDArray[np.int64]:
        return np.array([encode_labels(row) for row in self.labels])


def fresh_renders(count: int, seed: int = FRESH) -> Fresh:
    """Unseen people in unseen scenes; every picture shows somebody else."""
    rng = np.random.default_rng(seed)
    images, labels = [], []
    for _ in range(count):
        person, scene = random_person(rng), random_scene(rng)
        images.append(np.asarray(render(person, scene, int(rng.integers(2**31)))))
        labels.append(labels_of(person, scene))
    return Fresh(np.stack(images), tuple(labels))


def portraits(person: Person, count: int, rng: np.random.Generator) -> list[Image.Image]:
    """One person in `count` scenes."""
    return [render(person, random_scene(rng), int(rng.integers(2**31))) for _ in range(count)]


def read_right(found: Mapping[str, Sequence[str]], wanted: Sequence[Mapping[str, str]]) -> dict[str, float]:
    """Share read right in each category, over the pictures whose caption names it."""
    shares = {}
    for category in CATEGORIES:
        hits = [found[category][row] == truth[category] for row, truth in enumerate(wanted) if category in truth]
        if hits:
            shares[category] = float(np.mean(hits))
    return shares


def measure_vae(vae: Any, reader: Any, fresh: Fresh) -> dict[str, float]:
    """Attributes still read right after encode and decode, a category, among those read right before."""
    before = reader.read(fresh.images)
    decoded = []
    with torch.inference_mode():
        for start in range(0, len(fresh.images), 32):
            pixels = torch.from_numpy(fresh.images[start : start + 32]).permute(0, 3, 1, 2).float() / 127.5 - 1
            drawn = vae.decode(vae.encode(pixels.to(vae.dtype)).latent_dist.mean).sample
            decoded.append(((drawn.float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy())
    after = reader.read(np.concatenate(decoded))
    kept = {}
    for category in CATEGORIES:
        rows = [row for row, truth in enumerate(fresh.labels) if before[category][row] == truth[category]]
        kept[category] = float(np.mean([after[category][row] == fresh.labels[row][category] for row in rows]))
    return kept


def random_wishes(count: int, seed: int = FRESH + 1) -> list[dict[str, str]]:
    """What captions of at least six attributes ask for: unseen people and scenes, some categories left out."""
    rng = np.random.default_rng(seed)
    wishes = []
    for _ in range(count):
        truth = {k: v for k, v in labels_of(random_person(rng), random_scene(rng)).items() if k in CATEGORIES}
        text = rng.choice(list(truth), size=int(rng.integers(LEAST, len(truth) + 1)), replace=False)
        wishes.append({name: truth[name] for name in CATEGORIES if name in text})
    return wishes


def draw_prompts(
    pipeline: Any, prompts: Sequence[str], seed: int = 0, batch: int = 16, steps: int = 20
) -> list[Image.Image]:
    """One picture a prompt at guidance 4, each from its own generator."""
    pictures: list[Image.Image] = []
    for start in range(0, len(prompts), batch):
        part = list(prompts[start : start + batch])
        generators = [torch.Generator().manual_seed(seed + start + place) for place in range(len(part))]
        with torch.inference_mode(), autocast(torch.device("cpu")):
            drawn = pipeline(
                part, num_inference_steps=steps, guidance_scale=4.0, height=96, width=96, generator=generators
            )
        pictures += drawn.images
        print(f"\rcard: {len(pictures)} of {len(prompts)} pictures", end="", flush=True)
    print()
    return pictures


def measure_base(pipeline: Any, reader: Any, count: int = CAPTIONS) -> dict[str, float]:
    """Named attributes that the reader finds in what the base draws, a category."""
    wishes = random_wishes(count)
    prompts = [", ".join(["a person", *describe(wish)]) for wish in wishes]
    return read_right(reader.read(draw_prompts(pipeline, prompts)), wishes)


def mark_rates(reader: Any, pictures: Sequence[Image.Image], hero: Person = ALDAR) -> dict[str, float]:
    """In which share of the pictures each of the hero's marks (its shape and its colour) is found."""
    result = reader.read(pictures)
    rates = {}
    for kind in MARK_KINDS:
        wanted = (getattr(hero, kind), getattr(hero, f"{kind}_color"))
        pairs = zip(result[kind], result[f"{kind}_color"], strict=True)
        rates[kind] = float(np.mean([pair == wanted for pair in pairs]))
    return rates


def far_people(count: int, seed: int = FRESH + 2, hero: Person = ALDAR) -> list[Person]:
    """People who share at most two described attributes with the hero, and none of his marks."""
    rng = np.random.default_rng(seed)
    people: list[Person] = []
    while len(people) < count:
        person = random_person(rng)
        if sum(getattr(person, name) == getattr(hero, name) for name in IDENTITY) <= 2:
            people.append(person)
    return people


def twins(count: int, seed: int = FRESH + 3, hero: Person = ALDAR) -> list[Person]:
    """People whom every caption describes as the hero, with other marks or none."""
    rng = np.random.default_rng(seed)
    absent: dict[str, Any] = {name: "none" for kind in MARK_KINDS for name in (kind, f"{kind}_color")}
    bare = replace(hero, **absent)
    return [bare if number % 2 else random_marks(bare, rng) for number in range(count)]


def similarity(vectors: npt.NDArray[Any], references: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Mean cosine of each row of (N, D) to the (R, D) references; all of unit length."""
    return (vectors @ references.T).mean(axis=1)


def measure_identity(embed: Any, references: Sequence[Image.Image]) -> dict[str, float]:
    """d' of the hero against far impostors, and AUC against his twins, by mean cosine to his references.

    Args:
        embed: pictures to (N, D) vectors of unit length.
    """
    rng = np.random.default_rng(FRESH + 4)
    anchors = embed(references)
    genuine = similarity(embed(portraits(ALDAR, 100, rng)), anchors)
    far = similarity(embed([portraits(person, 1, rng)[0] for person in far_people(100)]), anchors)
    near = similarity(embed([portraits(person, 1, rng)[0] for person in twins(100)]), anchors)
    return {"identity_d": separate(genuine, far).d_prime, "twin_auc": area_under_curve(genuine, near)}


def measure_aesthetics(models: Path, count: int = 400, seed: int = 900_001) -> float:
    """Rank correlation of the aesthetics head with known quality, on spoilt pictures of people nobody has seen."""
    head, rated = load_file(models / "aesthetics" / HEAD_FILE), draw_rated(count, seed)
    result = read_head(head, "the embedded head").rate(see_all(models / "clip", rated.images))
    return measure_head(result, rated)["spearman"]


def load_pictures(paths: Iterable[Path]) -> list[Image.Image]:
    return [Image.open(path).convert("RGB") for path in paths]


def measure_marks(models: Path, champion: Path, reader: Any, count: int = 48) -> dict[str, dict[str, float]]:
    """How often each of Aldar's marks is found in what `lora`, `base` and `prompt_only` draw for the same scenes."""
    rng = np.random.default_rng(FRESH + 5)
    scenes = [random_scene(rng) for _ in range(count)]
    texts = [
        {name: getattr(scene, name) for name in ("expression", "background", "accessory", "style")} for scene in scenes
    ]
    traits = {name: getattr(ALDAR, name) for name in IDENTITY}
    triggered = [", ".join(["aldar kose", *describe(scene)]) for scene in texts]
    described = [", ".join(["a person", *describe({**traits, **scene})]) for scene in texts]
    pipeline = StableDiffusionXLPipeline.from_pretrained(models / "sdxl")
    pipeline.set_progress_bar_config(disable=True)
    rates = {
        "base": mark_rates(reader, draw_prompts(pipeline, triggered)),
        "prompt_only": mark_rates(reader, draw_prompts(pipeline, described)),
    }
    pipeline.load_lora_weights(champion.parent, weight_name=champion.name)
    return {"lora": mark_rates(reader, draw_prompts(pipeline, triggered)), **rates}


def embedder(folder: Path) -> Any:
    """Pictures to unit vectors by the CLIP in `folder`."""
    model, processor = CLIPModel.from_pretrained(folder).eval(), CLIPImageProcessorPil.from_pretrained(folder)

    def embed(pictures: Sequence[Image.Image]) -> npt.NDArray[Any]:
        with torch.inference_mode():
            vectors = model.get_image_features(**processor(list(pictures), return_tensors="pt")).pooler_output
        vectors = vectors.float().numpy()
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    return embed


def measure_all(models: Path, references: Path) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """The card's figures by name, and the tables behind them."""
    reader, fresh = load_reader(models / "reader"), fresh_renders(1_000)
    pipeline = StableDiffusionXLPipeline.from_pretrained(models / "sdxl")
    pipeline.set_progress_bar_config(disable=True)
    tables = {
        "attribute reader, fresh renders": evaluate_reader(reader, fresh.images, fresh.codes),
        "autoencoder: read after encode + decode": measure_vae(
            AutoencoderKL.from_pretrained(models / "sdxl" / "vae"), reader, fresh
        ),
        "base pipeline: named attributes read": measure_base(pipeline, reader),
        "CLIP zero-shot": zero_shot(models / "clip", fresh.images, fresh.codes),
    }
    identity = measure_identity(
        embedder(models / "clip"), load_pictures(sorted((references / "held_out").glob("*.png")))
    )
    marks = measure_marks(models, references / "champion.safetensors", reader)
    tables |= {f"marks found in {name}'s pictures": rates for name, rates in marks.items()}
    base = tables["base pipeline: named attributes read"]
    figures = {
        "vae_read_min": min(tables["autoencoder: read after encode + decode"].values()),
        "base_read_mean": float(np.mean(list(base.values()))),
        "base_read_min": min(base.values()),
        "clip_zero_shot": float(np.mean(list(tables["CLIP zero-shot"].values()))),
        **identity,
        "aesthetics_spearman": measure_aesthetics(models),
        "marks_lora": min(marks["lora"].values()),
        "marks_base": max(*marks["base"].values(), *marks["prompt_only"].values()),
    }
    return {name: round(value, 4) for name, value in figures.items()}, tables


def card_text(figures: Mapping[str, float], tables: Mapping[str, Mapping[str, float]]) -> str:
    """What was measured, with how, as Markdown."""
    return templates("harness.world").get_template("card.md").render(figures=figures, tables=tables)


def write_card(models: Path, references: Path = Path("references/aldar_kose")) -> str:
    """Measure everything and write CARD.md beside the models; its text."""
    text = card_text(*measure_all(models, references))
    (models / "CARD.md").write_text(text, encoding="utf-8")
    return text
