"""What the emulated chat services share: reading a conversation, answering in OpenAI's shape, spoiling an answer."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from harness.emulator.exchange import Answer, answer_json, invalid
from harness.emulator.service import Service, plain_prompt, read_bool

PIECE = 24  # characters of one streamed piece


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


def list_models(names: Sequence[str], owner: str) -> dict[str, object]:
    """The models that there are, in OpenAI's shape."""
    return {"object": "list", "data": [model_record(name, owner) for name in names]}


def model_record(name: str, owner: str) -> dict[str, object]:
    """One of them."""
    return {"id": name, "object": "model", "owned_by": owner}


def answer_chat(body: Mapping[str, object], reply: Mapping[str, Any]) -> Answer:
    """A whole reply as the request wants it: at once, or with `stream: true` piece by piece."""
    if not read_bool(body, "stream", False):
        return answer_json(reply)
    options = body.get("stream_options")
    counted = isinstance(options, Mapping) and options.get("include_usage") is True
    lines = [f"data: {json.dumps(event)}\n\n" for event in events_of(reply, counted)]
    text = "".join([*lines, "data: [DONE]\n\n"])
    return Answer(200, text.encode(), {"Content-Type": "text/event-stream; charset=utf-8"})


def events_of(reply: Mapping[str, Any], counted: bool) -> Iterator[dict[str, object]]:
    """The server-sent events of a reply in OpenAI's shape: who speaks, the text in pieces, why it ended.

    `counted`: one more event without choices says what it cost.
    """
    head = {"id": reply["id"], "object": "chat.completion.chunk", "created": reply["created"], "model": reply["model"]}
    for choice in reply["choices"]:
        message, number = choice["message"], choice["index"]
        text, refusal = message.get("content") or "", message.get("refusal")
        pieces = [text[place : place + PIECE] for place in range(0, len(text), PIECE)]
        deltas: list[dict[str, object]] = [{"role": "assistant", "content": ""}]
        deltas += [{"content": piece} for piece in pieces] + ([{"refusal": refusal}] if refusal else [])
        for delta in deltas:
            yield {**head, "choices": [{"index": number, "delta": delta, "logprobs": None, "finish_reason": None}]}
        ending = {"index": number, "delta": {}, "logprobs": None, "finish_reason": choice["finish_reason"]}
        yield {**head, "choices": [ending]}
    if counted:
        yield {**head, "choices": [], "usage": reply["usage"]}


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
