"""`harness doctor`: what this machine has, what it lacks, and how to mend it."""

from __future__ import annotations

from pathlib import Path

from harness.commands.options import command, flag, profile_option
from harness.engine.preflight import examine, show


@command
@profile_option
@flag("--providers", help="make the cheapest real call to each remote service")
@flag("--paid", help="with --providers: draw one picture where no call is free")
def doctor(profile: str | None, providers: bool, paid: bool) -> int:
    """The exit status: 1 when a run could not go well."""
    checks = examine(Path.cwd(), profile, providers, paid)
    print(show(checks))
    return 1 if any(check.state == "fail" for check in checks) else 0
