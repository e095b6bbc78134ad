"""OpenAI's chat: answers held to a JSON schema, refusals in a field of their own, pictures inside the request."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal
from urllib.parse import quote

from pydantic import Field

from harness.config.service_models import successor
from harness.core.values import Outcome
from harness.core.yaml import VariableName
from harness.providers.http_client.exchange import Call, Deadline, Reply, Unanswered
from harness.providers.openai_errors import read_error
from harness.providers.remote import explain_status
from harness.providers.text.chat import ChatWriter, Message, Schema, WriterOptions
from harness.providers.text.formats import prepare

MAX_PICTURE = 10_000_000  # bytes, before base64
UNKNOWN_WORDS = (
    "title",
    "default",
    "examples",
    "minLength",
    "maxLength",
)  # of a schema: strict mode takes none of them


class OpenAiTextOptions(WriterOptions):
    """Addresses and models as of November 2026; any service with the same interface has another `url`."""

    url: str = "https://api.openai.com"
    model: str = "gpt-5.4-mini-2026-03-17"
    key: VariableName = "OPENAI_API_KEY"
    temperature: float | None = Field(None, ge=0, le=2)  # reasoning models refuse it
    detail: Literal["auto", "low", "high"] = "auto"  # of a picture: what it costs


class OpenAiWriter(ChatWriter):
    """`adapter: openai`."""

    adapter: ClassVar[str] = "openai/1"
    service: ClassVar[str] = "openai"
    Options: ClassVar[type[WriterOptions]] = OpenAiTextOptions
    sees = True
    path: ClassVar[str] = "/v1/chat/completions"

    def probe(self) -> Call:
        return Call(f"/v1/models/{quote(self.options.model, safe='')}", "GET", paid=False)

    def body(self, messages: Sequence[Message], schema: Schema | None) -> dict[str, object]:
        options = self.options
        body: dict[str, object] = {
            "model": options.model,
            "messages": list(messages),
            "max_completion_tokens": options.max_tokens,
        }
        if options.temperature is not None:
            body["temperature"] = options.temperature
        if schema is not None:
            name = str(schema.get("title") or "answer").lower()
            strict = {"name": name, "strict": True, "schema": strict_schema(schema)}
            body["response_format"] = {"type": "json_schema", "json_schema": strict}
        return body

    def look(self, picture: bytes, question: str, deadline: Deadline) -> str:
        shown = prepare(picture, MAX_PICTURE)
        address = f"data:{shown.mime};base64,{base64.b64encode(shown.data).decode()}"
        content = [
            {"type": "text", "text": question},
            {"type": "image_url", "image_url": {"url": address, "detail": self.options.detail}},
        ]
        return self.answer(self.body([{"role": "user", "content": content}], None), deadline)

    def problem(self, reply: Reply) -> Unanswered:
        """A 429 may be an empty account, a 400 a refusal."""
        error = read_error(reply)
        if error.limit:
            return error.limit
        if error.no_model:
            gone = f"no model {self.model!r}{successor(self.service, self.model)}"
            message = f"{gone}; name another under `writers` in the profile ({error.message})"
            return Unanswered(Outcome.MODEL_RETIRED, message, final=True)
        if error.refused:
            return Unanswered(Outcome.REFUSED, f"the service refused ({error.message}); change the text or the picture")
        return explain_status(reply)


def strict_schema(schema: Any) -> Any:
    """A JSON schema as strict mode wants it: every property required, none besides, no word that it does not know."""
    if isinstance(schema, list):
        return [strict_schema(part) for part in schema]
    if not isinstance(schema, Mapping):
        return schema
    kept: dict[str, Any] = {}
    for word, value in schema.items():
        if word in ("properties", "$defs"):  # names here, not words
            kept[word] = {name: strict_schema(part) for name, part in value.items()}
        elif word not in UNKNOWN_WORDS:
            kept[word] = strict_schema(value)
    if kept.get("type") == "object":
        kept |= {"required": list(kept.get("properties", {})), "additionalProperties": False}
    return kept
