"""What is compared is alike: pictures at one sampling, pairs on one scale; what cannot be judged has no verdict."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter
from scipy.ndimage import gaussian_filter

from harness.core.values import DOMAIN, UNCLIPPED, CaseResult, Decision, Job, Outcome, Sample, Score, Threshold
from harness.judging.baseline import Mark, marks_of
from harness.judging.blind import FEW, MOST, cannot_judge
from harness.judging.changes import compare_results
from harness.judging.judge import judge_case, judge_gate, pooled_sds
from harness.judging.leaderboard import leaderboard
from harness.judging.record import CaseRecord, EngineRecord, RunFacts, RunRecord
from harness.judging.results import SuiteRun, build_results
from harness.judging.scores import on_one_scale
from harness.scoring.metrics.quality import quality_score
from harness.scoring.metrics.ssim import SIDE, common_sampling, edges, grey_square, plate_of, sharpness
from harness.scoring.metrics.technical import contrast, find_faults
from tests.test_judge import calibration, result, says, suite

# --- one sampling -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("drawn", "references", "side"),
    [
        ((96, 96), [(400, 400)] * 5, 96),
        ((1024, 1024), [(512, 768)] * 5, SIDE),
        ((1024, 1024), [(128, 128)] * 5, 128),
        ((96, 128), [(96, 96)], 96),
        ((1024, 1024), [(64, 64), (900, 700), (800, 800)], SIDE),  # one thumbnail coarsens nothing
        ((512, 512), [], SIDE),
    ],
)
def test_the_common_sampling_is_what_both_sides_have(drawn: Any, references: Any, side: int) -> None:
    assert common_sampling(drawn, references) == side


def still(seed: int, size: int) -> Image.Image:
    """Something with detail of every size, as a photograph has."""
    rng = np.random.default_rng(seed)
    layers = [gaussian_filter(rng.standard_normal((480, 480)), width) * width for width in (0.7, 1.5, 3, 6, 12, 24, 48)]
    values = np.sum(layers, axis=0)
    grey = np.clip(128 + 40 * values / values.std(), 0, 255).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB").resize((size, size), Image.Resampling.LANCZOS)


REFERENCES = [still(seed, 400) for seed in range(5)]


def faults(picture: Image.Image, sampling: int) -> list[str]:
    greys = [grey_square(reference, sampling) for reference in REFERENCES]
    least = min(map(sharpness, greys)), min(map(contrast, greys))
    return [fault["kind"] for fault in find_faults(picture, (96, 96), *least, sampling)]


def test_a_drawing_is_not_blurred_because_the_references_are_larger() -> None:
    drawings = [still(seed, 96) for seed in range(10, 16)]
    common = common_sampling((96, 96), [picture.size for picture in REFERENCES])

    assert all(faults(drawing, SIDE) == ["blur"] for drawing in drawings)  # as they were measured before
    assert all(faults(drawing, common) == [] for drawing in drawings)


def test_a_blurred_drawing_is_found_at_the_common_sampling_too() -> None:
    drawing = still(10, 96).filter(ImageFilter.GaussianBlur(2))

    assert faults(drawing, 96) == ["blur"]


def test_edges_of_large_references_do_not_make_a_small_drawing_soft() -> None:
    drawing = still(10, 96)

    def short(sampling: int) -> float:
        own = [edges(plate_of(grey_square(picture, sampling))) for picture in REFERENCES]
        return float(np.mean(own)) - edges(plate_of(grey_square(drawing, sampling)))

    assert short(SIDE) > 0.15 and abs(short(96)) < 0.05


def test_a_picture_that_has_no_more_than_the_common_sampling_stays_as_it_is() -> None:
    small = still(1, 96)

    assert np.array_equal(grey_square(small, 96), grey_square(small))
    assert np.array_equal(grey_square(still(1, 300), SIDE), grey_square(still(1, 300)))


# --- one scale --------------------------------------------------------------------------------------------------------


def shot(case: str, seed: int, value: float, whole: float | None = None) -> CaseResult:
    details = {} if whole is None else {UNCLIPPED: whole}
    sample = Sample("", seed, Outcome.OK, image="image", scores={"quality": Score("quality", value, details=details)})
    return CaseResult(Job("aldar.yaml", case, "lora"), (sample,))


def shots(level: float, spread: float = 0.02, cut: bool = True) -> list[CaseResult]:
    rng = np.random.default_rng(1)
    numbers = [level + spread * float(rng.normal()) for _ in range(12)]
    return [shot(f"case-{place}", 0, min(1.0, value), value if cut else None) for place, value in enumerate(numbers)]


def test_two_good_loras_are_told_apart_beyond_the_end_of_the_scale() -> None:
    better, good = shots(1.15), shots(1.06)

    found = compare_results(better, good, 0.02)

    assert found.word == "improved" and found.quality is not None
    assert found.quality.diff == pytest.approx(0.09) and found.quality.before == found.quality.after == 1.0


def test_scores_without_the_number_behind_them_are_compared_as_they_are_shown() -> None:
    [ours], [theirs] = on_one_scale(shots(1.1)), on_one_scale(shots(1.1, cut=False))
    both = on_one_scale(shots(1.1), shots(1.1, cut=False), metrics=("quality",))

    assert min(ours["quality"].values()) > 1.0 and max(theirs["quality"].values()) == 1.0
    assert both[0] == both[1] and max(both[0]["quality"].values()) == 1.0
    assert compare_results(shots(1.1), shots(1.1, cut=False), 0.02).word == "unchanged"


@pytest.mark.parametrize(
    ("whole", "counts"), [(1.2, 1.2), (1.0, 1.0), (0.3, 0.3), (0.0, 0.0), (-0.01, 0.0), (-1.5, 0.0)]
)
def test_differences_end_at_nothing_and_not_at_the_subject(whole: float, counts: float) -> None:
    value = min(1.0, max(0.0, whole))
    parts = {
        "clip": Score("clip", value, 0.1, details={UNCLIPPED: whole}),
        "features": Score("features", None, None),
        "ssim": Score("ssim", None, None),
    }

    [side] = on_one_scale([shot("one", 0, value, whole)])

    assert list(side["quality"].values()) == [counts]
    assert quality_score(parts, {"clip": 1.0}).details[UNCLIPPED] == counts


def test_quality_keeps_the_number_behind_its_parts() -> None:
    parts = {
        "clip": Score("clip", 1.0, 0.9, details={UNCLIPPED: 1.5}),
        "features": Score("features", 0.9, 0.2),
        "ssim": Score("ssim", 1.0, 0.3),
    }

    found = quality_score(parts, {"clip": 0.4, "features": 0.4, "ssim": 0.2})

    assert found.value == pytest.approx(0.96) and found.details[UNCLIPPED] == pytest.approx(1.16)
    assert found.details["band"] == "excellent"


def test_a_baseline_keeps_the_number_behind_a_score_and_reads_those_that_do_not() -> None:
    [kept] = marks_of(CaseRecord.of({**case_record(), "samples": [sample_record(1.0, 1.2345678)]}))
    [old] = marks_of(CaseRecord.of({**case_record(), "samples": [sample_record(1.0, None)]}))

    assert kept.unclipped == {"quality": 1.234568} and kept.score("quality", None).details == {UNCLIPPED: 1.234568}
    like = Score("quality", 1.0, details={UNCLIPPED: 1.2345678})
    assert kept.score("quality", like).details == {UNCLIPPED: 1.2345678}
    assert old.unclipped == {} and not old.score("quality", None).details
    assert "unclipped" not in old.model_dump(exclude_unset=True)
    assert Mark.model_validate(kept.model_dump()) == kept


def case_record() -> dict[str, object]:
    return {"suite": "aldar", "case": "one", "split": "open", "provider": "lora"}


def sample_record(value: float, whole: float | None) -> dict[str, object]:
    details = {} if whole is None else {UNCLIPPED: whole}
    return {
        "request": "r", "seed": 0, "outcome": "ok", "image": "i",
        "scores": {"quality": {"metric": "quality", "value": value, "details": details}},
    }  # fmt: skip


# --- what cannot be judged --------------------------------------------------------------------------------------------

WHY = "these models cannot judge this picture"


def picture(seed: int, foreign: bool, quality: float = 0.9) -> Sample:
    scores = {"quality": Score("quality", None if foreign else quality, reason=WHY if foreign else "")}
    return Sample(
        "", seed, Outcome.OK, image="i", scores=scores | ({DOMAIN: Score(DOMAIN, None, reason=WHY)} if foreign else {})
    )


def mixed(total: int, foreign: int, quality: float = 0.9) -> list[CaseResult]:
    return [result(f"case-{place}", [picture(place, place < foreign, quality)]) for place in range(total)]


def gate(total: int, foreign: int, quality: float = 0.9) -> Any:
    return judge_gate(suite(), "lora", mixed(total, foreign, quality), calibration=calibration())


def test_a_gate_with_most_drawings_foreign_cannot_be_judged() -> None:
    half, more = round(MOST * 8), round(MOST * 8) + 1

    assert gate(8, half).decision is Decision.INCONCLUSIVE and "cannot judge: " not in says(gate(8, half))
    assert gate(8, more).decision is Decision.NOT_JUDGED
    assert f"cannot judge: {more} of 8 pictures: {WHY}" in says(gate(8, more))


def test_few_foreign_drawings_are_a_warning_and_more_leave_the_verdict_open() -> None:
    few = round(FEW * 20)

    assert gate(20, 0).decision is Decision.PASS and not says(gate(20, 0))
    assert gate(20, few).decision is Decision.PASS and f"{few} of 20 pictures: {WHY}" in says(gate(20, few))
    assert gate(20, few + 1).decision is Decision.INCONCLUSIVE


def test_foreign_drawings_do_not_save_bad_ones() -> None:
    assert gate(20, 4, quality=0.3).decision is Decision.FAIL


def test_foreign_references_turn_a_fail_into_no_verdict() -> None:
    blind = replace(calibration(), blind="these models cannot judge these pictures")

    found = judge_gate(suite(), "lora", mixed(8, 0, quality=0.1), calibration=blind)

    assert not blind.can_gate and found.decision is Decision.NOT_JUDGED and blind.blind in says(found)
    assert cannot_judge(blind, []) == blind.blind and cannot_judge(calibration(), []) == ""


def test_a_case_of_foreign_pictures_is_not_judged() -> None:
    alone = result("case-0", [picture(seed, True) for seed in range(3)])

    found = judge_case(suite(), suite().cases[0], alone, pooled_sds([alone]), calibration=calibration())

    assert found.decision is Decision.NOT_JUDGED and not found.scores and WHY in says(found)


def test_the_leaderboard_says_whose_pictures_cannot_be_judged() -> None:
    [row] = leaderboard(suite(), {"lora": mixed(8, 8)})
    [good] = leaderboard(suite(), {"lora": mixed(8, 0)})

    assert row.blind == f"8 of 8 pictures: {WHY}" and row.quality is None
    assert good.blind == "" and "blind" not in good.plain


def test_a_record_shows_no_value_of_pictures_of_which_most_are_foreign() -> None:
    item = mixed(9, 5, quality=0.95)
    verdicts = {each.job: judge_case(suite(), suite().cases[0], each, pooled_sds(item)) for each in item}
    facts = {"id": "1", "started": "now", "profile": "embedded", "versions": {}}
    engine = {"images_generated": 9, "images_cached": 0, "model_loads": 1}

    def record(results: list[CaseResult]) -> RunRecord:
        return build_results(
            RunFacts.of(facts), [SuiteRun(suite(), {"lora": results}, verdicts)], EngineRecord.of(engine)
        )

    dark, lit = record(item), record(mixed(9, 4, quality=0.95))

    assert all(case.quality is None and not case.scores for case in dark.cases) and dark.leaderboard[0].quality is None
    assert sum(case.quality is not None for case in lit.cases) == 5
    assert dark.cases[8].samples[0].scores["quality"].reason == f"5 of 9 pictures: {WHY}"


def test_a_case_is_blind_where_all_its_pictures_are() -> None:
    def record(*foreign: bool) -> CaseRecord:
        samples = tuple(picture(place, each) for place, each in enumerate(foreign))
        return CaseRecord(suite="aldar", case="one", split="open", provider="lora", samples=samples)

    assert record(True, True).blind and not record(True, False).blind and not record().blind


def test_thresholds_of_what_was_not_measured_do_not_fail() -> None:
    strict = suite({"quality": Threshold(0.6), "clip": Threshold(0.9)})

    found = judge_gate(strict, "lora", mixed(8, 8), calibration=calibration())

    assert found.decision is Decision.NOT_JUDGED and not found.scores
