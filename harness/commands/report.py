"""`harness report`: a report made again."""

from __future__ import annotations

import sys
from pathlib import Path

from harness.commands.options import argument, command, option
from harness.core.settings import Settings
from harness.report import rerender
from harness.store import Store


@command
@argument("files", nargs=-1, type=Path, metavar="[RESULTS.JSON...]", help="the same as --from; or their folders")
@option(
    "--from",
    "results",
    type=Path,
    multiple=True,
    metavar="RESULTS.JSON",
    help="an earlier run (default: reports/results.json); again for more: shards become one, others stand together",
)
@option("--store", help="where the pictures are (default: .harness)")
@option("--report-dir", type=Path, help="where to write (default: reports, unless another run is there)")
def report(files: tuple[Path, ...], results: tuple[Path, ...], store: str | None, report_dir: Path | None) -> int:
    settings = Settings.load(Path.cwd(), {"store": store})
    named = [path / "results.json" if path.is_dir() else path for path in (*files, *results)]
    records = named or [Path("reports/results.json")]
    kept = Store(settings.store) if settings.store.is_dir() else None
    folder, keep = report_dir or Path("reports"), report_dir is None
    page = rerender(records, kept, folder, tell=lambda words: print(f"note: {words}", file=sys.stderr), keep=keep)
    print(f"wrote {page}")
    return 0
