"""`harness cache verify`: whether the store is sound."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.commands.cache.common import find_store, show, store_options
from harness.commands.options import command, flag, option
from harness.commands.project import open_profile
from harness.config.suite import is_suite_file, load_suite
from harness.core.errors import UsageError
from harness.core.project import SUITES
from harness.models.loading import Models
from harness.store import Store, cache

if TYPE_CHECKING:
    from harness.engine.rescoring import Rescored

SHOWN = 10  # files of a sort that are listed


@command
@store_options
@flag("--mend", help="remove what is damaged, so that it is drawn again")
@option(
    "--rescore",
    "rescore_part",
    metavar="SHARE",
    help="score so many of the pictures again, 5% say, and tell which records say otherwise",
)
@option("--suite", "suites", type=Path, multiple=True, metavar="FILE", help="whose scores (default: suites/*.yaml)")
@option("--profile", metavar="NAME", help="with what they were scored (default: embedded)")
def verify(
    store: str | None,
    as_json: bool,
    mend: bool,
    rescore_part: str | None,
    suites: tuple[Path, ...],
    profile: str | None,
) -> int:
    folder = find_store(store).store
    share = read_share(rescore_part) if rescore_part else None
    health = cache.verify(folder)
    mended = cache.mend(folder, health) if mend and not (health.sound and not health.halves) else 0
    rescored = score_again(folder, suites, profile, share) if share else None
    otherwise = rescored.differences if rescored else ()
    sound = health.sound and not otherwise
    if as_json:
        again = {"rescored": asdict(rescored)} if rescored else {}
        show({"store": folder.as_posix(), "sound": sound, **asdict(health), "mended": mended, **again})
    else:
        print(f"{folder}: {health.files} files hashed, records {health.records}")
        for word, names, remedy in (
            ("damaged", health.damaged, "a run draws them again; --mend removes them now"),
            ("lost", health.lost, "a run draws them again; --mend forgets them now"),
            ("edited", health.edited, "what they said is made again by a run; --mend removes them now"),
            ("half written", health.halves, "by a process that was killed; `harness cache gc` removes them"),
            ("without a record", health.orphans, "references among them; they only take space"),
        ):
            print_names(word, names, remedy)
        if rescored:
            of_others = f"; {rescored.unknown} are of other suites, profiles or versions" if rescored.unknown else ""
            print(f"rescored: {rescored.rows} of {rescored.known} scores{of_others}")
        print_names(
            "say otherwise than the pictures", otherwise, "edited, or of another machine; --fresh makes them anew"
        )
        if mended:
            print(f"mended: {mended} removed; the next run draws what it needs")
        elif sound:
            print("sound")
    return 0 if (health.sound or mended) and not otherwise else 1


def read_share(text: str) -> float:
    """`5%`, or `0.05`: (0, 1].

    Raises:
        UsageError: anything else.
    """
    number = text.strip()
    try:
        share = float(number.removesuffix("%")) / (100 if number.endswith("%") else 1)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise UsageError(f"--rescore {text}: a share of the scores, 5% or 100% say")
    return share


def score_again(folder: Path, suites: tuple[Path, ...], name: str | None, share: float) -> Rescored:
    """What the project's suites find in a share of their pictures now, held against what the store says."""
    from harness.engine.rescoring import contradictions, rescore
    from harness.scoring.metrics.scorer import scorer_of

    profile, settings = open_profile(profile=name, store=folder.as_posix())
    models = Models(profile, settings)
    paths = suites or tuple(path for path in sorted(Path(SUITES).glob("*.yaml")) if is_suite_file(path))
    if not paths:
        raise UsageError("--rescore: no suite in suites/; name one with --suite FILE")
    read = [load_suite(path, profile) for path in paths]
    with Store(folder) as kept:
        found = rescore(kept, read, lambda suite, twin: scorer_of(suite, profile, models, twin), share)
        return replace(found, differences=(*contradictions(folder, kept), *found.differences))


def print_names(word: str, names: tuple[str, ...], remedy: str) -> None:
    """A count, the first of them, and what to do."""
    if names:
        print(f"  {len(names)} {word} ({remedy})")
        for name in names[:SHOWN] if word not in ("half written", "without a record") else ():
            print(f"    {name}")
