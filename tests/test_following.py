"""Following prompts: which questions can be read back, and how the second primary metric decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from harness.config.profile import ProviderConfig
from harness.core.values import (
    DISTANCE,
    Case,
    CaseResult,
    Decision,
    Job,
    Lora,
    Outcome,
    Sample,
    Score,
    Subject,
    Suite,
    Threshold,
    Verdict,
)
from harness.engine.record import low_bounds
from harness.engine.set_metrics import find_response
from harness.judging.adaptive import next_draws
from harness.judging.following import (
    READ,
    Loss,
    ReadBack,
    choose_questions,
    followed,
    gap_between,
    read_back,
)
from harness.judging.foreign import EDGE, is_at_the_edge
from harness.judging.judge import judge_case, judge_gate, wants_training
from harness.judging.record import PopulationRecord
from harness.studies.compare import compare_loras
from harness.studies.sweep import cells_of, grid_lines, sweep
from tests.painter import Brightness, Studio
from tests.test_compare import make_bench

PLACES = ("steppe", "forest", "city", "desert")
PASS, FAIL, INCONCLUSIVE = Decision.PASS, Decision.FAIL, Decision.INCONCLUSIVE


def answer(wanted: str, score: float, seen: str = "", category: str = "background") -> dict[str, Any]:
    return {category: {"value": wanted, "score": score, "seen": seen or (wanted if score >= 0.5 else "night")}}


def drawn(case: int, answers: Sequence[Mapping[str, Any]], provider: str = "lora", quality: float = 0.9) -> CaseResult:
    """One case with a picture for each set of answers."""
    samples = []
    for seed, details in enumerate(answers):
        values = [item["score"] for item in details.values()]
        scores = {"quality": Score("quality", quality), "prompt": Score("prompt", sum(values) / len(values), 0.2)}
        scores["prompt"] = replace(scores["prompt"], details=details)
        samples.append(Sample(f"{case} {seed}", seed, Outcome.OK, image=f"{case} {seed}", scores=scores))
    return CaseResult(Job("aldar.yaml", f"case-{case}", provider), tuple(samples))


def side(scores: Sequence[float], provider: str = "lora", spread: float = 0.0, seeds: int = 3) -> list[CaseResult]:
    """A case a score, the places taking turns, its seeds `spread` around it."""
    offsets = np.linspace(-spread, spread, seeds)
    return [
        drawn(number, [answer(PLACES[number % 4], score + offset) for offset in offsets], provider)
        for number, score in enumerate(scores)
    ]


def suite(bounds: Mapping[str, Threshold] | None = None, **options: Any) -> Suite:
    subject = Subject("Aldar Kose", "aldar kose", Path("references"))
    cases = tuple(
        Case("aldar", f"case-{number}", "aldar kose", expect={"background": PLACES[number % 4]}) for number in range(8)
    )
    names = ("lora", "prompt_only", "base")
    return Suite("aldar", Path("aldar.yaml"), subject, names, ("lora",), cases, thresholds=bounds or {}, **options)


def says(verdict: Verdict) -> str:
    return " | ".join(each.message for each in verdict.complaints if each.metric == "prompt")


GOOD = [0.95, 0.9, 0.92, 0.94, 0.96, 0.91, 0.93, 0.95]
USUAL = {"prompt_only": side(GOOD, "prompt_only")}


# --- what can be read -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("agreed", "mistaken", "judged"),
    [(10, 0, True), (5, 0, True), (4, 0, False), (10, 5, True), (10, 6, False), (0, 0, False), (10, 10, False)],
)
def test_a_question_is_asked_where_it_is_read_clearly_oftener_when_it_was_asked_for(
    agreed: int, mistaken: int, judged: bool
) -> None:
    back = ReadBack(10, agreed, 10, mistaken)

    assert (back.told >= READ) is (back.reason == "") is judged
    assert judged or f"read in {agreed} of 10 pictures that ask for it, {mistaken} of 10 others" in back.reason


def test_a_reader_that_always_says_the_same_is_seen_and_nothing_to_compare_with_is_said() -> None:
    constant = [drawn(number, [answer(place, 0.9, "steppe")] * 3) for number, place in enumerate(PLACES)]
    alone = [drawn(number, [answer("steppe", 0.9)] * 3) for number in range(4)]

    assert all(back.reason for back in read_back(constant).values())
    assert "no case asks for anything else" in read_back(alone)["background", "steppe"].reason
    assert not any(back.reason for back in read_back(side(GOOD)).values())


def test_the_control_that_answers_most_is_asked_and_no_other_provider_is_one() -> None:
    blind = [drawn(number, [answer(PLACES[number % 4], 0.1, "night")] * 3, "prompt_only") for number in range(8)]

    assert choose_questions({"prompt_only": blind, "base": side(GOOD, "base")}).against == "base"
    assert choose_questions({"freepik": side(GOOD, "freepik")}).against == ""
    assert "add prompt_only" in choose_questions({}).reason


def test_only_what_can_be_read_counts() -> None:
    both = [
        drawn(number, [{**answer(PLACES[number % 4], 0.9), **answer("staff", 0.1, "none", "accessory")}] * 3)
        for number in range(8)
    ]
    questions = choose_questions({"prompt_only": both})

    assert set(followed(both, questions.judged).values()) == {0.9}
    assert list(questions.unread) == ["accessory 'staff'"]


# --- in the gate ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "spread", "decision"),
    [
        (0.0, 0.0, PASS),
        (0.04, 0.0, PASS),
        (-0.049, 0.0, PASS),
        (-0.051, 0.0, FAIL),
        (-0.051, 0.01, FAIL),
        (-0.3, 0.05, FAIL),
        (-0.03, 0.04, INCONCLUSIVE),
        (-0.06, 0.12, INCONCLUSIVE),
    ],
)
def test_a_lora_follows_prompts_no_worse_than_its_base(change: float, spread: float, decision: Decision) -> None:
    """`spread` is by prompt, so it is what the paired interval is made of."""
    wobble = spread * np.array([1, -1, 1, -1, 1, -1, 1, -1])
    ours = side([min(1.0, mean + change + each) for mean, each in zip(GOOD, wobble, strict=True)])

    verdict = judge_gate(suite(), "lora", ours, others=USUAL)

    assert verdict.decision is decision
    assert ("against prompt_only" in says(verdict)) is (decision is not PASS)
    assert wants_training([verdict]) is (decision is FAIL)
    assert verdict.details.get("open", []) == (["prompt"] if decision is INCONCLUSIVE else [])


def test_drawing_the_subject_and_nothing_that_is_asked_fails_at_full_quality() -> None:
    deaf = [drawn(number, [answer(PLACES[number % 4], 0.02, "night")] * 3, quality=1.0) for number in range(8)]

    verdict = judge_gate(suite({"quality": Threshold(0.6), "prompt": Threshold(0.5)}), "lora", deaf, others=USUAL)

    assert verdict.decision is FAIL and verdict.scores["quality"].mean == 1.0
    assert "prompt 0.02 [0.02, 0.02] is below 0.50" in says(verdict) and "over-trained" in says(verdict)


@pytest.mark.parametrize(("score", "decision"), [(0.499, FAIL), (0.501, PASS)])
def test_the_bound_is_at_a_level_of_its_own(score: float, decision: Decision) -> None:
    ours = [drawn(number, [answer(PLACES[number % 4], score, PLACES[number % 4])] * 3) for number in range(8)]
    usual = {"prompt_only": [replace(each, job=replace(each.job, provider="prompt_only")) for each in ours]}

    assert judge_gate(suite({"prompt": Threshold(0.5)}), "lora", ours, others=usual).decision is decision


def test_what_cannot_be_read_back_fails_nobody_and_is_said() -> None:
    deaf = [drawn(number, [answer(PLACES[number % 4], 0.02, "night")] * 3) for number in range(8)]
    blind = {"prompt_only": [replace(each, job=replace(each.job, provider="prompt_only")) for each in deaf]}

    for bounds, decision in (({}, PASS), ({"prompt": Threshold(0.5)}, INCONCLUSIVE)):
        for others in (blind, {}):
            verdict = judge_gate(suite(bounds), "lora", deaf, others=others)
            assert verdict.decision is decision and "prompt following is not judged" in says(verdict)
            assert ("its threshold says nothing" in says(verdict)) is bool(bounds)


def far_off(results: Sequence[CaseResult], distance: float) -> list[CaseResult]:
    """The same pictures as far from what the models know."""
    technical = Score("technical", 1.0, details={"faults": [], DISTANCE: distance})

    def placed(sample: Sample) -> Sample:
        return replace(sample, scores={**sample.scores, "technical": technical})

    return [replace(result, samples=tuple(map(placed, result.samples))) for result in results]


@pytest.mark.parametrize(
    ("drawings", "control", "decision"),
    [
        (EDGE - 0.01, 0.0, FAIL),
        (EDGE + 0.01, 0.0, Decision.NOT_JUDGED),  # what the base's pictures show says nothing of these
        (EDGE + 0.01, EDGE + 0.01, FAIL),  # read back in pictures of the same kind
    ],
)
@pytest.mark.parametrize("bounds", [{}, {"prompt": Threshold(0.5)}])
def test_what_the_base_does_not_draw_alike_is_not_judged_by_its_pictures(
    bounds: Mapping[str, Threshold], drawings: float, control: float, decision: Decision
) -> None:
    deaf, usual = far_off(side([0.05] * 8), drawings), {"prompt_only": far_off(side(GOOD, "prompt_only"), control)}

    verdict = judge_gate(suite(bounds), "lora", deaf, others=usual)

    assert verdict.decision is decision
    assert ("drawn in a way that the models hardly know" in says(verdict)) is (decision is Decision.NOT_JUDGED)


def test_a_set_is_at_the_edge_by_half_of_it() -> None:
    near, far = far_off(side([0.9] * 4), 0.0), far_off(side([0.9] * 4), EDGE + 0.01)

    assert not is_at_the_edge([*near, *far[:3]]) and is_at_the_edge([*near[:3], *far])
    assert not is_at_the_edge(far_off(side([0.9] * 4), EDGE - 0.01))
    assert not is_at_the_edge(side([0.9] * 4)), "scores of an earlier version have no distance"


def test_what_prompts_change_in_the_bases_pictures_is_no_measure_of_another_style() -> None:
    drawn_afar = {"lora": far_off(side(GOOD), EDGE + 0.01), "prompt_only": far_off(side(GOOD, "prompt_only"), 0.0)}

    found = find_response(cast(Any, None), "lora", drawn_afar)  # no picture is opened

    assert not found.judged and not found.alarm and "the pictures of prompt_only says nothing" in found.sentence


def test_a_case_leaves_the_suites_bound_to_the_gate_and_keeps_its_own() -> None:
    made, deaf = suite({"prompt": Threshold(0.5)}), drawn(0, [answer("steppe", 0.1)] * 3)
    own = replace(made.cases[0], thresholds={"prompt": Threshold(0.5)})

    assert judge_case(made, made.cases[0], deaf, {"prompt": (0.01, 9)}).decision is PASS
    assert judge_case(made, own, deaf, {"prompt": (0.01, 9)}).decision is FAIL


@pytest.mark.parametrize(("change", "decision"), [(0.0, PASS), (-0.1, FAIL)])
def test_a_baseline_is_held_too(change: float, decision: Decision) -> None:
    ours, usual = side([mean + change for mean in GOOD]), {"base": side(GOOD, "base")}

    verdict = judge_gate(suite(), "lora", ours, others=usual, baseline=side(GOOD))

    assert verdict.decision is decision and ("against the baseline" in says(verdict)) is (decision is FAIL)


def test_one_prompt_in_common_proves_no_loss() -> None:
    gap = gap_between({("a", 0): 0.1}, {("a", 0): 0.9})
    assert gap is not None and gap.loss is Loss.OPEN
    assert gap_between({("a", 0): 0.1}, {("b", 0): 0.9}) is None


def test_an_open_answer_draws_more_of_both() -> None:
    made = suite(samples=12, min_samples=2)
    wobble = 0.12 * np.array([1, -1] * 4)
    ours, theirs = side(np.array(GOOD) - 0.06 + wobble, seeds=2), side(GOOD, "prompt_only", seeds=2)

    gate = judge_gate(made, "lora", ours, others={"prompt_only": theirs})
    draws = next_draws(made, {}, {"lora": gate}, {each.job: 2 for each in (*ours, *theirs)})

    assert {draw.job.provider for draw in draws} == {"lora", "prompt_only"}


# --- compare and sweep ------------------------------------------------------------------------------------------------


class Listener(Brightness):
    """Shows what was asked as far as a picture is bright; quality is 0.9 for everybody."""

    def score(self, items: Sequence[tuple[Case, bytes]]) -> list[Mapping[str, Score]]:
        found = []
        for (case, _), scores in zip(items, super().score(items), strict=True):
            level = scores["quality"].value or 0.0
            details = answer(case.expect["background"], level)
            found.append({"quality": Score("quality", 0.9), "prompt": Score("prompt", level, level, details=details)})
        return found


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    made = Studio(tmp_path, cases=8, scorer=Listener())
    made.painters["prompt_only"] = {"level": 0.9}
    return made


def bench(studio: Studio, **keys: Any) -> Any:
    made = make_bench(studio, **keys)
    cases = [replace(case, expect={"background": PLACES[number % 4]}) for number, case in enumerate(made.suite.cases)]
    providers = {**made.profile.providers, "prompt_only": ProviderConfig("local")}
    return replace(
        made, suite=replace(made.suite, cases=tuple(cases)), profile=replace(made.profile, providers=providers)
    )


@pytest.mark.parametrize(
    ("new", "words", "status"),
    [(0.87, "new follows prompts no worse", 0), (0.6, "new follows prompts worse", 1), (0.89, "no worse", 0)],
)
def test_a_comparison_asks_for_prompts_too(studio: Studio, new: float, words: str, status: int) -> None:
    files = [Lora(studio.write_lora(name, level)) for name, level in (("new", new), ("old", 0.88))]

    found = compare_loras(bench(studio), *files)

    assert words in found.text and found.status() == status
    assert found.results.gate.verdict == ("fail" if status else "pass")
    assert ("mind: new follows prompts worse than prompt_only does" in found.text) is (status == 1)


def test_a_sweep_does_not_call_the_best_what_ignores_prompts(studio: Studio) -> None:
    files = [studio.write_lora(f"step-{number}", level) for number, level in enumerate((0.6, 0.88))]

    cells = cells_of(sweep(bench(studio), files, (1.0,)))

    assert [cell.deaf for cell in cells] == [True, False]
    text = "\n".join(grid_lines(cells))
    assert "over-trained: step-0 at 1 surely follow prompts worse than prompt_only" in text
    assert "prompt, over prompt_only" in text and "best here" not in text  # one is left, so nothing was chosen


# --- bounds that everybody reaches ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("bound", "told"), [(0.29, True), (0.31, False), (None, False)])
def test_a_bound_below_every_stranger_is_told(bound: float | None, told: bool) -> None:
    crowds = [
        PopulationRecord(metric="quality", genuine=(0.9, 1.0), impostor=(0.6, 0.3)),
        PopulationRecord(metric="clip", genuine=(0.9,), impostor=()),
    ]

    notes = low_bounds(suite({"quality": Threshold(bound), "clip": Threshold(0.1)}), crowds)

    assert bool(notes) is told and all("quality: fail 0.29" in note and "0.30 at least" in note for note in notes)
