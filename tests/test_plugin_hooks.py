"""The plugin's own rules: pytest runs small suites in this process, drawn by painters and scored by brightness."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.backends.backend_svg
import matplotlib.figure
import pytest

from harness.commands.session import SESSION, HarnessSession
from harness.core.errors import StoreError
from harness.core.settings import Settings
from harness.core.stats.calibration import Band, Calibration, Separation
from harness.core.values import Generation, Lora, Outcome, Request
from harness.engine.context import ImproveContext, ImproveResult
from harness.engine.run import Run
from harness.judging import baseline
from harness.report import page
from harness.report.ci import outputs, sheet
from harness.store import Store
from tests.painter import Brightness, Painter, make_profile, shades
from tests.support import ROOT

pytest_plugins = ["pytester"]
PAINTERS: Mapping[str, dict[str, Any]] = {"lora": {"use": "lora"}, "base": {}}
HEAVY = [matplotlib.figure, matplotlib.backends.backend_svg, page, outputs, sheet, baseline]

SUITE = """\
version: 1
suite: painted
subject: {name: Aldar, trigger: aldar, references: ../pictures, lora: ../lora.safetensors}
providers: [lora, base]
gate: [lora]
samples: 2
thresholds: {quality: 0.6}
cases:
  - {id: one, prompt: "aldar, one"}
  - {id: two, prompt: "aldar, two"}
  - {id: three, prompt: "aldar, three", split: locked}
"""


def open_painted(
    session: HarnessSession,
    painters: Mapping[str, Any] = PAINTERS,
    improve: Any = None,
    scorer: Callable[[], Brightness] = Brightness,
) -> Run:
    """What a session does by itself, with painters and brightness in the place of models."""
    if not isinstance(session._run, Run):
        log = session.settings.root / "drawn.txt"
        session._run = Run(
            session.settings,
            make_profile(),
            session.load,
            Store(session.settings.store),
            listener=session._listener,
            providers=lambda name, settings: Painter(name, settings, log, **painters[name]),
            scorers=lambda suite: scorer(),
            improve=improve,
        )
    return session._run


class Project:
    """A folder with suites; `run` is pytest in it."""

    def __init__(self, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pytester, self.folder = pytester, pytester.path
        self.painters: dict[str, dict[str, Any]] = {name: dict(keys) for name, keys in PAINTERS.items()}
        self.improve: Callable[[ImproveContext], ImproveResult] | None = None
        self.scorer: Callable[[], Brightness] = Brightness
        (self.folder / "pictures" / "train").mkdir(parents=True)
        (self.folder / "pictures" / "train" / "0.png").write_bytes(shades(0.5, 0))
        self.level(0.9)
        project = self

        def painted(session: HarnessSession) -> Any:
            return open_painted(session, project.painters, project.improve, project.scorer)

        monkeypatch.setattr(HarnessSession, "_open", painted)
        for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "HARNESS_STORE", "HARNESS_REPORT_DIR"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("PYTHONPATH", str(ROOT))  # of the processes that `spawn` starts

    def level(self, level: float, name: str = "lora") -> Path:
        """How bright the LoRA draws, and so how good it is."""
        path = self.folder / f"{name}.safetensors"
        path.write_text(str(level))
        return path

    def suite(self, *changes: tuple[str, str], name: str = "painted.yaml") -> Path:
        text = SUITE
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        path = self.folder / "suites" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def run(self, *arguments: str) -> pytest.RunResult:
        """Without the plugins of others, and with what a report imports at hand: pytester forgets new imports."""
        assert HEAVY
        strangers = [word for name in ("hypothesispytest", "anyio", "cacheprovider") for word in ("-p", f"no:{name}")]
        return self.pytester.runpytest_inprocess(*strangers, "-W", "default", *arguments)

    def spawn(self, *arguments: str) -> pytest.RunResult:
        """The same in a process of its own."""
        self.pytester.makeconftest(
            "from harness.commands.session import HarnessSession\n"
            "from tests.test_plugin_hooks import open_painted\n\n"
            "HarnessSession._open = open_painted\n"
        )
        return self.pytester.runpytest_subprocess("-p", "no:cacheprovider", *arguments)

    @property
    def drawn(self) -> list[str]:
        """`provider prompt seed` of every picture."""
        log = self.folder / "drawn.txt"
        lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
        return [line.rpartition(" ")[0] for line in lines]

    @property
    def results(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "reports" / "results.json").read_text(encoding="utf-8"))
        return found


def lost(requests: Sequence[Request]) -> Generation:
    return Generation(Outcome.QUOTA, message="out of credits")


def lose(prompt: str) -> Callable[[Sequence[Request]], Generation | None]:
    return lambda requests: lost(requests) if prompt in requests[0].prompt else None


# --- what cannot be judged --------------------------------------------------------------------------------------------


class Blind(Brightness):
    """Scores against references that cannot be told from strangers."""

    def calibration(self) -> Calibration:
        band = Band(0.4, 0.03, 8)
        clip = Separation(0.9, 0.8, 0.05, 0.1, 0.7, 0.4, 8, 48)
        return Calibration(clip, band, band, (), 50.0, 40.0, 1.0, 0.3, 20)


@pytest.mark.parametrize(("words", "status"), [("", 11), ("on_blind: fail\n", 11), ("on_blind: report\n", 0)])
@pytest.mark.parametrize("level", [0.9, 0.4])
def test_what_cannot_be_judged_is_skipped_with_its_reason_and_never_passed(
    project: Project, words: str, status: int, level: float
) -> None:
    tried: list[str] = []
    project.suite(("cases:", f"{words}cases:"))
    project.level(level)
    project.scorer = Blind
    project.improve = lambda context: tried.append(context.provider) or ImproveResult()

    run = project.run("-rs", "--retrain", "2")

    run.assert_outcomes(skipped=5)
    assert run.ret == status and not tried
    run.stdout.fnmatch_lines(["SKIPPED*NOT JUDGED: cannot judge: the references cannot be told from the impostors*"])
    run.stdout.fnmatch_lines(["verdict: NOT JUDGED  painted, lora: cannot judge: the references cannot be told*"])
    run.stdout.no_fnmatch_line("*PASS*")
    assert project.results["gate"]["verdict"] == "not_judged"
    assert (
        (project.folder / "reports" / "summary.md").read_text(encoding="utf-8").startswith("❔ **NOT JUDGED** painted")
    )
    page = (project.folder / "reports" / "index.html").read_text(encoding="utf-8")
    assert "<title>NOT JUDGED" in page and '<span class="word">NOT JUDGED</span>' in page
    gate = next(item for name, item in junit(project).items() if "gate" in name)
    assert properties(gate)["verdict"] == "not_judged"
    skipped = gate.find("skipped")
    assert skipped is not None and skipped.attrib["message"].startswith("NOT JUDGED: cannot judge")
    refused = project.run("--update-baseline")
    assert refused.ret in (4, 11) and not (project.folder / "suites" / "baselines").exists()
    refused.stdout.fnmatch_lines(["*baseline*not written: the gate of lora says not judged*"])


def test_what_needs_no_references_is_red_without_them(project: Project) -> None:
    """A LoRA that changes nothing was not applied, whoever looks."""
    project.suite()
    project.scorer = Blind
    project.level(0.2)  # as the base draws

    run = project.run("-rA")

    assert run.ret == 1 and project.results["gate"]["verdict"] == "fail"
    run.stdout.fnmatch_lines(["FAILED suites/painted.yaml::gate::lora*"])
    run.stdout.fnmatch_lines(["*LoRA not loaded or without effect*"])


def test_a_rival_without_pictures_leaves_the_gate_unjudged(project: Project) -> None:
    project.suite(("cases:", "beat: [base]\ncases:"))

    run = project.run("--providers", "lora", "-rs")

    run.assert_outcomes(passed=2, skipped=1)
    assert run.ret == 11
    run.stdout.fnmatch_lines(["verdict: NOT JUDGED  painted, lora: cannot judge: base has no pictures*"])


def test_a_selection_of_cases_says_that_the_gate_was_not_judged(project: Project) -> None:
    project.suite()

    one, red, whole = project.run("-k", "one"), None, project.run()
    project.level(0.4)
    red = project.run("-k", "one")

    assert one.ret == 0 and red.ret == 1 and whole.ret == 0
    one.stdout.fnmatch_lines(["verdict: NOT JUDGED  painted, lora: gate not judged, 1 of 2 cases seen"])
    red.stdout.fnmatch_lines(["verdict: FAIL  one by lora: *"])
    whole.stdout.fnmatch_lines(["verdict: PASS  painted, lora: quality 0.90*"])


def test_one_suite_that_cannot_be_judged_counts_beside_one_that_passes(project: Project) -> None:
    project.suite(name="first.yaml")
    project.suite(
        ("suite: painted", "suite: other"), ("cases:", "on_blind: report\nbeat: [base]\ncases:"), name="b.yaml"
    )

    accepted = project.run("--providers", "lora")
    project.suite(("suite: painted", "suite: other"), ("cases:", "beat: [base]\ncases:"), name="b.yaml")

    assert accepted.ret == 0 and project.results["gate"]["verdict"] == "not_judged"
    assert project.run("--providers", "lora").ret == 11


# --- what an item says ------------------------------------------------------------------------------------------------


def test_a_gate_fails_a_competitor_only_informs_and_reasons_are_told_without_a_traceback(project: Project) -> None:
    project.suite()
    project.level(0.4)

    run = project.run("-rA")

    run.assert_outcomes(failed=3, xfailed=2)
    assert run.ret == 1 and "Traceback" not in run.stdout.str() and "plugin.py" not in run.stdout.str()
    run.stdout.fnmatch_lines(["FAILED suites/painted.yaml::gate::lora*"])
    run.stdout.fnmatch_lines(["XFAIL suites/painted.yaml::one::base - quality 0.20 * is below 0.60"])
    run.stdout.fnmatch_lines(["*quality 0.40 *is below 0.60*"])


def test_a_level_that_warns_is_a_warning_of_the_gate_alone(project: Project) -> None:
    project.suite(("{quality: 0.6}", "{quality: {fail: 0.1, warn: 0.95}}"))

    run = project.run()

    told = [line.strip() for line in run.outlines if "QualityWarning" in line]
    assert run.ret == 0 and all("QualityWarning: lora: quality 0.90" in line for line in told)
    assert [line.partition("suites/")[2].partition(": Q")[0] for line in told] == [
        f"painted.yaml:{line}" for line in (9, 10, 7)
    ], "the suite's own lines: of each case, and of the bound"
    run.stdout.fnmatch_lines(["suites/painted.yaml::gate::lora", "*QualityWarning*"])
    run.stdout.no_fnmatch_line("suites/painted.yaml::*::base")


@pytest.mark.parametrize(
    ("demand", "failed", "status"), [("", 0, 0), ("on_inconclusive: warn\n", 0, 0), ("on_inconclusive: fail\n", 1, 11)]
)
def test_an_open_verdict_warns_and_where_proof_is_demanded_fails_with_a_status_of_its_own(
    project: Project, demand: str, failed: int, status: int
) -> None:
    """A bound on what nobody measured says nothing."""
    project.suite(("{quality: 0.6}", "{quality: 0.6, prompt: 0.5}"), ("cases:", f"{demand}cases:"))

    run = project.run("-rA")

    run.assert_outcomes(passed=3 - failed, failed=failed, xfailed=2)
    assert run.ret == status and project.results["gate"]["verdict"] == "inconclusive"
    run.stdout.fnmatch_lines(["*prompt could not be measured (no case has `expect`)*"])
    assert ("QualityWarning" in run.stdout.str()) is (not failed), "what is red says it among its own lines"


@pytest.mark.parametrize("demand", ["", "on_inconclusive: warn\n", "on_blind: report\n"])
def test_a_beat_that_is_not_proven_is_red_and_starts_no_retraining(project: Project, demand: str) -> None:
    """The other is as good: nobody can say that it is beaten."""
    tried: list[str] = []
    project.suite(("cases:", f"beat: [base]\n{demand}cases:"))
    project.painters["base"] = {"adapter": "service/1", "level": 0.9}
    project.improve = lambda context: tried.append(context.provider) or ImproveResult()

    run = project.run("-rA", "--retrain", "2")

    run.assert_outcomes(passed=4, failed=1)
    assert run.ret == 1 and project.results["gate"]["verdict"] == "fail" and not tried
    run.stdout.fnmatch_lines(["FAILED suites/painted.yaml::gate::lora*"])
    run.stdout.fnmatch_lines(["verdict: FAIL  painted, lora: quality against base *", "*proven better*"])
    project.level(0.4)  # what is proven wrong beside it is a reason
    project.run("--retrain", "2")
    assert tried == ["lora"]


def test_a_gate_that_got_no_pictures_is_an_error_and_a_competitor_without_is_not(project: Project) -> None:
    project.suite()
    for name, outcomes, status in (
        ("lora", {"errors": 3, "xfailed": 2}, 10),
        ("base", {"passed": 3, "xfailed": 2}, 0),
    ):
        project.painters = {"lora": {"use": "lora"}, "base": {}}
        project.painters[name]["trouble"] = lost
        run = project.run("-rA", "--fresh")
        run.assert_outcomes(**outcomes)
        assert run.ret == status
        run.stdout.fnmatch_lines(["*2 of 2 pictures are missing (quota): out of credits*"])
        assert "plugin.py" not in run.stdout.str() and len(run.outlines) < 100, "the reason and no traceback"


def test_a_provider_without_its_key_is_skipped_with_the_reason(project: Project) -> None:
    project.suite()
    project.painters["base"]["needs"] = "BASE_KEY"

    run = project.run("-rs")

    run.assert_outcomes(passed=3, skipped=2)
    run.stdout.fnmatch_lines(["SKIPPED*BASE_KEY*"])
    assert not any(line.startswith("base") for line in project.drawn)


def test_colours_are_for_terminals_and_plain_words_for_reports(project: Project) -> None:
    project.suite()
    project.level(0.4)

    coloured = project.run("--color=yes", "--junitxml=junit.xml")
    plain = project.run("--color=no")

    plain.stdout.fnmatch_lines(
        [
            "=* FAILURES *=",
            "  suites/painted.yaml:9  painted::one::lora  FAIL",
            "  metric *needed*",
            "  quality *below*",
        ]
    )
    coloured.stdout.fnmatch_lines(["*painted::one::lora  \x1b*FAIL\x1b*", "*quality *\x1b*below\x1b*"])
    assert "\x1b" not in plain.stdout.str()
    report = (project.folder / "junit.xml").read_text(encoding="utf-8")
    assert "painted::one::lora  FAIL" in report and "\x1b" not in report and "#x1B" not in report


@pytest.mark.slow
def test_progress_is_seen_while_tests_are_captured_and_colours_are_for_terminals(project: Project) -> None:
    project.suite()

    live, told = project.spawn("--color=yes"), project.spawn("--fresh")

    assert live.ret == told.ret == 0
    assert "drawing lora, 8/8 pictures" in live.stdout.str() and "drawing" not in told.stdout.str()


@pytest.mark.slow
def test_workers_ask_the_one_who_draws(project: Project) -> None:
    project.suite()

    run = project.spawn("-n", "2")

    run.assert_outcomes(passed=3, xfailed=2)
    assert run.ret == 0 and project.results["gate"]["verdict"] == "pass"
    assert len(project.drawn) == len(set(project.drawn)) == 8, "nothing is drawn twice"


def test_an_error_of_anybody_elses_keeps_its_traceback(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.suite()
    project.level(0.4)

    def failure_text(*about: object, markup: bool, cause: str | None) -> str:
        return str(1 / 0)

    monkeypatch.setattr("harness.plugin.failure_text", failure_text)

    run = project.run("suites/painted.yaml::one::lora")

    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines(["*plugin.py*", "*return str(1 / 0)", "E *ZeroDivisionError: division by zero"])


def test_no_error_in_the_setup_of_others_is_rewritten(project: Project) -> None:
    project.suite()
    project.pytester.makepyfile(
        test_mine="""
        import pytest

        @pytest.fixture
        def broken():
            raise OSError

        def test_mine(broken):
            pass
        """
    )

    run = project.run("test_mine.py")

    run.assert_outcomes(errors=1)
    run.stdout.fnmatch_lines(["*raise OSError", "E *OSError"])


def test_retrained_cases_are_reported_as_reruns_with_what_was_wrong_before(project: Project) -> None:
    project.suite()
    project.level(0.4)
    better = project.level(0.95, "better")
    project.improve = lambda context: ImproveResult([{"promoted": True}], Lora(better))

    run = project.run("--retrain", "1", "-v", "-rA")

    run.assert_outcomes(passed=3, xfailed=2)
    assert run.ret == 0 and run.parseoutcomes()["rerun"] == 2
    run.stdout.fnmatch_lines(["*RERUN*", "*::one::lora PASSED*"])
    reports = [report for report in run.reprec.getreports("pytest_runtest_logreport") if report.outcome == "rerun"]  # type: ignore[attr-defined]
    assert [report.nodeid for report in reports] == [f"suites/painted.yaml::{name}::lora" for name in ("one", "two")]
    assert all(report.longrepr.startswith("before retraining: quality 0.40 ") for report in reports)
    short = project.run("--retrain", "1", "--fresh").stdout.str()
    assert "R.xR.x." in short


# --- JUnit ------------------------------------------------------------------------------------------------------------


def junit(project: Project, *arguments: str) -> dict[str, ElementTree.Element]:
    project.run("--junitxml=junit.xml", *arguments)
    found = ElementTree.parse(project.folder / "junit.xml").getroot().iter("testcase")
    return {f"{case.get('classname')}.{case.get('name')}": case for case in found}


def properties(case: ElementTree.Element) -> dict[str | None, str | None]:
    return {item.get("name"): item.get("value") for item in case.iter("property")}


def test_junit_has_scores_of_every_item_and_the_worst_picture_of_what_did_not_pass(project: Project) -> None:
    project.suite()

    cases = junit(project)
    good, bad, gate = (
        properties(cases[f"suites.painted.yaml.{name}"]) for name in ("one.lora", "one.base", "gate.lora")
    )

    assert (good["suite"], good["provider"], good["case"], good["verdict"]) == ("painted", "lora", "one", "pass")
    assert good["line"] == "9" and float(good["quality"] or 0) == pytest.approx(0.9, abs=0.01)
    assert gate["verdict"] == "pass" and "case" not in gate and "image" not in good and "image" not in gate
    assert bad["verdict"] == "fail" and (project.folder / "reports" / "images" / (bad["image"] or "none")).is_file()
    assert cases["suites.painted.yaml.one.base"].find("system-out") is None


def test_an_item_without_pictures_has_none_to_show(project: Project) -> None:
    project.suite()
    project.painters["base"]["trouble"] = lost

    found = properties(junit(project)["suites.painted.yaml.one.base"])

    assert found["verdict"] == "error" and "image" not in found


def test_a_picture_is_attached_where_junit_takes_a_tests_output(project: Project) -> None:
    project.suite()

    case = junit(project, "-o", "junit_logging=system-out")["suites.painted.yaml.one.base"]

    image = properties(case)["image"]
    assert f"[[ATTACHMENT|reports/images/{image}]]" in "".join(case.itertext())


# --- which items there are --------------------------------------------------------------------------------------------


def collected(project: Project, *arguments: str) -> list[str]:
    run = project.run("--collect-only", "-q", *arguments)
    return [line.removeprefix("suites/") for line in run.outlines if "::" in line and " " not in line]


def test_items_are_cases_by_provider_and_the_gate_last(project: Project) -> None:
    project.suite()

    items = ["one::lora", "one::base", "two::lora", "two::base", "gate::lora"]
    assert collected(project) == [f"painted.yaml::{name}" for name in items]
    assert "painted.yaml::three::lora" in collected(project, "--locked")
    assert collected(project, "--providers", "lora") == [
        f"painted.yaml::{name}::lora" for name in ("one", "two", "gate")
    ]
    assert project.drawn == [] and not (project.folder / "reports").exists(), "nothing is drawn for a look"


def test_a_gate_that_the_options_leave_out_has_no_item(project: Project) -> None:
    project.suite()

    assert collected(project, "--providers", "base") == ["painted.yaml::one::base", "painted.yaml::two::base"]


@pytest.mark.parametrize(
    ("expression", "items"),
    [
        ("gate", ["one::lora", "two::lora", "gate::lora"]),
        ("competitor", ["one::base", "two::base"]),
        ("provider(name='base')", ["one::base", "two::base"]),
        ("case and not gate", ["one::base", "two::base"]),
        ("suite and not case", ["gate::lora"]),
        ("gate and competitor", []),
    ],
)
def test_items_bear_marks(project: Project, expression: str, items: list[str]) -> None:
    project.suite()

    assert collected(project, "--strict-markers", "-m", expression) == [f"painted.yaml::{name}" for name in items]


def test_every_mark_is_registered(project: Project) -> None:
    marks = ["suite('a')", "provider('a')", "case('a')", "gate", "competitor", "slow", "lora_suite('a')"]
    lines = "".join(f"@pytest.mark.{mark}\n" for mark in marks)
    project.pytester.makepyfile(test_mine=f"import pytest\n\n\n{lines}def test_mine():\n    pass\n")

    project.run("--strict-markers").assert_outcomes(passed=1)


def test_an_item_says_where_it_stands_in_its_file(project: Project) -> None:
    path = project.suite()
    items, _ = project.pytester.inline_genitems("-p", "no:cacheprovider")

    said = {
        item.name if item.parent is None else f"{item.parent.name}.{item.name}": item.reportinfo() for item in items
    }

    assert said["one.lora"] == (path, 8, "painted.yaml: one::lora")
    assert said["two.base"] == (path, 9, "painted.yaml: two::base")
    assert said["gate.lora"] == (path, 0, "painted.yaml: gate::lora")


def test_files_of_others_are_left_alone_and_both_endings_are_ours(project: Project) -> None:
    project.suite(name="a.yml")
    project.suite(("suite: painted", "suite: other"), name="b.yaml")
    (project.folder / "suites" / "compose.yaml").write_text("services: {}\nversion: 3\n")
    (project.folder / "suites" / "c.json").write_text(SUITE)

    assert {line.partition("::")[0] for line in collected(project)} == {"a.yml", "b.yaml"}
    half = project.folder / "suites" / "half.yaml"
    half.write_text("suite: half\n")
    assert project.run("--collect-only").ret == 0, "one word of ours is no suite"
    assert project.run("--collect-only", str(half)).ret == 2, "unless it is named by hand"


def test_one_item_collected_twice_is_refused(project: Project) -> None:
    project.suite()

    run = project.run("--keep-duplicates", "suites", "suites")

    assert run.ret == 4 and project.drawn == []
    run.stderr.fnmatch_lines(["*painted.yaml::one::lora was collected twice; give the suites' cases different ids*"])


def test_a_suite_that_cannot_be_read_is_told_with_its_line(project: Project) -> None:
    project.suite(("samples:", "sampels:"))

    run = project.run()

    assert run.ret == 2 and "Traceback" not in run.stdout.str()
    run.stdout.fnmatch_lines(["*painted.yaml:6: sampels*"])


# --- options ----------------------------------------------------------------------------------------------------------


def settings_of(project: Project, *arguments: str) -> Settings:
    project.suite()  # where none is, short names are not ours
    return project.pytester.parseconfigure(*arguments).stash[SESSION].settings


def test_without_options_everything_is_as_the_suites_say(project: Project) -> None:
    assert settings_of(project) == replace(Settings.load(project.folder), environment=settings_of(project).environment)
    found = settings_of(project)
    assert (found.store, found.report_dir) == (project.folder / ".harness", project.folder / "reports")
    assert (found.samples, found.retrain, found.locked, found.fresh, found.update_baseline) == (
        None,
        0,
        False,
        False,
        "",
    )


def test_every_option_reaches_the_settings(project: Project) -> None:
    (project.folder / "old.json").write_text("{}")
    words = ["--profile", "sdxl", "--providers", "lora,base", "--samples", "3", "--lora", "lora.safetensors@0.5"]
    words += ["--store", "kept", "--fresh", "--locked", "--report-dir", "told", "--baseline", "old.json"]
    words += ["--update-baseline", "--budget", "1.5", "--max-calls", "7", "--retrain", "2", "--retrain-budget", "30"]

    found = settings_of(project, *words)

    assert (found.profile, found.providers, found.samples) == ("sdxl", ("lora", "base"), 3)
    assert found.lora == Lora(project.folder / "lora.safetensors", 0.5)
    assert (found.store, found.report_dir) == (project.folder / "kept", project.folder / "told")
    assert found.fresh and found.locked and found.baseline == project.folder / "old.json"
    assert (found.update_baseline, found.budget, found.max_calls) == ("whole", 1.5, 7)
    assert (found.retrain, found.retrain_budget) == (2, 30.0)
    assert settings_of(project, "--update-baseline-anyway").update_baseline == "anyway"
    assert str(settings_of(project, "--shard", "2/3").shard) == "2/3"


@pytest.mark.parametrize(
    "words", [("--samples", "many"), ("--retrain", "often"), ("--budget", "much"), ("--shard", "1")]
)
def test_an_option_that_cannot_be_read_is_a_usage_error(project: Project, words: tuple[str, str]) -> None:
    run = project.run(*words)

    assert run.ret == 4 and "Traceback" not in run.stderr.str()
    run.stderr.fnmatch_lines([f"*{words[0]}*"])


def test_a_project_without_suites_does_not_suffer_from_what_it_never_asked_for(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_EMULATOR", "perhaps")
    project.pytester.makepyfile(test_mine="def test_mine():\n    pass\n")

    run = project.run()
    asked = project.run("--locked")

    run.assert_outcomes(passed=1)
    assert run.ret == 0 and "harness:" not in run.stdout.str() and not (project.folder / ".harness").exists()
    assert asked.ret == 4 and "HARNESS_EMULATOR=perhaps" in asked.stderr.str()
    project.suite()
    run = project.run()
    assert "harness: HARNESS_EMULATOR=perhaps" in run.stdout.str() and run.ret != 0


def test_the_header_names_profile_and_store(project: Project) -> None:
    project.suite()

    run = project.run("--collect-only", "--lora", "lora.safetensors")

    run.stdout.fnmatch_lines([f"harness: profile embedded, lora lora.safetensors, store {project.folder}/.harness"])


# --- what is drawn ----------------------------------------------------------------------------------------------------


def test_only_what_is_selected_is_drawn_and_once(project: Project) -> None:
    project.suite(("gate: [lora]", "gate: [lora]\nbeat: [base]"))

    project.run("-k", "two and lora")
    assert set(project.drawn) == {"lora aldar, two 0", "lora aldar, two 1"}

    project.run("suites/painted.yaml::gate")
    asked = {(case["case"], case["provider"]) for case in project.results["cases"]}
    assert asked == {(case, name) for case in ("one", "two") for name in ("lora", "base")}, "all whom it must beat"


def test_python_tests_take_cases_of_a_suite_by_the_gates_providers(project: Project) -> None:
    project.suite(("gate: [lora]", "gate: [lora, base]"))
    project.pytester.makepyfile(
        test_mine="""
        import pytest

        @pytest.mark.lora_suite("suites/painted.yaml")
        def test_mine(lora_case):
            seeds = 6 if lora_case.provider == "base" else 2  # what fails is drawn again
            assert [sample.seed for sample in lora_case.result.samples] == list(range(seeds))
            assert lora_case.verdict.decision == ("pass" if lora_case.provider == "lora" else "fail")
            assert lora_case.suite.name == "painted" and lora_case.job.case == lora_case.case.id

        def test_other():
            pass
        """
    )

    run = project.run("test_mine.py", "-v", "-k", "not two")

    run.assert_outcomes(passed=3, deselected=2)
    run.stdout.fnmatch_lines(["*::test_mine[[]one-lora] PASSED*", "*::test_mine[[]one-base] PASSED*"])
    assert set(project.drawn) == {
        f"{name} aldar, one {seed}" for name, seeds in (("base", 6), ("lora", 2)) for seed in range(seeds)
    }


def test_a_fixture_without_a_suite_says_what_it_needs(project: Project) -> None:
    project.pytester.makepyfile(test_mine="def test_mine(lora_case):\n    pass\n")

    run = project.run()

    assert run.ret != 0
    assert "test_mine.py::test_mine: `lora_case` needs @pytest.mark.lora_suite('suites/NAME.yaml')" in (
        run.stdout.str() + run.stderr.str()
    )


# --- how it ends ------------------------------------------------------------------------------------------------------


def test_a_session_ends_with_the_verdict_and_the_report(project: Project) -> None:
    project.suite()

    run = project.run()

    assert run.ret == 0 and project.results["gate"]["verdict"] == "pass"
    run.stdout.fnmatch_lines(["=* LoRA quality =*", "verdict: PASS*", f"report: *{project.folder}/reports/index.html"])
    assert not list((project.folder / ".harness" / "users").glob("*-*.lock")), "the store is closed"
    assert "rank by" not in run.stdout.str() and "rank by" in project.run("-v").stdout.str()
    assert "pictures:" not in project.run("-qq").stdout.str()


def test_without_suites_nothing_is_said(project: Project) -> None:
    project.pytester.makepyfile(test_mine="def test_mine():\n    pass\n")

    assert "LoRA quality" not in project.run().stdout.str()


@pytest.mark.parametrize("failing", [False, True])
def test_a_report_that_cannot_be_written_breaks_the_session(
    project: Project, monkeypatch: pytest.MonkeyPatch, failing: bool
) -> None:
    project.suite()
    project.level(0.4 if failing else 0.9)

    def broken(session: HarnessSession) -> None:
        raise StoreError("the disk is full; free some space")

    monkeypatch.setattr(HarnessSession, "finish", broken)
    run = project.run()

    assert run.ret == 10 and "verdict:" not in run.stdout.str()
    run.stdout.fnmatch_lines(["=* LoRA quality =*", "the disk is full; free some space"])


def test_a_session_that_was_stopped_keeps_pytests_own_status(project: Project) -> None:
    project.suite()
    project.painters["lora"]["trouble"] = lose("one")
    project.pytester.makepyfile(test_mine="import pytest\n\n\ndef test_mine():\n    pytest.exit('enough', 7)\n")

    run = project.run("suites", "test_mine.py")

    assert run.ret == 7 and "errors" in run.stdout.str()


def test_a_shard_draws_its_part_and_judges_nothing(project: Project) -> None:
    project.suite()
    project.level(0.4)
    parts = []
    for number in (1, 2):
        before = len(project.drawn)
        run = project.run("--shard", f"{number}/2", "-rA", "--fresh")
        assert run.ret == 0
        run.stdout.fnmatch_lines([f"SKIPPED*shard {number}/2 sees a part of the suite; `harness merge` judges it"])
        run.stdout.fnmatch_lines(
            [f"XFAIL *::lora - shard {number}/2 sees a part of the suite; `harness merge` judges it"]
        )
        parts.append({line.split(",")[1] for line in project.drawn[before:]})

    assert all(len(part) == 2 for part in parts) is False or parts[0] != parts[1]
    assert parts[0] | parts[1] == {f" {name} {seed}" for name in ("one", "two") for seed in range(6)}


def test_a_shard_without_cases_is_no_failure_and_a_folder_without_tests_is_one(project: Project) -> None:
    project.suite()

    statuses = {project.run("--shard", f"{number}/9").ret for number in range(1, 10)}

    assert statuses == {0}
    assert project.run("-k", "nothing").ret == 5
    assert project.run("--shard", "1/1", "-k", "nothing").ret == 5


def test_a_shard_is_not_held_to_a_proof_that_only_the_whole_can_give(project: Project) -> None:
    project.suite(("cases:", "on_inconclusive: fail\nbeat: [base]\ncases:"))

    assert project.run("--providers", "lora").ret == 11
    run = project.run("--providers", "lora", "--shard", "1/1")
    assert run.ret == 0
    run.stdout.fnmatch_lines(["verdict: NOT JUDGED  shard 1/1: `harness merge` judges"])


@pytest.mark.parametrize(("level", "options", "status"), [(0.9, [], 0), (0.4, [], 1), (0.9, ["-k", "one"], 4)])
def test_a_baseline_is_written_from_a_green_and_whole_run(
    project: Project, level: float, options: list[str], status: int
) -> None:
    project.suite()
    project.level(level)

    run = project.run("--update-baseline", *options)

    written = (project.folder / "suites" / "baselines" / "painted.json").exists()
    assert run.ret == status and written is (status == 0)
    run.stdout.fnmatch_lines(["baseline: *"])


def test_a_broken_suite_is_told_to_the_pipeline(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(project.folder))
    project.suite(("samples:", "sampels:"))
    project.pytester.makepyfile(test_mine="import nothing_of_that_name\n")

    told = [line for line in project.run().outlines if line.startswith("::")]

    assert len(told) == 1 and told[0].startswith("::error file=suites/painted.yaml,line=6")
