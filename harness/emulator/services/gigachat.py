"""GigaChat: tokens by OAuth, files that are uploaded and deleted, a chat whose censor answers with status 200."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from harness.emulator.chat import ChatService, all_words, answer_chat, completion, faulty, list_models, model_record
from harness.emulator.exchange import Answer, Asked, Problem, Rejected, answer_json, invalid
from harness.emulator.faults import FAULTS
from harness.emulator.gigachat_v2 import answer_second, to_first
from harness.emulator.service import WRONG_KEY, read_int, read_number, read_text, route
from harness.emulator.text_generator import find_schema, look_at, write_text

MODELS = ("GigaChat",)  # how known ids begin
OWNER = "salutedevices"  # of every model
SEEING = ("GigaChat-2-Pro", "GigaChat-2-Max")
SCOPES = ("GIGACHAT_API_PERS", "GIGACHAT_API_B2B", "GIGACHAT_API_CORP")
FORMATS = {"image/jpeg", "image/png", "image/tiff", "image/bmp"}
MOST_BYTES = 15 * 1024 * 1024  # of one file
LIFE = 1800  # seconds of a token
LONGEST = 100_000  # tokens of an answer
ENDINGS = {"length": "length", "refused": "blacklist", "refused_blacklist": "blacklist"}
CENSORED = "Не люблю менять тему разговора, но вот сейчас тот самый случай."
AT_UPLOAD = ("file_too_large", "token_expired")
BASE = "(?:/api)?/v1"
UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class File:
    """One upload that was not deleted yet. `fault` is what the question about it meets."""

    id: str
    name: str
    data: bytes
    fault: str = "ok"


class GigaChat(ChatService):
    """Writes and sees; `files` holds the uploads that nobody has deleted."""

    forms = (*ChatService.forms, "refused", "refused_blacklist", *AT_UPLOAD, "delete_fails")
    lacks = frozenset({"rate_quota"})

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.files: dict[str, File] = {}
        self._tokens: dict[str, float] = {}  # to the moment of its end, seconds since 1970

    # --- tokens -----------------------------------------------------------------------------------------------------

    def authorize(self, asked: Asked) -> None:
        """Let in whoever has a token that lives."""
        token = asked.headers.get("authorization", "").removeprefix("Bearer ")
        with self.lock:
            alive = self._tokens.get(token, 0.0) > time.time()
        if not alive:
            raise Rejected(Problem("auth", "Token has expired"))

    @route("POST", "/api/v2/oauth", open=True)
    def token(self, asked: Asked) -> Answer:
        """A new token for the authorization key, its end in milliseconds."""
        given = asked.headers.get("authorization", "")
        key = given.removeprefix("Basic ").strip()
        if not given.startswith("Basic ") or not key or key == WRONG_KEY:
            return answer_json({"code": 6, "message": "credentials doesn't match db data"}, 401)
        if not UUID4.fullmatch(asked.headers.get("rquid", "").lower()):
            return answer_json({"code": 4, "message": "RqUID must be a uuid4"}, 400)
        scope = asked.payload.get("scope")
        if asked.mime != "application/x-www-form-urlencoded" or not scope:
            return answer_json({"code": 5, "message": "scope is empty"}, 400)
        if scope not in SCOPES:
            return answer_json({"code": 1, "message": "scope data format invalid"}, 400)
        value, ends = f"emulated-{uuid.uuid4().hex}", time.time() + LIFE
        with self.lock:
            self._tokens[value] = ends
        return answer_json({"access_token": value, "expires_at": int(ends * 1000)})

    # --- models -----------------------------------------------------------------------------------------------------

    @route("GET", f"{BASE}/models")
    def show_models(self, asked: Asked) -> Answer:
        return answer_json(list_models(self.models(draws=False), OWNER))

    @route("GET", f"{BASE}/models/(?P<model>[^/]+)")
    def show_model(self, asked: Asked, model: str) -> Answer:
        self.check_model(model, MODELS)
        return answer_json(model_record(model, OWNER))

    # --- files ------------------------------------------------------------------------------------------------------

    @route("POST", f"{BASE}/files", paid=True)
    def upload(self, asked: Asked) -> Answer:
        """Keep a file; what is to go wrong with the question about it waits with it."""
        self.expire(asked)
        file = asked.files.get("file")
        if file is None or asked.payload.get("purpose") != "general":
            raise invalid("file", "file and purpose=general are required")
        if file.mime not in FORMATS:
            raise invalid("file", f"unsupported file type {file.mime}", 422)
        if len(file.data) > MOST_BYTES or asked.fault == "file_too_large":
            raise Rejected(Problem("invalid", "Payload too large", 413))
        kept = File(self.new_id(), file.filename, file.data, asked.fault if asked.fault not in AT_UPLOAD else "ok")
        with self.lock:
            self.files[kept.id] = kept
        return answer_json(file_record(kept))

    @route("GET", f"{BASE}/files")
    def list_files(self, asked: Asked) -> Answer:
        with self.lock:
            return answer_json({"object": "list", "data": [file_record(file) for file in self.files.values()]})

    @route("GET", f"{BASE}/files/(?P<file>[^/]+)")
    def show_file(self, asked: Asked, file: str) -> Answer:
        with self.lock:
            if file not in self.files:
                raise Rejected(Problem("not_found", f"File '{file}' not found"))
            return answer_json(file_record(self.files[file]))

    @route("POST", f"{BASE}/files/(?P<file>[^/]+)/delete")
    def delete(self, asked: Asked, file: str) -> Answer:
        with self.lock:
            kept = self.files.get(file)
            if kept is not None and kept.fault == "delete_fails":
                raise Rejected(Problem("error", "Internal Server Error"))
            if self.files.pop(file, None) is None:
                raise Rejected(Problem("not_found", f"File '{file}' not found"))
        return answer_json({"id": file, "deleted": True})

    # --- chat -------------------------------------------------------------------------------------------------------

    @route("POST", f"{BASE}/chat/completions", paid=True)
    def chat(self, asked: Asked) -> Answer:
        self.expire(asked)
        body = self.json_body(asked)
        return answer_chat(body, self.reply(asked, body))

    @route("POST", "(?:/api)?/v2/chat/completions", paid=True)
    def chat_second(self, asked: Asked) -> Answer:
        """The contract that the official client calls primary."""
        self.expire(asked)
        body = self.json_body(asked)
        return answer_second(body, self.reply(asked, to_first(body)))

    def reply(self, asked: Asked, body: Mapping[str, Any]) -> dict[str, object]:
        """A whole reply in OpenAI's shape."""
        model = read_text(body, "model")
        self.check_model(model, MODELS)
        read_int(body, "max_tokens", 1, LONGEST, LONGEST)
        read_number(body, "temperature", 0, 2, 1)
        words, file = all_words(body), self.shown(body)
        if file is not None and not model.startswith(SEEING):
            raise invalid("model", f"model {model} sees no pictures", 422)
        self.work()
        fault = self.stuck(asked.fault, words) if asked.fault != "ok" or file is None else self.waiting(file)
        schema = read_schema(body) or find_schema(words)
        text = look_at(file.data, words, schema) if file else write_text(words, schema)
        text = CENSORED if ENDINGS.get(fault) == "blacklist" else faulty(text, fault)
        return completion(self.new_id(), f"{model}:2.0.28.2", text, fault, ENDINGS)

    def shown(self, body: Mapping[str, Any]) -> File | None:
        """The first picture that a message shows.

        Raises:
            Rejected: there is no such file, or several in one message.
        """
        for message in body["messages"]:
            attached = message.get("attachments") or []
            if len(attached) > 1:
                raise invalid("attachments", "one image per message", 422)
            if attached:
                with self.lock:
                    result = self.files.get(str(attached[0]))
                if result is None:
                    raise Rejected(Problem("not_found", f"File '{attached[0]}' not found"))
                return result
        return None

    def waiting(self, file: File) -> str:
        """The fault that came with an upload; one that befalls a request once is over then."""
        if FAULTS[file.fault].once:
            with self.lock:
                self.files[file.id] = replace(file, fault="ok")
        return file.fault

    def expire(self, asked: Asked) -> None:
        """The fault `token_expired`: the token that came ends now."""
        if asked.fault == "token_expired":
            with self.lock:
                self._tokens.pop(asked.headers.get("authorization", "").removeprefix("Bearer "), None)
            raise Rejected(Problem("auth", "Token has expired"))

    def problem(self, problem: Problem) -> Answer:
        fields = {"quota": "Payment Required", "forbidden": "Permission denied", "retired": "No such model"}
        message = fields.get(problem.kind, problem.message)
        return answer_json({"status": problem.http, "message": message}, problem.http)


def read_schema(body: Mapping[str, object]) -> Mapping[str, object] | None:
    """The schema of `response_format`, which the service calls beta; None where the words alone ask for JSON."""
    wanted = body.get("response_format")
    if wanted is None:
        return None
    schema = wanted.get("schema") if isinstance(wanted, Mapping) else None
    if not isinstance(schema, Mapping):
        raise invalid("response_format", "response_format needs a schema", 422)
    return schema


def file_record(file: File) -> dict[str, object]:
    """A file as the service lists it."""
    return {
        "id": file.id,
        "object": "file",
        "bytes": len(file.data),
        "created_at": int(time.time()),
        "filename": file.name,
        "purpose": "general",
        "access_policy": "private",
    }


SERVICE = GigaChat
