"""The contact sheet: one picture of the whole run, for places that show pictures and no pages."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont
from PIL.Image import Image as Picture

from harness.core.contact_sheet import GAP, INK, LINE, MUTED, PAPER, Cell, SheetRow, draw_contact_sheet, squared, write
from harness.core.text import clean, headline
from harness.judging.record import CaseRecord, GateRecord, RunRecord

Read = Callable[[str], bytes]
"""SHA-256 to an encoded picture; raises where there is none."""

NAME = "contact-sheet.png"
THUMBS = (128, 96, 64, 48)  # pixels a side, tried in this order until the file is small enough
ROWS, COLUMNS = 40, 8  # at most; what went wrong comes first
LARGEST = 2_000_000  # bytes of the file
ORDER = ("error", "fail", "not_judged", "inconclusive", "pass")
GREEN, RED, AMBER = "#1a7f37", "#b42318", "#9a6700"
COLOURS = {"pass": GREEN, "fail": RED, "error": RED, "not_judged": AMBER, "inconclusive": AMBER, "skipped": MUTED}


@dataclass(frozen=True)
class SheetCase:
    """One case: who drew it, and what was said of it."""

    suite: str
    case: str
    cells: Mapping[str, CaseRecord]  # provider to its case record


def contact_sheet(results: RunRecord, read: Read) -> bytes | None:
    """A PNG of at most `LARGEST` bytes: the verdict; a row a case; a reference, and a column a provider, as ranked.

    A cell is the provider's first picture with its verdict. None when no case was drawn.
    """
    rows = rows_of(results)
    if not rows:
        return None
    providers = providers_of(results)
    genuine = {suite.name: suite.references.get("held_out", ()) for suite in results.suites}
    data = b""
    for thumb in THUMBS:
        for count in (
            {min(len(rows), ROWS), min(len(rows), ROWS // 2)} if thumb == THUMBS[-1] else {min(len(rows), ROWS)}
        ):
            buffer = io.BytesIO()
            left = f"and {len(rows) - count} more cases, in the report" if len(rows) > count else ""
            lines = [
                line_of(row, providers, genuine.get(row.suite, ()), number, read, thumb)
                for number, row in enumerate(rows[:count])
            ]
            sheet = draw_contact_sheet(["reference", *providers], lines, thumb, left)
            titled(sheet, results.gate).save(buffer, "PNG", optimize=True)
            data = buffer.getvalue()
            if len(data) <= LARGEST:
                return data
    return data


def rows_of(results: RunRecord) -> list[SheetCase]:
    """Every case, the worst verdict of a gate provider first, otherwise in the run's order."""
    result: dict[tuple[str, str], dict[str, CaseRecord]] = {}
    for case in results.cases:
        result.setdefault((case.suite, case.case), {})[case.provider] = case
    rows = [SheetCase(suite, case, cells) for (suite, case), cells in result.items()]
    return sorted(rows, key=lambda row: min((rank(cell) for cell in row.cells.values()), default=len(ORDER)))


def rank(case: CaseRecord) -> int:
    return ORDER.index(case.verdict) if case.gate and case.verdict in ORDER else len(ORDER)


def providers_of(results: RunRecord) -> list[str]:
    """Columns, in the leaderboard's order; where there are too many, the gate providers stay."""
    gates = {case.provider for case in results.cases if case.gate}
    ranked = [row.provider for row in results.leaderboard]
    names = list(dict.fromkeys([*ranked, *(case.provider for case in results.cases)]))
    kept = sorted(names, key=lambda name: name not in gates)[:COLUMNS]
    return [name for name in names if name in kept]


def line_of(
    row: SheetCase, providers: Sequence[str], genuine: Sequence[str], number: int, read: Read, thumb: int
) -> SheetRow:
    """A case as a row of the sheet, beside one of the held-out references in turn."""
    reference = Cell(picture_of(genuine[number % len(genuine)], read, thumb)) if genuine else None
    cells: list[Cell | None] = [reference]
    for provider in providers:
        case = row.cells.get(provider)
        sha = next((sample.image for sample in case.samples if sample.image), "") if case else ""
        cells.append(Cell(picture_of(sha, read, thumb), *verdict_of(case)) if case else None)
    return SheetRow(row.case, row.suite, cells)


def titled(sheet: Picture, gate: GateRecord) -> Picture:
    """The sheet under a line with the verdict and its first reason."""
    whole = Image.new("RGB", (sheet.width, sheet.height + LINE + GAP), PAPER)
    whole.paste(sheet, (0, LINE + GAP))
    word, reasons = gate.verdict.value, [clean(reason) for reason in gate.reasons]
    text = "  ".join([headline(word), *reasons[:1]])
    pen, font = ImageDraw.Draw(whole), ImageFont.load_default(size=14)
    write(pen, font, (GAP, GAP // 2), text, COLOURS.get(word, INK), sheet.width - 2 * GAP)
    return whole


def picture_of(sha: str, read: Read, thumb: int) -> Picture | None:
    """A picture as a square, small, because a sheet holds hundreds; None where it cannot be had."""
    try:
        with Image.open(io.BytesIO(read(sha))) as opened:
            return squared(opened, thumb)
    except Exception:  # a sheet with a hole is better than none, whatever kept the picture back
        return None


def verdict_of(case: CaseRecord) -> tuple[str, str]:
    """The verdict's word with the quality, and its colour; of a competitor only the quality."""
    word, quality = case.verdict or "not judged", case.scores.get("quality")
    score = f"{quality.mean:.2f}" if quality else ""
    if not case.gate:
        return score or case.outcome or word, COLOURS["skipped"]
    short = {"inconclusive": "open", "not_judged": "not judged"}.get(word, word)
    return f"{short} {score}".strip(), COLOURS.get(word, INK)
