"""OpenAI's chat: `POST /v1/chat/completions` with strict JSON schemas, refusals in a field, pictures as data URLs."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Any

from harness.emulator.chat import ChatService, all_words, answer_chat, completion, faulty
from harness.emulator.exchange import Answer, Asked, Problem, Rejected, answer_json, invalid, openai_error
from harness.emulator.service import read_int, read_number, read_text, route
from harness.emulator.text_generator import find_schema, look_at, write_text

MODELS = ("gpt-4", "gpt-5", "gpt-6", "o1", "o3", "o4")  # how known ids begin
LONGEST = 128_000  # tokens of an answer
MOST_BYTES = 20_000_000  # of one picture
PICTURE = re.compile(r"data:image/(png|jpeg|webp|gif);base64,(.*)", re.DOTALL)
SORRY = "I'm sorry, but I can't help with that."
ENDINGS = {"length": "length", "refused_output": "content_filter"}
ANYTHING: dict[str, object] = {"type": "object", "properties": {"text": {"type": "string"}}}
FOREIGN = ("minLength", "maxLength", "default", "uniqueItems")  # words of a schema that strict mode turns away
ERRORS: dict[str, tuple[str, str | None]] = {
    "missing_key": ("invalid_request_error", "invalid_api_key"),
    "auth": ("invalid_request_error", "invalid_api_key"),
    "forbidden": ("invalid_request_error", "unsupported_country_region_territory"),
    "quota": ("insufficient_quota", "insufficient_quota"),
    "rate_quota": ("insufficient_quota", "insufficient_quota"),
    "rate": ("requests", "rate_limit_exceeded"),
    "retired": ("invalid_request_error", "model_not_found"),
    "not_found": ("invalid_request_error", None),
    "invalid": ("invalid_request_error", None),
}
"""A kind of problem to the error's type and code."""


class OpenAiChat(ChatService):
    """Writes and sees."""

    forms = (*ChatService.forms, "refused", "refused_prompt", "refused_output", "refused_text")
    lacks = frozenset({"quota"})  # an empty account is a 429 here

    @route("POST", "/v1/chat/completions", paid=True)
    def chat(self, asked: Asked) -> Answer:
        body = self.json_body(asked)
        model = read_text(body, "model")
        self.check_model(model, MODELS)
        if "max_tokens" in body:
            raise invalid("max_tokens", "Unsupported parameter: use 'max_completion_tokens' instead.")
        read_int(body, "max_completion_tokens", 1, LONGEST, LONGEST)
        read_number(body, "temperature", 0, 2, 1)
        words, pictures = all_words(body), list(read_pictures(body))
        schema = read_format(body, words)
        if asked.fault == "refused_prompt":  # before it is read
            text = "Your request was rejected by the safety system."
            raise Rejected(Problem("invalid", text, code="content_policy_violation"))
        self.work()
        number = f"chatcmpl-{self.new_id()}"
        if asked.fault == "refused":
            return answer_chat(body, completion(number, model, None, asked.fault, ENDINGS, SORRY))
        text = look_at(pictures[0], words, schema) if pictures else write_text(words, schema)
        fault = self.stuck(asked.fault, words)
        text = SORRY if fault == "refused_text" else faulty(text, fault)
        return answer_chat(body, completion(number, model, text, fault, ENDINGS))

    def problem(self, problem: Problem) -> Answer:
        kind, code = ERRORS.get(problem.kind, ("server_error", None))
        return answer_json({"error": openai_error(problem, kind, code)}, problem.http)


def read_pictures(body: Mapping[str, Any]) -> Iterator[bytes]:
    """The pictures of all messages, decoded.

    Raises:
        Rejected: an address that is no data URL of a known format, or one that holds no picture.
    """
    for message in body["messages"]:
        content = message.get("content")
        for part in content if isinstance(content, list) else []:
            if not isinstance(part, Mapping) or part.get("type") != "image_url":
                continue
            named = part.get("image_url")
            result = PICTURE.fullmatch(str(named.get("url") if isinstance(named, Mapping) else ""))
            if not result:
                raise invalid("messages", "You uploaded an unsupported image. Use png, jpeg, gif or webp.")
            try:
                data = base64.b64decode(result.group(2), validate=True)
            except (binascii.Error, ValueError):
                raise invalid("messages", "Invalid base64 in image_url") from None
            if len(data) > MOST_BYTES:
                raise invalid("messages", "The image is too large")
            yield data


def read_format(body: Mapping[str, object], words: str) -> Mapping[str, object] | None:
    """The schema that the answer has to have; None for plain text.

    Raises:
        Rejected: strict mode does not take it.
    """
    wanted = body.get("response_format")
    if wanted is None or wanted == {"type": "text"}:
        return None
    if wanted == {"type": "json_object"}:  # any object; what it is to hold stands in the words
        if "json" not in words.lower():
            raise invalid("messages", "'messages' must contain the word 'json' in some form, to use 'json_object'.")
        return find_schema(words) or ANYTHING
    named = wanted.get("json_schema") if isinstance(wanted, Mapping) else None
    if not isinstance(named, Mapping) or not re.fullmatch(r"[\w-]{1,64}", str(named.get("name", ""))):
        raise invalid("response_format", "Missing required parameter: 'response_format.json_schema.name'.")
    schema = named.get("schema")
    if not isinstance(schema, Mapping) or schema.get("type") != "object":
        raise invalid("response_format", "schema must be a JSON Schema of 'type: \"object\"'")
    if named.get("strict"):
        check_strict(schema)
    return schema


def check_strict(part: Any, named: bool = False) -> None:
    """Every object closed, every property required, no word that strict mode lacks. `named`: keys are names."""
    if isinstance(part, list):
        for inner in part:
            check_strict(inner)
    if not isinstance(part, Mapping):
        return
    if not named:
        foreign = [word for word in FOREIGN if word in part]
        if foreign:
            raise invalid("response_format", f"Invalid schema: '{foreign[0]}' is not permitted.")
        if part.get("type") == "object":
            if part.get("additionalProperties") is not False:
                raise invalid("response_format", "'additionalProperties' is required to be supplied and to be false.")
            if set(part.get("required", [])) != set(part.get("properties", {})):
                raise invalid("response_format", "'required' must include every key in properties.")
    for name, inner in part.items():
        check_strict(inner, named=not named and name in ("properties", "$defs"))


SERVICE = OpenAiChat
