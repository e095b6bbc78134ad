"""`harness lint`: suites checked without drawing anything and without torch."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from harness.commands.lint_tokens import show_suite
from harness.commands.options import argument, command, flag, profile_option
from harness.commands.project import open_profile
from harness.config.profile import Profile
from harness.config.prompts.tokens import Encoder
from harness.config.suite import idle_bounds, lint_suite, load_suite
from harness.core.claim import suites_in
from harness.core.errors import ModelError, ReferencesError, UsageError
from harness.core.settings import Settings
from harness.core.values import Suite
from harness.judging.adaptive import plan_notes
from harness.models.encoders import find_encoders
from harness.models.loading import Models
from harness.scoring.calibration import gate_notes
from harness.scoring.metrics.scorer import scorer_of
from harness.store import Store


@command
@argument("suites", nargs=-1, required=True, type=Path, metavar="SUITE...", help="suites, or folders of them")
@profile_option
@flag("--tokens", help="show each prompt as the text encoder's tokens")
@flag("--ids", help="with --tokens: the tokens' numbers too")
def lint(suites: tuple[Path, ...], profile: str | None, tokens: bool, ids: bool) -> int:
    """Print what is worth a word about each suite, and with --tokens how its prompts are read. The exit status.

    Raises:
        SuiteError: a suite or the profile is wrong.
    """
    chosen, settings = open_profile(profile=profile)
    encoders: tuple[Encoder, ...] = ()
    try:
        encoders = find_encoders(chosen, settings.root)
    except ModelError as error:
        print(f"prompts are checked roughly, because their tokens cannot be counted: {error}")
    refused = False
    for path in listed(suites):
        suite = load_suite(path.resolve(), chosen)
        split = sum(case.split == "locked" for case in suite.cases)
        print(f"{path}: {len(suite.cases) - split} open and {split} locked cases, {len(suite.providers)} providers")
        unfit = [*calibrated_notes(suite, chosen, settings), *idle_bounds(suite)]
        refused = refused or bool(unfit)
        for note in [*unfit, *lint_suite(suite, chosen, encoders), *plan_notes(suite)]:
            print(f"{path}: {note}")
        if encoders and (tokens or ids):
            print(show_suite(suite, chosen, encoders, ids=ids, width=shutil.get_terminal_size((100, 24)).columns))
    return 1 if refused else 0


def listed(places: Sequence[Path]) -> list[Path]:
    """Suites by name, and all that lie in a folder.

    Raises:
        UsageError: a folder has none.
    """
    results: list[Path] = []
    for place in places:
        found = list(suites_in(place)) if place.is_dir() else [place]
        if not found:
            raise UsageError(f"{place}: no suite lies in this folder; `harness init` writes one")
        results += found
    return results


def calibrated_notes(suite: Suite, profile: Profile, settings: Settings) -> list[str]:
    """Why a suite refuses to gate, where an earlier run has found out; no store is made to ask."""
    if not settings.store.is_dir():
        return []
    with Store(settings.store) as store:
        try:
            return gate_notes(scorer_of(suite, profile, Models(profile, settings), store))
        except (ModelError, ReferencesError):  # nothing was measured with models or pictures that are not here
            return []
