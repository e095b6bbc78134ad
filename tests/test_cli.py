"""The command line, as a person types it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from harness.commands.cli import main
from harness.config.profile import load_profile
from harness.config.suite import load_suite
from harness.world.people import random_person, random_scene
from harness.world.render import render
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
    assert (tmp_path / "conftest.py").exists()


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


@pytest.mark.parametrize("command", ["init", "doctor", "train", "report", "lint", "fetch", "emulator", "world"])
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])

    assert stopped.value.code == 0
    assert "usage:" in capsys.readouterr().out
