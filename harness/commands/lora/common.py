"""What several of the `harness lora` commands take and say."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.commands.options import Decorator, option, profile_option, together
from harness.core.errors import UsageError
from harness.core.text import table
from harness.core.values import Suite

if TYPE_CHECKING:
    from harness.models.lora.resize import Resized

MOST = 12  # modules shown of those that a resize cost most


def suite_options(required: bool = True, more: str = "") -> Decorator:
    """The suite whose subject is meant."""
    return together(
        option("--suite", type=Path, required=required, help=f"whose subject it is{more}"),
        profile_option,
    )


dtype_option = option("--dtype", type=click.Choice(["keep", "float16", "bfloat16", "float32"]), default="keep")


def dtype_of(word: str) -> str | None:
    return None if word == "keep" else word


def champion_path(suite: Suite) -> Path:
    """Where the subject's champion is. Raises UsageError when its suite names no place."""
    if suite.subject.lora is None:
        raise UsageError(f"{suite.path}: the suite names no lora, so its subject has no champion's place")
    return suite.subject.lora.path


def show_costs(resized: Resized) -> list[str]:
    """What each module lost: those that lost most, and all of them together."""
    costs = sorted(resized.costs.items(), key=lambda item: -item[1].error)
    rows = [(name, f"{cost.before} -> {cost.after}", f"{cost.error:.2%}") for name, cost in costs[:MOST]]
    before, after = sum(cost.before for _, cost in costs), sum(cost.after for _, cost in costs)
    rest = [f"  and {len(costs) - MOST} more that lost less"] if len(costs) > MOST else []
    whole = f"all {len(costs)} modules: ranks {before} -> {after} in sum, {resized.error:.2%} of the change left out"
    return [*table([("module", "rank", "left out (Frobenius norm)"), *rows]), *rest, whole]


def beside(file: Path, word: str) -> Path:
    return file.with_name(f"{file.stem}.{word}.safetensors")


def print_written(path: Path) -> None:
    print(f"wrote {path.as_posix()}")


def print_lines(lines: Iterable[str], start: str = "") -> None:
    for line in lines:
        print(f"{start}{line}")
