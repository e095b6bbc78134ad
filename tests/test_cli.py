"""The command line, as a person types it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from harness.commands.cli import COMMANDS, main
from harness.config.profile import load_profile
from harness.config.suite import load_suite
from harness.world.people import random_person, random_scene
from harness.world.render import render
from tests.command_line import parse
from tests.support import ROOT


def draw_pictures(folder: Path, count: int) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(4)
    person = random_person(rng)
    for number in range(count):
        render(person, random_scene(rng), number).save(folder / f"{number}.png")
    return folder


def test_init_writes_a_suite_for_a_folder_of_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures = draw_pictures(tmp_path / "toma pictures", 12)

    status = main(["init", str(pictures), "--name", "Toma", "--into", str(tmp_path)])

    suite = load_suite(tmp_path / "suites" / "toma.yaml", load_profile("embedded", ROOT))
    assert status == 0
    assert suite.subject.trigger == "toma"
    assert {name: bound.fail for name, bound in suite.thresholds.items()} == {
        "quality": 0.6,
        "clip": 0.5,
        "prompt": 0.5,
    }
    assert sum(case.split == "locked" for case in suite.cases) == 8
    assert len(list((tmp_path / "references" / "toma" / "held_out").glob("*.png"))) == 4
    assert "suites/toma.yaml" in capsys.readouterr().out


def test_init_refuses_too_few_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["init", str(draw_pictures(tmp_path / "few", 2)), "--into", str(tmp_path)])

    assert status == 2
    assert "3 are needed at least" in capsys.readouterr().err


def test_init_alone_writes_the_demo(tmp_path: Path) -> None:
    assert main(["init", "--into", str(tmp_path)]) == 0

    assert load_suite(tmp_path / "suites" / "aldar_kose.yaml").subject.name == "Aldar Kose"
    assert (tmp_path / "pytest.ini").read_text(encoding="utf-8").count("harness_suites = suites") == 1
    assert not (tmp_path / "conftest.py").exists(), "the entry point brings the plugin"


def test_doctor_lists_what_a_run_needs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)

    status = main(["doctor"])

    told = capsys.readouterr().out
    assert status == 0, told
    for word in ("python", "torch", "device", "memory", "disk", "fixtures/models/sdxl", "studio", "aldar_kose.yaml"):
        assert word in told


def test_lint_counts_cases(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)

    assert main(["lint", "suites/aldar_kose.yaml"]) == 0
    assert "12 open and 24 locked cases" in capsys.readouterr().out


def test_a_missing_report_is_said_plainly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--from", str(tmp_path / "none.json"), "--store", str(tmp_path / "store")]) == 2
    assert "none.json" in capsys.readouterr().err


def test_the_champion_is_not_overwritten(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)

    assert main(["train", "suites/aldar_kose.yaml"]) == 2
    assert "--out" in capsys.readouterr().err


def test_doctor_asks_each_service_when_told_to(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)

    assert main(["doctor", "--providers"]) == 0

    printed = capsys.readouterr().out
    assert re.search(r"ok +provider openai +answers in .* nothing billed \(emulated\)", printed)
    assert re.search(r"warn +provider deepai +has no free call .*--paid draws one picture", printed)
    assert re.search(r"ok +provider gigachat \(text\) +answers", printed)


def test_without_the_emulator_a_service_needs_its_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in re.findall(r"^# (\w+)=", (ROOT / ".env.example").read_text(encoding="utf-8"), re.MULTILINE):
        monkeypatch.delenv(variable, raising=False)  # whoever runs this may have real keys
    monkeypatch.setenv("HARNESS_EMULATOR", "off")
    monkeypatch.chdir(tmp_path)

    main(["doctor", "--providers"])

    printed = capsys.readouterr().out
    for variable in ("FREEPIK", "DEEPAI", "GEMINI", "OPENAI", "DEEPSEEK"):
        assert f"{variable}_API_KEY is not set" in printed


NAMES = [tuple(words.split()) for words in COMMANDS]


@pytest.mark.parametrize("words", NAMES, ids=" ".join)
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_every_command_explains_itself(words: tuple[str, ...], option: str, capsys: pytest.CaptureFixture[str]) -> None:
    if words == ("run",):  # pytest's own
        return

    assert main([*words, option]) == 0

    output = " ".join(capsys.readouterr().out.split())
    assert output.lower().startswith(f"usage: {' '.join(('harness', *words))} ")
    assert words == ("ci",) or COMMANDS[" ".join(words)][1] in output


def test_all_commands_are_listed_in_the_order_of_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])

    listed = re.findall(r"^  ([a-z]+)  ", capsys.readouterr().out.partition("Commands:")[2], re.MULTILINE)
    assert listed == [words for words in COMMANDS if " " not in words]


WRONG = [
    (["reprot"], "No such command 'reprot'. Did you mean 'report'?"),
    (["lora", "exprt"], "No such command 'exprt'. Did you mean"),
    (["lint", "a.yaml", "--tokns"], "No such option '--tokns'. Did you mean"),
    (["lint"], "Missing argument 'SUITE...'"),
    (["merge"], "Missing argument 'RESULTS.JSON...'"),
    (["references", "prepare", "pictures"], "Missing option '--into'"),
    (["world", "moon"], "'moon' is not one of 'bank'"),
    (["train", "a.yaml", "--dtype", "int8"], "'int8' is not one of 'auto'"),
    (["emulator", "--port", "many"], "'many' is not a valid integer"),
    (["fetch", "sdxl", "another"], "unexpected extra argument (another)"),
    (["cache", "ls", "--store", "--json"], "Option '--store' requires an argument"),
    (["cache", "ls", "--store", "-x"], "Option '--store' requires an argument"),
    (["cache", "ls", "--store"], "Option '--store' requires an argument"),
    (["cache", "ls", "--store", "--"], "Option '--store' requires an argument"),
    (["references", "prepare", "a", "--into", "b", "--size", "63"], "'63' is no size; write 1024x1024"),
    (["lora", "export", "a", "--style", "kohya", "--keep-alpha", "--fold-alpha"], "not allowed with '--keep-alpha'"),
]


@pytest.mark.parametrize(("words", "message"), WRONG, ids=lambda value: " ".join(value)[:40])
def test_wrong_words_are_exit_status_2(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2

    captured = capsys.readouterr()
    assert message in captured.err and captured.out == ""


@pytest.mark.parametrize("words", [[], ["lora"], ["cache"], ["references"]], ids=" ".join)
def test_a_group_without_a_command_says_which_there_are(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2

    assert "Commands:" in capsys.readouterr().err


def test_values_may_look_like_options_where_argparse_let_them() -> None:
    assert parse(["world", "newcomer", "--seed", "-1"]).params["seed"] == -1
    assert parse(["references", "split", "a", "--share", "-.5"]).params["share"] == -0.5
    assert parse(["cache", "ls", "--store=--json"]).params["store"] == "--json"
    assert parse(["lora", "rollback", "--suite", "a", "--reason", "-1 was better"]).params["reason"] == "-1 was better"
    assert parse(["lint", "--", "--tokens"]).params["suites"] == (Path("--tokens"),)


def test_switches_of_a_training_are_on_off_or_left_open() -> None:
    params = parse(["train", "a.yaml", "--dora", "--no-flip", "--set", "a=1", "--steps", "3", "--set", "b=2"]).params

    assert (params["dora"], params["flip"], params["compile"]) == (True, False, None)
    assert (params["pairs"], params["steps"], params["rank"]) == (("a=1", "b=2"), 3, None)


def test_what_stands_behind_run_and_ci_is_pytests(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[list[str]] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pytest, "main", lambda words, plugins=(): calls.append(list(words)) or 5)

    assert main(["run", "--version", "-k", "--set", "--", "-h"]) == 5
    assert main(["ci", "--lora", "--", "--junitxml=x"]) == 5
    assert main(["ci", "--help", "--nonsense"]) == 0

    assert calls == [["--version", "-k", "--set", "--", "-h", "suites"], ["--lora", "--", "--junitxml=x", "suites"]]
    assert "usage: harness ci [SUITES...] [OPTIONS OF PYTEST]" in capsys.readouterr().out


def test_ctrl_c_is_exit_status_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("harness.commands.emulator.serve", interrupt)

    assert main(["emulator"]) == 130
    assert capsys.readouterr().err == "harness: interrupted; the same command goes on where it stopped\n"


@pytest.mark.parametrize("words", [("--help",), ("lint", "suites/smoke.yaml")], ids=" ".join)
def test_a_reader_that_went_away_is_no_fault(words: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        command = [sys.executable, "-m", "harness", *words]
        done = subprocess.run(command, cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    finally:
        os.close(writing)

    assert (done.returncode, done.stderr) == (1, "")


# --- what is loaded -----------------------------------------------------------------------------------------------

STARTS = {
    "module": "runpy.run_module('harness', run_name='__main__', alter_sys=True)",
    "script": "from harness.commands.cli import main; sys.exit(main())",
}
HEAVY = ("numpy", "torch", "pydantic", "requests", "scipy", "PIL", "yaml", "pytest")


def modules_of(start: str, *words: str) -> set[str]:
    """Everything that a fresh process has loaded when `harness WORDS` ends."""
    code = (
        "import atexit, sys\n"
        "atexit.register(lambda: print(*sys.modules, file=sys.stderr))\n"
        f"sys.argv[:] = {['harness', *words]!r}\n"
        f"{'import runpy; ' if 'runpy' in start else ''}{start}\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stderr.split())


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
def test_the_version_is_told_at_once(start: str) -> None:
    loaded = modules_of(start, "--version")

    assert len(loaded) < 120
    assert not loaded & set(HEAVY)


@pytest.mark.parametrize("words", [("--help",), ("lora", "--help"), ("cache", "-h")], ids=" ".join)
def test_help_loads_no_library(words: tuple[str, ...]) -> None:
    assert not modules_of(STARTS["script"], *words) & set(HEAVY)


def test_no_command_loads_torch_before_it_works() -> None:
    code = """
import sys
from harness.commands.cli import COMMANDS, Deferred
for words, (home, summary) in COMMANDS.items():
    if home:
        assert Deferred(words, home, summary).load().callback is not None
    assert not {"torch", "diffusers", "transformers", "peft", "matplotlib"} & set(sys.modules), words
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
