"""Plain text for terminals: cleaned, measured in columns, cut, set in tables."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

LONGEST = 400  # characters of a foreign text, a service's message say


def clean(text: str, longest: int = LONGEST) -> str:
    """One line without control characters, so that no provider's message can drive the terminal."""
    spaced = " ".join(text[: 4 * longest].split())
    safe = "".join("?" if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co") else char for char in spaced)
    return safe if len(safe) <= longest else safe[: longest - 3] + "..."


def cells(text: str) -> int:
    """How many columns of a terminal a text takes."""
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(bool(unicodedata.combining(char)) for char in text)


def pad(text: str, width: int) -> str:
    return text + " " * max(0, width - cells(text))


def clip_cells(text: str, width: int) -> str:
    """Cut to a number of columns, with an ellipsis where something is missing."""
    if cells(text) <= width:
        return text
    kept = ""
    for char in text:
        if cells(kept + char) > width - 3:
            break
        kept += char
    return kept + "..."


def table(rows: Sequence[Sequence[str]], indent: str = "  ") -> list[str]:
    """Rows of equal length as aligned lines, two spaces between columns."""
    widths = [max(cells(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    lines = ("  ".join(pad(cell, width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return [(indent + line).rstrip() for line in lines]


def bounds_text(record: Mapping[str, Any] | None, signed: bool = False, places: int = 2) -> str:
    """An interval's record as `0.52 [0.45, 0.59]`.

    Scores lie in [0, 1] and their differences (`signed`) in [-1, 1]: what an interval holds beyond is not shown.
    """
    if record is None or record.get("mean") is None:
        return "-"
    form = f"{'+' if signed else ''}.{places}f"
    if record.get("low") is None or record.get("high") is None:
        return f"{record['mean']:{form}}"
    least = -1.0 if signed else 0.0
    low, high = (min(1.0, max(least, record[end])) for end in ("low", "high"))
    return f"{record['mean']:{form}} [{low:{form}}, {high:{form}}]"
