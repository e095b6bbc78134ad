"""Problems that LoRA practice knows, each told only where this run's figures show it, with those figures.

    identical pictures         copies of training pictures, collapsed seeds        train less, mend the set
    the prompt is ignored      pictures do not change as the base's do             train less, vary the set
    one value of the scene     what prompts ask for is missed towards one value    balance or caption the set
    the face is lost           clip and the face's traits are surely too low       portraits, or more steps
    the trigger is ignored     applied, and still no nearer than the base          captions, more steps
    others change too          the alarm of drift                                  train with a prior

Distorted proportions (wide-angle shots) are not among them: nothing here measures them, so nothing is claimed.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.core import stats
from harness.core.text import bounds_text
from harness.core.values import CaseResult, Interval, SetScore, to_record
from harness.judging.causes.cause import FAINT, HINT, LIKELY, Sign
from harness.judging.leaderboard import interval_of
from harness.judging.scores import values_of
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
class ProviderFacts:
    """What a run measured of one gate provider, over open cases."""

    own: Sequence[CaseResult]
    base: Sequence[CaseResult] = ()  # the same cases without the LoRA
    low: Mapping[str, Interval] = field(default_factory=dict)  # metrics that are surely below their bounds
    lagging: Mapping[str, Interval] = field(default_factory=dict)  # categories of traits that surely are
    sets: Mapping[str, SetScore] = field(default_factory=dict)
    readings: Mapping[str, TraitReading] = field(default_factory=dict)  # by category: what the training pictures show
    applied: Mapping[str, Any] = field(default_factory=dict)  # of the gate's control pictures; {} without a LoRA


def identical_pictures(facts: ProviderFacts) -> Iterator[Sign]:
    """Training pictures drawn again, or one picture for every seed: over-training, or one picture that weighs much."""
    copy, diversity = facts.sets.get("copy"), facts.sets.get("diversity")
    figures = {"different_pictures_a_seed": diversity.details["share"]} if diversity and diversity.judged else {}
    held = copy.details.get("held_out", {}) if copy and copy.alarm else {}
    if held.get("alarm"):
        text = f"{held['copies']} of {held['pictures']} pictures copy held-out pictures"
        figures |= {name: held[name] for name in ("copies", "pictures", "share", "sources")}
        yield Sign(LIKELY, cause="leak", title=text, figures=figures)
    elif copy and copy.alarm:
        details = copy.details
        source, count = next(iter(details["sources"].items()))
        figures |= {name: details[name] for name in ("copies", "pictures", "share", "sources")}
        title = f"{details['copies']} of {details['pictures']} pictures copy training pictures"
        if details["copies"] >= FEW_COPIES and count > ONE_SOURCE * details["copies"]:
            yield Sign(LIKELY, cause="copied_picture", title=f"{title}, {count} of them {source}", figures=figures)
        else:
            yield Sign(LIKELY, cause="copies", title=title, figures=figures)
    elif diversity and diversity.alarm:
        text = f"only {diversity.details['share']:.0%} differ from the others of their prompt"
        yield Sign(LIKELY, (text,), cause="equal_seeds", figures=figures)


def prompts_ignored(facts: ProviderFacts) -> Iterator[Sign]:
    """The same poses, outfits and places, whatever was asked."""
    response = facts.sets.get("response")
    if response and response.alarm:
        figures = {name: response.details.get(name) for name in ("slope", "agreement", "against")}
        title = f"pictures change with the prompt by {figures['slope']:.0%} of what those of {figures['against']} do"
        yield Sign(LIKELY, title=title, figures=figures)


def trigger_ignored(facts: ProviderFacts) -> Iterator[Sign]:
    """The LoRA changes pictures and the subject does not come: they stand where the base's do."""
    own = values_of(facts.own, "clip")
    clip, gain = interval_of(own), stats.paired(own, values_of(facts.base, "clip"))
    if facts.applied.get("ok") and clip and upper(clip) < STRANGE and (gain is None or upper(gain) < AS_BASE):
        difference = facts.applied["difference"]
        title = f"the LoRA is applied (control pictures differ by {difference:.2f}) and the subject does not come"
        text = f"clip {bounds_text(clip, percent=True)} of the way from strangers to the subject"
        figures = {"clip": to_record(clip), "gain_over_base": to_record(gain), "difference": difference}
        yield Sign(LIKELY, (text,), title=title, figures=figures)


def upper(interval: Interval) -> float:
    return interval.mean if interval.high is None else interval.high


def face_lost(facts: ProviderFacts) -> Iterator[Sign]:
    """The subject is not recognised, and it is the face that lacks: what the training pictures show tells why."""
    face = {category: score for category, score in facts.lagging.items() if FACE.search(category)}
    if "clip" not in facts.low or not face or any(trigger_ignored(facts)):
        return
    shown = {category: facts.readings[category].share for category in face if category in facts.readings}
    unclear = {category: share for category, share in shown.items() if share < UNCLEAR}
    figures = {"clip": to_record(facts.low["clip"]), "traits": to_record(face), "share_of_training_pictures": shown}
    traits = ", ".join(f"{category.replace('_', ' ')} {score.mean:.2f}" for category, score in face.items())
    text = f"the face is lost: clip {facts.low['clip'].mean:.2f} with {traits}"
    if 2 * len(unclear) >= len(face):
        worst = ", ".join(f"{name.replace('_', ' ')} in {share:.0%}" for name, share in unclear.items())
        title = f"{text}; the training pictures agree on too little of it ({worst})"
        yield Sign(LIKELY, cause="face_not_shown", title=title, figures=figures)
    else:
        least = f" (in {min(shown.values()):.0%} of them at least)" if shown else ""
        title = f"{text}; the training pictures show it{least}, so it was not learnt"
        yield Sign(LIKELY, cause="face_not_learnt", title=title, figures=figures)


def value_of_scene(facts: ProviderFacts) -> Iterator[Sign]:
    """Always smiling: where pictures miss what a prompt asks of the scene they go one way, at most one a category."""
    for category in dict.fromkeys(category for result in facts.own for category in answers(result)):
        value, rate = frequent_miss(facts.own, category)
        if rate is None:
            continue
        base, reading = rate_of(facts.base, category, value), facts.readings.get(category)
        trained = reading.share if reading and reading.value == value else None
        figures = {"rate": to_record(rate), "base": to_record(base), "share_of_training_pictures": trained}
        text = f"{value!r} is drawn in {bounds_text(rate, percent=True)} of the pictures that ask for something else"
        if trained is not None and trained >= SKEWED:
            title = f"{category}: {text}, and {trained:.0%} of the training pictures show it"
            remedy = f"add pictures with another {category}, and name it in the captions of those that show it"
            yield Sign(LIKELY, cause="value_of_training", title=title, remedy=remedy, figures=figures)
        elif base is not None and base.mean >= rate.mean - 0.1:
            title = f"{category}: {text}, and the base does so too ({bounds_text(base, percent=True)})"
            yield Sign(FAINT, cause="value_of_base", title=title, figures=figures)
        else:
            yield Sign(HINT, (text,), cause="value_unexplained", title=category, figures=figures)


def frequent_miss(results: Sequence[CaseResult], category: str) -> tuple[str, Interval | None]:
    """The value that is drawn where another one was asked for, and how often; None where misses go every way."""
    pairs = [pair for result in results for pair in answers(result).get(category, ())]
    misses = Counter(seen for wanted, seen in pairs if seen != wanted)
    value, count = misses.most_common(1)[0] if misses else ("", 0)
    one_way = misses.total() >= MISSED and count >= ONE_WAY * misses.total()
    rate = rate_of(results, category, value) if one_way else None
    often = rate is not None and rate.mean >= OFTEN and (rate.low is None or rate.low > 0)
    return value, rate if often else None


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
    groups = defaultdict[Hashable, list[float]](list)
    for result in results:
        for wanted, seen in answers(result).get(category, ()):
            if wanted != value:
                groups[result.prompt_id].append(float(seen == value))
    return stats.clustered(groups) if groups else None


def drift(facts: ProviderFacts) -> Iterator[Sign]:
    """Prompts about others are drawn with the subject's looks, or in another style."""
    alarm = facts.sets.get("drift")
    if alarm and alarm.alarm:
        figures = {name: alarm.details.get(name) for name in ("leak", "taken", "ratio", "moved", "prompts", "pictures")}
        yield Sign(LIKELY, title=alarm.sentence, figures=figures)
