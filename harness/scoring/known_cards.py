"""Cards that were measured before, one small file each in `fixtures/cards`: which of them speaks of a scorer."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path("fixtures") / "cards"
OWN = ("references_train", "references_held_out", "traits", "identity", "sampling")  # of one subject, or of all
