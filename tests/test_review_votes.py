"""Votes: what is kept and merged, who meets whom, what they say together, and which metric foresees them."""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path

import pytest

from harness.core.errors import UsageError
from harness.report.review.agreement import measure, measure_all, people_agree, proportion
from harness.report.review.ledger import Ballot, PairSide, RecordLedger, read_file
from harness.report.review.runs import RunSummary, VotePicture
from harness.report.review.votes import draw_order, make_pairs, show, vote_ranks

SUITE = "toma"


def ballot(
    number: int, choice: str, left: dict[str, float], right: dict[str, float], case: str = "", who: str = "A"
) -> Ballot:
    """A vote between two pictures `a` and `b`, of a case of its own where none is named."""
    record = {
        "id": f"{number:032x}",
        "at": f"2026-01-01T00:00:{number:02d}.000+00:00",
        "who": who,
        "case": case or f"case-{number}",
        "seed": 0,
        "left": {"player": "a", "image": "a" * 64, "scores": left},
        "right": {"player": "b", "image": "b" * 64, "scores": right},
        "choice": choice,
    }
    return Ballot.model_validate(record)


def open_ledger(folder: Path, name: str = "store") -> RecordLedger[Ballot]:
    (folder / name).mkdir(exist_ok=True)
    return RecordLedger("votes", Ballot, SUITE, folder / name / "votes.jsonl", folder / "reviews" / "votes.json")


# --- keeping --------------------------------------------------------------------------------------------------------


def test_a_vote_is_in_the_journal_and_in_the_file(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    ledger.add(ballot(1, "left", {}, {}))

    assert [vote.id for vote in open_ledger(tmp_path).valid()] == [f"{1:032x}"]
    assert len(json.loads(ledger.file.read_text("utf-8"))["votes"]) == 1
    assert len((tmp_path / "store" / "votes.jsonl").read_text("utf-8").splitlines()) == 1


def test_what_a_colleague_voted_stays_in_the_file(tmp_path: Path) -> None:
    open_ledger(tmp_path, "hers").add(ballot(1, "left", {}, {}))
    mine = open_ledger(tmp_path, "mine")
    mine.add(ballot(2, "right", {}, {}))

    assert [vote.choice for vote in mine.valid()] == ["left", "right"]
    assert len(json.loads(mine.file.read_text("utf-8"))["votes"]) == 2


def test_a_withdrawn_vote_does_not_come_back_from_an_older_file(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    ledger.add(ballot(1, "left", {}, {}))
    before = ledger.file.read_text("utf-8")
    ledger.withdraw(ledger.valid()[0])
    after = ledger.file.read_text("utf-8")

    ledger.file.write_text(before, encoding="utf-8")
    assert ledger.valid() == []
    ledger.file.write_text(after, encoding="utf-8")
    assert open_ledger(tmp_path, "another machine").valid() == []


def test_a_journal_that_was_cut_off_keeps_its_whole_lines(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    ledger.add(ballot(1, "left", {}, {}))
    ledger.file.unlink()
    with (tmp_path / "store" / "votes.jsonl").open("a", encoding="utf-8") as stream:
        stream.write('{"id": "00')
    ledger.add(ballot(2, "tie", {}, {}))

    assert [vote.choice for vote in ledger.valid()] == ["left", "tie"]


def git(folder: Path, *words: str) -> int:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    return subprocess.run(["git", "-C", str(folder), *identity, *words], capture_output=True, check=False).returncode


@pytest.mark.parametrize("attribute", ["", "merge=union"])
def test_two_branches_of_votes_merge(tmp_path: Path, attribute: str) -> None:
    git(tmp_path, "init", "-q", "-b", "main")
    (tmp_path / ".gitattributes").write_text(f"reviews/**/votes.json {attribute}\nvotes.json {attribute}\n", "utf-8")
    for name, numbers in (("base", [1]), ("hers", [2, 3]), ("mine", [4, 5])):
        git(tmp_path, "checkout", "-q", "main")
        git(tmp_path, "checkout", "-q", "-b", name) if name != "base" else None
        for number in numbers:
            open_ledger(tmp_path, name).add(ballot(number, "left", {}, {}, case="one"))
        git(tmp_path, "add", "reviews", ".gitattributes")
        assert git(tmp_path, "commit", "-q", "-m", name) == 0
    conflict = git(tmp_path, "merge", "-q", "hers", "-m", "both")
    merged = open_ledger(tmp_path, "mine")

    assert bool(conflict) is (attribute == "") is ("<<<<<<<" in merged.file.read_text("utf-8"))
    merged.add(ballot(6, "right", {}, {}))
    votes = json.loads(merged.file.read_text("utf-8"))["votes"]
    assert sorted(int(vote["id"], 16) for vote in votes) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("line", ['{"id": "x"}', "{not json", "[1]"])
def test_a_line_that_is_no_vote_is_named(tmp_path: Path, line: str) -> None:
    ledger = open_ledger(tmp_path)
    ledger.add(ballot(1, "left", {}, {}))
    text = ledger.file.read_text("utf-8")
    ledger.file.write_text(text.replace('"votes": [', f'"votes": [\n{line},'), encoding="utf-8")

    with pytest.raises(UsageError, match=r"votes\.json:6: no such record"):
        read_file(ledger.file, Ballot)


# --- who meets whom -------------------------------------------------------------------------------------------------


def make_run(
    players: dict[str, str], cases: int = 4, seeds: int = 3, started: str = "2026", prompt: str = "p"
) -> RunSummary:
    """Every player draws every case and seed; a player's word makes its pictures."""
    shots = [
        VotePicture(SUITE, f"case-{case}", prompt, seed, name, name, f"{word}{case:02x}{seed:02x}".ljust(64, "0"))
        for name, word in players.items()
        for case in range(cases)
        for seed in range(seeds)
    ]
    return RunSummary("0" * 12, Path(), "run", started, shots=tuple(shots))


def test_everybody_meets_everybody_on_the_same_prompt_and_seed() -> None:
    pairs = make_pairs([make_run({"a": "aa", "b": "bb", "c": "cc"})], SUITE)

    assert len(pairs) == 4 * 3 * 3 and len({pair.id for pair in pairs}) == len(pairs)
    assert all((pair.one.case, pair.one.seed) == (pair.other.case, pair.other.seed) for pair in pairs)
    assert all(pair.one.player != pair.other.player for pair in pairs)


def test_another_prompt_or_the_same_picture_makes_no_pair() -> None:
    first = make_run({"a": "aa"}, prompt="old")

    assert make_pairs([first, make_run({"b": "bb"}, prompt="new")], SUITE) == []
    assert make_pairs([make_run({"a": "aa", "twin": "aa"})], SUITE) == []
    assert make_pairs([make_run({"a": "aa", "b": "bb"})], "another") == []


def test_of_two_runs_the_newer_picture_is_shown() -> None:
    pairs = make_pairs([make_run({"a": "ab", "b": "bb"}), make_run({"a": "aa", "c": "cc"})], SUITE)

    assert {shot.image[:2] for pair in pairs for shot in (pair.one, pair.other)} == {"ab", "bb", "cc"}


def test_pairs_come_in_a_uniform_order_with_left_and_right_shuffled() -> None:
    pairs = make_pairs([make_run({"a": "aa", "b": "bb", "c": "cc"}, cases=2, seeds=1)], SUITE)
    people = [f"voter {number}" for number in range(3_000)]
    firsts = [draw_order(pairs, who)[0] for who in people]
    lefts = [show(pair, who).left.player == pair.one.player for pair, who in zip(firsts, people, strict=True)]

    counts = [firsts.count(pair) for pair in pairs]
    assert sum((count - 500) ** 2 / 500 for count in counts) < 20.5, "chi square, 5 degrees of freedom, p = 0.001"
    assert abs(sum(lefts) - 1_500) < 91, "3.3 standard deviations"
    assert draw_order(pairs, "A") == draw_order(pairs[::-1], "A"), "a reload does not reroll"


# --- what they say together -----------------------------------------------------------------------------------------


def test_strength_follows_the_votes_and_skips_do_not_count() -> None:
    votes = [ballot(number, "left", {}, {}) for number in range(8)]
    votes += [ballot(8, "right", {}, {}), ballot(9, "tie", {}, {}), ballot(10, "skip", {}, {})]
    (first, second), problem = vote_ranks(votes)

    assert (first.player, second.player, problem) == ("a", "b", "")
    assert first.strength and first.strength.mean > 0 and first.strength.low is not None
    assert (first.total.won, first.total.lost, first.total.tied) == (8, 1, 1)
    assert second.against["a"].votes == 10


def test_few_cases_give_no_interval() -> None:
    (first, _), _ = vote_ranks([ballot(number, "left", {}, {}, case=f"case-{number % 7}") for number in range(30)])

    assert first.strength and first.strength.mean > 0 and first.strength.low is None


def test_those_who_never_met_have_no_strength() -> None:
    other = PairSide(player="c", image="c" * 64), PairSide(player="d", image="d" * 64)
    apart = ballot(2, "left", {}, {}).model_copy(update={"left": other[0], "right": other[1]})
    places, problem = vote_ranks([ballot(1, "left", {}, {}), apart])

    assert "never met" in problem and {place.player for place in places} == {"a", "b", "c", "d"}
    assert all(place.strength is None for place in places)
    assert vote_ranks([]) == ([], "")


# --- which metric foresees people -----------------------------------------------------------------------------------


def test_the_share_a_metric_foresees_is_counted_right() -> None:
    votes = [
        ballot(1, "left", {"clip": 0.9, "ssim": 0.2}, {"clip": 0.1, "ssim": 0.4}),  # clip right, ssim wrong
        ballot(2, "right", {"clip": 0.3, "ssim": 0.1}, {"clip": 0.5, "ssim": 0.6}),  # both right
        ballot(3, "left", {"clip": 0.6, "ssim": 0.7}, {"clip": 0.6, "ssim": 0.8}),  # clip even, ssim wrong
        ballot(4, "right", {"clip": 0.9, "ssim": 0.9}, {"clip": 0.2, "ssim": 0.3}),  # both wrong
        ballot(5, "tie", {"clip": 0.5, "ssim": 0.1}, {"clip": 0.4, "ssim": 0.9}),
        ballot(6, "skip", {"clip": 0.5, "ssim": 0.1}, {"clip": 0.4, "ssim": 0.9}),
        ballot(7, "left", {"clip": 0.5}, {}),  # one picture has no score
    ]
    clip, ssim = measure_all(votes, {})

    assert (clip.metric, clip.share, clip.votes, clip.cases, clip.even) == ("clip", 2.5 / 4, 4, 4, 1)
    assert (ssim.metric, ssim.share, ssim.votes, ssim.even) == ("ssim", 1 / 4, 4, 0)
    assert clip.decided_gap == pytest.approx((0.8 + 0.2 + 0.0 + 0.7) / 4) and clip.tied_gap == pytest.approx(0.1)
    assert ssim.tied_gap == pytest.approx(0.8)
    assert clip.word == ssim.word == "cannot be told from a coin"
    assert measure("quality", votes, {}) is None


def test_a_metric_that_people_follow_is_found_and_one_that_contradicts_them() -> None:
    votes = [
        ballot(
            number,
            "left" if number % 2 else "right",
            {"good": number % 2, "bad": -(number % 2)},
            {"good": 0.5, "bad": -0.5},
        )
        for number in range(40)
    ]
    good, bad = measure_all(votes, {})

    assert (good.metric, good.share, good.word) == ("good", 1.0, "agrees with people")
    assert (bad.metric, bad.share, bad.word) == ("bad", 0.0, "contradicts people")
    assert good.low is not None and 0.85 < good.low < 1.0 and good.high == 1.0, "never certain"


def test_newer_scores_of_a_picture_win_over_those_of_the_vote() -> None:
    vote = ballot(1, "left", {"clip": 0.1}, {"clip": 0.9})
    newer = {("case-1", "a" * 64): {"clip": 0.8}, ("case-1", "b" * 64): {"clip": 0.2}}
    old, new = measure("clip", [vote], {}), measure("clip", [vote], newer)

    assert old and new and (old.share, new.share) == (0.0, 1.0)
    assert new.low is None and new.p == 1.0, "one case proves nothing"


def test_votes_on_one_case_count_as_fewer() -> None:
    apart = {f"case-{number}": [float(number % 4 > 0)] for number in range(40)}
    together = {f"case-{number}": [float(number % 4 > 0)] * 10 for number in range(4)}
    share, low, high, _ = proportion(apart)
    same, lowest, highest, _ = proportion(together)

    assert share == same == 0.75
    assert low and high and lowest is not None and highest and highest - lowest > 2 * (high - low)


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """20 cases whose own shares scatter around 0.7, 5 votes each; 1,000 such studies."""
    rng, held = random.Random(5), 0
    for _ in range(1_000):
        shares = [rng.betavariate(0.7 * 6, 0.3 * 6) for _ in range(20)]
        points = {f"{place}": [float(rng.random() < share) for _ in range(5)] for place, share in enumerate(shares)}
        _, low, high, _ = proportion(points)
        held += low is not None and high is not None and low <= 0.7 <= high

    assert 925 <= held <= 985


def test_how_far_people_foresee_each_other() -> None:
    votes = [
        ballot(1, "left", {}, {}, "one"),
        ballot(2, "left", {}, {}, "one", "B"),
        ballot(3, "right", {}, {}, "one", "C"),
    ]

    assert people_agree(SUITE, votes) == (pytest.approx(1 / 3), 3)
    assert people_agree(SUITE, votes[:1]) is None
