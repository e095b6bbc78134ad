"""What a training sees and hears: buckets, cuts, masks, phrases, noise levels, and what follows from the set."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from harness.commands.train import read_pairs
from harness.config.profile import load_profile
from harness.config.training import TrainingEntry
from harness.core.errors import ReferencesError, UsageError
from harness.core.values import Vocabulary
from harness.models.lora.train_config import TrainConfig, config_from
from harness.scoring.references.loading import picture_files
from harness.training.auto import ASIDE, LENGTH, PRESETS, Circumstances, choose, combine, find_spread
from harness.training.batch_sampling import draw, look
from harness.training.buckets import choose_bucket, make_buckets, make_cuts, mirror
from harness.training.data import Item, TrainingSet, View
from harness.training.losses import picture_error
from harness.training.prompt_encoding import phrasings, prompts_about_others

ROOT = Path(__file__).resolve().parent.parent
PLAIN = TrainConfig(batch=8, prior_weight=0.0)


def save(folder: Path, size: tuple[int, int], name: str = "01.png", mode: str = "RGB", colour: Any = "red") -> Path:
    Image.new(mode, size, colour).save(folder / name)
    return folder / name


# --- buckets and cuts -------------------------------------------------------------------------------------------------


def test_buckets_have_one_area_and_come_both_ways() -> None:
    buckets = make_buckets((1024, 1024), 64)

    assert {(1024, 1024), (832, 1216), (1216, 832), (768, 1344), (512, 2048)} <= set(buckets)
    assert set(buckets) == {(height, width) for width, height in buckets}
    assert all(0.9 <= width * height / 1024**2 <= 1 and width % 64 == height % 64 == 0 for width, height in buckets)


def test_a_picture_gets_the_bucket_of_its_shape() -> None:
    buckets = make_buckets((1024, 1024), 64)

    assert choose_bucket((1920, 1080), buckets) == (1344, 768)
    assert choose_bucket((600, 600), buckets) == (1024, 1024)
    assert choose_bucket((500, 5000), buckets) == (512, 2048)


def test_the_first_cut_covers_the_size_from_the_middle(tmp_path: Path) -> None:
    (cut,) = make_cuts(save(tmp_path, (200, 100), mode="RGBA", colour=(0, 0, 0, 0)), PLAIN, (64, 64))

    assert cut.image.size == (64, 64) and cut.image.getpixel((3, 3)) == (255, 255, 255)
    assert cut.ids == (100, 200, 0, 32, 64, 64)


def test_with_buckets_nothing_of_a_wide_picture_is_cut_off(tmp_path: Path) -> None:
    config = replace(PLAIN, buckets=True, bucket_step=8)

    (cut,) = make_cuts(save(tmp_path, (180, 120)), config, (96, 96))

    assert cut.image.size == (112, 80) and cut.ids == (120, 180, 0, 4, 80, 112)


def test_further_cuts_lie_elsewhere_and_say_where(tmp_path: Path) -> None:
    config = replace(PLAIN, crops=4)
    path = save(tmp_path, (200, 100))

    cuts = make_cuts(path, config, (64, 64))

    assert len({cut.ids for cut in cuts}) == 4 and cuts[0].ids == (100, 200, 0, 32, 64, 64)
    assert [cut.ids for cut in make_cuts(path, config, (64, 64))] == [cut.ids for cut in cuts]
    assert all(0 <= cut.ids[3] <= cut.room for cut in cuts)


def test_a_mirrored_cut_is_told_by_its_place_in_the_mirrored_picture(tmp_path: Path) -> None:
    cuts = make_cuts(save(tmp_path, (200, 100)), replace(PLAIN, crops=2, flip=True), (64, 64))

    assert len(cuts) == 4
    assert cuts[3].ids[3] == cuts[1].room - cuts[1].ids[3]
    assert mirror(mirror(cuts[1])).ids == cuts[1].ids


# --- masks ------------------------------------------------------------------------------------------------------------


def test_a_mask_beside_the_picture_is_no_picture_and_counts(tmp_path: Path) -> None:
    path = save(tmp_path, (64, 64))
    mask = Image.new("L", (64, 64), 0)
    mask.paste(255, (0, 0, 32, 64))
    mask.save(tmp_path / "01.mask.png")

    (cut,) = make_cuts(path, replace(PLAIN, background_weight=0.1), (64, 64))
    (unmasked,) = make_cuts(path, PLAIN, (64, 64))

    assert picture_files(tmp_path) == [path]
    assert cut.mask is not None and (cut.mask.getpixel((5, 5)), cut.mask.getpixel((60, 5))) == (255, 0)
    assert unmasked.mask is None


def test_transparency_is_a_mask_too(tmp_path: Path) -> None:
    path = save(tmp_path, (64, 64), mode="RGBA", colour=(255, 0, 0, 128))

    (cut,) = make_cuts(path, replace(PLAIN, background_weight=0.0), (64, 64))

    assert cut.mask is not None and cut.mask.getpixel((9, 9)) == 128


def test_a_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    save(tmp_path, (32, 64), "01.mask.png", "L", 255)

    with pytest.raises(ReferencesError, match="make them equal"):
        make_cuts(save(tmp_path, (64, 64)), replace(PLAIN, background_weight=0.5), (64, 64))


def test_only_what_the_mask_lets_through_is_wrong() -> None:
    import torch

    wrong, right = torch.ones(1, 4, 2, 2), torch.zeros(1, 4, 2, 2)
    mask = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])
    half = wrong.clone()
    half[..., 0, 0] = 0

    assert picture_error(wrong, right, mask).item() == 1
    assert picture_error(half, right, mask).item() == 0
    assert picture_error(half, right).item() == 0.75


# --- captions ---------------------------------------------------------------------------------------------------------


def test_phrases_are_shuffled_behind_the_trigger() -> None:
    config = replace(PLAIN, caption_shuffle=True)

    found = phrasings("smiling, aldar kose, steppe, staff", "aldar kose", config, "01.png")

    assert found[0] == "smiling, aldar kose, steppe, staff" and len(set(found)) > 3
    assert all(text.startswith("aldar kose, ") for text in found[1:])
    assert all(sorted(text.split(", ")) == sorted(found[0].split(", ")) for text in found)
    assert phrasings("aldar kose, smiling", "aldar kose", PLAIN, "01.png") == ("aldar kose, smiling",)


def test_a_dropped_phrase_is_never_the_triggers() -> None:
    found = phrasings("aldar kose, smiling, steppe", "aldar kose", replace(PLAIN, phrase_dropout=0.9), "01.png")

    assert all("aldar kose" in text for text in found) and "aldar kose" in found


def test_prompts_about_others_use_the_profiles_words_and_never_the_trigger() -> None:
    words = {"eyes": Vocabulary({"blue": "blue eyes", "green": "green eyes"})}

    assert set(prompts_about_others(words, TrainConfig())) == {"a person, blue eyes", "a person, green eyes"}
    assert prompts_about_others(words, TrainConfig(prior_prompts="captions")) == ()
    assert prompts_about_others({}, TrainConfig()) == () == prompts_about_others(words, PLAIN)


# --- chance -----------------------------------------------------------------------------------------------------------


def items(*shapes: tuple[int, int]) -> tuple[Item, ...]:
    import torch

    return tuple(
        Item(f"{number}", (View(torch.zeros(4, *shape), torch.zeros(6)),), ("said",), "unsaid")
        for number, shape in enumerate(shapes)
    )


def test_a_step_holds_one_shape_and_each_picture_comes_as_often_as_it_should() -> None:
    data = TrainingSet(items((4, 4), (4, 4), (2, 8)))
    seen: Counter[int] = Counter()

    for step in range(600):
        chance = draw(PLAIN, step, data, 1000)
        seen.update(chance.rows.tolist())
        assert len({data.items[row].shape for row in chance.rows.tolist()}) == 1
        assert look(data, chance).latents.shape == chance.noise.shape

    assert all(abs(count / 4800 - 1 / 3) < 0.06 for count in seen.values())


def test_noise_levels_follow_the_configuration() -> None:
    import torch

    data = TrainingSet(items((4, 4)))

    def times(**changes: Any) -> Any:
        config = replace(PLAIN, batch=500, **changes)
        return torch.cat([draw(config, step, data, 1000).times for step in range(4)]).double() / 1000

    uniform, normal = times(), times(timesteps="logit_normal")
    assert abs(uniform.mean() - 0.5) < 0.03 and abs(uniform.std() - 0.29) < 0.02
    assert abs(normal.mean() - 0.5) < 0.03 and abs(normal.std() - 0.21) < 0.02
    for shape in ("uniform", "logit_normal"):
        assert times(timesteps=shape, timestep_bias=1.0).mean() > 0.6
        assert times(timesteps=shape, timestep_bias=-1.0).mean() < 0.4
    assert uniform.min() >= 0 and normal.max() < 1


# --- what follows from the set ----------------------------------------------------------------------------------------


def test_every_choice_says_why() -> None:
    choice = choose({}, Circumstances(12, spread=0.5, memory=80.0))

    assert (choice.config.batch, choice.config.rank, choice.config.steps) == (4, 16, 300)
    assert [reason.split(":")[0] for reason in choice.reasons] == [
        "batch 4",
        "rank 16",
        "learning rate 0.0001",
        "300 steps",
    ]
    assert "vary widely" in choice.reasons[-1]


@pytest.mark.parametrize(
    ("memory", "batch", "accumulate", "checkpointed"),
    [(8.0, 1, 4, True), (12.0, 4, 1, True), (16.0, 1, 4, False), (24.0, 2, 2, False), (80.0, 4, 1, False)],
)
def test_a_small_card_gets_small_passes(memory: float, batch: int, accumulate: int, checkpointed: bool) -> None:
    config = choose({}, Circumstances(12, memory=memory)).config

    assert (config.batch, config.accumulate, config.gradient_checkpointing) == (batch, accumulate, checkpointed)


def test_what_is_given_is_kept() -> None:
    given = {"steps": 7, "batch": 3, "rank": 5, "learning_rate": 3e-4}

    choice = choose(given, Circumstances(12, memory=8.0))

    assert {name: getattr(choice.config, name) for name in given} == given
    assert choice.config.alpha == 5 and choice.reasons == ()


def test_kind_and_count_decide_the_rank() -> None:
    assert choose({}, Circumstances(3)).config.rank == 8
    assert choose({}, Circumstances(30, kind="style")).config.rank == 32
    assert choose({}, Circumstances(30, kind="style")).config.class_word == "a picture"


def test_the_seeds_recipe_is_a_preset() -> None:
    choice = choose({"preset": "seeds"}, Circumstances(12))
    config = choice.config

    assert (config.rank, config.alpha, config.learning_rate, config.steps) == (16, 16, 1e-4, 1000)
    assert choice.reasons[0].startswith("preset seeds: rank 16")
    assert choose({"preset": "seeds", "steps": 5}, Circumstances(12)).config.steps == 5
    for name in PRESETS:
        TrainingEntry.model_validate({"preset": name, **PRESETS[name]})
    with pytest.raises(UsageError, match="did you mean 'seeds'"):
        choose({"preset": "seed"}, Circumstances(12))


def test_the_command_line_wins_over_the_profile() -> None:
    profile = {"rank": 16, "alpha": 32, "learning_rate": 2e-3, "steps": 400}

    assert combine(profile, {"preset": "seeds"})["learning_rate"] == 1e-4
    assert combine(profile, {"rank": 8}) == {"rank": 8, "learning_rate": 2e-3, "steps": 400}
    prodigy = choose(combine(profile, {"optimizer": "prodigy"}), Circumstances(12)).config
    assert prodigy.learning_rate == 1.0


def test_numbers_that_yaml_takes_for_words_are_numbers() -> None:
    pairs = read_pairs(["weight_decay=1e-3", "rank='8'", "learning_rate=1e-4", "steps=4.0", "dora=yes"])
    config = config_from({"weight_decay": "1e-3", "rank": "8", "sampling": {"a.png": "2"}, "alpha": 8})

    assert pairs == {"weight_decay": 0.001, "rank": 8, "learning_rate": 1e-4, "steps": 4, "dora": True}
    assert type(pairs["steps"]) is int
    assert choose(pairs, Circumstances(12)).config.text_learning_rate == 0.5e-4
    assert (config.weight_decay, config.rank, dict(config.sampling)) == (0.001, 8, {"a.png": 2.0})
    assert '"alpha": 8,' in config.to_json(), "records of whole numbers stay the same"
    with pytest.raises(UsageError, match="rank is 'many'"):
        read_pairs(["rank=many"])


def test_spread_is_the_mean_distance_between_pictures() -> None:
    import numpy as np

    assert find_spread(np.array([[1.0, 0.0], [0.0, 1.0]])) == 1.0
    assert find_spread(np.array([[1.0, 0.0]])) is None


# --- the profile's block ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("learning_rat: 1.0e-4", r"training\.learning_rat: unknown key; did you mean 'learning_rate'"),
        ("rank: 0", r"training\.rank: should be greater than 0"),
        ("optimizer: adam", r"training\.optimizer: .*did you mean 'adamw'"),
        ("schedule: cosin", r"training\.schedule: .*did you mean 'cosine'"),
        ("target_modules: atention", r"training\.target_modules: .*did you mean 'attention'"),
        (
            "target_modules: [to_q, to_kk]",
            r"training\.target_modules\[1\]: no layer called 'to_kk'; did you mean 'to_k'",
        ),
        ("preset: seed", r"training\.preset: .*did you mean 'seeds'"),
        ("caption_dropout: 1.5", r"training\.caption_dropout: should be less than 1"),
        ("class_folder: nowhere", r"training\.class_folder: there is no folder"),
        ("bucket_step: 12", r"training\.bucket_step: should be a multiple of 8"),
    ],
)
def test_a_wrong_setting_is_told_with_file_line_and_key(wrong: str, message: str, tmp_path: Path) -> None:
    from harness.core.errors import SuiteError

    (tmp_path / "words.yaml").write_text('templates: ["{}"]\ncategories: {eyes: {values: [blue]}}\n', encoding="utf-8")
    text = "version: 1\nprofile: mine\nmodels: {base: a/b, clip: a/c}\nsize: [64, 64]\ntraits: words.yaml\n"
    text += f"providers: {{base: {{adapter: local}}}}\ntraining:\n  steps: 10\n  {wrong}\n"
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")

    with pytest.raises(SuiteError, match=message) as caught:
        load_profile("mine.yaml", tmp_path)

    assert caught.value.line == 9


def test_every_setting_can_be_given_in_a_profile() -> None:
    assert set(TrainConfig().to_record()) | set(ASIDE) | LENGTH == set(
        TrainingEntry.model_fields
    )  # epochs become steps
    assert config_from({"target_modules": "all"}).target_modules[-1] == "conv"
