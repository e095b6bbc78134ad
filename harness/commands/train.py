"""`harness train`; whatever setting has no option of its own is given as `--set KEY=VALUE`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import click
import yaml

from harness.commands.options import Decorator, command, option, profile_option, suite_argument, together
from harness.commands.project import open_suite
from harness.config.training import LAYERS, Dtype, Optimizer, Preset, Schedule, TextEncoders, TrainingEntry
from harness.core.errors import UsageError, nearest
from harness.models.lora.train_config import read_setting

NUMBERS = {
    "steps": int,
    "epochs": int,
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


def setting_option(name: str, **settings: Any) -> Decorator:
    """The option of one training setting, with what a profile's schema says of it."""
    words = name.replace("_", "-")
    names = f"--{words}/--no-{words}" if name in SWITCHES else f"--{words}"
    return option(names, default=None, help=TrainingEntry.model_fields[name].description, **settings)


recipe_options = together(
    option("--preset", type=click.Choice(get_args(Preset)), help="a named recipe, in place of the profile's values"),
    *(setting_option(name, type=kind) for name, kind in NUMBERS.items()),
    *(setting_option(name, type=click.Choice(get_args(values))) for name, values in CHOICES.items()),
    *(setting_option(name) for name in SWITCHES),
    option("--target-modules", metavar="LAYERS", help="attention, attention+ff, all, or names: to_q,to_k"),
    option("--set", "pairs", multiple=True, metavar="KEY=VALUE", help="any other key of `training:`"),
)


@command
@suite_argument
@profile_option
@option("--out", type=Path, help="where the LoRA goes (default: the suite's own lora)")
@option("--store", help="where checkpoints are kept until the training ends")
@recipe_options
def train(
    suite: Path,
    profile: str | None,
    out: Path | None,
    store: str | None,
    target_modules: str | None,
    pairs: tuple[str, ...],
    **recipe: float | str | bool | None,
) -> int:
    """What is not given follows from profile, pictures and machine."""
    from harness.training.distributed import join_processes
    from harness.training.suite_training import train_suite

    read, chosen, settings = open_suite(suite, profile=profile, store=store)
    changes = asked(recipe, target_modules, pairs)
    path = train_suite(read, chosen, settings, out=out, changes=changes, command=" ".join(["harness", *sys.argv[1:]]))
    if join_processes("cpu").leads:
        print(f"wrote {path}")
    return 0


train.epilog = "What is not given of the recipe follows from profile, pictures and machine."


def asked(recipe: Mapping[str, object], target_modules: str | None, pairs: Sequence[str]) -> dict[str, object]:
    """The settings that the command line gives. Raises UsageError for a wrong `--set`."""
    results = {name: value for name, value in recipe.items() if value is not None}
    if target_modules:
        layers = [part.strip() for part in target_modules.split(",")]
        results["target_modules"] = layers if len(layers) > 1 or layers[0] in LAYERS else layers[0]
    return {**results, **read_pairs(pairs)}


def read_pairs(pairs: Sequence[str]) -> dict[str, object]:
    """KEY=VALUE texts, the values as YAML and then their setting reads them."""
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
