"""What a metric that a profile adds is handed, and what it must be able to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from harness.config.profile import Profile
from harness.core.arrays import Floats
from harness.core.values import Case, Score, Suite
from harness.models.embeddings import Embeddings
from harness.models.loading import Models
from harness.scoring.references import References
from harness.store import Store


class Extra(Protocol):
    """One added metric."""

    name: str

    @property
    def identity(self) -> str:
        """Of everything that decides its scores but the picture and the case; needs no torch."""
        ...

    def score(
        self, items: Sequence[tuple[Case, bytes]], vectors: Floats, found: Sequence[Mapping[str, Score]]
    ) -> Sequence[Score | None]:
        """One score a picture, or None where there is nothing to say of its case.

        Args:
            items: cases and encoded pictures.
            vectors: the pictures' CLIP unit vectors (n, d).
            found: what is known of each already.
        """
        ...


@dataclass(frozen=True)
class MetricContext:
    """What an added metric may work with; references are read only when it asks."""

    suite: Suite
    profile: Profile
    models: Models
    store: Store
    clip: Embeddings
    references: Callable[[], References]

    @property
    def gallery(self) -> tuple[Path, ...]:
        return self.references().gallery
