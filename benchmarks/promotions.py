"""How often the promotion gate is wrong: exams resampled from real scores, decided by `decision.decide` of training.

A family is what one `--retrain 3` may do to one champion: up to three challengers, each against the champion on the
same locked prompts with seeds that nobody has drawn before, until one is promoted. The truth is the table's: every
challenger is as good as the champion, prompt by prompt or on the whole, so every promotion is a false one.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from benchmarks.gate import Draft, drafts, make_suite, upper
from benchmarks.score_table import Scores, Table, load_table
from harness.core.values import METRICS
from harness.training.improve.held_out_test import HELD_OUT_SAMPLES
from harness.training.improve.promotion import RivalScores, Values, decide

FAMILIES = 2_000  # of each kind; with up to three decisions each, 4,000 families make 4,000 to 12,000 decisions
LOOKS, LOCKED = 3, 24  # rounds of a retraining, locked cases of the shipped suite
SHIFT = 0.1  # how much better a planted challenger is


def values_at(draft: Draft, scores: Scores, first: int, shift: float = 0.0) -> Values:
    """Metric to (case, seed) to score: what `decision.values_of` makes of an exam's pictures."""
    rows = range(len(draft.prompts))
    return {
        name: {
            (f"case-{row}", seed): min(1.0, max(0.0, float(value) + shift))
            for row in rows
            for seed, value in enumerate(
                scores[name][draft.prompts[row], draft.seeds[row, first : first + HELD_OUT_SAMPLES]]
            )
        }
        for name in METRICS
    }


Other = Callable[[Draft, np.random.Generator], Draft]


def promoted_at(table: Table, draft: Draft, challenger: Draft, shift: float = 0.0) -> tuple[int, int]:
    """The look at which a family's first challenger is promoted, 0 for none; and how many decisions it took."""
    suite = SUITE
    base = RivalScores(values_at(draft, table.wrong, 0)["quality"])
    for look in range(1, LOOKS + 1):
        first = 2 * HELD_OUT_SAMPLES * (look - 1)
        old = values_at(draft, table.lora, first, -shift)
        new = values_at(challenger, table.lora, first + HELD_OUT_SAMPLES)
        if decide(suite, new, old, beside=base, look=look).promoted:
            return look, look
    return 0, LOOKS


SUITE = make_suite(LOCKED, HELD_OUT_SAMPLES)


def count(table: Table, families: int, seed: int, other: Other, shift: float = 0.0) -> tuple[int, int, int]:
    """Families with a promotion, families whose first challenger is promoted, and decisions taken."""
    ends = [
        promoted_at(table, draft, other(draft, random), shift)
        for draft, random in drafts(table, families, seed, LOCKED)
    ]
    return sum(look > 0 for look, _ in ends), sum(look == 1 for look, _ in ends), sum(taken for _, taken in ends)


def false_promotions(families: int = FAMILIES) -> dict[str, float]:
    """Shares of families with a false promotion, with exact upper bounds, and the power for a real gain."""
    started, table = time.monotonic(), load_table()
    total = len(table.lora["quality"])
    kinds: dict[str, Other] = {
        "as good on every prompt": lambda draft, _: draft,
        "as good on the whole": lambda draft, random: draft.elsewhere(random, total),
    }
    print(f"scores: {table.origin}; {families} families of up to {LOOKS} challengers for each kind")
    print(f"method: {LOCKED} locked prompts x {HELD_OUT_SAMPLES} seeds, decided by training.improve.promotion.decide")
    worst, all_decisions = 0.0, 0
    for seed, (name, other) in enumerate(kinds.items(), 41):
        any_, first, decisions = count(table, families, seed, other)
        worst, all_decisions = max(worst, any_ / families), all_decisions + decisions
        print(
            f"{name}: {any_} of {families} families promoted ({any_ / families:.2%}), {first} of them at the first look"
        )
    better, at_once, _ = count(table, max(1, families // 10), 43, kinds["as good on every prompt"], SHIFT)
    power = better / max(1, families // 10)
    print(f"a challenger that is {SHIFT:g} better: promoted in {power:.1%}, {at_once} of {better} at the first look")
    print(f"{all_decisions} decisions in {time.monotonic() - started:.0f} s")
    return {
        "gate_decisions": float(all_decisions),
        "false_promotion": worst,
        "false_promotion_upper": upper(worst, families),
        "power": power,
    }
