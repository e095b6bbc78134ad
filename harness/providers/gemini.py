"""Google's Gemini models that draw; one picture a call, the seed honoured as well as the service can.

POST {url}/v1beta/models/{model}:generateContent
200 {"candidates": [{"content": {"parts": [{"inlineData": {"data"}}]}, "finishReason"}]}

A refusal comes with 200 as well: no candidates and a `blockReason`, a `finishReason` without parts, or a refusal in
words. Words that are no refusal and no picture beside them are a picture that is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import shorten
from typing import Any, Literal
from urllib.parse import quote

from harness.core.values import Outcome, Request
from harness.core.yaml import VariableName
from harness.providers.http_client.exchange import Call, Reply, Unanswered
from harness.providers.http_client.options import RemoteOptions
from harness.providers.refusals import is_refusal
from harness.providers.remote import (
    ParsedReply,
    Picture,
    RemoteProvider,
    explain_status,
    inline_picture,
    nearest_shape,
    no_picture,
    read_dict,
    read_json,
    read_list,
    refusal,
    wrap_seed,
)

SHAPES: dict[str, tuple[int, int]] = {
    name: (int(name.partition(":")[0]), int(name.partition(":")[2]))
    for name in ("1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9")
}
SEEDS = (0, 2_147_483_647)
QUOTED = 150  # characters of the service's words, so that the advice after them is still read
UNFINISHED = frozenset({"", "MAX_TOKENS", "MALFORMED_FUNCTION_CALL", "FINISH_REASON_UNSPECIFIED"})
WRONG_KEY = frozenset({"API_KEY_INVALID", "API_KEY_EXPIRED", "API_KEY_SERVICE_BLOCKED", "ACCESS_TOKEN_EXPIRED"})


class GeminiOptions(RemoteOptions):
    """As documented in November 2026; `config/service_models.py` has the other models and when they end."""

    url: str = "https://generativelanguage.googleapis.com"
    key: VariableName = "GEMINI_API_KEY"
    header: str = "x-goog-api-key"
    prefix: str = ""
    model: str = "gemini-nano-banana-2.1"
    resolution: Literal["512", "1K", "2K", "4K"] = "1K"  # Nano Banana 2.1 has no 512
    per_call: Literal[1] = 1


class GeminiProvider(RemoteProvider):
    """Gemini by `generateContent`."""

    adapter, service, Options = "gemini/1", "gemini", GeminiOptions
    options: GeminiOptions

    def ask(self, request: Request, count: int) -> Call:
        shape = nearest_shape(request.width, request.height, SHAPES)
        config = {
            "responseModalities": ["IMAGE"],
            "seed": wrap_seed(request.seed, *SEEDS),
            "imageConfig": {"aspectRatio": shape, "imageSize": self.options.resolution},
        }
        body = {"contents": [{"role": "user", "parts": [{"text": request.prompt}]}], "generationConfig": config}
        return Call(f"/v1beta/models/{quote(self.options.model, safe='')}:generateContent", json=body)

    def read(self, reply: Reply) -> ParsedReply:
        answer = read_json(reply)
        meta = {"model": answer["modelVersion"]} if isinstance(answer.get("modelVersion"), str) else {}
        candidates = read_list(answer, "candidates")
        if not candidates:
            reason = read_dict(answer, "promptFeedback").get("blockReason")
            raise refusal(f"blockReason {reason}") if reason else no_picture("the reply holds no candidate")
        parts = [
            part
            for part in read_list(read_dict(candidates[0], "content"), "parts")
            if isinstance(part, dict) and not part.get("thought")
        ]  # a thought is an interim draft
        pictures = tuple(
            inline_picture(part["inlineData"].get("data")) for part in parts if read_dict(part, "inlineData")
        )
        if pictures:
            return ParsedReply(pictures, meta)
        words = " ".join(str(part["text"]) for part in parts if part.get("text"))
        return ParsedReply((Picture(problem=explain_absence(candidates[0], words)),), meta)

    def problem(self, reply: Reply) -> Unanswered:
        return explain_google(reply)

    def settings(self) -> Mapping[str, object]:
        return {"resolution": self.options.resolution}

    def notes(self, request: Request) -> Mapping[str, object]:
        shape = nearest_shape(request.width, request.height, SHAPES)
        return {"shape": shape, "seed": wrap_seed(request.seed, *SEEDS)} | ignored_negative(request)

    def probe(self) -> Call | None:
        return Call(f"/v1beta/models/{quote(self.options.model, safe='')}", "GET", paid=False)


def explain_absence(candidate: Any, words: str) -> Unanswered:
    """Why a candidate holds no picture."""
    reason = str(candidate.get("finishReason") or "") if isinstance(candidate, dict) else ""
    if reason == "STOP":
        text = shorten(words, QUOTED, placeholder=" ...")
        if is_refusal(words):
            return refusal(f"words instead of a picture: {text}")
        return no_picture(f"the reply holds no picture, only words: {text}" if text else "the reply holds no picture")
    if reason in UNFINISHED:
        return no_picture(f"the reply holds no picture ({reason or 'no finishReason'})")
    return refusal(f"finishReason {reason}", billed=True)


def ignored_negative(request: Request) -> dict[str, object]:
    """The note that a service without negative prompts was given one."""
    return {"ignored": ["negative"]} if request.negative else {}


# --- errors, alike on all of Google's hosts ---------------------------------------------------------------------------


def explain_google(reply: Reply) -> Unanswered:
    """What one of Google's errors means; a wrong key is a 400 there."""
    plain = explain_status(reply)
    try:
        error = read_dict(read_json(reply), "error")
    except Unanswered:
        return plain
    status, text = str(error.get("status") or ""), " ".join(str(error.get("message") or "").split())
    details = [detail for detail in read_list(error, "details") if isinstance(detail, dict)]
    if any(detail.get("reason") in WRONG_KEY for detail in details) or status == "UNAUTHENTICATED":
        return Unanswered(Outcome.AUTH, f"the key was not accepted; check the variable ({text})", final=True)
    if reply.status == 400 and status == "FAILED_PRECONDITION":
        advice = "the account may not do this from here; check its region and billing"
        return Unanswered(Outcome.AUTH, f"{advice} ({text})", final=True)
    if reply.status == 400 and ("Responsible AI" in text or "Support codes" in text):
        return refusal(text)
    return plain
