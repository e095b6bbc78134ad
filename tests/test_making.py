"""Several candidates a round, really trained on tiny models: what is trained, judged, and found again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from harness.config.local_options import Scheduling
from harness.core.values import Lora, Subject
from harness.models.lora.train_config import TrainConfig
from harness.training.improve.candidate_training import Maker
from harness.training.improve.candidates import step_of, variants
from harness.training.improve.plan import RATES, TrainPlan
from tests.tiny import make_context, save_subject

USUAL = 2e-3  # the profile's rate
CONFIG = TrainConfig(
    steps=8, batch=2, rank=4, alpha=4, learning_rate=USUAL, warmup=0, checkpoint_every=2, validate_every=0
)


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    return save_subject(tmp_path)


def make_round(models: Path, store: Path, **profile: Any) -> tuple[Maker, list[Path]]:
    """What trains a round's candidates, and the checkpoints that it judges: later ones are better."""
    context = make_context(models, training={"learning_rate": USUAL}, **profile)
    around: Any = SimpleNamespace(
        store=SimpleNamespace(folder=store),
        profile=context.profile,
        models=context.models,
        settings=SimpleNamespace(retrain=1, retrain_budget=None),
        suite=SimpleNamespace(path=Path("tiny.yaml")),
    )
    judged: list[Path] = []

    def judge(lora: Lora) -> float:
        judged.append(lora.path)
        return 0.5 + 0.01 * len(judged)

    return Maker(around, 1, float("inf"), lambda line: None, judge), judged


def test_a_candidate_that_is_stopped_was_trained_to_its_rung_and_no_further(
    tiny: Path, subject: Subject, tmp_path: Path
) -> None:
    maker, judged = make_round(tiny, tmp_path / "store")

    made, config, seen = maker.make(TrainPlan(CONFIG, (), None), subject)

    reached = [[step_of(file) for file in sorted(path.parent.glob("step-*"))] for path in judged]
    assert [step_of(path) for path in judged] == [2, 2, 2] and reached == [[2], [2], [2, 4, 6, 8]]
    assert made.steps == 8 and config.learning_rate == pytest.approx(RATES[1] * USUAL)
    assert seen[0]["stopped"] == ["as planned", "at half the rate"]


def mend_picture(subject: Subject) -> None:
    Image.effect_noise((40, 48), 60).convert("RGB").save(subject.references / "train" / "00.png")


def mend_caption(subject: Subject) -> None:
    (subject.references / "train" / "00.txt").write_text("aldar kose, frowning", encoding="utf-8")


def add_mask(subject: Subject) -> None:
    Image.new("L", (40, 48), 255).save(subject.references / "train" / "00.mask.png")


@pytest.mark.parametrize("mend", [mend_picture, mend_caption, add_mask])
def test_mended_pictures_are_learnt_from_anew(mend: Any, tiny: Path, subject: Subject, tmp_path: Path) -> None:
    """Checkpoints of what the pictures were before must not be judged, where a round was killed before its exam."""
    plan = TrainPlan(CONFIG, (), None)
    maker, judged = make_round(tiny, tmp_path / "store")
    maker.make(plan, subject)
    again, same = make_round(tiny, tmp_path / "store")
    again.make(plan, subject)

    mend(subject)
    last, fresh = make_round(tiny, tmp_path / "store")
    last.make(plan, subject)

    assert same == judged, "the same round finds its checkpoints again"
    assert not set(fresh) & set(judged) and len(fresh) == 3


def test_another_noise_schedule_is_learnt_anew(tiny: Path, subject: Subject, tmp_path: Path) -> None:
    maker, judged = make_round(tiny, tmp_path / "store")
    velocity = Scheduling("euler", {"prediction_type": "v_prediction"})
    other, fresh = make_round(tiny, tmp_path / "store", scheduling=velocity)

    for each in (maker, other):
        each.make(TrainPlan(CONFIG, (), None), subject)

    assert not set(fresh) & set(judged)


@pytest.mark.parametrize("planned", [0.3, 0.4, 1.0, 1.5])
def test_no_candidate_leaves_the_bounds_of_the_rate(planned: float) -> None:
    usual = TrainConfig(text_encoders="both")
    config = replace(usual, learning_rate=usual.learning_rate * planned)

    found = [each for each, _ in variants(config, 3, usual.learning_rate)]

    rates = [each.learning_rate / usual.learning_rate for each in found]
    assert rates[0] == pytest.approx(planned) and len(set(rates)) == len(rates) > 1
    assert all(RATES[0] - 1e-6 <= rate <= RATES[1] + 1e-6 for rate in rates)
    shares = [each.text_learning_rate / each.learning_rate for each in found]
    assert shares == pytest.approx([shares[0]] * len(shares)), "text encoders go with the UNet"


def test_the_bounds_are_multiples_of_the_profiles_rate(tiny: Path, subject: Subject, tmp_path: Path) -> None:
    maker, _ = make_round(tiny, tmp_path / "store")

    _, config, seen = maker.make(TrainPlan(replace(CONFIG, learning_rate=RATES[1] * USUAL), (), None, USUAL), subject)

    assert set(seen[0]["quality"]) == {"as planned", "at half the rate"}, "faster would leave the bounds"
    assert config.learning_rate <= RATES[1] * USUAL
