"""The bank's pictures as latents on disk, so that the base trains without the autoencoder."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt
import torch
from diffusers import AutoencoderKL

from harness.core.files import write_file
from harness.world.bank import open_bank
from harness.world.loop import CHECKPOINT_EVERY, Alarm, ProgressPrinter, autocast
from harness.world.render import SIZE
from harness.world.vae import CHANNELS, FACTOR, load_vae, read_pictures

LATENTS = "latents.npy"
NOTES = "latents.json"  # which autoencoder made them, their scale, and how many are done
SIDE = SIZE // FACTOR
SAMPLE = 2_048  # pictures that measure the spread to a tenth of a percent
BATCH = 32


class LatentNotes(TypedDict):
    """How far the encoding is, and what it was made with."""

    count: int  # pictures in all
    done: int
    scaling_factor: float
    weights: str  # SHA-256 of the autoencoder's


def open_latents(folder: Path) -> npt.NDArray[np.float16]:
    """Latents (N, 16, 12, 12), scaled to a standard deviation of 1, by memory map."""
    notes = _read_notes(folder)
    if notes is None or notes["done"] < notes["count"]:
        raise FileNotFoundError(f"{folder}: no finished latents; encode_latents makes them and can be run again")
    return np.load(folder / LATENTS, mmap_mode="r")


@torch.no_grad()
def encode_pictures(vae: AutoencoderKL, images: Any, indices: Any) -> npt.NDArray[np.float32]:
    """The posterior's means, unscaled: (B, 16, 12, 12)."""
    pictures = read_pictures(images, indices, vae.device)
    with autocast(pictures.device):
        mean = vae.encode(pictures).latent_dist.mean
    return mean.float().cpu().numpy()


def measure_scale(vae: AutoencoderKL, images: Any) -> float:
    """1 / standard deviation of the latents, over pictures spread evenly through the bank."""
    chosen = np.unique(np.linspace(0, len(images) - 1, min(SAMPLE, len(images)), dtype=np.int64))
    batches = np.array_split(chosen, -(-len(chosen) // BATCH))
    means = np.concatenate([encode_pictures(vae, images, batch) for batch in batches])
    return float(1 / means.std(dtype=np.float64))


def encode_latents(bank_dir: Path, vae_dir: Path, out_dir: Path) -> None:
    """Encode the whole bank; write the scale into the autoencoder's config; go on where it stopped.

    Latents of another autoencoder than the one in `vae_dir` are made anew.
    """
    images = open_bank(bank_dir).images
    vae = load_vae(vae_dir)
    notes = _read_notes(out_dir)
    if notes is None or notes["weights"] != _digest(vae_dir) or notes["count"] != len(images):
        notes = _begin(vae, vae_dir, images, out_dir)
    vae.register_to_config(scaling_factor=notes["scaling_factor"])
    vae.save_config(vae_dir)

    latents = np.lib.format.open_memmap(out_dir / LATENTS, mode="r+")
    progress = ProgressPrinter("latents", notes["done"], len(images))
    alarm = Alarm(CHECKPOINT_EVERY)
    for start in range(notes["done"], len(images), BATCH):
        end = min(start + BATCH, len(images))
        scaled = encode_pictures(vae, images, slice(start, end)) * notes["scaling_factor"]
        latents[start:end] = scaled
        progress.note(end, torch.tensor(float(scaled.std())))
        if alarm.rings() or end == len(images):
            latents.flush()
            notes = {**notes, "done": end}
            _write_notes(out_dir, notes)


def _begin(vae: AutoencoderKL, vae_dir: Path, images: Any, out_dir: Path) -> LatentNotes:
    """An empty file of latents, and the notes that say so."""
    out_dir.mkdir(parents=True, exist_ok=True)
    (out_dir / NOTES).unlink(missing_ok=True)
    shape = (len(images), CHANNELS, SIDE, SIDE)
    np.lib.format.open_memmap(out_dir / LATENTS, mode="w+", dtype=np.float16, shape=shape).flush()
    notes: LatentNotes = {
        "count": len(images),
        "done": 0,
        "scaling_factor": measure_scale(vae, images),
        "weights": _digest(vae_dir),
    }
    _write_notes(out_dir, notes)
    return notes


def _digest(vae_dir: Path) -> str:
    return hashlib.sha256((vae_dir / "diffusion_pytorch_model.safetensors").read_bytes()).hexdigest()


def _read_notes(folder: Path) -> LatentNotes | None:
    path = folder / NOTES
    return json.loads(path.read_text()) if path.exists() else None


def _write_notes(folder: Path, notes: LatentNotes) -> None:
    write_file(folder / NOTES, json.dumps(notes))
