"""What each adapter asks for, and what it understands; the socket side of it is in test_remote_contract.py."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from harness.config.profile import ProviderConfig
from harness.core.errors import SuiteError
from harness.core.settings import Secret
from harness.core.values import Outcome, Request
from harness.providers import open_provider
from harness.providers.http_client.exchange import Call, Reply, Unanswered
from harness.providers.refusals import is_refusal
from harness.providers.remote import ParsedReply, Pending, RemoteProvider, nearest_shape, wrap_seed
from tests.tiny import make_context, make_suite

USER_ERROR = "image_generation_user_error"  # the type of refusals and of mistakes alike
GONE = "The model 'gpt-image-1' does not exist."
DATA = base64.b64encode(b"a picture").decode()
KEYS = {name: Secret("k") for name in ("FREEPIK_API_KEY", "DEEPAI_API_KEY", "GEMINI_API_KEY", "OPENAI_API_KEY")}
VERTEX: dict[str, Any] = {"project": "museum", "location": "europe-west4"}


def make(adapter: str, *, pixels: tuple[int, int] = (1024, 1024), **options: Any) -> RemoteProvider:
    context = make_context(Path(), providers={adapter: ProviderConfig(adapter, options)}, size=pixels, secrets=KEYS)
    provider = open_provider(adapter, context)
    assert isinstance(provider, RemoteProvider)
    return provider


def wanted(provider: RemoteProvider, *, seed: int = 7, prompt: str = "a paper boat", negative: str = "") -> Request:
    width, height = provider.context.profile.size
    return Request(provider.adapter, "model", prompt, seed, width, height, negative)


def ask(provider: RemoteProvider, count: int = 1, **changes: Any) -> Call:
    return provider.ask(wanted(provider, **changes), count)


def reply(answer: Any, status: int = 200) -> Reply:
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    return Reply(status, {"content-type": "application/json"}, body)


def read(provider: RemoteProvider, answer: Any) -> list[bytes | str | Outcome]:
    """Each picture's bytes, address or outcome."""
    try:
        found = provider.read(reply(answer))
    except Unanswered as problem:
        return [problem.outcome]
    assert isinstance(found, ParsedReply)
    return [one.problem.outcome if one.problem else one.data or one.url for one in found.pictures]


# --- what is asked ------------------------------------------------------------------------------------------------


def test_freepik_classic_asks_for_several_pictures_in_its_own_words() -> None:
    call = ask(make("freepik", mode="classic", per_call=3, pixels=(1216, 832)), 3, negative="blurry")

    assert call.path == "/v1/ai/text-to-image" and call.paid
    assert call.json["image"] == {"size": "standard_3_2"} and call.json["num_images"] == 3
    assert call.json["negative_prompt"] == "blurry" and "seed" not in call.json


def test_freepik_leaves_out_a_negative_prompt_that_it_would_refuse() -> None:
    assert "negative_prompt" not in ask(make("freepik", mode="classic"), negative="no").json


@pytest.mark.parametrize(
    ("options", "path", "fields"),
    [
        ({}, "/v1/ai/mystic", {"resolution": "1k", "model": "realism", "aspect_ratio": "square_1_1"}),
        ({"mode": "flux-dev"}, "/v1/ai/text-to-image/flux-dev", {"seed": 7, "aspect_ratio": "square_1_1"}),
        ({"mode": "flux-9"}, "/v1/ai/text-to-image/flux-9", {"aspect_ratio": "square_1_1"}),
        ({"body": {"hdr": 40}}, "/v1/ai/mystic", {"hdr": 40}),
    ],
)
def test_freepik_tasks_go_to_the_path_of_their_model(
    options: dict[str, Any], path: str, fields: dict[str, Any]
) -> None:
    call = ask(make("freepik", **options))

    assert call.path == path and fields.items() <= call.json.items()


def test_freepik_models_keep_to_the_shapes_and_seeds_that_they_know() -> None:
    wide = (1024, 512)

    assert ask(make("freepik", pixels=wide)).json["aspect_ratio"] == "horizontal_2_1"
    assert ask(make("freepik", pixels=wide, model="fluid")).json["aspect_ratio"] == "widescreen_16_9"
    assert "seed" not in ask(make("freepik")).json and not make("freepik").seeded
    assert ask(make("freepik", mode="flux-dev"), seed=0).json["seed"] == 4_294_967_295
    assert ask(make("freepik", mode="classic"), seed=1_000_001).json["seed"] == 0


def test_deepai_asks_for_one_picture_and_not_for_a_collage() -> None:
    call = ask(make("deepai", pixels=(1216, 832), version="hd"), negative="blurry")

    assert call.form == {
        "text": "a paper boat",
        "width": "1216",
        "height": "832",
        "image_generator_version": "hd",
        "grid_size": "1",
        "negative_prompt": "blurry",
    }


@pytest.mark.parametrize("prompt", ["https://example.org/a.png", " HTTP://x", "data:text/plain,x", "www.example.org"])
def test_deepai_is_not_given_a_prompt_that_it_would_fetch(prompt: str) -> None:
    provider = make("deepai", url="http://127.0.0.1:9")

    (drawing,) = provider.draw([wanted(provider, prompt=prompt)])

    assert drawing.outcome is Outcome.PROVIDER_ERROR and "write words" in drawing.message


def test_gemini_asks_for_a_picture_alone() -> None:
    call = ask(make("gemini", pixels=(832, 1216), resolution="2K"), negative="blurry")

    assert call.path == "/v1beta/models/gemini-nano-banana-2.1:generateContent"
    assert call.json["generationConfig"] == {
        "responseModalities": ["IMAGE"],
        "seed": 7,
        "imageConfig": {"aspectRatio": "2:3", "imageSize": "2K"},
    }
    assert "blurry" not in json.dumps(call.json)


def test_imagen_gives_each_host_only_what_it_takes() -> None:
    plain, vertex = make("imagen"), make("imagen", **VERTEX)

    asked, full = ask(plain, 2, negative="blurry"), ask(vertex, 2, negative="blurry")

    assert asked.path == "/v1beta/models/imagen-4.0-generate-001:predict"
    assert asked.json["parameters"] == {"sampleCount": 2, "aspectRatio": "1:1", "includeRaiReason": True}
    place = "/v1/projects/museum/locations/europe-west4/publishers/google/models/imagen-4.0-generate-001:predict"
    extra = {"seed": 7, "negativePrompt": "blurry", "addWatermark": False, "enhancePrompt": False}
    assert full.path == place and full.json["parameters"] == {**asked.json["parameters"], **extra}
    assert vertex.options.url == "https://europe-west4-aiplatform.googleapis.com"
    assert vertex.missing() == "GOOGLE_ACCESS_TOKEN" and vertex.options.prefix == "Bearer "
    assert vertex.seeded and not plain.seeded


@pytest.mark.parametrize("options", [{"watermark": True}, {"per_call": 2}])
def test_imagen_has_no_seed_under_a_watermark_or_for_several(options: dict[str, Any]) -> None:
    provider = make("imagen", **VERTEX, **options)

    assert "seed" not in ask(provider).json["parameters"] and not provider.seeded


def test_openai_pins_size_and_quality() -> None:
    call = ask(make("openai", pixels=(832, 1216)), 2)

    assert call.path == "/v1/images/generations"
    assert call.json == {
        "model": "gpt-image-2.5-sunburst",
        "prompt": "a paper boat",
        "n": 2,
        "size": "1024x1536",
        "quality": "medium",
        "background": "opaque",
        "output_format": "png",
        "moderation": "auto",
    }


@pytest.mark.parametrize(
    ("adapter", "options", "message"),
    [
        ("openai", {"format": "svg"}, "format: .*'png', 'jpeg' or 'webp'"),
        ("openai", {"format": "gif"}, "format: .*'png', 'jpeg' or 'webp'"),
        ("openai", {"size": "auto"}, "a size is like 1024x1024"),
        ("openai", {"size": "1000x1000"}, "multiples of 16"),
        ("openai", {"per_call": 11}, "per_call: .*less than or equal to 10"),
        ("openai", {"qualty": "low"}, "no option called 'qualty'; did you mean 'quality'"),
        ("freepik", {"mode": "../v2"}, "mode: "),
        ("freepik", {"per_call": 5}, "per_call: "),
        ("deepai", {"per_call": 2}, "per_call: "),
        ("gemini", {"resolution": "1k"}, "resolution: .*'1K'"),
        ("imagen", {"resolution": "4K"}, "resolution: "),
        ("openai", {"background": "transparent", "format": "jpeg"}, "`background: transparent` needs `format: png`"),
        ("deepai", {"preference": "anime"}, "`preference` needs `version: genius` .found 'standard'"),
        ("deepai", {"preference": "anime", "version": "super_genius"}, "`preference` needs `version: genius`"),
        ("deepai", {"resolution": "4k", "version": "hd"}, "`resolution` needs `version: super_genius` .found 'hd'"),
    ],
)
def test_a_wrong_option_is_told_before_anything_is_sent(adapter: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(SuiteError, match=message):
        make(adapter, **options)


@pytest.mark.parametrize(
    ("adapter", "options"),
    [
        ("openai", {"background": "transparent", "format": "webp"}),
        ("deepai", {"preference": "anime", "version": "genius"}),
        ("deepai", {"resolution": "4k", "version": "super_genius"}),
    ],
)
def test_options_that_belong_together_are_taken(adapter: str, options: dict[str, Any]) -> None:
    assert make(adapter, **options).settings().items() >= options.items()


@pytest.mark.parametrize(
    ("adapter", "changes"),
    [
        ("freepik", {"mode": "flux-dev"}),
        ("freepik", {"resolution": "2k"}),
        ("freepik", {"body": {"hdr": 1}}),
        ("deepai", {"version": "hd"}),
        ("gemini", {"resolution": "2K"}),
        ("imagen", {"resolution": "2K"}),
        ("openai", {"quality": "low"}),
        ("openai", {"format": "jpeg"}),
        ("openai", {"size": "1536x1024"}),
    ],
)
def test_what_decides_the_pixels_is_in_the_cache_key_and_nothing_else_is(adapter: str, changes: dict[str, Any]) -> None:
    suite = make_suite("a paper boat")

    def key(**options: Any) -> str:
        (request,) = make(adapter, **options).requests(suite, suite.cases[0], [3])
        return request.key

    assert key() == key(read=1.0, concurrency=9, attempts=2)
    assert key() != key(**changes)


def test_samples_of_a_service_without_seeds_differ_by_their_number() -> None:
    suite = make_suite("a paper boat")

    requests = make("openai").requests(suite, suite.cases[0], [3, 4])

    assert [one.index for one in requests] == [0, 1] and requests[0].key != requests[1].key


def test_what_a_service_ignores_is_noted() -> None:
    openai, mystic = make("openai"), make("freepik")

    assert openai.notes(wanted(openai, negative="blurry"))["ignored"] == ["seed", "negative"]
    assert mystic.notes(wanted(mystic, negative="blurry")) == {"shape": "square_1_1", "ignored": ["negative"]}


def test_probes_cost_nothing() -> None:
    probes = {name: make(name).probe() for name in ("freepik", "deepai", "gemini", "imagen", "openai")}

    assert probes.pop("deepai") is None
    assert all(probe and probe.method == "GET" and not probe.paid for probe in probes.values())


# --- what is understood -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ({"data": [{"base64": DATA}, {"base64": DATA, "has_nsfw": True}]}, [b"a picture", Outcome.REFUSED]),
        ({"data": [{"base64": DATA}, {"base64": "%%"}]}, [b"a picture", Outcome.BAD_IMAGE]),
        ({"data": [None, {}]}, [Outcome.BAD_IMAGE, Outcome.BAD_IMAGE]),
        ({"data": None}, []),
    ],
)
def test_freepik_classic_pictures_are_told_apart(answer: Any, found: list[Any]) -> None:
    assert read(make("freepik", mode="classic"), answer) == found


@pytest.mark.parametrize(
    ("task", "found"),
    [
        ({"status": "COMPLETED", "generated": ["https://x/a", "https://x/b"]}, ["https://x/a", "https://x/b"]),
        ({"status": "COMPLETED", "generated": ["https://x/a"], "has_nsfw": [True]}, [Outcome.REFUSED]),
        ({"status": "COMPLETED", "generated": [], "has_nsfw": [True]}, [Outcome.REFUSED]),
        ({"status": "COMPLETED", "generated": []}, [Outcome.BAD_IMAGE]),
        ({"status": "COMPLETED", "generated": [{"url": "x"}]}, [Outcome.BAD_IMAGE]),
        ({"status": "FAILED", "generated": []}, [Outcome.PROVIDER_ERROR]),
        ({"generated": []}, [Outcome.BAD_IMAGE]),
    ],
)
def test_freepik_tasks_end_in_every_way(task: dict[str, Any], found: list[Any]) -> None:
    provider = make("freepik")

    assert read(provider, {"data": task}) == found
    assert read(provider, {**task, "task_status": task.get("status")}) == found  # the form without the wrapper


def test_freepik_states_that_nobody_knows_are_waited_for() -> None:
    provider = make("freepik")

    found = provider.read(reply({"data": {"task_id": "a/b", "status": "UPSCALING"}}))

    assert isinstance(found, Pending) and found.state == "UPSCALING"
    assert provider.poll(found).path == "/v1/ai/mystic/a%2Fb" and not provider.poll(found).paid


@pytest.mark.parametrize("nested", [True, False])
def test_freepik_names_the_field_that_is_wrong(nested: bool) -> None:
    problem = {"message": "Validation error", "invalid_params": [{"name": "seed", "reason": "too large"}]}

    said = make("freepik").problem(reply({"problem": problem} if nested else problem, 400))

    assert said.outcome is Outcome.PROVIDER_ERROR and "Validation error" in str(said) and "seed: too large" in str(said)


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ({"output_url": "https://api.deepai.org/job/a.jpg"}, "https://api.deepai.org/job/a.jpg"),
        ({"output_url": "/job/a.jpg", "err": None}, "https://api.deepai.org/job/a.jpg"),
        ({"err": "Content flagged by moderation"}, Outcome.REFUSED),
        ({"status": "Out of API credits - please enter payment info"}, Outcome.QUOTA),
        ({"err": "Something broke"}, Outcome.PROVIDER_ERROR),
        ({"id": "x"}, Outcome.BAD_IMAGE),
    ],
)
def test_deepai_speaks_in_words_with_status_200(answer: dict[str, Any], found: Any) -> None:
    assert read(make("deepai"), answer) == [found]


@pytest.mark.parametrize(
    ("status", "answer", "outcome", "final"),
    [
        (401, {"status": "Out of API credits"}, Outcome.QUOTA, True),
        (401, {"err": "invalid api-key"}, Outcome.AUTH, True),
        (400, {"err": "prompt rejected by the safety filter"}, Outcome.REFUSED, False),
        (429, {"status": "too many requests for this subscription"}, Outcome.QUOTA, False),
        (429, {"status": "Out of API credits"}, Outcome.QUOTA, True),
        (500, {"err": "billing backend down"}, Outcome.PROVIDER_ERROR, False),
    ],
)
def test_deepai_errors_are_read_by_their_words(status: int, answer: Any, outcome: Outcome, final: bool) -> None:
    problem = make("deepai").problem(reply(answer, status))

    assert (problem.outcome, problem.final) == (outcome, final)


def candidate(*parts: dict[str, Any], reason: str = "STOP") -> dict[str, Any]:
    return {"candidates": [{"content": {"parts": list(parts)}, "finishReason": reason}]}


INLINE = {"inlineData": {"mimeType": "image/png", "data": DATA}}


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (candidate({"text": "Here it is:"}, INLINE), b"a picture"),
        (candidate({**INLINE, "thought": True}, {"inlineData": {"data": "//8="}}), b"\xff\xff"),
        (candidate({**INLINE, "thought": True}, reason="IMAGE_SAFETY"), Outcome.REFUSED),
        ({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}, Outcome.REFUSED),
        ({"candidates": [{"finishReason": "IMAGE_SAFETY"}]}, Outcome.REFUSED),
        ({"candidates": [{"content": None, "finishReason": "NO_IMAGE"}]}, Outcome.REFUSED),
        (candidate({"text": "I cannot draw that."}), Outcome.REFUSED),
        (candidate({"text": "Here is your image:"}), Outcome.BAD_IMAGE),
        (candidate(reason="MAX_TOKENS"), Outcome.BAD_IMAGE),
        (candidate(), Outcome.BAD_IMAGE),
        ({"candidates": []}, Outcome.BAD_IMAGE),
        ({"candidates": ["?"]}, Outcome.BAD_IMAGE),
    ],
)
def test_gemini_has_four_ways_to_say_no_with_status_200(answer: Any, found: Any) -> None:
    assert read(make("gemini"), answer) == [found]


def test_geminis_words_are_quoted_so_that_the_advice_is_still_read() -> None:
    long = candidate({"text": "Here is your image: " + "a lamp and a chair, " * 50})

    found = make("gemini").read(reply(long))

    assert isinstance(found, ParsedReply)
    said = str(found.pictures[0].problem)
    assert "Here is your image" in said and said.endswith("run again, failures are not kept") and len(said) < 300


@pytest.mark.parametrize(
    ("words", "declines"),
    [
        ("I'm sorry, but I can't help with that.", True),
        ("I am really sorry, no.", True),
        ("Sorry, this is not possible.", True),
        ("I’m unable to create that picture.", True),
        ("  **I cannot** draw real people.", True),
        ("Unfortunately, that is against the rules.", True),
        ("As an AI, I have no hands.", True),
        ("This request violates our policies.", True),
        ("К сожалению, я не могу это нарисовать.", True),
        ("Here is your image:", False),
        ("I can see a man in a yurt.", False),
        ("I created a picture of a horse.", False),
        ("A man with a sorry look, unable to stand.", False),
        ("An aide helps a rider.", False),
        ("This request was fun! Here it is:", False),
        ("", False),
    ],
)
def test_excuses_are_told_by_how_they_begin(words: str, declines: bool) -> None:
    assert is_refusal(words) is declines


def google(status: str, message: str = "", **detail: Any) -> dict[str, Any]:
    return {"error": {"status": status, "message": message, "details": [detail]}}


PER_DAY = {"violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel"}]}
PER_MINUTE = {"violations": [{"quotaId": "GenerateRequestsPerMinutePerProjectPerModel"}]}


@pytest.mark.parametrize("adapter", ["gemini", "imagen"])
@pytest.mark.parametrize(
    ("status", "answer", "outcome", "final"),
    [
        (400, google("INVALID_ARGUMENT", "API key not valid.", reason="API_KEY_INVALID"), Outcome.AUTH, True),
        (400, [google("INVALID_ARGUMENT", "bad", reason="API_KEY_INVALID")], Outcome.AUTH, True),
        (400, google("FAILED_PRECONDITION", "User location is not supported"), Outcome.AUTH, True),
        (400, google("INVALID_ARGUMENT", "unknown field"), Outcome.PROVIDER_ERROR, False),
        (400, google("INVALID_ARGUMENT", "violates Responsible AI practices"), Outcome.REFUSED, False),
        (402, google("RESOURCE_EXHAUSTED", "prepaid balance"), Outcome.QUOTA, True),
        (403, google("PERMISSION_DENIED"), Outcome.AUTH, True),
        (404, google("NOT_FOUND", "models/x is not found"), Outcome.MODEL_RETIRED, True),
        (429, google("RESOURCE_EXHAUSTED", "check your plan and billing details", **PER_DAY), Outcome.QUOTA, True),
        (429, google("RESOURCE_EXHAUSTED", "check your plan and billing details", **PER_MINUTE), Outcome.QUOTA, False),
        (504, google("DEADLINE_EXCEEDED"), Outcome.TIMEOUT, False),
        (500, b"<html>", Outcome.PROVIDER_ERROR, False),
    ],
)
def test_google_errors(adapter: str, status: int, answer: Any, outcome: Outcome, final: bool) -> None:
    problem = make(adapter).problem(reply(answer, status))

    assert (problem.outcome, problem.final) == (outcome, final)


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ({"predictions": [{"bytesBase64Encoded": DATA}]}, [b"a picture"]),
        ({"predictions": [{"bytesBase64Encoded": DATA}, {"contentType": "Positive Prompt"}]}, [b"a picture"]),
        ({"predictions": [{"raiFilteredReason": "Support codes: 56562880"}]}, [Outcome.REFUSED]),
        ({}, []),
    ],
)
def test_imagen_leaves_out_what_it_filtered(answer: Any, found: list[Any]) -> None:
    provider = make("imagen")

    assert read(provider, answer) == found
    assert provider.absent().outcome is Outcome.REFUSED


def test_imagen_says_that_it_is_gone_and_what_took_its_place() -> None:
    problem = make("imagen").problem(reply(google("NOT_FOUND"), 404))

    assert "use adapter gemini with model gemini-nano-banana-2.1" in str(problem)


@pytest.mark.parametrize(
    ("status", "error", "outcome", "final"),
    [
        (400, {"code": "moderation_blocked", "type": "image_generation_user_error"}, Outcome.REFUSED, False),
        (400, {"code": "content_policy_violation"}, Outcome.REFUSED, False),
        (400, {"code": "invalid_value", "param": "size"}, Outcome.PROVIDER_ERROR, False),
        (400, {"code": "invalid_value", "type": USER_ERROR, "param": "size"}, Outcome.PROVIDER_ERROR, False),
        (400, {"code": "invalid_image_file", "type": USER_ERROR}, Outcome.PROVIDER_ERROR, False),
        (400, {"code": "invalid_value", "type": USER_ERROR, "message": f"why: {GONE}"}, Outcome.MODEL_RETIRED, True),
        (400, {"code": "moderation_blocked", "type": USER_ERROR, "message": f"why: {GONE}"}, Outcome.REFUSED, False),
        (400, {"code": None, "type": USER_ERROR}, Outcome.PROVIDER_ERROR, False),
        (429, {"code": "project_spend_limit_exceeded", "type": "insufficient_quota"}, Outcome.QUOTA, True),
        (429, {"code": "project_spend_limit_exceeded"}, Outcome.QUOTA, True),
        (429, {"code": "organization_spend_limit_exceeded"}, Outcome.QUOTA, True),
        (429, {"code": "organization_usage_limit_exceeded"}, Outcome.QUOTA, True),
        (429, {"code": "credit_balance_exhausted"}, Outcome.QUOTA, True),
        (400, {"code": "billing_hard_limit_reached"}, Outcome.QUOTA, True),
        (401, {"code": "invalid_api_key"}, Outcome.AUTH, True),
        (404, {"code": "model_not_found"}, Outcome.MODEL_RETIRED, True),
        (429, {"code": "insufficient_quota", "type": "insufficient_quota"}, Outcome.QUOTA, True),
        (429, {"code": "rate_limit_exceeded", "type": "requests"}, Outcome.QUOTA, False),
    ],
)
def test_openai_errors(status: int, error: dict[str, Any], outcome: Outcome, final: bool) -> None:
    problem = make("openai").problem(reply({"error": {"message": "why", **error}}, status))

    assert (problem.outcome, problem.final) == (outcome, final) and "why" in str(problem)


@pytest.mark.parametrize("answer", [{"data": None}, {"data": {}}, {}])
def test_openai_may_send_no_pictures(answer: Any) -> None:
    assert read(make("openai"), answer) == []


@pytest.mark.parametrize("adapter", ["freepik", "deepai", "gemini", "imagen", "openai"])
@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"[1, 2]", b"3", b"[" * 100_000, b"\xff\xfe\xfd"])
def test_what_is_no_answer_is_a_bad_image(adapter: str, body: bytes) -> None:
    with pytest.raises(Unanswered) as caught:
        make(adapter).read(reply(body))

    assert caught.value.outcome is Outcome.BAD_IMAGE


# --- helpers ------------------------------------------------------------------------------------------------------


def test_seeds_stay_apart_when_they_are_brought_into_range() -> None:
    assert [wrap_seed(seed, 1, 4) for seed in (1, 4, 5, 0, -1)] == [1, 4, 1, 4, 3]


def test_the_nearest_shape_is_nearest_in_proportions_first() -> None:
    shapes = {"square": (1, 1), "wide": (16, 9), "tall": (9, 16)}

    assert [nearest_shape(*size, shapes) for size in ((96, 96), (1280, 720), (700, 1300))] == ["square", "wide", "tall"]
    assert nearest_shape(1024, 1024, {"small": (512, 512), "large": (1024, 1024)}) == "large"
