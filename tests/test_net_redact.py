"""Keys and signed addresses stay out of words and logs, in whatever spelling they come."""

from __future__ import annotations

import base64
import html
import json
import logging
from urllib.parse import quote, quote_plus

import pytest

from harness.providers.http_client.redact import SHOWN, Redactor, quiet_logs

KEY = 'Pl4nted/key+with=signs & "quotes" ünd'


@pytest.mark.parametrize(
    "spelling",
    [
        KEY,
        quote(KEY),
        quote(KEY, safe=""),
        quote_plus(KEY),
        quote(KEY, safe="").lower(),
        quote(quote(KEY, safe=""), safe=""),
        json.dumps(KEY)[1:-1],
        json.dumps(KEY, ensure_ascii=False)[1:-1],
        json.dumps(KEY).replace("/", "\\/")[1:-1],
        html.escape(KEY),
        repr(KEY)[1:-1],
        KEY.encode().hex(),
        base64.b64encode(KEY.encode()).decode(),
        base64.b64encode(KEY.encode()).decode().rstrip("="),
        base64.urlsafe_b64encode(KEY.encode()).decode().rstrip("="),
        base64.b64encode(f"user:{KEY}".encode()).decode(),
        base64.b64encode(f"me:{KEY}".encode()).decode(),
        base64.b64encode(f"client:{KEY}".encode()).decode(),
    ],
)
def test_a_known_key_is_masked_in_every_spelling(spelling: str) -> None:
    said = Redactor([KEY]).short(f"refused: {spelling}, ask again")

    assert spelling not in said and "lanted" not in said.lower() and "***" in said
    assert said.startswith("refused: ") and said.endswith("ask again")


def test_what_is_left_of_a_key_that_was_cut_is_masked() -> None:
    redactor = Redactor(["abcdefghijklmnopqrstuvwxyz-secret"])

    assert redactor.short("invalid key abcdefghijklmnopqrs") == "invalid key ***"
    assert redactor.short("invalid key abcdefgh...") == "invalid key ***..."
    assert redactor.short("key abcdefghijklmnopqrs... is bad") == "key ***... is bad"


def test_a_key_across_the_end_of_the_line_is_masked() -> None:
    key = "k3y" * 20

    assert "k3yk3y" not in Redactor([key]).short("x" * (SHOWN - 20) + key)


def test_tokens_that_change_do_not_pile_up() -> None:
    redactor = Redactor()
    for number in range(100):
        redactor.add(f"token-number-{number:03}-of-many")

    assert redactor.short("token-number-099-of-many and token-number-070-of-many") == "*** and ***"
    assert len(redactor._known) == 32


def test_short_keys_do_not_eat_words() -> None:
    assert Redactor(["abc"]).short("key abc of the abcdef") == "key *** of the abcdef"
    assert Redactor(["", " "]).short("nothing to hide") == "nothing to hide"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("GET https://cdn.example/x.png?sig=abc&exp=1 failed", "GET https://cdn.example/x.png?*** failed"),
        ("at /cdn/7.png?sig=abc", "at /cdn/7.png?***"),
        ("https://host.example/#access_token=abc", "https://host.example/?***"),
        ("u=https%3A%2F%2Fcdn.example%2Fx%3Fsig%3Dabc end", "u=https%3A%2F%2Fcdn.example%2Fx?*** end"),
        ("https://me:word@host.example/x", "https://***@host.example/x"),
        ("Authorization: Bearer abc.def-1234567", "Authorization: Bearer ***"),
        ("{'x-api-key': 'abcdef12345'}", "{'x-api-key': '***'}"),
        ('{"access_token": "eyJhbGciOiJI.eyJzdWIi.c2ln"}', '{"access_token": "***"}'),
        ("Basic dXNlcjpwYXNzd29yZDEyMw==", "Basic ***"),
        ("Incorrect API key provided: sk-proj-1234567890", "Incorrect API key provided: ***"),
        ("key " + "AIza" + "Sy" + "0" * 33, "key ***"),
        ("two\n  lines\x1b[31m", "two lines?[31m"),
    ],
)
def test_what_looks_like_a_secret_is_masked(text: str, said: str) -> None:
    assert Redactor().short(text) == said


@pytest.mark.parametrize(
    "text",
    [
        "HTTP 401: the key was not accepted; check the variable STUDIO_API_KEY",
        "the token: expired; ask for another",
        "Basic authentication is required, not a bearer token",
        "why? nobody knows",
        "seed=1234567 and size 1024x1024",
        "no connection to https://studio.example:8443/v1: connection refused",
    ],
)
def test_plain_words_stay_readable(text: str) -> None:
    assert Redactor(["planted-key"]).short(text) == text


def test_messages_are_capped() -> None:
    assert len(Redactor().short("word " * 5000)) == SHOWN
    assert len(Redactor().short("/?//" * 500_000)) <= SHOWN


def test_the_libraries_logs_are_cleaned(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    redactor = Redactor(["planted-key"])
    quiet_logs()
    quiet_logs()

    for name in ("urllib3.connectionpool", "urllib3.connection", "requests", "http.client"):
        try:
            raise ValueError("planted-key")
        except ValueError:
            logging.getLogger(name).warning("%s %s planted-key", "GET", "/x?sig=signed", exc_info=True)
    logging.getLogger("urllib3.util.retry").debug("planted-key %d", "no number")

    assert caplog.text.count("GET /x?*** ***") == 4
    assert "planted" not in caplog.text and "signed" not in caplog.text
    assert len(logging.getLogger("urllib3.connectionpool").filters) == 1 and redactor
