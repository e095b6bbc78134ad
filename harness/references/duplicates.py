"""Which pictures are the same one: byte for byte, cropped, recompressed, brightened, or mirrored.

A perceptual hash (pHash of the ImageHash library) alone does not do: portraits of one person have hashes 2 bits apart
without being copies, and a copy cut by 8% is 18 bits away. So the hash is one opinion and the picture itself the other:
the edges of one are searched in the other at several scales (normalised cross-correlation), and where they fit best all
parts must agree in brightness and colour.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from harness.calibrate import Floats
from harness.errors import ReferencesError
from harness.values import hash_file

if TYPE_CHECKING:
    from PIL import Image

Grey = npt.NDArray[np.float32]
GREY = 128  # pixels: what is kept of a picture
SIDE = 64  # pixels: where edges are compared
MIDDLE = 0.76  # of a side is searched for in the other picture, so that it may lie 12% off
SCALES = tuple(1 - 0.0125 * step for step in range(15))  # a picture cut by up to 9% at each edge; coarser steps miss
SAME = 0.9  # correlation of edges that copies reach
SAME_MIRRORED = 0.93  # faces are nearly symmetric, so two different pictures come nearer to each other here
SAME_SEEN = 0.85  # where a model takes the two for copies as well
TILES = 3  # a side: what belongs to one picture alone shows in its tile, however alike the rest is
TILE = 0.86  # least correlation of brightness in all tiles but one
TILE_HASHED = 0.8  # where the hashes agree as well: a picture made smaller has softer tiles
COLOUR = 10.0  # levels of 255 by which the colours of all tiles but one may differ: a field of grass is no sand
HASH_BITS = 6  # of 64 that may differ for the hashes to agree
LEAST_CONTENT = 3.0  # levels of 255: a flatter picture has nothing to recognise it by but its bytes


@dataclass(frozen=True)
class Fingerprint:
    """What is kept of one picture to recognise it again."""

    path: Path
    sha: str  # of the file's bytes
    pixels: str  # SHA-256 of the decoded picture: the same for a PNG and its lossless re-save
    hash: int  # pHash, 64 bits
    mirrored: int  # pHash of the mirrored picture
    planes: Grey  # (3, 128, 128): brightness, blueness, redness (YCbCr), squashed to a square

    @property
    def grey(self) -> Grey:
        return self.planes[0]

    @property
    def blank(self) -> bool:
        return float(self.grey.std()) < LEAST_CONTENT


@dataclass(frozen=True)
class Pair:
    """Two pictures that are one."""

    first: int  # places in the list that was asked about
    second: int
    kind: str  # "exact", "near" or "mirrored"
    likeness: float  # correlation of edges, at most 1
    bits: int  # of 64 in which the hashes differ
    bound: float = 1.0  # of the likeness


def take_fingerprint(path: Path) -> Fingerprint:
    """One picture's fingerprint, computed again only when the file changes.

    Raises:
        ReferencesError: it is not a picture.
    """
    status = path.stat()
    return _take(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=512)
def _take(path: Path, size: int, changed: int) -> Fingerprint:
    from PIL import Image, ImageOps

    picture = open_reference(path)
    square = picture.resize((GREY, GREY), Image.Resampling.LANCZOS).convert("YCbCr")
    planes = np.ascontiguousarray(np.asarray(square, np.float32).transpose(2, 0, 1))
    sha = hash_file(path)
    mirrored = perceptual_hash(ImageOps.mirror(picture))
    return Fingerprint(path, sha, pixel_hash(picture), perceptual_hash(picture), mirrored, planes)


def open_reference(path: Path) -> Image.Image:
    """A picture upright and RGB, transparency on white.

    Raises:
        ReferencesError: it cannot be read.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(path.read_bytes())) as opened:
            picture = ImageOps.exif_transpose(opened)
            if "A" in picture.getbands() or "transparency" in picture.info:
                picture = picture.convert("RGBA")
                picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
            return picture.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ReferencesError(f"{path}: cannot be read as a picture ({error}); save it again or remove it") from error


def pixel_hash(picture: Image.Image) -> str:
    """SHA-256 of size and pixels."""
    import hashlib

    return hashlib.sha256(f"{picture.size}".encode() + picture.tobytes()).hexdigest()


def perceptual_hash(picture: Image.Image) -> int:
    """64-bit pHash (Zauner 2010) as the ImageHash library computes it."""
    import imagehash

    return int(str(imagehash.phash(picture)), 16)


def find_pairs(prints: Sequence[Fingerprint], alike: Iterable[tuple[int, int]] = ()) -> list[Pair]:
    """All pairs of pictures that are one, each once, by place; blank pictures are compared by their bytes alone.

    Args:
        alike: places of pairs that a model takes for copies; for them less likeness of edges is asked.
    """
    believed = {(min(pair), max(pair)) for pair in alike}
    exact = [
        Pair(first, second, "exact", 1.0, 0)
        for second in range(len(prints))
        for first in range(second)
        if prints[first].sha == prints[second].sha or prints[first].pixels == prints[second].pixels
    ]
    known = {(pair.first, pair.second) for pair in exact}
    filled = [place for place, item in enumerate(prints) if not item.blank]
    some = [prints[place] for place in filled]
    straight, mirrored = likeness_tables([item.grey for item in some]) if len(some) > 1 else (np.eye(1), np.eye(1))
    found = list(exact)
    for b in range(len(some)):
        for a in range(b):
            if (filled[a], filled[b]) not in known:
                places = (filled[a], filled[b])
                likeness = {"near": float(straight[a, b]), "mirrored": float(mirrored[a, b])}
                pair = judge_pair(some[a], some[b], places, likeness, places in believed)
                found += [pair] if pair else []
    return sorted(found, key=lambda pair: (pair.first, pair.second))


def judge_pair(
    one: Fingerprint, two: Fingerprint, places: tuple[int, int], likeness: Mapping[str, float], believed: bool
) -> Pair | None:
    """The pair when it is one picture: alike as a whole and in all its parts but one.

    Args:
        likeness: of edges, straight ("near") and with the mirror image ("mirrored").
        believed: a model takes the two for copies.
    """
    kind = max(likeness, key=lambda name: likeness[name])
    least = SAME_SEEN if believed else SAME_MIRRORED if kind == "mirrored" else SAME
    if likeness[kind] < least:
        return None
    bits = ((one.mirrored if kind == "mirrored" else one.hash) ^ two.hash).bit_count()
    bound = TILE_HASHED if bits <= HASH_BITS else TILE
    other = two.planes[..., ::-1] if kind == "mirrored" else two.planes
    window, template = best_overlap(one.planes, other)
    if tile_likeness(window[0], template[0]) < bound or colour_distance(window[1:], template[1:]) > COLOUR:
        return None
    return Pair(*places, kind, likeness[kind], bits, least)


def tile_likeness(window: Floats, template: Floats) -> float:
    """Correlation of brightness in the second worst of nine tiles, at most 1; a tile without content agrees."""
    return sorted(correlation(a, b) for a, b in zip(tiles_of(window), tiles_of(template), strict=True))[1]


def colour_distance(window: Floats, template: Floats) -> float:
    """How far the colours of the second worst of nine tiles are apart, levels; a tint of the whole does not count."""
    pairs = [list(zip(tiles_of(a), tiles_of(b), strict=True)) for a, b in zip(window, template, strict=True)]
    if min(float(part.std(axis=(1, 2)).max()) for part in (window, template)) < LEAST_CONTENT:
        return 0.0  # a grey picture may be a copy of a coloured one
    apart = np.array([[float(a.mean() - b.mean()) for a, b in plane] for plane in pairs])
    return float(sorted(np.abs(apart - np.median(apart, axis=1, keepdims=True)).max(0))[-2])


def tiles_of(values: Floats) -> list[Floats]:
    """Nine parts of a square."""
    return [tile for rows in np.array_split(values, TILES) for tile in np.array_split(rows, TILES, axis=1)]


def correlation(a: Floats, b: Floats) -> float:
    """Pearson's over all values; 1 where both are flat."""
    a, b = a - a.mean(), b - b.mean()
    if max(a.std(), b.std()) < LEAST_CONTENT:
        return 1.0
    return float((a * b).sum() / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-9))


def best_overlap(one: Grey, two: Grey) -> tuple[Floats, Floats]:
    """The part of one picture and the middle of the other, at its scale, whose edges agree best: (3, k, k) each."""
    from skimage.feature import match_template

    best, where = -2.0, (one, two, 0, 0, SIDE)
    for whole, part in ((one, two), (two, one)):
        field = edge_map(whole[0], SIDE)
        for scale in SCALES:
            side = round(SIDE * scale)
            scores = match_template(field, middle_of(edge_map(part[0], side)))
            if (score := float(scores.max())) > best:
                row, column = np.unravel_index(scores.argmax(), scores.shape)
                best, where = score, (whole, part, int(row), int(column), side)
    whole, part, row, column, side = where
    templates = np.stack([middle_of(resized(plane, side)) for plane in part])
    k = templates.shape[1]
    windows = np.stack([resized(plane, SIDE)[row : row + k, column : column + k] for plane in whole])
    return windows, templates


def likeness_tables(greys: Sequence[Grey]) -> tuple[Floats, Floats]:
    """Correlation of edges of all pairs (n, n), and of each with the other's mirror image; symmetric.

    Args:
        greys: (128, 128) each, grey levels.
    """
    edges = np.stack([edge_map(grey, SIDE) for grey in greys])
    straight, mirrored = np.full((len(greys), len(greys)), -1.0), np.full((len(greys), len(greys)), -1.0)
    for scale in SCALES:
        side = round(SIDE * scale)
        middles = np.stack([middle_of(edge_map(grey, side)) for grey in greys])
        flipped = np.stack([middle_of(edge_map(grey[:, ::-1], side)) for grey in greys])
        straight = np.maximum(straight, search(edges, middles))
        mirrored = np.maximum(mirrored, search(edges, flipped))
    return np.maximum(straight, straight.T), np.maximum(mirrored, mirrored.T)


def edge_map(grey: Grey, side: int) -> Floats:
    """Strength of the edges at `side` x `side`; brightness and slow light fall out."""
    from scipy.ndimage import sobel

    values = resized(grey, side)
    return np.hypot(sobel(values, 0), sobel(values, 1))


def resized(grey: Grey, side: int) -> Floats:
    """A square of grey levels at another size."""
    from PIL import Image

    small = Image.fromarray(np.ascontiguousarray(grey)).resize((side, side), Image.Resampling.LANCZOS)
    return np.asarray(small, np.float64)


def middle_of(values: Floats) -> Floats:
    """The middle square, MIDDLE of a side."""
    margin = round(len(values) * (1 - MIDDLE) / 2)
    return values[margin:-margin, margin:-margin]


def search(fields: Floats, templates: Floats) -> Floats:
    """The best normalised cross-correlation of each template in each field: (fields, templates), at most 1."""
    from scipy.fft import irfft2, rfft2

    n, side, k = len(fields), fields.shape[1], templates.shape[1]
    centred = templates - templates.mean((1, 2), keepdims=True)
    norms = np.linalg.norm(centred.reshape(len(templates), -1), axis=1)
    spectra = np.conj(rfft2(centred / np.where(norms > 0, norms, 1)[:, None, None], (side, side)))
    seen = rfft2(fields)
    sums, squares = window_sums(fields, k), window_sums(fields**2, k)
    spread = np.sqrt(np.maximum(squares - sums**2 / k**2, 1e-6))
    room = side - k + 1
    found = np.empty((n, len(templates)))
    for place in range(n):
        products = irfft2(seen[place] * spectra, (side, side))[:, :room, :room]
        found[place] = (products / spread[place]).reshape(len(templates), -1).max(1)
    return np.minimum(found, 1.0)


def window_sums(fields: Floats, k: int) -> Floats:
    """Sums over all k x k windows: (n, side - k + 1, side - k + 1)."""
    padded = np.pad(fields, ((0, 0), (1, 0), (1, 0))).cumsum(1).cumsum(2)
    return np.asarray(padded[:, k:, k:] - padded[:, :-k, k:] - padded[:, k:, :-k] + padded[:, :-k, :-k])


def cluster(count: int, links: Iterable[tuple[int, int]]) -> list[tuple[int, ...]]:
    """Groups of places that links join, directly or through others; every place is in exactly one."""
    root = list(range(count))

    def top(place: int) -> int:
        while root[place] != place:
            root[place] = root[root[place]]
            place = root[place]
        return place

    for a, b in links:
        root[max(top(a), top(b))] = min(top(a), top(b))
    groups: dict[int, list[int]] = {}
    for place in range(count):
        groups.setdefault(top(place), []).append(place)
    return [tuple(group) for group in groups.values()]
