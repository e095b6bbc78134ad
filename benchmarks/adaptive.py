"""What planned looks spare: `samples: {min: 2, max: 12}` against 12 of everything, on the same resampled pictures.

Each run is judged by the judge and continued by the planner, as the engine does it. Pictures are counted until neither
the gate nor any case is open; error rates are the gate's, and those of all cases together.

With `--drawn` the question is put to the real engine: `benchmarks.adaptive_drawn`.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.gate import PROMPTS, Draft, drafts, make_suite, upper
from benchmarks.score_table import Scores, Table, load_table
from harness.core.values import CaseResult, Decision, Job, Suite, Threshold, Verdict
from harness.judging.adaptive import confirming_seeds, next_draws
from harness.judging.confirmation import MoreSeeds, judge_cases
from harness.judging.judge import judge_gate

LEAST, MOST, RUNS = 2, 12, 1_000
FAIL, OPEN = Decision.FAIL, Decision.INCONCLUSIVE


@dataclass(frozen=True)
class Scenario:
    """A truth and what it is held against."""

    name: str
    scores: Scores
    baseline: Scores | None  # None: there is none
    bound: float | None  # of quality; None: the truth of the very prompts
    shift: float = 0.0  # of the new LoRA's scores
    usual: bool = True  # counts in the share: what people's runs are like


@dataclass(frozen=True)
class Tally:
    """What came of one scenario's runs."""

    share: float  # of the fixed plan's pictures
    adaptive: Mapping[Decision, float]  # the gate's decisions
    fixed: Mapping[Decision, float]
    cases_adaptive: float  # of all cases, those that failed
    cases_fixed: float


def scenarios(table: Table) -> list[Scenario]:
    """What happens, and the worst there is for false alarms: a LoRA that stands exactly on its threshold."""
    lora, sd, truth = table.lora, table.spread.between, float(table.lora["quality"].mean())
    return [
        Scenario("unchanged", lora, lora, 0.6),
        Scenario("worse by one sd of prompts", lora, lora, 0.6, -sd),
        Scenario("a wrong character", table.wrong, lora, 0.6),
        Scenario("near: two sd above its threshold", lora, None, truth - 2 * sd),
        Scenario("on its threshold", lora, None, None, usual=False),
    ]


@dataclass(frozen=True)
class Simulated:
    """One run of a scenario, with every picture it could ever draw."""

    suite: Suite
    whole: Sequence[CaseResult]
    baseline: Sequence[CaseResult] | None

    @classmethod
    def of(cls, scenario: Scenario, table: Table, draft: Draft) -> Simulated:
        truth = float(scenario.scores["quality"][draft.prompts].mean())
        suite = replace(
            make_suite(PROMPTS, MOST),
            min_samples=LEAST,
            margin=table.spread.between / 2,
            thresholds={"quality": Threshold(truth if scenario.bound is None else scenario.bound)},
        )
        old = None if scenario.baseline is None else draft.results(scenario.baseline, 0, MOST)
        return cls(suite, draft.results(scenario.scores, MOST, MOST, shift=scenario.shift), old)

    def fixed(self) -> tuple[Decision, int]:
        """All of it at once: the gate's decision, and how many cases failed; twelve seeds confirm themselves."""
        suite = replace(self.suite, min_samples=None)
        gate = judge_gate(suite, "lora", self.whole, baseline=self.baseline)
        return gate.decision, failed(judge_cases(suite, self.whole))

    def adaptive(self) -> tuple[Decision, int, int]:
        """Look by look: the gate's decision, how many cases failed, and the pictures that were drawn."""
        drawn = {result.job: LEAST for result in self.whole}
        while True:
            results = [replace(result, samples=result.samples[: drawn[result.job]]) for result in self.whole]
            gate = judge_gate(self.suite, "lora", results, baseline=self.baseline)
            cases = judge_cases(self.suite, results, None, MoreSeeds(confirming_seeds(self.suite)))
            draws = next_draws(self.suite, cases, {"lora": gate}, drawn)
            if not draws:
                return gate.decision, failed(cases), sum(drawn.values())
            for draw in draws:
                drawn[draw.job] = max(drawn[draw.job], draw.seed + 1)


def failed(verdicts: Mapping[Job, Verdict]) -> int:
    return sum(verdict.decision is FAIL for verdict in verdicts.values())


def tally(table: Table, scenario: Scenario, runs: int, seed: int) -> Tally:
    """Both plans on the same pictures."""
    every = [Simulated.of(scenario, table, draft) for draft, _ in drafts(table, runs, seed)]
    looks, whole = [each.adaptive() for each in every], [each.fixed() for each in every]
    return Tally(
        sum(pictures for _, _, pictures in looks) / (runs * PROMPTS * MOST),
        rates([decision for decision, _, _ in looks]),
        rates([decision for decision, _ in whole]),
        sum(cases for _, cases, _ in looks) / (runs * PROMPTS),
        sum(cases for _, cases in whole) / (runs * PROMPTS),
    )


def rates(found: Sequence[Decision]) -> dict[Decision, float]:
    return {decision: found.count(decision) / len(found) for decision in Decision}


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--table", type=Path, help="scores to resample (default: fixtures/scores/gate.npz)")
    parser.add_argument("--runs", type=int, default=RUNS, help=f"simulated runs a row (default: {RUNS})")
    parser.add_argument("--drawn", action="store_true", help="draw with the embedded models: whole pytest sessions")
    parser.add_argument("--blocks", type=int, default=1, help="with --drawn: sets of 12 prompts x 12 seeds")
    parser.add_argument("--store", type=Path, help="with --drawn: where pictures are and stay (default: a fresh one)")


def measure(options: argparse.Namespace) -> dict[str, float]:
    """The simulated figures, or those of real sessions."""
    if not options.drawn:
        return measure_simulated(options.table, options.runs)
    from benchmarks.adaptive_drawn import measure_drawn

    with tempfile.TemporaryDirectory() as folder:
        return measure_drawn(Path(folder), options.blocks, options.store and options.store.resolve())


def measure_simulated(path: Path | None = None, runs: int = RUNS) -> dict[str, float]:
    """The share of the fixed plan's pictures over what people's runs are like, and the error rates beside it."""
    table = load_table(path)
    listed = scenarios(table)
    found = [tally(table, each, runs, number) for number, each in enumerate(listed)]
    print(f"scores: {table.origin}; {PROMPTS} prompts, {LEAST} to {MOST} seeds, {runs} runs a row")
    print(f"{'':43}{'gate fails':>16}{'gate open':>16}{'cases fail':>16}")
    print(f"{'truth':34} {'pictures':>8}" + 3 * f"{'looks':>8}{'fixed':>8}")
    for each, row in zip(listed, found, strict=True):
        gate = [plan[kind] for kind in (FAIL, OPEN) for plan in (row.adaptive, row.fixed)]
        rest = "".join(f"{rate:8.3f}" for rate in (*gate, row.cases_adaptive, row.cases_fixed))
        print(f"{each.name:34} {row.share:8.2f}{rest}")
    usual = [row.share for each, row in zip(listed, found, strict=True) if each.usual]
    worst = found[-1].adaptive[FAIL]
    return {
        "images_share": round(sum(usual) / len(usual), 3),
        "images_share_on_threshold": round(found[-1].share, 3),
        "false_fail": round(worst, 4),
        "false_fail_upper": round(upper(worst, runs), 4),
        "false_fail_fixed": round(found[-1].fixed[FAIL], 4),
        "power": round(found[1].adaptive[FAIL], 3),
        "power_fixed": round(found[1].fixed[FAIL], 3),
    }
