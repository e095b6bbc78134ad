"""What a person reads in the terminal: pure functions from results and verdicts to text, and the live line.

With `markup` verdicts have a colour and the gate is bold; without, there is no escape sequence in any text.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from harness.core.text import STYLES, bounds_text, cells, clean, clip_cells, headline, paint, styled, table, wrap
from harness.core.values import Decision, Progress
from harness.judging.record import Change, EngineRecord, GateRecord, HeldBaseline, HeldProvider, RoundRecord, RunRecord
from harness.report.failure import OUTCOME_ADVICE, failure_text, metrics_table
from harness.report.leaderboard_table import (
    added_metrics,
    gap_lines,
    leaderboard_table,
    left_out_lines,
    legend_lines,
    rank_lines,
)

__all__ = [  # the words of other modules too: a terminal's text is imported from here
    "OUTCOME_ADVICE",
    "ProgressLine",
    "added_metrics",
    "baseline_lines",
    "bounds_text",
    "cells",
    "clean",
    "duration",
    "failure_text",
    "leaderboard_table",
    "metrics_table",
    "progress_text",
    "round_text",
    "sets_lines",
    "summary_text",
    "table",
]

REASONS = 6  # of a verdict, a line each; the report has them all


# --- the end of a run ---------------------------------------------------------------------------------------------


def summary_text(
    results: RunRecord,
    width: int = 100,
    report: Path | None = None,
    verbosity: int = 0,
    markup: bool = False,
) -> str:
    """The end of a run: each suite's leaderboard, the rounds of retraining, the verdict, and where the report lies.

    Args:
        verbosity: pytest's. 1 adds the ranks by metric and trait; -1 keeps tables, alarms and the verdict; -2 and less
            the verdict alone.
    """
    lines: list[str] = []
    for suite in dict.fromkeys(row.suite for row in results.leaderboard) if verbosity > -2 else ():
        lines += [*suite_lines(results, suite, width, verbosity, markup), ""]
    if verbosity > -2:
        for number, item in enumerate(results.rounds, 1):
            lines += wrap(round_text(number, item), width, "", "  ")
    engine = results.engine
    facts = f"{engine.images_generated} drawn, {engine.images_cached} from the store"
    if verbosity >= 0 or cost_text(engine):
        lines += wrap(f"pictures: {facts}{cost_text(engine)}", width, "", "  ")
    lines += verdict_lines(results.gate, width, verbosity, markup)
    for words in next_steps(results):
        lines += wrap(clean(words), width, "next:    ", " " * len("next:    "))
    if report is not None:
        lines.append(f"report:  {report}")
    return "\n".join(lines)


def verdict_lines(gate: GateRecord, width: int, verbosity: int = 0, markup: bool = False) -> list[str]:
    """The run's verdict and its reasons, the first beside it."""
    reasons = [clean(reason) for reason in gate.reasons]
    if gate.verdict is Decision.ERROR:  # elsewhere the numbers are what is told
        reasons = fold_reasons(reasons)
    word = styled("").append(headline(gate.verdict), STYLES.get(gate.verdict))
    below = " " * len("verdict: ")
    lines = wrap(word.append(f"  {reasons[0]}" if reasons else ""), width, "verdict: ", below, markup)
    most = len(reasons) if verbosity > 0 else REASONS
    for reason in reasons[1:most]:
        lines += wrap(reason, width, below, f"{below}  ")
    left = len(reasons) - most
    return [*lines, f"{below}and {left} more, in the report"] if left > 0 else lines


def next_steps(results: RunRecord) -> list[str]:
    """What feedback asks for first of each red gate provider; nothing where the verdict itself says what to do."""
    red = [item for item in results.feedback if item.failing and not item.cause and item.recommendations]
    return [item.recommendations[0].message for item in red] if results.gate.verdict is Decision.FAIL else []


def fold_reasons(reasons: Sequence[str]) -> list[str]:
    """Reasons that say the same of several cases, but for numbers, as one."""
    groups: dict[str, list[str]] = {}
    for reason in reasons:
        groups.setdefault(re.sub(r"\d+", "#", reason.partition(": ")[2]) or reason, []).append(reason)
    return [
        first if not more else f"{who} and {len(more)} more: {why}"
        for first, *more in groups.values()
        for who, _, why in [first.partition(": ")]
    ]


def suite_lines(results: RunRecord, suite: str, width: int, verbosity: int, markup: bool = False) -> list[str]:
    """What a run says of one suite: who is ahead, what it means, what all pictures say together, the baseline."""
    rows = results.rows(suite)
    notes = [*blind_lines(results, suite), *sets_lines(results, suite)]
    notes = [line for line in notes if verbosity >= 0 or line.startswith("! ")]
    more = rank_lines(rows, width) if verbosity > 0 else []
    return [
        paint(clean(suite), "bold", markup),
        leaderboard_table(rows, width, markup),
        *((*left_out_lines(rows, width), *legend_lines(rows, width)) if verbosity >= 0 else ()),
        *gap_lines(rows, width),
        *(["", *more, ""] if more else ()),
        *(line for note in notes for line in wrap(note, width, "  ", "    ")),
        *(line for message in baseline_lines(results, suite) for line in wrap(message, width, "", "    ")),
    ]


def blind_lines(results: RunRecord, suite: str) -> list[str]:
    """What these models cannot judge of a suite: its references, or pictures of a provider."""
    calibration = results.suite(suite).calibration
    lines = [f"! references: {clean(calibration.blind)}"] if calibration and calibration.blind else []
    return lines + [f"! {clean(row.provider, 40)}: {clean(row.blind)}" for row in results.rows(suite) if row.blind]


def sets_lines(results: RunRecord, suite: str) -> list[str]:
    """What each gate provider's pictures of a suite say together, an alarm marked; nothing of what was not judged."""
    return [
        ("! " if result.alarm else "") + f"{clean(provider, 40)}, {clean(name, 24)}: {clean(result.sentence)}"
        for provider, group in results.suite(suite).sets.items()
        for name, result in group.items()
        if result.judged or name == "drift"
    ]


WORST = 3  # cases that changed most, a line each


def baseline_lines(results: RunRecord, suite: str) -> list[str]:
    """A suite's verdicts against its baseline: a line a provider, and the cases that lost most."""
    baseline = results.suite(suite).baseline
    if baseline is None:
        return []
    lines = [f"baseline: {clean(baseline.problem)}"] if baseline.problem else []
    message = "" if baseline.binding else "; only told of, because this run is to replace it"
    source = f"{clean(baseline.source)}{made_text(baseline)}{message}"
    for provider, held in baseline.providers.items():
        lines.append(f"baseline: {clean(provider, 40)} {baseline_text(held)} ({source})")
        lines += [f"  {case_text(case)}" for case in held.changed_cases[:WORST]]
    return lines


def baseline_text(held: HeldProvider) -> str:
    """`regressed, quality -0.05 [-0.08, -0.02] over 12 cases, 36 pictures`, or why it was refused."""
    if held.verdict == "refused":
        return f"is not comparable: {clean('; '.join(held.refused))}"
    if held.quality is None:
        return "inconclusive, no case and seed in common"
    gap, same = bounds_text(held.quality.gap, signed=True), ", the very same" if held.all_same else ""
    words = f"{clean(held.verdict)}, quality {gap} over {held.quality.n} cases, {held.pairs} pictures{same}"
    if not held.left_out:
        return words
    return f"{words}, without {clean(', '.join(held.left_out))}, whose prompt has changed"


def made_text(baseline: HeldBaseline) -> str:
    """When a baseline was made, and at which commit."""
    known = [str(baseline.made.get(name) or "")[:10] for name in ("date", "commit")]
    return "".join(f", {clean(word)}" for word in known if word)


def case_text(case: Change) -> str:
    gap = bounds_text(case.gap, signed=True)
    return f"{clean(case.case, 60)} {clean(case.verdict)}, {case.before:.2f} to {case.after:.2f}, {gap}"


def cost_text(engine: EngineRecord) -> str:
    """What a run cost, behind a comma; "" when it cost nothing."""
    possible, emulated = engine.possibly_billed_usd, engine.emulated_usd
    words = [f"${engine.cost_usd:.2f}"] if engine.cost_usd else []
    words += [f"possibly ${possible:.2f} more for calls that broke off"] if possible and not emulated else []
    words += [f"{engine.unpriced_calls} calls of unknown price"] if engine.unpriced_calls else []
    words += [f"${emulated:.2f} emulated, nothing billed"] if emulated else []
    return "".join(f", {word}" for word in words)


def round_text(number: int, record: RoundRecord) -> str:
    """One round of retraining in a line."""
    end = "promoted" if record.promoted else record.verdict or "refused"
    shown = f", cause {record.cause.replace('_', ' ')}" if record.cause else ""
    shown += f", challenger {bounds_text(record.gap, signed=True)} over champion" if record.gap else ""
    number = number if record.round is None else record.round
    return clean(f"round {number}: {end}{shown}" + (f"; {record.reason}" if record.reason else ""))


# --- the live line ------------------------------------------------------------------------------------------------

STAGES: Mapping[str, str] = {
    "cohort": "cohort",
    "estimate": "estimate",
    "load": "loading the model",
    "draw": "drawing",
    "score": "scoring",
    "train": "training",
    "wait": "waiting for another run",
}


def progress_text(progress: Progress, width: int = 80) -> str:
    """Where a run stands, in one line of at most `width` columns."""
    parts = [STAGES.get(progress.stage, progress.stage)]
    if progress.provider:
        parts[0] += f" {clean(progress.provider, 30)}"
    if progress.total:
        stored = f" ({progress.cached} from the store)" if progress.cached else ""
        parts.append(f"{progress.done}/{progress.total} pictures{stored}")
    if progress.cost_usd:
        parts.append(f"${progress.cost_usd:.2f}")
    if progress.eta_s is not None and progress.stage != "done":
        parts.append(f"{duration(progress.eta_s)} left")
    if progress.message:
        parts.append(clean(progress.message))
    return clip_cells(", ".join(parts), width)


def duration(seconds: float) -> str:
    """`42 s`, `3 min 05 s`, `2 h 10 min`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


SAID = ("cohort", "estimate")  # stages that are a message, once


class ProgressLine:
    """Listens to a run and keeps one line current; where lines cannot be overwritten, it says each new stage once."""

    def __init__(self, write: Callable[[str], object], live: bool) -> None:
        self._write, self._live, self._stage, self._open = write, live, ("", ""), False

    def __call__(self, progress: Progress) -> None:
        if progress.stage in SAID:
            self.clear()
            self._write(f"{'' if self._live else chr(10)}{clean(progress.message)}\n")
            return
        if self._live:
            self._show(progress)
            return
        stage = (progress.stage, progress.provider)
        if stage != self._stage and progress.stage in ("train", "wait"):
            self._write(f"\n{progress_text(progress)}\n")
        self._stage = stage

    def _show(self, progress: Progress) -> None:
        if progress.stage == "done":
            self.clear()
            return
        width = shutil.get_terminal_size().columns - 1
        text = progress_text(progress, width)
        self._write(f"\r{text}{' ' * (width - cells(text))}")
        self._open = True

    def clear(self) -> None:
        """Take the line away, so that what is printed next starts in the first column."""
        if self._open:
            self._write("\r" + " " * (shutil.get_terminal_size().columns - 1) + "\r")
            self._open = False
