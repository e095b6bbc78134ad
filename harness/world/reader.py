"""Reads every attribute of a picture of the world: the judge of what a base or a LoRA really drew.

A small convolutional network with one linear head a column. It is trained on clean renders only, so the
augmentation makes them look like drawn pictures: softened, noisy, a little moved. Never mirrored, because a
diagonal sash the other way round is another sash.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from pydantic import TypeAdapter
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from harness.core.files import replacing, write_file
from harness.world.bank import open_bank
from harness.world.loop import RunningAverage, autocast, fit, pick_device
from harness.world.people import VALUES
from harness.world.render import SIZE

Pictures = npt.NDArray[np.uint8] | Sequence[Image.Image]
"""Pictures as an array (N, H, W, 3) or as PIL images of any size."""

HELD_OUT = 2_000  # the last rows of the bank: reader and CLIP are measured on them, never trained on them
CONVOLUTIONS = ((32, 2), (64, 1), (96, 2), (96, 1), (128, 2), (160, 1), (192, 2))  # (channels, stride): 96 px to 6
GRID = 3  # the features are pooled to GRID x GRID, so that a head knows up from down
RATE = 2e-3
DECAY = 0.05
SHIFT = 3  # pixels
READ_BATCH = 256

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"


@dataclass(frozen=True)
class ReaderConfig:
    """All that rebuilds a reader; kept as JSON beside its weights, so that a folder explains itself."""

    columns: dict[str, tuple[str, ...]]  # what it reads, and the values in the order of the labels
    convolutions: tuple[tuple[int, int], ...] = CONVOLUTIONS
    grid: int = GRID
    size: int = SIZE


class AttributeReader(nn.Module):
    """Pictures to one row of logits a column."""

    def __init__(self, config: ReaderConfig) -> None:
        super().__init__()
        self.config = config
        layers: list[nn.Module] = []
        before = 3
        for channels, stride in config.convolutions:
            layers += [
                nn.Conv2d(before, channels, 3, stride, padding=1, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU(inplace=True),
            ]
            before = channels
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(config.grid), nn.Flatten())
        # one matrix for all heads: forward() cuts it into columns
        self.head = nn.Linear(before * config.grid**2, sum(map(len, config.columns.values())))

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """Logits (B, number of values) a column, from pixels (B, 3, size, size) in 0..1."""
        logits = self.head(self.body(pixels * 4 - 2))
        widths = [len(values) for values in self.config.columns.values()]
        return dict(zip(self.config.columns, logits.split(widths, dim=1), strict=True))

    def read(self, images: Pictures) -> dict[str, list[str]]:
        """The likeliest value of every column, one a picture."""
        names = self.config.columns
        return {name: [names[name][best] for best in row.argmax(1)] for name, row in self.chances(images).items()}

    @torch.inference_mode()
    def chances(self, images: Pictures) -> dict[str, npt.NDArray[np.float32]]:
        """Each column's probabilities, (N, number of values); pictures of another size are resized first."""
        self.eval()
        parts: dict[str, list[Tensor]] = {column: [] for column in self.config.columns}
        for start in range(0, len(images), READ_BATCH):
            pixels = to_pixels(to_array(images[start : start + READ_BATCH], self.config.size))
            for column, logits in self(pixels.to(self.head.weight.device)).items():
                parts[column].append(logits.float().softmax(dim=1).cpu())
        empty = {column: torch.empty(0, len(values)) for column, values in self.config.columns.items()}
        return {column: torch.cat([empty[column], *chances]).numpy() for column, chances in parts.items()}


def to_array(images: Pictures, size: int = SIZE) -> npt.NDArray[np.uint8]:
    """Pictures of any kind as (N, size, size, 3) uint8; only what has another size is resampled."""
    if isinstance(images, np.ndarray) and images.shape[1:3] == (size, size):
        return np.ascontiguousarray(images)
    pictures = [Image.fromarray(image) if isinstance(image, np.ndarray) else image for image in images]
    resized = (picture.convert("RGB").resize((size, size), Image.Resampling.LANCZOS) for picture in pictures)
    return np.stack([np.asarray(picture) for picture in resized])


def to_pixels(array: npt.NDArray[np.uint8]) -> Tensor:
    """(N, H, W, 3) uint8 to (N, 3, H, W) float 0..1, channels last in memory."""
    owned = array if array.flags.writeable else array.copy()  # a bank's memory map is read-only, a tensor is not
    return torch.from_numpy(owned).permute(0, 3, 1, 2).float() / 255


def augment(pixels: Tensor, chance: np.random.Generator) -> Tensor:
    """Renders made to look drawn: each picture its own small shift, brightness and noise, half of them softened.

    Args:
        pixels: (B, 3, S, S), 0..1.
        chance: decides everything, so that a resumed training sees what an unbroken one would have seen.
    """
    count, _, size, _ = pixels.shape
    padded = functional.pad(pixels, (SHIFT,) * 4, mode="replicate")
    moves = chance.integers(0, 2 * SHIFT + 1, size=(count, 2)).tolist()
    moved = torch.stack([one[:, y : y + size, x : x + size] for one, (y, x) in zip(padded, moves, strict=True)])
    small = int(chance.integers(size // 2, size))
    soft = functional.interpolate(moved, size=small, mode="bilinear", antialias=True, align_corners=False)
    soft = functional.interpolate(soft, size=size, mode="bilinear", align_corners=False)
    softened = torch.from_numpy(chance.random((count, 1, 1, 1)) < 0.5).to(pixels.device)
    shape = (count, 1, 1, 1)
    light = torch.from_numpy(chance.uniform(0.9, 1.1, size=shape).astype(np.float32)).to(pixels)
    offset = torch.from_numpy(chance.uniform(-0.04, 0.04, size=shape).astype(np.float32)).to(pixels)
    strength = torch.from_numpy(chance.uniform(0, 0.05, size=shape).astype(np.float32)).to(pixels)
    generator = torch.Generator().manual_seed(int(chance.integers(2**62)))
    noise = torch.randn(pixels.shape, generator=generator).to(pixels)
    return (torch.where(softened, soft, moved) * light + offset + strength * noise).clamp(0, 1)


def reading_loss(logits: Mapping[str, Tensor], labels: Tensor) -> Tensor:
    """Mean cross-entropy over the columns; labels (B, number of columns), in the reader's order."""
    losses = [functional.cross_entropy(row.float(), labels[:, place]) for place, row in enumerate(logits.values())]
    return torch.stack(losses).mean()


def train_reader(bank_dir: Path, out_dir: Path, passes: float = 3, batch: int = 64, seed: int = 0) -> Path:
    """Train on all but the last 2,000 rows of a bank, going on from a checkpoint; the folder of the finished reader.

    Args:
        bank_dir: a finished bank.
        out_dir: receives checkpoint.pt and, at the end, the reader in `reader/`.
        passes: how often every picture is seen.
        batch: pictures a step.
    """
    torch.manual_seed(seed)
    device, bank = pick_device(), open_bank(bank_dir)
    trained = len(bank) - HELD_OUT
    each = trained // batch  # steps a pass
    steps = math.ceil(passes * each)
    reader = AttributeReader(ReaderConfig(dict(VALUES))).to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(reader.parameters(), lr=RATE, weight_decay=DECAY)
    average = RunningAverage(reader)  # kept for the shared checkpoint; batch norm's own statistics fit the live weights

    def loss_at(step: int) -> Tensor:
        chance = np.random.default_rng((seed, step))
        rows = np.sort(shuffled_rows(trained, step // each, seed)[step % each * batch :][:batch])
        pixels = augment(to_pixels(bank.images[rows]).to(device), chance).contiguous(memory_format=torch.channels_last)
        labels = torch.from_numpy(bank.labels[rows].astype(np.int64)).to(device)
        with autocast(device):
            logits = reader(pixels)
        return reading_loss(logits, labels)

    fit("reader", out_dir, reader.train(), optimizer, average, steps, RATE, loss_at, largest=math.inf)
    return save_reader(reader, out_dir / "reader")


def shuffled_rows(count: int, turn: int, seed: int) -> npt.NDArray[np.int64]:
    """The rows 0..count-1 in the order of one pass; the same for the same pass and seed."""
    return np.random.default_rng((seed, 1, turn)).permutation(count)


def save_reader(reader: AttributeReader, folder: Path) -> Path:
    """Write weights (fp16 safetensors) and config (JSON); `load_reader` reads them back."""
    state = {
        name: value.detach().to("cpu", torch.float16 if value.is_floating_point() else value.dtype).contiguous()
        for name, value in reader.state_dict().items()
    }
    text = json.dumps(asdict(reader.config), indent=2) + "\n"
    with replacing(folder / WEIGHTS_FILE) as draft:
        save_file(state, draft)
    write_file(folder / CONFIG_FILE, text)
    return folder


def load_reader(folder: Path) -> AttributeReader:
    """A reader as `save_reader` left it, fp32, in evaluation mode."""
    config = TypeAdapter(ReaderConfig).validate_json((folder / CONFIG_FILE).read_bytes())
    reader = AttributeReader(config)
    reader.load_state_dict(load_file(folder / WEIGHTS_FILE))
    return reader.to(pick_device(), torch.float32).eval().requires_grad_(False)


def evaluate_reader(reader: AttributeReader, images: Pictures, labels: npt.NDArray[Any]) -> dict[str, float]:
    """Share read right, a column.

    Args:
        images: N pictures.
        labels: (N, number of columns), indices of the true values in the order of `reader.config.columns`.
    """
    return {
        column: float(np.mean(rows.argmax(1) == np.asarray(labels)[:, place]))
        for place, (column, rows) in enumerate(reader.chances(images).items())
    }
