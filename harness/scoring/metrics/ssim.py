"""SSIM at 256 x 256 grey against the references, and typicality: inside the band that they form among themselves.

Raw SSIM of pictures that are not aligned rewards blur (flat grey beats the true character), so the raw number is only
reported. The calibrated one is two-sided, and because a wide band hides much blur, a picture whose edges are softer
than the references' pays once more. So does a mean of several pictures: it is in focus where they agree and a ghost
where they do not, its SSIM lies within the band and its Laplacian varies as a plain scene's, but its edges are weak.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import gaussian_gradient_magnitude, laplace

from harness.core.arrays import Floats
from harness.core.stats.calibration import Band, band_of
from harness.core.values import Score

SIDE = 256  # pixels
WINDOW = 7  # skimage's default: a uniform window
UNBIASED = WINDOW**2 / (WINDOW**2 - 1)  # from the population's variance to the sample's
BAND = 50  # rows at a time
STRONG = 99  # percentile of the gradient's magnitude: what a picture has of strong edges
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2  # Wang 2004, at data_range 255


def grey_square(picture: Image.Image, sampling: int = SIDE) -> npt.NDArray[np.uint8]:
    """The middle square at 256 x 256, grey, LANCZOS: squashing would compare another shape.

    Args:
        sampling: pixels a side that all compared pictures have (`common_sampling`). What has more is brought there
            first, so that a photograph of 400 px and a drawing of 96 px are equally soft when both are enlarged.
    """
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    square = picture.crop((left, top, left + side, top + side)).convert("L")
    if sampling < min(side, SIDE):
        square = square.resize((sampling, sampling), Image.Resampling.LANCZOS)
    return np.asarray(square.resize((SIDE, SIDE), Image.Resampling.LANCZOS))


def common_sampling(drawn: tuple[int, int], references: Sequence[tuple[int, int]]) -> int:
    """Pixels a side at which drawings and references can be compared: what the smaller of the two have.

    Args:
        drawn: width and height of a drawing.
        references: of each reference; their median counts, so that one thumbnail does not coarsen all.
    """
    usual = int(np.median([min(size) for size in references])) if references else SIDE
    return max(1, min(SIDE, *drawn, usual))


@dataclass(frozen=True)
class Plate:
    """One grey picture with its local statistics, which every comparison needs: 5 times faster than starting anew."""

    pixels: Floats
    mean: Floats  # of every whole window, as is the rest
    variance: Floats  # sample variance, half the formula's constant added
    square: Floats  # of the mean, half the other constant added


def plate_of(pixels: npt.NDArray[np.uint8]) -> Plate:
    """Local means and sample variances, as `skimage.metrics.structural_similarity` defines them."""
    values = pixels.astype(np.float32)  # holds every window's sum exactly: 49 products of bytes
    mean = _smooth(values)
    square = mean * mean
    return Plate(values, mean, UNBIASED * (_smooth(values * values) - square) + C2 / 2, square + C1 / 2)


def similarity(a: Plate, b: Plate) -> float:
    """`structural_similarity(a, b, data_range=255)` to 1e-9.

    In bands of rows, whose arrays the allocator has at hand: asking the system for whole ones takes three times as long
    as the sums themselves.
    """
    height = len(a.mean)
    total = sum(_similar_rows(a, b, slice(start, min(start + BAND, height))) for start in range(0, height, BAND))
    return float(total / a.mean.size)


def _similar_rows(a: Plate, b: Plate, rows: slice) -> float:
    """The sum of the formula over some rows of windows."""
    seen = slice(rows.start, rows.stop + WINDOW - 1)
    means, score = a.mean[rows] * b.mean[rows], _smooth(a.pixels[seen] * b.pixels[seen])
    score -= means
    score *= 2 * UNBIASED
    score += C2
    means *= 2
    means += C1
    score *= means
    np.add(a.square[rows], b.square[rows], out=means)
    means *= a.variance[rows] + b.variance[rows]
    score /= means
    return float(score.sum())


def mean_similarity(plate: Plate, references: Sequence[Plate]) -> float:
    """`ssim_raw`: the mean over the references."""
    return float(np.mean([similarity(plate, reference) for reference in references]))


def reference_band(references: Sequence[Plate]) -> Band:
    """Each reference's mean SSIM to the others, as the band of what is typical."""
    n = len(references)
    table = np.zeros((n, n))
    for i in range(n):
        for j in range(i):
            table[i, j] = table[j, i] = similarity(references[i], references[j])
    return band_of(table.sum(1) / (n - 1))


def sharpness(pixels: Floats | npt.NDArray[np.uint8]) -> float:
    """Variance of the Laplacian of a 256 x 256 grey picture: falls with blur, rises with noise."""
    return float(laplace(pixels.astype(np.float64)).var())


def edges(plate: Plate) -> float:
    """The logarithm of the strongest edges: the 99th percentile of the gradient's magnitude at sigma 1, levels a pixel.

    Halving them is one step, from wherever.
    """
    return math.log(max(float(np.percentile(gaussian_gradient_magnitude(plate.pixels, 1), STRONG)), 1e-3))


def edges_band(references: Sequence[Plate]) -> Band:
    """How strong the references' edges are."""
    return band_of([edges(reference) for reference in references])


def typicality(raw: float, fine: float, likeness: Band, edged: Band) -> Score:
    """`ssim` from a picture's mean SSIM and its edges: like the references, and no softer than they are."""
    like, crisp = likeness.typicality(raw), edged.reach(fine)
    results = {
        "low": likeness.mean - likeness.half,
        "high": likeness.mean + likeness.half,
        "likeness": like,
        "softness": crisp,
    }
    return Score("ssim", like * crisp, raw, details=results)


def ssim_score(plate: Plate, references: Sequence[Plate], likeness: Band, edged: Band) -> Score:
    """Raw mean SSIM; its typicality times how far the picture's edges reach the references'."""
    return typicality(mean_similarity(plate, references), edges(plate), likeness, edged)


def _smooth(values: Floats) -> Floats:
    """The mean over every whole window: where it leaves the picture nothing is counted."""
    return _sums(_sums(values).T).T / np.float64(WINDOW**2)


def _sums(values: Floats) -> Floats:
    """Of each WINDOW rows: 4 + 2 + 1, in four additions."""
    twos = values[:-1] + values[1:]
    fours = twos[:-2] + twos[2:]
    sums: Floats = fours[:-3] + twos[4:-1]
    sums += values[6:]
    return sums
