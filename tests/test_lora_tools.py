"""LoRA files converted, shrunk, merged, taken in and looked into: on real pipelines, by what they then draw."""

from __future__ import annotations

import hashlib
import json
import math
import socket
import ssl
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.core.errors import LoraError, UsageError
from harness.core.values import Lora, Request, hash_file
from harness.models.lora.convert import Style, diffusers_tensors, export_file, kohya_tensors, load_instead
from harness.models.lora.export import read_tensors, write_tensors
from harness.models.lora.file import LoraFile, LowRankFactors, read_lora
from harness.models.lora.header import read_header
from harness.models.lora.inspection import inspect_lora
from harness.models.lora.keys import TensorKey, kohya_name, parse_key, parse_module
from harness.models.lora.merge import Ingredient, concatenate
from harness.models.lora.registry import promote, read_challengers, read_champion, read_history, rollback
from harness.models.lora.resize import resize
from harness.studies.lora_import import download, empty_parts, file_address, take_in
from harness.studies.lora_publish import read_leaderboard, write_card
from tests.command_line import call
from tests.tiny import SIZE, make_context, save_lora
from tests.wire import Wire, make_authority, reply, serve_tls

ROOT = Path(__file__).resolve().parent.parent
LINEAR = ["to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2", "proj_in", "proj_out"]
OTHERS = ["conv1", "conv2", "conv", "conv_in", "conv_out", "conv_shortcut", "time_emb_proj", "linear_1", "linear_2"]
TEXT = ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"]
KINDS: dict[str, dict[str, Any]] = {
    "alpha equal to the rank": {"r": 4, "lora_alpha": 4},
    "another alpha": {"r": 4, "lora_alpha": 2},
    "rsLoRA": {"r": 4, "lora_alpha": 8, "use_rslora": True},
    "patterns": {"r": 4, "lora_alpha": 4, "rank_pattern": {"to_q": 2}, "alpha_pattern": {"to_q": 1, "conv1": 12}},
}
"""LoraConfigs that some exporter or other gets wrong."""


@pytest.fixture(scope="session")
def trained(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A LoRA of every module of the UNet and of both text encoders, as diffusers itself saves it, for each kind."""
    folder = tmp_path_factory.mktemp("trained")
    return {
        kind: save_whole_lora(tiny, folder / f"{number}.safetensors", **KINDS[kind])
        for number, kind in enumerate(KINDS)
    }


def load_pipe(tiny: Path) -> Any:
    from diffusers import StableDiffusionXLPipeline

    from harness.models.identity import quiet_libraries

    with quiet_libraries():
        pipe = StableDiffusionXLPipeline.from_pretrained(tiny / "sdxl")
    pipe.set_progress_bar_config(disable=True)
    return pipe


def save_whole_lora(tiny: Path, file: Path, *, seed: int = 1, text: bool = True, **config: Any) -> Path:
    import torch
    from diffusers import StableDiffusionXLPipeline
    from diffusers.training_utils import _collate_lora_metadata
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    torch.manual_seed(seed)
    pipe = load_pipe(tiny)
    parts = {"unet": pipe.unet} | (
        {"text_encoder": pipe.text_encoder, "text_encoder_2": pipe.text_encoder_2} if text else {}
    )
    for part, model in parts.items():
        own = (
            config
            if part == "unet"
            else {name: {"q_proj": 2} if "pattern" in name else config[name] for name in config}
        )
        model.add_adapter(LoraConfig(target_modules=LINEAR + OTHERS if part == "unet" else TEXT, **own))
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=0.1)
    layers = {f"{part}_lora_layers": get_peft_model_state_dict(model) for part, model in parts.items()}
    StableDiffusionXLPipeline.save_lora_weights(
        file.parent, weight_name=file.name, **layers, **_collate_lora_metadata(parts)
    )
    return file


def draw(tiny: Path, *loras: tuple[Path, float]) -> Any:
    """What plain diffusers draws with some LoRAs: the last latents."""
    import torch

    from harness.models.identity import quiet_libraries

    pipe = load_pipe(tiny)
    with quiet_libraries():
        for number, (path, _) in enumerate(loras):
            pipe.load_lora_weights(str(path.parent), weight_name=path.name, adapter_name=f"lora{number}")
    if loras:
        pipe.set_adapters([f"lora{number}" for number in range(len(loras))], [strength for _, strength in loras])
    noise = torch.Generator().manual_seed(0)
    size = {"width": SIZE, "height": SIZE, "num_inference_steps": 2}
    return pipe("aldar kose, smiling", **size, guidance_scale=4.0, generator=noise, output_type="latent").images


def gap(a: Any, b: Any) -> float:
    """Relative difference."""
    return float((a - b).norm() / b.norm())


def same(first: LoraFile, second: LoraFile) -> bool:
    """Bit for bit the same factors, and the same alphas."""
    import torch

    return first.modules.keys() == second.modules.keys() and all(
        torch.equal(one.down, other.down)
        and torch.equal(one.up, other.up)
        and math.isclose(one.alpha, other.alpha, rel_tol=1e-6)
        for one, other in ((item, second.modules[name]) for name, item in first.modules.items())
    )


def make_lora(rank: int = 4, kernel: int = 0, alpha: float = 4.0, seed: int = 0, **names: Any) -> LoraFile:
    """A LoRA in memory, of random factors."""
    import torch

    random = torch.Generator().manual_seed(seed)
    size, one = ((kernel, kernel), (1, 1)) if kernel else ((), ())
    modules = names.get("modules") or ["unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"]
    made = {
        name: LowRankFactors(
            torch.randn(rank, names.get("inputs", 8), *size, generator=random),
            torch.randn(6, rank, *one, generator=random),
            alpha,
        )
        for name in modules
    }
    return LoraFile(made)


def change(item: LowRankFactors) -> Any:
    return item.scale * item.up_matrix @ item.down_matrix


def run(*words: str) -> int:
    """`harness lora ...`."""
    return call("lora", *words)


# --- names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "module", "tensor"),
    [
        ("unet.mid_block.attentions.0.proj_in.lora_A.weight", "unet.mid_block.attentions.0.proj_in", "down"),
        (
            "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.processor.to_out_lora.up.weight",
            "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_out.0",
            "up",
        ),
        (
            "lora_unet_input_blocks_4_1_transformer_blocks_1_attn2_to_k.lora_down.weight",
            "unet.down_blocks.1.attentions.0.transformer_blocks.1.attn2.to_k",
            "down",
        ),
        ("lora_unet_output_blocks_2_2_conv.alpha", "unet.up_blocks.0.upsamplers.0.conv", "alpha"),
        ("lora_unet_middle_block_2_in_layers_2.dora_scale", "unet.mid_block.resnets.1.conv1", "dora"),
        ("lora_unet_label_emb_0_2.lora_up.weight", "unet.add_embedding.linear_2", "up"),
        (
            "diffusion_model.output_blocks.0.1.proj_out.lora_B.weight",
            "unet.up_blocks.0.attentions.0.proj_out",
            "up",
        ),
        (
            "text_encoder.encoder.layers.0.self_attn.to_q_lora.down.weight",
            "text_encoder.text_model.encoder.layers.0.self_attn.q_proj",
            "down",
        ),
        (
            "lora_te2_text_model_encoder_layers_31_mlp_fc1.lora_mid.weight",
            "text_encoder_2.text_model.encoder.layers.31.mlp.fc1",
            "mid",
        ),
    ],
)
def test_every_style_of_names_means_a_module(key: str, module: str, tensor: str) -> None:
    assert parse_key(key) == TensorKey(module, tensor)


@pytest.mark.parametrize(
    "key", ["lora_unet_double_blocks_0_img_attn_proj.alpha", "unet.conv_in.weight", "unet.lora_A.weight", ""]
)
def test_other_names_mean_nothing(key: str) -> None:
    assert parse_key(key) is None


def sdxl_modules() -> list[str]:
    """All layers of the real SDXL UNet; without weights."""
    import torch
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        unet = UNet2DConditionModel(
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            block_out_channels=(32, 64, 128),
            transformer_layers_per_block=(1, 2, 10),
            attention_head_dim=(1, 2, 4),
            cross_attention_dim=2048,
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=256,
            projection_class_embeddings_input_dim=2816,
        )
    kinds = (torch.nn.Linear, torch.nn.Conv2d)
    return [f"unet.{name}" for name, layer in unet.named_modules() if isinstance(layer, kinds)]


def test_every_layer_of_sdxl_keeps_its_name_there_and_back_and_diffusers_reads_it_alike() -> None:
    from types import SimpleNamespace

    from diffusers.loaders.lora_conversion_utils import _convert_unet_lora_key, _maybe_map_sgm_blocks_to_diffusers

    names = sdxl_modules()
    stability = {kohya_name(name, "sgm"): name for name in names}
    plain = {kohya_name(name, "diffusers"): name for name in names}
    found = _maybe_map_sgm_blocks_to_diffusers(
        {f"{stem}.lora_down.weight": stem for stem in stability}, SimpleNamespace(layers_per_block=2)
    )

    assert len(names) == len(stability) == len(plain) > 700
    assert all(parse_module(stem) == name for stem, name in [*stability.items(), *plain.items()])
    assert stability["lora_unet_input_blocks_8_1_transformer_blocks_9_attn2_to_v"].startswith(
        "unet.down_blocks.2.attentions.1."
    )
    theirs = {ours: parse_key(f"unet.{_convert_unet_lora_key(key)}") for key, ours in found.items()}
    assert all(read == TensorKey(stability[stem], "down") for stem, read in theirs.items())


# --- conversion -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_exported_files_draw_the_same_in_plain_diffusers(
    tiny: Path, trained: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    source = read_lora(trained[kind])
    wanted = draw(tiny, (trained[kind], 1.0))
    styles = {
        "kohya": (Style("kohya"), 1e-5),
        "diffusers": (Style("diffusers"), 0),
        "folded": (Style("diffusers", alphas="fold"), 1e-5),
        "half": (Style("kohya", dtype="float16"), 2e-3),
    }

    for name, (style, tolerance) in styles.items():
        export_file(source, tmp_path / f"{name}.safetensors", style)
        assert gap(draw(tiny, (tmp_path / f"{name}.safetensors", 1.0)), wanted) <= tolerance, name
    assert gap(draw(tiny), wanted) > 0.02


@pytest.mark.parametrize("kind", KINDS)
def test_there_and_back_gives_the_same_bits(trained: dict[str, Path], tmp_path: Path, kind: str) -> None:
    source = read_lora(trained[kind])

    export_file(source, tmp_path / "kohya.safetensors", Style("kohya", alphas="keep"))
    export_file(read_lora(tmp_path / "kohya.safetensors"), tmp_path / "back.safetensors", Style("diffusers"))

    assert same(read_lora(tmp_path / "back.safetensors"), source) and len(source.modules) > 100
    assert source.parts == ("unet", "text_encoder", "text_encoder_2")


def test_one_alpha_for_all_needs_no_evening_out(trained: dict[str, Path], tmp_path: Path) -> None:
    source = read_lora(trained["another alpha"])

    export_file(source, tmp_path / "kohya.safetensors", Style("kohya"))

    tensors, _ = read_tensors(tmp_path / "kohya.safetensors")
    assert same(read_lora(tmp_path / "kohya.safetensors"), source)
    assert {float(value) for name, value in tensors.items() if name.endswith(".alpha")} == {2.0}


def test_different_alphas_in_a_kohya_file_are_lost_on_plain_diffusers_and_can_be_saved(
    tiny: Path, trained: dict[str, Path], tmp_path: Path
) -> None:
    """When this fails because diffusers has learnt it, evening out is no longer needed."""
    wanted = draw(tiny, (trained["patterns"], 1.0))
    kohya = tmp_path / "kohya.safetensors"
    export_file(read_lora(trained["patterns"]), kohya, Style("kohya", alphas="keep"))

    instead = load_instead(read_lora(kohya))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # newer PEFT says so: alpha_pattern matched nothing
        assert gap(draw(tiny, (kohya, 1.0)), wanted) > 1e-3
    assert instead is not None
    write_tensors(tmp_path / "instead.safetensors", instead, {})
    assert gap(draw(tiny, (tmp_path / "instead.safetensors", 1.0)), wanted) < 1e-5
    assert load_instead(read_lora(trained["patterns"])) is None


def test_diffusers_own_converter_agrees_where_it_is_right(tiny: Path, tmp_path: Path) -> None:
    """It always writes alpha = rank, and of a file with text encoders it makes keys that nobody reads."""
    import torch
    from diffusers.utils import convert_state_dict_to_kohya

    unet_only = read_lora(save_whole_lora(tiny, tmp_path / "a.safetensors", text=False, r=4, lora_alpha=2))
    no_embedding = {name: item for name, item in unet_only.modules.items() if "add_embedding" not in name}
    ours = kohya_tensors(LoraFile(no_embedding), "diffusers")
    theirs = convert_state_dict_to_kohya(diffusers_tensors(LoraFile(no_embedding)))
    both = read_lora(save_whole_lora(tiny, tmp_path / "b.safetensors", r=2, lora_alpha=2))
    broken = convert_state_dict_to_kohya(
        {name.removeprefix("unet."): value for name, value in diffusers_tensors(both).items()}
    )

    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours if not name.endswith(".alpha"))
    assert {float(value) for name, value in theirs.items() if name.endswith(".alpha")} == {4.0}
    assert {float(value) for name, value in ours.items() if name.endswith(".alpha")} == {2.0}
    assert any(parse_key(name) is None for name in broken)


def test_what_diffusers_would_drop_under_its_own_name_is_refused(trained: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(LoraError, match="add_embedding: diffusers drops it"):
        export_file(read_lora(trained["rsLoRA"]), tmp_path / "x.safetensors", Style("kohya", blocks="diffusers"))
    assert not list(tmp_path.iterdir())


def test_dora_keeps_its_norms_in_both_styles(tiny: Path, tmp_path: Path) -> None:
    dora = save_whole_lora(tiny, tmp_path / "dora.safetensors", r=2, lora_alpha=2, use_dora=True)
    wanted = draw(tiny, (dora, 1.0))
    kohya, back = tmp_path / "kohya.safetensors", tmp_path / "back.safetensors"

    export_file(read_lora(dora), kohya, Style("kohya"))
    export_file(read_lora(kohya), back, Style("diffusers"))

    scale = read_tensors(kohya)[0]["lora_unet_input_blocks_0_0.dora_scale"]
    assert scale.shape == (16, 1, 1, 1) and inspect_lora(kohya).kind == "DoRA"
    assert gap(draw(tiny, (back, 1.0)), wanted) < 1e-6


def test_a_tucker_convolution_is_multiplied_out(tmp_path: Path) -> None:
    import torch

    stem = "lora_unet_input_blocks_1_0_in_layers_2"
    tensors = {
        f"{stem}.lora_down.weight": torch.randn(3, 5, 1, 1),
        f"{stem}.lora_mid.weight": torch.randn(3, 3, 3, 3),
        f"{stem}.lora_up.weight": torch.randn(7, 3, 1, 1),
        f"{stem}.alpha": torch.tensor(3.0),
    }
    down, middle, up, _ = tensors.values()
    write_tensors(tmp_path / "tucker.safetensors", tensors, {})

    lora = read_lora(tmp_path / "tucker.safetensors")

    picture = torch.randn(1, 5, 8, 8)
    steps = torch.conv2d(torch.conv2d(torch.conv2d(picture, down), middle, padding=1), up)
    item = lora.modules["unet.down_blocks.0.resnets.0.conv1"]
    assert torch.allclose(torch.conv2d(torch.conv2d(picture, item.down, padding=1), item.up), steps, atol=1e-4)
    assert lora.notes == ("1 convolutions in Tucker form were multiplied out",)


def test_a_value_too_large_for_the_dtype_is_said(tmp_path: Path) -> None:
    lora = make_lora()
    next(iter(lora.modules.values())).up[0, 0] = 1e6

    with pytest.raises(LoraError, match="too large for float16"):
        export_file(lora, tmp_path / "x.safetensors", Style(dtype="float16"))


# --- metadata and card ----------------------------------------------------------------------------------------------


def test_the_metadata_say_what_other_programs_look_for(trained: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "kohya.safetensors"

    export_file(
        read_lora(trained["patterns"]),
        out,
        Style("kohya", alphas="keep"),
        {"title": "Aldar", "trigger_phrase": "aldar kose"},
    )

    said, data = read_header(out).metadata, out.read_bytes()
    body = hashlib.sha256(data[8 + int.from_bytes(data[:8], "little") :]).hexdigest()
    assert said["modelspec.hash_sha256"] == f"0x{body}" and said["sshs_model_hash"] == body
    assert said["modelspec.architecture"] == "stable-diffusion-xl-v1-base/lora"
    assert said["modelspec.sai_model_spec"].startswith("1.0") and said["modelspec.trigger_phrase"] == "aldar kose"
    assert {"modelspec.title", "modelspec.implementation", "modelspec.resolution", "modelspec.date"} <= said.keys()
    assert "modelspec.prediction_type" not in said, "the file did not say what its base predicts"
    assert said["ss_base_model_version"].startswith("sdxl_") and said["ss_network_dim"] == "Dynamic"
    assert json.loads(said["ss_network_args"]) == {"conv_dim": "4", "conv_alpha": "Dynamic"}
    assert "lora_adapter_metadata" not in said


def test_the_card_shows_the_leaderboard_and_no_stranger_s_markup(tmp_path: Path) -> None:
    lora = make_lora()
    said = {
        "modelspec.title": "Nice <script>alert(1)</script> | [x](javascript:1)",
        "modelspec.trigger_phrase": "aldar\nkose",
    }
    board = {
        "suite": "demo",
        "provider": "lora",
        "rank": 1,
        "quality": {"mean": 0.83, "low": 0.8, "high": 0.86},
        "clip": None,
    }
    (tmp_path / "results.json").write_text(json.dumps({"leaderboard": [board]}), encoding="utf-8")

    card = write_card(LoraFile(lora.modules, said), "aldar.safetensors", read_leaderboard(tmp_path / "results.json"))

    assert "| 1 | lora | 0.83 [0.80, 0.86] | - | - | - |" in card and "**aldar kose**" in card
    assert "<script>" not in card and "[x](" not in card and "<lora:aldar:1>" in card
    with pytest.raises(UsageError, match="no leaderboard"):
        read_leaderboard(tmp_path / "nothing.json")


def test_the_export_command_writes_file_and_card(
    trained: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "aldar.safetensors"

    code = run("export", str(trained["patterns"]), "--style", "kohya", "--out", str(out), "--card", "--title", "Aldar")

    said = capsys.readouterr().out
    assert code == 0 and out.exists() and "# Aldar" in out.with_suffix(".md").read_text(encoding="utf-8")
    assert "mind: its modules had different alphas; they are evened out" in said


# --- smaller --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", [0, 3])
def test_a_smaller_rank_is_the_best_of_that_rank_and_its_cost_is_true(kernel: int) -> None:
    import torch

    lora = make_lora(rank=4, kernel=kernel, alpha=2.0)
    before = next(iter(lora.modules.values()))

    resized = resize(lora, rank=2)

    after, cost = next(iter(resized.lora.modules.values())), next(iter(resized.costs.values()))
    values = torch.linalg.svdvals(change(before))
    lost = float((change(after) - change(before)).norm() / change(before).norm())
    assert after.rank == 2 and after.scale == before.scale and after.down.ndim == before.down.ndim
    assert (
        lost == pytest.approx(cost.error, rel=1e-5) == pytest.approx(float(values[2:].norm() / values.norm()), rel=1e-5)
    )
    assert resized.error == pytest.approx(cost.error) and cost.norm == pytest.approx(before.norm)


def test_energy_gives_each_module_its_own_rank() -> None:
    import torch

    lora = make_lora(rank=4, modules=["unet.mid_block.a", "unet.mid_block.b"])
    strong = lora.modules["unet.mid_block.b"]
    strong.down[1:] *= 1e-3  # a single direction

    resized = resize(lora, energy=0.95)

    ranks = {name: item.rank for name, item in resized.lora.modules.items()}
    assert ranks["unet.mid_block.b"] == 1 < ranks["unet.mid_block.a"]
    assert all(cost.error**2 <= 0.05 + 1e-9 for cost in resized.costs.values())
    whole = resize(lora, energy=1.0)
    assert all(torch.equal(item.up, lora.modules[name].up) for name, item in whole.lora.modules.items())


def test_a_module_that_does_nothing_and_one_that_is_small_already_stay_whole() -> None:
    lora = make_lora(rank=2, modules=["unet.mid_block.a", "unet.mid_block.b"])
    lora.modules["unet.mid_block.a"].up.zero_()

    resized = resize(lora, rank=8, energy=0.9)

    assert resized.lora.modules["unet.mid_block.b"].rank <= 2 and resized.costs["unet.mid_block.a"].error == 0
    with pytest.raises(UsageError, match="--rank"):
        resize(lora)
    with pytest.raises(UsageError, match="energy"):
        resize(lora, energy=1.5)


def test_a_resized_file_still_loads(
    tiny: Path, trained: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = draw(tiny, (trained["patterns"], 1.0))
    out = tmp_path / "small.safetensors"

    assert run("resize", str(trained["patterns"]), "--energy", "0.9", "--out", str(out)) == 0

    said = capsys.readouterr().out
    assert "% of the change left out" in said and "left out (Frobenius norm)" in said
    assert 0 < gap(draw(tiny, (out, 1.0)), wanted) < gap(draw(tiny), wanted)


# --- several in one -------------------------------------------------------------------------------------------------


def test_a_merged_file_draws_what_both_draw_together(
    tiny: Path, trained: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = save_lora(tiny, tmp_path / "other.safetensors", seed=3)
    wanted = draw(tiny, (trained["patterns"], 0.8), (other, 0.5))
    out = tmp_path / "both.safetensors"

    assert run("merge", f"{trained['patterns']}@0.8", f"{other}@0.5", "--out", str(out)) == 0

    said = capsys.readouterr().out
    assert gap(draw(tiny, (out, 1.0)), wanted) < 1e-5 < gap(draw(tiny, (other, 0.5)), wanted)
    assert "not in all of them:" in said and "text_encoder_2" in said
    sources = json.loads(read_header(out).metadata["harness.merged"])
    assert [item["strength"] for item in sources] == [0.8, 0.5] and sources[1]["sha256"] == hash_file(other)


def test_a_merge_at_a_rank_is_the_best_of_that_rank(tmp_path: Path) -> None:
    a, b = make_lora(seed=1), make_lora(seed=2, alpha=8.0)
    items = [Ingredient(Path("a"), "a", a, 1.0), Ingredient(Path("b"), "b", b, -0.5)]

    both = concatenate(items)

    whole, one, two = (next(iter(lora.modules.values())) for lora in (both, a, b))
    assert whole.rank == 8 and float((change(whole) - (change(one) - 0.5 * change(two))).norm()) < 1e-4
    assert next(iter(resize(both, rank=3).lora.modules.values())).rank == 3


def test_equal_scales_stay_out_of_the_weights() -> None:
    import torch

    a, b = make_lora(seed=1, alpha=2.0), make_lora(seed=2, alpha=2.0)

    both = concatenate([Ingredient(Path("a"), "", a, 0.7), Ingredient(Path("b"), "", b, 0.7)])

    one = next(iter(a.modules.values()))
    whole = next(iter(both.modules.values()))
    assert torch.equal(whole.up[:, :4], one.up) and whole.scale == pytest.approx(0.35)


def test_what_cannot_be_added_says_why() -> None:
    wide = make_lora(inputs=16)
    items = [Ingredient(Path("a.safetensors"), "", make_lora(), 1.0), Ingredient(Path("b.safetensors"), "", wide, 1.0)]

    with pytest.raises(
        LoraError, match=r"to_q: a.safetensors changes a layer \(8,\) -> 6, b.safetensors one of \(16,\)"
    ):
        concatenate(items)
    with pytest.raises(UsageError, match="at least two"):
        concatenate(items[:1])


# --- looking in -----------------------------------------------------------------------------------------------------


def test_inspect_says_what_is_in_a_file(trained: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    found = inspect_lora(trained["patterns"])

    assert found.kind == "LoCon" and found.style == "diffusers" and not found.problems
    assert found.ranks.keys() == {"2", "4"} and set(found.alphas) == {"1", "2", "4", "12"}
    assert set(found.modules) == {"unet", "text_encoder", "text_encoder_2"} and found.dtypes.keys() == {"float32"}
    assert found.blocks["unet.mid_block"].norm > 0
    assert run("inspect", str(trained["patterns"])) == 0
    assert "rank" in capsys.readouterr().out
    assert run("inspect", str(trained["patterns"]), "--json") == 0
    assert json.loads(capsys.readouterr().out)["path"] == trained["patterns"].name


def test_a_trigger_is_guessed_from_the_commonest_tags(tmp_path: Path) -> None:
    export_file(make_lora(), tmp_path / "a.safetensors", Style("kohya"))
    tensors, said = read_tensors(tmp_path / "a.safetensors")
    tags = {
        "ss_tag_frequency": json.dumps({"10_aldar": {"aldar kose": 12, "smiling": 5}}),
        "ss_output_name": "evil\x1b[2J",
    }

    write_tensors(tmp_path / "b.safetensors", tensors, {**said, **tags})

    assert inspect_lora(tmp_path / "b.safetensors").trigger == "aldar kose"


def test_a_stranger_s_words_do_not_drive_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tensors = diffusers_tensors(make_lora())
    write_tensors(
        tmp_path / "a.safetensors", tensors, {"modelspec.trigger_phrase": "x\x1b[2J", "ss_steps": "\x1b]0;hi\x07"}
    )

    run("inspect", str(tmp_path / "a.safetensors"))

    assert "\x1b" not in capsys.readouterr().out


NAME = "unet.mid_block.attentions.0.proj_in"


def poison(change: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The tensors and metadata of a file that is wrong in one way."""
    import torch

    good = {f"{NAME}.lora_A.weight": torch.ones(2, 4), f"{NAME}.lora_B.weight": torch.ones(4, 2)}
    kohya = "lora_unet_middle_block_1_proj_in"
    record = {"unet.r": 2, "unet.lora_alpha": 2, "unet.alpha_pattern": {"(a+)+$": 1}}
    tensors = {
        "nan": {**good, f"{NAME}.lora_A.weight": torch.full((2, 4), math.nan)},
        "infinite": {**good, f"{NAME}.lora_B.weight": torch.full((4, 2), math.inf)},
        "zero": {**good, f"{NAME}.lora_B.weight": torch.zeros(4, 2)},
        "half": {f"{NAME}.lora_A.weight": torch.ones(2, 4)},
        "ranks": {**good, f"{NAME}.lora_B.weight": torch.ones(4, 3)},
        "twice": {**good, f"{kohya}.lora_up.weight": torch.ones(4, 2)},
        "loha": {f"{kohya}.hada_w1_a": torch.ones(4, 2)},
        "lokr": {f"{kohya}.lokr_w1": torch.ones(4, 2)},
        "flux": {"transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight": torch.ones(2, 4)},
        "whole": {"diffusion_model.input_blocks.0.0.diff": torch.ones(2, 4)},
        "stranger": {**good, "something.else": torch.ones(1)},
        "alpha": {**good, f"{NAME}.alpha": torch.tensor(0.0)},
        "dora": {**good, f"{NAME}.dora_scale": torch.ones(1, 4)},
        "record": good,
    }[change]
    return tensors, {"lora_adapter_metadata": json.dumps(record)} if change == "record" else {}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("nan", "NaN or infinite values in"),
        ("infinite", "NaN or infinite values in"),
        ("zero", "every up-projection is zero"),
        ("half", "proj_in has no up-projection"),
        ("ranks", r"\(2, 4\) and \(4, 3\) do not belong together"),
        ("twice", "is there twice, in two styles"),
        ("loha", "LoHa: a Hadamard product"),
        ("lokr", "LoKr: a Kronecker product"),
        ("flux", "made for a transformer"),
        ("whole", "whole differences of weights"),
        ("stranger", "of no known style"),
        ("alpha", "alpha is 0, so it does nothing"),
        ("dora", r"norms of the shape \(1, 4\).*wd_on_output"),
        ("record", "alpha_pattern holds .*no module's name"),
    ],
)
def test_wrong_content_is_refused_with_the_reason(tmp_path: Path, change: str, reason: str) -> None:
    path = tmp_path / "bad.safetensors"
    write_tensors(path, *poison(change))

    with pytest.raises(LoraError, match=reason):
        read_lora(path)

    found = inspect_lora(path)
    assert found.problems and not found.kind and run("inspect", str(path)) == 1
    assert not list(tmp_path.glob("*.md"))


def raw(header: str, body: bytes = b"\0" * 8) -> bytes:
    return len(header).to_bytes(8, "little") + header.encode() + body


ENTRY = '{"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}'


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x80\x02cposix\nsystem\n", "a pickle or a zip archive, which could run code"),
        (b"PK\x03\x04" + b"\0" * 30, "a pickle or a zip archive, which could run code"),
        (b"<!DOCTYPE html><title>Log in</title>", "an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (raw(f'{{"a": {ENTRY}, "a": {ENTRY}}}'), "'a' is in its header twice"),
        (raw(f'{{"a": {ENTRY}, "b": {ENTRY}}}'), "'b' overlaps another tensor or leaves a hole"),
        (raw('{"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}}'), "has 8 bytes for"),
        (raw('{"a": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}}'), "which no LoRA holds"),
        (raw('{"a": {"dtype": "X99", "shape": [2], "data_offsets": [0, 8]}}'), "which no LoRA holds"),
        (raw(f'{{"__metadata__": {{"n": 1}}, "a": {ENTRY}}}'), "'n' is no text"),
        (raw(f'{{"a": {ENTRY}}}', b"\0" * 9), "cut short or padded"),
        (raw("[" * 5000), "not a safetensors file"),
        (raw("{}", b""), "holds no weights"),
        (b"", "not a safetensors file"),
    ],
)
def test_a_poisoned_file_is_refused_before_anything_is_loaded(tmp_path: Path, data: bytes, reason: str) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(data)

    with pytest.raises(LoraError, match=reason):
        read_header(path)
    assert inspect_lora(path).problems


def test_a_huge_header_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "bad.safetensors"
    with path.open("wb") as stream:
        stream.write((200_000_000).to_bytes(8, "little") + b"{")
        stream.truncate(300_000_000)  # takes no room on the disk

    with pytest.raises(LoraError, match="a header of 200000000 bytes"):
        read_header(path)


# --- taking in ------------------------------------------------------------------------------------------------------


@pytest.fixture
def home(tiny: Path, tmp_path: Path) -> Path:
    """A champion that must not move."""
    weights = tmp_path / "references" / "champion.safetensors"
    promote(save_lora(tiny, tmp_path / "first.safetensors"), weights, {"quality": 0.8}, "the first one")
    return weights


def test_a_stranger_becomes_a_challenger_and_never_the_champion(
    tiny: Path, trained: dict[str, Path], home: Path, tmp_path: Path
) -> None:
    before = hash_file(home)
    kohya = tmp_path / "from_a_site.safetensors"
    export_file(read_lora(trained["patterns"]), kohya, Style("kohya", alphas="keep"))

    taken = take_in(str(kohya), home, empty_parts(tiny / "sdxl"), command="harness lora import")

    record = read_challengers(home)[0]
    assert hash_file(home) == before and taken.path.parent.name == "challengers"
    assert record["sha256"] == hash_file(taken.path) and record["origin"]["sha256"] == hash_file(kohya)
    assert record["origin"]["source"] == kohya.name and record["origin"]["checked_against_base"]
    assert str(tmp_path) not in json.dumps(record)
    assert same(read_lora(taken.path), read_lora(trained["patterns"]))
    assert gap(draw(tiny, (taken.path, 1.0)), draw(tiny, (trained["patterns"], 1.0))) < 1e-6


def test_a_challenger_is_drawn_with_by_the_harness(tiny: Path, trained: dict[str, Path], home: Path) -> None:
    taken = take_in(str(trained["another alpha"]), home, empty_parts(tiny / "sdxl"))
    pipeline = make_context(tiny).models.pipeline()
    request = Request("local/1", "", "aldar kose", 1, SIZE, SIZE, steps=2, guidance=4.0, scheduler="euler")

    with_lora, base = (pipeline.draw([request], lora)[0] for lora in (Lora(taken.path), None))

    assert with_lora is not None and base is not None and with_lora.tobytes() != base.tobytes()


@pytest.mark.parametrize("change", ["extra", "shape"])
def test_what_does_not_fit_the_base_is_refused_and_nothing_is_kept(
    tiny: Path, home: Path, tmp_path: Path, change: str
) -> None:
    name = {"extra": "unet.down_blocks.7.attentions.0.proj_in", "shape": "unet.mid_block.attentions.0.proj_in"}[change]
    write_tensors(tmp_path / "wrong.safetensors", diffusers_tensors(make_lora(modules=[name])), {})

    reason = {"extra": "have no place in the model", "shape": "of the wrong shape"}[change]
    with pytest.raises(LoraError, match=f"wrong.safetensors.*{reason}"):
        take_in(str(tmp_path / "wrong.safetensors"), home, empty_parts(tiny / "sdxl"))
    assert not (home.parent / "challengers").exists()


def test_a_file_over_the_cap_is_not_read(home: Path, tmp_path: Path) -> None:
    write_tensors(tmp_path / "a.safetensors", diffusers_tensors(make_lora()), {})

    with pytest.raises(LoraError, match="more than"):
        take_in(str(tmp_path / "a.safetensors"), home, largest=100)
    with pytest.raises(LoraError, match="cannot be read"):
        take_in(str(tmp_path / "nowhere.safetensors"), home)


@pytest.mark.parametrize(
    ("page", "file"),
    [
        ("https://civitai.com/models/1?modelVersionId=2", "https://civitai.com/api/download/models/2"),
        ("https://huggingface.co/a/b/blob/main/x.safetensors", "https://huggingface.co/a/b/resolve/main/x.safetensors"),
        ("https://cdn.example/x.safetensors?sig=1", "https://cdn.example/x.safetensors?sig=1"),
    ],
)
def test_a_page_of_a_model_site_leads_to_its_file(page: str, file: str) -> None:
    assert file_address(page) == file


@pytest.mark.parametrize("page", ["https://civitai.com/models/1", "https://huggingface.co/a/b"])
def test_a_page_with_several_files_asks_which(page: str) -> None:
    with pytest.raises(UsageError, match="address of"):
        file_address(page)


class Net:
    """Names that lead to one server on this machine, as if it were public."""

    def __init__(self, folder: Path, port: int, address: str = "93.184.215.14") -> None:
        self.port, self.address = port, address
        self.context = ssl.create_default_context(cafile=str(folder / "ca.pem"))

    def fetch(self, url: str, largest: int = 1_000_000) -> bytes:
        return download(url, largest, resolver=self.resolve, connector=self.connect, context=lambda: self.context)

    def resolve(self, host: str, port: int) -> Sequence[str]:
        return [self.address]

    def connect(self, address: str, port: int, seconds: float) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), seconds)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_authority(tmp_path_factory.mktemp("authority"))


def test_a_lora_is_downloaded_from_a_public_https_address(authority: Path, tmp_path: Path) -> None:
    write_tensors(tmp_path / "a.safetensors", diffusers_tensors(make_lora()), {})
    data = (tmp_path / "a.safetensors").read_bytes()

    with Wire(reply(200, data), tls=serve_tls(authority)) as wire:
        net = Net(authority, wire.port)
        assert net.fetch("https://cdn.example/a.safetensors?token=1") == data
        with pytest.raises(LoraError, match="at most 100 bytes"):
            net.fetch("https://cdn.example/a.safetensors", largest=100)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<!doctype html><title>Log in</title>", "an HTML or XML page, not a safetensors file"),
        (b"\x80\x02}q\0.", "a pickle, which could run code when loaded, not a safetensors file"),
        (b"PK\x03\x04" + b"\0" * 40, "a zip archive"),
        (b"", "nothing"),
    ],
)
def test_what_is_no_safetensors_file_is_not_taken(authority: Path, body: bytes, reason: str) -> None:
    with Wire(reply(200, body), tls=serve_tls(authority)) as wire, pytest.raises(LoraError, match=reason):
        Net(authority, wire.port).fetch("https://cdn.example/a.safetensors")


@pytest.mark.parametrize(
    ("url", "address", "reason"),
    [
        ("http://cdn.example/a.safetensors", "93.184.215.14", "not encrypted"),
        ("https://cdn.example/a.safetensors", "127.0.0.1", "which is loopback"),
        ("https://cdn.example/a.safetensors", "169.254.169.254", "which is link-local"),
        ("https://cdn.example:8443/a.safetensors", "93.184.215.14", "not the usual one"),
        ("file:///etc/passwd", "93.184.215.14", "its scheme is file"),
    ],
)
def test_an_unsafe_address_is_not_connected_to(authority: Path, url: str, address: str, reason: str) -> None:
    with pytest.raises(LoraError, match=f"the file's address was not connected to.*{reason}"):
        Net(authority, 1, address).fetch(url)


# --- champions ------------------------------------------------------------------------------------------------------


def test_a_former_champion_comes_back_with_its_scores_and_the_lineage_tells_it(
    tiny: Path, home: Path, tmp_path: Path
) -> None:
    first = hash_file(home)
    promote(save_lora(tiny, tmp_path / "second.safetensors", seed=2), home, {"quality": 0.9}, "better")
    second = hash_file(home)

    champion = rollback(home, first[:6], "it looked better")

    assert hash_file(home) == first and champion.lineage == (first, second) and champion.scores == {"quality": 0.8}
    assert champion.reason == f"rolled back from {second[:16]}: it looked better"
    assert [item["sha256"] for item in read_history(home)] == [first, second, first]
    assert rollback(home).sha256 == second
    assert read_champion(home) and read_history(home)[-1]["reason"] == f"rolled back from {first[:16]}"


def test_a_rollback_without_a_past_or_to_a_changed_file_is_refused(tiny: Path, home: Path, tmp_path: Path) -> None:
    with pytest.raises(LoraError, match="no champion before"):
        rollback(home)
    promote(save_lora(tiny, tmp_path / "second.safetensors", seed=2), home, {}, "better")
    before = hash_file(home)
    next((home.parent / "history").glob("*.safetensors")).write_bytes(b"changed")

    with pytest.raises(LoraError, match="is gone or was changed"):
        rollback(home)
    assert hash_file(home) == before


SUITE = """
version: 1
suite: taken
subject: {{name: Aldar Kose, trigger: aldar kose, lora: home/champion.safetensors, references: {references}}}
providers: [lora]
gate: [lora]
cases: [{{id: steppe, prompt: "{{trigger}}, steppe background"}}]
"""


def test_the_commands_take_in_promote_and_roll_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "suite.yaml").write_text(SUITE.format(references=ROOT / "references" / "aldar_kose"), encoding="utf-8")
    weights = tmp_path / "home" / "champion.safetensors"
    promote(ROOT / "references" / "aldar_kose" / "champion.safetensors", weights, {}, "the first one")
    first = hash_file(weights)
    monkeypatch.chdir(tmp_path)
    suite = ("--suite", "suite.yaml", "--profile", "embedded")

    assert run("import", str(ROOT / "fixtures" / "loras" / "stranger.safetensors"), *suite) == 0
    taken = read_challengers(weights)[0]
    assert hash_file(weights) == first and taken["origin"]["checked_against_base"]
    assert run("promote", taken["sha256"][:8], "--reason", "by eye", *suite) == 0
    assert hash_file(weights) == taken["sha256"]
    assert run("history", *suite) == 0
    assert run("rollback", *suite) == 0

    said = capsys.readouterr().out
    assert hash_file(weights) == first and "by hand: by eye" in said and "challengers from elsewhere" in said
    with pytest.raises(UsageError, match="no file and no challenger"):
        run("promote", "ffff", "--reason", "none", *suite)


@pytest.mark.parametrize("kind", ["patterns", "dora"])
def test_a_strangers_kohya_file_draws_as_it_was_trained(
    tiny: Path, trained: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    """Files that plain diffusers would read wrongly are mended while they are loaded; the file stays as it is."""
    own = trained.get(kind) or save_whole_lora(tiny, tmp_path / "dora.safetensors", r=2, lora_alpha=2, use_dora=True)
    kohya = tmp_path / "kohya.safetensors"
    export_file(read_lora(own), kohya, Style("kohya", alphas="keep"))
    before = hash_file(kohya)
    request = Request("local/1", "", "aldar kose", 1, SIZE, SIZE, steps=2, guidance=4.0, scheduler="euler")
    pipeline = make_context(tiny).models.pipeline()

    wanted, drawn, base = (pipeline.draw([request], lora)[0] for lora in (Lora(own), Lora(kohya), None))

    assert wanted is not None and drawn is not None and base is not None
    difference = [abs(one - two) for one, two in zip(wanted.tobytes(), drawn.tobytes(), strict=True)]
    assert max(difference) <= 1 and wanted.tobytes() != base.tobytes() and hash_file(kohya) == before
