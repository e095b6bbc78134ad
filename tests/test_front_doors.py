"""What a person types first works, or is answered by the right command."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from harness.commands.cli import main
from harness.commands.sweep import files_of, one_suite
from harness.config.profile import load_profile
from harness.core.errors import UsageError
from harness.core.settings import Settings
from tests.support import ROOT
from tests.test_plugin_hooks import Project

pytest_plugins = ["pytester"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that commands are typed in, with pictures beside."""
    monkeypatch.delenv("HARNESS_PROFILE", raising=False)
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "references" / "aldar_kose" / "train", tmp_path / "pictures")
    return tmp_path


# --- harness init ---------------------------------------------------------------------------------------------------


def test_the_profile_of_init_is_what_everything_uses_from_then_on(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", "pictures", "--name", "Hero", "--profile", "sdxl"]) == 0

    assert "wrote .env: HARNESS_PROFILE=sdxl" in capsys.readouterr().out
    assert Settings.load(here, {}).profile == "sdxl"
    assert ".env" in (here / ".gitignore").read_text().split()


def test_without_a_profile_init_writes_no_env(here: Path) -> None:
    assert main(["init", "pictures", "--name", "Hero"]) == 0

    assert not (here / ".env").exists()


@pytest.mark.parametrize(
    ("before", "after"), [("KEY=1", "KEY=1\n\nHARNESS_PROFILE=sdxl\n"), ("", "HARNESS_PROFILE=sdxl\n")]
)
def test_what_env_holds_already_stays(here: Path, before: str, after: str) -> None:
    (here / ".env").write_text(f"{before}\n" if before else "")

    main(["init", "pictures", "--name", "Hero", "--profile", "sdxl"])

    assert (here / ".env").read_text() == after


def test_another_profile_that_env_names_is_left_and_said(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / ".env").write_text("HARNESS_PROFILE=embedded\n")

    main(["init", "pictures", "--name", "Hero", "--profile", "sdxl"])

    assert "says HARNESS_PROFILE=embedded, not sdxl" in capsys.readouterr().out
    assert Settings.load(here, {}).profile == "embedded"


def test_a_profile_that_there_is_not_costs_nothing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "pictures", "--name", "Hero", "--profile", "sdlx"]) == 2

    assert "did you mean 'sdxl'" in capsys.readouterr().err
    assert [path.name for path in here.iterdir()] == ["pictures"]


# --- harness sweep --------------------------------------------------------------------------------------------------


def test_a_folder_of_checkpoints_is_read_in_the_order_of_its_numbers(here: Path) -> None:
    names = ["hero-2", "hero-10", "hero-100", "hero"]
    for name in names:
        (here / f"{name}.safetensors").touch()
    (here / "hero-2.json").touch()

    assert [path.stem for path in files_of(here)] == ["hero", "hero-2", "hero-10", "hero-100"]
    assert files_of(here / "hero.safetensors") == [here / "hero.safetensors"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["pictures"], "no .safetensors file in pictures"),
        (["nowhere"], "there is no file nowhere"),
        (["suites/hero.yaml"], "harness sweep suites/hero.yaml FOLDER"),
    ],
)
def test_a_sweep_of_nothing_says_the_right_command(
    here: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["init", "pictures", "--name", "Hero"])

    assert main(["sweep", *words]) == 2
    assert said in capsys.readouterr().err


def test_the_only_suite_need_not_be_named(here: Path) -> None:
    with pytest.raises(UsageError, match=r"one suite, not 0: harness sweep SUITE LORA\.\.\.$"):
        one_suite([])
    main(["init", "pictures", "--name", "Hero"])
    assert one_suite([]) == Path("suites/hero.yaml")
    main(["init", "pictures", "--name", "Other"])

    with pytest.raises(UsageError, match=r"not 2: .*here are suites/hero\.yaml, suites/other\.yaml"):
        one_suite([])
    assert one_suite([Path("suites/other.yaml")]) == Path("suites/other.yaml")


# --- harness doctor ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("models: {dino: facebook/dinov2-small}", "FAIL  model facebook/dinov2-small"),
        ("models: {aesthetics: some/aesthetics}", "FAIL  model some/aesthetics"),
        ("device: mps", "FAIL  device mps"),
        ("steps: 5", "ready"),
    ],
)
def test_the_doctor_looks_for_everything_that_the_profile_names(
    here: Path, line: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "mine.yaml").write_text(f"extends: embedded\n{line}\n")

    status = main(["doctor", "--profile", "mine.yaml"])

    output = capsys.readouterr().out
    assert status == (said != "ready") and said in output and ("1 to mend" in output) is (said != "ready")
    assert load_profile("mine.yaml", here).name == "mine"


# --- a run that judges nothing ----------------------------------------------------------------------------------------


def test_a_run_that_judged_nothing_keeps_the_report_of_one_that_did(project: Project) -> None:
    project.suite()
    project.run()
    judged = project.results["run"]["id"]
    project.painters = {name: {**keys, "trouble": no_weights} for name, keys in project.painters.items()}

    run = project.run("--fresh")

    assert run.ret == 10 and project.results["run"]["id"] != judged
    kept = project.folder / "reports" / "before"
    assert judged in (kept / "results.json").read_text(encoding="utf-8") and (kept / "index.html").is_file()
    run.stdout.fnmatch_lines(["*the report of the run before, which judged, is kept: *before/index.html"])
    again = project.run("--fresh")
    assert "which judged" not in again.stdout.str() and judged in (kept / "results.json").read_text(encoding="utf-8")


def test_a_run_that_judged_replaces_the_report(project: Project) -> None:
    project.suite()
    project.run()
    project.level(0.4)

    assert "which judged" not in project.run().stdout.str()
    assert not (project.folder / "reports" / "before").exists()


def no_weights(requests: object) -> None:
    raise RuntimeError("no weights")
