"""Optimizers and the course of their rate."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import Any

import torch
from torch import Tensor

from harness.core.errors import UsageError
from harness.models.lora.train_config import TrainConfig


def make_optimizer(config: TrainConfig, unet: Sequence[Tensor], text: Sequence[Tensor], device: str) -> Any:
    """The configured optimizer; each group keeps its full rate under "rate".

    Raises:
        UsageError: its package is not installed, or cannot use this device.
    """
    groups: list[dict[str, object]] = [{"params": list(unet), "rate": config.learning_rate}]
    if text:  # prodigy takes one rate for all: it is a factor of what it finds itself
        rate = config.learning_rate if config.optimizer == "prodigy" else config.text_learning_rate
        groups.append({"params": list(text), "rate": rate})
    for group in groups:
        group["lr"] = group["rate"]
    return {"adamw": adamw, "adamw8bit": adamw8bit, "prodigy": prodigy}[config.optimizer](config, groups, device)


def adamw(config: TrainConfig, groups: list[dict[str, object]], device: str) -> Any:
    """PyTorch's own, in one kernel for all weights."""
    fused = device.partition(":")[0] in ("cuda", "cpu")
    return torch.optim.AdamW(groups, lr=config.learning_rate, weight_decay=config.weight_decay, fused=fused)


def adamw8bit(config: TrainConfig, groups: list[dict[str, object]], device: str) -> Any:
    """bitsandbytes' AdamW with 8-bit moments: a quarter of their memory."""
    try:
        from bitsandbytes.optim import AdamW8bit  # type: ignore[import-not-found]
    except ImportError as error:
        raise UsageError(
            "training: optimizer adamw8bit needs bitsandbytes; `pip install bitsandbytes`, or take adamw"
        ) from error
    if not device.startswith("cuda"):
        raise UsageError(f"training: optimizer adamw8bit needs a CUDA card, not {device}; take adamw")
    return AdamW8bit(groups, lr=config.learning_rate, weight_decay=config.weight_decay)


def prodigy(config: TrainConfig, groups: list[dict[str, object]], device: str) -> Any:
    """Prodigy (arXiv 2306.06101), which finds its rate; with the options its authors advise for diffusion models."""
    try:
        from prodigyopt import Prodigy  # type: ignore[import-untyped]
    except ImportError as error:
        raise UsageError(
            "training: optimizer prodigy needs prodigyopt; `pip install 'lora-harness[train]'`, or take adamw"
        ) from error
    options = {"decouple": True, "use_bias_correction": True, "safeguard_warmup": True}
    with redirect_stdout(io.StringIO()):  # it prints a line about its options
        return Prodigy(groups, lr=config.learning_rate, weight_decay=config.weight_decay, **options)


def set_rates(optimizer: Any, step: int, config: TrainConfig) -> None:
    """Every group's rate for this step."""
    factor = rate_factor(step, config)
    for group in optimizer.param_groups:
        group["lr"] = group["rate"] * factor


def rate_factor(step: int, config: TrainConfig) -> float:
    """Linear warm-up, then the schedule: a cosine or a line that reach zero just after the last step, or constant."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    if config.schedule == "constant":
        return 1.0
    progress = (step - config.warmup) / max(1, config.steps - config.warmup)
    return 1 - progress if config.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * progress))
