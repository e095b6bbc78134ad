"""What travels between the engine and those around it: progress, and the ground of an improve loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from harness.config.profile import Profile
from harness.core.errors import EngineError
from harness.core.settings import Settings
from harness.core.stats.calibration import Calibration
from harness.core.values import Case, CaseResult, Job, Listener, Lora, Score, Suite, Trait, Verdict
from harness.judging.feedback import Feedback
from harness.models.loading import Models
from harness.scoring.metrics.applied import Applied
from harness.scoring.metrics.evidence import Evidence
from harness.store import Store


class ScorerLike(Protocol):
    """What the engine asks of a scorer. Construction and a warm `traits`, `calibration` import nothing heavy."""

    @property
    def identity(self) -> str:
        """A hash of everything that decides a score but the picture and the case's `expect`."""
        ...

    def traits(self) -> tuple[Trait, ...]: ...

    def score(self, items: Sequence[tuple[Case, bytes]]) -> list[Mapping[str, Score]]:
        """Metric to score, one mapping a picture, in order."""
        ...

    def calibration(self) -> Calibration | None:
        """None when nothing may be said of it."""
        ...

    def applied(
        self, pairs: Sequence[tuple[bytes, bytes]], keys: int | None = None, lora: Lora | None = None
    ) -> Applied | None:
        """From pictures of the same prompts and seeds, with the LoRA and without it."""
        ...

    def evidence(
        self, provider: str, results: Sequence[CaseResult], lora: Lora | None = None, applied: Applied | None = None
    ) -> Evidence:
        """The facts from which a cause is told."""
        ...


class Evaluate(Protocol):
    """Draws and scores cases through the run's own engine, store and models; nothing is drawn twice.

    Args:
        lora: what the provider draws with in place of the LoRA under test; None: nothing but the base.
            A provider that uses no LoRA (`base`, a competitor) ignores it.
        provider: its name in the profile.
        cases: of the suite, open or locked.
        seeds: one picture a seed and case.

    Returns:
        One result a case, in order. Pictures that could not be had carry their outcome and no scores.
    """

    def __call__(
        self, lora: Lora | None, provider: str, cases: Sequence[Case], seeds: Sequence[int]
    ) -> list[CaseResult]: ...


@dataclass(frozen=True)
class ImproveContext:
    """All that an improve loop may know and use; built by the run when a gate provider fails."""

    suite: Suite
    provider: str  # the gate provider that fails
    lora: Lora | None  # what it drew with: the champion until it is beaten
    profile: Profile
    settings: Settings  # `retrain` is the number of rounds
    store: Store
    models: Models
    scorer: ScorerLike
    results: Mapping[str, Sequence[CaseResult]]  # by provider: every submitted case of the suite that is open
    verdicts: Mapping[Job, Verdict]  # of `provider`'s open cases; the failing ones are to be mended
    gate: Verdict
    feedback: Feedback  # of the suite
    evaluate: Evaluate
    listener: Listener  # progress of the training, stage "train"
    cancelled: Callable[[], bool]  # True: stop as soon as possible, raise nothing

    def __post_init__(self) -> None:
        """Raises EngineError where a locked case is among what is given."""
        given = [*self.verdicts, *(result.job for group in self.results.values() for result in group)]
        if seen := sorted({job.case for job in given if not self.suite.case(job.case).is_open}):
            raise EngineError(f"locked cases {seen} must not be seen while a LoRA is trained or chosen")

    @property
    def failing(self) -> tuple[Job, ...]:
        """The open cases whose verdict is fail, in the suite's order."""
        return tuple(job for job, verdict in self.verdicts.items() if verdict.decision == "fail")


@dataclass(frozen=True)
class ImproveResult:
    """What came of it: one plain record a round, and the LoRA that won its promotion, if any did."""

    rounds: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    promoted: Lora | None = None
