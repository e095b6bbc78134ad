"""What Google's services have in common: keys, error objects, sizes of shapes."""

from __future__ import annotations

from harness.emulator.exchange import Answer, Problem, answer_json
from harness.emulator.service import Service

WORDS: dict[str, tuple[int, str]] = {
    "missing_key": (403, "PERMISSION_DENIED"),
    "auth": (400, "INVALID_ARGUMENT"),
    "forbidden": (403, "PERMISSION_DENIED"),
    "quota": (402, "FAILED_PRECONDITION"),
    "rate_quota": (429, "RESOURCE_EXHAUSTED"),
    "rate": (429, "RESOURCE_EXHAUSTED"),
    "retired": (404, "NOT_FOUND"),
    "not_found": (404, "NOT_FOUND"),
    "invalid": (400, "INVALID_ARGUMENT"),
    "error": (500, "INTERNAL"),
    "unavailable": (503, "UNAVAILABLE"),
}
"""A kind of problem to the code and the word for it; a wrong key is a 400."""
QUOTA = (
    "You exceeded your current quota, please check your plan and billing details. "
    "* Quota exceeded for metric: generativelanguage.googleapis.com/generate_requests_per_model_per_day, limit: 0"
)
RATE = "Resource has been exhausted (e.g. check quota)."
TYPES = "type.googleapis.com/google.rpc."
RATIOS: dict[str, tuple[int, int]] = {
    "1:1": (1024, 1024),
    "2:3": (832, 1248),
    "3:2": (1248, 832),
    "3:4": (896, 1152),
    "4:3": (1152, 896),
    "4:5": (896, 1152),
    "5:4": (1152, 896),
    "9:16": (768, 1344),
    "16:9": (1344, 768),
    "21:9": (1536, 672),
    "1:4": (512, 2048),
    "4:1": (2048, 512),
    "1:8": (384, 3072),
    "8:1": (3072, 384),
}
"""Shapes in pixels at 1K."""
FACTORS: dict[str, float] = {"512": 0.5, "1K": 1.0, "2K": 2.0, "4K": 4.0}


class Google(Service):
    """Errors as google.rpc.Status."""

    auth = (("x-goog-api-key", ""),)
    delivers = ("base64",)

    def problem(self, problem: Problem) -> Answer:
        status, word = WORDS[problem.kind]
        code = problem.status or status
        error: dict[str, object] = {"code": code, "message": message_of(problem), "status": word}
        details = details_of(problem)
        return answer_json({"error": {**error, **({"details": details} if details else {})}}, code)


def message_of(problem: Problem) -> str:
    """Google's own words where they are known."""
    if problem.kind == "auth":
        return "API key not valid. Please pass a valid API key."
    if problem.kind == "missing_key":
        return "Method doesn't allow unregistered callers (callers without established identity)."
    if problem.kind in ("rate", "rate_quota"):
        return RATE if problem.kind == "rate" else QUOTA
    return f"Invalid value at '{problem.field}': {problem.message}" if problem.field else problem.message


def details_of(problem: Problem) -> list[dict[str, object]]:
    if problem.kind == "auth":
        return [{"@type": f"{TYPES}ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com"}]
    if problem.kind == "rate" and problem.wait is not None:
        return [{"@type": f"{TYPES}RetryInfo", "retryDelay": f"{problem.wait:g}s"}]
    if problem.kind == "rate_quota":
        violation = {"quotaMetric": "generate_requests_per_model_per_day", "quotaId": "RequestsPerDay-FreeTier"}
        return [{"@type": f"{TYPES}QuotaFailure", "violations": [violation]}]
    if problem.kind == "invalid" and problem.field:
        broken = {"field": problem.field, "description": problem.message}
        return [{"@type": f"{TYPES}BadRequest", "fieldViolations": [broken]}]
    return []
