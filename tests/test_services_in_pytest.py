"""Remote services as a person meets them in pytest: keys that appear nowhere, budgets, skips, a small soak."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.soak import soak
from harness.emulator import Emulator
from tests.support import ROOT, Finished, run_suites, write_profile

PLANTED = "planted-key-7f3a91c2d4e8"
SUITE = """
version: 1
suite: services
subject: {name: Aldar Kose, trigger: aldar kose, references: REFERENCES, traits: {clothing: red}}
providers: [base, PROVIDERS]
gate: []
samples: 1
cases:
  - {id: one, prompt: "{trigger}, smiling, steppe background"}
  - {id: two, prompt: "{trigger}, sad, city background"}
  - {id: three, prompt: "{trigger}, angry, forest background"}
"""


def write(folder: Path, providers: str, lines: str = "", emulator: str = "false") -> tuple[str, str]:
    """A suite, and the embedded profile with more providers; base is the plain one, so that no model is loaded."""
    plain = ("  base: {adapter: local, use: base}", f"  base: {{adapter: flat}}\n{lines}")
    profile, suite = write_profile(folder, plain, ("emulator: true", f"emulator: {emulator}")), folder / "suite.yaml"
    references = (ROOT / "references" / "aldar_kose").as_posix()
    suite.write_text(SUITE.replace("REFERENCES", references).replace("PROVIDERS", providers), encoding="utf-8")
    return str(suite), str(profile)


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(scale=1 / 8) as running:
        yield running


def all_bytes(folder: Path) -> Iterator[tuple[Path, bytes]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path, path.read_bytes()


@pytest.mark.real
def test_a_planted_key_appears_nowhere(tmp_path: Path, emulator: Emulator) -> None:
    """Journal, SQLite, report, JUnit, DEBUG log, tracebacks with locals, cache keys: all of it is searched."""
    emulator.plan("openai", ["error_500"])
    emulator.plan("freepik", ["url_expired"])
    quick = "backoff: 0.01, poll_every: 0.02, price: {usd: 0.1, as_of: 2026-11-20}"
    lines = f'  one: {{adapter: openai, url: "{emulator.url}/openai", {quick}}}\n'
    lines += f'  two: {{adapter: freepik, url: "{emulator.url}/freepik", {quick}}}\n'
    lines += f'  three: {{adapter: gemini, url: "http://127.0.0.1:9", {quick}}}\n'
    suite, profile = write(tmp_path, "one, two, three", lines)
    command = [sys.executable, "-m", "pytest", suite, "--profile", profile, "-rA", "--showlocals", "--tb=long", "-v"]
    command += ["--log-level=DEBUG", f"--log-file={tmp_path / 'debug.log'}", f"--junitxml={tmp_path / 'junit.xml'}"]
    command += ["--store", str(tmp_path / "store"), "--report-dir", str(tmp_path / "report"), "-p", "no:cacheprovider"]
    keys = {f"{name}_API_KEY": PLANTED for name in ("OPENAI", "FREEPIK", "GEMINI")}

    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **keys, "HARNESS_EMULATOR": "off"}, capture_output=True, timeout=300
    )

    assert {asked.service for asked in emulator.calls} == {"openai", "freepik", "cdn"}, done.stdout.decode()[-3000:]
    assert any(PLANTED in asked.headers.get("authorization", "") for asked in emulator.calls)
    assert b"error_500" in done.stdout or b"HTTP 500" in done.stdout
    needles = [PLANTED.encode(), base64.b64encode(PLANTED.encode()), PLANTED.encode().hex().encode()]
    found = [(path, data) for path, data in all_bytes(tmp_path)]
    assert len(found) > 10
    for path, data in [*found, (Path("stdout"), done.stdout), (Path("stderr"), done.stderr)]:
        assert not any(needle in data for needle in needles), path
        assert b"sig=" not in data, f"{path}: a signed address"


def test_without_emulator_and_keys_services_are_skipped_by_name(tmp_path: Path) -> None:
    suite, profile = write(tmp_path, "freepik, deepai, gemini, openai")
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    command = [sys.executable, "-m", "pytest", suite, "--profile", profile, "-rs", "-p", "no:cacheprovider"]
    command += ["--store", str(tmp_path / "store"), "--report-dir", str(tmp_path / "report")]

    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**environment, "HARNESS_EMULATOR": "off"},
        capture_output=True,
        text=True,
        timeout=300,
    )

    assert "12 skipped" in done.stdout, done.stdout
    for name in ("FREEPIK", "DEEPAI", "GEMINI", "OPENAI"):
        assert f"{name}_API_KEY is not set" in done.stdout


def run(folder: Path, providers: str, *options: str) -> Finished:
    suite, profile = write(folder, providers, emulator="true")
    return run_suites(folder, suite, "--profile", profile, "-rx", *options)


@pytest.mark.real
def test_a_budget_stops_the_run_cleanly_and_says_so(tmp_path: Path) -> None:
    stopped = run(tmp_path, "openai", "--budget", "0.15")
    engine = stopped.results["engine"]  # the next run writes its own
    whole = run(tmp_path, "openai")

    assert stopped.status == 10
    assert "3 pictures to buy, about $0.21" in stopped.output, stopped.output
    assert "covers a part" in stopped.output
    assert "--budget 0.15 USD reached: 1 pictures were not asked for" in stopped.output
    assert (engine["paid_calls"], engine["held_back"]) == (2, 1)
    assert whole.status == 0 and whole.results["engine"]["paid_calls"] == 1  # what was bought is kept
    assert "emulated, nothing billed" in whole.output


def test_a_small_soak_ends_every_request_once() -> None:
    figures = soak(cases=25)

    assert figures["requests"] == figures["outcomes"] == 100
    assert figures["resubmitted"] == figures["wrongly_scored"] == figures["limit_exceeded"] == 0
    assert figures["ok"] > 60


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_progress_is_seen_while_a_test_waits(tmp_path: Path) -> None:
    """pytest captures what is written while a test waits for its pictures; the line must get past that."""
    import pty

    suite, profile = write(tmp_path, "openai", "  slow: {adapter: flat}\n", emulator="true")
    command = [sys.executable, "-m", "pytest", suite, "--profile", profile, "-p", "no:cacheprovider"]
    command += ["--store", str(tmp_path / "store"), "--report-dir", str(tmp_path / "report"), "--providers", "openai"]
    terminal, ours = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "HARNESS_EMULATOR": "profile"}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=ours, stderr=ours) as process:
        os.close(ours)
        seen = b""
        while True:
            try:
                piece = os.read(terminal, 65536)
            except OSError:  # how a pseudo-terminal ends
                break
            if not piece:
                break
            seen += piece
        process.wait(60)
    os.close(terminal)

    assert b"drawing openai" in seen and b"/3 pictures" in seen, seen[-2000:]
