"""The held-out loss: how well the LoRA predicts the noise in pictures that it never saw.

Always the same pictures, noise and noise levels, without caption dropout and without weights by noise level, so that
two numbers differ by the weights alone. It tells a run that diverges; it chooses nothing, because with a few dozen
pictures it need not turn where the pictures do (OneTrainer PR 715).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from harness.training.data import Item
from harness.training.losses import picture_error, true_target

LEVELS = (0.1, 0.3, 0.5, 0.7, 0.9)  # of the schedule's length
SEED = 20_260
AT_ONCE = 8

Predict = Callable[[Any, Any, Sequence[str], Any], Any]
"""Noisy latents, times, captions and time ids to the UNet's prediction."""


def held_out_loss(items: Sequence[Item], schedule: Any, predict: Predict) -> float:
    """Mean squared error over all items and levels; the first view and the caption as it stands."""
    rows = [(number, level) for number in range(len(items)) for level in LEVELS]
    errors: list[Tensor] = []
    with torch.no_grad():
        for group in alike(rows, items):
            latents = torch.stack([items[number].views[0].latents for number, _ in group])
            noise = torch.stack([fixed_noise(number, level, items[number].shape) for number, level in group])
            times = torch.tensor([int(level * schedule.config.num_train_timesteps) for _, level in group])
            noisy = schedule.add_noise(latents, noise, times)
            ids = torch.stack([items[number].views[0].ids for number, _ in group])
            result = predict(noisy, times, [items[number].said[0] for number, _ in group], ids)
            errors.append(picture_error(result.cpu(), true_target(schedule, latents, noise, times)))
    return float(torch.cat(errors).mean())


def alike(rows: Sequence[tuple[int, float]], items: Sequence[Item]) -> list[list[tuple[int, float]]]:
    """Rows whose latents have one shape, a few at a time."""
    shapes: dict[tuple[int, ...], list[tuple[int, float]]] = {}
    for row in rows:
        shapes.setdefault(items[row[0]].shape, []).append(row)
    return [group[first : first + AT_ONCE] for group in shapes.values() for first in range(0, len(group), AT_ONCE)]


def fixed_noise(number: int, level: float, shape: tuple[int, ...]) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(SEED + 1000 * number + int(1000 * level)))
