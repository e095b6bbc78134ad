"""`harness compare`: one LoRA against another, or against itself."""

from __future__ import annotations

from pathlib import Path

from harness.commands.options import (
    argument,
    command,
    flag,
    option,
    profile_option,
    provider_option,
    samples_option,
    store_option,
)
from harness.commands.project import open_suite
from harness.core.errors import UsageError
from harness.core.settings import parse_mix
from harness.report import write_report
from harness.store import Store
from harness.studies.compare import ComparisonSetup, check_itself, compare_loras


@command
@argument(
    "files",
    nargs=-1,
    required=True,
    metavar="NEW OLD SUITE",
    help="two LoRAs (FILE[@STRENGTH][+...]) and a suite",
)
@flag("--aa", help="LORA SUITE: one LoRA against itself, with other seeds")
@samples_option
@flag("--locked", help="also the cases that are kept for promotions")
@provider_option
@flag("--prove", help="an open verdict is exit code 11, not 0")
@profile_option
@store_option
@option("--report-dir", default="reports/compare", metavar="DIR", help="default: reports/compare")
def compare(
    files: tuple[str, ...], aa: bool, provider: str | None, prove: bool, **options: int | str | bool | None
) -> int:
    """The exit status: 0 better or unchanged, 1 worse, 10 a picture is missing, 11 open, with --prove."""
    *loras, file = files
    if len(loras) != (1 if aa else 2):
        raise UsageError("compare: `harness compare NEW OLD SUITE`, or `harness compare --aa LORA SUITE`")
    suite, profile, settings = open_suite(Path(file), **options)
    parsed = [parse_mix(text, settings.root, "") for text in loras]
    bench = ComparisonSetup(suite, profile, settings, provider or suite.gate[0])
    result = check_itself(bench, *parsed) if aa else compare_loras(bench, *parsed)
    with Store(settings.store) as store:
        page = write_report(result.results, store, settings.report_dir)
    print(f"{result.text}\n\nreport: {page}")
    return result.status(prove)
