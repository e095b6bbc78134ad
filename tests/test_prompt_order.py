"""Where a phrase stands in a prompt, and which phrases stand too late."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.config.profile import load_profile
from harness.config.prompts.order import PROMPT_ORDER, lint_order
from tests.support import ROOT

WORDS = load_profile("embedded", ROOT).vocabulary


def test_a_prompt_has_thirteen_places() -> None:
    assert len(PROMPT_ORDER) == 13 and PROMPT_ORDER.index("action") < PROMPT_ORDER.index("body")


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("aldar, side view, standing, smiling, walking, tall, wearing a coat, forest background, at night", ""),
        ("smiling, aldar", "'aldar' (character) stands behind 'smiling' (face)"),
        ("aldar, wearing a coat, tall", "'tall' (body) stands behind 'wearing a coat' (clothes)"),
        ("aldar, forest background, standing", "'standing' (pose) stands behind 'forest background' (scene)"),
        ("aldar, at night, side view", "'side view' (view) stands behind 'at night' (time)"),
        ("aldar, a strange thing, smiling", ""),  # of what is not known nothing is claimed
        ("aldar", ""),
    ],
)
def test_the_first_phrase_that_stands_too_late_is_named(prompt: str, said: str) -> None:
    notes = list(lint_order(prompt, "aldar", WORDS))

    assert len(notes) == bool(said) and all(said in note for note in notes)
    assert all("the usual order is character, view, shot" in note for note in notes)


@pytest.mark.parametrize("suite", ["aldar_kose", "smoke"])
def test_the_shipped_prompts_stand_in_order(suite: str, capsys: pytest.CaptureFixture[str]) -> None:
    from harness.commands.cli import main

    assert main(["lint", str(Path(ROOT, "suites", f"{suite}.yaml"))]) == 0
    assert "usual order" not in capsys.readouterr().out
