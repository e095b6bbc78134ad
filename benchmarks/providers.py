"""Every adapter against every fault of the emulated services; `python -m benchmarks.providers --write` keeps the table.

The cells are those of tests/contract_rows.py, tried over real sockets, a few at a time. A cell passes when the outcome
is the one that an honest client must report, the message says what to do and holds no key, and the service's own
account has no request that was accepted twice.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.contract import Cell, Ending, all_cells, table, try_cell
from tests.contract_rows import GROUPS, ROWS

PAGE = Path(__file__).resolve().parent.parent / "docs" / "providers" / "faults.md"
AT_ONCE = 4  # most of the time is waiting
HEAD = """# Faults

What every provider makes of every way in which a service can fail. The cells are tried over real sockets against the
emulator; this page is written by `python -m benchmarks.providers --write`, and a test compares the two.

Only `ok` is scored. Everything else is shown with its count, and is never kept: the next run asks again. An empty cell
means that there is no such fault. A writer has no pictures: what is `bad_image` elsewhere is `provider_error` there.
"""


def try_all() -> list[Cell]:
    """Every cell, in the order of the table."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda one: try_cell(*one), all_cells(ROWS)))


def expected_cells() -> list[Cell]:
    """The same, as they must be, without trying."""
    return [Cell(row.name, fault, row.expect(fault), Ending(row.expect(fault))) for row, fault in all_cells(ROWS)]


def page(cells: Sequence[Cell]) -> str:
    passed = sum(not cell.complaints for cell in cells)
    return f"{HEAD}\n{passed} of {len(cells)} cells are as they must be.\n\n{tables(cells)}\n"


def tables(cells: Sequence[Cell]) -> str:
    """A table for each kind of provider."""
    parts = {
        title: table([cell for cell in cells if cell.row in {row.name for row in rows}])
        for title, rows in GROUPS.items()
    }
    return "\n\n".join(f"## {title}\n\n{part}" for title, part in parts.items())


def measure() -> dict[str, float]:
    """Try everything and print the table."""
    return report(try_all())


def report(cells: Sequence[Cell]) -> dict[str, float]:
    """The tables on the terminal, and their figures; rows that share an adapter count as one adapter."""
    print(tables(cells))
    for cell in cells:
        for complaint in cell.complaints:
            print(f"{cell.row}, {cell.fault.name}: {complaint} ({cell.ending.message})")
    passed = sum(not cell.complaints for cell in cells)
    return {"cells": len(cells), "passed": passed, "adapters": len({row.adapter for row in ROWS})}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.providers", description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name}")
    options = parser.parse_args()
    cells = try_all()
    figures = report(cells)
    if options.write:
        PAGE.parent.mkdir(parents=True, exist_ok=True)
        PAGE.write_text(page(cells), encoding="utf-8", newline="\n")
    return 0 if figures["passed"] == figures["cells"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
