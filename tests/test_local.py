"""The local providers draw with real classes; the weights are tiny and random."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.config.profile import ProviderConfig
from harness.core.errors import LoraError, SuiteError
from harness.core.values import Generation, Lora, Outcome, Provider, Request, Suite
from harness.providers import ProviderContext, open_provider
from tests.tiny import SIZE, make_context, make_suite, save_lora

PROMPT = "aldar kose, smiling, steppe background"
LOCAL = {use: ProviderConfig("local", {"use": use}) for use in ("base", "lora", "prompt_only")}


@pytest.fixture(scope="session")
def tiny(tiny: Path) -> Path:
    """The tiny models with a LoRA beside them."""
    save_lora(tiny, tiny / "lora.safetensors")
    return tiny


@pytest.fixture(scope="session")
def context(tiny: Path) -> ProviderContext:
    return make_context(tiny, providers=LOCAL)


def pixels(drawing: Generation) -> np.ndarray:
    assert drawing.outcome is Outcome.OK and drawing.data, drawing.message
    return np.asarray(Image.open(io.BytesIO(drawing.data)).convert("RGB"), dtype=np.int16)


def plan(provider: Provider, suite: Suite, seeds: tuple[int, ...] = (0, 1)) -> list[Request]:
    return [request for case in suite.cases for request in provider.requests(suite, case, seeds)]


def paint(
    context: ProviderContext, name: str, suite: Suite, seeds: tuple[int, ...] = (0, 1), **changes: Any
) -> list[np.ndarray]:
    provider = open_provider(name, context)
    requests = [replace(request, **changes) for request in plan(provider, suite, seeds)]
    return [pixels(drawing) for drawing in provider.draw(requests)]


# --- drawing ------------------------------------------------------------------------------------------------------


def test_pictures_have_the_profiles_size_and_differ_by_seed(context: ProviderContext) -> None:
    first, second = paint(context, "base", make_suite(PROMPT))

    assert first.shape == second.shape == (SIZE, SIZE, 3)
    assert (first != second).any()


def test_the_same_request_gives_the_same_picture(context: ProviderContext) -> None:
    assert (paint(context, "base", make_suite(PROMPT))[0] == paint(context, "base", make_suite(PROMPT))[0]).all()


def test_other_sizes_and_no_guidance_are_drawn_too(context: ProviderContext) -> None:
    wide = paint(context, "base", make_suite(PROMPT), (0,), width=48, height=24, guidance=1.0)

    assert wide[0].shape == (24, 48, 3)


def test_prompt_negative_guidance_and_scheduler_all_matter(context: ProviderContext) -> None:
    suite = make_suite(PROMPT)
    plain = paint(context, "base", suite, (0,))[0]

    for change in (
        {"prompt": "a person, sad"},
        {"negative": "sad"},
        {"guidance": 1.0},
        {"scheduler": "dpmpp_2m"},
        {"scheduler": "dpmpp_2m_karras"},
        {"scheduler": "ddim"},
    ):
        assert (paint(context, "base", suite, (0,), **change)[0] != plain).any(), change


def test_a_scheduler_leaves_nothing_behind(context: ProviderContext) -> None:
    suite = make_suite(PROMPT)
    before = paint(context, "base", suite, (0,))[0]

    paint(context, "base", suite, (0,), scheduler="dpmpp_2m_karras")

    assert (paint(context, "base", suite, (0,))[0] == before).all()


def test_neither_batch_nor_order_changes_whose_picture_it_is(context: ProviderContext) -> None:
    suite = make_suite(PROMPT, "a person, sad, city background", "a portrait, angry")
    together = paint(context, "base", suite, (5, 6))
    alone = paint(context, "base", suite, (5, 6), batch=1)
    provider = open_provider("base", context)
    backwards = [pixels(drawing) for drawing in provider.draw(plan(provider, suite, (5, 6))[::-1])][::-1]

    for a, b, c in zip(together, alone, backwards, strict=True):
        assert abs(a - b).max() <= 2 and abs(a - c).max() <= 2  # batch mates change rounding, nothing more


def test_batches_are_no_larger_than_asked(context: ProviderContext, monkeypatch: pytest.MonkeyPatch) -> None:
    provider, pipeline = open_provider("base", context), context.models.pipeline()
    sizes: list[int] = []
    draw = pipeline.draw
    monkeypatch.setattr(pipeline, "draw", lambda batch, lora: sizes.append(len(batch)) or draw(batch, lora))

    list(provider.draw(plan(provider, make_suite(PROMPT), tuple(range(10)))))

    assert sizes == [4, 4, 2]


def test_bfloat16_draws_nearly_the_same(tiny: Path, context: ProviderContext) -> None:
    half = make_context(tiny, providers=LOCAL, dtype="bfloat16")

    difference = paint(half, "base", make_suite(PROMPT), (0,))[0] - paint(context, "base", make_suite(PROMPT), (0,))[0]

    assert abs(difference).mean() < 8


def test_a_prompt_beyond_the_window_is_reported(context: ProviderContext) -> None:
    provider = open_provider("base", context)
    suite = make_suite(", ".join(["smiling"] * 20) + ", lantern", PROMPT)

    long, short = provider.draw(plan(provider, suite, (0,)))

    assert long.meta["truncated"].endswith("lantern")
    assert not short.meta


def test_each_prompt_is_encoded_once(tiny: Path) -> None:
    context = make_context(tiny, providers=LOCAL)
    encoder, calls = context.models.pipeline().pipe.text_encoder, []
    encoder.register_forward_hook(lambda *_: calls.append(1))

    paint(context, "base", make_suite(PROMPT, "a person, sad"), (0, 1, 2))

    assert len(calls) == 3  # two prompts and the empty negative


def test_too_little_memory_is_the_engines_business(context: ProviderContext) -> None:
    provider = open_provider("base", context)
    request = replace(plan(provider, make_suite(PROMPT), (0,))[0], width=8_000_000, height=8_000_000)

    with pytest.raises(MemoryError, match="batch of 1"):
        list(provider.draw([request]))


def test_nan_is_a_bad_image_and_not_a_black_one(tiny: Path) -> None:
    import torch

    context = make_context(tiny, providers=LOCAL)
    torch.nn.init.constant_(context.models.pipeline().pipe.vae.decoder.conv_out.bias, float("nan"))
    provider = open_provider("base", context)

    (drawing,) = provider.draw(plan(provider, make_suite(PROMPT), (0,)))

    assert drawing.outcome is Outcome.BAD_IMAGE and "NaN" in drawing.message


# --- LoRA ---------------------------------------------------------------------------------------------------------


def test_a_lora_changes_pixels_and_its_strength_matters(tiny: Path, context: ProviderContext) -> None:
    base = paint(context, "base", make_suite(PROMPT))
    full = paint(context, "lora", make_suite(PROMPT, lora=Lora(tiny / "lora.safetensors")))
    half = paint(context, "lora", make_suite(PROMPT, lora=Lora(tiny / "lora.safetensors", 0.5)))

    assert (full[0] != base[0]).any() and (half[0] != full[0]).any() and (half[0] != base[0]).any()


def test_strength_zero_is_exactly_the_base_and_costs_nothing_twice(tiny: Path, context: ProviderContext) -> None:
    zero = make_suite(PROMPT, lora=Lora(tiny / "lora.safetensors", 0.0))
    asked = plan(open_provider("lora", context), zero)

    assert [request.key for request in asked] == [request.key for request in plan(open_provider("base", context), zero)]
    assert (paint(context, "lora", zero)[0] == paint(context, "base", zero)[0]).all()


def test_switching_back_and_forth_leaves_no_trace(tiny: Path) -> None:
    context = make_context(tiny, providers=LOCAL)
    suite = make_suite(PROMPT, lora=Lora(tiny / "lora.safetensors"))
    other = make_suite(PROMPT, lora=Lora(save_lora(tiny, tiny / "other.safetensors", seed=2, targets=["to_q"]), 0.7))
    base, one = paint(context, "base", suite)[0], paint(context, "lora", suite)[0]

    two = paint(context, "lora", other)[0]

    assert (two != one).any()
    assert (paint(context, "base", suite)[0] == base).all()
    assert (paint(context, "lora", suite)[0] == one).all()
    assert (paint(context, "lora", other)[0] == two).all()


def test_only_a_few_loras_stay_in_memory(tiny: Path, tmp_path: Path) -> None:
    context = make_context(tiny, providers=LOCAL)
    suites = [make_suite(PROMPT, lora=Lora(save_lora(tiny, tmp_path / f"{n}.safetensors", seed=n))) for n in range(6)]
    first = paint(context, "lora", suites[0], (0,))[0]

    for suite in suites[1:]:
        paint(context, "lora", suite, (0,))

    assert len(context.models.pipeline().pipe.unet.peft_config) == 4
    assert (paint(context, "lora", suites[0], (0,))[0] == first).all()


def test_the_command_lines_lora_comes_before_the_suites(tiny: Path) -> None:
    context = make_context(tiny, providers=LOCAL, lora=Lora(tiny / "lora.safetensors", 0.25))

    request = plan(open_provider("lora", context), make_suite(PROMPT, lora=Lora(tiny / "nowhere.safetensors")))[0]

    assert request.strength == 0.25 and len(request.lora) == 64


def test_no_lora_anywhere_says_where_to_put_one(context: ProviderContext) -> None:
    with pytest.raises(LoraError, match=r"subject\.lora or give --lora"):
        plan(open_provider("lora", context), make_suite(PROMPT))


def test_every_usual_way_of_writing_a_lora_is_read_alike(tiny: Path, context: ProviderContext, tmp_path: Path) -> None:
    from diffusers.utils import convert_state_dict_to_diffusers
    from diffusers.utils.state_dict_utils import convert_state_dict_to_kohya
    from safetensors.torch import load_file, save_file

    weights = load_file(tiny / "lora.safetensors")
    ways = {
        "diffusers": convert_state_dict_to_diffusers(weights),
        "old diffusers": {
            name.replace(".lora_A.", ".lora.down.").replace(".lora_B.", ".lora.up."): tensor
            for name, tensor in weights.items()
        },
        "kohya": convert_state_dict_to_kohya(dict(weights)),
    }
    expected = paint(context, "lora", make_suite(PROMPT, lora=Lora(tiny / "lora.safetensors")), (0,))[0]

    for way, content in ways.items():
        file = tmp_path / f"{way}.safetensors"
        save_file({name: tensor.contiguous() for name, tensor in content.items()}, file)
        same = paint(context, "lora", make_suite(PROMPT, lora=Lora(file)), (0,))[0]
        assert abs(same - expected).max() <= 1, (way, list(content)[:2])


def edit(source: Path, target: Path, change: Any) -> Path:
    """A copy of a LoRA with other weights."""
    from safetensors.torch import load_file, save_file

    weights = load_file(source)
    save_file(change(weights), target)
    return target


def poison(weights: dict[str, Any]) -> dict[str, Any]:
    next(iter(weights.values())).view(-1)[0] = float("nan")
    return weights


WRONG = {
    "extra keys": (lambda w: {**w, "unet.nowhere.lora_A.weight": w[min(w)].clone()}, "have no place"),
    "another model": (lambda w: {key.replace("unet.", "transformer."): t for key, t in w.items()}, "have no place"),
    "missing keys": (lambda w: {key: t for key, t in w.items() if key != min(w)}, "missing"),
    "mis-shaped keys": (lambda w: {key: t[:, :-1].clone() if "lora_A" in key else t for key, t in w.items()}, "shape"),
    "poisoned": (poison, "NaN"),
    "untrained": (lambda w: {key: t * 0 if "lora_B" in key else t for key, t in w.items()}, "does nothing"),
    "no LoRA at all": (lambda w: {"weight": w[min(w)]}, "no known kind|have no place"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_a_wrong_file_is_an_error_that_names_it(
    fault: str, tiny: Path, context: ProviderContext, tmp_path: Path
) -> None:
    change, message = WRONG[fault]
    file = edit(tiny / "lora.safetensors", tmp_path / "wrong.safetensors", change)
    provider = open_provider("lora", context)
    requests = plan(provider, make_suite(PROMPT, lora=Lora(file)))

    with pytest.raises(LoraError, match=f"wrong.safetensors.*({message})"):
        list(provider.draw(requests))

    assert paint(context, "base", make_suite(PROMPT), (0,))  # the pipeline is none the worse


def test_a_module_that_the_file_promises_must_be_there(tiny: Path, context: ProviderContext, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    lost = "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
    record = {"lora_adapter_metadata": '{"unet.target_modules": ["to_q", "to_k", "to_v", "to_out.0"]}'}
    weights = {key: tensor for key, tensor in load_file(tiny / "lora.safetensors").items() if lost not in key}
    save_file(weights, tmp_path / "partial.safetensors", record)
    provider = open_provider("lora", context)

    with pytest.raises(LoraError, match=f"keys that are missing: 1.*{lost}"):
        list(provider.draw(plan(provider, make_suite(PROMPT, lora=Lora(tmp_path / "partial.safetensors")))))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x80\x04\x95pickle", "could run code"),
        (b"PK\x03\x04archive", "could run code"),
        (b"<!DOCTYPE html><html></html>", "HTML page"),
        (b"version https://git-lfs", "LFS pointer"),
        (b"", "not a safetensors"),
        ((2).to_bytes(8, "little") + b"{}", "no weights"),
    ],
)
def test_another_kind_of_file_is_refused_while_planning(
    content: bytes, message: str, context: ProviderContext, tmp_path: Path
) -> None:
    file = tmp_path / "wrong.safetensors"
    file.write_bytes(content)

    with pytest.raises(LoraError, match=message):
        plan(open_provider("lora", context), make_suite(PROMPT, lora=Lora(file)))


def test_a_file_cut_short_is_refused_while_planning(tiny: Path, context: ProviderContext, tmp_path: Path) -> None:
    file = tmp_path / "short.safetensors"
    file.write_bytes((tiny / "lora.safetensors").read_bytes()[:-100])

    with pytest.raises(LoraError, match="cut short"):
        plan(open_provider("lora", context), make_suite(PROMPT, lora=Lora(file)))


def test_a_file_that_changes_after_planning_is_refused(tiny: Path, context: ProviderContext, tmp_path: Path) -> None:
    file = save_lora(tiny, tmp_path / "lora.safetensors")
    provider = open_provider("lora", context)
    requests = plan(provider, make_suite(PROMPT, lora=Lora(file)))
    save_lora(tiny, file, seed=9)

    with pytest.raises(LoraError, match="changed during the run"):
        list(provider.draw(requests))


# --- prompts and plans --------------------------------------------------------------------------------------------


def test_planning_needs_no_torch(tiny: Path) -> None:
    import subprocess
    import sys

    code = (
        "import sys; from pathlib import Path; from harness.config.profile import ProviderConfig\n"
        "from tests.tiny import make_context, make_suite\n"
        "from harness.providers import open_provider; from harness.core.values import Lora\n"
        f"folder = Path({str(tiny)!r}); use = ProviderConfig('local', {{'use': 'lora'}})\n"
        "context = make_context(folder, providers={'lora': use}, dtype='auto', device='auto')\n"
        "suite = make_suite('aldar kose', lora=Lora(folder / 'lora.safetensors'))\n"
        "assert len(open_provider('lora', context).requests(suite, suite.cases[0], (0, 1))) == 2\n"
        "heavy = {'torch', 'diffusers', 'transformers', 'peft'} & set(sys.modules); assert not heavy, heavy\n"
    )

    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent.parent, timeout=120)


def test_an_unknown_use_or_provider_is_answered_with_the_nearest(tiny: Path) -> None:
    context = make_context(
        tiny, providers={"base": ProviderConfig("local", {"use": "bas"}), "flat": ProviderConfig("flat")}
    )

    with pytest.raises(SuiteError, match="did you mean 'base'"):
        open_provider("base", context)
    with pytest.raises(SuiteError, match="did you mean 'base'"):
        open_provider("bse", context)
    with pytest.raises(SuiteError, match="no option called 'strength'"):
        open_provider("lora", make_context(tiny, providers={"lora": ProviderConfig("local", {"strength": 1})}))


def test_controls_are_drawn_as_planned(context: ProviderContext) -> None:
    blurred = ProviderConfig("local", {"use": "base", "blur": 2})
    controls = replace(
        context, profile=replace(context.profile, providers={"soft": blurred, "flat": ProviderConfig("flat")})
    )
    sharp, soft, flat = (
        paint(context, "base", make_suite(PROMPT))[0],
        paint(controls, "soft", make_suite(PROMPT))[0],
        paint(controls, "flat", make_suite(PROMPT))[0],
    )

    assert 0 < soft.std() < sharp.std()
    assert flat.reshape(-1, 3).std(axis=0).max() == 0 and flat.shape == sharp.shape
