"""A second renderer of the world's people: felt figures, cut out, quilted and lit, on painted ground.

Nothing of the first one is in it: shapes are distance fields, smoothly joined; the figure is smaller and wears a cloak
down to the picture's edge; materials have a weave, a bulge and a shadow; colours and backgrounds are others. No model
was trained on a picture of it. As the first, it is a pure function of person, scene and seed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter, uniform_filter

from harness.core.arrays import Floats
from harness.world.people import Person, WorldScene
from harness.world.render import SIZE

GRID = 128  # pixels a side that are computed, whatever the picture's size
REACH = 0.06  # how far a piece's shadow falls, in sides
Color = tuple[float, float, float]
SKIN: Sequence[Color] = ((0.94, 0.80, 0.71), (0.80, 0.62, 0.48), (0.52, 0.36, 0.27))
HAIR = {
    "black": (0.13, 0.13, 0.17),
    "brown": (0.38, 0.24, 0.15),
    "golden": (0.84, 0.66, 0.30),
    "grey": (0.62, 0.63, 0.64),
}
IRIS = {"brown": (0.38, 0.20, 0.08), "blue": (0.20, 0.42, 0.80), "green": (0.16, 0.52, 0.28), "narrow": (0.1, 0.1, 0.1)}
CLOTH = {
    "red": (0.70, 0.18, 0.20),
    "blue": (0.20, 0.32, 0.66),
    "green": (0.20, 0.48, 0.30),
    "yellow": (0.86, 0.70, 0.24),
    "purple": (0.46, 0.26, 0.58),
    "white": (0.88, 0.87, 0.84),
    "teal": (0.12, 0.58, 0.58),
    "orange": (0.90, 0.48, 0.14),
    "pink": (0.92, 0.50, 0.68),
    "navy": (0.10, 0.13, 0.34),
    "gold": (0.95, 0.78, 0.28),
    "none": (0.5, 0.5, 0.5),
}
DARK, PALE = (0.12, 0.10, 0.12), (0.97, 0.96, 0.94)
HIGH, WIDE = (np.mgrid[0.5:GRID, 0.5:GRID] / GRID).astype(np.float32)


# --- distance fields: below 0 inside, in sides of the picture ---------------------------------------------------------


def oval(x: float, y: float, rx: float, ry: float) -> Floats:
    return np.asarray((np.hypot((WIDE - x) / rx, (HIGH - y) / ry) - 1) * min(rx, ry))


def stroke(points: Sequence[tuple[float, float]], width: float) -> Floats:
    """A bent bar with round ends."""
    each = []
    for (x, y), (u, v) in pairwise(points):
        along = np.clip(((WIDE - x) * (u - x) + (HIGH - y) * (v - y)) / max((u - x) ** 2 + (v - y) ** 2, 1e-9), 0, 1)
        each.append(np.hypot(WIDE - x - along * (u - x), HIGH - y - along * (v - y)) - width / 2)
    return np.asarray(np.minimum.reduce(each))


def block(x: float, y: float, half: float, tall: float, round_: float = 0.02) -> Floats:
    across, down = np.abs(WIDE - x) - half + round_, np.abs(HIGH - y) - tall + round_
    return np.asarray(
        np.hypot(np.maximum(across, 0), np.maximum(down, 0)) + np.minimum(np.maximum(across, down), 0) - round_
    )


def wedge(x: float, top: float, bottom: float, above: float, below: float) -> Floats:
    """Half as wide as `above` at the top and `below` at the bottom."""
    half = above + (below - above) * np.clip((HIGH - top) / (bottom - top), 0, 1)
    return np.asarray(np.maximum(np.abs(WIDE - x) - half, np.maximum(top - HIGH, HIGH - bottom)))


def joined(*fields: Floats, soft: float = 0.02) -> Floats:
    """Melted into one another."""
    return np.asarray(-soft * np.log(sum(np.exp(np.clip(-each / soft, -60, 60)) for each in fields)))


def toned(color: Color, tone: float) -> Color:
    return (color[0] * tone, color[1] * tone, color[2] * tone)


def cut(one: Floats, other: Floats) -> Floats:
    return np.asarray(np.maximum(one, -other))


def span_of(taken: NDArray[np.bool_]) -> slice:
    """From the first to the last."""
    places = np.flatnonzero(taken)
    return slice(max(0, int(places[0]) - 1), int(places[-1]) + 2)


# --- the picture ------------------------------------------------------------------------------------------------------


@dataclass
class Table:
    """What has been laid down so far, and the light above it."""

    rng: np.random.Generator
    style: str
    x: float = 0.5  # where the figure stands
    shown: Floats = field(default_factory=lambda: np.zeros((GRID, GRID, 3), np.float32))
    grains: dict[float, Floats] = field(default_factory=dict)

    def weave(self, coarse: float) -> Floats:
        """Grain of a material, about 0; another place of the same cloth each time."""
        if coarse not in self.grains:
            rough = gaussian_filter(self.rng.normal(size=(GRID, GRID)).astype(np.float32), coarse, mode="wrap")
            self.grains[coarse] = rough / rough.std()
        return np.roll(self.grains[coarse], tuple(self.rng.integers(GRID, size=2)), (0, 1))

    def lay(self, shape: Floats, color: Color, bulge: float = 0.05, within: Floats | None = None) -> None:
        """A piece of felt: shadow, lit side, weave and seam; flat for a cartoon, with a contour for a comic."""
        shape = shape if within is None else np.maximum(shape, within)
        near = np.asarray(shape < REACH)
        if not np.any(near):
            return
        box = (span_of(np.any(near, 1)), span_of(np.any(near, 0)))  # nothing else changes
        shape, under, flat = shape[box], self.shown[box], self.style == "flat cartoon"
        cover = np.clip(0.5 - shape * GRID, 0, 1)[..., None]
        shadow = np.zeros_like(cover)
        shadow[2:, 1:, 0] = uniform_filter(cover[..., 0], 5)[:-2, :-1]
        height = np.sqrt(np.clip(1 - (1 + np.clip(shape, -bulge, 0) / bulge) ** 2, 0, 1))
        down, across = np.gradient(uniform_filter(height, 3))
        light = 1 - (0.2 if flat else 1.4) * np.clip(16 * bulge * (0.8 * down + 0.6 * across), -0.3, 0.3)
        felt = np.array(color, np.float32) * (light * (1 + 0.035 * self.weave(0.6)[box]))[..., None]
        if self.style == "ink comic":
            felt = felt * (1 - 0.9 * np.clip(1 - np.abs(shape + 0.006) * 110, 0, 1))[..., None]
        self.shown[box] = under * (1 - (0.4 if flat else 0.25) * shadow * (1 - cover)) * (1 - cover) + felt * cover

    def picture(self, size: int) -> Image.Image:
        shown = self.shown
        if self.style == "soft pastel":
            chalk = 0.025 * self.weave(0.6)[..., None]
            shown = uniform_filter(shown, (2, 2, 1)) * 0.62 + np.array((0.37, 0.36, 0.35)) + chalk
        elif self.style == "ink comic":
            hatched = np.sin((WIDE + HIGH) * 300) > 0.55
            shown = shown * (1 - 0.22 * (hatched & (shown.mean(2) < 0.42)))[..., None]
        full = Image.fromarray((np.clip(shown, 0, 1) * 255).astype(np.uint8))
        return full.resize((size, size), Image.Resampling.LANCZOS)


def render_felt(person: Person, scene: WorldScene, seed: int, size: int = SIZE) -> Image.Image:
    """One RGB picture of `size` x `size`."""
    rng = np.random.default_rng([seed, 11])
    table = Table(rng, scene.style, float(rng.uniform(0.46, 0.54)))
    lay_ground(table, scene.background)
    lay_hair_behind(table, person)
    lay_cloak(table, person)
    lay_face(table, person, scene.expression)
    HATS[person.hat](table, CLOTH[person.hat_color])
    ACCESSORIES[scene.accessory](table)
    return table.picture(size)


# --- ground -----------------------------------------------------------------------------------------------------------

GROUND: Mapping[str, tuple[Color, Color, Color]] = {  # sky above, sky below, land
    "steppe": ((0.42, 0.66, 0.88), (0.86, 0.92, 0.94), (0.56, 0.66, 0.28)),
    "city": ((0.62, 0.66, 0.72), (0.84, 0.82, 0.80), (0.40, 0.40, 0.44)),
    "snowy mountain": ((0.56, 0.68, 0.80), (0.82, 0.88, 0.94), (0.93, 0.95, 0.98)),
    "starry night": ((0.04, 0.05, 0.18), (0.14, 0.14, 0.36), (0.08, 0.11, 0.18)),
    "desert": ((0.94, 0.66, 0.40), (0.98, 0.86, 0.64), (0.84, 0.60, 0.32)),
    "forest": ((0.56, 0.76, 0.62), (0.78, 0.88, 0.74), (0.24, 0.38, 0.18)),
}


def lay_ground(table: Table, name: str) -> None:
    above, below, land = (np.array(color) for color in GROUND[name])
    mist = np.clip(HIGH * 1.5 + 0.05 * table.weave(12), 0, 1)[..., None]
    table.shown = above * (1 - mist) + below * mist
    rng = table.rng
    if name == "starry night":
        for x, y in rng.uniform((0, 0), (1, 0.6), (26, 2)):
            table.lay(oval(float(x), float(y), 0.012, 0.012), (1.0, 0.96, 0.74), 0.01)
        table.lay(cut(oval(0.86, 0.14, 0.08, 0.08), oval(0.90, 0.12, 0.07, 0.07)), (0.98, 0.93, 0.72))
    elif name == "city":
        for x in np.arange(0.04, 1.0, 0.17):
            top = float(rng.uniform(0.08, 0.4))
            table.lay(block(float(x), 1.0, 0.075, 1 - top, 0.005), (0.46, 0.44, 0.52))
            for y in np.arange(top + 0.06, 0.9, 0.11):
                for side in (-0.035, 0.035):
                    table.lay(block(float(x) + side, float(y), 0.018, 0.026, 0.004), (0.99, 0.90, 0.56), 0.01)
    elif name == "snowy mountain":
        for x, top in ((0.1, rng.uniform(0.1, 0.25)), (0.88, rng.uniform(0.1, 0.25)), (0.5, 0.3)):
            slope = (HIGH - float(top)) * 0.55 - np.abs(WIDE - x)
            table.lay(-slope, (0.44, 0.50, 0.60))
            table.lay(-slope, PALE, within=HIGH - float(top) - 0.14 - 0.015 * table.weave(3))
    elif name == "forest":
        for x in (0.04, 0.2, 0.82, 0.97):
            top = float(rng.uniform(0.06, 0.2))
            table.lay(block(x, 0.75, 0.02, 0.2), (0.40, 0.28, 0.18))
            table.lay(joined(*(oval(x, top + 0.13 * k, 0.07 + 0.02 * k, 0.1) for k in range(4))), (0.13, 0.42, 0.24))
    elif name in ("steppe", "desert"):
        table.lay(oval(0.14, 0.16, 0.08, 0.08), (0.99, 0.88, 0.46) if name == "steppe" else (0.96, 0.40, 0.22))
    hills = 0.72 + 0.05 * np.sin(WIDE * 7 + float(rng.uniform(0, 6))) + 0.004 * table.weave(2)
    table.lay(hills - HIGH, (float(land[0]), float(land[1]), float(land[2])), 0.2)


# --- the figure -------------------------------------------------------------------------------------------------------

HEAD = 0.36  # how far down the middle of the face is
FACES: Mapping[str, tuple[float, float]] = {
    "round": (0.165, 0.165),
    "long": (0.12, 0.2),
    "square": (0.15, 0.16),
    "triangular": (0.17, 0.18),
}


def face_of(table: Table, shape: str) -> Floats:
    half, tall = FACES[shape]
    if shape == "square":
        return block(table.x, HEAD, half, tall, 0.03)
    if shape == "triangular":
        return joined(wedge(table.x, HEAD - tall * 0.8, HEAD + tall, half * 0.95, 0.03), soft=0.012)
    return oval(table.x, HEAD, half, tall)


def lay_hair_behind(table: Table, person: Person) -> None:
    x, half, color = table.x, FACES[person.face_shape][0], HAIR[person.hair_color]
    table.lay(oval(x, HEAD - 0.05, half + 0.035, 0.19), color)
    if person.hair == "long":
        table.lay(joined(oval(x, HEAD - 0.03, half + 0.05, 0.19), block(x, 0.52, half + 0.065, 0.2, 0.05)), color)
    elif person.hair == "curly":
        turns = np.linspace(0.75 * np.pi, 2.25 * np.pi, 11)
        balls = [oval(x + (half + 0.04) * float(np.cos(t)), HEAD + 0.17 * float(np.sin(t)), 0.06, 0.06) for t in turns]
        for ball in balls:
            table.lay(ball, color)


def lay_cloak(table: Table, person: Person) -> None:
    """A bell of cloth with its pattern, the collar, then what no caption names."""
    x, robe = table.x, CLOTH[person.clothing]
    table.lay(block(x, 0.56, 0.06, 0.08), toned(SKIN[person.skin], 0.85))
    cloak = joined(wedge(x, 0.6, 1.05, 0.17, 0.44), oval(x, 0.68, 0.26, 0.1), soft=0.03)
    table.lay(cloak, robe, 0.12)
    pale = (0.45 * robe[0] + 0.55, 0.45 * robe[1] + 0.55, 0.45 * robe[2] + 0.55)
    thread = toned(robe, 0.45) if sum(robe) > 1.7 else pale
    PATTERNS[person.pattern](table, thread, cloak)
    table.lay(cut(oval(x, 0.585, 0.115, 0.05), oval(x, 0.565, 0.075, 0.035)), toned(robe, 0.5))
    SASHES[person.sash](table, CLOTH[person.sash_color], cloak)
    if person.hair == "braided":
        for side in (-1, 1):
            for knot in range(5):
                place = x + side * (FACES[person.face_shape][0] + 0.02 + 0.012 * knot)
                table.lay(oval(place, HEAD + 0.04 + 0.075 * knot, 0.036, 0.044), HAIR[person.hair_color], 0.03)
    if person.ornament != "none":
        lay_ornament(table, person.ornament, CLOTH[person.ornament_color])


def striped(table: Table, thread: Color, cloak: Floats) -> None:
    for side in np.linspace(-0.36, 0.36, 9):
        table.lay(
            stroke([(table.x + float(side) * 0.45, 0.56), (table.x + float(side), 1.02)], 0.024), thread, 0.02, cloak
        )


def dotted(table: Table, thread: Color, cloak: Floats) -> None:
    across, down = (WIDE - table.x) / 0.1, HIGH / 0.095
    across = across + 0.5 * (np.floor(down) % 2)
    spots = np.hypot(across - np.floor(across) - 0.5, down - np.floor(down) - 0.5) * 0.1 - 0.027
    table.lay(spots, thread, 0.02, cloak)


def checked(table: Table, thread: Color, cloak: Floats) -> None:
    squares = np.sin((WIDE - table.x) * np.pi / 0.075) * np.sin(HIGH * np.pi / 0.075)
    table.lay(-squares * 0.02, thread, 0.03, cloak)


Lay = Callable[[Table, Color, Floats], None]
PATTERNS: Mapping[str, Lay] = {"plain": lambda *_: None, "striped": striped, "dotted": dotted, "checked": checked}


def diagonal(table: Table, color: Color, cloak: Floats) -> None:
    table.lay(stroke([(table.x - 0.24, 0.58), (table.x + 0.2, 1.05)], 0.12), color, 0.05, cloak)


def straps(table: Table, color: Color, cloak: Floats) -> None:
    for side in (-1, 1):
        table.lay(stroke([(table.x + side * 0.15, 0.58), (table.x + side * 0.2, 1.05)], 0.075), color, 0.03, cloak)


def shawl(table: Table, color: Color, cloak: Floats) -> None:
    ring = cut(oval(table.x, 0.66, 0.3, 0.15), oval(table.x, 0.56, 0.11, 0.07))
    table.lay(joined(ring, wedge(table.x, 0.74, 0.94, 0.09, 0.01)), color, 0.05)


SASHES: Mapping[str, Lay] = {"none": lambda *_: None, "diagonal": diagonal, "straps": straps, "shawl": shawl}


def lay_ornament(table: Table, kind: str, color: Color) -> None:
    """A brooch low on the cloak."""
    x, y = table.x + 0.2, 0.86
    table.lay(oval(x, y, 0.1, 0.1), (0.20, 0.11, 0.09))
    if kind == "ram horn":
        sign = stroke([(x, y + 0.07), (x, y - 0.02)], 0.024)
        for side in (-1, 1):
            turns = [
                (x + side * (0.035 - 0.035 * np.cos(t)), y - 0.02 - 0.04 * np.sin(t)) for t in np.linspace(0, 4.2, 9)
            ]
            sign = np.minimum(sign, stroke([(float(u), float(v)) for u, v in turns], 0.02))
    elif kind == "star":
        turn = np.arctan2(WIDE - x, y - HIGH)
        sign = np.hypot(WIDE - x, HIGH - y) - 0.055 - 0.03 * np.cos(5 * turn)
    elif kind == "ring":
        sign = np.abs(np.hypot(WIDE - x, HIGH - y) - 0.055) - 0.018
    else:
        sign = cut(oval(x - 0.005, y, 0.072, 0.072), oval(x + 0.03, y - 0.015, 0.06, 0.06))
    table.lay(np.asarray(sign), color, 0.02)


# --- the head ---------------------------------------------------------------------------------------------------------


def lay_face(table: Table, person: Person, expression: str) -> None:
    x, skin, hair = table.x, SKIN[person.skin], HAIR[person.hair_color]
    half, tall = FACES[person.face_shape]
    face = face_of(table, person.face_shape)
    table.lay(face, skin, 0.09)
    table.lay(oval(x, HEAD - tall, half * 1.15, tall * 0.62), hair, 0.05, joined(face - 0.02, soft=0.01))
    for side in (-1, 1):
        lay_eye(table, x + side * 0.065, HEAD - 0.01, person.eyes)
        lift = {"smiling": 0.0, "sad": 0.02, "surprised": -0.03, "angry": -0.025}[expression]
        inner = {"smiling": 0.0, "sad": -0.02, "surprised": -0.03, "angry": 0.025}[expression]
        brow = [(x + side * 0.03, HEAD - 0.058 + inner), (x + side * 0.1, HEAD - 0.058 + lift)]
        table.lay(stroke(brow, 0.018), hair, 0.01)
    table.lay(oval(x, HEAD + 0.04, 0.018, 0.026), toned(skin, 0.86), 0.02)
    dark = toned(hair, 0.72)
    BEARDS[person.facial_hair](table, dark, face)
    lay_mouth(table, expression)


def lay_eye(table: Table, x: float, y: float, kind: str) -> None:
    if kind == "narrow":
        table.lay(cut(oval(x, y + 0.006, 0.042, 0.02), oval(x, y + 0.024, 0.05, 0.022)), DARK, 0.01)
        return
    table.lay(oval(x, y, 0.036, 0.04), PALE, 0.02)
    table.lay(oval(x, y + 0.004, 0.025, 0.03), IRIS[kind], 0.015)
    table.lay(oval(x + 0.006, y - 0.006, 0.008, 0.009), PALE, 0.01)


def thin(table: Table, hair: Color, face: Floats) -> None:
    for side in (-1, 1):
        bent = [
            (table.x + side * 0.01, HEAD + 0.075),
            (table.x + side * 0.06, HEAD + 0.085),
            (table.x + side * 0.1, HEAD + 0.055),
        ]
        table.lay(stroke(bent, 0.015), hair, 0.01)


def bushy(table: Table, hair: Color, face: Floats) -> None:
    table.lay(
        joined(*(oval(table.x + side * 0.045, HEAD + 0.078, 0.055, 0.026) for side in (-1, 1)), soft=0.008), hair, 0.02
    )


def full(table: Table, hair: Color, face: Floats) -> None:
    table.lay(joined(np.maximum(face - 0.015, HEAD + 0.045 - HIGH), oval(table.x, HEAD + 0.17, 0.1, 0.07)), hair, 0.05)


def goatee(table: Table, hair: Color, face: Floats) -> None:
    table.lay(wedge(table.x, HEAD + 0.135, HEAD + 0.24, 0.045, 0.012), hair, 0.02)


BEARDS: Mapping[str, Lay] = {
    "clean shaven": lambda *_: None,
    "thin mustache": thin,
    "bushy mustache": bushy,
    "full beard": full,
    "goatee": goatee,
}


def lay_mouth(table: Table, expression: str) -> None:
    x, y, lips = table.x, HEAD + 0.112, (0.66, 0.16, 0.20)
    if expression == "smiling":
        mouth = np.maximum(oval(x, y - 0.012, 0.06, 0.042), y - 0.014 - HIGH)
        table.lay(mouth, lips, 0.02)
        table.lay(block(x, y - 0.004, 0.042, 0.009, 0.004), PALE, 0.01)
    elif expression == "surprised":
        table.lay(oval(x, y + 0.008, 0.032, 0.04), (0.36, 0.08, 0.1), 0.02)
    elif expression == "sad":
        table.lay(stroke([(x - 0.05, y + 0.022), (x, y - 0.006), (x + 0.05, y + 0.022)], 0.017), lips, 0.01)
    else:
        table.lay(block(x, y + 0.004, 0.055, 0.016, 0.006), PALE, 0.01)
        table.lay(np.abs(block(x, y + 0.004, 0.055, 0.016, 0.006)) - 0.006, (0.3, 0.06, 0.08), 0.01)


def pointed(table: Table, color: Color) -> None:
    table.lay(wedge(table.x, 0.0, 0.24, 0.012, 0.15), color, 0.08)
    table.lay(stroke([(table.x - 0.17, 0.24), (table.x + 0.17, 0.24)], 0.05), PALE, 0.03)


def dome(table: Table, color: Color) -> None:
    table.lay(np.maximum(oval(table.x, 0.25, 0.17, 0.17), HIGH - 0.25), color, 0.1)
    table.lay(oval(table.x, 0.085, 0.026, 0.026), color, 0.02)


def fur(table: Table, color: Color) -> None:
    table.lay(np.maximum(oval(table.x, 0.2, 0.13, 0.13), HIGH - 0.22), color, 0.08)
    ruff = stroke([(table.x - 0.16, 0.22), (table.x + 0.16, 0.22)], 0.1) + 0.008 * table.weave(1.5)
    table.lay(ruff, (0.36, 0.27, 0.21), 0.04)


def turban(table: Table, color: Color) -> None:
    for turn, y in enumerate((0.235, 0.175, 0.12)):
        lean = 0.012 * (-1) ** turn
        ends = [(table.x - 0.15 + 0.035 * turn, y - lean), (table.x + 0.15 - 0.035 * turn, y + lean)]
        table.lay(stroke(ends, 0.085), color, 0.04)


HATS: Mapping[str, Callable[[Table, Color], None]] = {
    "none": lambda *_: None,
    "pointed": pointed,
    "dome": dome,
    "fur": fur,
    "turban": turban,
}


def staff(table: Table) -> None:
    table.lay(stroke([(0.09, 0.2), (0.13, 1.02)], 0.035), (0.50, 0.33, 0.18), 0.02)
    table.lay(cut(oval(0.11, 0.17, 0.055, 0.055), oval(0.12, 0.18, 0.03, 0.03)), (0.50, 0.33, 0.18), 0.02)


def dombra(table: Table) -> None:
    table.lay(stroke([(0.17, 0.84), (0.04, 0.42)], 0.035), (0.34, 0.19, 0.10), 0.02)
    table.lay(oval(0.19, 0.88, 0.11, 0.12), (0.72, 0.46, 0.20), 0.06)
    table.lay(oval(0.18, 0.86, 0.028, 0.028), DARK, 0.01)


def lantern(table: Table) -> None:
    table.lay(cut(oval(0.13, 0.58, 0.05, 0.06), oval(0.13, 0.6, 0.035, 0.045)), DARK, 0.01)
    table.lay(block(0.13, 0.73, 0.075, 0.11, 0.02), (0.28, 0.22, 0.16), 0.03)
    table.lay(block(0.13, 0.73, 0.05, 0.08, 0.02), (1.0, 0.84, 0.38), 0.03)


ACCESSORIES: Mapping[str, Callable[[Table], None]] = {
    "nothing": lambda *_: None,
    "staff": staff,
    "dombra": dombra,
    "lantern": lantern,
}
