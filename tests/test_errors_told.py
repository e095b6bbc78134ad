"""What goes wrong is told in a few words of its own, once, at the right place, and the exit status stays true."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.commands.output import json_for
from harness.commands.places import LEAST, ReportFolderError, try_folder
from harness.core.errors import ModelError, StoreError
from harness.core.streams import spell_out, writes_unicode
from harness.core.values import Generation, Outcome, Request
from tests.painter import Brightness
from tests.test_plugin_hooks import Project, junit, properties

pytest_plugins = ["pytester"]
INSIDES = ("_pytest/", "pluggy/", "Traceback", "plugin.py", "INTERNALERROR")


@pytest.fixture(name="project")
def painted_project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    return Project(pytester, monkeypatch)


def broken(requests: Sequence[Request]) -> Generation:
    return Generation(Outcome.PROVIDER_ERROR, message=f"the program ended with exit code 3 (seed {requests[0].seed})")


def errors_of(run: pytest.RunResult) -> list[str]:
    """The lines of pytest's section on errors."""
    lines = run.outlines
    start = next(number for number, line in enumerate(lines) if " ERRORS " in line)
    return lines[start : next(number for number, line in enumerate(lines) if " LoRA quality " in line)]


class Blunt(Brightness):
    """A scorer without its weights."""

    def score(self, items: object) -> list[object]:  # type: ignore[override]  # it never looks at its items
        raise ModelError("clip: no weights at fixtures/clip; fetch them with `harness fetch`")


# --- errors -----------------------------------------------------------------------------------------------------------


def test_a_broken_gate_provider_is_told_once_and_counted_every_time(project: Project) -> None:
    project.suite(("cases:", "cases:\n" + "".join(f"  - {{id: c{n}, prompt: 'aldar {n}'}}\n" for n in range(20))))
    project.painters["lora"]["trouble"] = broken

    run = project.run("--junitxml=junit.xml", "-rA")

    run.assert_outcomes(errors=23, xfailed=22)
    assert run.ret == 10
    text, errors = run.stdout.str(), errors_of(run)
    assert not any(word in text for word in INSIDES)
    assert len(errors) < 20 and sum("exit code 3" in line for line in errors) <= 3
    run.stdout.fnmatch_lines(["  the same for * more: suites/painted.yaml::*"])
    told = [line for line in run.outlines if line.startswith("ERROR ")]
    assert 1 <= len(told) <= 2 and "2 of 2 pictures are missing (" in told[0]
    size = (project.folder / "junit.xml").stat().st_size
    cases = list(ElementTree.parse(project.folder / "junit.xml").getroot().iter("testcase"))
    assert sum(case.find("error") is not None for case in cases) == 23 and size < 60_000
    error = next(case.find("error") for case in cases if case.find("error") is not None)
    assert error is not None and "\n" not in error.attrib["message"] and "exit code 3" in (error.text or "")


def test_a_scorer_that_breaks_down_is_told_in_its_own_words(project: Project) -> None:
    project.suite()
    project.scorer = Blunt

    run = project.run()

    assert run.ret == 10 and not any(word in run.stdout.str() for word in INSIDES)
    run.stdout.fnmatch_lines(["clip: no weights at fixtures/clip; fetch them with `harness fetch`"])
    assert len(errors_of(run)) < 20


def test_a_store_that_cannot_be_opened_is_told_and_other_tests_run(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.commands.session import HarnessSession

    def closed(session: HarnessSession) -> None:
        raise StoreError("the store is from a newer version; update lora-harness")

    project.suite()
    project.pytester.makepyfile(test_mine="def test_mine():\n    pass\n")
    monkeypatch.setattr(HarnessSession, "_open", closed)

    run = project.run("suites", "test_mine.py")

    run.assert_outcomes(passed=1, errors=5)
    assert run.ret == 10 and not any(word in run.stdout.str() for word in INSIDES)
    assert sum("newer version" in line for line in errors_of(run)) <= 2  # the gate's items, and the competitor's


def test_one_wrong_profile_under_many_suites_is_told_once(project: Project) -> None:
    for number in range(5):
        project.suite(("suite: painted", f"suite: painted{number}"), name=f"s{number}.yaml")

    run = project.run("--profile", "nowhere.yaml")

    assert run.ret in (2, 4) and not any(word in run.stdout.str() for word in INSIDES)
    assert sum("nowhere.yaml" in line for line in run.outlines) <= 3, run.stdout.str()


def test_python_tests_over_a_suite_tell_what_broke_without_a_traceback(project: Project) -> None:
    project.suite()
    project.scorer = Blunt
    project.pytester.makepyfile(
        test_mine="""
        import pytest

        @pytest.mark.lora_suite("suites/painted.yaml")
        def test_mine(lora_case):
            assert lora_case.verdict
        """
    )

    run = project.run("test_mine.py")

    assert run.ret == 10 and not any(word in run.stdout.str() for word in INSIDES)
    run.stdout.fnmatch_lines(["FAILED test_mine.py::test_mine* - clip: no weights *"])


# --- a failing case ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", ["80", "200"])
def test_the_first_line_and_pytests_own_say_why(
    project: Project, monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.delenv("CI", raising=False)  # pytest cuts no line there
    monkeypatch.delenv("BUILD_NUMBER", raising=False)
    project.suite()
    project.level(0.4)

    run = project.run("--color=no")

    assert run.ret == 1
    why = "quality 0.40 [0.40, 0.41] below 0.60; confirmed with 6 seeds"
    heads = [number for number, line in enumerate(run.outlines) if "painted.yaml: one::lora" in line]
    assert run.outlines[heads[0] + 1 : heads[0] + 3] == [why, "  suites/painted.yaml:9  painted::one::lora  FAIL"]
    failed = next(line for line in run.outlines if line.startswith("FAILED suites/painted.yaml::one::lora - "))
    assert failed.startswith("FAILED suites/painted.yaml::one::lora - quality 0.40 [0.40, 0.41] below 0.60")
    assert (columns == "80") is failed.endswith("...")


def test_the_gates_cause_stands_in_every_failing_case_before_any_advice(project: Project) -> None:
    project.suite()
    project.level(0.2)  # as the base draws: the LoRA changes nothing

    run = project.run()

    text = run.stdout.str()
    case = text[text.index("painted.yaml: one::lora") : text.index("painted.yaml: two::lora")]
    assert case.index("cause: LoRA not loaded or without effect") < case.index("do: mend the cause above first")
    assert "train longer or" not in text
    assert "2 cases for the same reason: one, two" in text[text.index("verdict: FAIL") :], "one cause once"
    single = project.run("suites/painted.yaml::one::lora").stdout.str()
    assert "cause: " not in single and "unless the gate names a cause" in single
    assert project.results["gate"]["items"] == [], "what was not selected is not judged"


def test_a_quality_failure_is_a_failed_assertion_for_whoever_reports_it(project: Project) -> None:
    project.suite()
    project.level(0.4)

    run = project.run("suites/painted.yaml::gate::lora")

    calls = [call for call in run.reprec.getcalls("pytest_runtest_makereport") if call.call.excinfo]  # type: ignore[attr-defined]  # hook calls have the hook's arguments
    assert calls and all(isinstance(each.call.excinfo.value, AssertionError) for each in calls)


# --- exit statuses under pytest's own options -------------------------------------------------------------------------

MODES = (["--runxfail"], ["-p", "no:junitxml"], ["-W", "error"], ["-p", "no:skipping"], ["-p", "no:terminal"])
MODES += (["-p", "no:warnings"], ["--tb=line"], ["--tb=no", "-qq"], ["-vv", "-rA"], ["-o", "junit_family=legacy"])


@pytest.mark.parametrize("mode", MODES, ids=" ".join)
@pytest.mark.parametrize(
    ("level", "more", "status"),
    [(0.9, "", 0), (0.4, "", 1), (0.9, "open", 0), (0.9, "proof", 11), (0.9, "broken", 10)],
    ids=["green", "red", "open", "proof", "broken"],
)
def test_the_status_is_the_verdicts_in_every_mode(
    project: Project, mode: list[str], level: float, more: str, status: int
) -> None:
    bound = "{quality: 0.6, prompt: 0.5}" if more in ("open", "proof") else "{quality: 0.6}"
    demand = "on_inconclusive: fail\ncases:" if more == "proof" else "cases:"
    project.suite(("{quality: 0.6}", bound), ("cases:", demand))
    project.level(level)
    if more == "broken":
        project.painters["lora"]["trouble"] = broken

    run = project.run(*mode)

    assert run.ret == status, run.stdout.str()
    assert not any(word in run.stdout.str() + run.stderr.str() for word in INSIDES)


def test_a_filter_that_names_the_warning_makes_it_fail(project: Project) -> None:
    project.suite(("{quality: 0.6}", "{quality: 0.6, prompt: 0.5}"))

    run = project.run("-W", "error::harness.plugin.QualityWarning")

    assert run.ret == 1
    run.stdout.fnmatch_lines(["FAILED suites/painted.yaml::gate::lora - lora: prompt could not be measured*"])


def test_an_item_that_runs_again_notes_its_scores_once(project: Project) -> None:
    project.suite()
    project.pytester.makeconftest(
        "from _pytest.runner import runtestprotocol\n\n\n"
        "def pytest_runtest_protocol(item, nextitem):\n"
        "    runtestprotocol(item, nextitem=nextitem, log=False)\n"
        "    return None\n"
    )

    cases = junit(project, "-o", "junit_logging=system-out")

    for case in cases.values():
        names = [item.get("name") for item in case.iter("property")]
        assert len(names) == len(set(names))
    assert "".join(cases["suites.painted.yaml.one.base"].itertext()).count("[[ATTACHMENT|") == 1
    assert properties(cases["suites.painted.yaml.one.lora"])["verdict"] == "pass"


# --- the folder of the report -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "place", "said"),
    [
        ("--report-dir", "taken/reports", "taken/reports: no report can be written there (Not a directory)"),
        ("--junitxml", "taken/junit.xml", "taken: no report can be written there (File exists)"),
    ],
)
def test_a_place_of_a_report_that_is_taken_is_told_before_anything_is_drawn(
    project: Project, option: str, place: str, said: str
) -> None:
    project.suite()
    (project.folder / "taken").write_text("a file")

    run = project.run(option, place)

    assert run.ret == 4 and not project.drawn
    run.stderr.fnmatch_lines([f"*{said}; nothing was drawn*{option} *"])


def test_a_junit_file_of_before_is_replaced_and_one_in_a_new_folder_made(project: Project) -> None:
    project.suite()
    project.level(0.9)
    (project.folder / "old.xml").write_text("<old/>")

    for path in ("old.xml", "new/junit.xml"):
        assert project.run("--junitxml", path).ret == 0
        assert 'name="lora"' in (project.folder / path).read_text(encoding="utf-8")


@pytest.mark.parametrize("option", ["--samples", "--harness-samples"])
def test_a_number_that_an_option_cannot_be_is_told_in_a_line(project: Project, option: str) -> None:
    project.suite()

    run = project.run(option, "0")

    assert run.ret == 4 and not project.drawn
    assert [line for line in run.errlines if line] == ["ERROR: --samples 0: between 1 and 1000 seeds a prompt"]


def test_trying_a_folder_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()

    try_folder(tmp_path / "there")
    try_folder(tmp_path / "new" / "folder")

    assert sorted(path.name for path in tmp_path.rglob("*")) == ["there"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device here")
def test_a_full_disk_is_told_before_anything_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = open("/dev/full", "wb", buffering=0)  # noqa: SIM115, PTH123
    monkeypatch.setattr("tempfile.TemporaryFile", lambda dir: full)

    with pytest.raises(ReportFolderError, match=r"No space left on device.*nothing was drawn"):
        try_folder(tmp_path / "reports")

    assert LEAST >= 1_000_000 and full.closed and not (tmp_path / "reports").exists()


def test_a_report_that_fails_in_the_end_costs_no_verdict(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*about: object, **more: object) -> None:
        raise OSError(28, "No space left on device")

    project.suite()
    project.level(0.4)
    monkeypatch.setattr("harness.report.write_report", full)

    run = project.run()

    assert run.ret == 10 and not any(word in run.stdout.str() for word in INSIDES)
    run.stdout.fnmatch_lines(["verdict: FAIL  painted, lora: quality 0.40*"])
    run.stdout.fnmatch_lines(["*reports: the report cannot be written (No space left on device); use --report-dir*"])


# --- what pytest calls a dry run --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "option", ["--collect-only", "--setup-plan", "--setup-only", "--fixtures", "--fixtures-per-test"]
)
def test_a_dry_run_draws_nothing(project: Project, option: str) -> None:
    project.suite()

    run = project.run("suites", option)

    assert run.ret == 0 and not project.drawn and not (project.folder / ".harness").exists()
    assert "LoRA quality" not in run.stdout.str() and not (project.folder / "reports").exists()


def test_a_file_that_cannot_be_read_beside_the_suites_draws_nothing(project: Project) -> None:
    project.suite()
    project.pytester.makepyfile(test_mine="def test_mine(:\n    pass\n")

    run, anyway = project.run("suites", "test_mine.py"), None
    assert run.ret == 2 and not project.drawn and not (project.folder / "reports").exists()

    anyway = project.run("suites", "test_mine.py", "--continue-on-collection-errors")
    anyway.assert_outcomes(passed=3, xfailed=2, errors=1)
    assert len(project.drawn) == 8


# --- pipes and poor terminals -----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_reader_that_goes_away_costs_neither_report_nor_status(project: Project) -> None:
    project.suite()
    project.level(0.4)
    project.spawn("--collect-only")  # writes the conftest

    command = [sys.executable, "-m", "pytest", "suites", "-vv", "-rA", "-p", "no:cacheprovider"]
    process = subprocess.Popen(command, cwd=project.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout and process.stderr
    while b"rootdir" not in process.stdout.readline():
        pass
    process.stdout.close()
    said = process.stderr.read().decode()

    assert process.wait() == 1 and "BrokenPipe" not in said, said
    assert project.results["gate"]["verdict"] == "fail"


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_every_letter_is_written_in_some_form(encoding: str) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    spell_out(stream, object())

    print("Алдар Көсе 老人 😀", file=stream)
    print(json_for(stream, {"name": "Алдар 😀"}), file=stream, flush=True)

    lines = stream.buffer.getvalue().decode(encoding).splitlines()  # type: ignore[attr-defined]
    assert json.loads(lines[1]) == {"name": "Алдар 😀"}
    assert writes_unicode(stream) is ("Алдар" in lines[0])


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_commands_speak_to_any_terminal(tmp_path: Path, encoding: str) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "HARNESS_", "GITHUB_", "LC_"))}
    environment |= {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0", "LANG": "C", "LC_ALL": "C"}
    environment |= {"PYTHONCOERCECLOCALE": "0", "PYTHONPATH": str(Path(__file__).parents[1])}
    suites = Path(__file__).parents[1] / "suites"
    text = (suites / "smoke.yaml").read_text(encoding="utf-8").replace("name: Aldar Kose", 'name: "Алдар Көсе 😀"')
    text = text.replace("../", f"{suites.parent.as_posix()}/")
    (tmp_path / "a.yaml").write_text(text, encoding="utf-8")

    for words in (["lint", "a.yaml"], ["history", "a.yaml"], ["train", "нет.yaml"]):
        command = [sys.executable, "-m", "harness", *words]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=False)
        assert b"Traceback" not in done.stderr, (words, done.stderr)
        (done.stdout + done.stderr).decode(encoding)
