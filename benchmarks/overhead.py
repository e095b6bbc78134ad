"""What the plugin costs: 1,000 cached cases against 1,000 bare parametrized tests, alternating in one run."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

import yaml

from benchmarks.process import ROOT, run_pytest

CASES, ROUNDS = 1_000, 3
BARE = f"""
import pytest

@pytest.mark.parametrize("number", range({CASES}))
def test_bare(number):
    assert number >= 0
"""


def write_suite(folder: Path) -> Path:
    """A suite of 1,000 one-sample cases, drawn by a provider without a model."""
    record = {
        "version": 1,
        "suite": "overhead",
        "subject": {
            "name": "Aldar Kose",
            "trigger": "aldar kose",
            "references": str(ROOT / "references" / "aldar_kose"),
        },
        "providers": ["flat"],
        "gate": [],
        "samples": 1,
        "cases": [{"id": f"case-{number}", "prompt": f"{{trigger}}, number {number}"} for number in range(CASES)],
    }
    path = folder / "overhead.yaml"
    path.write_text(yaml.safe_dump(record), encoding="utf-8")
    return path


def measure() -> dict[str, float]:
    """The median of the ratios, pair by pair."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        suite, bare = write_suite(folder), folder / "test_bare.py"
        bare.write_text(BARE, encoding="utf-8")
        ours = [
            str(suite),
            "--rootdir",
            str(ROOT),
            "--store",
            str(folder / "store"),
            "--report-dir",
            str(folder / "report"),
        ]
        first = run_pytest(ours)  # fills the store
        pairs = [(run_pytest(ours), run_pytest([str(bare), "--rootdir", name], cwd=folder)) for _ in range(ROUNDS)]
    ratios = [cached.seconds / plain.seconds for cached, plain in pairs]
    print(
        f"method: whole processes, {ROUNDS} alternating pairs after a run that fills the store ({first.seconds:.0f} s)"
    )
    print(f"{'cached s':>9} {'bare s':>7} {'ratio':>6} {'exit':>5}")
    for (cached, plain), ratio in zip(pairs, ratios, strict=True):
        print(f"{cached.seconds:9.2f} {plain.seconds:7.2f} {ratio:6.2f} {cached.status:5}")
    if pairs[0][0].status not in (0, 1):
        print(pairs[0][0].output[-3000:])
    return {"ratio": round(statistics.median(ratios), 2)}
