"""Was the LoRA applied at all? The same prompts and seeds with it on and off must differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from harness.core.arrays import Floats
from harness.models.embeddings import open_picture

PIXEL_NOISE = 1.0  # levels of 255: rounding of another batch size stays below it
CLIP_NOISE = 1e-3  # cosine distance: what such rounding does to an embedding


@dataclass(frozen=True)
class Applied:
    """What turning the LoRA off changed."""

    ok: bool
    reason: str = ""  # why it is not ok, for people
    difference: float = 0.0  # mean CLIP cosine distance of the pairs
    keys: int | None = None  # weights in the LoRA file that were loaded; None: not looked at
    pixels: float = 0.0  # mean absolute difference, levels of 255
    strength: float | None = None
    pairs: int = 0


def check_applied(
    pairs: Sequence[tuple[bytes, bytes]],
    embed: Callable[[Sequence[bytes]], Floats] | None = None,
    *,
    keys: int | None = None,
    strength: float | None = None,
    lora: str = "the LoRA",
) -> Applied:
    """Compares control pairs: (with the LoRA, without it), encoded, of the same prompt and seed.

    Args:
        embed: unit vectors of encoded pictures, `Scorer.embed`; None: pixels alone decide.
        keys: how many weights of the file were loaded.
        strength: at which the LoRA was drawn.
    """
    plain = {
        f"strength is 0: {lora} changes nothing; set a strength above 0": strength == 0,
        f"{lora} was not loaded: none of its keys fits the model": keys == 0,
        "there is no control pair: nothing was drawn with the LoRA off": not pairs,
    }
    if reason := next((reason for reason, true in plain.items() if true), ""):
        return Applied(False, reason, keys=keys, strength=strength)
    pixels = float(np.mean([pixel_difference(on, off) for on, off in pairs]))
    distance = clip_distance(pairs, embed) if embed else 0.0
    facts = Applied(True, "", distance, keys, pixels, strength, len(pairs))
    if pixels <= PIXEL_NOISE:
        reason = (
            f"{lora} does nothing: with it on and off the same seeds differ by {pixels:.2f} of 255 levels, "
            f"which is rounding (at most {PIXEL_NOISE:g}); it was not loaded, or its weights are zero"
        )
        return replace(facts, ok=False, reason=reason)
    if embed and distance <= CLIP_NOISE:
        reason = f"{lora} changes nothing that CLIP sees: mean distance {distance:.5f}, noise is up to {CLIP_NOISE:g}"
        return replace(facts, ok=False, reason=reason)
    return facts


def pixel_difference(a: bytes, b: bytes) -> float:
    """Mean absolute difference of two pictures in levels of 255; pictures of different sizes differ by 255."""
    one, two = (np.asarray(open_picture(data), np.float32) for data in (a, b))
    return float(np.abs(one - two).mean()) if one.shape == two.shape else 255.0


def clip_distance(pairs: Sequence[tuple[bytes, bytes]], embed: Callable[[Sequence[bytes]], Floats]) -> float:
    """Mean cosine distance of the pairs, in [0, 2]."""
    vectors = embed([data for pair in pairs for data in pair])
    return float(np.mean(1 - np.sum(vectors[0::2] * vectors[1::2], axis=1)))


def applied_from(record: Mapping[str, Any]) -> Applied:
    """The way back from `values.to_record`."""
    return Applied(**record)
