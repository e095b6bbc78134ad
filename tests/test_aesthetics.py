"""Aesthetics: published checkpoints against a naive copy of their definition, and the head of the embedded CLIP."""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

from harness.config.profile import RawHead
from harness.core.errors import ModelError
from harness.core.values import CaseResult, Job, Outcome, Sample, Score
from harness.models.aesthetics_predictor import HEAD_FILE, load_predictor, read_head
from harness.models.hub import locate, weights_hash
from harness.scoring.metrics.aesthetics import aesthetics_score, compare_aesthetics, yardstick_of
from harness.scoring.metrics.scorer import Scorer
from harness.store import Store
from harness.world.aesthetics import FAULTS, draw_rated, fit_head, measure_head
from harness.world.people import ALDAR, WorldScene
from harness.world.render import render
from tests.command_line import call
from tests.oracle import Oracle, png, world_profile, write_world

ROOT = Path(__file__).parent.parent
PICTURES = [
    render(ALDAR, WorldScene(background=place), seed) for seed, place in enumerate(("steppe", "city", "forest"))
]


def published_layers(width: int, variant: str) -> nn.Sequential:
    """As the predictor's authors wrote it down."""
    active = [nn.ReLU()] if variant == "relu" else []
    return nn.Sequential(
        *[nn.Linear(width, 1024), *active, nn.Dropout(0.2)],
        *[nn.Linear(1024, 128), *active, nn.Dropout(0.2)],
        *[nn.Linear(128, 64), *active, nn.Dropout(0.1)],
        *[nn.Linear(64, 16), *active],
        nn.Linear(16, 1),
    )


def tiny_tower() -> Any:
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    torch.manual_seed(3)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    return CLIPVisionModelWithProjection(
        CLIPVisionConfig(**sizes, image_size=32, patch_size=8, projection_dim=24)
    ).eval()


def write_checkpoint(folder: Path, variant: str) -> tuple[Any, nn.Sequential]:
    """A checkpoint of the published layout, one safetensors file with the tower and the head; both as modules."""
    from transformers import CLIPImageProcessorPil

    tower, layers = tiny_tower(), published_layers(24, variant)
    for parameter in layers.parameters():  # wide enough that a wrong activation shows
        nn.init.normal_(parameter, std=0.3)
    tower.save_pretrained(folder)
    weights = load_file(folder / "model.safetensors")
    weights |= {f"layers.{name}": value for name, value in layers.state_dict().items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    published = {"model_type": "aesthetics_predictor", "architectures": ["AestheticsPredictorV2Linear"]}
    (folder / "config.json").write_text(json.dumps({**config, **published}))
    CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(folder)
    return tower, layers.eval()


def naive(tower: Any, layers: nn.Sequential, folder: Path) -> list[float]:
    """One picture at a time, in double precision behind the tower."""
    from transformers import CLIPImageProcessorPil

    processor, found = CLIPImageProcessorPil.from_pretrained(folder), []
    with torch.no_grad():
        for picture in PICTURES:
            embeds = tower(**processor(images=[picture], return_tensors="pt")).image_embeds.double()
            found.append(float(layers.double()(embeds / embeds.norm(dim=-1, keepdim=True))))
    return found


def models_of(root: Path, clip: str = "clip") -> Any:
    """What loading needs of the models of a profile."""
    models = SimpleNamespace(clip=clip, aesthetics=None, dino=None)
    return SimpleNamespace(root=root, device="cpu", profile=SimpleNamespace(name="mine", models=models))


@pytest.mark.parametrize("variant", ["linear", "relu"])
def test_a_published_checkpoint_is_rated_as_its_authors_define_it(tmp_path: Path, variant: str) -> None:
    tower, layers = write_checkpoint(tmp_path / "laion", variant)

    predictor = load_predictor("laion", models_of(tmp_path))

    assert len(predictor.head.layers) == (1 if variant == "linear" else 5)
    assert predictor.rate(PICTURES) == pytest.approx(naive(tower, layers, tmp_path / "laion"), abs=1e-5)


def test_what_is_missing_or_unknown_in_a_checkpoint_is_refused(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "laion", "linear")
    file = tmp_path / "laion" / "model.safetensors"
    weights = load_file(file)

    def refused(changed: dict[str, Any], message: str) -> None:
        save_file(changed, file, metadata={"format": "pt"})
        with pytest.raises(ModelError, match=message):
            load_predictor("laion", models_of(tmp_path))

    refused({k: v for k, v in weights.items() if k != "visual_projection.weight"}, "1 weights of the image tower are")
    refused({**weights, "adapter.weight": torch.zeros(2)}, "belong to no CLIP image tower, adapter.weight say")
    refused(
        {k: v for k, v in weights.items() if not k.startswith("layers.6")}, r"layers \[0, 2, 4, 7\]; LAION's v2 has"
    )
    refused({**weights, "layers.7.weight": torch.zeros(1, 3)}, "do not fit each other")


@pytest.fixture
def raw(tmp_path: Path) -> tuple[Path, nn.Sequential]:
    """A raw head as LAION publishes it, and a tower to go with it."""
    _, layers = write_checkpoint(tmp_path / "tower", "linear")
    path = tmp_path / "head.pth"
    torch.save({f"layers.{name}": value for name, value in layers.state_dict().items()}, path)
    return path, layers


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_raw_head_is_opened_with_its_hash_only(tmp_path: Path, raw: tuple[Path, nn.Sequential]) -> None:
    path, layers = raw

    predictor = load_predictor(RawHead("head.pth", sha(path), "tower"), models_of(tmp_path))

    assert predictor.rate(PICTURES) == pytest.approx(naive(tiny_tower(), layers, tmp_path / "tower"), abs=1e-5)
    with pytest.raises(ModelError, match="opened only with its `sha256`"):
        load_predictor(RawHead("head.pth", "", "tower"), models_of(tmp_path))
    with pytest.raises(ModelError, match="its SHA-256 is"):
        load_predictor(RawHead("head.pth", "0" * 64, "tower"), models_of(tmp_path))


def test_a_raw_head_stands_on_the_tower_of_a_whole_clip(tmp_path: Path) -> None:
    """As published: openai's checkpoint holds both towers, and the embedding's width beside them."""
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel

    torch.manual_seed(4)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
    vision, text = {**sizes, "image_size": 32, "patch_size": 8}, {**sizes, "vocab_size": 50}
    clip = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=24)).eval()
    clip.save_pretrained(tmp_path / "clip")
    layers = published_layers(24, "relu").eval()
    save_file({f"layers.{name}": value for name, value in layers.state_dict().items()}, tmp_path / "head.safetensors")
    processor = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    processor.save_pretrained(tmp_path / "clip")

    found = load_predictor(RawHead("head.safetensors", "", "clip"), models_of(tmp_path)).rate(PICTURES)

    with torch.no_grad():
        embeds = clip.get_image_features(**processor(PICTURES, return_tensors="pt")).pooler_output
        expected = layers(embeds / embeds.norm(dim=-1, keepdim=True))[:, 0]
    assert found == pytest.approx(expected.numpy(), abs=1e-5)


class Trap:
    """A pickle that writes a file when it is opened."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return Path.touch, (self.target,)


def test_a_head_with_code_in_it_runs_nothing(tmp_path: Path, raw: tuple[Path, nn.Sequential]) -> None:
    path, sprung = raw[0], tmp_path / "sprung"
    path.write_bytes(pickle.dumps({"layers.0.weight": Trap(sprung)}))

    with pytest.raises(ModelError, match="holds more than weights"):
        load_predictor(RawHead("head.pth", sha(path), "tower"), models_of(tmp_path))

    assert not sprung.exists()


def test_a_modelscope_model_without_its_client_says_what_to_install(tmp_path: Path, monkeypatch: Any) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "modelscope", None)

    with pytest.raises(ModelError, match="pip install modelscope"):
        locate("modelscope:owner/name", tmp_path, "mine")


# --- what a number means ----------------------------------------------------------------------------------------------


def test_a_rating_is_held_against_the_references() -> None:
    references = yardstick_of([5.0, 5.2, 5.4, 5.1, 5.3])

    assert aesthetics_score(5.2, references).value == aesthetics_score(9.0, references).value == 1.0
    low = aesthetics_score(3.0, references)
    assert low.value is not None and low.value < 0.05
    assert low.details["delta"] == pytest.approx(-2.2) and low.raw == 3.0


def rated(provider: str, ratings: list[list[float]]) -> list[CaseResult]:
    """One case a row, one seed a rating."""

    def sample(seed: int, raw: float) -> Sample:
        return Sample(f"{provider}{seed}", seed, Outcome.OK, scores={"aesthetics": Score("aesthetics", 1.0, raw)})

    return [
        CaseResult(Job("suite.yaml", f"case-{row}", provider), tuple(sample(i, raw) for i, raw in enumerate(values)))
        for row, values in enumerate(ratings)
    ]


def test_the_gain_over_the_base_is_paired_and_clustered() -> None:
    gain = compare_aesthetics(rated("lora", [[5, 6], [6, 7]]), rated("base", [[4, 5], [5.5, 6.5], [9, 9]]))

    assert gain is not None and gain.difference.n == 2
    assert (gain.mean, gain.base, gain.difference.mean) == (6.0, 5.25, 0.75)
    assert "+0.75" in gain.sentence
    assert compare_aesthetics(rated("lora", [[5]]), []) is None


# --- the world's head -------------------------------------------------------------------------------------------------


def test_every_fault_does_more_the_stronger_it_is() -> None:
    for name, fault in FAULTS.items():
        spoilt = [np.asarray(fault(PICTURES[0], strength, np.random.default_rng(0)), float) for strength in (0, 0.5, 1)]
        harm = [float(np.abs(picture - np.asarray(PICTURES[0], float)).mean()) for picture in spoilt]
        assert 0 < harm[0] < harm[1] < harm[2], name


def test_planted_quality_is_the_same_for_the_same_seed() -> None:
    one, other = draw_rated(12, seed=5), draw_rated(12, seed=5)

    assert np.array_equal(one.images, other.images) and one.faults == other.faults
    assert one.targets.min() >= 1 and one.targets.max() == 10
    assert all((not names) == (target == 10) for names, target in zip(one.faults, one.targets, strict=True))


def test_a_head_learns_in_the_published_layout() -> None:
    rng = np.random.default_rng(0)
    seen = rng.normal(3, 2, (400, 12))
    targets = np.clip(5 + seen[:, 0] - np.abs(seen[:, 1]), 1, 10)

    head = read_head(fit_head(seen[:300], targets[:300], epochs=40), "mine")

    assert head.relu and len(head.layers) == 5
    assert np.corrcoef(head.rate(seen[300:]), targets[300:])[0, 1] > 0.9


def test_a_head_refuses_another_clip(tmp_path: Path) -> None:
    clip, head = tmp_path / "clip", tmp_path / "head"
    for folder in (clip, head):
        folder.mkdir()
    save_file({"weight": torch.zeros(1)}, clip / "model.safetensors")
    save_file({"layers.0.weight": torch.zeros(1)}, head / HEAD_FILE, metadata={"clip": "another", "depths": "[0]"})

    with pytest.raises(ModelError, match=r"trained for another CLIP than .*clip: train it anew with `harness world"):
        load_predictor("head", models_of(tmp_path))


HEAD = ROOT / "fixtures" / "models" / "aesthetics"


@pytest.mark.real
def test_the_committed_head_ranks_the_spoilt_pictures_of_strangers() -> None:
    from harness.config.profile import load_profile
    from harness.models.loading import Models

    clip = ROOT / "fixtures" / "models" / "clip"
    models = Models(load_profile("embedded", ROOT), SimpleNamespace(root=ROOT))
    held_out = draw_rated(60, seed=123_456)

    found = load_predictor(str(HEAD), models).rate([Image.fromarray(image) for image in held_out.images])

    assert measure_head(found, held_out)["spearman"] > 0.75
    clean = [value for value, names in zip(found, held_out.faults, strict=True) if not names]
    assert np.mean(clean) > 7.5 and found.min() < 3.5
    assert weights_hash(clip) in (HEAD / HEAD_FILE).read_bytes()[:4096].decode("latin-1")


# --- in a suite -------------------------------------------------------------------------------------------------------


def test_a_profile_that_names_a_predictor_adds_a_score_and_changes_no_other(tmp_path: Path) -> None:
    oracle = Oracle()
    suite = write_world(tmp_path, oracle, train=6, held_out=4)
    write_checkpoint(tmp_path / "laion", "linear")
    plain, profile = world_profile(), world_profile()
    profile.models.aesthetics, profile.name = "laion", "mine"
    models = SimpleNamespace(root=tmp_path, device="cpu", profile=profile, model_hash=str)
    items = [(suite.cases[0], png(picture)) for picture in PICTURES]
    with Store(tmp_path / "store") as store:
        before = Scorer(suite, plain, models, store, load=lambda: oracle)
        scorer = Scorer(suite, profile, models, store, load=lambda: oracle)

        bare, found = before.score(items), scorer.score(items)

        assert before.identity != scorer.identity
        for old, new in zip(bare, found, strict=True):
            assert {**old, "aesthetics": new["aesthetics"]} == dict(new)
        assert found[0]["aesthetics"].details["delta"] == pytest.approx(
            (found[0]["aesthetics"].raw or 0) - found[0]["aesthetics"].details["references"]
        )
        again = Scorer(suite, profile, models, store, load=lambda: oracle)
        assert again.identity == scorer.identity and again.score(items) == found


# --- harness score ----------------------------------------------------------------------------------------------------


@pytest.mark.real
def test_a_folder_is_rated_with_what_cannot_be_read(tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(ROOT)
    folder = tmp_path / "pictures"
    folder.mkdir()
    render(ALDAR, WorldScene(), 1).save(folder / "aldar.png")
    FAULTS["blur"](render(ALDAR, WorldScene(), 2), 0.9, np.random.default_rng(0)).save(folder / "soft.png")
    Image.new("RGB", (96, 96), "red").save(folder / "red.png")
    (folder / "broken.png").write_bytes(b"<html>not found</html>")
    references = str(ROOT / "references" / "aldar_kose")

    assert call("score", str(folder), "--reference", references, "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert call("score", str(folder)) == 0
    table = capsys.readouterr().out

    found = {picture["name"]: picture for picture in record["pictures"]}
    assert found["aldar.png"]["aesthetics"] > found["soft.png"]["aesthetics"] + 1
    assert found["aldar.png"]["likeness"] > 0.8 > found["red.png"]["likeness"]
    assert found["aldar.png"]["faults"] == [] and "blurred" in found["soft.png"]["faults"][0]
    assert "blank" in found["red.png"]["faults"][0]
    assert record["unreadable"] == {"broken.png": "not a picture"} and record["faulty"] == 2
    assert "could not be read: broken.png: not a picture" in table and "note: without --reference" in table
