"""The run beside its baseline, and what all pictures of a provider say together."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from harness.core.values import SetScore
from harness.judging.record import Change, CopyDetails, CopyPair, HeldBaseline, SuiteRecord
from harness.report.words import Badge, Frame, Photo, text

CHANGES: Mapping[str, str] = {
    "regressed": "fail",
    "improved": "pass",
    "higher": "pass",
    "lower": "inconclusive",
    "unchanged": "none",
    "inconclusive": "inconclusive",
}
WEBP = re.compile(r"[A-Za-z0-9+/]+={0,2}")


def made_words(baseline: HeldBaseline) -> str:
    """Day and commit of a baseline."""
    return " ".join(text(baseline.made.get(name), 40)[:10] for name in ("date", "commit")).strip()


def inline_webp(case: Change) -> str | None:
    """A baseline's thumbnail as a data URI; whatever else is in the record is no picture."""
    data = case.thumbnail.webp if case.thumbnail else ""
    return f"data:image/webp;base64,{data}" if WEBP.fullmatch(data) else None


# --- all pictures together ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PairView:
    """A picture and the training picture that it is nearest to."""

    pair: CopyPair
    drawn: Photo
    training: Photo


@dataclass(frozen=True)
class SetView:
    """What one metric says of a provider's pictures together."""

    provider: str
    metric: str
    score: SetScore
    severe: bool  # an alarm fails the gate
    pairs: tuple[PairView, ...]

    @property
    def badge(self) -> Badge:
        if self.score.alarm:
            return Badge("fail" if self.severe else "inconclusive", "!", "alarm")
        return Badge("pass", "✓", "no alarm") if self.score.judged else Badge("none", "·", "not judged")


def sets_view(frame: Frame, suite: SuiteRecord) -> list[SetView]:
    """What each gate provider's pictures say together; copies stand beside the training pictures that they copy."""
    return [
        SetView(
            provider,
            metric,
            score,
            suite.alarms.get(metric) == "fail" or score.details.get("widespread") is True,
            tuple(
                PairView(pair, frame.picture(pair.image), frame.picture(pair.training, shared=True))
                for pair in CopyDetails.of(score.details).shown
            ),
        )
        for provider, group in suite.sets.items()
        for metric, score in group.items()
    ]
