"""Pictures to scores: looked up by picture and scorer, found in batches where they are not known."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

from harness.core.errors import EngineError
from harness.core.values import Case, Score, Suite, digest
from harness.engine.context import ScorerLike
from harness.store import Store

AT_ONCE = 32  # pictures handed to a scorer together


def score_key(scorer: ScorerLike, case: Case) -> str:
    """Under which a scorer's scores of a case's pictures are kept."""
    return case_key(scorer.identity, case.expect)


def case_key(identity: str, expect: Mapping[str, str]) -> str:
    """The same of a scorer's identity and what a case expects."""
    return f"{identity}:{digest(dict(expect))[:16]}" if expect else identity


class Scoring:
    """The scores of one run; safe for several threads, one of which scores at a time."""

    def __init__(self, store: Store, make: Callable[[Suite], ScorerLike], *, fresh: bool = False) -> None:
        """`fresh`: what earlier runs found does not count."""
        self.store, self.fresh = store, fresh
        self.lock = threading.RLock()  # models are not made for two threads
        self._make = make
        self._scorers: dict[str, ScorerLike] = {}
        self._found: dict[tuple[str, str], Mapping[str, Score]] = {}

    def scorer(self, suite: Suite) -> ScorerLike:
        """The one scorer of a suite; another LoRA under test does not change it."""
        with self.lock:
            key = suite.path.as_posix()
            if key not in self._scorers:
                self._scorers[key] = self._make(suite)
            return self._scorers[key]

    def key(self, suite: Suite, case: Case) -> str:
        """What a stored score depends on beside the picture: the scorer, and what the case expects to see."""
        return score_key(self.scorer(suite), case)

    def score(self, suite: Suite, pictures: Sequence[tuple[Case, str]]) -> None:
        """Make sure that every (case, SHA-256 of a picture) has its scores."""
        with self.lock:
            unknown: dict[tuple[str, str], Case] = {}
            for case, image in pictures:
                key = (image, self.key(suite, case))
                if key not in self._found and not self._recall(key):
                    unknown[key] = case
            keys = list(unknown)
            for start in range(0, len(keys), AT_ONCE):
                some = keys[start : start + AT_ONCE]
                items = [(unknown[key], self.store.image(key[0])) for key in some]
                result = self.scorer(suite).score(items)
                if len(result) != len(some):
                    raise EngineError(f"{suite.path}: the scorer answered {len(result)} of {len(some)} pictures")
                self.store.put_many_scores([(*key, scores) for key, scores in zip(some, result, strict=True)])
                self._found.update(zip(some, result, strict=True))

    def scores(self, suite: Suite, case: Case, image: str) -> Mapping[str, Score]:
        """What `score` found."""
        return self._found[image, self.key(suite, case)]

    def _recall(self, key: tuple[str, str]) -> bool:
        known = None if self.fresh else self.store.scores(*key)
        if known is not None:
            self._found[key] = known
        return known is not None
