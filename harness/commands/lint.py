"""`harness lint`: suites checked without drawing anything and without torch."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.config.profile import Profile
    from harness.core.settings import Settings
    from harness.core.values import Suite


def lint_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("suites", nargs="+", type=Path, metavar="SUITE")
    sub.add_argument("--profile", help="default: embedded, or HARNESS_PROFILE")
    sub.add_argument("--tokens", action="store_true", help="show each prompt as the text encoder's tokens")
    sub.add_argument("--ids", action="store_true", help="with --tokens: the tokens' numbers too")


def lint_suites(options: argparse.Namespace) -> int:
    """Print what is worth a word about each suite, and with --tokens how its prompts are read. The exit status.

    Raises:
        SuiteError: a suite or the profile is wrong.
    """
    from harness.commands.lint_tokens import show_suite
    from harness.config.profile import load_profile
    from harness.config.prompts.tokens import Encoder
    from harness.config.suite import lint_suite, load_suite
    from harness.core.errors import ModelError
    from harness.core.settings import Settings
    from harness.judging.adaptive import plan_notes
    from harness.models.encoders import find_encoders

    settings = Settings.load(Path.cwd(), {"profile": options.profile})
    profile = load_profile(settings.profile, settings.root)
    encoders: tuple[Encoder, ...] = ()
    try:
        encoders = find_encoders(profile, settings.root)
    except ModelError as error:
        print(f"prompts are checked roughly, because their tokens cannot be counted: {error}")
    refused = False
    for path in options.suites:
        suite = load_suite(path.resolve(), profile)
        split = sum(case.split == "locked" for case in suite.cases)
        print(f"{path}: {len(suite.cases) - split} open and {split} locked cases, {len(suite.providers)} providers")
        unfit = calibrated_notes(suite, profile, settings)
        refused = refused or bool(unfit)
        for note in [*unfit, *lint_suite(suite, profile, encoders), *plan_notes(suite)]:
            print(f"{path}: {note}")
        if encoders and (options.tokens or options.ids):
            print(
                show_suite(suite, profile, encoders, ids=options.ids, width=shutil.get_terminal_size((100, 24)).columns)
            )
    return 1 if refused else 0


def calibrated_notes(suite: Suite, profile: Profile, settings: Settings) -> list[str]:
    """Why a suite refuses to gate, where an earlier run has found out; no store is made to ask."""
    from harness.models.loading import Models
    from harness.scoring.calibration import gate_notes
    from harness.store import Store

    if not settings.store.is_dir():
        return []
    with Store(settings.store) as store:
        return gate_notes(suite, profile, Models(profile, settings), store)
