"""What is wrong with a LoRA, told from its pictures, its making, its strength and the pictures it learnt from.

A cause that a record or a picture shows is surer than one that only the drawn pictures hint at. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from harness.core.values import Interval, SetScore
from harness.judging.causes.cause import CERTAIN, HINT, LIKELY, Sign

RECORD = 0.9  # confidence of what the LoRA's own record, or every caption, shows
STRONG, WEAK = 1.4, 0.55  # strengths outside are mistakes rather than choices
SHORT, LONG = 0.6, 1.8  # times the samples that the profile gives such a set
SLOW, FAST = 0.25, 4.0  # times the profile's rate
HARD = 4.0  # samples times rate: a short training at a high rate is no short one
STRANGER = 0.5  # of the way from strangers (0) to the held-out pictures (1): below it a train picture shows another
REPEATED = 0.15  # of the train pictures that repeat another one
SAME = 0.75  # of the train pictures with one value of the scene
SILENT = 0.5  # of the captions that do not name what changes from picture to picture


@dataclass(frozen=True)
class Making:
    """How a LoRA was made, beside what the profile would do with the same pictures."""

    samples: float  # pictures seen, times the profile's
    rate: float  # times the profile's
    prior: float = 1.0  # the base's prior, times the profile's
    words: str = ""  # "40 steps of 8 at 0.002"


@dataclass(frozen=True)
class Study:
    """What the train pictures and their captions are like."""

    likeness: Mapping[str, float] = field(default_factory=dict)  # file to where it stands, 0 strangers, 1 the held-out
    groups: Sequence[Sequence[str]] = ()  # files that are one picture
    count: int = 0  # pictures
    shares: Mapping[str, tuple[str, float]] = field(default_factory=dict)  # scene category to its most frequent value
    silent: Mapping[str, float] = field(default_factory=dict)  # scene category to the share of captions without it
    harmless: frozenset[str] = frozenset()  # categories of which one value everywhere is no fault

    @property
    def strangers(self) -> dict[str, float]:
        """The files that show somebody else, with their likeness."""
        return {name: value for name, value in self.likeness.items() if value < STRANGER}


@dataclass(frozen=True)
class DiagnosticInputs:
    """All that may be known; what is not is None or empty."""

    strength: float | None = None
    making: Making | None = None
    study: Study = Study()
    sets: Mapping[str, SetScore] = field(default_factory=dict)
    clip: Interval | None = None  # calibrated
    prompt: Interval | None = None
    ssim: Interval | None = None
    over_base: Interval | None = None  # clip minus the base's
    bounds: Mapping[str, float] = field(default_factory=dict)  # the suite's, by metric


# --- what it learnt from ------------------------------------------------------------------------------------------


def wrong_person(known: DiagnosticInputs) -> Iterator[Sign]:
    """Train pictures that are nearer to strangers than to the pictures that judge."""
    likeness, strangers = known.study.likeness, known.study.strangers
    if strangers and 2 * len(strangers) <= len(likeness):
        text = f"{len(strangers)} of {len(likeness)} train pictures do not show the subject: {first_names(strangers)}"
        figures = (
            f"likeness to the held-out pictures at most {max(strangers.values()):.2f} (0 a stranger, 1 the subject)"
        )
        yield Sign(CERTAIN, (text, figures))


def duplicates(known: DiagnosticInputs) -> Iterator[Sign]:
    """One picture many times: it weighs as much as all the others together."""
    study = known.study
    extra = sum(len(group) - 1 for group in study.groups)
    if study.count and extra >= max(2, REPEATED * study.count):
        most = max(study.groups, key=len)
        text = f"{extra} of {study.count} train pictures repeat another one, {most[0]} is there {len(most)} times"
        yield Sign(CERTAIN, (text,))


def one_value(known: DiagnosticInputs) -> Iterator[Sign]:
    """One expression, or one place, in nearly every picture."""
    for category, (value, share) in known.study.shares.items():
        if share >= SAME and category not in known.study.harmless:
            unsaid = known.study.silent.get(category, 0.0)
            text = f"{category} is {value!r} in {share:.0%} of the train pictures"
            captions = f"{unsaid:.0%} of the captions do not say so"
            yield Sign(CERTAIN if unsaid >= SILENT else LIKELY, (text, captions))


def missing_captions(known: DiagnosticInputs) -> Iterator[Sign]:
    """What changes from picture to picture and is in no caption: the trigger comes to mean all of it."""
    study = known.study
    silent = ", ".join(
        f"{category} ({share:.0%} of the captions)"
        for category, share in study.silent.items()
        if share > SILENT and study.shares.get(category, ("", 1.0))[1] < SAME
    )
    if silent:
        yield Sign(RECORD, (f"it changes from picture to picture and is not said: {silent}",))


# --- how it is used and how it was made ---------------------------------------------------------------------------


def high_strength(known: DiagnosticInputs) -> Iterator[Sign]:
    if known.strength is not None and known.strength >= STRONG:
        yield Sign(CERTAIN, (f"the LoRA is drawn at strength {known.strength:g} (at most {STRONG:g})",))


def low_strength(known: DiagnosticInputs) -> Iterator[Sign]:
    """Not 0, at which nothing of the LoRA is drawn: the gate tells that."""
    if known.strength and known.strength <= WEAK:
        yield Sign(CERTAIN, (f"the LoRA is drawn at strength {known.strength:g} (at least {WEAK:g})",))


def over_trained(known: DiagnosticInputs) -> Iterator[Sign]:
    """Many samples by its own record; copies of train pictures, or one picture for every seed."""
    making = known.making
    if making and making.samples > LONG:
        bare = ", without the base's prior" if making.prior < 0.5 else ""
        yield Sign(RECORD, (f"{making.words}: {making.samples:.1f} times the profile's samples{bare}",))
    if alarms := alarms_of(known):
        explained = making is not None or any(duplicates(known))
        yield Sign(HINT if explained else LIKELY, tuple(result.sentence for result in alarms))


def under_trained(known: DiagnosticInputs) -> Iterator[Sign]:
    """Few samples by its own record; as far from the subject as the base is, while prompts are followed."""
    making = known.making
    if making and making.samples < SHORT and making.samples * making.rate < HARD:
        yield Sign(RECORD, (f"{making.words}: {making.samples:.0%} of the profile's samples",))
    low, base = below(known, "clip"), known.over_base
    if low and not alarms_of(known) and base is not None and base.mean < STRANGER and not below(known, "prompt"):
        text = f"clip is {low.mean:.2f}, {base.mean:+.2f} over the base, and prompts are followed"
        yield Sign(hint_of(known), (text,))


def high_rate(known: DiagnosticInputs) -> Iterator[Sign]:
    """By its own record, or by broken pictures."""
    making = known.making
    if making and making.rate >= FAST:
        yield Sign(CERTAIN, (f"{making.words}: {making.rate:.1f} times the profile's rate",))
    low = below(known, "clip")
    if low and below(known, "prompt") and below(known, "ssim"):
        yield Sign(hint_of(known), (f"clip {low.mean:.2f}, prompt and ssim are all too low: the pictures are broken",))


def low_rate(known: DiagnosticInputs) -> Iterator[Sign]:
    """By its own record."""
    making = known.making
    if making and making.rate <= SLOW:
        yield Sign(CERTAIN, (f"{making.words}: {making.rate:.2f} of the profile's rate",))


# --- small things -------------------------------------------------------------------------------------------------


def alarms_of(known: DiagnosticInputs) -> list[SetScore]:
    """Copies, collapse, and pictures that ignore the prompt, where the alarm is raised."""
    return [
        known.sets[name] for name in ("copy", "diversity", "response") if name in known.sets and known.sets[name].alarm
    ]


def below(known: DiagnosticInputs, metric: str) -> Interval | None:
    """The metric's mean where it is under the suite's bound (0.5 where it sets none)."""
    result: Interval | None = getattr(known, metric)
    return result if result is not None and result.mean < known.bounds.get(metric, 0.5) else None


def hint_of(known: DiagnosticInputs) -> float:
    """How sure pictures alone make it: less where the LoRA's record tells another story, or none of this."""
    return HINT if known.making is None else HINT - 0.1


def first_names(names: Mapping[str, float], most: int = 6) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(list(names)[:most]) + more
