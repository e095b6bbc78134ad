"""`harness caption`: one text beside each picture, only where there is none, and no failure takes the others along."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.core.errors import MissingKey, UsageError
from harness.core.values import Outcome, Subject
from harness.emulator.shared import Lent, share
from harness.providers.http_client.exchange import Unanswered
from harness.providers.text.caption import Asking, Captioner, plan_captions
from harness.providers.text.chat import Schema
from harness.scoring.references import load_references
from harness.training.data import train_pictures
from tests.command_line import call
from tests.writing import add_pictures, make_project

Project = Callable[..., Path]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    def make(**faults: list[str]) -> Path:
        monkeypatch.chdir(tmp_path)
        monkeypatch.delenv("HARNESS_EMULATOR", raising=False)
        return make_project(tmp_path, faults) / "references" / "aldar_kose" / "train"

    return make


def write(folder: Path, *words: str) -> int:
    return call("caption", str(folder), *words, "--profile", "written")


def texts(folder: Path) -> dict[str, str]:
    return {path.stem: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.txt"))}


class Scripted:
    """A writer that answers about pictures what a test says; threads share it."""

    name, model, emulated, sees = "scripted", "none", False, True

    def __init__(self, answer: Callable[[int], str] = lambda number: f"picture {number}", concurrency: int = 1) -> None:
        self.concurrency = concurrency
        self._answer, self._lock = answer, threading.Lock()
        self.questions: list[str] = []

    def missing(self) -> str:
        return ""

    def write(self, system: str, user: str, schema: Schema | None = None) -> str:
        return ""

    def see(self, picture: bytes, question: str) -> str:
        with self._lock:
            self.questions.append(question)
            number = len(self.questions)
        return self._answer(number)

    def close(self) -> None:
        """Holds nothing."""


# --- the command ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("writer", ["gigachat", "openai"])
def test_each_picture_gets_a_caption_that_the_training_reads(writer: str, project: Project) -> None:
    folder = project()

    assert write(folder, "--writer", writer, "--trigger", "aldar kose") == 0

    subject = Subject(name="Aldar Kose", trigger="aldar kose", references=folder.parent)
    captions = [picture.caption for picture in train_pictures(subject)]
    assert len(captions) == 3 and len(load_references(subject).captions) == 3
    assert all(re.fullmatch(r"aldar kose, An? .* picture in .*\.", text) for text in captions)


def test_tags_are_short_and_stand_once(project: Project) -> None:
    folder = project()

    assert write(folder, "--style", "tags", "--trigger", "aldar kose") == 0

    assert all(re.fullmatch(r"aldar kose(, [a-z ]+){3,5}\n", text) for text in texts(folder).values())


def test_only_new_pictures_are_asked_about(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    folder = project()
    (folder / "picture_01.txt").write_text("written by hand", encoding="utf-8")
    lent = share()
    assert isinstance(lent, Lent)

    assert write(folder) == 0
    add_pictures(folder / "more", 1)[0].rename(folder / "picture_09.png")
    assert write(folder) == 0

    uploads = [request for request in lent.emulator.calls if request.path.endswith("/files")]
    lent.release()
    assert len(uploads) == 3 and texts(folder)["picture_01"] == "written by hand"
    said = capsys.readouterr().out
    assert "1 captioned, 3 had one already, 0 failed" in said and "HARNESS_EMULATOR=off" in said


def test_force_writes_all_of_them_anew(project: Project) -> None:
    folder = project()
    (folder / "picture_01.txt").write_text("written by hand", encoding="utf-8")

    assert write(folder, "--force") == 0

    assert "by hand" not in texts(folder)["picture_01"] and len(texts(folder)) == 3


def test_a_dry_run_asks_nothing(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    folder = project()

    assert write(folder, "--dry-run") == 0

    said = capsys.readouterr().out
    assert (
        texts(folder) == {}
        and "picture_02.png" in said
        and "3 pictures for gigachat (GigaChat-2-Max, emulated)" in said
    )


def test_a_folder_of_both_splits_is_taken_as_both(project: Project) -> None:
    folder = project()

    assert write(folder.parent) == 0

    assert len(texts(folder)) == len(texts(folder.parent / "held_out")) == 3


def test_one_picture_s_failure_is_its_own(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    folder = project(gigachat=["ok", "ok", "refused_blacklist"])
    (folder / "picture_02.png").write_bytes(b"\x89PNG but broken")

    assert write(folder) == 1

    said = capsys.readouterr().out
    assert list(texts(folder)) == ["picture_00"]
    assert "picture_01.png: refused: " in said and "picture_02.png: bad_image: " in said
    assert "1 captioned, 0 had one already, 2 failed" in said
    assert write(folder) == 1  # the refused one is tried again, the broken one stays broken
    assert list(texts(folder)) == ["picture_00", "picture_01"]


@pytest.mark.parametrize(
    ("fault", "outcome"), [("quota", "quota"), ("retired", "model_retired"), ("forbidden", "auth")]
)
def test_after_something_final_nothing_more_is_asked(
    fault: str, outcome: str, project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = project(gigachat=["ok", "ok", fault])

    assert write(folder) == 1

    said = capsys.readouterr().out
    assert list(texts(folder)) == ["picture_00"]
    assert f"picture_01.png: {outcome}: " in said and "stopped with 1 to go" in said


def test_an_upload_that_stays_is_listed(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    folder = project(gigachat=["delete_fails"])

    assert write(folder) == 0

    assert "uploads that could not be deleted: " in capsys.readouterr().out


def test_a_refusal_in_words_is_no_caption(project: Project) -> None:
    folder = project(openai=["refused_text"])

    assert write(folder, "--writer", "openai") == 1

    assert len(texts(folder)) == 2 and not any("sorry" in text for text in texts(folder).values())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], "no such folder"),
        (["suites"], "no PNG, JPEG or WebP"),
        (["references/aldar_kose", "--writer", "deepseek"], "choose gigachat or openai|is shown no pictures"),
    ],
)
def test_what_cannot_be_done_is_told(words: list[str], said: str, project: Project) -> None:
    project()

    with pytest.raises(UsageError, match=said):
        write(Path(words[0]), *words[1:])


def test_without_a_key_the_variable_is_named(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = project()
    monkeypatch.setenv("HARNESS_EMULATOR", "off")
    monkeypatch.delenv("GIGACHAT_CREDENTIALS", raising=False)

    with pytest.raises(MissingKey, match="GIGACHAT_CREDENTIALS"):
        write(folder)


# --- what is written ------------------------------------------------------------------------------------------------


def test_who_wrote_it_is_on_record_and_the_emulator_s_words_make_way_for_real_ones(project: Project) -> None:
    folder = project()
    write(folder)
    (folder / "picture_01.txt").write_text("mended by hand", encoding="utf-8")

    record = json.loads((folder / "captions.json").read_text(encoding="utf-8"))["pictures"]
    again, real = plan_captions(folder, False, emulated=True), plan_captions(folder, False, emulated=False)

    assert {entry["writer"] for entry in record.values()} == {"gigachat"} and record["picture_00.png"]["emulated"]
    assert again.todo == () and [path.stem for path in real.todo] == ["picture_00", "picture_02"]


@pytest.mark.parametrize(
    ("style", "answer", "kept"),
    [
        ("sentence", '"A man\nin a **red** hat."', "A man in a red hat."),
        ("sentence", "Here is the caption: A man in a hat.", "A man in a hat."),
        ("sentence", "```\nA man.\n```", "A man."),
        ("sentence", "A man\x1b[31m.\u202e", "A man?[31m.?"),
        ("tags", "Smiling, red hat,\n- Red Hat, steppe.", "smiling, red hat, steppe"),
    ],
)
def test_an_answer_is_made_one_plain_line(style: str, answer: str, kept: str, tmp_path: Path) -> None:
    add_pictures(tmp_path, 1)

    report = Captioner(Scripted(lambda number: answer), Asking(style), say=no_word).run(
        plan_captions(tmp_path, False, False)
    )

    assert report.written == 1 and texts(tmp_path) == {"picture_00": f"{kept}\n"}


def test_a_caption_that_says_the_trigger_is_left_alone(tmp_path: Path) -> None:
    add_pictures(tmp_path, 1)
    writer = Scripted(lambda number: "Toma in the snow.")

    Captioner(writer, Asking(trigger="toma"), say=no_word).run(plan_captions(tmp_path, False, False))

    assert texts(tmp_path) == {"picture_00": "Toma in the snow.\n"} and "'toma'" in writer.questions[0]


def test_an_empty_answer_is_a_failure(tmp_path: Path) -> None:
    add_pictures(tmp_path, 1)

    report = Captioner(Scripted(lambda number: "**"), say=no_word).run(plan_captions(tmp_path, False, False))

    assert [failure.outcome for failure in report.failures] == [Outcome.PROVIDER_ERROR] and texts(tmp_path) == {}


def test_two_pictures_that_would_share_a_text_are_told_apart(tmp_path: Path) -> None:
    add_pictures(tmp_path, 1)
    add_pictures(tmp_path, 1, suffix=".webp")

    report = Captioner(Scripted(), say=no_word).run(plan_captions(tmp_path, False, False))

    assert report.written == 1 and "rename one" in report.failures[0].message


def test_ctrl_c_keeps_what_came(tmp_path: Path) -> None:
    add_pictures(tmp_path, 4)

    def say(line: str) -> None:
        if line.startswith("2 of"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Captioner(Scripted(), say=say).run(plan_captions(tmp_path, False, False))

    assert len(texts(tmp_path)) == 2 and len(plan_captions(tmp_path, False, False).todo) == 2
    assert not list(tmp_path.glob(".*"))


def test_no_more_pictures_are_under_way_than_the_writer_allows(tmp_path: Path) -> None:
    add_pictures(tmp_path, 5)
    together = threading.Barrier(2, timeout=5)

    def answer(number: int) -> str:
        if number <= 4:
            together.wait()  # broken unless exactly two are there
        return "text"

    report = Captioner(Scripted(answer, concurrency=2), say=no_word).run(plan_captions(tmp_path, False, False))

    assert report.written == 5 and len(json.loads((tmp_path / "captions.json").read_text())["pictures"]) == 5


def test_something_final_stops_those_that_wait(tmp_path: Path) -> None:
    add_pictures(tmp_path, 5)

    def answer(number: int) -> str:
        raise Unanswered(Outcome.AUTH, "no", final=True)

    report = Captioner(Scripted(answer), say=no_word).run(plan_captions(tmp_path, False, False))

    assert len(report.failures) == 1 and report.left == 4 and report.stopped == "no"


def no_word(line: str) -> None:
    """Nobody listens."""


# --- questions, languages and names of one's own ----------------------------------------------------------------------


def test_the_question_its_language_and_the_names_are_those_that_were_given(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = project()
    (folder / "questions.json").write_text('{"aldar_kose": "Describe {name} in {language}."}', encoding="utf-8-sig")
    (folder / "names.json").write_text('{"aldar_kose": "Aldar", "toma": "Toma"}', encoding="utf-8")
    words = ("--question", str(folder / "questions.json"), "--names", str(folder / "names.json"))
    lent = share()
    assert isinstance(lent, Lent)

    assert write(folder, *words, "--language", "Russian", "--trigger", "somebody") == 0

    asked = [call.payload["messages"][0]["content"] for call in lent.emulator.calls if "/chat" in call.path]
    lent.release()
    assert asked == ["Describe Aldar in Russian."] * 3
    assert all(text.startswith("Aldar, ") for text in texts(folder).values())
    assert "captions in Russian are for models that read it" in capsys.readouterr().out


def test_a_class_is_the_folder_around_train_and_held_out() -> None:
    asking = Asking("tags", "German", "who", {"": "What is it?"}, {"toma": "Toma", "train": "nobody"})

    assert [asking.name(Path("x", *parts, "1.png")) for parts in (("toma",), ("toma", "train"), ("ann",))] == [
        "Toma",
        "Toma",
        "who",
    ]
    assert asking.question(Path("ann/1.png")) == "What is it?"
    assert "short German tags" in replace(asking, questions={}).question(Path("toma/1.png"))
    assert "'Toma'" in replace(asking, questions={"ann": "?"}).question(Path("toma/1.png"))


@pytest.mark.parametrize("content", ["[1]", '{"toma": ""}', '{"toma": ["a"]}', "{", None])
def test_a_file_of_classes_that_is_none_is_told(content: str | None, project: Project) -> None:
    folder = project()
    if content is not None:
        (folder / "names.json").write_text(content, encoding="utf-8")

    with pytest.raises(UsageError, match=r"--names .*names\.json: "):
        write(folder, "--names", str(folder / "names.json"))
    assert texts(folder) == {}
