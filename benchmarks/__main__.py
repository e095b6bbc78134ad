"""`python -m benchmarks NAME` prints a table with its method and ends with one line of JSON; `--list` lists them."""

from __future__ import annotations

import argparse
import inspect
import json
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

BENCHMARKS = {
    "abroad": "verdicts where the truth is known: newcomers, strangers, planted encoders, a second world",
    "cold": "a cold and a warm run of the shipped suite: seconds and peak memory",
    "adaptive": "pictures that planned looks save at the same error rates",
    "gate": "false alarms, power and coverage of the gate over thousands of simulated runs",
    "card": "the metrics themselves, on drawn people whose truth is known",
    "cone": "simulated encoders to which who is shown is little: is blindness told, does a description pass?",
    "foreign": "pictures of other worlds before the embedded models: are they told from their own?",
    "gpu": "SDXL at full size with random weights: pictures and training steps a second, beside the device's ceiling",
    "house": "the structure of the package: rooms, floors, imports, records without types, lengths",
    "improve": "planted faults that retraining must name and mend; challengers that must not be promoted",
    "mutants": "small faults planted in the rules that decide: do the nearest tests notice?",
    "newcomers": "people never seen before: does a LoRA of twelve pictures beat the prompt that spells them out?",
    "overhead": "1,000 cached cases against 1,000 bare parametrized tests",
    "providers": "every adapter against every fault of the emulated services",
    "report": "the HTML report of 1,000 and 10,000 samples: size, making, opening",
    "scoring": "batched and remembered scoring against one picture at a time",
    "sdks": "the services' official clients against the emulator: calls, and how many are right",
    "soak": "2,000 requests through four emulated services, a fifth of them faulty",
    "throughput": "200 requests to a service that takes a second each and allows 20 at once",
    "training": "a training against diffusers' own script: time, held-out loss, memory",
    "world": "what the embedded models can do",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one benchmark. A module with options of its own has `add_options(parser)`, and `measure` takes them."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", nargs="?", choices=list(BENCHMARKS))
    parser.add_argument("--list", action="store_true", help="list the benchmarks")
    options, rest = parser.parse_known_args(words[:1])
    if options.list or options.name is None:
        for name, summary in BENCHMARKS.items():
            print(f"{name:10} {summary}")
        return 0
    figures = run(options.name, [*rest, *words[1:]])
    print(json.dumps({"benchmark": options.name, "figures": figures}))
    return 0


def run(name: str, words: Sequence[str]) -> dict[str, Any]:
    """The figures of one benchmark."""
    module = import_module(f"benchmarks.{name}")
    own = argparse.ArgumentParser(prog=f"python -m benchmarks {name}", description=module.__doc__)
    if hasattr(module, "add_options"):
        module.add_options(own)
    options = own.parse_args(words)
    measure: Callable[..., dict[str, Any]] = module.measure
    return measure(options) if inspect.signature(measure).parameters else measure()


if __name__ == "__main__":
    raise SystemExit(main())
