"""Scores to verdicts: pure functions of what was drawn and scored.

A score is held against `fail` with its 95% interval, and there are three answers:

    the interval lies below `fail`          fail
    the interval holds `fail`               inconclusive (a warning; red only with `on_inconclusive: fail`)
    the interval lies above `fail`          pass, with a warning when the mean is below `warn`

With one sample the mean decides. A case's interval takes its spread from all cases of the suite (three seeds alone
say too little), and a red one is confirmed (`judging.confirmation`). A gate's interval is that of the suite's own
prompts (`judging.prompts`), `quality` is its primary metric, and the others are held against theirs at Holm's level.
The difference to a baseline, paired by prompt and seed, has three answers too:

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
from harness.core.stats import Pair
from harness.core.stats.calibration import Calibration
from harness.core.text import bounds_text
from harness.core.values import (
    ALARMS,
    PROMPT_ONLY,
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
from harness.judging.adaptive import BEST, gate_seeds, is_last_look, level_at
from harness.judging.blind import cannot_judge, left_out
from harness.judging.causes import diagnose_gate, look_for
from harness.judging.changes import flips_text
from harness.judging.complaints import (
    PRIMARY,
    JudgedComplaint,
    blind,
    bounded,
    conclude,
    fail,
    hold,
    judge_blindly,
    missing_pictures,
    technical_findings,
    unmeasured,
    unsure,
    warn,
    weakest,
)
from harness.judging.following import MARGIN, PROMPT, judge_following
from harness.judging.leaderboard import gap_to_best
from harness.judging.prompts import Values, fallen_prompts, other_prompts, own_prompts, p_below
from harness.judging.scores import on_one_scale, values_by_metric
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
        calibration: where it must not gate, nothing is judged that takes references; None: it is good.
    """
    if missing := missing_pictures([result]):
        return conclude([missing], {}, details={"outcome": result.outcome.value})
    values, level = values_by_metric([result]), level_at(suite, len(result.samples))
    scores = {
        name: case_interval(list(group.values()), pooled.get(name, (0.0, 0)), level) for name, group in values.items()
    }
    reason = cannot_judge(calibration, result.scored)
    findings = technical_findings(result.scored, not reason)
    for metric in suite.metrics(case):
        threshold = suite.threshold(case, metric)
        if metric == PROMPT and metric not in case.thresholds:
            continue  # which questions can be read takes all cases and those who draw without the LoRA: the gate's
        if metric in scores:
            findings += hold(metric, scores[metric], threshold, weakest(metric, result.scored))
        elif bounded(threshold):
            findings.append(unmeasured(metric, result.scored))
    findings += left_out(result.scored)
    if reason:
        findings = judge_blindly(findings, reason, result.scored)
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
    level = level_at(suite, gate_seeds(results))
    values = values_by_metric(results)
    scores = own_prompts(values, level)
    others_like = to_record(other_prompts(values, level))
    details: dict[str, object] = {"faults": count_faults(samples), "other_prompts": others_like}
    reason = cannot_judge(calibration, samples)
    findings = [missing] if (missing := missing_pictures(results)) else []
    if not findings:
        following = judge_following(suite, results, others or {}, baseline, details, level)
        scores |= {PROMPT: following.score} if following.score else {}
        findings += technical_findings(samples, not reason) + gate_thresholds(suite, values, samples, level)
        findings += [
            *following.findings,
            *regression(suite, results, baseline, details, level),
            *beats(suite, provider, results, others or {}, details, level, is_enough(calibration)),
            *alarms(suite, sets or {}),
            *idle(suite),
        ]
    if calibration:
        details["calibration"] = {**to_record(calibration.clip), "agreement": calibration.agreement}
    findings += left_out(samples)
    if reason:
        details["blind"] = reason
        findings = judge_blindly(findings, reason, samples)
    if applied:
        details["applied"] = to_record(applied)
        findings += [] if applied.ok else [fail("applied", applied.reason)]
    for name, say in (("references_disagree", fail), ("references_swapped", fail), ("trained_elsewhere", warn)):
        findings += [say("references", cause.sentence) for cause in look_for(name, facts)]
    red = any(finding.decision in (Decision.FAIL, Decision.ERROR) for finding in findings)
    return conclude(findings, scores, diagnose_gate(facts) if red else None, details)


def gate_thresholds(
    suite: Suite, values: Values, samples: Sequence[Sample], level: float = stats.LEVEL
) -> list[JudgedComplaint]:
    """All metrics against the suite's thresholds: the primary one at its own level, the others at Holm's.

    `prompt` is the second primary one, and judged in `harness.judging.following`.
    """
    scores = own_prompts(values, level)
    bounds = {metric: suite.threshold(None, metric) for metric in suite.metrics() if metric != PROMPT}
    family = [m for m in bounds if m != PRIMARY and m in scores and bounds[m].fail is not None]
    ps = stats.holm([p_below(values[m], bounds[m].fail or 0.0, level) for m in family])
    adjusted = {metric: p < (1 - level) / 2 for metric, p in zip(family, ps, strict=True)}
    findings = []
    for metric, threshold in bounds.items():
        if metric in scores:
            more = weakest(metric, samples)
            findings += hold(metric, scores[metric], threshold, more, adjusted.get(metric), len(family))
        elif bounded(threshold):
            findings.append(unmeasured(metric, samples))
    return findings


def idle(suite: Suite) -> list[JudgedComplaint]:
    """Bounds that nothing can fall below, so that a green gate proves nothing of them."""
    bounds = {metric: suite.threshold(None, metric) for metric in suite.metrics()}
    text = "can never fail, as no score lies below 0; raise it or leave it out"
    return [warn(metric, f"fail {bound.fail:g} of {metric} {text}") for metric, bound in bounds.items() if bound.idle]


def alarms(suite: Suite, sets: Mapping[str, SetScore]) -> list[JudgedComplaint]:
    """What the pictures say together, as severely as the suite takes it."""
    findings = []
    for name in ALARMS:
        result, severity = sets.get(name), suite.alarm(name)
        if result is None or severity == "off":
            continue
        if result.alarm:
            red = severity == "fail" or result.details.get("widespread") is True
            findings.append((fail if red else warn)(name, result.sentence))
        elif not result.judged and suite.alarms.get(name) == "fail":  # the suite's own word, no default
            findings.append(unsure(name, f"{name} was {result.sentence}"))
    return findings


def regression(
    suite: Suite,
    results: Sequence[CaseResult],
    baseline: Sequence[CaseResult] | None,
    details: dict[str, object],
    level: float = stats.LEVEL,
) -> list[JudgedComplaint]:
    """Quality against the baseline: each prompt's own, and their mean by the module's three answers."""
    if baseline is None:
        return []
    ours, theirs = (side[PRIMARY] for side in on_one_scale(results, baseline, metrics=(PRIMARY,)))
    groups = stats.differences(ours, theirs)
    if not groups:
        return [unsure("regression", "the baseline has no case and seed in common with this run; make a new baseline")]
    fell = fallen_prompts(results, baseline, details, level)
    return [*fell, *mean_regression(suite, groups, details, level, more_of(ours, theirs))]


def more_of(ours: Mapping[Pair, float], theirs: Mapping[Pair, float]) -> bool:
    """Whether the baseline has seeds of prompts that were drawn, which were not."""
    return bool({pair for pair in theirs if pair not in ours and pair[0] in {prompt for prompt, _ in ours}})


def mean_regression(
    suite: Suite, groups: stats.Groups, details: dict[str, object], level: float, more: bool
) -> list[JudgedComplaint]:
    """The mean over prompts against the baseline, clustered by prompt.

    Prompts and not their seeds are what is counted here, though they are the suite's own: a training with another seed
    moves every prompt by a little, and the seeds of the pictures know nothing of that.

    Args:
        groups: prompt to its paired differences.
        more: the baseline has pictures that could be drawn and compared.
    """
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
    return [unsure("regression", f"{text}: {message} {bound}{few}; add cases or samples", more)]


def beats(
    suite: Suite,
    provider: str,
    results: Sequence[CaseResult],
    others: Mapping[str, Sequence[CaseResult]],
    details: dict[str, object],
    level: float = stats.LEVEL,
    enough: bool = False,
) -> list[JudgedComplaint]:
    """Whether the gate is proven to stand above those it must beat: at the last look what is not proven is red.

    Above one whom the suite gives an allowance stands who is proven not to be behind by as much. Any one who is better
    fails the gate, so "better" is proven for the whole list at one level (Holm). All must be beaten, and for that each
    at its own level is enough.

    Args:
        enough: a prompt alone draws somebody whom the scorer takes for the subject, so that there is nothing to gain on
            `prompt_only`, and not to lose to it is what is asked.
    """
    everybody = {**others, provider: results}
    sides = on_one_scale(*everybody.values(), metrics=(PRIMARY,))
    quality = {name: side[PRIMARY] for name, side in zip(everybody, sides, strict=True)}

    def gap_to(rival: str, level: float) -> Interval | None:
        if rival == BEST:
            return gap_to_best(quality, provider, suite.gate, level)[1]
        return stats.paired(quality[provider], quality.get(rival, {}), level)

    def allowed(rival: str) -> float:
        same = MARGIN if enough and rival == PROMPT_ONLY else 0.0
        return max(same, suite.allowances.get(rival, 0.0))

    def lead_on(rival: str, level: float) -> Interval | None:
        gap = gap_to(rival, level)
        return shifted(gap, allowed(rival)) if gap else None

    better, findings = surely_behind(suite.beat, lead_on, level), []
    last = is_last_look(suite, gate_seeds(results))
    gaps: dict[str, object] = {}
    for rival in suite.beat:
        gap = gap_to(rival, level)
        if gap is None:
            findings.append(blind("beat", f"cannot judge: {rival} has no pictures to compare with, so none is beaten"))
            continue
        gaps[rival] = to_record(gap)
        details["beat"] = gaps
        text = f"quality against {rival} {bounds_text(gap, signed=True, places=3)}"
        if rival in better:
            findings.append(fail("beat", f"{text}: it is worse{by(allowed(rival))}"))
        elif gap.low is None:
            findings.append(blind("beat", f"cannot judge: {text}: one case in common proves nothing; add cases"))
        elif gap.low + allowed(rival) <= 0:
            findings.append(unproven(suite, shifted(gap, allowed(rival)), text, last, allowed(rival)))
    return findings


def by(allowance: float) -> str:
    """Words behind "worse"."""
    return f" by more than the {allowance:g} allowed" if allowance else ""


def shifted(gap: Interval, up: float) -> Interval:
    """The interval moved up."""
    low, high = (None if bound is None else bound + up for bound in (gap.low, gap.high))
    return Interval(gap.mean + up, low, high, gap.n)


def is_enough(calibration: Calibration | None) -> bool:
    """Whether the scorer finds lookalikes among the references."""
    return bool(calibration and calibration.sight and calibration.sight.enough)


def unproven(suite: Suite, lead: Interval, text: str, last: bool, allowance: float) -> JudgedComplaint:
    """A rival that is not proven beaten: more pictures may prove it, and after the last of them it is red."""
    many = f"worse{by(allowance)}, but not surely enough when {len(suite.beat)} must be beaten at once"
    undecided = f"not proven to stay within {allowance:g}" if allowance else "not proven better"
    words = f"{text}: {many if lead.high is not None and lead.high < 0 else undecided}; add cases or samples"
    return fail("beat", words, proven=False) if last else unsure("beat", words, more=True)


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

    A `beat` that is red because it is not proven is none. Of four equal providers each looks worse than the best of the
    others three times in four, and a retraining that chance started ends in a LoRA that chance chose.
    """
    return any(verdict.decision is Decision.FAIL and not verdict.details.get("unproven") for verdict in verdicts)
