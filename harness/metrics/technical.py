"""Faults that need no model to see: blank, blurred, flat, of the wrong size. Each comes with a sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from harness.metrics.ssim import grey_square
from harness.values import Score

if TYPE_CHECKING:
    from PIL import Image

BLANK = 3.0  # levels of 255: the standard deviation below which a picture shows nothing
ONE_COLOUR = 0.98  # share of pixels within 4 levels of the commonest tone
BLUR = 0.2  # of the blurriest reference's sharpness
FLAT = 0.35  # of the flattest reference's contrast


def sharpness(grey: npt.NDArray[np.uint8]) -> float:
    """Variance of the Laplacian of a 256 x 256 grey picture: falls with blur, rises with noise."""
    from scipy.ndimage import laplace

    return float(laplace(grey.astype(np.float32)).var())


def contrast(grey: npt.NDArray[np.uint8]) -> float:
    """Standard deviation of grey levels, of 255."""
    return float(grey.std())


def find_faults(
    picture: Image.Image, size: tuple[int, int] | None, least_sharpness: float, least_contrast: float
) -> list[dict[str, Any]]:
    """What is wrong with a picture, as kind and sentence.

    Args:
        size: what was asked for, width and height; None: anything goes.
        least_sharpness, least_contrast: of the worst reference.
    """
    grey = grey_square(picture)
    if fault := find_blank(picture, grey):
        return [fault]
    faults = []
    if size and wrong_size(picture.size, size):
        asked, got = "x".join(map(str, size)), "x".join(map(str, picture.size))
        faults.append(
            {"kind": "size", "message": f"the picture is {got}, {asked} was asked for: another shape, or too small"}
        )
    if (sharp := sharpness(grey)) < BLUR * least_sharpness:
        share = sharp / least_sharpness
        faults.append(
            {"kind": "blur", "message": f"the picture is blurred: {share:.0%} of the blurriest reference's sharpness"}
        )
    if (spread := contrast(grey)) < FLAT * least_contrast:
        share = spread / least_contrast
        faults.append(
            {"kind": "contrast", "message": f"the picture is flat: {share:.0%} of the flattest reference's contrast"}
        )
    return faults


def find_blank(picture: Image.Image, grey: npt.NDArray[np.uint8]) -> dict[str, Any] | None:
    """A picture of one colour; a colour that differs only in hue is looked at in every channel."""
    pixels = np.asarray(picture)
    spread = float(max(pixels[..., channel].std() for channel in range(3)))
    common = int(np.bincount(grey.ravel(), minlength=256).argmax())
    share = float(np.mean(np.abs(grey.astype(np.int16) - common) <= 4))
    if spread >= BLANK and (share < ONE_COLOUR or spread >= 4 * BLANK):
        return None
    red, green, blue = np.median(pixels.reshape(-1, 3), axis=0).astype(int)
    return {"kind": "blank", "message": f"the picture is blank: one colour, rgb({red}, {green}, {blue})"}


def wrong_size(got: tuple[int, int], asked: tuple[int, int]) -> bool:
    """Another shape (by more than 2%) or less than half as wide; services have their own sizes, and larger is fine."""
    return abs(got[0] * asked[1] / (got[1] * asked[0]) - 1) > 0.02 or 2 * got[0] < asked[0]


def technical_score(
    picture: Image.Image, size: tuple[int, int] | None, least_sharpness: float, least_contrast: float
) -> Score:
    """1 without a fault, 0 with one; `reason` joins their sentences, `details["faults"]` lists them."""
    faults = find_faults(picture, size, least_sharpness, least_contrast)
    grey = grey_square(picture)
    details = {"faults": faults, "sharpness": sharpness(grey), "contrast": contrast(grey)}
    return Score(
        "technical", 0.0 if faults else 1.0, details["sharpness"], "; ".join(f["message"] for f in faults), details
    )
