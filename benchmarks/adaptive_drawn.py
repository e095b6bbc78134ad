"""Planned looks against the fixed plan with the real engine: whole `pytest` processes that draw with embedded models.

One LoRA after another is held against the suite's threshold, or against a baseline of the shipped champion, with the
same prompts and seeds. The first session may stop early (`samples: {min: 2, max: 12}`), the second draws 12 of
everything (`--samples 12`, which means 12 and no looks) and finds in the store what the first drew.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.process import ROOT, run_pytest
from benchmarks.score_table import FIRST_SEED, STRANGER, table_cases
from harness.config.suite import load_suite

LEAST, MOST, PROMPTS = 2, 12, 12
ALL_PROMPTS = 48  # of the score table, a quarter a block
CHAMPION = ROOT / "references" / "aldar_kose" / "champion.safetensors"
UNDERTRAINED = ROOT / "fixtures" / "loras" / "undertrained.safetensors"
SHIPPED = ROOT / "suites" / "aldar_kose.yaml"


@dataclass(frozen=True)
class Truth:
    """A LoRA, what it is held against, and what is known of it."""

    name: str
    lora: Path
    strength: float = 1.0
    baseline: bool = False
    known: str = ""  # the verdict that would be wrong


TRUTHS = (
    Truth("champion", CHAMPION, known="fail"),
    Truth("champion-unchanged", CHAMPION, baseline=True, known="fail"),
    Truth("strength-095-unchanged", CHAMPION, 0.95, True),
    Truth("strength-080-unchanged", CHAMPION, 0.8, True),
    Truth("strength-050", CHAMPION, 0.5),
    Truth("strength-050-unchanged", CHAMPION, 0.5, True),
    Truth("strength-020", CHAMPION, 0.2, known="pass"),
    Truth("undertrained-unchanged", UNDERTRAINED, 1.0, True, known="pass"),
    Truth("stranger", STRANGER, known="pass"),
)
"""`unchanged` is the question: does the LoRA draw as well as the champion that the baseline was made with?"""


@dataclass(frozen=True)
class Ended:
    """How one suite ended in one session."""

    gate: str  # the verdict
    cases: Mapping[str, str]  # verdict by case
    pictures: int


def measure_drawn(work: Path, blocks: int = 1, store: Path | None = None) -> dict[str, float]:
    """The figures, with a line a LoRA and block.

    Args:
        work: an empty folder for suites, reports and, without `store`, the pictures.
        blocks: each has 12 prompts and 12 seeds of its own; up to 4 with different prompts.
        store: pictures that are there already need not be drawn; it grows.
    """
    place = ["--store", str(store or work / "store")]
    for block in range(blocks):
        write_suite(work / "blessed", Truth("blessed", CHAMPION), block)
    session(work / "blessed", [*place, "--samples", str(MOST), "--update-baseline-anyway"])
    for truth in TRUTHS:
        for block in range(blocks):
            write_suite(work / "suites", truth, block)
            if truth.baseline:
                copy_baseline(work, truth, block)
    looks = session(work / "suites", place)
    fixed = session(work / "suites", [*place, "--samples", str(MOST)])
    print(f"method: pytest with planned looks, then with {MOST} of everything; {PROMPTS} prompts, {blocks} block(s)")
    return tell(looks, fixed, blocks)


def suite_name(truth: Truth, block: int) -> str:
    return f"{truth.name}-{block}"


def write_suite(folder: Path, truth: Truth, block: int) -> None:
    """One LoRA's suite: a quarter of the score table's prompts, seeds of its block, thresholds of the shipped suite."""
    shipped = load_suite(SHIPPED)
    cases = table_cases(shipped, ALL_PROMPTS)[block % 4 :: 4][:PROMPTS]
    text = {
        "version": 1,
        "suite": suite_name(truth, block),
        "subject": {
            "name": shipped.subject.name,
            "trigger": shipped.subject.trigger,
            "lora": {"file": str(truth.lora), "strength": truth.strength},
            "references": str(shipped.subject.references),
        },
        "providers": ["lora"],
        "gate": ["lora"],
        "samples": {"min": LEAST, "max": MOST},
        "seed": FIRST_SEED + MOST * (block // 4),
        "thresholds": {"quality": {"fail": 0.60, "warn": 0.70}},
        "cases": [{"id": case.id, "prompt": case.prompt, "expect": dict(case.expect)} for case in cases],
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{suite_name(truth, block)}.yaml").write_text(yaml.safe_dump(text, sort_keys=False), encoding="utf-8")


def copy_baseline(work: Path, truth: Truth, block: int) -> None:
    """The champion's baseline under the name of another suite of the same prompts."""
    blessed = work / "blessed" / "baselines" / f"{suite_name(Truth('blessed', CHAMPION), block)}.json"
    made = {**json.loads(blessed.read_text(encoding="utf-8")), "suite": suite_name(truth, block)}
    target = work / "suites" / "baselines" / f"{suite_name(truth, block)}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(made), encoding="utf-8")


def session(folder: Path, options: Sequence[str]) -> dict[str, Ended]:
    """Suite to its end, from the results of one pytest process.

    Raises:
        RuntimeError: the process broke, with the end of what it printed.
    """
    report = folder.parent / f"report-{folder.name}"
    timing = run_pytest([str(folder), f"--rootdir={ROOT}", "--report-dir", str(report), *options])
    if timing.status not in (0, 1):
        raise RuntimeError(f"pytest ended with {timing.status}:\n{timing.output[-3000:]}")
    results = json.loads((report / "results.json").read_text(encoding="utf-8"))
    return {item["suite"]: ended(results, item) for item in results["gate"]["items"]}


def ended(results: Mapping[str, Any], gate: Mapping[str, Any]) -> Ended:
    cases = [case for case in results["cases"] if case["suite"] == gate["suite"]]
    return Ended(
        gate["verdict"],
        {case["case"]: case["verdict"] for case in cases},
        sum(len(case["samples"]) for case in cases),
    )


def tell(looks: Mapping[str, Ended], fixed: Mapping[str, Ended], blocks: int) -> dict[str, float]:
    """A line a suite, and the figures of all."""
    every = [(truth, suite_name(truth, block)) for truth in TRUTHS for block in range(blocks)]
    print(f"{'LoRA':28}{'pictures':>12}  {'gate: looks / fixed':30}{'cases that fail':>16}{'contrary':>9}")
    for _, name in every:
        early, whole = looks[name], fixed[name]
        fails = " / ".join(str(list(plan.cases.values()).count("fail")) for plan in (early, whole))
        drawn = f"{early.pictures} of {whole.pictures}"
        print(f"{name:28}{drawn:>12}  {early.gate + ' / ' + whole.gate:30}{fails:>16}{contrary(early, whole):>9}")
    cases = sum(len(fixed[name].cases) for _, name in every)
    return {
        "images_share_drawn": round(mean([looks[name].pictures / fixed[name].pictures for _, name in every]), 3),
        "gates": len(every),
        "gates_contrary": sum({looks[name].gate, fixed[name].gate} == {"pass", "fail"} for _, name in every),
        "gates_wrong": sum(looks[name].gate == truth.known for truth, name in every),
        "gates_wrong_fixed": sum(fixed[name].gate == truth.known for truth, name in every),
        "gates_open": sum(looks[name].gate == "inconclusive" for _, name in every),
        "gates_open_fixed": sum(fixed[name].gate == "inconclusive" for _, name in every),
        "cases": cases,
        "cases_contrary": sum(contrary(looks[name], fixed[name]) for _, name in every),
    }


def contrary(early: Ended, whole: Ended) -> int:
    """Cases that pass by one plan and fail by the other."""
    return sum({verdict, whole.cases[case]} == {"pass", "fail"} for case, verdict in early.cases.items())


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
