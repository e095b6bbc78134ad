"""What OpenAI's errors mean, for its pictures and its chat alike: `error.code` decides, its `type` is too coarse.

`image_generation_user_error` is the type of a refused prompt, of a wrong size and of a model that is gone; and
`insufficient_quota` that of four different limits.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from harness.core.values import Outcome
from harness.providers.http_client.exchange import Reply, Unanswered
from harness.providers.http_client.waits import NEVER

REFUSED = frozenset({"moderation_blocked", "content_policy_violation", "content_filter"})
TOP_UP = "the account is out of credit; top it up"
LIMITS: dict[str, str] = {
    **dict.fromkeys(NEVER, TOP_UP),
    "project_spend_limit_exceeded": "the project has reached its spend limit; raise it, or wait a month",
    "organization_spend_limit_exceeded": "the organization has reached its spend limit; raise it, or wait a month",
    "organization_usage_limit_exceeded": "the organization has reached its usage limit; ask for a higher one, or wait",
}
"""Codes, and types, after which nothing more is drawn this month, and what to do."""
NO_MODEL = frozenset({"model_not_found", "model_deprecated", "model_not_available"})
UNKNOWN_MODEL = re.compile(
    r"\bmodel\b.*\b(does not exist|was (shut down|retired|deprecated)|has been deprecated)", re.I
)


@dataclass(frozen=True)
class OpenAiError:
    """An error object, read."""

    code: str = ""
    type: str = ""
    message: str = ""
    param: str = ""
    stage: str = ""  # of a refusal: output means that the picture was made

    @property
    def refused(self) -> bool:
        return self.code in REFUSED

    @property
    def no_model(self) -> bool:
        """No such model; it comes with `invalid_value` too, and then only the words say so."""
        return self.code in NO_MODEL or (
            self.code in ("", "invalid_value") and bool(UNKNOWN_MODEL.search(self.message))
        )

    @property
    def limit(self) -> Unanswered | None:
        """The account's limit that was reached, if one was: the code says which, else the type that there is one."""
        advice = LIMITS.get(self.code) or LIMITS.get(self.type)
        return Unanswered(Outcome.QUOTA, f"{advice} ({self.message})", final=True) if advice else None


def read_error(reply: Reply) -> OpenAiError:
    """The error object of a reply; an empty one where there is none."""
    try:
        error = json.loads(reply.body)["error"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return OpenAiError()
    if not isinstance(error, dict):
        return OpenAiError()
    details = error.get("moderation_details")
    stage = details.get("moderation_stage") if isinstance(details, dict) else ""
    words = (" ".join(str(error.get(name) or "").split())[:300] for name in ("code", "type", "message", "param"))
    code, kind, message, param = words
    return OpenAiError(code, kind, message, param, str(stage or ""))
