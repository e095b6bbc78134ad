"""Metrics of your own: a function that looks at one picture, from an installed package or from a Python file.

A profile names them under `metrics:`. An installed package offers its metric as an entry point of the group
`lora_harness.metrics` called NAMESPACE.NAME; a file's metric is FILE.py:FUNCTION, relative to the project, and is
called after both. Nothing that is not named is imported: a profile decides what code runs, as a conftest.py does.
"""

from __future__ import annotations

import importlib.util
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

from PIL import Image

from harness.config.profile import metric_name
from harness.core.arrays import Floats
from harness.core.errors import SuiteError, nearest
from harness.core.values import Case, Score, Subject, digest, hash_file
from harness.models.embeddings import open_picture
from harness.scoring.metrics.protocol import MetricContext
from harness.scoring.references import set_hash

GROUP = "lora_harness.metrics"
NAME = re.compile(r"[a-z0-9_-]+\.[a-z0-9_-]+")
Metric = Callable[["Image.Image", Case, "Context"], Score | None]


@dataclass(frozen=True)
class Context:
    """What a metric may look at beside the picture (RGB) and its case."""

    subject: Subject
    size: tuple[int, int]  # pixels, as the profile asks
    references: tuple[Path, ...]  # the held-out pictures; `train` is for training
    gallery: Floats  # their CLIP unit vectors (n, d)
    vector: Floats  # the picture's own (d,)
    scores: Mapping[str, Score]  # what other metrics found in the picture already


def load_metrics(named: Sequence[str], bench: MetricContext) -> list[PluggedMetric]:
    """The metrics that a profile names.

    Raises:
        SuiteError: there is none of that name, it cannot be imported, or two share a name.
    """
    made: dict[str, PluggedMetric] = {}
    for source in named:
        metric = from_file(source, bench) if ":" in source else from_package(source, bench)
        if not NAME.fullmatch(metric.name):
            raise SuiteError(
                f"metrics: {metric.name!r} must be NAMESPACE.NAME, in a-z, 0-9, _ and -", bench.profile.path
            )
        if metric.name in made:
            raise SuiteError(f"metrics: two are called {metric.name!r}; rename one", bench.profile.path)
        made[metric.name] = metric
    return list(made.values())


def from_package(name: str, bench: MetricContext) -> PluggedMetric:
    """The entry point of that name."""
    known = {entry.name: entry for entry in metadata.entry_points(group=GROUP)}
    if name not in known:
        remedy = (
            nearest(name, known) if known else "no installed package offers any; install one, or name FILE.py:FUNCTION"
        )
        raise SuiteError(f"metrics: no metric called {name!r}; {remedy}", bench.profile.path)
    entry = known[name]
    try:
        function = entry.load()
    except Exception as error:  # whatever a package does while it is imported
        raise SuiteError(f"metrics: {name!r} cannot be imported: {error!r}", bench.profile.path) from error
    version = f"{entry.dist.name} {entry.dist.version}" if entry.dist else ""
    return PluggedMetric(name, function, version, bench)


def from_file(source: str, bench: MetricContext) -> PluggedMetric:
    """A function of a Python file under the project."""
    file, _, function = source.rpartition(":")
    path = bench.models.root / file
    spec = importlib.util.spec_from_file_location(f"lora_harness_metric_{path.stem}", path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise SuiteError(f"metrics: there is no Python file {path}", bench.profile.path)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # the author's own code
        raise SuiteError(f"metrics: {path} cannot be imported: {error!r}", bench.profile.path) from error
    if not callable(result := getattr(module, function, None)):
        names = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        raise SuiteError(
            f"metrics: {path} has no function {function!r}; {nearest(function, names)}", bench.profile.path
        )
    return PluggedMetric(metric_name(source), result, hash_file(path), bench)


class PluggedMetric:
    """Somebody's function as one of the added metrics."""

    def __init__(self, name: str, function: Metric, version: str, bench: MetricContext) -> None:
        self.name, self.function, self.version, self.bench = name, function, version, bench

    @cached_property
    def identity(self) -> str:
        """Package and version, or the file's bytes; and the bytes of the module that the function is written in."""
        written = inspect.getsourcefile(inspect.unwrap(self.function)) if inspect.isfunction(self.function) else None
        source = hash_file(Path(written)) if written and Path(written).is_file() else ""
        return digest([self.version, source, set_hash(self.bench.gallery)])

    def score(
        self, items: Sequence[tuple[Case, bytes]], vectors: Floats, found: Sequence[Mapping[str, Score]]
    ) -> list[Score | None]:
        gallery, bench = self.bench.clip.files(self.bench.gallery), self.bench
        scores: list[Score | None] = []
        for (case, data), vector, known in zip(items, vectors, found, strict=True):
            context = Context(bench.suite.subject, bench.profile.size, bench.gallery, gallery, vector, dict(known))
            scores.append(self._look(open_picture(data), case, context))
        return scores

    def _look(self, picture: Image.Image, case: Case, context: Context) -> Score | None:
        """One picture; what goes wrong is the reason of a missing score, because one metric must not end a run."""
        try:
            result: Any = self.function(picture, case, context)
        except Exception as error:
            return Score(self.name, None, reason=f"{self.name} failed: {type(error).__name__}: {error}")
        if result is None:
            return None
        if not isinstance(result, Score):
            return Score(self.name, None, reason=f"{self.name} returned {type(result).__name__}, not a Score")
        if result.value is not None and not 0 <= result.value <= 1:
            return Score(self.name, None, result.raw, f"{self.name} returned {result.value}; a score lies in [0, 1]")
        return replace(result, metric=self.name)
