"""Whatever turns requests into pictures: one file a kind, one line in the table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.errors import SuiteError, nearest
from harness.values import Provider, Suite, Trait

if TYPE_CHECKING:
    from harness.models import Models
    from harness.profile import Profile, ProviderConfig
    from harness.settings import Settings


@dataclass(frozen=True)
class Context:
    """What a provider may use. `traits` tells the subject's traits where the suite leaves them to be extracted."""

    profile: Profile
    settings: Settings
    models: Models
    traits: Callable[[Suite], Sequence[Trait]] | None = None


def flat(name: str, config: ProviderConfig, context: Context) -> Provider:
    from harness.providers.flat import FlatProvider

    return FlatProvider(name, config, context)


def local(name: str, config: ProviderConfig, context: Context) -> Provider:
    from harness.providers.local import LocalProvider

    return LocalProvider(name, config, context)


def http(name: str, config: ProviderConfig, context: Context) -> Provider:
    from harness.providers.http import HttpProvider

    return HttpProvider(name, config, context)


PROVIDERS: dict[str, Callable[[str, ProviderConfig, Context], Provider]] = {
    "flat": flat,
    "http": http,
    "local": local,
}
"""Adapter, as a profile names it, to what makes a provider of it."""


def open_provider(name: str, context: Context) -> Provider:
    """The provider that the profile calls `name`; nothing heavy is imported or started yet."""
    configs = context.profile.providers
    if name not in configs:
        raise SuiteError(f"no provider called {name!r}; {nearest(name, configs)}", context.profile.path)
    config = configs[name]
    if config.adapter not in PROVIDERS:
        where = f"provider {name!r}: no adapter called {config.adapter!r}"
        raise SuiteError(f"{where}; {nearest(config.adapter, PROVIDERS)}", context.profile.path)
    return PROVIDERS[config.adapter](name, config, context)
