"""The weights that learn: a float32 LoRA in the UNet and, if wanted, in the text encoders, over a frozen base."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers.training_utils import cast_training_params
from peft import LoraConfig, get_peft_model_state_dict, set_peft_model_state_dict
from peft.tuners.lora import LoraLayer

from harness.core.errors import LoraError, UsageError, nearest
from harness.core.values import digest
from harness.models.lora.convert import diffusers_tensors
from harness.models.lora.file import read_lora, with_alphas
from harness.models.lora.train_config import TrainConfig

TEXT_TARGETS = ("q_proj", "k_proj", "v_proj", "out_proj")  # attention, as every trainer of text encoders has it
TEXT_PARTS: Mapping[str, tuple[str, ...]] = {
    "none": (),
    "first": ("text_encoder",),
    "second": ("text_encoder_2",),
    "both": ("text_encoder", "text_encoder_2"),
}
Models = Mapping[str, torch.nn.Module]
"""Part (`unet`, `text_encoder`, `text_encoder_2`) to the model whose LoRA learns."""


def add_lora(model: Any, config: TrainConfig, part: str = "unet") -> None:
    """A float32 LoRA that does nothing yet; its first values follow from the seed alone.

    Raises:
        UsageError: a layer of `target_modules` is not in the model.
    """
    layers = config.target_modules if part == "unet" else TEXT_TARGETS
    check_layers(model, layers)
    model.requires_grad_(False)
    variant = {"use_dora": config.dora, "use_rslora": config.rslora}
    model.add_adapter(LoraConfig(r=config.rank, lora_alpha=config.alpha, target_modules=list(layers), **variant))
    cast_training_params(model, dtype=torch.float32)
    for layer in model.modules():
        if isinstance(layer, LoraLayer):
            layer.cast_input_dtype_enabled = False  # autocast would only cast what PEFT casts up back again
    # an own generator: the global one belongs to whoever draws pictures beside us
    seed = config.seed if part == "unet" else int(digest([config.seed, part])[:15], 16)
    generator = torch.Generator().manual_seed(seed)
    for name, weight in sorted(trained_weights(model).items()):
        if "lora_A" in name:
            first = torch.randn(weight.shape, generator=generator) / config.rank
            weight.data.copy_(first)


def check_layers(model: Any, layers: tuple[str, ...]) -> None:
    """PEFT passes over a name that fits nothing as long as another one fits. Raises UsageError instead."""
    names = [name for name, _ in model.named_modules()]
    for layer in layers:
        if not any(name == layer or name.endswith(f".{layer}") for name in names):
            if layer == "conv_shortcut":  # a block that keeps its width has none
                continue
            known = {name.rpartition(".")[2] for name in names} | {".".join(name.split(".")[-2:]) for name in names}
            raise UsageError(f"training: target_modules: no layer called {layer!r}; {nearest(layer, known - {''})}")


def trained_weights(model: Any) -> dict[str, torch.nn.Parameter]:
    """The parameters that learn, by name."""
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


def all_trained(models: Models) -> dict[str, torch.nn.Parameter]:
    """The parameters that learn of all parts, by part and name."""
    return {
        f"{part}.{name}": weight for part, model in models.items() for name, weight in trained_weights(model).items()
    }


@contextmanager
def without_lora(*models: Any) -> Iterator[None]:
    """The base alone, inside the block."""
    for model in models:
        model.disable_adapters()
    try:
        yield
    finally:
        for model in models:
            model.enable_adapters()


def load_weights(models: Models, path: Path, config: TrainConfig) -> None:
    """Put a LoRA into the adapters, to be continued. Raises LoraError when ranks, layers or parts differ."""
    lora = read_lora(path)
    scale = config.alpha * (config.rank**0.5 if config.rslora else 1.0)
    tensors = diffusers_tensors(with_alphas(lora, dict.fromkeys(lora.modules, scale)))
    results = {name.replace(".text_model.", "."): tensor.float() for name, tensor in tensors.items()}
    own: dict[str, dict[str, torch.Tensor | None]] = {}
    for part, model in models.items():
        wanted = get_peft_model_state_dict(model)
        plain = {name.replace("text_model.", ""): name for name in wanted}
        own[part] = {plain[key]: results.pop(f"{part}.{key}", None) for key in plain}
        shapes = {name: tuple(tensor.shape) for name, tensor in wanted.items()}
        if shapes != {name: None if tensor is None else tuple(tensor.shape) for name, tensor in own[part].items()}:
            raise LoraError(f"{path}: cannot be continued: its rank or its layers differ from the configuration's")
    if results:
        raise LoraError(f"{path}: cannot be continued: it changes layers that the configuration does not train")
    for part, tensors in own.items():
        set_peft_model_state_dict(models[part], tensors)
