"""Faults that need no model to see: blank, blurred, flat, of the wrong size. Each comes with a sentence."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from harness.core.values import Score
from harness.scoring.metrics.ssim import SIDE, grey_square, sharpness

BLANK = 3.0  # levels of 255: the standard deviation below which a picture shows nothing
ONE_COLOUR = 0.98  # share of pixels within 4 levels of the commonest tone
BLUR = 0.2  # of the blurriest reference's sharpness
BLANK_WORDS = "the picture is blank"
FLAT = 0.35  # of the flattest reference's contrast
RELATIVE = frozenset({"blur", "contrast"})  # faults in units of the references


def contrast(grey: npt.NDArray[np.uint8]) -> float:
    """Standard deviation of grey levels, of 255."""
    return float(grey.std())


def find_faults(
    picture: Image.Image,
    size: tuple[int, int] | None,
    least_sharpness: float,
    least_contrast: float,
    sampling: int = SIDE,
) -> list[dict[str, str]]:
    """What is wrong with a picture, as kind and sentence.

    Args:
        size: what was asked for, width and height; None: anything goes.
        least_sharpness, least_contrast: of the worst reference.
        sampling: at which those were measured (`ssim.common_sampling`).
    """
    grey = grey_square(picture, sampling)
    if message := find_blank(picture, grey):
        return [{"kind": "blank", "message": message}]
    sharp, spread = sharpness(grey) / max(least_sharpness, 1e-9), contrast(grey) / max(least_contrast, 1e-9)
    faults = []
    if size and wrong_size(picture.size, size):
        asked, got = "x".join(map(str, size)), "x".join(map(str, picture.size))
        faults.append(("size", f"the picture is {got}, {asked} was asked for: another shape, or too small"))
    if sharp < BLUR:
        faults.append(("blur", f"the picture is blurred: {sharp:.0%} of the blurriest reference's sharpness"))
    if spread < FLAT:
        faults.append(("contrast", f"the picture is flat: {spread:.0%} of the flattest reference's contrast"))
    return [{"kind": kind, "message": message} for kind, message in faults]


def find_blank(picture: Image.Image, grey: npt.NDArray[np.uint8]) -> str:
    """The sentence for a picture of one colour, or ""; every channel counts, because hues can be equally grey."""
    pixels = np.asarray(picture)
    spread = float(max(pixels[..., channel].std() for channel in range(3)))
    common = int(np.bincount(grey.ravel(), minlength=256).argmax())
    share = float(np.mean(np.abs(grey.astype(np.int16) - common) <= 4))
    if spread >= BLANK and (share < ONE_COLOUR or spread >= 4 * BLANK):
        return ""
    red, green, blue = np.median(pixels.reshape(-1, 3), axis=0).astype(int)
    return f"{BLANK_WORDS}: one colour, rgb({red}, {green}, {blue})"


def wrong_size(got: tuple[int, int], asked: tuple[int, int]) -> bool:
    """Another shape (by more than 2%) or less than half as wide; services have their own sizes, and larger is fine."""
    return abs(got[0] * asked[1] / (got[1] * asked[0]) - 1) > 0.02 or 2 * got[0] < asked[0]


def technical_score(
    picture: Image.Image,
    size: tuple[int, int] | None,
    least_sharpness: float,
    least_contrast: float,
    sampling: int = SIDE,
) -> Score:
    """1 without a fault, 0 with one; `reason` joins their sentences, `details["faults"]` lists them."""
    faults = find_faults(picture, size, least_sharpness, least_contrast, sampling)
    grey = grey_square(picture, sampling)
    details = {"faults": faults, "sharpness": sharpness(grey), "contrast": contrast(grey)}
    reason = "; ".join(fault["message"] for fault in faults)
    return Score("technical", 0.0 if faults else 1.0, sharpness(grey), reason, details)
