"""What `harness calibrate` finds of crowds whose truth is known, and what it writes into a suite."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import yaml

from harness.commands.calibrate import parse_rate, provenance, write_into
from harness.core.errors import SuiteError, UsageError
from harness.report.calibration_page import report_page, report_text
from harness.scoring.calibration import Sides, calibrate_suite, examine, gate_notes, write_thresholds
from harness.scoring.calibration.distributions import highest_but, lower_bound, on_scale, suggest
from harness.scoring.calibration.writing import edit_thresholds
from harness.scoring.metrics.scorer import Scorer
from harness.store import Store
from tests.command_line import parse
from tests.oracle import Hashes, Oracle, world_profile, write_pictures, write_world

WANTED = {"quality": (0.71, 0.82), "clip": (0.64, 0.9)}


# --- two crowds -------------------------------------------------------------------------------------------------------


def test_crowds_far_apart_get_thresholds_between_them() -> None:
    found = examine(Sides("clip", (0.95, 1.0, 1.05, 1.0, 0.98, 1.02), (0.0, 0.1, -0.1, 0.2, 0.05) * 8))

    assert found.auc == 1.0 and found.separation.eer == 0.0
    assert found.suggested is not None and found.suggested.apart
    assert 0.2 < found.suggested.fail < found.suggested.warn < 1.0
    assert found.suggested.passed.mean == 0.0
    assert found.suggested.false_alarm < found.suggested.false_alarm_warn <= 0.05
    assert found.d_prime.low is not None and found.d_prime.low <= found.d_prime.mean
    assert found.suggested.warn_range[0] <= found.suggested.warn <= found.suggested.warn_range[1]


def test_crowds_that_overlap_keep_the_false_alarm_rate_and_say_what_passes() -> None:
    rng = np.random.default_rng(0)

    found = suggest(rng.normal(0.8, 0.1, 12), rng.normal(0.6, 0.1, 60), 0.05)

    assert not found.apart and found.fail == found.warn
    assert found.false_alarm <= 0.05
    assert found.passed.mean > 0.2


def test_one_crowd_gets_no_threshold() -> None:
    rng = np.random.default_rng(1)

    found = examine(Sides("ssim", tuple(rng.normal(0.5, 0.1, 10)), tuple(rng.normal(0.5, 0.1, 40))))

    assert found.suggested is None
    assert found.reason.startswith("does not tell the subject from others")


@pytest.mark.parametrize("n", [5, 8, 20])
def test_warn_refuses_as_many_genuine_pictures_as_was_asked_for(n: int) -> None:
    rng = np.random.default_rng(n)
    refused = [float(values[-1]) < lower_bound(values[:-1], 0.05) for values in rng.normal(0.9, 0.1, (4000, n + 1))]

    assert np.mean(refused) == pytest.approx(0.05, abs=0.012)


def test_the_impostors_bound_is_a_rank_and_never_beyond_the_highest() -> None:
    values = np.arange(99) / 100

    assert highest_but(values, 0.05) == pytest.approx(0.94)  # the 95th of 99: one more exceeds it in 5 of 100
    assert highest_but(values[:5], 0.05) == values[4]


def test_thresholds_are_hundredths_within_the_scale() -> None:
    assert [on_scale(value) for value in (0.876, -0.3, 1.4, 0.29)] == [0.87, 0.0, 1.0, 0.29]


def test_errors_that_were_never_seen_are_not_said_to_be_impossible() -> None:
    found = examine(Sides("clip", (0.9,) * 7 + (0.95,), tuple(np.linspace(0, 0.5, 48))))

    assert found.separation.eer == 0.0 and found.suggested is not None
    assert found.suggested.refused.high == pytest.approx(1 - 0.025 ** (1 / 8))  # Clopper and Pearson, 0 of 8
    assert found.suggested.passed.high == pytest.approx(1 - 0.025 ** (1 / 48))
    assert (found.eer.low, found.eer.high) == (0.0, pytest.approx(1 - 0.0125 ** (1 / 8)))


def test_the_roc_goes_from_everybody_to_nobody() -> None:
    roc = examine(Sides("clip", (0.9, 0.8, 1.0), (0.1, 0.85, 0.2))).roc

    assert roc[0][1:] == (1.0, 1.0) and roc[-1][1:] == (0.0, 0.0)
    assert all(a[1] >= b[1] and a[2] >= b[2] for a, b in itertools.pairwise(roc))


# --- a suite ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> Any:
    with Store(tmp_path / "store") as opened:
        yield opened


def scorer_of(folder: Path, oracle: Oracle, store: Store) -> Scorer:
    suite = write_world(folder, oracle)
    return Scorer(suite, world_profile(), Hashes(), store, load=lambda: oracle)


def test_a_good_suite_can_gate_and_every_score_is_examined(tmp_path: Path, store: Store) -> None:
    report = calibrate_suite(scorer_of(tmp_path, Oracle(), store))

    assert not report.refusal
    assert {"quality", "clip"} <= set(report.suggested)
    clip = next(side for side in report.sides if side.metric == "clip")
    assert (len(clip.genuine), len(clip.impostor)) == (8, 24)
    assert np.mean(clip.genuine) == pytest.approx(1.0) and np.mean(clip.impostor) == pytest.approx(0.0, abs=1e-6)
    assert "ssim" not in report.suggested  # whom a picture shows is not in its raw lines
    assert "can gate" in report_text(report) and "facial_hair" in report_text(report)
    assert report.record["can_gate"] is True


def blind(folder: Path, store: Store) -> Scorer:
    """A suite for an embedder that has never seen anybody."""
    scorer = scorer_of(folder, Oracle(), store)
    scorer._embeddings.load = lambda: Oracle(noise=1.0)
    return scorer


def test_a_suite_that_cannot_tell_its_subject_refuses_and_writes_nothing(tmp_path: Path, store: Store) -> None:
    scorer = blind(tmp_path, store)
    report = calibrate_suite(scorer)
    path = tmp_path / "aldar.yaml"
    path.write_text("version: 1\n", encoding="utf-8")

    assert report.calibration.clip.d_prime < 1
    assert report.suggested == {}
    assert "refuses to gate" in report_text(report) and "cannot be told from the impostors" in report_text(report)
    with pytest.raises(UsageError, match="nothing is written: the references cannot be told"):
        write_into(path, report)
    assert path.read_text(encoding="utf-8") == "version: 1\n"


def test_lint_repeats_what_an_earlier_calibration_found(tmp_path: Path, store: Store) -> None:
    scorer = blind(tmp_path, store)

    assert gate_notes(scorer) == []  # nothing is known yet
    scorer.calibration()

    (note,) = gate_notes(blind(tmp_path, store))
    assert note.startswith("refuses to gate: the references cannot be told from the impostors")


def test_the_page_escapes_and_needs_no_network(tmp_path: Path, store: Store) -> None:
    from dataclasses import replace

    report = calibrate_suite(scorer_of(tmp_path, Oracle(), store))

    page = report_page(replace(report, subject="<script>alert(1)</script>"))

    assert "<script" not in page and "&lt;script&gt;" in page
    assert "default-src &#39;none&#39;" in page and "http://" not in page and "https://" not in page
    assert page.count("<svg") == 2 * len(report.findings)
    assert ">fail</text>" in page and ">warn</text>" in page
    assert "style=" not in page and "#0000f" not in page  # the policy forbids the one, the page's colours are not those


def test_the_provenance_says_when_with_what_and_of_how_many(tmp_path: Path, store: Store) -> None:
    import re

    said = provenance(calibrate_suite(scorer_of(tmp_path, Oracle(), store)))

    first, *costs, last = said.splitlines()
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d: false alarms 0\.05, CLIP [\w ]{12}, 8 genuine, 24 impostors, d' [\d.]+, "
        r"EER \d+% \(\d+% to \d+%\)",
        first,
    )
    assert {line.partition(":")[0] for line in costs} == set(last.removeprefix("wrote ").partition(";")[0].split(", "))
    assert all(re.search(r"fail [\d.]+ refuses [\d.]+% of genuine as predicted, \d of 8 \(", line) for line in costs)
    assert last.endswith("any other line is the author's own")


def test_false_alarm_rates_are_checked() -> None:
    assert parse(["calibrate", "s.yaml"]).params["false_alarm"] == 0.05
    assert parse(["calibrate", "s.yaml", "--false-alarm", "0.5"]).params["false_alarm"] == 0.5
    assert parse_rate("0.01") == 0.01
    for text in ("5%", "0.51", "0.0009", "nan"):
        with pytest.raises(click.BadParameter, match=r"is no false-alarm rate; write 0\.05, between 0\.001"):
            parse(["calibrate", "s.yaml", "--false-alarm", text])


def test_a_folder_of_one_subject_has_no_impostors(tmp_path: Path, store: Store) -> None:
    from dataclasses import replace

    from harness.core.errors import ReferencesError

    oracle = Oracle()
    suite = write_world(tmp_path, oracle)
    empty = write_pictures(tmp_path / "nobody", [])
    suite = replace(suite, subject=replace(suite.subject, impostors=empty))

    with pytest.raises(ReferencesError, match="0 impostor pictures"):
        calibrate_suite(Scorer(suite, world_profile(), Hashes(), store, load=lambda: oracle))


# --- the text ---------------------------------------------------------------------------------------------------------

BLOCK = """\
# a hero
version: 1
weights: {clip: 0.4}   # as ever
# what must hold
thresholds:
  quality: {fail: 0.60, warn: 0.70}  # agreed in May
  clip: 0.50     # a guess
  ssim: {warn: 0.30}
cases: [1, 2]
"""
NESTED = "thresholds:\n  # the main one\n  quality:\n    # low\n    fail: 0.5\nother: 1\n"


def thresholds(text: str) -> Any:
    return yaml.safe_load(text)["thresholds"]


def bounds(**more: Any) -> dict[str, Any]:
    return {"quality": {"fail": 0.71, "warn": 0.82}, "clip": {"fail": 0.64, "warn": 0.9}, **more}


def test_values_change_in_place_and_comments_and_order_stay() -> None:
    found = edit_thresholds(BLOCK, WANTED, "today")

    assert found.splitlines() == [
        "# a hero",
        "version: 1",
        "weights: {clip: 0.4}   # as ever",
        "# what must hold",
        "# harness calibrate, today",
        "thresholds:",
        "  quality: {fail: 0.71, warn: 0.82}  # agreed in May",
        "  clip: {fail: 0.64, warn: 0.90}     # a guess",
        "  ssim: {warn: 0.30}",
        "cases: [1, 2]",
    ]


def test_writing_twice_leaves_one_provenance() -> None:
    once = edit_thresholds(BLOCK, WANTED, "monday\nclip: costs\nwrote clip")

    twice = edit_thresholds(once, WANTED, "tuesday\nclip: costs\nwrote clip")

    assert once.count("# harness calibrate") == 3

    assert twice == once.replace("monday", "tuesday")


@pytest.mark.parametrize(
    "text",
    [
        "version: 1\ncases: []\n",
        "version: 1\n",
        "version: 1",
        "version: 1\nthresholds: {}\ncases: []\n",
        "version: 1\nthresholds:\ncases: []\n",
        "version: 1\nthresholds: {quality: 0.5}  # kept\n",
        "version: 1\nthresholds: {clip: {fail: 0.2},\n  quality: 0.5}\n",
        'version: 1\nthresholds:\n    "quality": 0.5\n',
    ],
)
def test_every_way_of_writing_thresholds_is_understood(text: str, tmp_path: Path) -> None:
    path = tmp_path / "suite.yaml"
    path.write_text(text, encoding="utf-8")

    found = write_thresholds(path, WANTED, "today")

    assert path.read_text(encoding="utf-8") == found
    assert thresholds(found) == bounds()
    assert "# harness calibrate, today" in found
    assert all(line in found for line in text.splitlines() if "thresholds" not in line and "quality" not in line)


def test_a_nested_block_keeps_its_lines() -> None:
    found = edit_thresholds(NESTED, {"quality": (0.71, 0.82)}, "today")

    assert thresholds(found) == {"quality": {"fail": 0.71, "warn": 0.82}}
    assert "  # the main one\n" in found and "    # low\n" in found and found.endswith("other: 1\n")


def test_new_thresholds_follow_the_weights_and_not_the_next_keys_comment() -> None:
    found = edit_thresholds("weights: {clip: 1}\n\n# the cases\ncases: []\n", WANTED, "today")

    lines = found.splitlines()
    assert lines.index("thresholds:") < lines.index("# the cases") == lines.index("cases: []") - 1


def test_line_ends_and_the_byte_order_mark_survive(tmp_path: Path) -> None:
    path = tmp_path / "suite.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + "name: Алдар\r\nthresholds:\r\n  clip: 0.5\r\n".encode())

    write_thresholds(path, WANTED, "today")

    data = path.read_bytes()
    assert data.startswith(b"\xef\xbb\xbf") and data.count(b"\n") == data.count(b"\r\n")
    assert thresholds(data.decode("utf-8-sig")) == bounds()


def test_what_cannot_be_edited_safely_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "suite.yaml"
    text = "other: &bounds {quality: 0.5}\nthresholds: *bounds\n"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(SuiteError, match=r"write them yourself: thresholds: \{quality: \{fail: 0\.71, warn: 0\.82\}"):
        write_thresholds(path, WANTED, "today")
    assert path.read_text(encoding="utf-8") == text
