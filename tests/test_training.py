"""Training on tiny random models of the real classes: it learns, it resumes to the bit, and its file loads anywhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.config.prompts.trigger import with_trigger
from harness.core.errors import EngineError, LoraError, UsageError
from harness.core.values import Interval, Lora, Subject, Suite
from harness.judging.feedback import Feedback, Shortfall
from harness.models.lora.export import read_facts, read_tensors
from harness.models.lora.train_config import TrainConfig, changes, config_from, validate
from harness.training.adapter import without_lora
from harness.training.auto import combine, config_for
from harness.training.batch_sampling import draw, is_prior
from harness.training.data import Item, TrainingSet, View, train_pictures
from harness.training.distributed import ProcessGroup
from harness.training.improve.plan import FROM_TOO_MUCH, Learner, plan_from_feedback
from harness.training.loop import Loop, Setup, Trained, curve
from harness.training.optimizers import rate_factor
from harness.training.prompt_encoding import without_trigger
from harness.training.state import STATE
from harness.training.trainer import prepare, train, training_place
from tests.tiny import make_context, make_suite, save_subject

ROOT = Path(__file__).resolve().parent.parent
SMALL = TrainConfig(steps=8, batch=2, rank=4, alpha=4, learning_rate=5e-3, warmup=2, checkpoint_every=4, prior_every=3)


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    """Four flat train pictures and some held-out ones, one picture without a caption."""
    return save_subject(tmp_path, train=6, uncaptioned=[0])


def run(tiny: Path, subject: Subject, out: Path, config: TrainConfig = SMALL, **options: Any) -> Trained:
    context = make_context(tiny)
    return train(config, subject, context.profile, context.models, out, **options)


# --- configuration ------------------------------------------------------------------------------------------------


def test_a_misspelt_setting_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'learning_rate'"):
        config_from({"learning_rat": 1e-4})


@pytest.mark.parametrize(
    "wrong", [{"steps": 0}, {"caption_dropout": 1.0}, {"target_modules": []}, {"sampling": {"a": 0}}]
)
def test_a_setting_out_of_range_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        config_from(wrong)


def test_steps_follow_from_the_number_of_pictures_unless_given() -> None:
    assert config_for({}, pictures=12).steps == 240
    assert config_for({}, pictures=2).steps == 200
    assert config_for({}, pictures=500).steps == 750
    assert config_for({"steps": 7}, pictures=12).steps == 7
    assert config_for({"rank": 8}, pictures=12).alpha == 8


@pytest.mark.parametrize(
    ("block", "steps"),
    [
        ({"epochs": 10, "batch": 4, "prior_weight": 0}, 30),
        ({"epochs": 1, "batch": 5, "prior_weight": 0}, 3),  # 12 pictures: the last step is not full
        ({"epochs": 10, "batch": 4}, 59),
        ({"epochs": 10, "batch": 4, "prior_every": 4}, 39),
        ({"epochs": 10, "batch": 2, "accumulate": 2, "prior_weight": 0}, 30),
        ({"epochs": 10, "batch": 4, "prior_weight": 0, "preset": "quick"}, 30),
    ],
)
def test_epochs_are_how_often_each_picture_is_seen(block: dict[str, Any], steps: int) -> None:
    config = config_for(block, pictures=12)

    own = [step for step in range(config.steps) if not is_prior(step, config)]
    assert config.steps == steps and own[-1] == steps - 1
    assert len(own) * config.samples >= block["epochs"] * 12 > (len(own) - 1) * config.samples


def test_a_length_in_one_unit_replaces_one_in_the_other() -> None:
    assert combine({"steps": 400, "rank": 8}, {"epochs": 3}) == {"epochs": 3, "rank": 8}
    assert combine({"epochs": 3}, {"steps": 400}) == {"steps": 400}
    assert combine({"epochs": 3}, {"rank": 8}) == {"epochs": 3, "rank": 8}
    with pytest.raises(UsageError, match="steps and epochs say the same"):
        validate({"steps": 1, "epochs": 1})
    with pytest.raises(UsageError, match="prior_every 1 leaves no step"):
        config_for({"epochs": 3, "prior_every": 1}, pictures=12)


def test_a_configuration_survives_json() -> None:
    config = replace(SMALL, sampling={"01.png": 2.0})

    assert config_from(config.to_record()) == config
    assert changes(SMALL, config) == {"sampling": [{}, {"01.png": 2.0}]}


def test_the_rate_warms_up_and_falls_to_zero() -> None:
    rates = [SMALL.learning_rate * rate_factor(step, SMALL) for step in range(SMALL.steps + 1)]

    assert max(rates) == SMALL.learning_rate == rates[SMALL.warmup]
    assert rates[0] == SMALL.learning_rate / 2 and rates[-1] < 1e-9


def test_every_third_step_is_a_prior_step_unless_it_weighs_nothing() -> None:
    assert [step for step in range(8) if is_prior(step, SMALL)] == [2, 5]
    assert not any(is_prior(step, replace(SMALL, prior_weight=0)) for step in range(8))


# --- data ---------------------------------------------------------------------------------------------------------


def test_the_trigger_opens_a_caption_that_lacks_it() -> None:
    assert with_trigger("smiling", "aldar kose") == "aldar kose, smiling"
    assert with_trigger("", "aldar kose") == "aldar kose"
    assert with_trigger("Aldar Kose, smiling", "aldar kose") == "Aldar Kose, smiling"
    assert without_trigger("Aldar Kose, smiling", "aldar kose", "a person") == "a person, smiling"
    assert without_trigger("aldar kose, smiling", "aldar kose", "") == "smiling"


def test_only_the_train_split_is_learnt_from(subject: Subject) -> None:
    pictures = train_pictures(subject)

    assert len(pictures) == 6 and {picture.path.parent.name for picture in pictures} == {"train"}
    assert [picture.caption for picture in pictures[:2]] == ["aldar kose", "aldar kose, smiling, steppe background"]


def test_heavier_pictures_are_drawn_more_often() -> None:
    import torch

    view = View(torch.zeros(4, 4, 4), torch.zeros(6))
    data = TrainingSet(tuple(Item(name, (view,), ("x",), "y") for name in "ab"))
    config = replace(SMALL, batch=64, sampling={"b": 3.0})

    rows = torch.cat([draw(config, step, data, 1000).rows for step in range(20)])

    assert 0.7 < rows.double().mean() < 0.8


# --- training -----------------------------------------------------------------------------------------------------


def test_a_lora_is_trained_and_says_how(tiny: Path, subject: Subject, tmp_path: Path) -> None:
    lines: list[str] = []

    made = run(tiny, subject, tmp_path / "lora.safetensors", progress=lines.append, command="harness train x")

    facts = read_facts(made.path)
    assert facts.config == SMALL and facts.steps == 8 and facts.keys > 0
    assert facts.metadata["harness.trigger"] == facts.metadata["modelspec.trigger_phrase"] == "aldar kose"
    assert facts.metadata["harness.command"] == "harness train x"
    assert [path.name for path in made.checkpoints] == ["step-000004.safetensors", "step-000008.safetensors"]
    assert made.losses[-1][0] == 8 and lines and "8/8" in lines[-1]


def test_the_file_draws_in_the_shared_pipeline_and_changes_the_picture(
    tiny: Path, subject: Subject, tmp_path: Path
) -> None:
    import numpy as np

    from harness.providers import open_provider

    made = run(tiny, subject, tmp_path / "lora.safetensors", replace(SMALL, learning_rate=0.5))
    local = {name: SimpleNamespace(adapter="local", options={"use": name}) for name in ("lora", "base")}
    context = make_context(tiny, providers=local)
    suite = make_suite("aldar kose, smiling", lora=Lora(made.path))

    drawn = {}
    for name in local:
        provider = open_provider(name, context)
        (drawing,) = provider.draw(provider.requests(suite, suite.cases[0], (0,)))
        drawn[name] = drawing.data

    assert drawn["lora"] and drawn["base"] and not np.array_equal(drawn["lora"], drawn["base"])


def test_it_learns(tiny: Path, subject: Subject, tmp_path: Path) -> None:
    config = replace(SMALL, steps=60, warmup=5, learning_rate=2e-2, checkpoint_every=60, prior_weight=0, snr_gamma=0)

    losses = [loss for _, loss in run(tiny, subject, tmp_path / "lora.safetensors", config).losses]

    assert sum(losses[-20:]) < 0.97 * sum(losses[:20])


def test_a_killed_run_goes_on_and_ends_the_same(tiny: Path, subject: Subject, tmp_path: Path) -> None:
    import torch

    whole = run(tiny, subject, tmp_path / "whole.safetensors", work=tmp_path / "whole")
    work = tmp_path / "broken"
    stop_after(tiny, subject, tmp_path / "broken.safetensors", work)
    assert read_tensors(work / STATE)[1]["step"] == "4"
    lines: list[str] = []
    rest = run(tiny, subject, tmp_path / "broken.safetensors", work=work, progress=lines.append)

    assert "resumed at step 4" in lines
    for name in (STATE, "step-000004.safetensors", "step-000008.safetensors"):
        first, second = read_tensors(tmp_path / "whole" / name)[0], read_tensors(work / name)[0]
        assert first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)
    assert rest.losses == whole.losses
    again = run(tiny, subject, tmp_path / "again.safetensors", work=work)
    assert again.losses == whole.losses


def stop_after(tiny: Path, subject: Subject, out: Path, work: Path) -> None:
    """Run until the first state is on the disk, then stop the way a kill does: without another word."""
    from harness.training import trainer

    class Killed(BaseException):
        pass

    class Mortal(trainer.Loop):
        def step(self, step: int) -> Any:
            if (self.setup.work / STATE).exists():
                raise Killed
            return super().step(step)

    whole, trainer.Loop = trainer.Loop, Mortal  # type: ignore[misc]
    try:
        with pytest.raises(Killed):
            run(tiny, subject, out, work=work)
    finally:
        trainer.Loop = whole  # type: ignore[misc]


def test_a_state_of_other_inputs_is_dropped(tiny: Path, subject: Subject, tmp_path: Path) -> None:
    work = tmp_path / "work"
    run(tiny, subject, tmp_path / "a.safetensors", work=work)
    lines: list[str] = []

    run(tiny, subject, tmp_path / "b.safetensors", replace(SMALL, seed=5), work=work, progress=lines.append)

    assert not any("resumed" in line for line in lines)


def test_a_continued_lora_starts_where_the_other_ended(tiny: Path, subject: Subject, tmp_path: Path) -> None:
    first = run(tiny, subject, tmp_path / "a.safetensors")
    short = replace(SMALL, steps=1, learning_rate=1e-12)

    second = run(tiny, subject, tmp_path / "b.safetensors", short, start_from=first.path)

    before, after = read_tensors(first.path)[0], read_tensors(second.path)[0]
    assert all((before[name] - after[name]).abs().max() < 1e-3 for name in before)
    with pytest.raises(LoraError, match="rank"):
        run(tiny, subject, tmp_path / "c.safetensors", replace(short, rank=2, alpha=2), start_from=first.path)


def test_a_loss_that_is_no_number_stops_the_run(tiny: Path, subject: Subject, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="learning_rate"):
        run(tiny, subject, tmp_path / "a.safetensors", replace(SMALL, learning_rate=1e3, warmup=0, steps=20))

    assert not (tmp_path / "a.safetensors").exists()


def test_curves_are_thinned_to_a_hundred_points() -> None:
    points = curve([float(step) for step in range(950)])

    assert len(points) <= 100 and points[-1][0] == 950 and points[0] == (10, 4.5)


@pytest.mark.real
@pytest.mark.skipif(not (ROOT / "fixtures/models/sdxl/unet").is_dir(), reason="the embedded models are not there yet")
def test_a_short_real_training_brings_the_subject_nearer(tmp_path: Path) -> None:
    import torch

    from harness.config.profile import load_profile
    from harness.models.loading import Models

    profile = load_profile("embedded", ROOT)
    models = Models(profile, SimpleNamespace(root=ROOT))
    subject = Subject("Aldar Kose", "aldar kose", ROOT / "references" / "aldar_kose")
    config = config_for({**profile.training, "steps": 40}, pictures=12)

    made = train(config, subject, profile, models, tmp_path / "lora.safetensors")

    device, dtype = training_place(config, models)
    ready = prepare(config, subject, profile, models, dtype, ProcessGroup(device=device), tmp_path / "none", made.path)
    setup = Setup(config, ready.data, ready.texts, ready.models, ready.schedule, dtype, tmp_path / "none", "", {})
    loop = Loop(setup)
    plain = replace(config, caption_dropout=0.0, prior_weight=0.0)
    chances = [draw(plain, 1000 + number, ready.data, 1000) for number in range(6)]
    with torch.no_grad(), loop.autocast():
        learnt = [float(loop.loss(chance)) for chance in chances]
        with without_lora(ready.models["unet"]):
            before = [float(loop.loss(chance)) for chance in chances]
    assert sum(learnt) < 0.95 * sum(before), f"{learnt} against {before}"


@pytest.mark.real
@pytest.mark.skipif(not (ROOT / "fixtures/models/sdxl/unet").is_dir(), reason="the embedded models are not there yet")
def test_a_base_of_one_file_is_learnt_on_with_the_settings_that_the_profile_names(tmp_path: Path) -> None:
    """As drawing does, although nothing has unpacked the file before."""
    import shutil

    import torch

    from harness.config.profile import load_profile
    from harness.models.loading import Models
    from tests.single_file import write_single_file

    folder = ROOT / "fixtures/models/sdxl"
    shutil.copytree(folder, tmp_path / "settings", ignore=shutil.ignore_patterns("*.safetensors"))
    write_single_file(folder, tmp_path / "world.safetensors")
    profile = replace(load_profile("embedded", ROOT), dtype="float32")
    subject = Subject("Aldar Kose", "aldar kose", ROOT / "references" / "aldar_kose")
    config = config_for({**profile.training, "steps": 1, "warmup": 0}, pictures=12)
    made = list[Path]()
    for base, settings in (("world.safetensors", "settings"), (str(folder), None)):
        here = replace(profile, models=replace(profile.models, base=base, config=settings))
        models = Models(here, SimpleNamespace(root=tmp_path))
        made.append(train(config, subject, here, models, tmp_path / f"{len(made)}.safetensors").path)

    (one, _), (two, _) = map(read_tensors, made)
    assert all(torch.equal(one[name], two[name]) for name in one)


# --- the plan -----------------------------------------------------------------------------------------------------

FULL = TrainConfig(steps=200, batch=8, learning_rate=2e-3, rank=4, alpha=4)
CAPTIONS = {"01.png": "aldar kose, smiling, city background", "02.png": "aldar kose, sad, forest background"}


def suite() -> Suite:
    return make_suite("aldar kose, sad, forest background", "aldar kose, smiling")


def lack(metric: float = 0.0, *, trait: float | None = None, cases: tuple[str, ...] = ()) -> Feedback:
    """Feedback of a provider whose clip is so far below 0.6."""
    metrics = [Shortfall("metric", "clip", Interval(0.6 - metric, None, None, 2), 0.6, True)] if metric else []
    traits = [Shortfall("trait", "eyes: blue", Interval(trait, None, None, 2), 0.6, True)] if trait is not None else []
    failing = [Shortfall("case", name, None, None, True) for name in cases]
    return Feedback("tiny", "lora", 0.4, None, None, None, True, tuple(metrics), tuple(traits), tuple(failing))


def facts(**metadata: str) -> Any:
    from harness.models.lora.export import LoraFacts

    known = {"harness.trigger": "aldar kose", "harness.base": "b", "harness.references": "r", "harness.steps": "200"}
    return LoraFacts(8, {**known, "harness.config": FULL.to_json(), **metadata})


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({"harness.steps": "5"}, "only 40 samples"),
        ({"harness.trigger": "someone"}, "trained for 'someone'"),
        ({"harness.base": "x"}, "another base"),
        ({"harness.references": "x"}, "pictures changed"),
        ({"harness.config": "not ours"}, "does not say how"),
    ],
)
def test_an_unsound_lora_is_trained_from_scratch(metadata: dict[str, str], reason: str) -> None:
    learner = Learner("aldar kose", "r", "b", CAPTIONS)

    plan = plan_from_feedback(lack(0.3), suite(), FULL, learner, Path("a"), facts(**metadata))

    assert plan.start_from is None and plan.config.steps == FULL.steps
    assert reason in plan.reasons[0]


def test_a_sound_lora_is_continued_with_other_weights() -> None:
    learner = Learner("aldar kose", "r", "b", CAPTIONS)

    plan = plan_from_feedback(lack(0.1, trait=0.3, cases=("case-0",)), suite(), FULL, learner, Path("a"), facts())

    assert plan.start_from == Path("a") and plan.config.steps == 80
    assert plan.config.sampling == {"02.png": 3.0}
    assert any("02.png" in reason for reason in plan.reasons) and any("eyes" in reason for reason in plan.reasons)


def test_a_refusal_changes_seed_and_length_within_bounds() -> None:
    learner = Learner("aldar kose", "r", "b", CAPTIONS)

    plan = plan_from_feedback(lack(), suite(), FULL, learner, Path("a"), facts(), refused=9)

    assert plan.start_from is None and plan.config.seed == 9 and plan.config.steps == 300


@pytest.mark.parametrize("metric", ["ssim", "prompt", "aesthetics"])
@pytest.mark.parametrize(("prior", "told"), [(0.5, "the base's prior at 0.75 instead of 0.5"), (1.0, "")])
def test_a_plan_says_only_what_it_changes(prior: float, told: str, metric: str) -> None:
    """What over-training spoils lags: a lower rate, and more of the base's prior where there is more to be had."""
    lagging = Shortfall("metric", metric, Interval(0.2, None, None, 2), 0.6, True)
    feedback, full = replace(lack(), metrics=(lagging,)), replace(FULL, prior_weight=prior)
    known = facts(**{"harness.config": full.to_json()})

    plan = plan_from_feedback(feedback, suite(), full, Learner("aldar kose", "r", "b", CAPTIONS), Path("a"), known)

    said = next(reason for reason in plan.reasons if reason.startswith(FROM_TOO_MUCH[metric]))
    assert said.endswith(told or "a lower rate") and plan.config.prior_weight == min(1.0, prior + 0.25)


def test_a_plan_refuses_to_know_a_locked_case() -> None:
    closed = suite()
    closed = replace(closed, cases=tuple(replace(case, split="locked") for case in closed.cases))

    with pytest.raises(EngineError, match="locked"):
        plan_from_feedback(lack(0.1, cases=("case-0",)), closed, FULL, Learner("a", "r", "b"), None, None)
