"""The benchmarks of the gate and of adaptive sampling, on a small table whose truth is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats as scipy_stats
from statsmodels.stats.proportion import proportion_confint

from benchmarks import adaptive, adaptive_drawn, gate
from benchmarks.adaptive_drawn import TRUTHS, Ended, suite_name, write_suite
from benchmarks.score_table import load_table, save_table, synthetic_table, table_cases
from harness.config.suite import load_suite
from harness.core.values import Case, Decision, Subject, Suite

TABLE = synthetic_table(prompts=20, seeds=32)


def test_simulated_runs_share_prompts_and_no_picture() -> None:
    draft, _ = next(iter(gate.drafts(TABLE, 1, seed=0)))

    values = [
        [sample.scores["quality"].value for result in draft.results(TABLE.lora, first) for sample in result.samples]
        for first in (0, 4)
    ]

    quality = np.array(values).reshape(2, 12, 4)
    for row, prompt in enumerate(draft.prompts):
        assert np.isin(quality[:, row], TABLE.lora["quality"][prompt]).all()
        uncut = [value for value in quality[:, row].ravel() if 0 < value < 1]
        assert len(set(uncut)) == len(uncut), "a picture was drawn twice"


def test_planted_regressions_are_found_and_unchanged_loras_left_alone() -> None:
    power, wrong = gate.powers(TABLE, 40)
    alarms = gate.false_alarms(TABLE, 40)

    assert power > 0.6 and wrong == 1.0
    assert alarms["aa"] <= 0.1


def test_equal_competitors_start_no_training() -> None:
    assert max(gate.retraining(TABLE, 30)) <= 0.15


def test_leaderboards_hold_the_truth() -> None:
    assert gate.coverage(TABLE, 30)["one row"] > 0.85


def test_the_upper_bound_is_the_exact_binomial_one() -> None:
    for rate, runs in ((0.05, 4_000), (0.0, 100), (0.5, 40)):
        exact = scipy_stats.binomtest(round(rate * runs), runs, alternative="less").proportion_ci(0.95, "exact").high
        assert gate.upper(rate, runs) == pytest.approx(exact, abs=1e-9)
        two_sided = proportion_confint(round(rate * runs), runs, alpha=0.1, method="beta")[1]
        assert gate.upper(rate, runs) == pytest.approx(two_sided, abs=1e-9) or rate == 0, "statsmodels"
    assert gate.upper(1.0, 10) == 1.0


def test_looks_find_what_a_fixed_plan_finds_with_fewer_pictures() -> None:
    worse = next(each for each in adaptive.scenarios(TABLE) if each.shift < 0)

    found = adaptive.tally(TABLE, worse, 15, seed=1)

    assert found.share < 0.8
    assert abs(found.adaptive[Decision.FAIL] - found.fixed[Decision.FAIL]) <= 0.2


def test_a_table_survives_its_file(tmp_path: Path) -> None:
    save_table(TABLE, tmp_path / "gate.npz")

    again = load_table(tmp_path / "gate.npz")

    assert np.abs(again.lora["quality"] - TABLE.lora["quality"]).max() < 1e-3
    assert again.spread.between == pytest.approx(TABLE.spread.between, abs=1e-3)
    with pytest.raises(FileNotFoundError, match=r"benchmarks\.score_table"):
        load_table(tmp_path / "none.npz")


def test_the_prompts_of_the_table_are_all_different() -> None:
    subject = Subject("Aldar Kose", "aldar kose", Path("references"))
    suite = Suite("aldar", Path("a.yaml"), subject, ("lora",), (), (Case("aldar", "one", "x"),))

    cases = table_cases(suite, 48)

    assert len({case.id for case in cases}) == len({case.prompt for case in cases}) == 48
    assert all(case.prompt.startswith("aldar kose, ") for case in cases)
    assert {case.expect["expression"] for case in cases} == {"smiling", "sad", "surprised", "angry"}
    assert replace(suite, cases=cases).case(cases[0].id) is cases[0]


@pytest.mark.parametrize("block", [0, 3, 5])
def test_sessions_that_are_really_drawn_have_suites_of_their_own_prompts_and_seeds(block: int, tmp_path: Path) -> None:
    for truth in TRUTHS[:3]:
        write_suite(tmp_path, truth, block)

    made = [load_suite(tmp_path / f"{suite_name(truth, block)}.yaml") for truth in TRUTHS[:3]]

    assert all((suite.min_samples, suite.samples, len(suite.cases)) == (2, 12, 12) for suite in made)
    assert made[0].cases == tuple(replace(case, suite=made[0].name) for case in made[1].cases), "the same pictures"
    assert made[2].subject.lora is not None and made[2].subject.lora.strength == 0.95
    others = {(case.prompt, seed) for each in (0, 3, 5) if each != block for case, seed in pairs(tmp_path / "x", each)}
    assert not others & {(case.prompt, seed) for case, seed in pairs(tmp_path, block)}


def pairs(folder: Path, block: int) -> list[tuple[Case, int]]:
    write_suite(folder, TRUTHS[0], block)
    suite = load_suite(folder / f"{suite_name(TRUTHS[0], block)}.yaml")
    return [(case, suite.seed + number) for case in suite.cases for number in range(suite.samples)]


def test_what_real_sessions_found_is_told_in_figures() -> None:
    fixed = {suite_name(truth, 0): Ended("pass", {"a": "pass", "b": "fail"}, 24) for truth in TRUTHS}
    looks = {name: replace(each, pictures=6) for name, each in fixed.items()}
    looks["stranger-0"] = Ended("fail", {"a": "fail", "b": "inconclusive"}, 12)

    figures = adaptive_drawn.tell(looks, fixed, 1)

    count = len(TRUTHS)
    assert figures["images_share_drawn"] == pytest.approx((0.25 * (count - 1) + 0.5) / count, abs=1e-3)
    assert (figures["gates_contrary"], figures["cases_contrary"]) == (1, 1), "open is not contrary to anything"
    wrong = sum(truth.known == "pass" for truth in TRUTHS)
    assert (figures["gates_wrong"], figures["gates_wrong_fixed"]) == (wrong - 1, wrong)
