"""The http provider against a real socket: every ending is an outcome of its own, and never a score."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from harness.emulator import Emulator
from harness.engine.pictures import BadPicture, check_picture
from harness.errors import MissingKey, ProviderError, SuiteError
from harness.profile import ProviderConfig
from harness.providers import open_provider
from harness.providers.session import Policy, Session, Unanswered, retry_after
from harness.settings import Secret
from harness.values import Drawing, Outcome, Provider, Request
from tests.tiny import make_context, make_suite

PROMPT = "aldar kose, smiling, steppe background"
QUICK = {"backoff": 0.01, "deadline": 5.0, "read": 2.0}
KEY = "test-key"


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(key=KEY) as running:
        yield running


def studio(url: str = "", *, secrets: dict[str, Secret] | None = None, **options: Any) -> Provider:
    given = {**QUICK, "url": url, "key": "STUDIO_API_KEY", **options}
    config = ProviderConfig("http", given)
    known = {"STUDIO_API_KEY": Secret(KEY)} if secrets is None else secrets
    return open_provider("studio", make_context(Path(), providers={"studio": config}, size=(96, 96), secrets=known))


def plan(provider: Provider, prompt: str = PROMPT, seeds: tuple[int, ...] = (0,)) -> tuple[Request, ...]:
    suite = make_suite(prompt)
    return provider.requests(suite, suite.cases[0], seeds)


def draw(provider: Provider, prompt: str = PROMPT, seeds: tuple[int, ...] = (0,)) -> list[Drawing]:
    return list(provider.draw(plan(provider, prompt, seeds)))


def test_pictures_come_in_the_order_of_the_requests(emulator: Emulator) -> None:
    provider = studio(emulator.url, cost_usd=0.02)

    together = draw(provider, seeds=(3, 1, 2, 0, 5, 4))
    alone = [draw(provider, seeds=(seed,))[0] for seed in (3, 1, 2, 0, 5, 4)]

    assert [one.data for one in together] == [one.data for one in alone]
    assert {one.outcome for one in together} == {Outcome.OK} and together[0].cost_usd == 0.02
    assert check_picture(together[0].data, plan(provider)[0]).png


@pytest.mark.parametrize(
    ("fault", "outcome", "message", "calls"),
    [
        ("refused", Outcome.REFUSED, "violates the policy", 1),
        ("quota", Outcome.QUOTA, "out of credit", 1),
        ("auth", Outcome.AUTH, "check the variable", 1),
        ("forbidden", Outcome.AUTH, "not allowed on this plan", 1),
        ("retired", Outcome.MODEL_RETIRED, "model not found", 1),
        ("rate_limit", Outcome.QUOTA, "also after waiting", 4),
        ("error", Outcome.PROVIDER_ERROR, "HTTP 500", 4),
        ("redirect", Outcome.PROVIDER_ERROR, "redirects are not followed", 1),
        ("garbage", Outcome.BAD_IMAGE, "HTML page", 1),
        ("not_json", Outcome.BAD_IMAGE, "no JSON", 1),
        ("huge", Outcome.BAD_IMAGE, "larger than", 1),
        ("truncated", Outcome.BAD_IMAGE, "broke off .* possibly billed", 1),
        ("dropped", Outcome.TIMEOUT, "possibly billed", 1),
    ],
)
def test_every_ending_is_an_outcome_of_its_own(
    emulator: Emulator, fault: str, outcome: Outcome, message: str, calls: int
) -> None:
    (drawing,) = draw(studio(emulator.url), f"{PROMPT} [[{fault}]]")

    assert drawing.outcome is outcome
    assert drawing.data is None and drawing.cost_usd == 0
    assert re.search(message, drawing.message), drawing.message
    assert len(emulator.calls) == calls


def test_a_hung_request_is_a_timeout_and_never_sent_again(emulator: Emulator) -> None:
    started = time.monotonic()

    (drawing,) = draw(studio(emulator.url, read=0.3), f"{PROMPT} [[slow]]")

    assert drawing.outcome is Outcome.TIMEOUT and "possibly billed" in drawing.message
    assert len(emulator.calls) == 1 and time.monotonic() - started < 3


def test_half_a_picture_is_found_by_the_engine(emulator: Emulator) -> None:
    provider = studio(emulator.url)

    (drawing,) = draw(provider, f"{PROMPT} [[half_picture]]")

    with pytest.raises(BadPicture, match="cannot be decoded"):
        check_picture(drawing.data, plan(provider)[0])


def test_a_service_that_recovers_is_asked_again() -> None:
    with Emulator(["error", "rate_limit", "ok"]) as emulator:
        (drawing,) = draw(studio(emulator.url))

    assert drawing.outcome is Outcome.OK and len(emulator.calls) == 3


def test_nobody_listening_is_retried_and_then_told() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = time.monotonic()

    (drawing,) = draw(studio(f"http://127.0.0.1:{port}"))

    assert drawing.outcome is Outcome.PROVIDER_ERROR and "no connection" in drawing.message
    assert time.monotonic() - started < 5


def test_after_a_rejected_key_nothing_more_is_sent(emulator: Emulator) -> None:
    provider = studio(emulator.url, secrets={"STUDIO_API_KEY": Secret(KEY)}, header="X-Wrong-Header", concurrency=1)

    drawings = draw(provider, seeds=(0, 1, 2, 3))

    assert {one.outcome for one in drawings} == {Outcome.AUTH} and len(emulator.calls) == 1


def test_a_wait_beyond_the_deadline_is_not_begun(emulator: Emulator) -> None:
    started = time.monotonic()

    (drawing,) = draw(studio(emulator.url, deadline=0.03), f"{PROMPT} [[rate_limit]]")

    assert drawing.outcome in (Outcome.QUOTA, Outcome.TIMEOUT) and time.monotonic() - started < 1


def test_one_failure_leaves_the_others_alone() -> None:
    with Emulator(["ok", "refused", "ok"]) as emulator:
        outcomes = [one.outcome for one in draw(studio(emulator.url, concurrency=1), seeds=(0, 1, 2))]

    assert outcomes == [Outcome.OK, Outcome.REFUSED, Outcome.OK]


# --- keys ---------------------------------------------------------------------------------------------------------


def test_the_key_goes_into_the_header_and_nowhere_else(emulator: Emulator) -> None:
    provider = studio(emulator.url)

    drawings = draw(provider)

    assert emulator.calls[0].headers["x-api-key"] == KEY
    assert KEY not in str(emulator.calls[0].payload) + str(plan(provider)) + str(drawings[0].message) + repr(provider)


def test_a_missing_key_names_the_variable() -> None:
    provider = studio("https://studio.example", secrets={})

    assert provider.missing() == "STUDIO_API_KEY"
    with pytest.raises(MissingKey, match="STUDIO_API_KEY is not set"):
        draw(provider)


def test_a_service_that_repeats_the_key_does_not_get_it_printed() -> None:
    session = Session("http://127.0.0.1:1", Policy(), header="X-Api-Key", key=Secret(KEY))

    assert session.redact(f"bad key {KEY}\n  given") == "bad key *** given"


def test_a_key_needs_encryption_and_stays_on_its_origin() -> None:
    with pytest.raises(ProviderError, match="without encryption"):
        Session("http://studio.example", Policy(), header="X-Api-Key", key=Secret(KEY))
    session = Session("https://studio.example", Policy(), header="X-Api-Key", key=Secret(KEY))

    for path in ("//elsewhere.example/v1", "/v1", "https://elsewhere.example/"):
        assert session.url(path).startswith("https://studio.example/")
    with pytest.raises(ProviderError, match="no service address"):
        Session("https://user:word@studio.example", Policy())


# --- emulated -----------------------------------------------------------------------------------------------------


def test_an_emulated_provider_starts_its_service_when_first_drawn() -> None:
    provider = studio(emulated=True, secrets={}, faults=["refused"], concurrency=1)

    assert provider.emulated and provider.missing() == ""
    assert "emulated" in plan(provider)[0].model
    assert [one.outcome for one in draw(provider, seeds=(0, 1))] == [Outcome.REFUSED, Outcome.OK]
    provider.close()


def test_emulated_and_real_pictures_never_share_a_key(emulator: Emulator) -> None:
    real, emulated = plan(studio(emulator.url))[0], plan(studio(emulated=True))[0]

    assert real.key != emulated.key and replace(real, model=emulated.model).key == emulated.key


def test_wrong_options_are_answered_while_collecting() -> None:
    with pytest.raises(SuiteError, match="did you mean 'concurrency'"):
        studio("https://studio.example", concurency=2)
    with pytest.raises(SuiteError, match="concurrency: Input should be"):
        studio("https://studio.example", concurrency=0)
    with pytest.raises(SuiteError, match="needs `url`"):
        studio("")


# --- waiting ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        ("Sat, 21 Nov 2026 12:00:30 GMT", 30.0),
        ("Sat, 21 Nov 2026 11:00:00 GMT", 0.0),
        ("soon", None),
        ("", None),
        ("nan", None),
    ],
)
def test_retry_after_comes_in_several_forms(value: str, seconds: float | None) -> None:
    assert retry_after(value, datetime(2026, 11, 21, 12, 0, tzinfo=UTC)) == seconds


def test_a_reply_that_drips_ends_at_the_deadline() -> None:
    server = socket.create_server(("127.0.0.1", 0))

    def drip() -> None:
        client, _ = server.accept()
        with client, contextlib.suppress(OSError):
            client.recv(65536)
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            for _ in range(100):
                client.sendall(b" " * 10)
                time.sleep(0.05)

    dripping = threading.Thread(target=drip)
    dripping.start()
    session = Session(f"http://127.0.0.1:{server.getsockname()[1]}", Policy(deadline=0.5, read=0.3))
    started = time.monotonic()

    with pytest.raises(Unanswered, match="possibly billed"):
        session.post("/", {})

    assert time.monotonic() - started < 3
    dripping.join()
    server.close()
