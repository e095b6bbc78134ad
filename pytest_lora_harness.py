"""The name by which pytest loads the plugin. It stands aside where the project under test has a `harness` of its own.

`harness` is an ordinary word, and a package of that name may lie in the project whose tests run. Whichever is imported
first would be everybody's, so this module looks before it imports: a foreign one stays the project's, its tests run as
if this plugin were not installed, and one line of pytest's header says so.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

OURS = Path(__file__).resolve().with_name("harness")


def found_first() -> Iterator[Path]:
    """What `import harness` would load now."""
    try:
        spec = find_spec("harness")
    except ValueError:  # somebody put a module there by hand
        return
    if spec and spec.origin:
        yield Path(spec.origin)


def in_project(start: Path) -> Iterator[Path]:
    """What lies where pytest would add a project's folders to the path: here or above, and in their `src`."""
    for folder in (start, *start.parents):
        for place in (folder, folder / "src"):
            yield place / "harness" / "__init__.py"
            yield place / "harness.py"
        if any((folder / name).exists() for name in (".git", "pyproject.toml", "pytest.ini", "tox.ini", "setup.cfg")):
            return


def foreign(candidates: Iterable[Path]) -> Path | None:
    """The first of them that is there and is not this distribution's package."""
    return next((path for path in candidates if path.is_file() and path.resolve().parent != OURS), None)


CHOSEN = "harness" in sys.modules  # `harness ci` has imported ours already: then it is wanted, whatever lies here
FOREIGN = foreign(found_first()) or (None if CHOSEN else foreign(in_project(Path.cwd())))

if FOREIGN is None:
    pytest_plugins = ["harness.plugin"]
else:

    def pytest_report_header() -> str:
        return f"lora-harness: stands aside, because {FOREIGN} is a `harness` of this project's own"
