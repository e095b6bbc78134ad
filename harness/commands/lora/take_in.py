"""`harness lora import`: a LoRA made elsewhere becomes a challenger."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from harness.commands.lora.common import champion_path, print_lines, suite_options
from harness.commands.options import argument, command, option
from harness.commands.project import open_suite
from harness.config.profile import Profile
from harness.core.errors import ModelError
from harness.core.settings import Settings
from harness.models.identity import quiet_libraries
from harness.models.loading import locate_model
from harness.studies import lora_import


@command
@argument("source", metavar="FILE|URL", help="a file, or an https address (also of Civitai, Hugging Face)")
@option("--max-mb", type=int, default=1024, metavar="MB", help="of the file (default: 1024)")
@suite_options()
def take_in(source: str, max_mb: int, suite: Path, profile: str | None) -> int:
    read, chosen, settings = open_suite(suite, profile=profile)
    parts = base_parts(chosen, settings)
    command = f"harness lora import --suite {suite.name}"
    taken = lora_import.take_in(source, champion_path(read), parts, max_mb * lora_import.MEGABYTE, command)
    print_lines(taken.notes, "mind: ")
    print(f"kept as a challenger: {taken.path.as_posix()}")
    print(f"try it: pytest {suite.as_posix()} --lora {taken.path.as_posix()}")
    return 0


def base_parts(profile: Profile, settings: Settings) -> Any:
    """The base's models without weights; None, and a word about it, when the base is not on this machine."""
    try:
        with quiet_libraries():
            return lora_import.empty_parts(locate_model(profile.models.base, settings.root, profile.name))
    except ModelError as error:
        print(f"mind: not held against the base: {error}", file=sys.stderr)
        return None
