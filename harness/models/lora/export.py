"""LoRA files: diffusers/PEFT keys, half precision, and metadata that say whose, from what and how."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import safe_open

from harness.core.errors import LoraError, UsageError
from harness.core.files import replacing
from harness.core.values import Subject
from harness.models.lora.convert import adapter_records, diffusers_tensors
from harness.models.lora.file import assemble, cast
from harness.models.lora.header import read_header
from harness.models.lora.train_config import TrainConfig, config_from

if TYPE_CHECKING:
    import torch

PREDICTIONS = {"v_prediction": "v"}
"""diffusers' word for what a model predicts to ModelSpec's, where they differ."""


def describe_lora(
    config: TrainConfig,
    subject: Subject,
    references: str,
    base: str,
    size: tuple[int, int],
    command: str,
    prediction: str,
) -> dict[str, str]:
    """The metadata of a LoRA: the keys other programs read, and ours under `harness.`.

    Args:
        prediction: the `prediction_type` of the noise schedule it was trained with.
    """
    created = datetime.now(UTC).replace(microsecond=0).isoformat()
    return {
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": "stable-diffusion-xl-v1-base/lora",
        "modelspec.implementation": "diffusers",
        "modelspec.title": subject.name,
        "modelspec.trigger_phrase": subject.trigger,
        "modelspec.resolution": f"{size[0]}x{size[1]}",
        "modelspec.prediction_type": PREDICTIONS.get(prediction, prediction),
        "modelspec.date": created,
        "harness.version": own_version(),
        "harness.subject": subject.name,
        "harness.trigger": subject.trigger,
        "harness.references": references,
        "harness.base": base,
        "harness.config": config.to_json(),
        "harness.command": command,
        "harness.created": created,
    }


def own_version() -> str:
    """The installed version, or "0" in a bare checkout."""
    try:
        return version("lora-harness")
    except PackageNotFoundError:
        return "0"


def export_lora(models: Mapping[str, torch.nn.Module], path: Path, metadata: Mapping[str, str]) -> None:
    """Write the adapters of the UNet and of trained text encoders under PEFT's keys.

    float16, as such files usually are. Alphas are written as plain numbers, rsLoRA's too, because many readers know
    nothing of it. Raises LoraError when a weight does not fit into float16.
    """
    import torch
    from peft import get_peft_model_state_dict

    weights: dict[str, torch.Tensor] = {}
    fields: dict[str, object] = {}
    for part, model in models.items():
        own = get_peft_model_state_dict(model)
        weights |= {f"{part}.{name}": weight.detach().to("cpu", torch.float32) for name, weight in own.items()}
        config = next(iter(model.peft_config.values()))
        record = {"r": config.r, "lora_alpha": config.lora_alpha, "use_rslora": config.use_rslora}
        fields |= {f"{part}.{name}": value for name, value in record.items()}
    if not all(bool(torch.isfinite(weight).all()) for weight in weights.values()):
        raise LoraError("training: a weight of the LoRA is not a number; lower learning_rate")
    lora = assemble(path, weights, {"lora_adapter_metadata": json.dumps(fields)})
    try:
        lora = cast(lora, "float16")
    except LoraError as error:
        raise LoraError(f"training: {error}; lower learning_rate") from error
    written = {"format": "pt", "lora_adapter_metadata": json.dumps(adapter_records(lora), indent=2, sort_keys=True)}
    write_tensors(path, diffusers_tensors(lora), {**written, **metadata})


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> None:
    """A safetensors file, whole or not at all."""
    from safetensors.torch import save_file

    with replacing(path) as draft:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, draft, dict(metadata))


def read_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """All tensors of a safetensors file, on the processor, and its metadata."""
    with safe_open(path, framework="pt") as file:
        names = file.keys()
        return {name: file.get_tensor(name) for name in names}, dict(file.metadata() or {})


@dataclass(frozen=True)
class LoraFacts:
    """What a LoRA file says of itself; a stranger's file says little."""

    keys: int
    metadata: Mapping[str, str] = field(repr=False)

    @property
    def config(self) -> TrainConfig | None:
        """How it was trained, when we trained it and still understand the record."""
        try:
            return config_from(json.loads(self.metadata["harness.config"]))
        except (KeyError, ValueError, TypeError, UsageError):
            return None

    @property
    def steps(self) -> int:
        """Steps behind it, 0 when unknown."""
        text = self.metadata.get("harness.steps", "")
        return int(text) if text.isdecimal() else 0


def read_facts(path: Path) -> LoraFacts:
    """A LoRA's metadata and key count, without torch. Raises LoraError for what is no LoRA file."""
    header = read_header(path)
    return LoraFacts(len(header.keys), header.metadata)
