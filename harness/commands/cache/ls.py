"""`harness cache ls`: what the store holds."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from harness.commands.cache.common import find_store, pin_option, show, store_options
from harness.commands.options import command
from harness.store.cache import kinds, pictures, pins, size_text

DAY_S = 86_400.0


@command
@store_options
@pin_option
def ls(store: str | None, as_json: bool, pin: tuple[Path, ...]) -> int:
    settings = find_store(store)
    folder, root = settings.store, settings.root
    result, pinned = kinds(folder), pins(root, folder, pin)
    here = [picture for picture in pictures(folder) if picture.sha in pinned]
    total, held = sum(kind.bytes for kind in result), sum(picture.bytes for picture in here)
    if as_json:
        named = Counter(pinned[picture.sha] for picture in here)
        about = {"pictures": len(here), "bytes": held, "by": named}
        show({"store": folder.as_posix(), "bytes": total, "kinds": [asdict(kind) for kind in result], "pinned": about})
        return 0
    print(f"{folder}: {size_text(total)}")
    for kind in result:
        print(
            f"  {kind.name:<8} {kind.files:>7} files {size_text(kind.bytes):>10}   {age_text(kind.oldest, kind.newest)}"
        )
    print(f"  pinned   {len(here):>7} pictures {size_text(held):>7}   by baselines, champions and votes")
    return 0


def age_text(oldest: float | None, newest: float | None) -> str:
    """`3 to 12 days old`."""
    if oldest is None or newest is None:
        return ""
    young, old = (int((time.time() - when) / DAY_S) for when in (newest, oldest))
    return f"{young} days old" if young == old else f"{young} to {old} days old"
