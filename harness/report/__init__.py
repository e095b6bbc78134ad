"""The record of a run, for everybody: index.html with images/, summary.md, feedback.json, results.json."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.core.errors import UsageError
from harness.core.files import write_file
from harness.judging.feedback import feedback_file
from harness.judging.record import RunRecord, load_results, to_lines
from harness.report.pictures import ImageStore, Pictures, lost_words
from harness.report.summary import summary_markdown
from harness.report.words import slug

__all__ = ["rerender", "summary_markdown", "write_report"]


KEPT = "before"  # beside a report that judged nothing: the last one that did
FILES = ("index.html", "images", "results.json", "feedback.json", "summary.md", "contact-sheet.png")


def set_aside(folder: Path, results: RunRecord) -> Path | None:
    """Move the report of an earlier run that judged something, where this one judged nothing and would replace it.

    Returns:
        The page's new place; None where nothing is lost.
    """
    if judged(results) or not other_run(folder, results) or not judged(load_results(folder / "results.json")):
        return None
    kept = folder / KEPT
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir()
    for name in FILES:
        if (folder / name).exists():
            (folder / name).rename(kept / name)
    return kept / "index.html"


def judged(results: RunRecord) -> bool:
    """Whether anybody's pictures have a score."""
    return any(row.quality for row in results.leaderboard)


def write_report(
    results: RunRecord,
    store: ImageStore | None,
    folder: Path,
    *,
    beside: Sequence[Path] = (),
    tell: Callable[[str], None] = lambda words: None,
) -> Path:
    """Write the whole report; returns the path of its page.

    Args:
        results: of a run, or of `load_results`.
        store: where the pictures are; what it lacks is shown as missing.
        folder: made when it is not there; `images/` in it holds the originals of this run and of no other.
        beside: folders of originals from earlier reports, asked where the store has nothing.
        tell: hears, for people, which pictures are missing.
    """
    from harness.report.page import render_page

    folder.mkdir(parents=True, exist_ok=True)
    pictures = Pictures(store, folder / "images", beside)
    page = render_page(results, pictures)
    pictures.forget_others()
    write_file(folder / "results.json", results.to_text())
    told = to_lines(feedback_file([item.plain for item in results.feedback]))
    write_file(folder / "feedback.json", told)
    write_file(folder / "feedback" / f"{slug(results.run.id)}.json", told)  # later runs leave it
    write_file(folder / "summary.md", summary_markdown(results))
    write_file(folder / "index.html", page)
    if words := lost_words(*pictures.lost):
        tell(words)
    return folder / "index.html"


def rerender(
    results: Path | Sequence[Path],
    store: ImageStore | None,
    folder: Path,
    *,
    tell: Callable[[str], None] = lambda words: None,
    keep: bool = False,
) -> Path:
    """Make the report again from the `results.json` of earlier runs; returns the path of the page.

    Args:
        results: one file, or several: shards and runs of different cases become one run, others stand side by side.
        tell: hears, for people, which pictures are missing and which run's report was replaced.
        keep: a report of another run in the folder must stay.

    Raises:
        UsageError: a file is not there or is no record of a run; `keep`, and the folder holds another run.
    """
    from harness.report.several import join_runs

    paths = [results] if isinstance(results, Path) else results
    record = join_runs([load_results(path) for path in paths], store, tell)
    if other := other_run(folder, record):
        if keep:
            message = (
                f"{folder} holds the report of run {other}, which this would replace; name a folder: --report-dir DIR"
            )
            raise UsageError(f"{message} (--report-dir {folder} replaces it)")
        tell(f"replaced the report of run {other} in {folder}")
    return write_report(record, store, folder, beside=[path.parent / "images" for path in paths], tell=tell)


def other_run(folder: Path, record: RunRecord) -> str:
    """The id of another run whose report lies in a folder, or ""."""
    try:
        result = load_results(folder / "results.json").run.id
    except UsageError:
        return ""
    return "" if result == record.run.id else result
