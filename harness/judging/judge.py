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

from harness.core import stats
from harness.core.stats.calibration import Calibration
from harness.core.text import bounds_text
from harness.core.values import (
    ALARMS,
    Case,
    CaseResult,
    Decision,
    Interval,
    Sample,
    SetScore,
    Suite,
    Verdict,
    to_record,
)
from harness.judging.adaptive import BEST, level_at
from harness.judging.blind import cannot_judge, left_out
from harness.judging.causes import diagnose_gate, look_for
from harness.judging.changes import flips_text
from harness.judging.complaints import (
    PRIMARY,
    JudgedComplaint,
    bounded,
    conclude,
    fail,
    hold,
    missing_pictures,
    soften,
    technical_findings,
    unmeasured,
    unsure,
    warn,
    weakest,
)
from harness.judging.leaderboard import gap_to_best
from harness.judging.scores import by_case, on_one_scale, values_by_metric
from harness.scoring.metrics.applied import Applied
from harness.scoring.metrics.evidence import Evidence, count_faults, gather_evidence

Pooled = Mapping[str, tuple[float, int]]  # metric to (standard deviation within cases, degrees of freedom)


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
    values, level = values_by_metric([result]), level_at(suite, len(result.samples))
    scores = {
        name: case_interval(list(group.values()), pooled.get(name, (0.0, 0)), level) for name, group in values.items()
    }
    findings = technical_findings(result.scored)
    for metric in suite.metrics(case):
        threshold = suite.threshold(case, metric)
        if metric in scores:
            findings += hold(metric, scores[metric], threshold, weakest(metric, result.scored))
        elif bounded(threshold):
            findings.append(unmeasured(metric, result.scored))
    findings += left_out(result.scored)
    if why := cannot_judge(calibration, result.scored):
        findings = [soften(finding, why) for finding in findings]
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
        for name, values in values_by_metric([result]).items():
            groups.setdefault(name, []).append(list(values.values()))
    return {name: stats.pooled_sd(group) for name, group in groups.items()}


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
    scores = {name: stats.clustered(by_case(match), level) for name, match in values.items()}
    details: dict[str, object] = {"faults": count_faults(samples)}
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
    findings += left_out(samples)
    if why := cannot_judge(calibration, samples):
        findings = [soften(finding, why) for finding in findings]
        findings.append(unsure("calibration", f"no verdict: {why}"))
    if applied:
        details["applied"] = to_record(applied)
        findings += [] if applied.ok else [fail("applied", applied.reason)]
    findings += [fail("references", cause.sentence) for cause in look_for("references_disagree", facts)]
    red = any(finding.decision in (Decision.FAIL, Decision.ERROR) for finding in findings)
    return conclude(findings, scores, diagnose_gate(facts) if red else None, details)


def gate_thresholds(
    suite: Suite, scores: Mapping[str, Interval], samples: Sequence[Sample], level: float = stats.LEVEL
) -> list[JudgedComplaint]:
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


def alarms(suite: Suite, sets: Mapping[str, SetScore]) -> list[JudgedComplaint]:
    """What the pictures say together, as severely as the suite takes it."""
    findings = []
    for name in ALARMS:
        result, severity = sets.get(name), suite.alarm(name)
        if result is None or severity == "off":
            continue
        if result.alarm:
            findings.append((fail if severity == "fail" else warn)(name, result.sentence))
        elif not result.judged and severity == "fail":
            findings.append(unsure(name, f"{name} was {result.sentence}"))
    return findings


def regression(
    suite: Suite,
    results: Sequence[CaseResult],
    baseline: Sequence[CaseResult] | None,
    details: dict[str, object],
    level: float = stats.LEVEL,
) -> list[JudgedComplaint]:
    """Quality against the baseline; see the module's three answers."""
    if baseline is None:
        return []
    ours, theirs = (side[PRIMARY] for side in on_one_scale(results, baseline, metrics=(PRIMARY,)))
    groups = stats.differences(ours, theirs)
    if not groups:
        return [unsure("regression", "the baseline has no case and seed in common with this run; make a new baseline")]
    gap, flips = stats.clustered(groups, level), stats.flips_of_few(groups)
    details["regression"] = to_record(gap) | ({"sign_flip_p": flips} if flips is not None else {})
    text = f"quality against the baseline {bounds_text(gap, signed=True, places=3)}"
    bound = f"the margin {suite.margin:.2f}"
    worse = gap.mean <= -suite.margin
    if gap.low is None or gap.high is None:
        return [unsure("regression", f"{text}: one case in common proves nothing; add cases")] if worse else []
    proven, few = stats.differs(gap, flips, level), flips_text(gap, flips, level)
    if proven and gap.high < 0 and worse:
        return [fail("regression", f"{text}: worse, and by more than {bound}{few}")]
    if gap.low >= -suite.margin:
        return []
    message = "worse, but not proven to be so by more than" if proven and gap.high < 0 else "not proven to stay within"
    more = bool({pair for pair in theirs if pair not in ours and pair[0] in {case for case, _ in ours}})
    return [unsure("regression", f"{text}: {message} {bound}{few}; add cases or samples", more)]


def beats(
    suite: Suite,
    provider: str,
    results: Sequence[CaseResult],
    others: Mapping[str, Sequence[CaseResult]],
    details: dict[str, object],
    level: float = stats.LEVEL,
) -> list[JudgedComplaint]:
    """Whether the gate stands above those it must beat: the paired interval excludes 0, or the answer stays open.

    Any one who is better fails the gate, so "better" is proven for the whole list at one level (Holm). All must be
    beaten, and for that each at its own level is enough.
    """
    everybody = {**others, provider: results}
    sides = on_one_scale(*everybody.values(), metrics=(PRIMARY,))
    quality = {name: side[PRIMARY] for name, side in zip(everybody, sides, strict=True)}

    def gap_to(rival: str, level: float) -> Interval | None:
        if rival == BEST:
            return gap_to_best(quality, provider, suite.gate, level)[1]
        return stats.paired(quality[provider], quality.get(rival, {}), level)

    better, findings = surely_behind(suite.beat, gap_to, level), []
    gaps: dict[str, object] = {}
    for rival in suite.beat:
        gap = gap_to(rival, level)
        if gap is None:
            findings.append(unsure("beat", f"{rival} has no pictures to compare with, so it is not proven beaten"))
            continue
        gaps[rival] = to_record(gap)
        details["beat"] = gaps
        text = f"quality against {rival} {bounds_text(gap, signed=True, places=3)}"
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
    result: set[str] = set()
    while left := [rival for rival in rivals if rival not in result]:
        gaps = {rival: gap_to(rival, 1 - (1 - level) / len(left)) for rival in left}
        more = {rival for rival, gap in gaps.items() if gap and gap.high is not None and gap.high < 0}
        if not more:
            break
        result |= more
    return result


def wants_training(verdicts: Iterable[Verdict]) -> bool:
    """Whether something is proven wrong, which alone is a reason to retrain.

    An open `beat` is none. Of four equal providers each looks worse than the best of the others three times in four,
    and a retraining that chance started ends in a LoRA that chance chose.
    """
    return any(verdict.decision is Decision.FAIL for verdict in verdicts)
