"""Twelve ids of one prompt are one prompt: wherever prompts are counted, and before anything is drawn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.config.suite import lint_suite, load_suite
from harness.core.clusters import drawn_key, find_repeats
from harness.core.errors import SuiteError
from harness.core.sharding import Shard
from harness.core.values import (
    Case,
    CaseResult,
    Job,
    Outcome,
    Sample,
    Score,
    Subject,
    Suite,
    Threshold,
    case_result_from,
    to_record,
)
from harness.judging.adaptive import plan_notes
from harness.judging.changes import compare_results
from harness.judging.judge import judge_gate
from harness.judging.leaderboard import leaderboard
from harness.judging.scores import values_of, values_of_cases
from harness.scoring.metrics.aesthetics import compare_aesthetics
from tests.painter import Studio, make_profile


def suite_of(prompts: list[str], **keys: Any) -> Suite:
    cases = tuple(Case("one", f"case-{number}", prompt) for number, prompt in enumerate(prompts))
    subject = Subject("Aldar", "aldar", Path("references"))
    options: dict[str, Any] = {"thresholds": {"quality": Threshold(0.6)}, **keys}
    return Suite("one", Path("one.yaml"), subject, ("lora", "base"), ("lora",), cases, 3, **options)


def results_of(suite: Suite, shift: float = 0.0, provider: str = "lora", seeds: int = 3) -> list[CaseResult]:
    """Every prompt's seeds follow from its words, whatever its id."""
    results = []
    for case in suite.cases:
        random = np.random.default_rng(len(case.prompt.split()))
        values = 0.8 + shift + random.normal(0, 0.03, seeds)
        samples = tuple(
            Sample("", seed, Outcome.OK, image=f"{case.prompt} {seed}", scores={
                "quality": Score("quality", float(value)), "aesthetics": Score("aesthetics", 0.5, 5.0 + shift),
            }) for seed, value in enumerate(values)
        )  # fmt: skip
        results.append(CaseResult(Job("one.yaml", case.id, provider), samples, cluster=suite.repeats.get(case.id, "")))
    return results


ONE = suite_of(["aldar, smiling"] * 12)
EIGHT = suite_of(["aldar, " + "very " * number + "sad" for number in range(8)])
TWICE = replace(EIGHT, cases=(*EIGHT.cases, *(replace(case, id=f"{case.id}-again") for case in EIGHT.cases)))


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (("aldar,  Smiling ", ""), True),
        (("aldar, smiling", "blurry"), False),
        (("aldar, smiling.", ""), False),
    ],
)
def test_what_is_drawn_is_what_counts(other: tuple[str, str], same: bool) -> None:
    assert (drawn_key("aldar, smiling") == drawn_key(*other)) is same
    assert find_repeats([("a", "aldar, smiling", ""), ("b", *other)]) == ({"b": "a"} if same else {})


def test_a_suites_own_negative_is_every_cases() -> None:
    suite = suite_of(["aldar"] * 2, negative="blurry")
    cases = (suite.cases[0], replace(suite.cases[1], negative="Blurry"))

    assert dict(replace(suite, cases=cases).repeats) == {"case-1": "case-0"} and suite.open_prompts == suite.cases[:1]
    assert find_repeats([("a", "", ""), ("b", "", "")]) == {}, "what was asked is not known"


def test_one_prompt_has_no_interval_over_prompts() -> None:
    results = {"lora": results_of(ONE), "base": results_of(ONE, -0.2, "base")}
    gate = judge_gate(ONE, "lora", results["lora"], baseline=results_of(ONE, 0.1))
    rows = leaderboard(ONE, results)

    assert gate.details["other_prompts"]["quality"]["low"] is None
    assert gate.details["regression"]["low"] is None and gate.details["regression"]["n"] == 1
    assert gate.scores["quality"].n == 1 and gate.scores["quality"].low is not None, "its seeds say what they say of it"
    assert all(row.quality and row.quality.low is None for row in rows)
    assert all(row.versus[other].low is None for row, other in zip(rows, ("base", "lora"), strict=True))
    assert {row.rank_range for row in rows} == {(1, 2)}, "no rank is proven"


def test_every_prompt_twice_says_what_every_prompt_once_says() -> None:
    once, twice = results_of(EIGHT), results_of(TWICE)
    before = results_of(EIGHT, 0.01), results_of(TWICE, 0.01)
    gates = [judge_gate(suite, "lora", now, baseline=old) for suite, now, old in
             ((EIGHT, once, before[0]), (TWICE, twice, before[1]))]  # fmt: skip

    assert gates[0].scores == gates[1].scores
    assert gates[0].details == {**gates[1].details, "faults": gates[0].details["faults"]}
    changes = [compare_results(now, old, 0.02) for now, old in ((once, before[0]), (twice, before[1]))]
    assert changes[0].quality == changes[1].quality and changes[0].pairs == changes[1].pairs == 24
    assert len(changes[1].cases) == 16, "each case is told of by its own name"
    gains = [compare_aesthetics(now, old) for now, old in ((once, before[0]), (twice, before[1]))]
    assert gains[0] == gains[1]


def test_cases_of_one_prompt_that_expect_other_things_count_with_their_mean() -> None:
    suite = suite_of(["aldar", "aldar"])
    found = [
        CaseResult(Job("one.yaml", f"case-{number}", "lora"), (
            Sample("", 0, Outcome.OK, scores={"quality": Score("quality", value)}),
        ), cluster=suite.repeats.get(f"case-{number}", "")) for number, value in enumerate((0.4, 0.8))
    ]  # fmt: skip

    assert values_of(found, "quality") == {("case-0", 0): pytest.approx(0.6)}
    assert values_of_cases(found, "quality") == {("case-0", 0): 0.4, ("case-1", 0): 0.8}
    assert case_result_from(to_record(found[1])) == found[1]


def test_lint_counts_a_prompt_once_and_says_so() -> None:
    assert plan_notes(TWICE) == plan_notes(EIGHT)
    assert "no difference can ever be proven" in "\n".join(plan_notes(ONE))
    notes = "\n".join(lint_suite(ONE, make_profile()))
    assert "case-11: draws the same as case-0 (prompt, negative and size)" in notes and "fewer than 8" in notes
    assert "draws the same" not in "\n".join(lint_suite(EIGHT, make_profile()))


def test_a_prompt_stays_in_one_shard() -> None:
    shards = [Shard(number, 3).cases(TWICE) for number in (1, 2, 3)]

    assert sorted(name for shard in shards for name in shard) == sorted(case.id for case in TWICE.cases)
    assert all((f"{name}-again" in shard) for shard in shards for name in shard if not name.endswith("again"))


# --- by the public door -----------------------------------------------------------------------------------------------


def write(folder: Path, cases: str) -> Path:
    (folder / "pictures" / "train").mkdir(parents=True)
    path = folder / "demo.yaml"
    path.write_text(
        "version: 1\nsuite: demo\nsubject: {name: A, trigger: aldar, references: pictures}\n"
        f"providers: [lora]\ncases:\n{cases}",
        encoding="utf-8",
    )
    return path


OPEN_CASE = '  - {id: seen, prompt: "{trigger}, sad"}\n'


def test_a_locked_case_that_asks_what_an_open_one_asks_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, OPEN_CASE + '  - {id: exam, prompt: "aldar,  Sad", split: locked}\n')

    with pytest.raises(SuiteError) as caught:
        load_suite(path)

    text = str(caught.value)
    assert text.startswith(f"{path}:7: locked case 'exam' asks for what the open case 'seen' in line 6 asks for")
    assert text.endswith("reword one of them, or remove it")


@pytest.mark.parametrize(
    "exam",
    [
        '  - {id: exam, prompt: "{trigger}, happy", split: locked}\n',
        "".join(f'  - {{id: {name}, prompt: "{{trigger}}, happy", split: locked}}\n' for name in ("exam", "again")),
    ],
)
def test_other_locked_cases_are_not(exam: str, tmp_path: Path) -> None:
    assert load_suite(write(tmp_path, OPEN_CASE + exam)).cases[0].is_open


def test_a_run_over_one_prompt_claims_nothing_over_prompts(tmp_path: Path) -> None:
    """Eight ids of one prompt once gave 0.96 [0.96, 0.96] and "all ranks are proven"."""
    studio = Studio(tmp_path, samples=3)
    suite = replace(studio.suite, cases=tuple(Case("painted", f"case-{n}", "aldar, sad") for n in range(8)))
    run = studio.run(suites=[suite])
    try:
        run.submit([Job(suite.path.as_posix(), case.id, name) for case in suite.cases for name in suite.providers])
        run.wait()
        gate = run.gate(suite.path.as_posix(), "lora")
        record = run.finish()
    finally:
        run.close()

    assert len(studio.drawn) == 6, "three seeds of two providers"
    assert gate.details["other_prompts"]["quality"]["low"] is None
    assert all(row.quality and row.quality.n == 1 and row.quality.low is None for row in record.leaderboard)
    assert all(row.rank_range == (1, 2) for row in record.leaderboard)
    (note,) = [note for note in record.suites[0].notes if note.startswith("lora: quality 0.9")]
    assert "over the suite's own prompts, which is what gates; 0.9" in note
    assert note.endswith("over others like them (one prompt says nothing of others)")
