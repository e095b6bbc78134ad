"""Why a LoRA fails, told from what is known of its pictures, its making, its strength and the pictures it learnt from.

    what is known for sure                              what it is called
    its strength                                        high_strength, low_strength
    its own record: samples, rate, prior                under_trained, over_trained, high_rate, low_rate
    the train pictures, one by one and together         wrong_person, duplicates, one_value, missing_captions
    copies, collapse, drift, likeness; the loss         over_trained, under_trained, high_rate where no record tells

A cause that a record or a picture shows is surer than one that only the drawn pictures hint at. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from harness.core.values import Interval, SetScore

HEALTHY = "healthy"
STRONG, WEAK = 1.4, 0.55  # strengths outside are mistakes rather than choices
SHORT, LONG = 0.6, 1.8  # times the samples that the profile gives such a set
SLOW, FAST = 0.25, 4.0  # times the profile's rate
HARD = 4.0  # samples times rate: a short training at a high rate is no short one
STRANGER = 0.5  # of the way from strangers (0) to the held-out pictures (1): below it a train picture shows another
REPEATED = 0.15  # of the train pictures that repeat another one
SAME = 0.75  # of the train pictures with one value of the scene
SILENT = 0.5  # of the captions that do not name what changes from picture to picture
DULL = 0.03  # of the loss at the start: a curve that fell by less has not learnt
CERTAIN, LIKELY, HINT = 0.95, 0.7, 0.5

WORDS: Mapping[str, str] = {
    "wrong_person": "another person among the train pictures",
    "duplicates": "one picture many times among the train pictures",
    "one_value": "one value of the scene in nearly every train picture",
    "missing_captions": "captions that do not say what changes from picture to picture",
    "high_strength": "the strength is too high",
    "low_strength": "the strength is too low",
    "high_rate": "the learning rate was too high",
    "low_rate": "the learning rate was too low",
    "over_trained": "over-trained",
    "under_trained": "under-trained",
    HEALTHY: "nothing known is wrong",
}
REMEDIES: Mapping[str, tuple[str, str]] = {
    "wrong_person": ("data", "leave these pictures out of the training"),
    "duplicates": ("data", "keep one of each"),
    "one_value": ("data", "add pictures with other values, and name this one in the captions"),
    "missing_captions": ("data", "say it in the captions, so that the trigger need not stand for it"),
    "high_strength": ("strength", "lower it"),
    "low_strength": ("strength", "raise it"),
    "high_rate": ("training", "train again at the profile's rate"),
    "low_rate": ("training", "train again at the profile's rate"),
    "over_trained": ("training", "an earlier checkpoint, a lower strength, or fewer steps with the base's prior"),
    "under_trained": ("training", "train longer"),
}


@dataclass(frozen=True)
class Cause:
    """One thing that explains a failure."""

    name: str
    confidence: float  # [0, 1]: 0.95 shown by a record or a picture, 0.7 by several signs, 0.5 hinted at
    evidence: tuple[str, ...]  # in words, with figures

    @property
    def sentence(self) -> str:
        """For people."""
        return f"{WORDS[self.name]} ({self.confidence:.0%}): {'; '.join(self.evidence)}"


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


@dataclass(frozen=True)
class DiagnosticInputs:
    """All that may be known; what is not is None or empty."""

    strength: float | None = None
    making: Making | None = None
    study: Study | None = None
    sets: Mapping[str, SetScore] = field(default_factory=dict)
    clip: Interval | None = None  # calibrated
    prompt: Interval | None = None
    ssim: Interval | None = None
    over_base: Interval | None = None  # clip minus the base's
    loss: Sequence[tuple[int, float]] = ()  # (step, loss)
    bounds: Mapping[str, float] = field(default_factory=dict)  # the suite's, by metric


def diagnose_lora(seen: DiagnosticInputs) -> tuple[Cause, ...]:
    """Every cause that the symptoms show, the surest first; `healthy` alone where none does.

    Among equally sure ones faults of the pictures come first: no training mends them.
    """
    results: dict[str, Cause] = {}
    for probe in PROBES:
        for cause in probe(seen):
            known = results.get(cause.name)
            results[cause.name] = merged(known, cause) if known else cause
    causes = tuple(sorted(results.values(), key=lambda cause: -cause.confidence))
    return causes or (Cause(HEALTHY, HINT, ("no sign of a known fault",)),)


def merged(one: Cause, two: Cause) -> Cause:
    """Two signs of one cause: as sure as the surer one."""
    return Cause(one.name, max(one.confidence, two.confidence), (*one.evidence, *two.evidence))


# --- what it learnt from ------------------------------------------------------------------------------------------


def strangers(seen: DiagnosticInputs) -> Iterator[Cause]:
    """Train pictures that are nearer to strangers than to the pictures that judge."""
    study = seen.study
    far = {name: value for name, value in study.likeness.items() if value < STRANGER} if study else {}
    if study and far and 2 * len(far) <= len(study.likeness):
        message = f"{len(far)} of {len(study.likeness)} train pictures do not show the subject: {listed(far)}"
        figures = f"likeness to the held-out pictures at most {max(far.values()):.2f} (0 a stranger, 1 the subject)"
        yield Cause("wrong_person", CERTAIN, (message, figures))


def repeats(seen: DiagnosticInputs) -> Iterator[Cause]:
    """One picture many times: it weighs as much as all the others together."""
    study = seen.study
    extra = sum(len(group) - 1 for group in study.groups) if study else 0
    if study and study.count and extra >= max(2, REPEATED * study.count):
        most = max(study.groups, key=len)
        message = f"{extra} of {study.count} train pictures repeat another one, {most[0]} is there {len(most)} times"
        yield Cause("duplicates", CERTAIN, (message,))


def monotony(seen: DiagnosticInputs) -> Iterator[Cause]:
    """One expression, or one place, in nearly every picture."""
    study = seen.study
    for category, (value, share) in (study.shares if study else {}).items():
        if study and share >= SAME and category not in study.harmless:
            unsaid = study.silent.get(category, 0.0)
            message = f"{category} is {value!r} in {share:.0%} of the train pictures"
            text = f"{unsaid:.0%} of the captions do not say so"
            yield Cause("one_value", CERTAIN if unsaid >= SILENT else LIKELY, (message, text))


def silence(seen: DiagnosticInputs) -> Iterator[Cause]:
    """What changes from picture to picture and is in no caption: the trigger comes to mean all of it."""
    study = seen.study
    silent = {
        category: share
        for category, share in (study.silent if study else {}).items()
        if study and share > SILENT and study.shares.get(category, ("", 1.0))[1] < SAME
    }
    if silent:
        message = ", ".join(f"{category} ({share:.0%} of the captions)" for category, share in silent.items())
        yield Cause("missing_captions", 0.9, (f"it changes from picture to picture and is not said: {message}",))


# --- how it was made and how it is used ---------------------------------------------------------------------------


def strength_of(seen: DiagnosticInputs) -> Iterator[Cause]:
    """A strength that nobody would choose."""
    strength = seen.strength
    if strength is None or not strength:
        return
    if strength >= STRONG:
        yield Cause("high_strength", CERTAIN, (f"the LoRA is drawn at strength {strength:g} (at most {STRONG:g})",))
    elif strength <= WEAK:
        yield Cause("low_strength", CERTAIN, (f"the LoRA is drawn at strength {strength:g} (at least {WEAK:g})",))


def recipe(seen: DiagnosticInputs) -> Iterator[Cause]:
    """What its own record says."""
    making = seen.making
    if making is None:
        return
    if making.rate >= FAST:
        yield Cause("high_rate", CERTAIN, (f"{making.words}: {making.rate:.1f} times the profile's rate",))
    elif making.rate <= SLOW:
        yield Cause("low_rate", CERTAIN, (f"{making.words}: {making.rate:.2f} of the profile's rate",))
    if making.samples < SHORT and making.samples * making.rate < HARD:
        yield Cause("under_trained", 0.9, (f"{making.words}: {making.samples:.0%} of the profile's samples",))
    elif making.samples > LONG:
        bare = ", without the base's prior" if making.prior < 0.5 else ""
        yield Cause("over_trained", 0.9, (f"{making.words}: {making.samples:.1f} times the profile's samples{bare}",))


def curve_of(seen: DiagnosticInputs) -> Iterator[Cause]:
    """A loss that rose, or that never fell."""
    losses = [loss for _, loss in seen.loss]
    if len(losses) < 8:
        return
    part = max(2, len(losses) // 5)
    first, last = sum(losses[:part]) / part, sum(losses[-part:]) / part
    if last > 1.5 * first:
        yield Cause("high_rate", LIKELY, (f"the loss rose from {first:.3f} to {last:.3f}",))
    elif first - last < DULL * first and seen.making is None:
        yield Cause("low_rate", HINT, (f"the loss went from {first:.3f} to {last:.3f} only",))


# --- what its pictures hint at ------------------------------------------------------------------------------------


def pictures(seen: DiagnosticInputs) -> Iterator[Cause]:
    """Likeness, prompts, copies and collapse; only hints, because several causes look the same from here."""
    known = seen.making is not None
    if alarms := [name for name in ("copy", "diversity") if name in seen.sets and seen.sets[name].alarm]:
        repeated = any(cause.name == "duplicates" for cause in repeats(seen))
        message = tuple(seen.sets[name].sentence for name in alarms)
        yield Cause("over_trained", HINT if known or repeated else LIKELY, message)
    low, base = below(seen, "clip"), seen.over_base
    if low and not alarms and base is not None and base.mean < STRANGER and not below(seen, "prompt"):
        message = (f"clip is {low.mean:.2f}, {base.mean:+.2f} over the base, and prompts are followed",)
        yield Cause("under_trained", HINT - 0.1 if known else HINT, message)
    if low and below(seen, "prompt") and below(seen, "ssim"):
        text = f"clip {low.mean:.2f}, prompt and ssim are all too low: the pictures are broken"
        yield Cause("high_rate", HINT - 0.1 if known else HINT, (text,))


def below(seen: DiagnosticInputs, metric: str) -> Interval | None:
    """The metric's mean where it is under the suite's bound (0.5 where it sets none)."""
    result: Interval | None = getattr(seen, metric)
    return result if result is not None and result.mean < seen.bounds.get(metric, 0.5) else None


PROBES: tuple[Callable[[DiagnosticInputs], Iterator[Cause]], ...] = (
    strangers,
    repeats,
    monotony,
    silence,
    strength_of,
    recipe,
    curve_of,
    pictures,
)
"""In the order in which equally sure causes are named."""


def listed(names: Mapping[str, float], most: int = 6) -> str:
    """The first few names."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(list(names)[:most]) + more
