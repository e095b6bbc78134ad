"""The contact sheet: one picture of the whole run, for places that show pictures and no pages."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

Record = Mapping[str, Any]
Read = Callable[[str], bytes]
"""SHA-256 to an encoded picture; raises where there is none."""

NAME = "contact-sheet.png"
THUMBS = (128, 96, 64, 48)  # pixels a side, tried in this order until the file is small enough
ROWS, COLUMNS = 40, 8  # at most; what went wrong comes first
LARGEST = 2_000_000  # bytes of the file
ORDER = ("error", "fail", "inconclusive", "pass")
INK, PAPER, EMPTY = "#1b1b1b", "#ffffff", "#e4e4e4"
COLOURS = {"pass": "#1a7f37", "fail": "#b42318", "error": "#b42318", "inconclusive": "#9a6700", "skipped": "#57606a"}
NAMES, GAP, LINE = 190, 8, 16  # pixels: of the column with the cases' names, between pictures, of a line of text


@dataclass(frozen=True)
class Row:
    """One case: who drew it, and what was said of it."""

    suite: str
    case: str
    cells: Mapping[str, Record]  # provider to its case record


def contact_sheet(results: Record, read: Read) -> bytes | None:
    """A PNG of at most `LARGEST` bytes: a row a case, a column a provider, its first picture and its verdict.

    None when no case was drawn.
    """
    rows = rows_of(results)
    if not rows:
        return None
    providers = providers_of(results, rows)
    data = b""
    for thumb in THUMBS:
        for count in (
            {min(len(rows), ROWS), min(len(rows), ROWS // 2)} if thumb == THUMBS[-1] else {min(len(rows), ROWS)}
        ):
            buffer = io.BytesIO()
            sheet = draw_sheet(rows[:count], len(rows) - count, providers, read, thumb)
            sheet.save(buffer, "PNG", optimize=True)
            data = buffer.getvalue()
            if len(data) <= LARGEST:
                return data
    return data


def rows_of(results: Record) -> list[Row]:
    """Every case, the worst verdict of a gate provider first, otherwise in the run's order."""
    found: dict[tuple[str, str], dict[str, Record]] = {}
    for case in results["cases"]:
        found.setdefault((case["suite"], case["case"]), {})[case["provider"]] = case
    rows = [Row(suite, case, cells) for (suite, case), cells in found.items()]
    return sorted(rows, key=lambda row: min((rank(cell) for cell in row.cells.values()), default=len(ORDER)))


def rank(case: Record) -> int:
    return ORDER.index(case["verdict"]) if case.get("gate") and case.get("verdict") in ORDER else len(ORDER)


def providers_of(results: Record, rows: Sequence[Row]) -> list[str]:
    """Columns: the gate providers first."""
    gates = {case["provider"] for case in results["cases"] if case.get("gate")}
    names = dict.fromkeys(case["provider"] for case in results["cases"])
    return sorted(names, key=lambda name: name not in gates)[:COLUMNS]


def draw_sheet(rows: Sequence[Row], left: int, providers: Sequence[str], read: Read, thumb: int) -> Image:
    """The sheet in pixels; `left` cases are only counted."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(size=12)
    width = NAMES + len(providers) * (thumb + GAP) + GAP
    height = LINE + GAP + len(rows) * (thumb + LINE + GAP) + (LINE if left else 0) + GAP
    sheet = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(sheet)
    for column, provider in enumerate(providers):
        write(pen, font, (NAMES + column * (thumb + GAP), GAP), provider, INK, thumb)
    for number, row in enumerate(rows):
        top = LINE + 2 * GAP + number * (thumb + LINE + GAP)
        write(pen, font, (GAP, top), row.case, INK, NAMES - 2 * GAP)
        write(pen, font, (GAP, top + LINE), row.suite, COLOURS["skipped"], NAMES - 2 * GAP)
        for column, provider in enumerate(providers):
            if cell := row.cells.get(provider):
                corner = (NAMES + column * (thumb + GAP), top)
                sheet.paste(picture_of(cell, read, thumb), corner)
                word, colour = verdict_of(cell)
                write(pen, font, (corner[0], corner[1] + thumb), word, colour, thumb)
    if left:
        write(pen, font, (GAP, height - LINE - GAP // 2), f"and {left} more cases, in the report", INK, width)
    return sheet


def picture_of(case: Record, read: Read, thumb: int) -> Image:
    """The case's first picture as a square, or a grey one."""
    from PIL import Image, ImageOps

    shas = [sample["image"] for sample in case["samples"] if sample.get("image")]
    try:
        with Image.open(io.BytesIO(read(shas[0]))) as opened:
            return ImageOps.pad(opened.convert("RGB"), (thumb, thumb), color=PAPER)
    except Exception:  # a sheet with a hole is better than none, whatever kept the picture back
        return Image.new("RGB", (thumb, thumb), EMPTY)


def verdict_of(case: Record) -> tuple[str, str]:
    """The verdict's word with the quality, and its colour; of a competitor only the quality."""
    word = str(case.get("verdict") or "not judged")
    quality = (case.get("scores") or {}).get("quality") or {}
    score = f"{quality['mean']:.2f}" if isinstance(quality.get("mean"), float) else ""
    if not case.get("gate"):
        return score or str(case.get("outcome") or word), COLOURS["skipped"]
    short = "open" if word == "inconclusive" else word
    return f"{short} {score}".strip(), COLOURS.get(word, INK)


def write(
    pen: ImageDraw, font: FreeTypeFont | ImageFont, corner: tuple[int, int], text: str, colour: str, width: int
) -> None:
    """One line, cut to a width in pixels."""
    while text and pen.textlength(text, font=font) > width:
        text = text[:-2].rstrip(".") + "." if len(text) > 2 else ""
    pen.text(corner, text, fill=colour, font=font)
