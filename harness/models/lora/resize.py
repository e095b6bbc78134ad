"""A LoRA of a smaller rank: each module's change is replaced by the nearest one of that rank (Eckart and Young).

The singular values come from the factors, never from the full matrix: QR of both, and an SVD of the small core.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch

from harness.core.errors import UsageError
from harness.models.lora.file import LoraFile, LowRankFactors


@dataclass(frozen=True)
class Cost:
    """What a module lost."""

    before: int  # rank
    after: int
    error: float  # Frobenius norm of what was left out, relative to the module's change
    norm: float  # of the module's change before


@dataclass(frozen=True, eq=False)
class Resized:
    """A smaller LoRA and what each module lost."""

    lora: LoraFile
    costs: Mapping[str, Cost]

    @property
    def error(self) -> float:
        """Over all modules: the norm of what was left out, relative to that of the whole change."""
        lost = sum((cost.error * cost.norm) ** 2 for cost in self.costs.values())
        whole = sum(cost.norm**2 for cost in self.costs.values())
        return math.sqrt(lost / whole) if whole else 0.0


def resize(lora: LoraFile, rank: int | None = None, energy: float | None = None) -> Resized:
    """Bring every module to a rank, or each to the least rank that keeps a share of its energy.

    Args:
        rank: the largest rank of any module; smaller ones stay as they are.
        energy: share of the sum of squared singular values that stays, in (0, 1].

    Raises:
        UsageError: neither is given, or one is out of its range.
    """
    if rank is None and energy is None:
        raise UsageError("resize: give --rank R, --energy E, or both")
    if (rank is not None and rank < 1) or (energy is not None and not 0 < energy <= 1):
        raise UsageError("resize: a rank is 1 or more, an energy lies in (0, 1]")
    modules, costs = {}, {}
    for name, item in lora.modules.items():
        modules[name], costs[name] = shrink(item, rank, energy)
    return Resized(replace(lora, modules=modules), costs)


def shrink(item: LowRankFactors, rank: int | None, energy: float | None) -> tuple[LowRankFactors, Cost]:
    """One module. alpha / rank stays what it was, so that the factors' sizes keep their meaning."""
    left, core_up = torch.linalg.qr(item.up_matrix)
    right, core_down = torch.linalg.qr(item.down_matrix.T)
    u, values, v = torch.linalg.svd(core_up @ core_down.T)
    keep = min(item.rank, choose_rank(values, rank, energy))
    squares = values.square()
    whole, lost = float(squares.sum()), float(squares[keep:].sum())
    cost = Cost(item.rank, keep, math.sqrt(lost / whole) if whole else 0.0, abs(item.scale) * math.sqrt(whole))
    if keep == item.rank:
        return item, Cost(item.rank, keep, 0.0, cost.norm)
    root = values[:keep].sqrt()
    up, down = left @ u[:, :keep] * root, (right @ v[:keep].T * root).T
    shapes = (item.up.shape[0], keep, *item.up.shape[2:]), (keep, *item.down.shape[1:])
    small = replace(
        item,
        up=up.reshape(shapes[0]).to(item.up.dtype),
        down=down.reshape(shapes[1]).to(item.down.dtype),
        alpha=item.scale * keep,
    )
    return small, cost


def choose_rank(values: torch.Tensor, rank: int | None, energy: float | None) -> int:
    """How many singular values stay; at least one, also of a module that does nothing."""
    keep = len(values)
    if energy is not None:
        squares = values.square()
        reached = squares.cumsum(0) >= energy * squares.sum() * (1 - 1e-12)  # 1.0 must not fail by a rounding
        keep = int(reached.int().argmax()) + 1
    return max(1, keep if rank is None else min(rank, keep))
