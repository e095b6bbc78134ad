"""Models are found, identified and loaded once; what is missing is told with its remedy."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.core.errors import LoraError, ModelError
from harness.models.identity import library_class
from harness.models.loading import choose_files, hash_model, locate_model, resolve_device, resolve_dtype
from harness.models.lora.header import read_header
from tests.tiny import make_context, save_lora


def test_each_model_is_loaded_once_however_many_ask(tiny: Path) -> None:
    models = make_context(tiny).models
    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append((models.pipeline(), models.clip()))) for _ in range(4)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(found)) == 1 and models.loads == 2
    assert set(models.seconds) == {"pipeline", "clip"} and all(value > 0 for value in models.seconds.values())


def test_loading_says_nothing(tiny: Path) -> None:
    code = (
        "from pathlib import Path; from tests.tiny import make_context\n"
        f"models = make_context(Path({str(tiny)!r})).models; models.pipeline(); models.clip()\n"
    )

    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", code],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent.parent,
        timeout=300,
        check=True,
    )

    assert done.stdout + done.stderr == ""


def test_clip_gives_unit_vectors_for_pictures_and_texts(tiny: Path) -> None:
    clip = make_context(tiny).models.clip()

    images = clip.embed_images([Image.new("RGB", (40, 60), color) for color in ("red", "blue", "white")])
    texts = clip.embed_texts(["a person", "smiling " * 100])

    assert images.shape == (3, 32) and texts.shape == (2, 32) and clip.embed_images([]).shape == (0, 32)
    assert np.allclose(np.linalg.norm(np.concatenate([images, texts]), axis=1), 1, atol=1e-5)
    assert clip.logit_scale > 1


def test_a_models_hash_follows_its_bytes(tiny: Path, tmp_path: Path) -> None:
    copy = tmp_path / "clip"
    shutil.copytree(tiny / "clip", copy)
    before = hash_model(str(copy), tmp_path)

    with (copy / "model.safetensors").open("ab") as stream:
        stream.write(b"x")

    assert before == hash_model(str(tiny / "clip"), tmp_path) != hash_model(str(copy), tmp_path)


def test_a_model_is_found_relative_to_the_root(tiny: Path) -> None:
    assert locate_model("clip", tiny) == tiny / "clip"


def test_an_absent_folder_and_an_absent_hub_model_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no such folder .* correct `models`"):
        locate_model("fixtures/models/nowhere", tmp_path)
    with pytest.raises(
        ModelError, match=r"'nobody/nothing-of-the-kind' is not in the cache folder .* `harness fetch sdxl`"
    ):
        locate_model("nobody/nothing-of-the-kind", tmp_path, "sdxl")


def test_each_part_is_fetched_once_and_in_halves_where_there_are_any() -> None:
    files = [
        "README.md",
        "model_index.json",
        "sd_xl_base_1.0.safetensors",
        "scheduler/scheduler_config.json",
        "text_encoder/model.fp16.safetensors",
        "text_encoder/model.safetensors",
        "text_encoder/pytorch_model.bin",
        "tokenizer/merges.txt",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/diffusion_pytorch_model-00001-of-00002.safetensors",
        "vae/model.onnx",
    ]

    assert choose_files(files) == [
        "model_index.json",
        "scheduler/scheduler_config.json",
        "text_encoder/model.fp16.safetensors",
        "tokenizer/merges.txt",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "vae/diffusion_pytorch_model-00001-of-00002.safetensors",
    ]
    assert choose_files(["config.json", "pytorch_model.bin", "model.safetensors"]) == [
        "config.json",
        "model.safetensors",
    ]


def test_a_folder_without_weights_or_with_broken_ones_is_no_model(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no \.safetensors"):
        hash_model(str(tmp_path), tmp_path)
    broken = tmp_path / "clip"
    shutil.copytree(tiny / "clip", broken)
    (broken / "config.json").write_text("{")
    models = make_context(tiny).models
    object.__setattr__(models.profile.models, "clip", str(broken))

    with pytest.raises(ModelError, match="could not be loaded"):
        models.clip()
    assert models.loads == 0


def test_auto_is_something_and_names_are_checked() -> None:
    assert resolve_device("auto") in ("cpu", "cuda", "mps") and resolve_device("cuda:1") == "cuda:1"
    assert resolve_dtype("auto", "cpu") in ("float32", "bfloat16")
    assert (resolve_dtype("auto", "cuda"), resolve_dtype("auto", "mps")) == ("bfloat16", "float32")
    with pytest.raises(ModelError, match="choose auto"):
        resolve_device("tpu")
    with pytest.raises(ModelError, match="choose auto"):
        resolve_dtype("int8")


def test_patch_releases_are_one_library_class() -> None:
    assert library_class("numpy", "pillow").count(".") == 2


def test_a_loras_header_is_read_without_torch(tiny: Path, tmp_path: Path) -> None:
    header = read_header(save_lora(tiny, tmp_path / "lora.safetensors"))

    assert all(".lora_A." in key or ".lora_B." in key for key in header.keys) and len(header.keys) >= 8
    with pytest.raises(LoraError, match="cannot be read"):
        read_header(tmp_path / "nowhere.safetensors")
