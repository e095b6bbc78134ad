"""Which project a file belongs to: one root for its store, its report and its .env, wherever somebody stands.

It is the folder that pytest would take, found from the file upwards: the nearest one with a configuration of pytest,
else one with a `pyproject.toml` or `setup.py`, else the one above `suites/`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

SUITES = "suites"  # the folder that a project's suites lie in, unless they are named
SECTIONS: Mapping[str, re.Pattern[str]] = {
    "pytest.toml": re.compile(""),
    ".pytest.toml": re.compile(""),
    "pytest.ini": re.compile(""),
    ".pytest.ini": re.compile(""),
    "pyproject.toml": re.compile(r"^\[tool\.pytest(\.ini_options)?\]", re.MULTILINE),
    "tox.ini": re.compile(r"^\[pytest\]", re.MULTILINE),
    "setup.cfg": re.compile(r"^\[tool:pytest\]", re.MULTILINE),
}
"""Files that may configure pytest, in pytest's order, to what they hold where they do."""
MARKERS = ("pyproject.toml", "setup.py")  # of a project that does not configure pytest


def find_project(path: Path) -> Path:
    """The root of a file's or a folder's project.

    Without a configuration, a `setup.py` and a folder `suites` it is the current folder where the file lies in it,
    else the file's own folder.
    """
    path = path.resolve()
    folder = path if path.is_dir() else path.parent
    around = [folder, *folder.parents]
    if configured := next((each for each in around if configuration(each)), None):
        return configured
    if marked := next((each for each in around if any((each / name).is_file() for name in MARKERS)), None):
        return marked
    if suites := next((each for each in around[:-1] if each.name == SUITES), None):
        return suites.parent
    here = Path.cwd()
    return here if folder.is_relative_to(here) else folder


def configuration(folder: Path) -> Path | None:
    """The file in a folder that configures pytest."""
    for name, section in SECTIONS.items():
        file = folder / name
        if file.is_file() and section.search(read_text(file)):
            return file
    return None


def read_text(file: Path) -> str:
    """What a file says; nothing where it cannot be read, because pytest itself will complain of it."""
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def project_path(path: Path) -> str:
    """A file's path from its project's root on: the same on every machine, and in every folder that it is run from."""
    path = path.resolve()
    return path.relative_to(find_project(path)).as_posix()


def belongs_to_another(file: str, path: Path) -> bool:
    """Whether what was made from `file` is of another file of this file's project: one that is there.

    A file that is gone was moved or renamed, and what was made from it goes with the one that now bears its name.

    Args:
        file: as `project_path` said; "" where that is not known.
    """
    return bool(file) and file != project_path(path) and (find_project(path) / file).is_file()
