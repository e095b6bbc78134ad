"""The aesthetics head of the embedded CLIP: the world's pictures are spoilt on purpose, so how good each is, is known.

An unspoilt picture is a 10; blur, noise, JPEG, too little or too much light, low contrast and a cut-off subject, at
strengths that are drawn at random, take it down to 1. The head has the published layout (five layers with ReLU) and
reads the patches of CLIP's image tower, not its embedding, which has been taught not to see such things.
"""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageEnhance, ImageFilter
from safetensors.numpy import save_file
from scipy.stats import spearmanr
from torch import nn
from torch.nn import functional
from transformers import CLIPImageProcessorPil, CLIPModel

from harness.core.html import templates
from harness.models.aesthetics_predictor import HEAD_FILE, RELU, read_head, see_patches
from harness.models.hub import weights_hash
from harness.world.people import random_person, random_scene
from harness.world.render import render

DEPTHS = (0, 2, 6)  # of the image tower: edges and noise are lost further in, what is cut off is only seen there
WIDTHS = (64, 64, 32, 16)
MIDDLE, SCALE = 5.5, 3.0  # of the published scale, for the training
CLEAN, SPOILT, TWICE = 0.15, 0.25, 0.1  # shares: untouched; spoilt by two faults; and the least that a fault takes
HELD_OUT = 77_000_000  # seeds of the pictures that figures are measured on

Fault = Callable[[Image.Image, float, np.random.Generator], Image.Image]


def blur(picture: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    """Gaussian, 0.4 to 4 px of 96."""
    return picture.filter(ImageFilter.GaussianBlur((0.4 + 3.6 * strength) * picture.width / 96))


def noise(picture: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    """Gaussian in every channel, 6 to 70 levels of 255."""
    return to_picture(np.asarray(picture) + rng.normal(0, 6 + 64 * strength, (picture.height, picture.width, 3)))


def jpeg(picture: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    """Quality 32 to 2."""
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=round(32 - 30 * strength), subsampling=2)
    return Image.open(stream).convert("RGB")


def dark(picture: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    """85% to 10% of the light."""
    return ImageEnhance.Brightness(picture).enhance(0.85 - 0.75 * strength)


def bright(picture: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    """1.2 to 3.4 times the light, burnt out."""
    return to_picture(np.asarray(picture, np.float64) * (1.2 + 2.2 * strength) + 20 * strength)


def flat(picture: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    """85% to 5% of the contrast."""
    return ImageEnhance.Contrast(picture).enhance(0.85 - 0.8 * strength)


def cut_off(picture: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    """The subject leaves the picture by 8% to 70% of its width, to a random side; the edge is drawn out behind it."""
    side, gone = picture.width, int(picture.width * (0.08 + 0.62 * strength))
    x, y = ((gone, 0), (-gone, 0), (0, gone), (0, -gone))[int(rng.integers(4))]
    around = np.pad(np.asarray(picture), ((side, side), (side, side), (0, 0)), mode="edge")
    return Image.fromarray(around[side - y : 2 * side - y, side - x : 2 * side - x])


FAULTS: dict[str, Fault] = {
    "blur": blur,
    "noise": noise,
    "jpeg": jpeg,
    "dark": dark,
    "bright": bright,
    "flat": flat,
    "cut_off": cut_off,
}


@dataclass(frozen=True)
class Rated:
    """Pictures whose quality is known."""

    images: npt.NDArray[np.uint8]  # (n, 96, 96, 3)
    targets: npt.NDArray[np.float64]  # (n,), 1 to 10
    faults: tuple[str, ...]  # what spoilt each, names joined by "+"; "" nothing


def to_picture(values: npt.NDArray[Any]) -> Image.Image:
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


def spoil(picture: Image.Image, rng: np.random.Generator) -> tuple[Image.Image, float, str]:
    """A picture with no fault, one or two, its quality from 1 to 10, and the faults' names."""
    count = 0 if rng.random() < CLEAN else 1 + int(rng.random() < SPOILT)
    kept, names = 1.0, sorted(rng.choice(list(FAULTS), size=count, replace=False).tolist())
    for name in names:
        strength = float(rng.random())
        picture = FAULTS[name](picture, strength, rng)
        kept *= 1 - (TWICE + (1 - TWICE) * strength)
    return picture, 1 + 9 * kept, "+".join(names)


def draw_rated(count: int, seed: int) -> Rated:
    """`count` pictures, everybody in them a stranger to the others."""
    rng = np.random.default_rng(seed)
    rows = [spoil(render(random_person(rng), random_scene(rng), int(rng.integers(2**31))), rng) for _ in range(count)]
    images = np.stack([np.asarray(picture) for picture, _, _ in rows])
    return Rated(images, np.array([target for _, target, _ in rows]), tuple(names for _, _, names in rows))


def train_aesthetics(
    clip_dir: Path, out_dir: Path, count: int = 4_000, seed: int = 0, epochs: int = 60
) -> dict[str, float]:
    """Train the head of one CLIP and write it with its figures; about a minute on one core.

    Args:
        clip_dir: the CLIP that the head will stand on; it refuses every other one.
        out_dir: receives head.safetensors and CARD.md.
        count: pictures to learn from.

    Returns:
        The figures of `measure_head`, on 400 people nobody has seen.
    """
    learnt, held_out = draw_rated(count, seed), draw_rated(400, HELD_OUT + seed)
    head = fit_head(see_all(clip_dir, learnt.images), learnt.targets, seed, epochs)
    result = read_head(head, "the new head").rate(see_all(clip_dir, held_out.images))
    figures = measure_head(result, held_out)
    out_dir.mkdir(parents=True, exist_ok=True)
    metadata = {"clip": weights_hash(clip_dir), "depths": json.dumps(DEPTHS), "figures": json.dumps(figures)}
    save_file(head, out_dir / HEAD_FILE, metadata={**metadata, "pictures": str(count), "seed": str(seed)})
    card = templates("harness.world").get_template("aesthetics.md").render(figures=figures, count=count)
    (out_dir / "CARD.md").write_text(card, encoding="utf-8")
    return figures


def see_all(clip_dir: Path, images: npt.NDArray[np.uint8], batch: int = 32) -> npt.NDArray[np.float64]:
    """What the head reads of each picture, (n, 2 x width x depths), with a line of progress."""
    model = CLIPModel.from_pretrained(clip_dir, dtype=torch.float32).eval()
    processor = CLIPImageProcessorPil.from_pretrained(clip_dir)
    rows = []
    for start in range(0, len(images), batch):
        pictures = [Image.fromarray(image) for image in images[start : start + batch]]
        rows.append(see_patches(model, processor, pictures, DEPTHS))
        print(f"\raesthetics: {min(start + batch, len(images))} of {len(images)} pictures", end="", flush=True)
    print()
    return np.concatenate(rows)


def fit_head(
    seen: npt.NDArray[np.float64], targets: npt.NDArray[np.float64], seed: int = 0, epochs: int = 60
) -> dict[str, npt.NDArray[np.float32]]:
    """Five layers by AdamW on squared error, as tensors of the published ReLU layout; scaling goes into the ends."""
    mean, deviation = seen.mean(0), seen.std(0) + 1e-6
    torch.manual_seed(seed)
    network = build_network(seen.shape[1])
    fit_network(
        network,
        torch.from_numpy((seen - mean) / deviation).float(),
        torch.from_numpy((targets - MIDDLE) / SCALE).float()[:, None],
        epochs,
    )
    pairs = [[getattr(network[place], kind).detach().double().numpy() for kind in ("weight", "bias")] for place in RELU]
    first, offset = pairs[0]
    pairs[0] = [first / deviation, offset - (first / deviation) @ mean]
    pairs[-1] = [pairs[-1][0] * SCALE, pairs[-1][1] * SCALE + MIDDLE]
    return {
        f"layers.{place}.{kind}": np.ascontiguousarray(array, np.float32)
        for place, pair in zip(RELU, pairs, strict=True)
        for kind, array in zip(("weight", "bias"), pair, strict=True)
    }


def build_network(width: int) -> Any:
    """The published Sequential, narrower: linear, ReLU, dropout; no dropout before the last layer."""
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise((width, *WIDTHS)):
        layers += [nn.Linear(before, after), nn.ReLU(), nn.Dropout(0.1)]
    return nn.Sequential(*layers[:-1], nn.Linear(WIDTHS[-1], 1))


def fit_network(network: Any, inputs: Any, wanted: Any, epochs: int, batch: int = 64) -> None:
    """AdamW with a cosine down to zero."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * -(-len(inputs) // batch))
    for _ in range(epochs):
        for rows in torch.randperm(len(inputs)).split(batch):
            loss = functional.mse_loss(network(inputs[rows]), wanted[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()


def measure_head(found: Sequence[float] | npt.NDArray[Any], rated: Rated) -> dict[str, float]:
    """Spearman's rank correlation with the truth, over all and a fault (pictures with it alone), and the mean error."""
    values = np.asarray(found, float)
    figures = {
        "spearman": float(spearmanr(values, rated.targets).statistic),
        "mean_error": float(np.abs(values - rated.targets).mean()),
    }
    for name in FAULTS:
        rows = [row for row, names in enumerate(rated.faults) if names == name]
        figures[f"spearman_{name}"] = float(spearmanr(values[rows], rated.targets[rows]).statistic)
    return {name: round(value, 3) for name, value in figures.items()}
