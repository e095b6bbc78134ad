"""`harness merge` judges what several shards drew."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.commands.options import argument, command, option
from harness.commands.output import json_for
from harness.core.errors import StoreError
from harness.core.settings import Settings
from harness.engine.merge import merge_results
from harness.judging.record import load_results
from harness.report import write_report
from harness.report.ci.outputs import exit_code, final_record, publish, write_contact_sheet
from harness.report.terminal import summary_text

SHA_LENGTH = 64  # hexadecimal digits of a picture's name


@command
@argument(
    "results", nargs=-1, required=True, type=Path, metavar="RESULTS.JSON...", help="of every shard, or their folders"
)
@option("--report-dir", type=Path, default=Path("reports"), help="of the whole run (default: reports)")
def merge(results: Sequence[Path], report_dir: Path) -> int:
    """Unite shards, judge their suites again, write the whole report; exits as one run over everything would have."""
    files = [path / "results.json" if path.is_dir() else path for path in results]
    merged = merge_results([load_results(path) for path in files])
    pictures = Folders([path.parent / "images" for path in files])
    page = write_report(merged, pictures, report_dir)
    write_contact_sheet(merged, pictures.image, report_dir)
    print(summary_text(merged, width(), page, markup=sys.stdout.isatty() and not os.environ.get("NO_COLOR")))
    for line in publish(merged, [], Settings.load(Path.cwd())):
        print(line)
    status = exit_code(merged)
    print(json_for(sys.stdout, final_record(merged, status, report_dir)), flush=True)
    return status


class Folders:
    """The pictures beside several reports, as a report wants them."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = folders

    def image(self, sha: str) -> bytes:
        """The bytes of a picture.

        Raises:
            StoreError: no folder has it.
        """
        for folder in self.folders:
            path = folder / f"{sha}.png"
            if len(sha) == SHA_LENGTH and sha.isalnum() and path.is_file():
                return path.read_bytes()
        raise StoreError(f"no shard's report has the picture {sha[:12]}")

    def derived(self, kind: str, suffix: str, sha: str, make: Callable[[bytes], bytes]) -> bytes:
        """What `make` makes of a picture; nothing is kept."""
        return make(self.image(sha))


def width() -> int:
    """Columns of the terminal, or of a log."""
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns
    except (OSError, ValueError):
        return 100
