"""What services do since the autumn of 2026, by their own clients and pages: on the emulator's side and on ours."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import requests
from PIL import Image

from harness.config.profile import ProviderConfig
from harness.core.settings import Secret
from harness.core.values import Generation, Outcome
from harness.emulator import Emulator
from harness.providers import open_provider
from harness.providers.description import read_service
from harness.providers.http import HttpProvider
from harness.providers.http_client.exchange import Reply, Unanswered
from harness.providers.http_client.waits import NEVER, forbids_retry
from harness.providers.openai_errors import LIMITS
from tests.support import ROOT
from tests.tiny import make_context, make_suite

PROMPT = "a person, smiling, steppe background"
SERVICES = ROOT / "suites" / "services"
TAGS = {"type": "array", "items": {"type": "string"}, "minItems": 5}
NESTED = {
    "type": "object",
    "properties": {
        "description": {"type": "string"},
        "tags": TAGS,
        "people": {"type": "integer", "minimum": 2},
        "mood": {"type": "string", "enum": ["calm", "wild"]},
        "light": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "hat": {"$ref": "#/$defs/Hat"},
        "all": {"type": "array", "items": {"$ref": "#/$defs/Hat"}},
    },
    "$defs": {
        "Hat": {"type": "object", "properties": {"colour": {"type": ["string", "null"]}, "seen": {"type": "boolean"}}}
    },
}


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator(scale=1 / 16) as running:
        yield running


def draw(emulator: Emulator, service: str, fault: str = "", **options: Any) -> tuple[Generation, Any]:
    """One picture by a described service, or by an adapter of that name, and the last paid request."""
    adapter = "http" if (SERVICES / f"{service}.yaml").is_file() else service
    given = {"service": service} if adapter == "http" else {}
    config = {**given, "key": "A_KEY", "poll_every": 0.01, "url": f"{emulator.url}/{service}", **options}
    if service in ("a1111", "comfyui"):
        config["key"] = ""
    context = make_context(Path(), providers={"it": ProviderConfig(adapter, config)}, secrets={"A_KEY": Secret("k")})
    provider = open_provider("it", context)
    if fault:
        emulator.plan(service, [fault])
    try:
        suite = make_suite(PROMPT, traits={})
        (drawing,) = provider.draw(provider.requests(suite, suite.cases[0], (3,)))
    finally:
        provider.close()
    asked = [call for call in emulator.calls if call.service == service and call.method == "POST"]
    return drawing, asked[-1]


# --- OpenAI -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "fault", "outcome", "words"),
    [
        ({"model": "gpt-image-1"}, "", Outcome.MODEL_RETIRED, "gpt-image-2.6-sunburst took its place; correct `model`"),
        ({"size": "3840x2160", "model": "gpt-image-1.5"}, "", Outcome.PROVIDER_ERROR, "check the options"),
        ({}, "invalid", Outcome.PROVIDER_ERROR, "check the options"),
        ({}, "refused", Outcome.REFUSED, "reword the prompt"),
        ({}, "refused_output", Outcome.REFUSED, "reword the prompt"),
    ],
)
def test_openais_code_tells_a_refusal_from_a_mistake(
    options: dict[str, str], fault: str, outcome: Outcome, words: str
) -> None:
    with Emulator(scale=1 / 16, today=date(2026, 11, 30)) as emulator:
        drawing, _ = draw(emulator, "openai", fault, **options)

    assert drawing.outcome is outcome and words in drawing.message
    assert ("reword" in drawing.message) == (outcome is Outcome.REFUSED)


@pytest.mark.parametrize("code", sorted(NEVER))
def test_a_limit_of_the_account_is_not_asked_again_and_says_what_to_do(code: str) -> None:
    body = json.dumps({"error": {"message": "no", "type": "insufficient_quota", "code": code}}).encode()
    other = json.dumps({"error": {"message": "no", "type": "requests", "code": code}}).encode()

    assert forbids_retry({}, body) and forbids_retry({}, other) and code in LIMITS
    assert not forbids_retry({}, body.replace(code.encode(), b"rate").replace(b"insufficient_quota", b"requests"))


# --- chats --------------------------------------------------------------------------------------------------------

CHATS = {
    "openai": ("/openai/v1/chat/completions", "gpt-6-luna"),
    "deepseek": ("/deepseek/chat/completions", "deepseek-flash"),
    "gigachat": ("/gigachat/v1/chat/completions", "GigaChat-2-Max"),
}


def headers_of(emulator: Emulator, service: str) -> dict[str, str]:
    if service != "gigachat":
        return {"Authorization": "Bearer k"}
    sent = {"Authorization": "Basic aWQ6c2VjcmV0", "RqUID": "6f0b1291-c7f3-43c6-bb2e-9f3efb2dc98e"}
    url = f"{emulator.url}/gigachat/api/v2/oauth"
    reply = requests.post(url, data={"scope": "GIGACHAT_API_PERS"}, headers=sent, timeout=5)
    return {"Authorization": f"Bearer {reply.json()['access_token']}"}


def chat(emulator: Emulator, service: str, **fields: Any) -> requests.Response:
    path, model = CHATS[service]
    body = {"model": model, "messages": [{"role": "user", "content": "The idea: a horse."}], **fields}
    return requests.post(emulator.url + path, json=body, headers=headers_of(emulator, service), timeout=5)


def events(reply: requests.Response) -> list[Any]:
    assert reply.headers["Content-Type"].startswith("text/event-stream")
    lines = [line.removeprefix("data: ") for line in reply.content.decode().split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


@pytest.mark.parametrize("service", list(CHATS))
def test_a_stream_has_the_same_words_piece_by_piece(emulator: Emulator, service: str) -> None:
    whole = chat(emulator, service).json()
    pieces = events(chat(emulator, service, stream=True))

    assert {piece["object"] for piece in pieces} == {"chat.completion.chunk"}
    deltas = [piece["choices"][0]["delta"] for piece in pieces]
    assert deltas[0]["role"] == "assistant" and len(deltas) > 3
    assert "".join(delta.get("content", "") for delta in deltas) == whole["choices"][0]["message"]["content"]
    assert [piece["choices"][0]["finish_reason"] for piece in pieces][-2:] == [None, "stop"]
    assert not any("usage" in piece for piece in pieces)


@pytest.mark.parametrize("service", list(CHATS))
def test_a_stream_says_what_it_cost_when_asked(emulator: Emulator, service: str) -> None:
    last = events(chat(emulator, service, stream=True, stream_options={"include_usage": True}))[-1]

    assert last["choices"] == [] and last["usage"]["total_tokens"] > 0


@pytest.mark.parametrize("service", list(CHATS))
def test_a_stream_that_is_no_truth_value_is_turned_away(emulator: Emulator, service: str) -> None:
    assert chat(emulator, service, stream="yes").status_code == 400


@pytest.mark.parametrize("service", list(CHATS))
def test_a_model_says_whose_it_is(emulator: Emulator, service: str) -> None:
    path = CHATS[service][0].replace("/chat/completions", "/models")
    listed = requests.get(emulator.url + path, headers=headers_of(emulator, service), timeout=5).json()

    assert listed["data"] and all(model["owned_by"] for model in listed["data"])


def png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), (200, 40, 40)).save(buffer, "PNG")
    return buffer.getvalue()


def fits(value: Any, where: str = "") -> None:
    """The answer about a red picture has the schema's shape."""
    assert set(value) == set(NESTED["properties"]), where
    assert "red" in value["tags"] and len(value["tags"]) >= 5 and "red" in value["description"]
    assert value["people"] == 2 and value["mood"] in ("calm", "wild") and isinstance(value["light"], str)
    assert set(value["hat"]) == {"colour", "seen"} and value["hat"]["seen"] is True
    assert value["all"] == [value["hat"]]


def test_openai_answers_about_a_picture_in_the_schemas_shape(emulator: Emulator) -> None:
    url = f"data:image/png;base64,{base64.b64encode(png()).decode()}"
    content = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": url}}]
    form = {"type": "json_schema", "json_schema": {"name": "seen", "schema": NESTED}}
    messages = [{"role": "user", "content": content}]

    reply = chat(emulator, "openai", messages=messages, response_format=form).json()
    plain = chat(emulator, "openai", messages=messages).json()

    fits(json.loads(reply["choices"][0]["message"]["content"]))
    assert plain["choices"][0]["message"]["content"].endswith("picture in red.")


@pytest.mark.parametrize("asked", ["response_format", "words"])
def test_gigachat_answers_about_a_picture_in_the_schemas_shape(emulator: Emulator, asked: str) -> None:
    headers = headers_of(emulator, "gigachat")
    files = {"file": ("red.png", png(), "image/png")}
    url = f"{emulator.url}/gigachat/v1/files"
    file = requests.post(url, files=files, data={"purpose": "general"}, headers=headers, timeout=5).json()["id"]
    words = f"Describe it as JSON: {json.dumps(NESTED)}" if asked == "words" else "Describe it."
    more = {} if asked == "words" else {"response_format": {"type": "json_schema", "schema": NESTED}}

    messages = [{"role": "user", "content": words, "attachments": [file]}]
    reply = chat(emulator, "gigachat", messages=messages, **more).json()

    fits(json.loads(reply["choices"][0]["message"]["content"]))


def test_gigachats_second_contract_says_the_same(emulator: Emulator) -> None:
    url, headers = f"{emulator.url}/gigachat/v2/chat/completions", headers_of(emulator, "gigachat")
    said = [{"role": "user", "content": [{"text": "The idea: a horse."}]}]
    body = {"model": "GigaChat-2-Max", "messages": said, "model_options": {"max_tokens": 100}}

    reply = requests.post(url, json=body, headers=headers, timeout=5).json()
    stream = requests.post(url, json={**body, "stream": True}, headers=headers, timeout=5).content.decode()
    first = chat(emulator, "gigachat").json()

    text = reply["messages"][0]["content"][0]["text"]
    assert text == first["choices"][0]["message"]["content"] and reply["finish_reason"] == "stop"
    data = [json.loads(line.removeprefix("data: ")) for line in stream.splitlines() if line.startswith("data: ")]
    assert "".join(one["messages"][0]["content"][0]["text"] for one in data[:-1]) == text
    assert data[-1]["usage"] == reply["usage"]
    wrong = {**body, "messages": [{"role": "user", "content": "a horse"}]}
    assert requests.post(url, json=wrong, headers=headers, timeout=5).status_code == 422


@pytest.mark.parametrize("drafts", [0, 2])
def test_openais_pictures_come_in_a_stream_too(emulator: Emulator, drafts: int) -> None:
    body = {"model": "gpt-image-2", "prompt": PROMPT, "stream": True, "partial_images": drafts}
    url, headers = f"{emulator.url}/openai/v1/images/generations", {"Authorization": "Bearer k"}
    lines = requests.post(url, json=body, headers=headers, timeout=5).text.splitlines()

    found = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    kinds = ["image_generation.partial_image"] * drafts + ["image_generation.completed"]
    assert [event["type"] for event in found] == kinds
    assert base64.b64decode(found[-1]["b64_json"]).startswith(b"\x89PNG") and found[-1]["usage"]["total_tokens"]


# --- fal, A1111, ComfyUI ------------------------------------------------------------------------------------------


def test_fal_says_the_place_in_the_queue_in_every_reply_that_has_one(emulator: Emulator) -> None:
    headers = {"Authorization": "Key k", "X-Emulate": "task_unknown_state"}
    body = {"prompt": PROMPT}
    begun = requests.post(
        f"{emulator.url}/fal/fal-ai/flux/dev", json=body, headers={**headers, "X-Emulate": "task_stuck"}
    )
    first, second = (requests.get(begun.json()["status_url"], headers={"Authorization": "Key k"}).json() for _ in "12")

    assert (begun.json()["status"], begun.json()["queue_position"]) == ("IN_QUEUE", 0)
    assert (first["status"], first["queue_position"]) == ("IN_QUEUE", 0)
    assert second["status"] == "IN_PROGRESS" and "queue_position" not in second and second["logs"] is None


@pytest.mark.parametrize(
    ("scheduler", "status", "label"),
    [
        ("automatic", 200, "Automatic"),
        ("Automatic", 200, "Automatic"),
        ("AUTOMATIC", 200, "Automatic"),
        ("sgm_uniform", 200, "SGM Uniform"),
        ("", 200, "Automatic"),
        (None, 200, "Automatic"),
        ("automatik", 422, ""),
        (3, 422, ""),
    ],
)
def test_a1111_takes_a_scheduler_in_any_case(emulator: Emulator, scheduler: Any, status: int, label: str) -> None:
    body = {"prompt": PROMPT, "scheduler": scheduler, "width": 512, "height": 512}
    reply = requests.post(f"{emulator.url}/a1111/sdapi/v1/txt2img", json=body, timeout=5)

    assert reply.status_code == status
    assert not label or f"Schedule type: {label}," in json.loads(reply.json()["info"])["infotexts"][0]


def test_a_profile_may_name_a1111s_scheduler_as_its_clients_do(emulator: Emulator) -> None:
    drawing, asked = draw(emulator, "a1111", values={"scheduler": "automatic"})

    assert drawing.outcome is Outcome.OK and asked.payload["scheduler"] == "automatic"


def test_comfyuis_cache_without_a_file_is_told_with_the_reason(emulator: Emulator) -> None:
    cached, _ = draw(emulator, "comfyui", "cached")
    empty, _ = draw(emulator, "comfyui", "task_no_picture")

    assert cached.outcome is Outcome.PROVIDER_ERROR
    assert (
        "every node came from its cache" in cached.message and "put {once} into the filename_prefix" in cached.message
    )
    assert empty.outcome is Outcome.BAD_IMAGE, "nothing came, and nothing was cached"


def test_comfyui_is_asked_for_another_file_each_time_and_for_the_same_picture(emulator: Emulator) -> None:
    (one, first), (two, second) = draw(emulator, "comfyui"), draw(emulator, "comfyui")
    graphs = [call.payload["prompt"] for call in (first, second)]
    names = [graph["8"]["inputs"].pop("filename_prefix") for graph in graphs]

    assert names[0] != names[1] and all(name.startswith("lora-harness-") for name in names)
    assert graphs[0] == graphs[1] and one.data == two.data


def test_comfyuis_description_says_what_its_loader_reads() -> None:
    text = (SERVICES / "comfyui.yaml").read_text("utf-8")

    assert "kohya" in text and "harness lora export" in text and "--style kohya" in text


# --- described services whose address or form changed -------------------------------------------------------------


def test_together_is_asked_where_its_client_asks_and_for_no_jpeg(emulator: Emulator) -> None:
    drawing, asked = draw(emulator, "together")
    jpeg, _ = draw(emulator, "together", body={"output_format": None})

    assert read_service(SERVICES / "together.yaml").data["url"] == "https://api.together.ai"
    assert asked.payload["output_format"] == "png" and (drawing.data or b"").startswith(b"\x89PNG")
    assert jpeg.outcome is Outcome.OK and (jpeg.data or b"").startswith(b"\xff\xd8"), "its own default"


def test_openrouter_is_asked_by_its_image_api(emulator: Emulator) -> None:
    drawing, asked = draw(emulator, "openrouter")
    refused, _ = draw(emulator, "openrouter", "refused")

    assert drawing.outcome is Outcome.OK and asked.path == "/api/v1/images"
    assert refused.outcome is Outcome.REFUSED and "violence" in refused.message


def test_hugging_face_routes_to_a_provider_that_serves_the_model(emulator: Emulator) -> None:
    drawing, asked = draw(emulator, "huggingface")
    other, there = draw(emulator, "huggingface", values={"provider": "together"})

    assert drawing.outcome is other.outcome is Outcome.OK
    assert (asked.path, there.path) == ("/nscale/v1/images/generations", "/together/v1/images/generations")
    assert "CPU" in (SERVICES / "huggingface.yaml").read_text("utf-8")


def test_hugging_faces_plain_task_is_asked_as_the_descriptions_head_says(emulator: Emulator) -> None:
    names = ("model", "prompt", "negative_prompt", "response_format", "size", "seed", "n")
    size = {"width": "{width}", "height": "{height}"}
    body = {**dict.fromkeys(names), "inputs": "{prompt}", "parameters": {**size, "seed": "{seed}"}}
    request = {"path": "/hf-inference/models/{model}", "headers": {"Accept": "image/png"}}

    drawing, asked = draw(emulator, "huggingface", request=request, body=body)

    assert drawing.outcome is Outcome.OK and set(asked.payload) == {"inputs", "parameters"}


@pytest.mark.parametrize("version", ["v1", "v1beta"])
@pytest.mark.parametrize("model", ["gemini-nano-banana-2.1", "gemini-3-pro-image", "gemini-3.1-flash-lite-image"])
def test_gemini_is_served_by_both_versions(emulator: Emulator, version: str, model: str) -> None:
    body = {"contents": [{"parts": [{"text": PROMPT}]}], "generationConfig": {"responseModalities": ["IMAGE"]}}
    url, headers = f"{emulator.url}/gemini/{version}/models/{model}", {"x-goog-api-key": "k"}

    assert requests.post(f"{url}:generateContent", json=body, headers=headers, timeout=5).status_code == 200
    assert requests.get(url, headers=headers, timeout=5).json()["name"] == f"models/{model}"
    wrong = url.replace(version, "v2")
    assert requests.post(f"{wrong}:generateContent", json=body, headers=headers, timeout=5).status_code == 404


@pytest.mark.parametrize(
    ("service", "status", "answer", "outcome"),
    [
        ("huggingface", 400, {"error": "NSFW content was detected"}, Outcome.REFUSED),
        ("huggingface", 400, {"error": {"message": "rejected by the safety system"}}, Outcome.REFUSED),
        ("huggingface", 400, {"error": "safety_checker is no parameter"}, Outcome.PROVIDER_ERROR),
        ("huggingface", 400, {"error": "Model a/b is not supported by provider nscale"}, Outcome.MODEL_RETIRED),
        ("replicate", 200, {"status": "failed", "error": "flagged as sensitive (E005)"}, Outcome.REFUSED),
        ("replicate", 200, {"status": "failed", "error": "names are case-sensitive"}, Outcome.PROVIDER_ERROR),
        ("fal", 403, {"detail": "User is locked. Reason: Exhausted balance."}, Outcome.QUOTA),
        ("fal", 403, {"detail": "No permission"}, Outcome.AUTH),
        ("openrouter", 403, {"error": {"message": "flagged", "metadata": {"reasons": ["hate"]}}}, Outcome.REFUSED),
        ("openrouter", 403, {"error": {"message": "This key may not"}}, Outcome.AUTH),
    ],
)
def test_a_mistake_is_told_from_a_refusal(service: str, status: int, answer: Any, outcome: Outcome) -> None:
    config = ProviderConfig("http", {"service": service, "key": ""})
    provider = open_provider("it", make_context(Path(), providers={"it": config}))
    assert isinstance(provider, HttpProvider)
    reply = Reply(status, {}, json.dumps(answer).encode())

    if status >= 300:
        assert provider.problem(reply).outcome is outcome
        return
    with pytest.raises(Unanswered) as failure:
        provider.read(reply)
    assert failure.value.outcome is outcome


def test_every_description_was_compared_lately_and_says_what_could_not_be() -> None:
    for name in ("a1111", "comfyui", "fal", "huggingface", "openrouter", "replicate", "together"):
        assert str(read_service(SERVICES / f"{name}.yaml").data["checked"]) == "2026-11-30"
    for name in ("huggingface", "openrouter"):
        assert "unseen" in read_service(SERVICES / f"{name}.yaml").data["source"]
