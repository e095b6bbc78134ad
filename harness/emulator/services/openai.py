"""OpenAI's pictures: base64 alone, no seed, and an error object for everything."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from harness.config.service_models import find_model
from harness.emulator.exchange import Answer, Asked, Problem, Rejected, answer_json, invalid, openai_error
from harness.emulator.service import Service, find_int, only, read_bool, read_choice, read_int, read_text, route

PICTURES = ("gpt-image-", "chatgpt-image-", "dall-e-")  # how the ids of picture models begin
CHAT = ("gpt-4", "gpt-5", "gpt-6", "o1", "o3", "o4")  # known to GET /v1/models beside them
FREE_SIZE = ("gpt-image-2",)  # models that take any WxH
SIZES = ("auto", "1024x1024", "1536x1024", "1024x1536")
FIELDS = (
    *("prompt", "model", "n", "size", "quality", "background", "output_format", "output_compression", "moderation"),
    *("partial_images", "stream", "complexity", "safety_identifier", "user"),
)
QUALITIES = ("auto", "low", "medium", "high")
FINER = ("xhigh", "max")  # qualities of 2.5 and newer
KINDS: dict[str, tuple[str, str | None]] = {
    "missing_key": ("invalid_request_error", None),
    "auth": ("invalid_request_error", "invalid_api_key"),
    "forbidden": ("invalid_request_error", "model_not_allowed"),
    "quota": ("insufficient_quota", "insufficient_quota"),
    "rate_quota": ("insufficient_quota", "insufficient_quota"),
    "rate": ("requests", "rate_limit_exceeded"),
    "retired": ("image_generation_user_error", "invalid_value"),  # the type says nothing of moderation, the code does
    "not_found": ("invalid_request_error", "unknown_url"),
    "invalid": ("image_generation_user_error", "invalid_value"),
    "error": ("server_error", None),
    "unavailable": ("server_error", "overloaded"),
}
"""A kind of problem to the type and the code of the error object."""
TURNED = {"quota": 429, "retired": 400}  # an empty account and a dead model have statuses of their own here
CREATED = 1_790_000_000  # seconds since 1970
LIMIT = 500  # requests a minute, as the headers have it


class OpenAi(Service):
    """GPT image models; `error.code` alone tells a refusal from a mistake."""

    delivers = ("base64",)
    forms = ("refused", "refused_output")

    def problem(self, problem: Problem) -> Answer:
        kind, code = KINDS[problem.kind]
        error = openai_error(problem, kind, code) | problem.retry_after
        status = problem.status or TURNED.get(problem.kind, problem.http)
        return answer_json({"error": error}, status, self.headers())

    def headers(self) -> dict[str, str]:
        """What comes with every reply."""
        return {
            "x-request-id": f"req_{self.new_id().replace('-', '')}",
            "openai-processing-ms": "1200",
            "x-ratelimit-limit-requests": str(LIMIT),
            "x-ratelimit-remaining-requests": str(LIMIT - 1),
            "x-ratelimit-reset-requests": "120ms",
        }

    @route("GET", r"/v1/models/(?P<model>[\w.:-]+)")
    def model(self, asked: Asked, model: str) -> Answer:
        try:
            self.check_model(model, (*PICTURES, *CHAT))
        except Rejected as rejected:
            raise Rejected(replace(rejected.problem, kind="not_found", code="model_not_found")) from None
        return answer_json(self.model_record(model), headers=self.headers())

    @route("GET", "/v1/models")
    def list_models(self, asked: Asked) -> Answer:
        names = (*self.models(), *self.models(draws=False))
        return answer_json({"object": "list", "data": [self.model_record(name) for name in names]})

    def model_record(self, name: str) -> dict[str, object]:
        """A model as the service lists it, with the day of its end where one is announced."""
        listed = find_model("openai", name)
        ends = listed.ends.isoformat() if listed and listed.ends else None
        fields = {"id": name, "object": "model", "created": CREATED, "owned_by": "system"}
        return {**fields, "shutdown_date": ends}

    @route("POST", "/v1/images/generations", paid=True)
    def generate(self, asked: Asked) -> Answer:
        body = self.json_body(asked)
        prompt = read_text(body, "prompt", most=32_000)
        model = read_text(body, "model")
        self.check_model(model, PICTURES)
        only(body, FIELDS)
        size, width, height = read_size(body, model)
        quality, form = read_looks(body, model)
        count = read_int(body, "n", 1, 10, 1)
        if asked.fault in ("refused", "refused_output"):
            return self.moderated(asked)
        pictures = self.draw(asked, prompt, width, height, count=count, mime=f"image/{form}")
        words, made = len(prompt.split()), 1056 * len(pictures)
        usage = {"input_tokens": words, "output_tokens": made, "total_tokens": words + made}
        usage_details = {"input_tokens_details": {"text_tokens": words, "image_tokens": 0}}
        reply = {
            "created": CREATED,
            "data": [{"b64_json": picture.base64} for picture in pictures] or None,
            "background": "opaque",
            "output_format": form,
            "quality": quality,
            "size": f"{width}x{height}" if size == "auto" else size,
            "usage": {**usage, **usage_details},
        }
        if body.get("stream"):
            return answer_events(reply, find_int(body, "partial_images", 0, 3) or 0, self.headers())
        return answer_json(reply, headers=self.headers())

    def moderated(self, asked: Asked) -> Answer:
        """A refusal is a 400; the newer form says at which stage."""
        text = (
            "Your request was rejected by the safety system. If you believe this is an error, contact us at "
            f"help.openai.com and include the request ID {self.new_id()}. safety_violations=[violence]."
        )
        error: dict[str, object] = {"message": text, "type": "image_generation_user_error", "param": None}
        error["code"] = "moderation_blocked"
        if asked.fault == "refused_output":
            error["moderation_details"] = {"moderation_stage": "output", "categories": ["violence"]}
        billed = asked.fault == "refused_output"
        return answer_json({"error": error}, 400, self.headers(), accepted=billed)


def read_size(body: Mapping[str, object], model: str) -> tuple[str, int, int]:
    """The size as said and in pixels; "auto" is a square."""
    size = read_text(body, "size", default="auto")
    if size in SIZES:
        width, height = (1024, 1024) if size == "auto" else (int(side) for side in size.split("x"))
        return size, width, height
    sides = size.split("x")
    if not model.startswith(FREE_SIZE) or len(sides) != 2 or not all(side.isdigit() for side in sides):
        raise invalid("size", f"Invalid value: '{size}'. Supported values are: {', '.join(SIZES)}.")
    width, height = int(sides[0]), int(sides[1])
    if width % 16 or height % 16 or not width or not height:
        raise invalid("size", "Both sides must be divisible by 16.")
    if not 1 / 3 <= width / height <= 3 or max(width, height) > 3840 or min(width, height) > 2160:
        raise invalid("size", "The ratio must be between 1:3 and 3:1, and the size at most 3840x2160.")
    return size, width, height


def version_of(model: str) -> tuple[int, int]:
    """(2, 5) of gpt-image-2.5-sunburst, (2, 0) of gpt-image-2-2026-04-21."""
    result = re.match(r"gpt-image-(\d+)(?:\.(\d+))?", model)
    return (int(result[1]), int(result[2] or 0)) if result else (0, 0)


def read_looks(body: Mapping[str, object], model: str) -> tuple[str, str]:
    """Quality and file format, as they are said."""
    more = FINER if version_of(model) >= (2, 5) else ()
    quality = read_choice(body, "quality", (*QUALITIES, *more), "auto")
    form = read_choice(body, "output_format", ("png", "jpeg", "webp"), "png")
    background = read_choice(body, "background", ("auto", "opaque", "transparent"), "auto")
    read_choice(body, "moderation", ("auto", "low"), "auto")
    if background == "transparent" and form == "jpeg":
        raise invalid("background", "Transparent background is not supported for jpeg output format.")
    if find_int(body, "output_compression", 0, 100) is not None and form == "png":
        raise invalid("output_compression", "Compression less than 100 is not supported for PNG output format")
    if find_int(body, "partial_images", 0, 3) and not body.get("stream"):
        raise invalid("partial_images", "partial_images needs stream")
    read_bool(body, "stream", False)
    return quality, form


def answer_events(reply: Mapping[str, Any], drafts: int, headers: Mapping[str, str]) -> Answer:
    """A reply as server-sent events: drafts of the first picture, then each picture."""
    shared = {
        "created_at": CREATED,
        **{name: reply[name] for name in ("background", "output_format", "quality", "size")},
    }
    pictures = reply["data"] or []
    events = [
        {"type": "image_generation.partial_image", "partial_image_index": number, **picture, **shared}
        for picture in pictures[:1]
        for number in range(drafts)
    ]
    events += [
        {"type": "image_generation.completed", **picture, **shared, "usage": reply["usage"]} for picture in pictures
    ]
    text = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)
    return Answer(200, text.encode(), {"Content-Type": "text/event-stream", **headers})


SERVICE = OpenAi
