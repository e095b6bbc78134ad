"""OpenAI's image models: pictures in base64, several a call, no seed and no negative prompt.

POST {url}/v1/images/generations   {"model", "prompt", "n", "size", "quality", "output_format", "background"}
200 {"data": [{"b64_json"}], "size", "quality", "usage"}
400 {"error": {"code": "moderation_blocked"}} is a refusal, whatever its type; 429 is a rate, or a limit of the account
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import quote

from pydantic import AfterValidator, Field, model_validator

from harness.config.service_models import successor
from harness.core.values import Outcome, Request
from harness.core.yaml import VariableName
from harness.providers.http_client.exchange import Call, Reply, Unanswered
from harness.providers.http_client.options import RemoteOptions
from harness.providers.openai_errors import read_error
from harness.providers.remote import (
    ParsedReply,
    RemoteProvider,
    explain_status,
    inline_picture,
    nearest_shape,
    read_json,
    read_list,
    refusal,
)

SHAPES = {"1024x1024": (1024, 1024), "1536x1024": (1536, 1024), "1024x1536": (1024, 1536)}
LONGEST_PROMPT = 32_000


def check_size(text: str) -> str:
    """A size that the newer models take: sides of 16 pixels each, 3:1 at most, 3840x2160 at most; "" is none."""
    if not text:
        return text
    result = re.fullmatch(r"(\d{2,4})x(\d{2,4})", text)
    if not result:
        raise ValueError(f"a size is like 1024x1024 (found {text!r})")
    short, long = sorted(map(int, result.groups()))
    if short % 16 or long % 16 or long > 3 * short or long > 3840 or short > 2160:
        raise ValueError(f"sides are multiples of 16, at most 3:1 and at most 3840x2160 (found {text!r})")
    return text


class OpenAiOptions(RemoteOptions):
    """As documented in November 2026. `size` and `quality` are pinned: `auto` makes runs incomparable."""

    url: str = "https://api.openai.com"
    key: VariableName = "OPENAI_API_KEY"
    model: str = "gpt-image-2.5-sunburst"
    size: Annotated[str, AfterValidator(check_size)] = ""  # "": the nearest of the three that every model has
    quality: Literal["low", "medium", "high", "xhigh", "max"] = "medium"
    background: Literal["opaque", "transparent"] = "opaque"
    format: Literal["png", "jpeg", "webp"] = "png"  # gif and svg cannot be judged
    moderation: Literal["auto", "low"] = "auto"
    per_call: int = Field(1, ge=1, le=10)
    read: float = Field(240.0, gt=0)  # nothing comes until the picture is done, and that takes minutes
    deadline: float = Field(300.0, gt=0)

    @model_validator(mode="after")
    def belong_together(self) -> OpenAiOptions:
        """The service answers 400 to a JPEG without a background: the format has no transparency."""
        if self.background == "transparent" and self.format == "jpeg":
            raise ValueError("`background: transparent` needs `format: png` or `webp` (found 'jpeg')")
        return self


class OpenAiProvider(RemoteProvider):
    """OpenAI's `images/generations`."""

    adapter, service, Options = "openai/1", "openai", OpenAiOptions
    options: OpenAiOptions
    seeded = False

    def ask(self, request: Request, count: int) -> Call:
        options = self.options
        body = {"model": options.model, "prompt": request.prompt, "n": count, "size": self._size(request)}
        body |= {"quality": options.quality, "background": options.background}
        body |= {"output_format": options.format, "moderation": options.moderation}
        return Call("/v1/images/generations", json=body)

    def read(self, reply: Reply) -> ParsedReply:
        answer = read_json(reply)
        meta = {name: answer[name] for name in ("size", "quality") if isinstance(answer.get(name), str)}
        request = reply.headers.get("x-request-id")
        pictures = (inline_picture(read_text(entry)) for entry in read_list(answer, "data"))
        return ParsedReply(tuple(pictures), {**meta, **({"service_request": request} if request else {})})

    def problem(self, reply: Reply) -> Unanswered:
        error = read_error(reply)
        if error.refused:
            return refusal(error.message or error.code, billed=error.stage == "output")
        if error.limit:
            return error.limit
        if error.no_model:
            model = self.options.model
            message = (
                f"no model {model!r}{successor(self.service, model)}; correct `model` in the profile ({error.message})"
            )
            return Unanswered(Outcome.MODEL_RETIRED, message, final=True)
        return explain_status(reply)

    def settings(self) -> Mapping[str, object]:
        options = self.options
        named = {"quality": options.quality, "background": options.background, "format": options.format}
        return {**named, "moderation": options.moderation, **({"size": options.size} if options.size else {})}

    def check(self, prompt: str) -> str:
        if len(prompt) <= LONGEST_PROMPT:
            return ""
        return f"the service takes prompts of {LONGEST_PROMPT} characters at most (found {len(prompt)}); shorten it"

    def notes(self, request: Request) -> Mapping[str, object]:
        return {"asked_size": self._size(request), "ignored": ["seed", *(["negative"] if request.negative else [])]}

    def probe(self) -> Call | None:
        return Call(f"/v1/models/{quote(self.options.model, safe='')}", "GET", paid=False)

    def _size(self, request: Request) -> str:
        return self.options.size or nearest_shape(request.width, request.height, SHAPES)


def read_text(entry: Any) -> Any:
    """The base64 text of one entry, or whatever stands there instead."""
    return entry.get("b64_json") if isinstance(entry, dict) else None
