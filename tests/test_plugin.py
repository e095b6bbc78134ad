"""The plugin from outside: pytest runs suites in a process of its own, with the committed models."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from tests.support import ROOT, SMOKE, Finished, run_suites, write_suite

pytestmark = pytest.mark.real

FLAT = """
version: 1
suite: flat
subject:
  name: Aldar Kose
  trigger: aldar kose
  references: REFERENCES
providers: [flat]
gate: [flat]
samples: 2
thresholds: {quality: THRESHOLD}
cases:
  - {id: one, prompt: "{trigger}, smiling"}
  - {id: two, prompt: "{trigger}, sad"}
  - {id: three, prompt: "{trigger}, angry", split: locked}
"""


def flat_suite(folder: Path, threshold: str = "1.0") -> str:
    return str(write_suite(folder, FLAT.replace("THRESHOLD", threshold), "flat.yaml"))


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Finished]:
    """The smoke suite from an empty store, with JUnit."""
    folder = tmp_path_factory.mktemp("smoke")
    return folder, run_suites(folder, SMOKE, "-rA", f"--junitxml={folder / 'junit.xml'}", cold=True)


def test_the_shipped_smoke_suite_passes(smoke: tuple[Path, Finished]) -> None:
    _, run = smoke

    assert run.status == 0, run.output
    assert run.results["gate"]["verdict"] == "pass"
    assert run.quality("lora") > run.quality("base")
    assert "suites/smoke.yaml::smiling-steppe::lora" in run.output
    assert "suites/smoke.yaml::gate::lora" in run.output


def test_a_second_run_draws_nothing_and_says_the_same(smoke: tuple[Path, Finished]) -> None:
    folder, first = smoke
    before = {row["provider"]: row["quality"] for row in first.results["leaderboard"]}

    again = run_suites(folder, SMOKE)

    assert again.status == 0
    assert again.results["engine"]["images_generated"] == 0
    assert again.results["engine"]["model_loads"] == 0
    assert {row["provider"]: row["quality"] for row in again.results["leaderboard"]} == before


def test_junit_carries_scores_and_verdicts(smoke: tuple[Path, Finished]) -> None:
    folder, _ = smoke
    cases = ElementTree.parse(folder / "junit.xml").getroot().iter("testcase")

    gate = next(case for case in cases if case.get("name") == "lora" and "gate" in (case.get("classname") or ""))

    properties = {item.get("name"): item.get("value") for item in gate.iter("property")}
    assert properties["verdict"] == "pass"
    assert float(properties["quality"]) > 0.5


@pytest.mark.parametrize("workers", ["2", "4"])
def test_workers_give_the_same_scores_from_an_empty_store(
    smoke: tuple[Path, Finished], tmp_path: Path, workers: str
) -> None:
    _, alone = smoke

    spread = run_suites(tmp_path, SMOKE, "-n", workers, cold=True)

    assert spread.status == 0, spread.output
    assert spread.results["engine"]["images_generated"] == alone.results["engine"]["images_generated"]
    assert spread.results["engine"]["model_loads"] == alone.results["engine"]["model_loads"]
    for ours, theirs in zip(spread.results["cases"], alone.results["cases"], strict=True):
        assert (ours["case"], ours["provider"]) == (theirs["case"], theirs["provider"])
        for left, right in zip(ours["samples"], theirs["samples"], strict=True):
            for metric, score in left["scores"].items():
                assert score["value"] == pytest.approx(right["scores"][metric]["value"], abs=1e-3), metric


def test_k_selects_and_only_what_is_selected_is_drawn(tmp_path: Path) -> None:
    run = run_suites(tmp_path, flat_suite(tmp_path, "0.0"), "-k", "one")

    assert run.count("failed") == 1  # a flat colour is a blank picture, whatever the threshold
    assert run.results["engine"]["images_generated"] == 2


def test_what_verbose_prints_can_be_pasted(smoke: tuple[Path, Finished], tmp_path: Path) -> None:
    folder, _ = smoke

    told = run_suites(folder, SMOKE, "-v", "-k", "smiling")
    ids = [line.split()[0] for line in told.output.splitlines() if re.search(r"::\S+ (PASSED|FAILED|XFAIL)", line)]
    again = run_suites(folder, *ids)

    assert "suites/smoke.yaml::smiling-steppe::lora" in ids and again.count("passed") == told.count("passed")


def test_marks_select(tmp_path: Path) -> None:
    run = run_suites(tmp_path, flat_suite(tmp_path, "0.0"), "-m", "gate", "--collect-only", "-q")

    assert "flat.yaml::one::flat" in run.output
    assert "flat.yaml::gate::flat" in run.output


def test_locked_cases_are_left_out_unless_asked_for(tmp_path: Path) -> None:
    suite = flat_suite(tmp_path, "0.0")

    assert "::three::" not in run_suites(tmp_path, suite, "--collect-only", "-q").output
    assert "::three::" in run_suites(tmp_path, suite, "--collect-only", "-q", "--locked").output


def test_lf_runs_exactly_the_failed_items_again(tmp_path: Path) -> None:
    suite = flat_suite(tmp_path)
    first = run_suites(tmp_path, suite)

    again = run_suites(tmp_path, suite, "--lf")

    assert first.status == again.status == 1
    assert first.count("failed") == again.count("failed") == 3
    assert again.results["engine"]["images_generated"] == 0


def test_x_stops_at_the_first_failure(tmp_path: Path) -> None:
    run = run_suites(tmp_path, flat_suite(tmp_path), "-x")

    assert run.status == 1
    assert run.count("failed") == 1


def test_a_failure_says_what_was_found_and_what_to_do(tmp_path: Path) -> None:
    run = run_suites(tmp_path, flat_suite(tmp_path))

    assert "quality" in run.output
    assert ".png" in run.output  # the worst sample's path


def test_a_broken_suite_is_a_collection_error_with_line_and_hint(tmp_path: Path) -> None:
    path = write_suite(tmp_path, FLAT.replace("THRESHOLD", "0.5").replace("samples:", "sampels:"), "broken.yaml")

    run = run_suites(tmp_path, str(path))

    assert run.status == 2
    assert "broken.yaml:10: sampels" in run.output
    assert "samples" in run.output
    assert "Traceback" not in run.output


def test_somebody_elses_yaml_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("services: {web: {image: nginx}}\nversion: 3\n")

    assert run_suites(tmp_path, str(tmp_path)).status == 5


def test_an_unknown_provider_option_is_answered_with_the_nearest(tmp_path: Path) -> None:
    run = run_suites(tmp_path, SMOKE, "--providers", "lara")

    assert run.status != 0
    assert "did you mean 'lora'?" in run.output


def test_python_tests_use_a_suite_through_mark_and_fixture(tmp_path: Path) -> None:
    suite = flat_suite(tmp_path, "0.0")
    test = tmp_path / "test_mine.py"
    test.write_text(
        "import pytest\n\n\n"
        f"@pytest.mark.lora_suite({suite!r})\n"
        "def test_mine(lora_case):\n"
        "    assert len(lora_case.result.samples) == 2\n"
        "    assert lora_case.verdict.decision == 'fail'\n"
        "    assert lora_case.verdict.details['faults'] == {'blank': 2}\n"
    )

    run = run_suites(tmp_path, str(test))

    assert run.status == 0, run.output
    assert run.count("passed") == 2


def test_an_open_verdict_has_its_own_exit_code_where_proof_is_demanded(tmp_path: Path) -> None:
    text = (ROOT / SMOKE).read_text(encoding="utf-8").replace("../references", (ROOT / "references").as_posix())
    suite = tmp_path / "open.yaml"
    text = text.replace("gate: [lora]", "gate: [lora]\non_inconclusive: fail")
    suite.write_text(text.replace("{quality: 0.5}", "{quality: 0.5, prompt: 0.5}"), encoding="utf-8")

    run = run_suites(tmp_path, str(suite), "--providers", "lora")  # nobody shows that prompts can be read

    assert run.status == 11, run.output
    assert "its threshold says nothing" in run.output


def test_a_wrong_option_is_told_plainly(tmp_path: Path) -> None:
    for option, value in (("--budget", "much"), ("--baseline", "nope"), ("--lora", "none.safetensors")):
        run = run_suites(tmp_path, "suites/smoke.yaml", option, value)

        assert run.status == 4, run.output
        assert f"ERROR: {option} {value}" in run.output and "Traceback" not in run.output


def test_a_terminal_without_unicode_keeps_its_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Letters that it lacks are spelt out; pytest alone would print a failure's line ends as `\\n` then."""
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    monkeypatch.setenv("NO_COLOR", "1")
    text = FLAT.replace("THRESHOLD", "1.0").replace("{trigger}, sad", "{trigger}, қайғылы")

    run = run_suites(tmp_path, str(write_suite(tmp_path, text, "flat.yaml")), "--color=auto")

    assert run.status == 1, run.output
    assert "\\u049b\\u0430\\u0439\\u0493\\u044b\\u043b\\u044b" in run.output
    assert "\\n" not in run.output and "\x1b" not in run.output
    assert "  metric" in run.output
