"""`harness cache verify`: whether the store is sound."""

from __future__ import annotations

from dataclasses import asdict

from harness.commands.cache.common import find_store, show, store_options
from harness.commands.options import command, flag
from harness.store import cache

SHOWN = 10  # files of a sort that are listed


@command
@store_options
@flag("--mend", help="remove what is damaged, so that it is drawn again")
def verify(store: str | None, as_json: bool, mend: bool) -> int:
    folder = find_store(store).store
    health = cache.verify(folder)
    mended = cache.mend(folder, health) if mend and (health.damaged or health.lost or health.halves) else 0
    if as_json:
        show({"store": folder.as_posix(), "sound": health.sound, **asdict(health), "mended": mended})
    else:
        print(f"{folder}: {health.files} files hashed, records {health.records}")
        for word, names, remedy in (
            ("damaged", health.damaged, "a run draws them again; --mend removes them now"),
            ("lost", health.lost, "a run draws them again; --mend forgets them now"),
            ("half written", health.halves, "by a process that was killed; `harness cache gc` removes them"),
            ("without a record", health.orphans, "references among them; they only take space"),
        ):
            print_names(word, names, remedy)
        if mended:
            print(f"mended: {mended} removed; the next run draws what it needs")
        elif health.sound:
            print("sound")
    return 0 if health.sound or mended else 1


def print_names(word: str, names: tuple[str, ...], remedy: str) -> None:
    """A count, the first of them, and what to do."""
    if names:
        print(f"  {len(names)} {word} ({remedy})")
        for name in names[:SHOWN] if word in ("damaged", "lost") else ():
            print(f"    {name}")
