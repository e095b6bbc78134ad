"""Faults that no training mends, told from what is known when a gate is red: each explains everything else at once."""

from __future__ import annotations

from collections.abc import Iterator

from harness.judging.causes.cause import CERTAIN, Sign
from harness.scoring.metrics.evidence import Evidence

STRANGER = 0.5  # below the middle between impostor and genuine it is somebody else
AMONG_THEMSELVES = 0.6  # pictures this much alike show one person
APART = 0.3  # by which they are liker to each other than to the references
MOST = 0.5  # the share of pictures from which a fault is the provider's and not one picture's


def strength_zero(evidence: Evidence) -> Iterator[Sign]:
    if evidence.applied is not None and evidence.applied.strength == 0:
        yield Sign(CERTAIN, (f"{evidence.lora or 'the LoRA'} cannot change a picture",))


def lora_without_effect(evidence: Evidence) -> Iterator[Sign]:
    if evidence.applied is not None and not evidence.applied.ok:
        yield Sign(CERTAIN, (evidence.applied.reason,))


def pictures_missing(evidence: Evidence) -> Iterator[Sign]:
    if evidence.missing:
        kinds = ", ".join(f"{count} {outcome}" for outcome, count in evidence.missing.items())
        yield Sign(CERTAIN, (evidence.message or "see the outcome",), title=f"pictures are missing ({kinds})")


def blank_pictures(evidence: Evidence) -> Iterator[Sign]:
    if count := frequent_fault(evidence, "blank"):
        yield Sign(CERTAIN, (f"{count} of {evidence.pictures} pictures of {evidence.provider} are one colour",))


def blurred_pictures(evidence: Evidence) -> Iterator[Sign]:
    if count := frequent_fault(evidence, "blur"):
        text = f"{count} of {evidence.pictures} pictures of {evidence.provider} are far softer than every reference"
        yield Sign(CERTAIN, (text,))


def frequent_fault(evidence: Evidence, kind: str) -> int:
    """How many pictures have a technical fault, where most of them do; else 0."""
    count = evidence.faults.get(kind, 0)
    return count if count > MOST * evidence.pictures else 0


def references_disagree(evidence: Evidence) -> Iterator[Sign]:
    """train/ and held_out/ show different people: no score against them means anything."""
    if evidence.agreement is None or evidence.agreement >= STRANGER:
        return
    whose = ""
    if evidence.train is not None and evidence.clip is not None and evidence.train - evidence.clip > APART:
        whose = "; the pictures look like train/, so held_out/ is the wrong one"
    text = (
        f"train/ and held_out/ do not show the same one (likeness {evidence.agreement:.2f}, "
        f"where 0 is a stranger and 1 the same){whose}"
    )
    yield Sign(CERTAIN, (text,))


def wrong_lora(evidence: Evidence) -> Iterator[Sign]:
    """The LoRA file says that it is somebody else's."""
    for name, ours in (("subject", evidence.subject), ("trigger", evidence.trigger)):
        theirs = evidence.metadata.get(f"harness.{name}", "")
        if theirs and ours and theirs.casefold() != ours.casefold():
            yield Sign(CERTAIN, (f"{evidence.lora} was trained for {name} {theirs!r}, the suite tests {ours!r}",))
            return


def references_swapped(evidence: Evidence) -> Iterator[Sign]:
    """By its own record the LoRA learned from the pictures that judge it."""
    if evidence.held_out and evidence.metadata.get("harness.references", "") == evidence.held_out:
        text = (
            f"{evidence.lora} was trained on the pictures that are in held_out/ now, so it is judged by what it has "
            "seen, and no score counts"
        )
        yield Sign(CERTAIN, (text,))


def trained_elsewhere(evidence: Evidence) -> Iterator[Sign]:
    """By its own record the LoRA learned from other pictures; that alone explains nothing, and is told."""
    learned = evidence.metadata.get("harness.references", "")
    if learned and evidence.references and learned not in (evidence.references, evidence.held_out):
        text = (
            f"{evidence.lora} was trained on other pictures than those in train/ now, so copies of what it learned "
            "from cannot be seen, and held_out/ may hold some of it"
        )
        yield Sign(CERTAIN, (text,))


def references_changed(evidence: Evidence) -> Iterator[Sign]:
    """The LoRA is this subject's, but learned from other pictures than those that judge it."""
    learned = evidence.metadata.get("harness.references", "")
    if not learned or learned == evidence.references or evidence.clip is None or evidence.clip >= STRANGER:
        return
    if evidence.alike is not None and evidence.alike < AMONG_THEMSELVES:
        return
    text = (
        f"{evidence.lora} was trained on other pictures than those in train/ now, and "
        f"what it draws does not look like them (likeness {evidence.clip:.2f})"
    )
    yield Sign(CERTAIN, (text,))


def other_person(evidence: Evidence) -> Iterator[Sign]:
    """The pictures show one person, and it is not the subject."""
    if evidence.alike is None or evidence.clip is None or evidence.clip >= STRANGER:
        return
    if evidence.alike < AMONG_THEMSELVES or evidence.alike - evidence.clip < APART:
        return
    nearest = f" (nearest impostor: {evidence.likest})" if evidence.likest else ""
    text = (
        f"the pictures are alike among themselves ({evidence.alike:.2f}) and unlike the "
        f"references ({evidence.clip:.2f}){nearest}"
    )
    yield Sign(CERTAIN, (text,))
