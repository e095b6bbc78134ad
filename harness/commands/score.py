"""`harness score`: its options, and the few lines that carry it out."""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def score_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("folder", type=Path, help="pictures to rate, whoever drew them")
    sub.add_argument("--profile", help="whose models rate them (default: embedded, or HARNESS_PROFILE)")
    sub.add_argument("--reference", type=Path, metavar="FOLDER", help="pictures of the subject that they should show")
    sub.add_argument("--json", action="store_true", help="print JSON instead of a table")


def score(options: argparse.Namespace) -> int:
    """The exit status: 1 when not one picture could be read."""
    from harness.config.profile import load_profile
    from harness.core.settings import Settings
    from harness.models.loading import Models
    from harness.studies.score import score_folder, show

    settings = Settings.load(Path.cwd(), {"profile": options.profile})
    models = Models(load_profile(settings.profile, settings.root), settings)
    result = score_folder(options.folder, models, options.reference)
    print(json.dumps(result.record, indent=2) if options.json else show(result))
    return 0 if result.pictures else 1
