from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.core.settings import Settings
from harness.core.under_test import LoraUnderTest
from harness.core.values import Case, Lora, Subject, Suite

PROMOTED, OWN, GIVEN, SUITES = (Lora(Path(f"{name}.safetensors")) for name in ("promoted", "own", "given", "suites"))
SUBJECT = Subject("Aldar", "aldar", Path(), lora=SUITES)
SUITE = Suite("painted", Path("painted.yaml"), SUBJECT, ("lora", "twin"), ("lora",), (Case("painted", "a", "b"),))
OTHER = replace(SUITE, path=Path("other.yaml"))
WITHOUT = replace(SUITE, subject=replace(SUBJECT, lora=None))
EVERY = LoraUnderTest(GIVEN, {"lora": OWN}).promote(SUITE, "lora", PROMOTED)


@pytest.mark.parametrize(
    ("under_test", "suite", "expected"),
    [
        (EVERY, SUITE, PROMOTED),
        (replace(EVERY, promoted={}), SUITE, OWN),
        (replace(EVERY, promoted={}, own={}), SUITE, GIVEN),
        (LoraUnderTest(), SUITE, SUITES),
        (LoraUnderTest(), WITHOUT, None),
    ],
    ids=["promoted", "own", "given", "suites", "none"],
)  # fmt: skip
def test_the_first_that_names_one_wins(under_test: LoraUnderTest, suite: Suite, expected: Lora | None) -> None:
    assert under_test.of(suite, "lora") == expected


@pytest.mark.parametrize("suite", [SUITE, WITHOUT])
def test_each_stands_over_the_next_with_nothing_between(suite: Suite) -> None:
    assert LoraUnderTest(GIVEN).promote(suite, "lora", PROMOTED).of(suite, "lora") == PROMOTED
    assert LoraUnderTest(None, {"lora": OWN}).of(suite, "lora") == OWN
    assert LoraUnderTest(None).promote(suite, "lora", PROMOTED).of(suite, "lora") == PROMOTED
    assert LoraUnderTest(GIVEN).of(suite, "lora") == GIVEN


def test_a_promotion_holds_for_its_suite_and_its_provider_alone() -> None:
    assert EVERY.of(OTHER, "lora") == OWN
    assert EVERY.of(SUITE, "twin") == GIVEN, "another provider has neither the promotion nor the own one"


def test_a_second_promotion_takes_the_place_of_the_first() -> None:
    again = EVERY.promote(SUITE, "lora", OWN).promote(OTHER, "twin", SUITES)

    assert (again.of(SUITE, "lora"), again.of(OTHER, "twin"), again.of(SUITE, "twin")) == (OWN, SUITES, GIVEN)
    assert EVERY.of(SUITE, "lora") == PROMOTED, "what was asked before is unchanged"


def test_a_lora_at_strength_0_is_one_and_hides_what_is_under_it() -> None:
    off = replace(GIVEN, strength=0.0)

    assert LoraUnderTest(off).of(SUITE, "lora") == off
    assert LoraUnderTest(GIVEN, {"lora": off}).of(SUITE, "lora") == off
    assert EVERY.promote(SUITE, "lora", off).of(SUITE, "lora") == off


def test_before_any_suite_is_known_a_promotion_and_a_suites_own_say_nothing() -> None:
    assert EVERY.override("lora") == OWN
    assert EVERY.override("lora", SUITE) == PROMOTED
    assert EVERY.override("twin", SUITE) == GIVEN
    assert LoraUnderTest().override("lora", SUITE) is None


def test_settings_know_the_command_lines_alone() -> None:
    assert Settings(Path()).under_test.of(SUITE, "lora") == SUITES
    assert Settings(Path(), lora=GIVEN).under_test.of(SUITE, "lora") == GIVEN
