"""`harness sweep`: several checkpoints, each at several strengths, on a suite's open cases with the same seeds.

harness sweep suites/toma.yaml step-200.safetensors step-400.safetensors --strengths 0.6,0.8,1
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from harness.core.errors import UsageError
from harness.core.stats import Pair, clustered
from harness.core.values import PROMPT_ONLY, Interval, Lora
from harness.engine.record import SWEEPS
from harness.judging.following import Loss, choose_questions, followed, gap_between
from harness.report.terminal import bounds_text, table
from harness.store import Store
from harness.studies.compare import ComparisonSetup, control_of, draw

STRENGTHS = (0.6, 0.8, 1.0, 1.2)
MOST = 200  # combinations


@dataclass(frozen=True)
class SweepRow:
    """One picture of a sweep, with its scores."""

    checkpoint: str  # the file's name, with its folder where names repeat
    strength: float
    case: str
    seed: int
    outcome: str
    image: str | None  # SHA-256 of the stored PNG
    scores: Mapping[str, float | None]  # calibrated; None: could not be measured
    message: str = ""  # why there is no picture
    followed: float | None = None  # how surely it shows what the case expects, as far as that can be read back
    usual: float | None = None  # the same of the picture without the LoRA
    prompt: str = ""  # the case under whose id its prompt counts; "": its own


@dataclass(frozen=True)
class SweepCell:
    """A checkpoint at a strength: the mean quality over cases, clustered by case."""

    checkpoint: str
    strength: float
    quality: Interval | None  # None: no picture has a score
    missing: int  # pictures that could not be had
    prompt: Interval | None = None  # following prompts, minus the same without the LoRA; None: not judged
    deaf: bool = False  # it surely follows prompts worse, by the margin or more


def sweep(
    bench: ComparisonSetup, checkpoints: Sequence[Path], strengths: Sequence[float] = STRENGTHS
) -> list[SweepRow]:
    """Draw and score every checkpoint at every strength; one row a picture, checkpoint by checkpoint.

    Everything is drawn by one run of the engine: files are loaded once each, strengths are written in place, the same
    picture is never drawn twice, and a sweep that was stopped goes on when it is called again. Locked cases are left
    out: a sweep is a choice, and choices must not see them.

    Args:
        bench: `harness.studies.compare.ComparisonSetup`: suite, profile, settings, and who draws.

    Raises:
        UsageError: nothing to combine, or too much.
        EngineError: drawing or scoring broke down.
    """
    loras = combine(checkpoints, strengths)
    bench = replace(bench, settings=replace(bench.settings, locked=False))
    named = {f"{name}@{lora.strength:g}": lora for name, lora in loras}
    drawn = draw(bench, named, bench.samples, control_of(bench, named))
    judged = choose_questions(drawn.control).judged
    usual = followed(drawn.control.get(PROMPT_ONLY, ()), judged)
    rows = []
    for (name, lora), results in zip(loras, drawn.sides.values(), strict=True):
        heard = followed(results, judged)
        for result in results:
            for sample in result.samples:
                scores = {metric: score.value for metric, score in sample.scores.items()}
                pair = (result.prompt_id, sample.seed)
                rows.append(
                    SweepRow(
                        name, lora.strength, result.job.case, sample.seed, sample.outcome.value, sample.image, scores,
                        sample.message, heard.get(pair), usual.get(pair), result.cluster,
                    )
                )  # fmt: skip
    return rows


def combine(checkpoints: Sequence[Path], strengths: Sequence[float]) -> list[tuple[str, Lora]]:
    """Every checkpoint at every strength, under names that differ.

    Raises:
        UsageError: nothing to combine, something twice, or too much.
    """
    paths = [path.resolve() for path in checkpoints]
    if not paths or not strengths:
        raise UsageError("sweep: needs a checkpoint and a strength")
    if len(set(paths)) < len(paths) or len(set(strengths)) < len(strengths):
        raise UsageError("sweep: a checkpoint or a strength stands there twice")
    if len(paths) * len(strengths) > MOST:
        raise UsageError(f"sweep: {len(paths) * len(strengths)} combinations; {MOST} are the most")
    stems = [path.stem for path in paths]
    names = [path.stem if stems.count(path.stem) == 1 else f"{path.parent.name}/{path.stem}" for path in paths]
    if len(set(names)) < len(names):
        names = [path.as_posix() for path in paths]
    return [(name, Lora(path, strength)) for name, path in zip(names, paths, strict=True) for strength in strengths]


def cells_of(rows: Sequence[SweepRow], metric: str = "quality") -> list[SweepCell]:
    """A sweep's grid, in the order in which it was drawn."""
    grouped: dict[tuple[str, float], list[SweepRow]] = {}
    for row in rows:
        grouped.setdefault((row.checkpoint, row.strength), []).append(row)
    cells = []
    for (checkpoint, strength), own in grouped.items():
        by_prompt: dict[object, list[float]] = {}
        for row in own:
            value = row.scores.get(metric)
            if value is not None:
                by_prompt.setdefault(row.prompt or row.case, []).append(value)
        missing, quality = sum(row.outcome != "ok" for row in own), clustered(by_prompt) if by_prompt else None
        pairs: list[tuple[Pair, SweepRow]] = [((row.prompt or row.case, row.seed), row) for row in own]
        ours = {pair: row.followed for pair, row in pairs if row.followed is not None}
        usual = {pair: row.usual for pair, row in pairs if row.usual is not None}
        gap = gap_between(ours, usual)
        deaf = gap is not None and gap.loss is Loss.PROVEN
        cells.append(SweepCell(checkpoint, strength, quality, missing, gap.interval if gap else None, deaf))
    return cells


def place(cell: SweepCell) -> tuple[str, float]:
    return cell.checkpoint, cell.strength


def grid_rows(title: str, cells: Sequence[SweepCell], texts: Mapping[tuple[str, float], str]) -> list[tuple[str, ...]]:
    """A table of checkpoints down and strengths across."""
    strengths = list(dict.fromkeys(cell.strength for cell in cells))
    rows = [(title, *(f"@{strength:g}" for strength in strengths))]
    for checkpoint in dict.fromkeys(cell.checkpoint for cell in cells):
        rows.append((checkpoint, *(texts.get((checkpoint, strength), "-") for strength in strengths)))
    return rows


def keep_sweep(store: Path, suite: Path, rows: Sequence[SweepRow], cells: Sequence[SweepCell]) -> None:
    """Remember the grid with a picture of each cell: the suite's next report shows it, with its date."""
    first = {(row.checkpoint, row.strength): row.image for row in reversed(rows) if row.image}
    date = datetime.now(UTC).date().isoformat()
    tries = [
        {"checkpoint": cell.checkpoint, "strength": cell.strength, "quality": cell.quality.mean,
         "image": first.get((cell.checkpoint, cell.strength)), "date": date}
        for cell in cells
        if cell.quality
    ]  # fmt: skip
    with Store(store) as kept:
        kept.put_memo(SWEEPS, suite.as_posix(), tries)


def read_strengths(text: str) -> tuple[float, ...]:
    """`0.6,0.8,1`. Raises UsageError."""
    try:
        result = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--strengths {text}: numbers with commas between them, 0.6,0.8,1 say") from None
    if not all(0 <= strength <= 4 for strength in result):
        raise UsageError(f"--strengths {text}: a strength is between 0 and 4")
    return result


def grid_lines(cells: Sequence[SweepCell]) -> list[str]:
    """Checkpoints down, strengths across, mean quality with its interval; the best is named, and what that is worth.

    Below it how they follow prompts, where that is judged: who surely does so worse than the base is not the best.
    """
    lines = list(table(grid_rows("quality", cells, {place(cell): bounds_text(cell.quality) for cell in cells})))
    if any(cell.prompt for cell in cells):
        texts = {place(cell): bounds_text(cell.prompt, signed=True) for cell in cells}
        lines += ["", *table(grid_rows(f"prompt, over {PROMPT_ONLY}", cells, texts)), ""]
    deaf = [f"{cell.checkpoint} at {cell.strength:g}" for cell in cells if cell.deaf]
    if deaf:
        lines.append(f"over-trained: {', '.join(deaf)} surely follow prompts worse than {PROMPT_ONLY}")
    scored = [cell for cell in cells if cell.quality and not cell.deaf]
    ranked = sorted(scored, key=lambda cell: -(cell.quality.mean if cell.quality else 0))
    if len(ranked) > 1 and ranked[0].quality:
        best = ranked[0]
        lines.append(
            f"best here: {best.checkpoint} at {best.strength:g}; the best of {len(ranked)} looks better than it is: "
            "prove it with `harness compare` on other seeds, or let a promotion decide"
        )
    return lines
