"""What is in a LoRA file, and what is wrong with it, without loading it into a model."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.core.errors import LoraError
from harness.models.lora.convert import is_convolution, plain, uneven
from harness.models.lora.file import SDXL_WIDTH, LoraFile, assemble, read_lora, share_name
from harness.models.lora.header import REMEDY, name_some, read_header, read_weights

BASES = {768: "Stable Diffusion 1.x", 1024: "Stable Diffusion 2.x", SDXL_WIDTH: "Stable Diffusion XL"}
"""The width of the text that cross-attention reads, and what has it."""
TOLD = ("ss_base_model_version", "ss_sd_model_name", "ss_steps", "ss_learning_rate", "ss_unet_lr", "ss_epoch",
        "ss_resolution", "ss_num_train_images", "ss_optimizer", "ss_network_module")  # fmt: skip
QUIET, LOUD = 1e-6, 100.0  # norm of a module's change, under and over which something went wrong


@dataclass(frozen=True)
class Block:
    """What is done to one block of a model."""

    modules: int
    norm: float  # of the changes together


@dataclass(frozen=True)
class Inspection:
    """What a LoRA file holds."""

    path: Path
    kind: str  # LoRA, LoCon, DoRA; "" when it could not be read
    style: str = ""
    base: str = ""
    modules: Mapping[str, int] = field(default_factory=dict)  # by model
    ranks: Mapping[str, int] = field(default_factory=dict)  # rank to modules
    alphas: Mapping[str, int] = field(default_factory=dict)
    dtypes: Mapping[str, int] = field(default_factory=dict)
    trigger: str = ""
    training: Mapping[str, str] = field(default_factory=dict)
    blocks: Mapping[str, Block] = field(default_factory=dict)
    problems: tuple[str, ...] = ()  # why it must not be used
    remarks: tuple[str, ...] = ()

    def to_record(self) -> dict[str, object]:
        """Plain JSON; names no folder of this machine."""
        blocks = {name: {"modules": block.modules, "norm": block.norm} for name, block in self.blocks.items()}
        return {**self.__dict__, "path": self.path.name, "blocks": blocks}


def inspect_lora(path: Path) -> Inspection:
    """Look into a file. What is wrong is part of the answer, never an exception, as long as there is a file."""
    try:
        lora = read_lora(path)
    except LoraError as error:
        return Inspection(path, "", problems=(str(error), *further_problems(path, str(error))))
    items = lora.modules.values()
    return Inspection(
        path,
        kind_of(lora),
        lora.style,
        BASES.get(lora.text_width, ""),
        share_name(lora.modules),
        counted(str(item.rank) for item in items),
        counted(f"{plain(item.alpha):g}" for item in items),
        counted(str(item.down.dtype).removeprefix("torch.") for item in items),
        trigger_of(lora.metadata),
        training_of(lora.metadata),
        block_norms(lora),
        remarks=(*lora.notes, *remarks_on(lora)),
    )


def further_problems(path: Path, known: str) -> list[str]:
    """What else is wrong with a file that was refused for one reason: all that can still be told."""
    try:
        weights, metadata = read_weights(path), read_header(path).metadata
    except LoraError:
        return []
    results = []
    for module in sorted({key.rpartition(".lora_")[0] for key in weights if ".lora_" in key}):
        own = {key: tensor for key, tensor in weights.items() if key.startswith(f"{module}.")}
        try:
            assemble(path, own, metadata)
        except LoraError as error:
            results.append(str(error))
    return [problem for problem in results if problem != known][:10]


def kind_of(lora: LoraFile) -> str:
    if any(item.magnitude is not None for item in lora.modules.values()):
        return "DoRA"
    return "LoCon" if any(is_convolution(item) for item in lora.modules.values()) else "LoRA"


def counted(values: Any) -> dict[str, int]:
    return dict(Counter(values).most_common())


def trigger_of(metadata: Mapping[str, str]) -> str:
    """What its author says, else the commonest tags that it was trained with."""
    text = metadata.get("modelspec.trigger_phrase") or metadata.get("harness.trigger", "")
    if text:
        return text
    try:
        tags: Counter[str] = Counter()
        for counts in json.loads(metadata.get("ss_tag_frequency", "{}")).values():
            tags.update({str(tag).strip(): int(count) for tag, count in counts.items()})
    except (ValueError, AttributeError, TypeError, RecursionError):
        return ""
    most = tags.most_common(1)[0][1] if tags else 0
    return ", ".join(tag for tag, count in tags.most_common(3) if count == most)


def training_of(metadata: Mapping[str, str]) -> dict[str, str]:
    """What the file says of its training."""
    ours = {name.removeprefix("harness."): value for name, value in metadata.items() if name.startswith("harness.")}
    theirs = {name.removeprefix("ss_"): metadata[name] for name in TOLD if name in metadata}
    return dict(sorted({**theirs, **ours}.items()))


def block_norms(lora: LoraFile) -> dict[str, Block]:
    """How much is done to each block."""
    squares: dict[str, list[float]] = {}
    for name, item in lora.modules.items():
        squares.setdefault(block_of(name), []).append(item.norm**2)
    return {name: Block(len(result), sum(result) ** 0.5) for name, result in sorted(squares.items())}


def block_of(name: str) -> str:
    """`unet.up_blocks.1`, `unet.mid_block`, `text_encoder`."""
    result = re.match(r"unet\.(?:(?:down|up)_blocks\.\d+|\w+)", name)
    return result.group() if result else name.partition(".")[0]


def remarks_on(lora: LoraFile) -> list[str]:
    """What may be in order, and is worth knowing."""
    lines = []
    if lora.text_width not in (0, SDXL_WIDTH) and "harness.base" not in lora.metadata:
        lines.append(f"reads text of the width {lora.text_width}, not SDXL's {SDXL_WIDTH}; {REMEDY}")
    for words, names in {
        "do nothing": [name for name, item in lora.modules.items() if item.norm <= QUIET],
        f"are larger than {LOUD:g}": [name for name, item in lora.modules.items() if item.norm > LOUD],
    }.items():
        if names:
            lines.append(f"{len(names)} modules {words} ({name_some(names)})")
    if lora.style == "kohya" and uneven(lora.modules):
        lines.append(
            "its modules have different alphas, of which plain diffusers 0.42 reads one; "
            "`harness lora export` evens them out"
        )
    if lora.style == "kohya" and kind_of(lora) == "DoRA":
        lines.append(
            "plain diffusers leaves out a kohya file's DoRA norms; `harness lora export --style diffusers` keeps them"
        )
    return lines
