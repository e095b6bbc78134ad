"""Why a gate is red and what to do: the one table of causes.

    GATE       faults of the run, told from all that is known of a red gate; the first explains everything else
    LORA       what is wrong with the LoRA itself, told before it is retrained
    PICTURES   what this run's figures show of problems that LoRA practice knows

A cause is one function in the file of its family, which yields what it sees, and one line here; a function that tells
several causes apart has a line for each. Code reads a cause's name and area; its words are for people alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from harness.judging.causes import gate, lora, pictures
from harness.judging.causes.cause import HINT, Cause, Probe
from harness.judging.causes.lora import DiagnosticInputs
from harness.judging.causes.pictures import ProviderFacts
from harness.scoring.metrics.evidence import Evidence

# fmt: off
GATE: Mapping[str, Probe[Evidence]] = {
    "strength_zero": Probe(gate.strength_zero, "strength", "strength is 0", "set a strength above 0"),
    "lora_without_effect": Probe(gate.lora_without_effect, "lora", "LoRA not loaded or without effect"),
    "pictures_missing": Probe(gate.pictures_missing, "provider", "pictures are missing"),
    "blank_pictures": Probe(
        gate.blank_pictures, "rendering", "blank images",
        "look for NaN in the autoencoder (half precision) or a broken service"),
    "blurred_pictures": Probe(
        gate.blurred_pictures, "rendering", "blurred pictures", "check steps, size and upscaling"),
    "references_disagree": Probe(
        gate.references_disagree, "references", "references of another person", "correct the reference folder"),
    "wrong_lora": Probe(gate.wrong_lora, "lora", "LoRA of another person", "give the right file"),
    "references_swapped": Probe(
        gate.references_swapped, "references", "train/ and held_out/ are swapped",
        "put each back in its folder, or train again"),
    "references_changed": Probe(
        gate.references_changed, "references", "references of another person", "restore them, or train again"),
    "other_person": Probe(
        gate.other_person, "lora", "LoRA of another person",
        "give this subject's LoRA, or check whose the references are"),
}
"""The surest first."""

TOLD: Mapping[str, Probe[Evidence]] = {
    "trained_elsewhere": Probe(
        gate.trained_elsewhere, "references", "train/ is not what the LoRA learned from",
        "where that was not meant, restore the pictures or train again"),
}
"""What explains no red gate, and is said of a green one too."""

LORA: Mapping[str, Probe[DiagnosticInputs]] = {
    "wrong_person": Probe(
        lora.wrong_person, "data", "another person among the train pictures",
        "leave these pictures out of the training"),
    "duplicates": Probe(
        lora.duplicates, "data", "one picture many times among the train pictures", "keep one of each"),
    "one_value": Probe(
        lora.one_value, "data", "one value of the scene in nearly every train picture",
        "add pictures with other values, and name this one in the captions"),
    "missing_captions": Probe(
        lora.missing_captions, "data", "captions that do not say what changes from picture to picture",
        "say it in the captions, so that the trigger need not stand for it"),
    "high_strength": Probe(lora.high_strength, "strength", "the strength is too high", "lower it"),
    "low_strength": Probe(lora.low_strength, "strength", "the strength is too low", "raise it"),
    "over_trained": Probe(
        lora.over_trained, "training", "over-trained",
        "an earlier checkpoint, a lower strength, or fewer steps with the base's prior"),
    "under_trained": Probe(lora.under_trained, "training", "under-trained", "train longer"),
    "high_rate": Probe(
        lora.high_rate, "training", "the learning rate was too high", "train again at the profile's rate"),
    "low_rate": Probe(
        lora.low_rate, "training", "the learning rate was too low", "train again at the profile's rate"),
}
"""In the order in which equally sure causes are named: faults of the pictures first, because no training mends them."""

PICTURES: Mapping[str, Probe[ProviderFacts]] = {
    "copied_picture": Probe(
        pictures.identical_pictures, "data", "one training picture is copied",
        "remove what repeats it (`harness references check`) or lower its weight, and train fewer steps"),
    "leak": Probe(
        pictures.identical_pictures, "references", "held-out pictures are drawn again",
        "train on train/ alone, or hold out pictures that nobody has seen: scores against these mean nothing"),
    "copies": Probe(
        pictures.identical_pictures, "training", "training pictures are copied",
        "over-trained: fewer steps, a lower rank or strength, or more and more varied pictures"),
    "equal_seeds": Probe(
        pictures.identical_pictures, "training", "seeds draw nearly the same picture",
        "over-trained, on no copies: fewer steps, a lower rank or strength, or more varied pictures"),
    "prompts_ignored": Probe(
        pictures.prompts_ignored, "training", "prompts are ignored",
        "over-trained: an earlier checkpoint, a lower strength, fewer steps, or more varied pictures and captions"),
    "trigger_ignored": Probe(
        pictures.trigger_ignored, "training", "the trigger is ignored",
        "the trigger calls nothing, so begin every caption with it, spell it as the suite does, and train longer"),
    "face_not_shown": Probe(
        pictures.face_lost, "data", "the training pictures hardly show the face", "add frontal portraits"),
    "face_not_learnt": Probe(
        pictures.face_lost, "training", "the face was not learnt", "more steps, or a higher rank"),
    "value_of_training": Probe(
        pictures.value_of_scene, "data", "one value of the scene, learnt from the training pictures",
        "add pictures with another one, and name it in the captions of those that show it"),
    "value_of_base": Probe(
        pictures.value_of_scene, "prompt", "one value of the scene, as the base draws it",
        "say it more plainly in the prompts"),
    "value_unexplained": Probe(
        pictures.value_of_scene, "training", "one value of the scene",
        "the training pictures do not explain it; a lower strength, or captions that name it in every picture"),
    "drift": Probe(pictures.drift, "training", "prompts about others are drawn otherwise"),
}
"""The surest first; the later ones are silent where an earlier one explains them."""
# fmt: on

PROBES: Mapping[str, Probe[Any]] = {**GATE, **TOLD, **LORA, **PICTURES}
HEALTHY = Cause("healthy", "", "", HINT, ("no sign of a known fault",), "nothing known is wrong")


def look_for(name: str, facts: Any) -> list[Cause]:
    """One cause of the table, once for each of its signs; [] where the facts show none."""
    return list(PROBES[name].causes(name, facts))


def diagnose_gate(evidence: Evidence) -> Cause | None:
    """The likeliest cause of a red gate; None when no known one fits."""
    return next((cause for name in GATE for cause in look_for(name, evidence)), None)


def diagnose_lora(known: DiagnosticInputs) -> tuple[Cause, ...]:
    """Every cause that shows, the surest first; `HEALTHY` alone where none does.

    Several signs of one cause make it as sure as the surest of them.
    """
    results: list[Cause] = []
    for name in LORA:
        if signs := look_for(name, known):
            evidence = tuple(text for sign in signs for text in sign.evidence)
            results.append(replace(signs[0], confidence=max(sign.confidence for sign in signs), evidence=evidence))
    return tuple(sorted(results, key=lambda cause: -cause.confidence)) or (HEALTHY,)


def find_problems(facts: ProviderFacts) -> list[Cause]:
    """Every known problem that the figures show."""
    return [cause for name in PICTURES for cause in look_for(name, facts)]


def cause_of(name: str, confidence: float, evidence: tuple[str, ...]) -> Cause:
    """A cause that was recorded, with the table's words; a name that it lacks stands for itself."""
    remedy = PROBES[name].remedy if name in PROBES else ""
    return Cause(name, area_of(name), remedy, confidence, evidence, title_of(name))


def area_of(name: str) -> str:
    """Where a cause is mended; `suite` where the table does not know it."""
    return PROBES[name].area if name in PROBES else "suite"


def title_of(name: str) -> str:
    """What people call a cause."""
    return PROBES[name].title if name in PROBES else HEALTHY.title if name == HEALTHY.name else name
