"""From what fails to what to change: a training configuration with the reason of each change in words. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean

from harness.core.errors import EngineError
from harness.core.values import Suite
from harness.judging.causes.cause import Cause
from harness.judging.causes.lora import RECORD
from harness.judging.feedback import Feedback
from harness.models.lora.export import LoraFacts
from harness.models.lora.train_config import TrainConfig

SHORT = 0.6  # of the profile's samples: a LoRA that saw fewer is under-trained, whatever else it is
HEAVIEST = 3.0  # the largest sampling weight: above it the others would be forgotten
CONTINUED = 0.4  # of the profile's steps: how much a sound LoRA is trained on
LONGEST = 1.5  # times the profile's steps, never more
RATES = (0.3, 1.5)  # times the profile's rate, never outside
SPOILT = 0.6  # confidence from which a cause in the weights means that nothing may be built on them


@dataclass(frozen=True)
class Learner:
    """The subject's side of a plan."""

    trigger: str
    references: str  # hash of the train pictures
    base: str  # hash of the base model
    captions: Mapping[str, str] = field(default_factory=dict)  # file name of a train picture to its caption


@dataclass(frozen=True)
class TrainPlan:
    """What to train next, and why."""

    config: TrainConfig
    reasons: tuple[str, ...]
    start_from: Path | None  # a LoRA to be continued; None: from scratch
    usual: float | None = None  # the profile's rate, which candidates stay near; None: the configuration's own


def failing_prompts(feedback: Feedback, suite: Suite) -> tuple[str, ...]:
    """The prompts of the cases that fail. Raises EngineError for a locked one: no plan may ever know it."""
    cases = [suite.case(item.name) for item in feedback.cases]
    for case in cases:
        if case.split != "open":
            raise EngineError(f"case {case.id!r} is locked; a training plan must not see it")
    return tuple(case.prompt for case in cases)


def plan_from_feedback(
    feedback: Feedback,
    suite: Suite,
    full: TrainConfig,
    learner: Learner,
    lora: Path | None,
    facts: LoraFacts | None,
    refused: int = 0,
    causes: Sequence[Cause] = (),
) -> TrainPlan:
    """The next training.

    Args:
        feedback: of the gate provider, over open cases.
        full: the profile's configuration for this set of pictures.
        lora: the LoRA under test, with what its file says of itself.
        refused: how many challengers of this run were refused already.
        causes: what is wrong with it, the surest first.
    """
    weights, why_weights = weigh_pictures(feedback, failing_prompts(feedback, suite), learner)
    config = replace(full, sampling=weights, seed=full.seed + refused)
    spoilt = in_weights(causes)
    if spoilt and not refused:
        config, reasons = start_again(spoilt, full, config)
        return TrainPlan(config, (*reasons, *why_weights), None, full.learning_rate)
    afresh = why_afresh(full, learner, facts)
    if afresh or refused or lora is None:
        reasons = [afresh or "there is no LoRA yet: trained from scratch"] if not refused else []
        if refused:
            longer = not any(cause.name in TOO_MUCH for cause in spoilt)
            words = "longer and from another seed" if longer else "from another seed"
            reasons = [f"{refused} challenger(s) refused: trained from scratch again, {words}"]
            config = replace(config, steps=lengthen(full, 1 + 0.25 * refused)) if longer else config
        return TrainPlan(config, (*reasons, *why_weights), None, full.learning_rate)
    config, why = adjust(feedback, full, config)
    return TrainPlan(config, (*why, *why_weights), lora, full.learning_rate)


def plan_with_own(
    feedback: Feedback,
    suite: Suite,
    full: TrainConfig,
    learner: Learner,
    lora: Path | None,
    facts: LoraFacts | None,
    refused: int = 0,
    causes: Sequence[Cause] = (),
) -> TrainPlan:
    """The last rung: the LoRA goes on with the best of its own pictures among those of the subject.

    Args:
        learner: with the train pictures alone. The LoRA's own pictures keep the weight 1, so that they are never seen
            more often than their share.
    """
    weights, why_weights = weigh_pictures(feedback, failing_prompts(feedback, suite), learner)
    config = replace(full, sampling=weights, seed=full.seed + refused)
    spoilt = in_weights(causes)
    afresh = "the fault is in the weights: trained from scratch" if spoilt else why_afresh(full, learner, facts)
    if afresh or lora is None:
        return TrainPlan(config, (afresh, *why_weights), None, full.learning_rate)
    steps = lengthen(full, CONTINUED)
    config = at_rate(replace(config, steps=steps, warmup=max(1, full.warmup // 2)), full, 0.5)
    half = f"half the rate, {config.learning_rate:g}"
    message = f"continues the LoRA under test for {steps} steps at {half}, so that it stays what it is"
    return TrainPlan(config, (message, *why_weights), lora, full.learning_rate)


TOO_MUCH = ("over_trained", "duplicates")
"""Causes that more training makes worse."""


def in_weights(causes: Sequence[Cause]) -> list[Cause]:
    """The causes that are surely in the weights, the surest first: bad pictures and a bad training end there."""
    return [cause for cause in causes if cause.area in ("data", "training") and cause.confidence >= SPOILT]


def start_again(spoilt: Sequence[Cause], full: TrainConfig, config: TrainConfig) -> tuple[TrainConfig, list[str]]:
    """From scratch, because what went wrong is in the weights; with less of it where there was too much."""
    words = "; ".join(f"{cause.title}: {cause.remedy}" for cause in spoilt)
    reasons = [f"{words}; trained from scratch, because the fault is in the weights"]
    if any(cause.name == "over_trained" for cause in spoilt):
        prior = stronger_prior(full)
        config = replace(config, prior_weight=prior)
        reasons.append(f"{full.steps} steps with the base's prior at {prior:g}, so that it is not over-trained again")
    if spoilt[0].name == "over_trained" and spoilt[0].confidence < RECORD:  # no record: it may be the profile's
        config = replace(config, steps=lengthen(full, 0.75))
        reasons.append(f"no record tells how long it was trained, so {config.steps} steps, fewer than the profile says")
    return config, reasons


def lengthen(full: TrainConfig, factor: float) -> int:
    """So many times the profile's steps, within bounds."""
    return max(1, round(full.steps * min(factor, LONGEST)))


def why_afresh(full: TrainConfig, learner: Learner, facts: LoraFacts | None) -> str:
    """Why the LoRA under test is no ground to build on; "" when it is one."""
    known = facts.config if facts else None
    if facts is None or known is None:
        return "the LoRA does not say how it was trained: trained from scratch with the profile's settings"
    if facts.metadata.get("harness.trigger") != learner.trigger:
        theirs = facts.metadata.get("harness.trigger")
        return f"the LoRA was trained for {theirs!r}, not for {learner.trigger!r}: trained from scratch"
    if facts.metadata.get("harness.base") != learner.base:
        return "the LoRA was trained on another base model: trained from scratch"
    if facts.metadata.get("harness.references") != learner.references:
        return "the train pictures changed since the LoRA was made: trained from scratch"
    seen, wanted = facts.steps * known.samples, full.steps * full.samples
    if seen < SHORT * wanted:
        return f"the LoRA saw only {seen} samples where the profile says {wanted}: trained from scratch, in full"
    if (known.rank, known.target_modules) != (full.rank, full.target_modules):
        return f"rank or layers differ from the profile's (rank {known.rank}, not {full.rank}): trained from scratch"
    return ""


FROM_TOO_MUCH = {
    "prompt": "prompts are followed less than the subject is met",
    "ssim": "ssim lags more than identity",
    "aesthetics": "the pictures lose in looks, not in identity",
}
"""Metrics that fall while identity rises, in a LoRA that learns too much of too little; the words when they lag."""


def adjust(feedback: Feedback, full: TrainConfig, config: TrainConfig) -> tuple[TrainConfig, list[str]]:
    """Change a sound configuration by what lags: identity asks for more, a prompt that is ignored for less."""
    gaps = {item.name: item.gap or 0.0 for item in feedback.metrics}
    identity = max(gaps.get("clip", 0.0), gaps.get("features", 0.0))
    worst = max(FROM_TOO_MUCH, key=lambda name: gaps.get(name, 0.0))
    factor = 1.0 if identity > 0 else 0.5
    config = replace(config, steps=lengthen(full, CONTINUED), warmup=max(1, full.warmup // 2))
    reasons = [f"continues the LoRA under test for {config.steps} steps"]
    if identity > 0:
        reasons.append(f"identity is {identity:.2f} under its bound: at the full rate {full.learning_rate:g}")
    else:
        reasons.append("identity is sound: at half the rate, so that it stays so")
    if gaps.get(worst, 0.0) > identity:
        factor *= 0.6
        prior = stronger_prior(full)
        config = replace(config, prior_weight=prior)
        more = f", the base's prior at {prior:g} instead of {full.prior_weight:g}" if prior != full.prior_weight else ""
        reasons.append(f"{FROM_TOO_MUCH[worst]}, which over-training does: a lower rate{more}")
    factor = min(max(factor, RATES[0]), RATES[1])
    return at_rate(config, full, factor), reasons


def at_rate(config: TrainConfig, usual: TrainConfig, factor: float) -> TrainConfig:
    """The configuration with so many times the usual one's rates: text encoders go with the UNet."""
    rate, text = usual.learning_rate * factor, usual.text_learning_rate * factor
    return replace(config, learning_rate=rate, text_learning_rate=text)


def stronger_prior(full: TrainConfig) -> float:
    """The base's prior a quarter stronger, up to 1; what the profile puts above that stays."""
    return max(full.prior_weight, min(1.0, full.prior_weight + 0.25))


def weigh_pictures(feedback: Feedback, prompts: Sequence[str], learner: Learner) -> tuple[dict[str, float], list[str]]:
    """Show more often the pictures whose captions share words with what fails: {file name: 1 to 3} and why.

    What fails is the prompts of failing cases and the traits that lag; a trait that no caption names weighs nothing.
    """
    trigger = words(learner.trigger)
    lagging = [item for item in feedback.traits if item.score]
    wanted = [words(text) - trigger for text in (*prompts, *(item.value for item in lagging if item.value))]
    common = set.intersection(*map(words, learner.captions.values())) if learner.captions else set()
    affinity = {}
    for name, caption in learner.captions.items():
        message = words(caption) - trigger - common
        shares = [len(message & prompt) / len(message) for prompt in wanted if message]
        affinity[name] = fmean(shares) if shares else 0.0
    reasons = [f"{item.name} lags: {item.score.mean:.2f} of {item.target:.2f}" for item in lagging if item.score]
    most = max(affinity.values(), default=0.0)
    if most == 0 or min(affinity.values()) == most:
        return {}, reasons
    weights = {name: round(1 + (HEAVIEST - 1) * value / most, 2) for name, value in affinity.items() if value > 0}
    top = sorted(weights, key=lambda name: (-weights[name], name))[:3]
    reasons.append(f"pictures like what fails are seen up to {HEAVIEST:g} times as often: {', '.join(top)}")
    return weights, reasons


def words(text: str) -> set[str]:
    """The words of a text, folded, for comparisons."""
    return set(re.findall(r"\w+", text.casefold()))
