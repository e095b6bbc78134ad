"""A share of what the store says of pictures, found out again: an edit whose digest was made anew is told by it."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.core.values import Case, Score, Suite
from harness.engine.context import ScorerLike
from harness.engine.scoring import score_key
from harness.store import Store, cache
from harness.store.recheck import RecomputingStore
from harness.store.rows import selection

MakeScorer = Callable[[Suite, Store], ScorerLike]


@dataclass(frozen=True)
class Rescored:
    """What came of it."""

    rows: int  # scores that were found again
    known: int  # scores that the suites at hand could be asked for
    unknown: int  # scores of another suite, profile or version
    differences: tuple[str, ...]  # what the store says otherwise, the pictures' numbers and what they rest on


def rescore(store: Store, suites: Sequence[Suite], make: MakeScorer, share: float) -> Rescored:
    """Score a share of the pictures again, from their bytes and from nothing that the store says of them.

    Args:
        share: of the scores that the suites' scorers gave, (0, 1]; at least one, chosen by chance.
    """
    twin = RecomputingStore(store, keep=False)
    scorers: dict[str, tuple[Case, ScorerLike]] = {}
    for suite in suites:
        scorer = make(suite, twin)
        for case in suite.cases:
            scorers.setdefault(score_key(scorer, case), (case, scorer))
    rows = [(str(row[0]), str(row[1])) for row in cache.rows(store.folder, selection("scores"))]
    known = [row for row in rows if row[1] in scorers]
    chosen = random.SystemRandom().sample(known, math.ceil(len(known) * share))
    for image, key in chosen:
        case, scorer = scorers[key]
        found: Mapping[str, Score] = scorer.score([(case, store.image(image))])[0]
        twin.put_many_scores([(image, key, found)])
    return Rescored(len(chosen), len(known), len(rows) - len(known), tuple(twin.differences))


def contradictions(folder: Path, store: Store) -> list[str]:
    """Records that name another picture for a request than the journals of all runs saw drawn for it."""
    drawn: dict[str, set[str]] = {}
    for path in sorted((folder / "journal").glob("*.jsonl")):
        for event in store.journal(path.stem).events():
            if event.get("event") == "sample" and event.get("image"):
                drawn.setdefault(str(event.get("request")), set()).add(str(event["image"]))
    rows = cache.rows(folder, "SELECT request, image FROM samples")
    return [
        f"samples {request[:16]}: says picture {image[:16]}, the journals say {min(drawn[request])[:16]}"
        for request, image in rows
        if request in drawn and image not in drawn[request]
    ]
