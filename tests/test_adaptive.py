"""More samples only where the verdict is open: the looks, the next pictures, the engine, and what lint foretells."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.config.suite import load_suite
from harness.core import stats
from harness.core.errors import SuiteError
from harness.core.values import (
    Case,
    CaseResult,
    Decision,
    Job,
    Outcome,
    Sample,
    Score,
    Subject,
    Suite,
    Threshold,
    Verdict,
)
from harness.engine.run import Run
from harness.judging.adaptive import (
    NextSample,
    confirming_seeds,
    level_at,
    looks_of,
    next_draws,
    plan_looks,
    plan_notes,
    saved_text,
)
from harness.judging.confirmation import MoreSeeds, judge_cases
from harness.judging.judge import judge_case, judge_gate, pooled_sds
from tests.painter import Studio

OPEN = Verdict(Decision.INCONCLUSIVE, details={"open": ["quality"]})
PASSED, FAILED = Verdict(Decision.PASS), Verdict(Decision.FAIL)


def suite(least: int | None = 2, most: int = 12, cases: int = 3, **keys: Any) -> Suite:
    subject = Subject("Aldar Kose", "aldar kose", Path("references"))
    listed = tuple(Case("aldar", f"case-{number}", f"aldar kose, {number}") for number in range(cases))
    options: dict[str, Any] = {"thresholds": {"quality": Threshold(0.6, 0.7)}, **keys}
    providers = ("lora", "base", "gemini")
    return Suite("aldar", Path("a.yaml"), subject, providers, ("lora",), listed, most, min_samples=least, **options)


def job(case: int, provider: str = "lora") -> Job:
    return Job("a.yaml", f"case-{case}", provider)


# --- looks ------------------------------------------------------------------------------------------------------------


def test_two_or_three_looks_a_constant_factor_apart() -> None:
    assert plan_looks(2, 12).seeds == (2, 5, 12)
    assert plan_looks(3, 27).seeds == (3, 9, 27)
    assert plan_looks(2, 3).seeds == (2, 3)
    assert looks_of(suite(None, 4)) == looks_of(suite(4, 4)) == looks_of(suite(5, 4))
    assert looks_of(suite(3, 4)).seeds == (3, 4) and looks_of(suite(None, 4)).seeds == (4,)
    assert level_at(suite(None, 4), 4) == stats.LEVEL


def test_every_look_asks_for_more_than_95_percent() -> None:
    looks = plan_looks(2, 12)

    assert all(level > stats.LEVEL for level in looks.levels)
    assert [looks.number(drawn) for drawn in (1, 2, 3, 5, 6, 12, 99)] == [0, 0, 1, 1, 2, 2, 2]
    assert [looks.after(drawn) for drawn in (2, 5, 12)] == [5, 12, None]


def test_three_looks_fail_a_case_on_its_threshold_no_more_often_than_one() -> None:
    """The case's true score is the threshold itself; whoever looks thrice at 95% is wrong too often."""
    looks, wrong, naive, runs = plan_looks(2, 12), 0, 0, 4000
    values = np.random.default_rng(1).normal(0.6, 0.06, (runs, 12))
    for run in values:
        means = [float(run[:count].mean()) for count in looks.seeds]
        error = [0.06 / np.sqrt(count) for count in looks.seeds]
        reach = [stats.quantile((1 - level) / 2, np.inf) for level in looks.levels]
        wrong += any(mean + c * e < 0.6 for mean, c, e in zip(means, reach, error, strict=True))
        naive += any(mean + 1.96 * e < 0.6 for mean, e in zip(means, error, strict=True))

    assert wrong / runs < 0.032, "2.5% and the noise of 4,000 runs"
    assert naive / runs > 0.04


def test_the_judge_draws_its_intervals_at_the_level_of_the_look() -> None:
    def drawn(count: int) -> CaseResult:
        scores = [{"quality": Score("quality", 0.62 + 0.01 * (seed % 2))} for seed in range(count)]
        return CaseResult(job(0), tuple(Sample(str(n), n, Outcome.OK, scores=each) for n, each in enumerate(scores)))

    pooled = {"quality": (0.05, 30)}
    for count in (2, 5, 12):
        found = judge_case(suite(), suite().cases[0], drawn(count), pooled).scores["quality"]
        values = [0.62 + 0.01 * (seed % 2) for seed in range(count)]
        assert found == stats.pooled_interval(values, 0.05, 30, level_at(suite(), count))


# --- what comes next --------------------------------------------------------------------------------------------------


def test_an_open_case_goes_on_and_a_closed_one_stays() -> None:
    drawn = {job(0): 2, job(1): 2, job(2): 2, job(0, "base"): 2}
    verdicts = {job(0): PASSED, job(1): OPEN, job(2): FAILED}

    draws = next_draws(suite(), verdicts, {"lora": PASSED}, drawn)

    assert draws == tuple(NextSample(job(1), seed) for seed in (2, 3, 4))


def test_an_open_gate_takes_all_its_cases_prompts_before_seeds() -> None:
    drawn = {job(number): 2 for number in range(3)}

    draws = next_draws(suite(), dict.fromkeys(drawn, PASSED), {"lora": OPEN}, drawn)

    assert [(draw.seed, draw.job.case) for draw in draws][:4] == [
        (2, "case-0"), (2, "case-1"), (2, "case-2"), (3, "case-0"),
    ]  # fmt: skip
    assert {draw.seed for draw in draws} == {2, 3, 4}


def test_at_the_last_look_an_open_verdict_stays_open() -> None:
    drawn = {job(0): 12, job(1): 5}

    draws = next_draws(suite(), {job(0): OPEN, job(1): OPEN}, {"lora": OPEN}, drawn)

    assert {draw.job for draw in draws} == {job(1)}
    assert [draw.seed for draw in draws] == list(range(5, 12))


@pytest.mark.parametrize(
    ("beat", "rivals"), [((), set()), (("base",), {"base"}), (("best_competitor",), {"base", "gemini"})]
)
def test_those_who_must_be_beaten_draw_the_same_seeds(beat: tuple[str, ...], rivals: set[str]) -> None:
    drawn = {job(0, provider): 2 for provider in ("lora", "base", "gemini")}
    gate = Verdict(Decision.INCONCLUSIVE, details={"open": ["beat"]})

    draws = next_draws(suite(beat=beat), {job(0): PASSED}, {"lora": gate}, drawn)

    assert {draw.job.provider for draw in draws} == {"lora", *rivals}
    assert {draw.seed for draw in draws if draw.job.provider != "lora"} <= {2, 3, 4}


def test_what_pictures_cannot_settle_asks_for_none() -> None:
    drawn = {job(0): 2}
    for verdict in (Verdict(Decision.ERROR), Verdict(Decision.INCONCLUSIVE), FAILED):
        assert next_draws(suite(), {job(0): verdict}, {"lora": verdict}, drawn) == ()


def test_a_proven_fault_asks_for_no_pictures_though_something_else_is_open() -> None:
    """One metric fails and another waits: no picture can make the run green again."""
    drawn = {job(0): 2, job(1): 2}
    for decision in (Decision.FAIL, Decision.ERROR, Decision.PASS):
        closed = Verdict(decision, details={"open": ["clip"]})
        assert next_draws(suite(), {job(0): closed}, {"lora": closed}, drawn) == ()
        assert {draw.job for draw in next_draws(suite(), {job(0): closed, job(1): OPEN}, {"lora": closed}, drawn)} == {
            job(1)
        }


def test_a_case_that_fails_one_bound_and_waits_for_another_is_closed() -> None:
    def sample(seed: int) -> Sample:
        found = {"quality": 0.59 + 0.02 * seed, "clip": 0.2 + 0.02 * seed}
        return Sample(str(seed), seed, Outcome.OK, scores={name: Score(name, value) for name, value in found.items()})

    made = suite(thresholds={"quality": Threshold(0.6), "clip": Threshold(0.6)})
    results = [CaseResult(job(number), (sample(0), sample(1))) for number in range(3)]
    verdicts = {each.job: judge_case(made, made.cases[0], each, pooled_sds(results)) for each in results}
    gate = judge_gate(made, "lora", results)

    assert {verdict.decision for verdict in verdicts.values()} == {gate.decision} == {Decision.FAIL}
    assert all(verdict.details["open"] == ["quality"] for verdict in verdicts.values())
    assert next_draws(made, verdicts, {"lora": gate}, {each.job: 2 for each in results}) == ()


@pytest.mark.parametrize("reason", [["quality"], ["regression", "clip"]])
def test_rivals_draw_only_for_an_open_list_of_those_to_beat(reason: list[str]) -> None:
    drawn = {job(0, provider): 2 for provider in ("lora", "base", "gemini")}
    gate = Verdict(Decision.INCONCLUSIVE, details={"open": reason})

    assert {draw.job.provider for draw in next_draws(suite(beat=("base",)), {}, {"lora": gate}, drawn)} == {"lora"}


def test_a_rival_catches_up_with_its_own_case_and_never_goes_back() -> None:
    drawn = {job(0): 5, job(1): 12, job(0, "base"): 2, job(1, "base"): 12, job(2, "base"): 2}
    gate = Verdict(Decision.INCONCLUSIVE, details={"open": ["beat"]})

    draws = next_draws(suite(beat=("base",)), {}, {"lora": gate}, drawn)

    assert [draw.seed for draw in draws if draw.job == job(0)] == list(range(5, 12))
    assert [draw.seed for draw in draws if draw.job == job(0, "base")] == list(range(2, 12))
    assert {draw.job for draw in draws} == {job(0), job(0, "base")}


def test_who_gates_too_is_no_rival_and_draws_for_itself() -> None:
    both = replace(suite(beat=("best_competitor",)), gate=("lora", "base"))
    drawn = {job(0, provider): 2 for provider in ("lora", "base", "gemini")}
    gate = Verdict(Decision.INCONCLUSIVE, details={"open": ["beat"]})

    draws = next_draws(both, {}, {"lora": gate, "base": PASSED}, drawn)

    assert {draw.job.provider for draw in draws} == {"lora", "gemini"}


def test_draws_go_by_seed_then_case_then_provider_from_the_suites_own_seed() -> None:
    made = replace(suite(beat=("base",)), seed=100)
    drawn = {job(number, provider): 2 for number in (2, 0) for provider in ("lora", "base")}
    gate = Verdict(Decision.INCONCLUSIVE, details={"open": ["beat"]})

    draws = next_draws(made, {}, {"lora": gate}, drawn)

    assert [(draw.seed, draw.job.case, draw.job.provider) for draw in draws][:5] == [
        (102, "case-0", "base"),
        (102, "case-0", "lora"),
        (102, "case-2", "base"),
        (102, "case-2", "lora"),
        (103, "case-0", "base"),
    ]


def test_what_was_saved_is_told() -> None:
    text = saved_text(suite(), {job(0): 2, job(1): 2, job(2): 12})

    assert "16 of 36 pictures were drawn (56% saved)" in text and "2 of 3" in text
    assert text.startswith("samples 2 to 12: ") and text.endswith(" cases x providers stopped before 12")
    assert "2 of 3" in saved_text(suite(), {job(0): 11, job(1): 11, job(2): 12})
    assert saved_text(suite(None, 3), {job(0): 3}) == saved_text(suite(), {}) == ""


# --- in a suite's file ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("samples", "found"),
    [("5", (None, 5)), ("{min: 3, max: 9}", (3, 9)), ("{max: 9}", (2, 9))],
)
def test_samples_in_yaml(samples: str, found: tuple[int | None, int], tmp_path: Path) -> None:
    made = load_suite(write(tmp_path, samples))

    assert (made.min_samples, made.samples) == found
    assert len(made.seeds()) == (found[0] or found[1]), "the first look"


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ("{min: 1, max: 4}", "samples.min: should be greater than or equal to 2"),
        ("{min: 5, max: 4}", "max 4 is below min 5"),
        ("{least: 2, max: 4}", "samples.least: unknown key"),
    ],
)
def test_samples_that_make_no_sense(samples: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=message):
        load_suite(write(tmp_path, samples))


def write(folder: Path, samples: str) -> Path:
    (folder / "pictures" / "train").mkdir(parents=True)
    path = folder / "demo.yaml"
    path.write_text(
        "version: 1\nsuite: demo\nsubject: {name: A, trigger: aldar, references: pictures}\n"
        f"providers: [lora]\nsamples: {samples}\ncases: [{{id: a, prompt: aldar}}]\n",
        encoding="utf-8",
    )
    return path


# --- in the engine ----------------------------------------------------------------------------------------------------


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[..., tuple[Studio, Run]]]:
    runs: list[Run] = []

    def make(threshold: float, settings: dict[str, Any] | None = None, **keys: Any) -> tuple[Studio, Run]:
        thresholds = {"quality": Threshold(fail=threshold)}
        options = {"thresholds": thresholds, "min_samples": 2, **keys}
        studio = Studio(tmp_path, cases=3, samples=12, lora=0.6, suite_keys=options)
        runs.append(studio.run(**(settings or {})))
        runs[-1].submit(studio.jobs())
        return studio, runs[-1]

    yield make
    for run in runs:
        run.close()


def drawn_by(studio: Studio, provider: str) -> int:
    return sum(line.startswith(f"{provider} ") for line in studio.drawn)


def test_a_verdict_that_is_closed_costs_the_first_look_only(opened: Callable[..., tuple[Studio, Run]]) -> None:
    studio, run = opened(0.3)

    run.wait()

    assert run.gate(studio.jobs()[0].path, "lora").decision is Decision.PASS
    assert drawn_by(studio, "lora") == 3 * 2
    assert "12 of 72 pictures were drawn (83% saved)" in " ".join(run.finish().suites[0].notes)


def test_a_verdict_that_stays_open_draws_to_the_end(opened: Callable[..., tuple[Studio, Run]]) -> None:
    """The painter's seeds differ by 1/255; the threshold lies between them."""
    studio, run = opened(154 / 255 + 0.0001)

    result = run.result(studio.jobs()[0])

    assert [sample.seed for sample in result.samples] == list(range(12))
    assert run.verdict(studio.jobs()[0]).decision is Decision.INCONCLUSIVE
    assert drawn_by(studio, "lora") == 3 * 12, "what the first looks drew is not drawn again"
    assert drawn_by(studio, "base") == 3 * 2, "a competitor's verdict only informs"


def test_a_number_on_the_command_line_is_meant(opened: Callable[..., tuple[Studio, Run]]) -> None:
    studio, run = opened(154 / 255 + 0.0001, settings={"samples": 3})

    run.wait()

    assert drawn_by(studio, "lora") == 3 * 3
    assert not any("samples 2 to" in note for note in run.finish().suites[0].notes)


# --- before anything is drawn -----------------------------------------------------------------------------------------


SPREAD = stats.StandardDeviations(0.05, 0.06)


def told(pattern: str, made: Suite) -> float:
    """A figure of lint's notes."""
    found = re.search(pattern, "\n".join(plan_notes(made, SPREAD)))
    assert found, plan_notes(made, SPREAD)
    return float(found[1])


def drawn(values: np.ndarray[Any, Any], metrics: tuple[str, ...] = ("quality",)) -> list[CaseResult]:
    """Cases x seeds of one metric, or metrics x cases x seeds."""
    rows = values if values.ndim == 3 else values[None]

    def sample(case: int, seed: int) -> Sample:
        scores = {name: Score(name, float(rows[place, case, seed])) for place, name in enumerate(metrics)}
        return Sample(str(seed), seed, Outcome.OK, scores=scores)

    return [
        CaseResult(job(case), tuple(sample(case, seed) for seed in range(rows.shape[2])))
        for case in range(rows.shape[1])
    ]


def test_lint_foretells_what_a_suite_can_prove() -> None:
    notes = "\n".join(plan_notes(suite(None, 4, cases=12)))

    smallest = stats.smallest_change(SPREAD.of_difference(4), 12, 0.02)
    assert f"12 open prompts x 4 samples fail a drop of {smallest:.3f}" in notes
    assert "assumed: prompts' true qualities vary by 0.05" in notes
    assert "turns red for nothing" in notes


@pytest.mark.parametrize(("cases", "seeds"), [(12, 12), (30, 4), (5, 3)])
def test_the_smallest_drop_that_lint_names_is_failed_by_the_judge_in_80_percent(cases: int, seeds: int) -> None:
    made, fails, runs = suite(None, seeds, cases=cases, thresholds={}), 0, 250
    drop = told(r"fail a drop of ([\d.]+)", made)
    for seed in range(runs):
        random = np.random.default_rng((seed, cases))
        truth = random.normal(0.7, 0.05, (cases, 1))
        old, new = (random.normal(truth - worse, 0.06, (cases, seeds)) for worse in (0, drop))
        fails += judge_gate(made, "lora", drawn(new), baseline=drawn(old)).decision is Decision.FAIL

    assert fails / runs == pytest.approx(0.8, abs=0.075)


def red_and_confirmed(made: Suite, results: list[CaseResult], whole: list[CaseResult]) -> bool:
    """Whether any case is red at a look and by the seeds that confirm it."""
    seeds = max(confirming_seeds(made), len(results[0].samples))
    first = judge_cases(made, results, None, MoreSeeds(seeds + 1))
    again = [
        replace(more, samples=more.samples[:seeds]) if "confirm" in first[few.job].details else few
        for few, more in zip(results, whole, strict=True)
    ]
    return any(verdict.decision is Decision.FAIL for verdict in judge_cases(made, again).values())


def test_every_look_counts_in_the_red_runs_that_lint_foretells() -> None:
    """Twelve cases exactly on their threshold, judged at 2, 5 and 12 seeds, a red one with six at least."""
    made, red, runs = suite(cases=12), 0, 250
    for seed in range(runs):
        values = np.random.default_rng(seed).normal(0.6, 0.06, (12, 12))
        red += any(red_and_confirmed(made, drawn(values[:, :count]), drawn(values)) for count in looks_of(made).seeds)

    most = told(r"and in (\d+)% when every", made) / 100
    assert 0.02 < red / runs <= most, "at most, however unequally their seeds vary"
    assert most == pytest.approx(1 - 0.97**12, abs=0.05)


def test_every_bounded_metric_counts_in_the_red_runs_that_lint_foretells() -> None:
    names = ("quality", "clip", "ssim")
    made, red, runs = suite(None, 3, cases=12, thresholds=dict.fromkeys(names, Threshold(0.6))), 0, 250
    for seed in range(runs):
        results = drawn(np.random.default_rng(seed).normal(0.6, 0.06, (3, 12, 6)), names)
        red += red_and_confirmed(made, [replace(each, samples=each.samples[:3]) for each in results], results)

    notes = "\n".join(plan_notes(made, SPREAD))
    assert "a case fails quality or clip or ssim though its true score" in notes
    assert red / runs <= told(r"and in (\d+)% when every", made) / 100 == pytest.approx(1 - 0.975**36, abs=5e-3)
    assert told(r"and in (\d+)% when every", suite(None, 3, cases=12)) / 100 == pytest.approx(1 - 0.975**12, abs=5e-3)


def test_lint_names_the_one_metric_that_is_bounded_and_none_that_is_not() -> None:
    only = "\n".join(plan_notes(suite(None, 3, cases=12, thresholds={"clip": Threshold(0.5)})))

    assert "a case fails clip though" in only and "clip 0.60" in only
    assert "red for nothing" not in "\n".join(plan_notes(suite(None, 3, cases=12, thresholds={})))


def test_lint_warns_of_one_sample_a_prompt() -> None:
    assert "one sample a prompt tells nothing of seeds" in "\n".join(plan_notes(suite(None, 1, cases=12)))
    assert "one sample a prompt" not in "\n".join(plan_notes(suite(None, 2, cases=12)))


def test_lint_counts_open_cases_alone() -> None:
    made = suite(None, 3, cases=12)
    locked = replace(made, cases=(*made.cases, *(replace(case, split="locked") for case in made.cases)))

    assert plan_notes(locked, SPREAD) == plan_notes(made, SPREAD)
    assert plan_notes(replace(made, cases=tuple(replace(case, split="locked") for case in made.cases))) == []


@pytest.mark.parametrize(("cases", "warned"), [(26, True), (30, False)])
def test_lint_warns_where_an_unchanged_lora_would_often_stay_open(cases: int, warned: bool) -> None:
    """The margin is a thousandth below what the interval of an unchanged LoRA reaches, or above it."""
    made = suite(None, 3, cases=cases)
    reach = stats.quantile(0.025, cases - 1) * SPREAD.of_difference(3) / cases**0.5

    notes = "\n".join(plan_notes(replace(made, margin=reach * (0.999 if warned else 1.001)), SPREAD))

    assert ("will often stay inconclusive" in notes) is warned
    if warned:
        needed = int(told(r"the margin is [\d.]+; (\d+) prompts would do", replace(made, margin=reach * 0.999)))
        power = [stats.power_of(reach * 0.999, SPREAD.of_difference(3), count) for count in (needed - 1, needed)]
        assert f"the interval reaches {reach:.3f} to" in notes and power[0] < 0.95 <= power[1]


def test_lint_tells_how_surely_a_drop_of_one_spread_of_prompts_is_found() -> None:
    made = suite(None, 3, cases=12)

    found = stats.change_found(0.05, SPREAD.of_difference(3), 12, 0.02)
    assert told(r"one standard deviation of prompts\) in (\d+)%", made) == pytest.approx(found * 100, abs=0.5)
    reach = stats.detectable(SPREAD.of_mean(1), 12)
    assert told(r"a mean must stand ([\d.]+) away", suite(None, 1, cases=12)) == pytest.approx(reach, abs=5e-4)


def test_lint_takes_a_good_lora_to_stand_on_warn_or_a_tenth_above_fail() -> None:
    bounds = {"quality": Threshold(0.95), "clip": Threshold(0.4, 0.65), "ssim": Threshold(0.5), "dino": Threshold()}
    made = suite(None, 3, cases=12, thresholds=bounds)
    strict = replace(made, cases=(replace(made.cases[0], thresholds={"ssim": Threshold(0.6)}), *made.cases[1:]))

    assert "true mean is quality 1.00, clip 0.65, ssim 0.60, and" in "\n".join(plan_notes(made, SPREAD))
    assert "ssim 0.70, and" in "\n".join(plan_notes(strict, SPREAD))


@pytest.mark.parametrize(("warn", "warned"), [(0.6, True), (0.7, False)])
def test_lint_warns_when_more_than_one_run_in_twenty_is_red_for_nothing(warn: float, warned: bool) -> None:
    bounds = dict.fromkeys(("quality", "clip"), Threshold(0.6, warn))
    made = suite(None, 3, cases=14, thresholds=bounds)
    notes = "\n".join(plan_notes(made, SPREAD))

    assert (told(r"in ([\d.]+)% of runs at most when", made) > 5) is warned
    assert ("more than one run in 20; lower `fail`, or bound fewer metrics" in notes) is warned
    quality, clip = (told(rf"{name} ([\d.]+)%", made) for name in ("quality", "clip"))
    both = 1 - (1 - quality / 100) * (1 - clip / 100)
    assert told(r"in ([\d.]+)% of runs at most when", made) == pytest.approx(both * 100, abs=0.11)


def test_what_lint_says_of_unequal_prompts_is_what_the_judge_finds() -> None:
    """One prompt in seven varies three times as much: a mean so far away is decided in four runs of five."""
    made, decided, runs = suite(None, 3, cases=14), 0, 300
    away = told(r"the mean of these prompts must stand ([\d.]+) away", made)
    sds = np.full(14, 0.06 / np.sqrt((12 + 9 * 2) / 14))
    sds[:2] *= 3
    for seed in range(runs):
        values = np.random.default_rng(seed).normal(0.6 - away, sds[:, None], (14, 3))
        decided += judge_gate(made, "lora", drawn(values)).decision is Decision.FAIL

    assert decided / runs == pytest.approx(0.8, abs=0.1)


def test_a_prompt_that_falls_as_far_as_lint_says_fails_by_its_name() -> None:
    made, named, runs = suite(None, 3, cases=12, thresholds={}), 0, 200
    fall = told(r"one prompt that falls by ([\d.]+) against a baseline", made)
    for seed in range(runs):
        random = np.random.default_rng(seed)
        old, new = random.normal(0.8, 0.06, (2, 12, 3))
        new[3] -= fall
        gate = judge_gate(made, "lora", drawn(new), baseline=drawn(old))
        named += list(gate.details.get("fallen", {})) == ["case-3"] and gate.decision is Decision.FAIL

    assert named / runs == pytest.approx(0.8, abs=0.1)


def test_lint_says_when_nothing_can_be_proven() -> None:
    assert "no difference can ever be proven" in "\n".join(plan_notes(suite(None, 3, cases=1)))
    assert "no difference can ever be proven" not in "\n".join(plan_notes(suite(None, 3, cases=2)))
    assert plan_notes(replace(suite(), gate=())) == []
    assert "judged at 2 (98.7%), 5 (98.3%), 12 (97.1%)" in "\n".join(plan_notes(suite(cases=12)))
