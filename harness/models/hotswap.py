"""LoRAs in a compiled UNet: one place that always stands there, into which files and strengths are written.

A compiled model is compiled anew whenever an adapter comes, goes, or changes its strength as a number of Python. So it
gets one adapter, wide enough for what is drawn together, and every change is a change of that adapter's values: several
LoRAs stand side by side in its rank, and a strength is multiplied into the up-projection. Nothing is fused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from peft import LoraConfig
from peft.tuners.lora import LoraLayer

from harness.core.errors import LoraError

SLOT = "slot"
LEAST, STEP = 32, 16  # of a slot's rank: two usual LoRAs, so that a second one compiles nothing; and its steps
GRAPHS = 64  # shapes and states that torch.compile may keep; its own 8 are soon used up


@dataclass(frozen=True)
class LayerUpdate:
    """What one LoRA does to one layer: strength * scale * up @ down."""

    down: torch.Tensor  # [rank, in, ...]
    up: torch.Tensor  # [out, rank, ...]
    scale: float  # alpha / rank, as the file says it

    @property
    def rank(self) -> int:
        return int(self.down.shape[0])


Taken = Mapping[str, LayerUpdate]
"""Layer of the UNet to what a LoRA does there."""


def lora_layers(model: Any) -> Iterator[tuple[str, Any]]:
    """The layers of a model that can hold adapters, by name."""
    for name, module in model.named_modules():
        if isinstance(module, LoraLayer):
            yield name, module


def take_lora(unet: Any, name: str) -> dict[str, LayerUpdate]:
    """Take an adapter that was just loaded out of the UNet again, and keep what it does.

    Raises:
        LoraError: it is of a kind that is more than two factors.
    """
    results = {}
    for layer, module in lora_layers(unet):
        if name not in module.lora_A:
            continue
        if getattr(module, "use_dora", {}).get(name):
            raise LoraError(
                f"{name}: a DoRA cannot be swapped in a compiled model; set `compile: false` in the profile"
            )
        down, up = module.lora_A[name].weight.detach().clone(), module.lora_B[name].weight.detach().clone()
        results[layer] = LayerUpdate(down, up, float(module.scaling[name]))
    if name in getattr(unet, "peft_config", {}):
        unet.delete_adapters(name)
    return results


class AdapterSlot:
    """The one adapter of a compiled UNet."""

    def __init__(self, unet: Any) -> None:
        self.unet = unet
        self.rank = 0
        self.layers: frozenset[str] = frozenset()

    def write(self, parts: Sequence[tuple[Taken, float]]) -> None:
        """Draw with these LoRAs, each at its strength, from now on; with none: bit for bit the base.

        What the slot is too narrow for, or has no place for, makes it anew, and the next drawing compiles once.
        """
        wanted = frozenset(layer for taken, _ in parts for layer in taken)
        rank = max((sum(taken[layer].rank for taken, _ in parts if layer in taken) for layer in wanted), default=0)
        if not wanted <= self.layers or rank > self.rank:
            self._widen(self.layers | wanted, max(self.rank, LEAST, -(-rank // STEP) * STEP))
        with torch.no_grad():
            for layer, module in lora_layers(self.unet):
                if layer in self.layers:
                    own = [(taken[layer], strength) for taken, strength in parts if layer in taken]
                    self._fill(module.lora_A[SLOT].weight, module.lora_B[SLOT].weight, own)

    @staticmethod
    def _fill(down: torch.Tensor, up: torch.Tensor, parts: Sequence[tuple[LayerUpdate, float]]) -> None:
        down.zero_()
        up.zero_()
        place = 0
        for factors, strength in parts:
            end = place + factors.rank
            down[place:end].copy_(factors.down)
            up[:, place:end].copy_(factors.up * (factors.scale * strength))
            place = end

    def _widen(self, layers: frozenset[str], rank: int) -> None:
        """One adapter of that rank at all these layers, which does nothing yet."""
        if self.layers:
            self.unet.delete_adapters(SLOT)
        self.layers, self.rank = layers, rank
        self.unet.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=sorted(layers)), adapter_name=SLOT)
        self.settle()

    def settle(self) -> None:
        """The slot alone is active, in the UNet's own dtype, and learns nothing; as it was when it was compiled."""
        for layer, module in lora_layers(self.unet):
            if layer in self.layers:
                module.enable_adapters(True)
                module.set_adapter([SLOT])
                for half in (module.lora_A[SLOT], module.lora_B[SLOT]):
                    half.to(self.unet.dtype).requires_grad_(False)


def compile_unet(unet: Any, backend: str = "inductor") -> None:
    """The whole module, for each shape by itself: fastest for SDXL, half of which are convolutions."""
    unet.compile(fullgraph=True, dynamic=False, backend=backend, recompile_limit=GRAPHS)
