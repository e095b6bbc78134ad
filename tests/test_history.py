"""The rounds of retraining that a store remembers: each once, and none in another one's place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.store import Store
from harness.training.improve.history import read_rounds, remember
from tests.tiny import make_suite

ROUND: dict[str, Any] = {"round": 1, "attempt": 1, "provider": "lora", "failing_before": ["a"], "seconds": 0.0}
FAILED = {**ROUND, "verdict": "error", "reason": "the suite has no locked cases"}
PROMOTED = {**ROUND, "verdict": "promoted", "reason": "proven better", "changes": {"steps": (1, 6)}}


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Any]:
    with Store(tmp_path / "store") as store:
        yield SimpleNamespace(store=store, suite=make_suite("aldar kose"))


def verdicts(context: Any) -> list[str]:
    return [item["verdict"] for item in read_rounds(context.store, context.suite)]


def test_a_failed_round_is_kept_beside_the_next_sessions_first(context: Any) -> None:
    """It counts as no attempt, so both bear the same numbers."""
    remember(context, FAILED)
    remember(context, FAILED)
    remember(context, {**FAILED, "reason": "no pictures", "cause": "under_trained"})
    remember(context, PROMOTED)

    assert verdicts(context) == ["error", "error", "error", "promoted"]


def test_what_becomes_known_of_a_round_later_joins_it(context: Any) -> None:
    remember(context, FAILED)
    remember(context, PROMOTED)
    remember(context, {**PROMOTED, "failing_after": [], "loss": [[1, 0.5]]})

    assert verdicts(context) == ["error", "promoted"]
    last = read_rounds(context.store, context.suite)[-1]
    assert last["failing_after"] == [] and "loss" not in last
