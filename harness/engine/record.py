"""What a run leaves behind: the parts of `results.json` that only the engine knows."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import fields
from importlib import metadata
from pathlib import Path
from typing import Any

from harness import __version__
from harness.engine.context import ScorerLike
from harness.engine.plan import Step
from harness.store import Store
from harness.values import CaseResult, Request, Suite, to_record

LIBRARIES = ("torch", "diffusers", "transformers", "peft", "pytest")


def versions() -> dict[str, str]:
    """What made the results."""
    found = {"harness": __version__, "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def shared_recipe(requests: Sequence[Request]) -> dict[str, Any]:
    """What all requests of a provider have in common."""
    records = [{item.name: to_record(getattr(each, item.name)) for item in fields(Request)} for each in requests]
    first = records[0] if records else {}
    return {name: value for name, value in first.items() if all(record[name] == value for record in records)}


def recipes(steps: Sequence[Step]) -> dict[str, dict[str, Any]]:
    """By provider."""
    gathered: dict[str, list[Request]] = {}
    for step in steps:
        gathered.setdefault(step.job.provider, []).extend(step.requests)
    return {provider: shared_recipe(requests) for provider, requests in gathered.items()}


def scorer_record(scorer: ScorerLike) -> dict[str, Any]:
    """What decides a score; by name where the scorer tells its parts."""
    return {"identity": scorer.identity, **getattr(scorer, "parts", {})}


def keep_references(store: Store, scorer: ScorerLike) -> dict[str, list[str]]:
    """The reference pictures, put into the store so that the report can show them."""
    references = getattr(scorer, "references", None)
    splits: dict[str, Sequence[Path]] = {name: getattr(references, name, ()) for name in ("train", "held_out")}
    return {name: [store.put_image(path.read_bytes()) for path in paths] for name, paths in splits.items() if paths}


def notes_of(suite: Suite, results: Mapping[str, Sequence[CaseResult]]) -> list[str]:
    """What a reader should know: locked cases that were left out, prompts that were cut off."""
    drawn = {result.job.case for group in results.values() for result in group}
    locked = [case.id for case in suite.cases if case.split == "locked" and case.id not in drawn]
    notes = [f"{len(locked)} locked cases were left out; they are kept for promotions (--locked)"] if locked else []
    cut = {
        (result.job.provider, result.job.case): str(sample.meta["truncated"])
        for group in results.values()
        for result in group
        for sample in result.samples
        if sample.meta.get("truncated")
    }
    return notes + [f"{case} by {name}: the prompt was cut off before {end!r}" for (name, case), end in cut.items()]
