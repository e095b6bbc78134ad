"""`harness fetch`: a profile's weights from the hub."""

from __future__ import annotations

from pathlib import Path

from harness.commands.options import argument, command
from harness.config.profile import load_profile
from harness.models.hub import fetch_scorers
from harness.models.loading import fetch_models


@command
@argument("profile", metavar="PROFILE")
def fetch(profile: str) -> int:
    chosen = load_profile(profile, Path.cwd())
    for folder in [*fetch_models(chosen), *fetch_scorers(chosen)]:
        print(folder)
    return 0
