"""Planted faults that retraining must name and mend, and challengers that must not be promoted.

1. Faults: each is planted in a copy of the demo project (see benchmarks/planting.py), then
   `pytest suites/aldar_kose.yaml --retrain 3` runs there with a store of its own. Named: the first round's cause is the
   planted one. Mended: a challenger is promoted and the run ends green. A fault that leaves the suite green is harmless
   and counted apart. Each finished fault is a file in .cache/improve, so that a stopped benchmark goes on.
2. A/A: challengers by the champion's own recipe with other seeds, forced through the exam. Every training sits several
   exams, each with locked pictures of its own; `--aa-trainings 20 --aa-exams 1` trains one for each.
3. False promotions over thousands of exams resampled from committed real scores (benchmarks/promotions.py).
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from benchmarks.planting import FAULTS, SUITE, plant, planted_in
from benchmarks.process import ROOT, run_pytest
from benchmarks.promotions import FAMILIES, false_promotions
from harness.config.suite import load_suite
from harness.store import Store
from harness.training.improve.history import read_rounds

if TYPE_CHECKING:
    from harness.engine.context import ImproveContext, ImproveResult

FOLDER = ROOT / ".cache" / "improve"
ROUNDS, MINUTES = 3, 12  # of a retraining; the exam follows, and a whole fault may take 15 minutes
EACH = 3  # faults of a cause; --quick: 1
NAMES = {"one_expression": "one_value"}  # planted and diagnosed are called alike but for these
TRAININGS, EXAMS = 4, 5  # of A/A: 20 challengers forced through the gate


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quick", action="store_true", help="one fault of each cause, and no A/A unless asked for")
    parser.add_argument(
        "--causes", default="", metavar="A,B", help=f"only these of {', '.join(FAULTS)}; none: no fault"
    )
    parser.add_argument("--limit-minutes", type=float, metavar="M", help="begin no further fault after so many minutes")
    parser.add_argument(
        "--aa-trainings", type=int, metavar="N", help=f"A/A challengers to train (default: {TRAININGS})"
    )
    parser.add_argument("--aa-exams", type=int, default=EXAMS, metavar="N", help="exams that each of them sits")
    parser.add_argument("--families", type=int, default=FAMILIES, help="resampled retrainings of each kind")


def measure(options: argparse.Namespace) -> dict[str, float]:
    """All three parts; what was found before is not measured again."""
    began = time.monotonic()
    causes = list(FAULTS) if not options.causes else [name for name in options.causes.split(",") if name != "none"]
    unknown = [name for name in causes if name not in FAULTS]
    if unknown:
        raise SystemExit(f"--causes {','.join(unknown)}: choose of {', '.join(FAULTS)}, none")
    figures = {name: round(value, 4) for name, value in false_promotions(options.families).items()}
    records = []
    for number in range(1 if options.quick else EACH):
        for cause in causes:
            late = options.limit_minutes is not None and time.monotonic() - began > 60 * options.limit_minutes
            if record := finished(cause, number) or (None if late else run_fault(cause, number)):
                records.append(record)
    figures |= summarise(records)
    trainings = options.aa_trainings if options.aa_trainings is not None else 0 if options.quick else TRAININGS
    return figures | (force_equals(trainings, options.aa_exams) if trainings else {})


# --- faults -------------------------------------------------------------------------------------------------------


def finished(cause: str, number: int) -> dict[str, Any] | None:
    """The record of a fault that was measured before."""
    path = FOLDER / f"{cause}-{number}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def run_fault(cause: str, number: int) -> dict[str, Any]:
    """Plant a fault, let pytest retrain, and keep what came of it."""
    project = FOLDER / "projects" / f"{cause}-{number}"
    fault = planted_in(project)
    if fault is None:  # else a stopped benchmark goes on, with what its store remembers
        shutil.rmtree(project, ignore_errors=True)
        fault = plant(cause, number, project)
    arguments = [SUITE, "--rootdir", ".", "--store", ".harness", "--retrain", str(ROUNDS)]
    timing = run_pytest([*arguments, "--retrain-budget", str(MINUTES)], project)
    results = project / "reports" / "results.json"
    if not results.exists():
        raise SystemExit(f"{fault.name}: pytest broke down\n{timing.output[-3_000:]}")
    with Store(project / ".harness") as store:  # the rounds of a stopped run too
        rounds = read_rounds(store, load_suite(project / SUITE))
    record = {
        "cause": cause,
        "number": number,
        "told": fault.told,
        "named": rounds[0].get("cause", "error") if rounds else "healthy",
        "evidence": rounds[0].get("evidence", []) if rounds else [],
        "red": bool(rounds),
        "promoted": any(item["promoted"] for item in rounds),
        "green": timing.status == 0,
        "rounds": [{name: item.get(name) for name in ("verdict", "reason", "plan", "goal")} for item in rounds],
        "minutes": round(timing.seconds / 60, 1),
    }
    (FOLDER / f"{cause}-{number}.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(line_of(record), flush=True)
    return record


def line_of(record: Mapping[str, Any]) -> str:
    """One finished fault."""
    end = "harmless" if not record["red"] else "mended" if mended(record) else "not mended"
    return f"{record['cause']}-{record['number']} ({record['told']}): {record['named']}, {end}, {record['minutes']} min"


def mended(record: Mapping[str, Any]) -> bool:
    return bool(record["promoted"] and record["green"])


def summarise(records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Figures and the confusion matrix of planted against named causes."""
    faults = [item for item in records if item["cause"] != "healthy" and item["red"]]
    harmless = [item for item in records if item["cause"] != "healthy" and not item["red"]]
    healthy = [item for item in records if item["cause"] == "healthy"]
    for record in records:
        print(line_of(record))
    print_matrix(records)
    named = [item for item in faults if item["named"] == NAMES.get(item["cause"], item["cause"])]
    return {
        "faults": len(faults),
        "mended": round(sum(map(mended, faults)) / len(faults), 4) if faults else 0.0,
        "named": round(len(named) / len(faults), 4) if faults else 0.0,
        "harmless": len(harmless),
        "healthy": len(healthy),
        "healthy_left_alone": sum(not item["promoted"] for item in healthy),
        "longest_minutes": max((item["minutes"] for item in records), default=0.0),
    }


def print_matrix(records: Sequence[Mapping[str, Any]]) -> None:
    """Rows: what was planted. Columns: what the first round named."""
    if not records:
        return
    counts = Counter((item["cause"], item["named"]) for item in records)
    columns = sorted({item["named"] for item in records})
    width = max(map(len, FAULTS))
    print("planted".ljust(width), *columns)
    for cause in dict.fromkeys(item["cause"] for item in records):
        print(cause.ljust(width), *(str(counts[cause, name] or ".").rjust(len(name)) for name in columns))


# --- A/A ----------------------------------------------------------------------------------------------------------


def force_equals(trainings: int, exams: int) -> dict[str, float]:
    """Challengers by the champion's own recipe through the real exam; how many it promotes."""
    from harness.config.profile import load_profile
    from harness.core.settings import Settings
    from harness.core.values import Job, Threshold
    from harness.engine.context import ImproveResult
    from harness.engine.run import Run

    settings = Settings(root=ROOT, store=FOLDER / "aa", retrain=1)
    profile = load_profile(settings.profile, ROOT)
    shipped = replace(load_suite(ROOT / SUITE, profile), providers=("lora",), beat=())
    strict = replace(shipped, thresholds={"quality": Threshold(1.0)})  # red, so that the loop is asked
    found: list[bool] = []

    def force(context: ImproveContext) -> ImproveResult:
        found.extend(sit_exams(replace(context, suite=shipped), trainings, exams))
        return ImproveResult()

    run = Run(settings, profile, [strict], Store(settings.store), improve=force)
    try:
        run.submit([Job(strict.path.as_posix(), case.id, "lora") for case in strict.cases[:2]])
        run.wait()
    finally:
        run.close()
    print(f"A/A: {trainings} trainings by the champion's recipe with other seeds, {exams} exams each")
    return {"aa_forced": float(len(found)), "aa_promoted": float(sum(found))}


def sit_exams(context: ImproveContext, trainings: int, exams: int) -> list[bool]:
    """Train, and examine each challenger as the champion's first; whether each was promoted."""
    from harness.core.values import Lora
    from harness.models.lora.export import read_facts
    from harness.training.improve.held_out_test import HeldOutTest
    from harness.training.trainer import train

    champion = context.lora
    assert champion is not None
    recipe = read_facts(champion.path).config
    assert recipe is not None
    found = []
    for seed in range(1, trainings + 1):
        out = FOLDER / "aa" / f"seed-{seed}.safetensors"
        if not out.exists():
            train(replace(recipe, seed=1_000 + seed), context.suite.subject, context.profile, context.models, out)
        for exam in range(exams):
            ground, challenger = HeldOutTest(context, 1 + exam + exams * (seed - 1)), Lora(out)
            ground.enter(challenger)
            ruling = ground.examine(challenger, champion)
            print(f"A/A seed {seed}, exam {exam + 1}: {ruling.reasons[0]}", flush=True)
            found.append(ruling.promoted)
    return found
