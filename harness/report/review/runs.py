"""The runs that lie in a reports folder: what of each is shown in lists, and all of one when it is asked for."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.core.errors import UsageError
from harness.core.values import Interval, as_number
from harness.judging.comparable import Parts
from harness.judging.record import CaseRecord, RunRecord, SuiteRecord, load_results

DEPTH, MOST = 4, 500  # folders below the reports folder, runs
KEPT = 3  # whole records in memory
SHORT = 8  # hexadecimal digits of a LoRA's hash in a name
MARGIN = 0.02  # where a record names none: as a suite's default


@dataclass(frozen=True)
class VotePicture:
    """One picture of a run, as far as a vote needs it."""

    suite: str
    case: str
    prompt: str
    seed: int
    provider: str
    player: str  # who is compared: the provider, with its LoRA
    image: str  # SHA-256
    emulated: bool = False
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ChallengerRun:
    """A challenger that a round of retraining made."""

    sha256: str
    file: str  # in the store's loras/
    verdict: str
    reason: str


@dataclass(frozen=True)
class SuiteSummary:
    """One suite of a run."""

    name: str
    path: str  # of the YAML file, as the run says it
    file: str  # the same from the project's root on; "" in older runs
    subject: str
    providers: tuple[str, ...]
    gate: tuple[str, ...]
    margin: float
    loras: Mapping[str, str]  # provider to the SHA-256 of its LoRA
    players: Mapping[str, str]  # provider to the name under which it is voted on
    quality: Mapping[str, Interval]  # by provider, calibrated
    references: tuple[str, ...]  # SHA-256 of held-out pictures
    attempts: tuple[ChallengerRun, ...] = ()

    @property
    def main(self) -> str:
        """The provider that the run is about."""
        return next(iter([*self.gate, *self.providers]), "")

    @property
    def lora(self) -> str:
        """The LoRA under test, "" without one."""
        return next((self.loras[name] for name in self.gate if self.loras.get(name)), "")


@dataclass(frozen=True)
class RunSummary:
    """What lists show of a run."""

    id: str  # of its place, for addresses
    path: Path
    name: str  # its folder under the reports folder
    started: str = ""
    profile: str = ""
    verdict: str = "error"
    reasons: tuple[str, ...] = ()
    parts: Mapping[str, SuiteSummary] = field(default_factory=dict)
    shots: tuple[VotePicture, ...] = ()
    problem: str = ""  # why it cannot be read


@dataclass(frozen=True)
class JudgedRun:
    """One suite of a run that a decision is made from."""

    run: RunSummary
    part: SuiteSummary
    record: RunRecord


class Runs:
    """Finds the runs of a folder and reads each once for as long as its file does not change."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.RLock()
        self._known: dict[Path, tuple[tuple[int, int], RunSummary]] = {}
        self._records: OrderedDict[tuple[Path, int, int], RunRecord] = OrderedDict()

    def all(self) -> list[RunSummary]:
        """Every run, the newest first; one that cannot be read says why."""
        with self._lock:
            results = [run for path in self._paths() if (run := self._read(path))]
        return sorted(results, key=lambda run: (run.started, run.name), reverse=True)

    def get(self, run_id: str) -> RunSummary | None:
        """A readable run by its id."""
        return next((run for run in self.all() if run.id == run_id and not run.problem), None)

    def record(self, run: RunSummary) -> RunRecord:
        """Everything that a run wrote down.

        Raises:
            UsageError: the file is gone or was damaged since.
        """
        with self._lock:
            try:
                key = (run.path, *stamp(run.path))
            except OSError as error:
                raise UsageError(f"{run.path}: cannot be read ({error.strerror})") from error
            if key not in self._records:
                self._records[key] = load_results(run.path)
                while len(self._records) > KEPT:
                    self._records.popitem(last=False)
            self._records.move_to_end(key)
            return self._records[key]

    def _paths(self) -> Iterator[Path]:
        """Every results.json of the folder, not too deep and not too many."""
        result = 0
        for place, folders, files in os.walk(self.folder):
            depth = len(Path(place).relative_to(self.folder).parts)
            folders[:] = sorted(folders) if depth < DEPTH else []
            if "results.json" in files and result < MOST:
                result += 1
                yield Path(place) / "results.json"

    def _read(self, path: Path) -> RunSummary | None:
        try:
            mark = stamp(path)
        except OSError:
            return None  # removed in this moment
        known = self._known.get(path)
        if known is None or known[0] != mark:
            known = mark, read_run(path, self.folder)
            self._known[path] = known
        return known[1]


def stamp(path: Path) -> tuple[int, int]:
    """What changes when a file does. Raises OSError."""
    result = path.stat()
    return result.st_mtime_ns, result.st_size


def read_run(path: Path, folder: Path) -> RunSummary:
    """A run as lists show it."""
    name = path.parent.relative_to(folder).as_posix()
    run_id = hashlib.sha256(name.encode()).hexdigest()[:12]
    try:
        record = load_results(path)
    except UsageError as error:
        return RunSummary(run_id, path, name, problem=str(error))
    parts = {about.name: read_part(record, about) for about in record.suites if about.name}
    shots = tuple(shot for case in record.cases if case.suite in parts for shot in read_shots(case, parts[case.suite]))
    run, gate = record.run, record.gate
    return RunSummary(run_id, path, name, run.started, run.profile, gate.verdict, gate.reasons, parts, shots)


def read_part(record: RunRecord, about: SuiteRecord) -> SuiteSummary:
    """One suite of a run."""
    rows = record.rows(about.name)
    providers = tuple(dict.fromkeys(row.provider for row in rows))
    return SuiteSummary(
        name=about.name,
        path=about.path,
        file=about.file,
        subject=about.subject.name or about.name,
        providers=providers,
        gate=tuple(row.provider for row in rows if row.gate),
        margin=MARGIN if about.margin is None else about.margin,
        loras={name: lora for name, recipe in about.recipe.items() if (lora := str(recipe.get("lora") or ""))},
        players={provider: player_name(provider, about.recipe.get(provider, {})) for provider in providers},
        quality={row.provider: row.quality for row in rows if row.quality},
        references=about.references.get("held_out", ()),
        attempts=tuple(read_attempts(record, about.name)),
    )


def player_name(provider: str, recipe: Parts) -> str:
    """Who is voted on: `lora 38f2332b`, `lora 38f2332b@0.8`, `base`."""
    lora, strength = str(recipe.get("lora") or ""), as_number(recipe.get("strength"))
    if not lora:
        return provider
    return f"{provider} {lora[:SHORT]}" + ("" if strength in (None, 1.0) else f"@{strength:g}")


def read_attempts(record: RunRecord, suite: str) -> Iterator[ChallengerRun]:
    """What rounds of retraining left in the store."""
    for item in record.rounds:
        folder, _, file = item.place.partition("/")
        if item.suite == suite and folder == "loras" and file and Path(file).name == file:
            yield ChallengerRun(item.challenger.sha256 if item.challenger else "", file, item.verdict, item.reason)


def read_shots(case: CaseRecord, part: SuiteSummary) -> Iterator[VotePicture]:
    """The pictures of one case by one provider."""
    for sample in case.samples:
        if sample.image:
            yield VotePicture(
                suite=part.name,
                case=case.case,
                prompt=case.prompt,
                seed=sample.seed,
                provider=case.provider,
                player=part.players.get(case.provider, case.provider),
                image=sample.image,
                emulated=sample.emulated,
                scores={name: score.value for name, score in sample.scores.items() if score.value is not None},
            )
