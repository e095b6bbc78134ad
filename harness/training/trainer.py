"""From pictures and a base to a LoRA: what is loaded, encoded and handed to the loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from diffusers import DDPMScheduler, UNet2DConditionModel

from harness.config.schedulers import COMMON
from harness.core.errors import UsageError
from harness.core.values import Subject, digest, hash_file
from harness.models.identity import quiet_libraries
from harness.models.loading import load_options, locate_model, translated
from harness.models.lora.export import describe_lora
from harness.models.lora.train_config import TrainConfig
from harness.models.lora.training_pictures import TrainingPicture
from harness.scoring.references import set_hash
from harness.training.adapter import add_lora, load_weights, without_lora
from harness.training.buckets import MASK
from harness.training.data import (
    TrainingSet,
    free_memory,
    held_out_pictures,
    load_encoders,
    make_items,
    stranger_pictures,
    train_pictures,
)
from harness.training.distributed import ProcessGroup, join_processes
from harness.training.loop import Loop, Say, Setup, Trained
from harness.training.prior import draw_unrelated
from harness.training.prompt_encoding import PromptEncoder, know_texts, prompts_about_others
from harness.training.sampling import Sampler, Samples
from harness.training.state import STATE
from harness.training.text_encoders import LiveTexts

__all__ = ["STATE", "Loop", "Material", "Trained", "open_unet", "prepare", "train", "training_place", "without_lora"]

LEVELS = (
    *("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas"),
    *("prediction_type", "rescale_betas_zero_snr"),
)
"""What of a noise schedule decides targets, weights and losses."""
TRAINABLE = ("epsilon", "v_prediction")  # what a base may predict


@dataclass(frozen=True)
class Material:
    """Everything encoded and loaded, before the first step."""

    data: TrainingSet
    texts: PromptEncoder
    models: dict[str, Any]  # part to the model whose LoRA learns
    schedule: Any
    vae: Any = None  # kept only where samples are drawn
    noise_schedule: Mapping[str, Any] = field(default_factory=dict)  # the checkpoint's own scheduler configuration


def train(
    config: TrainConfig,
    subject: Subject,
    profile: Any,
    models: Any,
    out: Path,
    *,
    work: Path | None = None,
    start_from: Path | None = None,
    progress: Say | None = None,
    command: str = "",
    samples: Samples | None = None,
) -> Trained:
    """Train a LoRA of `subject` on its train pictures and write it to `out`.

    Several processes that accelerate launched train one LoRA together; the first of them writes it.

    Args:
        profile: says which base, autoencoder and size, and in which words others are described.
        models: knows the device, the dtype and the hash of the base.
        work: where the state of an unfinished run lies; a run with the same inputs goes on from it.
        start_from: a LoRA that this one continues; of the same rank and layers.
        command: what a person would type to get this file, for its metadata.
        samples: open cases to be drawn now and then; they change no weight, so they are no part of a run's identity.

    Raises:
        ReferencesError, ModelError, LoraError: nothing to learn from, no base, a LoRA that does not fit.
        UsageError: the configuration names a layer, a device or a package that is not there.
        EngineError: the loss is no longer a number.
    """
    processes = join_processes(str(models.device))
    say = progress if progress and processes.leads else (lambda line: None)
    pictures, work = train_pictures(subject), work or out.parent / f"{out.stem}.work"
    record = {**run_record(config, subject, profile, models, start_from), "processes": processes.size}
    device, dtype = training_place(config, models)
    processes = replace(processes, device=processes.device if processes.size > 1 else device)
    samples = samples if processes.leads else None
    material = prepare(config, subject, profile, models, dtype, processes, work, start_from, samples)
    say(f"encoded {len(pictures)} pictures")
    record["schedule"] = schedule_record(material.schedule)
    references, prediction = set_hash(picture.path for picture in pictures), material.schedule.config.prediction_type
    metadata = describe_lora(config, subject, references, models.base_hash(), profile.size, command, prediction)
    if start_from:
        metadata["harness.parent"] = str(record["start"])
    setup = Setup(
        config,
        material.data,
        material.texts,
        material.models,
        material.schedule,
        dtype,
        work,
        digest(record),
        metadata,
        processes,
        say,
        make_sampler(samples, material, profile) if samples else None,
    )
    return Loop(setup).finish(out)


def make_sampler(samples: Samples, material: Material, profile: Any) -> Sampler:
    """What draws with the UNet that learns."""
    unet = material.models["unet"]
    return Sampler(samples, profile, material.texts, unet, material.vae, material.noise_schedule)


def run_record(
    config: TrainConfig, subject: Subject, profile: Any, models: Any, start_from: Path | None = None
) -> dict[str, object]:
    """Everything that decides the weights and the curves, as far as it is known before anything is loaded."""

    def hashes(files: Sequence[TrainingPicture]) -> list[list[str]]:
        masks = [picture.path.with_name(picture.path.stem + MASK) for picture in files]
        return [
            [hash_file(picture.path), picture.path.name, picture.caption, hash_file(mask) if mask.is_file() else ""]
            for picture, mask in zip(files, masks, strict=True)
        ]

    folder = Path(config.class_folder) if config.class_folder else None
    return {
        "config": config.to_record(),
        "trigger": subject.trigger,
        "pictures": hashes(train_pictures(subject)),
        "held_out": hashes(held_out_pictures(subject)),
        "strangers": hashes(stranger_pictures(folder, config.class_word)) if folder else [],
        "others": prompts_about_others(profile.vocabulary, config),
        "base": models.base_hash(),
        "size": list(profile.size),
        "start": hash_file(start_from) if start_from else "",
        "scheduler": said_of_noise(profile),
    }


def said_of_noise(profile: Any) -> dict[str, object]:
    """What the profile's `scheduler` sets on the checkpoint's own noise schedule; {} as a rule."""
    return {name: value for name, value in profile.scheduling.options.items() if name in COMMON}


def make_schedule(own: Mapping[str, object], profile: Any) -> Any:
    """The noise levels to learn at: the checkpoint's own, and what the profile sets on them for drawing.

    A base that is drawn as v-prediction has to be trained as such: against noise it would learn nonsense.

    Args:
        own: the checkpoint's scheduler configuration.

    Raises:
        UsageError: the base predicts neither noise nor velocity.
    """
    schedule = DDPMScheduler.from_config(dict(own), **said_of_noise(profile))
    if (kind := schedule.config.prediction_type) not in TRAINABLE:
        raise UsageError(f"training: prediction_type is {kind!r}; a LoRA is trained for {' or '.join(TRAINABLE)}")
    return schedule


def schedule_record(schedule: Any) -> dict[str, object]:
    """The deciding values of a noise schedule."""
    return {name: schedule.config[name] for name in LEVELS}


def training_place(config: TrainConfig, models: Any) -> tuple[str, torch.dtype]:
    """Device and dtype of the frozen base; float16 only where the configuration asks for it: it needs loss scaling."""
    named = models.dtype if config.dtype == "auto" else config.dtype
    name = str(named).removeprefix("torch.")
    device = str(models.device)
    if name == "float16" and config.dtype == "auto":
        name = "bfloat16" if device.startswith("cuda") else "float32"
    return device, {"bfloat16": torch.bfloat16, "float32": torch.float32, "float16": torch.float16}[name]


def prepare(
    config: TrainConfig,
    subject: Subject,
    profile: Any,
    models: Any,
    dtype: torch.dtype,
    processes: ProcessGroup,
    work: Path,
    start_from: Path | None = None,
    samples: Samples | None = None,
) -> Material:
    """Pictures and captions as tensors, the models with their LoRAs, and the noise schedule.

    Autoencoder and text encoders are freed before the UNet comes; of the latter stays what learns, of the former
    nothing unless samples are drawn.
    """
    encoders = load_encoders(profile, models, dtype, processes.device)
    schedule = make_schedule(encoders.scheduler.config, profile)
    data = read_pictures(config, subject, profile, encoders, processes.device)
    texts: PromptEncoder
    if config.text_encoders == "none":
        lines = [*data.all_texts(), *(samples.said(profile) if samples else ())]
        texts, learners = know_texts(lines, encoders, processes.device), {}
    else:
        texts = LiveTexts(encoders, config, processes.device, dtype)
        learners = dict(texts.trained)
    vae, noise_schedule = encoders.vae if samples else None, dict(encoders.scheduler.config)
    del encoders
    free_memory()
    unet = open_unet(config, profile, models, dtype, processes.device)
    if config.class_pictures and config.prior_weight:
        key = digest([models.base_hash(), str(dtype), schedule_record(schedule), said_of_noise(profile)])
        data = replace(
            data, strangers=draw_unrelated(data, texts, unet, schedule, profile, config, work, key, processes)
        )
    add_lora(unet, config)
    parts = {"unet": unet, **learners}
    if start_from:
        load_weights(parts, start_from, config)
    unet.train()
    return Material(data, texts, parts, schedule, vae, noise_schedule)


def read_pictures(config: TrainConfig, subject: Subject, profile: Any, encoders: Any, device: str) -> TrainingSet:
    """Every picture encoded, and everything that may be said."""

    def encode(pictures: Sequence[TrainingPicture]) -> Any:
        return make_items(pictures, subject, config, profile.size, encoders.vae, device)

    held_out = held_out_pictures(subject) if config.validate_every else ()
    folder = Path(config.class_folder) if config.class_folder and config.prior_weight else None
    return TrainingSet(
        items=encode(train_pictures(subject)),
        others=prompts_about_others(profile.vocabulary, config),
        strangers=encode(stranger_pictures(folder, config.class_word)) if folder else (),
        held_out=encode(held_out),
    )


def open_unet(config: TrainConfig, profile: Any, models: Any, dtype: torch.dtype, device: str) -> Any:
    """The base's UNet, frozen."""
    folder = locate_model(profile.models.base, models.root, profile.name, profile.models.config)
    options = load_options(folder)
    with quiet_libraries(), translated(profile.models.base):
        unet = UNet2DConditionModel.from_pretrained(folder, subfolder="unet", torch_dtype=dtype, **options)
    layout = torch.channels_last if config.channels_last and device != "cpu" else torch.contiguous_format
    unet.to(device, memory_format=layout)
    unet.requires_grad_(False)
    if config.gradient_checkpointing:
        unet.enable_gradient_checkpointing()
    return unet
