"""The http provider and its ready descriptions, against the emulated services over real sockets.

What every service makes of every fault is in tests/test_remote_contract.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.config.profile import ProviderConfig
from harness.core.errors import MissingKey
from harness.core.pictures import check_picture
from harness.core.settings import Secret
from harness.core.values import Generation, Outcome, Provider, Request
from harness.emulator import Emulator
from harness.providers import open_provider
from tests.tiny import make_context, make_suite

PROMPT = "aldar kose, smiling, steppe background"
QUICK = {"backoff": 0.01, "poll_every": 0.01, "key": "A_KEY", "concurrency": 1}
KEY = "planted-0451"
SERVICES = (
    *("a1111", "bfl", "comfyui", "fal", "huggingface", "openrouter", "replicate", "stability", "studio", "together"),
)


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(scale=1 / 8) as running:
        yield running


def ask(
    emulator: Emulator, service: str, prompt: str = PROMPT, seeds: tuple[int, ...] = (3,), **options: Any
) -> tuple[tuple[Request, ...], list[Generation]]:
    provider = make(service, **{"url": f"{emulator.url}/{service}", **options})
    requests = plan(provider, prompt, seeds)
    try:
        return requests, list(provider.draw(requests))
    finally:
        provider.close()


def make(service: str, root: Path = Path(), secrets: dict[str, Secret] | None = None, **options: Any) -> Provider:
    config = ProviderConfig("http", {"service": service, **QUICK, **options})
    known = {"A_KEY": Secret(KEY)} if secrets is None else secrets
    return open_provider("it", make_context(root, providers={"it": config}, size=(96, 96), secrets=known))


def plan(provider: Provider, prompt: str = PROMPT, seeds: tuple[int, ...] = (3,)) -> tuple[Request, ...]:
    suite = make_suite(prompt, traits={})
    return provider.requests(suite, suite.cases[0], seeds)


@pytest.mark.parametrize("service", SERVICES)
def test_a_ready_service_draws_each_seed_its_own_picture(emulator: Emulator, service: str) -> None:
    requests, together = ask(emulator, service, seeds=(5, 6))
    _, alone = ask(emulator, service, seeds=(6,))

    assert {one.outcome for one in together} == {Outcome.OK}, together[0].message
    assert together[0].data != together[1].data and together[1].data == alone[0].data
    assert check_picture(together[0].data, requests[0]).png
    assert emulator.ledger[service].resubmitted == 1, "the same picture asked for twice by two people"


@pytest.mark.parametrize(
    ("service", "meta"),
    [
        ("a1111", {"seed": 3, "model": "sd_xl_base_1.0", "model_hash": "31e35c80fc"}),
        ("bfl", {"seed": 3, "prompt": "a person, smiling, steppe background", "size_asked": [256, 256]}),
        ("fal", {"seed": 3, "prompt": "a person, smiling, steppe background"}),
        (
            "replicate",
            {"seed": "3", "model": "black-forest-labs/flux-schnell", "model_version": "hidden", "shape": "1:1"},
        ),
        ("stability", {"seed": 3, "shape": "1:1"}),
        ("together", {"model": "black-forest-labs/FLUX.1-schnell"}),
    ],
)
def test_what_a_service_reports_is_remembered(emulator: Emulator, service: str, meta: dict[str, Any]) -> None:
    _, (drawing,) = ask(emulator, service)

    assert {name: drawing.meta.get(name) for name in meta} == meta
    assert "://" not in json.dumps(dict(drawing.meta)), "addresses are signed, and not kept"


def test_the_body_takes_the_profiles_values_and_leaves_out_what_is_empty(emulator: Emulator) -> None:
    ask(
        emulator,
        "a1111",
        describe=False,
        values={"lora": " <lora:aldar:0.8>", "steps": 12},
        body={"override_settings": {"CLIP_stop_at_last_layers": 2}, "send_images": None},
    )

    sent = emulator.calls[-1].payload
    assert sent["prompt"] == f"{PROMPT} <lora:aldar:0.8>" and sent["steps"] == 12 and sent["seed"] == 3
    assert sent["override_settings"] == {
        "sd_model_checkpoint": "sd_xl_base_1.0.safetensors",
        "CLIP_stop_at_last_layers": 2,
    }
    assert {"negative_prompt", "scheduler", "send_images"}.isdisjoint(sent)


def test_a_workflow_of_ones_own_replaces_the_shipped_one(emulator: Emulator, tmp_path: Path) -> None:
    shipped = Path(__file__).parent.parent / "suites" / "services" / "workflows" / "comfyui-sdxl-lora.json"
    graph = json.loads(shipped.read_text("utf-8"))
    graph["6"]["inputs"]["steps"] = 9
    (tmp_path / "mine.json").write_text(json.dumps(graph))

    _, (drawing,) = ask(emulator, "comfyui", root=tmp_path, workflow="mine.json", values={"strength": 0.6})

    sent = next(call for call in emulator.calls if call.method == "POST").payload["prompt"]
    assert drawing.outcome is Outcome.OK, drawing.message
    assert sent["6"]["inputs"]["steps"] == 9 and sent["2"]["inputs"]["strength_model"] == 0.6
    assert sent["4"]["inputs"]["text"] == "", "a node keeps its empty input"


def test_a_graph_that_the_service_refuses_says_where(emulator: Emulator) -> None:
    _, (drawing,) = ask(emulator, "comfyui", values={"sampler": "eulr"})

    assert drawing.outcome is Outcome.PROVIDER_ERROR
    assert "sampler_name: 'eulr' not in" in drawing.message


def test_a_task_that_is_asked_for_elsewhere_is_not_given_the_key(emulator: Emulator) -> None:
    _, (drawing,) = ask(emulator, "bfl", task={"url": "'http://10.0.0.1/v1/get_result'"})

    assert drawing.outcome is Outcome.PROVIDER_ERROR and "origins" in drawing.message
    assert drawing.meta["possibly_billed"] and len(emulator.calls) == 1


def test_a_whole_contract_may_stand_in_the_profile(emulator: Emulator) -> None:
    config = {
        **QUICK,
        "url": f"{emulator.url}/studio",
        "header": "X-Api-Key",
        "prefix": "",
        "request": {
            "path": "/v1/images",
            "body": {"prompt": "{prompt}", "width": "{width}", "height": 64, "seed": "{seed}"},
        },
        "picture": {"at": "images[0]"},
    }
    context = make_context(Path(), providers={"it": ProviderConfig("http", config)}, secrets={"A_KEY": Secret(KEY)})
    provider = open_provider("it", context)

    (drawing,) = provider.draw(plan(provider))
    provider.close()

    assert drawing.outcome is Outcome.OK, drawing.message
    assert emulator.calls[0].headers["x-api-key"] == KEY


def test_samples_of_a_service_without_seeds_are_told_apart() -> None:
    requests = plan(make("openrouter", body={"seed": None}), seeds=(7, 8, 9))

    assert [request.index for request in requests] == [0, 1, 2]
    assert len({request.key for request in requests}) == 3


def test_the_cache_key_follows_all_that_decides_the_pixels(tmp_path: Path) -> None:
    (tmp_path / "lora.safetensors").write_bytes(b"one")
    fingerprint = {"fingerprint": ["lora.safetensors"]}
    keys = [
        plan(make("a1111", root=tmp_path, **options))[0].key
        for options in ({}, {"values": {"steps": 9}}, {"body": {"eta": 1}}, {"url": "http://127.0.0.1:1"}, fingerprint)
    ]
    (tmp_path / "lora.safetensors").write_bytes(b"another")
    keys.append(plan(make("a1111", root=tmp_path, **fingerprint))[0].key)

    assert len(set(keys)) == len(keys)
    assert plan(make("a1111", root=tmp_path, read=9))[0].key == keys[0], "patience decides no pixels"


def test_a_description_can_be_emulated_without_a_key() -> None:
    provider = make("replicate", emulated=True, secrets={}, faults=["task_refused"])

    assert provider.emulated and provider.missing() == ""
    outcomes = [one.outcome for one in provider.draw(plan(provider, seeds=(0, 1)))]
    provider.close()

    assert outcomes == [Outcome.REFUSED, Outcome.OK]
    assert plan(provider)[0].key != plan(make("replicate"))[0].key


def test_a_missing_key_names_the_variable() -> None:
    provider = make("together", key="TOGETHER_API_KEY", secrets={})

    assert provider.missing() == "TOGETHER_API_KEY"
    with pytest.raises(MissingKey, match="TOGETHER_API_KEY is not set"):
        list(provider.draw(plan(provider)))


def test_a_model_that_would_climb_is_not_asked_for(emulator: Emulator) -> None:
    _, (drawing,) = ask(emulator, "replicate", model="../../account")

    assert drawing.outcome is Outcome.PROVIDER_ERROR and "cannot stand in an address" in drawing.message
    assert not emulator.calls


@pytest.mark.parametrize("service", ["a1111", "bfl", "comfyui", "replicate", "stability", "together"])
def test_the_probe_costs_nothing(emulator: Emulator, service: str) -> None:
    provider = make(service, url=f"{emulator.url}/{service}")

    reply = provider.session.send(provider.probe())  # type: ignore[attr-defined]
    provider.close()

    assert reply.status == 200 and emulator.ledger[service].asked == 0
