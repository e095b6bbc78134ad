"""What a training run looks at: pictures as latents and captions as texts, made once.

Only the `train` split is learnt from; the held-out pictures come in here for the validation loss alone, which decides
nothing.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as Pillow
from torch import Tensor

from harness.config.prompts.trigger import with_trigger
from harness.core.errors import ReferencesError
from harness.core.values import Subject
from harness.models.identity import quiet_libraries
from harness.models.loading import load_options, locate_model, translated
from harness.models.lora.train_config import TrainConfig
from harness.models.lora.training_pictures import TrainingPicture
from harness.models.pipeline import encode_picture
from harness.scoring.references import load_references
from harness.scoring.references.loading import picture_files, read_captions
from harness.training.buckets import Cut, Size, make_cuts
from harness.training.prompt_encoding import phrasings, without_trigger

__all__ = ["Item", "TrainingPicture", "TrainingSet", "View", "held_out_pictures", "train_pictures", "with_trigger"]


@dataclass(frozen=True)
class View:
    """One cut of a picture, encoded."""

    latents: Tensor  # (channels, height / 8, width / 8), float32
    ids: Tensor  # (6,): original height and width, crop top and left, target height and width
    mask: Tensor | None = None  # (1, height / 8, width / 8), what counts: background_weight to 1


@dataclass(frozen=True)
class Item:
    """One picture: its views, all of one size, and what may be said of it."""

    name: str  # file name
    views: tuple[View, ...]
    said: tuple[str, ...]  # with the trigger
    unsaid: str  # the class word in the trigger's place

    @property
    def shape(self) -> tuple[int, ...]:
        """Of its latents: pictures of one shape can go through the model together."""
        return tuple(self.views[0].latents.shape)


@dataclass(frozen=True)
class TrainingSet:
    """The pictures, encoded, and what may be said of them."""

    items: tuple[Item, ...]
    others: tuple[str, ...] = ()  # prompts about others for prior steps; (): the items' own without the trigger
    strangers: tuple[Item, ...] = ()  # pictures of others for prior steps; (): the items themselves
    held_out: tuple[Item, ...] = ()  # never learnt from

    def shown(self, prior: bool) -> tuple[Item, ...]:
        """The pictures of an ordinary step, or of a prior step."""
        return self.strangers if prior and self.strangers else self.items

    def shape_of(self, size: Size) -> tuple[int, ...]:
        """Of the latents of a picture of that size, by the measure of the first one's."""
        view = self.items[0].views[0]
        factor = int(view.ids[4]) // view.latents.shape[1]
        return (int(view.latents.shape[0]), size[1] // factor, size[0] // factor)

    def all_texts(self) -> list[str]:
        """Everything that may be said."""
        whole = (*self.items, *self.strangers, *self.held_out)
        return [*(text for item in whole for text in (*item.said, item.unsaid)), *self.others]


def train_pictures(subject: Subject) -> tuple[TrainingPicture, ...]:
    """The train pictures with their captions: the .txt file beside each, else the trigger alone.

    Raises:
        ReferencesError: there is no picture, or the references are not what they should be.
    """
    references = load_references(subject)
    if not references.train:
        raise ReferencesError(f"{subject.references}: no train picture; put some into its train/ folder")
    return captioned(references.train, references.captions, subject.trigger)


def held_out_pictures(subject: Subject) -> tuple[TrainingPicture, ...]:
    """The held-out pictures for the validation loss; () where there are too few to keep any apart."""
    references = load_references(subject)
    if references.leave_one_out:
        return ()
    return captioned(references.held_out, references.captions, subject.trigger)


def captioned(paths: Iterable[Path], captions: Mapping[Path, str], trigger: str) -> tuple[TrainingPicture, ...]:
    return tuple(TrainingPicture(path, with_trigger(captions.get(path, ""), trigger)) for path in paths)


def stranger_pictures(folder: Path, class_word: str) -> tuple[TrainingPicture, ...]:
    """The pictures of others in a folder, with the captions beside them. Raises ReferencesError for an empty one."""
    paths = picture_files(folder)
    if not paths:
        raise ReferencesError(f"class_folder {folder}: no picture there; put some in, or remove the key")
    captions = read_captions(paths)
    return tuple(TrainingPicture(path, captions.get(path) or class_word) for path in paths)


def make_items(
    pictures: Sequence[TrainingPicture], subject: Subject, config: TrainConfig, size: Size, vae: Any, device: str
) -> tuple[Item, ...]:
    """Encode every view of every picture once.

    Args:
        size: width and height in pixels, multiples of 8; with buckets, the area.
        vae: an AutoencoderKL.
    """
    items = []
    for picture in pictures:
        cuts = make_cuts(picture.path, config, size)
        views = tuple(make_view(each, config.background_weight, vae, device) for each in cuts)
        text = phrasings(picture.caption, subject.trigger, config, picture.path.name)
        unsaid = without_trigger(picture.caption, subject.trigger, config.class_word)
        items.append(Item(picture.path.name, views, text, unsaid))
    return tuple(items)


def make_view(each: Cut, background: float, vae: Any, device: str) -> View:
    """A cut as latents, its six numbers, and its mask at the latents' size."""
    latents = encode_picture(each.image, vae)[0]
    mask = None
    if each.mask is not None:
        small = each.mask.resize((latents.shape[2], latents.shape[1]), Pillow.Resampling.BOX)
        shares = torch.from_numpy(np.asarray(small, dtype=np.float32) / 255)[None]
        mask = background + (1 - background) * shares
    return View(latents, torch.tensor(each.ids, dtype=torch.float32), mask)


def load_encoders(profile: Any, models: Any, dtype: Any, device: str | None = None) -> Any:
    """The base pipeline without its UNet; the autoencoder in float32, because half precision overflows in SDXL's.

    A copy of its own beside the one that draws: it is gone before the first step, and nobody's LoRA is in it.
    """
    root, settings = models.root, profile.models.config  # a single file's, where the base is one
    folder = locate_model(profile.models.base, root, profile.name, settings)
    parts: dict[str, object] = {"unet": None}
    with quiet_libraries(), translated(profile.models.base):
        from diffusers import AutoencoderKL, StableDiffusionXLPipeline

        if profile.models.vae:
            vae = locate_model(profile.models.vae, root, profile.name, settings)
            parts["vae"] = AutoencoderKL.from_pretrained(vae, torch_dtype=torch.float32, **load_options(vae))
        dtypes = {"default": dtype, "vae": torch.float32}
        pipeline = StableDiffusionXLPipeline.from_pretrained(
            folder, torch_dtype=dtypes, add_watermarker=False, **parts, **load_options(folder)
        )
    return pipeline.to(device or models.device)


def free_memory() -> None:
    """Give back what the encoders held."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def sampling_weights(names: Sequence[str], sampling: Mapping[str, float]) -> list[float]:
    """One weight a picture, 1 where the configuration is silent."""
    return [float(sampling.get(name, 1.0)) for name in names]
