"""Captions: where the trigger stands, and what stands there when somebody else is meant."""

from __future__ import annotations

import pytest

from harness.config.prompts.trigger import with_trigger
from harness.models.lora.train_config import TrainConfig
from harness.training.prompt_encoding import phrasings, without_trigger


@pytest.mark.parametrize(
    ("caption", "trigger", "said"),
    [
        ("eating tomatoes in Rome", "toma", "toma, eating tomatoes in Rome"),
        ("a toma_cat", "toma", "toma, a toma_cat"),
        ("Toma's hat", "toma", "Toma's hat"),
        ("томаты", "тома", "тома, томаты"),
        ("", "toma", "toma"),
    ],
)
def test_a_trigger_within_another_word_is_none(caption: str, trigger: str, said: str) -> None:
    assert with_trigger(caption, trigger) == said


@pytest.mark.parametrize(
    ("caption", "trigger", "said"),
    [
        ("toma eats tomatoes, TOMA smiles", "toma", "a man eats tomatoes, a man smiles"),
        ("Aldar Kose, the hat of aldar kose", "aldar kose", "a man, the hat of a man"),
        ("Алдар Көсе, далада АЛДАР КӨСЕ күледі, көсемдер", "алдар көсе", "a man, далада a man күледі, көсемдер"),
        ("көсемдер, көсе", "көсе", "көсемдер, a man"),
        ("<toma> waves at <toma>, <tomas>", "<toma>", "a man waves at a man, <tomas>"),
        ("mr. t. and t.rex and T., t", "t.", "mr. a man and t.rex and a man, t"),
        ("c++ is not c", "c++", "a man is not c"),
    ],
)
def test_whoever_is_meant_instead_stands_wherever_the_trigger_stood(caption: str, trigger: str, said: str) -> None:
    assert without_trigger(caption, trigger, "a man") == said


def test_a_class_word_is_taken_as_it_is() -> None:
    assert without_trigger("toma, smiling", "toma", r"a \1 \g<0> \n") == r"a \1 \g<0> \n, smiling"


def test_only_the_phrase_with_the_trigger_itself_is_always_said() -> None:
    config = TrainConfig(phrase_dropout=0.9)

    found = phrasings("toma, tomatoes, steppe", "toma", config, "01.png")

    assert "toma" in found and all(text.startswith("toma") for text in found)


def test_a_comma_of_the_triggers_own_separates_nothing() -> None:
    config = TrainConfig(phrase_dropout=0.5, caption_shuffle=True)

    found = phrasings("smiling, Toma, the cat, steppe, staff", "toma, the cat", config, "01.png")

    assert all("Toma, the cat" in text for text in found) and len(set(found)) > 3
