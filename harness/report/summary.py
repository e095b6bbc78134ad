"""The run in Markdown, for a pull request or a step summary: the verdict line first."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from harness.core.text import bounds_text, clean, headline
from harness.core.values import METRICS
from harness.judging.record import LeaderboardRow, RunRecord
from harness.report.leaderboard_table import (
    added_metrics,
    compared,
    legend_lines,
    no_scores,
    quality_text,
    ranks_text,
    tied,
)
from harness.report.terminal import baseline_lines, blind_lines, round_text, sets_lines

SIGNS: Mapping[str, str] = {"pass": "✅", "fail": "❌", "inconclusive": "❔", "not_judged": "❔", "error": "⚠️"}
FAILURES = 50  # that many lines; a summary has a size limit where it is shown
SPECIAL = re.compile(r"([\\`*_<>#|~&@$]|\](?=[(\[:]))")


def summary_markdown(results: RunRecord) -> str:
    """Verdict and reasons, each suite's leaderboard, what fails, the rounds, the facts."""
    gate, engine, run = results.gate, results.engine, results.run
    reasons = [escape(reason) for reason in gate.reasons]
    lines = [f"{SIGNS[gate.verdict]} **{headline(gate.verdict)}** {reasons[0] if reasons else ''}".rstrip(), ""]
    lines += [*(f"- {reason}" for reason in reasons[1:]), ""] if len(reasons) > 1 else []
    for suite in dict.fromkeys(row.suite for row in results.leaderboard):
        lines += [f"### {escape(suite)}", "", *_leaderboard(results.rows(suite)), ""]
        held = [escape(line) for line in told(results, suite)]
        lines += [*(f"- {line}" for line in held), ""] if held else []
    failures = list(_failures(results))
    if failures:
        lines += ["### What fails", "", *failures[:FAILURES]]
        lines += [f"- and {len(failures) - FAILURES} more, in the report"] if len(failures) > FAILURES else []
        lines.append("")
    rounds = [f"- {escape(round_text(number, item))}" for number, item in enumerate(results.rounds, 1)]
    lines += ["### Retraining", "", *rounds, ""] if rounds else []
    facts = f"{engine.images_generated} pictures drawn, {engine.images_cached} from the store"
    return "\n".join([*lines, f"{facts}; profile {escape(run.profile)}, run {escape(run.id)}", ""])


def told(results: RunRecord, suite: str) -> list[str]:
    """What is said of a suite's pictures together."""
    return [*blind_lines(results, suite), *sets_lines(results, suite), *baseline_lines(results, suite)]


def escape(text: str) -> str:
    """Foreign text as text: neither markup nor HTML nor a mention of somebody."""
    return SPECIAL.sub(r"\\\1", clean(text)).replace("\\<", "&lt;").replace("\\>", "&gt;").replace("\\@", "@\u200b")


def _leaderboard(rows: list[LeaderboardRow]) -> list[str]:
    """One suite's, as the terminal shows it: where several are compared, with possible ranks and ties."""
    rival = next((row.provider for row in rows if row.gate), "")
    names, open_ranks = [*METRICS[1:], *added_metrics(rows)], tied(rows)
    heads = ["#", *(["ranks", "tie"] if open_ranks else []), "provider", "quality", *map(escape, names)]
    sides = ["--:", *([":--", ":--"] if open_ranks else []), ":--", ":--", *["--:"] * len(names), ":--"]
    lines = [_row([*heads, f"against {escape(rival)}" if rival else ""]), f"|{'|'.join(sides)}|"]
    for row in rows:
        marks = (" **(gate)**" if row.gate else "") + (" *emulated*" if row.emulated else "")
        gap = row.versus.get(rival)
        cells = [str(row.rank), *([ranks_text(row), escape(row.ties)] if open_ranks else [])]
        cells += [escape(row.provider) + marks]
        cells += [escape(quality_text(row, compared(rows))) if row.quality else f"{no_scores(row)}: {_outcomes(row)}"]
        cells += [f"{score.mean:.2f}" if (score := row.scores.get(name)) else "" for name in names]
        lines.append(_row([*cells, bounds_text(gap, signed=True) if gap else ""]))
    legend = " ".join(line.strip() for line in legend_lines(rows, 1_000))
    return [*lines, "", escape(legend)] if legend else lines


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _outcomes(row: LeaderboardRow) -> str:
    return ", ".join(f"{count} {escape(name)}" for name, count in row.outcomes.items()) or "no pictures"


def _failures(results: RunRecord) -> Iterable[str]:
    """Gate providers' cases that failed or broke, then what feedback says to do."""
    for case in results.red_cases:
        yield f"- **{escape(case.case)}** by {escape(case.provider)}: {escape(case.complaint)}"
    for item in () if results.run.shard else results.feedback:
        if item.failing:
            for advice in item.recommendations:
                yield f"- do ({escape(advice.priority)}): {escape(advice.message)}"
