"""`harness story`: a suite that loads, or the reason why there is none and no file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.config.profile import load_profile
from harness.config.suite import load_suite
from harness.core.errors import HarnessError, ProviderError, UsageError
from harness.core.values import Outcome
from harness.providers.http_client.exchange import Unanswered
from harness.providers.text.chat import Schema
from harness.providers.text.story import (
    ORDER,
    Scene,
    Story,
    Wish,
    ask_story,
    compose_cases,
    expectations,
    find_subject,
    long_prompts,
    suite_text,
    write_suite,
)
from tests.command_line import call
from tests.writing import ROOT, make_project

Project = Callable[..., Path]
WISH = Wish("a theft at the market", 2, "Aldar Kose", "aldar kose")
TEXT = "Aldar Kose went to the market and came home with another man's horse."


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    def make(**faults: list[str]) -> Path:
        monkeypatch.chdir(tmp_path)
        monkeypatch.delenv("HARNESS_EMULATOR", raising=False)
        return make_project(tmp_path, faults)

    return make


def tell(*words: str) -> int:
    return call("story", "Aldar sells a coat", *words, "--profile", "written")


def suites_of(root: Path) -> list[str]:
    """What lies in suites/ besides what was there before; half a file would be seen too."""
    return sorted(
        path.name for path in (root / "suites").iterdir() if path.is_file() and path.name != "aldar_kose.yaml"
    )


class Scripted:
    """A writer that says what a test wrote for it, and remembers what it was asked."""

    name, model, emulated, sees, concurrency = "scripted", "none", False, False, 1

    def __init__(self, *answers: Any) -> None:
        self.answers = [answer if isinstance(answer, str) else json.dumps(answer) for answer in answers]
        self.asked: list[str] = []

    def missing(self) -> str:
        return ""

    def write(self, system: str, user: str, schema: Schema | None = None) -> str:
        self.asked.append(user)
        return self.answers.pop(0)

    def see(self, picture: bytes, question: str) -> str:
        raise Unanswered(Outcome.PROVIDER_ERROR, "sees nothing")

    def close(self) -> None:
        """Holds nothing."""


def a_story(*scenes: dict[str, str], title: str = "The theft") -> dict[str, Any]:
    named = [{"title": f"Scene {number}", **scene} for number, scene in enumerate(scenes)]
    return {"title": title, "story": TEXT, "scenes": named}


MARKET = {"face": "smiling", "scene": "city background", "objects": "holding a lantern"}
STEPPE = {"pose": "sitting", "scene": "steppe background", "weather": "light rain"}


# --- the command ----------------------------------------------------------------------------------------------------


def test_an_idea_becomes_a_suite_that_loads(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    root = project()

    status = tell("--cases", "9", "--locked", "3", "--out", "suites/coat.yaml")

    suite = load_suite(root / "suites" / "coat.yaml", load_profile("written", root))
    text = (root / "suites" / "coat.yaml").read_text(encoding="utf-8")
    assert status == 0 and suite.name == "coat" and suite.subject.name == "Aldar Kose"
    assert len(suite.cases) == len({case.id for case in suite.cases}) == len({case.prompt for case in suite.cases}) == 9
    assert [case.split for case in suite.cases].count("locked") == 3
    assert all(case.prompt.startswith("aldar kose, ") and case.expect for case in suite.cases)
    assert (
        "flash, emulated) on" in " ".join(text.splitlines()[:2]).replace("# ", "")
        and "Aldar sells a coat" in text
        and "deepseek-flash" in text
    )
    assert "deepseek (deepseek-flash, emulated)" in capsys.readouterr().out


@pytest.mark.parametrize("writer", ["openai", "gigachat"])
def test_other_writers_do_it_too(writer: str, project: Project) -> None:
    root = project()

    assert tell("--cases", "4", "--writer", writer, "--out", "suites/x.yaml") == 0

    assert len(load_suite(root / "suites" / "x.yaml").cases) == 4


@pytest.mark.parametrize(
    "fault", ["bad_content", "wrong_shape", "blank_once", "rate_seconds", "unavailable", "blank_lines"]
)
def test_what_can_be_mended_is_mended(fault: str, project: Project) -> None:
    root = project(deepseek=[fault])

    assert tell("--cases", "3", "--out", "suites/x.yaml") == 0

    assert suites_of(root) == ["x.yaml"]


@pytest.mark.parametrize(
    ("faults", "said"),
    [
        (["quota"], "quota: .*top it up"),
        (["auth"], "auth: .*check the variable"),
        (["refused"], "refused: .*change the text"),
        (["length"], "provider_error: .*max_tokens"),
        (["retired"], "model_retired: .*name another"),
        (["hang"], "timeout: .*possibly billed"),
        (["wrong_shape"] * 3, "no story after 3 attempts; nothing was written"),
        (["bad_content"] * 3, "it is not JSON"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_whatever_fails_is_told_and_nothing_is_written(faults: list[str], said: str, project: Project) -> None:
    root = project(deepseek=faults)

    with pytest.raises(ProviderError, match=said):
        tell("--cases", "3")

    assert suites_of(root) == []


def test_an_existing_suite_is_replaced_only_by_force(project: Project) -> None:
    root = project()
    (root / "suites" / "mine.yaml").write_text("mine", encoding="utf-8")

    with pytest.raises(UsageError, match="--force"):
        tell("--out", "suites/mine.yaml")
    assert (root / "suites" / "mine.yaml").read_text(encoding="utf-8") == "mine"

    assert tell("--cases", "2", "--out", "suites/mine.yaml", "--force") == 0
    assert len(load_suite(root / "suites" / "mine.yaml").cases) == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--cases", "0"], "between 1 and"),
        (["--cases", "3", "--locked", "3"], "fewer than the 3 cases"),
        (["--writer", "depseek"], "did you mean 'deepseek'"),
        (["--subject", "Aldar Kosse"], "did you mean 'Aldar Kose'"),
    ],
)
def test_a_wrong_option_is_told_before_anybody_is_asked(words: list[str], said: str, project: Project) -> None:
    project()

    with pytest.raises(HarnessError, match=said):
        tell(*words)


# --- mending --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (a_story(MARKET), "scenes: 1 of them; exactly 2 are wanted"),
        (a_story(MARKET, MARKET), r"scenes\[1\]: says the same as scenes\[0\]"),
        (a_story(MARKET, {"scene": "steppe"}), r"scenes\[1\]: fewer than 2 fields"),
        (a_story(MARKET, STEPPE | {"action": "calling Aldar Kose"}), r"names the hero"),
        (a_story(MARKET, STEPPE | {"face": "{trigger}"}), r"scenes\[1\]\.face: .*brackets"),
        (a_story(MARKET, STEPPE | {"face": "улыбается"}), r"scenes\[1\]\.face: .*English"),
        (a_story(MARKET, STEPPE | {"mood": "gay"}), r"scenes\[1\]\.mood: Extra inputs"),
        (a_story(MARKET, STEPPE | {"pose": "x" * 200}), r"scenes\[1\]\.pose: .*120"),
        ("[1, 2", "not JSON"),
        ("null", "answer: "),
    ],
)
def test_a_wrong_answer_is_quoted_back_with_what_is_wrong(wrong: Any, said: str) -> None:
    writer = Scripted(wrong, a_story(MARKET, STEPPE))

    story = ask_story(writer, WISH, {})

    assert len(story.scenes) == 2
    with pytest.raises(ProviderError, match=said):
        ask_story(Scripted(wrong, wrong, wrong), WISH, {})
    assert "Your answer was" in writer.asked[1] and "a theft at the market" in writer.asked[1]


def test_json_in_a_code_fence_is_json() -> None:
    fenced = f"```json\n{json.dumps(a_story(MARKET, STEPPE))}\n```"

    assert ask_story(Scripted(fenced), WISH, {}).title == "The theft"


# --- prompts and expectations ---------------------------------------------------------------------------------------


def test_a_prompt_has_the_trigger_and_the_fields_in_their_order() -> None:
    whole = {name: f"the {name}" for name in reversed(ORDER)}
    story = Story.model_validate(a_story(whole, {"face": "sad", "scene": "forest", "hair": " "}))

    first, second = compose_cases(story, WISH, {})

    assert first["prompt"] == (
        "{trigger}, the subject, the view, the shot, the pose, the hair, the face, the action, the body, "
        "the clothes, the scene, the time, the weather, the objects"
    )
    assert second["prompt"] == "{trigger}, sad, forest"


def test_ids_are_plain_and_distinct_whatever_the_titles() -> None:
    titles = ["На базаре", "Gate", "At the well!", "At the well?", "Façade"]
    scenes = [
        Scene.model_validate({"title": title, "face": "sad", "scene": f"place {number}"})
        for number, title in enumerate(titles)
    ]
    wish = Wish("x", 5, "A", "a")

    cases = compose_cases(Story(title="T", story=TEXT, scenes=scenes), wish, {})

    assert [case["id"] for case in cases] == ["scene-01", "the-gate", "at-the-well", "at-the-well-2", "facade"]


def test_what_the_vocabulary_says_is_expected() -> None:
    world = load_profile("embedded", ROOT).vocabulary
    people = load_profile("sdxl", ROOT).vocabulary

    assert expectations(["smiling", "steppe background"], world) == {"expression": "smiling", "background": "steppe"}
    assert expectations(["smiling and then sad"], world) == {}  # both claim it
    assert expectations(["unsmiling", "forest"], world) == {}
    assert expectations(["a smile", "a staff in the hand"], people) == {"expression": "smiling", "accessory": "staff"}


def test_a_prompt_beyond_the_encoder_s_window_is_noted() -> None:
    profile = load_profile("embedded", ROOT)
    cases = [{"id": "short", "prompt": "{trigger}, sad"}, {"id": "long", "prompt": "{trigger}, " + "sad, " * 40}]

    (note,) = long_prompts(cases, "aldar kose", profile, ROOT)

    assert note.startswith("long: ") and "46" in note


# --- subjects and files ---------------------------------------------------------------------------------------------


def test_a_subject_is_found_in_the_suites_or_by_its_references(project: Project, tmp_path: Path) -> None:
    root = project()

    known = find_subject(root, None, "aldar", None)
    folder = find_subject(root, "Toma", None, root / "references" / "aldar_kose")

    assert known["name"] == "Aldar Kose" and known["trigger"] == "aldar"
    assert folder["name"] == "Toma" and folder["trigger"] == "toma" and folder["split"] == "folders"
    with pytest.raises(UsageError, match="harness init PICTURES"):
        find_subject(root, "Nobody", None, None)


def test_a_story_cannot_break_out_of_its_comment(project: Project) -> None:
    root = project()
    profile = load_profile("written", root)
    told = Story.model_validate(a_story(MARKET, STEPPE, title="One\u2028version: 2"))
    told = told.model_copy(update={"story": TEXT + "\n\x85suite: evil\u2028gate: [x]\r\nsubject: {}\x1b[31m\n"})
    out = root / "suites" / "safe.yaml"
    text = suite_text(told, compose_cases(told, WISH, {}), find_subject(root, None, None, None), out, profile, "origin")

    write_suite(text, out, profile, force=False)

    assert load_suite(out, profile).name == "safe" and "\x1b" not in text
    assert yaml.safe_load(text)["version"] == 1


def test_a_suite_that_would_not_load_is_not_left_behind(project: Project) -> None:
    root = project()
    profile = load_profile("written", root)

    with pytest.raises(HarnessError):
        write_suite("version: 7\n", root / "suites" / "bad.yaml", profile, force=False)

    assert suites_of(root) == []
