"""A picture that a LoRA is trained on, and what is said of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class TrainingPicture:
    """One picture to learn from and what it shows."""

    path: Path
    caption: str  # with the trigger in it
