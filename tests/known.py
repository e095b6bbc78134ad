"""A store that knows the shipped references and the plain pictures that many tests draw, and has no picture itself.

Opening CLIP and scoring references again in every process that a test starts was a third of the suite's time. Whoever
draws still draws, counts and stores; only what was found in the very same picture is not found again. Tests of a cold
start say `cold=True`.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from filelock import FileLock

ROOT = Path(__file__).resolve().parent.parent
SHARED = "HARNESS_TESTS_SHARED"  # the folder that all processes of one test run share; conftest makes and removes it
FLAT = """
version: 1
suite: flat
subject: {name: Aldar Kose, trigger: aldar kose, references: REFERENCES}
providers: [flat]
gate: [flat]
samples: 3
cases:
  - {id: one, prompt: "{trigger}, smiling"}
  - {id: two, prompt: "{trigger}, sad"}
  - {id: three, prompt: "{trigger}, angry"}
"""


def copy_known(store: Path) -> None:
    """Begin a store with what is known; made once a test run, by whichever process is first."""
    folder = Path(os.environ.get(SHARED) or tempfile.mkdtemp(prefix="lora-harness-tests-"))
    known = folder / "known"
    with FileLock(folder / "known.lock"):
        if not known.exists():
            shutil.rmtree(folder / "making", ignore_errors=True)
            (folder / "making").mkdir()
            make_known(folder / "making")
            (folder / "making" / "store").rename(known)
    shutil.copytree(known, store)


def make_known(folder: Path) -> None:
    """Run a suite of plain colours and the smoke suite, and forget that their pictures were ever drawn."""
    suite, store = folder / "flat.yaml", folder / "store"
    suite.write_text(FLAT.replace("REFERENCES", (ROOT / "references" / "aldar_kose").as_posix()), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", str(suite), "suites/smoke.yaml", "--store", str(store), "-q"]
    command += ["--report-dir", str(folder / "report"), "-p", "no:cacheprovider", "-p", "no:hypothesispytest"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "HARNESS_"))}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):  # plain colours are red
        raise RuntimeError(done.stdout + done.stderr)
    with closing(sqlite3.connect(store / "records.sqlite")) as records, records:
        records.execute("DELETE FROM samples")
    for name in ("images", "thumbs", "journal", "users"):
        shutil.rmtree(store / name, ignore_errors=True)
