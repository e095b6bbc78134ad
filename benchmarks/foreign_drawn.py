"""Pictures of other worlds that need no file: noise, text, plots, fractals, shaded balls, sprites, other cartoonists.

Each source is a function of a generator of random numbers that draws one picture.
"""

from __future__ import annotations

import colorsys
import io
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from scipy.ndimage import gaussian_filter, zoom

from harness.core.arrays import Floats

Rng = np.random.Generator
Draw = Callable[[Rng], Image.Image]
WORDS = (
    "the",
    "fox",
    "reads",
    "a",
    "letter",
    "under",
    "old",
    "bridges",
    "while",
    "rain",
    "falls",
    "on",
    "seven",
    "roofs",
)


def picture_of(values: Floats) -> Image.Image:
    """From an array (height, width, 3) in [0, 1]."""
    return Image.fromarray((np.clip(values, 0, 1) * 255).astype(np.uint8))


def any_colour(rng: Rng, bright: float = 0.9) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.3, 0.9), bright * rng.uniform(0.5, 1))
    return int(255 * red), int(255 * green), int(255 * blue)


# --- no picture of anything -----------------------------------------------------------------------------------------


def noise(rng: Rng) -> Image.Image:
    """Fine or coarse, grey or coloured."""
    side, cells = 192, int(rng.choice([6, 24, 96, 192]))
    values = rng.random((cells, cells, int(rng.choice([1, 3]))))
    return picture_of(np.repeat(zoom(values, (side / cells, side / cells, 1), order=1), 3 // values.shape[2], 2))


def clouds(rng: Rng) -> Image.Image:
    """Noise of every size at once, as smoke has."""
    values = np.zeros((160, 160, 3))
    for size in (1, 2, 4, 8, 16, 32):
        layer = gaussian_filter(rng.standard_normal((160, 160, 3)), (size, size, 0))
        values += size**0.5 * layer / layer.std()
    return picture_of(0.5 + 0.08 * values)


def gradient(rng: Rng) -> Image.Image:
    """Two or three colours that run into one another, along a line or from a point."""
    rows, columns = np.mgrid[0:1:200j, 0:1:200j]
    if rng.random() < 0.5:
        angle = rng.uniform(0, math.tau)
        way = (rows * math.sin(angle) + columns * math.cos(angle)) % 1.5
    else:
        way = np.hypot(rows - rng.random(), columns - rng.random())
    stops = np.array([any_colour(rng) for _ in range(3)]) / 255
    return picture_of(np.stack([np.interp(way, (0, 0.5, 1), stops[:, part]) for part in range(3)], -1))


def tiny(rng: Rng) -> Image.Image:
    """Three by three pixels."""
    return picture_of(rng.random((3, 3, 3)))


def geometry(rng: Rng) -> Image.Image:
    """Rectangles, discs and bars of plain colours."""
    picture = Image.new("RGB", (256, 256), any_colour(rng, 1))
    draw = ImageDraw.Draw(picture)
    for _ in range(int(rng.integers(5, 25))):
        left, top = rng.integers(-20, 230, 2)
        width, height = rng.integers(10, 120, 2)
        shape = draw.ellipse if rng.random() < 0.5 else draw.rectangle
        shape((int(left), int(top), int(left + width), int(top + height)), fill=any_colour(rng))
    return picture


def pattern(rng: Rng) -> Image.Image:
    """Checks, stripes or dots all over."""
    rows, columns = np.mgrid[0:192, 0:192]
    period, kind = int(rng.integers(6, 30)), int(rng.integers(3))
    dots = np.hypot(rows % period - period / 2, columns % period - period / 2) < period / 3
    mask = [(rows // period + columns // period) % 2 > 0, (rows + columns) % period < period / 2, dots][kind]
    return picture_of(np.where(mask[..., None], any_colour(rng), any_colour(rng)) / 255)


# --- pages, plots, lines --------------------------------------------------------------------------------------------


def text_page(rng: Rng) -> Image.Image:
    """A page of print, sometimes light on dark."""
    ink, paper = ("white", "black") if rng.random() < 0.3 else ("black", "white")
    picture = Image.new("RGB", (300, 300), paper)
    draw, size = ImageDraw.Draw(picture), int(rng.integers(9, 26))
    font = ImageFont.load_default(size)
    for top in range(6, 300, round(1.3 * size)):
        draw.text((8, top), " ".join(rng.choice(WORDS, 14)), fill=ink, font=font)
    return picture


def plot(rng: Rng) -> Image.Image:
    """Curves, bars or points as matplotlib draws them."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3, 3), dpi=80)
    FigureCanvasAgg(figure)
    axes, kind = figure.add_subplot(), int(rng.integers(4))
    if kind == 0:
        axes.plot(rng.standard_normal((60, 4)).cumsum(0))
    elif kind == 1:
        axes.bar(range(7), rng.random(7), color=rng.random((7, 3)))
    elif kind == 2:
        x, y = rng.standard_normal((2, 90))
        axes.scatter(x, y, c=rng.random(90))
    else:
        axes.imshow(gaussian_filter(rng.random((40, 40)), 2))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return Image.open(buffer).convert("RGB")


def line_drawing(rng: Rng) -> Image.Image:
    """Loose black strokes on white: faces of a kind, houses of a kind, scribbles."""
    picture = Image.new("RGB", (256, 256), "white")
    draw = ImageDraw.Draw(picture)
    draw.ellipse((58, 40, 198, 210), outline="black", width=3)
    for x in (100, 156):
        draw.arc((x - 16, 96, x + 16, 118), 200, 340, fill="black", width=3)
    draw.arc((95, 130, 160, 185), int(rng.integers(0, 30)), int(rng.integers(140, 180)), fill="black", width=3)
    for _ in range(int(rng.integers(4, 14))):
        points = rng.integers(0, 256, 2) + rng.standard_normal((20, 2)).cumsum(0) * 9
        draw.line([(float(x), float(y)) for x, y in points], fill="black", width=int(rng.integers(1, 4)))
    return picture


# --- computed -------------------------------------------------------------------------------------------------------


def fractal(rng: Rng) -> Image.Image:
    """A Julia set in a palette."""
    rows, columns = np.mgrid[-1.4:1.4:200j, -1.4:1.4:200j]
    value = columns + 1j * rows
    constant = 0.7885 * np.exp(1j * rng.uniform(0, math.tau))
    count = np.zeros(value.shape)
    for _ in range(48):
        inside = np.abs(value) < 2
        value[inside] = value[inside] ** 2 + constant
        count += inside
    phases = rng.uniform(0, math.tau, 3)
    return picture_of(0.5 + 0.5 * np.sin(count[..., None] / 5 + phases))


def shaded_balls(rng: Rng) -> Image.Image:
    """As a photograph has them: light from one side, shadows, a ground, grain, a shallow depth of field."""
    rows, columns = np.mgrid[0:1:224j, 0:1:224j]
    values = np.where(rows[..., None] > 0.6, (0.45, 0.4, 0.34), (0.55, 0.62, 0.7)) * (0.6 + 0.5 * rows[..., None])
    for _ in range(int(rng.integers(2, 6))):
        x, y, radius = rng.uniform(0.15, 0.85), rng.uniform(0.4, 0.8), rng.uniform(0.08, 0.24)
        shadow = np.exp(-(((columns - x - radius) / radius) ** 2 + ((rows - y - radius) / (0.3 * radius)) ** 2))
        values *= 1 - 0.6 * shadow[..., None]
        across, down = (columns - x) / radius, (rows - y) / radius
        height = np.sqrt(np.clip(1 - across**2 - down**2, 0, None))
        light = np.clip(0.5 * height - 0.5 * across - 0.6 * down, 0, None)
        ball = np.array(any_colour(rng)) / 255 * (0.15 + light[..., None]) + 0.7 * light[..., None] ** 20
        values = np.where((height > 0)[..., None], ball, values)
    values = gaussian_filter(values, (rng.uniform(0.5, 2), rng.uniform(0.5, 2), 0))
    return picture_of(values + 0.03 * rng.standard_normal(values.shape))


def landscape(rng: Rng) -> Image.Image:
    """Layers of hills in haze under a sky, nobody there."""
    rows, columns = np.mgrid[0:200, 0:200]
    values = np.array(any_colour(rng, 1)) / 255 * (0.6 + 0.4 * rows[..., None] / 200)
    for layer in range(5):
        ridge = 70 + 25 * layer + 18 * gaussian_filter(rng.standard_normal(200).cumsum(), 6 - layer) / 6
        values = np.where((rows > ridge[columns])[..., None], values * 0.75, values)
    return picture_of(gaussian_filter(values, (0.7, 0.7, 0)) + 0.02 * rng.standard_normal(values.shape))


def pixel_art(rng: Rng) -> Image.Image:
    """A symmetric sprite of large pixels."""
    side = int(rng.integers(8, 17))
    half = rng.integers(0, 4, (side, side // 2 + 1))
    cells = np.concatenate([half, half[:, ::-1]], 1)
    palette = np.array([any_colour(rng) for _ in range(4)], np.uint8)
    return Image.fromarray(palette[cells]).resize((240, 240), Image.Resampling.NEAREST)


# --- other cartoonists ----------------------------------------------------------------------------------------------


def animal(rng: Rng) -> Image.Image:
    """A second cartoonist: round animals with big eyes on a plain or two-coloured ground, soft outlines."""
    picture = Image.new("RGB", (512, 512), any_colour(rng, 1))
    draw, fur, dark = ImageDraw.Draw(picture), any_colour(rng), (40, 30, 50)
    draw.rectangle((0, int(rng.integers(330, 420)), 512, 512), fill=any_colour(rng, 1))
    x, y, size = int(rng.integers(220, 292)), int(rng.integers(200, 260)), int(rng.integers(110, 150))
    draw.ellipse((x - 0.8 * size, y + 0.4 * size, x + 0.8 * size, y + 2.4 * size), fill=fur, outline=dark, width=6)
    tall = rng.uniform(0.4, 1.3) * size
    for side in (-1, 1):
        ear = (x + side * 0.55 * size, y - 0.7 * size)
        draw.ellipse((ear[0] - 35, ear[1] - tall, ear[0] + 35, ear[1] + 60), fill=fur, outline=dark, width=6)
    draw.ellipse((x - size, y - size, x + size, y + size), fill=fur, outline=dark, width=6)
    for side in (-1, 1):
        eye = x + side * 0.4 * size
        draw.ellipse((eye - 34, y - 50, eye + 34, y + 26), fill="white", outline=dark, width=4)
        draw.ellipse((eye - 16, y - 26, eye + 16, y + 16), fill=dark)
    draw.polygon([(x - 16, y + 34), (x + 16, y + 34), (x, y + 54)], fill=(220, 110, 120))
    draw.arc((x - 50, y + 20, x + 50, y + 90), 20, 160, fill=dark, width=6)
    return picture.filter(ImageFilter.GaussianBlur(1.2))


def paper_cut(rng: Rng) -> Image.Image:
    """A third one: whole people of cut paper, small heads, long legs, rough edges, shadows under every piece."""
    picture = Image.new("RGB", (400, 400), any_colour(rng, 1))
    skin, coat = any_colour(rng, 1), any_colour(rng)
    middle = int(rng.integers(160, 240))
    pieces: list[tuple[Sequence[tuple[float, float]], tuple[int, int, int]]] = [
        (box_points(middle - 45, 230, 34, 150), any_colour(rng)),
        (box_points(middle + 10, 230, 34, 150), any_colour(rng)),
        (box_points(middle - 60, 110, 120, 140), coat),
        (box_points(middle - 110, 120, 60, 28), coat),
        (box_points(middle + 50, 120, 60, 28), coat),
        (disc_points(middle, 75, 38), skin),
        (box_points(middle - 42, 24, 84, 30), any_colour(rng)),
    ]
    for points, colour in pieces:
        rough = [(x + rng.normal(0, 3), y + rng.normal(0, 3)) for x, y in points]
        shadow = Image.new("L", picture.size, 0)
        ImageDraw.Draw(shadow).polygon([(x + 6, y + 8) for x, y in rough], fill=110)
        picture.paste((20, 20, 20), mask=shadow.filter(ImageFilter.GaussianBlur(5)))
        ImageDraw.Draw(picture).polygon(rough, fill=colour)
    draw = ImageDraw.Draw(picture)
    for side in (-1, 1):
        draw.ellipse((middle + 14 * side - 4, 70, middle + 14 * side + 4, 78), fill="black")
    return picture


def chibi(rng: Rng) -> Image.Image:
    """A fourth one: heads as in Japanese comics, large shining eyes, a pointed chin, hair in strands, outlines."""
    picture = Image.new("RGB", (384, 384), any_colour(rng, 1))
    draw, hair, line = ImageDraw.Draw(picture), any_colour(rng), (70, 40, 50)
    skin = (255, int(rng.integers(205, 232)), int(rng.integers(180, 215)))
    draw.ellipse((72, 40, 312, 300), fill=hair, outline=line, width=4)
    draw.polygon([(92, 150), (292, 150), (280, 250), (192, 320), (104, 250)], fill=skin, outline=line, width=4)
    draw.polygon([(150, 318), (234, 318), (300, 384), (84, 384)], fill=any_colour(rng), outline=line, width=4)
    for start in range(80, 300, 30):
        tip = start + int(rng.integers(-10, 30))
        draw.polygon([(start, 110), (start + 34, 110), (tip, int(rng.integers(160, 215)))], fill=hair, outline=line)
    iris = any_colour(rng)
    for x in (140, 244):
        draw.ellipse((x - 26, 190, x + 26, 256), fill="white", outline=line, width=5)
        draw.ellipse((x - 19, 200, x + 19, 254), fill=iris)
        draw.ellipse((x - 9, 214, x + 9, 244), fill=(20, 10, 20))
        draw.ellipse((x - 14, 204, x, 220), fill="white")
    draw.arc((176, 268, 208, 288), 10, 170, fill=line, width=4)
    return picture


def box_points(left: float, top: float, width: float, height: float) -> list[tuple[float, float]]:
    return [(left, top), (left + width, top), (left + width, top + height), (left, top + height)]


def disc_points(x: float, y: float, radius: float) -> list[tuple[float, float]]:
    angles = np.linspace(0, math.tau, 14, endpoint=False)
    return [(x + radius * math.cos(angle), y + radius * math.sin(angle)) for angle in angles]


DRAWN: Mapping[str, Draw] = {
    each.__name__: each
    for each in (
        *(noise, clouds, gradient, tiny, geometry, pattern, text_page, plot, line_drawing, fractal, shaded_balls),
        *(landscape, pixel_art, animal, paper_cut, chibi),
    )
}
"""Name to what draws one picture."""
