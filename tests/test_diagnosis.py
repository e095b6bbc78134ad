"""Causes told from diagnostic inputs, and the train pictures mended by them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.core.values import Interval, SetScore, Subject, Vocabulary
from harness.judging.causes import GATE, HEALTHY, LORA, PICTURES, PROBES, TOLD, cause_of, diagnose_lora, title_of
from harness.judging.causes.cause import Cause
from harness.judging.causes.lora import DiagnosticInputs, Making, Study
from harness.judging.record import CauseRecord
from harness.models.lora.train_config import TrainConfig
from harness.scoring.references import load_references
from harness.training.improve.candidates import Candidate, halve, rung_steps, variants
from harness.training.improve.data_fixes import fix_pictures, mended_subject
from harness.training.improve.plan import in_weights
from harness.training.improve.remedies import other_strengths
from harness.training.improve.symptoms import Readings, find_groups

LIKE = {f"{number:02}.png": 1.0 for number in range(12)}
SOUND = Study(
    LIKE,
    count=12,
    shares={"expression": ("sad", 0.25), "accessory": ("nothing", 1.0)},
    silent={"expression": 0.0},
    harmless=frozenset({"accessory"}),
)
USUAL = Making(1.0, 1.0, words="400 steps of 8 at 0.002")
LOW = Interval(0.3, 0.2, 0.4, 12)
COPIES = {"copy": SetScore("copy", "12 of 36 pictures copy a training picture", alarm=True)}


def study(**changes: Any) -> Study:
    return Study(**{**vars(SOUND), **changes})


@pytest.mark.parametrize(
    ("seen", "named"),
    [
        (DiagnosticInputs(strength=1.0, making=USUAL, study=SOUND), "healthy"),
        (DiagnosticInputs(strength=2.0, making=USUAL, study=SOUND), "high_strength"),
        (DiagnosticInputs(strength=0.2, making=USUAL, study=SOUND), "low_strength"),
        (DiagnosticInputs(strength=1.0, making=Making(0.1, 1.0), study=SOUND), "under_trained"),
        (DiagnosticInputs(strength=1.0, making=Making(3.0, 1.0), study=SOUND), "over_trained"),
        (DiagnosticInputs(strength=1.0, making=Making(1.0, 10.0), study=SOUND), "high_rate"),
        (DiagnosticInputs(strength=1.0, making=Making(1.0, 0.02), study=SOUND), "low_rate"),
        (DiagnosticInputs(strength=1.0, making=USUAL, study=study(likeness={**LIKE, "03.png": 0.2})), "wrong_person"),
        (DiagnosticInputs(strength=1.0, making=USUAL, study=study(groups=[list(LIKE)[:5]])), "duplicates"),
        (
            DiagnosticInputs(
                making=USUAL, study=study(shares={"expression": ("sad", 0.9)}, silent={"expression": 1.0})
            ),
            "one_value",
        ),
        (DiagnosticInputs(making=USUAL, study=study(silent={"expression": 0.8})), "missing_captions"),
        (DiagnosticInputs(sets=COPIES), "over_trained"),
        (DiagnosticInputs(clip=LOW, prompt=LOW, ssim=LOW), "high_rate"),
    ],
)
def test_a_cause_is_named_from_what_shows_it(seen: DiagnosticInputs, named: str) -> None:
    first = diagnose_lora(seen)[0]

    assert first.name == named and first.evidence and 0 < first.confidence <= 1


def test_a_stranger_among_the_pictures_is_said_with_its_file_before_the_recipe() -> None:
    causes = diagnose_lora(DiagnosticInputs(making=Making(3.0, 1.0), study=study(likeness={**LIKE, "03.png": 0.2})))

    assert [cause.name for cause in causes] == ["wrong_person", "over_trained"]
    assert "03.png" in causes[0].evidence[0]


def test_when_most_pictures_are_strange_the_held_out_ones_may_be_the_wrong_ones() -> None:
    assert diagnose_lora(DiagnosticInputs(study=study(likeness=dict.fromkeys(LIKE, 0.1))))[0].name == "healthy"


def test_likeness_alone_only_hints_at_too_little_training() -> None:
    none = Interval(0.1, 0.0, 0.2, 12)

    (cause,) = diagnose_lora(DiagnosticInputs(clip=LOW, over_base=none, bounds={"clip": 0.5}))

    assert cause.name == "under_trained" and cause.confidence <= 0.5


AREAS = {"strength", "lora", "references", "provider", "rendering", "data", "training", "prompt"}


def test_the_table_has_each_cause_once_with_its_area_and_words() -> None:
    assert len(PROBES) == len(GATE) + len(TOLD) + len(LORA) + len(PICTURES)
    assert all(probe.area in AREAS and probe.title for probe in PROBES.values())
    assert all(probe.remedy and probe.area in ("data", "strength", "training") for probe in LORA.values())


@pytest.mark.parametrize("name", LORA)
def test_a_cause_is_read_back_as_it_was_written(name: str) -> None:
    written = cause(name, 0.7)

    kept = CauseRecord.of(written.to_record())

    assert cause_of(kept.name, kept.confidence, kept.evidence) == written
    assert written.sentence == f"{LORA[name].title}: because; {LORA[name].remedy}"
    assert written.diagnosis == f"{title_of(name)} (70%): because"


def test_what_the_table_does_not_know_stands_for_itself() -> None:
    unknown = cause("of a newer version")

    assert (unknown.title, unknown.area, unknown.sentence) == (unknown.name, "suite", "of a newer version: because")
    assert title_of("healthy") == "nothing known is wrong" and not in_weights([HEALTHY])


@pytest.mark.parametrize(("confidence", "priority"), [(0.7, "high"), (0.69, "medium"), (0.31, "medium"), (0.3, "low")])
def test_how_sure_a_cause_is_says_how_urgent_its_remedy_is(confidence: float, priority: str) -> None:
    assert cause("over_trained", confidence).priority == priority


@pytest.mark.parametrize(
    ("name", "confidence", "spoilt"),
    [
        *(("over_trained", 0.6, True), ("over_trained", 0.59, False)),
        *(("wrong_person", 0.6, True), ("high_strength", 0.95, False)),
    ],
)
def test_only_sure_causes_in_pictures_or_training_spoil_the_weights(name: str, confidence: float, spoilt: bool) -> None:
    assert bool(in_weights([cause(name, confidence)])) is spoilt


# --- the remedies ---------------------------------------------------------------------------------------------------


def cause(name: str, confidence: float = 0.95) -> Cause:
    return cause_of(name, confidence, ("because",))


@pytest.mark.parametrize(
    ("causes", "strengths"),
    [
        ([cause("high_strength")], (0.8, 1.0, 1.2)),
        ([cause("over_trained")], (1.0, 1.3, 1.6)),
        ([cause("wrong_person")], ()),
        ([cause("high_strength"), cause("duplicates")], ()),
        ([cause("healthy", 0.5)], ()),
    ],
)
def test_strengths_are_tried_only_where_they_can_mend(causes: list[Cause], strengths: tuple[float, ...]) -> None:
    assert other_strengths(causes, 2.0, 0.4) == strengths


def test_candidates_that_lag_are_stopped_at_a_checkpoint(tmp_path: Path) -> None:
    config = TrainConfig(steps=400, checkpoint_every=50)
    candidates = [Candidate(each, tmp_path / str(place), why) for place, (each, why) in enumerate(variants(config, 3))]
    trained: list[tuple[str, int]] = []

    def train(candidate: Candidate, step: int) -> None:
        trained.append((candidate.why, step))
        candidate.work.mkdir(exist_ok=True)
        (candidate.work / f"step-{step:06d}.safetensors").touch()

    best, seen = halve(candidates, train, lambda path: float(path.parent.name == "1"), lambda line: None)

    assert best is candidates[1] and best.config.learning_rate == pytest.approx(config.learning_rate / 2)
    assert rung_steps(config) == [100, 200] and {step for _, step in trained} == {100}
    assert seen[0]["stopped"] == ["as planned", "at 1.5 times the rate"]


# --- mending ------------------------------------------------------------------------------------------------------


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    rng = np.random.default_rng(0)
    for split in ("train", "held_out"):
        (tmp_path / split).mkdir()
        for number in range(8):
            pixels = rng.integers(0, 255, (12, 12, 3), dtype=np.uint8)
            picture = Image.fromarray(pixels).resize((96, 96), Image.Resampling.BICUBIC)
            picture.save(tmp_path / split / f"{number}.png")
            (tmp_path / split / f"{number}.txt").write_text("aldar kose, city background", encoding="utf-8")
    (tmp_path / "train" / "again.png").write_bytes((tmp_path / "train" / "3.png").read_bytes() + b" ")
    return Subject("Aldar Kose", "aldar kose", tmp_path)


def readings(subject: Subject, **changes: Any) -> Readings:
    train = load_references(subject).train
    names = tuple(path.name for path in train)
    groups = [group for group in find_groups(train) if len(group) > 1]
    faces: Mapping[str, Any] = {"expression": SimpleNamespace(values=tuple("sad" for _ in names))}
    return Readings(Study(groups=groups, count=len(names), **changes), faces, names)


WORDS = {"expression": Vocabulary({"sad": "sad", "smiling": "smiling"}, identity=False)}


def test_repeated_and_strange_pictures_are_left_out_of_a_copy_and_no_file_is_touched(subject: Subject) -> None:
    before = sorted((path.name, path.read_bytes()) for path in subject.references.rglob("*") if path.is_file())
    found = readings(subject, likeness={"5.png": 0.1})

    mending = fix_pictures([cause("duplicates"), cause("wrong_person")], found, subject, WORDS)
    other = mended_subject(subject, mending, subject.references.parent / "store")

    assert set(mending.dropped) == {"5.png", "again.png"} and len(mending.reasons) == 2
    assert {path.name for path in load_references(other).train} == {f"{number}.png" for number in range(8)} - {"5.png"}
    assert len(load_references(other).held_out) == 8
    assert before == sorted((path.name, path.read_bytes()) for path in subject.references.rglob("*") if path.is_file())


def test_captions_come_to_say_what_they_are_silent_about(subject: Subject) -> None:
    mending = fix_pictures([cause("missing_captions")], readings(subject), subject, WORDS)
    other = mended_subject(subject, mending, subject.references.parent / "store")

    assert not mending.dropped and "expression" in mending.reasons[0]
    assert set(load_references(other).captions.values()) >= {"aldar kose, city background, sad"}


def test_what_is_no_fault_of_the_pictures_mends_nothing(subject: Subject) -> None:
    assert not fix_pictures([cause("high_rate")], readings(subject), subject, WORDS)
