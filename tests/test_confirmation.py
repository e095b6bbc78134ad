"""A red case counts when its own seeds confirm it: the rule, the pictures that are drawn for it, and where none are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.gate_cells import coins, normal, reds, result_of, suite_of
from harness.core import stats
from harness.core.values import Decision, Generation, Job, Outcome, Request, Threshold
from harness.engine.run import Run
from harness.judging.adaptive import NextSample, confirming_seeds, level_at, next_draws
from harness.judging.confirmation import MoreSeeds, judge_cases
from harness.judging.judge import judge_gate
from harness.judging.prompts import own_prompts
from harness.judging.scores import values_by_metric
from tests.painter import Studio, shades

FAIL, OPEN, PASS = Decision.FAIL, Decision.INCONCLUSIVE, Decision.PASS
EASY = [0.9, 0.92, 0.91, 0.9, 0.92, 0.91]


def verdict_of(seeds: Sequence[float], more: MoreSeeds | None = None, provider: str = "lora") -> Any:
    """Of one case among eleven easy ones, whose bound is 0.6."""
    suite = suite_of(12, 3, 0.6)
    hard = result_of(0, np.array(seeds))
    results = [hard, *(result_of(number, np.array(EASY[:3])) for number in range(1, 12))]
    if provider != "lora":
        results = [type(each)(Job(each.job.path, each.job.case, provider), each.samples) for each in results]
    return judge_cases(suite, results, None, more)[results[0].job]


def says(verdict: Any) -> str:
    return " | ".join(item.message for item in verdict.complaints)


# --- the rule ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shift", "decision"), [(-0.001, FAIL), (0.001, OPEN)])
def test_just_below_and_just_above_what_six_seeds_prove(shift: float, decision: Decision) -> None:
    offsets = np.array([-0.05, -0.03, -0.01, 0.01, 0.03, 0.05])
    high = stats.mean_interval(list(offsets)).high
    assert high is not None

    verdict = verdict_of(0.6 - high + shift + offsets)

    assert verdict.decision is decision
    assert ("confirmed with 6 seeds" in says(verdict)) is (decision is FAIL)
    if decision is OPEN:
        assert "is below 0.60; not confirmed: by their own spread 6 seeds give 0.5" in says(verdict)
        assert verdict.details["open"] == ["quality"] and "confirm" not in verdict.details


def test_seeds_that_are_coins_are_no_proof_though_t_takes_them_for_one() -> None:
    """Seven of eight came out wrong: with one in two right that is 3.5%, and t says 1%."""
    seeds = [0.2] * 7 + [0.9]
    own = stats.mean_interval(seeds)
    assert own.high is not None and own.high < 0.55

    assert stats.coin_tail(seeds, 0.55) == pytest.approx(9 / 256)
    assert not stats.surely_below(seeds, 0.55) and stats.surely_below(seeds, 0.6)
    assert stats.surely_below([0.2] * 6, 0.55), "all of six"


@pytest.mark.parametrize(
    ("seeds", "proven"),
    [([0.2], False), ([0.2] * 3, False), ([0.0] * 4, False), ([0.1] * 5, True), ([0.2] * 5, False), ([0.5] * 6, True)],
)
def test_few_seeds_prove_only_what_the_worst_luck_cannot_explain(seeds: list[float], proven: bool) -> None:
    assert stats.surely_below(seeds, 0.6) is proven
    assert (verdict_of(seeds).decision is FAIL) is proven


def test_a_case_waits_for_its_seeds_and_not_for_more() -> None:
    suite = suite_of(12, 3, 0.6)
    assert [confirming_seeds(suite_of(1, n, 0.6)) for n in (1, 2, 3, 4, 8)] == [6, 6, 6, 8, 16]
    assert confirming_seeds(suite, 5) == 10

    waits = verdict_of([0.3, 0.31, 0.32], MoreSeeds(6))
    assert waits.decision is OPEN and waits.details["confirm"] == 6
    assert "to be confirmed with 6 seeds, it has 3" in says(waits)
    assert next_draws(suite, {Job("cells.yaml", "case-0", "lora"): waits}, {"lora": waits}, {
        Job("cells.yaml", "case-0", "lora"): 3, Job("cells.yaml", "case-1", "lora"): 3,
    }) == tuple(NextSample(Job("cells.yaml", "case-0", "lora"), seed) for seed in (3, 4, 5))  # fmt: skip
    assert verdict_of([0.3, 0.31, 0.32, 0.3, 0.31, 0.32], MoreSeeds(6)).decision is FAIL


def test_where_no_more_can_be_drawn_a_red_case_is_open_and_says_why() -> None:
    job = Job("cells.yaml", "case-0", "lora")
    verdict = verdict_of([0.3, 0.31, 0.32], MoreSeeds(6, {job: "the folder is empty"}))

    assert verdict.decision is OPEN and "confirm" not in verdict.details
    assert "3 seeds say too little by themselves (no more could be drawn: the folder is empty)" in says(verdict)


def test_a_competitor_only_informs_and_a_green_case_needs_no_more() -> None:
    assert verdict_of([0.3, 0.31, 0.32], MoreSeeds(6), "gemini").decision is FAIL
    assert verdict_of([0.8, 0.81, 0.82], MoreSeeds(6)).decision is PASS


def test_a_hard_case_on_its_bound_is_red_no_more_often_than_is_promised() -> None:
    for hard, bound in ((normal(0.6, 0.15), 0.6), (coins(0.5), 0.55)):
        found = reds(hard, normal(0.9, 0.02), bound, 12, 4, 600, 1)

        assert found.first > 0.15, "by the spread of all cases"
        assert found.confirmed < 0.045, "2.5%, and the noise of 600 runs"


def test_a_case_that_fails_is_found_as_it_was() -> None:
    found = reds(normal(0.5, 0.03), normal(0.9, 0.03), 0.6, 12, 3, 100, 2)

    assert found.first == 1.0 and found.confirmed >= 0.97


def test_a_gate_stands_at_the_look_that_all_its_cases_have_reached() -> None:
    """A red case's further seeds neither move its suite to a later look nor make this one the last."""
    suite = replace(suite_of(12, 5, 0.5), min_samples=2, beat=("base",))
    results = [result_of(0, np.array([0.3, 0.32] * 3)), *(result_of(n, np.array([0.9, 0.92])) for n in range(1, 12))]
    rivals = {"base": [replace(each, job=replace(each.job, provider="base")) for each in results]}

    gate = judge_gate(suite, "lora", results, others=rivals)

    own = own_prompts(values_by_metric(results), level_at(suite, 2))
    assert gate.scores == own and level_at(suite, 2) != level_at(suite, 6)
    assert gate.decision is OPEN and "beat" in gate.details["open"]


# --- in the engine ----------------------------------------------------------------------------------------------------


def dark(level: Callable[[Request], float | None]) -> Callable[[Sequence[Request]], Generation | None]:
    """Some pictures as bright as is said, instead of as the LoRA draws them."""

    def draw(requests: Sequence[Request]) -> Generation | None:
        found = level(requests[0])
        return None if found is None else Generation(Outcome.OK, shades(found, requests[0].seed, requests[0].prompt))

    return draw


def always(request: Request) -> float | None:
    return 0.3 if request.prompt == "aldar, case-0" and request.lora else None


def unlucky(request: Request) -> float | None:
    """Three dark seeds, then bright ones."""
    return 0.3 if always(request) and request.seed < 3 else None


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[..., tuple[Studio, Run]]]:
    runs: list[Run] = []

    def make(trouble: Any, samples: int = 3, settings: dict[str, Any] | None = None, **keys: Any) -> tuple[Studio, Run]:
        painters = {"lora": {"use": "lora", "trouble": trouble}, "base": {}}
        studio = Studio(tmp_path, painters, samples=samples, suite_keys=keys)
        runs.append(studio.run(**(settings or {})))
        runs[-1].submit(studio.jobs())
        return studio, runs[-1]

    yield make
    for run in runs:
        run.close()


def seeds_of(run: Run, job: Job) -> list[int]:
    return [sample.seed for sample in run.result(job).samples]


@pytest.mark.parametrize(("samples", "seeds"), [(1, 6), (3, 6), (4, 8)])
def test_as_many_seeds_again_are_drawn_for_the_red_case_alone(
    opened: Callable[..., tuple[Studio, Run]], samples: int, seeds: int
) -> None:
    studio, run = opened(dark(always), samples)
    first, second = studio.jobs("lora")[:2]

    assert run.verdict(first).decision is FAIL
    assert f"confirmed with {seeds} seeds" in says(run.verdict(first))
    assert len(seeds_of(run, first)) == seeds and len(seeds_of(run, second)) == samples
    assert all(len(seeds_of(run, job)) == samples for job in studio.jobs("base")), "they only inform"
    record = run.finish()
    case = next(case for case in record.cases if (case.case, case.provider) == ("case-0", "lora"))
    assert case.verdict == "fail" and len(case.samples) == seeds
    told = f"lora: one case looked red by the spread of all; by their own, of up to {seeds} seeds: all confirmed"
    assert told in record.suites[0].notes


def test_a_case_that_was_unlucky_stays_open(opened: Callable[..., tuple[Studio, Run]]) -> None:
    studio, run = opened(dark(unlucky))
    job = studio.jobs("lora")[0]

    assert run.verdict(job).decision is OPEN and len(seeds_of(run, job)) == 6
    assert "quality 0.60" in says(run.verdict(job))
    assert run.finish().gate.verdict is not FAIL


def test_a_number_on_the_command_line_is_doubled(opened: Callable[..., tuple[Studio, Run]]) -> None:
    studio, run = opened(dark(always), settings={"samples": 5})

    assert len(seeds_of(run, studio.jobs("lora")[0])) == 10 and len(seeds_of(run, studio.jobs("lora")[1])) == 5


def test_looks_confirm_with_what_they_draw_and_never_less(opened: Callable[..., tuple[Studio, Run]]) -> None:
    studio, run = opened(dark(always), 12, min_samples=2)
    job = studio.jobs("lora")[0]

    assert run.verdict(job).decision is FAIL and len(seeds_of(run, job)) == 6


def test_the_same_run_again_draws_nothing(opened: Callable[..., tuple[Studio, Run]]) -> None:
    studio, run = opened(dark(always))
    run.wait()
    before = len(studio.drawn)

    again = opened(dark(always))[1]

    assert again.verdict(studio.jobs("lora")[0]).decision is FAIL
    assert len(studio.drawn) == before


@pytest.mark.parametrize(("calls", "decision"), [(2, OPEN), (3, FAIL)])
def test_a_limit_leaves_the_case_open_and_breaks_nothing(tmp_path: Path, calls: int, decision: Decision) -> None:
    studio = Studio(tmp_path, {"lora": {"use": "lora", "trouble": dark(always)}}, samples=3)

    def priced(name: str, settings: Any) -> Any:
        painter: Any = studio.open_provider(name, settings)
        painter.price_usd = 0.04
        return painter

    run = studio.run(providers=priced, max_calls=calls)
    try:
        run.submit(studio.jobs())
        job = studio.jobs()[0]
        assert run.verdict(job).decision is decision
        assert len(seeds_of(run, job)) == (3 if decision is OPEN else 6)
        assert ("no more could be drawn: --max-calls 2 leaves 2 calls" in says(run.verdict(job))) is (decision is OPEN)
        assert run.finish().gate.verdict is not Decision.ERROR
    finally:
        run.close()


def test_pictures_that_do_not_come_take_no_verdict_away(opened: Callable[..., tuple[Studio, Run]]) -> None:
    def lost(requests: Sequence[Request]) -> Generation | None:
        if always(requests[0]) and requests[0].seed > 3:
            return Generation(Outcome.PROVIDER_ERROR, message="no such file")
        return dark(always)(requests)

    studio, run = opened(lost)
    job = studio.jobs("lora")[0]

    assert run.verdict(job).decision is OPEN and seeds_of(run, job) == [0, 1, 2, 3], "one more came"
    assert "4 seeds say too little by themselves (no more could be drawn: provider_error: no such file)" in says(
        run.verdict(job)
    )


def test_suites_without_a_bound_are_not_waited_for(opened: Callable[..., tuple[Studio, Run]]) -> None:
    studio, run = opened(dark(always), thresholds={"quality": Threshold(warn=0.6)})

    assert run.verdict(studio.jobs("lora")[0]).decision is PASS and len(seeds_of(run, studio.jobs("lora")[0])) == 3
