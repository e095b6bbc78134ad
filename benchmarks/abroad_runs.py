"""Whole runs over newcomers: the harness's own engine, scorer and judge before folders of pictures.

The cohort of each person, and `prompt_only`, are drawn by the embedded base; strangers are the same pictures for
everybody. What is finished is kept in the work folder, so that a benchmark that was stopped goes on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.abroad_looks import HOME, Look
from benchmarks.abroad_people import DRAWERS, Newcomer, chance_of, drawers_of, newcomer, shown, suite_of
from benchmarks.abroad_table import (
    Outcomes,
    Row,
    first_seeds,
    pack,
    pack_sample,
    pack_sets,
    save_record,
    small_calibration,
)
from benchmarks.process import ROOT
from harness.config.profile import Profile, ProviderConfig, load_profile, local_options
from harness.core.arrays import Floats
from harness.core.settings import Settings
from harness.core.stats.calibration import area_under_curve
from harness.core.values import Decision, Job, Outcome, Sample, Suite
from harness.engine.run import Run
from harness.judging.adaptive import confirming_seeds
from harness.models.loading import Models
from harness.scoring.metrics.cohort import LocalCohort, png
from harness.scoring.metrics.scorer import Scorer
from harness.store import Store
from harness.world.people import Person, random_marks, random_scene
from harness.world.render import SIZE, render

WORK = ROOT / ".cache" / "abroad"
FRESH = 30  # new pictures of a person, and of twins, by which truth says whether CLIP sees them


@dataclass(frozen=True)
class Studio:
    """Where everything is drawn and kept."""

    work: Path

    @cached_property
    def settings(self) -> Settings:
        return Settings(root=ROOT, store=self.work / "store")

    @cached_property
    def profile(self) -> Profile:
        """The embedded one; a cohort in place of the shipped impostors."""
        return replace(load_profile("embedded", ROOT), impostors=None)

    @cached_property
    def models(self) -> Models:
        return Models(self.profile, self.settings)

    @cached_property
    def store(self) -> Store:
        return Store(self.settings.store)

    def scorer(self, suite: Suite) -> Scorer:
        """The embedded models' scorer of a suite, with the cohort that it would have with a LoRA under test."""
        options = replace(local_options(self.profile, "lora"), blur=0.0)
        cohort = LocalCohort(suite, self.profile, options, self.models, self.store)
        return Scorer(suite, self.profile, self.models, self.store, None, cohort)

    def run(self, suite: Suite, folder: Path) -> Run:
        """A run whose gates are folders beside the references."""
        folders = {name: ProviderConfig("folder", {"path": (folder / name).as_posix()}) for name in suite.gate}
        profile = replace(self.profile, providers={**self.profile.providers, **folders})
        return Run(self.settings, profile, [suite], Store(self.settings.store), models=self.models, scorers=self.scorer)

    def folder(self, number: int, look: Look = HOME) -> Path:
        """Where one person's pictures are."""
        return self.work / "pictures" / f"{number:02}{look.name and ' '}{look.name}".replace(" ", "-")

    def settle(self, number: int, look: Look = HOME) -> dict[str, Any]:
        """One person's record in one look, from the work folder where it is there."""
        kept = self.work / (look.name.replace(" ", "-") or "people") / f"{number:02}.json"
        if not kept.exists():
            save_record(self.judge(newcomer(number), look), kept)
        found: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
        return found

    def judge(self, who: Newcomer, look: Look = HOME) -> dict[str, Any]:
        """Draw, run and record one person."""
        folder, names = self.folder(who.number, look), drawers_of(who)
        suite = suite_of(who, folder, names)
        look.draw_references(folder / "references", who.person, who.seed)
        truth = {name: draw_folder(who, suite, name, folder, look) for name in names}
        run = self.run(suite, folder)
        try:
            return {
                "number": who.number,
                "name": who.name,
                "kind": who.kind,
                "look": look.name,
                "told_apart": told_apart(who, look, self.scorer(suite)),
                "providers": run_all(run, suite, truth),
                "calibration": small_calibration(self.scorer(suite).calibration()),
            }
        finally:
            run.close()

    def pair(self, target: Newcomer, others: Mapping[int, Mapping[str, Any]]) -> dict[str, list[Row]]:
        """The good pictures of others, scored as those of the target; kept beside the people."""
        kept = self.work / "pairs" / f"{target.number:02}.json"
        found: dict[str, list[Row]] = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
        missing = [number for number in others if str(number) not in found and number != target.number]
        if missing:
            suite = suite_of(target, self.folder(target.number), ("good",))
            scorer = self.scorer(suite)
            for number in missing:
                found[str(number)] = self.score_as(suite, scorer, newcomer(number), others[number])
            save_record(found, kept)
        return found

    def score_as(self, suite: Suite, scorer: Scorer, other: Newcomer, record: Mapping[str, Any]) -> list[Row]:
        """One person's pictures on another's scale."""
        folder = self.folder(other.number) / "good"
        results = first_seeds(suite, "good", record["providers"]["good"]["rows"])
        shots = [(suite.case(result.job.case), sample.seed) for result in results for sample in result.samples]
        items = [(case, (folder / f"{case.id}-{seed}.png").read_bytes()) for case, seed in shots]
        every = scorer.score(items)
        rows = [
            pack_sample(case.id, Sample("", seed, Outcome.OK, image="x", scores=scores))
            for (case, seed), scores in zip(shots, every, strict=True)
        ]
        return [{name: part for name, part in row.items() if name != "p"} for row in rows]


def draw_folder(who: Newcomer, suite: Suite, name: str, folder: Path, look: Look) -> dict[str, float]:
    """One drawer's pictures, with as many seeds as a red case is confirmed with; what those of the first look show.

    They are read before they are made to look like anything that the reader never saw; in place of what another
    renderer drew, the same people in the same scenes are read as the first one draws them.
    """
    known = folder
    if look.renderer is not render:
        known = folder / "as the reader knows them"
        HOME.draw_references(known / "references", who.person, who.seed)
    (folder / name).mkdir(parents=True, exist_ok=True)
    pictures: list[Image.Image] = []
    cases = []
    for case in suite.cases:
        for seed in range(confirming_seeds(suite)):
            picture = DRAWERS[name](who, case, seed, folder, look.paint)
            shot = look.draw(picture, chance_of(who, case, seed, name)) if name != "copyist" else copied(picture)
            shot.save(folder / name / f"{case.id}-{seed}.png")
            if seed < suite.samples:
                pictures.append(picture if known == folder else DRAWERS[name](who, case, seed, known, render))
                cases.append(case)
    return shown(who, pictures, cases)


def copied(picture: Image.Image) -> Image.Image:
    """A reference in the size that was asked for."""
    return picture.resize((SIZE, SIZE), Image.Resampling.LANCZOS)


def told_apart(who: Newcomer, look: Look, scorer: Scorer) -> float:
    """By truth: how surely CLIP tells fresh pictures of a person in this look from those of twins (AUC)."""
    rng = np.random.default_rng(who.seed + 4)
    twins = [random_marks(who.person, rng) for _ in range(FRESH)]
    held = scorer.ground.gallery

    def near(people: Sequence[Person]) -> Floats:
        shots = [look.draw(look.paint(each, random_scene(rng), int(rng.integers(2**31))), rng) for each in people]
        return np.asarray((scorer.embed([png(shot) for shot in shots]) @ held.T).mean(1))

    return area_under_curve(near([who.person] * FRESH), near(twins))


def run_all(run: Run, suite: Suite, truth: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """Each provider's rows, findings, truth, and what the run itself said."""
    path = suite.path.as_posix()
    jobs = [Job(path, case.id, name) for name in suite.providers for case in suite.cases]
    run.submit(jobs)
    run.wait()
    rows = {name: pack([run.result(job) for job in jobs if job.provider == name]) for name in suite.providers}
    told = {name: said(run, path, name, [job for job in jobs if job.provider == name]) for name in suite.gate}
    [record] = run.finish().suites
    return {
        name: {
            "rows": rows[name],
            "sets": pack_sets(record.sets.get(name, {})),
            "truth": dict(truth.get(name, {})),
            **({"run": [told[name].word, told[name].red_cases], "said": told[name].complaints} if name in told else {}),
        }
        for name in suite.providers
    }


def said(run: Run, path: str, name: str, jobs: Sequence[Job]) -> Outcomes:
    """A gate provider's verdicts in the run."""
    gate = run.gate(path, name)
    red = sum(run.verdict(job).decision is Decision.FAIL for job in jobs)
    return Outcomes(gate.decision.value, red, tuple(f"{c.severity} {c.metric}: {c.message}" for c in gate.complaints))
