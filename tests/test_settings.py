"""Settings: where a value comes from, what is refused, and that a key never shows."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from harness.core.errors import UsageError
from harness.core.settings import VARIABLES, Secret, Settings
from harness.core.values import to_record


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*VARIABLES.values(), "STUDIO_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def test_defaults_lie_under_the_root(tmp_path: Path) -> None:
    settings = Settings.load(tmp_path)

    assert (settings.profile, settings.samples, settings.lora, settings.retrain) == ("embedded", None, None, 0)
    assert settings.store == tmp_path.resolve() / ".harness"
    assert settings.report_dir == tmp_path.resolve() / "reports"


def test_options_win_over_the_environment_and_that_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("HARNESS_PROFILE=one\nHARNESS_STORE=file\nHARNESS_REPORT_DIR=file\n")
    monkeypatch.setenv("HARNESS_STORE", "environment")
    monkeypatch.setenv("HARNESS_REPORT_DIR", "environment")

    settings = Settings.load(tmp_path, {"report_dir": "option", "profile": None})

    assert (settings.profile, settings.store.name, settings.report_dir.name) == ("one", "environment", "option")


def test_an_empty_variable_is_an_unset_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("STUDIO_API_KEY=test-key\n")
    monkeypatch.setenv("STUDIO_API_KEY", "")

    found = Settings.load(tmp_path).secret("STUDIO_API_KEY")

    assert found is not None and found.reveal() == "test-key"


def test_a_dollar_sign_in_a_key_stays(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("STUDIO_API_KEY=test-${HOME}-key\n")

    found = Settings.load(tmp_path).secret("STUDIO_API_KEY")

    assert found is not None and found.reveal() == "test-${HOME}-key"


def test_a_missing_key_is_none(tmp_path: Path) -> None:
    assert Settings.load(tmp_path).secret("STUDIO_API_KEY") is None


def test_a_secret_never_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDIO_API_KEY", "test-key")
    settings = Settings.load(tmp_path)
    secret = settings.secret("STUDIO_API_KEY")

    assert secret == Secret("test-key")
    shown = f"{secret} {secret!r} {settings} {settings!r} {[secret]} {to_record({'key': secret})}"
    assert "test-key" not in shown and "***" in shown
    with pytest.raises(TypeError):
        json.dumps(secret)
    with pytest.raises(TypeError):
        pickle.dumps(secret)


@pytest.mark.parametrize(
    ("text", "name", "strength"),
    [
        ("my.safetensors", "my.safetensors", 1.0),
        ("my.safetensors@0.8", "my.safetensors", 0.8),
        ("my.safetensors@0", "my.safetensors", 0.0),
        ("odd@2", "odd@2", 1.0),
    ],
)
def test_a_lora_is_a_file_and_perhaps_a_strength(tmp_path: Path, text: str, name: str, strength: float) -> None:
    (tmp_path / name).touch()

    lora = Settings.load(tmp_path, {"lora": text}).lora

    assert lora is not None
    assert (lora.path, lora.strength) == (tmp_path.resolve() / name, strength)


def test_options_come_as_a_command_line_delivers_them(tmp_path: Path) -> None:
    (tmp_path / "old.json").touch()
    options = {"providers": "lora, base,", "samples": 2, "fresh": True, "locked": True, "baseline": "old.json"}

    settings = Settings.load(tmp_path, {**options, "retrain": 2})

    assert settings.providers == ("lora", "base")
    assert (settings.samples, settings.fresh, settings.locked, settings.retrain) == (2, True, True, 2)
    assert settings.baseline == tmp_path.resolve() / "old.json"


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("lora", "none.safetensors", "there is no file .*harness train"),
        ("lora", "my.safetensors@strong", "must be a number"),
        ("lora", "my.safetensors@9", "between 0 and 4"),
        ("lora", "my.safetensors@nan", "between 0 and 4"),
        ("samples", 0, "between 1 and 1000"),
        ("retrain", -1, "0 or more"),
        ("baseline", "none.json", "earlier run's results.json"),
    ],
)
def test_a_wrong_option_is_refused_with_its_name(tmp_path: Path, option: str, value: Any, message: str) -> None:
    (tmp_path / "my.safetensors").touch()

    with pytest.raises(UsageError, match=f"^--{option} .*{message}"):
        Settings.load(tmp_path, {option: value})


def test_an_env_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"A=\xff\xfe\n")

    with pytest.raises(UsageError, match=r"\.env: is not UTF-8"):
        Settings.load(tmp_path)
