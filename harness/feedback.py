"""What fails, how far, and what to do about it: the record that a person reads and that a train plan is made from.

Only open cases are read: what a locked case shows must never reach a training.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.diagnosis import HEALTHY, LIKELY, REMEDIES, WORDS, Cause, Symptoms, strength_of
from harness.leaderboard import BASE, Results, interval_of, scores_of, values_of
from harness.remedies import Facts, Recommendation, find_problems
from harness.stats import Pair, clustered, differences, max_of_k
from harness.values import CaseResult, Decision, Interval, Job, Outcome, SetScore, Suite, Trait, Verdict, to_record

if TYPE_CHECKING:
    from harness.references import Reading

GOOD = 0.6  # the band "good" begins here; what a trait is held against when the suite sets no bound for features
PRIORITIES = ("high", "medium", "low")
PROOFS = 3  # pictures that show a shortfall, the worst first


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
    score_gap: Interval | None  # quality minus the best of the others', paired, corrected for their number
    needs_improvement: bool
    metrics: tuple[Shortfall, ...] = ()
    traits: tuple[Shortfall, ...] = ()
    cases: tuple[Shortfall, ...] = ()
    recommendations: tuple[Recommendation, ...] = ()
    cause: str = ""  # a diagnosed fault; mend it before training anything
    intervals: Mapping[str, Interval | None] = field(default_factory=dict)  # of the three scores above, by their names

    def to_record(self) -> dict[str, Any]:
        """Plain JSON, with each shortfall's gap written out."""
        record: dict[str, Any] = to_record(self)
        for kind in ("metrics", "traits", "cases"):
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
    readings: Sequence[Reading] = (),
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
    rival, gap = best_competitor(results, name, suite.gate)
    quality = interval_of(values_of(own, "quality"))
    rival_quality = interval_of(values_of(results[rival], "quality")) if rival else None
    short = (failing_metrics(suite, own), lagging_traits(suite, own, traits), failing_cases(suite, own, judged))
    every = [gate, *judged.values()] if gate else list(judged.values())
    bad = any(item.decision in (Decision.FAIL, Decision.ERROR) for item in every)
    cause = next((item.cause for item in every if item.cause), "")
    base = next((results[other] for other in BASE if results.get(other)), ())
    facts = facts_of(short, own, base, gate, sets or {}, readings)
    advice = [*(about_causes(causes, facts) if bad else ()), *recommend(*short, cause, facts, rival, gap, every)]
    return Feedback(
        suite=suite.name,
        provider=name,
        lora_score=quality.mean if quality else None,
        best_competitor=rival,
        competitor_score=rival_quality.mean if rival_quality else None,
        score_gap=gap,
        needs_improvement=bad,
        metrics=short[0],
        traits=short[1],
        cases=short[2],
        recommendations=tuple(sorted(advice, key=lambda item: PRIORITIES.index(item.priority))),
        cause=cause,
        intervals={"lora_score": quality, "competitor_score": rival_quality, "score_gap": gap},
    )


def facts_of(
    short: Sequence[Sequence[Shortfall]],
    own: Sequence[CaseResult],
    base: Sequence[CaseResult],
    gate: Verdict | None,
    sets: Mapping[str, SetScore],
    readings: Sequence[Reading],
) -> Facts:
    """What the problems of LoRA practice are told from; only what is sure counts as low.

    Args:
        short: metrics and traits below their bounds.
    """
    low, lagging = ([item for item in group if item.certain and item.score] for group in short[:2])
    return Facts(
        own,
        base,
        low={item.name: item.score for item in low if item.score},
        lagging={item.category: item.score for item in lagging if item.score},
        sets=sets,
        readings={reading.category: reading for reading in readings},
        applied=gate.details.get("applied", {}) if gate else {},
    )


def best_competitor(results: Results, provider: str, gate: Sequence[str]) -> tuple[str | None, Interval | None]:
    """Who of the others is nearest or ahead, and the gap to the best of them, corrected for taking the maximum.

    The LoRA's own base is no competitor, as in the verdict and in the leaderboard.
    """
    own = values_of(results.get(provider, ()), "quality")
    gaps: dict[str, dict[Hashable, list[float]]] = {
        other: differences(own, values_of(items, "quality"))
        for other, items in results.items()
        if other != provider and other not in (*gate, *BASE)
    }
    gaps = {other: groups for other, groups in gaps.items() if groups}
    if not gaps:
        return None, None
    return min(gaps, key=lambda other: clustered(gaps[other]).mean), max_of_k(gaps)


NOTHING: Mapping[str, Any] = {
    "lora_score": None,
    "best_competitor": None,
    "competitor_score": None,
    "score_gap": None,
    "needs_improvement": False,
    "recommendations": [],
    "intervals": {},
}


def feedback_file(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The content of `feedback.json`: the provider most in need, its scores plain numbers; the rest under `others`.

    Args:
        records: `Feedback.to_record()` of each gate provider.
    """
    gaps = [record.get("score_gap") for record in records]
    means = [gap.get("mean") if isinstance(gap, Mapping) else gap for gap in gaps]
    plain = [{**record, "score_gap": mean} for record, mean in zip(records, means, strict=True)]
    first, *others = sorted(plain, key=lambda record: not record.get("needs_improvement")) or [dict(NOTHING)]
    return {**first, "others": others}


# --- shortfalls ---------------------------------------------------------------------------------------------------


def failing_metrics(suite: Suite, results: Sequence[CaseResult]) -> tuple[Shortfall, ...]:
    """Metrics whose mean over the open cases is under the suite's bound, the furthest first."""
    found = []
    for metric, bound in suite.thresholds.items():
        values = values_of(results, metric)
        target = bound.fail if bound.fail is not None else bound.warn
        shortfall = _shortfall("metric", metric, values, target, results)
        if shortfall:
            found.append(shortfall)
    return _furthest_first(found)


def lagging_traits(suite: Suite, results: Sequence[CaseResult], traits: Sequence[Trait]) -> tuple[Shortfall, ...]:
    """Traits that the pictures show too rarely, the furthest first."""
    bound = suite.threshold(None, "features")
    target = next((value for value in (bound.fail, bound.warn) if value is not None), GOOD)
    known = {trait.category: trait.value for trait in traits}
    by_trait: dict[str, dict[Pair, float]] = defaultdict(dict)
    for pair, score in scores_of(results, "features").items():
        for category, reached in trait_values(score.details).items():
            by_trait[category][pair] = reached
    found = []
    for category, values in by_trait.items():
        value = known.get(category, "")
        name = f"{category}: {value}" if value else category
        shortfall = _shortfall("trait", name, values, target, results, category, value)
        if shortfall:
            found.append(shortfall)
    return _furthest_first(found)


def trait_values(details: Mapping[str, Any]) -> dict[str, float]:
    """Calibrated score by category from the details of a `features` score; what is not measurable is left out."""
    items = {str(category): item for category, item in details.items() if isinstance(item, Mapping)}
    return {category: float(item["score"]) for category, item in items.items() if item.get("score") is not None}


def failing_cases(
    suite: Suite, results: Sequence[CaseResult], verdicts: Mapping[Job, Verdict]
) -> tuple[Shortfall, ...]:
    """Open cases whose verdict is fail or error, the furthest first; each by the metric that fails it most."""
    found = []
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
        found.append(Shortfall("case", case.id, score, target, certain, cases=(case.id,), images=images))
    return _furthest_first(found)


def _shortfall(
    kind: str,
    name: str,
    values: Mapping[Pair, float],
    target: float | None,
    results: Sequence[CaseResult],
    category: str = "",
    value: str = "",
) -> Shortfall | None:
    """None when there is nothing to say: no bound, nothing measured, or the mean is not below the bound."""
    score = interval_of(values)
    if score is None or target is None or score.mean >= target:
        return None
    worst = sorted(values, key=lambda pair: values[pair])
    cases = tuple(dict.fromkeys(str(case) for case, _ in worst if values[case, _] < target))
    certain = score.high is not None and score.high < target
    return Shortfall(kind, name, score, target, certain, category, value, cases, _worst_images(results, values))


def _worst_images(results: Sequence[CaseResult], values: Mapping[Pair, float]) -> tuple[str, ...]:
    images: dict[Pair, str | None] = {
        (result.job.case, sample.seed): sample.image for result in results for sample in result.scored
    }
    worst = sorted(values, key=lambda pair: values[pair])
    return tuple(image for pair in worst if (image := images.get(pair)))[:PROOFS]


def _furthest_first(found: Iterable[Shortfall]) -> tuple[Shortfall, ...]:
    return tuple(sorted(found, key=lambda item: -(item.gap if item.gap is not None else 1.0)))


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


def describe(score: Interval | None) -> str:
    """`0.52 [0.45, 0.59]`."""
    if score is None:
        return "not measured"
    if score.low is None or score.high is None:
        return f"{score.mean:.2f}"
    return f"{score.mean:.2f} [{score.low:.2f}, {score.high:.2f}]"


def recommend(
    metrics: Sequence[Shortfall],
    traits: Sequence[Shortfall],
    cases: Sequence[Shortfall],
    cause: str,
    facts: Facts,
    rival: str | None,
    gap: Interval | None,
    verdicts: Sequence[Verdict],
) -> tuple[Recommendation, ...]:
    """What to do, the most urgent first."""
    advice = []
    if cause:
        advice.append(Recommendation("training", f"mend this first, training cannot: {cause}", "high"))
    advice += _about_outcomes(facts.own)
    advice += find_problems(facts) if not cause else []  # a LoRA of somebody else has every problem at once
    for item in metrics:
        area, remedy = advice_for(item.name)
        message = f"{item.name} is {describe(item.score)}, wanted {item.target:.2f}; {remedy}"
        advice.append(Recommendation(area, message, "high" if item.certain else "medium", evidence_of(item)))
    for item in traits:
        message = (
            f"{item.name} scores {describe(item.score)}, wanted {item.target:.2f}; "
            "weight the training pictures that show it, and say it in their captions"
        )
        advice.append(Recommendation("data", message, "high" if item.certain else "medium", evidence_of(item)))
    if cases and not metrics:
        names = ", ".join(item.name for item in cases[:5]) + (" ..." if len(cases) > 5 else "")
        message = f"the mean is well, single prompts are not ({names}): add training pictures of such scenes"
        advice.append(Recommendation("data", message, "medium", {"cases": [item.name for item in cases]}))
    if any(item.decision is Decision.INCONCLUSIVE for item in verdicts):
        message = "some verdicts stay open; more seeds decide them: --samples with twice the number"
        advice.append(Recommendation("evaluation", message, "low"))
    if rival and gap and gap.mean < 0:
        behind = gap.high is not None and gap.high < 0
        message = f"{rival} draws the subject {'better' if behind else 'about as well'}: {describe(gap)} between them"
        evidence = {"competitor": rival, "score_gap": to_record(gap)}
        advice.append(Recommendation("competition", message, "medium" if behind else "low", evidence))
    return tuple(sorted(advice, key=lambda item: PRIORITIES.index(item.priority)))


def about_causes(causes: Sequence[Cause], facts: Facts) -> list[Recommendation]:
    """What a diagnosis says, each cause with its evidence; of a run that was not retrained at least the strength."""
    strength = facts.applied.get("strength")
    known = causes or tuple(strength_of(Symptoms(strength=strength)))
    return [
        Recommendation(
            REMEDIES[cause.name][0],
            f"{WORDS[cause.name]}: {'; '.join(cause.evidence)}; {REMEDIES[cause.name][1]}",
            "high" if cause.confidence >= LIKELY else "medium",
            {"cause": cause.name, "confidence": cause.confidence},
        )
        for cause in known
        if cause.name != HEALTHY
    ]


def evidence_of(item: Shortfall) -> dict[str, Any]:
    """How far and how sure, and where to look."""
    return {
        "score": to_record(item.score),
        "target": item.target,
        "gap": item.gap,
        "certain": item.certain,
        "cases": list(item.cases),
        "images": list(item.images),
    }


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
