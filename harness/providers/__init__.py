"""Whatever turns requests into pictures: one file a kind, one line in the table."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pkgutil import resolve_name

from harness.config.adapters import ADAPTERS, find_adapter, known_adapters
from harness.config.profile import Profile, ProviderConfig
from harness.core.errors import SuiteError, nearest
from harness.core.moved import keep_former_names
from harness.core.settings import Settings
from harness.core.values import Provider, Suite, Trait
from harness.models.loading import Models
from harness.providers.budget import Budget


@dataclass(frozen=True)
class ProviderContext:
    """What a provider may use. `traits` tells the subject's traits where the suite leaves them to be extracted."""

    profile: Profile
    settings: Settings
    models: Models
    traits: Callable[[Suite], Sequence[Trait]] | None = None
    budget: Budget = field(default_factory=Budget)


Factory = Callable[[str, ProviderConfig, ProviderContext], Provider]
PARTS = ("close", "draw", "emulated", "missing", "name", "requests")  # of every provider


def open_provider(name: str, context: ProviderContext) -> Provider:
    """The provider that the profile calls `name`; nothing heavy is imported or started yet."""
    configs = context.profile.providers
    if name not in configs:
        raise SuiteError(f"no provider called {name!r}; {nearest(name, configs)}", context.profile.path)
    config = configs[name]
    return find_factory(config.adapter, f"provider {name!r}", context)(name, config, context)


def find_factory(adapter: str, where: str, context: ProviderContext) -> Factory:
    """What makes providers of an adapter: ours, `package.module:Name` in the project, or an installed package's.

    Raises:
        SuiteError: there is none of that name, or it cannot be imported.
    """
    place = find_adapter(adapter)
    if place is None:
        known = nearest(adapter, known_adapters())
        raise SuiteError(f"{where}: no adapter called {adapter!r}; {known}", context.profile.path)
    if adapter in ADAPTERS:
        ours: Factory = resolve_name(place)
        return ours
    return import_factory(place, where, context)


def import_factory(place: str, where: str, context: ProviderContext) -> Factory:
    """The class or function at `package.module:Name`. This runs the module's code, with the rights of whoever runs us.

    Raises:
        SuiteError: it cannot be imported, or is nothing that can be called.
    """
    root = str(context.settings.root)
    if root not in sys.path:
        sys.path.insert(0, root)  # the project's own modules, also those that are imported later
    try:
        factory: Factory = resolve_name(place)
    except Exception as error:  # whatever foreign code raises while it is imported
        advice = f"it must be importable from {root}, or be installed"
        raise SuiteError(f"{where}: adapter {place!r}: {error}; {advice}", context.profile.path) from error
    if not callable(factory):
        raise SuiteError(f"{where}: adapter {place!r} is no class or function", context.profile.path)

    def make(name: str, config: ProviderConfig, context: ProviderContext) -> Provider:
        provider = factory(name, config, context)
        lacking = [part for part in PARTS if not hasattr(provider, part)]
        if lacking:
            message = f"{where}: adapter {place!r} makes no provider: it lacks {', '.join(lacking)}"
            raise SuiteError(f"{message}; see docs/providers/write-your-own.md", context.profile.path)
        return provider

    return make


keep_former_names(__name__)
