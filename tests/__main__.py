"""`python -m tests`: formats, lints, checks types and runs the tests, as people and CI do before a change lands.

    python -m tests            everything; with CI in the environment nothing is reformatted, only complained of
    python -m tests --fast     the inner loop: nothing that is marked real, browser or slow
    python -m tests --only X   one of format, lint, types, tests
    python -m tests -- -k word tests/test_judge.py     what follows is pytest's own

It ends with the exit status of the first step that failed, and goes on to the next steps all the same.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FAST = "not real and not browser and not slow"
STEPS = ("format", "lint", "types", "tests")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fast", action="store_true", help="leave out what is marked real, browser or slow")
    parser.add_argument("--only", choices=STEPS, action="append", help="this step alone; may be given again")
    parser.add_argument("pytest", nargs="*", metavar="-- ARGUMENTS OF PYTEST")
    options = parser.parse_args()
    status = 0
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # hundreds of processes would each compile everything anew
    for step in options.only or STEPS:
        began = time.monotonic()
        code = subprocess.run(command_of(step, options.fast, options.pytest), cwd=ROOT).returncode
        if step != "tests":  # the last line is pytest's own
            print(f"{step}: {'ok' if code == 0 else 'FAILED'} in {time.monotonic() - began:.0f} s", flush=True)
        status = status or code
    return status


def command_of(step: str, fast: bool, arguments: Sequence[str]) -> list[str]:
    """The program of one step. Where CI is set, files are left as they are."""
    checking = bool(os.environ.get("CI"))
    python = [sys.executable, "-m"]
    if step == "format":
        return [*python, "ruff", "format", *(["--check"] if checking else []), "."]
    if step == "lint":
        return [*python, "ruff", "check", *([] if checking else ["--fix"]), "."]
    if step == "types":
        return [*python, "mypy"]
    chosen = arguments or ["tests"]
    return [*python, "pytest", "-n", "2", "--dist", "loadfile", *(["-m", FAST] if fast else []), *chosen]


if __name__ == "__main__":
    raise SystemExit(main())
