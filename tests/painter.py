"""A provider and a scorer for tests of the engine: real, small, and their figures are known.

A LoRA file holds a number; pictures drawn with it are that bright, and brightness is the score.
"""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from PIL import Image, ImageStat

from harness.config.profile import ModelPaths, Profile, ProviderConfig
from harness.core.settings import Settings
from harness.core.values import (
    METRICS,
    Case,
    CaseResult,
    Generation,
    Job,
    Lora,
    Outcome,
    Request,
    Score,
    Subject,
    Suite,
    Threshold,
    Trait,
    hash_file,
)
from harness.engine.run import Run
from harness.scoring.metrics.applied import Applied, check_applied
from harness.scoring.metrics.evidence import Evidence, gather_evidence
from harness.store import Store

SIZE = 16
BASE = 0.2  # how bright the base draws


class Painter:
    """Draws two shades whose mean is what the LoRA says; notes every picture in a file, so that processes can count."""

    emulated = False

    def __init__(
        self,
        name: str,
        settings: Settings,
        log: Path,
        *,
        adapter: str = "local/1",
        use: str = "",
        batch: int = 2,
        level: float = BASE,
        delay: float = 0.0,
        needs: str = "",
        trouble: Callable[[Sequence[Request]], Generation | None] = lambda requests: None,
    ) -> None:
        """`trouble` may raise, or answer a picture in place of the painter; it sees what is still to be drawn."""
        self.name, self.settings, self.log, self.adapter, self.use = name, settings, log, adapter, use
        self.batch, self.level, self.delay, self.needs, self.trouble = batch, level, delay, needs, trouble
        self.calls: list[int] = []  # sizes of the batches that were asked for
        self._files: dict[str, Path] = {}

    def missing(self) -> str:
        return self.needs

    def requests(self, suite: Suite, case: Case, seeds: Sequence[int]) -> tuple[Request, ...]:
        lora = self.settings.under_test.of(suite, self.name) if self.use == "lora" else None
        sha, strength = (hash_file(lora.path), lora.strength) if lora and lora.strength else ("", 0.0)
        if lora:
            self._files[sha] = lora.path
        model = self.name if self.adapter != "local/1" else "base"
        template = Request(
            self.adapter, model, case.prompt, 0, SIZE, SIZE, lora=sha, strength=strength, batch=self.batch
        )
        return tuple(replace(template, seed=seed) for seed in seeds)

    def draw(self, requests: Sequence[Request]) -> Iterator[Generation]:
        self.calls.append(len(requests))
        for index, request in enumerate(requests):
            answer = self.trouble(requests[index:])
            time.sleep(self.delay)
            with self.log.open("a", encoding="utf-8") as stream:
                stream.write(f"{self.name} {request.prompt} {request.seed} {request.key}\n")
            level = float(self._files[request.lora].read_text()) if request.lora else self.level
            data = shades(level, request.seed, request.prompt)
            yield answer or Generation(Outcome.OK, data, seconds=0.001, cost_usd=0.01)

    def close(self) -> None:
        pass


def shades(level: float, seed: int, prompt: str = "") -> bytes:
    """PNG whose mean is `level` of 255, and a little more for each seed; every prompt has its own pattern."""
    mean = round(255 * level) + seed % 3
    image = Image.new("L", (SIZE, SIZE), mean)
    for row, code in enumerate(hashlib.sha256(prompt.encode()).digest()[:SIZE]):
        image.putpixel((code % SIZE, row), mean - 5)
        image.putpixel(((code + 1) % SIZE, row), mean + 5)
    return png(image.convert("RGB"))


def png(image: Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


@dataclass
class Brightness:
    """The brighter the better; counts the pictures it looked at."""

    identity: str = "brightness/1"
    looked: list[str] = field(default_factory=list)

    def traits(self) -> tuple[Trait, ...]:
        return (Trait("hair", "black", "black hair"),)

    def calibration(self) -> Any:
        return None

    def score(self, items: Sequence[tuple[Case, bytes]]) -> list[Mapping[str, Score]]:
        self.looked += [case.id for case, _ in items]
        levels = [fmean(ImageStat.Stat(Image.open(io.BytesIO(data))).mean) / 255 for _, data in items]
        return [{name: Score(name, level, level) for name in METRICS} for level in levels]

    def applied(
        self, pairs: Sequence[tuple[bytes, bytes]], keys: int | None = None, lora: Lora | None = None
    ) -> Applied:
        return check_applied(pairs, keys=keys, strength=lora.strength if lora else None)

    def evidence(
        self, provider: str, results: Sequence[CaseResult], lora: Lora | None = None, applied: Any = None
    ) -> Evidence:
        return gather_evidence(provider, results, applied, None)


def make_profile() -> Profile:
    return Profile(
        name="painted",
        path=Path("painted.yaml"),
        models=ModelPaths("none", "none"),
        size=(SIZE, SIZE),
        steps=1,
        guidance=1.0,
        scheduler="euler",
        batch=2,
        dtype="float32",
        device="cpu",
        negative="",
        max_tokens=77,
        vocabulary={},
        templates=("{}",),
        impostors=None,
        providers={"flat": ProviderConfig("flat", {"pattern": "stripes"}), "blank": ProviderConfig("flat")},
    )


@dataclass
class Studio:
    """One folder with a suite, a store and painters; `run()` opens a run over them."""

    folder: Path
    painters: dict[str, dict[str, Any]] = field(default_factory=lambda: {"lora": {"use": "lora"}, "base": {}})
    cases: int = 4
    locked: int = 2
    samples: int = 2
    lora: float | None = 0.9
    strength: float = 1.0
    suite_keys: dict[str, Any] = field(default_factory=dict)
    scorer: Brightness = field(default_factory=Brightness)
    opened: dict[tuple[str, Lora | None], Painter] = field(default_factory=dict)

    @property
    def log(self) -> Path:
        return self.folder / "drawn.txt"

    @property
    def drawn(self) -> list[str]:
        return self.log.read_text(encoding="utf-8").splitlines() if self.log.exists() else []

    @property
    def suite(self) -> Suite:
        path = None if self.lora is None else self.write_lora("under_test", self.lora)
        names = [f"case-{index}" for index in range(self.cases)]
        cases = [Case("painted", name, f"aldar, {name}") for name in names]
        cases += [Case("painted", f"locked-{index}", f"aldar, {index}", split="locked") for index in range(self.locked)]
        subject = Subject("Aldar", "aldar", self.folder, lora=Lora(path, self.strength) if path else None)
        keys: dict[str, Any] = {
            "gate": ("lora",),
            "thresholds": {"quality": Threshold(fail=0.6)},
            "samples": self.samples,
            "weights": {"clip": 0.4, "features": 0.4, "ssim": 0.2},
        }
        file, providers = self.folder / "painted.yaml", tuple(self.painters)
        return Suite("painted", file, subject, providers, cases=tuple(cases), **{**keys, **self.suite_keys})

    def write_lora(self, name: str, level: float) -> Path:
        path = self.folder / f"{name}.safetensors"
        if not path.exists() or path.read_text() != str(level):  # the engine may be reading it
            path.write_text(str(level))
        return path

    def jobs(self, *providers: str) -> list[Job]:
        suite = self.suite
        return [
            Job(suite.path.as_posix(), case.id, name)
            for name in providers or suite.providers
            for case in suite.cases
            if case.split == "open"
        ]

    def open_provider(self, name: str, settings: Settings) -> Painter:
        painter = Painter(name, settings, self.log, **self.painters[name])
        self.opened[name, settings.lora] = painter
        return painter

    def settings(self, **keys: Any) -> Settings:
        return Settings(root=self.folder, **{"store": self.folder / "store", **keys})

    def run(
        self, *, listener: Any = None, improve: Any = None, suites: Any = None, providers: Any = None, **keys: Any
    ) -> Run:
        """`suites`, `providers`: in place of the studio's own, as `Run` takes them; `keys`: of the settings."""
        settings = self.settings(**keys)
        return Run(
            settings,
            make_profile(),
            suites or [self.suite],
            Store(settings.store),
            listener=listener,
            providers=providers or self.open_provider,
            scorers=lambda suite: self.scorer,
            improve=improve,
        )
