"""Problems that LoRA practice knows, each told only where this run's figures show it, with those figures.

    identical pictures         copies of training pictures, collapsed seeds        train less, mend the set
    one value of the scene     what prompts ask for is missed towards one value    balance or caption the set
    the face is lost           clip and the face's traits are surely too low       portraits, or more steps
    the trigger is ignored     applied, and still no nearer than the base          captions, more steps
    others change too          the alarm of drift                                  train with a prior

Distorted proportions (wide-angle shots) are not among them: nothing here measures them, so nothing is claimed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.core import stats
from harness.core.values import CaseResult, Interval, SetScore, to_record
from harness.judging.leaderboard import interval_of, values_of

if TYPE_CHECKING:
    from harness.scoring.references import TraitReading

ONE_SOURCE = 0.5  # of the copies that are of one picture: then that picture is the trouble
FEW_COPIES = 3  # below it one source is no pattern
MISSED = 4  # pictures that miss what was asked, before a direction is looked for
ONE_WAY = 0.6  # of the misses that go the same way
OFTEN = 0.25  # of the pictures that were asked for something else
SKEWED = 0.7  # of the training pictures with one value; from here `harness references check` complains as well
UNCLEAR = 0.6  # of the training pictures that must show a trait before it can be learnt from them
STRANGE = 0.3  # calibrated clip below which pictures are nearer to strangers than to the subject
AS_BASE = 0.15  # of the way from strangers to the subject that the LoRA gains over its base, at most
FACE = re.compile(r"face|eye|brow|nose|mouth|lip|chin|cheek|skin|freckle|scar|hair|beard|mustache")


@dataclass(frozen=True)
class Recommendation:
    """One thing to do."""

    area: str  # training, data, strength, rendering, prompt, provider, evaluation, competition; lora, references, suite
    message: str
    priority: str  # high, medium or low
    evidence: Mapping[str, Any] = field(default_factory=dict)  # the figures behind it, plain JSON


@dataclass(frozen=True)
class ProviderFacts:
    """What a run measured of one gate provider, over open cases."""

    own: Sequence[CaseResult]
    base: Sequence[CaseResult] = ()  # the same cases without the LoRA
    low: Mapping[str, Interval] = field(default_factory=dict)  # metrics that are surely below their bounds
    lagging: Mapping[str, Interval] = field(default_factory=dict)  # categories of traits that surely are
    sets: Mapping[str, SetScore] = field(default_factory=dict)
    readings: Mapping[str, TraitReading] = field(default_factory=dict)  # by category: what the training pictures show
    applied: Mapping[str, Any] = field(default_factory=dict)  # of the gate's control pictures; {} without a LoRA


def find_problems(facts: ProviderFacts) -> list[Recommendation]:
    """Every known problem that the figures show."""
    return [result for probe in PROBES for result in probe(facts)]


def identical(facts: ProviderFacts) -> list[Recommendation]:
    """Training pictures drawn again, or one picture for every seed: over-training, or one picture that weighs much."""
    copy, diversity = facts.sets.get("copy"), facts.sets.get("diversity")
    evidence = {"different_pictures_a_seed": diversity.details["share"]} if diversity and diversity.judged else {}
    if copy and copy.alarm:
        details = copy.details
        source, count = next(iter(details["sources"].items()))
        evidence |= {name: details[name] for name in ("copies", "pictures", "share", "sources")}
        message = f"{details['copies']} of {details['pictures']} pictures copy training pictures"
        if details["copies"] >= FEW_COPIES and count > ONE_SOURCE * details["copies"]:
            remedy = "remove what repeats it (`harness references check`) or lower its weight, and train fewer steps"
            return [Recommendation("data", f"{message}, {count} of them {source}: {remedy}", "high", evidence)]
        remedy = "over-trained: fewer steps, a lower rank or strength, or more and more varied pictures"
        return [Recommendation("training", f"{message}: {remedy}", "high", evidence)]
    if diversity and diversity.alarm:
        share = diversity.details["share"]
        message = f"seeds draw nearly the same picture: only {share:.0%} differ from the others of their prompt"
        remedy = "over-trained, on no copies: fewer steps, a lower rank or strength, or more varied pictures"
        return [Recommendation("training", f"{message}; {remedy}", "high", evidence)]
    return []


def one_value(facts: ProviderFacts) -> list[Recommendation]:
    """Always smiling: where pictures miss what a prompt asks of the scene, they go one way."""
    categories = dict.fromkeys(category for result in facts.own for category in answers(result))
    return [results for category in categories if (results := habit(facts, category))]


def habit(facts: ProviderFacts, category: str) -> Recommendation | None:
    """One category's value that is drawn where another was asked for, and where it comes from."""
    seen = [(case.job.case, wanted, got) for case in facts.own for wanted, got in answers(case).get(category, ())]
    misses = Counter(got for _, wanted, got in seen if got != wanted)
    value, count = misses.most_common(1)[0] if misses else ("", 0)
    if sum(misses.values()) < MISSED or count < ONE_WAY * sum(misses.values()):
        return None
    rate, reading = rate_of(facts.own, category, value), facts.readings.get(category)
    if rate is None or rate.mean < OFTEN or (rate.low is not None and rate.low <= 0):
        return None
    base = rate_of(facts.base, category, value)
    trained = reading.share if reading and reading.value == value else None
    evidence = {"rate": to_record(rate), "base": to_record(base), "share_of_training_pictures": trained}
    text = f"{category}: {value!r} is drawn in {percent(rate)} of the pictures that ask for something else"
    if trained is not None and trained >= SKEWED:
        remedy = f"add pictures with another {category}, and name it in the captions of those that show it"
        message = f"{text}, and {trained:.0%} of the training pictures show it: {remedy}"
        return Recommendation("data", message, "high", evidence)
    if base is not None and base.mean >= rate.mean - 0.1:
        message = f"{text}, and the base does so too ({percent(base)}): say it more plainly in the prompts"
        return Recommendation("prompt", message, "low", evidence)
    remedy = "the training pictures do not explain it; a lower strength, or captions that name it in every picture"
    return Recommendation("training", f"{text}; {remedy}", "medium", evidence)


def answers(result: CaseResult) -> dict[str, list[tuple[str, str]]]:
    """Category to (what the case expects, what each picture is seen to show)."""
    results: dict[str, list[tuple[str, str]]] = {}
    for sample in result.scored:
        details = sample.scores["prompt"].details if "prompt" in sample.scores else {}
        for category, item in details.items():
            if isinstance(item, Mapping) and "seen" in item:
                results.setdefault(str(category), []).append((str(item["value"]), str(item["seen"])))
    return results


def rate_of(results: Sequence[CaseResult], category: str, value: str) -> Interval | None:
    """How often a value is seen where another was asked for, clustered by prompt; None where none was."""
    asked = {result.job.case: answers(result).get(category, ()) for result in results}
    others = {case: [float(got == value) for wanted, got in pairs if wanted != value] for case, pairs in asked.items()}
    groups: dict[Hashable, Sequence[float]] = {case: group for case, group in others.items() if group}
    return stats.clustered(groups) if groups else None


def trigger_ignored(facts: ProviderFacts) -> list[Recommendation]:
    """The LoRA changes pictures and the subject does not come: they stand where the base's do."""
    clip = interval_of(values_of(facts.own, "clip"))
    if not ignores_trigger(facts) or clip is None:
        return []
    gain = stats.paired(values_of(facts.own, "clip"), values_of(facts.base, "clip"))
    evidence = {"clip": to_record(clip), "gain_over_base": to_record(gain), "difference": facts.applied["difference"]}
    message = (
        f"the LoRA is applied (control pictures differ by {facts.applied['difference']:.2f}) and the subject does not "
        f"come: clip {percent(clip)} of the way from strangers to the subject; the trigger calls nothing, so "
        "begin every caption with it, spell it as the suite does, and train longer"
    )
    return [Recommendation("training", message, "high", evidence)]


def ignores_trigger(facts: ProviderFacts) -> bool:
    clip = interval_of(values_of(facts.own, "clip"))
    if not facts.applied.get("ok") or clip is None or (clip.mean if clip.high is None else clip.high) >= STRANGE:
        return False
    gain = stats.paired(values_of(facts.own, "clip"), values_of(facts.base, "clip"))
    return gain is None or (gain.mean if gain.high is None else gain.high) < AS_BASE


def face_lost(facts: ProviderFacts) -> list[Recommendation]:
    """The subject is not recognised, and it is the face that lacks: what the training pictures show tells why."""
    face = {category: result for category, result in facts.lagging.items() if FACE.search(category)}
    if "clip" not in facts.low or not face or ignores_trigger(facts):
        return []
    shown = {category: facts.readings[category].share for category in face if category in facts.readings}
    unclear = {category: share for category, share in shown.items() if share < UNCLEAR}
    evidence = {
        "clip": to_record(facts.low["clip"]),
        "traits": to_record(face),
        "share_of_training_pictures": shown,
    }
    text = f"the face is lost: clip {facts.low['clip'].mean:.2f} with " + ", ".join(
        f"{category.replace('_', ' ')} {result.mean:.2f}" for category, result in face.items()
    )
    if 2 * len(unclear) >= len(face):
        worst = ", ".join(f"{name.replace('_', ' ')} in {share:.0%}" for name, share in unclear.items())
        message = f"{text}; the training pictures agree on too little of it ({worst}): add frontal portraits"
        return [Recommendation("data", message, "high", evidence)]
    seen = f" (in {min(shown.values()):.0%} of them at least)" if shown else ""
    message = f"{text}; the training pictures show it{seen}, so it was not learnt: more steps, or a higher rank"
    return [Recommendation("training", message, "high", evidence)]


def others_change(facts: ProviderFacts) -> list[Recommendation]:
    """Prompts about others are drawn with the subject's looks, or in another style."""
    drift = facts.sets.get("drift")
    if drift is None or not drift.alarm:
        return []
    evidence = {name: drift.details.get(name) for name in ("leak", "taken", "ratio", "moved", "prompts", "pictures")}
    return [Recommendation("training", drift.sentence, "high", evidence)]


PROBES: tuple[Callable[[ProviderFacts], list[Recommendation]], ...] = (
    identical,
    trigger_ignored,
    face_lost,
    one_value,
    others_change,
)
"""The surest first; the later ones are silent where an earlier one explains them."""


def percent(found: Interval) -> str:
    """`45% [30%, 60%]`."""
    if found.low is None or found.high is None:
        return f"{found.mean:.0%}"
    return f"{found.mean:.0%} [{found.low:.0%}, {found.high:.0%}]"
