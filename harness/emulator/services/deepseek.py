"""DeepSeek's chat: `POST /chat/completions`, JSON mode by instruction, a 400 for a model that is gone."""

from __future__ import annotations

from collections.abc import Mapping

from harness.emulator.chat import ChatService, all_words, answer_chat, completion, faulty, list_models
from harness.emulator.exchange import Answer, Asked, Problem, answer_json, invalid
from harness.emulator.service import read_int, read_number, read_text, route
from harness.emulator.text_generator import find_schema, write_text

LONGEST = 393_216  # tokens of an answer
ENDINGS = {"length": "length", "refused": "content_filter", "no_resources": "insufficient_system_resource"}
"""Faults to the reason for the ending that they give."""

TYPES = {
    "missing_key": "authentication_error",
    "auth": "authentication_error",
    "quota": "unknown_error",
    "rate": "rate_limit_error",
    "error": "server_error",
    "unavailable": "service_unavailable_error",
}
MESSAGES = {
    "missing_key": "Authentication Fails (no such user)",
    "auth": "Authentication Fails, Your api key is invalid",
    "quota": "Insufficient Balance",
}


class DeepSeek(ChatService):
    """Text only; it validates no schema, and answers blank when the model wrote no JSON."""

    forms = (*ChatService.forms, "refused", "no_resources")
    lacks = frozenset({"rate_quota", "forbidden"})

    @route("GET", "(/v1)?/models")
    def show_models(self, asked: Asked) -> Answer:
        return answer_json(list_models(self.models(draws=False), "deepseek"))

    @route("POST", "(/v1)?/chat/completions", paid=True)
    def chat(self, asked: Asked) -> Answer:
        body = self.json_body(asked)
        model = read_text(body, "model")
        self.check_model(model, self.models(draws=False))
        words = all_words(body)
        read_int(body, "max_tokens", 1, LONGEST, LONGEST)
        read_number(body, "temperature", 0, 2, 1)
        wanted = body.get("response_format") or {"type": "text"}
        as_json = isinstance(wanted, Mapping) and wanted.get("type") == "json_object"
        if as_json and "json" not in words.lower():
            raise invalid("response_format", "Prompt must contain the word 'json' to use 'response_format' json_object")
        self.work()
        text, fault = write_text(words, find_schema(words) if as_json else None), self.stuck(asked.fault, words)
        return answer_chat(body, completion(self.new_id(), model, faulty(text, fault), fault, ENDINGS))

    def problem(self, problem: Problem) -> Answer:
        """OpenAI's shape; an unknown model is a 400."""
        text = "Model Not Exist" if problem.kind == "retired" else MESSAGES.get(problem.kind, problem.message)
        kind = TYPES.get(problem.kind, "invalid_request_error")
        error = {"message": text, "type": kind, "param": None, "code": problem.code or "invalid_request_error"}
        return answer_json({"error": error}, 400 if problem.kind == "retired" else problem.http)


SERVICE = DeepSeek
