"""Services that write: stories and scene prompts, and captions of pictures. One file a kind, one line in the table."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from harness.config.profile import ProviderConfig
from harness.core.errors import SuiteError, nearest
from harness.providers import ProviderContext
from harness.providers.text.chat import Writer
from harness.providers.text.deepseek import DeepSeekWriter
from harness.providers.text.gigachat import GigaChatWriter
from harness.providers.text.openai import OpenAiWriter


def deepseek(name: str, config: ProviderConfig, context: ProviderContext) -> Writer:
    return DeepSeekWriter(name, config, context)


def openai(name: str, config: ProviderConfig, context: ProviderContext) -> Writer:
    return OpenAiWriter(name, config, context)


def gigachat(name: str, config: ProviderConfig, context: ProviderContext) -> Writer:
    return GigaChatWriter(name, config, context)


WRITERS: dict[str, Callable[[str, ProviderConfig, ProviderContext], Writer]] = {
    "deepseek": deepseek,
    "gigachat": gigachat,
    "openai": openai,
}
"""Adapter, as a profile names it under `writers:`, to what makes a writer of it."""

DEFAULTS: dict[str, ProviderConfig] = {name: ProviderConfig(name) for name in WRITERS}
"""What a profile without `writers:` has: each service with its adapter's own options, which are of November 2026."""


def writer_configs(context: ProviderContext) -> Mapping[str, ProviderConfig]:
    """The profile's writers; where it names none, one of each kind."""
    return context.profile.writers or DEFAULTS


def open_writer(name: str, context: ProviderContext) -> Writer:
    """The writer that the profile calls `name`; nothing is asked of anybody yet.

    Raises:
        SuiteError: no such writer or adapter, or an option that is wrong.
    """
    configs, path = writer_configs(context), context.profile.path
    if name not in configs:
        raise SuiteError(f"no writer called {name!r}; {nearest(name, configs)}", path)
    config = configs[name]
    if config.adapter not in WRITERS:
        where = f"writer {name!r}: no adapter called {config.adapter!r}"
        raise SuiteError(f"{where}; {nearest(config.adapter, WRITERS)}", path)
    return WRITERS[config.adapter](name, config, context)


def choose_writer(name: str | None, preferred: str, context: ProviderContext) -> Writer:
    """The writer of that name; without a name the preferred one, or the first that the profile has."""
    configs = writer_configs(context)
    return open_writer(name or (preferred if preferred in configs else next(iter(configs))), context)
