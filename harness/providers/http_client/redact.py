"""Keys and signed addresses out of every word that people or files get to see."""

from __future__ import annotations

import base64
import html
import json
import logging
import re
import threading
from collections.abc import Iterable
from urllib.parse import quote, quote_plus
from weakref import WeakSet

from harness.core.secrets import SHAPED, STARS

SHOWN = 300  # characters of a message, at most
LOOKED_AT = 20_000  # characters, before anything is left out
KEPT = 32  # secrets known at once; a token that old has expired
BEGINNING = 16  # characters of a key that betray it, even where the rest was cut off

QUERY = re.compile(r"""(/[^\s?#"'<>]*|%2[fF][^\s?#"'<>]*?)(\?|#|%3[fF])[^\s"'<>]+""")
USERINFO = re.compile(r"""//[^\s/?#"'<>]+@""")
LIKELY = r"(?=[^\s\"',;]*\d|[^\s\"',;]{24})[^\s\"',;]{8,}"  # what looks like a credential and not like a word
NAMED = re.compile(
    r"""\b((?:[\w-]*(?:authorization|api[-_]?key|access[-_]?key|secret|passw(?:or)?d|[-_]token|[-_]key|[-_]signature)
    |x-key|cookie|token|sig)\\?["']?\s*[:=]\s*\\?["']?(?:(?:bearer|basic|key|token)\s+)?)"""
    + LIKELY,
    re.IGNORECASE | re.VERBOSE,
)
SCHEME = re.compile(rf"\b(bearer|basic|key|token)(\s+){LIKELY}", re.IGNORECASE)


class Redactor:
    """Takes known secrets, and what looks like one, out of texts; threads may share it."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, tuple[str, ...]] = {}  # a secret and its spellings, longest first
        self._pattern: re.Pattern[str] | None = None
        for secret in secrets:
            self.add(secret)
        with _registry:
            _redactors.add(self)

    def add(self, secret: str) -> None:
        """Know one secret more; a service's short-lived tokens come one by one."""
        with self._lock:
            if not secret.strip() or secret in self._known:
                return
            kept = list(self._known.items())[1 - KEPT :]
            self._known = {**dict(kept), secret: spell(secret)}
            parts = sorted({part for known in self._known.values() for part in known}, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(guard_word, parts)), re.IGNORECASE)

    def mask(self, text: str) -> str:
        """The text without known secrets, in any spelling, and without a beginning of one."""
        if self._pattern is None:
            return text
        text = self._pattern.sub(STARS, text)
        for known in self._known.values():
            for spelling in known:
                text = mask_beginnings(text, spelling)
        return text

    def clean(self, text: str) -> str:
        """The same, and without queries, user names in addresses, and what looks like a key; line breaks stay."""
        text = self.mask(text)
        text = USERINFO.sub(f"//{STARS}@", QUERY.sub(rf"\1?{STARS}", text))
        text = NAMED.sub(rf"\1{STARS}", text)
        return SHAPED.sub(STARS, SCHEME.sub(rf"\1\2{STARS}", text))

    def short(self, text: object) -> str:
        """The same for people: one line of at most `SHOWN` characters."""
        message = " ".join(self.clean(str(text)[:LOOKED_AT]).split())
        message = self.mask("".join(letter if letter.isprintable() else "?" for letter in message))
        return message if len(message) <= SHOWN else message[: SHOWN - 3] + "..."


def spell(secret: str) -> tuple[str, ...]:
    """A secret in the ways in which it may turn up, but for case: plain, URL-quoted, escaped, hexadecimal, base64."""
    raw = secret.encode("utf-8", "surrogatepass")
    quoted = {quote(raw, safe=""), quote(raw), quote_plus(raw), quote(quote(raw, safe=""), safe="")}
    results = {secret, html.escape(secret), repr(secret)[1:-1], json.dumps(secret)[1:-1]}
    results |= {json.dumps(secret, ensure_ascii=False)[1:-1], json.dumps(secret)[1:-1].replace("/", "\\/")}
    results |= quoted
    if len(raw) >= 6:  # less is too short to tell from a word
        results.add(raw.hex())
        for shift in range(3):  # bytes before it: "user:" and the like
            encoded = base64.b64encode(b"\0" * shift + raw).decode()
            core = encoded[(0, 2, 3)[shift] : (shift + len(raw)) * 8 // 6]
            results |= {core, core.replace("+", "-").replace("/", "_")}
        results |= {base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode()}
    return tuple(sorted(results, key=len, reverse=True))


def guard_word(spelling: str) -> str:
    """A pattern for one spelling; a short one only where it stands alone, or it would eat half of every sentence."""
    pattern = re.escape(spelling)
    return pattern if len(spelling) >= 6 else rf"(?<!\w){pattern}(?!\w)"


def mask_beginnings(text: str, spelling: str) -> str:
    """Stars for a beginning of the spelling: a long one anywhere, a short one where the text was cut."""
    least = min(BEGINNING, max(8, len(spelling) // 2))
    if len(spelling) <= least:
        return text
    at = text.find(spelling[:least])
    while at >= 0:
        end = at + least
        while end < len(text) and end - at < len(spelling) and text[end] == spelling[end - at]:
            end += 1
        text = text[:at] + STARS + text[end:]
        at = text.find(spelling[:least], at + len(STARS))
    body = text.rstrip(".…")
    for length in range(least - 1, 5, -1):
        if body.endswith(spelling[:length]):
            return body[:-length] + STARS + text[len(body) :]
    return text


class QuietLog(logging.Filter):
    """Cleans what the HTTP libraries write, so that a debug log holds no key and no signed address."""

    def filter(self, record: logging.LogRecord) -> bool:
        try:
            text = record.getMessage()
        except (TypeError, ValueError, KeyError):
            text = "(a message that could not be formatted)"
        record.msg, record.args = clean_log(text), ()
        record.exc_info = record.exc_text = record.stack_info = None  # their frames hold headers
        return True


def clean_log(text: str) -> str:
    """A text without the secrets of anybody in this process."""
    with _registry:
        everybody = list(_redactors)
    for redactor in everybody:
        text = redactor.mask(text)
    return _nobody.clean(text[:LOOKED_AT])


def quiet_logs() -> None:
    """Have the logs of `urllib3`, `requests` and `http.client` cleaned, once for the process."""
    import requests  # noqa: F401  (its loggers and urllib3's exist from now on)

    names = [name for name in list(logging.root.manager.loggerDict) if name.split(".")[0] in ("urllib3", "requests")]
    for name in {*names, "urllib3", "requests", "http.client"}:
        logger = logging.getLogger(name)
        if _quiet not in logger.filters:
            logger.addFilter(_quiet)


_registry = threading.Lock()
_redactors: WeakSet[Redactor] = WeakSet()
_quiet = QuietLog()
_nobody = Redactor()
