"""Memory of the device that draws: how much there is, and what to do when it is short."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from harness.core.errors import ModelError

GIB = 2**30
TILE = 512  # pixels; a larger picture is decoded in tiles of this side
SAYINGS = ("out of memory", "can't allocate memory", "not enough memory")


def measure_memory(device: str) -> tuple[float, float] | None:
    """Free and total GiB of a device; None where it cannot be told."""
    try:
        if device.startswith("cuda"):
            free, total = torch.cuda.mem_get_info(device)
            return free / GIB, total / GIB
        if device.startswith("mps"):
            total = torch.mps.recommended_max_memory()
            return (total - torch.mps.current_allocated_memory()) / GIB, total / GIB
        page = os.sysconf("SC_PAGE_SIZE")
        return os.sysconf("SC_AVPHYS_PAGES") * page / GIB, os.sysconf("SC_PHYS_PAGES") * page / GIB
    except (AttributeError, OSError, RuntimeError, ValueError):
        return None


def memory_text(device: str) -> str:
    """`3.1 of 7.9 GiB of cuda are free`."""
    result = measure_memory(device)
    return (
        f"{result[0]:.1f} of {result[1]:.1f} GiB of {device} are free"
        if result
        else f"{device} does not say what it has"
    )


def release_memory() -> None:
    """Give back what an aborted batch left in the device's own pool."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    elif torch.backends.mps.is_available():
        torch.mps.empty_cache()


@contextmanager
def memory_errors_translated(batch: int) -> Iterator[None]:
    """Every backend's own way of saying "out of memory" becomes MemoryError; the engine then halves the batch."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise MemoryError(f"a batch of {batch} does not fit into the device's memory: {error}") from error
    except RuntimeError as error:
        if any(saying in str(error).lower() for saying in SAYINGS):
            raise MemoryError(f"a batch of {batch} does not fit into memory: {error}") from error
        raise ModelError(f"the model could not draw a batch of {batch}: {error}") from error


def spare_memory(pipe: Any, on: bool) -> None:
    """Attention in slices, and the autoencoder in tiles; slower, and tiles may differ a little where they meet.

    Args:
        pipe: a StableDiffusionXLPipeline.
        on: False undoes it.
    """
    pipe.unet.set_attention_slice("max" if on else None)
    vae = pipe.vae
    if on:
        factor = pipe.vae_scale_factor
        vae.tile_sample_min_size = min(TILE, vae.config.sample_size)
        vae.tile_latent_min_size = vae.tile_sample_min_size // factor
    vae.use_tiling = on
