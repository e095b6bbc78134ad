"""The options of `harness train`; whatever has no option of its own is given as `--set KEY=VALUE`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from harness.config.training import LAYERS, Dtype, Optimizer, Preset, Schedule, TextEncoders, TrainingEntry
from harness.core.errors import UsageError, nearest

NUMBERS = {
    "steps": int,
    "batch": int,
    "accumulate": int,
    "rank": int,
    "alpha": float,
    "learning_rate": float,
    "warmup": int,
    "prior_weight": float,
    "class_pictures": int,
    "ema": float,
    "seed": int,
    "sample_every": int,
}
CHOICES: dict[str, Any] = {
    "optimizer": Optimizer,
    "schedule": Schedule,
    "text_encoders": TextEncoders,
    "dtype": Dtype,
}
SWITCHES = ("dora", "rslora", "buckets", "flip", "gradient_checkpointing", "compile")


def train_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("suite", type=Path)
    sub.add_argument("--profile", help="default: embedded, or HARNESS_PROFILE")
    sub.add_argument("--out", type=Path, help="where the LoRA goes (default: the suite's own lora)")
    sub.add_argument("--store", help="where checkpoints are kept until the training ends")
    recipe = sub.add_argument_group("recipe", "what is not given follows from profile, pictures and machine")
    recipe.add_argument("--preset", choices=get_args(Preset), help="a named recipe, in place of the profile's values")
    for name, kind in NUMBERS.items():
        recipe.add_argument(option(name), type=kind, help=about(name))
    for name, values in CHOICES.items():
        recipe.add_argument(option(name), choices=get_args(values), help=about(name))
    for name in SWITCHES:
        recipe.add_argument(option(name), action=argparse.BooleanOptionalAction, help=about(name))
    recipe.add_argument("--target-modules", metavar="LAYERS", help="attention, attention+ff, all, or names: to_q,to_k")
    recipe.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="any other key of `training:`")


def option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def about(name: str) -> str | None:
    """What a profile's schema says of the key."""
    text = TrainingEntry.model_fields[name].description
    return text.replace("%", "%%") if text else None


def train(options: argparse.Namespace) -> int:
    from harness.config.profile import load_profile
    from harness.config.suite import load_suite
    from harness.core.settings import Settings
    from harness.training.distributed import join_processes
    from harness.training.suite_training import train_suite

    settings = Settings.load(Path.cwd(), {"profile": options.profile, "store": options.store})
    profile = load_profile(settings.profile, settings.root)
    suite = load_suite(options.suite.resolve(), profile)
    command = " ".join(["harness", *sys.argv[1:]])
    path = train_suite(suite, profile, settings, out=options.out, changes=asked(options), command=command)
    if join_processes("cpu").leads:
        print(f"wrote {path}")
    return 0


def asked(options: argparse.Namespace) -> dict[str, Any]:
    """The settings that the command line gives. Raises UsageError for a wrong `--set`."""
    names = ("preset", *NUMBERS, *CHOICES, *SWITCHES)
    results = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    if options.target_modules:
        layers = [part.strip() for part in options.target_modules.split(",")]
        results["target_modules"] = layers if len(layers) > 1 or layers[0] in LAYERS else layers[0]
    return {**results, **read_pairs(options.set)}


def read_pairs(pairs: Sequence[str]) -> dict[str, Any]:
    """KEY=VALUE texts, the values as YAML and then their setting reads them."""
    import yaml

    from harness.models.lora.train_config import read_setting

    results = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or name not in TrainingEntry.model_fields:
            raise UsageError(f"--set {pair}: no such setting; {nearest(name, TrainingEntry.model_fields)}")
        try:
            results[name] = read_setting(name, yaml.safe_load(text))
        except yaml.YAMLError as error:
            raise UsageError(f"--set {pair}: {text!r} cannot be read as a value") from error
    return results
