"""A diffusers pipeline written as one file, in the key layout in which Stability published SDXL."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
ENDS = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def write_single_file(pipeline: Path, file: Path, extra: Mapping[str, torch.Tensor] | None = None) -> Path:
    """All weights of a pipeline's folder as one checkpoint."""
    tensors = {
        **{f"model.diffusion_model.{key}": value for key, value in unet_tensors(pipeline / "unet")},
        **{f"first_stage_model.{key}": value for key, value in vae_tensors(pipeline / "vae")},
        **{f"conditioner.embedders.0.transformer.{key}": value for key, value in first_text(pipeline / "text_encoder")},
        **{f"conditioner.embedders.1.model.{key}": value for key, value in second_text(pipeline / "text_encoder_2")},
        **(extra or {}),
    }
    save_file({key: value.contiguous() for key, value in tensors.items()}, file)
    return file


def read(folder: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    (weights,) = folder.glob("*.safetensors")
    return json.loads((folder / "config.json").read_text(encoding="utf-8")), load_file(weights)


def unet_tensors(folder: Path) -> Iterator[tuple[str, torch.Tensor]]:
    config, weights = read(folder)
    per_block = config["layers_per_block"] + 1
    for key, value in weights.items():
        yield unet_key(key, per_block, config["up_block_types"]), value


def unet_key(key: str, per_block: int, ups: list[str]) -> str:
    """down_blocks.1.resnets.0.conv1.weight is input_blocks.4.0.in_layers.2.weight in SDXL."""
    for name, old in ENDS.items():
        if key.startswith(f"{name}."):
            return key.replace(name, old, 1)
    if found := re.match(r"mid_block\.(resnets|attentions)\.(\d)\.(.*)", key):
        kind, number, rest = found.groups()
        return f"middle_block.{1 if kind == 'attentions' else 2 * int(number)}.{inside(kind, rest)}"
    found = re.match(r"(down|up)_blocks\.(\d)\.(\w+)\.(\d)\.(.*)", key)
    assert found, key
    way, block, kind, number, rest = found[1], int(found[2]), found[3], int(found[4]), found[5]
    if kind == "downsamplers":
        return f"input_blocks.{(block + 1) * per_block}.0.{rest.replace('conv', 'op')}"
    if kind == "upsamplers":
        return f"output_blocks.{(block + 1) * per_block - 1}.{2 if 'CrossAttn' in ups[block] else 1}.{rest}"
    index = block * per_block + number + (way == "down")
    return f"{'input' if way == 'down' else 'output'}_blocks.{index}.{int(kind == 'attentions')}.{inside(kind, rest)}"


def inside(kind: str, rest: str) -> str:
    """The end of a key; attention layers are called alike."""
    name, dot, end = rest.partition(".")
    return rest if kind == "attentions" else f"{RESNET[name]}{dot}{end}"


def vae_tensors(folder: Path) -> Iterator[tuple[str, torch.Tensor]]:
    config, weights = read(folder)
    last = len(config["up_block_types"]) - 1
    for key, value in weights.items():
        old = re.sub(r"down_blocks\.(\d)\.resnets\.", r"down.\1.block.", key)
        old = re.sub(r"down_blocks\.(\d)\.downsamplers\.0\.", r"down.\1.downsample.", old)
        old = re.sub(r"up_blocks\.(\d)\.resnets\.", lambda found: f"up.{last - int(found[1])}.block.", old)
        old = re.sub(r"up_blocks\.(\d)\.upsamplers\.0\.", lambda found: f"up.{last - int(found[1])}.upsample.", old)
        old = re.sub(r"mid_block\.resnets\.(\d)", lambda found: f"mid.block_{int(found[1]) + 1}", old)
        old = old.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
        if "mid_block.attentions.0." in old:
            old = old.replace("mid_block.attentions.0", "mid.attn_1")
            for name, short in VAE_ATTENTION.items():
                old = old.replace(f".{name}.", f".{short}.")
            value = value[:, :, None, None] if value.ndim == 2 else value
        yield old, value


def first_text(folder: Path) -> Iterator[tuple[str, torch.Tensor]]:
    for key, value in read(folder)[1].items():
        yield f"text_model.{key.removeprefix('text_model.')}", value
    yield "text_model.embeddings.position_ids", torch.arange(4)[None]  # which real files carry along


def second_text(folder: Path) -> Iterator[tuple[str, torch.Tensor]]:
    """OpenCLIP's naming: query, key and value in one tensor."""
    weights = {key.removeprefix("text_model."): value for key, value in read(folder)[1].items()}
    yield "text_projection", weights.pop("text_projection.weight").T
    yield "positional_embedding", weights.pop("embeddings.position_embedding.weight")
    yield "token_embedding.weight", weights.pop("embeddings.token_embedding.weight")
    yield "logit_scale", torch.tensor(4.6)
    for key, value in weights.items():
        new = key.replace("final_layer_norm", "ln_final").replace("encoder.layers.", "transformer.resblocks.")
        new = new.replace("layer_norm1", "ln_1").replace("layer_norm2", "ln_2").replace("self_attn", "attn")
        new = new.replace(".fc1.", ".c_fc.").replace(".fc2.", ".c_proj.")
        if ".q_proj." in key:
            together = torch.cat([weights[key.replace("q_proj", f"{name}_proj")] for name in "qkv"])
            yield new.replace("q_proj.", "in_proj_"), together
        elif ".k_proj." not in key and ".v_proj." not in key:
            yield new, value
