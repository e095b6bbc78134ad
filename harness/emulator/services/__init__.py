"""The emulated services: to add one, one file and one line. A module is imported when its service is first wanted."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from harness.core.errors import UsageError, nearest
from harness.emulator.service import Service

SERVICES: dict[str, tuple[str, ...]] = {
    "freepik": ("freepik",),
    "deepai": ("deepai",),
    "gemini": ("gemini",),
    "imagen": ("imagen",),
    "openai": ("openai", "openai_chat"),
    "deepseek": ("deepseek",),
    "gigachat": ("gigachat",),
    "a1111": ("a1111",),
    "comfyui": ("comfyui",),
    "replicate": ("replicate",),
    "fal": ("fal",),
    "bfl": ("bfl",),
    "stability": ("stability",),
    "together": ("together",),
    "huggingface": ("huggingface", "hf_inference"),
    "openrouter": ("openrouter",),
    "studio": ("studio",),
}
"""A service's name, which is its mount point too, to the modules that serve its routes."""


@cache
def parts_of(name: str) -> tuple[type[Service], ...]:
    """The classes that together are one service.

    Raises:
        UsageError: no service of that name.
    """
    if name not in SERVICES:
        raise UsageError(f"no emulated service called {name!r}; {nearest(name, SERVICES)}")
    return tuple(import_module(f"{__name__}.{part}").SERVICE for part in SERVICES[name])
