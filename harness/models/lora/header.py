"""A LoRA file, looked at before anything loads it: what it holds, and whether that fits the model.

diffusers logs keys that do not match and goes on with the rest; here each of them is a LoraError.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from safetensors import SafetensorError

from harness.core.errors import LoraError

if TYPE_CHECKING:
    import torch

HEADER_LIMIT = 100_000_000  # bytes; the format's own bound
DTYPES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4}
"""Bytes of a value, of what LoRA files hold."""
HALVES = {"A.weight": "A", "B.weight": "B", "magnitude_vector": "m"}  # the last: DoRA's, one number an output
SHOWN = 3  # keys named in a message
REMEDY = "train it for this base model, or choose another file"


@dataclass(frozen=True)
class LoraHeader:
    """What a LoRA file says of itself; read without torch."""

    keys: Mapping[str, tuple[int, ...]]  # tensor name to shape
    metadata: Mapping[str, str]


def read_header(path: Path) -> LoraHeader:
    """The names, shapes and metadata in a safetensors file.

    Raises:
        LoraError: no file, not safetensors (a pickle in disguise, HTML, a Git LFS pointer), cut short, without keys, or
            made so that programs read it differently: names twice, a huge header, tensors that overlap or leave holes.
    """
    start, length = b"", 0
    try:
        with path.open("rb") as stream:
            start = stream.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
            if HEADER_LIMIT < length < path.stat().st_size:
                raise LoraError(f"LoRA {path}: a header of {length} bytes, which no LoRA has; {REMEDY}")
            text = stream.read(length) if 2 <= length <= HEADER_LIMIT else b""
        header = json.loads(text, object_pairs_hook=refuse_doubles)
        metadata = header.pop("__metadata__", {})
        keys = {name: tuple(entry["shape"]) for name, entry in header.items()}
        wrong = next((f"{name!r} is no text" for name, value in metadata.items() if not isinstance(value, str)), "")
        wrong = wrong or describe_layout(header)
        end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
    except OSError as error:
        raise LoraError(f"LoRA {path}: cannot be read ({error.strerror}); correct `lora` or --lora") from error
    except DoubleKey as error:
        raise LoraError(
            f"LoRA {path}: {error} is in its header twice, and programs differ in which they take"
        ) from error
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise LoraError(f"LoRA {path}: {describe_type(start)}, not a safetensors file; {REMEDY}") from error
    if not keys:
        raise LoraError(f"LoRA {path}: holds no weights at all; {REMEDY}")
    if wrong:
        raise LoraError(f"LoRA {path}: its header is not sound: {wrong}; copy or download it again")
    if path.stat().st_size != 8 + length + end:
        raise LoraError(f"LoRA {path}: the file is cut short or padded; copy or download it again")
    return LoraHeader(keys, metadata)


class DoubleKey(Exception):
    """A name that a JSON object holds twice."""


def refuse_doubles(pairs: list[tuple[str, Any]]) -> dict[str, object]:
    """A JSON object whose names are all different."""
    results: dict[str, object] = {}
    for name, value in pairs:
        if name in results:
            raise DoubleKey(repr(name))
        results[name] = value
    return results


class TensorPlace(TypedDict):
    """What a header says of one tensor; any of it may be wrong."""

    dtype: str
    shape: Sequence[int]
    data_offsets: Sequence[int]  # bytes behind the header: start, end


def describe_layout(header: Mapping[str, TensorPlace]) -> str:
    """What is wrong with where a header says that the tensors lie; "" when they follow each other without a gap."""
    place = 0
    for name, entry in sorted(header.items(), key=lambda item: tuple(item[1]["data_offsets"])):
        start, end = entry["data_offsets"]
        size = DTYPES.get(entry["dtype"])
        whole = all(type(number) is int and number >= 0 for number in (start, end, *entry["shape"]))
        if size is None or not whole:
            return f"{name!r} is of the dtype {entry['dtype']!r} and shape {entry['shape']}, which no LoRA holds"
        if start != place:
            return f"{name!r} overlaps another tensor or leaves a hole"
        if end - start != size * math.prod(entry["shape"]):
            return f"{name!r} has {end - start} bytes for {entry['shape']} values of {entry['dtype']}"
        place = end
    return ""


def describe_type(start: bytes) -> str:
    """What a file's first bytes give away."""
    if start.startswith((b"PK\x03\x04", b"\x80")):
        return "a pickle or a zip archive, which could run code when loaded"
    if start.lstrip().lower().startswith((b"<!doctyp", b"<html")):
        return "an HTML page"
    return "a Git LFS pointer" if start.startswith(b"version ") else "some other kind of file"


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a LoRA file, on the CPU, all finite, and able to change a picture.

    Raises:
        LoraError: what `read_header` says; NaN or infinite weights; up-projections that are all zero.
    """
    from safetensors.torch import load_file

    read_header(path)
    try:
        weights = load_file(path)
    except (SafetensorError, OSError) as error:
        raise LoraError(f"LoRA {path}: {error}; {REMEDY}") from error
    poisoned = [name for name, tensor in weights.items() if not bool(tensor.isfinite().all())]
    if poisoned:
        raise LoraError(f"LoRA {path}: NaN or infinite values in {name_some(poisoned)}; its training diverged")
    ups = [tensor for name, tensor in weights.items() if ".lora_B." in name or ".up." in name or "lora_up." in name]
    if ups and not any(bool(tensor.any()) for tensor in ups):
        raise LoraError(f"LoRA {path}: every up-projection is zero, so it does nothing; it was saved before training")
    return weights


def check_fit(
    path: Path, weights: Mapping[str, torch.Tensor], parts: Mapping[str, torch.nn.Module]
) -> dict[str, set[str]]:
    """Hold weights in PEFT's naming ("unet.<module>.lora_A.weight") against the modules of a pipeline's parts.

    Returns:
        part to the modules that the file changes, each with a down- and an up-projection of the right shape.

    Raises:
        LoraError: extra keys (no such module), missing ones (half of a pair), or mis-shaped ones.
    """
    results: dict[str, dict[str, dict[str, tuple[int, ...]]]] = {part: {} for part in parts}
    extra = []
    for key, tensor in weights.items():
        part, _, rest = key.partition(".")
        module, _, half = rest.rpartition(".lora_")
        if part in parts and half in HALVES:
            if not hasattr(parts[part], "text_model"):  # a level that some versions of transformers do not have
                module = module.removeprefix("text_model.")
            results[part].setdefault(module, {})[HALVES[half]] = tuple(tensor.shape)
        else:
            extra.append(key)
    missing, misshapen = [], []
    for part, modules in results.items():
        known: dict[str, torch.nn.Module] = dict(parts[part].named_modules()) if modules else {}
        missing += [f"{part}.{module}" for module in promised_modules(path, part, parts[part]) - modules.keys()]
        for module, halves in modules.items():
            name = f"{part}.{module}"
            layer: Any = known.get(f"{module}.base_layer", known.get(module))  # another LoRA may already wrap it
            if not hasattr(layer, "weight"):
                extra.append(name)
            elif not {"A", "B"} <= halves.keys():
                missing.append(f"{name}.lora_{'B' if 'A' in halves else 'A'}.weight")
            elif not shapes_fit(halves["A"], halves["B"], tuple(layer.weight.shape)) or (
                math.prod(halves.get("m", (layer.weight.shape[0],))) != layer.weight.shape[0]
            ):
                misshapen.append(f"{name} {halves['A']} {halves['B']} on {tuple(layer.weight.shape)}")
    complain(path, extra=extra, missing=missing, misshapen=misshapen)
    return {part: set(modules) for part, modules in results.items() if modules}


def promised_modules(path: Path, part: str, model: Any) -> set[str]:
    """The modules that a file's own record (diffusers writes it) says were trained; nothing without such a record."""
    try:
        record = json.loads(read_header(path).metadata.get("lora_adapter_metadata", "{}"))
        targets = record.get(f"{part}.target_modules")
    except (ValueError, AttributeError):
        return set()
    if (
        not isinstance(targets, list)
        or record.get(f"{part}.layers_to_transform")
        or record.get(f"{part}.exclude_modules")
    ):
        return set()
    return {
        name
        for name, _ in model.named_modules()
        if any(name == target or name.endswith(f".{target}") for target in targets)
    }


def shapes_fit(down: tuple[int, ...], up: tuple[int, ...], weight: tuple[int, ...]) -> bool:
    """[rank, in, ...] and [out, rank, ...] beside a weight [out, in, ...]; 1x1 kernels may be written either way."""
    down, up, weight = ((*shape, *(1,) * (4 - len(shape))) for shape in (down, up, weight))
    return down[1:] == weight[1:] and up[0] == weight[0] and up[1] == down[0] and math.prod(up[2:]) == 1


def complain(path: Path, *, extra: list[str], missing: list[str], misshapen: list[str]) -> None:
    """Raise LoraError when there is anything to say."""
    fields = {"that have no place in the model": extra, "that are missing": missing, "of the wrong shape": misshapen}
    parts = [f"keys {what}: {len(keys)} ({name_some(keys)})" for what, keys in fields.items() if keys]
    if parts:
        raise LoraError(f"LoRA {path}: {'; '.join(parts)}; {REMEDY}")


def name_some(keys: Iterable[str]) -> str:
    """The first few of many names."""
    names = sorted(keys)
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
