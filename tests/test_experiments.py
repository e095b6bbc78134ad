"""Experiments: a matrix is trained, drawn and compared; a stopped one goes on; effects are found where they are."""

from __future__ import annotations

import json
from collections.abc import Hashable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.commands.cli import main
from harness.config.local_options import Scheduling
from harness.core.errors import UsageError
from harness.studies.compare import ComparisonSetup
from harness.studies.effects import Trial, main_effects
from harness.studies.experiment import read_matrix, train_cell
from tests.support import ROOT
from tests.tiny import make_context, make_suite, save_subject

CASES = [f"case-{number}" for number in range(12)]


def trials(levels: dict[str, list[float]], noise: float, luck: float = 0.0, seed: int = 0) -> list[Trial]:
    """All combinations of factors whose levels add so much to the quality; `luck` is each training's own."""
    import itertools

    rng = np.random.default_rng(seed)
    hard = {case: rng.normal(0, 0.1) for case in CASES}
    made = []
    for chosen in itertools.product(*(range(len(values)) for values in levels.values())):
        gain = sum(values[place] for values, place in zip(levels.values(), chosen, strict=True)) + rng.normal(0, luck)
        values: dict[tuple[Hashable, Hashable], float] = {
            (case, n): 0.6 + hard[case] + gain + rng.normal(0, noise) for case in CASES for n in range(2)
        }
        made.append(Trial(dict(zip(levels, chosen, strict=True)), values))
    return made


def test_the_factor_that_matters_is_found_and_the_other_is_not() -> None:
    effects = main_effects(trials({"rank": [0, 0.1], "steps": [0, 0]}, noise=0.02), margin=0.02)

    found = {effect.factor: effect for effect in effects}
    assert found["rank"].word == "improved" and abs(found["rank"].gap.mean - 0.1) < 0.02
    assert found["steps"].word == "unchanged" and (found["steps"].gap.low or 0) < 0 < (found["steps"].gap.high or 0)
    assert (found["rank"].level, found["rank"].against, found["rank"].gap.n) == (1, 0, 12)


def test_each_level_is_held_against_the_first() -> None:
    effects = main_effects(trials({"rank": [0, 0.1, -0.1]}, noise=0.01), margin=0.02)

    assert [(effect.level, effect.word) for effect in effects] == [(1, "improved"), (2, "regressed")]


def test_the_luck_of_a_training_is_not_taken_for_a_setting() -> None:
    """Many cases prove a difference of two files; only several trainings prove one of two settings."""
    wrong = 0
    for seed in range(40):
        lucky = trials({"rank": [0, 0], "seed": [0] * 5}, noise=0.01, luck=0.1, seed=seed)
        wrong += main_effects(lucky, margin=0.02)[0].word in ("improved", "regressed")

    assert wrong <= 5


def test_a_trial_without_a_partner_says_nothing() -> None:
    made = trials({"rank": [0, 0.1], "steps": [0, 0]}, noise=0.02)

    assert [effect.factor for effect in main_effects([made[0], made[3]], margin=0.02)] == []


# --- the matrix -----------------------------------------------------------------------------------------------------


def test_a_matrix_is_read_with_its_kinds(tmp_path: Path) -> None:
    matrix = read_matrix(
        ["rank=4,16", "learning_rate=1e-4,3e-4", "dora=true,false", f"references={tmp_path},{ROOT}"], 2
    )

    assert matrix["rank"] == (4, 16) and matrix["learning_rate"] == (1e-4, 3e-4) and matrix["dora"] == (True, False)
    words = read_matrix(["weight_decay=1e-3,1e-2", "optimizer=adamw,prodigy"])
    assert words["weight_decay"] == (1e-3, 1e-2) and words["optimizer"] == ("adamw", "prodigy")
    assert matrix["seed"] == (0, 1) and matrix["references"] == (tmp_path.resolve().as_posix(), ROOT.as_posix())


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["rnak=4,16"], "did you mean 'rank'"),
        (["rank"], "NAME=VALUE"),
        (["rank=4,4"], "twice"),
        (["rank=4", "rank=8"], "twice"),
        (["rank=4"], "1 combinations; 2 to 64"),
        (["rank=0,4"], "rank"),
        (["rank=many,4"], "rank"),
        (["references=nowhere,here"], "there is no folder"),
    ],
)
def test_a_wrong_matrix_is_refused_before_anything_is_trained(texts: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_matrix(texts)


def test_another_noise_schedule_or_mask_is_another_training(tiny: Path, tmp_path: Path) -> None:
    suite = replace(make_suite("aldar kose, city"), subject=save_subject(tmp_path))
    velocity = Scheduling("euler", {"prediction_type": "v_prediction"})

    def train(scheduling: Scheduling) -> Path:
        context = make_context(tiny, scheduling=scheduling)
        bench = ComparisonSetup(suite, context.profile, replace(context.settings, store=tmp_path / "store"), "lora")
        given = {"steps": 1, "batch": 1, "rank": 2, "validate_every": 0, "background_weight": 0.1}
        return train_cell(bench, {}, context.models, given, lambda line: None).lora

    first, other, again = (train(scheduling) for scheduling in (Scheduling(), velocity, velocity))
    Image.new("L", (40, 48), 255).save(tmp_path / "references" / "train" / "00.mask.png")

    assert first != other == again and train(Scheduling()) not in (first, other)


# --- the whole ------------------------------------------------------------------------------------------------------


def quick_profile(folder: Path) -> Path:
    """The embedded profile with two steps a picture."""
    text = (ROOT / "suites" / "profiles" / "embedded.yaml").read_text(encoding="utf-8")
    place = (ROOT / "suites" / "profiles").as_posix()
    text = text.replace("steps: 20", "steps: 2").replace("traits: traits", f"traits: {place}/traits")
    file = folder / "quick.yaml"
    file.write_text(text.replace("impostors: ../..", f"impostors: {place}/../.."), encoding="utf-8")
    return file


def test_an_experiment_is_trained_drawn_compared_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    options = ["--profile", str(quick_profile(tmp_path)), "--store", str(tmp_path / "store"), "--samples", "1"]
    options += ["--set", "batch=1", "--set", "validate_every=0", "--json", str(tmp_path / "result.json")]

    def run(*matrix: str) -> tuple[dict[str, Any], str, str]:
        assert main(["experiment", "suites/smoke.yaml", *matrix, *options]) == 0
        said = capsys.readouterr()
        return json.loads((tmp_path / "result.json").read_text()), said.out, said.err

    first, table, told = run("--matrix", "rank=2,4", "--set", "steps=2")
    again, _, more = run("--matrix", "rank=2,4", "--matrix", "steps=2,3")

    assert [cell["settings"] for cell in first["cells"]] == [{"rank": 2}, {"rank": 4}]
    assert [cell["config"]["rank"] for cell in first["cells"]] == [2, 4] and first["effects"][0]["factor"] == "rank"
    assert "[2/2] rank 4: " in told and "against" in table and "--repeats 3" in table
    assert more.count("trained before") == 2, "the two of the first experiment are found again"
    assert len(again["cells"]) == 4 and {effect["factor"] for effect in again["effects"]} == {"rank", "steps"}
    assert all(0 <= cell["quality"] <= 1 for cell in again["cells"])
    assert len(list((tmp_path / "store" / "experiments").glob("*/trial.json"))) == 4
