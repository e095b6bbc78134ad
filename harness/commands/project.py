"""The settings, the profile and the suite that a subcommand was told to work on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.config.profile import Profile, load_profile
from harness.config.suite import load_suite
from harness.core.settings import Settings
from harness.core.values import Suite


def open_profile(**options: Any) -> tuple[Profile, Settings]:
    """The profile that options and environment name, for the folder where the command runs.

    Args:
        options: of `Settings.load`; None is one that was not given.
    """
    settings = Settings.load(Path.cwd(), options)
    return load_profile(settings.profile, settings.root), settings


def open_suite(path: Path, **options: Any) -> tuple[Suite, Profile, Settings]:
    """A suite, read with the profile that options and environment name."""
    profile, settings = open_profile(**options)
    return load_suite(path.resolve(), profile), profile, settings
