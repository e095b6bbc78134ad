"""What a person reads in the terminal."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.core.values import (
    CaseResult,
    Complaint,
    Decision,
    Interval,
    Job,
    Outcome,
    Progress,
    Sample,
    Threshold,
    Verdict,
)
from harness.judging.record import FeedbackRecord, RunRecord
from harness.judging.results import SuiteRun
from harness.report.failure import bound_word
from harness.report.leaderboard_table import gap_lines, left_out_lines, legend_lines, rank_lines
from harness.report.terminal import (
    ProgressLine,
    cells,
    clean,
    duration,
    failure_text,
    leaderboard_table,
    next_steps,
    progress_text,
    summary_text,
)
from harness.store import Store
from tests.example_run import ROUND, example_run, make_record, plain, read


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def weak(store: Store) -> SuiteRun:
    return example_run(store, level=0.45)


@pytest.fixture(scope="module")
def record(weak: SuiteRun) -> RunRecord:
    return make_record([weak], (ROUND,))


@pytest.mark.parametrize("width", [30, 40, 60, 80, 100, 160])
def test_the_leaderboard_fits_the_terminal(record: RunRecord, width: int) -> None:
    text = leaderboard_table(record.leaderboard, width)

    assert max(map(cells, text.splitlines())) <= width
    assert "painter" in text


def test_a_wide_leaderboard_says_everything(record: RunRecord) -> None:
    text = leaderboard_table(record.leaderboard, 160)

    assert "lora (gate)" in text
    assert "painter (emulated)" in text
    assert "7, 2 quota, 3 refused" in text
    assert "vs lora" in text and "-0.2" in text


def test_the_table_says_what_the_pictures_leave_open(record: RunRecord) -> None:
    rows = record.leaderboard
    first = rows[0].simultaneous
    assert first and rows[0].rank_range

    table, legend = leaderboard_table(rows, 100), legend_lines(rows, 100)

    assert table.splitlines()[0].split()[:4] == ["#", "ranks", "tie", "provider"]
    low, high = rows[0].rank_range
    assert table.splitlines()[1].split()[:3] == ["1", f"{low}-{high}", rows[0].ties]
    assert f"{first.mean:.2f} [{first.low:.2f}, {first.high:.2f}]" in table, "the interval of all rows at once"
    assert legend[0] == "  ranks: possible; same tie: not proven to differ; [ ]: 95%, all rows at once"
    assert "on the pictures that all share" in legend[1], "painter lacks some, so the means are of fewer"


def test_proven_ranks_need_no_columns_for_what_is_open(record: RunRecord) -> None:
    rows = [row.model_copy(update={"rank_range": (number, number)}) for number, row in enumerate(record.leaderboard, 1)]

    assert leaderboard_table(rows, 100).splitlines()[0].split()[:2] == ["#", "provider"]
    assert legend_lines(rows, 80)[0] == "  all ranks are proven; [ ]: 95%, all rows at once"


def test_one_row_alone_keeps_the_interval_of_its_verdict(record: RunRecord) -> None:
    row = record.leaderboard[0]

    assert row.quality and f"[{row.quality.low:.2f}, {row.quality.high:.2f}]" in leaderboard_table([row], 100)
    assert legend_lines([row], 100) == []


def test_a_row_on_other_pictures_is_marked(record: RunRecord) -> None:
    first = record.leaderboard[0]
    rows = [
        first.model_copy(update={"simultaneous": None, "rank_range": None, "ties": ""}),
        *record.leaderboard[1:],
    ]

    assert first.quality and f"{first.quality.high:.2f}]*" in leaderboard_table(rows, 100)
    assert "  *: on its own pictures, too few are shared" in legend_lines(rows, 80)


def test_the_best_competitor_is_named_with_the_corrected_interval(record: RunRecord) -> None:
    gate = next(row for row in record.leaderboard if row.gate)
    gap = gate.best_gap
    assert gap

    [line] = gap_lines(record.leaderboard, 160)

    shown = f"{gap.mean:+.2f} [{gap.low:+.2f}, {gap.high:+.2f}]"
    assert line == f"  lora is behind its best competitor painter: {shown}, corrected for taking the best"
    even = [gate.model_copy(update={"best_gap": Interval(0.01, -0.1, 0.1, 4)})]
    assert "lora is not proven to differ from its best competitor: +0.01" in gap_lines(even, 160)[0]


@pytest.mark.parametrize("width", [30, 40, 60, 80, 100, 160])
def test_all_that_stands_around_the_table_fits_too(record: RunRecord, width: int) -> None:
    rows = record.leaderboard

    lines = [*legend_lines(rows, width), *gap_lines(rows, width), *rank_lines(rows, width)]

    assert max(map(cells, lines)) <= width
    assert all(line.isascii() for line in lines)


def test_columns_that_had_to_go_are_named(record: RunRecord) -> None:
    rows = record.leaderboard

    assert left_out_lines(rows, 200) == []
    gone = " ".join(left_out_lines(rows, 60)).partition("columns left out: ")[2].partition(";")[0].split(", ")
    shown = leaderboard_table(rows, 60).splitlines()[0].split()
    assert {"features", "ssim", "pictures"} <= set(gone) and not {*gone} & {*shown}
    assert "clip" in leaderboard_table(rows, 80).splitlines()[0].split()
    assert "columns left out" in summary_text(record, 60) and "columns left out" not in summary_text(
        record, 60, None, -1
    )


@pytest.mark.parametrize("width", [60, 80])
def test_no_line_of_the_summary_is_wider_than_the_terminal(record: RunRecord, width: int) -> None:
    long = plain(record)
    long["gate"]["reasons"] = ["名前 " * 60, "why " * 80]
    found = {"sentence": "none of 4 pictures copies a training picture " * 3, "alarm": True, "judged": True}
    long["suites"][0]["sets"] = {"lora": {"copy": found}}

    assert max(map(cells, summary_text(read(long), width, None, 1).splitlines())) <= width


def test_colours_are_only_where_the_terminal_has_them(record: RunRecord) -> None:
    bare, coloured = summary_text(record, 100), summary_text(record, 100, markup=True)

    assert "\x1b" not in bare
    assert "verdict: \x1b[1;31mFAIL\x1b[0m" in coloured, "red"
    assert re.search(r"\x1b\[1mlora \(gate\)", coloured), "bold"
    assert [line.rstrip() for line in re.sub(r"\x1b\[[\d;]*m", "", coloured).splitlines()] == bare.splitlines()


def test_what_looks_like_markup_is_text(record: RunRecord) -> None:
    odd = plain(record)
    odd["leaderboard"][0]["provider"] = "[red]x[/] :smile:"
    odd["gate"]["reasons"] = ["[bold]no[/bold] [link=http://x]y"]

    for text in (summary_text(read(odd), 120), summary_text(read(odd), 120, markup=True)):
        assert "[red]x[/] :smile:" in text and "[bold]no[/bold] [link=http://x]y" in text


def test_quiet_says_less_and_verbose_more(record: RunRecord) -> None:
    texts = {verbosity: summary_text(record, 100, Path("index.html"), verbosity) for verbosity in (-2, -1, 0, 1)}

    assert texts[-2].splitlines()[0].startswith("verdict: FAIL"), "what -qq leaves"
    assert "[ ]: 95%" not in texts[-1] and "painter (emulated)" in texts[-1] and "pictures: 48" not in texts[-1]
    assert "rank by" not in texts[0] and "pictures: 48" in texts[0]
    assert "rank by" in texts[1] and "facial_hair  1        2            3     4" in texts[1]
    assert all(text.endswith("report:  index.html") for text in texts.values())


def test_no_pictures_is_said_and_is_no_zero(record: RunRecord) -> None:
    nothing = {"quality": None, "clip": None, "versus": {}, "outcomes": {"quota": 4}}
    row = record.leaderboard[0].model_copy(update=nothing)

    text = leaderboard_table([row], 120)

    assert "no scores" in text and "4 quota" in text and "0.00" not in text


def test_the_summary_ends_with_the_verdict_and_the_report(record: RunRecord) -> None:
    lines = summary_text(record, 100, Path("reports/index.html")).splitlines()

    assert lines[-1] == f"report:  {Path('reports/index.html')}"
    assert any(line.startswith("verdict: FAIL  aldar-kose, lora: quality is 0.45") for line in lines)
    assert any(line.startswith("round 1: promoted, challenger +0.31 [+0.24, +0.38]") for line in lines)
    assert "pictures: 48 drawn, 0 from the store" in lines


@pytest.mark.parametrize(
    ("verdict", "cause", "steps"),
    [("fail", "", ["train longer"]), ("fail", "strength is 0", []), ("pass", "", []), ("error", "", [])],
)
def test_a_red_run_says_what_to_do_next_where_no_cause_says_so(
    record: RunRecord, verdict: str, cause: str, steps: list[str]
) -> None:
    told = FeedbackRecord(failing=True, cause=cause, recommendations=({"message": "train longer", "priority": "high"},))
    gate = record.gate.model_copy(update={"verdict": Decision(verdict)})
    seen = record.model_copy(update={"feedback": (told,), "gate": gate})

    assert next_steps(seen) == steps
    assert ("next:    train longer" in summary_text(seen, 80).splitlines()) is bool(steps)


def test_a_failing_case_says_what_why_where_and_what_to_do(store: Store, weak: SuiteRun) -> None:
    result = weak.results["lora"][0]
    case = weak.suite.case(result.job.case)

    text = failure_text(weak.suite, case, "lora", weak.verdicts[result.job], result, store.image_path)

    coloured = failure_text(weak.suite, case, "lora", weak.verdicts[result.job], result, store.image_path, markup=True)
    assert text.startswith("quality is 0.48, wanted 0.60 or more") and "\x1b" not in text
    assert f":{case.line}  aldar-kose::smiling-steppe::lora  FAIL" in text.splitlines()[1]
    assert "\x1b[1;31mFAIL" in coloured and "\x1b[1;31mbelow" in coloured
    assert "prompt: aldar kose, smiling, steppe background" in text
    assert "0.48 [0.42, 0.54]  >= 0.60  below" in text
    assert "missing traits: clothing: blue 0.0" in text
    worst = min(result.samples, key=lambda sample: sample.scores["quality"].value or 0)
    assert f"worst sample: seed {worst.seed}" in text and str(store.image_path(worst.image or "")) in text
    assert "do: train longer" in text


def test_an_error_says_how_it_ended(weak: SuiteRun) -> None:
    job = Job(weak.suite.path.as_posix(), "angry-city", "lora")
    lost = CaseResult(job, (Sample("k", 0, Outcome.AUTH, message="401"), Sample("l", 1, Outcome.AUTH, message="401")))
    verdict = Verdict(Decision.ERROR, complaints=(Complaint("outcome", "no picture came", "error"),))

    text = failure_text(weak.suite, weak.suite.case("angry-city"), "lora", verdict, lost, Path)

    assert text.startswith("no picture came\n") and text.count("no picture came") == 1
    assert "seeds 0, 1: auth 401" in text and text.count("401") == 1
    assert "do: the key was not accepted" in text


def test_the_gate_names_its_cause(weak: SuiteRun) -> None:
    verdict = Verdict(Decision.FAIL, complaints=(Complaint("applied", "nothing changed"),), cause="strength is 0")

    text = failure_text(weak.suite, None, "lora", verdict, None, Path)

    assert text.splitlines()[:2] == ["nothing changed", "  cause: strength is 0"] and "do: mend the cause" in text


def test_a_case_is_told_the_gates_cause_before_any_advice(store: Store, weak: SuiteRun) -> None:
    result = weak.results["lora"][0]
    about = (weak.suite, weak.suite.case(result.job.case), "lora", weak.verdicts[result.job], result, store.image_path)

    known, none, unknown = (failure_text(*about, cause=cause) for cause in ("LoRA of another person", "", None))

    assert known.splitlines()[1] == "  cause: LoRA of another person"
    assert "train longer or" not in known and known.endswith("do: mend the cause above first; training longer cannot")
    assert "cause" not in none and "train longer or" in none
    assert unknown.endswith("unless the gate names a cause to mend first")


@pytest.mark.parametrize(
    ("low", "mean", "told", "word"),
    [
        (0.93, 0.95, False, "ok"),
        (0.92, 0.95, False, "open: the interval holds it"),
        (0.90, 0.92, False, "below, but not surely"),
        (0.93, 0.95, True, "open"),
    ],
)
def test_what_is_open_is_never_called_ok(low: float, mean: float, told: bool, word: str) -> None:
    assert bound_word(Interval(mean, low, mean + 0.02, 6), Threshold(fail=0.93), told) == word


def test_no_sentence_is_told_twice(weak: SuiteRun) -> None:
    said = Complaint("references", "references of another person: restore them")
    verdict = Verdict(Decision.FAIL, complaints=(Complaint("cause", said.message), said, said), cause=said.message)

    assert failure_text(weak.suite, None, "lora", verdict, None, Path).count(said.message) == 1


def test_a_foreign_text_cannot_drive_the_terminal() -> None:
    assert clean("\x1b[31mred\x07\nnext \u202eevil") == "?[31mred? next ?evil"
    assert len(clean("x" * 10_000)) == 400
    assert clean("Алдар Көсе") == "Алдар Көсе"


def test_hostile_names_fit_too(record: RunRecord) -> None:
    hostile = plain(record)
    for row in hostile["leaderboard"]:
        row["provider"] = "名前\x1b[2J" + "ш" * 10_000
    hostile["gate"]["reasons"] = ["\x1b]0;title\x07" + "r" * 10_000]

    text, coloured = summary_text(read(hostile), 80), summary_text(read(hostile), 80, markup=True)

    assert "\x1b" not in text and max(map(cells, text.splitlines())) <= 80
    assert "\x1b[2J" not in coloured and "\x1b]" not in coloured


def test_nothing_to_say_is_no_crash() -> None:
    assert "verdict: NOT JUDGED" in summary_text(make_record([]))


def test_progress_says_how_far_and_how_long() -> None:
    text = progress_text(Progress("draw", 12, 48, 5, 0.25, 65.0, "lora"), 100)

    assert text == "drawing lora, 12/48 pictures (5 from the store), $0.25, 1 min 05 s left"
    assert cells(progress_text(Progress("train", message="x" * 500), 60)) <= 60
    assert (duration(4), duration(7_500)) == ("4 s", "2 h 05 min")


def test_the_live_line_cleans_up_after_itself() -> None:
    written: list[str] = []
    line = ProgressLine(written.append, live=True)

    line(Progress("draw", 1, 2))
    line(Progress("done"))

    assert written[0].startswith("\rdrawing, 1/2 pictures")
    assert written[1].startswith("\r ") and written[1].endswith("\r")


def test_where_no_line_can_be_overwritten_only_long_stages_are_told() -> None:
    written: list[str] = []
    line = ProgressLine(written.append, live=False)

    for stage in ("draw", "train", "train", "score", "done"):
        line(Progress(stage))

    assert "".join(written).split() == ["training"]
