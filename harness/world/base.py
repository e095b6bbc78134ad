"""The embedded SDXL: its UNet and both its text models, trained together from captions, in small.

Every class, every config key and the whole road of conditioning are SDXL's own; only the widths differ, so
whatever works on this pipeline (LoRA, schedulers, guidance) works on the real one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from harness.world.bank import open_bank
from harness.world.captions import vocabulary
from harness.world.latents import SIDE, open_latents
from harness.world.loop import RunningAverage, autocast, fit, load_averaged, pick_device
from harness.world.render import SIZE
from harness.world.tokens import LENGTH, build_tokenizer, encode_texts
from harness.world.vae import CHANNELS, FACTOR, head_weights

WIDTH = 128  # of each text model; the UNet reads both side by side
TIME_WIDTH = 32  # of each of the six numbers in time_ids
TIME_IDS = (SIZE, SIZE, 0, 0, SIZE, SIZE)  # original size, crop, target size: always the same here
TIMESTEPS = 1_000

RATE = 8e-4
HEAD = 2.5  # weight of the head's latents; elsewhere 1
SNR_CAP = 5.0  # min-SNR: nearly clean latents would otherwise rule the loss
DROPPED = 0.1  # captions replaced by zeros, as SDXL treats an absent prompt; guidance needs them
EMPTY = 0.02  # captions replaced by "", so that an empty negative prompt is in distribution too


class Denoiser(nn.Module):
    """The three trained models as one: noisy latents and tokens in, the noise out."""

    time_ids: Tensor

    def __init__(self, config: CLIPTextConfig) -> None:
        super().__init__()
        self.unet = build_unet()
        self.text_encoder = CLIPTextModel(config)
        self.text_encoder_2 = CLIPTextModelWithProjection(config)
        self.register_buffer("time_ids", torch.tensor([TIME_IDS], dtype=torch.float32), persistent=False)

    def forward(self, noisy: Tensor, timesteps: Tensor, tokens: Tensor, said: Tensor) -> Tensor:
        """Predict the noise.

        Args:
            noisy: (B, 16, 12, 12).
            timesteps: (B,), 0 (nearly clean) to 999 (nearly noise).
            tokens: (B, 48).
            said: (B,), 1 where the caption is heard, 0 where its embeddings are zeroed.
        """
        first = self.text_encoder(tokens, output_hidden_states=True)
        second = self.text_encoder_2(tokens, output_hidden_states=True)
        prompt = torch.cat([first.hidden_states[-2], second.hidden_states[-2]], dim=-1)
        conditions = {
            "text_embeds": second.text_embeds * said[:, None],
            "time_ids": self.time_ids.expand(len(noisy), -1),
        }
        return self.unet(noisy, timesteps, prompt * said[:, None, None], added_cond_kwargs=conditions).sample


def build_unet() -> UNet2DConditionModel:
    """SDXL's UNet in small: attention only at half the latents' size, where it is cheap and still sees a face."""
    return UNet2DConditionModel(
        sample_size=SIDE,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(128, 192),
        layers_per_block=1,
        transformer_layers_per_block=(1, 2),
        attention_head_dim=(4, 6),  # diffusers' name for the number of heads: 32 wide each
        cross_attention_dim=2 * WIDTH,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=TIME_WIDTH,
        projection_class_embeddings_input_dim=WIDTH + len(TIME_IDS) * TIME_WIDTH,
    )


def text_config(tokenizer: CLIPTokenizer) -> CLIPTextConfig:
    """One shape for both text models: three layers of 128."""
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=3,
        num_attention_heads=4,
        projection_dim=WIDTH,
        max_position_embeddings=LENGTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def build_scheduler() -> EulerDiscreteScheduler:
    """SDXL's scheduler, letter for letter."""
    return EulerDiscreteScheduler(
        num_train_timesteps=TIMESTEPS,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        interpolation_type="linear",
        prediction_type="epsilon",
        timestep_spacing="leading",
        steps_offset=1,
        use_karras_sigmas=False,
    )


def snr_weights(kept: Tensor) -> Tensor:
    """Min-SNR for epsilon prediction: min(SNR, 5) / SNR.

    Args:
        kept: (B,), the share of the latents' variance that is left (alphas_cumprod).
    """
    ratio = kept / (1 - kept)
    return ratio.clamp(max=SNR_CAP) / ratio


def latent_weights() -> Tensor:
    """How much each latent counts: (12, 12), the head 2.5, all with a mean of 1."""
    weights = functional.avg_pool2d(head_weights(HEAD - 1)[None], FACTOR)[0]
    return weights / weights.mean()


def draw_tokens(bank: Any, indices: Any, tokenizer: CLIPTokenizer, chance: np.random.Generator) -> Tensor:
    """Fresh captions of these pictures as tokens: (B, 48)."""
    texts = [bank.caption(int(index), chance) for index in indices]
    texts = ["" if chance.random() < EMPTY else text for text in texts]
    return torch.tensor(encode_texts(tokenizer, texts))


def noise_loss(
    model: Denoiser, latents: Tensor, tokens: Tensor, kept: Tensor, weights: Tensor, generator: torch.Generator
) -> Tensor:
    """One denoising step: how wrong the predicted noise is, a scalar.

    Args:
        latents: (B, 16, 12, 12), clean, standard deviation 1.
        tokens: (B, 48).
        kept: (1000,), alphas_cumprod of the schedule.
        weights: (12, 12), of `latent_weights`.
        generator: on the processor, so that a card draws the same numbers.
    """
    count, device = len(latents), latents.device
    timesteps = torch.randint(TIMESTEPS, (count,), generator=generator).to(device)
    noise = torch.randn(latents.shape, generator=generator).to(device)
    text = (torch.rand(count, generator=generator) >= DROPPED).float().to(device)
    share = kept[timesteps]
    noisy = share.sqrt()[:, None, None, None] * latents + (1 - share).sqrt()[:, None, None, None] * noise
    with autocast(device):
        predicted = model(noisy.contiguous(memory_format=torch.channels_last), timesteps, tokens, text)
    error = (predicted.float() - noise).square() * weights
    return (error.mean(dim=(1, 2, 3)) * snr_weights(share)).mean()


def train_base(
    bank_dir: Path,
    latents_dir: Path,
    vae_dir: Path,
    out_dir: Path,
    steps: int,
    batch: int = 32,
    seed: int = 0,
) -> None:
    """Train UNet and text models, going on from the checkpoint in `out_dir` if there is one; export at the end.

    Args:
        latents_dir: of `encode_latents`, made of the same bank by the autoencoder in `vae_dir`.
        out_dir: receives tokenizer/, checkpoint.pt and, at the end, the whole pipeline in `pipeline/`.
        batch: pictures a step.
    """
    torch.manual_seed(seed)
    device = pick_device()
    bank, latents = open_bank(bank_dir), open_latents(latents_dir)
    tokenizer = open_tokenizer(out_dir)
    kept = build_scheduler().alphas_cumprod.to(device)
    weights = latent_weights().to(device)

    model = Denoiser(text_config(tokenizer)).train().to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    average = RunningAverage(model, decay=0.999)

    def loss_at(step: int) -> Tensor:
        chance = np.random.default_rng((seed, step))  # of this step alone, so that resuming changes nothing
        generator = torch.Generator().manual_seed(int(chance.integers(2**62)))
        indices = np.sort(chance.integers(len(latents), size=batch))
        tokens = draw_tokens(bank, indices, tokenizer, chance).to(device)
        clean = torch.from_numpy(np.array(latents[indices])).to(device).float()
        return noise_loss(model, clean, tokens, kept, weights, generator)

    fit("base", out_dir, model, optimizer, average, steps, RATE, loss_at, warmup=200)
    export_base(out_dir, vae_dir, out_dir / "pipeline")


def open_tokenizer(out_dir: Path) -> CLIPTokenizer:
    """The tokenizer of this training: built once from the world's words, then kept beside the checkpoint."""
    folder = out_dir / "tokenizer"
    if not (folder / "tokenizer_config.json").exists():
        build_tokenizer(vocabulary()).save_pretrained(folder)
    return CLIPTokenizer.from_pretrained(folder)


def export_base(checkpoint_dir: Path, vae_dir: Path, out_dir: Path) -> None:
    """Write the averaged weights of a checkpoint as a whole SDXL pipeline; fine while training runs.

    UNet and autoencoder are fp16 on disk. The text models stay fp32: transformers loads them in the type it finds
    and diffusers loads its own in fp32, so that fp16 text models would not fit the rest unless a type is named.
    """
    tokenizer = open_tokenizer(checkpoint_dir)
    model = Denoiser(text_config(tokenizer))
    load_averaged(checkpoint_dir, model)
    pipeline = build_pipeline(model, tokenizer, vae_dir)
    pipeline.unet.half()
    pipeline.vae.half()
    pipeline.save_pretrained(out_dir, safe_serialization=True)


def build_pipeline(model: Denoiser, tokenizer: CLIPTokenizer, vae_dir: Path) -> StableDiffusionXLPipeline:
    """The trained parts in SDXL's own pipeline; both text models share one tokenizer."""
    return StableDiffusionXLPipeline(
        vae=AutoencoderKL.from_pretrained(vae_dir),
        unet=model.unet.eval(),
        text_encoder=model.text_encoder.eval(),
        text_encoder_2=model.text_encoder_2.eval(),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        scheduler=build_scheduler(),
        force_zeros_for_empty_prompt=True,
        add_watermarker=False,
    )
