"""A compiled UNet: LoRAs, mixes and strengths change in place, nothing is compiled again, the pictures are the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.core.values import Lora
from harness.models import pipeline as pipelines
from harness.models.hotswap import compile_unet
from harness.providers import ProviderContext
from tests.test_drawing import LOCAL, mix, paint, plan, tiny  # noqa: F401  (a fixture)
from tests.tiny import make_context, make_suite, save_lora

PROMPT = "aldar kose, smiling, steppe background"


@pytest.fixture
def compiled(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ProviderContext]:  # noqa: F811
    """Traced and guarded as on a card; only the kernels are PyTorch's own, because making some takes a minute."""
    import torch

    torch._dynamo.reset()
    monkeypatch.setattr(pipelines, "compile_unet", lambda unet: compile_unet(unet, backend="eager"))
    yield make_context(tiny, providers=LOCAL, compile=True)
    torch._dynamo.reset()


def graphs() -> int:
    """How many graphs were compiled so far."""
    from torch._dynamo.utils import counters

    return int(counters["stats"]["unique_graphs"])


def draw(context: ProviderContext, lora: Lora | None = None) -> np.ndarray:
    return paint(context, "lora" if lora else "base", make_suite(PROMPT, lora=lora))[0]


def test_loras_mixes_and_strengths_change_without_a_recompile(compiled: ProviderContext, tiny: Path) -> None:  # noqa: F811
    plain = make_context(tiny, providers=LOCAL)
    wanted = [
        mix(tiny, ("one", 1.0)),
        mix(tiny, ("one", 0.3)),
        mix(tiny, ("two", 0.8)),
        mix(tiny, ("one", 0.8), ("two", 0.5)),
        mix(tiny, ("three", 0.5), ("two", 0.5), ("one", 0.1)),
    ]
    draw(compiled, wanted[0])
    before = graphs()

    for lora in wanted:
        assert abs(draw(compiled, lora) - draw(plain, lora)).max() <= 2

    assert before > 0 and graphs() == before


def test_without_a_lora_it_is_the_base(compiled: ProviderContext, tiny: Path) -> None:  # noqa: F811
    first = draw(compiled)

    draw(compiled, mix(tiny, ("one", 1.0)))

    assert (draw(compiled) == first).all()
    assert abs(first - draw(make_context(tiny, providers=LOCAL))).max() <= 2


def test_a_lora_of_other_layers_and_a_wider_one_are_drawn_too(
    compiled: ProviderContext,
    tiny: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    plain = make_context(tiny, providers=LOCAL)
    other = Lora(save_lora(tiny, tmp_path / "other.safetensors", seed=9, targets=["to_q", "ff.net.2", "conv1"]))
    many = tuple(Lora(save_lora(tiny, tmp_path / f"{n}.safetensors", seed=30 + n), 0.3) for n in range(5))

    for lora in (mix(tiny, ("one", 1.0)), other, replace(many[0], beside=many[1:]), mix(tiny, ("one", 1.0))):
        assert abs(draw(compiled, lora) - draw(plain, lora)).max() <= 2


def test_compiled_pictures_have_a_key_of_their_own(compiled: ProviderContext, tiny: Path) -> None:  # noqa: F811
    assert plan(compiled, "base")[0].key != plan(make_context(tiny, providers=LOCAL), "base")[0].key
