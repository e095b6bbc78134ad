"""Profiles: what the shipped ones say, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.config.profile import extend_vocabulary, load_profile
from harness.config.suite import load_suite
from harness.core.errors import SuiteError
from harness.core.settings import data_root
from tests.support import ROOT

TEXT = """\
version: 1
profile: mine
models: {base: some/model, clip: some/clip}
size: [64, 64]
traits: words.yaml
impostors: others
providers:
  base: {adapter: local, use: base}
"""
WORDS = """\
templates: ["{}"]
categories:
  eyes: {phrase: "{} eyes", values: [blue, green]}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "others").mkdir()
    (tmp_path / "words.yaml").write_text(WORDS, encoding="utf-8")
    return tmp_path


def write(folder: Path, text: str) -> Path:
    (folder / "mine.yaml").write_text(text, encoding="utf-8")
    return folder


def test_a_profile_of_ones_own_is_read_by_its_path(folder: Path) -> None:
    profile = load_profile("mine.yaml", write(folder, TEXT))

    assert (profile.name, profile.size, profile.dtype, profile.device) == ("mine", (64, 64), "auto", "auto")
    assert profile.vocabulary["eyes"].phrase("blue") == "blue eyes"
    assert profile.providers["base"].options == {"use": "base"}
    assert profile.impostors == (folder / "others").resolve()


def test_a_profile_beside_the_suites_wins_over_a_shipped_one(folder: Path) -> None:
    place = folder / "suites" / "profiles"
    place.mkdir(parents=True)
    (place / "embedded.yaml").write_text(
        TEXT.replace("words.yaml", "../../words.yaml").replace("impostors: others\n", ""), encoding="utf-8"
    )

    assert load_profile("embedded", folder).name == "mine"
    assert load_profile("sdxl", folder).path == data_root() / "suites" / "profiles" / "sdxl.yaml"


def test_a_profile_extends_another_and_names_what_differs(folder: Path) -> None:
    place = folder / "suites" / "profiles"
    place.mkdir(parents=True)
    text = "extends: embedded\nsteps: 7\ntraining: {rank: 4}\nproviders:\n  mine: {adapter: local, use: base}\n"
    (place / "quick.yaml").write_text(text, encoding="utf-8")

    quick, whole = load_profile("quick", folder), load_profile("embedded", folder)

    assert (quick.name, quick.steps, quick.size, quick.models) == ("quick", 7, whole.size, whole.models)
    assert quick.training == {**whole.training, "rank": 4}
    assert quick.providers == {**whole.providers, "mine": quick.providers["mine"]}
    assert (quick.impostors, quick.vocabulary) == (whole.impostors, whole.vocabulary), "from the shipped folder on"


def test_one_that_extends_its_own_name_means_the_shipped_one(folder: Path) -> None:
    place = folder / "suites" / "profiles"
    place.mkdir(parents=True)
    (place / "embedded.yaml").write_text("extends: embedded\nsteps: 7\n", encoding="utf-8")

    assert (load_profile("embedded", folder).name, load_profile("embedded", folder).steps) == ("embedded", 7)


def test_two_profiles_that_extend_each_other_are_refused(folder: Path) -> None:
    for name, other in (("a", "b"), ("b", "a")):
        (folder / f"{name}.yaml").write_text(f"extends: {other}.yaml\n", encoding="utf-8")

    with pytest.raises(SuiteError, match=r"b\.yaml.*extends: no profile called 'a\.yaml'"):
        load_profile("a.yaml", folder)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "steps: 12\n",
            "version, profile, models, size, traits, providers are missing; add them, or one line: `extends: ",
        ),
        (TEXT.replace("size: [64, 64]\n", ""), "size is missing; add it, or one line: `extends: embedded`"),
    ],
)
def test_what_a_profile_lacks_is_said_at_once_with_the_shorter_way(folder: Path, text: str, words: str) -> None:
    with pytest.raises(SuiteError) as caught:
        load_profile("mine.yaml", write(folder, text))

    assert words in str(caught.value)


def test_the_shipped_profiles_differ_in_names_and_sizes_only() -> None:
    embedded, sdxl = load_profile("embedded", ROOT), load_profile("sdxl", ROOT)

    assert set(sdxl.providers) <= set(embedded.providers)
    for name in ("lora", "base", "prompt_only"):
        assert sdxl.providers[name] == embedded.providers[name]
    assert sdxl.models.base == "stabilityai/stable-diffusion-xl-base-1.0"
    assert sdxl.models.vae == "madebyollin/sdxl-vae-fp16-fix"
    assert sdxl.models.clip.partition("@")[0] == "openai/clip-vit-base-patch32"
    assert sdxl.added == embedded.added == ("aesthetics",)
    assert sdxl.scheduler == embedded.scheduler
    assert sdxl.impostors is None  # drawings of another world tell nothing: the base draws the cohort
    assert set(sdxl.training) - {"buckets"} <= set(embedded.training)


@pytest.mark.parametrize("service", ["freepik", "deepai", "gemini", "openai", "a1111"])
def test_remote_services_are_emulated_in_the_embedded_profile_alone(service: str) -> None:
    found = {}
    from harness.core.settings import Settings
    from harness.providers import ProviderContext, open_provider

    for name in ("embedded", "sdxl"):
        profile = load_profile(name, ROOT)
        for emulator in ("", "off"):
            context = ProviderContext(profile, Settings(ROOT, emulator=emulator), None)
            found[name, emulator] = open_provider(service, context).emulated

    assert found == {("embedded", ""): True, ("embedded", "off"): False, ("sdxl", ""): False, ("sdxl", "off"): False}


def test_the_embedded_vocabulary_says_what_the_worlds_captions_say() -> None:
    from harness.world.captions import ORDER, TEMPLATES, phrase
    from harness.world.people import CATEGORIES, IDENTITY

    profile = load_profile("embedded", ROOT)

    assert profile.templates == TEMPLATES
    assert set(profile.vocabulary) == set(CATEGORIES)
    assert [name for name in profile.vocabulary if name in ORDER] == list(ORDER)
    for name, category in profile.vocabulary.items():
        assert dict(category.alternatives) == {value: phrase(name, value) for value in CATEGORIES[name]}
        assert category.identity is (name in IDENTITY)


def test_the_vocabulary_for_real_people_has_the_eight_categories() -> None:
    vocabulary = load_profile("sdxl", ROOT).vocabulary

    eight = {"face_shape", "eyes", "facial_hair", "hair", "clothing", "style", "expression", "background"}
    assert eight <= set(vocabulary)
    assert all(len(category.alternatives) >= 4 for category in vocabulary.values())
    scene = {name for name, category in vocabulary.items() if not category.identity}
    assert scene == {"style", "expression", "background", "accessory"}


@pytest.mark.parametrize("name", ["embedded", "sdxl"])
def test_the_training_blocks_are_training_configurations(name: str) -> None:
    from harness.training.auto import config_for

    config = config_for(load_profile(name, ROOT).training, pictures=12)

    assert (config.rank, config.alpha) == (16, 16)


@pytest.mark.parametrize("name", ["embedded", "sdxl"])
def test_every_shipped_provider_can_be_set_up(name: str) -> None:
    from harness.core.settings import Settings
    from harness.providers import ProviderContext, open_provider

    profile = load_profile(name, ROOT)

    for provider in profile.providers:
        opened = open_provider(provider, ProviderContext(profile, Settings(ROOT), None))
        keyed = name == "sdxl" and provider in ("freepik", "deepai", "gemini", "openai")
        assert opened.missing() == (f"{provider.upper()}_API_KEY" if keyed else "")
        opened.close()


def test_a_suite_extends_the_vocabulary_without_changing_what_a_category_is(folder: Path) -> None:
    profile = load_profile("embedded", ROOT)
    (folder / "train").mkdir()
    suite = folder / "suite.yaml"
    suite.write_text(
        "version: 1\nsuite: s\nsubject: {name: A, trigger: a, references: .}\nproviders: [base]\n"
        "vocabulary:\n  background: {values: [yurt]}\n  shoes: {phrase: '{} boots', values: [red]}\n"
        "cases: [{id: one, prompt: '{trigger}'}]\n",
        encoding="utf-8",
    )

    extended = extend_vocabulary(profile, load_suite(suite, profile)).vocabulary

    assert extended["background"].identity is False
    assert {"steppe", "yurt"} <= set(extended["background"].alternatives)
    assert extended["shoes"].phrase("red") == "red boots"
    assert "yurt" not in profile.vocabulary["background"].alternatives


BROKEN = {
    "unknown key": (TEXT + "stpes: 3\n", 9, "did you mean 'steps'"),
    "unknown model": (TEXT.replace("clip:", "clpi:"), 3, "models.clpi: unknown key; did you mean 'clip'"),
    "odd size": (TEXT.replace("[64, 64]", "[64, 100]"), 4, "multiple of 8"),
    "one size": (TEXT.replace("[64, 64]", "[64]"), 4, "size"),
    "unknown dtype": (TEXT + "dtype: bfloat\n", 9, "did you mean 'bfloat16'"),
    "unknown adapter": (TEXT.replace("adapter: local", "adapter: locl"), 8, "did you mean 'local'"),
    "bad provider id": (TEXT.replace("  base:", "  Base 1:"), 8, "is not an id"),
    "reserved provider id": (TEXT.replace("  base:", "  gate:"), 8, "reserved"),
    "no vocabulary": (TEXT.replace("words.yaml", "wrods.yaml"), 5, "there is no file"),
    "no impostors": (TEXT.replace("others", "nobody"), 6, "there is no folder"),
    "no providers": (TEXT.partition("providers")[0] + "providers: {}\n", 7, "providers"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_profile_is_refused_with_line_key_and_remedy(name: str, folder: Path) -> None:
    text, line, message = BROKEN[name]
    write(folder, text)

    with pytest.raises(SuiteError) as caught:
        load_profile("mine.yaml", folder)

    assert message in str(caught.value)
    assert caught.value.line == line


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (WORDS.replace('["{}"]', '["a person"]'), 1, "exactly one {}"),
        (WORDS.replace('"{} eyes"', "eyes"), 3, "exactly one {}"),
        (WORDS.replace("[blue, green]", "[]"), 3, "at least 1 item"),
        (WORDS.replace("values", "vlaues"), 3, "did you mean 'values'"),
    ],
)
def test_a_broken_vocabulary_is_refused_where_it_stands(text: str, line: int, message: str, folder: Path) -> None:
    (folder / "words.yaml").write_text(text, encoding="utf-8")

    with pytest.raises(SuiteError) as caught:
        load_profile("mine.yaml", write(folder, TEXT))

    assert message in str(caught.value)
    assert (caught.value.path, caught.value.line) == (folder / "words.yaml", line)


def test_an_unknown_profile_is_answered_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="no profile called 'embeded'; did you mean 'embedded'"):
        load_profile("embeded", tmp_path)
