"""200 requests to a service that takes a second for each and allows 20 at once: against the ideal ten seconds."""

from __future__ import annotations

import time

from benchmarks.remote import make_profile, make_suite
from harness.core.settings import Settings
from harness.core.values import Outcome
from harness.emulator import Emulator, Limits
from harness.models.loading import Models
from harness.providers import ProviderContext, open_provider

REQUESTS, AT_ONCE, TAKES = 200, 20, 1.0


def measure() -> dict[str, float]:
    """The ratio of the time it took to the time that the service itself needs."""
    from pathlib import Path

    ideal = REQUESTS / AT_ONCE * TAKES
    with Emulator(delay=TAKES, scale=1 / 8, limits={"openai": Limits(AT_ONCE)}) as emulator:
        settings = Settings(Path.cwd(), emulator=emulator.url)
        profile = make_profile({"openai": {"concurrency": AT_ONCE, "describe": False}})
        provider = open_provider("openai", ProviderContext(profile, settings, Models(profile, settings)))
        suite = make_suite(Path.cwd(), ["openai"], REQUESTS)
        requests = [request for case in suite.cases for request in provider.requests(suite, case, (0,))]
        started = time.monotonic()
        drawings = list(provider.draw(requests))
        seconds = time.monotonic() - started
        provider.close()
        exceeded = emulator.ledger["openai"].limit_exceeded
    good = sum(drawing.outcome is Outcome.OK for drawing in drawings)
    print(f"method: {REQUESTS} requests, {TAKES:.0f} s each at the service, {AT_ONCE} at once, one process, loopback")
    print(f"{good} pictures in {seconds:.2f} s, ideal {ideal:.0f} s")
    return {"ratio": round(seconds / ideal, 3), "ok": good, "limit_exceeded": exceeded}
