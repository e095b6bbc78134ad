"""`python -m benchmarks NAME` prints a table with its method and ends with one line of JSON; `--list` lists them."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from importlib import import_module

BENCHMARKS = {
    "cold": "a cold and a warm run of the shipped suite: seconds and peak memory",
    "adaptive": "pictures that planned looks save at the same error rates",
    "gate": "false alarms, power and coverage of the gate over thousands of simulated runs",
    "card": "the metrics themselves, on drawn people whose truth is known",
    "overhead": "1,000 cached cases against 1,000 bare parametrized tests",
    "providers": "every adapter against every fault of the emulated services",
    "scoring": "batched and remembered scoring against one picture at a time",
    "soak": "2,000 requests through four emulated services, a fifth of them faulty",
    "throughput": "200 requests to a service that takes a second each and allows 20 at once",
    "world": "what the embedded models can do",
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", nargs="?", choices=list(BENCHMARKS))
    parser.add_argument("--list", action="store_true", help="list the benchmarks")
    options = parser.parse_args()
    if options.list or options.name is None:
        for name, summary in BENCHMARKS.items():
            print(f"{name:10} {summary}")
        return 0
    measure: Callable[[], dict[str, float]] = import_module(f"benchmarks.{options.name}").measure
    figures = measure()
    print(json.dumps({"benchmark": options.name, "figures": figures}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
