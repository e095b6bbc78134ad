"""Sample pictures while a LoRA learns: what is drawn and written, and that no weight changes for it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from harness.core.errors import EngineError, UsageError
from harness.core.settings import Settings
from harness.core.values import Case, Lora, Score, Suite
from harness.models.lora.export import read_tensors
from harness.models.lora.train_config import TrainConfig
from harness.training.loop import Trained
from harness.training.sampling import NOTES, Samples, make_request
from harness.training.suite_training import train_suite
from harness.training.trainer import train
from tests.tiny import make_context, save_subject

ROOT = Path(__file__).resolve().parent.parent
SMALL = TrainConfig(
    steps=4, batch=2, rank=4, alpha=4, learning_rate=2e-2, warmup=0, checkpoint_every=2, validate_every=2, ema=0.5
)


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    """Two locked cases stand before five open ones."""
    subject = save_subject(tmp_path, uncaptioned=range(4))
    cases = [Case("demo", f"locked-{number}", f"aldar kose, {number}", split="locked") for number in range(2)]
    cases += [Case("demo", f"open-{number}", f"aldar kose, holding {number}") for number in range(5)]
    return Suite("demo", tmp_path / "demo.yaml", subject, ("lora",), ("lora",), tuple(cases))


def run(tiny: Path, suite: Suite, out: Path, samples: Samples | None, config: TrainConfig = SMALL) -> Trained:
    context = make_context(tiny, negative="dark")
    return train(config, suite.subject, context.profile, context.models, out, samples=samples)


def notes(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / NOTES).read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("changes", [{}, {"text_encoders": "both"}, {"dtype": "bfloat16"}], ids=str)
def test_samples_change_no_weight(changes: dict[str, Any], tiny: Path, suite: Suite, tmp_path: Path) -> None:
    import torch

    config, asked = replace(SMALL, **changes), list[str]()

    def judge(items: Any) -> list[dict[str, Score]]:
        asked.extend(case.id for case, _ in items)
        return [{"quality": Score("quality", 0.81, 0.3), "clip": Score("clip", None, 0.2)} for _ in items]

    plain = run(tiny, suite, tmp_path / "plain.safetensors", None, config)
    watched = run(tiny, suite, tmp_path / "watched.safetensors", Samples(suite, 1, tmp_path / "seen", judge), config)

    for one, two in zip(plain.checkpoints, watched.checkpoints, strict=True):
        (first, _), (second, _) = read_tensors(one), read_tensors(two)
        assert all(torch.equal(first[name], second[name]) for name in first)
    assert asked == [f"open-{number}" for number in range(4)] * 4
    assert [(note["step"], note["mean"]) for note in notes(tmp_path / "seen")] == [
        (step, {"quality": 0.81}) for step in (1, 2, 3, 4)
    ]
    assert "locked" not in (tmp_path / "seen" / NOTES).read_text(encoding="utf-8")


def test_the_sheets_show_what_the_saved_lora_draws(tiny: Path, suite: Suite, tmp_path: Path) -> None:
    """The last sample is the very picture that the shared pipeline draws with the file, but for its half precision."""
    import io

    import numpy as np

    seen: list[bytes] = []

    def judge(items: Any) -> list[dict[str, Score]]:
        seen[:] = [data for _, data in items]
        return [{} for _ in items]

    out = tmp_path / "lora.safetensors"
    run(tiny, suite, out, Samples(suite, 3, tmp_path / "seen", judge))
    context = make_context(tiny, negative="dark", lora=Lora(out))
    request = make_request(Samples(suite, 1, tmp_path), suite.case("open-0"), context.profile)
    with_lora, without = (context.models.pipeline().draw([request], lora)[0] for lora in (Lora(out), None))

    drawn = np.asarray(Image.open(io.BytesIO(seen[0]))).astype(int)
    near, far = (np.abs(drawn - np.asarray(picture)).mean() for picture in (with_lora, without))
    assert near < 0.5 and far > 4 * near
    assert sorted(path.name for path in (tmp_path / "seen").glob("*.png")) == ["step-000003.png", "step-000004.png"]
    with Image.open(tmp_path / "seen" / "step-000004.png") as sheet:
        assert sheet.width > 4 * 64


def test_a_run_that_is_set_back_leaves_no_later_sheet(tiny: Path, suite: Suite, tmp_path: Path) -> None:
    folder, out = tmp_path / "seen", tmp_path / "lora.safetensors"
    run(tiny, suite, out, Samples(suite, 1, folder))
    run(tiny, suite, out, Samples(suite, 2, folder), replace(SMALL, steps=2))  # another configuration begins anew

    assert [note["step"] for note in notes(folder)] == [2] and len(list(folder.glob("*.png"))) == 1


def test_sampling_decides_no_weight_so_a_killed_run_goes_on_with_it(tiny: Path, suite: Suite, tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    def stop(line: str) -> None:
        if line.startswith("step 3"):
            raise Killed

    context, out = make_context(tiny), tmp_path / "lora.safetensors"
    with pytest.raises(Killed):
        samples = Samples(suite, 1, tmp_path / "seen")
        train(SMALL, suite.subject, context.profile, context.models, out, samples=samples, progress=stop)
    said: list[str] = []
    train(SMALL, suite.subject, context.profile, context.models, out, progress=said.append)

    assert "resumed at step 2" in said


def test_locked_cases_are_never_drawn(tiny: Path, suite: Suite, tmp_path: Path) -> None:
    samples, profile = Samples(suite, 1, tmp_path), make_context(tiny).profile

    assert [case.split for case in samples.cases] == ["open"] * 4
    with pytest.raises(EngineError, match="locked"):
        make_request(samples, suite.cases[0], profile)
    with pytest.raises(UsageError, match="no open case"):
        Samples(replace(suite, cases=suite.cases[:2]), 1, tmp_path)


def test_the_command_samples_beside_the_file_and_says_why_nothing_is_scored(
    tiny: Path, suite: Suite, tmp_path: Path
) -> None:
    training = {"steps": 4, "batch": 2, "rank": 4, "learning_rate": 2e-3, "sample_every": 2}
    profile, said = make_context(tiny, training=training).profile, list[str]()
    settings = Settings(tiny, store=tmp_path / "store")

    train_suite(suite, profile, settings, out=tmp_path / "toma.safetensors", progress=said.append)

    folder = tmp_path / "toma.samples"
    assert [note["step"] for note in notes(folder)] == [2, 4]
    assert any("samples are drawn and not scored" in line for line in said)  # the tiny profile has no impostors
    assert any(line.startswith("step 2: drawn") and "(4 open cases)" in line for line in said)


@pytest.mark.real
@pytest.mark.skipif(not (ROOT / "fixtures/models/sdxl/unet").is_dir(), reason="the embedded models are not there yet")
def test_the_embedded_models_score_their_samples(tmp_path: Path) -> None:
    from harness.config.profile import load_profile
    from harness.config.suite import load_suite

    settings = Settings(ROOT, store=tmp_path / "store")
    profile = load_profile("embedded", ROOT)
    suite, said = load_suite(ROOT / "suites/aldar_kose.yaml", profile), list[str]()

    changes = {"steps": 2, "warmup": 0, "sample_every": 1}
    train_suite(suite, profile, settings, out=tmp_path / "one.safetensors", changes=changes, progress=said.append)

    assert all(0 <= note["mean"]["quality"] <= 1 for note in notes(tmp_path / "one.samples"))
    assert any(line.startswith("step 1: quality 0.") and ", clip " in line for line in said)
