"""`harness experiment`: a matrix of training settings is trained, evaluated on open cases, and its factors compared.

harness experiment suites/toma.yaml --matrix rank=4,16 --matrix steps=200,400 --repeats 2

Every trained combination is a record of its own beside its LoRA, found again by what decides it: a stopped experiment
goes on, and a larger matrix trains only what is new. Pictures are the engine's, drawn once.
"""

from __future__ import annotations

import itertools
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from harness.core.errors import UsageError, nearest
from harness.core.files import write_file
from harness.core.values import Lora, Subject, digest, hash_file, to_record
from harness.judging.scores import values_of
from harness.models.loading import Models
from harness.models.lora.train_config import TrainConfig, read_setting
from harness.report.terminal import bounds_text, table
from harness.scoring.references import set_hash
from harness.studies.compare import ComparisonSetup, draw
from harness.studies.effects import ENOUGH_RUNS, Effect, Trial, main_effects
from harness.training.auto import combine, config_for

MOST = 64  # trainings
REFERENCES = "references"  # the factor that is a data set: folders in place of the suite's
REPEAT = "seed"  # of the training; the factor that --repeats adds
RECORD = "trial.json"


@dataclass(frozen=True)
class Combination:
    """One combination: what is set, and the LoRA that came of it."""

    name: str
    settings: Mapping[str, Any]
    lora: Path
    record: Mapping[str, Any]


@dataclass(frozen=True)
class Experiment:
    """What came of a matrix."""

    factors: Mapping[str, tuple[Any, ...]]
    cells: tuple[Combination, ...]
    trials: tuple[Trial, ...]  # in the order of the cells
    effects: tuple[Effect, ...]
    problem: str = ""  # pictures that are missing

    def to_record(self) -> dict[str, object]:
        """Plain JSON data."""
        cells = [
            {"name": cell.name, "quality": None if math.isnan(trial.mean) else trial.mean, **cell.record}
            for cell, trial in zip(self.cells, self.trials, strict=True)
        ]
        return {
            "factors": to_record(self.factors),
            "cells": cells,
            "effects": to_record(self.effects),
            "problem": self.problem,
        }


# --- the matrix -----------------------------------------------------------------------------------------------------


def read_matrix(texts: Sequence[str], repeats: int = 1) -> dict[str, tuple[Any, ...]]:
    """`rank=4,16` and `references=a,b`: factor to levels, the first of which the others are held against.

    Raises:
        UsageError: an unknown setting or an impossible value, a factor or level twice, or too many combinations.
    """
    matrix: dict[str, tuple[Any, ...]] = {}
    known = (*TrainConfig.__dataclass_fields__, REFERENCES)
    for text in texts:
        name, equals, levels = text.partition("=")
        if not equals or not levels:
            raise UsageError(f"--matrix {text}: NAME=VALUE,VALUE, rank=4,16 say")
        if name not in known:
            raise UsageError(f"--matrix {text}: no setting called {name!r}; {nearest(name, known)}")
        if name in matrix:
            raise UsageError(f"--matrix {text}: {name} stands there twice; write all its values behind one")
        matrix[name] = tuple(read_level(name, level.strip()) for level in levels.split(","))
        if len(set(matrix[name])) < len(matrix[name]):
            raise UsageError(f"--matrix {text}: a value stands there twice")
    if repeats > 1:
        if REPEAT in matrix:
            raise UsageError("--repeats: the matrix names training seeds itself; leave one of the two out")
        matrix[REPEAT] = tuple(range(repeats))
    count = math.prod(len(levels) for levels in matrix.values())
    if count < 2 or count > MOST:
        raise UsageError(f"--matrix: {count} combinations; 2 to {MOST} make an experiment")
    return matrix


def read_level(name: str, text: str) -> Any:
    """One value, as YAML and then its setting reads it. Raises UsageError."""
    if name == REFERENCES:
        folder = Path(text).resolve()
        if not folder.is_dir():
            raise UsageError(f"--matrix {REFERENCES}: there is no folder {folder}")
        return folder.as_posix()
    try:
        value = read_setting(name, yaml.safe_load(text))
        config_for({name: value}, pictures=1)
    except (ValueError, TypeError, yaml.YAMLError) as error:
        raise UsageError(f"--matrix {name}={text}: {error}") from error
    return value


def cell_name(settings: Mapping[str, object]) -> str:
    """`rank 4, steps 200`."""
    shown = {name: Path(str(value)).name if name == REFERENCES else value for name, value in settings.items()}
    return ", ".join(
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}" for name, value in shown.items()
    )


# --- training and drawing -------------------------------------------------------------------------------------------


def experiment(
    bench: ComparisonSetup,
    matrix: Mapping[str, tuple[Any, ...]],
    models: Models,
    *,
    base: Mapping[str, object] | None = None,
    progress: Callable[[str], None] = print,
) -> Experiment:
    """Train what is not trained yet, draw the open cases with every LoRA, and compare the factors.

    Args:
        bench: `harness.studies.compare.ComparisonSetup`: suite, profile, settings, and who draws.
        base: settings of every combination, over the profile's.

    Raises:
        HarnessError: as training and drawing raise.
    """
    combinations = [dict(zip(matrix, chosen, strict=True)) for chosen in itertools.product(*matrix.values())]
    cells = []
    for number, settings in enumerate(combinations, 1):
        say = prefixed(f"[{number}/{len(combinations)}] {cell_name(settings)}: ", progress)
        cells.append(train_cell(bench, settings, models, {**(base or {}), **settings}, say))
    models.close()  # before the run's own come
    bench = replace(bench, settings=replace(bench.settings, locked=False))
    drawn = draw(bench, {cell.name: Lora(cell.lora) for cell in cells}, bench.samples)
    trials = tuple(
        Trial(cell.settings, values_of(results, "quality"))
        for cell, results in zip(cells, drawn.sides.values(), strict=True)
    )
    effects = tuple(main_effects([trial for trial in trials if trial.values], bench.suite.margin))
    return Experiment(matrix, tuple(cells), trials, effects, drawn.problem)


def prefixed(head: str, say: Callable[[str], None]) -> Callable[[str], None]:
    return lambda line: say(f"{head}{line}")


def train_cell(
    bench: ComparisonSetup,
    settings: Mapping[str, object],
    models: Models,
    given: Mapping[str, object],
    say: Callable[[str], None],
) -> Combination:
    """One combination's LoRA: found where it was trained before, else trained now, resuming what was begun."""
    from harness.training.data import train_pictures
    from harness.training.suite_training import choose_settings
    from harness.training.trainer import run_record, train

    folder = given.get(REFERENCES)
    subject = with_references(bench.suite.subject, None if folder is None else str(folder))
    pictures = train_pictures(subject)
    changes = {name: value for name, value in given.items() if name != REFERENCES}
    training = combine(bench.profile.training, changes)
    config = choose_settings(training, subject, pictures, bench.profile, models).config
    sha = set_hash(picture.path for picture in pictures)
    matter = [bench.suite.name, run_record(config, subject, bench.profile, models)]
    own = Path(bench.settings.store) / "experiments" / digest(matter)[:16]
    out, note = own / "lora.safetensors", own / RECORD
    if result := finished(note, out):
        say(f"trained before, {result['steps']} steps")
        return Combination(cell_name(settings), settings, out, {**result, "settings": to_record(settings)})
    own.mkdir(parents=True, exist_ok=True)
    made = train(config, subject, bench.profile, models, out, work=own / "work", progress=say)
    record = {
        "settings": to_record(settings),
        "config": config.to_record(),
        "steps": made.steps,
        "seconds": round(made.seconds, 2),
        "loss": made.losses[-1][1] if made.losses else None,
        "lora": {"file": out.as_posix(), "sha256": hash_file(out)},
        "references": sha,
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    write_file(note, to_json(record))
    say(f"{made.steps} steps in {made.seconds:.0f} s")
    return Combination(cell_name(settings), settings, out, record)


def with_references(subject: Subject, folder: str | None) -> Subject:
    """The subject learnt from another folder of pictures; scores still hold it against the suite's own."""
    if folder is None:
        return subject
    split = "folders" if (Path(folder) / "train").is_dir() else "auto"
    return replace(subject, references=Path(folder), split=split)


def finished(note: Path, lora: Path) -> dict[str, object] | None:
    """A combination's record, when its LoRA is still the one that it tells of."""
    try:
        record: dict[str, Any] = json.loads(note.read_text(encoding="utf-8"))
        return record if record["lora"]["sha256"] == hash_file(lora) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def to_json(record: Mapping[str, object]) -> str:
    """A record as people compare it: by keys in order, a line each."""
    return json.dumps(record, indent=1, sort_keys=True) + "\n"


def read_base(texts: Sequence[str], matrix: Mapping[str, object]) -> dict[str, tuple[Any, ...]]:
    """What `--set` gives. Raises UsageError for what the matrix varies, or is unknown."""
    results: dict[str, tuple[Any, ...]] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or name not in TrainConfig.__dataclass_fields__:
            raise UsageError(f"--set {text}: NAME=VALUE; {nearest(name, TrainConfig.__dataclass_fields__)}")
        if name in matrix:
            raise UsageError(f"--set {text}: the matrix varies {name}; leave one of the two out")
        results[name] = (read_level(name, value),)
    return results


WORDS: Mapping[str, str] = {
    "improved": "better",
    "regressed": "worse",
    "higher": "slightly better",
    "lower": "slightly worse",
    "unchanged": "does not matter",
    "inconclusive": "open",
}


def lines_of(found: Experiment) -> list[str]:
    """Combinations by quality, then what each factor did, then what this cannot tell."""
    ranked = sorted(
        zip(found.cells, found.trials, strict=True), key=lambda pair: (math.isnan(pair[1].mean), -pair[1].mean)
    )
    rows: list[tuple[str, ...]] = [("combination", "quality", "steps", "seconds")]
    rows += [
        (
            cell.name,
            "-" if math.isnan(trial.mean) else f"{trial.mean:.3f}",
            str(cell.record["steps"]),
            f"{cell.record['seconds']:.0f}",
        )
        for cell, trial in ranked
    ]
    effects: list[tuple[str, ...]] = [("factor", "level", "against", "quality", "over trainings", "")]
    effects += [effect_row(effect) for effect in found.effects]
    return [*table(rows), "", *table(effects), "", *notes(found)]


def effect_row(effect: Effect) -> tuple[str, ...]:
    levels = (
        Path(str(value)).name if effect.factor == REFERENCES else f"{value}" for value in (effect.level, effect.against)
    )
    gaps = (bounds_text(gap, signed=True) for gap in (effect.gap, effect.runs))
    return (effect.factor, *levels, *gaps, WORDS[effect.word])


def notes(found: Experiment) -> list[str]:
    """What a reader must know."""
    lines = ["quality: level minus the one it is held against, all else the same, with the interval over open cases"]
    least = min((effect.runs.n for effect in found.effects), default=0)
    if least < ENOUGH_RUNS:
        lines.append(
            f"mind: {least} trained pair{'s' if least != 1 else ''} a comparison, so that a difference may be the luck "
            f"of one training; --repeats {math.ceil(ENOUGH_RUNS / max(1, least))} would tell"
        )
    if found.problem:
        lines.append(f"missing: {found.problem}")
    lines.append("the best of many looks better than it is: prove it with `harness compare --locked`")
    return lines
