"""What the benchmarks of remote services share: an emulator, a profile that points at it, a suite, a plain scorer."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from harness.config.profile import ModelPaths, Profile, ProviderConfig
from harness.core.values import METRICS, Case, CaseResult, Job, Lora, Score, Subject, Suite, Trait
from harness.scoring.metrics.applied import check_applied
from harness.scoring.metrics.evidence import gather_evidence

SIZE = (96, 96)


def make_profile(providers: Mapping[str, Mapping[str, Any]]) -> Profile:
    """A profile of remote services alone."""
    return Profile(
        name="remote",
        path=Path("remote.yaml"),
        models=ModelPaths("none", "none"),
        size=SIZE,
        steps=1,
        guidance=1.0,
        scheduler="euler",
        batch=1,
        dtype="float32",
        device="cpu",
        negative="",
        max_tokens=77,
        vocabulary={},
        templates=("{}",),
        impostors=None,
        providers={name: ProviderConfig(name, dict(options)) for name, options in providers.items()},
        emulator=True,
    )


def make_suite(folder: Path, providers: Sequence[str], cases: int) -> Suite:
    """One sample a case; nobody is a gate."""
    subject = Subject("Nobody", "nobody", folder, traits={})
    prompts = [f"a person, smiling, city background, number {number}" for number in range(cases)]
    made = [Case("remote", f"case-{number}", prompt) for number, prompt in enumerate(prompts)]
    weights = {"clip": 0.4, "features": 0.4, "ssim": 0.2}
    return Suite(
        "remote", folder / "remote.yaml", subject, tuple(providers), (), tuple(made), samples=1, weights=weights
    )


def jobs_of(suite: Suite) -> list[Job]:
    return [Job(suite.path.as_posix(), case.id, name) for case in suite.cases for name in suite.providers]


@dataclass
class Brightness:
    """The brighter the better: a scorer that costs nothing and counts what it is shown."""

    identity: str = "brightness/1"
    looked: int = field(default=0)

    def traits(self) -> tuple[Trait, ...]:
        return ()

    def calibration(self) -> Any:
        return None

    def score(self, items: Sequence[tuple[Case, bytes]]) -> list[Mapping[str, Score]]:
        from PIL import Image, ImageStat

        self.looked += len(items)
        levels = [fmean(ImageStat.Stat(Image.open(io.BytesIO(data))).mean) / 255 for _, data in items]
        return [{name: Score(name, level, level) for name in METRICS} for level in levels]

    def applied(self, pairs: Sequence[tuple[bytes, bytes]], keys: int | None = None, lora: Lora | None = None) -> Any:
        return check_applied(pairs, keys=keys, strength=None)

    def evidence(
        self, provider: str, results: Sequence[CaseResult], lora: Lora | None = None, applied: Any = None
    ) -> Any:
        return gather_evidence(provider, results, applied, None)
