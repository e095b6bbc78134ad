"""What fails, how far, and what to do about it: the record that a person reads and that a train plan is made from.

Only open cases are read: what a locked case shows must never reach a training.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from harness.core.stats import Pair, clustered, differences
from harness.core.text import bounds_text, measured_text
from harness.core.values import (
    WITHOUT_LORA,
    CaseResult,
    Decision,
    Interval,
    Job,
    Outcome,
    SetScore,
    Suite,
    Trait,
    Verdict,
    to_record,
)
from harness.judging.causes import HEALTHY, area_of, diagnose_lora, find_problems
from harness.judging.causes.cause import Cause
from harness.judging.causes.lora import DiagnosticInputs
from harness.judging.causes.pictures import ProviderFacts
from harness.judging.leaderboard import Results, all_ranks, gap_to_best, interval_of
from harness.judging.scores import possible, possible_change, trait_values, values_of
from harness.scoring.references import TraitReading

GOOD = 0.6  # the band "good" begins here; what a trait is held against when the suite sets no bound for features
PRIORITIES = ("high", "medium", "low")
PROOFS = 3  # pictures that show a shortfall, the worst first


@dataclass(frozen=True)
class Recommendation:
    """One thing to do."""

    area: str  # of a cause (`harness.judging.causes`), suite, evaluation or competition
    message: str
    priority: str  # high, medium or low
    evidence: Mapping[str, Any] = field(default_factory=dict)  # the figures behind it, plain JSON


@dataclass(frozen=True)
class Shortfall:
    """One metric, trait or case that is below its bound."""

    kind: str  # "metric", "trait" or "case"
    name: str  # the metric; "facial_hair: thin mustache"; the case's id
    score: Interval | None  # calibrated; None when nothing could be measured
    target: float | None  # what it should reach
    certain: bool  # the whole interval lies below the target
    category: str = ""  # of a trait
    value: str = ""  # of a trait
    cases: tuple[str, ...] = ()  # where it shows, the worst first
    images: tuple[str, ...] = ()  # SHA-256 of the pictures that prove it, the worst first
    bound: str = "fail"  # which of the two the target is; "warn": no reason to fail anything

    @property
    def gap(self) -> float | None:
        """How far below its target, above 0."""
        return None if self.score is None or self.target is None else self.target - self.score.mean


@dataclass(frozen=True)
class Feedback:
    """How a suite's gate provider stands, and what would mend it."""

    suite: str
    provider: str
    lora_score: float | None  # calibrated quality, mean over the open cases
    best_competitor: str | None
    competitor_score: float | None
    lead: Interval | None  # quality minus the best of the others', paired, corrected for their number
    failing: bool  # a case or the gate is red or broke
    metrics: tuple[Shortfall, ...] = ()
    traits: tuple[Shortfall, ...] = ()
    cases: tuple[Shortfall, ...] = ()
    recommendations: tuple[Recommendation, ...] = ()
    cause: str = ""  # a diagnosed fault; mend it before training anything
    warned: tuple[Shortfall, ...] = ()  # metrics between `fail` and `warn`: they fail nothing
    intervals: Mapping[str, Interval | None] = field(default_factory=dict)  # of the three scores above, by their names
    areas: Mapping[str, Interval] = field(default_factory=dict)  # how far each lags behind the best competitor
    leaders: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # the best two of all, by area and trait

    def to_record(self) -> dict[str, object]:
        """Plain JSON, with each shortfall's gap written out; two keys of `results.json` are older than their names."""
        record: dict[str, Any] = to_record(self)
        record |= {"score_gap": record.pop("lead"), "needs_improvement": record.pop("failing")}
        for kind in ("metrics", "traits", "cases", "warned"):
            for shortfall, item in zip(record[kind], getattr(self, kind), strict=True):
                shortfall["gap"] = item.gap
        return record


def feedback(
    suite: Suite,
    verdicts: Mapping[Job, Verdict],
    results: Results,
    traits: Sequence[Trait] = (),
    *,
    gate: Verdict | None = None,
    provider: str | None = None,
    sets: Mapping[str, SetScore] | None = None,
    readings: Sequence[TraitReading] = (),
    causes: Sequence[Cause] = (),
) -> Feedback:
    """The feedback of one gate provider.

    Args:
        suite: with its thresholds.
        verdicts: of the provider's cases; others' are ignored.
        results: of every provider, by its name.
        traits: the subject's, to name what a lagging category should show.
        gate: the suite's verdict on the provider, when there is one.
        provider: which; the suite's first gate provider that has results.
        sets: what its pictures of open cases say together, by metric.
        readings: every category of the vocabulary as the training pictures show it.
        causes: what a retraining found to be wrong with the LoRA and what it learnt from.
    """
    open_cases = {case.id for case in suite.cases if case.split == "open"}
    results = {name: [item for item in items if item.job.case in open_cases] for name, items in results.items()}
    name = provider or next((name for name in suite.gate if results.get(name)), suite.gate[0] if suite.gate else "")
    own = results.get(name, ())
    judged = {job: item for job, item in verdicts.items() if job.provider == name and job.case in open_cases}
    every_quality = {other: values_of(items, "quality") for other, items in {name: own, **results}.items()}
    rival, gap = gap_to_best(every_quality, name, suite.gate)
    lead = possible_change(gap) if gap else None
    quality, rival_quality = (mean_of(every_quality[each]) if each else None for each in (name, rival))
    low = low_metrics(suite, own)
    failing, warned = (tuple(item for item in low if item.bound == bound) for bound in ("fail", "warn"))
    short = (failing, lagging_traits(suite, own, traits), failing_cases(suite, own, judged))
    every = [gate, *judged.values()] if gate else list(judged.values())
    bad = any(item.decision in (Decision.FAIL, Decision.ERROR) for item in every)
    faulty = next((item for item in every if item.cause), None)
    facts = facts_of(short, results, name, gate, sets or {}, readings)
    others = [*(about_causes(causes, facts) if bad else []), *map(_about_metric, warned)]
    # a LoRA of somebody else has every problem at once, and no training mends one of them
    advice = about_fault(faulty, facts) if faulty else recommend(*short, facts, rival, lead, every, others)
    return Feedback(
        suite=suite.name, provider=name,
        lora_score=quality.mean if quality else None,
        best_competitor=rival,
        competitor_score=rival_quality.mean if rival_quality else None,
        lead=lead, failing=bad,
        metrics=short[0], traits=short[1], cases=short[2], warned=warned,
        recommendations=advice,
        cause=faulty.cause if faulty else "",
        intervals={"lora_score": quality, "competitor_score": rival_quality, "score_gap": lead},
        areas=lags(own, results[rival]) if rival else {},
        leaders=best_two(results),
    )  # fmt: skip


def facts_of(
    short: Sequence[Sequence[Shortfall]],
    results: Results,
    provider: str,
    gate: Verdict | None,
    sets: Mapping[str, SetScore],
    readings: Sequence[TraitReading],
) -> ProviderFacts:
    """What the problems of LoRA practice are told from; only what is sure counts as low.

    Args:
        short: metrics and traits below their bounds.
        results: of every provider, open cases alone.
    """
    low, lagging = ([item for item in group if item.certain] for group in short[:2])
    return ProviderFacts(
        results.get(provider, ()),
        next((results[other] for other in WITHOUT_LORA if results.get(other)), ()),
        low={item.name: item.score for item in low if item.score},
        lagging={item.category: item.score for item in lagging if item.score},
        sets=sets,
        readings={reading.category: reading for reading in readings},
        applied=gate.details.get("applied", {}) if gate else {},
    )


def mean_of(values: Mapping[Pair, float]) -> Interval | None:
    """The mean of scores, with the part of its interval where scores can lie."""
    return possible(mean) if (mean := interval_of(values)) else None


def lags(own: Sequence[CaseResult], rival: Sequence[CaseResult]) -> dict[str, Interval]:
    """How far the LoRA lags behind a competitor in each metric, over pictures of the same prompt and seed; above 0."""
    groups = {area: differences(values_of(rival, name), values_of(own, name)) for name, area in AREAS.items()}
    return {area: possible_change(clustered(each)) for area, each in groups.items() if each}


def best_two(results: Results) -> dict[str, tuple[str, ...]]:
    """The first two providers in each area and category of traits, on the pictures that all drew."""
    metrics, traits = all_ranks(results, tuple(AREAS))
    ranks = {**{AREAS[name]: own for name, own in metrics.items()}, **traits}
    return {name: tuple(sorted(own, key=lambda provider: (own[provider], provider))[:2]) for name, own in ranks.items()}


# --- feedback.json ------------------------------------------------------------------------------------------------

FILE_SCHEMA = 2  # 1 had `score_gap` with the other sign, and called failing what needs improvement
AREAS = {"clip": "clip_similarity", "features": "feature_matching", "ssim": "ssim"}
NOTHING: Mapping[str, Any] = {
    "lora_score": None,
    "best_competitor": None,
    "competitor_score": None,
    "score_gap": None,
    "needs_improvement": False,
    "recommendations": [],
    "intervals": {},
    "areas": {},
    "leaders": {},
}


def feedback_file(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The content of `feedback.json`: the provider most in need, its scores plain numbers; the rest under `others`.

    Names, signs and meanings are those of training scripts that compare a LoRA with services: whatever is called gap
    is above 0 where the LoRA is behind, and what is behind the best competitor needs improvement.

    Args:
        records: `Feedback.to_record()` of each gate provider, whose `score_gap` is the LoRA's lead.
    """
    first, *others = sorted(records, key=lambda record: not record.get("needs_improvement")) or [NOTHING]
    return {"schema": FILE_SCHEMA, **as_behind(first), "others": [as_behind(other) for other in others]}


def as_behind(record: Mapping[str, Any]) -> dict[str, Any]:
    """One provider's record with the best competitor's lead over the LoRA in place of the LoRA's."""
    lead, intervals = record.get("score_gap"), record.get("intervals", {})
    known = Interval(**lead) if isinstance(lead, Mapping) else None if lead is None else Interval(lead)
    gap = negated(known) if known else None
    behind = {"score_gap": gap.mean if gap else None, "needs_improvement": gap.mean > 0 if gap else None}
    intervals = {**intervals, "score_gap": to_record(gap)} if gap else intervals
    return {**record, **behind, "failing": record.get("needs_improvement", False), "intervals": intervals}


def negated(change: Interval) -> Interval:
    """The same difference from the other side."""
    low, high = (None if bound is None else 0.0 - bound for bound in (change.high, change.low))
    return replace(change, mean=0.0 - change.mean, low=low, high=high)


# --- shortfalls ---------------------------------------------------------------------------------------------------


def low_metrics(suite: Suite, results: Sequence[CaseResult]) -> tuple[Shortfall, ...]:
    """Metrics whose mean is under `fail`, or else under `warn`, the furthest first.

    Held against the suite's bounds over all open cases; a metric that single cases bound, over those cases.
    """
    findings = []
    open_cases = [case for case in suite.cases if case.split == "open"]
    for metric in dict.fromkeys(name for case in open_cases for name in (*suite.thresholds, *case.thresholds)):
        held = {case.id: suite.thresholds.get(metric) or case.thresholds.get(metric) for case in open_cases}
        for bound in ("fail", "warn"):
            limits = {case: limit for case, each in held.items() if (limit := getattr(each, bound, None)) is not None}
            values = values_of([result for result in results if result.job.case in limits], metric)
            target = sum(limits.values()) / len(limits) if limits else None
            if shortfall := _shortfall("metric", metric, values, target, results, bound=bound):
                findings.append(shortfall)
                break
    return _furthest_first(findings)


def lagging_traits(suite: Suite, results: Sequence[CaseResult], traits: Sequence[Trait]) -> tuple[Shortfall, ...]:
    """Traits that the pictures show too rarely, the furthest first."""
    bound = suite.threshold(None, "features")
    target = next((value for value in (bound.fail, bound.warn) if value is not None), GOOD)
    known = {trait.category: trait.value for trait in traits}
    findings = []
    for category, values in trait_values(results).items():
        value = known.get(category, "")
        name = f"{category}: {value}" if value else category
        shortfall = _shortfall("trait", name, values, target, results, category, value)
        if shortfall:
            findings.append(shortfall)
    return _furthest_first(findings)


def failing_cases(
    suite: Suite, results: Sequence[CaseResult], verdicts: Mapping[Job, Verdict]
) -> tuple[Shortfall, ...]:
    """Open cases whose verdict is fail or error, the furthest first; each by the metric that fails it most."""
    findings = []
    for result in results:
        verdict = verdicts.get(result.job)
        if verdict is None or verdict.decision not in (Decision.FAIL, Decision.ERROR):
            continue
        case = suite.case(result.job.case)
        bounds = {metric: suite.threshold(case, metric).fail for metric in verdict.scores}
        gaps = {metric: bound - verdict.scores[metric].mean for metric, bound in bounds.items() if bound is not None}
        worst = max(gaps, key=lambda metric: gaps[metric]) if gaps else "quality"
        images = _worst_images([result], values_of([result], worst))
        certain = verdict.decision is Decision.FAIL
        score, target = verdict.scores.get(worst), bounds.get(worst)
        findings.append(Shortfall("case", case.id, score, target, certain, cases=(case.id,), images=images))
    return _furthest_first(findings)


def _shortfall(
    kind: str,
    name: str,
    values: Mapping[Pair, float],
    target: float | None,
    results: Sequence[CaseResult],
    category: str = "",
    value: str = "",
    bound: str = "fail",
) -> Shortfall | None:
    """None when there is nothing to say: no bound, nothing measured, or the mean is not below the bound."""
    score = mean_of(values)
    if score is None or target is None or score.mean >= target:
        return None
    worst = sorted(values, key=lambda pair: values[pair])
    cases = tuple(dict.fromkeys(str(case) for case, _ in worst if values[case, _] < target))
    certain = score.high is not None and score.high < target
    images = _worst_images(results, values)
    return Shortfall(kind, name, score, target, certain, category, value, cases, images, bound)


def _worst_images(results: Sequence[CaseResult], values: Mapping[Pair, float]) -> tuple[str, ...]:
    images: dict[Pair, str | None] = {
        (result.prompt_id, sample.seed): sample.image for result in results for sample in result.scored
    }
    worst = sorted(values, key=lambda pair: values[pair])
    return tuple(image for pair in worst if (image := images.get(pair)))[:PROOFS]


def _furthest_first(items: Iterable[Shortfall]) -> tuple[Shortfall, ...]:
    return tuple(sorted(items, key=lambda item: -(item.gap if item.gap is not None else 1.0)))


# --- recommendations ----------------------------------------------------------------------------------------------

ADVICE: Mapping[str, tuple[str, str]] = {
    "quality": ("training", "train longer or from more varied pictures of the subject"),
    "clip": ("training", "the pictures are not the subject: train longer, or raise the LoRA's strength"),
    "features": (
        "data",
        "traits are missing: give the pictures that show them more weight, and name them in the captions",
    ),
    "ssim": (
        "rendering",
        "sharpness or contrast is unlike the references: lower the strength, or check for blur and noise",
    ),
    "prompt": ("data", "pictures do not show what prompts ask for: lower the strength, or vary pictures and captions"),
    "technical": ("rendering", "pictures have technical faults, named beside them: check size, steps and dtype"),
    "aesthetics": ("rendering", "less pleasing than the references: look for blur and compression in the training set"),
    "dino": ("training", "the pictures are not the subject: train longer, or raise the LoRA's strength"),
}


def advice_for(metric: str) -> tuple[str, str]:
    """Area and remedy of a metric that falls short."""
    return ADVICE.get(metric, ("training", "look at the worst pictures"))


def about_fault(verdict: Verdict, facts: ProviderFacts) -> tuple[Recommendation, ...]:
    """What to mend before anything else, and nothing besides: figures of a run with such a fault advise wrongly."""
    message, evidence = f"mend this first, training cannot: {verdict.cause}", {"cause": verdict.cause}
    return Recommendation(area_of(verdict.cause_name), message, "high", evidence), *_about_outcomes(facts.own)


def recommend(
    metrics: Sequence[Shortfall],
    traits: Sequence[Shortfall],
    cases: Sequence[Shortfall],
    facts: ProviderFacts,
    rival: str | None,
    lead: Interval | None,
    verdicts: Sequence[Verdict],
    others: Sequence[Recommendation] = (),
) -> tuple[Recommendation, ...]:
    """What to do, the most urgent first; `others` are known already."""
    advice = [*others, *_about_outcomes(facts.own)]
    advice += [about_cause(cause, cause.figures) for cause in find_problems(facts)]
    advice += [_about_metric(item) for item in metrics]
    for item in traits:
        message = (
            f"{item.name} scores {measured_text(item.score)}, wanted {item.target:.2f}; "
            "weight the training pictures that show it, and say it in their captions"
        )
        advice.append(Recommendation("data", message, "high" if item.certain else "medium", evidence_of(item)))
    if cases and not metrics:
        names = ", ".join(item.name for item in cases[:5]) + (" ..." if len(cases) > 5 else "")
        message = f"the LoRA is good on average but fails on single prompts ({names}): add pictures of such scenes"
        advice.append(Recommendation("data", message, "medium", {"cases": [item.name for item in cases]}))
    if any(item.decision is Decision.INCONCLUSIVE for item in verdicts):
        message = "some verdicts stay open; more seeds decide them: --samples with twice the number"
        advice.append(Recommendation("evaluation", message, "low"))
    if rival and lead and lead.mean < 0:
        behind = lead.high is not None and lead.high < 0
        better, shown = "better" if behind else "about as well", bounds_text(negated(lead), signed=True)
        evidence = {"competitor": rival, "score_gap": to_record(negated(lead))}
        message = f"{rival} draws the subject {better}: {shown} between them"
        advice.append(Recommendation("competition", message, "medium" if behind else "low", evidence))
    return tuple(sorted(advice, key=lambda item: PRIORITIES.index(item.priority)))


def _about_metric(item: Shortfall) -> Recommendation:
    """What mends a metric; between `fail` and `warn` nothing fails, and the advice can wait."""
    area, remedy = advice_for(item.name)
    short = f"{item.name} is {measured_text(item.score)}"
    if item.bound == "warn":
        message = f"{short}, below the warning level {item.target:.2f}, and not failing; {remedy}"
        return Recommendation(area, message, "low", evidence_of(item))
    message = f"{short}, wanted {item.target:.2f}; {remedy}"
    return Recommendation(area, message, "high" if item.certain else "medium", evidence_of(item))


def about_causes(causes: Sequence[Cause], facts: ProviderFacts) -> list[Recommendation]:
    """What a diagnosis says, each cause with its evidence; of a run that was not retrained at least the strength."""
    known = causes or diagnose_lora(DiagnosticInputs(strength=facts.applied.get("strength")))
    return [
        about_cause(cause, {"cause": cause.name, "confidence": cause.confidence})
        for cause in known
        if cause.name != HEALTHY.name
    ]


def about_cause(cause: Cause, evidence: Mapping[str, object]) -> Recommendation:
    return Recommendation(cause.area, cause.sentence, cause.priority, evidence)


def evidence_of(item: Shortfall) -> dict[str, object]:
    """How far and how sure, and where to look."""
    names = ("score", "target", "bound", "gap", "certain", "cases", "images")
    return {name: to_record(getattr(item, name)) for name in names}


def _about_outcomes(own: Sequence[CaseResult]) -> list[Recommendation]:
    """A gate provider whose pictures did not come."""
    lost: dict[Outcome, str] = {}
    for result in own:
        for sample in result.samples:
            if sample.outcome is not Outcome.OK:
                lost.setdefault(sample.outcome, sample.message)
    return [
        Recommendation(
            "provider", f"pictures are missing ({outcome.value}): {message or 'no reason was given'}", "high"
        )
        for outcome, message in lost.items()
    ]
