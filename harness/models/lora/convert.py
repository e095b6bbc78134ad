"""LoRA files for other programs: tensors in their key style, and the metadata that each of them reads.

| reader | keys | rank and alpha | also reads |
|---|---|---|---|
| diffusers, PEFT | `unet.<module>.lora_A.weight` | `lora_adapter_metadata` | |
| A1111, Forge | `lora_unet_...lora_down.weight` | `.alpha` tensors | `ss_base_model_version` |
| ComfyUI | both | `.alpha` tensors only | |
| sd-scripts | `lora_unet_...` in Stability's names | `.alpha` tensors | `ss_network_dim`, `ss_network_alpha` |

Fields after https://github.com/Stability-AI/ModelSpec (1.0.1; 1.0.0 differs in wording alone) and sd-scripts'
`library/sai_model_spec.py` and `train_util.py`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core.errors import LoraError
from harness.core.files import write_file
from harness.models.lora.file import LoraFile, LowRankFactors, cast, even_alphas, fold_alphas
from harness.models.lora.keys import LAYERS, kohya_name

if TYPE_CHECKING:
    import torch

ARCHITECTURE = "stable-diffusion-xl-v1-base/lora"
STALE = ("lora_adapter_metadata", "modelspec.hash_sha256", "sshs_model_hash", "sshs_legacy_hash", "format")
DESCRIBED = ("title", "author", "description", "license", "trigger_phrase", "resolution", "usage_hint", "tags")
"""ModelSpec fields that a person may give."""


@dataclass(frozen=True)
class Style:
    """How a file is to be written."""

    keys: str = "diffusers"  # or kohya
    dtype: str | None = None  # float16, bfloat16, float32; None: as it is
    blocks: str = "sgm"  # kohya: Stability's block names, or diffusers'
    alphas: str = "auto"  # keep; fold: rank everywhere; auto: kohya files get one alpha for each model


def export_file(lora: LoraFile, out: Path, style: Style, said: Mapping[str, str] | None = None) -> LoraFile:
    """Write a LoRA in a style. The file appears whole or not at all.

    Args:
        said: ModelSpec fields without their prefix, in place of what the file says.

    Returns:
        what was written.

    Raises:
        LoraError: a value does not fit into the dtype.
    """
    lora = settle_alphas(lora, style)
    lora = cast(lora, style.dtype)
    tensors = kohya_tensors(lora, style.blocks) if style.keys == "kohya" else diffusers_tensors(lora)
    metadata = write_hashed(out, tensors, describe(lora, style, said or {}))
    return replace(lora, metadata=metadata, style=style.keys)


def settle_alphas(lora: LoraFile, style: Style) -> LoraFile:
    """The alphas that this style's readers understand; the pictures stay the same."""
    if style.alphas == "fold":
        folded = fold_alphas(lora)
        return even_alphas(folded) if style.keys == "kohya" else folded
    return even_alphas(lora) if style.alphas == "auto" and style.keys == "kohya" else lora


def write_hashed(out: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> dict[str, str]:
    """A safetensors file whose metadata, which come back, hold the hash of its tensors: of all behind the header."""
    from safetensors.torch import save

    whole = {name: tensor.contiguous().clone() for name, tensor in tensors.items()}
    plain = save(whole)
    sha256 = hashlib.sha256(memoryview(plain)[8 + int.from_bytes(plain[:8], "little") :]).hexdigest()
    whole_metadata = {**metadata, "modelspec.hash_sha256": f"0x{sha256}", "sshs_model_hash": sha256}
    write_file(out, save(whole, whole_metadata))
    return whole_metadata


# --- tensors --------------------------------------------------------------------------------------------------------


def diffusers_tensors(lora: LoraFile) -> dict[str, torch.Tensor]:
    """PEFT's keys. The first text encoder's keep `text_model.`: tools that know only that would drop the others."""
    tensors: dict[str, torch.Tensor] = {}
    for name, item in lora.modules.items():
        tensors[f"{name}.lora_A.weight"] = item.down
        tensors[f"{name}.lora_B.weight"] = item.up
        if item.magnitude is not None:
            shape = (-1,) if item.down.ndim == 2 else (1, -1, 1, 1)  # PEFT keeps a convolution's in one row
            tensors[f"{name}.lora_magnitude_vector"] = item.magnitude.reshape(shape)
    return tensors


def kohya_tensors(lora: LoraFile, blocks: str = "sgm") -> dict[str, torch.Tensor]:
    """sd-scripts' keys, an alpha for each module. Raises LoraError when two modules would get one name."""
    import torch

    tensors: dict[str, torch.Tensor] = {}
    if blocks == "diffusers" and any(name.startswith("unet.add_embedding.") for name in lora.modules):
        raise LoraError("add_embedding: diffusers drops it under its own kohya name; write Stability's names (sgm)")
    for name, item in lora.modules.items():
        stem = kohya_name(name, blocks, lora.layers)
        if f"{stem}.alpha" in tensors:
            raise LoraError(f"{name}: has the same kohya name as another module ({stem})")
        tensors[f"{stem}.lora_down.weight"] = item.down
        tensors[f"{stem}.lora_up.weight"] = item.up
        tensors[f"{stem}.alpha"] = torch.tensor(item.alpha, dtype=torch.float32)
        if item.magnitude is not None:
            tensors[f"{stem}.dora_scale"] = item.magnitude.reshape(-1, *(1,) * (item.down.ndim - 1))
    return tensors


def load_instead(lora: LoraFile) -> dict[str, torch.Tensor] | None:
    """Tensors for `load_lora_weights` in place of a file that diffusers 0.42 reads wrongly; None when it reads it well.

    Of a kohya file it takes one alpha for each model, and leaves out DoRA's norms.
    """
    dora = any(item.magnitude is not None for item in lora.modules.values())
    if lora.style != "kohya" or not (dora or uneven(lora.modules)):
        return None
    return diffusers_tensors(fold_alphas(cast(lora, "float32")))


def uneven(modules: Mapping[str, LowRankFactors]) -> bool:
    """Whether the modules of one model have several alphas."""
    alphas: dict[str, set[float]] = {}
    for name, item in modules.items():
        alphas.setdefault(name.partition(".")[0], set()).add(item.alpha)
    return any(len(result) > 1 for result in alphas.values())


# --- metadata -------------------------------------------------------------------------------------------------------


def describe(lora: LoraFile, style: Style, said: Mapping[str, str]) -> dict[str, str]:
    """Whatever the file said that is still true, and the fields that the style's readers look for."""
    kept = {name: value for name, value in lora.metadata.items() if name not in STALE and not rewritten(name)}
    written = {**kept, **modelspec(lora, style, said), "format": "pt"}
    if lora.layers != LAYERS:
        written["harness.layers_per_block"] = str(lora.layers)
    if style.keys == "kohya":
        return {**written, **kohya_fields(lora)}
    return {**written, "lora_adapter_metadata": json.dumps(adapter_records(lora), indent=2, sort_keys=True)}


def rewritten(name: str) -> bool:
    """Fields about the file's own form, which a conversion makes anew."""
    return name in ("ss_network_dim", "ss_network_alpha", "ss_network_module", "ss_network_args")


def modelspec(lora: LoraFile, style: Style, said: Mapping[str, str]) -> dict[str, str]:
    """Stability's ModelSpec 1.0.1, without the hash; what the base predicts only where the file says it."""
    old = {name: lora.metadata.get(f"modelspec.{name}", "") for name in (*DESCRIBED, "date", "prediction_type")}
    tagged = {
        "title": lora.metadata.get("ss_output_name", ""),
        "trigger_phrase": lora.metadata.get("harness.trigger", ""),
    }
    fields = {name: said.get(name) or old[name] or tagged.get(name, "") for name in old}
    stability = style.keys == "kohya" and style.blocks == "sgm"
    fields |= {
        "sai_model_spec": "1.0.1",
        "architecture": ARCHITECTURE,
        "implementation": "https://github.com/Stability-AI/generative-models" if stability else "diffusers",
        "title": fields["title"] or "LoRA",
        "date": fields["date"] or datetime.now(UTC).replace(microsecond=0).isoformat(),
        "resolution": fields["resolution"] or "1024x1024",
    }
    return {f"modelspec.{name}": value for name, value in fields.items() if value}


def adapter_records(lora: LoraFile) -> dict[str, object]:
    """What diffusers makes PEFT's LoraConfig of, for each model: without it an alpha beside the rank is lost.

    Text encoders' modules are named without `text_model.`: some versions of transformers have that level and some do
    not, and PEFT compares the ends of names.
    """
    records: dict[str, object] = {}
    for part in lora.parts:
        own = {
            name.partition(".")[2].removeprefix("text_model."): item
            for name, item in lora.modules.items()
            if name.startswith(f"{part}.")
        }
        rank, alpha = commonest(item.rank for item in own.values()), commonest(item.alpha for item in own.values())
        record = {
            "peft_type": "LORA",
            "r": rank,
            "lora_alpha": plain(alpha),
            "rank_pattern": {name: item.rank for name, item in own.items() if item.rank != rank},
            "alpha_pattern": {name: plain(item.alpha) for name, item in own.items() if item.alpha != alpha},
            "target_modules": sorted(own),
            "bias": "none",
            "use_dora": any(item.magnitude is not None for item in own.values()),
            "use_rslora": False,
        }
        records |= {f"{part}.{key}": value for key, value in record.items()}
    return records


def kohya_fields(lora: LoraFile) -> dict[str, str]:
    """`ss_*` fields: A1111 hides a LoRA whose `ss_base_model_version` is not of the model in use."""
    convolutions = [item for item in lora.modules.values() if is_convolution(item)]
    linear = [item for item in lora.modules.values() if not is_convolution(item)]
    fields = {
        "ss_base_model_version": lora.metadata.get("ss_base_model_version", "sdxl_base_v1-0"),
        "ss_network_module": "networks.lora",
        "ss_network_dim": one_of({item.rank for item in linear or convolutions}),
        "ss_network_alpha": one_of({plain(item.alpha) for item in linear or convolutions}),
        "ss_output_name": lora.metadata.get("ss_output_name") or lora.metadata.get("modelspec.title") or "lora",
    }
    if convolutions:
        ranks, alphas = {item.rank for item in convolutions}, {plain(item.alpha) for item in convolutions}
        fields["ss_network_args"] = json.dumps({"conv_dim": one_of(ranks), "conv_alpha": one_of(alphas)})
    steps = lora.metadata.get("harness.steps", "")
    return fields | ({"ss_steps": steps} if re.fullmatch(r"\d+", steps) else {})


def is_convolution(item: LowRankFactors) -> bool:
    """Whether it is a real kernel; sd-scripts counts 1x1 ones among the linear layers."""
    return bool(item.down.ndim == 4 and item.down.shape[2:].numel() > 1)


def one_of(values: set[Any]) -> str:
    """The value, or "Dynamic" where there are several, as sd-scripts' own resize says it."""
    return str(next(iter(values))) if len(values) == 1 else "Dynamic"


def commonest(values: Any) -> Any:
    return Counter(values).most_common(1)[0][0]


def plain(value: float) -> float:
    """A whole number without its point, as trainers write it."""
    return int(value) if float(value).is_integer() else value
