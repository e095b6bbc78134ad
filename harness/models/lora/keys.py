"""What tensors in a LoRA file are called, in every style that is about, and which module each one means.

A module has one name here, diffusers' own with dots: `unet.down_blocks.1.attentions.0.proj_in`,
`text_encoder.text_model.encoder.layers.0.self_attn.q_proj`. The files say it otherwise:

- PEFT, written by diffusers today: `unet.<module>.lora_A.weight`, `text_encoder.<module without text_model>...`;
- diffusers before PEFT: `unet.<...>.attn1.processor.to_q_lora.down.weight`, `<module>.lora_linear_layer.up.weight`;
- kohya's sd-scripts, read by A1111 and ComfyUI: `lora_unet_<module with underscores>.lora_down.weight`, for SDXL in
  the block names of Stability's own code (`input_blocks_4_1`), for text encoders `lora_te1_...` and `lora_te2_...`;
- ComfyUI and others: `diffusion_model.<module in Stability's names>.lora_A.weight`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

PARTS = ("unet", "text_encoder", "text_encoder_2")
LAYERS = 2  # residual blocks in each block of SDXL's UNet (`layers_per_block`)
TENSORS: tuple[tuple[str, str], ...] = (
    (".lora_A.weight", "down"),
    (".lora_B.weight", "up"),
    (".lora_A.default.weight", "down"),
    (".lora_B.default.weight", "up"),
    (".lora_down.weight", "down"),
    (".lora_up.weight", "up"),
    (".lora_mid.weight", "mid"),
    (".lora_linear_layer.down.weight", "down"),
    (".lora_linear_layer.up.weight", "up"),
    (".lora.down.weight", "down"),
    (".lora.up.weight", "up"),
    ("_lora.down.weight", "down"),
    ("_lora.up.weight", "up"),
    (".alpha", "alpha"),
    (".dora_scale", "dora"),
    (".lora_magnitude_vector.weight", "magnitude"),
    (".lora_magnitude_vector", "magnitude"),
)
"""How a key ends, and what the tensor is."""
FOREIGN: tuple[tuple[str, str], ...] = (
    (r"\bhada_", "LoHa: a Hadamard product of two LoRAs is not a LoRA of the same rank; merge it into a checkpoint"),
    (r"\blokr_", "LoKr: a Kronecker product is not a LoRA; merge it into a checkpoint, or train a plain LoRA"),
    (r"\boft_|\.oft\b", "OFT: it rotates weights instead of adding to them"),
    (r"\b[ab][12]\.weight$", "GLoRA: it also scales the base's own weights"),
    (r"\.on_input$", "IA3: it scales activations instead of adding to weights"),
    (r"\.(w|b)_norm$", "trained norms: a LoRA cannot hold them"),
    (r"\.diff(_b)?$", "whole differences of weights, not factors; extract a LoRA from it first"),
    (r"\.bias$", "trained biases: neither diffusers nor A1111 apply them everywhere"),
    (r"^(bundle_emb\b|emb_params$|clip_[lg]$)", "a textual inversion: an embedding is not a LoRA"),
    (
        r"double_blocks|single_blocks|single_transformer_blocks|joint_blocks|^transformer\.|^lora_transformer_|^lora_te3_",
        "made for a transformer (Flux, SD3 and the like), not for SDXL",
    ),
)
"""What looks like a LoRA and is none that SDXL can take: a pattern of its keys, and why."""
PREFIXES: Mapping[str, str] = {
    "lora_unet_": "unet",
    "lora_te1_": "text_encoder",
    "lora_te2_": "text_encoder_2",
    "lora_te_": "text_encoder",
    "base_model.model.unet.": "unet",
    "base_model.model.": "unet",
    "diffusion_model.": "unet",
    "unet.": "unet",
    "text_encoders.clip_l.transformer.": "text_encoder",
    "text_encoders.clip_g.transformer.": "text_encoder_2",
    "text_encoder_2.": "text_encoder_2",
    "text_encoder.": "text_encoder",
}
TOKEN = re.compile(
    r"""(?:
    (?:down|up|mid|input|output|transformer)_blocks? | middle_block | in_layers | out_layers | emb_layers
    | time_embedding | add_embedding | time_embed | label_emb | time_emb_proj | linear_[12] | skip_connection
    | conv_(?:in|out|shortcut) | proj_(?:in|out) | to_(?:q|k|v|out) | text_model | text_projection | self_attn
    | [qkv]_proj | out_proj | layer_norm[12] | token_embedding | position_embedding
    | [a-z]+[0-9]* | [0-9]+
    )(?=_|$)""",
    re.VERBOSE,
)
"""A level of a module's name: those that hold an underscore themselves, so that the others can be told from dots."""
ATTENTION = {"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out": "out_proj"}  # old names in text encoders
WHOLE = {
    "input_blocks.0.0": "conv_in",
    "out.2": "conv_out",
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "label_emb.0.0": "add_embedding.linear_1",
    "label_emb.0.2": "add_embedding.linear_2",
}
INNER = {
    "in_layers.2": "conv1",
    "out_layers.3": "conv2",
    "emb_layers.1": "time_emb_proj",
    "skip_connection": "conv_shortcut",
}
"""Stability's names to diffusers', outside the blocks and inside a residual block."""


class TensorKey(NamedTuple):
    """What a tensor's name says."""

    module: str  # part and module, in diffusers' names
    tensor: str  # down, up, mid, alpha, magnitude (PEFT's DoRA) or dora (kohya's)


def parse_key(key: str, layers: int = LAYERS) -> TensorKey | None:
    """What a key means, or None when it is of no known style.

    Args:
        layers: residual blocks in each block of the UNet, to number Stability's blocks.
    """
    for ending, tensor in TENSORS:
        if key.endswith(ending):
            module = parse_module(key.removesuffix(ending), layers)
            return TensorKey(module, tensor) if module else None
    return None


def parse_module(stem: str, layers: int = LAYERS) -> str:
    """The module that a key without its ending means; "" when there is none."""
    prefix = next((prefix for prefix in PREFIXES if stem.startswith(prefix)), "")
    path, part = stem.removeprefix(prefix), PREFIXES.get(prefix, "unet")
    if prefix.endswith("_"):
        path = with_dots(path)
    path = path.replace(".processor.", ".")
    if part == "unet":
        path = re.sub(r"\bto_out$", "to_out.0", from_stability(path, layers))
        known = re.match(r"(down_blocks|up_blocks|mid_block|conv_in|conv_out|time_embedding|add_embedding)\b", path)
        return f"{part}.{path}" if known else ""
    head, _, tail = path.rpartition(".")
    path = f"{head}.{ATTENTION.get(tail, tail)}" if head else path
    if path.startswith(("encoder.", "embeddings.", "final_layer_norm")):
        path = f"text_model.{path}"
    return f"{part}.{path}" if path.startswith(("text_model.", "text_projection")) else ""


def with_dots(name: str) -> str:
    """`down_blocks_1_attentions_0_proj_in` to `down_blocks.1.attentions.0.proj_in`; "" when it cannot be told."""
    words, place = [], 0
    while place < len(name):
        result = TOKEN.match(name, place)
        if result is None:
            return ""
        words.append(result.group())
        place = result.end() + 1
    return ".".join(words)


def from_stability(path: str, layers: int) -> str:
    """A UNet module's name in diffusers' words; a name that is in them already stays."""
    if path in WHOLE:
        return WHOLE[path]
    result = re.fullmatch(r"(input_blocks|output_blocks|middle_block)\.(\d+)\.?(\d+)?\.?(.*)", path)
    if result is None:
        return path
    side, first, second, rest = result[1], int(result[2]), result[3], result[4]
    if side == "middle_block":  # middle_block.<sub>.<rest>: the number behind it belongs to the rest
        rest = ".".join(filter(None, (second, rest)))
        return f"mid_block.{('resnets.0', 'attentions.0', 'resnets.1')[min(first, 2)]}.{INNER.get(rest, rest)}"
    way, before, resampler = ("down", 1, "op") if side == "input_blocks" else ("up", 0, "conv")
    block, place = divmod(first - before, layers + 1)
    if rest == resampler:
        return f"{way}_blocks.{block}.{way}samplers.0.conv"
    kind = ("resnets", "attentions")[min(int(second or 0), 1)]
    return f"{way}_blocks.{block}.{kind}.{place}.{INNER.get(rest, rest)}"


def to_stability(path: str, layers: int) -> str:
    """The way back: a UNet module's name in the words of Stability's own code, as sd-scripts writes it for SDXL."""
    for theirs, ours in WHOLE.items():
        if path == ours:
            return theirs
    result = re.fullmatch(r"(down_blocks|up_blocks|mid_block)\.(?:(\d+)\.)?(\w+)\.(\d+)\.(.+)", path)
    if result is None:
        return path
    side, block, kind, place, rest = result[1], int(result[2] or 0), result[3], int(result[4]), result[5]
    if side == "mid_block":
        sub = 1 if kind == "attentions" else 2 * place
        return f"middle_block.{sub}.{inner_name(rest)}"
    if kind == "downsamplers":
        return f"input_blocks.{block * (layers + 1) + layers + 1}.0.op"
    if kind == "upsamplers":  # behind the attention, which every block of SDXL that has one also has
        return f"output_blocks.{block * (layers + 1) + layers}.2.conv"
    sub = int(kind == "attentions")
    if side == "down_blocks":
        return f"input_blocks.{block * (layers + 1) + place + 1}.{sub}.{inner_name(rest)}"
    return f"output_blocks.{block * (layers + 1) + place}.{sub}.{inner_name(rest)}"


def inner_name(rest: str) -> str:
    return next((theirs for theirs, ours in INNER.items() if rest == ours), rest)


def kohya_name(module: str, blocks: str = "sgm", layers: int = LAYERS) -> str:
    """`lora_unet_...`, `lora_te1_...`, `lora_te2_...`.

    Args:
        blocks: "sgm" for Stability's block names, "diffusers" for diffusers'.
    """
    part, _, path = module.partition(".")
    if part == "unet" and blocks == "sgm":
        path = to_stability(path, layers)
    prefix = {"unet": "lora_unet", "text_encoder": "lora_te1", "text_encoder_2": "lora_te2"}[part]
    return f"{prefix}_{path.replace('.', '_')}"


def explain_foreign(keys: Iterable[str]) -> dict[str, list[str]]:
    """Why keys of no known style cannot be taken: the reason, and the keys that it concerns."""
    results: dict[str, list[str]] = {}
    for key in keys:
        reason = next((why for pattern, why in FOREIGN if re.search(pattern, key)), "of no known style")
        results.setdefault(reason, []).append(key)
    return results
