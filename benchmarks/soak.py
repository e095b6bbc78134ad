"""2,000 requests through four emulated services, every fifth of them struck by a fault, over real sockets."""

from __future__ import annotations

import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil

from benchmarks.remote import Brightness, jobs_of, make_profile, make_suite
from harness.core.settings import Settings
from harness.core.values import CaseResult, Outcome
from harness.emulator import FAULTS, Emulator, Limits
from harness.engine.run import Run
from harness.store import Store

SERVICES = ("freepik", "deepai", "gemini", "openai")
CASES, RATE, AT_ONCE = 500, 0.2, 8
IMPATIENT: dict[str, Any] = {
    "concurrency": AT_ONCE, "read": 1.0, "deadline": 20.0, "backoff": 0.02, "poll_every": 0.02, "describe": False,
}  # fmt: skip
ENDLESS = {
    "auth",
    "forbidden",
    "quota",
    "rate_quota",
    "retired",
}  # end a provider's run, so that nothing is left to soak
COSTLY = {"huge_body", "gzip_bomb"}  # 200 MB each: the security tests' own


def soak(cases: int = CASES) -> dict[str, float]:
    """Figures of one run: every request has one outcome, and what the services themselves counted."""
    faults = [name for name in FAULTS if name not in ENDLESS | COSTLY]
    limits = dict.fromkeys(SERVICES, Limits(AT_ONCE))
    with (
        tempfile.TemporaryDirectory() as name,
        Emulator(fault_rate=RATE, rate_faults=faults, seed=1, scale=1 / 8, limits=limits) as emulator,
    ):
        folder = Path(name)
        settings = Settings.load(folder, {"store": str(folder / "store")})
        settings = Settings(**{**settings.__dict__, "emulator": emulator.url})
        suite, scorer = make_suite(folder, SERVICES, cases), Brightness()
        run = Run(
            settings, make_profile(dict.fromkeys(SERVICES, IMPATIENT)), [suite], Store(settings.store),
            scorers=lambda suite: scorer,
        )  # fmt: skip
        watch = Memory()
        run.submit(jobs_of(suite))
        run.wait()
        grown = watch.stop()
        results = [run.result(job) for job in jobs_of(suite)]
        run.close()
        ledgers = [emulator.ledger[service] for service in SERVICES]
    return count(results, ledgers, grown)


def count(results: list[CaseResult], ledgers: list[Any], grown: float) -> dict[str, float]:
    samples = [sample for result in results for sample in result.samples]
    outcomes = Counter(sample.outcome.value for sample in samples)
    for outcome, number in outcomes.most_common():
        print(f"  {outcome:15} {number:5}")
    return {
        "requests": len(samples),
        "outcomes": sum(outcomes.values()),
        "ok": outcomes["ok"],
        "accepted": sum(ledger.accepted for ledger in ledgers),
        "resubmitted": sum(ledger.resubmitted for ledger in ledgers),
        "wrongly_scored": sum(bool(sample.scores) and sample.outcome is not Outcome.OK for sample in samples),
        "limit_exceeded": sum(ledger.limit_exceeded for ledger in ledgers),
        "grown_mib": round(grown, 1),
    }


class Memory(threading.Thread):
    """Watches this process: how much it grew from a fifth of the way to the end, MiB."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._ended, self._seen = threading.Event(), list[float]()
        self.start()

    def run(self) -> None:
        process = psutil.Process()
        while not self._ended.wait(0.2):
            self._seen.append(process.memory_info().rss / 2**20)

    def stop(self) -> float:
        self._ended.set()
        self.join()
        late = self._seen[len(self._seen) // 5 :]
        return max(late[-len(late) // 5 :]) - max(late[: len(late) // 5 or 1]) if late else 0.0


def measure() -> dict[str, float]:
    started = time.monotonic()
    print(f"method: {CASES * len(SERVICES)} requests, {RATE:.0%} of them faulty, {AT_ONCE} at once a service, loopback")
    figures = soak()
    print(f"took {time.monotonic() - started:.0f} s, emulator included")
    return figures
