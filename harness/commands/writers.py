"""What `harness story` and `harness caption` share: the service that writes."""

from __future__ import annotations

from harness.commands.project import open_profile
from harness.core.errors import MissingKey
from harness.models.loading import Models
from harness.providers import ProviderContext
from harness.providers.text.chat import Writer


def open_context(profile: str | None) -> ProviderContext:
    """What a writer may use: the profile and the environment."""
    chosen, settings = open_profile(profile=profile)
    return ProviderContext(chosen, settings, Models(chosen, settings))


def need_key(writer: Writer) -> None:
    """Say so when a writer's key is not at hand.

    Raises:
        MissingKey: it has none.
    """
    if writer.missing():
        raise MissingKey(writer.name, writer.missing())


def title_of(writer: Writer) -> str:
    """A writer's name for people: which model, and whether it is a real one."""
    return f"{writer.name} ({writer.model}{', emulated' if writer.emulated else ''})"
