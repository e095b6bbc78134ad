"""`harness cache gc`: what was not used for long goes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TypeVar

from harness.commands.cache.common import find_store, pin_option, show, store_options
from harness.commands.options import command, flag, option
from harness.core.errors import UsageError
from harness.store.cache import RemovalPlan, collect, pins, plan_gc, read_age, read_size, size_text
from harness.store.users import alone

Value = TypeVar("Value")


@command
@store_options
@pin_option
@option("--max-size", metavar="2GB", help="of the whole store afterwards")
@option("--older-than", metavar="30d", help="remove what was not used for so long (h, d, w)")
@flag("--dry-run", help="only say what would go")
def gc(
    store: str | None,
    as_json: bool,
    pin: tuple[Path, ...],
    max_size: str | None,
    older_than: str | None,
    dry_run: bool,
) -> int:
    settings = find_store(store)
    folder = settings.store
    most = parsed("--max-size", max_size, read_size)
    older = parsed("--older-than", older_than, read_age)
    with nullcontext() if dry_run else alone(folder):  # nobody may come to need what has just been chosen
        plan = plan_gc(folder, pins(settings.root, folder, pin), max_bytes=most, older_s=older)
        if not dry_run:
            collect(folder, plan)
    left = plan.total - plan.freed
    if as_json:
        show(gc_record(plan, folder, dry_run))
        return 0
    verb = "would remove" if dry_run else "removed"
    print(
        f"{folder}: {verb} {len(plan.pictures)} pictures and {len(plan.files)} leftovers, {size_text(plan.freed)}; "
        f"{size_text(left)} stay, {plan.pinned} pictures pinned"
    )
    if most is None and older is None:
        print("only leftovers go by themselves; say --max-size or --older-than to remove pictures")
    elif most is not None and left > most:
        print(f"{size_text(left - most)} more than --max-size: what is left is pinned, or no picture")
    return 0


def gc_record(plan: RemovalPlan, store: Path, dry: bool) -> dict[str, object]:
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
