"""The record of a run: its promised keys, its verdict, and its use as a baseline."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.core.errors import UsageError
from harness.core.values import Complaint, Decision, Interval, Outcome, Sample, Score, Verdict
from harness.judging.comparable import compare_recipes
from harness.judging.record import SCHEMA, LoraRecord, finite, load_results
from harness.judging.results import gate_record
from harness.store import Store
from tests.example_run import ROUND, example_record, example_run, make_record, plain, read


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def shared(store: Store) -> dict[str, Any]:
    return plain(example_record(store, rounds=(ROUND,)))


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


def test_it_survives_the_file(store: Store, tmp_path: Path) -> None:
    made = example_record(store, rounds=(ROUND,))

    again = load_results(saved(tmp_path, made.to_text()))

    assert again == made and again.to_text() == made.to_text()
    assert isinstance(again.cases[0].samples[0], Sample) and again.cases[0].samples[0].quality is not None


def test_keys_of_a_newer_version_are_kept_and_none_are_added(record: dict[str, Any]) -> None:
    del record["cases"][0]["prompt"], record["engine"]["seconds"]
    record["cases"][0]["later"] = record["later"] = {"a": [1]}

    assert plain(read(record)) == record


def value_at(record: Any, *way: Any) -> Any:
    for key in way:
        record = record[key] if isinstance(key, int) or isinstance(record, dict) else getattr(record, key)
    return record


@pytest.mark.parametrize(
    ("way", "wrong", "instead"),
    [
        (("cases", 0, "prompt"), 5, ""),
        (("cases", 0, "tags"), "portrait", ()),
        (("cases", 0, "scores"), {"quality": {"low": 0.1}}, {}),
        (("cases", 0, "samples", 0, "message"), None, ""),
        (("cases", 0, "samples", 0, "scores", "clip", "raw"), "much", None),
        (("leaderboard", 0, "common"), {"mean": True}, None),
        (("suites", 0, "margin"), float("inf"), None),
        (("suites", 0, "calibration"), [1], None),
        (("rounds", 0, "before"), {"quality": 0.4}, {}),
        (("rounds", 0, "promoted"), "yes", False),
    ],
)
def test_what_is_not_promised_counts_as_absent_where_it_is_wrong(
    record: dict[str, Any], way: tuple[Any, ...], wrong: Any, instead: Any
) -> None:
    value_at(record, *way[:-1])[way[-1]] = wrong

    assert value_at(read(record), *way) == instead


@pytest.mark.parametrize(
    ("way", "wrong"),
    [
        (("run", "id"), 5),
        (("gate", "verdict"), "perhaps"),
        (("cases", 0, "verdict"), 1),
        (("cases", 0, "samples", 0, "seed"), "0"),
        (("cases", 0, "samples", 0, "image"), 7),
        (("cases", 0, "samples", 0, "scores", "clip", "value"), "1"),
        (("leaderboard", 0, "quality"), {"mean": "high"}),
        (("leaderboard", 0, "rank"), 1.5),
        (("leaderboard", 0, "quality", "mean"), float("nan")),
        (("engine", "cost_usd"), "free"),
        (("rounds", 0, "gap"), "wide"),
        (("feedback", 0, "recommendations"), [{"message": "train"}]),
    ],
)
def test_what_is_promised_is_refused_where_it_is_wrong(
    record: dict[str, Any], way: tuple[Any, ...], wrong: Any
) -> None:
    value_at(record, *way[:-1])[way[-1]] = wrong

    with pytest.raises(UsageError, match=r"results.json: " + r"\.".join(map(str, way)) + ".*changed or cut off"):
        read(record)


def test_an_ending_that_nobody_knows_is_no_picture_that_may_be_scored(record: dict[str, Any]) -> None:
    record["cases"][0]["samples"][0]["outcome"] = "abducted"

    assert read(record).cases[0].samples[0].outcome is Outcome.PROVIDER_ERROR


def test_half_a_surrogate_pair_is_text_and_the_rest_stays(record: dict[str, Any]) -> None:
    record["cases"][0]["prompt"] = "a\ud800b"

    assert read(record).cases[0].prompt == "a\N{REPLACEMENT CHARACTER}b"


def test_a_failing_case_of_a_gate_provider_fails_the_run(store: Store) -> None:
    run = example_run(store)
    job = next(job for job in run.verdicts if job.provider == "lora")
    bad = replace(run, verdicts={**run.verdicts, job: Verdict(Decision.FAIL, {"quality": Interval(0.4, 0.3, 0.5, 3)})})

    gate = gate_record([bad])

    assert gate.verdict == "fail"
    assert gate.reasons == (f"{job.case} by lora: quality 0.40 [0.30, 0.50]",)


def test_a_competitor_never_decides(store: Store) -> None:
    run = example_run(store)

    assert any(verdict.decision is Decision.ERROR for verdict in run.verdicts.values()), "the example has one"
    assert gate_record([run]).verdict == "pass"


def test_trouble_is_an_error_and_its_own_reason(store: Store) -> None:
    gate = gate_record([example_run(store)], trouble="out of memory at batch 1")

    assert (gate.verdict, gate.reasons[0]) == ("error", "out of memory at batch 1")


def test_without_a_gate_nothing_is_claimed(store: Store) -> None:
    run = example_run(store)
    only_base = replace(run, results={"base": run.results["base"]}, verdicts={}, gates={})

    assert gate_record([only_base]).verdict == "not_judged"
    assert gate_record([]).verdict == "not_judged"


def test_an_empty_run_has_a_record_too(tmp_path: Path) -> None:
    record = make_record([], trouble="the engine died")

    assert load_results(saved(tmp_path, record.to_text())).gate.verdict == "error"


def test_json_has_no_word_for_nan(store: Store) -> None:
    run = example_run(store)
    first, *others = run.results["lora"]
    broken = Score("clip", 0.5, 0.7, details={"a": [float("inf"), 1.0]})
    sample = replace(first.samples[0], scores={**first.samples[0].scores, "clip": broken})
    results = {**run.results, "lora": [replace(first, samples=(sample, *first.samples[1:])), *others]}

    record = make_record([replace(run, results=results)])

    (case,) = [case for case in record.cases_of("aldar-kose", "lora") if case.case == first.job.case]
    assert case.samples[0].scores["clip"] == Score("clip", 0.5, 0.7, details={"a": [None, 1.0]})
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


def against(record: dict[str, Any], **changes: Any) -> Any:
    """The record's first suite held against itself, with some keys of it as they are now."""
    now = read({**record, "suites": [{**record["suites"][0], **changes}]}).suites[0]
    return compare_recipes(read(record), now, "lora")


def test_another_dtype_is_a_warning_and_anything_else_a_refusal(record: dict[str, Any]) -> None:
    recipe = copy.deepcopy(record["suites"][0]["recipe"])
    recipe["lora"] |= {"dtype": "float32", "lora": "99" * 32, "strength": 0.8}

    assert against(record) and not against(record, recipe=recipe).refused
    (warning,) = against(record, recipe=recipe).warned
    assert warning == "recipe.dtype: bfloat16 in the baseline, float32 now"

    recipe["lora"]["steps"] = 8
    refused = against(record, recipe=recipe, scorer={**record["suites"][0]["scorer"], "clip": "00" * 32})
    assert not refused
    assert [words.partition(":")[0] for words in refused.refused] == ["recipe.steps", "scorer.clip"]


def test_a_scorer_known_by_its_hash_alone_is_compared_by_it(record: dict[str, Any]) -> None:
    record["suites"][0]["scorer"] = {"identity": "a"}

    assert against(record, scorer={"identity": "b"}).refused[0].startswith("scorer.identity")


def test_a_baseline_of_another_suite_is_refused(record: dict[str, Any]) -> None:
    assert "has none called 'other'" in against(record, name="other").refused[0]


@pytest.mark.parametrize("depth", [150, 400])
def test_a_record_that_is_nested_ever_deeper_is_read_or_refused_in_words(depth: int, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    with Store(tmp_path / "store") as store:
        text = example_record(store).to_text()
    path.write_text(text.rstrip().removesuffix("}") + f', "more": {"[" * depth}{"]" * depth}}}', encoding="utf-8")

    if depth == 150:
        assert load_results(path).run.id
    else:
        with pytest.raises(UsageError, match=r"results\.json: "):
            load_results(path)


def test_half_a_letter_in_a_name_costs_no_record() -> None:
    assert LoraRecord.of({"file": "a\udcff.safetensors"}).file == "a\N{REPLACEMENT CHARACTER}.safetensors"


# --- one cause is told once -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gate", "case", "folded"),
    [
        ((Decision.FAIL, "LoRA of another person"), (Decision.FAIL, "quality 0.1 is below 0.6"), True),
        ((Decision.FAIL, ""), (Decision.FAIL, "quality 0.1 is below 0.6"), False),
        ((Decision.ERROR, "pictures are missing: no key"), (Decision.ERROR, "2 of 2 are missing: no key"), True),
        ((Decision.ERROR, "pictures are missing: no key"), (Decision.ERROR, "2 of 2 are missing: no credit"), False),
        ((Decision.FAIL, "LoRA of another person"), (Decision.ERROR, "2 of 2 are missing: no key"), False),
    ],
)
def test_cases_that_the_gates_cause_explains_stand_in_one_reason(
    store: Store, gate: tuple[Decision, str], case: tuple[Decision, str], folded: bool
) -> None:
    run = example_run(store)
    severity = "error" if case[0] is Decision.ERROR else "fail"
    verdict = Verdict(case[0], complaints=(Complaint("quality", case[1], severity),))
    jobs = [job for job in run.verdicts if job.provider == "lora"]
    red = replace(
        run,
        verdicts={**run.verdicts, **dict.fromkeys(jobs, verdict)},
        gates={"lora": Verdict(gate[0], cause=gate[1])},
    )

    reasons = gate_record([red]).reasons

    words = f"{len(jobs)} cases for the same reason: {', '.join(job.case for job in jobs)}"
    assert any(words in reason for reason in reasons) is folded
    assert any(reason.startswith(f"{jobs[0].case} by lora") for reason in reasons) is not folded
