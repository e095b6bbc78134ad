"""Several LoRAs in one file, their strengths in the weights.

Side by side (`concatenate`) the result is exact and as wide as all of them together; an SVD brings it to a rank.
Adding the factors themselves, as some tools do, is neither: (A + B)(C + D) is not AC + BD.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from harness.core.errors import LoraError, UsageError
from harness.models.lora.file import LoraFile, LowRankFactors, share_name
from harness.models.lora.header import name_some


@dataclass(frozen=True, eq=False)
class Ingredient:
    """A LoRA that goes into the mixture."""

    path: Path
    sha256: str
    lora: LoraFile
    strength: float


def concatenate(items: Sequence[Ingredient], dtype: str | None = None) -> LoraFile:
    """One LoRA that does what all of them do at their strengths.

    Args:
        dtype: in which the sum is kept; None: the widest of theirs.

    Raises:
        UsageError: fewer than two.
        LoraError: they are for different models, or cannot be added (DoRA).
    """
    if len(items) < 2:
        raise UsageError("merge: name at least two LoRAs, FILE or FILE@STRENGTH")
    for item in items:
        dora = [name for name, factors in item.lora.modules.items() if factors.magnitude is not None]
        if dora:
            raise LoraError(
                f"LoRA {item.path}: is a DoRA, whose norms cannot be added to another's ({name_some(dora)})"
            )
    names = sorted({name for item in items for name in item.lora.modules})
    modules = {name: join(name, [item for item in items if name in item.lora.modules], dtype) for name in names}
    return LoraFile(modules, describe_mixture(items), "diffusers", tuple(explain_gaps(items)))


def join(name: str, items: Sequence[Ingredient], dtype: str | None) -> LowRankFactors:
    """One module's factors side by side.

    A scale that all share goes into alpha, where it costs no precision; others go into the up-projections.
    """
    results = [item.lora.modules[name] for item in items]
    scales = [item.strength * factors.scale for item, factors in zip(items, results, strict=True)]
    check_shapes(name, items, results)
    kind = getattr(torch, dtype) if dtype else widest([tensor for one in results for tensor in (one.down, one.up)])
    common = scales[0] if len(set(scales)) == 1 and scales[0] else 1.0
    down = torch.cat([one.down for one in results]).to(kind)
    ups = [one.up.double() * (scale / common) for one, scale in zip(results, scales, strict=True)]
    return LowRankFactors(down, torch.cat(ups, dim=1).to(kind), common * down.shape[0])


def check_shapes(name: str, items: Sequence[Ingredient], found: Sequence[LowRankFactors]) -> None:
    """Raises LoraError when two of them are not for the same layer."""
    shapes = [(tuple(one.down.shape[1:]), int(one.up.shape[0])) for one in found]
    other = next((place for place, shape in enumerate(shapes) if shape != shapes[0]), None)
    if other is not None:
        (first, out), (second, out_other) = shapes[0], shapes[other]
        raise LoraError(
            f"{name}: {items[0].path.name} changes a layer {first} -> {out}, {items[other].path.name} one of "
            f"{second} -> {out_other}; they were trained for different base models"
        )


def widest(tensors: Sequence[Any]) -> Any:
    """The dtype that holds all of them."""
    kinds = {tensor.dtype for tensor in tensors}
    return kinds.pop() if len(kinds) == 1 else torch.float32


def explain_gaps(items: Sequence[Ingredient]) -> list[str]:
    """Modules that not all of them change, in words."""
    everywhere = set.intersection(*(set(item.lora.modules) for item in items))
    lines = []
    for item in items:
        alone = set(item.lora.modules) - everywhere
        if alone:
            counts = ", ".join(f"{count} of the {part}" for part, count in sorted(share_name(alone).items()))
            lines.append(f"not in all of them: {counts}, changed by {item.path.name} ({name_some(alone)})")
    return lines


def describe_mixture(items: Sequence[Ingredient]) -> dict[str, str]:
    """Metadata of the mixture: of what, and every trigger word."""
    texts = [item.lora.metadata for item in items]
    triggers = dict.fromkeys(one.get("modelspec.trigger_phrase", "") for one in texts)
    titles = [one.get("modelspec.title") or item.path.stem for one, item in zip(texts, items, strict=True)]
    sources = [{"file": item.path.name, "sha256": item.sha256, "strength": item.strength} for item in items]
    merged = {
        "modelspec.title": " + ".join(titles),
        "modelspec.trigger_phrase": ", ".join(filter(None, triggers)),
        "modelspec.merged_from": ", ".join(titles),
        "modelspec.resolution": texts[0].get("modelspec.resolution", ""),
        "harness.layers_per_block": texts[0].get("harness.layers_per_block", ""),
        "harness.merged": json.dumps(sources, sort_keys=True),
    }
    return {name: value for name, value in merged.items() if value}
