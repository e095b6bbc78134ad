"""The LoRAs of one pipeline: loaded side by side, checked key by key, switched by their strengths, never fused."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers.utils import convert_state_dict_to_peft, convert_unet_state_dict_to_peft
from peft.tuners.tuners_utils import BaseTunerLayer

from harness.core.errors import LoraError
from harness.core.values import Lora
from harness.models.hotswap import AdapterSlot, Taken, take_lora
from harness.models.identity import hash_once
from harness.models.lora.convert import load_instead
from harness.models.lora.file import read_lora
from harness.models.lora.header import check_fit, complain, read_weights

RESIDENT_LORAS = 4  # kept in memory side by side; the one unused for longest goes first
PARTS = ("unet", "text_encoder", "text_encoder_2")


class ResidentLoras:
    """Which LoRAs a StableDiffusionXLPipeline holds, and which of them it draws with."""

    def __init__(self, pipe: Any, slot: AdapterSlot | None = None) -> None:
        """`slot`: of a compiled UNet, which takes LoRAs in its own way."""
        self._pipe, self._slot = pipe, slot
        self._loras: OrderedDict[str, dict[str, set[str]]] = OrderedDict()  # adapter to the modules it changes
        self._natural: dict[tuple[str, int], float] = {}  # a layer's own scaling (alpha / rank), by adapter
        self._active: dict[str, float] = {}  # adapter to the strength now in force
        self._taken: dict[str, Taken] = {}  # adapter to what it does to a compiled UNet

    def use(self, lora: Lora | None) -> None:
        """Draw with this LoRA and those beside it from now on; their strengths are written in place, nothing is fused.

        None, or strength 0 and nothing beside it, switches every LoRA off: bit for bit the base.

        Raises:
            LoraError: a file does not fit the model, or is named twice.
        """
        wanted: dict[str, float] = {}
        for part in lora.parts if lora else ():
            name = self._load(part.path, keep=wanted)
            if name in wanted:
                raise LoraError(f"LoRA {part.path}: is to be drawn with twice; say one strength")
            wanted[name] = part.strength
        wanted = dict(sorted(wanted.items()))  # one order of adding up, whoever is named first
        if self._slot is not None:
            self._slot.write([(self._taken[name], strength) for name, strength in wanted.items()])
        self._active = wanted
        if not wanted:
            for layer in self._layers():
                layer.enable_adapters(False)
            return
        for layer in self._layers():
            layer.enable_adapters(True)
            layer.set_adapter(list(wanted))  # a layer without an adapter passes its input to the base
            for name, strength in wanted.items():
                if name in layer.scaling:
                    natural = self._natural.setdefault((name, id(layer)), layer.scaling[name])
                    layer.scaling[name] = strength * natural

    def in_prompts(self) -> str:
        """What of the LoRAs reaches the prompts' embeddings: nothing, unless one trained a text encoder."""
        return "+".join(
            f"{name}@{strength}" for name, strength in self._active.items() if set(self._loras[name]) - {"unet"}
        )

    def _layers(self) -> Iterator[Any]:
        for part in PARTS[1:] if self._slot is not None else PARTS:  # a compiled UNet is the slot's
            for module in getattr(self._pipe, part).modules():
                if isinstance(module, BaseTunerLayer):
                    yield module

    def _load(self, path: Path, keep: Collection[str] = ()) -> str:
        """Bring a LoRA into memory unless it is there; the adapter's name comes from the file's content.

        Args:
            keep: adapters that are needed at the same time.
        """
        name = f"lora_{hash_once(path)[:24]}"
        if name in self._loras:
            self._loras.move_to_end(name)
            return name
        while len(self._loras) >= RESIDENT_LORAS and (idle := [each for each in self._loras if each not in keep]):
            self._unload(idle[0])
        weights = read_weights(path)
        instead = self._mended(path, weights)
        modules = self._check(path, instead or weights)
        try:
            if instead is not None:
                self._pipe.load_lora_weights(instead, adapter_name=name)
            else:  # the file itself, because its metadata say the alpha
                self._pipe.load_lora_weights(
                    str(path.parent), weight_name=path.name, adapter_name=name, local_files_only=True
                )
        except (ValueError, RuntimeError, KeyError, OSError) as error:
            self._unload(name)
            raise LoraError(f"LoRA {path}: {error}") from error
        self._loras[name] = modules
        self._confirm(path, name, modules)
        if self._slot is not None:
            self._take(path, name)
        return name

    def _take(self, path: Path, name: str) -> None:
        """Out of the compiled UNet again, as if nothing had been loaded."""
        assert self._slot is not None
        try:
            self._taken[name] = take_lora(self._pipe.unet, name)
        except LoraError as error:
            self._unload(name)
            raise LoraError(f"LoRA {path}: {error}") from error
        finally:
            self._slot.settle()

    @staticmethod
    def _mended(path: Path, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor] | None:
        """Tensors in place of a kohya file that diffusers would read wrongly: several alphas, or DoRA's norms."""
        if not any(key.startswith("lora_") for key in weights):
            return None
        return load_instead(read_lora(path))

    def _check(self, path: Path, weights: Mapping[str, torch.Tensor]) -> dict[str, set[str]]:
        """Hold every key of the file against the model before anything is changed."""
        try:
            named = self._pipe.lora_state_dict(weights, unet_config=self._pipe.unet.config)[0]
        except (ValueError, KeyError, IndexError, AttributeError) as error:
            raise LoraError(f"LoRA {path}: its keys are of no known kind ({error})") from error
        renamed: dict[str, torch.Tensor] = {}
        for part in PARTS:
            own = {key: value for key, value in named.items() if key.startswith(f"{part}.")}
            old = own and not any(".lora_A." in key for key in own)
            convert = convert_unet_state_dict_to_peft if part == "unet" else convert_state_dict_to_peft
            renamed.update(convert(own) if old else own)
        strangers = [key for key in named if not key.startswith(tuple(f"{part}." for part in PARTS))]
        complain(path, extra=strangers, missing=[], misshapen=[])
        return check_fit(path, renamed, {part: getattr(self._pipe, part) for part in PARTS})

    def _confirm(self, path: Path, name: str, modules: Mapping[str, set[str]]) -> None:
        """Every module that got an adapter must have got it from the file: the rest would be random or nothing."""
        missing, extra = [], []
        for part in PARTS:
            loaded = {
                key
                for key, module in getattr(self._pipe, part).named_modules()
                if name in getattr(module, "lora_A", ())
            }
            missing += [f"{part}.{key}" for key in loaded - modules.get(part, set())]
            extra += [f"{part}.{key}" for key in modules.get(part, set()) - loaded]
        try:
            complain(path, extra=extra, missing=missing, misshapen=[])
        except LoraError:
            self._unload(name)
            raise

    def _unload(self, name: str) -> None:
        """Forget a LoRA, wholly."""
        self._loras.pop(name, None)
        self._taken.pop(name, None)
        self._natural = {key: value for key, value in self._natural.items() if key[0] != name}
        for part in PARTS:
            model = getattr(self._pipe, part)
            if name in getattr(model, "peft_config", {}):
                model.delete_adapters(name) if part == "unet" else model.delete_adapter(name)
