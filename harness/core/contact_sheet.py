"""A sheet of pictures: a name at each row and column, a word under each picture. It draws and knows nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont, ImageOps

INK, PAPER, EMPTY, MUTED = "#1b1b1b", "#ffffff", "#e4e4e4", "#57606a"
NAMES, GAP, LINE = 190, 8, 16  # pixels: of the column with the rows' names, between pictures, of a line of text


@dataclass(frozen=True)
class Cell:
    """One picture, or a grey square where there is none, and what stands under it."""

    picture: Image.Image | None
    word: str = ""
    colour: str = MUTED


@dataclass(frozen=True)
class SheetRow:
    """One row; a cell may be missing."""

    title: str
    about: str
    cells: Sequence[Cell | None]


def draw_contact_sheet(columns: Sequence[str], lines: Sequence[SheetRow], thumb: int, last: str = "") -> Image.Image:
    """The sheet in pixels.

    Args:
        columns: their names, one a cell of every line.
        thumb: pixels a side of each picture.
        last: what is written under all of it.
    """
    font = ImageFont.load_default(size=12)
    width = NAMES + len(columns) * (thumb + GAP) + GAP
    height = LINE + GAP + len(lines) * (thumb + LINE + GAP) + (LINE if last else 0) + GAP
    sheet = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(sheet)
    for column, name in enumerate(columns):
        write(pen, font, (NAMES + column * (thumb + GAP), GAP), name, INK, thumb)
    for number, line in enumerate(lines):
        top = LINE + 2 * GAP + number * (thumb + LINE + GAP)
        write(pen, font, (GAP, top), line.title, INK, NAMES - 2 * GAP)
        write(pen, font, (GAP, top + LINE), line.about, MUTED, NAMES - 2 * GAP)
        for column, cell in enumerate(line.cells):
            if cell is not None:
                corner = (NAMES + column * (thumb + GAP), top)
                sheet.paste(squared(cell.picture, thumb), corner)
                write(pen, font, (corner[0], corner[1] + thumb), cell.word, cell.colour, thumb)
    if last:
        write(pen, font, (GAP, height - LINE - GAP // 2), last, INK, width)
    return sheet


def squared(picture: Image.Image | None, thumb: int) -> Image.Image:
    """The whole picture in a square, or a grey one."""
    if picture is None:
        return Image.new("RGB", (thumb, thumb), EMPTY)
    return ImageOps.pad(picture.convert("RGB"), (thumb, thumb), color=PAPER)


def write(
    pen: ImageDraw.ImageDraw,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    corner: tuple[int, int],
    text: str,
    colour: str,
    width: int,
) -> None:
    """One line, cut to a width in pixels."""
    while text and pen.textlength(text, font=font) > width:
        text = text[:-2].rstrip(".") + "." if len(text) > 2 else ""
    pen.text(corner, text, fill=colour, font=font)
