"""A bank of labelled pictures on disk, rendered once and read by memory map.

Rows 2k and 2k+1 show one person in two scenes; in every fourth block of four rows the second pair is the first
pair's twin: the same description with other marks.
"""

from __future__ import annotations

import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.world.captions import caption
from harness.world.people import (
    COLUMNS,
    VALUES,
    Person,
    encode_labels,
    labels_of,
    random_marks,
    random_person,
    random_scene,
    resembles,
)
from harness.world.render import SIZE, render

BLOCK = 400  # pictures a worker renders at a time


@dataclass(frozen=True)
class Bank:
    """Pictures (N, 96, 96, 3) uint8 and labels (N, len(COLUMNS)) int16, both memory-mapped."""

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int16]

    def __len__(self) -> int:
        return len(self.images)

    def truth(self, index: int) -> dict[str, str]:
        """The labels of one picture as words."""
        return {column: VALUES[column][value] for column, value in zip(COLUMNS, self.labels[index], strict=True)}

    def caption(self, index: int, rng: np.random.Generator) -> str:
        """A fresh caption of one picture, phrases dropped at random."""
        return caption(self.truth(index), rng)


def open_bank(folder: Path) -> Bank:
    """Open a finished bank; FileNotFoundError when `make_bank` has not finished in `folder`."""
    if not (folder / "bank.json").exists():
        raise FileNotFoundError(f"no bank in {folder}: make one with `harness world bank`")
    return Bank(
        np.load(folder / "images.npy", mmap_mode="r"),
        np.load(folder / "labels.npy", mmap_mode="r"),
    )


def cast_block(seed: int, count: int, everybody: bool = False) -> list[tuple[Person, int]]:
    """The people of one block, each with the seed of his picture; those who bear a mark of the hero only if wanted."""
    rng = np.random.default_rng(seed)
    people: list[tuple[Person, int]] = []
    while len(people) < count:
        person = random_person(rng)
        twin = random_marks(person, rng) if (len(people) // 4) % 4 == 0 else random_person(rng)
        if not everybody and (resembles(person) or resembles(twin)):
            continue
        people += [(who, int(rng.integers(2**31))) for who in (person, person, twin, twin)]
    return people[:count]


def render_block(seed: int, count: int, everybody: bool = False) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int16]]:
    """One block's pictures and labels; a pure function of its seed."""
    images = np.empty((count, SIZE, SIZE, 3), np.uint8)
    labels = np.empty((count, len(COLUMNS)), np.int16)
    for row, (person, picture_seed) in enumerate(cast_block(seed, count, everybody)):
        scene = random_scene(np.random.default_rng(picture_seed))
        images[row] = np.asarray(render(person, scene, picture_seed))
        labels[row] = encode_labels(labels_of(person, scene))
    return images, labels


def make_bank(folder: Path, count: int = 48_000, seed: int = 0, workers: int = 2, everybody: bool = False) -> Path:
    """Render `count` pictures into `folder`, deterministic in (count, seed, everybody).

    Args:
        everybody: the hero's marks too. The base must never have seen them; the reader and CLIP must know them, or
            they would learn that a golden sign is never a ram's horn.
    """
    folder.mkdir(parents=True, exist_ok=True)
    images = _open(folder / "images.npy", (count, SIZE, SIZE, 3), np.uint8)
    labels = _open(folder / "labels.npy", (count, len(COLUMNS)), np.int16)
    starts = range(0, count, BLOCK)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        sizes = [min(BLOCK, count - start) for start in starts]
        seeds = [seed * 1_000_003 + number for number in range(len(sizes))]
        blocks = pool.map(render_block, seeds, sizes, [everybody] * len(sizes))
        for start, (pictures, rows) in zip(starts, blocks, strict=True):
            images[start : start + len(pictures)] = pictures
            labels[start : start + len(rows)] = rows
            print(f"\rbank: {start + len(rows):,} of {count:,} pictures", end="", flush=True)
    print()
    del images, labels  # closes the maps, which writes them
    (folder / "bank.json").write_text(
        json.dumps({"count": count, "seed": seed, "everybody": everybody, "columns": COLUMNS})
    )
    return folder


def _open(path: Path, shape: tuple[int, ...], dtype: type) -> npt.NDArray[Any]:
    return np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
