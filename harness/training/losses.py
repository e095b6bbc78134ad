"""How wrong a prediction is: weighed by noise level, and by what of the picture counts. Pure functions of tensors."""

from __future__ import annotations

from typing import Any

import torch
from diffusers.training_utils import compute_snr
from torch import Tensor


def snr_weights(schedule: Any, times: Tensor, gamma: float) -> Tensor:
    """Min-SNR weights (arXiv 2303.09556), (batch,): min(snr, gamma) over what the prediction type already carries."""
    if gamma <= 0:
        return torch.ones(len(times))
    snr = compute_snr(schedule, times)
    kept = torch.clamp(snr, max=gamma)
    carried = snr + 1 if schedule.config.prediction_type == "v_prediction" else snr.clamp(min=1e-8)
    weights: Tensor = kept / carried
    return weights


def picture_error(prediction: Tensor, target: Tensor, masks: Tensor | None = None) -> Tensor:
    """Mean squared error of each picture, (batch,); masks (batch, 1, h, w) say how much each place counts.

    A small subject counts as much as a large one: the error is divided by what its mask lets through.
    """
    squares = (prediction.float() - target.float()).square()
    if masks is None:
        return squares.mean(dim=(1, 2, 3))
    shares = masks.sum(dim=(1, 2, 3)).clamp(min=1e-6) * squares.shape[1]
    return (squares * masks).sum(dim=(1, 2, 3)) / shares


def true_target(schedule: Any, latents: Tensor, noise: Tensor, times: Tensor) -> Tensor:
    """What the UNet should have said: the noise, or the velocity where the base predicts that."""
    if schedule.config.prediction_type == "v_prediction":
        velocity: Tensor = schedule.get_velocity(latents, noise, times)
        return velocity
    return noise
