"""`harness score`: the pictures of a folder, rated."""

from __future__ import annotations

import json
from pathlib import Path

from harness.commands.options import argument, command, flag, option
from harness.commands.project import open_profile
from harness.models.loading import Models
from harness.studies.score import score_folder, show


@command
@argument("folder", type=Path, help="pictures to rate, whoever drew them")
@option("--profile", help="whose models rate them (default: embedded, or HARNESS_PROFILE)")
@option("--reference", type=Path, metavar="FOLDER", help="pictures of the subject that they should show")
@flag("--json", "as_json", help="print JSON instead of a table")
def score(folder: Path, profile: str | None, reference: Path | None, as_json: bool) -> int:
    """The exit status: 1 when not one picture could be read."""
    result = score_folder(folder, Models(*open_profile(profile=profile)), reference)
    print(json.dumps(result.record, indent=2) if as_json else show(result))
    return 0 if result.pictures else 1
