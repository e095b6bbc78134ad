"""Faults that are planted in pictures, each at known strengths. Pure: the same picture and seed, the same result."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageFilter, ImageOps
from skimage.color import lab2rgb, rgb2lab

BLUR = (0.7, 1.2, 1.8, 2.5, 4.0)  # px of a Gaussian's radius, of pictures 96 px wide
JPEG = (60, 30, 15, 8, 4)  # quality
NOISE = (8.0, 16.0, 32.0, 48.0, 72.0)  # standard deviation, of 255
HUES = (6, 12, 24, 45, 90, 180)  # degrees; doubled like the other strengths, because a colour that is wrong is wrong
SHIFT = 4  # px
BURN = 0.8  # how much contrast a unit of too much strength adds


def blur(picture: Image.Image, radius: float, _: int) -> Image.Image:
    return picture.filter(ImageFilter.GaussianBlur(radius))


def compress(picture: Image.Image, quality: float, _: int) -> Image.Image:
    """Through JPEG and back."""
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=int(quality))
    return Image.open(io.BytesIO(stream.getvalue())).convert("RGB")


def add_noise(picture: Image.Image, sd: float, seed: int) -> Image.Image:
    pixels = np.asarray(picture, np.float64)
    return to_picture(pixels + np.random.default_rng(seed).normal(0, sd, pixels.shape))


WALKS: dict[str, tuple[Callable[[Image.Image, float, int], Image.Image], Sequence[float]]] = {
    "blur": (blur, BLUR),
    "jpeg": (compress, JPEG),
    "noise": (add_noise, NOISE),
}
"""Walk to its fault and its strengths, the weakest first."""


def turn_hue(picture: Image.Image, region: np.ndarray, degrees: float) -> Image.Image:
    """Other hues inside a region (rows, columns) of truth values, in CIELAB; grey stays grey.

    Lightness stays too: turned in HSV a yellow robe becomes a dark blue one, on which its stripes cannot be seen, and
    the picture would lack a pattern besides.
    """
    pixels = np.asarray(picture.convert("RGB"))
    lab = rgb2lab(pixels)
    turned = (lab[..., 1] + 1j * lab[..., 2]) * np.exp(1j * np.deg2rad(degrees))
    lab[..., 1], lab[..., 2] = turned.real, turned.imag
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a colour that no screen has is cut off, which is what is wanted
        rgb = lab2rgb(lab)
    return to_picture(np.where(region[..., None], rgb * 255, pixels))


def region_of(pictures: Sequence[Image.Image]) -> np.ndarray:
    """Where pictures of one scene differ: what the one thing covers that was drawn otherwise in each."""
    arrays = [np.asarray(picture, np.int16) for picture in pictures]
    return np.asarray(np.any([np.abs(array - arrays[0]).max(-1) > 8 for array in arrays[1:]], axis=0))


def overcook(character: Image.Image, base: Image.Image, strength: float) -> Image.Image:
    """What too strong a LoRA does: beyond the character, away from the base, with burnt contrast; 1 changes nothing."""
    own, other, over = np.asarray(character, np.float64), np.asarray(base, np.float64), strength - 1
    beyond = own + over * (own - other)
    return to_picture(128 + (beyond - 128) * (1 + BURN * over))


def degenerate(pictures: Sequence[Image.Image], seed: int) -> dict[str, Image.Image]:
    """Pictures of nothing, of the size of `pictures`, which are those that a LoRA learns from."""
    size, rng = pictures[0].size, np.random.default_rng(seed)
    mean = np.mean([np.asarray(picture, np.float64) for picture in pictures], axis=0)
    shape = (size[1], size[0], 3)
    return {
        "flat grey": Image.new("RGB", size, (128, 128, 128)),
        "black": Image.new("RGB", size, "black"),
        "mean of the training pictures": to_picture(mean),
        "noise": to_picture(rng.integers(0, 256, shape).astype(np.float64)),
    }


def shift(picture: Image.Image, pixels: int = SHIFT) -> Image.Image:
    """Moved right and down; what comes in is the edge, drawn out."""
    padded = np.pad(np.asarray(picture), ((pixels, 0), (pixels, 0), (0, 0)), mode="edge")
    return Image.fromarray(padded[: picture.height, : picture.width])


def recolour(picture: Image.Image) -> Image.Image:
    """Every hue a third of the circle on, in HSV: lightness changes too, as in a picture drawn in other colours."""
    hsv = np.array(picture.convert("HSV"))
    hsv[..., 0] += round(256 / 3)  # bytes come round by themselves
    return Image.fromarray(hsv, "HSV").convert("RGB")


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "exact": lambda picture: picture,
    f"moved by {SHIFT} px": shift,
    "mirrored": ImageOps.mirror,
    "recoloured": recolour,
}


def to_picture(pixels: np.ndarray) -> Image.Image:
    """Any numbers as an RGB picture, cut off at 0 and 255."""
    return Image.fromarray(np.clip(np.round(pixels), 0, 255).astype(np.uint8))
