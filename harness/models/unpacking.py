"""The parts of a checkpoint of one file, as diffusers keeps them: what `harness.models.checkpoints` calls for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_ldm_clip_checkpoint, convert_open_clip_checkpoint
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from harness.core.errors import LoraError, ModelError
from harness.models.identity import quiet_libraries
from harness.models.lora.header import read_header

TEXT = "conditioner."
UNET, TEXT_1, TEXT_2 = (
    "model.diffusion_model.",
    "conditioner.embedders.0.transformer.",
    "conditioner.embedders.1.model.",
)
AUTOENCODER = "decoder.conv_in.weight"


def unpack(file: Path, settings: Path, target: Path) -> None:
    """Write a checkpoint's parts as diffusers keeps them."""
    if not (settings / "model_index.json").is_file():
        raise ModelError(f"{settings}: is no pipeline's folder, it has no model_index.json; correct `models: config:`")
    try:
        weights = load_file(file)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"checkpoint {file}: {error}; copy or download it again") from error
    with quiet_libraries(), mismatches_told(file, settings):
        if any(name.startswith(UNET) for name in weights):
            model = unpack_pipeline(file, weights, settings)
        elif any(name.endswith(AUTOENCODER) for name in weights):
            model = load_part("vae", weights, settings)
        else:
            raise ModelError(f"checkpoint {file}: holds neither a UNet nor an autoencoder; a LoRA goes under `loras:`")
    with quiet_libraries():
        model.save_pretrained(target)


@contextmanager
def mismatches_told(file: Path, settings: Path) -> Iterator[None]:
    """Whatever the libraries raise when weights and settings do not belong together."""
    try:
        yield
    except (ValueError, KeyError, RuntimeError, TypeError, AttributeError, OSError) as error:
        raise ModelError(f"checkpoint {file}: does not fit the settings in {settings}: {error!s:.600}") from error


def unpack_pipeline(file: Path, weights: Mapping[str, torch.Tensor], settings: Path) -> Any:
    """A StableDiffusionXLPipeline from the layout that Stability published SDXL in."""
    from diffusers import StableDiffusionXLPipeline  # quiet by now

    for prefix in (TEXT_1, TEXT_2):
        if not any(name.startswith(prefix) for name in weights):
            raise ModelError(f"checkpoint {file}: is not one of SDXL, it has no {prefix.rstrip('.')}")
    parts = {name: load_part(name, weights, settings) for name in ("unet", "vae")}
    return StableDiffusionXLPipeline(
        **parts,
        text_encoder=load_text_encoder(CLIPTextModel, settings / "text_encoder", weights, TEXT_1),
        text_encoder_2=load_text_encoder(CLIPTextModelWithProjection, settings / "text_encoder_2", weights, TEXT_2),
        tokenizer=CLIPTokenizer.from_pretrained(settings / "tokenizer"),
        tokenizer_2=CLIPTokenizer.from_pretrained(settings / "tokenizer_2"),
        scheduler=load_scheduler(file, weights, settings),
        force_zeros_for_empty_prompt=json.loads((settings / "model_index.json").read_text(encoding="utf-8")).get(
            "force_zeros_for_empty_prompt", True
        ),
        add_watermarker=False,
    )


def load_part(name: str, weights: Mapping[str, torch.Tensor], settings: Path) -> Any:
    """The UNet or the autoencoder; every parameter must come from the file."""
    kind = UNet2DConditionModel if name == "unet" else AutoencoderKL
    own = {key: value for key, value in weights.items() if key.startswith(UNET) == (name == "unet")}
    own = own if name == "unet" else {key: value for key, value in own.items() if not key.startswith(TEXT)}
    try:
        model = kind.from_single_file(dict(own), config=str(settings), subfolder=name, local_files_only=True)
        return model.to(dtype_of(own))
    except NotImplementedError as error:  # a weight that nothing was loaded into cannot be moved
        raise ValueError(f"weights of the {name} are not in the file") from error


def load_text_encoder(kind: Any, settings: Path, weights: Mapping[str, torch.Tensor], prefix: str) -> Any:
    """One text encoder, chosen by its prefix: diffusers chooses by width, which small models share."""
    model = kind(kind.config_class.from_pretrained(settings))
    own = {name: value for name, value in weights.items() if name.startswith(prefix)}
    if prefix == TEXT_1:
        result = convert_ldm_clip_checkpoint(own)
    else:
        result = convert_open_clip_checkpoint(model, own, prefix=prefix)
    if not hasattr(model, "text_model"):  # a level that some versions of transformers do not have
        result = {name.removeprefix("text_model."): value for name, value in result.items()}
    wanted = model.state_dict()
    result = {name: value for name, value in result.items() if name in wanted or not name.endswith("position_ids")}
    model.load_state_dict(result, strict=True)
    return model.to(dtype_of(own))


def load_scheduler(file: Path, weights: Mapping[str, torch.Tensor], settings: Path) -> Any:
    """The settings' scheduler, set as the file asks: checkpoints that predict v hold a key that says so."""
    folder = settings / "scheduler"
    config = json.loads((folder / "scheduler_config.json").read_text(encoding="utf-8"))
    kind = getattr(diffusers, config["_class_name"])
    return kind.from_config(config, **told_by(file, weights))


def told_by(file: Path, weights: Mapping[str, torch.Tensor]) -> dict[str, object]:
    """What a checkpoint says of its noise schedule, by marker keys or by its metadata; {} as a rule."""
    try:
        metadata = read_header(file).metadata
    except LoraError:  # a check made for LoRAs: the weights have been read already
        metadata = {}
    text = metadata.get("modelspec.prediction_type", metadata.get("modelspec.predict_key", ""))
    details: dict[str, object] = {}
    if "v_pred" in weights or text.lower() in ("v", "v_prediction"):
        details["prediction_type"] = "v_prediction"
    if "ztsnr" in weights:
        details |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    return details


def dtype_of(weights: Mapping[str, torch.Tensor]) -> torch.dtype:
    """The dtype of most values of a part; parts may differ."""
    counts: dict[torch.dtype, int] = {}
    for value in weights.values():
        counts[value.dtype] = counts.get(value.dtype, 0) + value.numel()
    most = max(counts, key=lambda dtype: counts[dtype])
    return most if most in (torch.float32, torch.bfloat16, torch.float16) else torch.float16
