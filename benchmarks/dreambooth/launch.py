"""python -m benchmarks.dreambooth.launch SCRIPT OPTIONS...: the script, unchanged, with what it imports.

It needs torchvision for six transforms of its pictures and `datasets` to read captions, both before its first step.
Where one of them cannot be imported (a torchvision without the kernels of this torch, say), a stand-in with the same
pictures takes its place, so that the comparison runs anywhere; the loop itself is the script's own.
"""

from __future__ import annotations

import json
import random
import runpy
import sys
from collections.abc import Callable, Sequence
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any

from PIL import Image, ImageOps


class InterpolationMode(Enum):
    NEAREST = Image.Resampling.NEAREST
    BILINEAR = Image.Resampling.BILINEAR
    BICUBIC = Image.Resampling.BICUBIC
    LANCZOS = Image.Resampling.LANCZOS


class Resize:
    """The shorter side to `size`."""

    def __init__(self, size: int, interpolation: InterpolationMode = InterpolationMode.BILINEAR) -> None:
        self.size, self.mode = size, interpolation.value

    def __call__(self, image: Image.Image) -> Image.Image:
        scale = self.size / min(image.size)
        return image.resize((round(image.width * scale), round(image.height * scale)), self.mode)


class CenterCrop:
    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, image: Image.Image) -> Image.Image:
        left, top = (image.width - self.size) // 2, (image.height - self.size) // 2
        return image.crop((left, top, left + self.size, top + self.size))


class RandomCrop(CenterCrop):
    @staticmethod
    def get_params(image: Image.Image, size: tuple[int, int]) -> tuple[int, int, int, int]:
        height, width = size
        return random.randint(0, image.height - height), random.randint(0, image.width - width), height, width


class RandomHorizontalFlip:
    def __init__(self, p: float = 0.5) -> None:
        self.p = p

    def __call__(self, image: Image.Image) -> Image.Image:
        return ImageOps.mirror(image) if random.random() < self.p else image


class ToTensor:
    def __call__(self, image: Image.Image) -> Any:
        import numpy as np
        import torch

        return torch.from_numpy(np.asarray(image, dtype=np.float32).copy()).permute(2, 0, 1) / 255


class Normalize:
    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        self.mean, self.std = mean[0], std[0]

    def __call__(self, tensor: Any) -> Any:
        return (tensor - self.mean) / self.std


class Compose:
    def __init__(self, steps: Sequence[Callable[[Any], Any]]) -> None:
        self.steps = steps

    def __call__(self, value: Any) -> Any:
        for step in self.steps:
            value = step(value)
        return value


def crop(image: Image.Image, top: int, left: int, height: int, width: int) -> Image.Image:
    return image.crop((left, top, left + width, top + height))


class Columns(dict[str, list[Any]]):
    """A table by column."""

    @property
    def column_names(self) -> list[str]:
        return list(self)


def load_dataset(folder: str, *_: Any, **__: Any) -> dict[str, Columns]:
    """A folder of pictures with metadata.jsonl, as `datasets` reads an image folder."""
    lines = (Path(folder) / "metadata.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    pictures = [Image.open(Path(folder) / record["file_name"]) for record in records]
    return {"train": Columns(image=pictures, text=[record["text"] for record in records])}


def stand_in() -> list[str]:
    """Put stand-ins where an import fails; their names."""
    import accelerate
    import diffusers
    import peft
    import transformers

    assert accelerate and diffusers and peft and transformers  # they look for torchvision while they are imported
    found = []
    try:
        import torchvision.transforms  # type: ignore[import-not-found]  # noqa: F401
    except (ImportError, RuntimeError):
        found.append("torchvision")
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        transforms, functional = ModuleType("torchvision.transforms"), ModuleType("torchvision.transforms.functional")
        parts = (Resize, CenterCrop, RandomCrop, RandomHorizontalFlip, ToTensor, Normalize, Compose, InterpolationMode)
        vars(transforms).update({part.__name__: part for part in parts})
        vars(functional).update(crop=crop)
        whole = ModuleType("torchvision")
        vars(whole).update(transforms=transforms)
        names = {"torchvision": whole, "torchvision.transforms": transforms}
        sys.modules.update({**names, "torchvision.transforms.functional": functional})
    try:
        import datasets  # type: ignore[import-not-found]  # noqa: F401
    except ImportError:
        found.append("datasets")
        module = ModuleType("datasets")
        vars(module).update(load_dataset=load_dataset)
        sys.modules["datasets"] = module
    return found


if __name__ == "__main__":
    print(f"stand-ins for: {', '.join(stand_in()) or 'nothing'}", flush=True)
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")
