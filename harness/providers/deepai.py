"""DeepAI: one call, one picture, a form in and an address out; it takes no seed.

POST {url}/api/text2img   form: text, width, height, image_generator_version, negative_prompt, grid_size
200 {"id", "output_url"}  or, also with 200, {"err"} or {"status"} with the reason in words
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from typing import Literal
from urllib.parse import urljoin

from PIL import Image
from pydantic import model_validator

from harness.core.values import Outcome, Request
from harness.core.yaml import VariableName
from harness.providers.http_client.exchange import Call, Reply, Unanswered
from harness.providers.http_client.options import RemoteOptions
from harness.providers.remote import (
    ParsedReply,
    RemoteProvider,
    error_text,
    explain_status,
    linked_picture,
    nearest_shape,
    no_picture,
    read_json,
    refusal,
)

STANDARD = ((512, 512), (1024, 576), (1024, 720), (768, 1024), (576, 1024))
HIGH = ((1024, 1024), (1216, 832), (1152, 896), (896, 1152), (832, 1216))

# The service says everything in words. The first line that fits is what it means.
WORDS: tuple[tuple[str, Outcome, str], ...] = (
    (r"credit|balance|payment|billing|subscri|\bquota", Outcome.QUOTA, "the account is out of credit; top it up"),
    (r"nsfw|moderat|safety|polic|inappropriate|explicit|flagged", Outcome.REFUSED, "reword the prompt"),
    (r"api.?key|unauthori[sz]ed|authenticat", Outcome.AUTH, "the key was not accepted; check the variable"),
)
PAID_FOR = frozenset({Outcome.QUOTA, Outcome.AUTH})  # meanings that end the run for this service


class DeepAiOptions(RemoteOptions):
    """As documented in November 2026."""

    url: str = "https://api.deepai.org"
    key: VariableName = "DEEPAI_API_KEY"
    header: str = "api-key"
    prefix: str = ""
    version: Literal["standard", "hd", "genius", "super_genius"] = "standard"
    preference: Literal["", "anime", "photography", "graphic", "cinematic"] = ""  # of `genius`
    resolution: Literal["", "2k", "4k"] = ""  # of `super_genius`
    per_call: Literal[1] = 1

    @model_validator(mode="after")
    def belong_together(self) -> DeepAiOptions:
        """The service answers 400 to an option of another version."""
        if self.preference and self.version != "genius":
            raise ValueError(f"`preference` needs `version: genius` (found {self.version!r})")
        if self.resolution and self.version != "super_genius":
            raise ValueError(f"`resolution` needs `version: super_genius` (found {self.version!r})")
        return self


class DeepAiProvider(RemoteProvider):
    """DeepAI's text2img."""

    adapter, service, Options = "deepai/1", "deepai", DeepAiOptions
    options: DeepAiOptions
    seeded = False

    def ask(self, request: Request, count: int) -> Call:
        width, height = self._size(request)
        form = {"text": request.prompt, "width": str(width), "height": str(height)}
        form |= {"image_generator_version": self.options.version, "grid_size": "1"}  # "2" is a collage of four
        form |= {"negative_prompt": request.negative} if request.negative else {}
        form |= {"genius_preference": self.options.preference} if self.options.preference else {}
        form |= {"resolution": self.options.resolution} if self.options.resolution else {}
        return Call("/api/text2img", form=form)

    def read(self, reply: Reply) -> ParsedReply:
        answer = read_json(reply)
        url = answer.get("output_url")
        if isinstance(url, str) and url:
            return ParsedReply((linked_picture(urljoin(self.session.url("/"), url)),))
        text = next((str(answer[name]) for name in ("err", "error", "status") if answer.get(name)), "")
        if not text:
            raise no_picture("the reply names no picture")
        raise explain_words(text) or Unanswered(Outcome.PROVIDER_ERROR, f"the service said: {text}; try again later")

    def problem(self, reply: Reply) -> Unanswered:
        """The words win over the status: an account without credit answers 401 too."""
        plain = explain_status(reply)
        if reply.status == 429 or reply.status >= 500:
            return plain
        result = explain_words(error_text(reply.body))
        return result if result is not None and result.outcome is not Outcome.AUTH else plain

    def settings(self) -> Mapping[str, object]:
        options = self.options
        given = {"version": options.version, "preference": options.preference, "resolution": options.resolution}
        return {name: value for name, value in given.items() if value}

    def check(self, prompt: str) -> str:
        address = re.match(r"\s*([a-z][a-z0-9+.-]*://|data:|//|www\.)", prompt, re.IGNORECASE)
        return "the service would fetch a prompt that is an address; write words" if address else ""

    def examine(self, data: bytes, request: Request) -> Unanswered | None:
        """The collage of four that was not asked for; `super_genius` draws larger than asked, and is no collage."""
        if self.options.version == "super_genius":
            return None
        try:
            with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as image:
                collage = image.size == tuple(2 * side for side in self._size(request))
        except (OSError, SyntaxError, ValueError, Warning, Image.DecompressionBombError):
            return None  # the engine says what is wrong with it
        return no_picture("the picture is a collage of four smaller ones") if collage else None

    def notes(self, request: Request) -> Mapping[str, object]:
        return {"asked_size": list(self._size(request)), "ignored": ["seed"]}

    def _size(self, request: Request) -> tuple[int, int]:
        sizes = STANDARD if self.options.version == "standard" else HIGH
        shapes = {f"{width}x{height}": (width, height) for width, height in sizes}
        return shapes[nearest_shape(request.width, request.height, shapes)]


def explain_words(said: str) -> Unanswered | None:
    """What the service means; None when its words are not among the known ones."""
    for pattern, outcome, advice in WORDS:
        if re.search(pattern, said, re.IGNORECASE):
            if outcome is Outcome.REFUSED:
                return refusal(said)
            return Unanswered(outcome, f"{advice} ({said})", final=outcome in PAID_FOR)
    return None
