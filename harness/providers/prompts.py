"""The traits that a provider without the LoRA is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.config.prompts.subject import written_traits
from harness.core.values import Suite, Trait, Vocabulary
from harness.providers import ProviderContext


def traits_of(suite: Suite, context: ProviderContext, vocabulary: Mapping[str, Vocabulary]) -> Sequence[Trait]:
    """The subject's traits: as its author wrote them, else as the references show them."""
    if suite.subject.traits is not None:
        return written_traits(suite, vocabulary)
    return context.traits(suite) if context.traits else ()
