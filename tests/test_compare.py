"""Two LoRAs side by side, one against itself, and the words for what changed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.commands.cli import main
from harness.config.profile import ProviderConfig
from harness.core.errors import UsageError
from harness.core.values import Generation, Interval, Lora, Outcome
from harness.engine.run import Run
from harness.judging.changes import Changes, compare_cases, compare_scores, flips_text, judge_change
from harness.report import write_report
from harness.studies.compare import (
    ComparisonSetup,
    check_itself,
    compare_loras,
    name_loras,
    no_worse_words,
    split_alarms,
    verdict_words,
)
from tests.painter import Studio, make_profile
from tests.support import ROOT, write_suite

# --- the six words -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gap", "word"),
    [
        (Interval(-0.05, -0.08, -0.02, 12), "regressed"),
        (Interval(0.05, 0.02, 0.08, 12), "improved"),
        (Interval(0.001, -0.01, 0.012, 12), "unchanged"),
        (Interval(-0.01, -0.015, -0.005, 12), "unchanged"),  # proven, and too little to matter
        (Interval(-0.03, -0.08, 0.02, 12), "inconclusive"),
        (Interval(-0.03, None, None, 1), "inconclusive"),
        (Interval(0.0, None, None, 1), "unchanged"),
        (Interval(0.015, 0.005, 0.025, 12), "higher"),  # proven, and by less than the margin
        (Interval(-0.015, -0.025, -0.005, 12), "lower"),
    ],
)
def test_a_change_has_one_of_six_words(gap: Interval, word: str) -> None:
    assert judge_change(gap, 0.02) == word


def changed(gaps: list[float], margin: float = 0.02) -> Changes:
    """Differences of so many cases."""
    before = {(f"case-{place}", 0): 0.7 for place in range(len(gaps))}
    now = {pair: 0.7 + gap for pair, gap in zip(before, gaps, strict=True)}
    return compare_scores({"quality": now}, {"quality": before}, margin)


@pytest.mark.parametrize(
    ("gaps", "sentence", "no_worse"),
    [
        ([0.005, 0.025] * 6, "a is better than b", True),
        ([-0.003, -0.030] * 6, "a is worse than b", False),
    ],
)
def test_a_proven_difference_below_the_margin_is_told_as_proven(
    gaps: list[float], sentence: str, no_worse: bool
) -> None:
    changes = changed(gaps)

    told = verdict_words("a", "b", changes)

    assert told.startswith(sentence) and "proven, and by less than the margin of 0.02" in told
    assert "more cases" not in told
    record = changes.record.plain
    assert record["verdict"] in ("higher", "lower") and record["no_worse"]["proven"] is no_worse
    word = "proven" if no_worse else "not proven"
    assert f"a is no worse than b by more than the margin of 0.02: {word} (p" in no_worse_words("a", "b", changes)[0]


def test_words_and_proofs_keep_to_the_level_that_decides() -> None:
    """A look of several asks for more than 95%: what was enough there is none here."""
    gaps = [0.09, 0.07, 0.11, 0.05, 0.06, 0.10, -0.001]
    before = {(f"case-{place}", 0): 0.7 for place in range(len(gaps))}
    now = {pair: 0.7 + gap for pair, gap in zip(before, gaps, strict=True)}
    alone, look = (compare_scores({"quality": now}, {"quality": before}, 0.02, level) for level in (0.95, 0.98))

    assert alone.quality and look.quality and look.quality.sign_flip_p == pytest.approx(2 * 2 / 2**7)
    assert (alone.word, look.word) == ("improved", "inconclusive")
    assert "agree" in flips_text(alone.quality.gap, alone.quality.sign_flip_p)
    assert "do not bear it out" in flips_text(look.quality.gap, look.quality.sign_flip_p, 0.98)
    doubtful = Changes(0.02, worse_p=0.02)
    assert doubtful.no_worse and not replace(doubtful, level=0.98).no_worse


def test_with_few_cases_a_change_counts_only_where_their_signs_agree() -> None:
    """t alone would call both better."""
    some, all_alike = changed([0.10, 0.12, 0.11, 0.10, -0.001]), changed([0.10, 0.12, 0.11, 0.10, 0.10])

    assert some.quality is not None and some.quality.gap.low is not None and some.quality.gap.low > 0
    assert (some.word, all_alike.word) == ("inconclusive", "improved")
    assert some.record.plain["quality"]["sign_flip_p"] == 0.125
    assert "sign flips of 5 prompts do not bear it out: p 0.12" in verdict_words("a", "b", some)
    assert "sign_flip_p" not in changed([0.1, 0.11] * 6).record.plain["quality"]


@pytest.mark.parametrize("cases", [4, 6, 12])
def test_equals_are_seldom_called_better_or_worse(cases: int) -> None:
    words = [changed(np.random.default_rng(seed).normal(0, 0.05, cases).tolist(), 0.0).word for seed in range(1000)]

    assert sum(word in ("improved", "regressed") for word in words) / 1000 < 0.065


def test_one_bad_case_among_many_is_found_and_noise_is_not() -> None:
    rng = np.random.default_rng(0)
    before = {(f"case-{case}", seed): 0.8 for case in range(20) for seed in range(4)}
    now = {pair: 0.8 + rng.normal(0, 0.03) - 0.2 * (pair[0] == "case-7") for pair in before}

    found = compare_cases(now, before, 0.02)

    assert next(iter(found)) == "case-7"
    assert {name for name, change in found.items() if change.verdict in ("regressed", "improved")} == {"case-7"}


def test_twenty_equal_metrics_raise_no_alarm() -> None:
    """Each alone would in one comparison of twenty."""
    rng, alarms = np.random.default_rng(1), 0
    pairs = [(f"case-{case}", 0) for case in range(12)]
    for _ in range(100):
        now = {f"m{metric}": {pair: float(rng.normal(0.5, 0.1)) for pair in pairs} for metric in range(20)}
        before = {f"m{metric}": dict.fromkeys(pairs, 0.5) for metric in range(20)}
        changes = compare_scores({**now, "quality": now["m0"]}, {**before, "quality": before["m0"]}, 0.0)
        alarms += any(change.verdict != "inconclusive" for change in changes.metrics.values())

    assert alarms <= 12


# --- one against another ------------------------------------------------------------------------------------------


def make_bench(studio: Studio, **keys: Any) -> ComparisonSetup:
    """A bench over painters: whoever is not known yet draws with the LoRA that it is given."""

    def open_run(settings: Any, profile: Any, suites: Any, store: Any, **given: Any) -> Run:
        for name in suites[0].providers:
            studio.painters.setdefault(name, {"use": "lora"})
        scorers = {"scorers": lambda suite: studio.scorer, "providers": studio.open_provider}
        return Run(settings, profile, suites, store, **scorers, **given)

    profile = replace(make_profile(), providers={"lora": ProviderConfig("painter")})
    return ComparisonSetup(studio.suite, profile, studio.settings(**keys), "lora", open_run)


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio(tmp_path)


def lora(studio: Studio, name: str, level: float) -> Lora:
    return Lora(studio.write_lora(name, level))


@pytest.mark.parametrize(
    ("new", "words", "status", "proven"),
    [
        (0.9, "new is better than old: quality 0.90 against 0.70, +0.20", 0, 0),
        (0.5, "new is worse than old: quality 0.50 against 0.70, -0.20", 1, 1),
        (0.705, "new is no different from old", 0, 0),
    ],
)
def test_the_answer_is_a_sentence_and_an_exit_code(
    studio: Studio, new: float, words: str, status: int, proven: int
) -> None:
    found = compare_loras(make_bench(studio), lora(studio, "new", new), lora(studio, "old", 0.7))

    assert words in found.text
    assert (found.status(), found.status(prove=True)) == (status, proven)


def test_both_draw_the_same_prompts_and_seeds_once(studio: Studio) -> None:
    compare_loras(make_bench(studio, samples=3), lora(studio, "new", 0.9), lora(studio, "old", 0.7))

    drawn = [line.rsplit(" ", 1)[0] for line in studio.drawn]
    sides = [{line.partition(" ")[2] for line in drawn if line.startswith(name)} for name in ("new", "old")]
    assert sides[0] == sides[1] and len(sides[1]) == 12
    assert len(drawn) == 12 + 12 + 2, "and twice the new one with the LoRA off"


def test_locked_cases_are_drawn_only_when_asked_for(studio: Studio) -> None:
    loras = lora(studio, "new", 0.9), lora(studio, "old", 0.7)

    assert compare_loras(make_bench(studio), *loras).changes.pairs == 8
    assert compare_loras(make_bench(studio, locked=True), *loras).changes.pairs == 12


def test_one_case_proves_nothing(studio: Studio) -> None:
    studio.cases = 1

    found = compare_loras(make_bench(studio), lora(studio, "new", 0.9), lora(studio, "old", 0.7))

    assert "cannot be told from" in found.text and "more cases" in found.text
    assert (found.status(), found.status(prove=True)) == (0, 11)


def test_a_missing_picture_is_no_verdict(studio: Studio) -> None:
    lost = Generation(Outcome.PROVIDER_ERROR, message="out of paper")
    studio.painters["old"] = {"use": "lora", "trouble": lambda requests: lost}

    found = compare_loras(make_bench(studio), lora(studio, "new", 0.9), lora(studio, "old", 0.7))

    assert "old: 8 of 8 pictures are missing (provider_error): out of paper" in found.text
    assert found.status() == 10 and found.results.gate.verdict == "error"


def test_the_page_has_both_on_its_leaderboard(studio: Studio) -> None:
    found = compare_loras(make_bench(studio), lora(studio, "new", 0.9), lora(studio, "old", 0.7))

    page = write_report(found.results, None, studio.folder / "report").read_text(encoding="utf-8")

    assert "new is better than old" in page
    assert [row.provider for row in found.results.leaderboard] == ["new", "old"]
    assert json.loads((studio.folder / "report" / "results.json").read_text())["comparison"]["verdict"] == "improved"


def test_thresholds_and_baselines_play_no_part(studio: Studio) -> None:
    """Both lie below the suite's threshold; the question is which is better."""
    found = compare_loras(make_bench(studio, retrain=2), lora(studio, "new", 0.4), lora(studio, "old", 0.2))

    assert found.status() == 0 and found.results.gate.verdict == "pass"
    assert found.results.rounds == ()


def test_a_lora_is_not_compared_with_itself(studio: Studio) -> None:
    with pytest.raises(UsageError, match="--aa"):
        compare_loras(make_bench(studio), lora(studio, "new", 0.9), lora(studio, "copy", 0.9))


def test_two_strengths_of_one_file_are_two(studio: Studio) -> None:
    path = studio.write_lora("one", 0.9)

    assert name_loras(Lora(path, 1.0), Lora(path, 0.8)) == ("one@1", "one@0.8")
    assert name_loras(Lora(path), Lora(path.parent / "x" / path.name)) != ("one", "one")


def test_an_unknown_provider_is_answered_with_the_nearest(studio: Studio) -> None:
    bench = replace(make_bench(studio), provider="lara")

    with pytest.raises(UsageError, match="did you mean 'lora'"):
        compare_loras(bench, lora(studio, "new", 0.9), lora(studio, "old", 0.7))


def test_a_provider_that_uses_no_lora_is_refused_before_it_draws(studio: Studio) -> None:
    bench = make_bench(studio)
    profile = replace(bench.profile, providers={"base": ProviderConfig("local")})

    with pytest.raises(UsageError, match="without a LoRA"):
        compare_loras(replace(bench, profile=profile, provider="base"), lora(studio, "a", 0.9), lora(studio, "b", 0.7))
    assert studio.drawn == []


# --- one against itself -------------------------------------------------------------------------------------------


def test_a_lora_is_no_better_than_itself(studio: Studio) -> None:
    studio.samples = 3

    found = check_itself(make_bench(studio), lora(studio, "one", 0.8))

    assert found.changes.word == "unchanged" and found.covers and found.status() == 0
    assert len({line.rsplit(" ", 2)[1] for line in studio.drawn}) == 6, "each half has seeds of its own"
    assert "one against itself" in found.text and "expected noise: +-0.00" in found.text
    assert "of 1,000 random halves" in found.text


def test_an_interval_that_leaves_out_0_is_admitted(studio: Studio) -> None:
    """Seeds 0 and 1 are a little darker than 2 and 3, for every prompt alike."""
    found = check_itself(make_bench(studio), lora(studio, "one", 0.8))

    assert not found.covers and "leaves out 0" in found.text
    assert found.status() == 0, "by less than the margin: nobody would have called it worse"


def test_a_margin_narrower_than_the_noise_shows(studio: Studio) -> None:
    studio.suite_keys = {"margin": 0.0001}

    found = check_itself(make_bench(studio), lora(studio, "one", 0.8))

    assert found.status() == 1 and "called worse than itself" in found.text


def test_pictures_that_are_missing_end_the_check(studio: Studio) -> None:
    studio.painters["one"] = {"use": "lora", "trouble": lambda r: Generation(Outcome.TIMEOUT, message="too slow")}

    assert check_itself(make_bench(studio), lora(studio, "one", 0.8)).status() == 10


def test_random_halves_raise_the_alarm_as_often_as_they_should() -> None:
    values = np.random.default_rng(3).normal(0.8, 0.05, (16, 8)).tolist()

    alarms, wrong = split_alarms(values, 0.01)

    assert 0.02 <= alarms <= 0.09
    assert 0 < wrong <= alarms
    assert split_alarms(values, 0.5)[1] == 0
    assert split_alarms(values[:1], 0.01) == (0.0, 0.0)


# --- the command --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["a", "suite"], ["--aa", "a", "b", "suite"]])
def test_a_wrong_number_of_files_is_answered_with_both_forms(words: list[str], capsys: Any) -> None:
    assert main(["compare", *words]) == 2
    assert "harness compare NEW OLD SUITE" in capsys.readouterr().err


SUITE = """
version: 1
suite: small
subject: {name: Aldar Kose, trigger: aldar kose, references: REFERENCES}
providers: [lora]
gate: [lora]
samples: 1
cases:
  - {id: one, prompt: "{trigger}, smiling, steppe background"}
  - {id: two, prompt: "{trigger}, angry, forest background"}
  - {id: three, prompt: "{trigger}, sad, city background"}
  - {id: four, prompt: "{trigger}, surprised, desert background"}
"""


@pytest.mark.real
def test_the_champion_is_better_than_an_undertrained_lora(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Four prompts with a seed each; two prompts, whatever they show, leave t one degree of freedom."""
    monkeypatch.chdir(ROOT)
    champion, weak = "references/aldar_kose/champion.safetensors", "fixtures/loras/undertrained.safetensors"
    suite = str(write_suite(tmp_path, SUITE, "small.yaml"))
    where = ["--store", str(tmp_path / "store"), "--report-dir", str(tmp_path / "report")]

    statuses = [main(["compare", *pair, suite, *where, "--prove"]) for pair in ((champion, weak), (weak, champion))]

    told = capsys.readouterr().out
    assert statuses == [0, 1], told
    assert "champion is better than undertrained" in told and "undertrained is worse than champion" in told
    assert (tmp_path / "report" / "index.html").is_file()
