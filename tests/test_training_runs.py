"""How a run goes: killed and resumed, in several passes, processes and precisions, with each optimizer, watched."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from harness.config.local_options import Scheduling
from harness.core.errors import UsageError
from harness.core.values import Subject, Vocabulary
from harness.models.lora.convert import Style, export_file
from harness.models.lora.export import read_facts, read_tensors
from harness.models.lora.file import read_lora
from harness.models.lora.train_config import TrainConfig
from harness.training.batch_sampling import draw
from harness.training.distributed import ProcessGroup
from harness.training.loop import Loop, Setup, Trained
from harness.training.losses import snr_weights
from harness.training.optimizers import make_optimizer, rate_factor, set_rates
from harness.training.state import STATE
from harness.training.trainer import prepare, train, training_place
from tests.tiny import make_context, save_subject

ROOT = Path(__file__).resolve().parent.parent
SMALL = TrainConfig(
    steps=4, batch=2, rank=4, alpha=4, learning_rate=2e-3, warmup=0, checkpoint_every=2, validate_every=2, prior_every=2
)
PLAIN = Scheduling()
VELOCITY = Scheduling(
    "euler", {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
)
WORDS = {"eyes": Vocabulary({"blue": "blue eyes", "green": "green eyes"}), "place": Vocabulary({"city": "city"})}


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    return save_subject(tmp_path)


def make_loop(
    tiny: Path, subject: Subject, work: Path, config: TrainConfig, scheduling: Scheduling = PLAIN, **changes: Any
) -> Loop:
    context = make_context(tiny, vocabulary=WORDS, scheduling=scheduling)
    _, dtype = training_place(config, context.models)
    ready = prepare(config, subject, context.profile, context.models, dtype, ProcessGroup(), work)
    setup = Setup(config, ready.data, ready.texts, ready.models, ready.schedule, dtype, work, "", {})
    return Loop(replace(setup, **changes))


def run(
    tiny: Path, subject: Subject, out: Path, config: TrainConfig, scheduling: Scheduling = PLAIN, **options: Any
) -> Trained:
    context = make_context(tiny, vocabulary=WORDS, scheduling=scheduling)
    return train(config, subject, context.profile, context.models, out, **options)


# --- killed and resumed -----------------------------------------------------------------------------------------------


def test_killed_ten_times_it_ends_with_the_same_bits(tiny: Path, subject: Subject, tmp_path: Path) -> None:
    import torch

    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / "tests" / "killed.py"), str(tiny), str(subject.references), str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT, timeout=300)

    assert done.returncode == 0, done.stderr[-2000:]
    assert "killed 10 times" in done.stdout
    for name in ("broken.work/" + STATE, "broken.safetensors"):
        broken, facts = read_tensors(tmp_path / name)
        whole, expected = read_tensors(tmp_path / name.replace("broken", "whole"))
        assert broken.keys() == whole.keys() and all(torch.equal(broken[key], whole[key]) for key in broken)
        assert facts.get("losses") == expected.get("losses") and facts.get("validation") == expected.get("validation")


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": "prodigy", "learning_rate": 1.0},
        {"dtype": "float16", "accumulate": 2},
        {"text_encoders": "both", "schedule": "linear", "dora": True},
        {"class_pictures": 2},
    ],
    ids=",".join,
)
def test_every_kind_of_state_is_taken_up_again(
    changes: dict[str, Any], tiny: Path, subject: Subject, tmp_path: Path
) -> None:
    import torch

    config = replace(SMALL, **changes)
    whole = make_loop(tiny, subject, tmp_path / "whole", config)
    whole.finish(tmp_path / "whole.safetensors")
    first = make_loop(tiny, subject, tmp_path / "parts", config)
    for step in range(2):
        first.step(step)
    first.keep(2)

    second = make_loop(tiny, subject, tmp_path / "parts", config)
    second.finish(tmp_path / "parts.safetensors")

    assert all(torch.equal(whole.weights[key], second.weights[key]) for key in whole.weights)
    states = [read_tensors(tmp_path / name / STATE) for name in ("whole", "parts")]
    assert all(torch.equal(states[0][0][key], states[1][0][key]) for key in states[0][0])
    for name in ("optimizer", "scaler"):
        assert json.loads(states[0][1][name]) == json.loads(states[1][1][name])


def test_each_checkpoint_is_told_once_and_lies_there_when_it_is(tiny: Path, subject: Subject, tmp_path: Path) -> None:
    """Whoever stops the training at such a line loses no step."""
    told: list[tuple[str, bool]] = []

    def listen(line: str) -> None:
        if line.startswith("training "):
            step = line.split()[1].partition("/")[0]
            told.append((step, (tmp_path / f"a.work/step-{int(step):06d}.safetensors").exists()))

    run(tiny, subject, tmp_path / "a.safetensors", SMALL, progress=listen)

    assert [(step, kept) for step, kept in told if int(step) % 2 == 0] == [("2", True), ("4", True)]
    assert len(told) == len(set(told)), "no step is told twice"


# --- passes, processes, precisions ------------------------------------------------------------------------------------


def test_passes_add_up_to_a_larger_batch(tiny: Path, subject: Subject, tmp_path: Path) -> None:
    whole = make_loop(tiny, subject, tmp_path / "a", replace(SMALL, batch=4))
    parts = make_loop(tiny, subject, tmp_path / "b", replace(SMALL, batch=1, accumulate=4))

    losses = [[float(loop.step(step)) for step in range(3)] for loop in (whole, parts)]

    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    for key, weight in whole.weights.items():
        assert (weight - parts.weights[key]).detach().abs().max() < 2e-4, key


def test_two_processes_learn_what_one_learns_from_twice_the_batch(tiny: Path, subject: Subject, tmp_path: Path) -> None:
    script = tmp_path / "both.py"
    script.write_text(
        "import sys\nfrom dataclasses import replace\nfrom pathlib import Path\n"
        "from harness.core.values import Subject\nfrom tests.test_training_runs import SMALL, run\n"
        f"subject = Subject('Aldar Kose', 'aldar kose', Path({str(subject.references)!r}))\n"
        f"run(Path({str(tiny)!r}), subject, Path({str(tmp_path / 'both.safetensors')!r}), replace(SMALL, batch=1))\n",
        encoding="utf-8",
    )
    # what `accelerate launch` runs for several cards; for processors it starts a single process
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(script)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT, timeout=300)
    alone = run(tiny, subject, tmp_path / "alone.safetensors", SMALL)

    assert done.returncode == 0, done.stderr[-3000:]
    both, one = read_tensors(tmp_path / "both.safetensors")[0], read_tensors(alone.path)[0]
    worst = max(float((both[key].float() - one[key].float()).abs().max()) for key in one)
    assert worst < 1e-3


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_learns_nearly_the_same(dtype: str, tiny: Path, subject: Subject, tmp_path: Path) -> None:
    whole = make_loop(tiny, subject, tmp_path / "a", SMALL)
    half = make_loop(tiny, subject, tmp_path / "b", replace(SMALL, dtype=dtype))

    losses = [float(loop.step(0)) for loop in (whole, half)]

    assert losses[0] == pytest.approx(losses[1], rel=0.05)
    assert half.state.scaler.is_enabled() is (dtype == "float16")
    assert all(str(weight.dtype) == "torch.float32" for weight in half.weights.values())


def test_checkpointing_and_layout_change_no_gradient(tiny: Path, subject: Subject, tmp_path: Path) -> None:
    plain = make_loop(tiny, subject, tmp_path / "a", SMALL)
    other = make_loop(tiny, subject, tmp_path / "b", replace(SMALL, gradient_checkpointing=True, channels_last=False))

    losses = [[float(loop.step(step)) for step in range(2)] for loop in (plain, other)]

    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


# --- optimizers and schedules -----------------------------------------------------------------------------------------


def test_the_rate_follows_the_schedule() -> None:
    config = TrainConfig(steps=10, warmup=2)
    rates = {
        name: [rate_factor(step, replace(config, schedule=name)) for step in range(11)]
        for name in ("cosine", "constant", "linear")
    }

    assert all(rate[:3] == [0.5, 1.0, 1.0] for rate in rates.values())
    assert set(rates["constant"][1:]) == {1.0}
    assert rates["linear"][6] == 0.5 and rates["linear"][10] == 0
    assert rates["cosine"][6] == pytest.approx(0.5) and rates["cosine"][10] == pytest.approx(0)


def test_prodigy_finds_a_rate() -> None:
    import torch

    config = TrainConfig(optimizer="prodigy", learning_rate=1.0, schedule="constant", warmup=0)
    weight = torch.nn.Parameter(torch.full((4,), 5.0))
    optimizer = make_optimizer(config, [weight], [], "cpu")

    for step in range(150):
        set_rates(optimizer, step, config)
        optimizer.zero_grad()
        weight.square().sum().backward()
        optimizer.step()

    assert optimizer.param_groups[0]["d"] > 1e-3
    assert weight.detach().abs().max() < 1


def test_eight_bits_without_their_package_are_an_error_with_the_command(
    tiny: Path, subject: Subject, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"adamw8bit needs (bitsandbytes; `pip install|a CUDA card)"):
        make_loop(tiny, subject, tmp_path / "a", replace(SMALL, optimizer="adamw8bit"))


# --- v-prediction -----------------------------------------------------------------------------------------------------


def test_what_the_profile_says_of_the_noise_is_learnt_as_if_the_checkpoint_said_it(
    tiny: Path, subject: Subject, tmp_path: Path
) -> None:
    import torch

    shutil.copytree(tiny, tmp_path / "base")
    file = tmp_path / "base" / "sdxl" / "scheduler" / "scheduler_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **VELOCITY.options}), encoding="utf-8")
    config = replace(SMALL, class_pictures=2, prior_every=2)
    own = make_loop(tmp_path / "base", subject, tmp_path / "a", config)
    said = make_loop(tiny, subject, tmp_path / "b", config, VELOCITY)
    plain = make_loop(tiny, subject, tmp_path / "c", config)

    drawn = [[item.views[0].latents for item in loop.data.strangers] for loop in (own, said, plain)]
    losses = [[loop.validate(), *(float(loop.step(step)) for step in range(2))] for loop in (own, said, plain)]

    assert losses[0] == losses[1] and losses[0][:2] != losses[2][:2]
    assert all(torch.equal(first, second) for first, second in zip(drawn[0], drawn[1], strict=True))
    assert not torch.equal(drawn[0][0], drawn[2][0]), "the pictures of others are drawn like all others"
    weights = snr_weights(said.schedule, torch.tensor([0, 500, 999]), 5.0)
    assert weights.isfinite().all() and weights[2] == 0, "the last level is noise alone"


def test_a_state_of_another_noise_schedule_is_dropped(tiny: Path, subject: Subject, tmp_path: Path) -> None:
    lines: list[str] = []
    first = run(tiny, subject, tmp_path / "a.safetensors", SMALL, work=tmp_path / "work")

    second = run(
        tiny, subject, tmp_path / "b.safetensors", SMALL, VELOCITY, work=tmp_path / "work", progress=lines.append
    )

    assert not any("resumed" in line for line in lines)
    name = "modelspec.prediction_type"
    assert [read_facts(made.path).metadata[name] for made in (first, second)] == ["epsilon", "v"]
    export_file(read_lora(second.path), tmp_path / "c.safetensors", Style("kohya"))
    assert read_facts(tmp_path / "c.safetensors").metadata[name] == "v"


def test_a_base_that_predicts_pictures_is_refused(tiny: Path, subject: Subject, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="prediction_type is 'sample'"):
        make_loop(tiny, subject, tmp_path / "a", SMALL, Scheduling("euler", {"prediction_type": "sample"}))


# --- priors and validation --------------------------------------------------------------------------------------------


def test_a_prior_step_is_about_others_and_costs_nothing_before_anything_is_learnt(
    tiny: Path, subject: Subject, tmp_path: Path
) -> None:
    loop = make_loop(tiny, subject, tmp_path / "a", SMALL)
    chance = draw(SMALL, 1, loop.data, 1000)

    assert set(loop.data.others) == {"a person, blue eyes, city", "a person, green eyes, city"}
    assert chance.prior and loop.loss(chance).item() == 0


def test_the_base_draws_the_pictures_of_others_once(tiny: Path, subject: Subject, tmp_path: Path) -> None:
    config = replace(SMALL, class_pictures=3)
    loop = make_loop(tiny, subject, tmp_path / "a", config)
    again = make_loop(tiny, subject, tmp_path / "a", config)

    assert [item.name for item in loop.data.strangers] == ["class-0", "class-1", "class-2"]
    assert {item.unsaid for item in loop.data.strangers} <= set(loop.data.others)
    for old, new in zip(loop.data.strangers, again.data.strangers, strict=True):
        assert (old.views[0].latents == new.views[0].latents).all()
    assert draw(config, 1, loop.data, 1000).noise.shape[1:] == loop.data.strangers[0].shape


def test_a_folder_of_others_is_used_for_prior_steps(tiny: Path, subject: Subject, tmp_path: Path) -> None:
    folder = tmp_path / "others"
    folder.mkdir()
    Image.new("RGB", (32, 32), "green").save(folder / "tree.png")

    loop = make_loop(tiny, subject, tmp_path / "a", replace(SMALL, class_folder=str(folder)))

    assert [(item.name, item.unsaid) for item in loop.data.strangers] == [("tree.png", "a person")]


def test_the_held_out_loss_is_a_curve_that_changes_no_weight(tiny: Path, subject: Subject, tmp_path: Path) -> None:
    watched = run(tiny, subject, tmp_path / "a.safetensors", SMALL)
    blind = run(tiny, subject, tmp_path / "b.safetensors", replace(SMALL, validate_every=0))

    assert [step for step, _ in watched.validation] == [2, 4] and blind.validation == ()
    assert all(loss > 0 for _, loss in watched.validation)
    first, second = read_tensors(watched.path)[0], read_tensors(blind.path)[0]
    assert all((first[key] == second[key]).all() for key in first)


def test_the_held_out_loss_is_the_same_for_the_same_weights(tiny: Path, subject: Subject, tmp_path: Path) -> None:
    loop = make_loop(tiny, subject, tmp_path / "a", SMALL)

    before = loop.validate()

    assert loop.validate() == before
    loop.step(0)
    assert loop.validate() != before
