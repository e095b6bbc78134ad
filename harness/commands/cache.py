"""`harness cache {ls,verify,gc}`."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from harness.core.errors import StoreError, UsageError

if TYPE_CHECKING:
    from harness.store.cache import RemovalPlan

DAY_S = 86_400.0
SHOWN = 10  # files of a sort that are listed
Value = TypeVar("Value")


def cache_options(sub: argparse.ArgumentParser) -> None:
    """Three commands, each with its own options."""
    commands = sub.add_subparsers(dest="action", metavar="{ls,verify,gc}", required=True)
    for name, summary in (
        ("ls", "what the store holds: sizes by kind, ages, what is pinned"),
        ("verify", "hash everything again; exit 1 when something is damaged or lost"),
        ("gc", "remove pictures that were not used for long; those of baselines, champions and votes stay"),
    ):
        each = commands.add_parser(name, help=summary, description=summary)
        each.add_argument("--store", metavar="DIR", help="default: .harness, or HARNESS_STORE")
        each.add_argument("--json", action="store_true", help="one JSON object instead of text")
        if name != "verify":
            each.add_argument(
                "--pin", type=Path, action="append", default=[], metavar="FILE", help="keep what it names too"
            )
        if name == "verify":
            each.add_argument("--mend", action="store_true", help="remove what is damaged, so that it is drawn again")
        if name == "gc":
            each.add_argument("--max-size", metavar="2GB", help="of the whole store afterwards")
            each.add_argument("--older-than", metavar="30d", help="remove what was not used for so long (h, d, w)")
            each.add_argument("--dry-run", action="store_true", help="only say what would go")


def cache(options: argparse.Namespace) -> int:
    from harness.core.settings import Settings

    settings = Settings.load(Path.cwd(), {"store": options.store})
    if not (settings.store / "images").is_dir():
        raise StoreError(f"{settings.store}: there is no store yet; a run makes one, --store DIR names another")
    return ACTIONS[options.action](options, settings.store, settings.root)


def ls(options: argparse.Namespace, store: Path, root: Path) -> int:
    from harness.store.cache import kinds, pictures, pins, size_text

    result, pinned = kinds(store), pins(root, store, options.pin)
    here = [picture for picture in pictures(store) if picture.sha in pinned]
    total, held = sum(kind.bytes for kind in result), sum(picture.bytes for picture in here)
    if options.json:
        named: dict[str, int] = {}
        for picture in here:
            named[pinned[picture.sha]] = named.get(pinned[picture.sha], 0) + 1
        about = {"pictures": len(here), "bytes": held, "by": named}
        show({"store": store.as_posix(), "bytes": total, "kinds": [asdict(kind) for kind in result], "pinned": about})
        return 0
    print(f"{store}: {size_text(total)}")
    for kind in result:
        print(
            f"  {kind.name:<8} {kind.files:>7} files {size_text(kind.bytes):>10}   {age_text(kind.oldest, kind.newest)}"
        )
    print(f"  pinned   {len(here):>7} pictures {size_text(held):>7}   by baselines, champions and votes")
    return 0


def verify(options: argparse.Namespace, store: Path, root: Path) -> int:
    from harness.store.cache import mend
    from harness.store.cache import verify as look

    health = look(store)
    mended = mend(store, health) if options.mend and (health.damaged or health.lost or health.halves) else 0
    if options.json:
        show({"store": store.as_posix(), "sound": health.sound, **asdict(health), "mended": mended})
    else:
        print(f"{store}: {health.files} files hashed, records {health.records}")
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


def gc(options: argparse.Namespace, store: Path, root: Path) -> int:
    from harness.store.cache import collect, pins, plan_gc, read_age, read_size, size_text
    from harness.store.users import alone

    most = parsed("--max-size", options.max_size, read_size)
    older = parsed("--older-than", options.older_than, read_age)
    with nullcontext() if options.dry_run else alone(store):  # nobody may come to need what has just been chosen
        plan = plan_gc(store, pins(root, store, options.pin), max_bytes=most, older_s=older)
        if not options.dry_run:
            collect(store, plan)
    left = plan.total - plan.freed
    if options.json:
        show(gc_record(plan, store, options.dry_run))
        return 0
    verb = "would remove" if options.dry_run else "removed"
    print(
        f"{store}: {verb} {len(plan.pictures)} pictures and {len(plan.files)} leftovers, {size_text(plan.freed)}; "
        f"{size_text(left)} stay, {plan.pinned} pictures pinned"
    )
    if most is None and older is None:
        print("only leftovers go by themselves; say --max-size or --older-than to remove pictures")
    elif most is not None and left > most:
        print(f"{size_text(left - most)} more than --max-size: what is left is pinned, or no picture")
    return 0


def gc_record(plan: RemovalPlan, store: Path, dry: bool) -> dict[str, Any]:
    return {
        "store": store.as_posix(),
        "dry_run": dry,
        "pictures": [picture.sha for picture in plan.pictures],
        "leftovers": [path.relative_to(store).as_posix() for path in plan.files],
        "bytes_before": plan.total,
        "bytes_freed": plan.freed,
        "pinned": plan.pinned,
    }


def parsed(option: str, text: str | None, read: Callable[[str], Value]) -> Value | None:
    """An option's value.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        return None if text is None else read(text)
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from error


def age_text(oldest: float | None, newest: float | None) -> str:
    """`3 to 12 days old`."""
    if oldest is None or newest is None:
        return ""
    young, old = (int((time.time() - when) / DAY_S) for when in (newest, oldest))
    return f"{young} days old" if young == old else f"{young} to {old} days old"


def show(record: dict[str, Any]) -> None:
    print(json.dumps(record, ensure_ascii=False))


ACTIONS: dict[str, Callable[[argparse.Namespace, Path, Path], int]] = {"ls": ls, "verify": verify, "gc": gc}
