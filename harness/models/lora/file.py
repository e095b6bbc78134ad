"""A LoRA in memory: for each module two factors and an alpha, whatever style the file was written in.

The change to a weight is `alpha / rank * up @ down`, in kohya's files and in PEFT's. What gets lost between programs
is the alpha: a kohya file has a tensor for it, diffusers writes it into the file's metadata (`lora_adapter_metadata`),
and where neither is there alpha is the rank.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core.errors import LoraError
from harness.models.lora.header import name_some, read_header, read_weights
from harness.models.lora.keys import LAYERS, PARTS, explain_foreign, parse_key

if TYPE_CHECKING:
    import torch

PLAIN = re.compile(r"\^?[\w.\\-]+\$?")  # a module's name; PEFT would run anything here as a regular expression
SDXL_WIDTH = 2048  # of the text that SDXL's cross-attention reads


@dataclass(frozen=True, eq=False)
class LowRankFactors:
    """What one module gets: `alpha / rank * up @ down`."""

    down: torch.Tensor  # [rank, in] or [rank, in, height, width]
    up: torch.Tensor  # [out, rank] or [out, rank, 1, 1]
    alpha: float
    magnitude: torch.Tensor | None = None  # DoRA: [out], the norms that the changed weight's rows get

    @property
    def rank(self) -> int:
        return int(self.down.shape[0])

    @property
    def scale(self) -> float:
        return self.alpha / self.rank

    @property
    def down_matrix(self) -> torch.Tensor:
        """[rank, in * height * width], in double precision."""
        return self.down.double().flatten(1)

    @property
    def up_matrix(self) -> torch.Tensor:
        """[out, rank], in double precision."""
        return self.up.double().flatten(1)

    @property
    def norm(self) -> float:
        """Frobenius norm of the change."""
        small = self.up_matrix.T @ self.up_matrix @ self.down_matrix @ self.down_matrix.T
        return abs(self.scale) * math.sqrt(max(0.0, float(small.trace())))


@dataclass(frozen=True, eq=False)
class LoraFile:
    """All that a LoRA file holds."""

    modules: Mapping[str, LowRankFactors]  # by name, `unet.down_blocks...`
    metadata: Mapping[str, str] = field(default_factory=dict)
    style: str = "diffusers"  # or kohya
    notes: tuple[str, ...] = ()  # what was done to it while reading

    @property
    def layers(self) -> int:
        """Residual blocks in each block of the UNet: what the file says, else SDXL's, else what the names show."""
        if said := said_layers(self.metadata):
            return said
        width = self.text_width
        results = [
            re.match(r"unet\.(down|up)_blocks\.\d+\.(?:resnets|attentions)\.(\d+)\.", name) for name in self.modules
        ]
        places = [int(match[2]) + (match[1] == "down") for match in results if match]
        return LAYERS if width in (0, SDXL_WIDTH) or not places else max(1, *places)

    @property
    def text_width(self) -> int:
        """The width of the text that cross-attention reads (768: SD 1.5, 1024: SD 2, 2048: SDXL); 0: not trained."""
        widths = [
            int(item.down.shape[1])
            for name, item in self.modules.items()
            if name.endswith(("attn2.to_k", "attn2.to_v"))
        ]
        return widths[0] if widths else 0

    @property
    def parts(self) -> tuple[str, ...]:
        """Which models it changes."""
        return tuple(part for part in PARTS if any(name.startswith(f"{part}.") for name in self.modules))


def read_lora(path: Path) -> LoraFile:
    """A LoRA file of any style that SDXL can take.

    Raises:
        LoraError: not a sound safetensors file, poisoned, or something that is no LoRA (LoHa and the like).
    """
    weights, metadata = read_weights(path), dict(read_header(path).metadata)
    return assemble(path, weights, metadata)


def assemble(path: Path, weights: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> LoraFile:
    """Tensors by key to factors by module. Raises LoraError when a key cannot be placed or a half is missing."""
    layers = said_layers(metadata) or LAYERS
    results: dict[str, dict[str, torch.Tensor]] = {}
    strangers = []
    for key, tensor in weights.items():
        parsed = parse_key(key, layers)
        if parsed is None:
            strangers.append(key)
        elif parsed.tensor in results.setdefault(parsed.module, {}):
            raise LoraError(f"LoRA {path}: {parsed.module} is there twice, in two styles; keep one of them")
        else:
            results[parsed.module][parsed.tensor] = tensor
    if strangers:
        reasons = (
            f"{len(keys)} keys are {why} ({name_some(keys)})" for why, keys in explain_foreign(strangers).items()
        )
        raise LoraError(f"LoRA {path}: {'; '.join(reasons)}")
    records = read_records(path, metadata)
    tucker = sum("mid" in tensors for tensors in results.values())
    notes = (f"{tucker} convolutions in Tucker form were multiplied out",) if tucker else ()
    modules = {name: factors_of(path, name, tensors, records) for name, tensors in sorted(results.items())}
    style = "kohya" if any(key.startswith("lora_") for key in weights) else "diffusers"
    return LoraFile(modules, metadata, style, notes)


def said_layers(metadata: Mapping[str, str]) -> int:
    """What a file says of the residual blocks in each block of the UNet; 0 when it says nothing."""
    text = metadata.get("harness.layers_per_block", "")
    return int(text) if text.isdecimal() and int(text) < 10 else 0


def factors_of(
    path: Path, name: str, tensors: Mapping[str, torch.Tensor], records: Mapping[str, Mapping[str, Any]]
) -> LowRankFactors:
    """One module's factors, checked to belong together."""

    missing = [half for half in ("down", "up") if half not in tensors]
    if missing:
        raise LoraError(f"LoRA {path}: {name} has no {missing[0]}-projection; the file is incomplete")
    down, up = whole_down(path, name, tensors), tensors["up"]
    rank = int(down.shape[0]) if down.ndim in (2, 4) else 0
    if not rank or up.ndim not in (2, 4) or up.shape[1] != rank or up.numel() != up.shape[0] * rank:
        raise LoraError(f"LoRA {path}: {name}: {tuple(down.shape)} and {tuple(up.shape)} do not belong together")
    if "alpha" in tensors and tensors["alpha"].numel() != 1:
        shape = tuple(tensors["alpha"].shape)
        raise LoraError(f"LoRA {path}: {name}: alpha has the shape {shape}; it is one number")
    alpha = float(tensors["alpha"]) if "alpha" in tensors else alpha_of(name, rank, records)
    if not math.isfinite(alpha) or alpha == 0:
        raise LoraError(f"LoRA {path}: {name}: alpha is {alpha:g}, so it does nothing")
    return LowRankFactors(down, up, alpha, magnitude_of(path, name, tensors, up))


def whole_down(path: Path, name: str, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """The down-projection; of a Tucker form, a kernel between two 1x1 ones, the product of the kernel and the lower."""
    import torch

    down, middle = tensors["down"], tensors.get("mid")
    if middle is None:
        return down
    if middle.ndim != 4 or down.ndim not in (2, 4) or middle.shape[:2] != (down.shape[0], down.shape[0]):
        raise LoraError(f"LoRA {path}: {name}: {tuple(middle.shape)} is no kernel between {tuple(down.shape)} factors")
    return torch.einsum("mnhw,ni->mihw", middle.float(), down.float().flatten(1)).to(down.dtype)


def magnitude_of(path: Path, name: str, tensors: Mapping[str, torch.Tensor], up: torch.Tensor) -> torch.Tensor | None:
    """DoRA's norms, one for each output. LyCORIS by default takes one for each input, which PEFT cannot express."""
    tensor = tensors.get("magnitude", tensors.get("dora"))
    if tensor is None:
        return None
    if tensor.numel() != up.shape[0] or ("dora" in tensors and tensor.shape[0] != up.shape[0]):
        raise LoraError(
            f"LoRA {path}: {name}: DoRA with norms of the shape {tuple(tensor.shape)}, which are not the "
            f"{up.shape[0]} outputs'; PEFT cannot express that; train it with `wd_on_output=True`"
        )
    return tensor.flatten()


# --- what diffusers writes of rank and alpha ------------------------------------------------------------------------


def read_records(path: Path, metadata: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """`lora_adapter_metadata` by part. Raises LoraError when it is no such record."""
    text = metadata.get("lora_adapter_metadata")
    if not text:
        return {}
    try:
        whole = json.loads(text)
        records = {
            part: {key.removeprefix(f"{part}."): value for key, value in whole.items() if key.startswith(f"{part}.")}
            for part in PARTS
        }
        for record in records.values():
            check_record(record)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise LoraError(f"LoRA {path}: its lora_adapter_metadata cannot be read ({error})") from error
    return {part: record for part, record in records.items() if record}


def check_record(record: Mapping[str, Any]) -> None:
    """Raises ValueError for what would not be numbers and names."""
    for key in ("rank_pattern", "alpha_pattern"):
        for name, value in (record.get(key) or {}).items():
            if not PLAIN.fullmatch(name):
                raise ValueError(f"{key} holds {name[:40]!r}, which is no module's name")
            float(value)
    for key in ("r", "lora_alpha"):
        float(record.get(key, 1))


def alpha_of(name: str, rank: int, records: Mapping[str, Mapping[str, Any]]) -> float:
    """What PEFT would use: the record's alpha, times sqrt(rank) under rsLoRA; the rank where there is no record."""
    part, _, module = name.partition(".")
    record = records.get(part)
    if record is None or "lora_alpha" not in record:
        return float(rank)
    patterns = (record.get("alpha_pattern") or {}).items()
    short = module.removeprefix("text_model.")
    given = [value for key, value in patterns if matches(key, module) or matches(key, short)]
    alpha = float(given[0] if given else record["lora_alpha"])
    return alpha * math.sqrt(rank) if record.get("use_rslora") else alpha


def matches(pattern: str, module: str) -> bool:
    """Whether a pattern names a module: the whole of it, or its end behind a dot (as in PEFT)."""
    name = pattern.replace("\\.", ".").rstrip("$")
    return module == name.lstrip("^") or (not name.startswith("^") and module.endswith(f".{name}"))


# --- changes that keep the pictures ---------------------------------------------------------------------------------


def even_alphas(lora: LoraFile) -> LoraFile:
    """One alpha for each of its models, with the difference in the up-projections.

    diffusers 0.42 reads the alphas of a kohya file, takes the commonest of a model, and loses the others on the way to
    PEFT's `alpha_pattern`, whose names then match nothing; a module's change would be as many times too large or small.
    """
    counts = {
        part: Counter(item.alpha for name, item in lora.modules.items() if name.startswith(f"{part}."))
        for part in lora.parts
    }
    commonest = {part: result.most_common(1)[0][0] for part, result in counts.items()}
    return with_alphas(lora, {name: commonest[name.partition(".")[0]] for name in lora.modules})


def fold_alphas(lora: LoraFile) -> LoraFile:
    """Alpha equal to the rank everywhere: right also for a reader that knows nothing of alphas."""
    return with_alphas(lora, {name: float(item.rank) for name, item in lora.modules.items()})


def with_alphas(lora: LoraFile, alphas: Mapping[str, float]) -> LoraFile:
    """Other alphas and the same change: what alpha loses, the up-projection gains."""
    modules = {
        name: item
        if item.alpha == alphas[name]
        else replace(item, up=(item.up.float() * (item.alpha / alphas[name])).to(item.up.dtype), alpha=alphas[name])
        for name, item in lora.modules.items()
    }
    return replace(lora, modules=modules)


def cast(lora: LoraFile, dtype: str | None) -> LoraFile:
    """The same in another precision ("float16", "bfloat16", "float32"; None: as it is).

    Raises:
        LoraError: a value does not fit.
    """
    if dtype is None:
        return lora
    import torch

    kind = getattr(torch, dtype)
    modules = {
        name: replace(
            item,
            down=item.down.to(kind),
            up=item.up.to(kind),
            magnitude=None if item.magnitude is None else item.magnitude.to(kind),
        )
        for name, item in lora.modules.items()
    }
    large = [name for name, item in modules.items() if not bool(item.down.isfinite().all() & item.up.isfinite().all())]
    if large:
        raise LoraError(f"{name_some(large)}: values too large for {dtype}; take bfloat16 or float32")
    return replace(lora, modules=modules)


def share_name(names: Iterable[str]) -> dict[str, int]:
    """How many modules each part has."""
    return dict(Counter(name.partition(".")[0] for name in names))
