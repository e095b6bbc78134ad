"""GigaChat's second chat contract in terms of the first: content in parts, options in an object, named events.

As the official client 0.2.3 has it; the names of the streamed events could not be checked against the service.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from harness.emulator.chat import PIECE
from harness.emulator.exchange import Answer, answer_json, invalid
from harness.emulator.service import read_bool, read_section

DELTA, DONE = "response.message.delta", "response.message.done"


def to_first(body: Mapping[str, Any]) -> dict[str, Any]:
    """The request as the first contract would have it.

    Raises:
        Rejected: content that is no list of parts.
    """
    options = read_section(body, "model_options")
    messages = body.get("messages")
    converted = [to_message(one) for one in messages] if isinstance(messages, list) else messages
    kept = {name: options[name] for name in ("temperature", "max_tokens", "response_format") if name in options}
    return {"model": body.get("model"), "messages": converted, **kept}


def to_message(message: Any) -> Any:
    """One message: its texts as one, its files as attachments."""
    parts = message.get("content") if isinstance(message, Mapping) else None
    if not isinstance(parts, list) or not all(isinstance(part, Mapping) for part in parts):
        raise invalid("messages", "content must be a list of parts", 422)
    files = [str(file.get("id")) for part in parts for file in part.get("files") or [] if isinstance(file, Mapping)]
    texts = "\n".join(str(part["text"]) for part in parts if part.get("text"))
    return {"role": message.get("role"), "content": texts, **({"attachments": files} if files else {})}


def answer_second(body: Mapping[str, object], reply: Mapping[str, Any]) -> Answer:
    """A reply of the first contract as the second has it, at once or in named events."""
    head = {"model": reply["model"], "created_at": reply["created"], "message_id": reply["id"]}
    choice = next(iter(reply["choices"]), None)
    text, ending = (choice["message"]["content"] or "", choice["finish_reason"]) if choice else ("", "error")
    counts = reply["usage"]
    usage = {"input_tokens": counts["prompt_tokens"], "output_tokens": counts["completion_tokens"]}
    tail = {"finish_reason": ending, "usage": {**usage, "total_tokens": counts["total_tokens"]}}
    if not read_bool(body, "stream", False):
        return answer_json({**head, "messages": [said(text)] if choice else [], **tail})
    events = "".join(f"event: {name}\ndata: {json.dumps(data)}\n\n" for name, data in events_of(head, text, tail))
    return Answer(200, events.encode(), {"Content-Type": "text/event-stream; charset=utf-8"})


def events_of(
    head: Mapping[str, object], text: str, tail: Mapping[str, object]
) -> Iterator[tuple[str, dict[str, object]]]:
    for place in range(0, len(text), PIECE):
        yield DELTA, {**head, "messages": [said(text[place : place + PIECE])]}
    yield DONE, {**head, **tail}


def said(text: str) -> dict[str, object]:
    return {"role": "assistant", "content": [{"text": text}]}
