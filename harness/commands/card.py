"""`harness card`: its options, and the few lines that carry it out."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from harness.core.errors import UsageError
from harness.core.files import write_file

if TYPE_CHECKING:
    from harness.store import Store
    from harness.studies.metric_card.protocol import Card, Effort

LEAST = 3  # identities; an interval needs some


def card_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--people", type=int, help="test identities; a third as many more freeze thresholds (default: 30)")
    sub.add_argument("--quick", action="store_true", help="6 identities, fewer pictures: does it work at all?")
    sub.add_argument("--out", type=Path, metavar="FILE.json", help="every axis as plain data")
    sub.add_argument("--html", type=Path, metavar="FILE.html", help="a page with plots")
    sub.add_argument(
        "--brief",
        type=Path,
        metavar="FILE.json",
        help="the axes and the scorer that they hold for: in fixtures/cards/ every report of such a scorer shows it",
    )
    sub.add_argument("--profile", help="whose CLIP is examined (default: embedded, or HARNESS_PROFILE)")
    sub.add_argument("--store", type=Path, help="keep the embeddings there, so that the next card takes half the time")


def card(options: argparse.Namespace) -> int:
    """The exit status: 1 when an axis misses its bound."""
    from harness.studies.metric_card.page import brief_record, card_page, card_record, card_text

    result = measure_card(effort_of(options), options.profile, options.store, progress=sys.stderr.isatty())
    print(card_text(result))
    for path in filter(None, (options.out, options.html, options.brief)):
        path.parent.mkdir(parents=True, exist_ok=True)
    if options.out:
        write_file(options.out, json.dumps(card_record(result), indent=1, ensure_ascii=False) + "\n")
    if options.brief:
        write_file(options.brief, json.dumps(brief_record(result), indent=1, ensure_ascii=False) + "\n")
    if options.html:
        write_file(options.html, card_page(result))
    return 0 if result.passed == len(result.axes) else 1


def effort_of(options: argparse.Namespace) -> Effort:
    """How much is drawn.

    Raises:
        UsageError: too few identities to say anything.
    """
    from harness.studies.metric_card.protocol import QUICK, Effort

    effort = QUICK if options.quick else Effort()
    if options.people is None:
        return effort
    if options.people < LEAST:
        raise UsageError(f"--people {options.people}: at least {LEAST} identities")
    return replace(effort, people=options.people)


def measure_card(
    effort: Effort, profile: str | None = None, store: Path | None = None, *, progress: bool = False
) -> Card:
    """The card of a profile's CLIP; identities are shown on stderr as they are done."""
    from harness.config.profile import load_profile
    from harness.core.settings import Settings
    from harness.models.loading import Models
    from harness.studies.metric_card.protocol import make_card

    settings = Settings.load(Path.cwd(), {"profile": profile})
    known = load_profile(settings.profile, settings.root)

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
    from harness.store import Store

    if folder:
        with Store(folder) as store:
            yield store
    else:
        with TemporaryDirectory(prefix="card-") as scratch, Store(Path(scratch)) as store:
            yield store
