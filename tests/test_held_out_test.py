"""The exam on held-out cases: which pictures are drawn for whom, what may take it, and what is written down of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from harness.core.errors import EngineError, ProviderError
from harness.core.values import (
    Case,
    CaseResult,
    Interval,
    Job,
    Lora,
    Outcome,
    Sample,
    Score,
    Subject,
    Suite,
    hash_file,
)
from harness.engine.context import ImproveContext
from harness.models.lora.export import read_facts
from harness.training.improve.held_out_test import HELD_OUT_OFFSET, HeldOutTest
from harness.training.improve.outcome import describe, own_champion, scores_of, settle, told_of, told_of_ruling
from harness.training.improve.promotion import Ruling
from harness.training.improve.remedies import RatedFile

Talent = Callable[[str, Case], float | None]
"""Who draws what how well: the stem of a LoRA's file, "" for the base, or a competitor's name. None: refused."""

SKILL = {"champion": 0.6, "challenger": 0.8, "": 0.3}


def usual(who: str, case: Case) -> float | None:
    return SKILL.get(who, 0.7)


def cases(locked: int = 8, open_: int = 8) -> tuple[Case, ...]:
    drawn = [Case("demo", f"open-{number}", f"a, {number}") for number in range(open_)]
    return (*drawn, *(Case("demo", f"locked-{number}", f"a, {number}", split="locked") for number in range(locked)))


@dataclass
class Hall:
    """Stands where the engine does and remembers what was asked: who, case, seed."""

    folder: Path
    talent: Talent = usual
    keys: dict[str, Any] = field(default_factory=dict)  # of the suite
    changes: dict[str, Any] = field(default_factory=dict)  # of the context
    asked: list[tuple[str, str, int]] = field(default_factory=list)

    @property
    def suite(self) -> Suite:
        keys: dict[str, Any] = {"cases": cases(), "seed": 7, **self.keys}
        subject = Subject("A", "a", self.folder / "references")
        return Suite("demo", self.folder / "demo.yaml", subject, ("lora", "base"), ("lora",), **keys)

    def lora(self, name: str, strength: float = 1.0, **metadata: str) -> Lora:
        path = self.folder / f"{name}.safetensors"
        if not path.exists():
            tensors = {"unet.to_q.lora_A.weight": np.ones((2, 4)), "unet.to_q.lora_B.weight": np.full((4, 2), 0.5)}
            tensors = {key: value.astype(np.float32) for key, value in tensors.items()}
            save_file(tensors, path, {"harness.subject": name, **metadata})
        return Lora(path, strength)

    def evaluate(
        self, lora: Lora | None, provider: str, asked: Sequence[Case], seeds: Sequence[int]
    ) -> list[CaseResult]:
        who = provider if provider != "lora" else lora.path.stem if lora else ""
        self.asked += [(who, case.id, seed) for case in asked for seed in seeds]
        return [self.result(who, case, seeds) for case in asked]

    def result(self, who: str, case: Case, seeds: Sequence[int]) -> CaseResult:
        value = self.talent(who, case)
        if value is None:
            samples = [Sample(str(seed), seed, Outcome.REFUSED, message=f"not {case.id}") for seed in seeds]
        else:
            found = {name: Score(name, value) for name in ("quality", "clip", "features", "ssim", "prompt")}
            samples = [Sample(str(seed), seed, Outcome.OK, "0" * 64, scores=found) for seed in seeds]
        return CaseResult(Job(self.suite.path.as_posix(), case.id, "lora"), tuple(samples))

    @property
    def context(self) -> ImproveContext:
        known: dict[str, Any] = dict.fromkeys(ImproveContext.__dataclass_fields__)
        known |= {"suite": self.suite, "provider": "lora", "results": {}, "verdicts": {}, "evaluate": self.evaluate}
        known |= {"scorer": SimpleNamespace(calibration=lambda: None), "store": SimpleNamespace(folder=self.folder)}
        known |= {"settings": SimpleNamespace(lora=None)}
        return ImproveContext(**{**known, **self.changes})

    def ground(self, attempt: int = 1) -> HeldOutTest:
        return HeldOutTest(self.context, attempt)

    def exam(self, origins: set[str] | None = None, champion: bool = True, **keys: Any) -> Ruling:
        ground, challenger = self.ground(), self.lora("challenger")
        ground.enter(challenger, origins)
        return ground.examine(challenger, self.lora("champion") if champion else None, **keys)


@pytest.fixture
def hall(tmp_path: Path) -> Hall:
    return Hall(tmp_path)


# --- seeds ------------------------------------------------------------------------------------------------------------


def seeds_of(hall: Hall, attempt: int) -> tuple[list[int], list[int], list[int]]:
    """Practice, own pictures, exam."""
    hall.asked.clear()
    ground = hall.ground(attempt)
    ground.practise(None, hall.suite.cases[:1])
    practice = [seed for _, _, seed in hall.asked]
    hall.asked.clear()
    ground.enter(hall.lora("challenger"))
    ground.examine(hall.lora("challenger"), hall.lora("champion"))
    exam = {seed for who, case, seed in hall.asked if who == "challenger" and case.startswith("locked")}
    return practice, list(ground.own_seeds), sorted(exam)


def test_every_attempt_has_seeds_of_its_own_and_no_kind_meets_another(hall: Hall) -> None:
    found = {attempt: seeds_of(hall, attempt) for attempt in (1, 2, 8, 9)}

    assert found[1] == ([1007], [1507, 1508, 1509, 1510], [10_007, 10_008, 10_009, 10_010])
    assert found[2] == ([2007], [2507, 2508, 2509, 2510], [20_007, 20_008, 20_009, 20_010])
    assert found[8] == ([8007], [8507, 8508, 8509, 8510], [80_007, 80_008, 80_009, 80_010])
    assert found[9] == ([1007], [1507, 1508, 1509, 1510], [90_007, 90_008, 90_009, 90_010])


def test_practice_may_take_seeds_of_its_own_but_for_those_of_the_exam(hall: Hall) -> None:
    ground, some = hall.ground(), hall.suite.cases[:2]

    for seed in (HELD_OUT_OFFSET + 6, HELD_OUT_OFFSET + 11):
        assert len(ground.practise(None, some, [seed])) == 2
    for seed in (HELD_OUT_OFFSET + 7, HELD_OUT_OFFSET + 10):
        with pytest.raises(EngineError, match="a held-out test's seeds must not be seen"):
            ground.practise(None, some, [0, seed])
    assert ground.pictures == len(hall.asked) == 4


def test_one_locked_case_among_open_ones_is_refused_by_name(hall: Hall) -> None:
    ground = hall.ground()

    with pytest.raises(EngineError, match=r"locked cases \['locked-0'\] must not be seen"):
        ground.practise(None, hall.suite.cases[:9])
    assert hall.asked == [] and ground.pictures == 0
    assert len(ground.practise(None, hall.suite.cases[:8])) == 8


def test_a_suite_without_locked_cases_has_no_exam(hall: Hall) -> None:
    assert hall.ground().has_held_out_test
    hall.keys = {"cases": cases(locked=0)}
    assert not hall.ground().has_held_out_test


# --- who sits it ------------------------------------------------------------------------------------------------------


def test_it_is_the_files_bytes_that_are_entered(hall: Hall) -> None:
    first, other, ground = hall.lora("challenger"), hall.lora("champion"), hall.ground()
    copy = hall.folder / "copy.safetensors"
    copy.write_bytes(first.path.read_bytes())

    ground.enter(first)
    ground.enter(Lora(copy))
    with pytest.raises(EngineError, match="one challenger"):
        ground.enter(other)
    with pytest.raises(EngineError, match="not entered"):
        ground.examine(other, None)
    first.path.write_bytes(other.path.read_bytes())
    with pytest.raises(EngineError, match="its file has changed"):
        ground.examine(first, None)
    assert hall.asked == []


@pytest.mark.parametrize(
    ("learnt", "origins", "promoted"),
    [
        ("ours", {"ours"}, True),
        ("ours", {"mended", "ours"}, True),
        ("theirs", {"ours"}, False),
        ("theirs", set(), False),
        ("theirs", None, True),  # nobody said what it may have learnt from
        ("", {"ours"}, True),  # a stranger's file tells nothing
    ],
)
def test_it_may_have_learnt_from_the_named_pictures_alone(
    hall: Hall, learnt: str, origins: set[str] | None, promoted: bool
) -> None:
    hall.lora("challenger", **{"harness.references": learnt})

    found = hall.exam(origins)

    assert found.promoted is promoted
    assert promoted or found.reasons == (
        "it learnt from other pictures than the suite's train pictures, by its own record",
    )


# --- what is drawn ----------------------------------------------------------------------------------------------------


def count(hall: Hall, who: str, split: str) -> dict[int, int]:
    """Seed to the number of cases that were drawn with it."""
    seeds = [seed for name, case, seed in hall.asked if name == who and case.startswith(split)]
    return {seed: seeds.count(seed) for seed in sorted(set(seeds))}


@pytest.mark.parametrize(("response", "pictures"), [("fail", 2), ("warn", 2), ("off", 1)])
def test_both_draw_the_locked_cases_and_the_base_one_picture_of_each_or_two(
    hall: Hall, response: str, pictures: int
) -> None:
    """Two where they are to say how far pictures change with these prompts."""
    hall.keys = {"cases": cases(locked=5, open_=3), "alarms": {"response": response}}

    assert hall.exam().promoted

    four = dict.fromkeys(range(10_007, 10_011), 5)
    assert count(hall, "challenger", "locked") == count(hall, "champion", "locked") == four
    own = dict.fromkeys(range(10_007, 10_007 + pictures), 5)
    assert count(hall, "", "locked") == own and count(hall, "", "open") == {}
    assert count(hall, "challenger", "open") == count(hall, "champion", "open") == {10_007: 3}


def test_no_more_than_eight_open_cases_are_drawn_beside(hall: Hall) -> None:
    hall.keys = {"cases": cases(open_=9)}

    hall.exam()

    assert count(hall, "challenger", "open") == {10_007: 8}
    assert ("challenger", "open-8", 10_007) not in hall.asked


def test_every_picture_is_counted(hall: Hall) -> None:
    hall.changes = {"results": {"freepik": [hall.result("freepik", hall.suite.cases[0], [0])]}}
    ground, challenger = hall.ground(), hall.lora("challenger")
    ground.enter(challenger)

    ground.examine(challenger, hall.lora("champion"))

    assert ground.pictures == len(hall.asked) == 8 * 4 * 2 + 8 * 2 + 8 * 2 + 8


def test_without_a_champion_the_base_is_the_one_to_beat(hall: Hall) -> None:
    found = hall.exam(champion=False)

    assert found.promoted and found.base and found.base.mean == found.differences["quality"].mean == pytest.approx(0.5)
    assert count(hall, "", "locked") == dict.fromkeys(range(10_007, 10_011), 8), "and is not drawn twice"


def test_what_is_better_where_nobody_practised_knows_the_exam(hall: Hall) -> None:
    """On open cases it is as good as the champion."""
    hall.talent = lambda who, case: 0.6 if who == "challenger" and case.split == "open" else usual(who, case)

    assert "it knows the test" in "; ".join(hall.exam().reasons)


@pytest.mark.parametrize(("who", "named"), [("champion", "champion"), ("", "base")])
def test_pictures_that_nobody_could_compare_with_end_the_exam(hall: Hall, who: str, named: str) -> None:
    lost = {"locked-2", "locked-4"}  # the first of them is told
    hall.talent = lambda name, case: None if name == who and case.id in lost else usual(name, case)
    told = f"held-out test: {8 if who else 4} pictures of the {named} are missing .refused: not locked-2"

    with pytest.raises(EngineError, match=told):
        hall.exam()


def test_pictures_that_the_challenger_lacks_refuse_it(hall: Hall) -> None:
    hall.talent = lambda who, case: None if who == "challenger" and case.id == "locked-2" else usual(who, case)

    assert hall.exam().reasons == ("4 of its pictures of the locked cases could not be drawn",)


def test_references_that_cannot_judge_refuse_everything(hall: Hall) -> None:
    for can_gate in (True, False):
        known = SimpleNamespace(can_gate=can_gate, reason="only 6 reference pictures")
        hall.changes = {"scorer": SimpleNamespace(calibration=lambda known=known: known)}
        found = hall.exam()
        assert found.promoted is can_gate
        assert can_gate or found.reasons == ("the scores cannot decide: only 6 reference pictures",)


def test_look_and_goal_reach_the_decision(hall: Hall) -> None:
    found = hall.exam(look=3, goal="clip")

    assert found.look == 3 and found.reasons[0].startswith("clip: better") and "challenger 3" in found.reasons[0]
    assert set(hall.exam().differences) == {"quality", "clip", "features", "ssim"} and hall.exam().look == 1


# --- competitors ------------------------------------------------------------------------------------------------------


def test_competitors_that_drew_in_this_run_draw_one_picture_of_each_locked_case(hall: Hall) -> None:
    """The base, the LoRA itself, who gates too and who drew nothing are none."""
    names = ("freepik", "gemini", "base", "prompt_only", "lora", "twin")
    drew = {name: [hall.result(name, hall.suite.cases[0], [0])] for name in names}
    silent = [CaseResult(Job("demo.yaml", "open-0", "silent"), (), skipped="no key")]
    hall.changes = {"results": {**drew, "silent": silent}}
    hall.changes["suite"] = replace(hall.suite, gate=("lora", "twin"))

    found = hall.exam()

    asked = {who for who, _, _ in hall.asked} - set(SKILL)
    assert asked == {"freepik", "gemini"}
    assert count(hall, "freepik", "locked") == count(hall, "gemini", "locked") == {9507: 8}
    assert found.rival in asked and found.rival_gap and found.rival_gap.mean == pytest.approx(0.1)


def test_a_provider_without_a_name_in_the_gate_is_no_competitor_of_its_own(hall: Hall) -> None:
    hall.changes = {"results": {"lora": [hall.result("challenger", hall.suite.cases[0], [0])]}}
    hall.changes["suite"] = replace(hall.suite, gate=())

    assert hall.exam().rival == ""


def test_a_competitor_that_fails_only_drops_out_and_the_engines_own_errors_do_not(hall: Hall) -> None:
    drew = {name: [hall.result(name, hall.suite.cases[0], [0])] for name in ("broken", "freepik")}

    def evaluate(error: Exception) -> Callable[..., list[CaseResult]]:
        def draw(lora: Lora | None, provider: str, *asked: Any) -> list[CaseResult]:
            if provider == "broken":
                raise error
            return hall.evaluate(lora, provider, *asked)

        return draw

    hall.changes = {"results": drew, "evaluate": evaluate(ProviderError("down"))}
    found = hall.exam()
    assert found.promoted and found.rival == "freepik"
    hall.changes["evaluate"] = evaluate(EngineError("the device is gone"))
    with pytest.raises(EngineError, match="the device is gone"):
        hall.exam()


# --- the file that is examined, and the record ------------------------------------------------------------------------


@pytest.mark.parametrize(("strength", "given", "own"), [(1.0, None, True), (0.0, None, False), (1.0, "other", False)])
def test_only_the_suites_own_champion_at_work_can_be_replaced(
    hall: Hall, strength: float, given: str | None, own: bool
) -> None:
    lora = hall.lora("champion", strength)
    hall.changes = {
        "suite": replace(hall.suite, subject=Subject("A", "a", hall.folder, lora=lora)),
        "settings": SimpleNamespace(lora=hall.lora(given) if given else None),
    }

    assert own_champion(hall.context) == (lora if own else None)
    hall.changes["suite"] = hall.suite
    assert own_champion(hall.context) is None


def test_the_chosen_strength_goes_into_the_weights_of_what_is_examined(hall: Hall) -> None:
    lora = hall.lora("challenger", strength=0.6)

    alone = settle(hall.context, lora)
    own = Subject("A", "a", hall.folder, lora=hall.lora("own", strength=0.5))
    hall.changes = {"suite": replace(hall.suite, subject=own)}
    beside = settle(hall.context, lora)

    for settled, strength in ((alone, 1.0), (beside, 0.5)):
        weights, before = load_file(settled.path), load_file(lora.path)
        factor = 0.6 / strength
        assert settled.strength == strength and settled.path.parent == hall.folder / "loras"
        np.testing.assert_allclose(weights["unet.to_q.lora_B.weight"], before["unet.to_q.lora_B.weight"] * factor)
        np.testing.assert_array_equal(weights["unet.to_q.lora_A.weight"], before["unet.to_q.lora_A.weight"])
        assert float(read_facts(settled.path).metadata["harness.scale"]) == pytest.approx(factor)
    assert alone.path != beside.path == settle(hall.context, lora).path
    assert settle(hall.context, Lora(lora.path, 0.7)).path != beside.path
    assert len(beside.path.stem.removeprefix("challenger-")) == 12


def test_a_ruling_is_written_down_whole(hall: Hall) -> None:
    gap = Interval(0.1, 0.05, 0.15, 8)
    some = {"quality": gap}
    won = Ruling(True, ("better",), some, {"clip": gap}, {"ssim": gap}, base=gap, rival="freepik", rival_gap=gap)
    lost = Ruling(False, ("too little", "copies"), {}, {}, {})
    told = {"mean": 0.1, "low": 0.05, "high": 0.15, "n": 8}

    assert scores_of(won) == {"before": {"clip": told}, "after": {"ssim": told}, "differences": {"quality": told}}
    assert told_of_ruling(won) == {
        "sets": {},
        "promoted": True,
        "verdict": "promoted",
        "reason": "better",
        "over_base": told,
        "competitor": "freepik",
        "competitor_gap": told,
    }
    assert told_of_ruling(lost) == {
        "sets": {},
        "promoted": False,
        "verdict": "refused",
        "reason": "too little; copies",
        "over_base": None,
        "competitor": "",
        "competitor_gap": None,
    }


def test_a_file_and_a_choice_are_written_down_by_name(hall: Hall) -> None:
    lora = hall.lora("challenger", strength=0.8)

    assert describe(None) is None
    assert describe(lora) == {"file": "challenger.safetensors", "strength": 0.8, "sha256": hash_file(lora.path)}
    assert told_of(RatedFile(lora, 0.123456, 0.01234999)) == {
        "file": "challenger.safetensors",
        "strength": 0.8,
        "quality": 0.1235,
        "short": 0.0123,
    }
