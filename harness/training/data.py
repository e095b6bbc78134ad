"""What a training run looks at: the train pictures as latents and their captions as embeddings, made once.

Only the `train` split comes in here; the held-out pictures belong to the metrics.
"""

from __future__ import annotations

import gc
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import ModelError, ReferencesError
from harness.models import load_options, locate_model, quiet_libraries, translated
from harness.references import load_references
from harness.values import Subject

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor


@dataclass(frozen=True)
class Picture:
    """One picture to learn from and what it shows."""

    path: Path
    caption: str  # with the trigger in it


@dataclass(frozen=True)
class Embedding:
    """One caption as the UNet reads it."""

    tokens: Tensor  # (length, width)
    pooled: Tensor  # (width of encoder 2,)


@dataclass(frozen=True)
class TrainingSet:
    """All that the loop needs; autoencoder and text encoders are gone again when it exists."""

    names: tuple[str, ...]  # file names, in the order of the rows below
    latents: Tensor  # (pictures, channels, height / 8, width / 8), float32
    time_ids: Tensor  # (pictures, 6): original height and width, crop top and left, target height and width
    captions: tuple[Embedding, ...]  # with the trigger
    priors: tuple[Embedding, ...]  # the class word in the trigger's place
    nothing: Embedding  # what the base sees when it is told nothing


def train_pictures(subject: Subject) -> tuple[Picture, ...]:
    """The train pictures with their captions: the .txt file beside each, else the trigger alone.

    Raises:
        ReferencesError: there is no picture, or the references are not what they should be.
    """
    references = load_references(subject)
    if not references.train:
        raise ReferencesError(f"{subject.references}: no train picture; put some into its train/ folder")
    captions = ((path, references.captions.get(path, "")) for path in references.train)
    return tuple(Picture(path, with_trigger(text, subject.trigger)) for path, text in captions)


def with_trigger(caption: str, trigger: str) -> str:
    """A caption that the trigger opens, unless its author put it in already."""
    if not caption:
        return trigger
    return caption if trigger.casefold() in caption.casefold() else f"{trigger}, {caption}"


def without_trigger(caption: str, trigger: str, class_word: str) -> str:
    """The same caption about anybody: the class word stands where the trigger stood."""
    text = re.sub(re.escape(trigger), class_word, caption, count=1, flags=re.IGNORECASE)
    return text.strip(" ,")


def fit(image: Image.Image, size: tuple[int, int]) -> tuple[Image.Image, tuple[int, int, int, int, int, int]]:
    """Scale a picture to cover `size` (width, height), cut the middle out, and say so in SDXL's six numbers."""
    from PIL import Image as Pillow
    from PIL import ImageOps

    image = ImageOps.exif_transpose(image)
    if "A" in image.getbands():
        image = Pillow.alpha_composite(Pillow.new("RGBA", image.size, "white"), image.convert("RGBA"))
    image = image.convert("RGB")
    width, height = size
    original = (image.height, image.width)
    scale = max(width / image.width, height / image.height)
    scaled = (max(width, round(image.width * scale)), max(height, round(image.height * scale)))
    if scaled != image.size:
        image = image.resize(scaled, Pillow.Resampling.LANCZOS)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    cut = image.crop((left, top, left + width, top + height))
    return cut, (*original, top, left, height, width)


def load_training_set(
    pictures: Sequence[Picture], trigger: str, class_word: str, size: tuple[int, int], encoders: Any, device: str
) -> TrainingSet:
    """Encode everything once.

    Args:
        size: width and height in pixels, multiples of 8.
        encoders: a StableDiffusionXLPipeline; its UNet may be absent.
    """
    import torch
    from PIL import Image

    rows, ids = [], []
    for picture in pictures:
        with Image.open(picture.path) as image:
            cut, numbers = fit(image, size)
        rows.append(encode_picture(cut, encoders.vae, device))
        ids.append(numbers)
    said = [picture.caption for picture in pictures]
    unsaid = [without_trigger(caption, trigger, class_word) for caption in said]
    texts = {text: embed(text, encoders, device) for text in dict.fromkeys([*said, *unsaid])}
    return TrainingSet(
        names=tuple(picture.path.name for picture in pictures),
        latents=torch.cat(rows),
        time_ids=torch.tensor(ids, dtype=torch.float32),
        captions=tuple(texts[text] for text in said),
        priors=tuple(texts[text] for text in unsaid),
        nothing=embed_nothing(encoders, device),
    )


def encode_picture(image: Image.Image, vae: Any, device: str) -> Tensor:
    """The posterior's mean in the UNet's scale, (1, channels, height / 8, width / 8)."""
    import numpy as np
    import torch

    pixels = torch.from_numpy(np.asarray(image, dtype=np.float32).copy()).permute(2, 0, 1)[None] / 127.5 - 1
    with torch.no_grad():
        mean = vae.encode(pixels.to(device, vae.dtype)).latent_dist.mean.float().cpu()
    centre, spread = vae.config.get("latents_mean"), vae.config.get("latents_std")
    if centre is not None and spread is not None:
        mean = (mean - torch.tensor(centre).view(1, -1, 1, 1)) / torch.tensor(spread).view(1, -1, 1, 1)
    latents: Tensor = mean * vae.config.scaling_factor
    if not bool(torch.isfinite(latents).all()):
        raise ModelError("the autoencoder answers with NaN; SDXL's own one needs float32 or the fp16-fix version")
    return latents


def embed(text: str, encoders: Any, device: str) -> Embedding:
    """One caption through both text encoders, as the pipeline itself does it."""
    import torch

    with torch.no_grad():
        tokens, _, pooled, _ = encoders.encode_prompt(text, device=device, do_classifier_free_guidance=False)
    return Embedding(tokens[0].float().cpu(), pooled[0].float().cpu())


def embed_nothing(encoders: Any, device: str) -> Embedding:
    """What the pipeline gives the UNet for no prompt at all: zeros where it is configured so."""
    import torch

    empty = embed("", encoders, device)
    if encoders.config.get("force_zeros_for_empty_prompt"):
        return Embedding(torch.zeros_like(empty.tokens), torch.zeros_like(empty.pooled))
    return empty


def load_encoders(profile: Any, models: Any, dtype: Any) -> Any:
    """The base pipeline without its UNet; the autoencoder in float32, because half precision overflows in SDXL's.

    A copy of its own beside the one that draws: it is gone before the first step, and nobody's LoRA is in it.
    """
    import torch

    folder = locate_model(profile.models.base, models.root, profile.name)
    parts: dict[str, Any] = {"unet": None}
    with quiet_libraries(), translated(profile.models.base):
        from diffusers import AutoencoderKL, StableDiffusionXLPipeline

        if profile.models.vae:
            vae = locate_model(profile.models.vae, models.root, profile.name)
            parts["vae"] = AutoencoderKL.from_pretrained(vae, torch_dtype=torch.float32, **load_options(vae))
        dtypes = {"default": dtype, "vae": torch.float32}
        pipeline = StableDiffusionXLPipeline.from_pretrained(
            folder, torch_dtype=dtypes, add_watermarker=False, **parts, **load_options(folder)
        )
    return pipeline.to(models.device)


def free_memory() -> None:
    """Give back what the encoders held."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def sampling_weights(names: Sequence[str], sampling: Mapping[str, float]) -> list[float]:
    """One weight a picture, 1 where the configuration is silent."""
    return [float(sampling.get(name, 1.0)) for name in names]
