"""The services' official Python clients, each calling the emulator at an address: `python sdk_calls.py URL [NAME ...]`.

A program of its own that imports nothing of this project, so that the clients may live in another environment. It
prints a line of JSON for each call: the client, what was called, whether it was as it must be, and what was said. A
client that is not installed is one line with `skipped`.
"""

from __future__ import annotations

import base64
import importlib
import io
import json
import os
import sys
import urllib.request
from collections.abc import Callable, Iterator
from importlib import metadata
from typing import Any

PROMPT = "a person, smiling, steppe background"
KEY = "emulator-key-0"
CREDENTIALS = base64.b64encode(b"id:secret").decode()
Call = tuple[str, Callable[[], Any]]


def picture(data: Any, form: str = "", size: tuple[int, int] | None = None) -> bool:
    """Whether bytes, or base64, are a picture, of a format and size."""
    from PIL import Image

    with Image.open(io.BytesIO(base64.b64decode(data) if isinstance(data, str) else data)) as image:
        return (not form or image.format == form) and (size is None or image.size == size)


def download(address: str) -> bytes:
    """What an address of the emulator gives."""
    with urllib.request.urlopen(address, timeout=30) as reply:  # noqa: S310 - the emulator's
        return bytes(reply.read())


def png() -> bytes:
    """A small picture to show."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), (200, 40, 40)).save(buffer, "PNG")
    return buffer.getvalue()


def fails(kind: type[BaseException], call: Callable[[], Any], words: str = "", **fields: Any) -> Callable[[], bool]:
    """A call that must raise this error, with these words in it and these attributes."""

    def tried() -> bool:
        try:
            call()
        except kind as error:
            for name, value in fields.items():
                if getattr(error, name, None) != value:
                    raise AssertionError(f"{name} is {getattr(error, name, None)!r}, not {value!r}: {error}") from error
            return words in str(error)
        return False

    return tried


# --- OpenAI -----------------------------------------------------------------------------------------------------------


def openai_calls(url: str) -> Iterator[Call]:
    import openai

    def client(**options: Any) -> Any:
        return openai.OpenAI(**{"api_key": KEY, "base_url": f"{url}/openai/v1", "max_retries": 2, **options})

    it, once = client(), client(max_retries=0)

    def draw(by: Any = it, **fields: Any) -> Any:
        return by.images.generate(**{"model": "gpt-image-2.5-sunburst", "prompt": PROMPT, **fields})

    yield "models.list", lambda: "gpt-image-2.6-sunburst" in {model.id for model in it.models.list()}
    for model in ("gpt-image-2", "gpt-image-2.6-flare", "gpt-6-luna"):
        yield f"models.retrieve {model}", lambda model=model: it.models.retrieve(model).id == model
    yield "the day of a model's end", lambda: it.models.retrieve("gpt-image-1.5").shutdown_date == "2026-12-01"
    yield (
        "models.retrieve of a dead one",
        fails(openai.NotFoundError, lambda: it.models.retrieve("dall-e-3"), code="model_not_found"),
    )
    for size, seen in (
        ("1024x1024", (64, 64)),
        ("1536x1024", (96, 64)),
        ("1024x1536", (64, 96)),
        ("512x768", (32, 48)),
    ):
        yield f"images {size}", lambda size=size, seen=seen: picture(draw(size=size).data[0].b64_json, "PNG", seen)
    for form in ("png", "jpeg", "webp"):
        yield (
            f"images as {form}",
            lambda form=form: picture(draw(output_format=form).data[0].b64_json, form.upper()),
        )
    for quality in ("low", "max"):
        yield f"images, quality {quality}", lambda quality=quality: draw(quality=quality).quality == quality
    yield (
        "images in a stream",
        lambda: (
            [event.type.rpartition(".")[2] for event in draw(stream=True, partial_images=2)]
            == ["partial_image", "partial_image", "completed"]
        ),
    )
    yield "a picture of a stream", lambda: picture(list(draw(stream=True))[-1].b64_json, "PNG")
    yield "images, three at once", lambda: len(draw(n=3).data) == 3
    yield "images, what they cost", lambda: draw().usage.total_tokens > 0
    user_error = {"type": "image_generation_user_error"}

    def wrong(**fields: Any) -> Callable[[], Any]:
        return lambda: draw(**fields)

    yield (
        "a wrong size is no refusal",
        fails(openai.BadRequestError, wrong(size="1000x1000"), code="invalid_value", param="size", **user_error),
    )
    yield (
        "a dead model is no refusal",
        fails(openai.BadRequestError, wrong(model="gpt-image-1"), "does not exist", param="model", **user_error),
    )
    yield (
        "a refusal",
        fails(openai.BadRequestError, wrong(prompt=f"{PROMPT} [[refused]]"), code="moderation_blocked", **user_error),
    )
    yield (
        "an empty account",
        fails(openai.RateLimitError, lambda: draw(once, prompt=f"{PROMPT} [[rate_quota]]"), code="insufficient_quota"),
    )
    yield "a rate that is waited for", lambda: picture(draw(prompt=f"{PROMPT} [[rate_ms]]").data[0].b64_json)
    yield "an error inside", fails(openai.InternalServerError, lambda: draw(once, prompt=f"{PROMPT} [[error_500]]"))
    yield "a wrong key", fails(openai.AuthenticationError, lambda: draw(client(api_key="wrong-key")), status_code=401)
    yield from openai_chats(openai, it)


def openai_chats(openai: Any, it: Any) -> Iterator[Call]:
    from pydantic import BaseModel

    class Seen(BaseModel):
        description: str
        tags: list[str]
        people: int
        light: str | None

    shown = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{base64.b64encode(png()).decode()}"}}
    look = [{"role": "user", "content": [{"type": "text", "text": "Describe the picture."}, shown]}]
    told = [{"role": "system", "content": "You write stories."}, {"role": "user", "content": "The idea: a horse."}]

    def chat(messages: Any = told, by: str = "create", **fields: Any) -> Any:
        return getattr(it.chat.completions, by)(**{"model": "gpt-6-luna", "messages": messages, **fields})

    def streamed(**fields: Any) -> list[Any]:
        return list(chat(stream=True, **fields))

    def text_of(chunks: list[Any]) -> str:
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)

    def refuse(words: str) -> list[dict[str, str]]:
        return [{"role": "user", "content": f"The idea: a fox. [[{words}]]"}]

    yield "chat", lambda: "horse" in chat().choices[0].message.content
    yield "chat in a stream is the same", lambda: text_of(streamed()) == chat().choices[0].message.content
    yield "a stream ends", lambda: streamed()[-1].choices[0].finish_reason == "stop"
    yield (
        "a stream that says its price",
        lambda: streamed(stream_options={"include_usage": True})[-1].usage.total_tokens,
    )
    yield "chat about a picture", lambda: "red" in chat(look).choices[0].message.content
    yield "a stream about a picture", lambda: "red" in text_of(streamed(messages=look))
    yield (
        "a picture with a schema",
        lambda: "red" in (chat(look, "parse", response_format=Seen).choices[0].message.parsed.tags),
    )
    yield "a story with a schema", lambda: chat(told, "parse", response_format=Seen).choices[0].message.parsed.people
    yield (
        "any JSON",
        lambda: isinstance(
            json.loads(
                chat([{"role": "user", "content": "A horse, as json."}], response_format={"type": "json_object"})
                .choices[0]
                .message.content
            ),
            dict,
        ),
    )
    yield (
        "JSON that nobody spoke of",
        fails(openai.BadRequestError, lambda: chat(response_format={"type": "json_object"}), "json"),
    )
    yield "a refusal in words", lambda: chat(refuse("refused")).choices[0].message.refusal
    yield (
        "a refusal in a stream",
        lambda: any(getattr(chunk.choices[0].delta, "refusal", None) for chunk in streamed(messages=refuse("refused"))),
    )
    yield "a filter", lambda: chat(refuse("refused_output")).choices[0].finish_reason == "content_filter"
    yield "an answer cut off", lambda: chat(refuse("length")).choices[0].finish_reason == "length"
    yield "a dead chat model", fails(openai.NotFoundError, lambda: chat(model="o1"), code="model_not_found")
    yield "an old parameter", fails(openai.BadRequestError, lambda: chat(max_tokens=5), param="max_tokens")
    deep = openai.OpenAI(api_key=KEY, base_url=str(it.base_url).replace("/openai/v1", "/deepseek"), max_retries=0)

    def talk(model: str = "deepseek-flash", **fields: Any) -> Any:
        return deep.chat.completions.create(model=model, messages=told, **fields)

    yield "DeepSeek: models.list", lambda: {model.owned_by for model in deep.models.list()} == {"deepseek"}
    yield "DeepSeek: chat", lambda: "horse" in talk().choices[0].message.content
    yield "DeepSeek: a stream", lambda: text_of(list(talk(stream=True))) == talk().choices[0].message.content
    yield "DeepSeek: a dead model", fails(openai.BadRequestError, lambda: talk("deepseek-chat"), "Not Exist")


# --- Google -----------------------------------------------------------------------------------------------------------


def google_calls(url: str) -> Iterator[Call]:
    from google import genai
    from google.genai import errors, types

    def client(service: str, version: str = "", key: str = KEY) -> Any:
        options = types.HttpOptions(base_url=f"{url}/{service}", **({"api_version": version} if version else {}))
        return genai.Client(api_key=key, http_options=options)

    def config(**image: Any) -> Any:
        seed = image.pop("seed", None)
        chosen = types.ImageConfig(**image) if image else None
        return types.GenerateContentConfig(response_modalities=["IMAGE"], seed=seed, image_config=chosen)

    def draw(by: Any, model: str = "gemini-nano-banana-2.1", prompt: str = PROMPT, **image: Any) -> Any:
        return by.models.generate_content(model=model, contents=prompt, config=config(**image))

    def data(reply: Any) -> bytes:
        return next(bytes(part.inline_data.data) for part in reply.parts if part.inline_data)

    usual = client("gemini")
    for version in ("", "v1", "v1beta"):
        by, named = client("gemini", version), version or "the usual version"
        yield f"generate_content by {named}", lambda by=by: picture(data(draw(by)))
        yield f"models.get by {named}", lambda by=by: by.models.get(model="gemini-3-pro-image").name.endswith("image")
        yield f"models.list by {named}", lambda by=by: len(list(by.models.list())) >= 3
        yield (
            f"generate_content_stream by {named}",
            lambda by=by: any(
                chunk.parts
                for chunk in by.models.generate_content_stream(
                    model="gemini-3-pro-image", contents=PROMPT, config=config()
                )
            ),
        )
    for model in ("gemini-3-pro-image", "gemini-3.1-flash-lite-image", "gemini-3.1-flash-image"):
        yield f"generate_content with {model}", lambda model=model: picture(data(draw(usual, model)))
    for shape, seen in (("1:1", (64, 64)), ("16:9", (84, 48)), ("2:3", (52, 78)), ("8:1", (192, 24))):
        yield (
            f"a picture of {shape}",
            lambda shape=shape, seen=seen: picture(data(draw(usual, aspect_ratio=shape)), "", seen),
        )
    yield "a picture of 2K", lambda: picture(data(draw(usual, image_size="2K")), "", (128, 128))
    yield "the same seed", lambda: data(draw(usual, seed=5)) == data(draw(usual, seed=5)) != data(draw(usual, seed=6))
    yield "as_image", lambda: next(part.as_image() for part in draw(usual).parts if part.inline_data).image_bytes
    yield (
        "count_tokens",
        lambda: usual.models.count_tokens(model="gemini-3-pro-image", contents=PROMPT).total_tokens > 2,
    )
    yield "a size that it lacks", fails(errors.ClientError, lambda: draw(usual, image_size="512"), code=400)
    yield "a dead model", fails(errors.ClientError, lambda: draw(usual, "gemini-2.5-flash-image"), code=404)
    yield "a dead preview", fails(errors.ClientError, lambda: draw(usual, "gemini-3-pro-image-preview"), code=404)
    yield "a wrong key", fails(errors.ClientError, lambda: draw(client("gemini", "", "wrong-key")), code=400)
    yield "an error inside", fails(errors.ServerError, lambda: draw(usual, prompt=f"{PROMPT} [[error_500]]"), code=500)
    yield "a blocked prompt", lambda: draw(usual, prompt=f"{PROMPT} [[refused]]").prompt_feedback.block_reason
    yield (
        "a withheld picture",
        lambda: draw(usual, prompt=f"{PROMPT} [[refused_output]]").candidates[0].finish_reason.name == "IMAGE_SAFETY",
    )
    from google.oauth2.credentials import Credentials

    imagen = genai.Client(  # the client knows these models on Google's cloud alone
        vertexai=True,
        project="museum",
        location="us-central1",
        credentials=Credentials(token="a-token"),
        http_options=types.HttpOptions(base_url=f"{url}/imagen"),
    )
    for count in (1, 3):
        wanted = types.GenerateImagesConfig(number_of_images=count)
        yield (
            f"generate_images, {count}",
            lambda wanted=wanted, count=count: (
                len(
                    imagen.models.generate_images(
                        model="imagen-4.0-generate-001", prompt=PROMPT, config=wanted
                    ).generated_images
                )
                == count
            ),
        )


# --- GigaChat ---------------------------------------------------------------------------------------------------------


def gigachat_calls(url: str) -> Iterator[Call]:
    from gigachat import GigaChat, exceptions
    from gigachat.models import Chat, Messages, MessagesRole
    from pydantic import BaseModel

    class Seen(BaseModel):
        description: str
        tags: list[str]

    def client(**options: Any) -> Any:
        addresses = {"base_url": f"{url}/gigachat/v1", "auth_url": f"{url}/gigachat/api/v2/oauth"}
        return GigaChat(**{"credentials": CREDENTIALS, "model": "GigaChat-2-Max", **addresses, **options})

    it = client()

    def ask(words: str, *files: str, **fields: Any) -> Any:
        message = Messages(role=MessagesRole.USER, content=words, attachments=list(files) or None)
        return Chat(messages=[message], **fields)

    def shown() -> Any:
        return it.upload_file(("red.png", png(), "image/png"))

    def about(schema: Any = None, stream: bool = False) -> str:
        file = shown().id_
        try:
            more = {"response_format": {"type": "json_schema", "schema": schema}} if schema else {}
            if stream:
                pieces = it.stream(ask("Describe the picture.", file))
                return "".join(chunk.choices[0].delta.content or "" for chunk in pieces)
            return str(it.chat(ask("Describe the picture.", file, **more)).choices[0].message.content)
        finally:
            it.delete_file(file)

    yield "get_token", lambda: it.get_token().access_token
    yield "get_models", lambda: {model.id_ for model in it.get_models().data} >= {"GigaChat-2-Max", "GigaChat-2-Pro"}
    yield "who owns a model", lambda: all(model.owned_by for model in it.get_models().data)
    yield "get_model", lambda: it.get_model("GigaChat-2-Max").owned_by
    yield "chat", lambda: "horse" in it.chat("The idea: a horse.").choices[0].message.content
    yield (
        "chat with options",
        lambda: it.chat(ask("The idea: a fox.", temperature=0.5, max_tokens=100)).usage.total_tokens,
    )
    yield (
        "a stream is the same",
        lambda: (
            "".join(chunk.choices[0].delta.content or "" for chunk in it.stream("The idea: a horse."))
            == it.chat("The idea: a horse.").choices[0].message.content
        ),
    )
    yield "a stream ends", lambda: list(it.stream("The idea: a cow."))[-1].choices[0].finish_reason == "stop"
    yield "upload_file", lambda: shown().purpose == "general"
    yield "get_file", lambda: it.get_file(shown().id_).filename == "red.png"
    yield "get_files", lambda: it.get_files().data
    yield "delete_file", lambda: it.delete_file(shown().id_).deleted
    yield "about a picture", lambda: "red" in about()
    yield "about a picture in a stream", lambda: "red" in about(stream=True)
    yield "a picture with a schema", lambda: "red" in Seen.model_validate_json(about(Seen.model_json_schema())).tags
    yield "chat_parse", lambda: it.chat_parse(ask("A horse."), response_format=Seen)[1].description is not None

    def second(words: str, **fields: Any) -> dict[str, Any]:
        return {"messages": [{"role": "user", "content": [{"text": words}]}], **fields}

    def seen() -> Any:
        file = shown().id_
        content = [{"text": "Describe the picture."}, {"files": [{"id": file}]}]
        try:
            return it.chat.parse({"messages": [{"role": "user", "content": content}]}, response_format=Seen)[1]
        finally:
            it.delete_file(file)

    yield "chat.create", lambda: "horse" in it.chat.create(second("The idea: a horse.")).messages[0].content[0].text
    yield (
        "chat.stream is the same",
        lambda: (
            "".join(
                part.text or ""
                for chunk in it.chat.stream(second("The idea: a horse."))
                for message in chunk.messages or []
                for part in message.content or []
            )
            == it.chat.create(second("The idea: a horse.")).messages[0].content[0].text
        ),
    )
    yield "chat.create, what it cost", lambda: it.chat.create(second("A fox.")).usage.total_tokens
    yield "chat.parse of a picture", lambda: "red" in seen().tags
    yield "the censor", lambda: it.chat("A fox. [[refused]]").choices[0].finish_reason == "blacklist"
    yield "an empty account", fails(exceptions.ResponseError, lambda: it.chat("A fox. [[quota]]"), "402")
    yield "a wrong key", fails(exceptions.AuthenticationError, lambda: client(credentials="wrong-key").get_models())
    yield "no such scope", fails(exceptions.BadRequestError, lambda: client(scope="MINE").get_models())
    yield "no such file", fails(exceptions.NotFoundError, lambda: it.get_file("nothing"))
    yield "no such model", fails(exceptions.NotFoundError, lambda: it.chat(ask("A fox.", model="Gigachad")))


# --- Replicate --------------------------------------------------------------------------------------------------------


def replicate_calls(url: str) -> Iterator[Call]:
    import replicate
    from replicate.exceptions import ModelError, ReplicateError

    os.environ["REPLICATE_POLL_INTERVAL"] = "0.01"
    it = replicate.Client(api_token=KEY, base_url=f"{url}/replicate")
    model, version = "black-forest-labs/flux-schnell", "a" * 64

    def run(by: Any = it, name: str = model, **fields: Any) -> Any:
        return by.run(name, input={"prompt": PROMPT, "output_format": "png", **fields})

    def read(by: Any = it, **fields: Any) -> bytes:
        """The client makes a file of an https address alone, and leaves the emulator's as it is."""
        return download(str(run(by, **fields)[0]))

    def begin(**fields: Any) -> Any:
        return it.models.predictions.create(model=model, input={"prompt": PROMPT, **fields})

    def done(prediction: Any) -> Any:
        prediction.wait()
        return prediction

    yield "run", lambda: picture(read(), "PNG")
    yield "run, the same seed", lambda: read(seed=5) == read(seed=5)
    yield "run, another seed", lambda: read(seed=5) != read(seed=6)
    yield "run, two pictures", lambda: len(run(num_outputs=2)) == 2
    for ratio in ("16:9", "2:3"):
        yield f"run, {ratio}", lambda ratio=ratio: picture(read(aspect_ratio=ratio))
    for form, kind in (("jpg", "JPEG"), ("webp", "WEBP")):
        yield f"run as {form}", lambda form=form, kind=kind: picture(read(output_format=form), kind)
    yield "predictions.create", lambda: begin().status in ("starting", "processing", "succeeded")
    yield "prediction.wait", lambda: done(begin()).status == "succeeded"
    yield "predictions.get", lambda: it.predictions.get(begin().id).model == model
    yield (
        "predictions.create of a version",
        lambda: done(it.predictions.create(version=version, input={"prompt": PROMPT})).output,
    )
    yield "prediction.reload", lambda: begin().reload() is None
    yield "predictions.cancel", lambda: it.predictions.cancel(begin(prompt=f"{PROMPT} [[task_stuck]]").id).status
    yield "models.get", lambda: it.models.get(model).name == "flux-schnell"
    yield "accounts.current", lambda: it.accounts.current().username
    yield "a refusal", fails(ModelError, lambda: run(prompt=f"{PROMPT} [[refused]]"), "NSFW")
    yield "an empty account", fails(ReplicateError, lambda: run(prompt=f"{PROMPT} [[quota]]"), status=402)
    yield "a wrong input", fails(ReplicateError, lambda: run(aspect_ratio="7:5"), status=422)
    yield "a dead model", fails(ReplicateError, lambda: run(name="stability-ai/sdxl-turbo"), status=404)
    stranger = replicate.Client(api_token="wrong-key", base_url=f"{url}/replicate")
    yield "a wrong key", fails(ReplicateError, lambda: run(stranger), status=401)


# --- fal --------------------------------------------------------------------------------------------------------------


def fal_calls(url: str) -> Iterator[Call]:
    import fal_client
    from fal_client import client as inside

    inside.QUEUE_URL_FORMAT = f"{url}/fal/"  # the client has no option for its address
    it, model = fal_client.SyncClient(key=KEY), "fal-ai/flux/schnell"

    def fetch(reply: Any) -> bytes:
        return download(reply["images"][0]["url"])

    def begin(prompt: str = PROMPT, **fields: Any) -> Any:
        return it.submit(model, {"prompt": prompt, "output_format": "png", **fields})

    def draw(prompt: str = PROMPT, **fields: Any) -> Any:
        return it.subscribe(model, {"prompt": prompt, "output_format": "png", **fields})

    def waiting() -> Any:
        return begin(f"{PROMPT} [[task_stuck]]").status()

    yield "submit", lambda: begin().request_id
    yield "status, first in the queue", lambda: waiting() == fal_client.Queued(position=0)
    yield "handle.get", lambda: picture(fetch(begin().get()), "PNG")
    yield "handle.iter_events", lambda: list(begin().iter_events(interval=0.01))
    yield (
        "handle.status in the end",
        lambda: isinstance(list(begin().iter_events(interval=0.01))[-1], fal_client.Completed),
    )
    yield "subscribe", lambda: picture(fetch(draw()), "PNG")
    yield "subscribe, the same seed", lambda: fetch(draw(seed=5)) == fetch(draw(seed=5)) != fetch(draw(seed=6))
    yield "subscribe, a named size", lambda: picture(fetch(draw(image_size="landscape_4_3")), "PNG", (64, 48))
    size = {"width": 512, "height": 768}
    yield "subscribe, a size in pixels", lambda: picture(fetch(draw(image_size=size)), "PNG", (32, 48))
    yield "subscribe, two pictures", lambda: len(draw(num_images=2)["images"]) == 2
    yield "get_handle", lambda: it.get_handle(model, begin().request_id).get()["seed"] is not None
    yield "status by id", lambda: it.status(model, begin(f"{PROMPT} [[task_stuck]]").request_id)
    yield "result by id", lambda: it.result(model, begin().request_id)["images"]
    yield "cancel", lambda: begin(f"{PROMPT} [[task_stuck]]").cancel() is None
    yield "a mark for what is unsafe", lambda: draw(f"{PROMPT} [[refused_nsfw]]")["has_nsfw_concepts"] == [True]
    wrong = fal_client.FalClientHTTPError
    yield "a refusal", fails(wrong, lambda: draw(f"{PROMPT} [[refused_prompt]]"), status_code=422)
    yield "an empty account", fails(wrong, lambda: draw(f"{PROMPT} [[quota]]"), "Exhausted balance", status_code=403)
    yield "a wrong size", fails(wrong, lambda: draw(image_size="vast"), status_code=422)
    stranger = fal_client.SyncClient(key="wrong-key")
    yield "a wrong key", fails(wrong, lambda: stranger.submit(model, {"prompt": PROMPT}), status_code=401)


# --- Together ---------------------------------------------------------------------------------------------------------


def together_calls(url: str) -> Iterator[Call]:
    import together

    def client(key: str = KEY, retries: int = 0) -> Any:
        return together.Together(api_key=key, base_url=f"{url}/together", max_retries=retries)

    it, model = client(), "black-forest-labs/FLUX.1-schnell"

    def draw(by: Any = it, **fields: Any) -> Any:
        return by.images.generate(**{"model": model, "prompt": PROMPT, "response_format": "base64", **fields})

    yield "a picture is a JPEG", lambda: picture(draw().data[0].b64_json, "JPEG")
    yield "unless it is to be a PNG", lambda: picture(draw(output_format="png").data[0].b64_json, "PNG")
    yield "by address", lambda: draw(response_format="url").data[0].url.startswith("http")
    yield (
        "what kind it is",
        lambda: [draw().data[0].type, draw(response_format="url").data[0].type] == ["b64_json", "url"],
    )
    yield "two pictures", lambda: [one.index for one in draw(n=2).data] == [0, 1]
    yield "a size", lambda: picture(draw(width=512, height=768).data[0].b64_json, "", (32, 48))
    yield "the same seed", lambda: draw(seed=5).data[0].b64_json == draw(seed=5).data[0].b64_json
    yield "another seed", lambda: draw(seed=5).data[0].b64_json != draw(seed=6).data[0].b64_json
    yield "steps and a negative prompt", lambda: draw(steps=4, negative_prompt="blurry").model == model
    yield "its own list", lambda: it.models.list_supported().data if hasattr(it.models, "list_supported") else True
    yield (
        "a refusal",
        fails(together.UnprocessableEntityError, lambda: draw(prompt=f"{PROMPT} [[refused]]"), "NSFW", status_code=422),
    )
    yield "a wrong size", fails(together.UnprocessableEntityError, lambda: draw(width=513))
    yield (
        "an empty account",
        fails(together.APIStatusError, lambda: draw(prompt=f"{PROMPT} [[quota]]"), status_code=402),
    )
    dead = "stabilityai/stable-diffusion-xl-base-1.0"
    yield "a dead model", fails(together.NotFoundError, lambda: draw(model=dead), "model_not_available")
    yield "a rate that is waited for", lambda: draw(client(retries=2), prompt=f"{PROMPT} [[rate_ms]]").data
    yield "a wrong key", fails(together.AuthenticationError, lambda: draw(client("wrong-key")))


# --- Hugging Face -----------------------------------------------------------------------------------------------------


def huggingface_calls(url: str) -> Iterator[Call]:
    os.environ |= {"HF_ENDPOINT": f"{url}/huggingface", "HF_HUB_DISABLE_TELEMETRY": "1"}
    import huggingface_hub
    from huggingface_hub import constants
    from huggingface_hub.errors import HfHubHTTPError

    constants.INFERENCE_PROXY_TEMPLATE = f"{url}/huggingface/{{provider}}"
    model = "black-forest-labs/FLUX.1-schnell"
    endpoint = f"{url}/huggingface/hf-inference/models/{model}"

    def client(**options: Any) -> Any:
        return huggingface_hub.InferenceClient(**{"api_key": f"hf_{KEY}", **options})

    def data(image: Any) -> bytes:
        return bytes(image.tobytes())

    routed = [client(provider=name) for name in ("nscale", "together")]
    for by in routed:
        named = by.provider

        def draw(by: Any = by, prompt: str = PROMPT, **fields: Any) -> Any:
            return by.text_to_image(prompt, model=model, **fields)

        yield f"text_to_image by {named}", lambda draw=draw: draw().size == (64, 64)
        yield f"a size by {named}", lambda draw=draw: draw(width=512, height=768).size == (32, 48)
        yield f"the same seed by {named}", lambda draw=draw: data(draw(seed=5)) == data(draw(seed=5))
        yield f"another seed by {named}", lambda draw=draw: data(draw(seed=5)) != data(draw(seed=6))
        yield f"a negative prompt by {named}", lambda draw=draw: draw(negative_prompt="blurry").size
        yield f"a refusal by {named}", fails(HfHubHTTPError, lambda draw=draw: draw(prompt=f"{PROMPT} [[refused]]"))
        yield (
            f"an empty account by {named}",
            fails(HfHubHTTPError, lambda draw=draw: draw(prompt=f"{PROMPT} [[quota]]"), "402"),
        )
    mine = client(model=endpoint)
    yield "a dedicated endpoint", lambda: mine.text_to_image(PROMPT).size == (64, 64)
    yield "its size", lambda: mine.text_to_image(PROMPT, width=512, height=768).size == (32, 48)
    yield "its steps", lambda: mine.text_to_image(PROMPT, num_inference_steps=4, guidance_scale=1.0).size
    yield "its seed", lambda: data(mine.text_to_image(PROMPT, seed=5)) == data(mine.text_to_image(PROMPT, seed=5))
    yield "its refusal", fails(HfHubHTTPError, lambda: mine.text_to_image(f"{PROMPT} [[refused]]"))
    yield "a wrong key", fails(HfHubHTTPError, lambda: client(model=endpoint, api_key="wrong-key").text_to_image("a"))


# --- A1111 ------------------------------------------------------------------------------------------------------------


def webui_calls(url: str) -> Iterator[Call]:
    import webuiapi

    it = webuiapi.WebUIApi(baseurl=f"{url}/a1111/sdapi/v1")

    def draw(**fields: Any) -> Any:
        return it.txt2img(**{"prompt": PROMPT, "seed": 5, "width": 512, "height": 512, **fields})

    yield "txt2img as the client asks", lambda: draw().image.size == (32, 32)
    for scheduler in ("automatic", "Automatic", "AUTOMATIC", "karras", "sgm_uniform"):
        yield f"scheduler {scheduler}", lambda scheduler=scheduler: draw(scheduler=scheduler).info["seed"] == 5
    for sampler in ("Euler a", "DPM++ 2M"):
        yield f"sampler {sampler}", lambda sampler=sampler: sampler in draw(sampler_name=sampler).info["infotexts"][0]
    yield "the same seed", lambda: draw().image.tobytes() == draw().image.tobytes()
    yield "another seed", lambda: draw().image.tobytes() != draw(seed=6).image.tobytes()
    yield "two in a batch", lambda: len(draw(batch_size=2).images) == 2
    yield "two batches", lambda: len(draw(n_iter=2).images) == 2
    yield "a size", lambda: draw(height=768).image.size == (32, 48)
    yield "get_options", lambda: it.get_options()["sd_model_checkpoint"]
    yield "set_options", lambda: it.set_options({"CLIP_stop_at_last_layers": 2}) is None
    yield "util_get_model_names", it.util_get_model_names
    yield "util_get_current_model", lambda: it.util_get_current_model().startswith("sd_xl")
    yield "util_get_sampler_names", lambda: "Euler a" in it.util_get_sampler_names()
    yield "util_get_scheduler_names", lambda: "automatic" in it.util_get_scheduler_names()
    yield "util_wait_for_ready", lambda: it.util_wait_for_ready() is None
    yield "get_loras", lambda: it.get_loras() == []
    yield "get_progress", lambda: it.get_progress()["progress"] == 0.0
    yield "interrupt", lambda: it.interrupt() is None
    yield "no such sampler", fails(RuntimeError, lambda: draw(sampler_name="Oyler"), "Sampler not found")
    yield "no such size", fails(RuntimeError, lambda: draw(width=8), "422")
    yield "an error inside", fails(RuntimeError, lambda: draw(prompt=f"{PROMPT} [[error_500]]"), "500")


CLIENTS: dict[str, tuple[str, Callable[[str], Iterator[Call]]]] = {
    "openai": ("openai", openai_calls),
    "google-genai": ("google.genai", google_calls),
    "gigachat": ("gigachat", gigachat_calls),
    "replicate": ("replicate", replicate_calls),
    "fal-client": ("fal_client", fal_calls),
    "together": ("together", together_calls),
    "huggingface_hub": ("huggingface_hub", huggingface_calls),
    "webuiapi": ("webuiapi", webui_calls),
}
"""A package to its module, and its calls."""


def try_client(name: str, url: str) -> Iterator[dict[str, object]]:
    """A record a call."""
    module, calls = CLIENTS[name]
    try:
        importlib.import_module(module)
    except ImportError as error:
        yield {"client": name, "skipped": f"not installed ({error})"}
        return
    version = metadata.version(name)
    for what, call in calls(url):
        try:
            right, said = bool(call()), ""
        except Exception as error:  # whatever a client raises is what is wrong with it
            right, said = False, f"{type(error).__name__}: {error}"[:300]
        yield {"client": name, "version": version, "call": what, "right": right, "said": said}


def stay_here(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook: no client may look beyond this machine."""
    if event not in ("socket.connect", "socket.getaddrinfo"):
        return
    host = arguments[0] if event == "socket.getaddrinfo" else arguments[1]
    host = host[0] if isinstance(host, tuple) else host
    if isinstance(host, bytes):
        host = host.decode(errors="replace")
    if host not in ("127.0.0.1", "localhost", "::1", None):
        raise PermissionError(f"{host} is not this machine")


def main(url: str, *names: str) -> None:
    os.environ |= {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    sys.addaudithook(stay_here)
    for name in names or CLIENTS:
        for record in try_client(name, url):
            print(json.dumps(record), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
