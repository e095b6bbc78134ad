"""Suites: what a file says, what is refused, and in which words."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness.commands.cli import main
from harness.config.profile import Profile, load_profile, profile_schema
from harness.config.suite import lint_suite, load_suite, suite_schema, write_schemas
from harness.core.errors import SuiteError
from harness.core.values import Threshold
from harness.store import Store
from tests.support import ROOT

HEAD = """\
version: 1
suite: demo
subject:
  name: Aldar Kose
  trigger: aldar kose
  references: pictures
providers: [lora, base]
gate: [lora]
"""
CASES = """\
cases:
  - id: one
    prompt: "{trigger}, smiling"
"""


@pytest.fixture(scope="module")
def profile() -> Profile:
    return load_profile("embedded", ROOT)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pictures" / "train").mkdir(parents=True)
    (tmp_path / "others").mkdir()
    return tmp_path


def write(folder: Path, text: str) -> Path:
    path = folder / "demo.yaml"
    path.write_text(text, encoding="utf-8")
    return path


# --- what a suite says ------------------------------------------------------------------------------------------------


def test_a_short_suite_is_filled_up_with_defaults(folder: Path) -> None:
    suite = load_suite(write(folder, HEAD + CASES))

    assert suite.cases[0].prompt == "aldar kose, smiling"
    assert suite.cases[0].line == 10
    assert suite.weights == pytest.approx({"clip": 0.4, "features": 0.4, "ssim": 0.2})
    assert (suite.samples, suite.seeds(), suite.margin) == (3, (0, 1, 2), 0.02)
    assert suite.threshold(suite.cases[0], "quality") == Threshold(fail=0.6, warn=0.7)
    assert suite.subject.references == (folder / "pictures").resolve()
    assert suite.subject.traits is None


def test_weights_are_normalised(folder: Path) -> None:
    suite = load_suite(write(folder, HEAD + "weights: {clip: 3, ssim: 1}\n" + CASES))

    assert suite.weights == {"clip": 0.75, "ssim": 0.25}


def test_a_number_alone_is_a_threshold_that_fails_and_a_case_has_its_own(folder: Path) -> None:
    text = HEAD + "thresholds: {clip: 0.5, ssim: {warn: 0.3}}\n" + CASES + "    thresholds: {clip: 0.4}\n"

    suite = load_suite(write(folder, text))

    assert suite.threshold(None, "clip") == Threshold(fail=0.5)
    assert suite.threshold(suite.case("one"), "clip") == Threshold(fail=0.4)
    assert suite.threshold(suite.case("one"), "ssim") == Threshold(warn=0.3)


def test_a_lora_that_is_not_there_yet_is_no_error(folder: Path) -> None:
    plain = load_suite(write(folder, HEAD.replace("  refer", "  lora: later.safetensors\n  refer") + CASES))
    weak = HEAD.replace("  refer", "  lora: {file: later.safetensors, strength: 0.5}\n  refer")

    assert plain.subject.lora is not None and plain.subject.lora.path == (folder / "later.safetensors").resolve()
    assert load_suite(write(folder, weak + CASES)).subject.lora.strength == 0.5


def test_subjects_can_bring_traits_impostors_and_unsplit_pictures(folder: Path) -> None:
    more = "  impostors: others\n  split: auto\n  traits: {eyes: narrow}\n"

    subject = load_suite(write(folder, HEAD.replace("providers", more + "providers") + CASES)).subject

    assert (subject.impostors, subject.split) == ((folder / "others").resolve(), "auto")
    assert subject.traits == {"eyes": "narrow"}


def test_a_matrix_becomes_a_case_for_each_combination(folder: Path, profile: Profile) -> None:
    matrix = """\
matrix:
  prompt: "{trigger}, {expression}, {place}"
  expression: [smiling, sad]
  place: [city background, Snowy Background!]
"""

    suite = load_suite(write(folder, HEAD + matrix), profile)

    assert [case.id for case in suite.cases] == [
        "smiling-city-background",
        "smiling-snowy-background",
        "sad-city-background",
        "sad-snowy-background",
    ]
    assert suite.cases[3].prompt == "aldar kose, sad, Snowy Background!"
    assert suite.cases[3].expect == {"expression": "sad"}  # `place` is no category, so nothing is expected of it


def test_a_matrix_can_be_locked_and_stand_beside_cases(folder: Path) -> None:
    matrix = 'matrix:\n  prompt: "{trigger}, {mood}"\n  mood: [angry]\n  split: locked\n'

    suite = load_suite(write(folder, HEAD + CASES + matrix))

    assert [(case.id, case.split) for case in suite.cases] == [("one", "open"), ("angry", "locked")]


def test_vocabulary_adds_categories_and_alternatives(folder: Path, profile: Profile) -> None:
    added = "vocabulary:\n  shoes: {phrase: '{} boots', values: [red]}\n  background: {values: [yurt]}\n"

    suite = load_suite(write(folder, HEAD + added + CASES + "    expect: {shoes: red, background: yurt}\n"), profile)

    assert suite.vocabulary["shoes"].phrase("red") == "red boots"
    assert set(suite.vocabulary["background"].alternatives) == {"yurt"}
    assert not [note for note in lint_suite(suite, profile) if "vocabulary lacks" in note]


def test_a_byte_order_mark_and_aliases_are_fine(folder: Path) -> None:
    path = folder / "demo.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + (HEAD + CASES + "    expect: &e {eyes: blue}\n").encode())
    path.write_bytes(path.read_bytes() + b'  - {id: two, prompt: "{trigger}", expect: *e}\n')

    suite = load_suite(path)

    assert suite.case("two").expect == {"eyes": "blue"}


# --- what is refused --------------------------------------------------------------------------------------------------

BROKEN: dict[str, tuple[str, int | None, str]] = {
    # what is wrong: (text, line, words of the message)
    "unknown key": (HEAD + "smaples: 3\n" + CASES, 9, "smaples: unknown key; did you mean 'samples'"),
    "unknown key of a case": (
        HEAD + CASES + "    expekt: {}\n",
        12,
        "cases[0].expekt: unknown key; did you mean 'expect'",
    ),
    "unknown key of the subject": (HEAD.replace("trigger", "triger") + CASES, 5, "did you mean 'trigger'"),
    "misspelt prompt": (
        HEAD + CASES.replace("prompt", "promt"),
        11,
        "cases[0].promt: unknown key; did you mean 'prompt'",
    ),
    "unknown key of a threshold": (
        HEAD + "thresholds: {clip: {fail: 0.5, wran: 0.6}}\n" + CASES,
        9,
        "thresholds.clip.wran: unknown key; did you mean 'warn'",
    ),
    "unknown key of a LoRA": (
        HEAD.replace("  refer", "  lora:\n    file: a.safetensors\n    strenght: 1\n  refer") + CASES,
        8,
        "subject.lora.strenght: unknown key; did you mean 'strength'",
    ),
    "missing key": (HEAD.replace("  trigger: aldar kose\n", "") + CASES, 3, "subject.trigger: is missing"),
    "missing version": (HEAD.replace("version: 1\n", "") + CASES, 1, "version: is missing"),
    "later version": (HEAD.replace("version: 1", "version: 2") + CASES, 1, "version: should be 1 (found 2)"),
    "unknown metric": (HEAD + "thresholds:\n  clpi: 0.5\n" + CASES, 10, "'clpi'; did you mean 'clip'"),
    "unknown metric of a case": (HEAD + CASES + "    thresholds: {sim: 0.5}\n", 12, "did you mean 'ssim'"),
    "unknown weight": (HEAD + "weights: {quality: 1}\n" + CASES, 9, "no metric called 'quality'"),
    "negative weight": (HEAD + "weights: {clip: -1, ssim: 2}\n" + CASES, 9, "weights.clip: a weight is 0 or more"),
    "no weight at all": (HEAD + "weights: {clip: 0}\n" + CASES, 9, "all 0"),
    "unknown provider": (
        HEAD.replace("base]", "bass]") + CASES,
        7,
        "providers[1]: no provider called 'bass' in the profile",
    ),
    "provider twice": (HEAD.replace("base]", "lora]") + CASES, 7, "stands here twice"),
    "unknown gate": (HEAD.replace("gate: [lora]", "gate: [loar]") + CASES, 8, "did you mean 'lora'"),
    "unknown rival": (HEAD + "beat: [best_competitors]\n" + CASES, 9, "did you mean 'best_competitor'"),
    "unknown rival with an allowance": (HEAD + "beat: [{bass: 0.05}]\n" + CASES, 9, "no provider called 'bass'"),
    "rival twice": (HEAD + "beat: [base, {base: 0.05}]\n" + CASES, 9, "stands here twice"),
    "allowance of nothing": (HEAD + "beat: [{base: 0}]\n" + CASES, 9, "greater than 0"),
    "allowance of everything": (HEAD + "beat: [{base: 0.5}]\n" + CASES, 9, "less than 0.5"),
    "threshold in percent": (HEAD + "thresholds: {clip: 60}\n" + CASES, 9, "thresholds lie in [0, 1]"),
    "threshold that is no number": (HEAD + "thresholds: {clip: high}\n" + CASES, 9, "valid number"),
    "warn below fail": (HEAD + "thresholds: {clip: {fail: 0.6, warn: 0}}\n" + CASES, 9, "swap them"),
    "no samples": (HEAD + "samples: 0\n" + CASES, 9, "samples: should be greater than or equal to 1 (found 0)"),
    "duplicate id": (HEAD + CASES + '  - {id: one, prompt: "x"}\n', 12, "'one' is the id of the case in line 10"),
    "bad id": (HEAD + CASES.replace("one", "One two"), 10, "'One two' is not an id; use a-z"),
    "reserved id": (HEAD + CASES.replace("one", "gate"), 10, "reserved for the suite's verdict"),
    "bad suite id": (HEAD.replace("demo", "de mo") + CASES, 2, "suite: 'de mo' is not an id"),
    "id that YAML reads as a number": (HEAD + CASES.replace("one", "12"), 10, 'put it in "quotes"'),
    "value that YAML reads as false": (HEAD + CASES + "    expect: {accessory: no}\n", 12, 'put it in "quotes"'),
    "unknown placeholder": (HEAD + CASES.replace("{trigger}", "{triger}"), 11, "did you mean 'trigger'"),
    "unknown split": (HEAD + CASES + "    split: lockd\n", 12, "did you mean 'locked'"),
    "unknown category": (HEAD + CASES + "    expect: {backgroud: city}\n", 12, "did you mean 'background'"),
    "unknown trait category": (
        HEAD.replace("providers", "  traits: {eye: blue}\nproviders") + CASES,
        7,
        "subject.traits.eye: no category called 'eye'; did you mean 'eyes'",
    ),
    "missing references": (HEAD.replace("pictures", "pictrues") + CASES, 6, "subject.references: there is no folder"),
    "unsplit references": (HEAD.replace("pictures", "others") + CASES, 6, "write `split: auto`"),
    "missing impostors": (HEAD.replace("providers", "  impostors: no-one\nproviders") + CASES, 7, "there is no folder"),
    "pickled LoRA": (HEAD.replace("  refer", "  lora: a.ckpt\n  refer") + CASES, 6, "a LoRA is a .safetensors file"),
    "overlong trigger": (HEAD.replace("trigger: aldar", "trigger: " + "very " * 50) + CASES, 5, "window of 48 tokens"),
    "key twice": (HEAD + CASES + "gate: [base]\n", 12, "gate: stands here twice"),
    "key of a case twice": (HEAD + CASES + "    id: two\n", 12, "cases[0].id: stands here twice"),
    "no case": (HEAD, 1, "no case: add `cases:`"),
    "matrix without prompt": (HEAD + "matrix:\n  mood: [sad]\n", 9, "needs a `prompt`"),
    "matrix with an unused list": (HEAD + 'matrix:\n  prompt: "{trigger}"\n  mood: [sad]\n', 11, "write {mood} there"),
    "matrix without a list": (HEAD + 'matrix:\n  prompt: "{trigger}, {mood}"\n', 10, "no placeholder called {mood}"),
    "matrix with an empty list": (HEAD + 'matrix:\n  prompt: "{mood}"\n  mood: []\n', 11, "must be a list of values"),
    "matrix without end": (
        HEAD
        + 'matrix:\n  prompt: "{a}{b}{c}"\n'
        + "".join(f"  {name}: {list('abcdefghijklmnopqrstuvw')}\n" for name in "abc"),
        9,
        "12,167 combinations",
    ),
    "two ids of a matrix that meet": (HEAD + 'matrix:\n  prompt: "{a}"\n  a: [x y, x-y]\n', 9, "'x-y' is the id of"),
    "empty file": ("", 1, "is empty"),
    "a list": ("- 1\n", 1, "must hold keys and values"),
    "no YAML": (HEAD + "cases: [\n", 10, "is not YAML"),
    "a tab": (HEAD + "\tcases: []\n", 9, "is not YAML"),
    "a Python object": (HEAD + "negative: !!python/object/apply:os.getcwd []\n" + CASES, 9, "not plain data"),
    "too deep": (HEAD + "negative: " + "[" * 100_000 + "]" * 100_000 + "\n" + CASES, 9, "nested deeper than 16 levels"),
    "a recursive alias": (HEAD + "negative: &a [*a]\n" + CASES, 9, "nested deeper than 16 levels"),
    "a bomb of aliases": (
        "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)),
        None,
        "aliases counted",
    ),
    "too large": (HEAD + CASES + "#" * 2_000_001, None, "split the suite"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_suite_is_refused_with_line_key_and_remedy(name: str, folder: Path, profile: Profile) -> None:
    text, line, message = BROKEN[name]
    path = write(folder, text)

    with pytest.raises(SuiteError) as caught:
        load_suite(path, profile)

    assert message in str(caught.value)
    assert str(caught.value).startswith(str(path.resolve()))
    if line is not None:
        assert caught.value.line == line


def test_the_first_of_several_errors_is_shown(folder: Path) -> None:
    path = write(folder, HEAD + "smaples: 3\n" + CASES + "    expekt: {}\n")

    with pytest.raises(SuiteError, match=":9: smaples"):
        load_suite(path)


def test_a_file_that_is_not_there_or_not_text_is_named(folder: Path) -> None:
    path = folder / "demo.yaml"

    with pytest.raises(SuiteError, match="cannot be read"):
        load_suite(path)
    path.write_bytes(b"version: 1\nsuite: \xff\n")
    with pytest.raises(SuiteError, match=":2: is not UTF-8"):
        load_suite(path)


def test_where_no_base_of_ours_draws_a_subject_needs_pictures_of_others(folder: Path) -> None:
    sdxl, remote = load_profile("sdxl", ROOT), HEAD.replace("gate: [lora]", "gate: [gemini]")

    with pytest.raises(SuiteError, match="name a folder with pictures of others"):
        load_suite(write(folder, remote.replace("providers: [lora", "providers: [lora, gemini") + CASES), sdxl)
    assert load_suite(write(folder, HEAD + CASES), sdxl).subject.impostors is None  # the base draws them


# --- notes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "expect", "proposed"),
    [
        (
            "long golden hair, red dotted robe, city background",
            "{background: city}",
            "{hair: long, hair_color: golden, clothing: red, pattern: dotted}",
        ),
        ("long golden hair", "{hair: long, hair_color: golden}", ""),
        ("brown eyes and blue robe", "{}", "{eyes: brown, clothing: blue}"),
        ("holding a staff with red robe", "{}", "{clothing: red, accessory: staff}"),
        ("golden, hair", "{}", ""),  # the words stand apart
        ("smiling or sad", "{}", ""),  # nobody knows which
        ("a city of red roofs", "{}", ""),
    ],
)
def test_lint_proposes_expect_for_what_prompts_name(
    folder: Path, profile: Profile, prompt: str, expect: str, proposed: str
) -> None:
    text = f'{HEAD}cases:\n  - {{id: one, prompt: "{{trigger}}, {prompt}", expect: {expect}}}\n'

    notes = [note for note in lint_suite(load_suite(write(folder, text), profile), profile) if "add expect" in note]

    assert [note.partition("add expect: ")[2] for note in notes] == ([proposed] if proposed else [])
    assert all(note.startswith("line 10: one: ") for note in notes)


def test_a_trigger_in_the_vocabularys_words_is_no_expectation(folder: Path, profile: Profile) -> None:
    text = HEAD.replace("trigger: aldar kose", "trigger: sad smiling") + CASES.replace("smiling", "angry")

    assert "{expression: angry}" in "\n".join(lint_suite(load_suite(write(folder, text), profile), profile))


@pytest.mark.parametrize("store", [True, False])
def test_whether_there_is_a_store_changes_nothing_for_a_suite_that_never_ran(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], store: bool
) -> None:
    """Its folder has no reference picture yet."""
    path, place = write(folder, HEAD + CASES), folder / "store"
    monkeypatch.setenv("HARNESS_STORE", str(place))
    if store:
        Store(place).close()

    assert main(["lint", str(path)]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("bounds", "own", "refused"),
    [
        ("{quality: 0}", "{}", ["thresholds: quality"]),
        ("{quality: {fail: 0, warn: 0.5}, clip: 0.0}", "{}", ["thresholds: quality", "thresholds: clip"]),
        ("{quality: 0.5}", "{features: 0}", ["line 11: one: thresholds: features"]),
        ("{quality: 0.001}", "{features: 0.1}", []),
        ("{quality: {warn: 0.5}}", "{}", []),
    ],
)
def test_bounds_that_cannot_fail_are_refused_by_lint(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    bounds: str,
    own: str,
    refused: list[str],
) -> None:
    text = f'{HEAD}thresholds: {bounds}\ncases:\n  - {{id: one, prompt: "{{trigger}}", thresholds: {own}}}\n'
    path = write(folder, text)
    monkeypatch.chdir(ROOT)

    status = main(["lint", str(path)])

    told = [line for line in capsys.readouterr().out.splitlines() if "can never fail" in line]
    assert status == bool(refused)
    assert [line.partition(".yaml: ")[2].partition(": fail ")[0] for line in told] == refused


@pytest.mark.parametrize("word", ["fail", "report"])
def test_a_suite_says_what_a_gate_that_cannot_be_judged_means(folder: Path, word: str) -> None:
    assert load_suite(write(folder, f"{HEAD}on_blind: {word}\n{CASES}")).on_blind == word
    assert load_suite(write(folder, HEAD + CASES)).on_blind == "fail"
    with pytest.raises(SuiteError, match="on_blind"):
        load_suite(write(folder, f"{HEAD}on_blind: pass\n{CASES}"))


@pytest.mark.parametrize(
    ("beat", "expect", "rivals"),
    [
        ("[]", "{}", ()),
        ("[base]", "{}", ("base",)),
        ("[]", "{expression: smiling}", ("prompt_only",)),
        ("[best_competitor]", "{}", ("lora", "base", "prompt_only")),
    ],
)
def test_a_gate_needs_whom_it_is_held_against(folder: Path, beat: str, expect: str, rivals: tuple[str, ...]) -> None:
    head = HEAD.replace("[lora, base]", "[lora, base, prompt_only]")
    suite = load_suite(write(folder, f"{head}beat: {beat}\n{CASES}    expect: {expect}\n"))

    assert suite.rivals(suite.providers) == rivals


def test_somebody_may_be_trailed_by_a_little(folder: Path) -> None:
    made = load_suite(write(folder, f"{HEAD}beat: [lora, {{base: 0.05}}]\n{CASES}"))

    assert (made.beat, made.allowances) == (("lora", "base"), {"base": 0.05})
    assert load_suite(write(folder, f"{HEAD}beat: [base]\n{CASES}")).allowances == {}


def test_lint_tells_what_is_allowed_but_odd(folder: Path, profile: Profile) -> None:
    text = HEAD.replace("gate: [lora]", "gate: []") + CASES.replace("smiling", "smiling, zeppelin")
    text += f'  - {{id: long, prompt: "{{trigger}}, {"smiling, " * 30}"}}\n'
    text += "  - {id: nobody, prompt: smiling, expect: {expression: smilng}}\n"

    notes = "\n".join(lint_suite(load_suite(write(folder, text), profile), profile))

    assert "line 10: one: the profile's small models do not know zeppelin" in notes
    assert "line 12: long: longer than the encoder's 48 tokens" in notes
    assert "line 13: nobody: does not say {trigger}" in notes
    assert "expects expression 'smilng', which the vocabulary lacks; did you mean 'smiling'" in notes
    assert "fewer than 8 open prompts" in notes and "no locked case" in notes and "no gate" in notes


# --- what is shipped --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["embedded", "sdxl"])
def test_the_shipped_suite_fits_both_profiles(name: str) -> None:
    shipped = load_profile(name, ROOT)

    suite = load_suite(ROOT / "suites" / "aldar_kose.yaml", shipped)

    splits = [case.split for case in suite.cases]
    assert splits.count("open") >= 10 and splits.count("locked") >= 8
    assert len({case.prompt for case in suite.cases}) == len(suite.cases)
    assert lint_suite(suite, shipped) == []
    assert load_suite(ROOT / "suites" / "smoke.yaml", shipped).gate == ("lora",)


def test_prompts_speak_the_captions_words_in_the_captions_order(profile: Profile) -> None:
    from harness.world.captions import describe

    for case in load_suite(ROOT / "suites" / "aldar_kose.yaml", profile).cases:
        assert case.prompt == ", ".join(["aldar kose", *describe(case.expect)])


def test_the_schemas_for_editors_are_current(tmp_path: Path) -> None:
    folder = ROOT / "suites" / "schema"
    call = "from pathlib import Path; from harness.config.suite import *; write_schemas(Path('suites/schema'))"
    remedy = f'python -c "{call}"'

    write_schemas(tmp_path)

    for name in ("suite.json", "profile.json"):
        assert json.loads((folder / name).read_text("utf-8")) == json.loads((tmp_path / name).read_text("utf-8")), (
            remedy
        )
    assert suite_schema()["additionalProperties"] is False is profile_schema()["additionalProperties"]


def test_loading_never_imports_torch() -> None:
    code = (
        "import sys; from pathlib import Path;"
        "from harness.config.suite import load_suite; from harness.config.profile import load_profile;"
        "load_suite(Path('suites/aldar_kose.yaml'), load_profile('embedded', Path.cwd()));"
        "sys.exit(bool({'torch', 'diffusers', 'transformers', 'numpy'} & set(sys.modules)))"
    )

    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
