"""What a person decides about LoRAs: approve, refuse, bless a run as the baseline, bring a former champion back.

Each decision is a line of `reviews/<suite>/decisions.jsonl`, on the disk before anything is done; then the registry is
written, then the baseline. All checks come before that line, so a decision that cannot be carried out is none.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core.errors import HarnessError, UsageError
from harness.core.values import METRICS, hash_file
from harness.judging.results import relative
from harness.report.review.ledger import append_line, now
from harness.report.review.runs import RunSummary, SuiteSummary
from harness.report.review.seats import Challenger, Seat
from harness.report.words import mapped, number
from harness.store.journal import Journal

if TYPE_CHECKING:
    from harness.core.values import Suite
    from harness.report.review.evidence import Weighed

SCHEMA = 1
LONGEST_NAME, LONGEST_REASON = 100, 2_000  # characters
Pictures = Callable[[str], bytes]
"""SHA-256 to an encoded picture."""


@dataclass(frozen=True)
class Voice:
    """Who decides, and why."""

    who: str
    why: str

    def __post_init__(self) -> None:
        for name, text, longest in (("who", self.who, LONGEST_NAME), ("why", self.why, LONGEST_REASON)):
            if not text.strip():
                raise UsageError(f"{name}: must be said; it goes into the record")
            if len(text) > longest:
                raise UsageError(f"{name}: {len(text):,} characters, at most {longest:,}")


# --- finding ----------------------------------------------------------------------------------------------------------


def baseline_objections(record: Mapping[str, Any], suite: Suite) -> list[str]:
    """Why a run should not become the suite's baseline."""
    from harness.judging.baseline import objections

    return objections(record, suite)


# --- deciding ---------------------------------------------------------------------------------------------------------


class Decisions:
    """Carries decisions out and writes them down, one at a time."""

    def __init__(self, folder: Path, pictures: Pictures) -> None:
        """
        Args:
            folder: `reviews/` of the repository.
        """
        self._folder, self._pictures, self._lock = folder, pictures, threading.Lock()

    def file(self, suite: str) -> Path:
        """Where a suite's decisions are written."""
        return self._folder / suite / "decisions.jsonl"

    def all(self, suites: Iterable[str]) -> list[dict[str, Any]]:
        """The decisions about some suites, the newest first; a line that was cut off is left out."""
        results = [event for suite in suites for event in Journal(self.file(suite)).events()]
        return sorted(results, key=lambda event: str(event.get("at", "")), reverse=True)

    def approve(
        self,
        seat: Seat,
        sha256: str,
        voice: Voice,
        evidence: tuple[RunSummary, SuiteSummary, Mapping[str, Any]] | None,
        weighed: Weighed,
        although: str = "",
        anyway: bool = False,
    ) -> list[str]:
        """Put a challenger in the champion's place; with evidence, its run becomes the suite's baseline.

        Args:
            evidence: a run of this very LoRA, which suite of it, and the run's record.
            weighed: what its newest runs say.
            although: the mark of the objections that the person read and set aside.
            anyway: make the baseline although the run is red or incomplete.

        Returns:
            What was done, in sentences.

        Raises:
            UsageError: nothing was done, and why.
        """
        from harness.models.lora.registry import promote

        challenger = seat.challenger(sha256)
        with self._lock:
            check_file(challenger)
            objections = weighed.objections
            if objections and although != weighed.mark:
                raise UsageError(
                    f"nothing was done, because it is not proven better: {'; '.join(objections)}; "
                    "tick “approve although” on the page, which goes into the record"
                )
            if evidence and evidence[1].lora != sha256:
                raise UsageError("this run had another LoRA under test; its scores say nothing of the challenger")
            suite = self._judged(seat, evidence, anyway)
            scores = {"review": {"who": voice.who, "run": evidence[0].id if evidence else ""}}
            scores |= quality_scores(evidence) if evidence else {}
            line = self._line("approve", seat, suite, voice, sha256, evidence)
            line |= {"although": objections, "tested": weighed.to_record()}
            append_line(self.file(suite.name), line)
            with self._carried(suite, line):
                reason = f"approved by {voice.who}: {voice.why}"
                promote(challenger.path, seat.weights, scores, reason, over=seat.sha256)
                texts = [f"{seat.suites[0].subject.name}: {sha256[:16]} is the champion"]
                return texts + ([self._bless(suite, evidence[2], anyway)] if evidence else [])

    def refuse(self, seat: Seat, sha256: str, voice: Voice) -> list[str]:
        """Write down that a challenger is not wanted; the champion stays, and so does the challenger's file."""
        challenger, suite = seat.challenger(sha256), seat.suites[0]
        with self._lock:
            append_line(self.file(suite.name), self._line("refuse", seat, suite, voice, challenger.sha256, None))
        return [f"{suite.subject.name}: {sha256[:16]} was refused; the champion stays"]

    def bless(
        self,
        suite: Suite,
        seat: Seat | None,
        voice: Voice,
        evidence: tuple[RunSummary, SuiteSummary, Mapping[str, Any]],
        anyway: bool,
    ) -> list[str]:
        """Make a run the suite's baseline: one of the champion's, where the suite has one."""
        with self._lock:
            _, part, record = evidence
            if seat and part.lora != seat.sha256:
                raise UsageError("this run had another LoRA under test than the champion: approve that one instead")
            self._check_baseline(record, suite, anyway)
            line = self._line("bless", seat, suite, voice, part.lora, evidence)
            append_line(self.file(suite.name), line)
            with self._carried(suite, line):
                return [self._bless(suite, record, anyway)]

    def roll_back(self, seat: Seat, sha256: str, voice: Voice) -> list[str]:
        """Bring a former champion back; the baseline is left alone, because it may be of either."""
        from harness.models.lora.registry import rollback

        suite = seat.suites[0]
        if sha256 not in {record["sha256"] for record in seat.former}:
            raise UsageError("there is no such former champion; open the page again")
        with self._lock:
            line = self._line("rollback", seat, suite, voice, sha256, None)
            append_line(self.file(suite.name), line)
            with self._carried(suite, line):
                rollback(seat.weights, sha256, f"by {voice.who}: {voice.why}")
        return [f"{suite.subject.name}: {sha256[:16]} is the champion again; bless a run of it as the baseline"]

    def _judged(
        self, seat: Seat, evidence: tuple[RunSummary, SuiteSummary, Mapping[str, Any]] | None, anyway: bool
    ) -> Suite:
        """The suite that a decision is about. Raises UsageError where its baseline may not be made."""
        if evidence is None:
            return seat.suites[0]
        suite = next((suite for suite in seat.suites if suite.name == evidence[1].name), None)
        if suite is None:
            raise UsageError("this run is of a suite that does not test this champion")
        self._check_baseline(evidence[2], suite, anyway)
        return suite

    def _check_baseline(self, record: Mapping[str, Any], suite: Suite, anyway: bool) -> None:
        """Raises UsageError where a run should not become the baseline and nobody insists, or cannot become it."""
        from harness.judging.baseline import make_baseline

        reasons = [] if anyway else baseline_objections(record, suite)
        if reasons:
            remedy = "tick “all the same”, or leave the baseline alone"
            raise UsageError(f"nothing was done: {'; '.join(reasons)}; {remedy}")
        try:
            make_baseline(record, suite, self._pictures)
        except (HarnessError, OSError, ValueError) as error:
            raise UsageError(f"nothing was done: the baseline cannot be made: {error}") from error

    def _bless(self, suite: Suite, record: Mapping[str, Any], anyway: bool) -> str:
        from harness.judging.baseline import update_baseline

        return update_baseline(record, suite, self._pictures, anyway=anyway).text

    def _line(
        self,
        decision: str,
        seat: Seat | None,
        suite: Suite,
        voice: Voice,
        lora: str,
        evidence: tuple[RunSummary, SuiteSummary, Mapping[str, Any]] | None,
    ) -> dict[str, Any]:
        """One line of the audit file."""
        from harness.judging.baseline import baseline_path

        run = evidence[2]["run"] if evidence else {}
        return {
            "schema": SCHEMA,
            "id": secrets.token_hex(16),
            "at": now(),
            "decision": decision,
            "suite": suite.name,
            "subject": suite.subject.name,
            "who": voice.who,
            "why": voice.why,
            "lora": lora,
            "champion": seat.sha256 if seat else "",
            "run": str(run.get("id", "")),
            "scores": quality_scores(evidence) if evidence else {},
            "baseline": relative(baseline_path(suite)) if evidence else "",
        }

    def _carried(self, suite: Suite, line: Mapping[str, Any]) -> Carried:
        return Carried(self.file(suite.name), line)


class Carried:
    """Around the deed: one that fails is written down too, because the line before says that it was done."""

    def __init__(self, file: Path, line: Mapping[str, Any]) -> None:
        self._file, self._line = file, line

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, Exception):
            failed = {"decision": "failed", "of": self._line["id"], "suite": self._line["suite"], "why": str(error)}
            append_line(self._file, {"schema": SCHEMA, "id": secrets.token_hex(16), "at": now(), **failed})


def check_file(challenger: Challenger) -> None:
    """Raises UsageError unless the file is the one that was looked at, and a LoRA."""
    from harness.models.lora.export import read_facts

    if not challenger.path.is_file() or hash_file(challenger.path) != challenger.sha256:
        raise UsageError(f"{relative(challenger.path)}: is gone or was changed, so it cannot become the champion")
    if not read_facts(challenger.path).keys:
        raise UsageError(f"{relative(challenger.path)}: holds no weights; it cannot become the champion")


def quality_scores(evidence: tuple[RunSummary, SuiteSummary, Mapping[str, Any]]) -> dict[str, Any]:
    """A run's leaderboard figures of its main provider, for the record."""
    _, part, record = evidence
    row = next(r for r in record["leaderboard"] if (r["suite"], r["provider"]) == (part.name, part.main))
    results = {name: mapped(row, name) for name in METRICS}
    return {
        name: {key: number(item.get(key)) for key in ("mean", "low", "high", "n")}
        for name, item in results.items()
        if number(item.get("mean")) is not None
    }
