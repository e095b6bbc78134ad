"""The leaderboard: who is ahead, by how much, and what that is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from harness.core.values import METRICS, Interval, Threshold
from harness.judging.record import LeaderboardRow
from harness.report.leaderboard_table import added_metrics, gap_word
from harness.report.words import bounds_text, text


@dataclass(frozen=True)
class Board:
    """One suite's rows, best first, and the words around them."""

    rows: Sequence[LeaderboardRow]
    thresholds: Mapping[str, Threshold]

    @cached_property
    def gate(self) -> LeaderboardRow | None:
        return next((row for row in self.rows if row.gate), None)

    @property
    def rival(self) -> str:
        """Whom the others are held against; "" without a gate."""
        return self.gate.provider if self.gate else ""

    @cached_property
    def metrics(self) -> list[str]:
        """The columns beside quality."""
        return [*METRICS[1:], *added_metrics(self.rows)]

    @property
    def needed(self) -> list[str]:
        """The suite's bounds in words."""
        bounded = [*METRICS, *(name for name in self.thresholds if name not in METRICS)]
        return [words for name in bounded if (words := bound_words(name, self.thresholds.get(name, Threshold())))]

    @property
    def partial(self) -> bool:
        """Whether ranks compare less than what somebody has delivered."""
        return any(row.common and row.common != row.quality for row in self.rows)

    @property
    def lead(self) -> str:
        """The gate against the best of its competitors, as a sentence; "" where there is none."""
        gap = self.gate.best_gap if self.gate else None
        if gap is None:
            return ""
        name, shown, word = text(self.rival, 80), bounds_text(gap, signed=True), gap_word(gap)
        if not word:
            return f"{name} minus the best competitor: {shown}; too few cases to say more."
        return f"{name} is {word} the best competitor: {shown}, corrected for having taken the best."

    def tie(self, row: LeaderboardRow) -> str:
        """The provider ranked just above, when the pairs do not prove that it is better; "" where letters say it."""
        above = next((other for other in self.rows if other.rank == row.rank - 1), None)
        gap = row.versus.get(above.provider) if above and not row.ties else None
        return above.provider if above and gap and gap.high is not None and gap.high >= 0 else ""


def gate_word(gap: Interval) -> str:
    """What a difference to the gate says."""
    return gap_word(gap).removesuffix(" of").removesuffix(" from") or "too few cases"


def bound_words(metric: str, bound: Threshold) -> str:
    """`quality: fail below 0.60, warn below 0.70`; "" without a bound."""
    known = (("fail", bound.fail), ("warn", bound.warn))
    words = ", ".join(f"{kind} below {value:.2f}" for kind, value in known if value is not None)
    return f"{text(metric, 60)}: {words}" if words else ""
