"""Where seeds vary unequally: simulated suites of easy prompts and a few hard ones, judged by the judge itself.

A cell of cases is one hard case among easy ones (mean 0.9, standard deviation of seeds 0.02): exactly on its bound, or
better than it, its seeds normal or coins (0.9 or 0.2). It must not turn red. Prompts of the other cells are those of
the score table, or simulated with 15% of hard ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.score_table import Table
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
from harness.judging.adaptive import confirming_seeds
from harness.judging.confirmation import MoreSeeds, confirm
from harness.judging.judge import judge_case, judge_gate
from harness.judging.prompts import own_prompts

Array = NDArray[np.float64]
Draw = Callable[[np.random.Generator, tuple[int, ...]], Array]
EASY = (0.9, 0.02)  # mean, standard deviation of seeds
HARD_SHARE = 0.15  # of prompts
DROPS = (0.10, 0.15)  # of a failing case below its bound
COLLAPSE = 0.6
TWINS = ((0.003, 0.010), (0.0, 0.030))
"""What another seed of a training changes, standard deviations: all prompts at once, and each by itself.

The first as two trainings of the shipped subject by one recipe showed (12 prompts x 3 seeds: means 0.0001 apart,
prompts varying by 0.010 with what their seeds vary), the second three times that.
"""


def normal(mean: float, sd: float) -> Draw:
    return lambda random, shape: np.clip(random.normal(mean, sd, shape), 0, 1)


def coins(share: float, right: float = 0.9, wrong: float = 0.2) -> Draw:
    """Seeds that come out right or wrong."""
    return lambda random, shape: np.where(random.random(shape) < share, right, wrong)


@dataclass(frozen=True)
class Cell:
    """One hard case among easy ones, and the bound that it is held against."""

    name: str
    hard: Draw
    bound: float = 0.6


CELLS = (
    *(Cell(f"on its bound, sd {sd:g}", normal(0.6, sd)) for sd in (0.05, 0.10, 0.15, 0.20)),
    *(Cell(f"0.05 above it, sd {sd:g}", normal(0.65, sd)) for sd in (0.15, 0.25)),
    Cell("coins, on the bound 0.60", coins(4 / 7)),
    Cell("coins, 0.05 above 0.60", coins(4.5 / 7)),
    Cell("coins, on the bound 0.55", coins(0.5), 0.55),
)


# --- cases --------------------------------------------------------------------------------------------------------


def suite_of(cases: int, samples: int, bound: float) -> Suite:
    """Cases of different prompts with one bound."""
    listed = tuple(Case("cells", f"case-{number}", f"aldar kose, {number}") for number in range(cases))
    subject = Subject("Aldar Kose", "aldar kose", Path("references"))
    bounds = {"quality": Threshold(bound)}
    return Suite("cells", Path("cells.yaml"), subject, ("lora",), ("lora",), listed, samples, thresholds=bounds)


def result_of(case: int, seeds: Array) -> CaseResult:
    samples = tuple(
        Sample("", number, Outcome.OK, image=str(number), scores={"quality": Score("quality", float(value))})
        for number, value in enumerate(seeds)
    )
    return CaseResult(Job("cells.yaml", f"case-{case}", "lora"), samples)


@dataclass(frozen=True)
class Reds:
    """How often a case was red."""

    first: float  # by the spread of all cases alone
    confirmed: float


def reds(hard: Draw, easy: Draw, bound: float, cases: int, samples: int, runs: int, seed: int) -> Reds:
    """One case among `cases - 1` others, judged first with `samples` seeds and confirmed where that is red."""
    random, suite = np.random.default_rng((seed, cases, samples)), suite_of(cases, samples, bound)
    count, first, confirmed = confirming_seeds(suite), 0, 0
    own, others = hard(random, (runs, count)), easy(random, (runs, cases - 1, samples))
    squares = ((others - others.mean(2, keepdims=True)) ** 2).sum((1, 2))
    for seeds, rest in zip(own, squares, strict=True):
        if judged(suite, seeds[:samples], float(rest)).decision is Decision.FAIL:
            first += 1
            again = judged(suite, seeds, float(rest))
            confirmed += (
                confirm(suite, suite.cases[0], result_of(0, seeds), again, MoreSeeds()).decision is Decision.FAIL
            )
    return Reds(first / runs, confirmed / runs)


def judged(suite: Suite, seeds: Array, rest: float) -> Verdict:
    """By the spread of all cases; `rest`: squared deviations of the others' seeds."""
    df = (len(suite.cases) - 1) * (suite.samples - 1) + len(seeds) - 1
    sd = math.sqrt((rest + float(((seeds - seeds.mean()) ** 2).sum())) / df)
    return judge_case(suite, suite.cases[0], result_of(0, seeds), {"quality": (sd, df)})


def false_reds(table: Table, runs: int) -> dict[str, Reds]:
    """Every cell with 12 and with 24 cases, and the prompts of the table that vary most, each on its own truth."""
    found = {
        f"{cell.name}, {cases} cases x {samples}": reds(
            cell.hard, normal(*EASY), cell.bound, cases, samples, runs, number
        )
        for number, cell in enumerate(CELLS)
        for cases in (12, 24)
        for samples in (3, 4)
    }
    quality = table.lora["quality"]
    for row in np.argsort(-quality.std(1))[:4]:
        seeds = from_rows(quality[[row]])
        found[f"real prompt {row}, on its bound"] = reds(
            seeds, from_rows(quality), float(quality[row].mean()), 12, 4, runs, 100 + int(row)
        )
    return found


def from_rows(rows: Array) -> Draw:
    """Seeds of real prompts: prompts with replacement, seeds without."""

    def draw(random: np.random.Generator, shape: tuple[int, ...]) -> Array:
        chosen = rows[random.integers(len(rows), size=shape[:-1])]
        places = random.random(chosen.shape).argpartition(shape[-1], axis=-1)[..., : shape[-1]]
        return np.take_along_axis(chosen, places, -1)

    return draw


def case_powers(table: Table, runs: int) -> dict[str, Reds]:
    """Cases that fail by 0.10 and 0.15: real seeds moved there, and seeds that vary as they are taken to at first."""
    quality = table.lora["quality"]
    centred = quality - quality.mean(1, keepdims=True)
    found = {}
    for number, drop in enumerate(DROPS):
        truth = 0.6 - drop
        found[f"real seeds, {drop:.2f} below"] = reds(
            from_rows(truth + centred), from_rows(0.9 + centred), 0.6, 12, 4, runs, 200 + number
        )
        found[f"sd 0.06, {drop:.2f} below"] = reds(
            normal(truth, 0.06), normal(0.8, 0.06), 0.6, 12, 3, runs, 300 + number
        )
    return found


# --- the mean of a suite's own prompts ------------------------------------------------------------------------------


def own_coverage(table: Table, runs: int) -> dict[str, float]:
    """How often the gate's interval holds the true mean of the very prompts: 15% hard ones, and real scores."""
    found = {}
    for number, prompts in enumerate((8, 12, 24)):
        hard = round(HARD_SHARE * prompts)
        for samples in (3, 4):
            for name, many in (("sd 0.15", normal(0.6, 0.15)), ("sd 0.05", normal(0.6, 0.05))):
                random = np.random.default_rng((number, samples, 7))
                rows = np.concatenate(
                    [many(random, (runs, hard, samples)), normal(*EASY)(random, (runs, prompts - hard, samples))], 1
                )
                truth = (hard * 0.6 + (prompts - hard) * EASY[0]) / prompts
                found[f"{prompts} prompts x {samples}, hard ones {name}"] = held(rows, np.full(runs, truth))
        found[f"{prompts} prompts x 4, real scores"] = held(*real_rows(table, prompts, runs, number))
    return found


def real_rows(table: Table, prompts: int, runs: int, seed: int) -> tuple[Array, Array]:
    """Runs x prompts x seeds of real scores, and each run's truth: the mean over all seeds of the prompts it has."""
    random, quality = np.random.default_rng((seed, prompts, 8)), table.lora["quality"]
    chosen = quality[random.integers(len(quality), size=(runs, prompts))]
    places = random.random(chosen.shape).argpartition(4, axis=-1)[..., :4]
    return np.take_along_axis(chosen, places, -1), chosen.mean((1, 2))


def held(rows: Array, truths: Array) -> float:
    """The share of runs whose interval holds the truth."""
    inside = 0
    for row, truth in zip(rows, truths, strict=True):
        values = {(prompt, seed): float(value) for (prompt, seed), value in np.ndenumerate(row)}
        found = own_prompts({"quality": values})["quality"]
        inside += found.low is not None and found.high is not None and found.low <= truth <= found.high
    return inside / len(rows)


# --- against a baseline ---------------------------------------------------------------------------------------------


def results_of(rows: Array) -> list[CaseResult]:
    return [result_of(number, seeds) for number, seeds in enumerate(np.clip(rows, 0, 1))]


def pairs_of(table: Table, prompts: int, samples: int, runs: int, seed: int) -> Iterator[tuple[Array, Array]]:
    """Two sides of each run, prompts x seeds: the same prompts of the table with seeds of their own."""
    random, quality = np.random.default_rng((seed, prompts, samples)), table.lora["quality"]
    for _ in range(runs):
        rows = quality[random.integers(len(quality), size=prompts)]
        mixed = random.permuted(rows, axis=1)
        yield mixed[:, :samples], mixed[:, samples : 2 * samples]


def collapses(table: Table, runs: int) -> dict[str, float]:
    """One prompt of 8, 12, 20 that falls by 0.6: how often the gate fails by its name."""
    found = {}
    for prompts in (8, 12, 20):
        suite = replace(suite_of(prompts, 4, 0.0), thresholds={})
        for samples, sd in ((3, 0.0), (4, 0.0), (4, 0.10)):
            random, named = np.random.default_rng((prompts, samples, 9)), 0
            for before, now in pairs_of(table, prompts, samples, runs, 10):
                worse = now.copy()
                worse[0] = now[0] - COLLAPSE + random.normal(0, sd, samples)
                gate = judge_gate(suite, "lora", results_of(worse), baseline=results_of(before))
                named += gate.decision is Decision.FAIL and "case-0" in gate.details.get("fallen", {})
            more = f", its seeds vary by {sd:g} more" if sd else ""
            found[f"{prompts} prompts x {samples}{more}"] = named / runs
    return found


def twins(table: Table, runs: int, whole: float, single: float) -> dict[str, float]:
    """How often the gate calls a LoRA worse than one that another seed of the same training made."""
    found = {}
    for prompts in (8, 12, 24):
        suite, random = replace(suite_of(prompts, 4, 0.0), thresholds={}), np.random.default_rng((prompts, 11))
        red = 0
        for before, now in pairs_of(table, prompts, 4, runs, 12):
            shift = random.normal(0, whole) + random.normal(0, single, (prompts, 1))
            gate = judge_gate(suite, "lora", results_of(now + shift), baseline=results_of(before))
            red += gate.decision is Decision.FAIL
        found[f"{prompts} prompts x 4, moved by {whole:g} and {single:g}"] = red / runs
    return found


def measure_cells(table: Table, runs: int) -> dict[str, float]:
    """The figures, with a table of what they are made of."""
    wrong, right = false_reds(table, runs), case_powers(table, runs)
    for name, each in (wrong | right).items():
        print(f"case red: {name:38} by the pool {each.first:7.4f}  confirmed {each.confirmed:7.4f}")
    shares: Mapping[str, Mapping[str, float]] = {
        "own prompts' interval holds": own_coverage(table, runs),
        "a collapse is found": collapses(table, max(1, runs // 4)),
        "a twin is called worse": {
            name: rate for twin in TWINS for name, rate in twins(table, max(1, runs // 4), *twin).items()
        },
    }
    for title, rates in shares.items():
        for name, rate in rates.items():
            print(f"{title}: {name:38} {rate:7.4f}")
    covered, found, twin = (list(rates.values()) for rates in shares.values())
    return {
        "case_false_red_max": max(each.confirmed for each in wrong.values()),
        "case_false_red_pooled_max": max(each.first for each in wrong.values()),
        "case_power_kept": min(each.confirmed / each.first for each in right.values() if each.first),
        "own_coverage_min": min(covered),
        "own_coverage_max": max(covered),
        "collapse_found_min": min(found),
        "twin_trainings_worse": max(twin),
    }
