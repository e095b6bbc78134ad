"""`harness lora inspect`: what a file holds, and what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from harness.commands.options import argument, command, flag
from harness.core.text import clean, table
from harness.models.lora.inspection import Inspection, inspect_lora


@command
@argument("file", type=Path)
@flag("--json", "as_json", help="as JSON")
def inspect(file: Path, as_json: bool) -> int:
    """The exit status: 1 when something is wrong."""
    result = inspect_lora(file)
    print(json.dumps(result.to_record(), indent=2, sort_keys=True) if as_json else "\n".join(show_inspection(result)))
    return 1 if result.problems else 0


def show_inspection(inspection: Inspection) -> list[str]:
    """What a file holds, for people. Its own words are a stranger's: no control characters get through."""
    style, base = inspection.style and f"({inspection.style} keys)", inspection.base and f"for {inspection.base}"
    details = {
        "kind": " ".join(filter(None, (inspection.kind, style, base))),
        "modules": counts_text(inspection.modules),
        "rank": counts_text(inspection.ranks, "modules"),
        "alpha": counts_text(inspection.alphas, "modules"),
        "dtype": counts_text(inspection.dtypes, "modules"),
        "trigger": clean(inspection.trigger),
        **{clean(name): clean(value, 100) for name, value in inspection.training.items()},
    }
    lines = [inspection.path.name, *table([(name, value) for name, value in details.items() if value])]
    blocks = [(name, f"{block.modules}", f"{block.norm:.3g}") for name, block in inspection.blocks.items()]
    lines += ["", *table([("block", "modules", "norm of the change"), *blocks])] if blocks else []
    lines += [f"wrong: {clean(problem, 1000)}" for problem in inspection.problems]
    return [*lines, *(f"mind: {clean(remark)}" for remark in inspection.remarks)]


def counts_text(counts: Mapping[str, int], unit: str = "") -> str:
    """`16`, or `16 (140 modules), 8 (36 modules)`."""
    if unit and len(counts) == 1:
        return str(next(iter(counts)))
    return ", ".join(f"{value} ({count}{f' {unit}' if unit else ''})" for value, count in counts.items())
