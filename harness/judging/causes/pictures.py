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
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.core import stats
from harness.core.text import bounds_text
from harness.core.values import CaseResult, Interval, SetScore, to_record
from harness.judging.causes.cause import FAINT, HINT, LIKELY, Sign
from harness.judging.leaderboard import interval_of
from harness.judging.scores import values_of

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
class ProviderFacts:
    """What a run measured of one gate provider, over open cases."""

    own: Sequence[CaseResult]
    base: Sequence[CaseResult] = ()  # the same cases without the LoRA
    low: Mapping[str, Interval] = field(default_factory=dict)  # metrics that are surely below their bounds
    lagging: Mapping[str, Interval] = field(default_factory=dict)  # categories of traits that surely are
    sets: Mapping[str, SetScore] = field(default_factory=dict)
    readings: Mapping[str, TraitReading] = field(default_factory=dict)  # by category: what the training pictures show
    applied: Mapping[str, Any] = field(default_factory=dict)  # of the gate's control pictures; {} without a LoRA

    def alarm(self, name: str) -> SetScore | None:
        """What the pictures say together, where that raises its alarm."""
        result = self.sets.get(name)
        return result if result and result.alarm else None


# --- identical pictures -------------------------------------------------------------------------------------------


def copied_picture(facts: ProviderFacts) -> Iterator[Sign]:
    """One training picture is drawn again and again: it weighs too much."""
    copy, (source, count) = facts.alarm("copy"), main_source(facts)
    if copy and count:
        title = f"{copies_text(copy)}, {count} of them {source}"
        yield Sign(LIKELY, title=title, figures=figures_of_copies(facts, copy))


def copies(facts: ProviderFacts) -> Iterator[Sign]:
    """Training pictures are drawn again, and no single one of them is to blame."""
    copy, (_, count) = facts.alarm("copy"), main_source(facts)
    if copy and not count:
        yield Sign(LIKELY, title=copies_text(copy), figures=figures_of_copies(facts, copy))


def equal_seeds(facts: ProviderFacts) -> Iterator[Sign]:
    """One picture for every seed, and no copy."""
    diversity = facts.alarm("diversity")
    if diversity and not facts.alarm("copy"):
        text = f"only {diversity.details['share']:.0%} differ from the others of their prompt"
        yield Sign(LIKELY, (text,), figures=share_of_seeds(facts))


def main_source(facts: ProviderFacts) -> tuple[str, int]:
    """The training picture that most copies are of, and of how many; ("", 0) where there is none."""
    copy = facts.alarm("copy")
    source, count = next(iter(copy.details["sources"].items())) if copy else ("", 0)
    clear = copy and copy.details["copies"] >= FEW_COPIES and count > ONE_SOURCE * copy.details["copies"]
    return (source, count) if clear else ("", 0)


def copies_text(copy: SetScore) -> str:
    return f"{copy.details['copies']} of {copy.details['pictures']} pictures copy training pictures"


def figures_of_copies(facts: ProviderFacts, copy: SetScore) -> dict[str, Any]:
    return share_of_seeds(facts) | {name: copy.details[name] for name in ("copies", "pictures", "share", "sources")}


def share_of_seeds(facts: ProviderFacts) -> dict[str, Any]:
    diversity = facts.sets.get("diversity")
    return {"different_pictures_a_seed": diversity.details["share"]} if diversity and diversity.judged else {}


# --- the subject does not come ------------------------------------------------------------------------------------


def trigger_ignored(facts: ProviderFacts) -> Iterator[Sign]:
    """The LoRA changes pictures and the subject does not come: they stand where the base's do."""
    clip, gain = clip_and_gain(facts)
    if clip and ignores_trigger(facts):
        difference = facts.applied["difference"]
        title = f"the LoRA is applied (control pictures differ by {difference:.2f}) and the subject does not come"
        text = f"clip {bounds_text(clip, percent=True)} of the way from strangers to the subject"
        figures = {"clip": to_record(clip), "gain_over_base": to_record(gain), "difference": difference}
        yield Sign(LIKELY, (text,), title=title, figures=figures)


def ignores_trigger(facts: ProviderFacts) -> bool:
    clip, gain = clip_and_gain(facts)
    if not facts.applied.get("ok") or clip is None or upper(clip) >= STRANGE:
        return False
    return gain is None or upper(gain) < AS_BASE


def clip_and_gain(facts: ProviderFacts) -> tuple[Interval | None, Interval | None]:
    """The mean likeness, and how far it is over the base's."""
    own = values_of(facts.own, "clip")
    return interval_of(own), stats.paired(own, values_of(facts.base, "clip"))


def upper(interval: Interval) -> float:
    return interval.mean if interval.high is None else interval.high


def face_not_shown(facts: ProviderFacts) -> Iterator[Sign]:
    """The face is lost, and half of what lacks is unclear in the training pictures themselves."""
    face, shown = lost_face(facts), face_shown(facts)
    unclear = {category: share for category, share in shown.items() if share < UNCLEAR}
    if face and 2 * len(unclear) >= len(face):
        worst = ", ".join(f"{plain(name)} in {share:.0%}" for name, share in unclear.items())
        title = f"{face_text(facts)}; the training pictures agree on too little of it ({worst})"
        yield Sign(LIKELY, title=title, figures=figures_of_face(facts))


def face_not_learnt(facts: ProviderFacts) -> Iterator[Sign]:
    """The face is lost, and the training pictures show it."""
    face, shown = lost_face(facts), face_shown(facts)
    if face and 2 * sum(share < UNCLEAR for share in shown.values()) < len(face):
        least = f" (in {min(shown.values()):.0%} of them at least)" if shown else ""
        title = f"{face_text(facts)}; the training pictures show it{least}, so it was not learnt"
        yield Sign(LIKELY, title=title, figures=figures_of_face(facts))


def lost_face(facts: ProviderFacts) -> dict[str, Interval]:
    """The traits of the face that lack, where the subject is not recognised; the trigger explains them, or nothing."""
    face = {category: score for category, score in facts.lagging.items() if FACE.search(category)}
    return face if "clip" in facts.low and not ignores_trigger(facts) else {}


def face_shown(facts: ProviderFacts) -> dict[str, float]:
    """Lacking trait of the face to the share of the training pictures that show it."""
    return {name: facts.readings[name].share for name in lost_face(facts) if name in facts.readings}


def face_text(facts: ProviderFacts) -> str:
    traits = ", ".join(f"{plain(category)} {score.mean:.2f}" for category, score in lost_face(facts).items())
    return f"the face is lost: clip {facts.low['clip'].mean:.2f} with {traits}"


def figures_of_face(facts: ProviderFacts) -> dict[str, Any]:
    return {
        "clip": to_record(facts.low["clip"]),
        "traits": to_record(lost_face(facts)),
        "share_of_training_pictures": face_shown(facts),
    }


def plain(category: str) -> str:
    return category.replace("_", " ")


# --- always smiling -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tendency:
    """A value of the scene that is drawn where prompts ask for another one."""

    category: str
    value: str
    rate: Interval  # of the pictures that ask for something else
    base: Interval | None  # the same of the base
    trained: float | None  # the share of the training pictures that show it; None where they mostly show another one

    @property
    def learnt(self) -> bool:
        return self.trained is not None and self.trained >= SKEWED

    @property
    def inherited(self) -> bool:
        """The base does so too, and the training pictures do not explain it."""
        return not self.learnt and self.base is not None and self.base.mean >= self.rate.mean - 0.1

    @property
    def text(self) -> str:
        rate = bounds_text(self.rate, percent=True)
        return f"{self.value!r} is drawn in {rate} of the pictures that ask for something else"

    @property
    def figures(self) -> dict[str, Any]:
        rates = {"rate": to_record(self.rate), "base": to_record(self.base)}
        return rates | {"share_of_training_pictures": self.trained}


def value_of_training(facts: ProviderFacts) -> Iterator[Sign]:
    """The training pictures show it as well."""
    for tendency in tendencies(facts):
        if tendency.learnt:
            category = tendency.category
            title = f"{category}: {tendency.text}, and {tendency.trained:.0%} of the training pictures show it"
            remedy = f"add pictures with another {category}, and name it in the captions of those that show it"
            yield Sign(LIKELY, title=title, remedy=remedy, figures=tendency.figures)


def value_of_base(facts: ProviderFacts) -> Iterator[Sign]:
    """The base does so as well."""
    for tendency in tendencies(facts):
        if tendency.inherited and tendency.base:
            base = bounds_text(tendency.base, percent=True)
            title = f"{tendency.category}: {tendency.text}, and the base does so too ({base})"
            yield Sign(FAINT, title=title, figures=tendency.figures)


def value_unexplained(facts: ProviderFacts) -> Iterator[Sign]:
    """Neither the training pictures nor the base do so."""
    for tendency in tendencies(facts):
        if not tendency.learnt and not tendency.inherited:
            yield Sign(HINT, (tendency.text,), title=tendency.category, figures=tendency.figures)


def tendencies(facts: ProviderFacts) -> list[Tendency]:
    """Where pictures miss what a prompt asks of the scene and go one way, at most one a category."""
    categories = dict.fromkeys(category for result in facts.own for category in answers(result))
    return [result for category in categories if (result := tendency_of(facts, category))]


def tendency_of(facts: ProviderFacts, category: str) -> Tendency | None:
    pairs = [pair for result in facts.own for pair in answers(result).get(category, ())]
    misses = Counter(seen for wanted, seen in pairs if seen != wanted)
    value, count = misses.most_common(1)[0] if misses else ("", 0)
    if sum(misses.values()) < MISSED or count < ONE_WAY * sum(misses.values()):
        return None
    rate, reading = rate_of(facts.own, category, value), facts.readings.get(category)
    if rate is None or rate.mean < OFTEN or (rate.low is not None and rate.low <= 0):
        return None
    trained = reading.share if reading and reading.value == value else None
    return Tendency(category, value, rate, rate_of(facts.base, category, value), trained)


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
    others = {
        case: [float(seen == value) for wanted, seen in pairs if wanted != value] for case, pairs in asked.items()
    }
    groups: dict[Hashable, Sequence[float]] = {case: group for case, group in others.items() if group}
    return stats.clustered(groups) if groups else None


# --- others change too --------------------------------------------------------------------------------------------


def drift(facts: ProviderFacts) -> Iterator[Sign]:
    """Prompts about others are drawn with the subject's looks, or in another style."""
    if alarm := facts.alarm("drift"):
        figures = {name: alarm.details.get(name) for name in ("leak", "taken", "ratio", "moved", "prompts", "pictures")}
        yield Sign(LIKELY, title=alarm.sentence, figures=figures)
