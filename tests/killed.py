"""Trains in a child that is killed ten times, then once without; a program, because only a process can be killed.

Usage: python tests/killed.py MODELS REFERENCES OUT
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

from harness.core.values import Subject
from harness.models.lora.train_config import TrainConfig
from harness.training.state import STATE
from harness.training.trainer import train
from tests.tiny import make_context

CONFIG = TrainConfig(
    steps=40, batch=1, rank=2, alpha=2, learning_rate=5e-3, checkpoint_every=1, validate_every=20, ema=0.9
)
KILLS = 10


def run(models: Path, references: Path, out: Path) -> None:
    context = make_context(models)
    subject = Subject("Aldar Kose", "aldar kose", references)
    train(CONFIG, subject, context.profile, context.models, out, work=out.with_suffix(".work"))


def begin(models: Path, references: Path, out: Path) -> int:
    """A child that trains; it has the imports of this process, so that it starts at once."""
    pid = os.fork()
    if pid == 0:
        run(models, references, out)
        os._exit(0)
    return pid


def kill_once(models: Path, references: Path, out: Path, chance: random.Random) -> bool:
    """Kill a child at a random moment after its first own checkpoint. False when it ended before."""
    state = out.with_suffix(".work") / STATE
    before = state.stat().st_mtime_ns if state.exists() else 0
    pid = begin(models, references, out)
    while not state.exists() or state.stat().st_mtime_ns == before:
        if os.waitpid(pid, os.WNOHANG)[0]:
            return False
        time.sleep(0.001)
    time.sleep(chance.uniform(0, 0.05))
    os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


def main(models: Path, references: Path, out: Path) -> int:
    import diffusers.training_utils
    import peft
    import torch
    from diffusers import DDPMScheduler, StableDiffusionXLPipeline, UNet2DConditionModel

    torch.set_num_threads(1)
    assert peft and diffusers and DDPMScheduler and StableDiffusionXLPipeline and UNet2DConditionModel
    chance = random.Random(0)
    killed = sum(kill_once(models, references, out / "broken.safetensors", chance) for _ in range(KILLS))
    for name in ("broken", "whole"):
        status = os.waitstatus_to_exitcode(os.waitpid(begin(models, references, out / f"{name}.safetensors"), 0)[1])
        if status:
            return status
    print(f"killed {killed} times")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*map(Path, sys.argv[1:])))
