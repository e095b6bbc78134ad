"""The last remedy: a LoRA learns from its own best pictures: few, good, varied, no copies, never of locked cases."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.core.errors import EngineError
from harness.core.values import Case, CaseResult, Job, Lora, Outcome, Sample, Score, Subject, Suite, Threshold
from harness.engine.context import ImproveContext
from harness.judging.causes import HEALTHY, cause_of
from harness.models.lora.export import read_facts
from harness.scoring.metrics.copying import TrainSet
from harness.scoring.references import load_references, set_hash
from harness.store import Store
from harness.training.data import train_pictures
from harness.training.improve.data_fixes import mended_subject
from harness.training.improve.held_out_test import HELD_OUT_OFFSET, HELD_OUT_SAMPLES, HeldOutTest
from harness.training.improve.loop import improve
from harness.training.improve.self_training import A_CASE, SHARE, is_last_rung, most_own, rank_good, self_train
from tests.test_improve import Studio, World
from tests.tiny import make_context

TRAINING: dict[str, Any] = {"steps": 6, "batch": 2, "rank": 4, "learning_rate": 5e-3, "checkpoint_every": 3}
COPY = 2  # among the seeds of the first open case: draws a training picture
TALENTS = {"open-0": 0.9, "open-1": 0.82, "open-2": 0.62, "open-3": 0.72}


def noise(number: int) -> bytes:
    """A picture full of lines, unlike any other."""
    small = np.random.default_rng(number).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(small).resize((64, 64)).save(buffer, "PNG")
    return buffer.getvalue()


class Eye:
    """A scorer that tells copies by their lines, as the real one does, and nothing else."""

    identity = "eye"

    def __init__(self, subject: Subject) -> None:
        references = load_references(subject)
        self.known = TrainSet(references.train, held_out=references.held_out)

    def train_set(self) -> TrainSet:
        return self.known

    def held_set(self) -> None:
        return None

    def embed(self, pictures: Sequence[bytes]) -> Any:
        return np.zeros((len(pictures), 4), np.float32)

    def drift(self, pairs: Any) -> None:
        return None

    def traits(self) -> tuple[()]:
        return ()

    def calibration(self) -> None:
        return None


@dataclass
class Painter(Studio):
    """Every picture is really in the store."""

    store: Any = None
    quality: Any = None  # of a LoRA, a case and a seed

    def result(self, lora: Lora | None, provider: str, case: Case, seeds: Sequence[int]) -> CaseResult:
        samples = []
        for seed in seeds:
            copied = case.id == "open-0" and seed % 10 == COPY and seed > 1000
            data = noise(0) if copied else noise(int(case.id[-1]) * 100_000 + seed + 10_000_000)
            value = self.quality(lora, case, seed) + (0.05 if copied else 0.0)
            scores = {name: Score(name, value, value) for name in ("quality", "clip", "features", "ssim")}
            sha = self.store.put_image(data)
            samples.append(Sample(f"{case.id}{seed}", seed, Outcome.OK, sha, scores=scores))
        return CaseResult(Job(self.suite.path.as_posix(), case.id, provider), tuple(samples))


@pytest.fixture
def world(tiny: Path, tmp_path: Path) -> Iterator[World]:
    """Twelve train pictures full of lines, four open cases and four locked ones."""
    for split, count in (("train", 12), ("held_out", 4)):
        folder = tmp_path / "references" / split
        folder.mkdir(parents=True)
        for number in range(count):
            (folder / f"{number:02d}.png").write_bytes(noise(number + 100 * (split == "held_out")))
            (folder / f"{number:02d}.txt").write_text(f"aldar kose, holding {number}", encoding="utf-8")
    subject = Subject("Aldar Kose", "aldar kose", tmp_path / "references")
    cases = [Case("demo", f"open-{number}", f"aldar kose, holding {number}") for number in range(4)]
    cases += [Case("demo", f"locked-{number}", f"aldar kose, {number}", split="locked") for number in range(4)]
    suite = Suite("demo", tmp_path / "demo.yaml", subject, ("lora",), ("lora",), tuple(cases))
    suite = replace(suite, thresholds={"quality": Threshold(0.6)}, alarms={"diversity": "off", "drift": "off"})
    with Store(tmp_path / "store") as store:
        yield World(tmp_path, tiny, suite, store, make_context(tiny, training=TRAINING))


def context_of(world: World, lora: Lora, quality: Any, **changes: Any) -> tuple[ImproveContext, Painter]:
    painter = Painter(world.suite, lambda lora: 0.0, store=world.store, quality=quality)
    results = painter(lora, "lora", [case for case in world.suite.cases if case.split == "open"], [0])
    context, _ = world.context(lora, lambda lora: 0.4)
    eye: Any = Eye(world.suite.subject)
    options: dict[str, Any] = {"evaluate": painter, "results": {"lora": results}, "scorer": eye, **changes}
    return replace(context, **options), painter


def by_case(lora: Lora | None, case: Case, seed: int) -> float:
    return TALENTS.get(case.id, 0.5) + 0.001 * (seed % 10)


def test_the_best_few_that_copy_nothing_are_kept_with_their_prompts(world: World) -> None:
    champion = Lora(world.lora("sound", steps=6))
    context, painter = context_of(world, champion, by_case)
    ground = HeldOutTest(context, attempt=1)

    mending = self_train(context, ground, champion, train=12)

    assert len(mending.added) == most_own(12) == 5
    assert sorted(each.caption for each in mending.added) == [
        *["aldar kose, holding 0"] * A_CASE,
        *["aldar kose, holding 1"] * A_CASE,
        "aldar kose, holding 3",
    ]
    assert noise(0) not in [each.data for each in mending.added]  # the best of all is a training picture drawn again
    assert "5 of 16 pictures" in mending.reasons[0] and "join the 12 train pictures (29% of all)" in mending.reasons[0]
    assert {seed for _, _, seed in painter.asked if seed} == set(ground.own_seeds)


def test_they_join_a_copy_of_the_train_pictures_and_nothing_else_changes(world: World) -> None:
    champion, subject = Lora(world.lora("sound", steps=6)), world.suite.subject
    context, _ = context_of(world, champion, by_case)
    before = {path: path.read_bytes() for path in sorted((world.root / "references").rglob("*.*"))}

    mending = self_train(context, HeldOutTest(context, attempt=1), champion, train=12)
    mended = mended_subject(subject, mending, world.store.folder / "loras")

    pictures, references = train_pictures(mended), load_references(mended)
    own = [picture for picture in pictures if picture.path.name.startswith("own-")]
    assert len(pictures) == 17 and len(own) == 5 and len(own) <= SHARE * len(pictures)
    assert set_hash(references.held_out) == set_hash(load_references(subject).held_out)
    assert {path: path.read_bytes() for path in sorted((world.root / "references").rglob("*.*"))} == before
    assert mended_subject(subject, mending, world.store.folder / "loras").references == mended.references


def test_the_share_is_never_above_thirty_percent() -> None:
    for train in range(1, 200):
        assert most_own(train) <= SHARE * (train + most_own(train)) + 1e-9


def test_pictures_of_locked_cases_can_never_get_in(world: World) -> None:
    champion = Lora(world.lora("sound", steps=6))
    context, painter = context_of(world, champion, lambda lora, case, seed: 0.99)
    locked = [case for case in world.suite.cases if case.split == "locked"]
    ground = HeldOutTest(context, attempt=3)

    with pytest.raises(EngineError, match="locked"):
        rank_good(world.suite, painter(champion, "lora", locked, [5]))
    painter.asked.clear()
    self_train(context, ground, champion, train=12)

    assert all(case.startswith("open") for _, case, _ in painter.asked)
    exams = {
        seed for attempt in range(1, 40) for seed in world.suite.seeds(HELD_OUT_SAMPLES, HELD_OUT_OFFSET * attempt)
    }
    assert not exams & {seed for attempt in range(1, 40) for seed in HeldOutTest(context, attempt).own_seeds}


def test_where_nothing_is_good_enough_or_nobody_sees_copies_nothing_is_added(world: World) -> None:
    champion = Lora(world.lora("sound", steps=6))
    context, _ = context_of(world, champion, lambda lora, case, seed: 0.64)
    blind, _ = context_of(world, champion, by_case, scorer=SimpleNamespace(identity="blind"))

    poor = self_train(context, HeldOutTest(context, attempt=1), champion, train=12)
    unseen = self_train(blind, HeldOutTest(blind, attempt=1), champion, train=12)

    assert not poor and "of 16 pictures of its own none is good enough" in poor.reasons[0]
    assert not unseen and "nobody here can tell copies" in unseen.reasons[0]


def test_it_is_the_last_rung() -> None:
    pictures = cause_of("wrong_person", 0.95, ())
    assert is_last_rung([HEALTHY], refused=1, continued=True) and is_last_rung([HEALTHY], 2, False)
    assert not is_last_rung([HEALTHY], refused=0, continued=False) and not is_last_rung([HEALTHY], 1, False)
    assert not is_last_rung([HEALTHY, pictures], refused=2, continued=True)  # that is mended in the pictures


def test_a_sound_lora_that_could_not_be_continued_learns_from_itself_and_is_examined_as_usual(world: World) -> None:
    """Only the challenger that learnt from the mixed set is better; its origin is accepted in this test alone."""
    champion = Lora(world.lora("sound", steps=6))
    usual = read_facts(champion.path).metadata["harness.references"]

    def quality(lora: Lora | None, case: Case, seed: int) -> float:
        learnt = read_facts(lora.path).metadata["harness.references"] if lora else ""
        level = 0.3 if lora is None else 0.55 if learnt == usual else 0.85
        lucky = 0.35 if lora and 1500 <= seed % 10_000 < 9000 and seed < 10_000 and seed % 1000 >= 500 else 0.0
        return level + lucky + random.Random(f"{case.id} {seed}").uniform(-0.03, 0.03)

    settings = SimpleNamespace(retrain=2, retrain_budget=None, samples=None, lora=champion, store=world.store.folder)
    context, _ = context_of(world, champion, quality, settings=settings)

    first, second = improve(context).rounds

    assert first["verdict"] == "refused" and first["start_from"] == champion.path.name
    assert "join the 12 train pictures" in second["plan"][0] and len(second["mended"]["added"]) == 5
    assert second["start_from"] == champion.path.name and "at half the rate" in second["plan"][1]
    assert second["verdict"] == "promoted", second["reason"]
    challenger = Lora(world.store.folder / second["place"])
    assert read_facts(challenger.path).metadata["harness.references"] != usual
    stranger = HeldOutTest(context, attempt=9)
    stranger.enter(challenger, {usual})
    assert "other pictures" in "; ".join(stranger.examine(challenger, champion).reasons)
