"""Scores to verdicts: pure functions of what was drawn and scored.

A score is held against `fail` with its 95% interval, and there are three answers:

    the interval lies below `fail`          fail
    the interval holds `fail`               inconclusive (a warning; red only with `on_inconclusive: fail`)
    the interval lies above `fail`          pass, with a warning when the mean is below `warn`

With one sample the mean decides. A case's interval takes its spread from all cases of the suite (three seeds alone
say too little); a gate's interval is clustered by prompt, `quality` is its primary metric, and the others are held
against theirs at Holm's level. The difference to a baseline, paired by case and seed, has three answers too:

    proven worse, and by `margin` or more   regressed: fail      (upper bound below 0, mean at or below -margin)
    proven to stay within `margin`          not worse: pass      (lower bound at or above -margin)
    otherwise                               inconclusive

With fewer than `stats.FEW` prompts "proven worse" also takes an exact sign-flip test that agrees. To ask for an upper
bound below -margin would miss half of the drops that matter: see docs/statistics.md. A suite with `samples: {min, max}`
is judged at several looks, each at the level of `harness.judging.adaptive.level_at`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.core import stats
from harness.core.stats.calibration import Calibration
from harness.core.text import bounds_text
from harness.core.values import (
    ALARMS,
    METRICS,
    Case,
    CaseResult,
    Complaint,
    Decision,
    Interval,
    Outcome,
    Sample,
    Score,
    SetScore,
    Suite,
    Threshold,
    Verdict,
    to_record,
)
from harness.judging.adaptive import BEST, level_at
from harness.judging.changes import flips_text
from harness.judging.leaderboard import by_case, gap_to_best, values_by_metric, values_of
from harness.scoring.metrics.applied import Applied
from harness.scoring.metrics.evidence import Evidence, count_faults, faults_of, gather_evidence

Pooled = Mapping[str, tuple[float, int]]  # metric to (standard deviation within cases, degrees of freedom)

PRIMARY = METRICS[0]
CALIBRATED = (*METRICS, "aesthetics", "dino", "drift", "regression", "beat")  # the references decide what they mean
ORDER = (Decision.PASS, Decision.INCONCLUSIVE, Decision.FAIL, Decision.ERROR)  # the later wins
SEVERITIES = ("error", "fail", "warn")  # the first is shown first
MOST = 0.5  # the share of pictures from which a fault is the provider's and not one picture's
WHOLE = ("blank", "size")  # faults that spoil a picture wholly, so that one is enough


@dataclass(frozen=True)
class Finding:
    """One complaint and what it means for the verdict."""

    decision: Decision
    complaint: Complaint
    open: bool = False  # more pictures could settle it


def fail(metric: str, message: str) -> Finding:
    return Finding(Decision.FAIL, Complaint(metric, message, "fail"))


def unsure(metric: str, message: str, more: bool = False) -> Finding:
    """`more`: pictures could settle it."""
    return Finding(Decision.INCONCLUSIVE, Complaint(metric, message, "warn"), more)


def warn(metric: str, message: str) -> Finding:
    return Finding(Decision.PASS, Complaint(metric, message, "warn"))


def error(metric: str, message: str) -> Finding:
    return Finding(Decision.ERROR, Complaint(metric, message, "error"))


def conclude(
    findings: Sequence[Finding],
    scores: Mapping[str, Interval],
    cause: str = "",
    details: Mapping[str, Any] | None = None,
) -> Verdict:
    """The worst finding decides; a cause comes first, because it explains the others."""
    decision = max((finding.decision for finding in findings), key=ORDER.index, default=Decision.PASS)
    complaints = sorted((finding.complaint for finding in findings), key=lambda c: SEVERITIES.index(c.severity))
    if cause:
        complaints.insert(0, Complaint("cause", cause, "error" if decision is Decision.ERROR else "fail"))
    waits = list(dict.fromkeys(finding.complaint.metric for finding in findings if finding.open))
    told = {**(details or {}), "open": waits} if waits else details or {}
    return Verdict(decision, scores, tuple(complaints), cause, told)


# --- one case -----------------------------------------------------------------------------------------------------


def judge_case(
    suite: Suite, case: Case, result: CaseResult, pooled: Pooled, *, calibration: Calibration | None = None
) -> Verdict:
    """The verdict of one test: the pictures of one case by one provider.

    Args:
        pooled: the spread of seeds over all cases of the suite and provider (`pooled_sds`).
        calibration: where it must not gate, a fail becomes inconclusive; None: it is good.
    """
    if missing := missing_pictures([result]):
        return conclude([missing], {}, details={"outcome": result.outcome.value})
    values, level = metric_values([result]), level_at(suite, len(result.samples))
    scores = {name: case_interval(group, pooled.get(name, (0.0, 0)), level) for name, group in values.items() if group}
    findings = technical_findings(result.scored)
    for metric in suite.metrics(case):
        threshold = suite.threshold(case, metric)
        if metric in scores:
            findings += hold(metric, scores[metric], threshold, weakest(metric, result.scored))
        elif bounded(threshold):
            findings.append(unmeasured(metric, result.scored))
    if calibration and not calibration.can_gate:
        findings = [soften(finding, calibration.reason) for finding in findings]
    return conclude(findings, scores, details={"faults": count_faults(result.scored)})


def case_interval(values: Sequence[float], pooled: tuple[float, int], level: float = stats.LEVEL) -> Interval:
    """One case's mean; a single sample has no bounds, because its mean decides."""
    if len(values) < 2:
        return Interval(float(values[0]), None, None, 1)
    return stats.pooled_interval(values, *(pooled if pooled[1] else stats.pooled_sd([values])), level)


def pooled_sds(results: Iterable[CaseResult]) -> dict[str, tuple[float, int]]:
    """Metric to the standard deviation of seeds within cases, pooled over all cases, and its degrees of freedom."""
    groups: dict[str, list[list[float]]] = {}
    for result in results:
        for name, values in metric_values([result]).items():
            groups.setdefault(name, []).append(values)
    return {name: stats.pooled_sd(group) for name, group in groups.items()}


def hold(
    metric: str, found: Interval, threshold: Threshold, more: str = "", below: bool | None = None, tested: int = 1
) -> list[Finding]:
    """One score against its threshold.

    Args:
        more: what to add to a complaint.
        below: what Holm's correction says of "below `fail`", which then decides in place of the interval.
        tested: how many bounds that correction is for.
    """
    bound, text = threshold.fail, f"{metric} {show(found)}"
    if bound is not None:
        if found.high is None or below is None:
            below = (found.mean if found.high is None else found.high) < bound
        if below:
            return [fail(metric, f"{text} is below {bound:.2f}{more}")]
        if found.high is not None and found.high < bound:
            at_once = f"{tested} bounds are" if tested > 1 else "several bounds are"
            words = f"{text} is below {bound:.2f}, but not surely enough when {at_once} tested at once"
            return [unsure(metric, f"{words}; draw more samples", more=True)]
        if found.low is not None and found.low < bound:
            return [
                unsure(metric, f"{text}: the interval holds the threshold {bound:.2f}; draw more samples", more=True)
            ]
    if threshold.warn is not None and found.mean < threshold.warn:
        return [warn(metric, f"{text} is below the warning level {threshold.warn:.2f}{more}")]
    return []


def technical_findings(samples: Sequence[Sample]) -> list[Finding]:
    """Blank and mis-sized pictures fail; blur and flatness fail when most pictures have them, else warn."""
    findings = []
    for kind, count in count_faults(samples).items():
        message = next(fault["message"] for s in samples for fault in faults_of(s) if fault["kind"] == kind)
        text = f"{count} of {len(samples)} pictures: {message}"
        bad = kind in WHOLE or count > MOST * len(samples)
        findings.append(fail("technical", text) if bad else warn("technical", text))
    return findings


def missing_pictures(results: Sequence[CaseResult]) -> Finding | None:
    """An error when a picture, or the score of one, is not there: no missing picture is ever a score of zero."""
    if skipped := next((result.skipped for result in results if result.skipped), ""):
        return error("outcome", f"nothing was drawn: {skipped}")
    samples = [sample for result in results for sample in result.samples]
    if not samples:
        return error("outcome", "nothing was drawn: no picture was asked for")
    lost = [sample for sample in samples if sample.outcome is not Outcome.OK]
    if lost:
        kinds = ", ".join(dict.fromkeys(sample.outcome.value for sample in lost))
        said = f": {lost[0].message}" if lost[0].message else ""
        return error("outcome", f"{len(lost)} of {len(samples)} pictures are missing ({kinds}){said}")
    if unscored := sum(not sample.scores for sample in samples):
        return error("outcome", f"{unscored} of {len(samples)} pictures were drawn and not scored; run again")
    return None


def unmeasured(metric: str, samples: Sequence[Sample]) -> Finding:
    """A threshold on a metric that found no value."""
    found: list[Score] = [sample.scores[metric] for sample in samples if metric in sample.scores]
    reason = next((score.reason for score in found if score.reason), "nothing measured it")
    return unsure(metric, f"{metric} could not be measured ({reason}), so its threshold says nothing")


def soften(finding: Finding, reason: str) -> Finding:
    """What scores alone say cannot fail anything while the calibration is not good enough, nor can more of them."""
    if finding.decision is not Decision.FAIL or finding.complaint.metric not in CALIBRATED:
        return replace(finding, open=False)
    return unsure(finding.complaint.metric, f"{finding.complaint.message} (not binding: {reason})")


def weakest(metric: str, samples: Sequence[Sample], most: int = 3) -> str:
    """The traits that are missing, the worst first, as the end of a complaint."""
    if metric not in (PRIMARY, "features"):
        return ""
    traits = trait_means(samples)
    worst = sorted((mean, category, value) for (category, value), mean in traits.items() if mean < 0.5)[:most]
    return (
        "; missing: " + ", ".join(f"{category} {value!r} {mean:.2f}" for mean, category, value in worst)
        if worst
        else ""
    )


def trait_means(samples: Sequence[Sample]) -> dict[tuple[str, str], float]:
    """(category, value) to the mean score of that trait over the samples that could measure it."""
    found: dict[tuple[str, str], list[float]] = {}
    for sample in samples:
        features = sample.scores.get("features")
        for category, item in (features.details if features else {}).items():
            if isinstance(item, Mapping) and item.get("score") is not None:
                found.setdefault((category, str(item["value"])), []).append(float(item["score"]))
    return {key: sum(values) / len(values) for key, values in found.items()}


# --- the gate -----------------------------------------------------------------------------------------------------


def judge_gate(
    suite: Suite,
    provider: str,
    results: Sequence[CaseResult],
    *,
    others: Mapping[str, Sequence[CaseResult]] | None = None,
    baseline: Sequence[CaseResult] | None = None,
    applied: Applied | None = None,
    calibration: Calibration | None = None,
    evidence: Evidence | None = None,
    sets: Mapping[str, SetScore] | None = None,
) -> Verdict:
    """The suite's verdict on one gate provider.

    Args:
        results: all its cases.
        others: provider to its results, for `beat`.
        baseline: the same provider's earlier results; None: there is no baseline.
        applied: None when no LoRA is under test.
        calibration: None: good.
        evidence: what `Scorer.evidence` gathered; None: what the results tell.
        sets: what all its pictures say together, by metric.
    """
    facts = evidence or gather_evidence(provider, results, applied, calibration)
    samples = [sample for result in results for sample in result.scored]
    level = level_at(suite, max((len(result.samples) for result in results), default=0))
    values = values_by_metric(results)
    scores = {name: stats.clustered(by_case(found), level) for name, found in values.items()}
    details: dict[str, Any] = {"faults": count_faults(samples)}
    findings = [missing] if (missing := missing_pictures(results)) else []
    if not findings:
        findings += technical_findings(samples) + gate_thresholds(suite, scores, samples, level)
        findings += [
            *regression(suite, results, baseline, details, level),
            *beats(suite, provider, results, others or {}, details, level),
            *alarms(suite, sets or {}),
        ]
    if calibration:
        details["calibration"] = {**to_record(calibration.clip), "agreement": calibration.agreement}
        if not calibration.can_gate:
            findings = [soften(finding, calibration.reason) for finding in findings]
            findings.append(unsure("calibration", f"no verdict: {calibration.reason}"))
    if applied:
        details["applied"] = to_record(applied)
        findings += [] if applied.ok else [fail("applied", applied.reason)]
    if message := disagreement(facts):
        findings.append(fail("references", message))
    red = any(finding.decision in (Decision.FAIL, Decision.ERROR) for finding in findings)
    return conclude(findings, scores, diagnose(facts) if red else "", details)


def gate_thresholds(
    suite: Suite, scores: Mapping[str, Interval], samples: Sequence[Sample], level: float = stats.LEVEL
) -> list[Finding]:
    """All metrics against the suite's thresholds: the primary one at its own level, the others at Holm's."""
    bounds = {metric: suite.threshold(None, metric) for metric in suite.metrics()}
    family = [m for m in bounds if m != PRIMARY and m in scores and bounds[m].fail is not None]
    ps = stats.holm([stats.p_below(scores[m], bounds[m].fail or 0.0, level) for m in family])
    adjusted = {metric: p < (1 - level) / 2 for metric, p in zip(family, ps, strict=True)}
    findings = []
    for metric, threshold in bounds.items():
        if metric in scores:
            more = weakest(metric, samples)
            findings += hold(metric, scores[metric], threshold, more, adjusted.get(metric), len(family))
        elif bounded(threshold):
            findings.append(unmeasured(metric, samples))
    return findings


def alarms(suite: Suite, sets: Mapping[str, SetScore]) -> list[Finding]:
    """What the pictures say together, as severely as the suite takes it."""
    findings = []
    for name in ALARMS:
        found, severity = sets.get(name), suite.alarm(name)
        if found is None or severity == "off":
            continue
        if found.alarm:
            findings.append((fail if severity == "fail" else warn)(name, found.sentence))
        elif not found.judged and severity == "fail":
            findings.append(unsure(name, f"{name} was {found.sentence}"))
    return findings


def regression(
    suite: Suite,
    results: Sequence[CaseResult],
    baseline: Sequence[CaseResult] | None,
    details: dict[str, Any],
    level: float = stats.LEVEL,
) -> list[Finding]:
    """Quality against the baseline; see the module's three answers."""
    if baseline is None:
        return []
    ours, theirs = values_of(results, PRIMARY), values_of(baseline, PRIMARY)
    groups = stats.differences(ours, theirs)
    if not groups:
        return [unsure("regression", "the baseline has no case and seed in common with this run; make a new baseline")]
    gap, flips = stats.clustered(groups, level), stats.flips_of_few(groups)
    details["regression"] = to_record(gap) | ({"sign_flip_p": flips} if flips is not None else {})
    text, bound = f"quality against the baseline {show(gap, signed=True)}", f"the margin {suite.margin:.2f}"
    worse = gap.mean <= -suite.margin
    if gap.low is None or gap.high is None:
        return [unsure("regression", f"{text}: one case in common proves nothing; add cases")] if worse else []
    proven, few = stats.differs(gap, flips, level), flips_text(gap, flips, level)
    if proven and gap.high < 0 and worse:
        return [fail("regression", f"{text}: worse, and by more than {bound}{few}")]
    if gap.low >= -suite.margin:
        return []
    told = "worse, but not proven to be so by more than" if proven and gap.high < 0 else "not proven to stay within"
    more = bool({pair for pair in theirs if pair not in ours and pair[0] in {case for case, _ in ours}})
    return [unsure("regression", f"{text}: {told} {bound}{few}; add cases or samples", more)]


def beats(
    suite: Suite,
    provider: str,
    results: Sequence[CaseResult],
    others: Mapping[str, Sequence[CaseResult]],
    details: dict[str, Any],
    level: float = stats.LEVEL,
) -> list[Finding]:
    """Whether the gate stands above those it must beat: the paired interval excludes 0, or the answer stays open.

    Any one who is better fails the gate, so "better" is proven for the whole list at one level (Holm). All must be
    beaten, and for that each at its own level is enough.
    """
    quality = {name: values_of(items, PRIMARY) for name, items in {**others, provider: results}.items()}

    def gap_to(rival: str, level: float) -> Interval | None:
        if rival == BEST:
            return gap_to_best(quality, provider, suite.gate, level)[1]
        return stats.paired(quality[provider], quality.get(rival, {}), level)

    better, findings = surely_behind(suite.beat, gap_to, level), []
    for rival in suite.beat:
        gap = gap_to(rival, level)
        if gap is None:
            findings.append(unsure("beat", f"{rival} has no pictures to compare with, so it is not proven beaten"))
            continue
        details.setdefault("beat", {})[rival] = to_record(gap)
        text = f"quality against {rival} {show(gap, signed=True)}"
        if rival in better:
            findings.append(fail("beat", f"{text}: it is worse"))
        elif gap.high is not None and gap.high < 0:
            many = f"worse, but not surely enough when {len(suite.beat)} must be beaten at once"
            findings.append(unsure("beat", f"{text}: {many}; add cases or samples", more=True))
        elif gap.low is None or gap.low <= 0:
            findings.append(unsure("beat", f"{text}: not proven better; add cases or samples", more=True))
    return findings


def surely_behind(
    rivals: Sequence[str], gap_to: Callable[[str, float], Interval | None], level: float = stats.LEVEL
) -> set[str]:
    """The rivals behind whom the gate surely is, all at once: Holm's steps, each as wider intervals."""
    found: set[str] = set()
    while left := [rival for rival in rivals if rival not in found]:
        gaps = {rival: gap_to(rival, 1 - (1 - level) / len(left)) for rival in left}
        more = {rival for rival, gap in gaps.items() if gap and gap.high is not None and gap.high < 0}
        if not more:
            break
        found |= more
    return found


def wants_training(verdicts: Iterable[Verdict]) -> bool:
    """Whether a gate's verdicts, its cases' and its own, are a reason to retrain: something is proven wrong.

    An open `beat` is none. Of four equal providers each looks worse than the best of the others three times in four,
    and a retraining that chance started ends in a LoRA that chance chose.
    """
    return any(verdict.decision is Decision.FAIL for verdict in verdicts)


# --- why it is red ------------------------------------------------------------------------------------------------

STRANGER = 0.5  # below the middle between impostor and genuine it is somebody else
AMONG_THEMSELVES = 0.6  # pictures this much alike show one person
APART = 0.3  # by which they are liker to each other than to the references


def diagnose(evidence: Evidence) -> str:
    """The likeliest cause of a red gate in words, what to do included, or "" when no known one fits."""
    for probe in PROBES:
        if cause := probe(evidence):
            return cause
    return ""


def strength_zero(evidence: Evidence) -> str:
    applied = evidence.applied
    if applied is None or applied.strength != 0:
        return ""
    return f"strength is 0: {evidence.lora or 'the LoRA'} cannot change a picture; set a strength above 0"


def lora_idle(evidence: Evidence) -> str:
    applied = evidence.applied
    if applied is None or applied.ok:
        return ""
    return f"LoRA not loaded or without effect: {applied.reason}"


def absent(evidence: Evidence) -> str:
    if not evidence.missing:
        return ""
    kinds = ", ".join(f"{count} {outcome}" for outcome, count in evidence.missing.items())
    return f"pictures are missing ({kinds}): {evidence.message or 'see the outcome'}"


def blank(evidence: Evidence) -> str:
    count = evidence.faults.get("blank", 0)
    if count <= MOST * evidence.pictures:
        return ""
    return (
        f"blank images: {count} of {evidence.pictures} pictures of {evidence.provider} are one colour; "
        "look for NaN in the autoencoder (half precision) or a broken service"
    )


def blurred(evidence: Evidence) -> str:
    count = evidence.faults.get("blur", 0)
    if count <= MOST * evidence.pictures:
        return ""
    return (
        f"blurred pictures: {count} of {evidence.pictures} pictures of {evidence.provider} are far softer than every "
        "reference; check steps, size and upscaling"
    )


def disagreement(evidence: Evidence) -> str:
    """train/ and held_out/ show different people: no score against them means anything."""
    if evidence.agreement is None or evidence.agreement >= STRANGER:
        return ""
    whose = ""
    if evidence.train is not None and evidence.clip is not None and evidence.train - evidence.clip > APART:
        whose = "; the pictures look like train/, so held_out/ is the wrong one"
    return (
        f"references of another person: train/ and held_out/ do not show the same one (likeness "
        f"{evidence.agreement:.2f}, where 0 is a stranger and 1 the same){whose}; correct the reference folder"
    )


def lora_stranger(evidence: Evidence) -> str:
    """The LoRA file says that it is somebody else's."""
    made = {name: evidence.metadata.get(f"harness.{name}", "") for name in ("subject", "trigger")}
    for name, ours in (("subject", evidence.subject), ("trigger", evidence.trigger)):
        if made[name] and ours and made[name].casefold() != ours.casefold():
            return (
                f"LoRA of another person: {evidence.lora} was trained for {name} {made[name]!r}, "
                f"the suite tests {ours!r}; give the right file"
            )
    return ""


def other_references(evidence: Evidence) -> str:
    """The LoRA is this subject's, but learned from other pictures than those that judge it."""
    learned = evidence.metadata.get("harness.references", "")
    if not learned or learned == evidence.references or evidence.clip is None or evidence.clip >= STRANGER:
        return ""
    if evidence.alike is not None and evidence.alike < AMONG_THEMSELVES:
        return ""
    return (
        f"references of another person: {evidence.lora} was trained on other pictures than those in train/ now, and "
        f"what it draws does not look like them (likeness {evidence.clip:.2f}); restore them, or train again"
    )


def one_stranger(evidence: Evidence) -> str:
    """The pictures show one person, and it is not the subject."""
    if evidence.alike is None or evidence.clip is None or evidence.clip >= STRANGER:
        return ""
    if evidence.alike < AMONG_THEMSELVES or evidence.alike - evidence.clip < APART:
        return ""
    nearest = f" (nearest impostor: {evidence.likest})" if evidence.likest else ""
    return (
        f"LoRA of another person: the pictures are alike among themselves ({evidence.alike:.2f}) and unlike the "
        f"references ({evidence.clip:.2f}){nearest}; give this subject's LoRA, or check whose the references are"
    )


PROBES: tuple[Callable[[Evidence], str], ...] = (
    strength_zero,
    lora_idle,
    absent,
    blank,
    blurred,
    disagreement,
    lora_stranger,
    other_references,
    one_stranger,
)
"""The causes that can be told, the surest first."""

AREAS: Mapping[str, str] = {
    "strength is 0": "strength",
    "LoRA": "lora",
    "references": "references",
    "pictures are missing": "provider",
    "blank images": "rendering",
    "blurred pictures": "rendering",
}
"""How a cause begins, to where it is mended; never by training."""


def area_of(cause: str) -> str:
    """Where a cause, as `diagnose` words it, is mended: lora, references, strength, provider, rendering, suite."""
    return next((area for words, area in AREAS.items() if cause.startswith(words)), "suite")


# --- small things -------------------------------------------------------------------------------------------------


def metric_values(results: Sequence[CaseResult]) -> dict[str, list[float]]:
    """Metric to every value that could be measured, `prompt` and `technical` too."""
    found: dict[str, list[float]] = {}
    for result in results:
        for sample in result.scored:
            for name, score in sample.scores.items():
                found.setdefault(name, []).extend([] if score.value is None else [score.value])
    return found


def bounded(threshold: Threshold) -> bool:
    return threshold.fail is not None or threshold.warn is not None


def show(found: Interval, signed: bool = False) -> str:
    """A mean and its interval: "0.71 [0.66, 0.76]"; a difference with its sign and a place more."""
    return bounds_text(to_record(found), signed, places=3 if signed else 2)
