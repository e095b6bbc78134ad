"""`harness lora export`: a LoRA for diffusers, or for A1111, ComfyUI and kohya's tools."""

from __future__ import annotations

from pathlib import Path

import click

from harness.commands.lora.common import beside, dtype_of, dtype_option, print_lines, print_written
from harness.commands.options import argument, command, flag, option, together
from harness.core.errors import UsageError
from harness.models.lora.convert import Style, export_file, uneven
from harness.models.lora.file import LoraFile, read_lora
from harness.models.lora.inspection import kind_of
from harness.studies.lora_publish import read_leaderboard, write_card

FIELDS = ("title", "author", "description", "license", "trigger-phrase", "resolution")


@command
@argument("file", type=Path)
@option("--style", type=click.Choice(["diffusers", "kohya"]), required=True)
@option("--out", type=Path, help="default: FILE with the style behind its name")
@dtype_option
@option("--blocks", type=click.Choice(["sgm", "diffusers"]), default="sgm", help="kohya: whose names of the blocks")
@flag("--keep-alpha", help="kohya: each module's own alpha, also if they differ")
@flag("--fold-alpha", help="put alpha into the weights")
@flag("--card", help="write a model card beside the file")
@option("--results", type=Path, metavar="RESULTS.JSON", help="whose leaderboard goes onto the card")
@together(*(option(f"--{name}", help="in the metadata (default: what the file says)") for name in FIELDS))
def export(
    file: Path,
    style: str,
    out: Path | None,
    dtype: str,
    blocks: str,
    keep_alpha: bool,
    fold_alpha: bool,
    card: bool,
    results: Path | None,
    **described: str | None,
) -> int:
    if keep_alpha and fold_alpha:
        raise click.UsageError("Option '--fold-alpha' is not allowed with '--keep-alpha'.")
    if results and not card:
        raise UsageError("export: --results goes onto the card; add --card")
    rows = read_leaderboard(results) if results else []
    source = read_lora(file)
    alphas = "keep" if keep_alpha else "fold" if fold_alpha else "auto"
    fields = {name: text for name, text in described.items() if text}
    out = out or beside(file, style)
    written = export_file(source, out, Style(style, dtype_of(dtype), blocks, alphas), fields)
    print_written(out)
    if card:
        page = out.with_suffix(".md")
        page.write_text(write_card(written, out.name, rows), encoding="utf-8", newline="\n")
        print_written(page)
    print_lines([*source.notes, *(kohya_remarks(source, keep_alpha) if style == "kohya" else ())], "mind: ")
    return 0


def kohya_remarks(source: LoraFile, keep_alpha: bool) -> list[str]:
    """What a reader of the exported file may do otherwise."""
    lines = []
    if uneven(source.modules):
        lines.append(
            "its modules have different alphas; plain diffusers reads one of them, so their changes get lost there"
            if keep_alpha
            else "its modules had different alphas; they are evened out, since plain diffusers reads one of them"
        )
    if kind_of(source) == "DoRA":
        lines.append("plain diffusers leaves out DoRA's norms in kohya files; ComfyUI and A1111 read them")
    return lines
