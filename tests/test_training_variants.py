"""LoRA variants: each trains, exports, and loads in plain diffusers with the pictures that training saw."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.errors import LoraError, UsageError
from harness.loras.file import read_lora
from harness.training.config import TARGETS, TrainConfig
from harness.training.export import read_tensors
from harness.training.loop import Loop, Setup
from harness.training.team import Team
from harness.training.trainer import prepare, train, training_place
from harness.values import Subject
from tests.tiny import make_context, save_subject

SMALL = TrainConfig(
    steps=4, batch=2, rank=4, alpha=4, learning_rate=2e-2, warmup=0, checkpoint_every=4, validate_every=0, prior_every=2
)
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "alpha": {"alpha": 2},
    "rslora": {"rslora": True},
    "dora": {"dora": True},
    "feed-forward": {"target_modules": TARGETS["attention+ff"]},
    "convolutions": {"target_modules": TARGETS["all"], "alpha": 8},
    "dora-convolutions": {"target_modules": TARGETS["all"], "dora": True},
    "both-encoders": {"text_encoders": "both", "text_learning_rate": 5e-2, "alpha": 2},
    "second-encoder": {"text_encoders": "second", "text_learning_rate": 5e-2, "rslora": True},
}


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    return save_subject(tmp_path)


def make_loop(tiny: Path, subject: Subject, work: Path, config: TrainConfig, start: Path | None = None) -> Loop:
    context = make_context(tiny)
    _, dtype = training_place(config, context.models)
    ready = prepare(config, subject, context.profile, context.models, dtype, Team(), work, start)
    return Loop(Setup(config, ready.data, ready.texts, ready.models, ready.schedule, dtype, work, "", {}))


@pytest.mark.parametrize("name", VARIANTS)
def test_what_was_trained_is_what_plain_diffusers_loads(
    name: str, tiny: Path, subject: Subject, tmp_path: Path
) -> None:
    import torch
    from diffusers import StableDiffusionXLPipeline

    config = replace(SMALL, **VARIANTS[name])
    loop = make_loop(tiny, subject, tmp_path / "work", config)
    loop.finish(tmp_path / "lora.safetensors")
    said = "aldar kose, smiling, steppe background"
    noisy = torch.randn((1, 4, 12, 10), generator=torch.Generator().manual_seed(3))
    times, ids = torch.tensor([300]), torch.tensor([[48.0, 40, 0, 0, 48, 40]])
    with torch.no_grad():
        trained = loop.predict(noisy, times, [said], ids)

    pipe = StableDiffusionXLPipeline.from_pretrained(tiny / "sdxl")
    plain = predict(pipe, said, noisy, times, ids)
    pipe.load_lora_weights(tmp_path / "lora.safetensors")
    loaded = predict(pipe, said, noisy, times, ids)

    moved = (trained - plain).norm()
    assert moved > 0.01 * plain.norm()
    assert (loaded - trained).norm() < 0.01 * moved
    parts = read_lora(tmp_path / "lora.safetensors").parts
    assert parts == (
        "unet",
        *{"both": ("text_encoder", "text_encoder_2"), "second": ("text_encoder_2",)}.get(config.text_encoders, ()),
    )


def predict(pipe: Any, said: str, noisy: Any, times: Any, ids: Any) -> Any:
    import torch

    with torch.no_grad():
        tokens, _, pooled, _ = pipe.encode_prompt(said, device="cpu", do_classifier_free_guidance=False)
        condition = {"text_embeds": pooled, "time_ids": ids}
        return pipe.unet(noisy, times, tokens, added_cond_kwargs=condition).sample


@pytest.mark.parametrize("name", ["alpha", "dora-convolutions", "both-encoders", "second-encoder"])
def test_a_variant_is_continued_where_it_ended(name: str, tiny: Path, subject: Subject, tmp_path: Path) -> None:
    config = replace(SMALL, **VARIANTS[name])
    first = make_loop(tiny, subject, tmp_path / "first", config)
    first.finish(tmp_path / "lora.safetensors")

    second = make_loop(tiny, subject, tmp_path / "second", config, tmp_path / "lora.safetensors")

    assert first.weights.keys() == second.weights.keys()
    for key, weight in first.weights.items():
        first_value, second_value = weight.detach(), second.weights[key].detach()
        assert (first_value - second_value).abs().max() < 2e-3 * max(1.0, float(first_value.abs().max())), key
    with pytest.raises(LoraError, match="cannot be continued"):
        make_loop(tiny, subject, tmp_path / "third", replace(config, rank=2), tmp_path / "lora.safetensors")


def test_text_encoders_learn_at_their_own_rate(tiny: Path, subject: Subject, tmp_path: Path) -> None:
    config = replace(SMALL, text_encoders="both", text_learning_rate=3e-4)

    groups = make_loop(tiny, subject, tmp_path / "work", config).state.optimizer.param_groups

    assert [group["rate"] for group in groups] == [2e-2, 3e-4]
    assert all(len(group["params"]) for group in groups)


def test_a_layer_that_the_model_lacks_is_told(tiny: Path, subject: Subject, tmp_path: Path) -> None:
    context = make_context(tiny)
    config = replace(SMALL, target_modules=("to_q", "down_blocks.7.to_k"))

    with pytest.raises(UsageError, match=r"no layer called 'down_blocks\.7\.to_k'"):
        train(config, subject, context.profile, context.models, tmp_path / "lora.safetensors")


def test_the_average_is_what_is_saved(tiny: Path, subject: Subject, tmp_path: Path) -> None:
    plain = make_loop(tiny, subject, tmp_path / "plain", SMALL)
    plain.finish(tmp_path / "plain.safetensors")
    averaged = make_loop(tiny, subject, tmp_path / "averaged", replace(SMALL, ema=0.9))
    averaged.finish(tmp_path / "averaged.safetensors")

    saved = read_tensors(tmp_path / "averaged.safetensors")[0]
    for key, mean in averaged.average.mean.items():
        assert (plain.weights[key] - averaged.weights[key]).abs().max() == 0
        assert (mean.half() - saved[key.replace(".default", "")]).abs().max() == 0
        assert "lora_B" not in key or (mean - averaged.weights[key]).abs().max() > 0
