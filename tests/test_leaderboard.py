"""Providers side by side: ranks, pairs, and what never becomes a score."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from harness.core.values import CaseResult, Job, Outcome, Sample, Score
from harness.judging.leaderboard import common_grid, leaderboard, values_of
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


# --- who is proven to differ ------------------------------------------------------------------------------------------


def grid(provider: str, mean: float, seed: int, cases: int = 12) -> list[CaseResult]:
    """Cases share their difficulty, whoever draws them."""
    hard = np.random.default_rng(0).normal(0, 0.05, cases)
    noise = np.random.default_rng(seed).normal(0, 0.02, (cases, 3))
    return results(provider, {f"case-{n}": list(mean + hard[n] + noise[n]) for n in range(cases)})


def test_ties_ranks_and_intervals_of_all_rows_hold_at_once() -> None:
    given = {
        "lora": grid("lora", 0.8, 1),
        "freepik": grid("freepik", 0.6, 2),
        "gemini": grid("gemini", 0.601, 3),
        "base": grid("base", 0.3, 4),
    }

    rows = {row.provider: row for row in leaderboard(example_suite(), given)}

    assert (rows["lora"].ties, rows["base"].ties) == ("a", "c")
    assert rows["freepik"].ties == rows["gemini"].ties == "b"
    assert rows["lora"].rank_range == (1, 1)
    assert rows["freepik"].rank_range == rows["gemini"].rank_range == (2, 3)
    for row in rows.values():
        assert row.common is not None and row.simultaneous is not None
        assert row.simultaneous.mean == pytest.approx(row.common.mean)
        assert width(row.simultaneous) > width(row.common), "more is promised"


def width(found: object) -> float:
    return getattr(found, "high", 0.0) - getattr(found, "low", 0.0)


def test_the_gap_to_the_best_competitor_is_corrected_and_leaves_the_base_out() -> None:
    given = {"lora": grid("lora", 0.7, 1), "base": grid("base", 0.9, 2)}
    given |= {name: grid(name, 0.7, seed) for seed, name in enumerate(("freepik", "gemini", "openai"), 3)}

    lora = next(row for row in leaderboard(example_suite(), given) if row.provider == "lora")

    assert lora.best_gap is not None and lora.best_gap.low is not None and lora.best_gap.high is not None
    assert lora.best_gap.mean == min(lora.versus[name].mean for name in ("freepik", "gemini", "openai"))
    assert lora.best_gap.low < 0 < lora.best_gap.high, "three equals are not better"


def test_metrics_and_traits_have_ranks_of_their_own() -> None:
    def drawn(provider: str, clip: float, hat: float) -> list[CaseResult]:
        details = {"hat": {"value": "pointed", "score": hat}, "eyes": {"value": "green", "score": None}}
        scores = {
            "quality": Score("quality", 0.5),
            "clip": Score("clip", clip),
            "features": Score("features", hat, details=details),
        }
        samples = tuple(Sample(str(seed), seed, Outcome.OK, "a" * 64, scores=scores) for seed in range(2))
        return [CaseResult(Job(PATH, case, provider), samples) for case in ("a", "b")]

    given = {"lora": drawn("lora", 0.4, 0.9), "base": drawn("base", 0.6, 0.1)}

    rows = {row.provider: row for row in leaderboard(example_suite(), given)}

    assert rows["lora"].ranks == {"quality": 1, "clip": 2, "features": 1}
    assert rows["base"].ranks == {"quality": 1, "clip": 1, "features": 2}, "equals share the better rank"
    assert rows["lora"].trait_ranks == {"hat": 1}, "a trait that could not be measured has no rank"


def test_the_record_carries_what_is_new() -> None:
    given = {"lora": grid("lora", 0.8, 1), "gemini": grid("gemini", 0.5, 2)}

    record = leaderboard(example_suite(), given)[0].plain

    assert record["ties"] == "a" and record["rank_range"] == (1, 1)
    assert record["simultaneous"]["low"] < record["common"]["low"]
    assert record["best_gap"]["diff"] == pytest.approx(0.3, abs=0.02)
    assert record["ranks"] == {"quality": 1}


def test_one_case_makes_no_interval_and_no_proof() -> None:
    given = {"lora": grid("lora", 0.8, 1, cases=1), "gemini": grid("gemini", 0.5, 2, cases=1)}

    first, second = leaderboard(example_suite(), given)

    assert first.ties == second.ties == "a"
    assert first.rank_range == second.rank_range == (1, 2)
    assert first.simultaneous is not None and first.simultaneous.low is None


def test_no_interval_leaves_the_scale() -> None:
    """Two cases near the ceiling: Student's t alone would reach far above 1."""
    given = {"lora": grid("lora", 0.97, 1, cases=2), "gemini": grid("gemini", 0.03, 2, cases=2)}

    for row in leaderboard(example_suite(), given):
        for found in (row.common, row.simultaneous, row.scores["quality"]):
            assert found is not None and found.low is not None and found.high is not None
            assert 0 <= found.low <= found.mean <= found.high <= 1
