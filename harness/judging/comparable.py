"""Whether the scores of two runs mean the same: their recipes and scorers, field by field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.judging.record import RunRecord, SuiteRecord

UNDER_TEST = frozenset({"lora", "strength", "prompt", "seed", "index"})
"""What a run and its baseline may differ in: the LoRA is what is compared, the others name the picture."""
ADDED = "scorer.metrics."  # metrics that a profile adds: they decide their own scores and nobody else's
Parts = Mapping[str, object]
"""What decides a picture, or a score, by name."""


@dataclass(frozen=True)
class Comparable:
    """Whether a baseline may be compared with a run: not when `refused` holds anything."""

    refused: tuple[str, ...] = ()  # names of fields that differ, with both values
    warned: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return not self.refused


def compare_recipes(baseline: RunRecord, suite: SuiteRecord, provider: str) -> Comparable:
    """Hold the recipe and scorer of an earlier run against those of `suite`.

    Another dtype is a warning, and so are another version of a metric that the profile adds and another summary of what
    the models know. Every other difference is a refusal, because the scores would not mean the same.
    """
    known = [item for item in baseline.suites if item.own_name == suite.own_name]
    old = next((item for item in known if len(known) == 1 or item.file == suite.file), None)
    if old is None:
        return Comparable(refused=(f"suite: the baseline has none called {suite.own_name!r}",))
    return compare_parts(old.recipe.get(provider, {}), suite.recipe.get(provider, {}), old.scorer, suite.scorer)


def compare_parts(drawn: Parts, draws: Parts, scored: Parts, scores: Parts) -> Comparable:
    """A provider's recipe and the scorer's parts, each before and now."""
    shared = drawn.keys() & draws.keys()  # a recipe holds what all its requests share: with fewer cases that is more
    result = _differences("recipe", {name: drawn[name] for name in shared}, {name: draws[name] for name in shared})
    judged = _differences("scorer", scored, scores)
    if len(judged) > 1 and len(scored) > 1 and len(scores) > 1:  # the parts say more than the hash over all of them
        judged.pop("scorer.identity", None)
    result |= judged
    warned = {name for name in result if name.endswith((".dtype", ".domain")) or name.startswith(ADDED)}
    refused = tuple(words for name, words in result.items() if name not in warned)
    return Comparable(refused, tuple(words for name, words in result.items() if name in warned))


def _differences(kind: str, old: Parts, new: Parts) -> dict[str, str]:
    names = sorted((old.keys() | new.keys()) - UNDER_TEST)
    return {
        f"{kind}.{name}": f"{kind}.{name}: {_short(old.get(name))} in the baseline, {_short(new.get(name))} now"
        for name in names
        if old.get(name) != new.get(name)
    }


def _short(value: object) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:12]}..."
