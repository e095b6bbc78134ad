"""Retraining: what changed and why, the loss, how the exam ended, and the grid of strengths and checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.core.values import as_number
from harness.judging.record import RoundRecord, Tried
from harness.report import plots
from harness.report.words import Badge, Frame, Photo, band, duration, evidence_lines, plain_words, text

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes

TALL = 150.0  # of a plot
POINTS = 300  # of one curve, at most
PROMOTED, REFUSED = Badge("pass", "✓", "promoted"), Badge("fail", "✗", "refused")
BROKEN = Badge("error", "!", "error")


def round_badge(record: RoundRecord) -> Badge:
    """How a round ended."""
    return PROMOTED if record.promoted else BROKEN if record.verdict == "error" else REFUSED


def evidence_of(record: RoundRecord) -> dict[str, str]:
    """What a round's plan was made from, by name."""
    if isinstance(record.evidence, tuple):
        return {str(count): text(line, 400) for count, line in enumerate(record.evidence, 1)}
    return evidence_lines(record.evidence)


def changed_settings(record: RoundRecord) -> list[tuple[str, str, str]]:
    """Settings before and after, for people."""
    pairs = {
        name: item if isinstance(item, list) and len(item) == 2 else ("", item) for name, item in record.changes.items()
    }
    return [(text(name, 60), plain_words(before), plain_words(after)) for name, (before, after) in pairs.items()]


def round_facts(record: RoundRecord) -> list[str]:
    """What a round cost."""
    facts = [f"{record.steps:,} steps"] if record.steps else []
    facts += [f"{record.pictures} pictures drawn"] if record.pictures else []
    return facts + ([duration(record.seconds)] if record.seconds else [])


# --- plots --------------------------------------------------------------------------------------------------------


def curve(points: Sequence[object]) -> Markup | None:
    """A loss curve from [step, loss] pairs or plain losses; None for fewer than two."""
    pairs = [
        (item[0], item[1]) if isinstance(item, list) and len(item) == 2 else (index, item)
        for index, item in enumerate(points)
    ]
    known = [(x, y) for a, b in pairs if (x := as_number(a)) is not None and (y := as_number(b)) is not None]
    if len(known) < 2:
        return None
    stride = max(1, len(known) // POINTS)
    known = [*known[:-1:stride], known[-1]]

    def paint(axes: Axes) -> None:
        axes.plot(*zip(*known, strict=True), color=plots.RANGE, linewidth=1.4)
        axes.locator_params(axis="y", nbins=4)
        axes.grid(axis="y", color=plots.LINE, linewidth=0.6)

    message = f"from {known[0][1]:.3g} to {known[-1][1]:.3g} in {known[-1][0]:,.0f} steps"
    return plots.draw(TALL, "Loss", message, paint)


def progress_plot(rounds: Sequence[RoundRecord]) -> Markup | None:
    """Quality of champion and challenger, round by round, with their intervals; None for fewer than two rounds."""
    known = [
        (count, before, after, record.promoted)
        for count, record in enumerate(rounds, 1)
        if (before := record.before.get("quality")) and (after := record.after.get("quality"))
    ]
    if len(known) < 2:
        return None

    def paint(axes: Axes) -> None:
        for count, before, after, promoted in known:
            for x, result, colour in ((count - 0.12, before, plots.QUIET), (count + 0.12, after, plots.RANGE)):
                ends = [result.mean if end is None else end for end in (result.low, result.high)]
                axes.plot([x, x], ends, color=colour, linewidth=1.5)
                filled = plots.PAPER if colour == plots.RANGE and not promoted else colour
                axes.plot([x], [result.mean], marker="o", color=colour, markerfacecolor=filled, markersize=7)
        axes.set_xlim(0.5, len(rounds) + 0.5)
        axes.set_ylim(0, 1)
        axes.set_yticks([0, 0.5, 1])
        axes.set_xticks([count for count, *_ in known])
        axes.grid(axis="y", color=plots.LINE, linewidth=0.6)

    message = "; ".join(f"round {count} from {b.mean:.2f} to {a.mean:.2f}" for count, b, a, _ in known)
    return plots.draw(TALL, "Quality on locked prompts", message, paint)


# --- strengths and checkpoints ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TriedCell:
    """One checkpoint at one strength."""

    quality: float
    best: bool
    picture: Photo | None

    @property
    def band(self) -> str:
        return band(self.quality)


@dataclass(frozen=True)
class TriedGrid:
    """Checkpoints down, strengths across; the best cell is marked."""

    strengths: tuple[str, ...]
    lines: tuple[tuple[str, tuple[TriedCell | None, ...]], ...]  # (checkpoint, its cells)
    date: str


def tried_grid(frame: Frame, tried: Sequence[Tried]) -> TriedGrid | None:
    """None for fewer than two tries."""
    known = {
        (each.checkpoint or each.file, each.strength): (each.quality, each.image)
        for each in tried
        if each.strength is not None and each.quality is not None
    }
    if len(known) < 2:
        return None
    best = max(known, key=lambda key: known[key][0])

    def cell(*key: object) -> TriedCell | None:
        quality, image = next((item for each, item in known.items() if each == key), (None, None))
        picture = frame.picture(image) if image else None
        return None if quality is None else TriedCell(quality, key == best, picture)

    strengths = sorted({strength for _, strength in known})
    names = dict.fromkeys(name for name, _ in known)
    lines = tuple((name, tuple(cell(name, strength) for strength in strengths)) for name in names)
    dates = [each.date for each in tried if each.date]
    return TriedGrid(tuple(f"{strength:g}" for strength in strengths), lines, "".join(dates[:1]))
