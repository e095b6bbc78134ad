"""Import paths that the documentation once named: they go on working for one release, and say where the names live."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.abc import Loader
else:
    Loader = object  # importlib.abc loads twenty modules, and whatever imports `harness` loads this

MOVED: Mapping[str, tuple[str, ...]] = {
    "harness.values": ("harness.core.values", "harness.judging.record"),
    "harness.errors": ("harness.core.errors",),
    "harness.settings": ("harness.core.settings",),
    "harness.profile": ("harness.config.profile", "harness.core.settings", "harness.core.yaml"),
    "harness.suite": ("harness.config.suite",),
    "harness.judge": ("harness.judging.judge", "harness.judging.complaints"),
    "harness.calibrate": ("harness.core.stats.calibration", "harness.core.arrays", "harness.core.values"),
    "harness.leaderboard": ("harness.judging.leaderboard", "harness.judging.scores"),
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


RENAMED: Mapping[str, Mapping[str, str]] = {
    "harness.core.values": {"Drawing": "Generation"},
    "harness.judging.record": {"Row": "LeaderboardRow"},
    "harness.core.stats.intervals": {"Spread": "StandardDeviations"},
    "harness.core.stats": {"Spread": "StandardDeviations"},
    "harness.config.profile": {"Models": "ModelPaths"},
    "harness.config.suite": {"SuiteFile": "SuiteSchema"},
    "harness.judging.leaderboard": {"Standing": "SharedComparison"},
    "harness.scoring.metrics.table": {"Look": "SampleViews", "Ground": "ReferenceSet"},
    "harness.providers": {"Context": "ProviderContext"},
    "harness.providers.remote": {"Found": "ParsedReply"},
}
"""By module as it is called now: documented names that were given others, former to present."""


class Moved(Loader):
    """Finds a module under its former name: an empty one, whose names come from their homes when asked for."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, self, is_package=True) if fullname in MOVED else None

    def create_module(self, spec: ModuleSpec) -> None:
        """None: a module as usual."""

    def exec_module(self, module: ModuleType) -> None:
        forward(module, MOVED[module.__name__])


def forward(module: ModuleType, homes: Sequence[str]) -> None:
    """Let a module answer for names that now live, or are called, otherwise."""

    def find(name: str) -> Any:
        for home in () if name.startswith("__") else homes:
            present = RENAMED.get(home, {}).get(name, name)
            lives = importlib.import_module(home)
            if present in vars(lives):
                text = f"{module.__name__}.{name} is {home}.{present} now; the former one goes with the next release"
                warnings.warn(text, DeprecationWarning, stacklevel=2)
                return getattr(lives, present)
        raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")

    module.__dict__["__getattr__"] = find


def keep_former_names(module: str) -> None:
    """Let a module that stayed where it was answer for the names that it gave up."""
    forward(sys.modules[module], (module,))


def keep_former_paths() -> None:
    """Let `import harness.values` and its like work, once a process."""
    if not any(isinstance(finder, Moved) for finder in sys.meta_path):
        sys.meta_path.append(Moved())
