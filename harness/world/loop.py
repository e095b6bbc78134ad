"""What every long training of the world shares: rate, average, checkpoints and a line of progress.

Everything here is the same for the autoencoder, the base and the readers; what is special to one of them
stays in its own module.
"""

import math
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, TypedDict

import torch
from torch import Tensor, nn

from harness.core.files import replacing
from harness.models.loading import cpu_multiplies_bfloat16

CHECKPOINT = "checkpoint.pt"
CHECKPOINT_EVERY = 120.0  # seconds
PROGRESS_EVERY = 20.0  # seconds


def pick_device() -> torch.device:
    """The card when there is one, else the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def autocast(device: torch.device) -> AbstractContextManager[Any]:
    """Mixed precision where the device gains by it, nothing elsewhere."""
    if device.type == "cuda" or cpu_multiplies_bfloat16():  # others are slower in bf16 than in fp32
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()


def learning_rate_at(step: int, steps: int, peak: float, warmup: int = 100, last: float = 0.02) -> float:
    """Linear warm-up, then a cosine from `peak` down to `last * peak` at `steps`."""
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, steps - warmup))
    return peak * (last + (1 - last) * 0.5 * (1 + math.cos(math.pi * progress)))


class RunningAverage:
    """A running average of weights; it draws better than the weights of any single step.

    Args:
        decay: 0.999 looks back about 1,000 steps; early on it looks back less, so that the random
            weights of the first steps are forgotten.
    """

    def __init__(self, model: nn.Module, decay: float = 0.999) -> None:
        self.decay = decay
        self._live = list(model.parameters())
        self.mean = [weight.detach().clone() for weight in self._live]  # in the order of `model.parameters()`

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights as they are after `step`."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.mean, [weight.detach() for weight in self._live], 1 - decay)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the model's weights with the average; a second call puts them back."""
        for live, mean in zip(self._live, self.mean, strict=True):
            kept = live.detach().clone()
            live.copy_(mean)
            mean.copy_(kept)


@torch.no_grad()
def copy_all(targets: Iterable[Tensor], sources: Iterable[Tensor]) -> None:
    """Overwrite weights with others of the same shapes, one by one."""
    for target, source in zip(targets, sources, strict=True):
        target.copy_(source)


class Checkpoint(TypedDict):
    """What a training of the world goes on from."""

    step: int  # how many are done
    model: dict[str, Tensor]
    optimizer: dict[str, Any]
    average: list[Tensor]


def save_checkpoint(
    folder: Path, step: int, model: nn.Module, optimizer: torch.optim.Optimizer, average: RunningAverage
) -> None:
    """Keep everything that the next step depends on; `step` is how many steps are done."""
    record: Checkpoint = {
        "step": step,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "average": average.mean,
    }
    with replacing(folder / CHECKPOINT) as draft:
        torch.save(record, draft)


def read_checkpoint(folder: Path) -> Checkpoint | None:
    """The last checkpoint of a folder, on the processor, or None before the first one."""
    path = folder / CHECKPOINT
    return torch.load(path, map_location="cpu", weights_only=True) if path.exists() else None


def resume(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, average: RunningAverage) -> int:
    """Load the last checkpoint if there is one, and say how many steps are done."""
    record = read_checkpoint(folder)
    if record is None:
        return 0
    model.load_state_dict(record["model"])
    optimizer.load_state_dict(record["optimizer"])
    copy_all(average.mean, record["average"])
    print(f"resumed {folder} at step {record['step']}", flush=True)
    return record["step"]


def load_averaged(folder: Path, model: nn.Module) -> int:
    """Put the averaged weights of the last checkpoint into a fresh model, and say how many steps are behind them.

    Raises:
        FileNotFoundError: no checkpoint has been written yet.
    """
    record = read_checkpoint(folder)
    if record is None:
        raise FileNotFoundError(f"{folder}: no checkpoint yet; its training writes one every two minutes")
    copy_all(model.parameters(), record["average"])
    return record["step"]


class Alarm:
    """Rings at most once every `seconds`; the first time after `seconds`."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._last = time.monotonic()

    def rings(self) -> bool:
        """Whether it is time again; asking when it is resets the alarm."""
        now = time.monotonic()
        if now - self._last < self.seconds:
            return False
        self._last = now
        return True


class ProgressPrinter:
    """Prints step, loss (mean since the last line), speed and the time that is left."""

    def __init__(self, name: str, done: int, steps: int) -> None:
        self._name = name
        self._steps = steps
        self._alarm = Alarm(PROGRESS_EVERY)
        self._since = time.monotonic()
        self._done = done
        self._losses: list[Tensor] = []

    def note(self, done: int, loss: Tensor) -> None:
        """Count one step; `done` includes it."""
        self._losses.append(loss.detach())
        if done == self._steps or self._alarm.rings():
            self._print(done)

    def _print(self, done: int) -> None:
        now = time.monotonic()
        speed = max(1, done - self._done) / max(1e-9, now - self._since)
        left = (self._steps - done) / speed / 60
        loss = torch.stack(self._losses).float().mean().item()
        print(
            f"{self._name} {done}/{self._steps}  loss {loss:.4f}  {speed:.2f} steps/s  {left:.0f} min left",
            flush=True,
        )
        self._since, self._done, self._losses = now, done, []


def fit(
    name: str,
    folder: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: RunningAverage,
    steps: int,
    peak: float,
    loss_at: Callable[[int], Tensor],
    *,
    warmup: int = 100,
    largest: float = 1.0,
    report: Callable[[int], None] = lambda done: None,
) -> None:
    """Train up to `steps`, going on from the checkpoint in `folder` if there is one; the last step leaves one too.

    Args:
        peak: the highest learning rate; see `learning_rate_at`.
        loss_at: the loss of a step. All chance in it must be of this step alone, so that resuming changes nothing.
        largest: norm of the gradients, at most.
        report: what is told of a model after so many steps.
    """
    done = resume(folder, model, optimizer, average)
    progress, alarm = ProgressPrinter(name, done, steps), Alarm(CHECKPOINT_EVERY)
    for step in range(done, steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(step, steps, peak, warmup)
        loss = loss_at(step)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), largest)
        optimizer.step()
        average.update(step)
        progress.note(step + 1, loss)
        report(step + 1)
        if alarm.rings() or step + 1 == steps:
            save_checkpoint(folder, step + 1, model, optimizer, average)
