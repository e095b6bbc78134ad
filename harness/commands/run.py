"""`harness run ...` is `pytest ...`, over suites/ when no path is given."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from harness.commands.options import ForeignCommand


@click.command(cls=ForeignCommand)
def run(words: tuple[str, ...]) -> int:
    paths = [word for word in words if not word.startswith("-") and Path(word.split("::")[0]).exists()]
    return int(pytest.main([*words, *([] if paths else ["suites"])]))
