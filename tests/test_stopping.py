"""Signals: the first one ends a run in order, the second one at once, and both leave the record."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.commands.stopping import Stopping
from harness.core.signals import AGAIN, interruptible
from harness.core.threads import DaemonThreads
from tests.support import ROOT

pytestmark = pytest.mark.slow
pytest_plugins = ["pytester"]
LIMIT_S = 60.0  # after which something hangs

SUITE = """\
version: 1
suite: painted
subject: {name: Aldar, trigger: aldar, references: ../pictures}
providers: [prog, slow]
gate: [slow]
samples: 2
thresholds: {quality: 0.6}
cases:
  - {id: one, prompt: "aldar, one"}
  - {id: two, prompt: "aldar, two"}
  - {id: three, prompt: "aldar, three"}
"""
DRAW = """\
import json, os, pathlib, sys, time
job = json.load(sys.stdin)
if "slow" in sys.argv and "two" in job["prompt"] and not pathlib.Path("quick").exists():
    pathlib.Path("slow.part").write_text(str(os.getpid()))
    os.replace("slow.part", "slow")
    time.sleep(300)
with open("drawn", "a") as log:
    log.write(f"{sys.argv[1]} {job['prompt']} {job['seed']}\\n")
sys.path.insert(0, ROOT)
from tests.painter import shades
pathlib.Path(job["out"]).write_bytes(shades(0.9, job["seed"], job["prompt"]))
"""
CONFTEST = """\
from dataclasses import replace
from pathlib import Path

from harness.commands.session import HarnessSession
from harness.config.profile import ProviderConfig, load_profile
from harness.engine.run import Run
from harness.store import Store
from tests.painter import SIZE, Brightness

def program(name):
    return ProviderConfig("command", {"command": ["python", "draw.py", name, "{out}"], "describe": False, PRICE})


PROVIDERS = {name: program(name) for name in ("prog", "slow")}
PROFILE = replace(load_profile("embedded", Path(ROOT)), providers=PROVIDERS, size=(SIZE, SIZE))


def open_painted(session):
    if not isinstance(session._run, Run):
        store = Store(session.settings.store)
        parts = {"listener": session._listener, "scorers": lambda suite: Brightness()}
        session._run = Run(session.settings, PROFILE, session.load, store, **parts)
    return session._run


HarnessSession.profile = PROFILE
HarnessSession._open = open_painted
"""


class Stopped:
    """A run in a process of its own, and what is left of it."""

    def __init__(self, folder: Path, *words: str, price: str = "") -> None:
        self.folder = folder
        (folder / "pictures" / "train").mkdir(parents=True, exist_ok=True)
        from tests.painter import shades

        (folder / "pictures" / "train" / "0.png").write_bytes(shades(0.5, 0))
        (folder / "suites").mkdir(exist_ok=True)
        (folder / "suites" / "painted.yaml").write_text(SUITE, encoding="utf-8")
        (folder / "draw.py").write_text(DRAW.replace("ROOT", repr(str(ROOT))), encoding="utf-8")
        conftest = CONFTEST.replace("PRICE", price).replace("ROOT", repr(str(ROOT)))
        (folder / "conftest.py").write_text(conftest, encoding="utf-8")
        (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "HARNESS_", "GITHUB_"))}
        command = [sys.executable, "-m", "pytest", "suites", "-p", "no:cacheprovider", "-p", "no:hypothesispytest"]
        with (folder / "out").open("wb") as out:
            self.process = subprocess.Popen(
                [*command, "--junitxml=j.xml", *words],
                cwd=folder,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=environment | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
                restore_signals=True,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
            )

    @property
    def text(self) -> str:
        return (self.folder / "out").read_text(encoding="utf-8")

    def until(self, ready: Callable[[], object], what: str) -> None:
        for _ in range(int(LIMIT_S / 0.05)):
            if ready():
                return
            if self.process.poll() is not None and not ready():
                break
            time.sleep(0.05)
        self.process.kill()
        raise AssertionError(f"waited for {what} in vain:\n{self.text}")

    def until_slow(self) -> int:
        """The process id of the program that takes five minutes."""
        ready = (self.folder / "slow").exists
        self.until(lambda: ready() and len(self.drawn) == 8, "the slow picture, and all that are quick")
        self.until(lambda: "suites/painted.yaml ." in self.text, "the first test")
        time.sleep(0.5)  # for pytest to write down what it has just shown
        return int((self.folder / "slow").read_text())

    def end(self) -> int:
        self.until(lambda: self.process.poll() is not None, "the end")
        return int(self.process.returncode)

    @property
    def results(self) -> dict[str, object]:
        found: dict[str, object] = json.loads((self.folder / "reports" / "results.json").read_text(encoding="utf-8"))
        return found

    @property
    def drawn(self) -> list[str]:
        log = self.folder / "drawn"
        return log.read_text().splitlines() if log.exists() else []


def is_alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    if status.parent.parent.exists():
        return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"
    return subprocess.run(["ps", "-p", str(pid)], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_leaves_report_and_junit_ends_programs_and_loses_nothing(tmp_path: Path, name: str) -> None:
    run = Stopped(tmp_path)
    program = run.until_slow()

    run.process.send_signal(signal.Signals[name])

    run.until(lambda: f"harness: {name}: stopping with 8 of 12 pictures" in run.text, "what is said")
    assert run.end() == 2 and not is_alive(program)
    assert "Traceback" not in run.text and "verdict: NOT JUDGED  " in run.text
    gate = run.results["gate"]
    assert isinstance(gate, dict) and gate["verdict"] == "not_judged", "half a run is no verdict"
    done = [case.get("name") for case in ElementTree.parse(tmp_path / "j.xml").getroot().iter("testcase")]
    assert done[0] == "prog" and len(done) < 7, "what was done"
    first = run.drawn

    (tmp_path / "quick").touch()
    again = Stopped(tmp_path)
    assert again.end() == 0, again.text
    assert len(first) == 8 and len(again.drawn) == len(set(again.drawn)) == 12, "nothing is drawn twice"


@pytest.mark.parametrize("second", ["SIGINT", "SIGTERM"])
def test_a_second_signal_ends_at_once_with_the_record(tmp_path: Path, second: str) -> None:
    run = Stopped(tmp_path, price='"price": {"usd": 0.1, "as_of": "2026-11-20"}')
    program = run.until_slow()

    run.process.send_signal(signal.SIGINT)
    run.until(lambda: "1 paid call may take 30 s more" in run.text, "the first answer")
    run.until((tmp_path / "reports" / "results.json").exists, "the record, though a call is under way")
    assert is_alive(program), "what is paid for may come in"
    run.process.send_signal(signal.Signals[second])

    assert run.end() == 2 and not is_alive(program)
    assert f"harness: {second}: ending now, with the record" in run.text and "Traceback" not in run.text
    assert (tmp_path / "j.xml").exists() and run.results["gate"]


def test_handlers_of_others_stay_and_ours_go(pytester: pytest.Pytester) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    pytester.makepyfile(
        test_mine="""
        import signal

        def test_mine():
            assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
            assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
        """
    )

    pytester.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)

    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_command_says_that_it_stops(capfd: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt, match="SIGTERM"), interruptible():
        signal.raise_signal(signal.SIGTERM)

    assert f"harness: SIGTERM: {AGAIN}" in capfd.readouterr().err and signal.getsignal(signal.SIGTERM) == before


def test_threads_that_are_left_do_not_keep_a_process() -> None:
    code = (
        "import time\nfrom harness.core.threads import DaemonThreads\n"
        "DaemonThreads(1, 'x').submit(time.sleep, 300)\nprint('done')\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=True
    )

    assert done.stdout == "done\n"


def test_threads_do_what_is_submitted_and_pass_errors_on() -> None:
    def fail() -> None:
        raise ValueError("no")

    with DaemonThreads(2, "x") as threads:
        results = [threads.submit(pow, number, 2) for number in range(20)]
        broken = threads.submit(fail)

    assert [result.result() for result in results] == [number**2 for number in range(20)]
    with pytest.raises(ValueError, match="no"):
        broken.result()


def test_a_signal_while_the_report_is_written_only_hurries() -> None:
    said: list[str] = []
    stopping = Stopping(Idle(), said.append)
    stopping.install(pytest.PytestPluginManager())
    try:
        stopping.pytest_sessionfinish()
        signal.raise_signal(signal.SIGTERM)
    finally:
        stopping.restore()

    assert stopping.hurry and said == [
        "\nharness: SIGTERM: the report is being written; a second signal ends at once\n"
    ]


class Idle:
    """A session that draws nothing."""

    paid_calls = 0

    def standing(self, patience: float) -> str:
        return "stopping"

    def interrupt(self, grace: float, last: float, hurry: Callable[[], bool]) -> None:
        return None
