"""What all `harness cache` commands take and say."""

from __future__ import annotations

import sys
from pathlib import Path

from harness.commands.options import flag, option, together
from harness.commands.output import json_for
from harness.core.errors import StoreError
from harness.core.settings import Settings

store_options = together(
    option("--store", metavar="DIR", help="default: .harness, or HARNESS_STORE"),
    flag("--json", "as_json", help="one JSON object instead of text"),
)
pin_option = option("--pin", type=Path, multiple=True, metavar="FILE", help="keep what it names too")


def find_store(store: str | None) -> Settings:
    """The settings of a project that has a store."""
    settings = Settings.load(Path.cwd(), {"store": store})
    if not (settings.store / "images").is_dir():
        raise StoreError(f"{settings.store}: there is no store yet; a run makes one, --store DIR names another")
    return settings


def show(record: dict[str, object]) -> None:
    print(json_for(sys.stdout, record))
