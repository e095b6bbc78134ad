"""The contact sheet: one picture of the whole run, for places that show pictures and no pages."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.sheet import INK, MUTED, Cell, Line, draw_sheet, squared

if TYPE_CHECKING:
    from PIL.Image import Image

Record = Mapping[str, Any]
Read = Callable[[str], bytes]
"""SHA-256 to an encoded picture; raises where there is none."""

NAME = "contact-sheet.png"
THUMBS = (128, 96, 64, 48)  # pixels a side, tried in this order until the file is small enough
ROWS, COLUMNS = 40, 8  # at most; what went wrong comes first
LARGEST = 2_000_000  # bytes of the file
ORDER = ("error", "fail", "inconclusive", "pass")
COLOURS = {"pass": "#1a7f37", "fail": "#b42318", "error": "#b42318", "inconclusive": "#9a6700", "skipped": MUTED}


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
            left = f"and {len(rows) - count} more cases, in the report" if len(rows) > count else ""
            sheet = draw_sheet(providers, [line_of(row, providers, read, thumb) for row in rows[:count]], thumb, left)
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


def line_of(row: Row, providers: Sequence[str], read: Read, thumb: int) -> Line:
    """A case as a row of the sheet."""
    found = [row.cells.get(provider) for provider in providers]
    cells = [Cell(picture_of(case, read, thumb), *verdict_of(case)) if case else None for case in found]
    return Line(row.case, row.suite, cells)


def picture_of(case: Record, read: Read, thumb: int) -> Image | None:
    """The case's first picture as a square, small, because a sheet holds hundreds; None where it cannot be had."""
    from PIL import Image

    shas = [sample["image"] for sample in case["samples"] if sample.get("image")]
    try:
        with Image.open(io.BytesIO(read(shas[0]))) as opened:
            return squared(opened, thumb)
    except Exception:  # a sheet with a hole is better than none, whatever kept the picture back
        return None


def verdict_of(case: Record) -> tuple[str, str]:
    """The verdict's word with the quality, and its colour; of a competitor only the quality."""
    word = str(case.get("verdict") or "not judged")
    quality = (case.get("scores") or {}).get("quality") or {}
    score = f"{quality['mean']:.2f}" if isinstance(quality.get("mean"), float) else ""
    if not case.get("gate"):
        return score or str(case.get("outcome") or word), COLOURS["skipped"]
    short = "open" if word == "inconclusive" else word
    return f"{short} {score}".strip(), COLOURS.get(word, INK)
