"""A whole run as the engine would tell it: rendered pictures in a real store, invented scores, every kind of ending."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.core.values import (
    Case,
    CaseResult,
    Complaint,
    Decision,
    Interval,
    Job,
    Lora,
    Outcome,
    Sample,
    Score,
    Subject,
    Suite,
    Threshold,
    Trait,
    Verdict,
)
from harness.judging.record import CalibrationRecord, EngineRecord, RoundRecord, RunFacts, RunRecord, parse_results
from harness.judging.results import SuiteRun, build_results
from harness.store import Store
from harness.world.people import ALDAR, Person, WorldScene, random_marks, random_person
from harness.world.render import render

TRAITS = (
    Trait("face_shape", "round", "a round face"),
    Trait("eyes", "narrow", "narrow eyes"),
    Trait("facial_hair", "thin mustache", "a thin mustache"),
    Trait("clothing", "blue", "a blue robe"),
)
SCENES: Mapping[str, WorldScene] = {
    "smiling-steppe": WorldScene(expression="smiling", background="steppe"),
    "night-staff": WorldScene(expression="sad", background="starry night", accessory="staff"),
    "angry-city": WorldScene(expression="angry", background="city"),
    "snow-lantern": WorldScene(expression="surprised", background="snowy mountain", accessory="lantern"),
    "locked-desert": WorldScene(expression="smiling", background="desert"),
}
LEVELS = {"lora": 0.83, "prompt_only": 0.47, "base": 0.22, "painter": 0.52}
SEEDS = 3


def example_suite(**changes: Any) -> Suite:
    """Four open cases and a locked one, four providers, one of them the gate."""
    cases = tuple(
        Case("aldar-kose", name, f"aldar kose, {scene.expression}, {scene.background} background",
             expect={"expression": scene.expression, "background": scene.background},
             split="locked" if name.startswith("locked") else "open", line=20 + number)
        for number, (name, scene) in enumerate(SCENES.items())
    )  # fmt: skip
    folder = Path("references/aldar_kose")
    subject = Subject("Aldar Kose", "aldar kose", folder, lora=Lora(folder / "champion.safetensors"))
    given: dict[str, Any] = {
        "name": "aldar-kose",
        "path": Path("suites/aldar_kose.yaml"),
        "subject": subject,
        "providers": ("lora", "base", "prompt_only", "painter"),
        "gate": ("lora",),
        "cases": cases,
        "samples": SEEDS,
        "weights": {"clip": 0.4, "features": 0.4, "ssim": 0.2},
        "thresholds": {
            "quality": Threshold(0.6, 0.7),
            "clip": Threshold(0.6),
            "features": Threshold(0.6),
            "ssim": Threshold(warn=0.3),
        },
    }
    return Suite(**{**given, **changes})


def png(person: Person, scene: WorldScene, seed: int) -> bytes:
    buffer = io.BytesIO()
    render(person, scene, seed).save(buffer, "PNG")
    return buffer.getvalue()


def scores(level: float, rng: np.random.Generator) -> dict[str, Score]:
    """Plausible scores around a level of quality."""

    def near(middle: float) -> float:
        return float(np.clip(middle + rng.normal(0, 0.05), 0, 1))

    clip, features, ssim = near(level + 0.05), near(level), near(min(1.0, level + 0.1))
    quality = 0.4 * clip + 0.4 * features + 0.2 * ssim
    details = {
        trait.category: {"value": trait.value, "score": near(level - 0.12 * number), "seen": trait.value, "weight": 1.0}
        for number, trait in enumerate(TRAITS)
    }
    return {
        "quality": Score("quality", quality, 0.3 + 0.2 * quality),
        "clip": Score("clip", clip, 0.55 + 0.4 * clip),
        "features": Score("features", features, 0.18 + 0.1 * features, details=details),
        "ssim": Score("ssim", ssim, 0.2 + 0.2 * ssim),
        "technical": Score("technical", 1.0, 812.0),
    }


def draw(store: Store, suite: Suite, provider: str, case: str, level: float) -> CaseResult:
    """One job's samples; `painter` is an emulated service that refuses one prompt and runs out of quota."""
    rng = np.random.default_rng([len(provider), *case.encode()])
    drawn_as = {"lora": ALDAR, "prompt_only": random_marks(ALDAR, rng), "painter": random_marks(ALDAR, rng)}
    samples = []
    for seed in range(SEEDS):
        outcome, message = Outcome.OK, ""
        if provider == "painter" and case == "night-staff":
            outcome, message = Outcome.REFUSED, "the prompt was refused by moderation"
        elif provider == "painter" and case == "snow-lantern" and seed:
            outcome, message = Outcome.QUOTA, "monthly quota used up; try again after the 1st"
        key, emulated = f"{provider}-{case}-{seed}", provider == "painter"
        if outcome is not Outcome.OK:
            samples.append(Sample(key, seed, outcome, message=message, emulated=emulated))
            continue
        person = drawn_as.get(provider) or random_person(rng)
        image = store.put_image(png(person, SCENES[case], seed + len(provider)))
        samples.append(Sample(key, seed, outcome, image, seconds=0.4, emulated=emulated, scores=scores(level, rng)))
    return CaseResult(Job(suite.path.as_posix(), case, provider), tuple(samples))


def example_results(store: Store, suite: Suite, levels: Mapping[str, float] = LEVELS) -> dict[str, list[CaseResult]]:
    """Every open case by every provider."""
    cases = [case.id for case in suite.cases if case.split == "open"]
    return {name: [draw(store, suite, name, case, level) for case in cases] for name, level in levels.items()}


def verdict_of(suite: Suite, result: CaseResult) -> Verdict:
    """A simple judgement: the mean against the bound."""
    values = [sample.scores["quality"].value or 0.0 for sample in result.scored]
    if not values:
        return Verdict(
            Decision.ERROR, complaints=(Complaint("outcome", f"no picture: {result.outcome.value}", "error"),)
        )
    mean = sum(values) / len(values)
    score = {"quality": Interval(mean, mean - 0.06, mean + 0.06, len(values))}
    if mean >= 0.6:
        return Verdict(Decision.PASS, score)
    words = f"quality is {mean:.2f}, wanted 0.60 or more; look at the worst sample"
    return Verdict(Decision.FAIL, score, (Complaint("quality", words),))


def example_run(store: Store, level: float = LEVELS["lora"], **changes: Any) -> SuiteRun:
    """One suite of a run; `level` is what the LoRA reaches."""
    suite = example_suite()
    results = example_results(store, suite, {**LEVELS, "lora": level})
    verdicts = {result.job: verdict_of(suite, result) for group in results.values() for result in group}
    good = level >= 0.6
    gate = Verdict(
        Decision.PASS if good else Decision.FAIL,
        {"quality": Interval(level, level - 0.04, level + 0.04, 4)},
        ()
        if good
        else (Complaint("quality", f"quality is {level:.2f} [{level - 0.04:.2f}, {level + 0.04:.2f}], wanted 0.60"),),
    )
    references = {
        "train": [store.put_image(png(ALDAR, scene, 40 + seed)) for seed, scene in enumerate(SCENES.values())],
        "held_out": [store.put_image(png(ALDAR, scene, 60 + seed)) for seed, scene in enumerate(SCENES.values())],
    }
    given: dict[str, Any] = {
        "suite": suite,
        "results": results,
        "verdicts": verdicts,
        "gates": {"lora": gate},
        "emulated": {"painter"},
        "traits": TRAITS,
        "references": references,
        "calibration": CalibrationRecord.of(CALIBRATION),
        "scorer": {"identity": "5c" * 32, "dtype": "float32", "clip": "ab" * 32},
        "recipe": {"lora": {"model": "cd" * 32, "steps": 16, "dtype": "bfloat16", "lora": "ef" * 32, "strength": 1.0}},
        "notes": ("1 locked case is left out; --locked draws it too",),
    }
    return SuiteRun(**{**given, **changes})


CALIBRATION: dict[str, Any] = {
    "clip": {
        "genuine": 0.93,
        "impostor": 0.61,
        "genuine_sd": 0.03,
        "impostor_sd": 0.06,
        "d_prime": 6.7,
        "eer": 0.01,
        "n_genuine": 8,
        "n_impostor": 18,
    },
    "measures": [{**vars(trait), "accuracy": 0.95, "reach": 0.7, "weight": 0.9, "reason": ""} for trait in TRAITS],
}
ROUND: dict[str, Any] = {
    "round": 1,
    "attempt": 1,
    "suite": "aldar-kose",
    "provider": "lora",
    "champion": {"file": "weak.safetensors", "strength": 1.0, "sha256": "aa" * 32},
    "challenger": {"file": "challenger-1.safetensors", "strength": 1.0, "sha256": "bb" * 32},
    "failing_before": ["smiling-steppe", "angry-city"],
    "promoted": True,
    "verdict": "promoted",
    "reason": "quality rose by 0.31 on locked prompts, no metric fell",
    "plan": ["400 steps instead of 40: clip is 0.31, far below 0.60", "pictures with a thin mustache count double"],
    "changes": {"steps": [40, 400], "sampling": [{}, {"03.png": 2.0}]},
    "loss": [[step, 0.12 * 0.99 ** (step / 4) + 0.004 * (step % 7)] for step in range(0, 400, 5)],
    "gap": {"mean": 0.31, "low": 0.24, "high": 0.38, "n": 8},
    "before": {"quality": {"mean": 0.42, "low": 0.36, "high": 0.48, "n": 8}},
    "after": {"quality": {"mean": 0.73, "low": 0.69, "high": 0.77, "n": 8}},
    "differences": {"quality": {"mean": 0.31, "low": 0.24, "high": 0.38, "n": 8}},
    "choice": [{"file": "step-300.safetensors", "strength": 1.0, "quality": 0.70}],
    "seconds": 190.2,
    "steps": 400,
    "pictures": 62,
}
RUN = {
    "id": "20260101-120000-abcd",
    "started": "2026-01-01T12:00:00+00:00",
    "profile": "embedded",
    "versions": {"python": "3.11.9", "torch": "2.13.0", "diffusers": "0.42.1", "harness": "0.1.0"},
    "device": "cpu",
}


def example_record(
    store: Store, level: float = LEVELS["lora"], rounds: tuple[Any, ...] = (), **changes: Any
) -> RunRecord:
    """The record of that run."""
    return make_record([example_run(store, level, **changes)], rounds)


def make_record(suites: Sequence[SuiteRun], rounds: Sequence[Any] = (), trouble: str = "") -> RunRecord:
    """The record of a run over some suites."""
    seconds = {"load": 4.1, "draw": 41.0, "score": 6.2}
    engine = EngineRecord(images_generated=48, images_cached=0, model_loads=1, seconds=seconds)
    return build_results(RunFacts.of(RUN), suites, engine, [RoundRecord.of(item) for item in rounds], trouble)


def plain(record: RunRecord) -> dict[str, Any]:
    """The content of its file, to be tampered with."""
    content: dict[str, Any] = json.loads(record.to_text())
    return content


def read(content: Any) -> RunRecord:
    """A file of this content, read. Raises UsageError."""
    return parse_results(json.dumps(content), "results.json")
