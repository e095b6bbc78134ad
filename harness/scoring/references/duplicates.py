"""Which pictures are the same one: byte for byte, cropped, recompressed, brightened, turned a little, or mirrored.

A perceptual hash (pHash of the ImageHash library) alone does not do: portraits of one person have hashes 2 bits apart
without being copies, and a copy cut by 8% is 18 bits away. So hash and search only propose pairs: the two are laid upon
each other (see registration.py), and there their edges must coincide and all parts agree in brightness and colour.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from harness.core.arrays import Floats
from harness.core.values import hash_file
from harness.models.embeddings import open_file
from harness.scoring.references.registration import Laid, Place, correlation, find_places, lay

Grey = npt.NDArray[np.float32]
GREY = 128  # pixels: what is kept of a picture
WORTH_LAYING = 0.55  # correlation of edges in the search; a copy turned by 5 degrees reaches 0.57
PROPOSED = 0.4  # the same where hashes or a model take the two for copies
SAME = 0.95  # correlation of edges laid upon each other that copies reach
TILES = 3  # a side: what belongs to one picture alone shows in its tile, however alike the rest is
LEAST_TILE = 20  # pixels of a tile that both pictures must show
TILE = 0.86  # least correlation of brightness in all tiles but one
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
class DuplicatePair:
    """Two pictures that are one."""

    first: int  # places in the list that was asked about
    second: int
    kind: str  # "exact", "near", "mirrored", or "seen": by a model alone
    likeness: float  # correlation of edges, or the model's cosine; at most 1
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
    picture = open_file(path)
    square = picture.resize((GREY, GREY), Image.Resampling.LANCZOS).convert("YCbCr")
    planes = np.ascontiguousarray(np.asarray(square, np.float32).transpose(2, 0, 1))
    sha = hash_file(path)
    mirrored = perceptual_hash(ImageOps.mirror(picture))
    return Fingerprint(path, sha, pixel_hash(picture), perceptual_hash(picture), mirrored, planes)


def pixel_hash(picture: Image.Image) -> str:
    """SHA-256 of size and pixels."""
    return hashlib.sha256(f"{picture.size}".encode() + picture.tobytes()).hexdigest()


def perceptual_hash(picture: Image.Image) -> int:
    """64-bit pHash (Zauner 2010) as the ImageHash library computes it."""
    import imagehash

    return int(str(imagehash.phash(picture)), 16)


def find_pairs(prints: Sequence[Fingerprint], alike: Iterable[tuple[int, int]] = ()) -> list[DuplicatePair]:
    """All pairs of pictures that are one, each once, by place; blank pictures are compared by their bytes alone.

    Args:
        alike: places of pairs that a model takes for copies; the search needs to find less in them.
    """
    believed = {(min(pair), max(pair)) for pair in alike}
    results = {
        (first, second): DuplicatePair(first, second, "exact", 1.0, 0)
        for second in range(len(prints))
        for first in range(second)
        if prints[first].sha == prints[second].sha or prints[first].pixels == prints[second].pixels
    }
    filled = [place for place, item in enumerate(prints) if not item.blank]
    if len(filled) < 2:
        return [results[key] for key in sorted(results)]
    greys = [item.grey for item in prints]
    tables = {"near": find_places(greys, greys), "mirrored": find_places(greys, [grey[:, ::-1] for grey in greys])}
    for key in combinations(filled, 2):
        if key in results:
            continue
        proposed = key in believed or hashes_agree(*(prints[place] for place in key))
        if pair := lay_pair(prints, key, tables, PROPOSED if proposed else WORTH_LAYING):
            results[key] = pair
    return [results[key] for key in sorted(results)]


def hashes_agree(one: Fingerprint, two: Fingerprint) -> bool:
    """Whether the perceptual hashes say that two pictures are one, mirrored or not."""
    return min((one.hash ^ two.hash).bit_count(), (one.mirrored ^ two.hash).bit_count()) <= HASH_BITS


def lay_pair(
    prints: Sequence[Fingerprint], key: tuple[int, int], tables: Mapping[str, Place], least: float
) -> DuplicatePair | None:
    """The pair when it is one picture: its edges coincide, and all its parts but one are alike.

    Args:
        tables: where pictures lie in each other, straight ("near") and mirrored.
        least: score of the search from which the two are laid upon each other.
    """
    results = []
    for kind, table in tables.items():
        mirror = -1 if kind == "mirrored" else 1
        for whole, part in sorted((key, key[::-1]), key=lambda way: -table.score[way]):
            if table.score[whole, part] < least:
                break
            one, two = prints[whole], prints[part]
            laid = lay(one.planes, two.planes[..., ::mirror], table.start[whole, part])
            if laid and is_copy(laid):
                bits = ((one.mirrored if kind == "mirrored" else one.hash) ^ two.hash).bit_count()
                results.append(DuplicatePair(*key, kind, laid.edges, bits, SAME))
                break
    return max(results, key=lambda pair: pair.likeness, default=None)


def is_copy(laid: Laid) -> bool:
    """Whether two pictures that lie upon each other are one."""
    return laid.edges >= SAME and tile_likeness(laid) >= TILE and colour_distance(laid) <= COLOUR


def tile_likeness(laid: Laid) -> float:
    """Correlation of brightness in the second worst of nine tiles, at most 1; a tile without content agrees."""
    pairs = [(one[0], two[0]) for one, two in tiles_of(laid)]
    return sorted(1.0 if max(a.std(), b.std()) < LEAST_CONTENT else correlation(a, b) for a, b in pairs)[1]


def colour_distance(laid: Laid) -> float:
    """How far the colours of the second worst of nine tiles are apart, levels; a tint of the whole does not count."""
    if min(float(planes[1:].std(axis=(1, 2)).max()) for planes in (laid.whole, laid.part)) < LEAST_CONTENT:
        return 0.0  # a grey picture may be a copy of a coloured one
    apart = np.array([one[1:].mean(1) - two[1:].mean(1) for one, two in tiles_of(laid)])
    return float(sorted(np.abs(apart - np.median(apart, axis=0)).max(1))[-2])


def tiles_of(laid: Laid) -> list[tuple[Floats, Floats]]:
    """Nine parts of what both pictures show: (planes, pixels) of either."""
    rows, columns = (np.array_split(np.flatnonzero(laid.shared.any(axis)), TILES) for axis in (1, 0))
    results = []
    for row in rows:
        for column in columns:
            seen = laid.shared[np.ix_(row, column)]
            if seen.sum() >= LEAST_TILE:
                results.append((laid.whole[:, row][:, :, column][:, seen], laid.part[:, row][:, :, column][:, seen]))
    return results


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
