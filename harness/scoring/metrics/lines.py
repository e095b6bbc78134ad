"""The lines of pictures, and how well those of two pictures coincide: colour and light do not matter, shifts neither.

By masked normalised cross-correlation (Padfield 2012): at every shift only what both pictures show is compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from PIL import Image
from scipy.ndimage import sobel

from harness.core.arrays import Floats

SIDE = 64  # pixels of the squares that are compared
REACH = 10  # pixels of SIDE that a picture may be shifted beyond the other's edge: a sixth of it
PLANE = 96  # side of the transforms: SIDE + REACH and room, so that no shift wraps round
SOFT = 40.0  # levels of 255: gradients above it count little more, so that outlines do not drown the rest


def lines_of(picture: Image.Image, side: int = SIDE) -> Floats:
    """The middle square's gradient strength at `side` x `side`, all channels together; hues may change, lines stay."""
    width = min(picture.size)
    left, top = (picture.width - width) // 2, (picture.height - width) // 2
    square = picture.convert("RGB").crop((left, top, left + width, top + width))
    pixels = np.asarray(square.resize((side, side), Image.Resampling.LANCZOS), np.float64)
    strength = sum(sobel(pixels[..., channel], axis) ** 2 for channel in range(3) for axis in (0, 1))
    return np.asarray(np.log1p(np.sqrt(strength) / SOFT))


class Sketches:
    """The lines of a set of pictures, transformed once and then compared with any number of others."""

    def __init__(self, planes: Sequence[Floats]) -> None:
        """`planes`: each `lines_of(picture)`, SIDE x SIDE."""
        self.planes = np.stack(planes)
        self._windows: dict[int, tuple[Floats, Floats, Floats]] = {}

    def correlate(self, query: Floats) -> Floats:
        """Correlation, -1 to 1, of a square (at most SIDE wide) with each picture at every shift: (n, shifts, shifts).

        The first shift puts the square REACH above and left of the picture, the last one REACH below and right.
        """
        side = len(query)
        count, sums, scatter = self._window(side)
        own = _transform(query).conj()
        own_sums = _at_shifts(WHOLE * own, side)
        own_squares = _at_shifts(WHOLE * _transform(query**2).conj(), side)
        own_scatter = np.maximum(own_squares - own_sums**2 / count, 0.0)
        products = _at_shifts(self._transforms * own, side) - own_sums * sums / count
        length = np.sqrt(own_scatter * scatter)
        return np.where(length > 1e-6, products / np.maximum(length, 1e-6), 0.0)  # an even area is like nothing

    def likeness(self) -> Floats:
        """Each picture with each other one at the best shift: (n, n), 1 on the diagonal, symmetric."""
        table = np.stack([self.correlate(plane).max((1, 2)) for plane in self.planes])
        np.fill_diagonal(table, 1.0)
        return (table + table.T) / 2

    @cached_property
    def _transforms(self) -> Any:
        return _transform(self.planes)

    def _window(self, side: int) -> tuple[Floats, Floats, Floats]:
        """Of what each picture shows under a square at every shift: pixels, their sum, their squared deviations."""
        if side not in self._windows:
            ones = _transform(np.ones((side, side))).conj()
            count = np.maximum(_at_shifts(WHOLE * ones, side), 1.0)
            sums = _at_shifts(self._transforms * ones, side)
            squares = _at_shifts(_transform(self.planes**2) * ones, side)
            self._windows[side] = count, sums, np.maximum(squares - sums**2 / count, 0.0)
        return self._windows[side]


def _transform(planes: Floats) -> Any:
    return np.fft.rfft2(planes, (PLANE, PLANE))


def _at_shifts(spectrum: Any, side: int) -> Floats:
    """A correlation at the shifts in reach."""
    values = np.fft.irfft2(spectrum, (PLANE, PLANE))
    steps = np.arange(-REACH, SIDE - side + REACH + 1) % PLANE
    return np.asarray(values[..., steps[:, None], steps])


WHOLE = _transform(np.ones((SIDE, SIDE)))
