"""`harness sweep`: several checkpoints, each at several strengths."""

from __future__ import annotations

import json
from pathlib import Path

from harness.commands.options import argument, command, drawing_options, option, store_option, suite_argument
from harness.commands.project import open_suite
from harness.core.errors import UsageError
from harness.core.values import to_record
from harness.studies import sweep as study
from harness.studies.compare import ComparisonSetup

STRENGTHS = ",".join(map(str, study.STRENGTHS))


@command
@suite_argument
@argument("checkpoints", nargs=-1, required=True, type=Path, metavar="LORA...", help="LoRA files, of one training say")
@option("--strengths", default=STRENGTHS, metavar="A,B", help=f"default: {STRENGTHS}")
@drawing_options
@store_option
@option("--json", "file", type=Path, metavar="FILE", help="also write every picture's row")
def sweep(
    suite: Path,
    checkpoints: tuple[Path, ...],
    strengths: str,
    provider: str | None,
    file: Path | None,
    **options: int | str | None,
) -> int:
    """Print the grid; 10 when a picture is missing."""
    read, profile, settings = open_suite(suite, **options)
    absent = [path for path in checkpoints if not path.is_file()]
    if absent:
        raise UsageError(f"sweep: there is no file {absent[0]}")
    bench = ComparisonSetup(read, profile, settings, provider or (read.gate or read.providers)[0])
    rows = study.sweep(bench, checkpoints, study.read_strengths(strengths))
    cells = study.cells_of(rows)
    print("\n".join(study.grid_lines(cells)))
    study.keep_sweep(settings.store, read.path, rows, cells)
    if file:
        record: dict[str, object] = {"suite": read.name, "cells": to_record(cells), "rows": to_record(rows)}
        file.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8", newline="\n")
        print(f"wrote {file}")
    return 10 if any(cell.missing for cell in cells) else 0
