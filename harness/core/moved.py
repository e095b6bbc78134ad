"""Import paths that the documentation once named: they go on working for one release, and say where the names live."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

MOVED: Mapping[str, tuple[str, ...]] = {
    "harness.values": ("harness.core.values",),
    "harness.errors": ("harness.core.errors",),
    "harness.settings": ("harness.core.settings",),
    "harness.profile": ("harness.config.profile", "harness.core.settings", "harness.core.yaml"),
    "harness.suite": ("harness.config.suite",),
    "harness.judge": ("harness.judging.judge",),
    "harness.calibrate": ("harness.core.stats.calibration", "harness.core.values"),
    "harness.leaderboard": ("harness.judging.leaderboard",),
    "harness.stats": ("harness.core.stats",),
    "harness.stats.intervals": ("harness.core.stats.intervals",),
    "harness.stats.comparing": ("harness.core.stats.comparing",),
    "harness.stats.power": ("harness.core.stats.power",),
    "harness.stats.many": ("harness.core.stats.many",),
    "harness.stats.looking": ("harness.core.stats.looking",),
    "harness.stats.votes": ("harness.core.stats.votes",),
    "harness.metrics": (
        *("harness.scoring.metrics.table", "harness.scoring.metrics.applied", "harness.scoring.metrics.evidence"),
        "harness.scoring.metrics.scorer",
    ),
    "harness.metrics.third_party": ("harness.scoring.metrics.third_party",),
    "harness.net": ("harness.providers.http_client",),
    "harness.net.exchange": ("harness.providers.http_client.exchange",),
}
"""Documented path to where its names live now, in the order in which they are looked for."""


class Moved(MetaPathFinder, Loader):
    """Finds a module under its former name: an empty one, whose names come from their homes when asked for."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, self, is_package=True) if fullname in MOVED else None

    def exec_module(self, module: ModuleType) -> None:
        former, homes = module.__name__, MOVED[module.__name__]

        def find(name: str) -> Any:
            for home in () if name.startswith("__") else homes:
                found = importlib.import_module(home)
                if hasattr(found, name):
                    text = f"{former}.{name} is {home}.{name} now; the former path goes with the next release"
                    warnings.warn(text, DeprecationWarning, stacklevel=2)
                    return getattr(found, name)
            raise AttributeError(f"module {former!r} has no attribute {name!r}")

        module.__dict__["__getattr__"] = find


def keep_former_paths() -> None:
    """Let `import harness.values` and its like work, once a process."""
    if not any(isinstance(finder, Moved) for finder in sys.meta_path):
        sys.meta_path.append(Moved())
