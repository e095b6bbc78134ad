"""DeepSeek's chat: JSON without a schema, thinking that must be switched off, answers that may be blank."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

from harness.core.values import Outcome
from harness.core.yaml import VariableName
from harness.providers.http_client.exchange import Reply, Unanswered
from harness.providers.remote import error_text, explain_status
from harness.providers.text.chat import ChatWriter, Message, Schema, WriterOptions, with_schema

NO_MODEL = re.compile(
    r"model\b.*\b(not exist|not found|unknown|retired|deprecated|invalid)|(unknown|invalid) model", re.I
)


class DeepSeekOptions(WriterOptions):
    """Addresses and models as of November 2026."""

    url: str = "https://api.deepseek.com"
    model: str = "deepseek-flash"
    key: VariableName = "DEEPSEEK_API_KEY"
    thinking: bool = False  # dearer and slower, and the temperature is then ignored


class DeepSeekWriter(ChatWriter):
    """`adapter: deepseek`."""

    adapter: ClassVar[str] = "deepseek/1"
    service: ClassVar[str] = "deepseek"
    Options: ClassVar[type[WriterOptions]] = DeepSeekOptions

    def body(self, messages: Sequence[Message], schema: Schema | None) -> dict[str, object]:
        """Its JSON mode wants the word json and an example in the prompt, and validates nothing."""
        options = self.options
        system, *others = messages
        body: dict[str, object] = {
            "model": options.model,
            "messages": [{**system, "content": with_schema(str(system["content"]), schema)}, *others],
            "max_tokens": options.max_tokens,
            "thinking": {"type": "enabled" if options.thinking else "disabled"},
            "stream": False,
        }
        if options.temperature is not None and not options.thinking:
            body["temperature"] = options.temperature
        return body | ({"response_format": {"type": "json_object"}} if schema is not None else {})

    def problem(self, reply: Reply) -> Unanswered:
        """An unknown model is a 400 here."""
        text = error_text(reply.body)
        if reply.status in (400, 404, 422) and NO_MODEL.search(text):
            message = f"no model {self.options.model!r}; name another under `writers` in the profile ({text})"
            return Unanswered(Outcome.MODEL_RETIRED, message, final=True)
        return explain_status(reply)
