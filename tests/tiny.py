"""Tiny random models of the real classes, and what it takes to draw with them; nothing here is any good at drawing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from harness.config.profile import ModelPaths as ModelNames
from harness.config.profile import Profile
from harness.core.settings import Settings
from harness.core.values import Case, Lora, Subject, Suite
from harness.models.loading import Models
from harness.providers import ProviderContext
from harness.world.captions import vocabulary

SIZE = 32
TARGETS = ["to_q", "to_k", "to_v", "to_out.0"]


def save_models(folder: Path) -> None:
    """An SDXL pipeline in `folder`/sdxl and a CLIP model in `folder`/clip, seeded."""
    import torch

    from harness.world.tokens import build_tokenizer

    torch.manual_seed(0)
    tokenizer = build_tokenizer(vocabulary(), length=24)
    build_pipeline(tokenizer).save_pretrained(folder / "sdxl")
    save_clip(tokenizer, folder / "clip")


def build_pipeline(tokenizer: Any) -> Any:
    """The real pipeline class over the smallest models that it takes."""
    from diffusers import AutoencoderKL, StableDiffusionXLPipeline, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    from harness.world.base import build_scheduler

    blocks = {"norm_num_groups": 8, "layers_per_block": 1}
    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(16, 32),
        attention_head_dim=(2, 4),
        cross_attention_dim=64,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=32 + 6 * 8,
        **blocks,
    )
    vae = AutoencoderKL(
        latent_channels=4,
        block_out_channels=(16, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        **blocks,
    )
    text = text_config(tokenizer)
    return StableDiffusionXLPipeline(
        vae,
        CLIPTextModel(text),
        CLIPTextModelWithProjection(text),
        tokenizer,
        tokenizer,
        unet,
        build_scheduler(),
        add_watermarker=False,
    )


def text_config(tokenizer: Any) -> Any:
    from transformers import CLIPTextConfig

    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        projection_dim=32,
        max_position_embeddings=24,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def save_clip(tokenizer: Any, folder: Path) -> None:
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPVisionConfig

    vision = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=32,
        patch_size=8,
        projection_dim=32,
    )
    config = CLIPConfig(text_config=text_config(tokenizer).to_dict(), vision_config=vision.to_dict(), projection_dim=32)
    CLIPModel(config).save_pretrained(folder)
    CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def save_subject(folder: Path, train: int = 4, uncaptioned: Sequence[int] = ()) -> Subject:
    """A subject of flat pictures, `train` of them to learn from and four held out, most of them with a caption."""
    for split, count in (("train", train), ("held_out", 4)):
        place = folder / "references" / split
        place.mkdir(parents=True)
        for number in range(count):
            colour = (40 * number, 200 - 30 * number, 90 if split == "train" else 10)
            Image.new("RGB", (40, 48), colour).save(place / f"{number:02d}.png")
            if number not in uncaptioned:
                (place / f"{number:02d}.txt").write_text("aldar kose, smiling, steppe background", encoding="utf-8")
    return Subject("Aldar Kose", "aldar kose", folder / "references")


def save_lora(models: Path, file: Path, *, scale: float = 0.5, seed: int = 1, targets: list[str] | None = None) -> Path:
    """A LoRA of the tiny UNet with random weights, written as diffusers writes it; scale 0 is an untrained one."""
    import torch
    from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    torch.manual_seed(seed)
    unet = UNet2DConditionModel.from_pretrained(models / "sdxl" / "unet")
    unet.add_adapter(LoraConfig(r=4, lora_alpha=4, target_modules=targets or TARGETS, init_lora_weights=True))
    weights = get_peft_model_state_dict(unet)
    for name, tensor in weights.items():
        if "lora_B" in name:
            torch.nn.init.normal_(tensor, std=scale)
    StableDiffusionXLPipeline.save_lora_weights(file.parent, unet_lora_layers=weights, weight_name=file.name)
    return file


def make_context(models: Path, **changes: Any) -> ProviderContext:
    """Everything a provider needs, around the tiny models; `changes` go to the profile, or `lora` to the settings."""
    lora = changes.pop("lora", None)
    secrets = changes.pop("secrets", {})
    profile = Profile(
        name="tiny",
        path=models / "tiny.yaml",
        models=ModelNames(base=str(models / "sdxl"), clip=str(models / "clip")),
        size=(SIZE, SIZE),
        steps=3,
        guidance=4.0,
        scheduler="euler",
        batch=4,
        dtype="float32",
        device="cpu",
        negative="",
        max_tokens=24,
        vocabulary={},
        templates=("{}",),
        impostors=None,
        providers={},
    )
    profile = replace(profile, **changes)
    settings = Settings(models, lora=lora, environment=secrets)
    return ProviderContext(profile, settings, Models(profile, settings))


def make_suite(*prompts: str, lora: Lora | None = None, **subject: Any) -> Suite:
    """A suite with one case a prompt."""
    who = Subject("Aldar Kose", "aldar kose", Path("references"), lora=lora, **subject)
    cases = tuple(Case("tiny", f"case-{number}", prompt) for number, prompt in enumerate(prompts))
    return Suite("tiny", Path("tiny.yaml"), who, ("lora",), ("lora",), cases)
