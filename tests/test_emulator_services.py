"""Freepik, DeepAI, Gemini, Imagen and OpenAI as the emulator serves them: happy paths, validation, refusals, errors."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from datetime import date
from itertools import count
from typing import Any

import pytest
import requests
from PIL import Image

from harness.emulator import Emulator, applicable

SCALE = 1 / 16
PROMPT = "a person, smiling, steppe background"
GEMINI = "/gemini/v1beta/models/gemini-3.1-flash-image:generateContent"
IMAGEN = "/imagen/v1beta/models/imagen-4.0-generate-001:predict"
VERTEX = "/imagen/v1/projects/p/locations/us-central1/publishers/google/models/imagen-4.0-generate-001:predict"
OPENAI = "/openai/v1/images/generations"
CLASSIC, MYSTIC = "/freepik/v1/ai/text-to-image", "/freepik/v1/ai/mystic"
FLUX, FAST, SEEDREAM = (f"{CLASSIC}/{model}" for model in ("flux-dev", "imagen4-fast", "seedream-v4"))
DEEPAI = "/deepai/api/text2img"
SAMPLES = count()
KEYS: dict[str, dict[str, str]] = {
    "freepik": {"x-freepik-api-key": "k"},
    "deepai": {"api-key": "k"},
    "gemini": {"x-goog-api-key": "k"},
    "imagen": {"x-goog-api-key": "k"},
    "openai": {"Authorization": "Bearer k"},
}


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator(scale=SCALE, today=date(2026, 11, 30)) as running:
        yield running


def ask(emulator: Emulator, path: str, body: Any, fault: str = "", **headers: str) -> Any:
    """One POST: JSON, or for DeepAI a form. With a fault it is a request that nobody sent before."""
    service = path.split("/")[1]
    sent = {**KEYS[service], **({"X-Emulate": fault, "X-Sample": str(next(SAMPLES))} if fault else {}), **headers}
    if service == "deepai":
        form = {name: (None, value) for name, value in body.items()}
        return requests.post(emulator.url + path, files=form, headers=sent, timeout=10)
    return requests.post(emulator.url + path, json=body, headers=sent, timeout=10)


def gemini_body(**config: Any) -> dict[str, Any]:
    settings = {"responseModalities": ["IMAGE"], **config}
    return {"contents": [{"role": "user", "parts": [{"text": PROMPT}]}], "generationConfig": settings}


def imagen_body(**parameters: Any) -> dict[str, Any]:
    return {"instances": [{"prompt": PROMPT}], "parameters": {"sampleCount": 1, **parameters}}


def openai_body(**fields: Any) -> dict[str, Any]:
    return {"prompt": PROMPT, "model": "gpt-image-2.5-flare", "size": "1024x1024", **fields}


GOOD: dict[str, Any] = {
    CLASSIC: {"prompt": PROMPT},
    MYSTIC: {"prompt": PROMPT},
    FLUX: {"prompt": PROMPT},
    DEEPAI: {"text": PROMPT, "grid_size": "1"},
    GEMINI: gemini_body(),
    IMAGEN: imagen_body(),
    VERTEX: imagen_body(seed=5, addWatermark=False),
    OPENAI: openai_body(),
}


def key_for(path: str) -> dict[str, str]:
    return {"Authorization": "Bearer token"} if path == VERTEX else {}


def open_base64(text: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(text)))


# --- every service ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", list(GOOD))
def test_a_good_request_is_answered_and_in_the_ledger(path: str) -> None:
    with Emulator(scale=SCALE) as emulator:
        assert ask(emulator, path, GOOD[path], **key_for(path)).status_code == 200
        entry = emulator.ledger[path.split("/")[1]]

    assert (entry.asked, entry.accepted) == (1, 1)


STATUSES = {
    "forbidden": 403,
    "quota": 402,
    "rate_quota": 429,
    "retired": 404,
    "invalid": 400,
    "rate_bare": 429,
    "rate_always": 429,
    "unavailable_always": 503,
    "error_500": 500,
    "bad_gateway": 502,
    "gateway_timeout": 504,
}


@pytest.mark.parametrize("path", [CLASSIC, DEEPAI, GEMINI, IMAGEN, OPENAI])
def test_every_status_comes_in_the_services_own_form(emulator: Emulator, path: str) -> None:
    served = {fault.name for fault in applicable(path.split("/")[1])}
    for fault, status in STATUSES.items():
        if fault not in served:
            continue
        reply = ask(emulator, path, GOOD[path], fault)
        own = {"quota": 429, "retired": 400}.get(fault, status) if path == OPENAI else status
        assert reply.status_code == own, fault
        if fault in ("bad_gateway", "gateway_timeout"):
            assert "<html>" in reply.text
        else:
            assert says(path, reply.json()), fault


def says(path: str, reply: Any) -> str:
    """The words of an error, where the service puts them."""
    if path in (GEMINI, IMAGEN):
        assert reply["error"]["code"] and reply["error"]["status"].isupper()
    if path == OPENAI:
        assert set(reply["error"]) == {"message", "type", "param", "code"}
    error = reply.get("error", reply)
    return str(error.get("message") or error.get("status") or error.get("err") or "")


@pytest.mark.parametrize("service", list(KEYS))
def test_every_fault_of_a_service_is_answered(emulator: Emulator, service: str) -> None:
    path = next(path for path in GOOD if path.startswith(f"/{service}/"))
    for fault in applicable(service):
        if fault.kind in ("socket", "body"):
            continue  # these are the server's
        reply = ask(emulator, path, GOOD[path], fault.name)
        assert "has no fault" not in reply.text and "broke:" not in reply.text, fault.name
        refused = fault.name.startswith("refused") or fault.name == "list_error"
        assert (reply.status_code >= 400) == (fault.kind == "status") or refused, fault.name


WRONG: list[tuple[str, dict[str, Any]]] = [
    (CLASSIC, {}),
    (CLASSIC, {"prompt": "ab"}),
    (CLASSIC, {"prompt": PROMPT, "negative_prompt": ""}),
    (CLASSIC, {"prompt": PROMPT, "num_images": 5}),
    (CLASSIC, {"prompt": PROMPT, "seed": 1_000_001}),
    (CLASSIC, {"prompt": PROMPT, "guidance_scale": 2.5}),
    (CLASSIC, {"prompt": PROMPT, "image": {"size": "huge"}}),
    (CLASSIC, {"prompt": PROMPT, "styling": {"style": "cubist"}}),
    (MYSTIC, {"prompt": PROMPT, "resolution": "8k"}),
    (MYSTIC, {"prompt": PROMPT, "model": "fluid", "aspect_ratio": "horizontal_2_1"}),
    (MYSTIC, {"prompt": PROMPT, "hdr": 101}),
    (FLUX, {"prompt": PROMPT, "seed": 0}),
    (FLUX, {"prompt": PROMPT, "aspect_ratio": "social_5_4"}),
    (FLUX, {"prompt": PROMPT, "styling": {"effects": {"framing": "macro"}}}),
    (FAST, {"prompt": PROMPT, "seed": 0}),
    (FAST, {"prompt": PROMPT, "aspect_ratio": "standard_3_2"}),
    (FAST, {"prompt": PROMPT, "seed": 1, "enhance_prompt": True}),
    (FAST, {"prompt": PROMPT, "output_options": {"mime_type": "image/webp"}}),
    (SEEDREAM, {"prompt": PROMPT, "seed": 2_147_483_648}),
    (SEEDREAM, {"prompt": PROMPT, "guidance_scale": 21}),
    (SEEDREAM, {"prompt": PROMPT, "aspect_ratio": "cinematic_21_9"}),
    (DEEPAI, {"grid_size": "1"}),
    (DEEPAI, {"text": "http://example.com/prompt"}),
    (DEEPAI, {"text": PROMPT, "width": "500"}),
    (DEEPAI, {"text": PROMPT, "height": "2048"}),
    (DEEPAI, {"text": PROMPT, "image_generator_version": "best"}),
    (DEEPAI, {"text": PROMPT, "genius_preference": "anime"}),
    (GEMINI, {"contents": []}),
    (GEMINI, {**gemini_body(), "prompt": PROMPT}),
    (GEMINI, gemini_body(imageConfig={"aspectRatio": "7:5"})),
    (GEMINI, gemini_body(imageConfig={"imageSize": "1k"})),
    (GEMINI, gemini_body(imageConfig={"personGeneration": "allow_all"})),
    (GEMINI, gemini_body(responseModalities=["TEXT"])),
    (GEMINI, gemini_body(candidateCount=2)),
    (GEMINI, gemini_body(seed="one")),
    (IMAGEN, {"instances": []}),
    (IMAGEN, imagen_body(sampleCount=5)),
    (IMAGEN, imagen_body(seed=5)),
    (IMAGEN, imagen_body(negativePrompt="hat")),
    (IMAGEN, imagen_body(personGeneration="allow_all")),
    (IMAGEN, imagen_body(outputOptions={"mimeType": "image/webp"})),
    (VERTEX, imagen_body(seed=5)),
    (VERTEX, imagen_body(seed=5, addWatermark=False, enhancePrompt=True)),
    (OPENAI, {"prompt": PROMPT}),
    (OPENAI, openai_body(prompt="x" * 32_001)),
    (OPENAI, openai_body(n=11)),
    (OPENAI, openai_body(size="1000x1000")),
    (OPENAI, openai_body(size="4096x1024")),
    (OPENAI, openai_body(model="gpt-image-1.5", size="512x512")),
    (OPENAI, openai_body(quality="hd")),
    (OPENAI, openai_body(model="gpt-image-2-2026-04-21", quality="xhigh")),
    (OPENAI, openai_body(background="transparent", output_format="jpeg")),
    (OPENAI, openai_body(output_format="svg")),
    (OPENAI, openai_body(output_compression=50)),
    (OPENAI, openai_body(response_format="b64_json")),
    (OPENAI, openai_body(seed=1)),
]


@pytest.mark.parametrize(("path", "body"), WRONG)
def test_a_wrong_request_is_turned_away(emulator: Emulator, path: str, body: dict[str, Any]) -> None:
    reply = ask(emulator, path, body, **key_for(path))

    assert reply.status_code == 400 and says(path, reply.json())


@pytest.mark.parametrize("path", [CLASSIC, DEEPAI, OPENAI])
def test_no_key_and_a_wrong_key_are_401(emulator: Emulator, path: str) -> None:
    header = next(iter(KEYS[path.split("/")[1]]))
    wrong = "Bearer wrong-key" if header == "Authorization" else "wrong-key"

    for reply in (ask(emulator, path, GOOD[path], **{header: key}) for key in ("", wrong)):
        assert reply.status_code == 401 and says(path, reply.json())


@pytest.mark.parametrize(
    ("path", "field", "body"),
    [
        ("/gemini/v1beta/models/gemini-2.5-flash-image:generateContent", "", gemini_body()),
        ("/imagen/v1beta/models/imagen-3.0-generate-001:predict", "", imagen_body()),
        ("/freepik/v1/ai/text-to-image/imagen3", "", {"prompt": PROMPT}),
    ],
)
def test_dead_models_are_not_found(emulator: Emulator, path: str, field: str, body: dict[str, Any]) -> None:
    assert ask(emulator, path, body).status_code == 404


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/gemini/v1beta/models/gemini-3.1-flash-image", 200),
        ("/gemini/v1beta/models/gemini-2.5-flash-image", 404),
        ("/imagen/v1beta/models/imagen-4.0-generate-001", 200),
        ("/openai/v1/models/gpt-image-2", 200),
        ("/openai/v1/models/dall-e-3", 404),
        ("/freepik/v1/ai/mystic", 200),
    ],
)
def test_probes_cost_nothing(emulator: Emulator, path: str, status: int) -> None:
    service = path.split("/")[1]
    before = emulator.ledger[service]

    assert requests.get(emulator.url + path, headers=KEYS[service], timeout=5).status_code == status
    assert emulator.ledger[service] == before


# --- Freepik ----------------------------------------------------------------------------------------------------------


def test_freepik_gives_as_many_pictures_as_asked_for(emulator: Emulator) -> None:
    body = {"prompt": PROMPT, "num_images": 3, "seed": 7, "image": {"size": "widescreen_16_9"}}
    reply = ask(emulator, CLASSIC, body).json()

    assert [open_base64(item["base64"]).size for item in reply["data"]] == [(84, 48)] * 3
    assert reply["meta"]["seed"] == 7 and reply["meta"]["image"]["size"] == "widescreen_16_9"


def test_freepik_ignores_a_body_of_another_type(emulator: Emulator) -> None:
    url, headers = emulator.url + CLASSIC, {**KEYS["freepik"], "Content-Type": "text/plain"}
    reply = requests.post(url, data='{"prompt": "a person"}', headers=headers, timeout=5)

    assert reply.status_code == 400 and reply.headers["Content-Type"] == "application/problem+json"
    assert reply.json()["invalid_params"] == [{"name": "prompt", "reason": "prompt is required"}]


def test_freepik_marks_what_is_unsafe_and_may_withhold_it(emulator: Emulator) -> None:
    (withheld,), (shown,) = (
        ask(emulator, CLASSIC, GOOD[CLASSIC], fault).json()["data"] for fault in ("refused", "refused_nsfw")
    )

    assert withheld == {"base64": "", "has_nsfw": True}
    assert shown["has_nsfw"] and open_base64(shown["base64"]).format == "PNG"


def finish(emulator: Emulator, path: str, fault: str = "", polls: int = 4) -> list[Any]:
    """The replies to the polls of one task, until it ends."""
    submitted = ask(emulator, path, GOOD[path], fault).json()
    task = submitted.get("data", submitted)["task_id"]
    replies: list[Any] = []
    for _ in range(polls):
        reply = requests.get(f"{emulator.url}{path}/{task}", headers=KEYS["freepik"], timeout=5)
        said = reply.json() if reply.headers["Content-Type"].startswith("application/json") else {}
        replies.append(said.get("data", said) if reply.ok else reply.status_code)
        if replies[-1] == 404 or (reply.ok and replies[-1]["status"] in ("COMPLETED", "FAILED")):
            break
    return replies


@pytest.mark.parametrize("path", [MYSTIC, FLUX])
def test_freepiks_tasks_end_after_a_poll_or_two(emulator: Emulator, path: str) -> None:
    *before, last = finish(emulator, path)
    picture = Image.open(io.BytesIO(requests.get(last["generated"][0], timeout=5).content))

    assert len(before) <= 1 and last["has_nsfw"] == [False]
    assert picture.format == "JPEG" and picture.size == ((128, 128) if path == MYSTIC else (64, 64))


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (FLUX, {"aspect_ratio": "social_post_4_5", "styling": {"effects": {"color": "softhue"}}}),
        (
            FAST,
            {"seed": 4_294_967_295, "aspect_ratio": "widescreen_16_9", "output_options": {"mime_type": "image/png"}},
        ),
        (FAST, {"enhance_prompt": True}),
        (SEEDREAM, {"seed": 0, "guidance_scale": 20, "aspect_ratio": "portrait_2_3"}),
        (f"{SEEDREAM}-5", {"seed": 4_294_967_295, "aspect_ratio": "cinematic_21_9"}),
        (f"{CLASSIC}/flux-pro-v1-1", {"seed": None, "output_format": "png"}),
    ],
)
def test_freepiks_models_take_what_is_documented_of_them(emulator: Emulator, path: str, body: dict[str, Any]) -> None:
    reply = ask(emulator, path, {"prompt": PROMPT, **body})

    assert reply.status_code == 200, reply.text
    assert reply.json()["data"]["status"] == "CREATED"


@pytest.mark.parametrize(
    ("fault", "states"),
    [
        ("task_failed", ["CREATED", "FAILED"]),
        ("task_refused", ["CREATED", "COMPLETED"]),
        ("task_no_picture", ["CREATED", "COMPLETED"]),
        ("task_stuck", ["CREATED", "IN_PROGRESS", "IN_PROGRESS", "IN_PROGRESS"]),
        ("task_unknown_state", ["UPSCALING", "COMPLETED"]),
        ("poll_rate", [429, "COMPLETED"]),
        ("poll_502", [502, "COMPLETED"]),
        ("poll_gone", [404]),
    ],
)
def test_freepiks_tasks_end_otherwise(emulator: Emulator, fault: str, states: list[Any]) -> None:
    replies = finish(emulator, MYSTIC, fault)

    assert [reply if isinstance(reply, int) else reply["status"] for reply in replies] == states
    if fault in ("task_failed", "task_refused", "task_no_picture"):
        assert replies[-1]["generated"] == [] and (replies[-1].get("has_nsfw") == [True]) == (fault == "task_refused")


def test_freepiks_task_may_come_without_its_wrapper(emulator: Emulator) -> None:
    submitted = ask(emulator, MYSTIC, GOOD[MYSTIC], "unwrapped").json()

    assert submitted["task_status"] == "CREATED"
    assert finish(emulator, MYSTIC, "unwrapped")[-1]["generated"]


def test_a_task_takes_the_emulators_delay() -> None:
    with Emulator(scale=SCALE, delay=60) as emulator:
        assert {reply["status"] for reply in finish(emulator, FLUX)} == {"CREATED", "IN_PROGRESS"}


# --- DeepAI -----------------------------------------------------------------------------------------------------------


def deepai_picture(emulator: Emulator, body: dict[str, str], fault: str = "") -> Image.Image:
    url = ask(emulator, DEEPAI, body, fault).json()["output_url"]
    return Image.open(io.BytesIO(requests.get(url, timeout=5).content))


def test_deepai_draws_one_or_a_sheet_of_four(emulator: Emulator) -> None:
    size = {"width": "512", "height": "768"}

    assert deepai_picture(emulator, {**GOOD[DEEPAI], **size}).size == (32, 48)
    for sheet in (deepai_picture(emulator, {"text": PROMPT, **size}, fault) for fault in ("", "grid")):
        assert sheet.size == (1024, 1536), "by its size a client knows it, so that the scale does not apply"


def test_deepai_takes_other_bodies_too(emulator: Emulator) -> None:
    url, headers = emulator.url + DEEPAI, KEYS["deepai"]

    for body in ({"data": GOOD[DEEPAI]}, {"json": GOOD[DEEPAI]}):
        reply = requests.post(url, headers=headers, timeout=5, **body)
        assert reply.status_code == 200 and reply.json()["output_url"].startswith(emulator.url)


def test_deepai_says_errors_with_status_200_too(emulator: Emulator) -> None:
    for fault in ("refused", "inline_err"):
        reply = ask(emulator, DEEPAI, GOOD[DEEPAI], fault)
        assert reply.status_code == 200 and reply.json()["err"] and "output_url" not in reply.json()


# --- Gemini -----------------------------------------------------------------------------------------------------------


def test_geminis_picture_stands_in_a_part(emulator: Emulator) -> None:
    body = gemini_body(seed=4, imageConfig={"aspectRatio": "16:9", "imageSize": "2K"})
    reply, again = (ask(emulator, GEMINI, body).json() for _ in range(2))
    (part,) = reply["candidates"][0]["content"]["parts"]

    assert reply["candidates"][0]["finishReason"] == "STOP" and reply["usageMetadata"]["totalTokenCount"]
    assert open_base64(part["inlineData"]["data"]).size == (168, 96)
    assert reply["candidates"] == again["candidates"]


def test_geminis_thoughts_come_before_the_picture(emulator: Emulator) -> None:
    body = gemini_body(responseModalities=["TEXT", "IMAGE"])
    parts = ask(emulator, GEMINI, body, "drafts").json()["candidates"][0]["content"]["parts"]

    assert [sorted(set(part) - {"thoughtSignature"}) for part in parts] == [
        ["text", "thought"],
        ["inlineData", "thought"],
        ["text"],
        ["inlineData"],
    ]


def test_gemini_has_many_ways_to_send_no_picture_with_status_200(emulator: Emulator) -> None:
    faults = ("refused", "refused_output", "refused_empty", "refused_text", "no_image")
    prompt, output, empty, text, none = (ask(emulator, GEMINI, GOOD[GEMINI], fault).json() for fault in faults)

    assert "candidates" not in prompt and prompt["promptFeedback"]["blockReason"] == "PROHIBITED_CONTENT"
    assert output["candidates"][0]["finishReason"] == "IMAGE_SAFETY" and output["candidates"][0]["content"] is None
    assert empty["candidates"][0]["finishReason"] == "NO_IMAGE" and "parts" not in empty["candidates"][0]["content"]
    for words, said in ((text, "I cannot create that picture."), (none, "Here is your image:")):
        (part,) = words["candidates"][0]["content"]["parts"]
        assert words["candidates"][0]["finishReason"] == "STOP" and part["text"].startswith(said)


def test_googles_errors_carry_details(emulator: Emulator) -> None:
    key = ask(emulator, GEMINI, GOOD[GEMINI], **{"x-goog-api-key": "wrong-key"})
    rate = ask(emulator, GEMINI, GOOD[GEMINI], "rate_json").json()["error"]
    listed = ask(emulator, GEMINI, GOOD[GEMINI], "list_error")

    assert key.status_code == 400 and key.json()["error"]["details"][0]["reason"] == "API_KEY_INVALID"
    assert rate["status"] == "RESOURCE_EXHAUSTED" and rate["details"][0]["retryDelay"] == "0.05s"
    assert listed.status_code == 500 and listed.json()[0]["error"]["status"] == "INTERNAL"


# --- Imagen -----------------------------------------------------------------------------------------------------------


def predictions(emulator: Emulator, fault: str = "", **parameters: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ask(emulator, IMAGEN, imagen_body(**parameters), fault).json().get("predictions", [])
    return found


def test_imagen_gives_samples_in_the_form_asked_for(emulator: Emulator) -> None:
    asked: dict[str, Any] = {"aspectRatio": "3:4", "sampleImageSize": "2K", "outputOptions": {"mimeType": "image/jpeg"}}
    found = predictions(emulator, sampleCount=2, **asked)

    assert [open_base64(item["bytesBase64Encoded"]).size for item in found] == [(112, 144)] * 2
    assert {item["mimeType"] for item in found} == {"image/jpeg"}


def test_vertex_takes_a_token_and_a_seed(emulator: Emulator) -> None:
    one, again = (ask(emulator, VERTEX, GOOD[VERTEX], Authorization="Bearer t").json() for _ in range(2))

    assert one == again
    assert ask(emulator, VERTEX, GOOD[VERTEX]).status_code == 401


def test_imagens_withheld_pictures_are_missing_or_explained(emulator: Emulator) -> None:
    def numbers(found: list[dict[str, Any]]) -> tuple[int, int]:
        return len(found), sum("raiFilteredReason" in item for item in found)

    assert numbers(predictions(emulator, "refused")) == (0, 0)
    assert ask(emulator, IMAGEN, GOOD[IMAGEN], "refused").json() == {}
    assert numbers(predictions(emulator, "refused", sampleCount=2, includeRaiReason=True)) == (2, 2)
    assert numbers(predictions(emulator, "refused_partial", sampleCount=4)) == (3, 0)
    assert numbers(predictions(emulator, "refused_partial", sampleCount=4, includeRaiReason=True)) == (4, 1)


def test_imagen_may_add_an_entry_that_is_no_picture(emulator: Emulator) -> None:
    picture, other = predictions(emulator, includeSafetyAttributes=True)

    assert "bytesBase64Encoded" in picture and other["contentType"] == "Positive Prompt"


# --- OpenAI -----------------------------------------------------------------------------------------------------------


def test_openai_gives_base64_and_says_what_it_did(emulator: Emulator) -> None:
    reply = ask(emulator, OPENAI, openai_body(n=2, size="1536x1024", quality="low", output_format="webp"))
    said = reply.json()

    assert [open_base64(item["b64_json"]).size for item in said["data"]] == [(96, 64)] * 2
    assert (said["size"], said["quality"], said["output_format"]) == ("1536x1024", "low", "webp")
    assert said["usage"]["total_tokens"] and reply.headers["x-request-id"].startswith("req_")


def test_openais_newer_models_take_other_sizes(emulator: Emulator) -> None:
    reply = ask(emulator, OPENAI, openai_body(size="512x768")).json()

    assert open_base64(reply["data"][0]["b64_json"]).size == (32, 48)


@pytest.mark.parametrize("model", ["gpt-image-2.5-flare", "gpt-image-2.6-sunburst"])
@pytest.mark.parametrize("quality", ["xhigh", "max"])
def test_openais_newest_models_take_finer_qualities(emulator: Emulator, model: str, quality: str) -> None:
    reply = ask(emulator, OPENAI, openai_body(model=model, quality=quality))

    assert reply.status_code == 200 and reply.json()["quality"] == quality


def test_openais_samples_differ_and_a_named_sample_does_not(emulator: Emulator) -> None:
    def data(**headers: str) -> str:
        return str(ask(emulator, OPENAI, GOOD[OPENAI], **headers).json()["data"][0]["b64_json"])

    assert data() != data() and data(**{"X-Sample": "one"}) == data(**{"X-Sample": "one"})


def test_openai_refuses_with_400(emulator: Emulator) -> None:
    older, newer = (ask(emulator, OPENAI, GOOD[OPENAI], fault) for fault in ("refused", "refused_output"))

    assert older.status_code == newer.status_code == 400
    assert older.json()["error"]["code"] == newer.json()["error"]["code"] == "moderation_blocked"
    assert newer.json()["error"]["moderation_details"]["moderation_stage"] == "output"


def test_openais_429_has_two_meanings(emulator: Emulator) -> None:
    codes = [
        ask(emulator, OPENAI, GOOD[OPENAI], fault).json()["error"]["code"] for fault in ("rate_bare", "rate_quota")
    ]

    assert codes == ["rate_limit_exceeded", "insufficient_quota"]


def test_openais_data_may_be_null(emulator: Emulator) -> None:
    assert ask(emulator, OPENAI, GOOD[OPENAI], "no_pictures").json()["data"] is None
