"""LoRA variants: each trains, exports, and loads in plain diffusers with the pictures that training saw."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.core.errors import LoraError, UsageError
from harness.core.values import Subject
from harness.models.lora.export import read_tensors
from harness.models.lora.file import read_lora
from harness.models.lora.train_config import TARGETS, TrainConfig
from harness.training.data import load_encoders
from harness.training.distributed import ProcessGroup
from harness.training.loop import Loop, Setup
from harness.training.text_encoders import LiveTexts
from harness.training.trainer import prepare, train, training_place
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
    ready = prepare(config, subject, context.profile, context.models, dtype, ProcessGroup(), work, start)
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


def test_the_base_draws_strangers_in_its_own_dtype_while_the_text_encoders_learn(
    tiny: Path, subject: Subject, tmp_path: Path
) -> None:
    import torch

    config = replace(SMALL, class_pictures=2, dtype="bfloat16", prior_prompts="captions")
    frozen = make_loop(tiny, subject, tmp_path / "frozen", config)
    learning = make_loop(tiny, subject, tmp_path / "learning", replace(config, text_encoders="both"))

    drawn = [torch.stack([item.views[0].latents for item in loop.data.strangers]) for loop in (frozen, learning)]

    assert drawn[0].shape == (2, 4, 8, 8) and torch.isfinite(drawn[1]).all()
    assert (drawn[0] - drawn[1]).norm() < 0.05 * drawn[0].norm()  # the same base drew them, to bfloat16's precision
    assert learning.finish(tmp_path / "lora.safetensors").steps == 4


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_checkpointed_text_encoders_keep_less_and_learn_the_same(tiny: Path, dropout: float) -> None:
    """Also where the encoder's configuration has dropout, of which training makes no use."""
    import torch

    def learn(checkpointed: bool) -> tuple[int, dict[str, Any]]:
        config = replace(SMALL, text_encoders="both", gradient_checkpointing=checkpointed)
        context, kept = make_context(tiny), [0]
        encoders = load_encoders(context.profile, context.models, torch.float32, "cpu")
        for module in (*encoders.text_encoder.modules(), *encoders.text_encoder_2.modules()):
            if hasattr(module, "dropout"):
                module.dropout = dropout
        texts = LiveTexts(encoders, config, "cpu", torch.float32)

        def keep(tensor: Any) -> Any:
            kept[0] += tensor.numel()
            return tensor

        torch.manual_seed(0)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            tokens, pooled = texts.read(["aldar kose, smiling", None])
        (tokens.square().sum() + pooled.square().sum()).backward()
        parts = texts.trained.items()
        return kept[0], {
            f"{part} {name}": weight.grad
            for part, model in parts
            for name, weight in model.named_parameters()
            if weight.requires_grad
        }

    (kept, gradients), (kept_less, same) = learn(False), learn(True)

    assert kept_less < 0.5 * kept
    moved = [name for name, gradient in gradients.items() if gradient is not None and gradient.norm() > 0]
    assert any("text_encoder " in name for name in moved) and any("text_encoder_2 " in name for name in moved)
    for name in moved:
        assert torch.allclose(same[name], gradients[name], rtol=1e-4, atol=1e-6), name
