"""What a pipeline sees: `harness ci`, annotations, summary, contact sheet, JUnit, shards and their merge."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from harness.config.suite import load_suite
from harness.core.errors import UsageError
from harness.core.settings import Settings
from harness.core.sharding import Shard, read_shard
from harness.core.values import Decision
from harness.engine.merge import merge_results
from harness.judging.record import GateRecord, SuiteRecord
from harness.report.ci.annotations import Annotation, annotate, commands, of_problem
from harness.report.ci.outputs import LARGEST as SUMMARY_BYTES
from harness.report.ci.outputs import append_summary, exit_code
from harness.report.ci.sheet import LARGEST, contact_sheet
from harness.store import Store
from tests.example_run import example_record, make_record, read
from tests.known import copy_known
from tests.support import ROOT, write_suite

SUITE = """\
version: 1
suite: plain
subject:
  name: Aldar Kose
  trigger: aldar kose
  references: REFERENCES
providers: [base, prompt_only]
gate: [base]
samples: 2
thresholds:
  quality: 1.0
cases:
  - {id: one, prompt: "{trigger}, smiling"}
  - {id: two, prompt: "{trigger}, sad"}
  - {id: three, prompt: "{trigger}, angry", thresholds: {quality: 0.0}}
  - {id: four, prompt: "{trigger}, surprised", split: locked}
"""
GATE_LINE, ONE_LINE = 11, 13  # of `quality: 1.0` and of the first case


@dataclass(frozen=True)
class Done:
    """One finished `harness ...`."""

    status: int
    output: str
    errors: str
    folder: Path  # of its report
    summary: str = ""

    @property
    def last(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.output.splitlines()[-1])
        return found

    @property
    def results(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.folder / "results.json").read_text(encoding="utf-8"))
        return content


def harness(folder: Path, *words: str, name: str = "report", **variables: str) -> Done:
    """`harness WORDS` as on a runner of GitHub, with a store that all runs of `folder` share."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "HARNESS_", "GITHUB_"))}
    summary = folder / f"{name}.md"
    environment |= {"PYTHONUTF8": "1", "HARNESS_EMULATOR": "profile", "HARNESS_STORE": str(folder / "store")}
    environment |= {"PYTHONPATH": str(ROOT)}  # with the package's metadata in sight, as where it is installed
    environment |= {"PYTEST_ADDOPTS": "-p no:hypothesispytest"}  # it takes longer to load than all the rest
    environment |= {"GITHUB_STEP_SUMMARY": str(summary), "GITHUB_WORKSPACE": str(folder), **variables}
    command = [sys.executable, "-m", "harness", *words, "--report-dir", str(folder / name)]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    text = summary.read_text(encoding="utf-8") if summary.exists() else ""
    return Done(done.returncode, done.stdout, done.stderr, folder / name, text)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with one suite that fails."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "suites").mkdir()
    (folder / "pyproject.toml").write_text("[tool.pytest.ini_options]\n", encoding="utf-8")
    (folder / "conftest.py").write_text('pytest_plugins = ["harness.plugin"]\n', encoding="utf-8")
    write_suite(folder / "suites", SUITE, "plain.yaml")
    copy_known(folder / "store")
    return folder


@pytest.fixture(scope="module")
def whole(project: Path) -> Done:
    """A run over everything, on GitHub."""
    return harness(project, "ci", "-p", "no:cacheprovider", GITHUB_ACTIONS="true")


@pytest.fixture(scope="module")
def shards(project: Path, whole: Done) -> list[Done]:
    """The same in two parts."""
    words = ("ci", "-p", "no:cacheprovider", "--shard")
    return [harness(project, *words, f"{number}/2", name=f"shard{number}", GITHUB_ACTIONS="true") for number in (1, 2)]


# --- harness ci ---------------------------------------------------------------------------------------------------


@pytest.mark.real
def test_the_last_line_is_what_a_machine_needs(whole: Done) -> None:
    last = whole.last

    (gate,) = last["gates"]
    assert (whole.status, last["exit_code"], last["verdict"]) == (1, 1, "fail")
    assert (gate["suite"], gate["provider"], gate["verdict"]) == ("plain", "base", "fail")
    assert gate["low"] <= gate["quality"] <= gate["high"]
    drawn = 3 * 2 * 2 + 2 * (6 - 2)  # and two red cases again, up to six seeds
    assert last["images"] == {"drawn": drawn, "cached": 0} and last["cost_usd"] == 0
    assert Path(last["report"]).is_file() and last["reasons"]


@pytest.mark.real
def test_pytest_has_nothing_to_warn_of_the_plugin(whole: Done) -> None:
    assert "PytestAssertRewriteWarning" not in whole.output + whole.errors


@pytest.mark.real
def test_annotations_stand_at_the_lines_of_the_suite(whole: Done) -> None:
    found = re.findall(r"^::error file=(.*?),line=(\d+),title=(.*?)::(.+)$", whole.output, re.MULTILINE)

    places = {title: (path, int(line)) for path, line, title, _ in found}
    assert places["plain%3A gate base"] == ("suites/plain.yaml", GATE_LINE)
    assert places["one by base"] == ("suites/plain.yaml", ONE_LINE)
    assert "two by base" in places and "three by base" not in places
    assert all("quality" in message for *_, message in found)


@pytest.mark.real
def test_the_step_summary_begins_with_the_verdict(whole: Done) -> None:
    assert whole.summary.startswith("❌ **FAIL**")
    assert "### plain" in whole.summary and "**one** by base" in whole.summary


@pytest.mark.real
def test_the_contact_sheet_lies_beside_the_report(whole: Done) -> None:
    with Image.open(whole.folder / "contact-sheet.png") as sheet:
        assert sheet.format == "PNG" and sheet.width > 200 and sheet.height > 300


@pytest.mark.real
def test_junit_has_properties_and_the_picture_as_an_attachment(whole: Done, project: Path) -> None:
    cases = {
        (case.get("classname"), case.get("name")): case
        for case in ElementTree.parse(whole.folder / "junit.xml").iter("testcase")
    }
    case = cases["suites.plain.yaml.one", "base"]
    properties = {each.get("name"): each.get("value") for each in case.iter("property")}

    assert (properties["provider"], properties["case"], properties["verdict"]) == ("base", "one", "fail")
    assert float(properties["quality_low"] or "") <= float(properties["quality"] or "")
    attached = re.search(r"\[\[ATTACHMENT\|(.+?)\]\]", case.findtext("system-out") or "")
    assert attached and (project / attached[1]).is_file()


@pytest.mark.real
def test_elsewhere_there_is_neither_annotation_nor_noise(project: Path, whole: Done) -> None:
    done = harness(project, "ci", "suites/plain.yaml", "-k", "three", name="quiet", GITHUB_STEP_SUMMARY="")

    assert done.status == 0 and "::error" not in done.output
    assert done.last["verdict"] == "not_judged" and "gate not judged, 1 of 3 cases seen" in done.last["reasons"][0]


@pytest.mark.real
@pytest.mark.parametrize(
    ("words", "status", "reason"),
    [
        (("suites", "-k", "nobody"), 5, "no suite was run"),
        (("suites", "--shard", "4/3"), 4, "pytest refused its options"),
        (("suites", "--providers", "prompt_only"), 0, "no gate provider"),
    ],
)
def test_exit_codes_are_pytests(project: Path, whole: Done, words: tuple[str, ...], status: int, reason: str) -> None:
    done = harness(project, "ci", *words, name="codes")

    assert (done.status, done.last["exit_code"]) == (status, status), done.output
    assert reason in " ".join(done.last["reasons"])


def test_a_suite_that_cannot_be_read_is_annotated_too(tmp_path: Path) -> None:
    (tmp_path / "suites").mkdir()
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\n", encoding="utf-8")
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["harness.plugin"]\n', encoding="utf-8")
    write_suite(tmp_path / "suites", SUITE.replace("gate: [base]", "gates: [base]"), "plain.yaml")

    done = harness(tmp_path, "ci", GITHUB_ACTIONS="true")

    assert (done.status, done.last["verdict"]) == (2, "error"), done.output
    assert re.search(r"^::error file=suites/plain.yaml,line=8,title=collection::gates: ", done.output, re.MULTILINE)
    assert done.summary.startswith("⚠️ **ERROR**") and "gates" in done.summary


# --- shards -------------------------------------------------------------------------------------------------------


@pytest.mark.real
def test_a_shard_draws_its_cases_and_gives_no_verdict(shards: list[Done]) -> None:
    cases = [{case["case"] for case in done.results["cases"]} for done in shards]

    assert sorted(map(len, cases)) == [1, 2] and not cases[0] & cases[1]
    for number, done in enumerate(shards, 1):
        assert (done.status, done.last["verdict"], done.last["shard"]) == (0, "shard", f"{number}/2"), done.output
        assert not re.search("^::error", done.output, re.MULTILINE) and "What fails" not in done.summary
        assert {case["provider"] for case in done.results["cases"]} == {"base", "prompt_only"}  # pairs stay together


@pytest.mark.real
def test_the_merge_says_what_the_whole_run_says(project: Path, whole: Done, shards: list[Done]) -> None:
    folders = [str(done.folder) for done in reversed(shards)]

    done = harness(project, "merge", *folders, name="merged", GITHUB_ACTIONS="true")

    assert done.status == whole.status == 1, done.output
    for name in ("leaderboard", "feedback", "suites"):
        assert plain(done.results[name]) == plain(whole.results[name]), name
    assert plain(done.results["cases"]) == plain(whole.results["cases"])
    assert done.results["gate"]["reasons"] == whole.results["gate"]["reasons"]
    assert done.last["gates"] == whole.last["gates"]
    annotations = [re.findall("^::error.*", each.output, re.MULTILINE) for each in (done, whole)]
    assert annotations[0] == annotations[1]
    assert done.summary.startswith("❌ **FAIL**") and (done.folder / "contact-sheet.png").is_file()
    assert len(list((done.folder / "images").glob("*.png"))) == len(list((whole.folder / "images").glob("*.png")))


def plain(value: Any) -> Any:
    """Without what tells of the store and of the clock; numbers as far as they print."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items() if k not in ("cached", "seconds")}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return round(value, 9) if isinstance(value, float) else value


@pytest.mark.real
def test_what_does_not_belong_together_is_not_merged(whole: Done, shards: list[Done]) -> None:
    first, second = (done.results for done in shards)
    other = json.loads(json.dumps(second))
    other["suites"][0]["definition"]["thresholds"]["quality"]["fail"] = 0.1

    for records, words in (
        ([first], "shard 2/2 is missing"),
        ([first, first], "stands there twice"),
        ([first, whole.results], "a shard and a run without --shard"),
        ([first, other], "another definition"),
        ([first, {**second, "schema": 2}], "schema 2"),
        ([first, {**second, "run": {**second["run"], "profile": "sdxl"}}], "differ in profile"),
        ([], "nothing to merge"),
    ):
        with pytest.raises(UsageError, match=words):
            merge_results([read(record) for record in records])


@pytest.mark.real
def test_the_merge_holds_the_whole_against_the_baseline(project: Path, whole: Done) -> None:
    harness(project, "ci", "--update-baseline-anyway", name="blessed")
    words = ("ci", "--baseline", "compare")
    before = harness(project, *words, name="held")
    parts = [harness(project, *words, "--shard", f"{number}/2", name=f"held{number}") for number in (1, 2)]

    done = harness(project, "merge", *(str(part.folder) for part in parts), name="held-merged")

    (project / "suites" / "baselines" / "plain.json").unlink()
    (held,) = done.last["regressions"]
    assert done.last["regressions"] == before.last["regressions"]
    assert (held["suite"], held["verdict"], held["diff"]) == ("plain", "unchanged", 0.0)
    assert plain(done.results["suites"][0]["baseline"]) == plain(before.results["suites"][0]["baseline"])


@pytest.mark.parametrize(
    ("verdict", "proof", "status"),
    [("pass", "fail", 0), ("fail", "warn", 1), ("error", "warn", 10), ("inconclusive", "fail", 11),
     ("inconclusive", "warn", 0)],
)  # fmt: skip
def test_a_merge_exits_as_pytest_does(verdict: str, proof: str, status: int) -> None:
    suite = SuiteRecord(name="plain", definition={"on_inconclusive": proof})
    gate = GateRecord(verdict=Decision(verdict), reasons=())

    assert exit_code(make_record([]).model_copy(update={"gate": gate, "suites": (suite,)})) == status


def test_shards_share_every_case_once() -> None:
    suite = load_suite(ROOT / "suites" / "aldar_kose.yaml")

    for count in (1, 2, 3, 7, 40):
        parts = [Shard(number, count).cases(suite) for number in range(1, count + 1)]
        assert sorted(case for part in parts for case in part) == sorted(case.id for case in suite.cases)
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/0", "1/2/3", "-1/2"])
def test_a_shard_that_is_none(text: str) -> None:
    with pytest.raises(UsageError, match="the I-th of N shards"):
        read_shard(text)


@pytest.mark.parametrize("more", [{"retrain": 1}, {"update_baseline": True}, {"baseline": "save"}])
def test_what_needs_a_whole_run_is_refused_in_a_shard(tmp_path: Path, more: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="in a whole run"):
        Settings.load(tmp_path, {"shard": "1/2", **more})


@pytest.mark.real
def test_every_command_of_the_documentation_works(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "suites", tmp_path / "suites")
    (tmp_path / "references").symlink_to(ROOT / "references", target_is_directory=True)
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\n", encoding="utf-8")
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["harness.plugin"]\n', encoding="utf-8")
    text = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "HARNESS_", "GITHUB_"))}

    called = [line.split()[1:] for line in re.findall(r"^ {4}(harness .+)$", text, re.MULTILINE)]
    for words in called:
        command = [sys.executable, "-m", "harness", *words]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (words, done.stdout, done.stderr)

    assert {words[0] for words in called} == {"ci", "merge", "cache"}
    assert (tmp_path / "reports" / "contact-sheet.png").is_file()


# --- annotations, summary and sheet in themselves -----------------------------------------------------------------


def test_hostile_text_stays_inside_its_annotation(tmp_path: Path) -> None:
    text = f"{tmp_path}/suites/a,b:c.yaml:7: bad\r\n::error::forged % \x1b[31m ::add-mask::x"

    command = of_problem(text, tmp_path).command()

    assert command.count("\n") == 0 and "\r" not in command and "\x1b" not in command
    assert command.startswith("::error file=suites/a%2Cb%3Ac.yaml,line=7,title=collection::bad ")
    assert "%25" in command


def test_no_more_annotations_than_are_shown() -> None:
    every = [Annotation("error", "a.yaml", number, "t", "m") for number in range(1, 31)]

    lines = commands([*every, Annotation("warning", "a.yaml", 1, "t", "w")])

    assert len(lines) == 11 and "and 21 more" in lines[9] and lines[10].startswith("::warning")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store") as opened:
        yield opened


def test_only_gates_are_annotated(store: Store, tmp_path: Path) -> None:
    results = example_record(store)

    found = annotate(results, tmp_path)

    gates = {case.case for case in results.cases if case.gate and case.verdict in ("fail", "error")}
    assert {each.title.partition(" by ")[0] for each in found if " by " in each.title} == gates


def test_the_sheet_is_small_however_many_cases_there_are(store: Store) -> None:
    results = example_record(store)
    case = results.cases[0]
    noise = io.BytesIO()
    Image.frombytes("RGB", (512, 512), os.urandom(512 * 512 * 3)).save(noise, "PNG")
    cases = tuple(case.model_copy(update={"case": f"case-{number}"}) for number in range(300))
    many = results.model_copy(update={"cases": cases})

    sheet = contact_sheet(many, lambda sha: noise.getvalue())

    assert sheet and len(sheet) <= LARGEST


def test_the_sheet_shows_the_worst_first_and_survives_missing_pictures(store: Store) -> None:
    results = example_record(store)

    def nothing(sha: str) -> bytes:
        raise OSError("gone")

    with Image.open(io.BytesIO(contact_sheet(results, nothing) or b"")) as sheet:
        assert sheet.width > 0
    assert contact_sheet(results.model_copy(update={"cases": ()}), nothing) is None


def test_the_sheet_has_the_verdict_references_and_the_leaderboards_order(store: Store) -> None:
    results = example_record(store, 0.45)
    colours = {"genuine": (0, 0, 255)}
    ranked = [row.provider for row in results.leaderboard]
    for number, provider in enumerate(ranked):
        colours |= {
            sample.image: (50 * number + 50, 0, 0)
            for case in results.cases
            if case.provider == provider
            for sample in case.samples
            if sample.image
        }
    suite = results.suites[0].model_copy(update={"references": {"held_out": ("genuine",)}})
    results = results.model_copy(update={"suites": (suite,)})

    def flat(sha: str) -> bytes:
        data = io.BytesIO()
        Image.new("RGB", (8, 8), colours[sha]).save(data, "PNG")
        return data.getvalue()

    with Image.open(io.BytesIO(contact_sheet(results, flat) or b"")) as sheet:
        row = [sheet.getpixel((x, 130)) for x in range(sheet.width)]
        title = [sheet.getpixel((x, y)) for x in range(60) for y in range(20)]
    plain = {(0, 0, 255), *((50 * number + 50, 0, 0) for number in range(len(ranked)))}
    seen = list(dict.fromkeys(pixel for pixel in row if pixel in plain))

    assert seen[0] == (0, 0, 255) and seen[1:] == sorted(seen[1:]) and len(seen) > 2
    assert (0xB4, 0x23, 0x18) in title, "the verdict, in red"


def test_a_summary_never_grows_beyond_what_github_takes(tmp_path: Path) -> None:
    path = tmp_path / "summary.md"

    for _ in range(4):
        append_summary(path, "a line of words\n" * 40_000)

    assert path.stat().st_size < SUMMARY_BYTES + 200
    append_summary(tmp_path / "no" / "such" / "folder.md", "text")  # costs no verdict
