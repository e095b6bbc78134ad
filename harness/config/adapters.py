"""Which adapters there are, by name alone: a profile is checked against it, and nothing is imported."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points

GROUP = "lora_harness.providers"  # entry points of installed packages: adapter = package.module:Name

ADAPTERS: Mapping[str, str] = {
    "command": "harness.providers.command:CommandProvider",
    "deepai": "harness.providers.deepai:DeepAiProvider",
    "flat": "harness.providers.flat:FlatProvider",
    "folder": "harness.providers.folder:FolderProvider",
    "freepik": "harness.providers.freepik:FreepikProvider",
    "gemini": "harness.providers.gemini:GeminiProvider",
    "http": "harness.providers.http:HttpProvider",
    "imagen": "harness.providers.imagen:ImagenProvider",
    "local": "harness.providers.local:LocalProvider",
    "openai": "harness.providers.openai:OpenAiProvider",
}
"""Adapter, as a profile names it, to the class that is imported when a provider is opened."""


def installed_adapters() -> dict[str, str]:
    """What other packages bring."""
    return {point.name: point.value for point in entry_points(group=GROUP)}


def find_adapter(name: str) -> str | None:
    """The `package.module:Name` of an adapter: ours, the project's own, or an installed package's; None without one."""
    if ":" in name:
        return name
    return ADAPTERS.get(name) or installed_adapters().get(name)


def known_adapters() -> set[str]:
    return {*ADAPTERS, *installed_adapters()}
