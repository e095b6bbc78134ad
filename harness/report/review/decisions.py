"""What a person decides about LoRAs: approve, refuse, bless a run as the baseline, bring a former champion back.

Each decision is a line of `reviews/<suite>/decisions.jsonl`, on the disk before anything is done; then the registry is
written, then the baseline. All checks come before that line, so a decision that cannot be carried out is none.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from harness.core.errors import HarnessError, UsageError
from harness.core.values import METRICS, Interval, hash_file, to_record
from harness.judging.record import Change, Part, RunRecord
from harness.judging.results import relative
from harness.report.review.ledger import append_line, now
from harness.report.review.runs import Evidence
from harness.report.review.seats import Challenger, Seat
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


class TestedSuite(Part):
    """What the newest runs of a challenger and of the champion said in one suite when it was decided."""

    suite: str = ""
    run: str = ""
    champion_run: str = ""
    verdict: str = ""
    quality: Change | None = None


class DecisionLine(Part):
    """One line of the audit file."""

    schema_: int = Field(SCHEMA, alias="schema")
    id: str = ""
    at: str = ""
    decision: str = ""
    of_: str = Field(default="", alias="of")  # the id of a decision that could not be carried out
    suite: str = ""
    subject: str = ""
    who: str = ""
    why: str = ""
    lora: str = ""  # SHA-256
    champion: str = ""  # SHA-256
    run: str = ""
    scores: Mapping[str, Interval] = {}
    baseline: str = ""
    although: tuple[str, ...] = ()  # objections that were set aside
    tested: tuple[TestedSuite, ...] = ()


# --- finding ----------------------------------------------------------------------------------------------------------


def baseline_objections(record: RunRecord, suite: Suite) -> list[str]:
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

    def all(self, suites: Iterable[str]) -> list[DecisionLine]:
        """The decisions about some suites, the newest first; a line that was cut off is left out."""
        results = [DecisionLine.of(event) for suite in suites for event in Journal(self.file(suite)).events()]
        return sorted(results, key=lambda line: line.at, reverse=True)

    def approve(
        self,
        seat: Seat,
        sha256: str,
        voice: Voice,
        evidence: Evidence | None,
        weighed: Weighed,
        although: str = "",
        anyway: bool = False,
    ) -> list[str]:
        """Put a challenger in the champion's place; with evidence, its run becomes the suite's baseline.

        Args:
            evidence: a run of this very LoRA.
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
            if evidence and evidence.part.lora != sha256:
                raise UsageError("this run had another LoRA under test; its scores say nothing of the challenger")
            suite = self._judged(seat, evidence, anyway)
            review = {"who": voice.who, "run": evidence.run.id if evidence else ""}
            scores = {"review": review, **to_record(quality_scores(evidence) if evidence else {})}
            line = self._line("approve", seat, suite, voice, sha256, evidence)
            line = line.model_copy(update={"although": tuple(objections), "tested": weighed.record})
            with self._carried(line):
                reason = f"approved by {voice.who}: {voice.why}"
                promote(challenger.path, seat.weights, scores, reason, over=seat.sha256)
                texts = [f"{seat.suites[0].subject.name}: {sha256[:16]} is the champion"]
                return texts + ([self._bless(suite, evidence.record, anyway)] if evidence else [])

    def refuse(self, seat: Seat, sha256: str, voice: Voice) -> list[str]:
        """Write down that a challenger is not wanted; the champion stays, and so does the challenger's file."""
        challenger, suite = seat.challenger(sha256), seat.suites[0]
        with self._lock:
            self._write(self._line("refuse", seat, suite, voice, challenger.sha256, None))
        return [f"{suite.subject.name}: {sha256[:16]} was refused; the champion stays"]

    def bless(
        self,
        suite: Suite,
        seat: Seat | None,
        voice: Voice,
        evidence: Evidence,
        anyway: bool,
    ) -> list[str]:
        """Make a run the suite's baseline: one of the champion's, where the suite has one."""
        with self._lock:
            part, record = evidence.part, evidence.record
            if seat and part.lora != seat.sha256:
                raise UsageError("this run had another LoRA under test than the champion: approve that one instead")
            self._check_baseline(record, suite, anyway)
            line = self._line("bless", seat, suite, voice, part.lora, evidence)
            with self._carried(line):
                return [self._bless(suite, record, anyway)]

    def roll_back(self, seat: Seat, sha256: str, voice: Voice) -> list[str]:
        """Bring a former champion back; the baseline is left alone, because it may be of either."""
        from harness.models.lora.registry import rollback

        suite = seat.suites[0]
        if sha256 not in {record["sha256"] for record in seat.former}:
            raise UsageError("there is no such former champion; open the page again")
        with self._lock:
            line = self._line("rollback", seat, suite, voice, sha256, None)
            with self._carried(line):
                rollback(seat.weights, sha256, f"by {voice.who}: {voice.why}")
        return [f"{suite.subject.name}: {sha256[:16]} is the champion again; bless a run of it as the baseline"]

    def _judged(self, seat: Seat, evidence: Evidence | None, anyway: bool) -> Suite:
        """The suite that a decision is about. Raises UsageError where its baseline may not be made."""
        if evidence is None:
            return seat.suites[0]
        suite = next((suite for suite in seat.suites if suite.name == evidence.part.name), None)
        if suite is None:
            raise UsageError("this run is of a suite that does not test this champion")
        self._check_baseline(evidence.record, suite, anyway)
        return suite

    def _check_baseline(self, record: RunRecord, suite: Suite, anyway: bool) -> None:
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

    def _bless(self, suite: Suite, record: RunRecord, anyway: bool) -> str:
        from harness.judging.baseline import update_baseline

        return update_baseline(record, suite, self._pictures, anyway=anyway).text

    def _line(
        self,
        decision: str,
        seat: Seat | None,
        suite: Suite,
        voice: Voice,
        lora: str,
        evidence: Evidence | None,
    ) -> DecisionLine:
        from harness.judging.baseline import baseline_path

        return DecisionLine(
            schema=SCHEMA,
            id=secrets.token_hex(16),
            at=now(),
            decision=decision,
            suite=suite.name,
            subject=suite.subject.name,
            who=voice.who,
            why=voice.why,
            lora=lora,
            champion=seat.sha256 if seat else "",
            run=evidence.record.run.id if evidence else "",
            scores=quality_scores(evidence) if evidence else {},
            baseline=relative(baseline_path(suite)) if evidence else "",
        )

    def _write(self, line: DecisionLine) -> None:
        append_line(self.file(line.suite), line.plain)

    @contextmanager
    def _carried(self, line: DecisionLine) -> Iterator[None]:
        """Around the deed: one that fails is written down too, because the line before says that it was done."""
        self._write(line)
        try:
            yield
        except Exception as error:
            self._write(
                DecisionLine(
                    schema=SCHEMA,
                    id=secrets.token_hex(16),
                    at=now(),
                    decision="failed",
                    of=line.id,
                    suite=line.suite,
                    why=str(error),
                )
            )
            raise


def check_file(challenger: Challenger) -> None:
    """Raises UsageError unless the file is the one that was looked at, and a LoRA."""
    from harness.models.lora.export import read_facts

    if not challenger.path.is_file() or hash_file(challenger.path) != challenger.sha256:
        raise UsageError(f"{relative(challenger.path)}: is gone or was changed, so it cannot become the champion")
    if not read_facts(challenger.path).keys:
        raise UsageError(f"{relative(challenger.path)}: holds no weights; it cannot become the champion")


def quality_scores(evidence: Evidence) -> dict[str, Interval]:
    """A run's leaderboard figures of its main provider, for the record."""
    row = next(row for row in evidence.record.rows(evidence.part.name) if row.provider == evidence.part.main)
    return {name: score for name, score in row.scores.items() if name in METRICS}
