"""One process, or several that train together: `accelerate launch -m harness train ...`.

Only the LoRA learns, so that its gradients are all that the processes have to agree on: one sum a step. Each takes its
own part of the pictures of a step; two devices with a batch of 4 learn what one learns with a batch of 8.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from accelerate import PartialState
from torch import Tensor

from harness.core.settings import launched_processes


@dataclass(frozen=True)
class ProcessGroup:
    """This process among those that train together."""

    rank: int = 0
    size: int = 1
    device: str = "cpu"

    @property
    def leads(self) -> bool:
        """Whether this process writes files and lines of progress."""
        return self.rank == 0

    def wait(self) -> None:
        """Until all have come this far."""
        if self.size > 1:
            torch.distributed.barrier()

    def average(self, tensors: Iterable[Tensor | None]) -> None:
        """Replace each tensor by its mean over the processes, in one exchange."""
        if self.size == 1:
            return
        own = [tensor for tensor in tensors if tensor is not None]
        flat = torch.cat([tensor.reshape(-1) for tensor in own])
        torch.distributed.all_reduce(flat)
        flat /= self.size
        for tensor, mean in zip(own, flat.split([tensor.numel() for tensor in own]), strict=True):
            tensor.copy_(mean.view_as(tensor))


def join_processes(device: str) -> ProcessGroup:
    """The team that accelerate's launcher made, or this process alone.

    Args:
        device: of a process that is alone; one of several takes the card with its own number.
    """
    if launched_processes() <= 1:
        return ProcessGroup(device=device)
    state = PartialState(cpu=device == "cpu")
    return ProcessGroup(state.process_index, state.num_processes, str(state.device))
