"""A model card: what a LoRA is, how to use it, how it was made, and how it stands against others. Markdown."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.core.errors import UsageError
from harness.core.html import templates
from harness.core.text import bounds_text
from harness.core.values import Interval
from harness.models.lora.convert import commonest, plain
from harness.models.lora.file import SDXL_WIDTH, LoraFile
from harness.models.lora.inspection import BASES, kind_of, trigger_of
from harness.report.terminal import clean

BOARD = ("quality", "clip", "features", "ssim")
RECIPE = ("steps", "rank", "alpha", "learning_rate", "batch", "caption_dropout", "snr_gamma", "prior_weight", "seed")


@dataclass(frozen=True)
class PublishedRow:
    """What a card shows of one line of a leaderboard."""

    suite: str
    provider: str
    rank: int
    emulated: bool
    scores: Mapping[str, Interval | None]  # by metric, calibrated


def write_card(lora: LoraFile, file: str, leaderboard: Sequence[PublishedRow] = ()) -> str:
    """The card of a LoRA that lies in a file of this name.

    Args:
        leaderboard: rows of a results.json.
    """
    text, trigger = lora.metadata, trigger_of(lora.metadata)
    sections = {"What it is": facts(lora), "How it was made": recipe(text)}
    boards = {
        suite: sorted((row for row in leaderboard if row.suite == suite), key=lambda row: row.rank)
        for suite in dict.fromkeys(row.suite for row in leaderboard)
    }
    return (
        templates("harness.studies")
        .get_template("model_card.md")
        .render(
            safe=safe,
            sdxl=lora.text_width == SDXL_WIDTH,
            instance=json.dumps(clean(trigger)),
            title=text.get("modelspec.title", "LoRA"),
            about=text.get("modelspec.description", ""),
            trigger=trigger,
            file=clean(file).replace("`", "").replace('"', ""),
            both=len(lora.parts) > 1,
            sections={
                title: {name: value for name, value in rows.items() if value} for title, rows in sections.items()
            },
            boards=boards,
            metrics=BOARD,
            bounds=bounds_text,
        )
    )


def safe(text: str) -> str:
    """A stranger's words as one line of plain text, whatever they hold."""
    line = html.escape(clean(text), quote=False)
    return "".join(f"\\{letter}" if letter in "\\`*_[]|#" else letter for letter in line)


def facts(lora: LoraFile) -> dict[str, str]:
    items = list(lora.modules.values())
    ranks, alphas = {item.rank for item in items}, {plain(item.alpha) for item in items}
    text = lora.metadata
    return {
        "kind": f"{kind_of(lora)}, {lora.style} keys",
        "base": base_of(lora),
        "changes": f"{', '.join(lora.parts)}: {len(items)} modules",
        "rank": f"{commonest(item.rank for item in items)}"
        + (f" (of {len(ranks)} different)" if len(ranks) > 1 else ""),
        "alpha": f"{commonest(plain(item.alpha) for item in items)}"
        + (f" (of {len(alphas)} different)" if len(alphas) > 1 else ""),
        "resolution": text.get("modelspec.resolution", ""),
        "author": text.get("modelspec.author", ""),
        "license": text.get("modelspec.license", ""),
        "tensors": text.get("modelspec.hash_sha256", ""),
    }


def base_of(lora: LoraFile) -> str:
    """What it was trained on: its width tells, and our trainer writes a hash."""
    message = lora.metadata.get("harness.base", "")
    return ", ".join(filter(None, (BASES.get(lora.text_width, ""), message and f"files of the hash {message}")))


def recipe(said: Mapping[str, str]) -> dict[str, str]:
    """What the file says of its training, by our trainer or kohya's."""
    try:
        config = json.loads(said.get("harness.config", "{}"))
    except ValueError:
        config = {}
    ours = {name: f"{config[name]}" for name in RECIPE if isinstance(config, dict) and name in config}
    theirs = {name: said.get(f"ss_{name}", "") for name in ("steps", "learning_rate", "optimizer", "num_train_images")}
    details = {"pictures (hash)": said.get("harness.references", ""), "command": said.get("harness.command", "")}
    return {**theirs, **ours, **details, "merged from": said.get("modelspec.merged_from", "")}


def read_leaderboard(results: Path) -> list[PublishedRow]:
    """The leaderboard's rows in a results.json. Raises UsageError when the file holds none."""
    try:
        rows = json.loads(results.read_text(encoding="utf-8"))["leaderboard"]
        return [read_row(row) for row in rows if {"suite", "provider", "rank"} <= row.keys()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"--results {results}: holds no leaderboard ({error})") from error


def read_row(row: Mapping[str, Any]) -> PublishedRow:
    scores = {name: Interval(**row[name]) if row.get(name) else None for name in BOARD}
    return PublishedRow(str(row["suite"]), str(row["provider"]), int(row["rank"]), bool(row.get("emulated")), scores)
