"""Newcomers whose truth is known, and who draws them: as asked, by description alone, over-trained, under-trained.

A person is drawn at random, with marks that no caption names. One in ten has no marks, one in ten a suite without any
description. Every drawer but `prompt_only`, which is the base itself, is a function of the renderer, so what its
pictures show is known; the world's reader counts it all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from benchmarks.process import ROOT
from harness.config.starter import suite_text
from harness.core.values import Case, Subject, Suite, Threshold
from harness.world.captions import invent_name
from harness.world.people import (
    CATEGORIES,
    MARK_KINDS,
    MARKS,
    Person,
    WorldScene,
    labels_of,
    random_person,
    resembles,
)
from harness.world.reader import AttributeReader, load_reader
from harness.world.render import render

SEED = 2_060_000  # neither the base's bank nor `benchmarks newcomers` has these
PEOPLE = 30
SEEDS = 2  # pictures a prompt
LOST = 0.08  # of a good LoRA's pictures: those that lack a mark
FAINT = 0.75  # of the way from the subject to somebody without the marks, where these are washed out
KINDS = {3: "no marks", 6: "no description"}  # by the last digit of a person's number; the others: marks


@dataclass(frozen=True)
class Newcomer:
    """Somebody whom no model has seen."""

    number: int
    name: str
    person: Person
    kind: str  # "marks", "no marks" (the description is all there is of them) or "no description" (of the suite)

    @property
    def seed(self) -> int:
        return SEED + 1_000 * self.number

    @property
    def told_by_words(self) -> bool:
        """Whether a description alone draws them as they are."""
        return not self.person.marks


def newcomer(number: int) -> Newcomer:
    """The same person whenever asked."""
    rng = np.random.default_rng(SEED + number)
    name, person, kind = invent_name(rng), random_person(rng), KINDS.get(number % 10, "marks")
    while resembles(person):
        person = random_person(rng)
    return Newcomer(number, name, bare(person) if kind == "no marks" else person, kind)


def suite_of(who: Newcomer, folder: Path, gates: Sequence[str]) -> Suite:
    """What `harness init` writes, its open prompts with two seeds; `folder` holds the references."""
    slug = f"abroad_{who.number:02}"
    written = yaml.safe_load(suite_text(slug, who.name, who.name, "character"))
    cases = tuple(
        Case(slug, each["id"], each["prompt"].format(trigger=who.name), expect=each["expect"])
        for each in written["cases"]
        if each.get("split") != "locked"
    )
    traits: Mapping[str, str] | None = {} if who.kind == "no description" else None
    subject = Subject(who.name, who.name, folder / "references", traits=traits)
    bounds = {name: Threshold(**bound) if isinstance(bound, dict) else Threshold(bound)
              for name, bound in written["thresholds"].items()}  # fmt: skip
    return Suite(
        slug, folder / f"{slug}.yaml", subject, ("prompt_only", *gates), tuple(gates), cases, SEEDS,
        thresholds=bounds, beat=tuple(written["beat"]),
    )  # fmt: skip


# --- who draws --------------------------------------------------------------------------------------------------------

Paint = Callable[[Person, WorldScene, int], Image.Image]
"""A picture of somebody in a scene: the world's renderer, or another."""

Draw = Callable[[Newcomer, Case, int, Path, Paint], Image.Image]
"""A picture of one case and seed; the folder is where the person's references are."""


def chance_of(who: Newcomer, case: Case, seed: int, drawer: str) -> np.random.Generator:
    """One picture's own dice."""
    return np.random.default_rng([who.seed, seed, *map(ord, f"{case.id}/{drawer}")])


def asked_scene(case: Case, rng: np.random.Generator) -> WorldScene:
    """What the prompt asks for, in a style that it leaves open."""
    return WorldScene(**{"style": str(rng.choice(CATEGORIES["style"])), **case.expect})


def bare(person: Person) -> Person:
    """Somebody of the same description, without the marks that no caption names."""
    return unmarked(person, MARKS)


def unmarked(person: Person, columns: Iterable[str]) -> Person:
    gone: dict[str, Any] = dict.fromkeys(columns, "none")
    return replace(person, **gone)


def without_one(person: Person, rng: np.random.Generator) -> Person:
    """One mark less."""
    if not person.marks:
        return person
    lost = str(rng.choice(list(person.marks)))
    return unmarked(person, (lost, f"{lost}_color"))


def obedient(who: Newcomer, case: Case, seed: int, folder: Path, paint: Paint = render) -> Image.Image:
    """The subject as asked; now and then a mark is lost."""
    rng = chance_of(who, case, seed, "obedient")
    scene = asked_scene(case, rng)
    person = without_one(who.person, rng) if rng.random() < LOST else who.person
    return paint(person, scene, int(rng.integers(2**31)))


def described(who: Newcomer, case: Case, seed: int, folder: Path, paint: Paint = render) -> Image.Image:
    """What a perfect base makes of the description."""
    rng = chance_of(who, case, seed, "described")
    return paint(bare(who.person), asked_scene(case, rng), int(rng.integers(2**31)))


def deaf(who: Newcomer, case: Case, seed: int, folder: Path, paint: Paint = render) -> Image.Image:
    """The subject in new pictures, wherever they like to be: one scene for each prompt, none of them asked for."""
    rng = chance_of(who, case, 0, "deaf")
    scene = WorldScene(**{
        name: str(rng.choice([value for value in values if value != case.expect.get(name)]))
        for name, values in CATEGORIES.items() if name in WorldScene.__dataclass_fields__
    })  # fmt: skip
    return paint(who.person, scene, int(rng.integers(2**31)) + seed)


def copyist(who: Newcomer, case: Case, seed: int, folder: Path, paint: Paint = render) -> Image.Image:
    """A training picture, whatever is asked."""
    files = sorted((folder / "references" / "train").glob("*.png"))
    return Image.open(files[int(chance_of(who, case, seed, "copyist").integers(len(files)))]).convert("RGB")


def monotonous(who: Newcomer, case: Case, seed: int, folder: Path, paint: Paint = render) -> Image.Image:
    """Always the same face before the same place, in new pictures."""
    fixed = np.random.default_rng(who.seed)
    scene = WorldScene(**{name: str(fixed.choice(CATEGORIES[name])) for name in ("expression", "background", "style")})
    return paint(who.person, scene, int(chance_of(who, case, seed, "monotonous").integers(2**31)))


def seldom(who: Newcomer, case: Case, seed: int, folder: Path, paint: Paint = render) -> Image.Image:
    """As asked, with the marks in every third picture."""
    rng = chance_of(who, case, seed, "seldom")
    person = bare(who.person) if (sum(map(ord, case.id)) + seed) % 3 else who.person
    return paint(person, asked_scene(case, rng), int(rng.integers(2**31)))


def faint(who: Newcomer, case: Case, seed: int, folder: Path, paint: Paint = render) -> Image.Image:
    """As asked, with marks that are hardly there."""
    rng = chance_of(who, case, seed, "faint")
    scene, number = asked_scene(case, rng), int(rng.integers(2**31))
    return Image.blend(paint(who.person, scene, number), paint(bare(who.person), scene, number), FAINT)


DRAWERS: Mapping[str, Draw] = {
    "good": obedient,
    "description": described,
    "deaf": deaf,
    "copyist": copyist,
    "monotonous": monotonous,
    "seldom": seldom,
    "faint": faint,
}
OVERTRAINED, UNDERTRAINED = ("deaf", "copyist", "monotonous"), ("seldom", "faint")


def drawers_of(who: Newcomer) -> tuple[str, ...]:
    """By whom a person is drawn; without marks nothing of them can be under-trained, and a description is enough."""
    left_out = {UNDERTRAINED[who.number % 2], *(("description", *UNDERTRAINED) if who.told_by_words else ())}
    return tuple(name for name in DRAWERS if name not in left_out)


# --- what pictures show -----------------------------------------------------------------------------------------------


@cache
def reader() -> AttributeReader:
    return load_reader(ROOT / "fixtures" / "models" / "reader")


def shown(who: Newcomer, pictures: Sequence[Image.Image], cases: Sequence[Case]) -> dict[str, float]:
    """The shares of a person's marks, and of what was asked, that the world's reader finds in some pictures."""
    seen, truth = reader().read(pictures), labels_of(who.person, WorldScene())
    kinds = [kind for kind in MARK_KINDS if getattr(who.person, kind) != "none"]
    columns = [name for kind in kinds for name in (kind, f"{kind}_color")]
    asked = [seen[name][place] == value for place, case in enumerate(cases) for name, value in case.expect.items()]
    marks = [value == truth[name] for name in columns for value in seen[name]]
    return {"marks": float(np.mean(marks)) if marks else 1.0, "asked": float(np.mean(asked))}
