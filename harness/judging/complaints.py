"""What a verdict is made of: one rule each for scores, thresholds, faults and missing pictures. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from harness.core.text import bounds_text
from harness.core.values import (
    METRICS,
    CaseResult,
    Complaint,
    Decision,
    Interval,
    Outcome,
    Sample,
    Threshold,
    Verdict,
)
from harness.judging.causes.cause import Cause
from harness.judging.causes.gate import MOST
from harness.judging.scores import trait_means
from harness.scoring.metrics.evidence import count_faults, faults_of
from harness.scoring.metrics.technical import RELATIVE

PRIMARY = METRICS[0]
CALIBRATED = (*METRICS, "aesthetics", "dino", "drift", "regression", "beat")  # the references decide what they mean
ORDER = (Decision.PASS, Decision.INCONCLUSIVE, Decision.NOT_JUDGED, Decision.FAIL, Decision.ERROR)  # the later wins
SEVERITIES = ("error", "fail", "warn")  # the first is shown first
WHOLE = ("blank",)  # faults that spoil a picture wholly, so that one is enough


@dataclass(frozen=True)
class JudgedComplaint:
    """One complaint and what it means for the verdict."""

    decision: Decision
    complaint: Complaint
    open: bool = False  # more pictures could settle it
    proven: bool = True  # False: it fails because a proof is missing, and nothing is known to be wrong


def fail(metric: str, message: str, proven: bool = True) -> JudgedComplaint:
    """`proven`: something is known to be wrong."""
    return JudgedComplaint(Decision.FAIL, Complaint(metric, message, "fail"), proven=proven)


def unsure(metric: str, message: str, more: bool = False) -> JudgedComplaint:
    """`more`: pictures could settle it."""
    return JudgedComplaint(Decision.INCONCLUSIVE, Complaint(metric, message, "warn"), more)


def blind(metric: str, message: str) -> JudgedComplaint:
    """Nothing at hand can tell; pictures do not help."""
    return JudgedComplaint(Decision.NOT_JUDGED, Complaint(metric, message, "warn"))


def warn(metric: str, message: str) -> JudgedComplaint:
    return JudgedComplaint(Decision.PASS, Complaint(metric, message, "warn"))


def error(metric: str, message: str) -> JudgedComplaint:
    return JudgedComplaint(Decision.ERROR, Complaint(metric, message, "error"))


def conclude(
    findings: Sequence[JudgedComplaint],
    scores: Mapping[str, Interval],
    cause: Cause | None = None,
    details: Mapping[str, object] | None = None,
) -> Verdict:
    """The worst finding decides; a cause comes first, because it explains the others."""
    decision = max((finding.decision for finding in findings), key=ORDER.index, default=Decision.PASS)
    complaints = sorted((finding.complaint for finding in findings), key=lambda c: SEVERITIES.index(c.severity))
    if cause:
        complaints.insert(0, Complaint("cause", cause.sentence, "error" if decision is Decision.ERROR else "fail"))
    waits = list(dict.fromkeys(finding.complaint.metric for finding in findings if finding.open))
    red = [finding for finding in findings if finding.decision is Decision.FAIL]
    unproven = decision is Decision.FAIL and not any(finding.proven for finding in red)
    facts = {**(details or {}), **({"open": waits} if waits else {}), **({"unproven": True} if unproven else {})}
    words, name = (cause.sentence, cause.name) if cause else ("", "")
    return Verdict(decision, scores, tuple(complaints), words, facts, cause_name=name)


def hold(
    metric: str, score: Interval, threshold: Threshold, more: str = "", below: bool | None = None, tested: int = 1
) -> list[JudgedComplaint]:
    """One score against its threshold.

    Args:
        more: what to add to a complaint.
        below: what Holm's correction says of "below `fail`", which then decides in place of the interval.
        tested: how many bounds that correction is for.
    """
    bound, text = threshold.fail, f"{metric} {bounds_text(score)}"
    if bound is not None:
        if score.high is None or below is None:
            below = (score.mean if score.high is None else score.high) < bound
        if below:
            return [fail(metric, f"{text} is below {bound:.2f}{more}")]
        if score.high is not None and score.high < bound:
            at_once = f"{tested} bounds are" if tested > 1 else "several bounds are"
            words = f"{text} is below {bound:.2f}, but not surely enough when {at_once} tested at once"
            return [unsure(metric, f"{words}; draw more samples", more=True)]
        if score.low is not None and score.low < bound:
            words = f"{text}: the interval holds the threshold {bound:.2f}; draw more samples"
            return [unsure(metric, words, more=True)]
    if threshold.warn is not None and score.mean < threshold.warn:
        return [warn(metric, f"{text} is below the warning level {threshold.warn:.2f}{more}")]
    return []


def technical_findings(samples: Sequence[Sample], relative: bool = True) -> list[JudgedComplaint]:
    """A blank picture fails; a wrong size, blur and flatness fail when most pictures have them, else warn.

    Args:
        relative: whether what is measured in units of the references may fail anything.
    """
    findings = []
    for kind, count in count_faults(samples).items():
        message = next(fault["message"] for s in samples for fault in faults_of(s) if fault["kind"] == kind)
        text = f"{count} of {len(samples)} pictures: {message}"
        bad = (kind in WHOLE or count > MOST * len(samples)) and (relative or kind not in RELATIVE)
        findings.append(fail("technical", text) if bad else warn("technical", text))
    return findings


def missing_pictures(results: Sequence[CaseResult]) -> JudgedComplaint | None:
    """An error when a picture, or the score of one, is not there: no missing picture is ever a score of zero."""
    if skipped := next((result.skipped for result in results if result.skipped), ""):
        return error("outcome", f"nothing was drawn: {skipped}")
    samples = [sample for result in results for sample in result.samples]
    if not samples:
        return error("outcome", "nothing was drawn: no picture was asked for")
    lost = [sample for sample in samples if sample.outcome is not Outcome.OK]
    if lost:
        kinds = ", ".join(dict.fromkeys(sample.outcome.value for sample in lost))
        text = f": {lost[0].message}" if lost[0].message else ""
        return error("outcome", f"{len(lost)} of {len(samples)} pictures are missing ({kinds}){text}")
    if unscored := sum(not sample.scores for sample in samples):
        return error("outcome", f"{unscored} of {len(samples)} pictures were drawn and not scored; run again")
    return None


def unmeasured(metric: str, samples: Sequence[Sample]) -> JudgedComplaint:
    """A threshold on a metric that has no value."""
    scores = [sample.scores[metric] for sample in samples if metric in sample.scores]
    reason = next((score.reason for score in scores if score.reason), "nothing measured it")
    return unsure(metric, f"{metric} could not be measured ({reason}), so its threshold says nothing")


def judge_blindly(findings: Sequence[JudgedComplaint], reason: str, samples: Sequence[Sample]) -> list[JudgedComplaint]:
    """What is left of findings where the references must not gate: no verdict, except for what needs no references.

    What scores alone say cannot fail anything, nor can more of them; a bound on `technical` neither, where its faults
    are relative to the references.
    """
    weak = {*CALIBRATED, *(() if set(count_faults(samples)) - RELATIVE else ("technical",))}

    def soften(finding: JudgedComplaint) -> JudgedComplaint:
        if finding.decision is not Decision.FAIL or finding.complaint.metric not in weak:
            return replace(finding, open=False)
        return unsure(finding.complaint.metric, f"{finding.complaint.message} (not binding)")

    return [blind("calibration", f"cannot judge: {reason}"), *map(soften, findings)]


def weakest(metric: str, samples: Sequence[Sample], most: int = 3) -> str:
    """The traits that are missing, the worst first, as the end of a complaint."""
    if metric not in (PRIMARY, "features"):
        return ""
    traits = trait_means(samples)
    worst = sorted((trait.mean, category, trait.value) for category, trait in traits.items() if trait.mean < 0.5)
    listed = ", ".join(f"{category} {value!r} {mean:.2f}" for mean, category, value in worst[:most])
    return f"; missing: {listed}" if listed else ""


def bounded(threshold: Threshold) -> bool:
    return threshold.fail is not None or threshold.warn is not None
