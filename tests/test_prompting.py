"""What the text encoders read of a prompt, ready negatives, weights and long prompts."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from harness.commands.lint_tokens import show_suite
from harness.config.profile import Profile, load_profile
from harness.config.prompts.lint import lint_prompts
from harness.config.prompts.negatives import ready_negatives
from harness.config.prompts.syntax import PromptPart, lint_syntax, loose_brackets, parse_weights, plain_text
from harness.config.prompts.tokens import Encoder, split_windows
from harness.config.suite import lint_suite, load_suite
from harness.core.errors import ModelError, SuiteError
from harness.core.values import Case, Subject, Suite
from harness.models.encoders import find_encoders, open_encoder
from tests.command_line import call
from tests.support import ROOT

TOKENIZER = ROOT / "fixtures/models/sdxl/tokenizer"
needs_compel = pytest.mark.skipif(find_spec("compel") is None, reason="compel is not installed")
LONG = ", ".join(["aldar kose", "smiling", "red robe", "steppe background", "thin mustache"] * 5)


@pytest.fixture(scope="module")
def profile() -> Profile:
    return load_profile("embedded", ROOT)


@pytest.fixture(scope="module")
def encoders(profile: Profile) -> tuple[Encoder, ...]:
    return find_encoders(profile, ROOT)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    """The same tokenizer with so many more words that it counts as one of a whole language."""
    return padded_tokenizer(tmp_path_factory.mktemp("large") / "tokenizer", 10_000)


def padded_tokenizer(folder: Path, more: int) -> Encoder:
    folder.mkdir()
    data = json.loads((TOKENIZER / "tokenizer.json").read_text(encoding="utf-8"))
    data["model"]["vocab"] |= {f"another{number}</w>": 1000 + number for number in range(more)}
    (folder / "tokenizer.json").write_text(json.dumps(data), encoding="utf-8")
    return open_encoder(folder, 77)


def make_suite(*prompts: str, trigger: str = "aldar kose", **changes: Any) -> Suite:
    cases = tuple(Case("odd", f"case-{number}", prompt, line=number) for number, prompt in enumerate(prompts, 1))
    return Suite("odd", Path("odd.yaml"), Subject("Aldar", trigger, Path()), ("lora",), ("lora",), cases, **changes)


def notes_on(prompt: str, profile: Profile, encoders: Sequence[Encoder], trigger: str = "aldar kose") -> str:
    return "\n".join(lint_prompts(make_suite(prompt, trigger=trigger), profile, encoders))


# --- syntax -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a red robe", [PromptPart("a red robe")]),
        ("a (red:1.5) robe", [PromptPart("a "), PromptPart("red", 1.5), PromptPart(" robe")]),
        ("((sad)) [old]", [PromptPart("sad ", 1.21), PromptPart("old", 1 / 1.1)]),
        ("(a (b:1.5):1.2)", [PromptPart("a ", 1.2), PromptPart("b", 1.8)]),
        ("(a, b:.5)", [PromptPart("a, b", 0.5)]),
        ("(red:1.0) robe", [PromptPart("red robe")]),
        (r"a \(hat\)", [PromptPart("a (hat)")]),
        ("a (hat", [PromptPart("a (hat")]),
        ("a] (b:2) c:3", [PromptPart("a] "), PromptPart("b", 2.0), PromptPart(" c:3")]),
        ("(:1.2) ()", []),
        ("", []),
    ],
)
def test_weights_are_parted_from_words(text: str, parts: list[PromptPart]) -> None:
    found = parse_weights(text)

    assert [part.text for part in found] == [part.text for part in parts]
    assert [part.weight for part in found] == pytest.approx([part.weight for part in parts])


def test_without_weights_the_words_remain() -> None:
    assert plain_text("aldar kose, (red robe:1.4), [[sad]]") == "aldar kose, red robe, sad"
    assert loose_brackets(r"(a] \( [b") == ["]", "(", "["]


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("a (red robe:1.2)", "'(red robe:1.2)' is read as it stands"),
        ("a ((red robe))", "is read as it stands"),
        ("a (red robe", "'(' has no partner"),
        ("a <lora:aldar:0.8>", "name the LoRA under `subject.lora`"),
        ("a BREAK b", "'BREAK' starts a new window in AUTOMATIC1111"),
        ("a AND b", "'AND' joins prompts"),
        ("a [b:c:0.5]", "switches words midway"),
        ("a [b|c]", "alternates words"),
        ("embedding:easy", "ComfyUI"),
        ("a __colour__ hat", "wildcard"),
        ("a hat --ar 16:9", "option of Midjourney"),
        ("hat::2 robe", "Midjourney's weight"),
        ("a ball++ b", "compel's own weight"),
        ("a  b", "two spaces"),
        ("a, , b", "nothing between two commas"),
        ("sad, a hat, Sad", "said twice: sad"),
        ("a\u200bb", "invisible characters (U+200B)"),
    ],
)
def test_what_no_one_here_reads_is_told(text: str, note: str) -> None:
    assert note in "\n".join(lint_syntax(text, weighted=False))


def test_ordinary_punctuation_is_no_syntax() -> None:
    for text in ("a wide-brimmed hat (red)", "a man, a band and a break", "don't; it's 10:30", "black-and-white", ""):
        assert not list(lint_syntax(text, weighted=False)), text


def test_weights_are_welcome_where_they_are_read() -> None:
    assert not list(lint_syntax("a (red robe:1.2)", weighted=True))
    assert "more than about 1.6 spoils" in "\n".join(lint_syntax("a (red robe:3)", weighted=True))


# --- what the encoder reads ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "note"),
    [
        ("улыбается", "is Cyrillic (Russian, it seems): 9 characters fall apart into 18 scraps"),
        ("күліп тұр", "is Cyrillic (Kazakh, it seems)"),
        ("微笑", "is Han (Chinese, it seems)"),
        ("笑っている", "is Kana (Japanese, it seems)"),
        ("웃는", "is Hangul (Korean, it seems)"),
        ("😀", "is emoji: 1 character fall apart into 4 scraps"),
        ("rеd robe", "mixes Cyrillic and Latin letters"),  # the e is Cyrillic
        ("zeppelin", "the profile's small models do not know zeppelin (ze|p|pe|li|n)"),
    ],
)
def test_words_that_fall_apart(profile: Profile, encoders: tuple[Encoder, ...], words: str, note: str) -> None:
    assert note in notes_on(f"aldar kose, {words}", profile, encoders)


def test_both_encoders_are_named_once_unless_they_differ(profile: Profile, encoders: tuple[Encoder, ...]) -> None:
    assert [encoder.name for encoder in encoders] == ["tokenizer", "tokenizer_2"]
    assert notes_on("aldar kose, zeppelin", profile, encoders).count("zeppelin (") == 1

    wide = notes_on(LONG, profile, [encoders[0], replace(encoders[1], window=100)])

    assert "tokenizer: longer than the encoder's 48 tokens" in wide and "tokenizer_2: longer" not in wide


def test_the_lost_end_is_quoted_from_its_first_whole_word(profile: Profile, encoders: tuple[Encoder, ...]) -> None:
    fits = "aldar kose, " + ", ".join(["smiling"] * 20)  # 6 + 1 + 39 = 46
    note = notes_on(f"{fits} zeppelin, lantern", profile, encoders)
    cut = notes_on(f"{fits.removesuffix('smiling')}zeppelin", profile, encoders)

    assert "longer than" not in notes_on(fits, profile, encoders)
    assert "longer than the encoder's 48 tokens by 7; its end is lost ('zeppelin, lantern')" in note
    assert "by 4; its end is lost ('zeppelin')" in cut


def test_a_large_vocabulary_may_split_words_but_not_most_of_them(profile: Profile, large: Encoder) -> None:
    spanish = "un hombre con sombrero rojo puntiagudo y una faja naranja"

    assert notes_on("aldar kose, smiling, steppe background, zeppelin", profile, [large]) == ""
    assert "hardly English" in notes_on(f"aldar kose, {spanish}", profile, [large])


@pytest.mark.parametrize(
    ("prompt", "note"),
    [
        ("smiling", "does not say {trigger}"),
        ("aldar, kose smiling", "the trigger is broken up"),
        ("aldar_kose smiling", "the trigger is broken up"),
        ("aldar koses smiling", "is joined to other letters"),
        (", ".join(["smiling"] * 23) + ", aldar kose", "the trigger is among what is lost"),
    ],
)
def test_a_trigger_is_whole_and_read(profile: Profile, encoders: tuple[Encoder, ...], prompt: str, note: str) -> None:
    assert note in notes_on(prompt, profile, encoders)
    assert notes_on("aldar kose, smiling", profile, encoders) == ""


def test_a_trigger_may_be_of_any_script_at_its_price(profile: Profile, encoders: tuple[Encoder, ...]) -> None:
    notes = notes_on("Алдар көсе, smiling", profile, encoders, trigger="алдар көсе")

    assert notes == "trigger: takes 18 of 46 tokens; a short Latin word takes 1 to 4"


def test_services_read_with_encoders_of_their_own(profile: Profile, encoders: tuple[Encoder, ...]) -> None:
    suite = replace(make_suite("aldar kose, улыбается"), providers=("flat",), gate=())

    assert lint_prompts(suite, profile, encoders) == lint_prompts(suite, profile) == []


def test_the_shipped_suite_is_read_to_its_last_word(profile: Profile, encoders: tuple[Encoder, ...]) -> None:
    assert lint_suite(load_suite(ROOT / "suites/aldar_kose.yaml", profile), profile, encoders) == []


def test_without_a_tokenizer_scripts_are_told_all_the_same(profile: Profile) -> None:
    assert "'улыбается' is Cyrillic (Russian, it seems), which CLIP cannot read" in notes_on(
        "aldar kose, улыбается", profile, ()
    )


# --- tokenizers ---------------------------------------------------------------------------------------------------


def test_the_older_files_of_a_tokenizer_read_alike(tmp_path: Path, encoders: tuple[Encoder, ...]) -> None:
    model = json.loads((TOKENIZER / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    (tmp_path / "vocab.json").write_text(json.dumps(model["vocab"]), encoding="utf-8")
    merges = "\n".join(["#version: 0.2", *(" ".join(pair) for pair in model["merges"])])
    (tmp_path / "merges.txt").write_text(f"{merges}\n", encoding="utf-8")

    older = open_encoder(tmp_path, 48)

    for text in (LONG, "It's a  Wide-brimmed hat, 42 (red:1.2)!", "күліп тұр 微笑 😀 más", ""):
        assert older.read(text) == encoders[0].read(text)


def test_a_missing_or_broken_tokenizer_is_told(tmp_path: Path, profile: Profile) -> None:
    bare = replace(profile, models=replace(profile.models, base=str(tmp_path)))
    with pytest.raises(ModelError, match="holds no tokenizer"):
        find_encoders(bare, ROOT)
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "tokenizer" / "tokenizer.json").write_text("{", encoding="utf-8")
    with pytest.raises(ModelError, match="cannot be read"):
        find_encoders(bare, ROOT)


# --- harness lint -------------------------------------------------------------------------------------------------


def test_tokens_are_shown_with_what_is_cut(profile: Profile, encoders: tuple[Encoder, ...]) -> None:
    suite = make_suite("aldar kose, улыбается", LONG, negative="sad")

    plain = show_suite(suite, profile, encoders, ids=False, width=80)
    numbered = show_suite(suite, profile, encoders, ids=True)
    weighted = show_suite(
        replace(suite, negative="(sad:1.3)"), replace(profile, prompts="weighted"), encoders, ids=False
    )

    assert "a|l|da|r ko|se , улыбается<18>" in plain
    assert "tokens, 43 cut" in plain and "    CUT " in plain and plain.count("the suite: negative") == 1
    assert max(map(len, plain.splitlines())) <= 80
    assert "ko=588|se=655" in numbered
    assert "89 of 46 tokens, read in 2 windows" in weighted and "x1.3 sad" in weighted


def test_lint_loads_no_model_library(tmp_path: Path) -> None:
    suite = tmp_path / "odd.yaml"
    references = (ROOT / "references/aldar_kose").as_posix()
    suite.write_text(
        f"""\
version: 1
suite: odd
subject: {{name: Aldar Kose, trigger: aldar kose, references: {references}}}
providers: [lora]
negative: ready/kk-character
cases: [{{id: one, prompt: "{{trigger}}, smiling"}}]
""",
        encoding="utf-8",
    )
    program = """
import sys
from harness.commands.cli import main
status = main(["lint", *sys.argv[1:]])
assert not {"torch", "transformers", "diffusers"} & set(sys.modules)
sys.exit(status)
"""
    command = [sys.executable, "-X", "utf8", "-c", program, str(suite), "--tokens", "--profile", "embedded"]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8", check=False)

    assert done.returncode == 0, done.stderr
    assert "the suite: negative: longer than the encoder's 48 tokens" in done.stdout
    assert "is Cyrillic (Kazakh, it seems)" in done.stdout
    assert "11 of 46 tokens" not in done.stdout and "8 of 46 tokens" in done.stdout


def test_lint_says_when_it_cannot_count(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("harness.models.encoders.locate_model", refuse)

    call("lint", "suites/smoke.yaml", "--profile", "sdxl")

    said = capsys.readouterr().out
    assert "prompts are checked roughly, because their tokens cannot be counted: run `harness fetch`" in said
    assert "suites/smoke.yaml: 2 open and 0 locked cases" in said


def refuse(*_: object) -> Path:
    raise ModelError("run `harness fetch`")


# --- ready negatives ----------------------------------------------------------------------------------------------

SUITE = """\
version: 1
suite: demo
subject: {{name: Aldar Kose, trigger: aldar kose, references: {references}}}
providers: [lora]
negative: {negative}
cases:
  - {{id: one, prompt: "{{trigger}}, smiling"}}
  - {{id: two, prompt: "{{trigger}}, sad", negative: ready/ja-photo}}
"""


def write_suite(folder: Path, negative: str) -> Path:
    path = folder / "demo.yaml"
    references = (ROOT / "references/aldar_kose").as_posix()
    path.write_text(SUITE.format(references=references, negative=negative), encoding="utf-8")
    return path


def test_a_ready_negative_is_named_in_suites_and_cases(tmp_path: Path, profile: Profile) -> None:
    suite = load_suite(write_suite(tmp_path, "ready/en-character"), profile)

    assert "extra fingers" in suite.negative and "\n" not in suite.negative
    assert suite.cases[0].negative == "" and "透かし" in suite.cases[1].negative


def test_every_language_has_every_kind() -> None:
    known = ready_negatives(ROOT)

    assert {"en", "ru", "kk", "zh", "ja", "es"} <= {entry.language for entry in known.values()}
    kinds = {language: {name[3:] for name in known if name[:2] == language} for language in {n[:2] for n in known}}
    assert set(map(frozenset, kinds.values())) == {frozenset({"general", "character", "photo"})}
    assert all(name[:2] == entry.language for name, entry in known.items())


def test_a_wrong_name_gets_the_nearest(tmp_path: Path, profile: Profile) -> None:
    with pytest.raises(SuiteError, match=r"demo.yaml:5: negative: .*'en-charcter'; did you mean 'en-character'"):
        load_suite(write_suite(tmp_path, "ready/en-charcter"), profile)


def test_a_projects_own_negatives_win(tmp_path: Path, profile: Profile) -> None:
    (tmp_path / "profiles").mkdir()
    text = "version: 1\nnegatives:\n  en-general: {language: en, text: no hats}\n"
    (tmp_path / "profiles" / "negatives.yaml").write_text(text, encoding="utf-8")

    assert load_suite(write_suite(tmp_path, "ready/en-general"), profile).negative == "no hats"
    assert load_suite(write_suite(tmp_path, "no text"), profile).negative == "no text"


def test_a_profile_names_one_too_and_how_prompts_are_read(tmp_path: Path) -> None:
    text = (ROOT / "suites/profiles/embedded.yaml").read_text(encoding="utf-8")
    traits, impostors = (ROOT / "suites/profiles/traits/world.yaml", ROOT / "references/impostors")
    text = text.replace("traits/world.yaml", traits.as_posix()).replace("../../references/impostors", str(impostors))
    (tmp_path / "own.yaml").write_text(f"{text}negative: ready/es-general\nprompts: weighted\n", encoding="utf-8")

    own = load_profile("own.yaml", tmp_path)

    assert own.negative.startswith("baja calidad") and own.prompts == "weighted"
    with pytest.raises(SuiteError, match=r"known: embedded, sdxl$"):
        load_profile("qqq", tmp_path)


# --- weights and long prompts -------------------------------------------------------------------------------------


def make_provider(profile: Profile, name: str = "base") -> Any:
    from harness.core.settings import Settings
    from harness.models.loading import Models
    from harness.providers import ProviderContext, open_provider

    settings = Settings(ROOT)
    return open_provider(name, ProviderContext(profile, settings, Models(profile, settings)))


def test_without_compel_the_extra_is_named(profile: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.models.weighted_prompts.find_spec", lambda _: None)

    with pytest.raises(ModelError, match=r'pip install "lora-harness\[prompts\]"'):
        make_provider(replace(profile, prompts="weighted"))
    assert make_provider(profile).name == "base"


@needs_compel
def test_the_mode_is_part_of_the_cache_key(profile: Profile) -> None:
    suite = make_suite("aldar kose, smiling")
    plain, weighted = (
        make_provider(chosen).requests(suite, suite.cases[0], (0,))[0]
        for chosen in (profile, replace(profile, prompts="weighted"))
    )

    assert plain.key != weighted.key
    assert not plain.extra and "compel" not in plain.libraries and "compel" in weighted.libraries


@pytest.fixture(scope="module")
def base(profile: Profile) -> Any:
    """The embedded base, told to read weights; float32, so that tolerances are tight."""
    return make_provider(replace(profile, prompts="weighted", dtype="float32", steps=2))


@needs_compel
@pytest.mark.real
def test_weights_move_their_own_words_only(base: Any) -> None:
    import torch

    pipeline = base.context.models.pipeline()
    plain, plain_pooled = pipeline.encode("aldar kose, red robe, steppe background")
    even, pooled = pipeline.encode("aldar kose, (red robe:1.0), steppe background", weighted=True)
    heavy, heavy_pooled = pipeline.encode("aldar kose, (red robe:1.5), steppe background", weighted=True)
    light, _ = pipeline.encode("aldar kose, (red robe:0.5), steppe background", weighted=True)
    empty, _ = pipeline.encode("", weighted=True)

    assert torch.allclose(even, plain, atol=1e-5) and torch.allclose(pooled, plain_pooled, atol=1e-5)
    assert torch.equal(heavy_pooled, pooled)
    moved = [place for place, change in enumerate((heavy - even).abs().amax(-1)[0]) if change > 1e-4]
    assert moved == [8, 9]  # start, six tokens of the trigger, a comma; then red, robe
    assert torch.allclose((heavy - even)[0, moved], 0.5 * (even - empty)[0, moved], atol=1e-4)
    assert torch.nn.functional.cosine_similarity((light - even)[0, moved], (even - empty)[0, moved]).max() < 0
    assert heavy.isfinite().all() and light.isfinite().all()


@needs_compel
@pytest.mark.real
def test_a_long_prompt_is_read_to_its_end(base: Any, encoders: tuple[Encoder, ...]) -> None:
    import torch

    pipeline = base.context.models.pipeline()
    long, pooled = pipeline.encode(LONG, weighted=True)
    other, _ = pipeline.encode(LONG.removesuffix("thin mustache") + "long beard", weighted=True)
    windows = split_windows(encoders[0].read(LONG), encoders[0].room)
    second, _ = pipeline.encode(LONG[windows[1][0].start :])

    assert pipeline.encode(LONG)[0].shape[1] == 48 and long.shape[1] == 96 and pooled.shape == (1, 128)
    assert torch.equal(long[:, :48], other[:, :48]) and not torch.allclose(long[:, 48:], other[:, 48:])
    assert torch.allclose(long[:, 48:], second, atol=1e-5)  # the windows are where `harness lint --tokens` shows them
    assert long.isfinite().all()


@needs_compel
@pytest.mark.real
def test_long_and_short_prompts_are_drawn_in_one_batch(base: Any) -> None:
    import numpy as np

    prompts = ("aldar kose, smiling", LONG, "aldar kose, (smiling:1.4)", LONG.replace("smiling", "sad"))
    suite = make_suite(*prompts)
    requests = [request for case in suite.cases for request in base.requests(suite, case, (0,))]
    requests.append(replace(requests[0], negative=f"({LONG}:0.8)"))
    pipeline = base.context.models.pipeline()

    together = [np.asarray(picture, dtype=np.int16) for picture in pipeline.draw(requests)]
    alone = [np.asarray(pipeline.draw([request])[0], dtype=np.int16) for request in requests]
    plain = np.asarray(pipeline.draw([replace(requests[0], extra={})])[0], dtype=np.int16)

    assert all(abs(a - b).max() <= 2 for a, b in zip(together, alone, strict=True))  # rounding, nothing more
    assert (alone[0] == plain).all()
    assert len({picture.tobytes() for picture in together}) == len(together)
    assert not any(drawing.meta for drawing in base.draw(requests[:2]))
