"""Cards that were measured before, one small file each in `fixtures/cards`: which of them speaks of a scorer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.core.settings import data_root
from harness.core.values import digest

FOLDER = Path("fixtures") / "cards"
OWN = (
    "references_train",
    "references_held_out",
    "traits",
    "identity",
    "sampling",
)  # of one subject, or of all together
APART = ("domain", "cohort")  # whether a picture is judged at all, and where the scale begins: a card asks for order
ADDED = "metrics."  # a profile's own metrics: no card examines them
SHOWN = ("name", "value", "goal", "passed", "what")


def judge_parts(parts: Mapping[str, object]) -> dict[str, object]:
    """What of `Scorer.parts` decides how a picture is scored whoever it is to show."""
    return {name: value for name, value in parts.items() if name not in (*OWN, *APART) and not name.startswith(ADDED)}


def judge_identity(parts: Mapping[str, object]) -> str:
    """A hash of `judge_parts`: two scorers that share it differ in their subject alone."""
    return digest(judge_parts(parts))


def find_card(parts: Mapping[str, object], folders: Sequence[Path] | None = None) -> dict[str, object] | None:
    """The card that was measured with a scorer of these parts, as a report shows it; None where there is none.

    Args:
        parts: of `Scorer.parts`, with or without what belongs to the subject.
        folders: where cards lie; those of the folder at hand and the shipped ones unless given.
    """
    if not judge_parts(parts):
        return None
    wanted = judge_identity(parts)
    for folder in folders or dict.fromkeys((Path.cwd() / FOLDER, data_root() / FOLDER)):
        for path in sorted(folder.glob("*.json")):
            record = _read(path)
            if record.get("scorer") == wanted:
                axes = [{name: axis.get(name) for name in SHOWN} for axis in record["axes"]]
                return {"identities": record["identities"], "scorer": wanted, "axes": axes}
    return None


def _read(path: Path) -> Mapping[str, Any]:
    """A file that is no card speaks of no scorer."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    whole = isinstance(record, dict) and isinstance(record.get("axes"), list) and "identities" in record
    return record if whole and all(isinstance(axis, dict) for axis in record["axes"]) else {}
