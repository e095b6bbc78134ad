"""Which LoRA is under test: one answer, for the engine and for the providers that it opens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.core.values import Lora, Suite


@dataclass(frozen=True)
class LoraUnderTest:
    """Everything that may name it. The first that does so wins, in this order:

    1. what a retraining promoted in this run for a suite's provider;
    2. a single provider's own in this run (`harness compare`, `harness sweep`);
    3. the command line's (`--lora`);
    4. the suite's (`subject.lora`).

    A LoRA at strength 0 counts as named: it is under test, and switched off.
    """

    given: Lora | None = None  # --lora
    own: Mapping[str, Lora] = field(default_factory=dict)  # by provider
    promoted: Mapping[tuple[Path, str], Lora] = field(default_factory=dict)  # by a suite's path and a provider

    def of(self, suite: Suite, provider: str) -> Lora | None:
        """The LoRA that a provider of a suite draws with, if it uses one; None: nobody named any."""
        return self.override(provider, suite) or suite.subject.lora

    def override(self, provider: str, suite: Suite | None = None) -> Lora | None:
        """What stands in place of a suite's own, or, where none is named, of every suite's."""
        promoted = self.promoted.get((suite.path, provider)) if suite else None
        return promoted or self.own.get(provider) or self.given

    def promote(self, suite: Suite, provider: str, lora: Lora) -> LoraUnderTest:
        """The same after a promotion."""
        return replace(self, promoted={**self.promoted, (suite.path, provider): lora})
