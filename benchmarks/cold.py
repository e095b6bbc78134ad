"""A cold run of the shipped suite from an empty store, then a warm one."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.process import run_pytest


def measure() -> dict[str, float]:
    """Seconds cold and warm, peak memory."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["suites/", "--store", str(Path(folder) / "store"), "--report-dir", str(Path(folder) / "report")]
        cold, warm = run_pytest(arguments), run_pytest(arguments)
    print("method: `pytest suites/` as a whole process from an empty store, then again; memory sampled every 50 ms")
    print(f"{'run':6} {'seconds':>8} {'peak GiB':>9} {'exit':>5}")
    for name, timing in (("cold", cold), ("warm", warm)):
        print(f"{name:6} {timing.seconds:8.1f} {timing.peak_gib:9.2f} {timing.status:5}")
    if cold.status or warm.status:
        print(cold.output[-3000:] if cold.status else warm.output[-3000:])
    return {
        "cold_s": round(cold.seconds, 1),
        "warm_s": round(warm.seconds, 1),
        "peak_gib": round(max(cold.peak_gib, warm.peak_gib), 2),
    }
