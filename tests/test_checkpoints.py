"""Checkpoints of one file: the embedded pipeline, written in SDXL's original layout, draws the very same pictures."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.config.profile import Profile, load_profile
from harness.core.errors import ModelError
from harness.core.settings import Settings
from harness.models.loading import Models, hash_model, locate_model
from harness.providers import ProviderContext, open_provider
from tests.single_file import write_single_file
from tests.support import ROOT
from tests.test_local import pixels
from tests.tiny import make_suite

EMBEDDED = ROOT / "fixtures" / "models" / "sdxl"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    settings = folder / "settings"
    shutil.copytree(EMBEDDED, settings, ignore=shutil.ignore_patterns("*.safetensors"))
    return write_single_file(EMBEDDED, folder / "world.safetensors")


def profile_of(**names: str) -> Profile:
    profile = load_profile("embedded", ROOT)
    return replace(profile, models=replace(profile.models, **names), dtype="float32", steps=2)


def draw(profile: Profile, root: Path) -> np.ndarray:
    settings = Settings(root)
    provider = open_provider("base", ProviderContext(profile, settings, Models(profile, settings)))
    suite = make_suite("a person, smiling")
    return next(pixels(drawing) for drawing in provider.draw(provider.requests(suite, suite.cases[0], (3,))))


def test_a_single_file_draws_what_its_folder_draws(file: Path) -> None:
    single = profile_of(base=str(file), config="settings")

    assert (draw(single, file.parent) == draw(profile_of(base=str(EMBEDDED)), ROOT)).all()


def test_it_is_unpacked_once_and_then_a_model_like_any_other(file: Path) -> None:
    first = locate_model("world.safetensors", file.parent, config="settings")
    stamp = (first / "model_index.json").stat().st_mtime_ns

    again = locate_model("world.safetensors", file.parent)  # training asks so, and has no settings to name

    assert again == first and (first / "model_index.json").stat().st_mtime_ns == stamp
    assert {path.name for path in first.iterdir()} >= {"unet", "vae", "text_encoder", "text_encoder_2", "tokenizer"}


def test_its_identity_is_the_files_and_the_settings_and_needs_no_torch(file: Path, tmp_path: Path) -> None:
    import subprocess
    import sys

    code = (
        "import sys; from pathlib import Path; from harness.models.loading import hash_model\n"
        f"print(hash_model('world.safetensors', Path({str(file.parent)!r}), config='settings'))\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT)
    shutil.copytree(file.parent / "settings", tmp_path / "settings")
    (tmp_path / "settings" / "scheduler" / "scheduler_config.json").write_text("{}")

    assert done.stdout.strip() == hash_model(str(file), file.parent, config="settings")
    assert done.stdout.strip() != hash_model(str(file), file.parent, config=str(tmp_path / "settings"))


def test_a_checkpoint_that_predicts_v_says_so_itself(file: Path, tmp_path: Path) -> None:
    marks = {"v_pred": torch.tensor([]), "ztsnr": torch.tensor([])}
    write_single_file(EMBEDDED, tmp_path / "v.safetensors", marks)
    folder = locate_model("v.safetensors", tmp_path, config=str(file.parent / "settings"))

    from diffusers import EulerDiscreteScheduler

    config = EulerDiscreteScheduler.from_pretrained(folder / "scheduler").config

    assert config.prediction_type == "v_prediction" and config.rescale_betas_zero_snr
    assert config.timestep_spacing == "trailing"


def test_an_autoencoder_alone_takes_the_place_of_the_bases_own(file: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    prefix = "first_stage_model."
    vae = {key.removeprefix(prefix): value for key, value in load_file(file).items() if key.startswith(prefix)}
    save_file(vae, tmp_path / "vae.safetensors")
    changed = {key: value * 1.1 if key == "decoder.conv_out.weight" else value for key, value in vae.items()}
    save_file(changed, tmp_path / "other.safetensors")
    settings = str(file.parent / "settings")
    plain = draw(profile_of(base=str(EMBEDDED)), ROOT)

    def with_vae(name: str) -> np.ndarray:
        return draw(profile_of(base=str(EMBEDDED), vae=name, config=settings), tmp_path)

    assert (with_vae("vae.safetensors") == plain).all() and (with_vae("other.safetensors") != plain).any()


def test_an_autoencoder_in_half_precision_is_asked_for_and_costs_a_little(file: Path) -> None:
    half, plain = (draw(profile_of(base=str(EMBEDDED), vae_dtype=name), ROOT) for name in ("bfloat16", "float32"))

    assert 0 < abs(half - plain).mean() < 4


# --- what is wrong ------------------------------------------------------------------------------------------------


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    (tmp_path / "old.ckpt").write_bytes(b"\x80\x04")

    with pytest.raises(ModelError, match=r"a pickle can run code; convert it to \.safetensors"):
        locate_model("old.ckpt", tmp_path)


def test_a_file_that_is_not_there_is_no_hub_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="correct `models` in the profile"):
        locate_model("checkpoints/pony.safetensors", tmp_path)


def test_without_settings_the_error_says_where_to_get_them(file: Path, tmp_path: Path) -> None:
    shutil.copy(file, tmp_path / "new.safetensors")

    with pytest.raises(ModelError, match="under `models: config:`, or run `harness fetch mine`"):
        hash_model("new.safetensors", tmp_path, "mine", "nobody/nothing-of-the-kind")


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("not SDXL", "is not one of SDXL, it has no conditioner.embedders.1.model"),
        ("a LoRA", "neither a UNet nor an autoencoder; a LoRA goes under"),
        ("another width", "does not fit the settings"),
        ("weights are missing", "does not fit the settings.*not in the file"),
    ],
)
def test_a_file_of_another_kind_is_refused_and_leaves_nothing(
    fault: str, said: str, file: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(file)
    faults = {
        "not SDXL": {key: value for key, value in weights.items() if "embedders.1" not in key},
        "a LoRA": {"lora_unet_x.lora_up.weight": torch.zeros(1)},
        "another width": {key: value[..., :-1].clone() if "to_q" in key else value for key, value in weights.items()},
        "weights are missing": {key: value for key, value in weights.items() if "input_blocks.1." not in key},
    }
    save_file(faults[fault], tmp_path / "wrong.safetensors")

    with pytest.raises(ModelError, match=f"(?s){said}"):
        locate_model("wrong.safetensors", tmp_path, config=str(file.parent / "settings"))
    assert not list((tmp_path / ".cache" / "checkpoints").iterdir())
