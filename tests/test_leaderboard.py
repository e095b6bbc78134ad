"""Providers side by side: ranks, pairs, and what never becomes a score."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from harness.leaderboard import common_grid, leaderboard, values_of
from harness.values import CaseResult, Job, Outcome, Sample, Score
from tests.example_run import example_suite

PATH = "suites/aldar_kose.yaml"


def results(provider: str, values: Mapping[str, list[float | None]]) -> list[CaseResult]:
    """One result a case; None is a picture that did not come."""
    made = []
    for case, qualities in values.items():
        samples = tuple(
            Sample(f"{case}-{seed}", seed, Outcome.QUOTA, message="used up")
            if value is None
            else Sample(
                f"{case}-{seed}", seed, Outcome.OK, "a" * 64, scores={"quality": Score("quality", value, value / 2)}
            )
            for seed, value in enumerate(qualities)
        )
        made.append(CaseResult(Job(PATH, case, provider), samples))
    return made


def test_the_better_provider_leads_and_pairs_prove_it() -> None:
    given = {
        "base": results("base", {"a": [0.2, 0.3], "b": [0.4, 0.5], "c": [0.1, 0.3]}),
        "lora": results("lora", {"a": [0.7, 0.8], "b": [0.9, 0.9], "c": [0.6, 0.9]}),
    }

    first, second = leaderboard(example_suite(), given)

    assert (first.provider, first.rank, first.gate) == ("lora", 1, True)
    assert (second.provider, second.rank, second.gate) == ("base", 2, False)
    assert first.scores["quality"].mean == pytest.approx(0.8)
    assert first.scores["quality"].n == 3, "seeds are not independent: the interval counts prompts"
    assert first.raw["quality_raw"] == pytest.approx(0.4)
    assert first.versus["base"].mean == pytest.approx(0.5)
    assert first.versus["base"].low is not None and first.versus["base"].low > 0
    assert second.versus["lora"].mean == pytest.approx(-0.5)


def test_without_pictures_a_provider_is_last_and_scores_nothing() -> None:
    given = {
        "painter": results("painter", {"a": [None, None]}),
        "lora": results("lora", {"a": [0.0, 0.0]}),
    }

    first, last = leaderboard(example_suite(), given, {"painter"})

    assert first.provider == "lora", "no picture is never a score, not even above zero"
    assert (last.scores, last.versus, last.raw, last.common) == ({}, {}, {}, None)
    assert last.outcomes == {"quota": 2}
    assert last.emulated


def test_ranks_compare_only_what_all_have_drawn() -> None:
    given = {
        "lora": results("lora", {"easy": [0.9, 0.9], "hard": [0.5, 0.5]}),
        "painter": results("painter", {"easy": [0.8, 0.8], "hard": [None, None]}),
    }

    first, second = leaderboard(example_suite(), given)

    assert first.provider == "lora", "its mean over both prompts is lower, on the shared prompt it is higher"
    assert first.scores["quality"].mean == pytest.approx(0.7)
    assert first.common is not None and first.common.mean == pytest.approx(0.9)
    assert second.versus["lora"].n == 1


def test_a_provider_that_delivers_little_does_not_shrink_the_grid() -> None:
    full = values_of(results("lora", {"a": [0.1] * 4, "b": [0.2] * 4}), "quality")
    thin = values_of(results("painter", {"a": [0.9, None, None, None]}), "quality")

    assert common_grid({"lora": full, "painter": thin, "dead": {}}) == set(full)


def test_of_nothing_comes_nothing() -> None:
    assert leaderboard(example_suite(), {}) == ()
    assert common_grid({}) == set()
