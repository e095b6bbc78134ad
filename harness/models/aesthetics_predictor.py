"""How pleasing a picture is, on the published scale from 1 to 10: a CLIP image tower and a small head behind it.

LAION's aesthetic predictor v2 (Schuhmann 2022), in the layout that `simple-aesthetics-predictor` publishes, read with
plain transformers: no code of the checkpoint is run, and no pickle is opened unless the profile vouches for its bytes.
What its numbers mean is told by `scoring.metrics.aesthetics`.
"""

from __future__ import annotations

import itertools
import json
import pickle
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import load_file

from harness.config.profile import RawHead
from harness.core.arrays import Floats
from harness.core.errors import ModelError
from harness.core.values import digest, hash_file
from harness.models.embeddings import normalize
from harness.models.hub import locate, weights_hash
from harness.models.identity import quiet_libraries
from harness.models.loading import Models, load_options, translated

LINEAR = (0, 2, 4, 6, 7)  # places of the linear layers in the published Sequential; the others are dropouts
RELU = (0, 3, 6, 9, 11)  # the same with an activation before each dropout
HEAD_FILE = "head.safetensors"  # a head without a tower: for the CLIP that its metadata name
OTHERS = re.compile(r"(layers|text_model|text_projection|logit_scale)\b.*|.*position_ids")  # a tower needs none of them
BATCH = 16  # pictures a forward pass


@dataclass(frozen=True)
class Head:
    """A regression from what a tower sees to the published scale; float64, because five layers in a row round."""

    layers: tuple[tuple[Floats, Floats], ...]  # weight (out, in) and bias (out,) each
    relu: bool  # between the layers

    def rate(self, vectors: Floats) -> Floats:
        """(n, d) to (n,), on the published scale."""
        values = np.asarray(vectors, np.float64)
        for place, (weight, bias) in enumerate(self.layers):
            values = (np.maximum(values, 0) if self.relu and place else values) @ weight.T + bias
        return np.asarray(values[:, 0])


def read_head(tensors: Mapping[str, npt.NDArray[Any]], name: str) -> Head:
    """The head among a checkpoint's tensors (`layers.N.weight` and `.bias`); the linear one collapses to one map.

    Raises:
        ModelError: the layers are of neither published variant, or do not fit each other.
    """
    results = {key.removeprefix("layers."): np.asarray(tensors[key], np.float64) for key in tensors if is_head(key)}
    places = tuple(sorted({int(key.partition(".")[0]) for key in results}))
    if places not in (LINEAR, RELU) or len(results) != 2 * len(places):
        raise ModelError(
            f"aesthetics head {name!r}: layers {list(places)}; LAION's v2 has {list(LINEAR)} (linear) or "
            f"{list(RELU)} (ReLU), each with weight and bias"
        )
    layers = [(results[f"{place}.weight"], results[f"{place}.bias"]) for place in places]
    shapes = [weight.shape for weight, _ in layers]
    if any(a[0] != b[1] for a, b in itertools.pairwise(shapes)) or shapes[-1][0] != 1:
        raise ModelError(f"aesthetics head {name!r}: layers of shapes {shapes} do not fit each other")
    return Head(tuple(layers), relu=True) if places == RELU else Head((collapse(layers),), relu=False)


def is_head(key: str) -> bool:
    return bool(re.fullmatch(r"layers\.\d+\.(weight|bias)", key))


def collapse(layers: Sequence[tuple[Floats, Floats]]) -> tuple[Floats, Floats]:
    """Linear layers without activations are one affine map."""
    weight, bias = layers[0]
    for following, offset in layers[1:]:
        weight, bias = following @ weight, following @ bias + offset
    return weight, bias


@dataclass(frozen=True)
class Predictor:
    """Pictures to the published scale."""

    head: Head
    see: Callable[[Sequence[Image.Image]], Floats]  # pictures to what the head reads, (n, d)
    name: str

    def rate(self, pictures: Sequence[Image.Image]) -> Floats:
        """(n,), on the published scale of 1 to 10, unclipped."""
        parts = [self.see(pictures[start : start + BATCH]) for start in range(0, len(pictures), BATCH)]
        return self.head.rate(np.concatenate(parts)) if parts else np.zeros(0)


# --- loading ----------------------------------------------------------------------------------------------------------


def identify(source: str | RawHead, models: Models) -> str:
    """What identifies a predictor, without torch."""
    place = partial(locate, root=models.root, profile=models.profile.name)
    if isinstance(source, RawHead):
        return digest([weights_hash(place(source.vision)), hash_file(models.root / source.head)])
    folder = place(source)
    if (folder / HEAD_FILE).is_file():
        return digest([weights_hash(folder), weights_hash(place(models.profile.models.clip))])
    return digest(weights_hash(folder))


def load_predictor(source: str | RawHead, models: Models) -> Predictor:
    """The predictor that a profile names: a published folder, a raw head with its tower, or a head for its own CLIP.

    Raises:
        ModelError: it is nowhere, does not fit, was altered, or was trained for another CLIP.
    """
    place = partial(locate, root=models.root, profile=models.profile.name)
    with quiet_libraries():
        if isinstance(source, RawHead):
            head = read_raw_head(models.root / source.head, source.sha256)
            return Predictor(head, load_tower(place(source.vision), source.vision, models.device), source.head)
        folder = place(source)
        if (folder / HEAD_FILE).is_file():
            clip = place(models.profile.models.clip)
            return load_companion(folder, clip, lambda: (models.clip().model, models.clip().processor))
        head = read_head(read_tensors(folder, source), source)
        return Predictor(head, load_tower(folder, source, models.device), source)


def read_tensors(folder: Path, name: str) -> dict[str, npt.NDArray[Any]]:
    """The head's tensors among all safetensors of a folder; the tower is left on disk."""
    results: dict[str, npt.NDArray[Any]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with translated(name), safe_open(path, framework="np") as file:
            results |= {key: file.get_tensor(key) for key in file.keys() if is_head(key)}  # noqa: SIM118
    return results


def read_raw_head(path: Path, sha256: str) -> Head:
    """A head by itself, as LAION publishes it: a .pth whose bytes the profile vouches for, or .safetensors.

    Raises:
        ModelError: it is missing, its hash is another one, or it holds more than tensors.
    """
    if not path.is_file():
        raise ModelError(f"aesthetics head {path}: there is no such file")
    if path.suffix != ".safetensors" and not sha256:
        raise ModelError(f"aesthetics head {path}: a pickle is opened only with its `sha256` in the profile")
    if sha256 and hash_file(path) != sha256.lower():
        raise ModelError(f"aesthetics head {path}: its SHA-256 is {hash_file(path)}, the profile says {sha256}")
    if path.suffix == ".safetensors":
        return read_head(load_file(path), path.name)
    return read_head(unpickle(path), path.name)


def unpickle(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Tensors of a .pth; anything else in it is refused by torch itself."""
    import torch

    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ModelError(f"aesthetics head {path}: holds more than weights, or is broken: {error}") from error
    return {key: tensor.double().numpy() for key, tensor in loaded.items()}


def load_tower(folder: Path, name: str, device: str) -> Callable[[Sequence[Image.Image]], Floats]:
    """CLIP's image tower with its projection, as pictures to unit vectors (n, d).

    Raises:
        ModelError: the checkpoint lacks weights of the tower, or holds some that nobody knows.
    """
    import torch
    from transformers import CLIPImageProcessorPil, CLIPVisionConfig, CLIPVisionModelWithProjection

    with translated(name):
        config = CLIPVisionConfig.from_pretrained(folder)
        whole = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if "vision_config" in whole:  # of a whole CLIP, whose width of the embedding stands outside of its tower's part
            config.projection_dim = whole.get("projection_dim", config.projection_dim)
        model, info = CLIPVisionModelWithProjection.from_pretrained(
            folder, config=config, dtype=torch.float32, output_loading_info=True, **load_options(folder)
        )
        processor = CLIPImageProcessorPil.from_pretrained(folder)
    strange = sorted(key for key in info["unexpected_keys"] if not OTHERS.fullmatch(key))
    if missing := sorted(info["missing_keys"]):
        raise ModelError(f"model {name!r}: {len(missing)} weights of the image tower are missing, {missing[0]} say")
    if strange:
        raise ModelError(f"model {name!r}: {len(strange)} weights belong to no CLIP image tower, {strange[0]} say")
    model = model.eval().to(device)

    def see(pictures: Sequence[Image.Image]) -> Floats:
        with torch.inference_mode():
            embeds = model(**processor(images=list(pictures), return_tensors="pt").to(device)).image_embeds
        return normalize(embeds.double().cpu().numpy())

    return see


def load_companion(folder: Path, clip: Path, load: Callable[[], tuple[Any, Any]]) -> Predictor:
    """A head for a CLIP of ours: it reads the means and deviations of the patches at some depths of the image tower.

    The image embedding itself has been taught not to see blur and noise. Made by `harness world aesthetics`.

    Args:
        clip: the CLIP's folder.
        load: brings its model and its image processor.

    Raises:
        ModelError: the head was trained for another CLIP.
    """
    path = folder / HEAD_FILE
    with translated(str(folder)), safe_open(path, framework="np") as file:
        metadata = file.metadata() or {}
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    if metadata.get("clip") != weights_hash(clip):
        raise ModelError(
            f"{path} was trained for another CLIP than {clip}: train it anew with `harness world aesthetics`, "
            "or name the CLIP that it belongs to in the profile"
        )
    depths = tuple(json.loads(metadata["depths"]))
    return Predictor(
        read_head(tensors, str(path)), lambda pictures: see_patches(*load(), pictures, depths), str(folder)
    )


def see_patches(model: Any, processor: Any, pictures: Sequence[Image.Image], depths: Sequence[int]) -> Floats:
    """Mean and deviation of the patches' hidden states at each depth (0: before the first layer), side by side."""
    import torch

    with torch.inference_mode():
        inputs = processor(images=list(pictures), return_tensors="pt").to(model.device)
        states = model.vision_model(**inputs, output_hidden_states=True).hidden_states
    parts = [part for depth in depths for part in (states[depth][:, 1:].mean(1), states[depth][:, 1:].std(1))]
    return np.asarray(torch.cat(parts, 1).double().cpu().numpy())
