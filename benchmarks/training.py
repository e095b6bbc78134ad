"""A training against diffusers' own SDXL DreamBooth LoRA script: end to end, held-out loss, peak memory.

Both train the embedded pipeline on the twelve pictures of the shipped suite with their captions: the same batch, steps,
rank, rate, precision, optimizer and layers, no prior and no loss weights, each in a process of its own, from the start
of Python to the written file. The script is not carried here; it is examples/dreambooth/train_dreambooth_lora_sdxl.py
of github.com/huggingface/diffusers.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.process import ROOT, Timing, run_python
from harness.config.profile import load_profile
from harness.config.suite import load_suite
from harness.core.settings import Settings
from harness.core.values import Subject
from harness.models.loading import Models, resolve_device, resolve_dtype
from harness.models.lora.train_config import ATTENTION, TrainConfig
from harness.training.data import train_pictures

BASE, SUITE = ROOT / "fixtures" / "models" / "sdxl", ROOT / "suites" / "aldar_kose.yaml"
BATCH, STEPS, QUICK, RANK, RATE = 4, 400, 100, 16, 1e-3


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--script", type=Path, required=True, help="diffusers' train_dreambooth_lora_sdxl.py")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} steps instead of {STEPS}")


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Speed-up end to end, and the ratios (ours over theirs) of held-out loss and peak memory."""
    steps, script = QUICK if options.quick else STEPS, options.script.resolve()
    subject = load_suite(SUITE, load_profile("embedded", ROOT)).subject
    print(
        f"method: {BASE.relative_to(ROOT)}, {len(train_pictures(subject))} pictures at 96 px, {steps} steps of {BATCH}"
    )
    print(f"        rank {RANK}, AdamW {RATE:g}, constant, {precision()}; one process each, one after the other")
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = Path(folder) / "ours.safetensors", Path(folder) / "theirs"
        first = check(run_python(our_words(steps, ours, Path(folder)), ROOT))
        second = check(run_python(their_words(script, steps, theirs, write_pictures(subject, Path(folder))), ROOT))
        losses = held_out_losses(subject, [None, ours, theirs / "pytorch_lora_weights.safetensors"])
    print(next(line for line in second.output.splitlines() if line.startswith("stand-ins")))
    rows = [("harness train", first, losses[1]), ("diffusers", second, losses[2])]
    for name, timing, loss in rows:
        times = f"{timing.seconds:6.1f} s ({timing.cpu_seconds:6.1f} s of processor)"
        print(f"{name:14} {times}  {timing.peak_gib:5.2f} GiB  held-out loss {loss:.5f}")
    print(f"base alone: held-out loss {losses[0]:.5f}")
    return {
        "speedup": round(second.seconds / first.seconds, 2),
        "cpu_speedup": round(second.cpu_seconds / first.cpu_seconds, 2),
        "loss_ratio": round(losses[1] / losses[2], 4),
        "memory_ratio": round(first.peak_gib / second.peak_gib, 3),
        "seconds": round(first.seconds, 1),
        "their_seconds": round(second.seconds, 1),
        "steps": steps,
    }


def precision() -> str:
    """What this machine is faster at, for both."""
    return resolve_dtype("auto", resolve_device("auto"))


def our_words(steps: int, out: Path, folder: Path) -> list[str]:
    """`harness train` with the script's recipe."""
    settings = {
        "steps": steps,
        "batch": BATCH,
        "rank": RANK,
        "alpha": RANK,
        "learning_rate": RATE,
        "schedule": "constant",
        "warmup": 0,
        "prior_weight": 0,
        "snr_gamma": 0,
        "caption_dropout": 0,
        "dtype": precision(),
        "target_modules": f"[{', '.join(ATTENTION)}]",
        "validate_every": 0,
        "checkpoint_every": steps,
    }
    words = ["-m", "harness", "train", str(SUITE), "--out", str(out), "--store", str(folder / "store")]
    return [*words, *(word for name, value in settings.items() for word in ("--set", f"{name}={value}"))]


def their_words(script: Path, steps: int, out: Path, pictures: Path) -> list[str]:
    """The script with the same settings."""
    settings = {
        "pretrained_model_name_or_path": BASE,
        "dataset_name": pictures,
        "caption_column": "text",
        "instance_prompt": "aldar kose",
        "output_dir": out,
        "resolution": 96,
        "train_batch_size": BATCH,
        "max_train_steps": steps,
        "rank": RANK,
        "learning_rate": RATE,
        "lr_scheduler": "constant",
        "lr_warmup_steps": 0,
        "adam_weight_decay": 1e-2,
        "checkpointing_steps": 10 * steps,
        "mixed_precision": {"float32": "no", "bfloat16": "bf16"}[precision()],
        "seed": 0,
    }
    options = (word for name, value in settings.items() for word in (f"--{name}", str(value)))
    return ["-m", "benchmarks.dreambooth.launch", str(script), *options, "--center_crop"]


def write_pictures(subject: Subject, folder: Path) -> Path:
    """The train pictures as an image folder with captions."""
    place = folder / "pictures"
    place.mkdir()
    records = []
    for picture in train_pictures(subject):
        shutil.copyfile(picture.path, place / picture.path.name)
        records.append({"file_name": picture.path.name, "text": picture.caption})
    text = "".join(f"{json.dumps(record)}\n" for record in records)
    (place / "metadata.jsonl").write_text(text, encoding="utf-8")
    return place


def check(timing: Timing) -> Timing:
    """The timing of a run that ended well."""
    if timing.status:
        sys.exit(f"a training failed:\n{timing.output[-3000:]}")
    return timing


def held_out_losses(subject: Subject, loras: Sequence[Path | None]) -> list[float]:
    """Our validation loss of each file, None for the base alone: the same pictures, noise and noise levels."""
    from harness.training.distributed import ProcessGroup
    from harness.training.loop import Loop, Setup
    from harness.training.trainer import prepare, training_place

    profile = load_profile("embedded", ROOT)
    models = Models(profile, Settings.load(ROOT, {}))
    config = TrainConfig(rank=RANK, alpha=RANK, dtype="float32", target_modules=ATTENTION)
    device, dtype = training_place(config, models)
    found = []
    for lora in loras:
        work = Path(tempfile.gettempdir())
        ready = prepare(config, subject, profile, models, dtype, ProcessGroup(device=device), work, lora)
        setup = Setup(config, ready.data, ready.texts, ready.models, ready.schedule, dtype, work, "", {})
        found.append(Loop(setup).validate())
    return found
