"""Text for terminals: cleaned here; measured, wrapped, coloured and set in tables by rich.

rich is imported where it is used, because pytest loads this module at every start.
"""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from harness.core.values import Interval

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

LONGEST = 400  # characters of a foreign text, a service's message say
STYLES: Mapping[str, str] = {  # of a verdict
    "pass": "bold green",
    "fail": "bold red",
    "error": "bold red",
    "inconclusive": "bold yellow",
    "not_judged": "bold yellow",
}


def headline(verdict: str) -> str:
    """A verdict as it stands above everything else: `NOT JUDGED`."""
    return verdict.replace("_", " ").upper()


def clean(text: str, longest: int = LONGEST) -> str:
    """One line without control characters, so that no provider's message can drive the terminal."""
    spaced = " ".join(text[: 4 * longest].split())
    safe = "".join("?" if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co") else char for char in spaced)
    return safe if len(safe) <= longest else safe[: longest - 3] + "..."


def cells(text: str) -> int:
    """How many columns of a terminal a text takes."""
    from rich.cells import cell_len

    return cell_len(text)


def clip_cells(text: str, width: int) -> str:
    """Cut to a number of columns, with an ellipsis where something is missing."""
    from rich.cells import set_cell_size

    return text if cells(text) <= width else set_cell_size(text, max(0, width - 3)).rstrip() + "..."


def paint(text: str, style: str, markup: bool) -> str:
    """A text in one of rich's styles where the terminal has any."""
    return "\n".join(render(styled(text, style), cells(text) + 1, markup)) if markup else text


def styled(text: str, style: str = "") -> Text:
    """A text that stays one: rich finds no markup, emoji or link in it."""
    from rich.text import Text

    return Text(text, style)


def render(what: RenderableType, width: int, markup: bool = False) -> list[str]:
    """What rich draws within `width` columns, a line each; without `markup` there is no escape sequence in it."""
    from rich.console import Console

    stream = io.StringIO()
    console = Console(
        file=stream,
        width=width,
        color_system="standard" if markup else None,
        force_terminal=markup,
        legacy_windows=False,
        _environ={},  # whoever calls has asked the terminal
    )
    console.print(what, highlight=False)
    return [line.rstrip() for line in stream.getvalue().split("\n")[:-1]]


def wrap(text: str | Text, width: int, first: str = "  ", others: str | None = None, markup: bool = False) -> list[str]:
    """A text in lines of `width` columns; `first` stands before the first one, `others` before those that follow."""
    others = first if others is None else others
    lines = render(styled(text) if isinstance(text, str) else text, max(1, width - len(others)), markup)
    return [f"{others if number else first}{line}".rstrip() for number, line in enumerate(lines)]


def table(
    rows: Sequence[Sequence[str | Text]], indent: str = "  ", width: int | None = None, markup: bool = False
) -> list[str]:
    """Rows of equal length as aligned lines, two spaces between columns; what goes beyond `width` is cut off."""
    from rich.table import Table

    if not rows:
        return []
    natural = table_width(rows)
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.width = natural
    for _ in rows[0]:
        grid.add_column(no_wrap=True)
    for row in rows:
        grid.add_row(*(styled(cell) if isinstance(cell, str) else cell for cell in row))
    room = natural if width is None else max(1, width - len(indent))
    return [(indent + line).rstrip() for line in render(grid, room, markup)]


def table_width(rows: Sequence[Sequence[str | Text]]) -> int:
    """The columns of the terminal that a table takes, without its indent."""
    widths = [max(cells(str(row[column])) for row in rows) for column in range(len(rows[0]))]
    return sum(widths) + 2 * (len(widths) - 1)


def bounds_text(score: Interval | None, signed: bool = False, places: int = 2, percent: bool = False) -> str:
    """An interval as `0.52 [0.45, 0.59]`; "-" of nothing.

    Scores lie in [0, 1] and their differences (`signed`) in [-1, 1]: what an interval holds beyond is not shown, unless
    the mean itself lies there, because differences are taken of scores that are not cut off at 1.

    Args:
        places: behind the point.
        percent: as `52% [45%, 59%]` instead.
    """
    if score is None:
        return "-"
    form = f"{'+' if signed else ''}.{'0%' if percent else f'{places}f'}"
    score = score.within(-1.0 if signed else 0.0)
    if score.low is None or score.high is None:
        return f"{score.mean:{form}}"
    return f"{score.mean:{form}} [{score.low:{form}}, {score.high:{form}}]"


def measured_text(interval: Interval | None, signed: bool = False) -> str:
    """`0.52 [0.45, 0.59]` within a sentence; a difference with its sign."""
    return bounds_text(interval, signed) if interval else "not measured"
