"""What the page for people who come from a training script names is there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from harness.commands.cli import main
from harness.config.profile import load_profile
from harness.config.suite import load_suite
from harness.core.claim import OPTIONS
from tests.support import ROOT, SMOKE
from tests.test_plugin_hooks import Project

pytest_plugins = ["pytester"]
PAGE = (ROOT / "docs" / "from-a-script.md").read_text(encoding="utf-8")
CODE = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_every_name_of_such_scripts_is_on_the_page() -> None:
    names = """lora_training_results/ comparison_report_*.json training_history.json aldar_feature_analysis.json
        config.py USE_LCM NUM_INFERENCE_STEPS TRAINING_STEPS LEARNING_RATE max_iterations should_continue_training
        score_gap
        needs_improvement clip_similarity feature_matching base_prompts.json character_names.json"""

    assert [name for name in names.split() if name not in PAGE] == []


@pytest.mark.parametrize("level", [0.9, 0.4])
def test_the_script_on_the_page_reads_what_a_run_leaves(project: Project, level: float) -> None:
    project.suite(("[lora, base]", "[lora, gemini]"))
    project.painters["gemini"] = {"adapter": "service/1", "level": 0.7}
    project.level(level)
    project.run()

    found: dict[str, Any] = {}
    exec(CODE[0], found)

    assert found["go_on"] is (level < 0.7)
    told = json.loads(Path("reports/feedback.json").read_text(encoding="utf-8"))
    assert (
        told["areas"].keys() == {"clip_similarity", "feature_matching", "ssim"} and told["best_competitor"] == "gemini"
    )
    assert [path.name for path in Path("reports/feedback").iterdir()] != []
    assert Path("reports/results.json").is_file() and Path("reports/summary.md").is_file()


def test_the_lines_for_suites_and_profiles_are_read(tmp_path: Path) -> None:
    profiles = tmp_path / "suites" / "profiles"
    profiles.mkdir(parents=True)
    (profiles / "mine.yaml").write_text(re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[0], encoding="utf-8")
    (beat,) = re.findall(r"`(beat: \[.*?\])`", PAGE)
    text = (ROOT / SMOKE).read_text(encoding="utf-8").replace("../references", (ROOT / "references").as_posix())
    (tmp_path / "suite.yaml").write_text(f"{text}{beat}\n", encoding="utf-8")

    mine = load_profile("mine", tmp_path)

    assert (mine.steps, mine.training["steps"], mine.training["learning_rate"]) == (8, 1500, 1e-4)
    assert (mine.scheduling.name, mine.scheduling.lora is not None) == ("lcm", True)
    assert load_suite(tmp_path / "suite.yaml").allowances == {"best_competitor": 0.05}


@pytest.mark.parametrize("command", sorted(set(re.findall(r"`harness ([a-z]+(?: analyse)?)", PAGE))))
def test_its_commands_are_there(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command.split(), "--help"]) == 0
    assert "Usage: harness" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "option"), [*re.findall(r"`harness ([a-z]+) [A-Z]+ (--[a-z-]+)", PAGE), ("caption", "--language")]
)
def test_its_options_are_there(command: str, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    main([command, "--help"])
    assert f"{option} " in capsys.readouterr().out


def test_options_of_a_run_on_the_page_are_there() -> None:
    assert {"--report-dir", "--store", "--retrain", "--lora"} <= OPTIONS.keys() & set(re.findall(r"--[a-z-]+", PAGE))
