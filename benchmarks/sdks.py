"""The services' official Python clients against the emulator: does each call come back as the client expects it?

`sdk_calls.py` calls, in whichever environment has the clients: this one, or the Python that HARNESS_SDK_PYTHON names.
The emulator is a real server on this machine; nothing else is asked. A client that is not installed is skipped by
name. The models are those of the day on which `config/service_models.py` was checked, so that the figures do not
change with the calendar.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.config.service_models import CHECKED
from harness.emulator import Emulator

PROGRAM = Path(__file__).with_name("sdk_calls.py")
PYTHON = "HARNESS_SDK_PYTHON"  # the variable that names another Python
SCALE = 1 / 16
PASSED_ON = ("PATH", "HOME", "LANG", "TMPDIR", "SYSTEMROOT", "TEMP")  # and no key of anybody


@dataclass(frozen=True)
class SdkCall:
    """One call of one client; `skipped` says why a client was not tried."""

    client: str
    version: str = ""
    call: str = ""
    right: bool = False
    said: str = ""
    skipped: str = ""


def try_clients(names: Sequence[str] = ()) -> Iterator[SdkCall]:
    """Every call of these clients, or of all of them.

    Raises:
        RuntimeError: the program ended without having called.
    """
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    with Emulator(scale=SCALE, today=CHECKED) as emulator:
        command = [os.environ.get(PYTHON) or sys.executable, str(PROGRAM), emulator.url, *names]
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, timeout=600)
    if done.returncode:
        raise RuntimeError(f"{PROGRAM.name} ended with {done.returncode}: {done.stderr[-1000:]}")
    for line in done.stdout.splitlines():
        if line.startswith("{"):  # clients print too
            yield SdkCall(**json.loads(line))


def measure() -> dict[str, float]:
    """Try all of them and print a table."""
    calls = list(try_clients())
    for client in dict.fromkeys(call.client for call in calls):
        own = [call for call in calls if call.client == client]
        if own[0].skipped:
            print(f"{client:16} skipped: {own[0].skipped}")
            continue
        print(f"{client:16} {own[0].version:10} {sum(call.right for call in own)} of {len(own)}")
        for call in own:
            if not call.right:
                print(f"    {call.call}: {call.said or 'not as it must be'}")
    tried = [call for call in calls if not call.skipped]
    return {"sdk_calls": len(tried), "sdk_right": sum(call.right for call in tried)}
