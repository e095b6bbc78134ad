"""What results hold as plain numbers, and how an interval is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness.core.text import bounds_text, measured_text
from harness.core.values import CaseResult, Interval, Job, Outcome, Sample, Score
from harness.judging.scores import (
    TraitMean,
    by_case,
    possible,
    possible_change,
    trait_means,
    trait_values,
    values_by_metric,
    values_of,
)

TRAITS = {"hat": {"value": "felt", "score": 0.25}, "eyes": {"value": "dark", "score": None}, "note": "unread"}


def picture(seed: int, quality: float | None, hat: float = 0.25) -> Sample:
    details = {**TRAITS, "hat": {"value": "felt", "score": hat}}
    scores = {"quality": Score("quality", quality), "features": Score("features", 0.5, details=details)}
    return Sample(f"key-{seed}", seed, Outcome.OK, "a" * 64, scores=scores)


LOST = Sample("lost", 9, Outcome.QUOTA, message="used up")
RESULTS = [
    CaseResult(Job("suite.yaml", "one", "lora"), (picture(0, 0.5), picture(1, None, 0.75), LOST)),
    CaseResult(Job("suite.yaml", "two", "lora"), (picture(0, 0.75),)),
]


def test_values_are_those_of_pictures_that_could_be_measured() -> None:
    quality = {("one", 0): 0.5, ("two", 0): 0.75}

    assert values_of(RESULTS, "quality") == values_by_metric(RESULTS)["quality"] == quality
    assert by_case(quality) == {"one": [0.5], "two": [0.75]}
    assert set(values_by_metric(RESULTS)) == {"quality", "features"}


def test_a_metric_that_is_asked_for_is_there_without_a_value_and_no_other_is() -> None:
    assert values_by_metric(RESULTS, ("clip", "quality")).keys() == {"clip", "quality"}
    assert values_by_metric(RESULTS, ("clip",)) == {"clip": {}} and values_of(RESULTS, "clip") == {}


def test_a_trait_without_a_score_is_no_zero() -> None:
    assert trait_values(RESULTS) == {"hat": {("one", 0): 0.25, ("one", 1): 0.75, ("two", 0): 0.25}}
    assert trait_means([picture(0, 0.5), picture(1, None, 0.75)]) == {"hat": TraitMean("felt", 0.5, 2)}


def test_a_trait_is_named_with_what_is_wanted_where_that_is_known() -> None:
    details = {"hat": {"value": "felt", "score": 1.0}, "eyes": {"score": 0.5}}
    scores = {"features": Score("features", 0.5, details=details)}
    means = trait_means([Sample("key", 0, Outcome.OK, "a" * 64, scores=scores)])

    assert [mean.name(category) for category, mean in means.items()] == ["hat: felt", "eyes"]


@pytest.mark.parametrize(
    ("interval", "options", "text"),
    [
        (Interval(0.524, 0.45, 0.59, 4), {}, "0.52 [0.45, 0.59]"),
        (Interval(0.5, None, None, 1), {}, "0.50"),
        (Interval(0.9, 0.7, 1.1, 4), {}, "0.90 [0.70, 1.00]"),
        (Interval(-0.05, -1.2, 1.3, 4), {"signed": True}, "-0.05 [-1.00, +1.00]"),
        (Interval(1.2, 1.1, 1.3, 4), {"signed": True}, "+1.20 [+1.10, +1.30]"),
        (Interval(0.0512, 0.01, 0.09, 4), {"signed": True, "places": 3}, "+0.051 [+0.010, +0.090]"),
        (Interval(0.45, 0.3, 0.6, 4), {"percent": True}, "45% [30%, 60%]"),
        (Interval(0.45, None, None, 1), {"percent": True}, "45%"),
    ],
)
def test_an_interval_is_written_with_its_ends_inside_what_is_possible(
    interval: Interval, options: dict[str, Any], text: str
) -> None:
    assert bounds_text(interval, **options) == text


def test_what_was_not_measured_is_a_dash_in_tables_and_words_in_sentences() -> None:
    assert bounds_text(None) == "-"
    assert measured_text(None) == "not measured" and measured_text(Interval(0.5, 0.4, 0.6, 2), True).startswith("+0.50")


@pytest.mark.parametrize(
    ("cut", "before", "after"),
    [
        (possible, Interval(0.99, 0.95, 1.01, 4), Interval(0.99, 0.95, 1.0, 4)),
        (possible, Interval(0.01, -0.01, 0.05, 4), Interval(0.01, 0.0, 0.05, 4)),
        (possible, Interval(1.02, 0.9, None, 1), Interval(1.0, 0.9, None, 1)),
        (possible, Interval(0.5, 0.4, 0.6, 4), Interval(0.5, 0.4, 0.6, 4)),
        (possible_change, Interval(-0.9, -1.01, -0.8, 4), Interval(-0.9, -1.0, -0.8, 4)),
        (possible_change, Interval(0.9, -0.99, 1.01, 4), Interval(0.9, -0.99, 1.0, 4)),
        (possible_change, Interval(1.01, 0.9, 1.2, 4), Interval(1.01, 0.9, 1.2, 4)),  # of scores that are not cut off
    ],
)
def test_an_interval_keeps_what_is_possible(
    cut: Callable[[Interval], Interval], before: Interval, after: Interval
) -> None:
    assert cut(before) == after
