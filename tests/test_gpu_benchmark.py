"""The GPU benchmark: its architecture is the published one, and the smoke test says that it is no GPU figure."""

from __future__ import annotations

import argparse

import pytest
import torch

from benchmarks.gpu import count_flops, measure
from benchmarks.sdxl import SDXL, SDXL_PARAMETERS, make_unet, make_vae


def test_the_architecture_is_sdxls() -> None:
    unet, vae = make_unet(SDXL, "meta", torch.float32), make_vae(SDXL, "meta", torch.float32)

    assert sum(weight.numel() for weight in unet.parameters()) == SDXL_PARAMETERS
    assert sum(weight.numel() for weight in vae.parameters()) == 83_653_863


def test_its_work_is_counted() -> None:
    """The figures that others computed for 1024 pixels: 6.761, 10.470 and 14.188 TFLOP."""
    found = {name: round(flops / 1e12, 3) for name, flops in count_flops(SDXL, 1024).items()}

    assert found == {"unet": 6.761, "vae": 10.470, "train": 14.188}


@pytest.mark.skipif(torch.accelerator.is_available(), reason="this machine has a real device to measure")
def test_on_a_processor_it_is_a_smoke_test_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    options = argparse.Namespace(size=None, quick=True, compile="no", vae="bfloat16")

    figures = measure(options)

    assert figures["gpu"] is False and figures["steps_per_s"] > 0 and figures["images_per_s_b4"] > 0
    assert "NOT A GPU FIGURE" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="there is no GPU here"):
        measure(argparse.Namespace(**{**vars(options), "quick": False}))
