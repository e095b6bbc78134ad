"""Where one picture lies in another: cut at any edge, moved, stretched, or turned by a few degrees.

First the edges of one are searched in the other, small and at a grid of scales (normalised cross-correlation). From the
best place the affine map is found by Gauss-Newton steps on brightness, a gain and an offset left free (Lucas and Kanade
1981), so that the two can be laid upon each other and compared pixel by pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.fft import irfft2, rfft2
from scipy.ndimage import binary_erosion, gaussian_filter, map_coordinates, sobel

from harness.core.arrays import Floats

SMALL, SIDE = 32, 64  # pixels of the squares: for the search, and for the comparison
STEPS = (1.0, 0.93, 0.865, 0.805, 0.75, 0.695, 0.645)  # how much of a side a crop may show
SCALES = tuple((a, b) for a, b in product(STEPS, STEPS) if max(a, b) <= 1.56 * min(a, b))  # (down, across)
MIDDLE = 0.76  # of a side is searched for at most, so that a picture may lie 12% beside the other
RIM = 0.04  # of a side: resampling spoils the outermost pixels
ROUNDS = 12  # of Gauss-Newton at most
STEP = 0.05  # of a side: the most that one of them changes
ON_COURSE = 0.78  # correlation of the small squares' edges from which the fine rounds are worth while; copies: 0.86
LEAST_SHARED = 0.55  # of a picture that must lie in the other
TURN = 0.2  # tangent of the most that is turned or sheared: 11 degrees
ZOOM = (0.55, 1.12)  # of the scales that are believed

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Place:
    """The best place of each picture in each other one."""

    score: Floats  # (n, n): correlation of edges, row: the whole, column: the part
    start: Floats  # (n, n, 4): scale down and across, top and left, in shares of the whole's sides


def find_places(wholes: Sequence[Floats], parts: Sequence[Floats]) -> Place:
    """The search: every part in every whole.

    Args:
        wholes, parts: (h, w) each, grey levels; as many of the one as of the other.
    """
    n = len(wholes)
    fields = np.stack([edge_map(resized(grey, SMALL, SMALL)) for grey in wholes])
    seen = rfft2(fields)
    score, start = np.full((n, n), -1.0), np.zeros((n, n, 4))
    for scale in SCALES:
        (height, top, kept), (width, left, across) = (template_size(share) for share in scale)
        cut = (slice(top, top + kept), slice(left, left + across))
        templates = np.stack([edge_map(resized(grey, height, width))[cut] for grey in parts])
        templates -= templates.mean((1, 2), keepdims=True)
        norms = np.linalg.norm(templates.reshape(n, -1), axis=1)
        spectra = np.conj(rfft2(templates / np.where(norms > 0, norms, 1)[:, None, None], (SMALL, SMALL)))
        spread = window_spread(fields, kept, across)
        for row in range(n):
            room = (slice(SMALL - kept + 1), slice(SMALL - across + 1))
            scores = irfft2(seen[row] * spectra, (SMALL, SMALL))[:, *room] / spread[row]
            places = scores.reshape(n, -1).argmax(1)
            y, x = np.unravel_index(places, scores.shape[1:])
            values = scores[np.arange(n), y, x]
            better = values > score[row]
            result = np.stack([np.full(n, scale[0]), np.full(n, scale[1]), (y - top) / SMALL, (x - left) / SMALL], 1)
            score[row, better], start[row, better] = values[better], result[better]
    return Place(np.minimum(score, 1.0), start)


def template_size(share: float) -> tuple[int, int, int]:
    """Of one side of a part: its pixels, where the searched middle begins, and how many pixels that has."""
    side = round(SMALL * share)
    kept = min(round(MIDDLE * SMALL), round((1 - 1.5 * RIM) * side))
    return side, (side - kept) // 2, kept


def window_spread(fields: Floats, height: int, width: int) -> Floats:
    """Root of the squared deviations in all windows: (n, rows, columns)."""
    sums, squares = (window_sums(values, height, width) for values in (fields, fields**2))
    return np.sqrt(np.maximum(squares - sums**2 / (height * width), 1e-6))


def window_sums(fields: Floats, height: int, width: int) -> Floats:
    """Sums over all windows: (n, side - height + 1, side - width + 1)."""
    sums = np.pad(fields, ((0, 0), (1, 0), (1, 0))).cumsum(1).cumsum(2)
    return np.asarray(
        sums[:, height:, width:] - sums[:, :-height, width:] - sums[:, height:, :-width] + sums[:, :-height, :-width]
    )


def edge_map(grey: Floats) -> Floats:
    """Strength of the edges; brightness and slow light fall out."""
    return np.hypot(sobel(grey, 0), sobel(grey, 1))


def resized(grey: Floats, height: int, width: int) -> Floats:
    """Grey levels at another size."""
    picture = Image.fromarray(np.ascontiguousarray(grey, np.float32))
    return np.asarray(picture.resize((width, height), Image.Resampling.LANCZOS), np.float64)


# --- the map ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Laid:
    """Two pictures laid upon each other, on the pixels of the part."""

    whole: Floats  # (k, SIDE, SIDE)
    part: Floats
    shared: Mask  # (SIDE, SIDE): what both show
    edges: float  # correlation of the edges there, at most 1


def lay(whole: Floats, part: Floats, start: Floats) -> Laid | None:
    """The part where it lies in the whole, or None where it does not.

    Args:
        whole, part: (k, h, w) planes, brightness first.
        start: one of `Place.start`.
    """
    down, across, top, left = map(float, start)
    way = np.array([top + down / 2, down, 0.0, left + across / 2, 0.0, across])
    for side in (SMALL, SIDE):
        one, two = (resized(planes[0], side, side) for planes in (whole, part))
        result = follow(one, two, way)
        if result is None or (side == SMALL and edges_alike(*warp(one[None], result, side), two) < ON_COURSE):
            return None
        way = result
    zoom = max(np.hypot(way[1], way[4]), np.hypot(way[2], way[5]))
    blur = 0.4 * zoom * whole.shape[1] / SIDE  # the part's pixels are coarser than the whole's
    laid, inside = warp(np.stack([gaussian_filter(np.asarray(p, np.float64), blur) for p in whole]), way, SIDE)
    below = np.stack([resized(plane, SIDE, SIDE) for plane in part])
    shared = inside & inner(SIDE)
    return Laid(laid, below, shared, edges_alike(laid, inside, below[0])) if shared.mean() >= LEAST_SHARED else None


def edges_alike(laid: Floats, inside: Mask, part: Floats) -> float:
    """Correlation of the edges of brightness where both pictures show something; -1 where they hardly do."""
    firm = binary_erosion(inside & inner(len(part)))  # an edge is seen from both its sides
    return correlation(edge_map(laid[0])[firm], edge_map(part)[firm]) if firm.any() else -1.0


def follow(whole: Floats, part: Floats, way: Floats) -> Floats | None:
    """Gauss-Newton from a map to the nearest better one; None where it leads nowhere. Squares of one size."""
    side = len(part)
    y, x = centred(side)
    soft, goal = gaussian_filter(whole, 1.0), gaussian_filter(part, 1.0)
    planes = np.stack([soft, *(slope * side for slope in np.gradient(soft))])
    for _ in range(ROUNDS):
        (light, down, across), inside = warp(planes, way, side)
        shared = inside & inner(side)
        if shared.mean() < LEAST_SHARED - 0.05:
            return None
        terms = [light, np.ones_like(light), down, down * y, down * x, across, across * y, across * x]
        table = np.stack([term[shared] for term in terms])
        solved = np.linalg.lstsq(table @ table.T, table @ goal[shared], rcond=None)[0]
        if solved[0] < 0.2:  # the whole would have to be inverted, or all its contrast taken away
            return None
        step = np.clip(solved[2:] / solved[0], -STEP, STEP)
        way = way + step
        if np.abs(step).max() < 3e-4:
            break
    return way if believable(way) else None


def believable(way: Floats) -> bool:
    """Whether a map is a crop, a shift or a small turn."""
    zooms = np.hypot(way[1], way[4]), np.hypot(way[2], way[5])
    return all(ZOOM[0] < zoom < ZOOM[1] for zoom in zooms) and max(abs(way[2]), abs(way[4])) < TURN


def warp(planes: Floats, way: Floats, side: int) -> tuple[Floats, Mask]:
    """Planes seen through a map, (k, side, side), and where they show anything.

    Args:
        way: y = way[0] + way[1] v + way[2] u and x = way[3] + way[4] v + way[5] u, for v and u in [-0.5, 0.5].
    """
    v, u = centred(side)
    height, width = planes.shape[1:]
    y = (way[0] + way[1] * v + way[2] * u) * height - 0.5
    x = (way[3] + way[4] * v + way[5] * u) * width - 0.5
    inside = (y >= -0.5) & (x >= -0.5) & (y <= height - 0.5) & (x <= width - 0.5)
    return np.stack([map_coordinates(plane, [y, x], order=1, mode="nearest") for plane in planes]), inside


@cache
def centred(side: int) -> tuple[Floats, Floats]:
    """The pixels' centres, down and across, in shares of the side from the middle."""
    steps = (np.arange(side) + 0.5) / side - 0.5
    down, across = np.meshgrid(steps, steps, indexing="ij")
    return down, across


@cache
def inner(side: int) -> Mask:
    """All pixels but the rim."""
    down, across = centred(side)
    return np.asarray(np.maximum(np.abs(down), np.abs(across)) < 0.5 - RIM)


def correlation(a: Floats, b: Floats) -> float:
    """Pearson's over all values; 0 where one is flat."""
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-9))
