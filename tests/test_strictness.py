"""Suites and profiles: numbers are numbers, names are names, and no key gets where it would be printed."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.commands.cli import main
from harness.config.profile import load_profile
from harness.config.suite import LONGEST_NAME, MAX_CASES, load_suite
from harness.core.errors import SuiteError
from harness.core.secrets import looks_like_key, variable_name
from harness.core.settings import Settings
from harness.core.yaml import LONGEST_ID
from harness.providers.http_client.options import RemoteOptions
from tests.support import ROOT
from tests.test_plugin_hooks import Project

pytest_plugins = ["pytester"]
PROFILE = ROOT / "suites" / "profiles" / "embedded.yaml"


def make_suite(folder: Path, **changes: Any) -> Path:
    (folder / "pictures" / "train").mkdir(parents=True, exist_ok=True)
    subject = {"name": "Aldar", "trigger": "aldar", "references": "pictures", **changes.pop("subject", {})}
    record = {
        "version": 1,
        "suite": "strict",
        "subject": subject,
        "providers": ["lora"],
        "samples": 2,
        "cases": [{"id": "one", "prompt": "aldar, one"}],
        **changes,
    }
    path = folder / "strict.yaml"
    path.write_text(yaml.safe_dump(record, sort_keys=False), encoding="utf-8")
    return path


def refused(path: Path) -> str:
    with pytest.raises(SuiteError) as error:
        load_suite(path)
    assert error.value.line and str(error.value).startswith(f"{path}:{error.value.line}: ")
    return str(error.value)


# --- numbers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"samples": True}, "samples"),
        ({"samples": {"min": True, "max": 4}}, "samples.min"),
        ({"samples": {"min": 2, "max": True}}, "samples.max"),
        ({"seed": True}, "seed"),
        ({"seed": False}, "seed"),
        ({"version": True}, "version"),
        ({"weights": {"clip": True, "ssim": 1}}, "weights"),
        ({"weights": {"clip": 1, "ssim": False}}, "weights"),
        ({"regression": {"margin": False}}, "regression.margin"),
        ({"thresholds": {"quality": True}}, "thresholds.quality"),
        ({"thresholds": {"quality": {"fail": True}}}, "thresholds.quality"),
        ({"subject": {"lora": {"file": "a.safetensors", "strength": True}}}, "subject.lora"),
    ],
)
def test_yes_and_no_are_no_numbers(tmp_path: Path, changes: dict[str, Any], key: str) -> None:
    words = refused(make_suite(tmp_path, **changes))

    assert f" {key}" in words and ("a number is expected" in words or "valid number" in words), words


def test_yes_and_no_are_themselves_where_they_belong(tmp_path: Path) -> None:
    suite = load_suite(make_suite(tmp_path, drift=True, thresholds={"copy": False}))

    assert suite.alarm("copy") == "off" and suite.alarm("drift") == "warn"


@pytest.mark.parametrize("options", [{"concurrency": True}, {"read": True}, {"attempts": False}])
def test_options_of_services_are_as_strict(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="a number is expected"):
        RemoteOptions.model_validate(options)
    assert RemoteOptions.model_validate({"emulated": True, "describe": False}).emulated is True


@pytest.mark.parametrize(
    ("weights", "fits"),
    [
        ({"clip": 1e308, "features": 1e308}, False),
        ({"clip": 1e300, "features": 1.0}, False),
        ({"clip": 1e-320, "features": 1.0}, False),
        ({"clip": 9e-7, "features": 1.0}, False),
        ({"clip": 2e-6, "features": 1.0}, True),
        ({"clip": 1e300, "features": 1e300}, True),
        ({"clip": 0, "features": 3}, True),
        ({"clip": math.inf, "features": 3}, False),
        ({"clip": math.nan, "features": 3}, False),
    ],
)
def test_weights_stay_shares_of_one(tmp_path: Path, weights: dict[str, float], fits: bool) -> None:
    path = make_suite(tmp_path, weights=weights)

    if fits:
        assert sum(load_suite(path).weights.values()) == pytest.approx(1)
    else:
        assert "weights" in refused(path)


# --- names and counts ------------------------------------------------------------------------------------------------


Long = Callable[[str], dict[str, Any]]


@pytest.mark.parametrize(
    ("change", "most"),
    [
        (lambda name: {"suite": name}, LONGEST_ID),
        (lambda name: {"cases": [{"id": name, "prompt": "aldar"}]}, LONGEST_ID),
        (lambda name: {"subject": {"name": name}}, LONGEST_NAME),
        (lambda name: {"subject": {"trigger": name}}, LONGEST_NAME),
        (lambda name: {"subject": {"class_word": name}}, LONGEST_NAME),
    ],
)
def test_names_end_somewhere(tmp_path: Path, change: Long, most: int) -> None:
    load_suite(make_suite(tmp_path, **change("a" * most)))
    assert len(refused(make_suite(tmp_path, **change("a" * (most + 1))))) < 1000
    assert len(refused(make_suite(tmp_path, **change("a" * 5000)))) < 1000


def test_listed_cases_are_counted_as_those_of_a_matrix(tmp_path: Path) -> None:
    cases = [{"id": f"c{number}", "prompt": "aldar"} for number in range(MAX_CASES + 1)]

    words = refused(make_suite(tmp_path, cases=cases))

    assert "10,001 cases; 10,000 are the most" in words and "cases[10000]" in words


# --- keys ------------------------------------------------------------------------------------------------------------


KEYS = [
    "sk-" + "proj-" + "0" * 16,  # put together here, so that nobody takes one for a real key
    "FPSX" + "0" * 32,
    "AIza" + "Sy" + "0" * 33,
    "hf_" + "0" * 16,
    "r8_" + "0" * 16,
    "3f1c2b9e-1111-2222-3333-444455556666",
    "0123456789abcdef",
    "A1B2C3D4E5F6G7H8",
    "key_live_" + "a1b2" * 5,
    "my key",
    "Bearer abc",
    "A" * 65,
]


@pytest.mark.parametrize("text", KEYS)
def test_a_key_is_no_name_and_is_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="is not the name of a variable") as error:
        variable_name(text)
    assert text not in str(error.value)


@pytest.mark.parametrize(
    "text", ["", "OPENAI_API_KEY", "SD35_API_KEY_2", "my_key", "_X", "GIGACHAT_CREDENTIALS", "AZURE2024_KEY", "A" * 64]
)
def test_names_are_names(text: str) -> None:
    assert variable_name(text) == text and not looks_like_key(text)


@pytest.mark.parametrize("text", KEYS[:8])
@pytest.mark.parametrize("kind", ["providers", "writers"])
def test_a_key_pasted_into_a_profile_is_refused_before_anything_is_printed(
    tmp_path: Path, text: str, kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "suites" / "profiles"
    folder.mkdir(parents=True)
    record = yaml.safe_load(PROFILE.read_text(encoding="utf-8"))
    record["traits"] = str(PROFILE.parent / record["traits"])
    record.pop("impostors", None)
    record["profile"] = "pasted"
    record.setdefault(kind, {})["mine"] = {"adapter": "openai", "key": text}
    (folder / "pasted.yaml").write_text(yaml.safe_dump(record), encoding="utf-8")

    with pytest.raises(SuiteError, match=rf"pasted.yaml:\d+: {kind}.mine.key: is not the name of a variable") as error:
        load_profile("pasted", tmp_path)
    assert text not in str(error.value)
    suite = make_suite(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main(["lint", str(suite), "--profile", "pasted"]) != 0
    said = capsys.readouterr()
    assert text not in said.out + said.err


def test_what_looks_like_a_key_is_masked_wherever_a_file_is_refused(tmp_path: Path) -> None:
    words = refused(make_suite(tmp_path, seed="sk-proj-abcdefgh12345678"))

    assert "sk-proj" not in words and "***" in words


def test_a_selection_never_ends_with_pass(project: Project) -> None:
    """The easy case is green, the other red: whoever looks at one of them has judged nothing."""
    project.suite()
    project.painters["lora"]["trouble"] = lambda requests: None
    for words in (
        ("-k", "one"),
        ("-k", "one and lora"),
        ("-m", "not gate"),
        ("suites/painted.yaml::one",),
        ("suites/painted.yaml::one::lora",),
        ("--deselect", "suites/painted.yaml::gate"),
        ("--deselect", "suites/painted.yaml::gate::lora", "--deselect", "suites/painted.yaml::two"),
    ):
        run = project.run(*words)
        run.stdout.no_fnmatch_line("*PASS*")
        assert project.results["gate"]["verdict"] != "pass", words
    assert project.run().stdout.fnmatch_lines(["verdict: PASS*"]) is None


def test_settings_hold_no_key_of_a_profile(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"\xef\xbb\xbfOPENAI_API_KEY=sk-one\r\n")  # as Windows saves it

    secret = Settings.load(tmp_path).secret("OPENAI_API_KEY")

    assert secret is not None and secret.reveal() == "sk-one" and "sk-one" not in repr(secret)
