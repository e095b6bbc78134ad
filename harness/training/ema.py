"""The running mean of the weights: what is saved and validated where `ema` is on; the loop itself never sees it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor


class EmaWeights:
    """Exponential moving average of weights. Decay rises to its full value: min(decay, (1 + n) / (10 + n))."""

    def __init__(self, weights: Mapping[str, Tensor], decay: float) -> None:
        self.weights, self.decay = weights, decay
        self.mean = {name: weight.detach().clone() for name, weight in weights.items()} if decay else {}

    def update(self, step: int) -> None:
        """Take in the weights after a step (counted from 0)."""
        if not self.mean:
            return
        decay = min(self.decay, (1 + step) / (10 + step))
        with torch.no_grad():
            for name, mean in self.mean.items():
                mean.lerp_(self.weights[name], 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The mean instead of the weights, inside the block; nothing without an average."""
        if not self.mean:
            yield
            return
        kept = {name: weight.detach().clone() for name, weight in self.weights.items()}
        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(self.mean[name])
        try:
            yield
        finally:
            with torch.no_grad():
                for name, weight in self.weights.items():
                    weight.copy_(kept[name])
