"""`harness card`: its options, and the few lines that carry it out."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.commands.options import command, flag, option
from harness.commands.project import open_profile
from harness.core.errors import UsageError
from harness.core.files import write_file
from harness.models.loading import Models
from harness.store import Store
from harness.studies.metric_card.page import brief_record, card_page, card_record, card_text
from harness.studies.metric_card.protocol import QUICK, Card, Effort, make_card

LEAST = 3  # identities; an interval needs some


@command
@option("--people", type=int, help="test identities; a third as many more freeze thresholds (default: 30)")
@flag("--quick", help="6 identities, fewer pictures: does it work at all?")
@option("--out", type=Path, metavar="FILE.json", help="every axis as plain data")
@option("--html", type=Path, metavar="FILE.html", help="a page with plots")
@option(
    "--brief",
    type=Path,
    metavar="FILE.json",
    help="the axes and the scorer that they hold for: in fixtures/cards/ every report of such a scorer shows it",
)
@option("--profile", help="whose CLIP is examined (default: embedded, or HARNESS_PROFILE)")
@option("--store", type=Path, help="keep the embeddings there, so that the next card takes half the time")
def card(
    people: int | None,
    quick: bool,
    out: Path | None,
    html: Path | None,
    brief: Path | None,
    profile: str | None,
    store: Path | None,
) -> int:
    """The exit status: 1 when an axis misses its bound."""
    result = measure_card(effort_of(people, quick), profile, store, progress=sys.stderr.isatty())
    print(card_text(result))
    for path in filter(None, (out, html, brief)):
        path.parent.mkdir(parents=True, exist_ok=True)
    if out:
        write_file(out, json.dumps(card_record(result), indent=1, ensure_ascii=False) + "\n")
    if brief:
        write_file(brief, json.dumps(brief_record(result), indent=1, ensure_ascii=False) + "\n")
    if html:
        write_file(html, card_page(result))
    return 0 if result.passed == len(result.axes) else 1


def effort_of(people: int | None, quick: bool) -> Effort:
    """How much is drawn.

    Raises:
        UsageError: too few identities to say anything.
    """
    effort = QUICK if quick else Effort()
    if people is None:
        return effort
    if people < LEAST:
        raise UsageError(f"--people {people}: at least {LEAST} identities")
    return replace(effort, people=people)


def measure_card(
    effort: Effort, profile: str | None = None, store: Path | None = None, *, progress: bool = False
) -> Card:
    """The card of a profile's CLIP; identities are shown on stderr as they are done."""
    known, settings = open_profile(profile=profile)

    def say(text: str) -> None:
        if progress:
            print(f"\rcard: {text}", end="", file=sys.stderr, flush=True)

    with open_store(store) as opened:
        result = make_card(known, Models(known, settings), opened, effort, say)
    if progress:
        print(file=sys.stderr)
    return result


@contextmanager
def open_store(folder: Path | None) -> Iterator[Store]:
    """A store of one's own: thousands of drawn people have no place among a project's pictures."""
    if folder:
        with Store(folder) as store:
            yield store
    else:
        with TemporaryDirectory(prefix="card-") as scratch, Store(Path(scratch)) as store:
            yield store
