"""`harness domain`: say by pictures what a profile's models know, so that others are told from them."""

from __future__ import annotations

from pathlib import Path

from harness.commands.options import argument, command, option, profile_option
from harness.commands.project import open_profile
from harness.models.loading import Models
from harness.scoring.domain import summarise_folders


@command
@argument("folders", type=Path, nargs=-1, required=True, help="pictures that the models know: what the base draws, say")
@option("--into", type=Path, required=True, metavar="FILE", help="the summary, for `models: domain:` of the profile")
@profile_option
def domain(folders: tuple[Path, ...], into: Path, profile: str | None) -> int:
    found = summarise_folders(folders, Models(*open_profile(profile=profile)), into)
    print(f"wrote {into.as_posix()}: {found.summarised} pictures, {found.kept_back} more were kept back for the bound")
    print(f"of these {found.beyond:.1%} lie beyond it; in the profile: `models: {{domain: {into.as_posix()}}}`")
    return 0
