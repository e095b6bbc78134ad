"""What the emulated chat services share: reading a conversation, answering in OpenAI's shape, spoiling an answer."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from harness.emulator.exchange import invalid
from harness.emulator.service import Service, plain_prompt


class ChatService(Service):
    """Writes texts."""

    delivers = ("text",)
    forms: ClassVar[tuple[str, ...]] = (
        "blank_once",
        "blank_always",
        "bad_content",
        "wrong_shape",
        "length",
        "no_choices",
    )

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._blank: set[str] = set()  # conversations that are answered blank for ever

    def stuck(self, fault: str, words: str) -> str:
        """The fault of a conversation: `blank_always` comes again with every new attempt at it."""
        with self.lock:
            if fault == "blank_always":
                self._blank.add(words)
            return "blank_always" if fault == "ok" and words in self._blank else fault


def all_words(body: Mapping[str, object]) -> str:
    """Everything that was said, in its order.

    Raises:
        Rejected: `messages` is not what it should be.
    """
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise invalid("messages", "messages must be a non-empty list")
    texts: list[str] = []
    for message in messages:
        if not isinstance(message, Mapping) or message.get("role") not in ("system", "user", "assistant", "developer"):
            raise invalid("messages", "each message needs a role")
        texts += parts_of_content(message.get("content"))
    return plain_prompt("\n".join(texts))


def parts_of_content(content: Any) -> list[str]:
    """The texts of one message."""
    if isinstance(content, str):
        return [content]
    if not isinstance(content, list):
        raise invalid("messages", "content must be a string or a list of parts")
    return [str(part.get("text")) for part in content if isinstance(part, Mapping) and part.get("type") == "text"]


def faulty(text: str, fault: str) -> str:
    """What a model wrote, as the fault has it."""
    if fault in ("blank_once", "blank_always"):
        return " " * 40
    if fault in ("bad_content", "length"):
        return text[: len(text) // 2]
    return '{"title": "Nothing but a title"}' if fault == "wrong_shape" else text


def list_models(names: Sequence[str]) -> dict[str, object]:
    """The models that there are, in OpenAI's shape."""
    return {"object": "list", "data": [{"id": name, "object": "model"} for name in names]}


def completion(
    number: str, model: str, text: str | None, fault: str, endings: Mapping[str, str], refusal: str | None = None
) -> dict[str, object]:
    """A whole reply in OpenAI's shape."""
    message = {"role": "assistant", "content": text} | ({"refusal": refusal} if refusal else {})
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": endings.get(fault, "stop")}
    choices: Sequence[Any] = [] if fault == "no_choices" else [choice]
    tokens = {"prompt_tokens": 100, "completion_tokens": len(text or "") // 4}
    return {
        "id": number,
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": choices,
        "usage": tokens | {"total_tokens": sum(tokens.values())},
    }
