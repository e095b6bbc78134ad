"""`harness init`: the demo suite, or a suite for a folder of somebody's own pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
from dotenv import dotenv_values

from harness.commands.options import argument, command, option
from harness.commands.project import open_profile
from harness.config.starter import write_demo, write_subject
from harness.core.errors import ModelError, ReferencesError
from harness.models.loading import Models
from harness.scoring.domain import DomainJudge
from harness.scoring.references.gather import gather_folder

DEFAULT = "embedded"
MANY_FILES = 5  # written into one folder: its name is enough


@command
@argument("pictures", required=False, type=Path, help="a folder of pictures of one subject; none: the demo suite")
@option("--name", help="the subject's name (default: the folder's)")
@option("--trigger", help="the word that stands for the subject in prompts (default: the name)")
@option("--class-word", help="what the subject is one of, `a cat` say (default: a person)")
@option("--kind", type=click.Choice(["character", "style"]), default="character")
@option("--profile", help="the models to test with from now on: written into .env (default: embedded)")
@option("--into", type=Path, default=Path(), help="where to write (default: here)")
def init(
    pictures: Path | None,
    name: str | None,
    trigger: str | None,
    class_word: str | None,
    kind: str,
    profile: str | None,
    into: Path,
) -> int:
    opened, _ = open_profile(profile=profile or DEFAULT)  # one that there is not is refused before anything is written
    if pictures is None:
        written = write_demo(into)
    else:
        name = name or pictures.name.replace("_", " ").replace("-", " ")
        written = write_subject(into, pictures, name, trigger or name.lower(), kind, class_word or "")
    chosen = choose_profile(into, opened.name) if profile else []
    for line in [*written_lines(written), *chosen, *(domain_lines(pictures, profile or DEFAULT) if pictures else [])]:
        print(line)
    return 0


def choose_profile(into: Path, name: str) -> list[str]:
    """Have `pytest` and `harness` in a project use a profile; what its .env says of one already stays."""
    file, line = into / ".env", f"HARNESS_PROFILE={name}"
    said = dotenv_values(file, interpolate=False, encoding="utf-8").get("HARNESS_PROFILE") if file.exists() else None
    if said is not None:
        return [] if said == name else [f"note: {file.as_posix()} says HARNESS_PROFILE={said}, not {name}; it was left"]
    with file.open("a", encoding="utf-8") as stream:
        before = "" if not stream.tell() else "\n"
        stream.write(f"{before}{line}\n")
    return [f"wrote {file.as_posix()}: {line} (git ignores it; in CI set the variable itself)"]


def domain_lines(pictures: Path, profile: str) -> list[str]:
    """A warning where the profile's models cannot judge such pictures; the suite is written all the same."""
    opened, settings = open_profile(profile=profile)
    judge = DomainJudge(opened, Models(opened, settings))
    try:
        found = judge.check_files(list(gather_folder(pictures).pictures))
    except (ModelError, ReferencesError):  # `harness doctor` and `references check` say what is wrong there
        return []
    if not found.measured:
        return [f"note: whether the models know such pictures was {found.sentence}"]
    return [f"warning: {found.sentence}"] if found.count else []


def written_lines(written: Sequence[Path]) -> list[str]:
    """A line a file, or a line a folder where it received many."""
    folders: dict[Path, list[Path]] = {}
    for path in written:
        folders.setdefault(path.parent, []).append(path)
    return [
        line
        for folder, paths in folders.items()
        for line in (
            [f"wrote {folder.as_posix()}/ ({len(paths)} files)"]
            if len(paths) > MANY_FILES
            else [f"wrote {path.as_posix()}" for path in paths]
        )
    ]
