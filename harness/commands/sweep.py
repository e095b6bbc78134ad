"""`harness sweep`: several checkpoints, each at several strengths."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from harness.commands.options import argument, command, drawing_options, option, store_option
from harness.commands.project import open_suite
from harness.core.claim import SUFFIXES
from harness.core.errors import UsageError
from harness.core.values import to_record
from harness.studies import sweep as study
from harness.studies.compare import ComparisonSetup

LORA, SHOWN = ".safetensors", 5
SPLIT = re.compile(r"(\d+)")
STRENGTHS = ",".join(map(str, study.STRENGTHS))


def files_of(path: Path) -> list[Path]:
    """A LoRA file, or those in a folder, in the order of the numbers in their names.

    Raises:
        UsageError: there is none.
    """
    if not path.is_dir():
        if not path.is_file():
            raise UsageError(f"sweep: there is no file {path}")
        return [path]
    found = sorted(
        path.glob(f"*{LORA}"), key=lambda file: [int(x) if x.isdigit() else x for x in SPLIT.split(file.stem)]
    )
    if not found:
        raise UsageError(f"sweep: no {LORA} file in {path}")
    return found


def one_suite(named: Sequence[Path]) -> Path:
    """The suite that was named, or the only one in suites/.

    Raises:
        UsageError: it is not clear which.
    """
    here = sorted(path for suffix in SUFFIXES for path in Path("suites").glob(f"*{suffix}"))
    found = named or here
    if len(found) == 1:
        return found[0]
    listed = f"; here are {', '.join(path.as_posix() for path in here[:SHOWN])}" if here else ""
    raise UsageError(f"sweep: it takes one suite, not {len(found)}: harness sweep SUITE LORA...{listed}")


@command
@argument(
    "paths",
    nargs=-1,
    required=True,
    type=Path,
    metavar="[SUITE] LORA...",
    help="a suite (default: the only one here), and LoRA files, of one training say, or folders of them",
)
@option("--strengths", default=STRENGTHS, metavar="A,B", help=f"default: {STRENGTHS}")
@drawing_options
@store_option
@option("--json", "file", type=Path, metavar="FILE", help="also write every picture's row")
def sweep(
    paths: tuple[Path, ...],
    strengths: str,
    provider: str | None,
    file: Path | None,
    **options: int | str | None,
) -> int:
    """Print the grid; 10 when a picture is missing."""
    suites = [path for path in paths if path.suffix in SUFFIXES]
    checkpoints = [file for path in paths if path not in suites for file in files_of(path)]
    if not checkpoints:
        raise UsageError(f"sweep: no LoRA is named; harness sweep {suites[0]} FOLDER, or the files themselves")
    read, profile, settings = open_suite(one_suite(suites), **options)
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
