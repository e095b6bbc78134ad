"""`harness lora history`: a subject's champions, and the challengers that were taken in."""

from __future__ import annotations

import json
from pathlib import Path

from harness.commands.lora.common import champion_path, print_lines, suite_options
from harness.commands.options import command, flag
from harness.commands.project import open_suite
from harness.core.text import clean, table
from harness.models.lora.registry import read_challengers, read_history


@command
@flag("--json", "as_json", help="as JSON")
@suite_options()
def history(as_json: bool, suite: Path, profile: str | None) -> int:
    read, _, _ = open_suite(suite, profile=profile)
    weights = champion_path(read)
    champions, challengers = read_history(weights), read_challengers(weights)
    if as_json:
        print(json.dumps({"champions": champions, "challengers": challengers}, indent=2, sort_keys=True))
        return 0
    rows = [(item["sha256"][:16], item["promoted"][:10] or "-", clean(item["reason"], 80) or "-") for item in champions]
    print(f"{read.subject.name}: {len(champions)} champions, the present one last")
    print_lines(table([("hash", "promoted", "why"), *rows]) if rows else [])
    if challengers:
        taken = [
            (item["sha256"][:16], str(item["origin"]["taken"])[:10], clean(str(item["origin"]["source"]), 80))
            for item in challengers
        ]
        print_lines(["challengers from elsewhere", *table([("hash", "taken in", "from"), *taken])])
    return 0
