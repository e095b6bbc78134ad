"""How a round ends: the file that is examined, whose place it may take, and what is written down of it."""

from __future__ import annotations

from harness.core.values import Lora, digest, hash_file, to_record
from harness.engine.context import ImproveContext
from harness.models.lora.registry import rescale
from harness.training.improve.candidate_training import challengers
from harness.training.improve.promotion import Ruling
from harness.training.improve.remedies import RatedFile


def own_champion(context: ImproveContext) -> Lora | None:
    """The suite's own champion, when it is what is under test and a new one may take its place."""
    own = context.suite.subject.lora
    return own if own and own.strength > 0 and context.settings.lora is None else None


def settle(context: ImproveContext, lora: Lora) -> Lora:
    """The file that is examined: the chosen strength goes into its weights.

    So a new champion needs no new strength in the suite, and what is promoted is byte for byte what was examined.
    """
    own = own_champion(context)
    strength = own.strength if own else 1.0
    name = digest([hash_file(lora.path), lora.strength, strength])[:12]
    settled = challengers(context) / f"challenger-{name}.safetensors"
    return Lora(rescale(lora.path, settled, lora.strength / strength), strength)


def scores_of(ruling: Ruling) -> dict[str, object]:
    """Means of champion and challenger and their differences, plain JSON."""
    return {name: to_record(getattr(ruling, name)) for name in ("before", "after", "differences")}


def told_of_ruling(ruling: Ruling) -> dict[str, object]:
    """The rest of what a held-out test found, plain JSON."""
    return {
        "sets": to_record(ruling.sets),
        "promoted": ruling.promoted,
        "verdict": "promoted" if ruling.promoted else "refused",
        "reason": "; ".join(ruling.reasons),
        "over_base": to_record(ruling.base),
        "competitor": ruling.rival,
        "competitor_gap": to_record(ruling.rival_gap),
    }


def describe(lora: Lora | None) -> dict[str, object] | None:
    """A file under test, for the record."""
    if lora is None:
        return None
    return {"file": lora.path.name, "strength": lora.strength, "sha256": hash_file(lora.path)}


def told_of(choice: RatedFile) -> dict[str, object]:
    """What was seen of a file at a strength, for the record."""
    return {
        "file": choice.lora.path.name,
        "strength": choice.lora.strength,
        "quality": round(choice.quality, 4),
        "short": round(choice.short, 4),
    }
