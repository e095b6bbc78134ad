"""Schedulers, several LoRAs, checkpoints that predict v, clip skip, and memory that runs out: on tiny random models."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.config.profile import ProviderConfig
from harness.config.schedulers import SCHEDULERS, make_scheduler
from harness.core.errors import LoraError
from harness.core.values import Generation, Lora, Outcome, Request, Suite
from harness.engine.generation import SampleGenerator
from harness.engine.plan import Task, chunks
from harness.providers import ProviderContext, open_provider
from harness.store import Store
from tests.tiny import make_context, make_suite, save_lora, save_models

PROMPT = "aldar kose, smiling, steppe background"
LOCAL = {use: ProviderConfig("local", {"use": use}) for use in ("base", "lora", "prompt_only")}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    save_models(folder)
    for number, name in enumerate(("one", "two", "three")):
        save_lora(folder, folder / f"{name}.safetensors", seed=number + 1)
    return folder


@pytest.fixture(scope="module")
def context(tiny: Path) -> ProviderContext:
    return make_context(tiny, providers=LOCAL)


def with_options(context: ProviderContext, **options: Any) -> ProviderContext:
    """The same models, with a provider of these options."""
    providers = {**context.profile.providers, "own": ProviderConfig("local", {"use": "base", **options})}
    return replace(context, profile=replace(context.profile, providers=providers))


def plan(
    context: ProviderContext, name: str, suite: Suite | None = None, seeds: tuple[int, ...] = (0,)
) -> list[Request]:
    suite, provider = suite or make_suite(PROMPT), open_provider(name, context)
    return [request for case in suite.cases for request in provider.requests(suite, case, seeds)]


def paint(
    context: ProviderContext, name: str, suite: Suite | None = None, seeds: tuple[int, ...] = (0,), **changes: Any
) -> list[np.ndarray]:
    suite, provider = suite or make_suite(PROMPT), open_provider(name, context)
    requests = [request for case in suite.cases for request in provider.requests(suite, case, seeds)]
    return [pixels(drawing) for drawing in provider.draw([replace(request, **changes) for request in requests])]


def pixels(drawing: Generation) -> np.ndarray:
    assert drawing.outcome is Outcome.OK and drawing.data, drawing.message
    return np.asarray(Image.open(io.BytesIO(drawing.data)).convert("RGB"), dtype=np.int16)


# --- schedulers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(SCHEDULERS))
def test_whose_noise_a_picture_gets_is_the_seeds_business_alone(name: str, context: ProviderContext) -> None:
    suite = make_suite(PROMPT, "a person, sad", "a portrait, angry")
    own = with_options(context, scheduler=name)

    together = paint(own, "own", suite, (5, 6))
    alone = paint(own, "own", suite, (5, 6), batch=1)

    assert all(abs(a - b).max() <= 2 for a, b in zip(together, alone, strict=True))  # rounding, nothing more
    assert (together[0] != together[1]).any()


def test_every_scheduler_draws_another_picture(context: ProviderContext) -> None:
    drawn = {name: paint(with_options(context, scheduler=name, steps=6), "own")[0] for name in SCHEDULERS}

    assert len({picture.tobytes() for picture in drawn.values()}) == len(SCHEDULERS)


def test_noise_on_the_way_does_not_come_from_the_global_generator(context: ProviderContext) -> None:
    import torch

    own = with_options(context, scheduler="euler_a")
    first = paint(own, "own")[0]
    torch.manual_seed(77)

    assert (paint(own, "own")[0] == first).all()


def test_what_is_set_on_a_scheduler_decides_pixels_and_key(context: ProviderContext) -> None:
    plain = with_options(context, scheduler="dpmpp_2m")
    set_ = with_options(context, scheduler={"name": "dpmpp_2m", "timestep_spacing": "trailing"})

    assert plan(plain, "own")[0].key != plan(set_, "own")[0].key
    assert (paint(plain, "own")[0] != paint(set_, "own")[0]).any()
    assert plan(with_options(context), "own")[0].key == plan(context, "base")[0].key  # as usual is as it was


@pytest.mark.parametrize("name", sorted(SCHEDULERS))
def test_the_checkpoints_own_schedule_goes_into_every_scheduler(name: str) -> None:
    own = {"beta_start": 0.001, "beta_end": 0.013, "beta_schedule": "scaled_linear", "prediction_type": "v_prediction"}

    config = make_scheduler(name, own, {"rescale_betas_zero_snr": True}).config

    assert {key: config[key] for key in own} == own and config["rescale_betas_zero_snr"] is True


def test_a_checkpoint_that_predicts_v_is_drawn_as_it_says(tiny: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(tiny, tmp_path / "v")
    file = tmp_path / "v" / "sdxl" / "scheduler" / "scheduler_config.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps({**config, "prediction_type": "v_prediction", "rescale_betas_zero_snr": True}))
    said = make_context(tmp_path / "v", providers=LOCAL)
    asked = make_context(tiny, providers=LOCAL)
    options = {"name": "euler", "prediction_type": "v_prediction", "rescale_betas_zero_snr": True}

    by_config, by_option = paint(said, "base")[0], paint(with_options(asked, scheduler=options), "own")[0]

    assert (by_config == by_option).all() and (by_config != paint(asked, "base")[0]).any()
    assert said.models.base_hash() != asked.models.base_hash()


# --- steps, guidance, clip skip ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options", [{"steps": 5}, {"guidance": 2.0}, {"guidance_rescale": 0.7}, {"clip_skip": 1}], ids=str
)
def test_each_option_changes_pixels_and_key(options: dict[str, Any], context: ProviderContext) -> None:
    own = with_options(context, **options)

    assert plan(own, "own")[0].key != plan(context, "base")[0].key
    assert (paint(own, "own")[0] != paint(context, "base")[0]).any()


def test_clip_skip_2_is_what_sdxl_was_trained_with(context: ProviderContext) -> None:
    assert plan(with_options(context, clip_skip=2), "own")[0].key == plan(context, "base")[0].key


def test_more_layers_skipped_than_there_are_is_told(context: ProviderContext) -> None:
    own = with_options(context, clip_skip=7)

    with pytest.raises(Exception, match="clip_skip 7: the text encoders have 2 layers"):
        paint(own, "own")


# --- several LoRAs ----------------------------------------------------------------------------------------------------


def mix(folder: Path, *parts: tuple[str, float]) -> Lora:
    first, *others = (Lora(folder / f"{name}.safetensors", strength) for name, strength in parts)
    return replace(first, beside=tuple(others))


def test_loras_add_up_and_each_strength_matters(tiny: Path, context: ProviderContext) -> None:
    wanted = [
        mix(tiny, ("one", 0.8)),
        mix(tiny, ("two", 0.5)),
        mix(tiny, ("one", 0.8), ("two", 0.5)),
        mix(tiny, ("one", 0.8), ("two", 0.4)),
        mix(tiny, ("one", 0.8), ("two", 0.5), ("three", 0.3)),
    ]
    suites = [make_suite(PROMPT, lora=lora) for lora in wanted]

    assert len({paint(context, "lora", suite)[0].tobytes() for suite in suites}) == len(suites)
    assert len({plan(context, "lora", suite)[0].key for suite in suites}) == len(suites)


def test_a_mix_is_the_merged_file(tiny: Path, context: ProviderContext, tmp_path: Path) -> None:
    from harness.commands.cli import main

    merged = tmp_path / "merged.safetensors"
    assert main(["lora", "merge", f"{tiny / 'one.safetensors'}@0.8", f"{tiny / 'two.safetensors'}@0.5",
                 "--out", str(merged)]) == 0  # fmt: skip

    drawn = paint(context, "lora", make_suite(PROMPT, lora=mix(tiny, ("one", 0.8), ("two", 0.5))))[0]

    assert abs(drawn - paint(context, "lora", make_suite(PROMPT, lora=Lora(merged)))[0]).max() <= 2


def test_a_mix_leaves_no_trace_and_its_order_does_not_matter(tiny: Path, context: ProviderContext) -> None:
    base = paint(context, "base")[0]
    there = paint(context, "lora", make_suite(PROMPT, lora=mix(tiny, ("one", 0.8), ("two", 0.5))))[0]
    back = paint(context, "lora", make_suite(PROMPT, lora=mix(tiny, ("two", 0.5), ("one", 0.8))))[0]

    assert (there == back).all() and (paint(context, "base")[0] == base).all()
    alone = paint(context, "lora", make_suite(PROMPT, lora=mix(tiny, ("one", 0.8))))[0]
    assert (alone != there).any()


def test_more_loras_than_are_kept_in_memory_are_drawn_together(tiny: Path, tmp_path: Path) -> None:
    context = make_context(tiny, providers=LOCAL)
    files = [save_lora(tiny, tmp_path / f"{number}.safetensors", seed=20 + number) for number in range(6)]
    first, *others = (Lora(file, 0.3) for file in files)

    six = paint(context, "lora", make_suite(PROMPT, lora=replace(first, beside=tuple(others))))[0]
    five = paint(context, "lora", make_suite(PROMPT, lora=replace(first, beside=tuple(others[:-1]))))[0]

    assert (six != five).any()


def test_a_providers_own_lora_is_on_with_and_without_the_one_under_test(tiny: Path, context: ProviderContext) -> None:
    styled = [{"file": str(tiny / "two.safetensors"), "strength": 0.5}]
    inked = with_options(context, use="lora", loras=styled)
    tested, off = (make_suite(PROMPT, lora=Lora(tiny / "one.safetensors", strength)) for strength in (0.8, 0.0))

    assert (paint(inked, "own", tested)[0] == paint(context, "lora", make_suite(
        PROMPT, lora=mix(tiny, ("one", 0.8), ("two", 0.5))))[0]).all()  # fmt: skip
    assert (paint(inked, "own", off)[0] == paint(context, "lora", make_suite(
        PROMPT, lora=mix(tiny, ("two", 0.5))))[0]).all()  # fmt: skip


def test_a_suites_loras_belong_to_the_provider_it_names(tiny: Path, context: ProviderContext) -> None:
    suite = replace(make_suite(PROMPT), loras={"base": (Lora(tiny / "two.safetensors", 0.5),)})

    assert plan(context, "base", suite)[0].extra["loras"][0][1] == 0.5
    assert (
        "loras" not in plan(context, "prompt_only", replace(suite, subject=replace(suite.subject, traits={})))[0].extra
    )
    assert (paint(context, "base", suite)[0] != paint(context, "base")[0]).any()


def test_the_command_lines_company_goes_along_with_any_lora_under_test(tiny: Path, context: ProviderContext) -> None:
    beside = (Lora(tiny / "two.safetensors", 0.5),)
    company = replace(context, settings=replace(context.settings, beside=beside))
    suite = make_suite(PROMPT, lora=Lora(tiny / "one.safetensors", 0.8))

    assert plan(company, "lora", suite)[0].extra["loras"] and not plan(company, "base", suite)[0].extra
    assert (paint(company, "lora", suite)[0] == paint(context, "lora", make_suite(
        PROMPT, lora=mix(tiny, ("one", 0.8), ("two", 0.5))))[0]).all()  # fmt: skip


def test_an_lcm_lora_comes_with_its_scheduler(tiny: Path, context: ProviderContext) -> None:
    fast = with_options(context, scheduler={"name": "lcm", "lora": str(tiny / "three.safetensors")}, guidance=1.0)

    request = plan(fast, "own")[0]

    assert request.scheduler == "lcm" and request.extra["loras"][0][1] == 1.0
    assert (paint(fast, "own")[0] != paint(with_options(context, scheduler="lcm", guidance=1.0), "own")[0]).any()


def test_a_lora_named_twice_is_refused_while_planning(tiny: Path, context: ProviderContext) -> None:
    suite = make_suite(PROMPT, lora=Lora(tiny / "one.safetensors"))
    twice = with_options(context, use="lora", loras=[str(tiny / "one.safetensors")])

    with pytest.raises(LoraError, match="named twice; say one strength"):
        plan(twice, "own", suite)


# --- memory -----------------------------------------------------------------------------------------------------------


@contextmanager
def little_memory(context: ProviderContext, rows: int, sliced: bool = False) -> Iterator[list[int]]:
    """A UNet that takes `rows` rows, two a picture, and says so as CUDA does; `sliced`: and those in slices only."""
    import torch
    from diffusers.models.attention_processor import SlicedAttnProcessor

    unet, seen = context.models.pipeline().pipe.unet, []

    def refuse(module: Any, args: tuple[Any, ...]) -> None:
        seen.append(args[0].shape[0])
        spared = any(isinstance(each, SlicedAttnProcessor) for each in module.attn_processors.values())
        if args[0].shape[0] > rows or (sliced and not spared):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB")

    handle = unet.register_forward_pre_hook(refuse)
    try:
        yield seen
    finally:
        handle.remove()


def draw_all(context: ProviderContext, folder: Path, seeds: tuple[int, ...]) -> list[Any]:
    """Through the engine's own drawer."""
    store, provider = Store(folder), open_provider("base", context)
    tasks = [Task(request, provider, "tiny") for request in plan(context, "base", seeds=seeds)]
    drawer = SampleGenerator(store, store.journal("run"))
    return [sample for chunk in chunks(tasks) for sample in drawer.draw(chunk)]


def test_a_batch_that_does_not_fit_is_halved_and_the_work_goes_on(tiny: Path, tmp_path: Path) -> None:
    context = make_context(tiny, providers=LOCAL)
    whole = draw_all(context, tmp_path / "a", tuple(range(8)))

    with little_memory(context, rows=4) as seen:
        samples = draw_all(context, tmp_path / "b", tuple(range(8)))

    assert [sample.outcome for sample in samples] == [Outcome.OK] * 8 and max(seen) == 8 and seen.count(8) == 1
    first, second = (Store(tmp_path / name).image(done[3].image) for name, done in (("a", whole), ("b", samples)))
    assert abs(pixels(Generation(Outcome.OK, first)) - pixels(Generation(Outcome.OK, second))).max() <= 2
    assert not context.models.pipeline().sparing


def test_a_single_picture_that_does_not_fit_is_drawn_with_less_memory(tiny: Path, tmp_path: Path) -> None:
    context = make_context(tiny, providers=LOCAL)
    whole = paint(context, "base")[0]

    with little_memory(context, rows=2, sliced=True):
        (sample,) = draw_all(context, tmp_path, (0,))

    assert sample.outcome is Outcome.OK and sample.meta["memory"] == "short"
    assert context.models.pipeline().pipe.vae.use_tiling
    drawn = pixels(Generation(Outcome.OK, Store(tmp_path).image(sample.image)))
    assert abs(drawn - whole).mean() < 1


def test_when_nothing_helps_the_error_has_the_figures(tiny: Path, tmp_path: Path) -> None:
    context = make_context(tiny, providers=LOCAL)
    before = paint(context, "base")[0]

    with little_memory(context, rows=1):
        (sample,) = draw_all(context, tmp_path, (0,))

    assert sample.outcome is Outcome.PROVIDER_ERROR
    for said in ("32x32 at float32", "GiB of cpu are free", "Tried to allocate 9.00 GiB", "choose a smaller size"):
        assert said in sample.message
    assert (paint(context, "base")[0] == before).all()  # what did not help is undone
