"""The leaderboard: who is ahead, by how much, and what that is worth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.core.values import METRICS
from harness.report.terminal import added_metrics, bounds_text, duration
from harness.report.words import Record, bar, dollars, interval, mapped, number, plain_figure, text


def leaderboard_view(rows: Sequence[Record], thresholds: Record) -> dict[str, Any]:
    """One suite's rows, best first, and the words around them."""
    gate = next((row for row in rows if row["gate"]), None)
    rival = gate["provider"] if gate else None
    bound = mapped(thresholds, "quality")
    bounded = [*METRICS, *(name for name in thresholds if name not in METRICS)]
    needed = [words for metric in bounded if (words := bound_words(text(metric, 60), mapped(thresholds, metric)))]
    added = added_metrics(rows)
    best = interval(gate.get("best_gap")) if gate else None
    return {
        "rows": [row_view(row, rival, bound, rows, added) for row in rows],
        "metrics": [*METRICS[1:], *(text(name, 60) for name in added)],
        "rival": text(rival, 80) if rival else None,
        "needed": needed,
        "partial": any(row.get("common") and row.get("common") != row.get("quality") for row in rows),
        "whiskers": any(interval(row.get("simultaneous")) for row in rows),
        "letters": any(row.get("ties") for row in rows),
        "lead": lead_words(text(rival, 80), best) if best else "",
    }


def lead_words(gate: str, gap: Record) -> str:
    """The gate against the best of its competitors, as a sentence."""
    shown = bounds_text(gap, signed=True)
    if gap["low"] is None or gap["high"] is None:
        return f"{gate} minus the best competitor: {shown}; too few cases to say more."
    word = "ahead of" if gap["low"] > 0 else "behind" if gap["high"] < 0 else "not proven to differ from"
    return f"{gate} is {word} the best competitor: {shown}, corrected for having taken the best."


def bound_words(metric: str, bound: Record) -> str:
    """`quality: fail below 0.60, warn below 0.70`; "" without a bound."""
    known = [(kind, number(bound.get(kind))) for kind in ("fail", "warn")]
    words = ", ".join(f"{kind} below {value:.2f}" for kind, value in known if value is not None)
    return f"{metric}: {words}" if words else ""


def row_view(row: Record, rival: Any, bound: Record, rows: Sequence[Record], added: Sequence[str]) -> dict[str, Any]:
    """One provider."""
    outcomes = mapped(row, "outcomes")
    results = {**mapped(row, "added"), **{metric: row.get(metric) for metric in METRICS}}
    raw, ranks = mapped(row, "raw"), mapped(row, "ranks")
    emulated = " emulated" if row["emulated"] and row.get("cost_usd") else ""
    return {
        "rank": row["rank"] if interval(row.get("quality")) else "–",
        "ranks": rank_words(row),
        "letters": text(row.get("ties"), 12),
        "tied": "" if row.get("ties") else tie_of(row, rows),
        "provider": text(row["provider"], 80),
        "gate": bool(row["gate"]),
        "emulated": bool(row["emulated"]),
        "quality": bar(row.get("quality"), marks=bound, outer=row.get("simultaneous")),
        "others": [
            {
                "metric": name,
                "bar": bar(results.get(name)),
                "raw": "" if (value := number(raw.get(f"{name}_raw"))) is None else plain_figure(value),
                "first": ranks.get(name) == 1 and len(rows) > 1,
            }
            for name in (*METRICS[1:], *added)
        ],
        "gap": gap_view(mapped(row, "versus").get(rival)) if rival else None,
        "pictures": text(outcomes.get("ok", 0), 12),
        "lost": {text(name, 40).replace("_", " "): text(n, 12) for name, n in outcomes.items() if name != "ok"},
        "cost": (dollars(row.get("cost_usd")) or "") + emulated,
        "seconds": duration(number(row.get("seconds")) or 0.0),
    }


def rank_words(row: Record) -> str:
    """`2–4` where the pictures cannot tell these ranks apart, else ""."""
    result = row.get("rank_range")
    ends = [number(item) for item in result] if isinstance(result, list) and len(result) == 2 else []
    if len(ends) != 2 or ends[0] is None or ends[1] is None or ends[0] == ends[1]:
        return ""
    return f"{ends[0]:.0f}–{ends[1]:.0f}"


def gap_view(record: Any) -> dict[str, Any] | None:
    """A difference to the gate, paired, with the word for it."""
    gap = interval(record)
    if gap is None:
        return None
    if gap["low"] is None or gap["high"] is None:
        word = "too few cases"
    else:
        word = "ahead" if gap["low"] > 0 else "behind" if gap["high"] < 0 else "not proven to differ"
    return {"bar": bar(gap, -1.0, 1.0), "word": word, "kind": word.split()[0]}


def tie_of(row: Record, rows: Sequence[Record]) -> str:
    """The provider ranked just above, when the pairs do not prove that it is better."""
    above = next((other for other in rows if other["rank"] == row["rank"] - 1), None)
    gap = interval(mapped(row, "versus").get(above["provider"])) if above else None
    if above is None or gap is None or gap["high"] is None or gap["high"] < 0:
        return ""
    return text(above["provider"], 80)
