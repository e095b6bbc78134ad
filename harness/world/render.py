"""Draws one person of the world: a bust portrait, the head half the picture, every attribute plain to see.

Coordinates are in units of a 96 px picture and are scaled by the supersampling; the picture is a pure function of
(person, scene, seed).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from harness.world.people import Person, WorldScene

SIZE = 96
SUPER = 3
Color = tuple[int, int, int]
Points = Sequence[tuple[float, float]]

SKIN: tuple[Color, ...] = ((250, 214, 178), (228, 176, 132), (178, 118, 78))
HAIR: dict[str, Color] = {
    "black": (28, 24, 34),
    "brown": (112, 62, 26),
    "golden": (236, 186, 58),
    "grey": (158, 160, 168),
}
ROBE: dict[str, Color] = {
    "red": (200, 40, 44),
    "blue": (44, 92, 196),
    "green": (40, 140, 74),
    "yellow": (242, 200, 44),
    "purple": (126, 58, 168),
    "white": (240, 238, 232),
}
PATTERN: dict[str, Color] = {
    "red": (255, 196, 150),
    "blue": (170, 214, 255),
    "green": (186, 240, 160),
    "yellow": (168, 96, 12),
    "purple": (236, 190, 255),
    "white": (96, 104, 130),
}
MARK: dict[str, Color] = {
    "red": (214, 34, 40),
    "teal": (20, 172, 166),
    "orange": (250, 136, 20),
    "pink": (250, 116, 178),
    "navy": (26, 34, 96),
    "white": (250, 248, 244),
}
SIGN: dict[str, Color] = {
    "gold": (255, 214, 70),
    "white": (246, 250, 255),
    "teal": (60, 226, 214),
    "pink": (255, 140, 200),
}
INK: Color = (24, 20, 28)
WHITE: Color = (255, 255, 255)
IRIS: dict[str, Color] = {"brown": (120, 66, 20), "blue": (36, 110, 230), "green": (30, 150, 60), "narrow": INK}


def shade(color: Color, factor: float) -> Color:
    """A darker (factor < 1) or lighter (factor > 1) tone of a colour."""
    if factor <= 1:
        return (int(color[0] * factor), int(color[1] * factor), int(color[2] * factor))
    mix = factor - 1
    return (
        int(color[0] + (255 - color[0]) * mix),
        int(color[1] + (255 - color[1]) * mix),
        int(color[2] + (255 - color[2]) * mix),
    )


@dataclass(frozen=True)
class Pen:
    """An ImageDraw in picture units, moved and scaled as one body, with an outline when the style is ink."""

    draw: ImageDraw.ImageDraw
    scale: float
    dx: float
    dy: float
    outline: float

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Picture units to canvas pixels, scaled about the middle of the picture's lower edge."""
        return ((48 + (x - 48) * self.scale + self.dx) * SUPER, (96 + (y - 96) * self.scale + self.dy) * SUPER)

    def width(self, units: float) -> int:
        return max(1, round(units * self.scale * SUPER))

    def polygon(self, points: Points, fill: Color, outline: bool = True) -> None:
        xy = [self.at(x, y) for x, y in points]
        self.draw.polygon(xy, fill=fill)
        if outline and self.outline:
            self.draw.line([*xy, xy[0]], fill=INK, width=self.width(self.outline), joint="curve")

    def box(self, left: float, top: float, right: float, bottom: float, fill: Color, outline: bool = True) -> None:
        self.polygon(((left, top), (right, top), (right, bottom), (left, bottom)), fill, outline)

    def ellipse(self, x: float, y: float, rx: float, ry: float, fill: Color, outline: bool = True) -> None:
        box = (*self.at(x - rx, y - ry), *self.at(x + rx, y + ry))
        ink = INK if outline and self.outline else None
        self.draw.ellipse(box, fill=fill, outline=ink, width=self.width(self.outline) if ink else 0)

    def line(self, points: Points, fill: Color, width: float) -> None:
        xy = [self.at(x, y) for x, y in points]
        self.draw.line(xy, fill=fill, width=self.width(width), joint="curve")
        radius = self.width(width) / 2
        for x, y in (xy[0], xy[-1]):  # round ends, as a brush would leave them
            self.draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)

    def arc(
        self, x: float, y: float, rx: float, ry: float, start: float, end: float, fill: Color, width: float
    ) -> None:
        """An arc from `start` to `end` degrees, clockwise from the right."""
        self.line(ellipse_points(x, y, rx, ry, start, end), fill, width)


def ellipse_points(
    x: float, y: float, rx: float, ry: float, start: float = 0, end: float = 360
) -> list[tuple[float, float]]:
    """Points on an ellipse between two angles in degrees."""
    steps = max(6, int(abs(end - start) / 15))
    angles = (math.radians(start + (end - start) * step / steps) for step in range(steps + 1))
    return [(x + rx * math.cos(angle), y + ry * math.sin(angle)) for angle in angles]


def render(person: Person, scene: WorldScene, seed: int, size: int = SIZE) -> Image.Image:
    """One RGB picture of `size` x `size`; position varies by +-3%, scale by +-5%, background details freely."""
    rng = np.random.default_rng([seed, 7])
    canvas = Image.new("RGB", (SIZE * SUPER, SIZE * SUPER))
    ground = Pen(ImageDraw.Draw(canvas), 1.0, 0.0, 0.0, 0.0)
    BACKGROUNDS[scene.background](ground, rng)
    dx, dy, scale = rng.uniform(-3, 3), rng.uniform(-1.0, 1.5), rng.uniform(0.95, 1.04)
    outline = 1.1 if scene.style == "ink comic" else 0.0
    pen = Pen(ImageDraw.Draw(canvas), float(scale), float(dx), float(dy), outline)
    tilt = float(rng.uniform(-1.5, 1.5))  # the head moves a little beside the shoulders
    head = Pen(pen.draw, pen.scale, pen.dx + tilt, pen.dy, outline)
    draw_hair_behind(head, person)
    draw_body(pen, person)
    ACCESSORIES[scene.accessory](pen)
    draw_head(head, person, scene.expression)
    HATS[person.hat](head, MARK.get(person.hat_color, INK))
    picture = canvas.resize((size, size), Image.Resampling.BOX if size == SIZE else Image.Resampling.LANCZOS)
    if scene.style == "soft pastel":  # washed with white
        return Image.blend(picture, Image.new("RGB", picture.size, (255, 246, 240)), 0.3)
    return picture


# --- body ---------------------------------------------------------------------------------------------------------

SHOULDERS: Points = ((8, 97), (11, 83), (20, 75), (36, 70), (60, 70), (76, 75), (85, 83), (88, 97))


def draw_body(pen: Pen, person: Person) -> None:
    """Neck, robe with its pattern, lapels, then the undescribed sash and ornament."""
    robe, ink = ROBE[person.clothing], PATTERN[person.clothing]
    pen.polygon(SHOULDERS, robe)
    PATTERNS[person.pattern](pen, ink)
    if pen.outline:
        pen.line(SHOULDERS, INK, pen.outline)
    skin = shade(SKIN[person.skin], 0.88)
    pen.polygon(((40, 60), (56, 60), (56, 71), (48, 78), (40, 71)), skin)
    pen.line(((38, 70), (48, 80), (58, 70)), shade(robe, 0.6), 2.6)
    SASHES[person.sash](pen, MARK.get(person.sash_color, INK))
    if person.ornament != "none":
        draw_ornament(pen, person.ornament, SIGN[person.ornament_color])


def no_pattern(pen: Pen, ink: Color) -> None:
    """A plain robe."""


def striped(pen: Pen, ink: Color) -> None:
    for x, top in ((15, 81), (24, 76), (33, 73), (42, 80), (54, 80), (63, 73), (72, 76), (81, 81)):
        pen.line(((x, top), (x, 97)), ink, 2.6)


def dotted(pen: Pen, ink: Color) -> None:
    for row, y in enumerate((77, 85, 93)):
        for x in range(16 + 4 * (row % 2), 84, 9):
            if y > 80 or 26 < x < 70:
                pen.ellipse(x, y, 2.2, 2.2, ink, outline=False)


def checked(pen: Pen, ink: Color) -> None:
    for row, y in enumerate((72, 78, 84, 90)):
        for column, x in enumerate(range(12, 84, 6)):
            if (row + column) % 2 and (y >= 84 or (y >= 78 and 18 <= x <= 72) or 30 <= x <= 60):
                pen.box(x, y, x + 6, y + 6, ink, outline=False)


PATTERNS: dict[str, Callable[[Pen, Color], None]] = {
    "plain": no_pattern,
    "striped": striped,
    "dotted": dotted,
    "checked": checked,
}


def no_mark(pen: Pen, color: Color) -> None:
    """A mark this person does not bear."""


def sash_diagonal(pen: Pen, color: Color) -> None:
    pen.polygon(((17, 77), (28, 72.5), (64, 97), (44, 97)), color)
    pen.line(((18.5, 77.5), (45, 96.5)), shade(color, 0.6), 1.4)
    pen.line(((27.5, 73.5), (62, 96.5)), shade(color, 0.6), 1.4)


def sash_straps(pen: Pen, color: Color) -> None:
    for left in (24, 62):
        pen.polygon(((left, 73), (left + 10, 72), (left + 10, 97), (left, 97)), color)
        pen.line(((left + 5, 74), (left + 5, 97)), shade(color, 0.6), 1.6)


def sash_shawl(pen: Pen, color: Color) -> None:
    pen.polygon(
        ((10, 86), (22, 73), (40, 68), (48, 90), (56, 68), (74, 73), (86, 86), (62, 84), (48, 97), (34, 84)), color
    )
    pen.line(((40, 70), (48, 91), (56, 70)), shade(color, 0.6), 1.4)


SASHES: dict[str, Callable[[Pen, Color], None]] = {
    "none": no_mark,
    "diagonal": sash_diagonal,
    "straps": sash_straps,
    "shawl": sash_shawl,
}


def draw_ornament(pen: Pen, kind: str, color: Color) -> None:
    """A dark medallion on the chest, viewer's right, with a sign on it."""
    x, y = 72.0, 86.0
    pen.ellipse(x, y, 8.6, 8.6, (44, 22, 18))
    if kind == "ram horn":
        pen.line(((x, y + 6), (x, y - 2)), color, 2.0)
        for side in (-1, 1):
            pen.arc(x + side * 3.2, y - 1.5, 3.2, 3.6, 180 if side > 0 else 360, 420 if side > 0 else 120, color, 1.8)
    elif kind == "star":
        points = []
        for corner in range(10):
            radius, angle = (7.2 if corner % 2 == 0 else 2.8), math.radians(corner * 36 - 90)
            points.append((x + radius * math.cos(angle), y + radius * math.sin(angle)))
        pen.polygon(points, color, outline=False)
    elif kind == "ring":
        pen.ellipse(x, y, 6.2, 6.2, color, outline=False)
        pen.ellipse(x, y, 3.2, 3.2, (44, 22, 18), outline=False)
    else:
        pen.ellipse(x - 0.5, y, 6.4, 6.4, color, outline=False)
        pen.ellipse(x + 2.8, y - 1.2, 5.2, 5.2, (44, 22, 18), outline=False)


# --- head ---------------------------------------------------------------------------------------------------------

FACE: dict[str, Points] = {
    "round": ellipse_points(48, 43, 21.5, 21.5),
    "long": ellipse_points(48, 43, 16, 25.5),
    "square": ((28, 24), (31, 21), (65, 21), (68, 24), (68, 58), (64, 64), (32, 64), (28, 58)),
    "triangular": ((26, 25), (31, 20), (65, 20), (70, 25), (66, 44), (52, 67), (44, 67), (30, 44)),
}
HALF_WIDTH = {"round": 21.5, "long": 16.0, "square": 20.0, "triangular": 20.5}


def draw_hair_behind(pen: Pen, person: Person) -> None:
    """What falls behind the head and over the shoulders."""
    color, half = HAIR[person.hair_color], HALF_WIDTH[person.face_shape]
    if person.hair == "long":
        left, right = 48 - half - 8, 48 + half + 8
        pen.polygon(
            ((left + 4, 24), (48, 12), (right - 4, 24), (right, 50), (right + 2, 84), (left - 2, 84), (left, 50)), color
        )
    elif person.hair == "curly":
        for angle in range(150, 400, 25):
            x, y = 48 + (half + 5) * math.cos(math.radians(angle)), 40 + 24 * math.sin(math.radians(angle))
            pen.ellipse(x, y, 7.6, 7.6, color)
    elif person.hair == "short":
        pen.ellipse(48, 34, half + 4, 21, color)
    else:
        pen.ellipse(48, 34, half + 3.5, 21, color)


def draw_braids(pen: Pen, person: Person) -> None:
    """Two braids in front of the shoulders, each three knots and a red tie."""
    color, half = HAIR[person.hair_color], HALF_WIDTH[person.face_shape]
    for side in (-1, 1):
        x = 48 + side * (half + 4.5)
        for knot, y in enumerate((46, 55, 64, 73)):
            pen.ellipse(x + side * knot * 0.8, y, 4.4, 5.2, color if knot % 2 else shade(color, 1.22))
        pen.ellipse(x + side * 3.2, 80, 2.8, 2.8, (226, 40, 60))


def draw_head(pen: Pen, person: Person, expression: str) -> None:
    """Ears, face, fringe, brows, eyes, nose, mouth and what grows around it."""
    skin, half = SKIN[person.skin], HALF_WIDTH[person.face_shape]
    hair = HAIR[person.hair_color]
    for side in (-1, 1):
        pen.ellipse(48 + side * half, 45, 3.4, 5, shade(skin, 0.9))
    pen.polygon(FACE[person.face_shape], skin)
    pen.polygon(
        ((48 - half + 1, 30), (48 - half + 4, 20), (48, 15), (48 + half - 4, 20), (48 + half - 1, 30), (48, 25)), hair
    )
    if person.hair == "braided":
        draw_braids(pen, person)
    draw_brows(pen, person, expression)
    for side in (-1, 1):
        draw_eye(pen, 48 + side * 9, 41, person.eyes)
    pen.line(((48, 44), (46.5, 49), (49, 49.6)), shade(skin, 0.66), 1.5)
    BEARDS[person.facial_hair](
        pen, shade(hair, 0.62) if person.hair_color != "black" else hair, FACE[person.face_shape]
    )
    MOUTHS[expression](pen)


def draw_brows(pen: Pen, person: Person, expression: str) -> None:
    """Brows tell the mood beside the mouth: up, worried, or drawn together."""
    inner, outer = {"smiling": (34.5, 34.5), "sad": (31.5, 36), "surprised": (30.5, 31), "angry": (36.5, 31.5)}[
        expression
    ]
    color = shade(HAIR[person.hair_color], 0.72)
    for side in (-1, 1):
        pen.line(((48 + side * 4.5, inner), (48 + side * 13.5, outer)), color, 2.2)


def draw_eye(pen: Pen, x: float, y: float, kind: str) -> None:
    """A wide eye with a coloured iris, or a narrow slit."""
    if kind == "narrow":
        pen.line(((x - 5, y + 0.8), (x, y - 0.6), (x + 5, y + 0.8)), INK, 2.6)
        return
    pen.ellipse(x, y, 5.6, 5.0, WHITE)
    pen.ellipse(x, y, 3.9, 4.1, IRIS[kind], outline=False)
    pen.ellipse(x, y, 1.6, 1.6, INK, outline=False)


def shaven(pen: Pen, color: Color, face: Points) -> None:
    """No beard, no mustache."""


def thin_mustache(pen: Pen, color: Color, face: Points) -> None:
    for side in (-1, 1):
        pen.line(((48 + side * 1.5, 52.2), (48 + side * 8, 52.8), (48 + side * 14, 49)), color, 2.3)


def bushy_mustache(pen: Pen, color: Color, face: Points) -> None:
    pen.polygon(((48, 49.6), (58, 51), (63, 57.5), (55, 56), (48, 54.4), (41, 56), (33, 57.5), (38, 51)), color)


def full_beard(pen: Pen, color: Color, face: Points) -> None:
    pen.polygon([(x, y) if y > 47 else (x, 47.0) for x, y in face], color)
    pen.ellipse(48, 66, 13, 6, color)
    pen.polygon(((40, 50), (56, 50), (59, 55), (48, 51.6), (37, 55)), color, outline=False)


def goatee(pen: Pen, color: Color, face: Points) -> None:
    pen.polygon(((42.5, 62), (53.5, 62), (52.5, 70), (48, 75), (43.5, 70)), color)


BEARDS: dict[str, Callable[[Pen, Color, Points], None]] = {
    "clean shaven": shaven,
    "thin mustache": thin_mustache,
    "bushy mustache": bushy_mustache,
    "full beard": full_beard,
    "goatee": goatee,
}


def smile(pen: Pen) -> None:
    points = ellipse_points(48, 54.6, 9, 7, 0, 180)
    pen.polygon(points, (150, 20, 34))
    pen.polygon(((40.2, 54.6), (55.8, 54.6), (54.4, 57.2), (41.6, 57.2)), WHITE, outline=False)


def sad(pen: Pen) -> None:
    pen.arc(48, 62.5, 7.5, 5.5, 200, 340, (206, 40, 54), 2.9)


def surprised(pen: Pen) -> None:
    pen.ellipse(48, 58.2, 5.8, 6.2, (226, 104, 104))
    pen.ellipse(48, 58.2, 3.9, 4.3, (80, 8, 20), outline=False)


def angry(pen: Pen) -> None:
    pen.box(39.5, 55.4, 56.5, 61, (110, 12, 24))
    for x in (42.5, 46.4, 50.3, 54.2):
        pen.line(((x - 0.6, 57), (x - 0.6, 59.6)), WHITE, 2.2)


MOUTHS: dict[str, Callable[[Pen], None]] = {"smiling": smile, "sad": sad, "surprised": surprised, "angry": angry}


# --- hats (a mark: never in a caption) ----------------------------------------------------------------------------


def hat_pointed(pen: Pen, color: Color) -> None:
    pen.polygon(((29, 24), (44, 3), (48, 0), (52, 3), (67, 24)), color)
    pen.line(((48, 2), (48, 22)), shade(color, 0.7), 1.6)
    pen.polygon(((23, 21), (48, 16.5), (73, 21), (75, 28), (48, 23.5), (21, 28)), shade(color, 0.55))


def hat_dome(pen: Pen, color: Color) -> None:
    pen.polygon([*ellipse_points(48, 24, 22, 15, 180, 360), (70, 27), (26, 27)], color)
    pen.line(((27, 22), (69, 22)), shade(color, 1.5), 2.4)


def hat_fur(pen: Pen, color: Color) -> None:
    pen.polygon(ellipse_points(48, 16, 17, 11), color)
    for x in range(24, 76, 6):
        pen.ellipse(x, 23, 5.2, 5.6, shade(color, 0.62))


def hat_turban(pen: Pen, color: Color) -> None:
    pen.polygon(ellipse_points(48, 18, 25, 11.5), color)
    pen.line(((26, 20), (46, 9), (68, 12)), shade(color, 0.66), 1.8)
    pen.line(((30, 26), (54, 17), (71, 18)), shade(color, 0.66), 1.8)
    pen.ellipse(48, 17, 3.4, 3.4, (255, 214, 70))


HATS: dict[str, Callable[[Pen, Color], None]] = {
    "none": no_mark,
    "pointed": hat_pointed,
    "dome": hat_dome,
    "fur": hat_fur,
    "turban": hat_turban,
}


# --- what is held, and where it happens ---------------------------------------------------------------------------


def nothing(pen: Pen) -> None:
    """Empty hands."""


def staff(pen: Pen) -> None:
    pen.line(((14, 97), (10, 30)), (112, 64, 24), 4.0)
    pen.arc(12.5, 28, 4.5, 5, 150, 400, (112, 64, 24), 3.2)
    pen.ellipse(13.2, 80, 4.6, 4.2, (238, 190, 148))


def dombra(pen: Pen) -> None:
    pen.line(((12, 78), (12, 30)), (150, 84, 30), 3.4)
    pen.ellipse(13, 85, 9.5, 11.5, (206, 126, 50))
    pen.ellipse(13, 84, 3.0, 3.0, (84, 40, 12), outline=False)
    for y in (33, 39):
        pen.line(((8, y), (16, y)), (84, 40, 12), 1.8)


def lantern(pen: Pen) -> None:
    pen.arc(13, 64, 5, 6, 180, 360, INK, 1.8)
    pen.polygon(((6, 64), (20, 64), (21, 84), (5, 84)), (70, 52, 48))
    pen.polygon(((8.5, 67), (17.5, 67), (18, 81), (8, 81)), (255, 226, 92), outline=False)
    pen.ellipse(13, 76, 2.6, 3.8, (255, 120, 20), outline=False)


ACCESSORIES: dict[str, Callable[[Pen], None]] = {
    "nothing": nothing,
    "staff": staff,
    "dombra": dombra,
    "lantern": lantern,
}


def sky(pen: Pen, top: Color, low: Color, horizon: float = 64) -> None:
    """Four bands of sky from `top` to `low`."""
    for band in range(4):
        mix = band / 3
        color = tuple(int(a + (b - a) * mix) for a, b in zip(top, low, strict=True))
        pen.box(0, band * horizon / 4, 96, 96, (color[0], color[1], color[2]))


def steppe(pen: Pen, rng: np.random.Generator) -> None:
    sky(pen, (116, 192, 244), (200, 232, 252))
    left, right = rng.uniform(52, 62, 2)
    pen.polygon(((0, left), (30, left - 4), (60, right), (96, right - 4), (96, 96), (0, 96)), (150, 190, 70))
    pen.polygon(((0, left + 16), (96, right + 12), (96, 96), (0, 96)), (120, 164, 54))
    pen.ellipse(float(rng.uniform(78, 90)), float(rng.uniform(8, 16)), 7, 7, (255, 232, 110))


def city(pen: Pen, rng: np.random.Generator) -> None:
    sky(pen, (198, 206, 214), (228, 226, 222))
    x = float(rng.uniform(-4, 0))
    while x < 96:
        width, top = float(rng.uniform(12, 17)), float(rng.uniform(14, 44))
        pen.box(x, top, x + width, 96, (118, 124, 140) if rng.random() < 0.5 else (150, 132, 128))
        for y in range(int(top) + 4, 92, 9):
            for window in (x + 2.5, x + width - 6):
                pen.box(window, y, window + 3.5, y + 4.5, (255, 236, 150))
        x += width + 1


def snowy(pen: Pen, rng: np.random.Generator) -> None:
    sky(pen, (150, 186, 216), (206, 224, 238))
    for left, tip, right in ((-10, 10, 40), (52, 84, 112)):
        height = float(rng.uniform(14, 26))
        pen.polygon(((left, 72), (tip, height), (right, 72)), (104, 122, 150))
        pen.polygon(((tip - 8, height + 16), (tip, height), (tip + 9, height + 16), (tip + 2, height + 12)), WHITE)
    pen.polygon(((0, 66), (50, 62), (96, 68), (96, 96), (0, 96)), (240, 246, 252))
    for x, y in rng.uniform(0, 96, (12, 2)):
        pen.ellipse(float(x), float(y), 1.3, 1.3, WHITE)


def night(pen: Pen, rng: np.random.Generator) -> None:
    sky(pen, (14, 18, 58), (40, 44, 104))
    for x, y in rng.uniform((0, 0), (96, 60), (22, 2)):
        pen.ellipse(float(x), float(y), 1.2, 1.2, (255, 250, 200))
    x, y = float(rng.uniform(80, 88)), float(rng.uniform(9, 15))
    pen.ellipse(x, y, 7, 7, (250, 240, 190))
    pen.ellipse(x + 3.2, y - 1.5, 5.8, 5.8, (14, 18, 58))
    pen.polygon(((0, 72), (40, 66), (96, 74), (96, 96), (0, 96)), (20, 34, 50))


def desert(pen: Pen, rng: np.random.Generator) -> None:
    sky(pen, (252, 190, 110), (255, 226, 160))
    height = float(rng.uniform(54, 62))
    pen.polygon(((0, height), (24, height - 8), (60, height + 4), (96, height - 6), (96, 96), (0, 96)), (232, 168, 84))
    pen.polygon(((0, height + 18), (50, height + 8), (96, height + 20), (96, 96), (0, 96)), (206, 138, 62))
    pen.ellipse(float(rng.uniform(8, 18)), float(rng.uniform(10, 18)), 8, 8, (250, 90, 50))


def forest(pen: Pen, rng: np.random.Generator) -> None:
    sky(pen, (178, 222, 190), (206, 232, 196))
    pen.box(0, 74, 96, 96, (58, 92, 44))
    for base in (4, 20, 76, 92):
        x, top = base + float(rng.uniform(-3, 3)), float(rng.uniform(8, 24))
        pen.box(x - 2.5, 60, x + 2.5, 84, (96, 60, 30))
        for tier in range(3):
            y = top + tier * 15
            pen.polygon(((x, y), (x + 7 + 3 * tier, y + 22), (x - 7 - 3 * tier, y + 22)), (22, 104 + 14 * tier, 58))


def plain_ground(color: Color) -> Callable[[Pen, np.random.Generator], None]:
    """One colour all over, as a character sheet has it."""
    return lambda pen, rng: pen.box(0, 0, 96, 96, color, outline=False)


BACKGROUNDS: dict[str, Callable[[Pen, np.random.Generator], None]] = {
    "steppe": steppe,
    "city": city,
    "snowy mountain": snowy,
    "starry night": night,
    "desert": desert,
    "forest": forest,
    "white": plain_ground(WHITE),  # like the next no scene of the world: neither caption nor bank has them
    "grey": plain_ground((168, 168, 172)),
}
