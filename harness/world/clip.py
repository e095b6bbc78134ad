"""The embedded CLIP: sees what captions say of a picture, and who is in it.

A CLIPModel of the real class, trained from scratch in minutes. Three things make that possible and useful:

- beside whole captions, every category is asked by itself: a softmax over the texts of its values. A caption
  of nine phrases says little about which of them was wrong; this says it, and it is what zero-shot asks later;
- two pictures of one person must be alike and those of his twin must not, so the image embedding carries the
  marks that no caption names;
- a linear probe of the image embedding, thrown away after training, reads every column, marks too: the
  shortest way for a gradient into a young transformer;
- the patches themselves are taught: a second probe reads every column from where it stands, and the patches
  regress the features of the attribute reader, which convolutions learn twenty times sooner. Without this a
  transformer knows colours after a thousand steps and no shapes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPProcessor, CLIPTokenizer

from harness.core.files import write_file
from harness.models.embeddings import normalize
from harness.models.loading import LoadedClip
from harness.world.bank import Bank, open_bank
from harness.world.captions import TEMPLATES, phrase, vocabulary
from harness.world.loop import RunningAverage, autocast, fit, load_averaged, pick_device
from harness.world.people import CATEGORIES, VALUES
from harness.world.reader import (
    CONVOLUTIONS,
    HELD_OUT,
    AttributeReader,
    augment,
    load_reader,
    to_pixels,
)
from harness.world.render import SIZE
from harness.world.tokens import build_tokenizer

BLOCK = 4  # rows of the bank that must meet in one batch: a person twice, then his twin (or another) twice
LOCAL = 4  # the patches are pooled to LOCAL x LOCAL before the second probe reads them
MAX_SCALE = math.log(100)  # where CLIP's own training stops the logit scale
CONFIG_FILE = "clip-training.json"


@dataclass(frozen=True)
class ClipConfig:
    """One training and the size of its model; saved as JSON beside the weights it made."""

    patch: int = 8  # pixels a side; larger patches are cheaper and blind to a moustache
    width: int = 192
    depth: int = 6
    heads: int = 6
    text_width: int = 128
    text_depth: int = 3
    text_heads: int = 4
    positions: int = 48  # tokens a text
    projection: int = 128
    rate: float = 1e-3
    decay: float = 0.05
    warmup: int = 100
    captions: float = 0.5  # weight of whole captions against pictures
    categories: float = 1.0  # weight of each category by itself
    people: float = 0.5  # weight of two pictures of one person
    probe: float = 0.5  # weight of the probe that training throws away
    local: float = 0.5  # weight of the probe of the patches
    teacher: float = 1.0  # weight of the reader's features
    person_scale: float = 20.0  # 1 / temperature between pictures: fixed, so that twins keep pushing apart
    average: float = 0.99  # short: a training has one or two thousand steps


@dataclass(frozen=True)
class Batch:
    """What one step sees."""

    pixels: Tensor  # (B, 3, S, S), normalised; rows 2k and 2k+1 show one person
    features: Tensor  # (B, 192, 6, 6), the reader's, each place with mean 0 and variance 1
    captions: Tensor  # (B, tokens)
    labels: Tensor  # (B, columns)
    template: int  # in which template the categories are asked this time


class Trainee(nn.Module):
    """The model and the probe, together for the optimizer and the checkpoint."""

    def __init__(self, clip: CLIPModel, columns: int) -> None:
        super().__init__()
        self.clip = clip
        width = clip.config.vision_config.hidden_size
        self.probe = nn.Linear(clip.config.projection_dim, columns)
        self.local = nn.Linear(width * LOCAL**2, columns)
        self.pupil = nn.Linear(width, CONVOLUTIONS[-1][0])


def build_clip(config: ClipConfig, tokenizer: CLIPTokenizer) -> CLIPModel:
    """A fresh CLIPModel whose patches already know where they are."""
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": config.text_width,
        "intermediate_size": 4 * config.text_width,
        "num_hidden_layers": config.text_depth,
        "num_attention_heads": config.text_heads,
        "max_position_embeddings": config.positions,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,  # the text model pools where this token stands
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = {
        "image_size": SIZE,
        "patch_size": config.patch,
        "hidden_size": config.width,
        "intermediate_size": 4 * config.width,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.heads,
    }
    clip = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=config.projection))
    positions = place_patches(SIZE // config.patch, config.width)
    with torch.no_grad():  # learning the grid from noise would take a good part of a short training
        clip.vision_model.embeddings.position_embedding.weight[1:] = positions
    return clip


def place_patches(side: int, width: int) -> Tensor:
    """Sines and cosines of row and column, (side * side, width), about as large as a young patch embedding."""
    frequencies = 100.0 ** -torch.linspace(0, 1, width // 4)
    angles = torch.arange(side)[:, None] * frequencies
    waves = torch.cat([angles.sin(), angles.cos()], dim=1)  # (side, width / 2)
    rows, columns = waves.repeat_interleave(side, dim=0), waves.repeat(side, 1)
    return 0.3 * torch.cat([rows, columns], dim=1)


def tokenize(tokenizer: CLIPTokenizer, texts: Sequence[str], positions: int) -> Tensor:
    """Token ids (N, longest); causal attention makes a mask for the padding behind the end needless."""
    tokens = tokenizer(list(texts), padding=True, truncation=True, max_length=positions, return_tensors="pt")
    return tokens["input_ids"]


def value_texts() -> list[str]:
    """Every value's phrase in every template: of the first template all, then of the next."""
    phrases = [phrase(category, value) for category, values in CATEGORIES.items() for value in values]
    return [template.format(text) for template in TEMPLATES for text in phrases]


def embed_ids(clip: CLIPModel, ids: Tensor) -> Tensor:
    """Projected text embeddings of length 1: (B, projection), fp32."""
    return functional.normalize(clip.get_text_features(input_ids=ids).pooler_output.float(), dim=1)


def caption_loss(pictures: Tensor, captions: Tensor, scale: Tensor) -> Tensor:
    """Each picture finds its caption and each caption its picture.

    A block's four rows may share their description, and a caption with a phrase left out can be true of all of
    them; so a row's neighbours in its block are no wrong answers here (the categories tell the scenes apart).
    """
    rows = torch.arange(len(pictures), device=pictures.device)
    neighbours = (rows[:, None] // BLOCK == rows // BLOCK) & (rows[:, None] != rows)
    logits = (scale * pictures @ captions.T).masked_fill(neighbours, -torch.inf)
    return (functional.cross_entropy(logits, rows) + functional.cross_entropy(logits.T, rows)) / 2


def category_loss(logits: Tensor, labels: Tensor, widths: Sequence[int]) -> Tensor:
    """Mean cross-entropy over columns that lie side by side in `logits`.

    Args:
        logits: (B, sum of widths).
        labels: (B, columns), indices within each column.
        widths: number of values of each column.
    """
    parts = logits.split(list(widths), dim=1)
    losses = [functional.cross_entropy(part, labels[:, place]) for place, part in enumerate(parts)]
    return torch.stack(losses).mean()


def person_loss(pictures: Tensor, scale: float) -> Tensor:
    """Each picture finds the other picture of the same person, in row 2k its partner is 2k+1, among all others."""
    rows = torch.arange(len(pictures), device=pictures.device)
    itself = torch.eye(len(pictures), dtype=torch.bool, device=pictures.device)
    return functional.cross_entropy((scale * pictures @ pictures.T).masked_fill(itself, -torch.inf), rows ^ 1)


def see(clip: CLIPModel, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Image embeddings of length 1, (B, projection), and the patches as a picture, (B, width, rows, columns)."""
    result = clip.vision_model(pixel_values=pixels)
    patches = result.last_hidden_state[:, 1:].transpose(1, 2)
    side = math.isqrt(patches.shape[2])
    return functional.normalize(clip.visual_projection(result.pooler_output).float(), dim=1), patches.unflatten(
        2, (side, side)
    )


def patch_loss(trainee: Trainee, patches: Tensor, batch: Batch, config: ClipConfig) -> Tensor:
    """What the patches say of every column, and how far they are from the reader's features."""
    known = [len(options) for options in VALUES.values()]
    text = trainee.local(functional.adaptive_avg_pool2d(patches, LOCAL).flatten(1))
    pooled = functional.adaptive_avg_pool2d(patches, batch.features.shape[-1]).permute(0, 2, 3, 1)
    error = functional.mse_loss(trainee.pupil(pooled).float(), batch.features.permute(0, 2, 3, 1))
    return config.local * category_loss(text.float(), batch.labels, known) + config.teacher * error


def clip_loss(trainee: Trainee, batch: Batch, texts: Tensor, config: ClipConfig) -> Tensor:
    """The weighed sum of all losses; see the module's docstring.

    Args:
        texts: (templates, values, tokens), of `value_texts`.
    """
    with autocast(batch.pixels.device):
        pictures, patches = see(trainee.clip, batch.pixels)
        captions = embed_ids(trainee.clip, batch.captions)
        values = embed_ids(trainee.clip, texts[batch.template])
        taught = patch_loss(trainee, patches, batch, config)
    scale = trainee.clip.logit_scale.exp()
    asked = [len(options) for options in CATEGORIES.values()]
    known = [len(options) for options in VALUES.values()]
    probed = trainee.probe(pictures * math.sqrt(pictures.shape[1]))
    return (
        config.captions * caption_loss(pictures, captions, scale)
        + config.categories * category_loss(scale * pictures @ values.T, batch.labels, asked)
        + config.people * person_loss(pictures, config.person_scale)
        + config.probe * category_loss(probed, batch.labels, known)
        + taught
    )


def pick_rows(chance: np.random.Generator, trained: int, batch: int) -> npt.NDArray[np.int64]:
    """Rows of one batch: whole blocks of four, so that partners and twins meet."""
    blocks = np.sort(chance.choice(trained // BLOCK, size=batch // BLOCK, replace=False))
    return (blocks[:, None] * BLOCK + np.arange(BLOCK)).reshape(-1)


def measure_colours(images: npt.NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel, 0..1, shape (3, 1, 1); a thousand pictures are plenty."""
    pixels = to_pixels(np.ascontiguousarray(images[:: max(1, len(images) // 1_000)]))
    mean, deviation = pixels.mean(dim=(0, 2, 3)), pixels.std(dim=(0, 2, 3))
    return mean.round(decimals=4).view(3, 1, 1), deviation.round(decimals=4).view(3, 1, 1)


@dataclass(frozen=True)
class Source:
    """Makes the batch of any step; a pure function of the step, so that resuming changes nothing."""

    bank: Bank
    tokenizer: CLIPTokenizer
    config: ClipConfig
    colours: tuple[Tensor, Tensor]
    templates: int
    batch: int
    seed: int
    reader: AttributeReader

    def batch_at(self, step: int, device: torch.device) -> Batch:
        chance = np.random.default_rng((self.seed, step))
        rows = pick_rows(chance, len(self.bank) - HELD_OUT, self.batch)
        captions = [self.bank.caption(int(row), chance) for row in rows]
        mean, deviation = self.colours
        plain = augment(to_pixels(self.bank.images[rows]), chance)
        with torch.no_grad(), autocast(device):
            features = self.reader.body[:-2](plain.to(device) * 4 - 2).float()
        return Batch(
            ((plain - mean) / deviation).to(device),
            functional.layer_norm(features.permute(0, 2, 3, 1), features.shape[1:2]).permute(0, 3, 1, 2),
            tokenize(self.tokenizer, captions, self.config.positions).to(device),
            torch.from_numpy(self.bank.labels[rows].astype(np.int64)).to(device),
            int(chance.integers(self.templates)),
        )


def train_clip(
    bank_dir: Path,
    out_dir: Path,
    steps: int,
    reader_dir: Path,
    batch: int = 64,
    seed: int = 0,
) -> Path:
    """Train on all but the last 2,000 rows of a bank, going on from a checkpoint; the folder of the finished model.

    Args:
        bank_dir: a finished bank.
        out_dir: receives checkpoint.pt and, at the end, model, processor and config in `clip/`.
        reader_dir: the attribute reader whose features the patches regress.
        batch: pictures a step, a multiple of 4.
    """
    torch.manual_seed(seed)
    config, device, bank = ClipConfig(), pick_device(), open_bank(bank_dir)
    tokenizer = build_tokenizer(vocabulary(), config.positions)
    texts = tokenize(tokenizer, value_texts(), config.positions).unflatten(0, (len(TEMPLATES), -1)).to(device)
    reader = load_reader(reader_dir)
    source = Source(bank, tokenizer, config, measure_colours(bank.images), len(TEMPLATES), batch, seed, reader)
    trainee = Trainee(build_clip(config, tokenizer), sum(map(len, VALUES.values()))).to(device).train()
    optimizer = torch.optim.AdamW(trainee.parameters(), lr=config.rate, betas=(0.9, 0.98), weight_decay=config.decay)
    optimizer.register_step_post_hook(lambda *_: trainee.clip.logit_scale.data.clamp_(0, MAX_SCALE))
    average = RunningAverage(trainee, config.average)

    def loss_at(step: int) -> Tensor:
        return clip_loss(trainee, source.batch_at(step, device), texts, config)

    fit("clip", out_dir, trainee, optimizer, average, steps, config.rate, loss_at, warmup=config.warmup)
    return export_clip(out_dir, out_dir / "clip", source)


def export_clip(checkpoint_dir: Path, model_dir: Path, source: Source) -> Path:
    """Write the averaged weights of a checkpoint, fp16, and the processor, as `from_pretrained` reads them."""
    trainee = Trainee(build_clip(source.config, source.tokenizer), sum(map(len, VALUES.values())))
    steps = load_averaged(checkpoint_dir, trainee)
    trainee.clip.half().save_pretrained(model_dir)
    mean, deviation = (colour.flatten().tolist() for colour in source.colours)
    pictures = CLIPImageProcessorPil(
        size={"shortest_edge": SIZE},
        crop_size={"height": SIZE, "width": SIZE},
        image_mean=[round(value, 4) for value in mean],
        image_std=[round(value, 4) for value in deviation],
    )
    CLIPProcessor(image_processor=pictures, tokenizer=source.tokenizer).save_pretrained(model_dir)
    text = json.dumps({**asdict(source.config), "steps": steps, "batch": source.batch}, indent=2) + "\n"
    write_file(model_dir / CONFIG_FILE, text)
    return model_dir


def zero_shot(model_dir: Path, images: npt.NDArray[np.uint8], labels: npt.NDArray[Any]) -> dict[str, float]:
    """Share of pictures whose value is found among the category's texts, a category; templates are averaged.

    Args:
        images: (N, S, S, 3).
        labels: (N, columns) indices, the first columns in the order of CATEGORIES.
    """
    clip = LoadedClip.load(model_dir)
    rows = np.stack(np.split(clip.embed_texts(value_texts()), len(TEMPLATES))).mean(axis=0)
    likeness = clip.embed_images([Image.fromarray(image) for image in images]) @ normalize(rows).T
    parts = np.split(likeness, np.cumsum([len(values) for values in CATEGORIES.values()])[:-1], axis=1)
    truth = np.asarray(labels)
    return {
        category: float(np.mean(part.argmax(axis=1) == truth[:, place]))
        for place, (category, part) in enumerate(zip(CATEGORIES, parts, strict=True))
    }
