"""How often the gate is wrong: runs resampled from real scores, judged by the judge itself.

A run is 12 prompts x 4 seeds, prompts drawn with replacement from the table, seeds without. The truth is the table's.
Seeds that vary unequally, falls of single prompts and twin trainings are `benchmarks.gate_cells`.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from benchmarks.gate_cells import measure_cells
from benchmarks.process import ROOT
from benchmarks.score_table import Scores, Table, load_table
from harness.core.values import (
    METRICS,
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
from harness.judging.confirmation import MoreSeeds, judge_cases
from harness.judging.judge import judge_gate, wants_training
from harness.judging.leaderboard import leaderboard

RUNS, PROMPTS, SEEDS = 4_000, 12, 4
RIVALS = ("freepik", "gemini", "openai")
THRESHOLDS = {
    "quality": Threshold(0.60, 0.70),
    "clip": Threshold(0.50),
    "features": Threshold(0.50),
}
"""Those of the shipped suite."""


# --- one run ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Draft:
    """Which prompts a simulated run has, and in which order each gives its seeds."""

    prompts: NDArray[np.int64]
    seeds: NDArray[np.int64]  # prompts x all seeds of the table, each row shuffled

    def results(
        self, scores: Scores, first: int, count: int = SEEDS, provider: str = "lora", shift: float = 0.0
    ) -> list[CaseResult]:
        """`count` pictures a prompt from place `first` on; runs that share no place share no picture.

        Args:
            shift: planted: added to every score, cut off at 0.
        """
        made = []
        for number, (prompt, order) in enumerate(zip(self.prompts, self.seeds, strict=True)):
            rows = {name: scores[name][prompt, order[first : first + count]] + shift for name in METRICS}
            made.append(CaseResult(Job("gate.yaml", f"case-{number}", provider), samples(rows, count)))
        return made

    def elsewhere(self, random: np.random.Generator, total: int) -> Draft:
        """The same seeds of other prompts: a provider as good on the whole, with strengths of its own."""
        return replace(self, prompts=random.integers(total, size=len(self.prompts)))


def samples(rows: Scores, count: int) -> tuple[Sample, ...]:
    """Scores as the engine would hand them over."""
    return tuple(
        Sample(
            "",
            seed,
            Outcome.OK,
            image=str(seed),
            scores={name: Score(name, max(0.0, float(rows[name][seed]))) for name in METRICS},
        )
        for seed in range(count)
    )


def drafts(table: Table, runs: int, seed: int, prompts: int = PROMPTS) -> Iterator[tuple[Draft, np.random.Generator]]:
    """One draft a run, and what else is random in it."""
    total, seeds = table.lora["quality"].shape
    for number in range(runs):
        random = np.random.default_rng((seed, number))
        chosen = random.integers(total, size=prompts)
        yield Draft(chosen, random.permuted(np.tile(np.arange(seeds), (prompts, 1)), axis=1)), random


def make_suite(prompts: int = PROMPTS, seeds: int = SEEDS) -> Suite:
    """The shipped suite's rules over the simulated prompts."""
    subject = Subject("Aldar Kose", "aldar kose", ROOT / "references")
    cases = tuple(Case("gate", f"case-{number}", f"aldar kose, {number}") for number in range(prompts))
    return Suite("gate", Path("gate.yaml"), subject, ("lora", *RIVALS), ("lora",), cases, seeds, thresholds=THRESHOLDS)


def verdicts_of(suite: Suite, draft: Draft, scores: Scores, first: int) -> list[Verdict]:
    """Of the cases, as the engine judges them: red ones once more, with as many seeds again."""
    seeds, results = confirming_seeds(suite), draft.results(scores, first)
    verdicts = judge_cases(suite, results, None, MoreSeeds(seeds))
    red = [verdict.details.get("confirm") for verdict in verdicts.values()]
    if any(red):
        again = draft.results(scores, first, seeds)
        results = [more if waits else few for few, more, waits in zip(results, again, red, strict=True)]
        verdicts = judge_cases(suite, results)
    return list(verdicts.values())


# --- the questions ------------------------------------------------------------------------------------------------


def share(table: Table, runs: int, seed: int, happens: Callable[[Draft, np.random.Generator], bool]) -> float:
    """In which share of runs something happens."""
    return sum(happens(draft, random) for draft, random in drafts(table, runs, seed)) / runs


def upper(rate: float, runs: int, level: float = 0.95) -> float:
    """The exact binomial upper bound of a rate (Clopper and Pearson 1934), one-sided."""
    hits = round(rate * runs)
    return 1.0 if hits >= runs else float(betaincinv(hits + 1, runs - hits, level))


def red(suite: Suite, new: Sequence[CaseResult], old: Sequence[CaseResult]) -> bool:
    return judge_gate(suite, "lora", new, baseline=old).decision is Decision.FAIL


def false_alarms(table: Table, runs: int) -> dict[str, float]:
    """The same LoRA against itself with other seeds; and where the truth of its prompts is the threshold itself."""
    suite, quality = make_suite(), table.lora["quality"]

    def whole(draft: Draft, _: np.random.Generator) -> bool:
        failed = any(verdict.decision is Decision.FAIL for verdict in verdicts_of(suite, draft, table.lora, SEEDS))
        return failed or red(suite, draft.results(table.lora, SEEDS), draft.results(table.lora, 0))

    def on_threshold(draft: Draft, _: np.random.Generator) -> bool:
        strict = replace(suite, thresholds={"quality": Threshold(float(quality[draft.prompts].mean()))})
        return judge_gate(strict, "lora", draft.results(table.lora, 0)).decision is Decision.FAIL

    def proven(draft: Draft, _: np.random.Generator) -> bool:
        verdict = judge_gate(suite, "lora", draft.results(table.lora, SEEDS), baseline=draft.results(table.lora, 0))
        return verdict.decision is Decision.PASS

    few = max(1, runs // 4)
    return {
        "aa": share(
            table, runs, 1, lambda draft, _: red(suite, draft.results(table.lora, SEEDS), draft.results(table.lora, 0))
        ),
        "whole run": share(table, few, 2, whole),
        "on the threshold": share(table, few, 3, on_threshold),
        "proven unchanged": share(table, few, 4, proven),
    }


def powers(table: Table, runs: int) -> tuple[float, float]:
    """One standard deviation of prompts worse than the baseline; somebody else's LoRA."""
    suite, drop = make_suite(), table.spread.between

    def worse(draft: Draft, _: np.random.Generator) -> bool:
        return red(suite, draft.results(table.lora, SEEDS, shift=-drop), draft.results(table.lora, 0))

    def wrong(draft: Draft, _: np.random.Generator) -> bool:
        return red(suite, draft.results(table.wrong, SEEDS), draft.results(table.lora, 0))

    return share(table, runs, 5, worse), share(table, max(1, runs // 4), 6, wrong)


def retraining(table: Table, runs: int) -> tuple[float, float]:
    """Three competitors that are as good: on every prompt, or only on the whole. Must not start a training."""
    suite = replace(make_suite(), beat=("best_competitor",))
    total = len(table.lora["quality"])

    def starts(draft: Draft, random: np.random.Generator, alike: bool) -> bool:
        own = draft.results(table.lora, 0)
        others = {
            name: (draft if alike else draft.elsewhere(random, total)).results(table.lora, SEEDS * place, SEEDS, name)
            for place, name in enumerate(RIVALS, 1)
        }
        gate = judge_gate(suite, "lora", own, others=others)
        return wants_training([gate, *verdicts_of(suite, draft, table.lora, 0)])

    return (
        share(table, runs, 7, lambda draft, random: starts(draft, random, True)),
        share(table, runs, 8, lambda draft, random: starts(draft, random, False)),
    )


def coverage(table: Table, runs: int) -> dict[str, float]:
    """Leaderboards of four: two equals, one half a standard deviation worse, one wrong character."""
    suite, step = make_suite(), table.spread.between / 2
    truth, wrong = float(table.lora["quality"].mean()), float(table.wrong["quality"].mean())
    truths = {"lora": truth, RIVALS[0]: truth, RIVALS[1]: truth - step, RIVALS[2]: wrong}
    least = {name: 1 + sum(other > own for other in truths.values()) for name, own in truths.items()}
    counts = {"at once": 0.0, "one row": 0.0, "ranks": 0.0}
    for draft, _ in drafts(table, runs, 9):
        results = {
            "lora": draft.results(table.lora, 0),
            RIVALS[0]: draft.results(table.lora, SEEDS, provider=RIVALS[0]),
            RIVALS[1]: draft.results(table.lora, 2 * SEEDS, provider=RIVALS[1], shift=-step),
            RIVALS[2]: draft.results(table.wrong, 3 * SEEDS, provider=RIVALS[2]),
        }
        rows = leaderboard(suite, results)
        inside = [holds(row.simultaneous, truths[row.provider]) for row in rows]
        counts["at once"] += all(inside)
        counts["one row"] += sum(inside)
        counts["ranks"] += all(row.rank_range and row.rank_range[0] <= least[row.provider] for row in rows)
    return {
        "at once": counts["at once"] / runs,
        "one row": counts["one row"] / runs / 4,
        "ranks": counts["ranks"] / runs,
    }


def holds(found: object, truth: float) -> bool:
    low, high = getattr(found, "low", None), getattr(found, "high", None)
    return low is not None and high is not None and low <= truth <= high


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--table", type=Path, help="scores to resample (default: fixtures/scores/gate.npz)")
    parser.add_argument("--runs", type=int, default=RUNS, help=f"simulated runs a figure (default: {RUNS})")


def measure(options: argparse.Namespace) -> dict[str, float]:
    """The figures, with a table of what they are made of."""
    table, runs = load_table(options.table), options.runs
    spread, shape = table.spread, table.lora["quality"].shape
    print(f"scores: {table.origin}, {shape[0]} prompts x {shape[1]} seeds")
    print(
        f"quality {table.lora['quality'].mean():.3f}; standard deviation between prompts {spread.between:.4f}, "
        f"of seeds within one {spread.within:.4f}; wrong character {table.wrong['quality'].mean():.3f}"
    )
    print(f"method: {runs} simulated runs a figure, {PROMPTS} prompts x {SEEDS} seeds, judged by harness.judging.judge")
    alarms, (power, wrong) = false_alarms(table, runs), powers(table, runs)
    alike, apart = retraining(table, runs)
    covered = coverage(table, runs)
    figures = {
        "aa_false_alarm": alarms["aa"],
        "aa_upper": upper(alarms["aa"], runs),
        "power": power,
        "power_wrong_character": wrong,
        "retrain_trigger_aa": max(alike, apart),
        "retrain_trigger_upper": upper(max(alike, apart), runs),
        "coverage": covered["at once"],
        **measure_cells(table, runs),
    }
    rest = {f"A/A, {name}": rate for name, rate in alarms.items() if name != "aa"}
    rest |= {"retrain trigger, equal on every prompt": alike, "retrain trigger, equal on the whole": apart}
    rest |= {f"coverage, {name}": rate for name, rate in covered.items()}
    for name, rate in (figures | rest).items():
        print(f"{name:40} {rate:7.4f}")
    error = math.sqrt(covered["at once"] * (1 - covered["at once"]) / runs)
    print(f"coverage is of {runs} leaderboards: standard error {error:.4f}")
    return {name: round(rate, 4) for name, rate in figures.items()}
