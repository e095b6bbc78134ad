"""`harness experiment`: a matrix of training settings, trained and compared."""

from __future__ import annotations

import sys
from pathlib import Path

from harness.commands.options import command, drawing_options, option, suite_argument
from harness.commands.project import open_suite
from harness.core.errors import UsageError
from harness.core.files import write_file
from harness.models.loading import Models
from harness.studies import experiment as study
from harness.studies.compare import ComparisonSetup


@command
@suite_argument
@option(
    "--matrix",
    multiple=True,
    metavar="NAME=A,B",
    help="a training setting and its values (again for another one); references=DIR,DIR are data sets",
)
@option("--repeats", type=int, default=1, metavar="N", help="trainings of each combination, other seeds")
@option("--set", "base", multiple=True, metavar="NAME=VALUE", help="a setting of all combinations")
@drawing_options
@option("--store", metavar="DIR", help="where LoRAs, records and pictures are kept (default: .harness)")
@option("--json", "file", type=Path, metavar="FILE", help="also write the result")
def experiment(
    suite: Path,
    matrix: tuple[str, ...],
    repeats: int,
    base: tuple[str, ...],
    provider: str | None,
    file: Path | None,
    **options: int | str | None,
) -> int:
    """Print the table; 10 when a picture is missing."""
    if repeats < 1:
        raise UsageError(f"--repeats {repeats}: 1 or more")
    levels = study.read_matrix(matrix, repeats)
    fixed = {name: value for name, (value, *_) in study.read_base(base, levels).items()}
    read, profile, settings = open_suite(suite, **options)
    bench = ComparisonSetup(read, profile, settings, provider or (read.gate or read.providers)[0])

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    result = study.experiment(bench, levels, Models(profile, settings), base=fixed, progress=say)
    print("\n".join(study.lines_of(result)))
    if file:
        write_file(file, study.to_json(result.to_record()))
        print(f"wrote {file}")
    return 10 if result.problem else 0
