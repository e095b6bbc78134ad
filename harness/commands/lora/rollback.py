"""`harness lora rollback`: a former champion is put back."""

from __future__ import annotations

from pathlib import Path

from harness.commands.lora.common import champion_path, suite_options
from harness.commands.options import command, option
from harness.commands.project import open_suite
from harness.models.lora import registry


@command
@option("--to", default="", metavar="HASH", help="the beginning of its hash (default: the one before)")
@option("--reason", default="", help="in words, for the record")
@suite_options()
def rollback(to: str, reason: str, suite: Path, profile: str | None) -> int:
    read, _, _ = open_suite(suite, profile=profile)
    champion = registry.rollback(champion_path(read), to.lower(), reason)
    print(f"{read.subject.name}: {champion.sha256[:16]} is the champion again")
    return 0
