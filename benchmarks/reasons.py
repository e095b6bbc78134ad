"""Which imports that wait have a reason to: what they spare must be worth the line that nobody sees at a file's top.

An import inside a function or under `TYPE_CHECKING` has a reason where it brings in, itself or by what loads with it,
something heavy that its module does not load anyway; where its module is loaded by every start and it is not needed
there; or where not everybody has what it imports.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from benchmarks.imports import PACKAGE, Import, Kind, Source

HEAVY: Mapping[str, tuple[str, ...]] = {
    "numpy": (),
    "torch": ("numpy",),
    "accelerate": ("torch",),
    "safetensors.torch": ("torch",),
    "transformers": ("numpy", "huggingface_hub"),
    "diffusers": ("torch", "huggingface_hub", "safetensors.torch"),
    "diffusers.StableDiffusionXLPipeline": ("transformers", "peft", "accelerate"),
    "peft": ("torch", "transformers", "accelerate"),
    "huggingface_hub": (),
    "tokenizers": (),
    "matplotlib": ("numpy",),
    "rich": (),
    "jinja2": (),
    "requests": (),
    "filelock": (),
    "scipy": ("numpy",),
    "scipy.cluster": (),
    "scipy.stats": ("scipy.cluster",),
    "skimage": ("scipy",),
    "imagehash": ("numpy",),
}
"""What takes 40 ms or more to load (numpy 0.1 s, scipy.special 0.2 s, scipy.stats 0.4 s more, torch 1.3 s, diffusers'
models 3 s) or is a compiled library of megabytes (tokenizers), to what it brings along. `StableDiffusionXLPipeline`
stands by itself: it prints advice when it loads, unless `quiet_libraries` was entered before."""

STARTS: Mapping[str, str] = {
    "pytest_lora_harness": "every pytest session loads it, those of projects without a suite too",
    f"{PACKAGE}.plugin": "every pytest session with a suite loads it",
    f"{PACKAGE}.commands.session": "the plugin loads it",
    f"{PACKAGE}.commands.cli": "every command loads it, `harness --version` too",
    f"{PACKAGE}.core.errors": "every command loads it, for the statuses that errors end with",
    f"{PACKAGE}.__main__": "it is `python -m harness`",
    f"{PACKAGE}.core.moved": "whatever imports the package loads it",
}
"""Modules whose time to load everybody pays, and why."""


def unreasoned(source: Source, optional: Collection[str] = ()) -> list[Import]:
    """The imports that wait and need not.

    Args:
        optional: distributions that not everybody has.
    """
    return [each for each in source.imports if each.kind is not Kind.LOAD and not reason(source, each, optional)]


def reason(source: Source, each: Import, optional: Collection[str] = ()) -> str:
    """Why an import waits; "" where there is no reason to."""
    names = {target.split(".")[0] for target in each.targets}
    if not names.isdisjoint(optional):
        return "not everybody has it"
    own = source.loads(each.module)
    brought = set[str]().union(*(source.loads(target) for target in each.targets))
    if spared := heavy(brought) - heavy(own):
        return f"spares {', '.join(sorted(spared))}"
    if each.module in STARTS and not own.issuperset(each.targets):
        return STARTS[each.module]
    return ""


def heavy(modules: Iterable[str]) -> set[str]:
    """What is heavy among modules, and what that brings along."""
    found, ahead = set[str](), list(modules)
    while ahead:
        parts = ahead.pop().split(".")
        names = {".".join(parts[:end]) for end in range(1, len(parts) + 1)} & set(HEAVY) - found
        found |= names
        ahead += [other for name in names for other in HEAVY[name]]
    return found


def optional_distributions(project: Path) -> set[str]:
    """Of the extras that people install for a run, the distributions; not what documents or tests the package."""
    extras = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    wanted = [line for name, lines in extras.items() if name not in ("docs", "dev", "sdks") for line in lines]
    return {re.split(r"[^\w-]", line)[0] for line in wanted}
