"""`harness lora resize`: a LoRA of a smaller rank, and what that cost."""

from __future__ import annotations

from pathlib import Path

from harness.commands.lora.common import beside, print_written, show_costs, suite_options
from harness.commands.options import argument, command, option
from harness.commands.project import open_suite
from harness.core.settings import parse_lora
from harness.models.lora.convert import Style, export_file
from harness.models.lora.file import read_lora
from harness.studies.compare import ComparisonSetup, compare_loras


@command
@argument("file", type=Path)
@option("--rank", type=int, metavar="R", help="the largest of any module")
@option("--energy", type=float, metavar="SHARE", help="of the squared singular values that stays, 0.95 say")
@option("--out", type=Path, help="default: FILE with `resized` behind its name")
@option("--samples", type=int, metavar="N", help="with --suite: seeds per prompt")
@option("--store", metavar="DIR", help="with --suite: default .harness")
@suite_options(required=False, more="; its pictures then say what the resize cost")
def resize(
    file: Path, rank: int | None, energy: float | None, out: Path | None, suite: Path | None, **options: object
) -> int:
    """The exit status: 0, with a suite `harness compare`'s."""
    from harness.models.lora.resize import resize as shrink

    source = read_lora(file)
    resized = shrink(source, rank, energy)
    out = out or beside(file, "resized")
    export_file(resized.lora, out, Style(source.style))
    print("\n".join(show_costs(resized)))
    print_written(out)
    if suite is None:
        return 0
    read, profile, settings = open_suite(suite, **options)
    new, old = (parse_lora(str(path.resolve()), settings.root, "") for path in (out, file))
    result = compare_loras(ComparisonSetup(read, profile, settings, read.gate[0]), new, old)
    print(f"\n{result.text}")
    return result.status()
