"""What went wrong with pictures from elsewhere, row by row, and what holds each row right: a test, or a figure."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

from benchmarks.process import run_pytest

TESTS: Mapping[str, str] = {
    "a training picture for every prompt": (
        "test_abroad.py::test_a_training_picture_for_every_prompt_is_red_although_quality_is_perfect"
    ),
    "held-out pictures": "test_abroad.py::test_held_out_pictures_are_a_leak",
    "train/ and held_out/ swapped": "test_abroad.py::test_a_champion_under_swapped_folders_is_told",
    "drawings that obey what is asked of clothes": (
        "test_cohort.py::test_what_a_case_asks_for_is_not_held_against_the_subject"
    ),
    "one prompt under many ids": "test_clusters.py::test_a_run_over_one_prompt_claims_nothing_over_prompts",
    "locked prompts that are open ones": (
        "test_clusters.py::test_a_locked_case_that_asks_what_an_open_one_asks_is_refused"
    ),
    "impostors of another domain": "test_cohort.py::test_pictures_that_a_user_adds_are_one_more_group",
    "large references, small drawings": (
        "test_comparable_pictures.py::test_a_drawing_is_not_blurred_because_the_references_are_larger"
    ),
    "film stills": "test_domain.py::test_a_run_with_what_the_models_do_not_know_judges_nothing",
}


def judge_evidence(description_fails: bool, white_passes: bool) -> dict[str, int]:
    """How many rows are right, with a line each; two of them are what was found of newcomers."""
    right = tested()
    right["people with the description and none of the marks"] = description_fails
    right["references on white ground"] = white_passes
    for name, verdict in right.items():
        print(f"row: {name:52} {'right' if verdict else 'WRONG'}")
    return {"rows": len(right), "rows_right": sum(right.values())}


def tested() -> dict[str, bool]:
    """Row to whether all its tests passed, in one run of them."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "junit.xml"
        run_pytest([*(f"tests/{node}" for node in TESTS.values()), f"--junitxml={report}"])
        cases = list(ElementTree.parse(report).iter("testcase"))  # noqa: S314 - pytest wrote it

    def held(node: str) -> bool:
        own = [case for case in cases if str(case.get("name")).split("[")[0] == node.split("::")[1]]
        return bool(own) and not any(case.find(kind) is not None for case in own for kind in ("failure", "error"))

    return {name: held(node) for name, node in TESTS.items()}
