"""A narrow cone: simulated encoders to which who is shown is little beside everything else that pictures differ in.

Embeddings lie about one common direction, as CLIP's do. Scene and style spread them with a standard deviation of 1 in
24 directions together, identity with the given share of that in 12 others. A lookalike shares 0.6 of the identity, a
good LoRA draws 0.92 of it, pictures of one prompt share their scene. Sight, scale, threshold and `beat` are the
harness's own; `quality` is the calibrated likeness alone. d' is of fresh pictures of the subject against lookalikes.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.core import stats
from harness.core.stats.calibration import LEAST_D, Separation, Sight, separate, sight_of
from harness.judging.following import MARGIN
from harness.models.embeddings import normalize
from harness.scoring.metrics.clip import separation_from

Array = NDArray[np.float64]
SHARES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0, 1.4)
SCENE, WHO, CONE, ALIKE, GOOD = 24, 12, 6.0, 0.6, 0.92
TRAIN, HELD_OUT, COHORT, PROMPTS, SEEDS, FAIL = 12, 8, 16, 12, 3, 0.6
BLIND, SEEN = 1.0, 2.0  # d' below and from which the verdict must be none, and right


@dataclass(frozen=True)
class World:
    """One subject before one encoder."""

    share: float
    subject: Array  # (WHO,)
    chance: np.random.Generator

    def scenes(self, count: int) -> Array:
        return self.chance.normal(size=(count, SCENE))

    def others(self, count: int) -> Array:
        return self.chance.normal(size=(count, WHO))

    def lookalikes(self, count: int) -> Array:
        return ALIKE * self.subject + np.sqrt(1 - ALIKE**2) * self.others(count)

    def drawn(self, count: int) -> Array:
        return GOOD * self.subject + 0.3 * self.others(count)

    def own(self, count: int) -> Array:
        return np.tile(self.subject, (count, 1))

    def see(self, scenes: Array, people: Array) -> Array:
        """Unit vectors of pictures of these people in these scenes."""
        parts = [np.full((len(scenes), 1), CONE), scenes / np.sqrt(SCENE), self.share * people / np.sqrt(WHO)]
        vectors = np.hstack(parts)
        return np.asarray(normalize(vectors + self.chance.normal(0, 0.02, vectors.shape)))


@dataclass(frozen=True)
class Tried:
    """What came of one subject."""

    d_prime: float
    judged: bool
    good: bool  # a good LoRA passed
    described: bool  # what the description alone draws passed


def try_once(share: float, chance: np.random.Generator) -> Tried:
    world = World(share, chance.normal(size=WHO), chance)
    held = world.see(world.scenes(HELD_OUT), world.own(HELD_OUT))
    scenes = world.scenes(TRAIN)

    def stand(vectors: Array) -> Array:
        return np.asarray((vectors @ held.T).mean(1))

    genuine = stand(world.see(scenes, world.own(TRAIN)))
    groups = {
        "strangers": stand(world.see(world.scenes(COHORT), world.others(COHORT))),
        "lookalikes": stand(world.see(world.scenes(COHORT), world.lookalikes(COHORT))),
    }
    again = np.resize(scenes, (COHORT, SCENE))
    weak = stand(world.see(again + 0.1 * world.scenes(COHORT), 0.95 * world.subject + 0.3 * world.others(COHORT)))
    strong = stand(world.see(0.5 * again + 0.87 * world.scenes(COHORT), world.others(COHORT)))
    sight = sight_of({0.1: weak, 0.9: strong}, genuine, groups["strangers"], groups["lookalikes"])
    if sight.enough:
        del groups["lookalikes"]
    scale, _ = separation_from(genuine, groups | {"redrawn references": strong})
    judged = sight.sees and scale.d_prime >= LEAST_D
    fresh = [stand(world.see(world.scenes(200), people)) for people in (world.own(200), world.lookalikes(200))]
    passed = [judged and passes(world, scale, sight, held, who) for who in (world.drawn, world.lookalikes)]
    return Tried(separate(*fresh).d_prime, judged, *passed)


def passes(world: World, scale: Separation, sight: Sight, held: Array, who: Any) -> bool:
    """The gate's threshold and `beat: [prompt_only]`, paired by prompt and seed."""
    scenes = np.repeat(world.scenes(PROMPTS), SEEDS, 0) + 0.3 * world.scenes(PROMPTS * SEEDS)
    count = len(scenes)
    mine, theirs = (
        np.array([scale.scale(raw) for raw in (world.see(scenes, people) @ held.T).mean(1)]).reshape(PROMPTS, SEEDS)
        for people in (who(count), world.lookalikes(count))
    )
    mean = float(np.clip(mine, 0, 1).mean())
    gap = stats.mean_interval(list((mine - theirs).mean(1)))
    return mean >= FAIL and gap.low is not None and gap.low + (MARGIN if sight.enough else 0) > 0


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--runs", type=int, default=400, help="subjects of each share")


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Shares of subjects whose description passes, whose good LoRA does, and that are judged though nothing is seen."""
    print(f"method: {options.runs} subjects a row, {PROMPTS} prompts x {SEEDS} seeds; identity's share of the spread")
    print(f"{'share':>6}{'d_prime':>9}{'judged':>8}{'good':>7}{'described':>11}")
    chance, worst, blind, good = np.random.default_rng(0), 0.0, 0.0, 1.0
    for share in SHARES:
        tried = [try_once(share, chance) for _ in range(options.runs)]
        d_prime = float(np.median([each.d_prime for each in tried]))
        judged, won, told = (float(np.mean([getattr(e, n) for e in tried])) for n in ("judged", "good", "described"))
        print(f"{share:6.2f}{d_prime:9.2f}{judged:8.3f}{won:7.3f}{told:11.3f}")
        worst, blind = max(worst, told), max(blind, judged if d_prime < BLIND else 0.0)
        good = min(good, won if d_prime >= SEEN else 1.0)
    return {"description_passed_max": worst, "judged_below_1_max": blind, "good_passed_min": good}
