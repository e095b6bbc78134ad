"""The record of a run: its promised keys, its verdict, and its use as a baseline."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.core.errors import UsageError
from harness.core.values import Decision, Interval, Usage, Verdict, sample_from
from harness.judging.results import (
    SCHEMA,
    build_results,
    compare_recipes,
    finite,
    gate_record,
    load_results,
)
from harness.store import Store
from tests.example_run import ROUND, RUN, example_record, example_run


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def shared(store: Store) -> dict[str, Any]:
    return example_record(store, rounds=(ROUND,))


@pytest.fixture
def record(shared: dict[str, Any]) -> dict[str, Any]:
    return copy.deepcopy(shared)


def saved(folder: Path, record: Any) -> Path:
    path = folder / "results.json"
    path.write_text(record if isinstance(record, str) else json.dumps(record), encoding="utf-8")
    return path


def test_it_holds_what_is_promised(record: dict[str, Any]) -> None:
    assert record["schema"] == SCHEMA
    assert {"id", "started", "profile", "versions"} <= record["run"].keys()
    assert record["gate"]["verdict"] == "pass" and record["gate"]["reasons"]
    row = record["leaderboard"][0]
    assert {"suite", "provider", "rank", "gate", "emulated", "raw", "versus"} <= row.keys()
    for metric in ("quality", "clip", "features", "ssim"):
        assert row[metric].keys() == {"mean", "low", "high", "n"}
    assert {"diff", "low", "high"} <= row["versus"]["base"].keys()
    case = record["cases"][0]
    assert {"suite", "case", "split", "provider", "verdict", "outcome", "scores", "samples"} <= case.keys()
    assert {"image", "seed", "scores"} <= case["samples"][0].keys()
    assert {"images_generated", "images_cached", "model_loads", "seconds"} <= record["engine"].keys()
    assert record["rounds"][0]["verdict"] == "promoted"


def test_it_survives_the_file(record: dict[str, Any], tmp_path: Path) -> None:
    read = load_results(saved(tmp_path, record))

    assert read == record
    assert sample_from(read["cases"][0]["samples"][0]).scores["quality"].value is not None


def test_a_failing_case_of_a_gate_provider_fails_the_run(store: Store) -> None:
    run = example_run(store)
    job = next(job for job in run.verdicts if job.provider == "lora")
    bad = replace(run, verdicts={**run.verdicts, job: Verdict(Decision.FAIL, {"quality": Interval(0.4, 0.3, 0.5, 3)})})

    gate = gate_record([bad])

    assert gate["verdict"] == "fail"
    assert gate["reasons"] == [f"{job.case} by lora: quality 0.40 [0.30, 0.50]"]


def test_a_competitor_never_decides(store: Store) -> None:
    run = example_run(store)

    assert any(verdict.decision is Decision.ERROR for verdict in run.verdicts.values()), "the example has one"
    assert gate_record([run])["verdict"] == "pass"


def test_trouble_is_an_error_and_its_own_reason(store: Store) -> None:
    gate = gate_record([example_run(store)], trouble="out of memory at batch 1")

    assert (gate["verdict"], gate["reasons"][0]) == ("error", "out of memory at batch 1")


def test_without_a_gate_nothing_is_claimed(store: Store) -> None:
    run = example_run(store)
    only_base = replace(run, results={"base": run.results["base"]}, verdicts={}, gates={})

    assert gate_record([only_base])["verdict"] == "inconclusive"
    assert gate_record([])["verdict"] == "inconclusive"


def test_an_empty_run_has_a_record_too(tmp_path: Path) -> None:
    record = build_results(RUN, [], Usage(), trouble="the engine died")

    assert load_results(saved(tmp_path, record))["gate"]["verdict"] == "error"


def test_json_has_no_word_for_nan() -> None:
    assert finite({"a": [float("nan"), 1.0], "b": float("inf")}) == {"a": [None, 1.0], "b": None}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not JSON"),
        ("[]", "schema None"),
        ('{"schema": 99}', "update this package"),
        ('{"schema": true}', "make it again"),
        ('{"schema": 1}', "run: Field required"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_a_bad_file_is_refused_in_words(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=words):
        load_results(saved(tmp_path, text))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot be read .* earlier run"):
        load_results(tmp_path / "results.json")


def test_another_dtype_is_a_warning_and_anything_else_a_refusal(record: dict[str, Any]) -> None:
    suite = copy.deepcopy(record["suites"][0])
    suite["recipe"]["lora"] |= {"dtype": "float32", "lora": "99" * 32, "strength": 0.8}

    assert compare_recipes(record, record["suites"][0], "lora") and not compare_recipes(record, suite, "lora").refused
    (warning,) = compare_recipes(record, suite, "lora").warned
    assert warning == "recipe.dtype: bfloat16 in the baseline, float32 now"

    suite["recipe"]["lora"]["steps"] = 8
    suite["scorer"]["clip"] = "00" * 32
    refused = compare_recipes(record, suite, "lora")
    assert not refused
    assert [words.partition(":")[0] for words in refused.refused] == ["recipe.steps", "scorer.clip"]


def test_a_scorer_known_by_its_hash_alone_is_compared_by_it(record: dict[str, Any]) -> None:
    record["suites"][0]["scorer"] = {"identity": "a"}
    suite = {**record["suites"][0], "scorer": {"identity": "b"}}

    assert compare_recipes(record, suite, "lora").refused[0].startswith("scorer.identity")


def test_a_baseline_of_another_suite_is_refused(record: dict[str, Any]) -> None:
    assert (
        "has none called 'other'"
        in compare_recipes(record, {**record["suites"][0], "name": "other"}, "lora").refused[0]
    )
