"""Baselines: a small reviewed file, found beside the suite or in git, and what a run says when held against it."""

from __future__ import annotations

import base64
import io
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from harness.core.errors import UsageError
from harness.core.settings import Settings
from harness.core.values import Case, Decision, Job, Lora, Threshold, Verdict
from harness.engine.run import Run
from harness.judging.baseline import baseline_path, make_baseline, parse_baseline, to_text, update_baseline
from harness.judging.record import HeldProvider, RunRecord
from harness.report import summary_markdown, write_report
from harness.report.terminal import summary_text
from harness.store import Store
from tests.painter import Brightness, Studio
from tests.support import run_suites
from tests.test_plugin import flat_suite


@dataclass
class Named(Brightness):
    """A scorer that tells its parts."""

    parts: dict[str, Any] = field(default_factory=lambda: {"dtype": "float32", "impostors": "aa", "version": 1})


@dataclass
class Desk:
    """A studio whose runs are held against baselines."""

    studio: Studio
    runs: list[Run] = field(default_factory=list)

    def run(self, level: float = 0.9, jobs: list[Job] | None = None, **keys: Any) -> tuple[RunRecord, Verdict]:
        """The record and the gate's verdict of a run with a LoRA of this brightness."""
        lora = Lora(self.studio.write_lora(f"level-{level}", level))
        run = self.studio.run(lora=lora, **keys)
        self.runs.append(run)
        run.submit(jobs or self.studio.jobs())
        verdict = run.gate(self.studio.suite.path.as_posix(), "lora")
        return run.finish(), verdict

    def update(self, level: float = 0.9, anyway: bool = False, **keys: Any) -> Any:
        """Bless a run with a LoRA of this brightness."""
        results, _ = self.run(level, update_baseline="whole", **keys)
        return update_baseline(results, self.studio.suite, self.picture, anyway=anyway)

    def picture(self, sha: str) -> bytes:
        with Store(self.studio.folder / "store") as store:
            return store.image(sha)

    @property
    def path(self) -> Path:
        return baseline_path(self.studio.suite)

    def held(self, results: RunRecord) -> HeldProvider:
        baseline = results.suites[0].baseline
        assert baseline
        return baseline.providers["lora"]


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Desk]:
    state = Desk(Studio(tmp_path, scorer=Named(), suite_keys={"thresholds": {}}))
    yield state
    for run in state.runs:
        run.close()


# --- the file -----------------------------------------------------------------------------------------------------


def test_the_file_is_small_and_has_a_record_a_line(state: Desk) -> None:
    state.studio.cases, state.studio.samples = 12, 3

    saved = state.update()

    text = state.path.read_text(encoding="utf-8")
    assert "wrote" in saved.text and "36 scores, 12 thumbnails" in saved.text and not saved.refused
    assert len(text) < 48 * 1024
    assert sum(line.startswith('{"provider": "lora", "case": "case-3", "seed"') for line in text.splitlines()) == 4
    record = json.loads(text)
    assert record["scorer"]["impostors"] == "aa" and record["made"]["profile"] == "painted"
    assert len(record["providers"]["lora"]["lora"]) == 64
    thumbnail = base64.b64decode(record["thumbnails"][0]["webp"])
    assert Image.open(io.BytesIO(thumbnail)).format == "WEBP" and len(thumbnail) < 1_500


def test_a_noisy_picture_has_a_small_thumbnail_too(state: Desk) -> None:
    buffer = io.BytesIO()
    Image.effect_noise((256, 256), 90).convert("RGB").save(buffer, "PNG")
    results, _ = state.run()

    made = make_baseline(results, state.studio.suite, lambda sha: buffer.getvalue())

    assert all(len(item.webp) <= 2_000 for item in made.thumbnails)


def test_the_text_reads_back_as_what_was_written(state: Desk) -> None:
    state.update()
    text = state.path.read_text(encoding="utf-8")

    assert to_text(parse_baseline(text, "painted", "here")) == text


def test_the_same_pictures_write_no_new_file(state: Desk) -> None:
    state.update()
    before = state.path.read_bytes()

    assert "says the same already" in state.update().text
    assert state.path.read_bytes() == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ('{"kind": "lora-harness baseline", "schema": 9}', "update this package"),
        ('{"kind": "lora-harness baseline", "schema": 1}', "suite: Field required"),
        ('{"kind": "lora-harness baseline", "schema": 1, "suite": "a", "scores": [{}]}', "scores.0.provider"),
        ('{"kind": "lora-harness baseline", "schema": 1, "suite": "a", "scores": [NaN]}', "scores.0"),
        ('{"some": "thing"}', "schema None"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_refused_in_words(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=rf"^here: .*{message}"):
        parse_baseline(text, "a", "here")


# --- writing it ---------------------------------------------------------------------------------------------------


def test_a_red_run_is_no_baseline_unless_that_is_said(state: Desk) -> None:
    state.studio.suite_keys = {"thresholds": {"quality": Threshold(fail=0.6)}}

    refused = state.update(0.3)

    assert refused.refused and not state.path.exists()
    assert "the gate of lora says fail" in refused.text and "--update-baseline-anyway" in refused.text
    assert "although" in state.update(0.3, anyway=True).text and state.path.exists()


def test_an_incomplete_run_is_none_either(state: Desk) -> None:
    refused = state.update(jobs=state.studio.jobs("lora")[:2])

    assert refused.refused and "2 of 4 open cases were not drawn by lora" in refused.text


def test_fewer_seeds_than_the_suite_asks_for_are_incomplete(state: Desk) -> None:
    assert "have fewer than 2 scored pictures" in state.update(samples=1).text


def test_an_old_baseline_does_not_stand_in_the_way_of_a_new_one(state: Desk) -> None:
    state.update(0.9)

    results, verdict = state.run(0.7, update_baseline="whole")

    assert verdict.decision is Decision.PASS
    assert state.held(results).verdict == "regressed", "it is told all the same"
    assert "is to replace it" in summary_text(results, 100)
    assert "wrote" in update_baseline(results, state.studio.suite, state.picture).text


# --- holding a run against it -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "now", "word", "decision"),
    [
        (0.9, 0.7, "regressed", Decision.FAIL),
        (0.7, 0.9, "improved", Decision.PASS),
        (0.9, 0.9, "unchanged", Decision.PASS),
        (0.9, 0.895, "unchanged", Decision.PASS),
    ],
)
def test_the_file_beside_the_suite_is_used(
    state: Desk, before: float, now: float, word: str, decision: Decision
) -> None:
    state.update(before)

    results, verdict = state.run(now)

    assert verdict.decision is decision
    held = state.held(results)
    assert held.verdict == word and held.pairs == 8
    assert {case.verdict for case in held.cases} == {word}
    assert f"baseline: lora {word}, quality {now - before:+.2f}"[:30] in summary_text(results, 100)
    assert word in summary_markdown(results)


def test_the_very_same_pictures_are_said_to_be_the_same(state: Desk) -> None:
    state.studio.suite_keys = {"thresholds": {}, "margin": 0.0}
    state.update()

    results, verdict = state.run()

    assert verdict.decision is Decision.PASS
    held = state.held(results)
    assert held.quality and (held.verdict, held.quality.diff, held.same_pictures) == ("unchanged", 0, 8)
    assert "the very same" in summary_text(results, 100)


def test_one_bad_case_is_named_with_its_old_picture(state: Desk, tmp_path: Path) -> None:
    state.studio.cases = 6
    state.update()
    record = json.loads(state.path.read_text())
    for mark in record["scores"]:
        if mark["case"] == "case-2":
            mark["scores"]["quality"] = 1.0 if mark["seed"] else 0.99
    state.path.write_text(json.dumps(record))

    results, _ = state.run(0.88)

    first = state.held(results).cases[0]
    assert (first.case, first.verdict) == ("case-2", "regressed")
    page = write_report(results, None, tmp_path / "report").read_text(encoding="utf-8")
    assert "case-2 as it was" in page and first.thumbnail and first.thumbnail.webp in page


def test_off_leaves_it_out(state: Desk) -> None:
    state.update()

    results, verdict = state.run(0.7, baseline_from="off")

    assert verdict.decision is Decision.PASS
    assert results.suites[0].baseline is None


def test_compare_demands_one(state: Desk) -> None:
    results, verdict = state.run(baseline_from="suite")

    assert verdict.decision is Decision.ERROR
    assert "--update-baseline" in verdict.complaints[0].message
    assert "--update-baseline" in summary_text(results, 100)


def test_without_a_file_nothing_is_compared(state: Desk) -> None:
    results, verdict = state.run()

    assert verdict.decision is Decision.PASS and results.suites[0].baseline is None


def test_a_damaged_file_turns_the_gate_into_an_error(state: Desk) -> None:
    state.path.parent.mkdir()
    state.path.write_text("<<<<<<< HEAD")

    _, verdict = state.run()

    assert verdict.decision is Decision.ERROR and "not JSON" in verdict.complaints[0].message


def test_another_scorer_is_refused_by_the_name_of_what_differs(state: Desk) -> None:
    state.update()
    state.studio.scorer = Named(identity="brightness/2", parts={"dtype": "float32", "impostors": "bb", "version": 1})

    results, verdict = state.run()

    assert verdict.decision is Decision.ERROR
    (message,) = [item.message for item in verdict.complaints if item.metric == "baseline"]
    assert "scorer.impostors: aa in the baseline, bb now" in message and "--update-baseline" in message
    assert "scorer.identity" not in message and "version" not in message
    assert state.held(results).verdict == "refused"


@pytest.mark.parametrize("other", [False, True], ids=["the same scorer", "another scorer"])
def test_what_cannot_be_compared_is_called_no_regression(state: Desk, other: bool) -> None:
    state.update(0.9)
    if other:
        state.studio.scorer = Named(identity="brightness/2", parts={"dtype": "float32", "impostors": "bb"})

    results, verdict = state.run(0.6)

    told = {item.metric for item in verdict.complaints}
    assert ("baseline" in told) is other and ("regression" in told) is not other
    assert bool({"regression", "fallen"} & set(verdict.details)) is not other
    assert ("quality against the baseline" in summary_text(results, 100)) is not other


def test_another_dtype_and_another_added_metric_are_only_warned_about(state: Desk) -> None:
    state.update()
    parts = {"dtype": "bfloat16", "impostors": "aa", "version": 1, "metrics.ssim": "2"}
    state.studio.scorer = Named(identity="brightness/2", parts=parts)

    results, verdict = state.run()

    assert verdict.decision is Decision.PASS
    warned = " ".join(item.message for item in verdict.complaints)
    assert "scorer.dtype: float32 in the baseline, bfloat16 now" in warned and "metrics.ssim" in warned
    assert state.held(results).metrics.keys() == {"clip", "features"}, "ssim measures something else now"


def test_a_change_that_no_part_shows_is_still_refused(state: Desk) -> None:
    state.update()
    state.studio.scorer = Named(identity="brightness/2")

    assert "scorer.identity" in state.run()[1].complaints[0].message


def test_a_case_with_another_prompt_is_left_out(state: Desk) -> None:
    state.update()
    text = state.path.read_text().replace('"prompt": "aldar, case-1"', '"prompt": "aldar, long ago"')
    state.path.write_text(text)

    results, _ = state.run()

    held = state.held(results)
    assert held.left_out == ("case-1",) and held.pairs == 6
    assert "without case-1, whose prompt has changed" in summary_text(results, 100)


def test_a_baseline_of_another_suite_is_refused(state: Desk) -> None:
    state.update()
    other = state.studio.folder / "other.json"
    other.write_text(state.path.read_text().replace('"suite": "painted"', '"suite": "other"'))

    _, verdict = state.run(baseline=other)

    assert verdict.decision is Decision.ERROR and "has none called 'painted'" in verdict.complaints[0].message


# --- git ----------------------------------------------------------------------------------------------------------


def git(folder: Path, *words: str) -> None:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)


def commit(folder: Path, message: str) -> None:
    if (folder / "baselines").is_dir():
        git(folder, "add", "baselines")
    git(folder, "commit", "-q", "--allow-empty", "-m", message)


@pytest.fixture
def branch(state: Desk) -> Desk:
    """`main` ships a bright LoRA; a branch blesses a dark one."""
    folder = state.studio.folder
    git(folder, "init", "-q", "-b", "main")
    commit(folder, "nothing yet")
    git(folder, "tag", "nothing")
    state.update(0.9)
    commit(folder, "bright")
    git(folder, "checkout", "-q", "-b", "darker")
    state.update(0.7)
    commit(folder, "dark")
    return state


@pytest.mark.parametrize(
    ("source", "word"),
    [("auto", "unchanged"), ("git:merge-base", "regressed"), ("git:HEAD", "unchanged"), ("git:HEAD~1", "regressed")],
)
def test_a_commit_says_what_it_is_compared_with(branch: Desk, source: str, word: str) -> None:
    results, _ = branch.run(0.7, baseline_from=source)

    assert branch.held(results).verdict == word
    assert results.suites[0].baseline and len(results.suites[0].baseline.made["commit"]) == 40


def test_the_merge_base_stays_when_the_default_branch_moves_on(branch: Desk) -> None:
    folder = branch.studio.folder
    git(folder, "checkout", "-q", "main")
    branch.update(0.5)
    commit(folder, "much darker")
    git(folder, "checkout", "-q", "darker")

    results, _ = branch.run(0.7, baseline_from="git:merge-base")

    assert branch.held(results).quality.before == pytest.approx(0.9, abs=0.01)


def test_a_suite_without_a_baseline_at_that_commit_is_a_warning(branch: Desk) -> None:
    results, verdict = branch.run(0.7, baseline_from="git:nothing")

    assert verdict.decision is Decision.PASS
    assert "there was no such file yet" in verdict.complaints[0].message
    assert "there was no such file yet" in summary_text(results, 100)


@pytest.mark.parametrize(
    ("source", "words"), [("git:v9", "git rev-parse: fatal"), ("git:main:suites", "git rev-parse: fatal")]
)
def test_an_unknown_commit_is_an_error_in_gits_words(branch: Desk, source: str, words: str) -> None:
    _, verdict = branch.run(0.7, baseline_from=source)

    assert verdict.decision is Decision.ERROR and words in verdict.complaints[0].message


def test_outside_a_repository_git_says_so(state: Desk) -> None:
    _, verdict = state.run(baseline_from="git:merge-base")

    assert verdict.decision is Decision.ERROR and "not a git repository" in verdict.complaints[0].message


def test_ci_names_the_branch_that_a_change_is_for(branch: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    git(branch.studio.folder, "branch", "-q", "release", "darker")
    monkeypatch.setenv("GITHUB_BASE_REF", "release")
    environment = Settings.load(branch.studio.folder).environment

    results, _ = branch.run(0.7, baseline_from="git:merge-base", environment=environment)

    assert branch.held(results).verdict == "unchanged"


# --- options ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "source", "update"),
    [
        ({}, "auto", ""),
        ({"baseline": "off"}, "off", ""),
        ({"baseline": "compare"}, "suite", ""),
        ({"baseline": "git"}, "git:merge-base", ""),
        ({"baseline": "git:v1.2"}, "git:v1.2", ""),
        ({"baseline": "save"}, "auto", "whole"),
        ({"update_baseline": True}, "auto", "whole"),
        ({"update_baseline_anyway": True, "baseline": "off"}, "off", "anyway"),
    ],
)
def test_what_the_options_mean(tmp_path: Path, given: dict[str, Any], source: str, update: str) -> None:
    settings = Settings.load(tmp_path, given)

    assert (settings.baseline, settings.baseline_from, settings.update_baseline) == (None, source, update)


@pytest.mark.parametrize("text", ["git:", "git:--output=x"])
def test_a_commit_that_is_an_option_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match="a commit, tag or branch must follow"):
        Settings.load(tmp_path, {"baseline": text})


@pytest.mark.real
def test_in_pytest_it_is_refused_written_and_compared(tmp_path: Path) -> None:
    """Flat pictures are red whatever the threshold, so only "anyway" makes them a baseline."""
    suite = flat_suite(tmp_path, "0.0")

    refused = run_suites(tmp_path, suite, "--update-baseline")
    written = run_suites(tmp_path, suite, "--update-baseline-anyway")
    compared = run_suites(tmp_path, suite, "-m", "gate")

    assert refused.status == 1 and "flat.json was not written" in refused.output
    assert "wrote" in written.output and (tmp_path / "baselines" / "flat.json").is_file()
    assert compared.results["suites"][0]["baseline"]["providers"]["flat"]["verdict"] == "unchanged"
    assert "baseline: flat unchanged" in compared.output
    assert {"dtype", "clip", "impostors", "references_held_out", "vocabulary", "weights", "version"} <= (
        compared.results["suites"][0]["scorer"].keys()
    )


def test_a_case_that_is_new_to_the_suite_is_not_in_the_way(state: Desk) -> None:
    state.update()
    state.studio.cases += 1

    results, verdict = state.run()

    assert verdict.decision is Decision.PASS and state.held(results).pairs == 8
    assert Case("painted", "case-4", "aldar, case-4") in state.studio.suite.cases
