"""The first remedies: what may mend a LoRA without training, by what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from harness.core.errors import LoraError
from harness.core.stats import Pair
from harness.core.values import Decision, Job, Lora, Suite, Verdict
from harness.judging.causes.cause import Cause
from harness.judging.feedback import Feedback
from harness.models.lora.export import LoraFacts, read_facts
from harness.training.improve.candidates import step_of
from harness.training.improve.plan import SPOILT, in_weights

AROUND = (0.8, 1.0, 1.2)  # strengths that a LoRA is made for
LOWER = (0.5, 0.65, 0.8)  # times the strength of a LoRA that learnt too much
RESELECTED = (0.8, 1.25)  # times the strength of a LoRA with which nothing known is wrong
NEAR = 0.15  # a shortfall in quality that another strength may still close
EARLIER = 3  # checkpoints of an over-trained LoRA's own run that are tried


@dataclass(frozen=True)
class RatedFile:
    """A file at a strength, and how it did on the practice cases."""

    lora: Lora
    quality: float  # mean, calibrated; -1 when no picture could be scored
    short: float = 0.0  # how far all bounded metrics together are under their bounds; a copy alarm counts 1

    @property
    def worth(self) -> float:
        """What choices are compared by: quality, less whatever would fail the suite."""
        return self.quality - self.short


def shortfall(suite: Suite, values: Mapping[str, Mapping[Pair, float]]) -> float:
    """How far the means of all bounded metrics together are under the suite's bounds."""
    bounds = {metric: suite.threshold(None, metric).fail for metric in values}
    gaps = [bound - fmean(values[metric].values()) for metric, bound in bounds.items() if bound and values[metric]]
    return sum(gap for gap in gaps if gap > 0)


def other_strengths(causes: Sequence[Cause], strength: float, gap: float | None) -> tuple[float, ...]:
    """Strengths worth trying before anything is trained; none where the fault is in the weights.

    Args:
        gap: how far quality is under its bound on the open cases; None when it is not.
    """
    sure, spoilt = [cause for cause in causes if cause.confidence >= SPOILT], in_weights(causes)
    mendable = all(cause.name == "over_trained" for cause in spoilt)
    if mendable and any(cause.area == "strength" for cause in sure):
        return tuple(value for value in AROUND if value != strength)
    if mendable and any(cause.name == "over_trained" for cause in causes):
        return tuple(round(strength * factor, 3) for factor in LOWER)
    if not sure and gap is not None and gap <= NEAR:
        return tuple(round(strength * factor, 3) for factor in RESELECTED)
    return ()


def earlier_checkpoints(folder: Path, facts: LoraFacts | None) -> list[Path]:
    """Checkpoints of the very run that made a LoRA, where its work folder still lies in the store, the latest last.

    Args:
        facts: of the LoRA; a run is known by its configuration, its pictures, its base and when it began.
    """
    if facts is None or not facts.steps or facts.config is None:
        return []
    marks = [facts.metadata.get(f"harness.{name}") for name in ("config", "references", "base")]
    results = []
    for path in sorted(folder.glob("work-*/step-*.safetensors"), key=step_of):
        try:
            text = read_facts(path).metadata
        except LoraError:
            continue
        if [text.get(f"harness.{name}") for name in ("config", "references", "base")] == marks:
            results.append(path)
    earlier = [path for path in results if step_of(path) < facts.steps]
    stride = max(1, len(earlier) // EARLIER)
    return earlier[stride - 1 :: stride][:EARLIER]


def goal_of(suite: Suite, result: Feedback, verdicts: Mapping[Job, Verdict]) -> str:
    """The one metric that a challenger must be better in, named before the exam: quality, unless another one fails.

    Where quality is sound and prompts are not followed, say, a challenger that follows them is what is wanted.
    """
    failing = [item.name for item in result.metrics]
    if "quality" in failing:
        return "quality"
    if failing:
        return failing[0]  # the furthest under its bound
    judged = [verdict for verdict in verdicts.values() if verdict.decision is Decision.FAIL]
    named = [item.metric for verdict in judged for item in verdict.complaints if item.metric in suite.metrics()]
    if not named or "quality" in named:
        return "quality"
    return max(dict.fromkeys(named), key=named.count)
