"""The one list of the services' models: who ends when, who is told, and that the emulator keeps to it."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest
import requests

from harness.config.profile import ProviderConfig
from harness.config.service_models import CHECKED, MODELS, find_model, lifetime, living
from harness.core.settings import Secret
from harness.emulator import SERVICES, Emulator
from harness.engine.preflight import check_lives
from harness.engine.provider_check import check_provider
from harness.providers import open_provider
from harness.providers.remote import RemoteProvider
from tests.tiny import make_context

LAST = date(2026, 12, 1)  # of gpt-image-1.5, gpt-image-1-mini and chatgpt-image-latest
BEFORE = LAST - timedelta(days=1)
DRAW = {"prompt": "a person", "size": "1024x1024"}


@pytest.mark.parametrize(
    "model", ["gpt-image-1.5", "gpt-image-1.5-2025-12-16", "gpt-image-1-mini", "chatgpt-image-latest"]
)
def test_a_model_ends_on_its_day_and_not_before(model: str) -> None:
    found = find_model("openai", model)

    assert found is not None and found.ends == LAST
    assert not found.ended(BEFORE) and found.ended(LAST)
    assert lifetime("openai", model, BEFORE)[0].startswith(f"{model} ends in 1 day, on 2026-12-01 (OpenAI's")
    assert lifetime("openai", model, LAST)[0].startswith(f"{model} retired on 2026-12-01 (OpenAI's")
    assert "gpt-image-2.6-sunburst" in lifetime("openai", model, LAST)[1]
    assert f"read {CHECKED}" in lifetime("openai", model, BEFORE)[0]


@pytest.mark.parametrize(
    "model", ["gpt-image-2.6-sunburst", "gpt-5.4", "gpt-5.4-mini-2026-03-17", "gpt-4.5", "a-model-of-next-year"]
)
def test_what_is_not_listed_to_end_is_not_said_to(model: str) -> None:
    assert lifetime("openai", model, date(2027, 6, 1)) == ("", "")


def test_the_service_itself_knows_better() -> None:
    said, _ = lifetime("openai", "a-model-of-next-year", BEFORE, date(2027, 1, 2))

    assert said == "a-model-of-next-year ends in 33 days, on 2027-01-02 (so the service says)"


def test_a_deprecated_model_without_a_day_is_named_with_its_successor() -> None:
    said, remedy = lifetime("gemini", "gemini-3.1-flash-image", BEFORE)

    assert "is deprecated (Google" in said and "third parties say" in said and "gemini-nano-banana-2.1" in remedy


def test_every_listed_service_is_emulated_and_every_end_has_a_source() -> None:
    assert set(MODELS) <= set(SERVICES)
    for models in MODELS.values():
        assert len({model.name for model in models}) == len(models)
        for model in models:
            assert bool(model.source) == bool(model.ends or model.gone or model.deprecated), model.name


@pytest.mark.parametrize("adapter", ["openai", "gemini"])
def test_the_default_models_live(adapter: str) -> None:
    provider = make(adapter)

    assert (
        provider.options.model in living(adapter, CHECKED)
        and lifetime(adapter, provider.options.model, CHECKED)[0] == ""
    )


def test_the_emulator_serves_a_model_until_its_day() -> None:
    for today, status in ((BEFORE, 200), (LAST, 400)):
        with Emulator(scale=1 / 16, today=today) as emulator:
            url, headers = f"{emulator.url}/openai/v1", {"Authorization": "Bearer k"}
            drawn = requests.post(f"{url}/images/generations", json={**DRAW, "model": "gpt-image-1.5"}, headers=headers)
            known = requests.get(f"{url}/models/gpt-image-1.5", headers=headers)
            listed = {model["id"] for model in requests.get(f"{url}/models", headers=headers).json()["data"]}

        assert drawn.status_code == status
        assert ("gpt-image-1.5" in listed) == (status == 200) and "dall-e-3" not in listed
        if status == 200:
            assert known.json()["shutdown_date"] == "2026-12-01"
        else:
            assert known.status_code == 404
            assert drawn.json()["error"]["type"] == "image_generation_user_error"
            assert drawn.json()["error"]["code"] == "invalid_value"


def make(adapter: str, **options: object) -> RemoteProvider:
    provider = open_provider(adapter, make_context(Path(), providers={adapter: ProviderConfig(adapter, options)}))
    assert isinstance(provider, RemoteProvider)
    return provider


@pytest.mark.parametrize(
    ("adapter", "options", "today", "said"),
    [
        ("openai", {"model": "gpt-image-1.5"}, BEFORE, "ends in 1 day, on 2026-12-01"),
        ("openai", {"model": "gpt-image-1.5"}, LAST, "retired on 2026-12-01"),
        ("openai", {}, LAST, ""),
        ("openai", {"model": "gpt-image-1.5", "url": "http://127.0.0.1:1"}, LAST, ""),  # somebody else's models
        ("imagen", {}, BEFORE, "retired on 2026-08-17"),
        ("imagen", {}, date(2026, 8, 16), "ends in 1 day, on 2026-08-17"),
    ],
)
def test_the_doctor_warns_before_and_says_retired_after(
    adapter: str, options: dict[str, object], today: date, said: str
) -> None:
    context = make_context(Path(), providers={adapter: ProviderConfig(adapter, options)})

    checks = [check for check in check_lives(context.profile, context.settings, today) if check.name.endswith(adapter)]

    assert [check.state for check in checks] == (["warn"] if said else [])
    assert all(said in check.found and check.remedy for check in checks)


def test_the_doctor_looks_at_writers_too() -> None:
    writers = {"deepseek": ProviderConfig("deepseek", {"model": "deepseek-chat"})}
    context = make_context(Path(), providers={}, writers=writers)

    (check,) = check_lives(context.profile, context.settings, CHECKED)

    assert check.name == "model of deepseek (text)" and "retired on 2026-07-24" in check.found
    assert "deepseek-flash" in check.remedy


def test_the_doctor_s_call_reads_the_day_that_the_service_names() -> None:
    with Emulator(today=BEFORE) as emulator:
        options = {"model": "gpt-image-1.5", "url": f"{emulator.url}/openai", "key": "A_KEY"}
        context = make_context(
            Path(), providers={"it": ProviderConfig("openai", options)}, secrets={"A_KEY": Secret("k")}
        )
        provider = open_provider("it", context)
        assert isinstance(provider, RemoteProvider)
        result = check_provider(provider, paid=False)
        provider.close()

    assert result.outcome is None and "it says that the model ends on 2026-12-01" in result.found
    assert "gpt-image-2.6-sunburst" in result.remedy
