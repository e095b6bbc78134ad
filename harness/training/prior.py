"""Pictures of others that the base draws itself, as latents: what a LoRA is not to change."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harness.core.errors import EngineError
from harness.core.values import digest
from harness.models.identity import quiet_libraries
from harness.models.lora.export import read_tensors, write_tensors
from harness.models.lora.train_config import TrainConfig
from harness.training.adapter import without_lora
from harness.training.data import Item, TrainingSet, View
from harness.training.distributed import ProcessGroup
from harness.training.prompt_encoding import PromptEncoder

FIRST_SEED = 700_000  # far from the seeds of suites and held-out tests
AT_ONCE = 8
KNOWN = "class.latents"  # in the work folder


def draw_unrelated(
    data: TrainingSet,
    texts: PromptEncoder,
    unet: Any,
    schedule: Any,
    profile: Any,
    config: TrainConfig,
    work: Path,
    key: str,
    processes: ProcessGroup,
) -> tuple[Item, ...]:
    """`class_pictures` pictures of the base without any LoRA, kept in the work folder for a run that goes on.

    Args:
        data: whose prompts about others are used in turn, else its captions without the trigger.
        key: of base and dtype: kept pictures of another key are drawn again.
    """
    prompts = data.others or tuple(dict.fromkeys(item.unsaid for item in data.items))
    wanted = [prompts[number % len(prompts)] for number in range(config.class_pictures)]
    identity = digest([key, wanted, profile.size, profile.steps, profile.guidance, config.seed])
    if processes.leads and read_known(work / KNOWN, identity) is None:
        drawn = draw_latents(unet, schedule, texts, wanted, profile, config, data.shape_of(profile.size))
        write_tensors(work / KNOWN, {"latents": drawn}, {"identity": identity})
    processes.wait()
    latents = read_known(work / KNOWN, identity)
    if latents is None:
        raise EngineError(f"{work / KNOWN}: was changed by somebody else; run again")
    return as_items(latents, wanted, profile.size)


def read_known(path: Path, identity: str) -> Tensor | None:
    """Latents drawn earlier, (n, channels, height / 8, width / 8); None when there are none of this identity."""
    tensors, facts = read_tensors(path) if path.exists() else ({}, {})
    return tensors["latents"] if facts.get("identity") == identity else None


def as_items(latents: Tensor, wanted: Sequence[str], size: tuple[int, int]) -> tuple[Item, ...]:
    width, height = size
    ids = torch.tensor([height, width, 0, 0, height, width], dtype=torch.float32)
    pairs = enumerate(zip(latents, wanted, strict=True))
    return tuple(Item(f"class-{number}", (View(row, ids),), (text,), text) for number, (row, text) in pairs)


def draw_latents(
    unet: Any,
    schedule: Any,
    texts: PromptEncoder,
    wanted: Sequence[str],
    profile: Any,
    config: TrainConfig,
    shape: tuple[int, ...],
) -> Tensor:
    """The base's pictures as latents (n, channels, height / 8, width / 8), float32; the autoencoder is not asked."""
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline

    scheduler = EulerDiscreteScheduler.from_config(schedule.config)
    absent: dict[str, object] = dict.fromkeys(("vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2"))
    with quiet_libraries():
        pipe = StableDiffusionXLPipeline(unet=unet, scheduler=scheduler, add_watermarker=False, **absent)
    pipe.set_progress_bar_config(disable=True)
    results: list[Tensor] = []
    for first in range(0, len(wanted), AT_ONCE):
        part = list(wanted[first : first + AT_ONCE])
        seeds = [FIRST_SEED + 1000 * config.seed + first + place for place in range(len(part))]
        with quiet_libraries(), torch.no_grad():
            with without_lora(*texts.trained.values()):  # the base alone; its dtype is not that of a LoRA either
                message, silence = texts.read(part), texts.read([None] * len(part))
            text, pooled = (tensor.to(unet.device, unet.dtype) for tensor in message)
            nothing, nothing_pooled = (tensor.to(text) for tensor in silence)
            drawn = pipe(
                prompt_embeds=text,
                pooled_prompt_embeds=pooled,
                negative_prompt_embeds=nothing,
                negative_pooled_prompt_embeds=nothing_pooled,
                latents=first_noise(seeds, shape).to(text),
                num_inference_steps=profile.steps,
                guidance_scale=profile.guidance,
                width=profile.size[0],
                height=profile.size[1],
                output_type="latent",
            ).images
        results.append(drawn.float().cpu())
    return torch.cat(results)


def first_noise(seeds: Sequence[int], shape: tuple[int, ...]) -> Tensor:
    return torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds])
