"""The published architecture of SDXL base 1.0 with random weights, and a tiny one of the same classes.

The values are those of the configuration files in `stabilityai/stable-diffusion-xl-base-1.0`; what is left out is the
classes' own default there too. The UNet has 2,567,463,684 parameters, which is checked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

SDXL_PARAMETERS = 2_567_463_684


@dataclass(frozen=True)
class Architecture:
    """Keyword arguments of the models' configurations."""

    name: str
    size: int  # pixels it was trained at
    unet: Mapping[str, Any]
    vae: Mapping[str, Any]
    text: Mapping[str, Any]
    text_2: Mapping[str, Any]
    window: int  # tokens


SDXL = Architecture(
    name="SDXL base 1.0",
    size=1024,
    unet={
        "sample_size": 128,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "block_out_channels": (320, 640, 1280),
        "layers_per_block": 2,
        "cross_attention_dim": 2048,
        "attention_head_dim": (5, 10, 20),
        "transformer_layers_per_block": (1, 2, 10),
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    },
    vae={
        "block_out_channels": (128, 256, 512, 512),
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "layers_per_block": 2,
        "latent_channels": 4,
        "sample_size": 1024,
        "scaling_factor": 0.13025,
    },
    text={
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "projection_dim": 768,
        "vocab_size": 49408,
    },
    text_2={
        "hidden_size": 1280,
        "intermediate_size": 5120,
        "num_hidden_layers": 32,
        "num_attention_heads": 20,
        "projection_dim": 1280,
        "vocab_size": 49408,
        "hidden_act": "gelu",
    },
    window=77,
)
TINY_TEXT = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "projection_dim": 32,
    "vocab_size": 2000,
}
TINY = Architecture(
    name="a tiny UNet of the same classes",
    size=64,
    unet={
        "sample_size": 8,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "block_out_channels": (32, 64),
        "layers_per_block": 1,
        "cross_attention_dim": 64,
        "attention_head_dim": (2, 4),
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 80,
    },
    vae={
        "block_out_channels": (32, 32, 32, 32),
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "layers_per_block": 1,
        "latent_channels": 4,
        "sample_size": 64,
    },
    text=TINY_TEXT,
    text_2=TINY_TEXT,
    window=24,
)


@contextmanager
def made_on(device: str, dtype: torch.dtype) -> Iterator[None]:
    """Models are made where and how they will be used: 2.6 billion random numbers on a CPU take minutes."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            yield
    finally:
        torch.set_default_dtype(before)


def make_unet(architecture: Architecture, device: str, dtype: torch.dtype) -> Any:
    """A UNet with random weights, frozen."""
    from diffusers import UNet2DConditionModel

    with made_on(device, dtype):
        unet = UNet2DConditionModel(**architecture.unet)
    count = sum(weight.numel() for weight in unet.parameters())
    assert architecture is not SDXL or count == SDXL_PARAMETERS, count
    return unet.requires_grad_(False).eval()


def make_vae(architecture: Architecture, device: str, dtype: torch.dtype) -> Any:
    from diffusers import AutoencoderKL

    with made_on(device, dtype):
        return AutoencoderKL(**architecture.vae).requires_grad_(False).eval()


def make_pipeline(architecture: Architecture, device: str, dtype: torch.dtype, vae_dtype: torch.dtype) -> Any:
    """The whole StableDiffusionXLPipeline; its prompts mean nothing, its shapes and its work are the real ones."""
    from diffusers import StableDiffusionXLPipeline
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    from harness.world.base import build_scheduler
    from harness.world.captions import vocabulary
    from harness.world.tokens import build_tokenizer

    tokenizer = build_tokenizer(vocabulary(), length=architecture.window)
    special = {
        "max_position_embeddings": architecture.window,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    with made_on(device, dtype):
        first = CLIPTextModel(CLIPTextConfig(**architecture.text, **special)).eval()
        second = CLIPTextModelWithProjection(CLIPTextConfig(**architecture.text_2, **special)).eval()
    unet, vae = make_unet(architecture, device, dtype), make_vae(architecture, device, vae_dtype)
    return StableDiffusionXLPipeline(
        vae, first, second, tokenizer, tokenizer, unet, build_scheduler(), add_watermarker=False
    )


def write_lora(architecture: Architecture, file: Path, seed: int, rank: int = 16) -> Path:
    """A LoRA of all attention layers with random weights, in PEFT's naming."""
    from safetensors.torch import save_file

    from harness.models.lora.train_config import ATTENTION

    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, layer in make_unet(architecture, "meta", torch.float32).named_modules():
        if name.endswith(ATTENTION):
            down, up = (rank, layer.weight.shape[1]), (layer.weight.shape[0], rank)
            tensors[f"unet.{name}.lora_A.weight"] = torch.randn(down, generator=generator).to(torch.bfloat16) / rank
            tensors[f"unet.{name}.lora_B.weight"] = torch.randn(up, generator=generator).to(torch.bfloat16) / 100
    save_file(tensors, file)
    return file


def unet_inputs(
    architecture: Architecture, rows: int, side: int, device: str
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What a UNet is called with, all of it random."""
    channels, pooled = 4, architecture.text_2["projection_dim"]
    width = architecture.unet["cross_attention_dim"]
    given = (
        torch.randn(rows, channels, side, side, device=device),
        torch.full((rows,), 500, device=device),
        torch.randn(rows, architecture.window, width, device=device),
    )
    condition = {
        "text_embeds": torch.randn(rows, pooled, device=device),
        "time_ids": torch.ones(rows, 6, device=device),
    }
    return given, {"added_cond_kwargs": condition, "return_dict": False}
