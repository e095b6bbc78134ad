"""The stages by which the embedded models are made, in their order; each is resumable and seeded. And a newcomer."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np

from harness.commands.options import argument, command, option
from harness.config.profile import load_profile
from harness.config.suite import load_suite
from harness.core.settings import Settings
from harness.models.loading import Models
from harness.world.bank import make_bank
from harness.world.domain import DRAWN, RENDERED, write_domain
from harness.world.gallery import draw_impostors, draw_references
from harness.world.newcomer import PICTURES, SEED, draw_newcomer
from harness.world.people import ALDAR, random_person

MODELS, LORAS = Path("fixtures/models"), Path("fixtures/loras")


@dataclass(frozen=True)
class StageOptions:
    """What one step is told; None: what the card was made with."""

    work: Path
    steps: int | None
    count: int | None
    into: Path
    seed: int | None


@dataclass(frozen=True)
class TrainingStage:
    """One step of the recipe."""

    run: Callable[[StageOptions], None]
    summary: str


def bank(options: StageOptions) -> None:
    make_bank(options.work / "bank", options.count or 48_000)
    make_bank(options.work / "everybody", options.count or 48_000, seed=1, everybody=True)


def vae(options: StageOptions) -> None:
    from harness.world.vae import train_vae

    train_vae(options.work / "bank", options.work / "vae", options.steps or 7_000)


def base(options: StageOptions) -> None:
    from harness.world.base import train_base
    from harness.world.latents import encode_latents

    work = options.work
    encode_latents(work / "bank", work / "vae" / "vae", work / "latents")
    train_base(work / "bank", work / "latents", work / "vae" / "vae", work / "base", options.steps or 2_800)
    shutil.copytree(work / "base" / "pipeline", MODELS / "sdxl", dirs_exist_ok=True)


def reader(options: StageOptions) -> None:
    from harness.world.reader import train_reader

    trained = train_reader(options.work / "everybody", options.work / "reader", passes=(options.steps or 1_436) / 718)
    shutil.copytree(trained, MODELS / "reader", dirs_exist_ok=True)


def clip(options: StageOptions) -> None:
    from harness.world.clip import train_clip

    trained = train_clip(options.work / "everybody", options.work / "clip", options.steps or 2_000, MODELS / "reader")
    shutil.copytree(trained, MODELS / "clip", dirs_exist_ok=True)


def aesthetics(options: StageOptions) -> None:
    from harness.world.aesthetics import train_aesthetics

    train_aesthetics(MODELS / "clip", MODELS / "aesthetics")


def domain(options: StageOptions) -> None:
    models = Models(load_profile("embedded", Path.cwd()), Settings.load(Path.cwd(), {}))
    counts = (options.count, options.count // 6) if options.count else (RENDERED, DRAWN)
    summary = write_domain(models, MODELS / "domain.safetensors", *counts)
    print(f"usual log distances, mean and spread by view: {summary.usual[:-1].round(3).tolist()}")


def references(options: StageOptions) -> None:
    draw_references(Path("references/aldar_kose"), ALDAR, "aldar kose", seed=1)
    draw_impostors(Path("references/impostors"), seed=2)


def planted(options: StageOptions) -> None:
    """Two bad LoRAs for the tests: one that learnt another person under Aldar's trigger, one that hardly learnt."""
    from harness.training.suite_training import train_suite

    settings = Settings.load(Path.cwd(), {"store": str(options.work / "store")})
    profile = load_profile("embedded", settings.root)
    suite = load_suite(Path("suites/aldar_kose.yaml"), profile)
    folder = (options.work / "stranger").resolve()
    draw_references(folder, random_person(np.random.default_rng(7)), suite.subject.trigger, seed=7)
    other = replace(suite, name="stranger", subject=replace(suite.subject, name="Stranger", references=folder))
    LORAS.mkdir(parents=True, exist_ok=True)
    train_suite(other, profile, settings, out=LORAS / "stranger.safetensors", changes={"steps": 160})
    train_suite(suite, profile, settings, out=LORAS / "undertrained.safetensors", changes={"steps": 20})


def card(options: StageOptions) -> None:
    from harness.world.card import write_card

    print(write_card(MODELS))


def newcomer(options: StageOptions) -> None:
    count, seed = options.count or PICTURES, SEED if options.seed is None else options.seed
    name = draw_newcomer(options.into, seed, count)
    print(f"wrote {options.into.as_posix()}/ ({count} pictures of {name}, with captions)")


STAGES: dict[str, TrainingStage] = {
    "bank": TrainingStage(bank, "render the training pictures"),
    "reader": TrainingStage(reader, "train the attribute reader"),
    "vae": TrainingStage(vae, "train the autoencoder"),
    "base": TrainingStage(base, "train UNet and text encoders, write the pipeline"),
    "clip": TrainingStage(clip, "train the CLIP model"),
    "aesthetics": TrainingStage(aesthetics, "train the aesthetics head on the CLIP model"),
    "domain": TrainingStage(domain, "summarise what the models know, so that foreign pictures are told"),
    "references": TrainingStage(references, "draw Aldar's reference pictures and the impostors"),
    "planted": TrainingStage(planted, "train the bad LoRAs that the tests plant"),
    "card": TrainingStage(card, "measure everything and write CARD.md"),
    "newcomer": TrainingStage(newcomer, "draw pictures of somebody whom no model knows, to try things with"),
}


@command
@argument(
    "stage",
    type=click.Choice(list(STAGES)),
    help="; ".join(f"{name}: {stage.summary}" for name, stage in STAGES.items()),
)
@option("--work", type=Path, default=Path(".cache/world"), help="where checkpoints and the bank are kept")
@option("--steps", type=int, help="of a training (default: what the card was made with)")
@option("--count", type=int, help="pictures of the bank (default: 48,000), or of the newcomer (12)")
@option("--into", type=Path, default=Path("pictures"), help="where the newcomer's pictures go")
@option("--seed", type=int, help="of the newcomer: another number is another person")
def world(stage: str, work: Path, steps: int | None, count: int | None, into: Path, seed: int | None) -> int:
    STAGES[stage].run(StageOptions(work, steps, count, into, seed))
    return 0
