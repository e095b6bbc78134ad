"""What `prompt_only` says in place of a trigger that the base does not know."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.config.profile import ProviderConfig, Vocabulary
from harness.config.prompts.subject import describe_subject, join_nouns, written_traits
from harness.core.values import Trait
from harness.providers import open_provider
from harness.world.captions import phrase
from harness.world.people import CATEGORIES
from tests.tiny import make_context, make_suite

ORDER = (
    "expression",
    "face_shape",
    "eyes",
    "facial_hair",
    "hair",
    "hair_color",
    "clothing",
    "pattern",
    "accessory",
    "background",
    "style",
)
VOCABULARY = {name: Vocabulary({value: phrase(name, value) for value in CATEGORIES[name]}) for name in ORDER}
ALDAR = {
    "clothing": "blue",
    "pattern": "plain",
    "face_shape": "round",
    "eyes": "narrow",
    "facial_hair": "thin mustache",
    "hair": "short",
    "hair_color": "black",
}
TRAITS = tuple(Trait(category, value, phrase(category, value)) for category, value in ALDAR.items())
WHOLE = "round face, narrow eyes, thin mustache, short black hair, blue plain robe"


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("aldar kose, smiling, steppe background", f"a person, smiling, {WHOLE}, steppe background"),
        ("aldar kose, starry night background, sad", f"a person, sad, {WHOLE}, starry night background"),
        (
            "aldar kose, holding a staff, city background, ink comic",
            f"a person, {WHOLE}, holding a staff, city background, ink comic",
        ),
        ("aldar kose, riding a goat, city background", f"a person, {WHOLE}, riding a goat, city background"),
        ("aldar kose, dancing", f"a person, {WHOLE}, dancing"),
        ("Aldar Kose, green eyes", f"a person, {WHOLE.replace('narrow', 'green')}"),
        ("aldar kose", f"a person, {WHOLE}"),
        ("a photo of aldar kose in the rain", f"a photo of a person in the rain, {WHOLE}"),
    ],
)
def test_traits_take_the_triggers_place_in_the_vocabularys_order(prompt: str, said: str) -> None:
    suite = make_suite(prompt)

    assert describe_subject(suite, suite.cases[0], TRAITS, VOCABULARY) == said


def test_a_word_that_only_contains_the_trigger_stays() -> None:
    suite = make_suite("aldar kosevich, smiling")

    assert "aldar kosevich" in describe_subject(suite, suite.cases[0], (), VOCABULARY)


def test_expected_values_beyond_the_vocabulary_are_placed_too() -> None:
    suite = make_suite("aldar kose, moonlit lake background")
    case = replace(suite.cases[0], expect={"background": "moonlit lake"})

    assert describe_subject(suite, case, TRAITS, VOCABULARY) == f"a person, {WHOLE}, moonlit lake background"


def test_neighbours_with_one_noun_are_joined() -> None:
    assert join_nouns(["short hair", "black hair", "blue robe", "sad"]) == ["short black hair", "blue robe", "sad"]
    assert join_nouns(["smiling", "smiling"]) == ["smiling", "smiling"]


def test_the_authors_own_words_stand_as_written() -> None:
    suite = make_suite("aldar kose", traits={"eyes": "narrow", "hat": "a tall felt hat"})

    traits = written_traits(suite, VOCABULARY)

    assert [trait.phrase for trait in traits] == ["narrow eyes", "a tall felt hat"]


def test_written_traits_come_before_extracted_ones(tmp_path_factory: pytest.TempPathFactory) -> None:
    from tests.tiny import save_models

    folder = tmp_path_factory.mktemp("tiny")
    save_models(folder)
    config = {"prompt_only": ProviderConfig("local", {"use": "prompt_only"})}
    context = replace(make_context(folder, providers=config, vocabulary=VOCABULARY), traits=lambda suite: TRAITS)
    provider = open_provider("prompt_only", context)
    extracted, written = make_suite("aldar kose"), make_suite("aldar kose", traits={"eyes": "brown"})

    assert provider.requests(extracted, extracted.cases[0], (0,))[0].prompt == f"a person, {WHOLE}"
    assert provider.requests(written, written.cases[0], (0,))[0].prompt == "a person, brown eyes"


def test_the_class_word_stands_where_nobody_knows_the_subject() -> None:
    suite = make_suite("toma, sitting", "a photo of toma asleep")
    cat = replace(suite, subject=replace(suite.subject, trigger="toma", class_word="a cat"))

    assert [describe_subject(cat, case, (), {}) for case in cat.cases] == ["a cat, sitting", "a photo of a cat asleep"]
