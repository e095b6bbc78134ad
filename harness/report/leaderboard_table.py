"""The leaderboard in the terminal: rows of a run's record to lines within its width."""

from __future__ import annotations

from collections.abc import Sequence

from harness.core.text import bounds_text, cells, clean, clip_cells, styled, table, table_width, wrap
from harness.core.values import METRICS, Interval
from harness.judging.record import LeaderboardRow

COLUMNS = ("#", "ranks", "tie", "provider", "quality", "clip", "features", "ssim", "versus", "pictures")
EXPENDABLE = ("ssim", "features", "pictures", "ranks", "versus", "clip", "tie")
"""What a narrow terminal goes without, in this order; before them the metrics that stand in no suite by themselves."""
INDENT = "  "
SHORTEST = 12  # columns of a provider's name that a narrow terminal keeps
OWN = "*"  # behind a quality that is not of the pictures that all share


# --- the table ----------------------------------------------------------------------------------------------------


def leaderboard_table(rows: Sequence[LeaderboardRow], width: int = 100, markup: bool = False) -> str:
    """One suite's leaderboard within `width` columns; with `markup` the gate's rows are bold.

    Where several were compared, quality is that of the pictures which all share, with the interval that holds for all
    rows at once; `ranks` and `tie` say what it leaves open.
    """
    kept, _, lines = laid_out(rows, width)
    excess = len(INDENT) + table_width([[line[name] for name in kept] for line in lines]) - width
    longest = max(cells(line["provider"]) for line in lines)
    lines = [{**line, "provider": clip_cells(line["provider"], max(SHORTEST, longest - excess))} for line in lines]
    looks = ["dim", *("bold" if row.gate else "" for row in rows)]
    shown = [[styled(line[name], look) for name in kept] for line, look in zip(lines, looks, strict=True)]
    return "\n".join(table(shown, INDENT, width, markup))


def laid_out(rows: Sequence[LeaderboardRow], width: int) -> tuple[list[str], list[str], list[dict[str, str]]]:
    """The columns that are shown, those that had to go, and every line by column, the heading first."""
    rival = next((row.provider for row in rows if row.gate), None)
    titles = {"versus": f"vs {clean(rival, 24)}" if rival else "versus"}
    added = added_metrics(rows)
    place = COLUMNS.index(METRICS[-1]) + 1
    columns = [*COLUMNS[:place], *added, *COLUMNS[place:]]
    lines = [{name: titles.get(name, clean(name, 24)) for name in columns}]
    lines += [_line(row, rival, added, compared(rows)) for row in rows]
    absent = {"versus"} if not rival or len(rows) < 2 else set()
    absent |= set() if tied(rows) else {"ranks", "tie"}
    kept, gone = [name for name in columns if name not in absent], []
    for name in (*reversed(added), *EXPENDABLE):
        if len(INDENT) + table_width([[line[column] for column in kept] for line in lines]) <= width:
            break
        if name in kept:
            kept.remove(name)
            gone.append(name)
    return kept, gone, lines


def left_out_lines(rows: Sequence[LeaderboardRow], width: int = 100) -> list[str]:
    """Which columns a wider terminal would show; nothing when it shows all."""
    _, gone, lines = laid_out(rows, width)
    names = ", ".join(lines[0][name] for name in lines[0] if name in gone)
    return wrap(f"columns left out: {names}; a wider terminal shows them", width) if gone else []


def added_metrics(rows: Sequence[LeaderboardRow]) -> list[str]:
    """The metrics that some row has a value of, beside those of every suite."""
    return list(dict.fromkeys(name for row in rows for name in row.scores if name not in METRICS))


def compared(rows: Sequence[LeaderboardRow]) -> bool:
    """Whether several rows stand on the same pictures; one alone keeps the interval of its verdict."""
    return sum(row.simultaneous is not None for row in rows) > 1


def tied(rows: Sequence[LeaderboardRow]) -> bool:
    """Whether some two are not proven to differ."""
    return compared(rows) and any(row.tied for row in rows)


def _line(row: LeaderboardRow, rival: str | None, added: Sequence[str], several: bool) -> dict[str, str]:
    name = clean(row.provider, 40) + (" (gate)" if row.gate else "") + (" (emulated)" if row.emulated else "")
    gap = row.versus.get(rival) if rival else None
    scores = {name: row.scores.get(name) for name in (*METRICS, *added)}
    line = {name: f"{score.mean:.2f}" if score else "-" for name, score in scores.items()}
    lost = [f"{count} {outcome}" for outcome, count in sorted(row.outcomes.items()) if outcome != "ok"]
    return {
        **line,
        "#": str(row.rank) if row.quality else "-",
        "ranks": ranks_text(row),
        "tie": row.ties,
        "provider": name,
        "quality": quality_text(row, several) or ": ".join([no_scores(row), *([", ".join(lost)] if lost else [])]),
        "versus": bounds_text(gap, signed=True) if gap else "",
        "pictures": ", ".join([str(row.outcomes.get("ok", 0)), *lost]),
    }


def no_scores(row: LeaderboardRow) -> str:
    """Why a provider has no quality: nothing came, or the models do not know what did."""
    return "cannot judge" if row.blind else "no scores"


def ranks_text(row: LeaderboardRow) -> str:
    """The ranks that the pictures leave open: `2-4`."""
    return "-".join(str(rank) for rank in dict.fromkeys(row.rank_range or ()))


def quality_text(row: LeaderboardRow, several: bool) -> str:
    """On the pictures that all share where several are compared; marked where a row has too few of those."""
    if row.quality is None:
        return ""
    if several and row.simultaneous:
        return bounds_text(row.simultaneous)
    return bounds_text(row.quality) + (OWN if several else "")


def gap_word(gap: Interval) -> str:
    """Where the gate stands by a difference to somebody else; "" where there are too few cases to say."""
    if gap.low is None or gap.high is None:
        return ""
    return "ahead of" if gap.low > 0 else "behind" if gap.high < 0 else "not proven to differ from"


# --- what it means ------------------------------------------------------------------------------------------------


def legend_lines(rows: Sequence[LeaderboardRow], width: int = 100) -> list[str]:
    """What the columns of `leaderboard_table` mean: one line from 80 columns on; nothing of a single row."""
    if not compared(rows):
        return []
    shown, open_ranks = laid_out(rows, width)[0], tied(rows)
    words = ["ranks: possible"] if "ranks" in shown else []
    words += ["same tie: not proven to differ"] if "tie" in shown else []
    words += [] if open_ranks else ["all ranks are proven"]
    words += ["[ ]: 95%, all rows at once"]
    lines = wrap("; ".join(words), width)
    if any(_differ(row.simultaneous, row.quality) for row in rows):
        lines += wrap("quality: on the pictures that all share, as far as they have them", width)
    if any(row.quality and not row.simultaneous for row in rows):
        lines += wrap(f"{OWN}: on its own pictures, too few are shared", width)
    return lines


def _differ(one: Interval | None, other: Interval | None) -> bool:
    return one is not None and other is not None and abs(one.mean - other.mean) >= 0.005  # what two digits show


def gap_lines(rows: Sequence[LeaderboardRow], width: int = 100) -> list[str]:
    """Each gate provider against the best of its competitors, in pairs, the interval corrected for taking the best."""
    lines: list[str] = []
    for row in rows:
        if row.gate and (gap := row.best_gap):
            best = f"its best competitor{_whom(row, gap)}: {bounds_text(gap, signed=True)}"
            text = f"{clean(row.provider, 40)} is {gap_word(gap) or 'beside'} {best}"
            lines += wrap(f"{text}, corrected for taking the best", width)
    return lines


def _whom(row: LeaderboardRow, gap: Interval) -> str:
    """The competitor whose difference is the smallest one."""
    names = [name for name, result in row.versus.items() if abs(result.mean - gap.mean) < 1e-9]
    return f" {clean(names[0], 40)}" if len(names) == 1 else ""


def rank_lines(rows: Sequence[LeaderboardRow], width: int = 100) -> list[str]:
    """Ranks by metric and by trait, a line each and a column a provider; as many providers as fit, the best first."""
    names = [row.provider for row in rows if row.ranks or row.trait_ranks]
    if len(names) < 2:
        return []
    own = {row.provider: {**row.ranks, **row.trait_ranks} for row in rows}
    listed = dict.fromkeys(name for row in own.values() for name in row)
    for count in range(len(names), 0, -1):
        shown = names[:count]
        lines = [["rank by", *(clean(name, 16) for name in shown)]]
        lines += [[clean(item, 24), *(str(own[name].get(item, "-")) for name in shown)] for item in listed]
        if len(INDENT) + table_width(lines) <= width:
            return table(lines, INDENT)
    return []
