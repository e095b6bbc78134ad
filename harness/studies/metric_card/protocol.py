"""Who is drawn, with which faults, and what the scorer says of it: one sheet an identity.

Everybody is unseen by every model. A third as many identities again are the dev split: thresholds are frozen on them
and used on the others.
"""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from harness.config.profile import Profile
from harness.core.values import METRICS, Case, Score, Subject, Suite
from harness.models.embeddings import open_file
from harness.models.loading import Models
from harness.scoring.known_cards import judge_parts
from harness.scoring.metrics.copying import TrainSet
from harness.scoring.metrics.diversity import Diversity, measure_spread
from harness.scoring.metrics.scorer import Scorer
from harness.scoring.metrics.subject import VERSION
from harness.store import Store
from harness.studies.metric_card.axes import Axis, freeze_thresholds, judge_axes
from harness.studies.metric_card.distortions import (
    COPIES,
    HUES,
    WALKS,
    add_noise,
    degenerate,
    overcook,
    region_of,
    turn_hue,
)
from harness.studies.metric_card.sheets import (
    KEPT,
    NUISANCES,
    SEEDS,
    STRENGTHS,
    Copied,
    DiversityPoint,
    IdentityScores,
    Key,
    PictureScores,
)
from harness.world.gallery import draw_references
from harness.world.people import (
    CATEGORIES,
    IDENTITY,
    MARK_KINDS,
    MARKS,
    Person,
    WorldScene,
    random_marks,
    random_person,
    random_scene,
)
from harness.world.render import render

SEED = 91_000_000  # of the first identity; the banks that models learn from are far below
TURNED = {"clothing": ("red", "blue", "green", "yellow", "purple"), "hair_color": ("golden", "brown")}
"""Category to its values that have a hue."""

Plan = list[tuple[Key, Image.Image]]


@dataclass(frozen=True)
class Effort:
    """How many identities, and how many pictures of each a level has."""

    people: int = 30
    genuine: int = 10  # and as many strangers
    scenes: int = 4
    copied: int = 4  # training pictures
    fresh: int = 20  # pictures that copy nothing

    @property
    def dev(self) -> int:
        return max(2, self.people // 3)


QUICK = Effort(people=6, genuine=6, scenes=2, copied=2, fresh=6)


@dataclass(frozen=True)
class Card:
    """The whole meta-evaluation."""

    people: int
    dev: int
    pictures: int
    seconds: float
    clip_hash: str
    version: int  # of the metrics' formulas
    thresholds: Mapping[str, float]  # frozen on the dev split
    axes: tuple[Axis, ...]
    scorer: Mapping[str, Any] = field(default_factory=dict)  # what of it decides scores whoever the subject is

    @property
    def passed(self) -> int:
        return sum(axis.passed for axis in self.axes)


def make_card(
    profile: Profile,
    models: Models,
    store: Store,
    effort: Effort = Effort(),
    say: Callable[[str], None] = lambda text: None,
) -> Card:
    """Draw, score and judge.

    Args:
        say: told of every identity that is done.
    """
    started = time.monotonic()
    profile = replace(profile, models=replace(profile.models, aesthetics=None, dino=None))  # gated scores only
    sheets = []
    with tempfile.TemporaryDirectory(prefix="card-") as folder:
        for number in range(effort.dev + effort.people):
            scorer = make_scorer(Path(folder) / str(number), number, profile, models, store)
            sheets.append(observe(scorer, number, effort, dev=number < effort.dev))
            parts = judge_parts(scorer.parts)
            say(f"{number + 1} of {effort.dev + effort.people} identities")
    thresholds = freeze_thresholds([sheet for sheet in sheets if sheet.dev])
    return Card(
        people=effort.people,
        dev=effort.dev,
        pictures=sum(len(shots) for sheet in sheets for shots in sheet.shots.values()),
        seconds=time.monotonic() - started,
        clip_hash=models.model_hash(profile.models.clip),
        version=VERSION,
        thresholds=thresholds,
        axes=judge_axes([sheet for sheet in sheets if not sheet.dev], thresholds),
        scorer=parts,
    )


# --- one identity -----------------------------------------------------------------------------------------------------


def person_of(number: int) -> Person:
    """The same number, the same person."""
    return random_person(np.random.default_rng(SEED + number))


def make_scorer(folder: Path, number: int, profile: Profile, models: Models, store: Store) -> Scorer:
    """The harness's own scorer for one identity: 12 + 8 references, traits read from them, the profile's impostors."""
    draw_references(folder, person_of(number), "somebody", SEED + number)
    subject = Subject(f"person {number}", "somebody", folder)
    case = Case("card", "card", "somebody")
    weights = {"clip": 0.4, "features": 0.4, "ssim": 0.2}
    return Scorer(
        Suite("card", folder / "card.yaml", subject, ("lora",), ("lora",), (case,), weights=weights),
        profile,
        models,
        store,
    )


def observe(scorer: Scorer, number: int, effort: Effort, *, dev: bool) -> IdentityScores:
    """Draw everything about one identity and have it scored in one go."""
    rng = np.random.default_rng([SEED, number, 1])
    person = person_of(number)
    scenes = [(random_scene(rng), int(rng.integers(2**31))) for _ in range(effort.genuine)]
    plan: Plan = [(("genuine", ""), render(person, *scene)) for scene in scenes]
    plan += [(("far", ""), render(stranger(person, rng), *scene)) for scene in scenes]
    turned = ""
    if not dev:
        part = scenes[: effort.scenes]
        turned = turnable(person)
        for add in (plan_walks, plan_hues, plan_wrong, plan_near, plan_nuisance, plan_strengths):
            plan += add(person, part, rng)
        learnt = [open_file(path) for path in scorer.references.train]
        plan += [(("degenerate", kind), picture) for kind, picture in degenerate(learnt, number).items()]
    shots: dict[Key, list[PictureScores]] = {}
    case = scorer.suite.cases[0]
    result = scorer.measure([(case, png(picture)) for _, picture in plan])
    for (key, _), scores in zip(plan, result, strict=True):
        shots.setdefault(key, []).append(shot_of(scores))
    sheet = IdentityScores(
        number, dev, scorer.calibration().reason, {key: tuple(each) for key, each in shots.items()}, turned
    )
    if dev:
        return sheet
    copies, kept = tuple(observe_copies(scorer, person, effort, rng)), tuple(observe_collapse(scorer, person, rng))
    return replace(sheet, copies=copies, kept=kept)


def shot_of(scores: Mapping[str, Score]) -> PictureScores:
    features = scores["features"].details
    return PictureScores(
        {metric: float(value) for metric in METRICS if (value := scores[metric].value) is not None},
        {category: float(item["score"]) for category, item in features.items() if item["score"] is not None},
        float(scores["clip"].raw or 0.0),
    )


def png(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "PNG", compress_level=1)
    return stream.getvalue()


# --- what is drawn ----------------------------------------------------------------------------------------------------

Scenes = Sequence[tuple[WorldScene, int]]


def plan_walks(person: Person, scenes: Scenes, rng: np.random.Generator) -> Iterator[tuple[Key, Image.Image]]:
    """Blur, JPEG and noise, each at rising strengths."""
    for name, (spoil, strengths) in WALKS.items():
        for level, strength in enumerate(strengths, start=1):
            for scene in scenes:
                yield (name, str(level)), spoil(render(person, *scene), strength, scene[1] + level)


def turnable(person: Person) -> str:
    """The category whose colour has a hue that can be turned, or ""."""
    return next((name for name, values in TURNED.items() if getattr(person, name) in values), "")


def plan_hues(person: Person, scenes: Scenes, rng: np.random.Generator) -> Iterator[tuple[Key, Image.Image]]:
    """Robe or hair in other hues; its pixels are those that change when it is drawn in other colours.

    Every other scene turns the other way round the circle, because a colour's two neighbours are not alike far.
    """
    category = turnable(person)
    for number, scene in enumerate(scenes if category else ()):
        others = [become(person, {category: value}) for value in CATEGORIES[category]]
        region = region_of([render(other, *scene) for other in others])
        for degrees in HUES:
            yield ("hue", str(degrees)), turn_hue(render(person, *scene), region, (-1) ** number * degrees)


def alter(person: Person, kind: str, rng: np.random.Generator) -> Person:
    """The same person with one thing wrong: another described value, or another mark in another colour."""
    values = [value for value in {**CATEGORIES, **MARKS}[kind] if value not in ("none", getattr(person, kind))]
    changes = {kind: str(rng.choice(values))}
    if kind in MARK_KINDS:
        name = f"{kind}_color"
        colors = [color for color in MARKS[name] if color not in ("none", getattr(person, name))]
        changes[name] = str(rng.choice(colors))
    return become(person, changes)


def kinds_of(person: Person) -> list[str]:
    """Everything about a person that can be wrong: what captions say, and the marks that are borne."""
    return [*IDENTITY, *person.marks]


def plan_wrong(person: Person, scenes: Scenes, rng: np.random.Generator) -> Iterator[tuple[Key, Image.Image]]:
    """0, 1, 2, 3 or all things wrong, the wrong ones nested; and each thing wrong by itself."""
    for scene in scenes:
        wrong, kinds = person, [str(kind) for kind in rng.permutation(kinds_of(person))]
        yield ("wrong", "0"), render(person, *scene)
        for count, kind in enumerate(kinds, start=1):
            wrong = alter(wrong, kind, rng)
            if count <= 3 or count == len(kinds):
                yield ("wrong", str(count) if count <= 3 else "all"), render(wrong, *scene)
    for kind in kinds_of(person):
        for scene in scenes[:2]:
            yield ("trait", kind), render(alter(person, kind, rng), *scene)


def plan_near(person: Person, scenes: Scenes, rng: np.random.Generator) -> Iterator[tuple[Key, Image.Image]]:
    """Another character as near as can be: one or two described attributes differ, or nothing but the marks."""
    for scene in scenes:
        other = person
        for kind in rng.choice(IDENTITY, size=int(rng.integers(1, 3)), replace=False):
            other = alter(other, str(kind), rng)
        yield ("near", "siblings"), render(other, *scene)
        twin = random_marks(person, rng)
        yield ("near", "twins"), render(twin if twin != person else alter(person, "hat", rng), *scene)


def stranger(person: Person, rng: np.random.Generator) -> Person:
    """Somebody who shares at most two described attributes with a person, and no mark."""
    while True:
        other = random_person(rng)
        alike = sum(getattr(other, name) == getattr(person, name) for name in IDENTITY)
        if alike <= 2 and not set(other.marks.items()) & set(person.marks.items()):
            return other


def plan_nuisance(person: Person, scenes: Scenes, rng: np.random.Generator) -> Iterator[tuple[Key, Image.Image]]:
    """One thing about the scene changes and nothing about the person; "pose" is another seed."""
    for kind in NUISANCES:
        for scene, seed in scenes:
            if kind == "pose":
                yield ("nuisance", kind), render(person, scene, seed + 1)
                continue
            values = [value for value in CATEGORIES[kind] if value != getattr(scene, kind)]
            other = replace(scene, **{kind: str(rng.choice(values))})
            yield ("nuisance", kind), render(person, other, seed)


def plan_strengths(person: Person, scenes: Scenes, rng: np.random.Generator) -> Iterator[tuple[Key, Image.Image]]:
    """From what a base draws over the character to too much of it: below 1 things become right one after the other."""
    order = [str(kind) for kind in rng.permutation(kinds_of(person))]
    for scene in scenes:
        base = stranger(person, rng)
        for strength in STRENGTHS:
            reached = min(len(order), round(strength * len(order)))
            drawn = render(become(base, traits_of(person, order[:reached])), *scene)
            if strength >= 1:
                drawn = overcook(render(person, *scene), render(base, *scene), strength)
            yield ("strength", str(strength)), drawn


def become(person: Person, changes: Mapping[str, Any]) -> Person:
    return replace(person, **changes)


def traits_of(person: Person, kinds: Sequence[str]) -> dict[str, str]:
    """Some things about a person, marks with their colours."""
    names = [name for kind in kinds for name in ((kind, f"{kind}_color") if kind in MARK_KINDS else (kind,))]
    return {name: getattr(person, name) for name in names}


# --- sets of pictures -------------------------------------------------------------------------------------------------


def observe_copies(scorer: Scorer, person: Person, effort: Effort, rng: np.random.Generator) -> Iterator[Copied]:
    """Training pictures copied in four ways, and fresh pictures of the same person."""
    train, held_out = scorer.references.train, scorer.references.held_out
    vectors = scorer.embed([path.read_bytes() for path in train])
    kept = scorer.embed([path.read_bytes() for path in held_out])
    known = TrainSet(train, vectors, held_out, kept)
    chosen = [open_file(train[int(row)]) for row in rng.permutation(len(train))[: effort.copied]]
    looked = [(kind, change(picture)) for picture in chosen for kind, change in COPIES.items()]
    looked += [("fresh", render(person, random_scene(rng), int(rng.integers(2**31)))) for _ in range(effort.fresh)]
    seen = scorer.embed([png(picture) for _, picture in looked])
    for (kind, picture), vector in zip(looked, seen, strict=True):
        nearest = known.nearest(picture, vector)
        yield Copied(kind, nearest.lines, nearest.copied)


def observe_collapse(scorer: Scorer, person: Person, rng: np.random.Generator) -> Iterator[DiversityPoint]:
    """SEEDS pictures of which only some are different: the others repeat them with a little noise."""
    scenes = [(random_scene(rng), int(rng.integers(2**31))) for _ in range(SEEDS)]
    for kept in KEPT:
        pictures = [
            png(add_noise(render(person, *scenes[place % kept]), 2.0, 100 * kept + place)) for place in range(SEEDS)
        ]
        spread = measure_spread(pictures, scorer.embed(pictures))
        yield DiversityPoint(kept, spread.distinct, Diversity({"card": spread}).alarm)
