"""The autoencoder of the embedded SDXL: 96 px pictures to latents of 12 x 12 x 16 and back.

Sixteen channels, because with four the eyes of a face this small are lost; a loss that looks where the
details are, because a plain L1 learns flat areas first and eyes last.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.nn import functional

from harness.world.bank import open_bank
from harness.world.loop import RunningAverage, autocast, fit, load_averaged, pick_device
from harness.world.render import SIZE

FACTOR = 8  # pixels a latent
CHANNELS = 16
HEAD = (slice(14, 66), slice(24, 72))  # rows and columns of the head, pixels

RATE = 1e-3
DETAIL = 5.0  # how much more a detailed pixel counts than a flat one
FACE = 1.5  # added to the weight of the head's pixels
KL = 1e-3  # a latent element: holds the latents near a unit normal without blurring
HELD = 32  # the last pictures of the bank, never trained on
REPORT_EVERY = 250  # steps


def build_vae() -> "AutoencoderKL":
    """A fresh autoencoder of 3.3M parameters, of SDXL's own class."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(24, 48, 96, 128),
        layers_per_block=1,
        latent_channels=CHANNELS,
        norm_num_groups=8,
        sample_size=SIZE,
        scaling_factor=1.0,  # encode_latents measures it and writes it into the config
    )


def head_weights(extra: float = FACE) -> Tensor:
    """How much each pixel counts: (96, 96), 1 outside the head and 1 + extra inside."""
    weights = torch.ones(SIZE, SIZE)
    weights[HEAD] += extra
    return weights


def read_pictures(images: Any, indices: Any, device: torch.device) -> Tensor:
    """Pictures of the bank as the autoencoder wants them: (B, 3, 96, 96), -1..1, channels last in memory."""
    pixels = torch.from_numpy(np.array(images[indices])).to(device)
    return pixels.permute(0, 3, 1, 2).float() / 127.5 - 1


def detail_weights(pictures: Tensor) -> Tensor:
    """1 on flat areas, more where a pixel differs from the 5 px box around it: (B, 1, H, W)."""
    blurred = functional.avg_pool2d(pictures, 5, stride=1, padding=2, count_include_pad=False)
    return 1 + DETAIL * (pictures - blurred).abs().mean(dim=1, keepdim=True)


def picture_loss(drawn: Tensor, pictures: Tensor, head: Tensor) -> Tensor:
    """L1 + 0.5 L2 where details and faces count more, + 0.5 L1 of the error's gradients (keeps edges sharp).

    Args:
        drawn: (B, 3, H, W), what the decoder made of the latents.
        pictures: (B, 3, H, W), -1..1.
        head: (H, W), the weight of each pixel.
    """
    error = drawn - pictures
    weights = detail_weights(pictures) * head
    plain = (weights * (error.abs() + 0.5 * error.square())).mean()
    along_rows = (error[..., :, 1:] - error[..., :, :-1]).abs() * head[:, 1:]
    along_columns = (error[..., 1:, :] - error[..., :-1, :]).abs() * head[1:, :]
    return plain + 0.5 * (along_rows.mean() + along_columns.mean())


def divergence(mean: Tensor, logvar: Tensor) -> Tensor:
    """KL to a unit normal, nats a latent element."""
    return 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()


def vae_loss(vae: nn.Module, pictures: Tensor, head: Tensor, generator: torch.Generator) -> Tensor:
    """Encode with noise, decode, and compare; the arithmetic of the loss is fp32."""
    with autocast(pictures.device):
        posterior = vae.encode(pictures).latent_dist
    mean, logvar = posterior.mean.float(), posterior.logvar.float()
    noise = torch.randn(mean.shape, generator=generator).to(mean)
    with autocast(pictures.device):
        drawn = vae.decode(mean + (0.5 * logvar).exp() * noise).sample
    return picture_loss(drawn.float(), pictures, head) + KL * divergence(mean, logvar)


@torch.no_grad()
def measure_psnr(vae: nn.Module, pictures: Tensor) -> float:
    """How like the pictures come back, dB over all of them; 34 is good, 25 has no eyes."""
    with autocast(pictures.device):
        mean = vae.encode(pictures).latent_dist.mean
        drawn = vae.decode(mean).sample.float().clamp(-1, 1)
    error = functional.mse_loss(drawn, pictures).item()
    return 10 * math.log10(4 / max(error, 1e-12))  # the range -1..1 is 2 wide, squared


def train_vae(bank_dir: Path, out_dir: Path, steps: int, batch: int = 6, seed: int = 0) -> None:
    """Train on the bank, going on from the checkpoint in `out_dir` if there is one; export at the end.

    Args:
        bank_dir: a bank of (N, 96, 96, 3) uint8 pictures.
        out_dir: receives checkpoint.pt and, at the end, the exported autoencoder in `vae/`.
        batch: pictures a step; small, because on a processor many steps beat large ones.
    """
    torch.manual_seed(seed)
    device = pick_device()
    images = open_bank(bank_dir).images
    held_back = min(HELD, len(images) // 2)
    held = read_pictures(images, slice(len(images) - held_back, None), device)
    head = head_weights().to(device)

    vae = build_vae().to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(vae.parameters(), lr=RATE, betas=(0.9, 0.99), weight_decay=0.0, fused=True)
    average = RunningAverage(vae, decay=0.998)

    def loss_at(step: int) -> Tensor:
        chance = np.random.default_rng((seed, step))  # of this step alone, so that resuming changes nothing
        generator = torch.Generator().manual_seed(int(chance.integers(2**62)))
        pictures = read_pictures(images, chance.integers(len(images) - held_back, size=batch), device)
        return vae_loss(vae, pictures, head, generator)

    def report(done: int) -> None:
        if done % REPORT_EVERY == 0 or done == steps:
            average.swap()
            print(f"vae {done}/{steps}  PSNR {measure_psnr(vae, held):.2f} dB", flush=True)
            average.swap()

    fit("vae", out_dir, vae, optimizer, average, steps, RATE, loss_at, report=report)
    export_vae(out_dir, out_dir / "vae")


def export_vae(checkpoint_dir: Path, vae_dir: Path) -> None:
    """Write the averaged weights of a checkpoint as AutoencoderKL.from_pretrained reads them, fp32."""
    vae = build_vae()
    load_averaged(checkpoint_dir, vae)
    vae.save_pretrained(vae_dir)


def load_vae(vae_dir: Path) -> "AutoencoderKL":
    """The exported autoencoder, ready to encode and decode."""
    vae: AutoencoderKL = AutoencoderKL.from_pretrained(vae_dir)
    return vae.eval().requires_grad_(False).to(pick_device(), memory_format=torch.channels_last)
