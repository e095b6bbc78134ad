"""What the server knows between two requests: the project's folders, its runs, its suites, and who sits at it."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.config.suite import load_suite
from harness.core.errors import HarnessError, StoreError, UsageError
from harness.core.values import Suite
from harness.report import rerender
from harness.report.review.decisions import Decisions
from harness.report.review.ledger import Ballot, Comment, RecordLedger
from harness.report.review.runs import Runs, RunSummary, SuiteSummary
from harness.report.review.seats import Seat, find_seats
from harness.store import Store
from harness.store.cache import REVIEWS

SHA = re.compile(r"[0-9a-f]{64}")
SUITE = re.compile(r"[a-z0-9_-][a-z0-9_.-]*")  # becomes a folder's name
LINKED = re.compile(rb'"(?:image|training)": ?"([0-9a-f]{64})"')
MOST = 200  # YAML files that are looked into


class AppState:
    """One project, one person. Safe for many threads."""

    def __init__(self, root: Path, reports: Path, store: Store, who: str) -> None:
        self.root, self.store, self.who = root, store, who
        self.said: list[str] = []  # what the last decision did; shown once
        self.runs = Runs(reports)
        self.decisions = Decisions(root / REVIEWS, self.picture_bytes)
        self._ledgers: dict[tuple[str, str], RecordLedger[Any]] = {}
        self._pages: dict[Path, tuple[int, int]] = {}
        self._lock = threading.RLock()

    # --- suites and seats -------------------------------------------------------------------------------------------

    def names(self, runs: Sequence[RunSummary]) -> list[str]:
        """The suites that can be voted on: those of the runs, and those that have been."""
        text = self.root / REVIEWS
        voted = [path.name for path in text.iterdir() if path.is_dir()] if text.is_dir() else []
        every = [*(name for run in runs for name in run.parts), *voted]
        return sorted({name for name in every if SUITE.fullmatch(name)})

    def suites(self, runs: Sequence[RunSummary]) -> list[Suite]:
        """The suites whose files are in this project: in suites/, or named by a run."""
        folder = self.root / "suites"
        paths = sorted(folder.glob("*.yaml"))[:MOST] if folder.is_dir() else []
        paths += [self.root / part.path for run in runs for part in run.parts.values() if part.path.endswith(".yaml")]
        results: dict[str, Suite] = {}
        for path in dict.fromkeys(path.resolve() for path in paths):
            if path.is_relative_to(self.root) and path.is_file():  # a record may name any path
                with suppress(HarnessError):
                    suite = load_suite(path)
                    results.setdefault(suite.name, suite)
        return list(results.values())

    def suite_of(self, part: SuiteSummary, runs: Sequence[RunSummary]) -> Suite | None:
        """The suite that a part of a run is of: by its file, because others may have its name."""
        path = (self.root / part.file).resolve()
        if part.file and path.is_relative_to(self.root) and path.is_file():
            with suppress(HarnessError):
                return load_suite(path)
        return next((suite for suite in self.suites(runs) if suite.name == part.name), None)

    def seats(self, runs: Sequence[RunSummary]) -> list[Seat]:
        return find_seats(self.suites(runs), runs, self.store.folder / "loras")

    # --- votes and comments -----------------------------------------------------------------------------------------

    def votes(self, suite: str) -> RecordLedger[Ballot]:
        return self._ledger("votes", Ballot, suite)

    def comments(self, suite: str) -> RecordLedger[Comment]:
        return self._ledger("comments", Comment, suite)

    def _ledger(self, kind: str, model: type[Any], suite: str) -> RecordLedger[Any]:
        if not SUITE.fullmatch(suite):
            raise UsageError(f"{suite!r:.60}: no suite of this name")
        with self._lock:
            if (kind, suite) not in self._ledgers:
                journals = self.store.folder / "review"
                journals.mkdir(exist_ok=True)
                file = self.root / REVIEWS / suite / f"{kind}.json"
                self._ledgers[kind, suite] = RecordLedger(kind, model, suite, journals / f"{suite}.{kind}.jsonl", file)
            return self._ledgers[kind, suite]

    # --- pictures ---------------------------------------------------------------------------------------------------

    def picture_path(self, sha: str) -> Path | None:
        """Where a picture lies: in the store, or beside the run that it came with; None for nowhere."""
        if not SHA.fullmatch(sha):
            return None
        kept = self.store.image_path(sha)
        if kept.is_file():
            return kept
        beside = (run.path.parent / "images" / f"{sha}.png" for run in self.runs.all())
        return next((path for path in beside if path.is_file()), None)

    def picture_bytes(self, sha: str) -> bytes:
        """A picture, checked against its name.

        Raises:
            StoreError: nobody has it, or its bytes are not those that the name says.
        """
        path = self.picture_path(sha)
        if path is None:
            raise StoreError(f"{sha:.70}: no such picture in the store, nor beside a run")
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != sha:
            raise StoreError(f"{path}: its bytes are not those that were stored (damaged or tampered with)")
        return data

    # --- the report of a run ----------------------------------------------------------------------------------------

    def report(self, run: RunSummary) -> Path:
        """The folder of a run's report, made again from its results.json by this version, once for each state of it."""
        folder = self.store.folder / "review" / "pages" / run.id
        with self._lock:
            result = run.path.stat()
            mark = result.st_mtime_ns, result.st_size
            if self._pages.get(folder) != mark or not (folder / "index.html").is_file():
                self._link(run, folder / "images")
                rerender(run.path, self.store, folder)
                self._pages[folder] = mark
        return folder

    def _link(self, run: RunSummary, images: Path) -> None:
        """Give the report its originals as hard links, so that it need not copy gigabytes of them."""
        images.mkdir(parents=True, exist_ok=True)
        for sha in {match.decode() for match in LINKED.findall(run.path.read_bytes())}:
            source = self.picture_path(sha)
            with suppress(OSError):  # another disk, or there already: then it copies
                if source:
                    (images / f"{sha}.png").hardlink_to(source)
