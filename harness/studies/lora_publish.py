"""A model card: what a LoRA is, how to use it, how it was made, and how it stands against others. Markdown."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.core.errors import UsageError
from harness.core.text import bounds_text
from harness.core.values import Interval
from harness.models.lora.convert import commonest, plain
from harness.models.lora.file import SDXL_WIDTH, LoraFile
from harness.models.lora.inspection import BASES, kind_of, trigger_of
from harness.report.terminal import clean

BOARD = ("quality", "clip", "features", "ssim")
RECIPE = ("steps", "rank", "alpha", "learning_rate", "batch", "caption_dropout", "snr_gamma", "prior_weight", "seed")
BASE = "base_model: stabilityai/stable-diffusion-xl-base-1.0\n"
FRONT = """---
tags: [text-to-image, lora, diffusers, template:sd-lora]
{base}instance_prompt: {trigger}
---
"""


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
    text = lora.metadata
    title, trigger = text.get("modelspec.title", "LoRA"), trigger_of(text)
    about = text.get("modelspec.description", "")
    sections = [
        FRONT.format(base=BASE if lora.text_width == SDXL_WIDTH else "", trigger=json.dumps(clean(trigger))),
        f"# {safe(title)}\n",
        f"{safe(about)}\n" if about else "",
        usage(file, trigger, lora),
        table("What it is", facts(lora)),
        table("How it was made", recipe(text)),
        board(leaderboard),
    ]
    return "\n".join(section for section in sections if section)


def safe(text: str) -> str:
    """A stranger's words as one line of plain text, whatever they hold."""
    line = html.escape(clean(text), quote=False)
    return "".join(f"\\{letter}" if letter in "\\`*_[]|#" else letter for letter in line)


def usage(file: str, trigger: str, lora: LoraFile) -> str:
    """How each program is told to use it."""
    name = clean(file).replace("`", "").replace('"', "")
    word = f"Put **{safe(trigger)}** into the prompt.\n\n" if trigger else ""
    both = len(lora.parts) > 1
    strengths = "strength of model and clip 1" if both else "strength of model 1 (it leaves the text encoders alone)"
    call = f'pipe.load_lora_weights(".", weight_name="{name}")'
    return (
        f"## Use\n\n{word}diffusers:\n\n```python\n{call}\n```\n\n"
        f"A1111, Forge: `<lora:{name.removesuffix('.safetensors')}:1>`. ComfyUI: the node *Load LoRA*, {strengths}.\n"
    )


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


def table(title: str, rows: Mapping[str, str]) -> str:
    """A section with what is known; "" when nothing is."""
    lines = [f"| {safe(name)} | {safe(value)} |" for name, value in rows.items() if value]
    return "\n".join([f"## {title}\n", "| | |", "|---|---|", *lines, ""]) if lines else ""


def board(rows: Sequence[PublishedRow]) -> str:
    """The leaderboards of a run, suite by suite."""
    parts = []
    for suite in dict.fromkeys(row.suite for row in rows):
        own = sorted((row for row in rows if row.suite == suite), key=lambda row: row.rank)
        lines = [
            f"| {row.rank} | {name_of(row)} | {' | '.join(bounds_text(row.scores[name]) for name in BOARD)} |"
            for row in own
        ]
        parts += [
            f"## Leaderboard: {safe(suite)}\n",
            f"| # | provider | {' | '.join(BOARD)} |",
            "|---|---|" + "---|" * len(BOARD),
            *lines,
            "",
        ]
    if parts:
        parts.append(
            "Calibrated scores from 0 to 1 with 95% intervals, the pictures' prompts and seeds alike for all.\n"
        )
    return "\n".join(parts)


def name_of(row: PublishedRow) -> str:
    return safe(row.provider) + (" (emulated)" if row.emulated else "")


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
