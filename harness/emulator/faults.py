"""Every way in which a service can fail: the name to ask for it, and how an honest client must report it.

To add one that a service serves itself (a refusal form, an odd text reply): one line here and its name in the
service's `forms`.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.core.errors import UsageError, nearest
from harness.core.values import Outcome

OK, REFUSED, QUOTA, AUTH = Outcome.OK, Outcome.REFUSED, Outcome.QUOTA, Outcome.AUTH
RETIRED, TIMEOUT, ERROR, BAD = Outcome.MODEL_RETIRED, Outcome.TIMEOUT, Outcome.PROVIDER_ERROR, Outcome.BAD_IMAGE


@dataclass(frozen=True)
class Fault:
    """One fault. `outcome` is of a drawing; a text client reports what its own contract calls it."""

    name: str
    kind: str  # who makes it and where it applies: see KINDS
    outcome: Outcome  # what an honest client reports
    what: str  # one line for people
    once: bool = False  # the same request sent again is answered well
    sticky: bool = False  # the same request sent again meets it again, also from a queue that spends it


KINDS: dict[str, str] = {
    "none": "nothing goes wrong",
    "status": "an HTTP error in the service's own form",
    "socket": "the connection breaks; the request was accepted",
    "body": "the reply's body is not what it should be, whatever it was",
    "json": "the reply's JSON is odd",
    "picture": "the picture's bytes are not what they should be",
    "base64": "the picture's base64 is odd",
    "empty": "the reply has no picture",
    "cdn": "the address of the picture leads astray",
    "task": "the task ends otherwise, or its polls fail",
    "own": "served by the services that list it in `forms`",
}
"""Which part of the emulator makes a fault: the server all but `own` and `empty`."""

LIST: tuple[Fault, ...] = (
    Fault("ok", "none", OK, "a picture"),
    # --- status: the server asks the service for the form -----------------------------------------------------------
    Fault("auth", "status", AUTH, "the key is not accepted"),
    Fault("forbidden", "status", AUTH, "the key may not do this"),
    Fault("quota", "status", QUOTA, "the account is out of credit"),
    Fault("rate_quota", "status", QUOTA, "a 429 that means an empty account, for ever", sticky=True),
    Fault("retired", "status", RETIRED, "the model was shut down"),
    Fault("invalid", "status", ERROR, "the service dislikes a parameter"),
    Fault("rate_seconds", "status", OK, "429 once, Retry-After in seconds", once=True),
    Fault("rate_date", "status", OK, "429 once, Retry-After as an HTTP date", once=True),
    Fault("rate_ms", "status", OK, "429 once, retry-after-ms in milliseconds", once=True),
    Fault("rate_json", "status", OK, "429 once, the wait stands in the JSON body", once=True),
    Fault("rate_reset", "status", OK, "429 once, x-ratelimit-reset-requests as a duration", once=True),
    Fault("rate_bare", "status", OK, "429 once, without a word on how long", once=True),
    Fault("rate_always", "status", QUOTA, "429 for ever", sticky=True),
    Fault("unavailable", "status", OK, "503 once", once=True),
    Fault("unavailable_always", "status", ERROR, "503 for ever", sticky=True),
    Fault("error_500", "status", ERROR, "an internal error; possibly billed"),
    Fault("bad_gateway", "status", ERROR, "502 and a proxy's page; possibly billed"),
    Fault("gateway_timeout", "status", TIMEOUT, "504 and a proxy's page; possibly billed"),
    # --- socket -----------------------------------------------------------------------------------------------------
    Fault("hang", "socket", TIMEOUT, "the work is done and nothing is ever sent"),
    Fault("drip", "socket", TIMEOUT, "one byte every tenth of a second"),
    Fault("dropped", "socket", TIMEOUT, "the work is done and the connection is closed"),
    Fault("truncated", "socket", TIMEOUT, "the connection breaks off in the middle of the reply; possibly billed"),
    Fault("wrong_length", "socket", BAD, "Content-Length is half of what is sent"),
    # --- body -------------------------------------------------------------------------------------------------------
    Fault("html", "body", BAD, "a page instead of a reply"),
    Fault("not_json", "body", BAD, "bytes that are no JSON"),
    Fault("empty_body", "body", BAD, "no bytes at all"),
    Fault("huge_body", "body", BAD, "200 MB without an announced length"),
    Fault("gzip_bomb", "body", BAD, "200 MB in a quarter of a megabyte of gzip"),
    Fault("blank_lines", "json", OK, "blank lines before the JSON"),
    Fault("extra_keys", "json", OK, "keys that nobody has heard of"),
    Fault("no_pictures", "empty", BAD, "all is well, but for the missing picture"),
    Fault("bad_base64", "base64", BAD, "letters that are no base64"),
    Fault("data_prefix", "base64", OK, "data:image/png;base64, before the base64"),
    Fault("half_picture", "picture", BAD, "the first half of a picture"),
    Fault("svg", "picture", BAD, "a drawing in XML"),
    Fault("gif", "picture", BAD, "a format that nobody asked for"),
    Fault("blank", "picture", BAD, "one colour and nothing else"),
    Fault("pixel_bomb", "picture", BAD, "a few bytes that say they are 50,000 x 50,000 pixels"),
    Fault("jpeg", "picture", OK, "JPEG, whatever was asked for"),
    Fault("webp", "picture", OK, "WebP, whatever was asked for"),
    Fault("wrong_mime", "picture", OK, "the declared type is not the bytes'"),
    # --- cdn: where the picture is named by an address --------------------------------------------------------------
    Fault("url_expired", "cdn", BAD, "the address answers 403 for ever"),
    Fault("url_flaky", "cdn", OK, "the address answers 403 once"),
    Fault("url_redirect", "cdn", OK, "one hop on the same origin"),
    Fault("url_loop", "cdn", BAD, "the address leads to itself"),
    Fault("url_huge", "cdn", BAD, "the address gives 200 MB without an announced length"),
    Fault("url_to_loopback", "cdn", BAD, "a hop to another port of this machine"),
    Fault("url_to_link_local", "cdn", BAD, "a hop to 169.254.169.254"),
    Fault("url_to_private", "cdn", BAD, "a hop to 10.0.0.1"),
    Fault("url_to_mapped", "cdn", BAD, "a hop to [::ffff:10.0.0.1]"),
    Fault("url_to_file", "cdn", BAD, "a hop to file:///etc/passwd"),
    Fault("url_userinfo", "cdn", BAD, "a name and a password in the address"),
    Fault("url_plain", "cdn", BAD, "http:// to somebody else's host"),
    Fault("url_private", "cdn", BAD, "the reply names http://10.0.0.1"),
    Fault("url_file", "cdn", BAD, "the reply names file:///etc/passwd"),
    # --- tasks: kept by `Service.start` and met in the polls --------------------------------------------------------
    Fault("task_failed", "task", ERROR, "the task fails"),
    Fault("task_refused", "task", REFUSED, "the task ends in a refusal"),
    Fault("task_stuck", "task", TIMEOUT, "the task never ends"),
    Fault("task_unknown_state", "task", OK, "a state that no document names, then all is well"),
    Fault("task_no_picture", "task", BAD, "the task is done and has no picture"),
    Fault("poll_rate", "task", OK, "the first poll is answered with 429"),
    Fault("poll_502", "task", OK, "the first poll is answered with 502"),
    Fault("poll_gone", "task", ERROR, "the task is not known any more"),
    # --- own: a service serves those that its `forms` lists ---------------------------------------------------------
    Fault("refused", "own", REFUSED, "refused, in the service's main form"),
    Fault("refused_prompt", "own", REFUSED, "the prompt is refused"),
    Fault("refused_output", "own", REFUSED, "the picture was made and is withheld"),
    Fault("refused_text", "own", REFUSED, "a model explains in words why not"),
    Fault("refused_empty", "own", REFUSED, "an empty reply stands for a refusal"),
    Fault("refused_partial", "own", REFUSED, "the last picture of several is withheld; the others are ok"),
    Fault("refused_blurred", "own", REFUSED, "a blurred picture stands for a refusal"),
    Fault("refused_black", "own", REFUSED, "a black picture stands for a refusal"),
    Fault("refused_blacklist", "own", REFUSED, "finish_reason is blacklist"),
    Fault("refused_nsfw", "own", REFUSED, "the picture is marked as unsafe"),
    Fault("no_image", "own", BAD, "words say that here is a picture, and there is none"),
    Fault("drafts", "own", OK, "thoughts and drafts before the picture"),
    Fault("safety_entry", "own", OK, "one more entry, which is no picture"),
    Fault("list_error", "own", ERROR, "an error object in a list of one"),
    Fault("relative_url", "own", OK, "an address without a host"),
    Fault("grid", "own", BAD, "four small pictures in one"),
    Fault("unwrapped", "own", OK, "the reply without the object around it"),
    Fault("cached", "own", ERROR, "all is well, from a cache, and no file was written"),
    Fault("inline_err", "own", ERROR, "an error in a reply with status 200"),
    Fault("token_expired", "own", OK, "401 once: the token has expired", once=True),
    # --- own, of text services ---------------------------------------------------------------------------------------
    Fault("blank_once", "own", OK, "an answer of nothing but spaces, and the next one is well", once=True),
    Fault("blank_always", "own", ERROR, "answers of nothing but spaces, for ever", sticky=True),
    Fault("bad_content", "own", OK, "JSON that breaks off; the writer is asked to mend it", once=True),
    Fault("wrong_shape", "own", OK, "JSON that the schema does not allow; the writer is asked to mend it", once=True),
    Fault("length", "own", ERROR, "the answer is cut off at its longest"),
    Fault("no_resources", "own", ERROR, "finish_reason is insufficient_system_resource"),
    Fault("no_choices", "own", ERROR, "the list of answers is empty"),
    Fault("file_too_large", "own", ERROR, "an upload is too large for the service"),
    Fault("delete_fails", "own", OK, "an upload cannot be deleted again"),
)

FAULTS: dict[str, Fault] = {fault.name: fault for fault in LIST}
"""Every fault by its name."""


def known_fault(name: str) -> Fault:
    """The fault of that name.

    Raises:
        UsageError: there is none; the text has the nearest.
    """
    if name not in FAULTS:
        raise UsageError(f"no fault called {name!r}; {nearest(name, FAULTS)}")
    return FAULTS[name]
