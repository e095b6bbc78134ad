"""Sessions over real sockets: what is sent again and what never, where the key goes, what is waited for."""

from __future__ import annotations

import gzip
import json
import logging
import re
import socket
import threading
import traceback
from pathlib import Path
from typing import Any

import pytest

from harness.core.errors import ProviderError
from harness.core.settings import Secret
from harness.core.values import Outcome
from harness.providers.http_client.exchange import Call, Deadline, Policy, Unanswered
from harness.providers.http_client.limits import Limiter
from harness.providers.http_client.options import RemoteOptions
from harness.providers.http_client.session import ApiKey, Session, open_session
from tests.wire import (
    Wire,
    cut,
    drip_body,
    drip_headers,
    drip_without_length,
    drop,
    flood,
    hang,
    make_authority,
    refused_port,
    reply,
    serve_tls,
)

KEY = "planted-k3y/with+signs=="
QUICK = Policy(attempts=3, deadline=5.0, read=0.2, connect=1.0, backoff=0.001, longest_wait=0.05)
PAID, FREE = Call("/v1/draw", json={"prompt": "steppe"}), Call("/v1/task", "GET", paid=False)


def session(url: str, policy: Policy = QUICK, key: str = "", **more: Any) -> Session:
    held = ApiKey("X-Api-Key", "", lambda: Secret(key)) if key else None
    return Session("studio", url, policy, key=held, **more)


def fail(url: str, call: Call = PAID, policy: Policy = QUICK, **more: Any) -> Unanswered:
    with pytest.raises(Unanswered) as caught:
        session(url, policy, **more).send(call)
    return caught.value


def test_a_reply_is_handed_over_whole() -> None:
    with Wire(reply(200, gzip.compress(b'{"ok": 1}'), Content_Encoding="gzip", X_Request_Id="7")) as wire:
        answer = session(f"{wire.url}/studio/").send(Call("/v1/draw?size=1", json={"prompt": "дала"}))

    assert (answer.status, answer.body, answer.attempts) == (200, b'{"ok": 1}', 1)
    assert answer.headers["x-request-id"] == "7"
    assert wire.received[0].line == "POST /studio/v1/draw?size=1 HTTP/1.1"
    assert json.loads(wire.received[0].body) == {"prompt": "дала"}


def test_connections_are_used_again() -> None:
    with Wire() as wire:
        service = session(wire.url)
        for _ in range(5):
            service.send(PAID)
        service.close()

    assert len(wire.received) == 5 and wire.connections == 1


# --- what is sent again ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("call", [PAID, FREE])
def test_what_was_not_accepted_is_sent_again(status: int, call: Call) -> None:
    with Wire(reply(status), reply(status), reply()) as wire:
        answer = session(wire.url).send(call)

    assert (answer.status, answer.attempts, len(wire.received)) == (200, 3, 3)


@pytest.mark.parametrize("status", [400, 401, 402, 404, 500, 502, 504, 302])
def test_a_paid_request_that_may_have_been_accepted_is_not(status: int) -> None:
    with Wire(reply(status, Location="http://127.0.0.1:1/"), reply()) as wire:
        answer = session(wire.url).send(PAID)

    assert (answer.status, answer.attempts, len(wire.received)) == (status, 1, 1)


@pytest.mark.parametrize("status", [408, 425, 500, 502, 504])
def test_a_poll_is_sent_again_after_any_passing_failure(status: int) -> None:
    with Wire(reply(status), reply()) as wire:
        assert session(wire.url).send(FREE).attempts == 2


@pytest.mark.parametrize("trouble", [hang, drop, cut, drip_headers])
def test_what_hung_or_broke_is_possibly_billed(trouble: Any) -> None:
    policy = Policy(attempts=3, deadline=0.4, read=0.2, backoff=0.001)
    with Wire(trouble, reply()) as wire:
        failure = fail(wire.url, policy=policy)

    assert failure.outcome is Outcome.TIMEOUT and failure.billed and not failure.final
    assert "possibly billed, so not sent again" in str(failure) and len(wire.received) == 1


@pytest.mark.parametrize("trouble", [hang, drop, cut])
def test_a_poll_that_hung_or_broke_is_sent_again(trouble: Any) -> None:
    with Wire(trouble, reply()) as wire:
        assert session(wire.url).send(FREE).attempts == 2

    with Wire(trouble) as wire:
        failure = fail(wire.url, FREE)
    assert failure.outcome is Outcome.TIMEOUT and not failure.billed and len(wire.received) == 3


@pytest.mark.parametrize("trouble", [drip_body, drip_headers, drip_without_length])
def test_a_drip_ends_at_the_deadline(trouble: Any) -> None:
    with Wire(trouble) as wire:
        failure = fail(wire.url, policy=Policy(deadline=0.3, read=5.0))

    assert failure.outcome is Outcome.TIMEOUT and "did not answer in time" in str(failure)


@pytest.mark.parametrize("moment", ["before", "while connecting"])
def test_nothing_is_sent_after_the_deadline(moment: str) -> None:
    def connect(address: str, port: int, seconds: float) -> socket.socket:
        late.wait(0.1 if moment == "while connecting" else 0)
        return socket.create_connection((address, port), seconds)

    late = threading.Event()
    with Wire() as wire, pytest.raises(Unanswered) as caught:
        session(wire.url, connector=connect).send(PAID, Deadline(0.0 if moment == "before" else 0.05))

    assert not caught.value.billed and not wire.received


def test_nobody_listening_is_tried_again_and_then_told() -> None:
    tried: list[str] = []

    def refuse(address: str, port: int, seconds: float) -> Any:
        tried.append(address)
        raise ConnectionRefusedError

    failure = fail("http://127.0.0.1:9", connector=refuse)

    assert failure.outcome is Outcome.PROVIDER_ERROR and not failure.billed and len(tried) == 3
    assert re.match("no connection to http://127.0.0.1:9: connection refused.*check `url`", str(failure))
    assert "no connection" in str(fail(f"http://127.0.0.1:{refused_port()}"))


def test_a_name_that_cannot_be_resolved_is_told() -> None:
    def unknown(host: str, port: int) -> Any:
        raise socket.gaierror("not known")

    assert "the name cannot be resolved" in str(fail("https://studio.example", resolver=unknown))


def test_a_resolver_that_hangs_is_left_behind() -> None:
    policy = Policy(attempts=1, connect=0.05, deadline=5.0)
    release = threading.Event()

    failure = fail("https://studio.example", policy=policy, resolver=lambda host, port: release.wait(30) and ())

    assert "not resolved in time" in str(failure)
    release.set()


def test_the_next_address_of_a_host_is_tried() -> None:
    with Wire() as wire:
        answer = session(
            f"http://localhost:{wire.port}",
            resolver=lambda host, port: ("127.0.0.1",) if wire.received else ("127.0.0.9", "127.0.0.1"),
        ).send(PAID)

    assert answer.attempts == 1


# --- waiting -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "body"), [({"Retry_After": "3600"}, b"{}"), ({}, b'[{"error":{"details":[{"retryDelay":"37s"}]}}]')]
)
def test_a_wait_that_is_too_long_is_not_begun(headers: dict[str, str], body: bytes) -> None:
    with Wire(reply(429, body, **headers)) as wire:
        answer = session(wire.url).send(PAID)

    assert (answer.status, answer.attempts) == (429, 1)


def test_a_wait_beyond_the_deadline_is_not_begun() -> None:
    with Wire(reply(429, Retry_After="3")) as wire:
        answer = session(wire.url, Policy(longest_wait=10)).send(PAID, Deadline(2))

    assert (answer.status, answer.attempts) == (429, 1)


@pytest.mark.parametrize(
    ("headers", "body"), [({"X_Should_Retry": "false"}, b""), ({}, b'{"error":{"code":"insufficient_quota"}}')]
)
def test_a_service_that_forbids_another_try_is_obeyed(headers: dict[str, str], body: bytes) -> None:
    with Wire(reply(429, body, **headers)) as wire:
        assert session(wire.url).send(PAID).attempts == 1


def test_the_last_429_is_a_reply() -> None:
    with Wire(reply(429, Retry_After_Ms="1")) as wire:
        answer = session(wire.url).send(PAID)

    assert (answer.status, answer.attempts, len(wire.received)) == (429, 3, 3)


def test_the_limiter_hears_of_429_and_of_answers() -> None:
    limiter = Limiter(8)
    with Wire(reply(429, Retry_After_Ms="1"), reply()) as wire:
        service = session(wire.url, limiter=limiter)
        service.send(PAID)
        assert limiter.allowed == 4

        for _ in range(10):
            service.send(PAID)
        assert limiter.allowed == 6


# --- caps --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        flood,
        reply(200, gzip.compress(bytes(5_000_000)), Content_Encoding="gzip"),
        b"HTTP/1.1 200 OK\r\nContent-Length: 200000000\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 200000000\r\n\r\n",
    ],
)
def test_a_reply_over_the_cap_is_left(answer: Any) -> None:
    with Wire(answer) as wire:
        failure = fail(wire.url, policy=Policy(max_bytes=1_000_000))

    assert failure.outcome is Outcome.BAD_IMAGE and failure.billed
    assert "too large" in str(failure) and "`max_bytes` (1000000)" in str(failure)


def test_a_reply_that_cannot_be_unpacked() -> None:
    with Wire(reply(200, b"no gzip at all", Content_Encoding="gzip")) as wire:
        assert fail(wire.url).outcome is Outcome.BAD_IMAGE


# --- where it goes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "http://elsewhere.example/v1",
        "https://127.0.0.1:{port}/v1",
        "http://127.0.0.1:1/v1",
        "http://user@127.0.0.1:{port}/v1",
        "http://127.0.0.1:{port}@elsewhere.example/v1",
        "http://127.0.0.1:{port}\\@elsewhere.example/v1",
        "http://elsewhere.example#@127.0.0.1:{port}/",
        "file:///etc/passwd",
        "gopher:x",
        "v1/../../other",
        "v1/%2e%2e/other",
        "v1\r\nX-Evil: 1",
        "v1 HTTP/1.1",
    ],
)
def test_no_path_leads_away(path: str) -> None:
    with Wire() as wire:
        failure = fail(f"{wire.url}/studio", Call(path.replace("{port}", str(wire.port))), key=KEY)

    assert failure.outcome is Outcome.PROVIDER_ERROR and "nothing was sent" in str(failure)
    assert wire.connections == 0 and KEY not in str(failure)


def test_a_poll_may_go_to_a_whole_address_on_the_same_origin() -> None:
    with Wire() as wire:
        session(f"{wire.url}/studio", key=KEY).send(Call(f"{wire.url}/elsewhere/7?token=1", "GET", paid=False))

    assert (
        wire.received[0].line.startswith("GET /elsewhere/7?token=1 ") and wire.received[0].headers["x-api-key"] == KEY
    )


def test_further_origins_are_those_of_the_options() -> None:
    service = session("https://api.bfl.example", key=KEY, origins=("https://*.bfl.example", "https://one.example:8443"))

    for allowed in ("https://us1.bfl.example/task", "https://one.example:8443/task", "https://API.bfl.example:443/"):
        assert service.url(allowed) == allowed
    for other in (
        "https://bfl.example/",
        "https://evilbfl.example/",
        "http://us1.bfl.example/",
        "https://one.example/",
    ):
        with pytest.raises(Unanswered, match="nothing was sent there"):
            service.url(other)


def test_a_redirect_is_a_reply_and_nobody_follows_it() -> None:
    with Wire() as other, Wire(reply(307, Location=f"{other.url}/take")) as wire:
        answer = session(wire.url, key=KEY).send(PAID)

    assert answer.status == 307 and other.connections == 0


@pytest.mark.parametrize("address", ["studio.example", "ftp://studio.example", "https://me:word@studio.example", ""])
def test_what_is_no_service_address(address: str) -> None:
    with pytest.raises(ProviderError, match="no service address"):
        session(address)


def test_a_key_needs_encryption() -> None:
    for address, origins in (("http://studio.example", ()), ("https://a.example", ("http://b.example",))):
        with pytest.raises(ProviderError, match="without encryption"):
            session(address, key=KEY, origins=origins)


# --- headers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [
        Call("/", headers={"X-Note": "a\r\nX-Evil: 1"}),
        Call("/", headers={"X-Note": "a\nX-Evil: 1"}),
        Call("/", headers={"X-Note\r\nX-Evil": "1"}),
        Call("/", headers={"X Note": "1"}),
        Call("/", headers={"X-Note": "дала"}),
        Call("/", headers={"Host": "elsewhere.example"}),
        Call("/", headers={"content-length": "0"}),
        Call("/", headers={"x-api-key": "another"}),
        Call("/", form={'text"\r\nX-Evil: 1': "a"}),
        Call("/", form={"a": "b"}, files={"image": ('a.png"\r\nX-Evil: 1', b"", "image/png")}),
        Call("/", form={"a": "b"}, files={"image": ("a.png", b"", "image/png\r\nX-Evil: 1")}),
        Call("/", json={"seed": float("nan")}),
        Call("/", form={"text": "\ud800"}),
    ],
)
def test_what_cannot_be_written_is_not_sent(call: Call) -> None:
    with Wire() as wire:
        failure = fail(wire.url, call, key=KEY)

    assert failure.outcome is Outcome.PROVIDER_ERROR and "cannot be sent" in str(failure) and wire.connections == 0


@pytest.mark.parametrize("kind", ["json", "form", "data"])
def test_a_prompt_cannot_become_a_header(kind: str) -> None:
    prompt = 'steppe\r\nX-Evil: 1\r\n\r\nGET /evil HTTP/1.1\r\n\r\n"; filename="x'
    with Wire() as wire:
        body: Any = {kind: {"prompt": prompt}}
        session(wire.url).send(Call("/", headers={"X-Sample": "7"}, **body))

    (received,) = wire.received
    assert "x-evil" not in received.headers and received.headers["x-sample"] == "7"
    assert int(received.headers["content-length"]) == len(received.body)


def test_multipart_carries_fields_and_files() -> None:
    with Wire() as wire:
        session(wire.url).send(
            Call("/", form={"purpose": "general"}, files={"file": ("a.png", b"\x89PNG", "image/png")})
        )

    body = wire.received[0].body
    assert wire.received[0].headers["content-type"].startswith("multipart/form-data; boundary=")
    assert b'name="purpose"\r\n\r\ngeneral\r\n' in body
    assert b'name="file"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n\x89PNG' in body


def test_cookies_are_not_kept() -> None:
    with Wire(reply(Set_Cookie="id=7; Path=/")) as wire:
        service = session(wire.url)
        service.send(PAID)
        service.send(PAID)

    assert "cookie" not in wire.received[1].headers


def test_neither_netrc_nor_a_proxy_is_asked_for_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login me password word\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{refused_port()}")
    with Wire() as wire:
        session(wire.url).send(PAID)

    assert "authorization" not in wire.received[0].headers


# --- the key -----------------------------------------------------------------------------------------------------


def test_a_key_is_asked_for_each_time_since_tokens_change() -> None:
    tokens = iter(["first-token", "second-token"])
    with Wire() as wire:
        service = Session("chat", wire.url, QUICK, key=ApiKey("Authorization", "Bearer ", lambda: Secret(next(tokens))))
        service.send(PAID)
        service.send(PAID)

    assert [one.headers["authorization"] for one in wire.received] == ["Bearer first-token", "Bearer second-token"]
    assert service.redact("not first-token, nor second-token") == "not ***, nor ***"


@pytest.mark.parametrize("key", ["two\nlines", "ключ"])
def test_a_key_that_no_header_can_carry(key: str) -> None:
    failure = fail("http://127.0.0.1:9", key=key)

    assert failure.outcome is Outcome.AUTH and failure.final and key not in str(failure)


def show_everything(failure: BaseException) -> str:
    """A failure as the most talkative of reporters would show it, without the frame of the test itself."""
    assert failure.__traceback__ is not None
    failure.with_traceback(failure.__traceback__.tb_next)
    trace = traceback.TracebackException.from_exception(failure, capture_locals=True)
    return "".join(trace.format()) + repr(failure) + repr(failure.__context__) + repr(failure.__cause__)


@pytest.mark.parametrize("trouble", [drop, cut, hang, flood, b"no HTTP at all\r\n\r\n", reply(429, Retry_After="9")])
def test_the_planted_key_is_nowhere(trouble: Any, caplog: Any, capfd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in debug logs, not in what http.client prints, not in tracebacks with local variables."""
    monkeypatch.setattr("http.client.HTTPConnection.debuglevel", 1)
    caplog.set_level(logging.DEBUG)
    with Wire(trouble) as wire:
        options = RemoteOptions.model_validate({"header": "X-Api-Key", "prefix": "", "read": 0.1, "longest_wait": 0.01})
        service = open_session("studio", wire.url, options, Secret(KEY))
        try:
            told = repr(service.send(Call("/v1/draw?token=signed-token-1", json={"prompt": "x"})))
        except Unanswered as failure:
            told = show_everything(failure)

    everything = told + caplog.text + "".join(capfd.readouterr()) + repr(service) + str(vars(service))
    assert wire.received[0].headers["x-api-key"] == KEY and caplog.text
    assert "planted" not in everything and "signed-token" not in caplog.text


def test_ctrl_c_in_the_middle_shows_no_key() -> None:
    def stop(address: str, port: int, seconds: float) -> Any:
        raise KeyboardInterrupt

    try:
        session("http://127.0.0.1:9", key=KEY, connector=stop).send(PAID)
    except KeyboardInterrupt as error:
        shown = show_everything(error)

    assert "session.py" in shown and KEY not in shown


# --- certificates ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_authority(tmp_path_factory.mktemp("authority"))


def test_an_unknown_authority_is_refused_and_the_option_named(authority: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority / "ca.pem"))
    with Wire(tls=serve_tls(authority)) as wire:
        failure = fail(wire.url, key=KEY)

    assert failure.outcome is Outcome.PROVIDER_ERROR and failure.final
    assert "certificate" in str(failure) and "`ca_bundle`" in str(failure)
    assert not wire.received and wire.connections == 1


def test_a_private_authority_is_trusted_by_one_session_alone(authority: Path) -> None:
    with Wire(tls=serve_tls(authority)) as wire:
        answer = session(wire.url, key=KEY, ca_bundle=authority / "ca.pem").send(PAID)
        failure = fail(wire.url)

    assert answer.status == 200 and failure.final


def test_a_certificate_of_another_host_is_refused(authority: Path) -> None:
    with Wire(tls=serve_tls(authority)) as wire:
        url = f"https://studio.example:{wire.port}"
        failure = fail(url, ca_bundle=authority / "ca.pem", resolver=lambda host, port: ("127.0.0.1",))

    assert "studio.example" in str(failure) and failure.final and not wire.received


def test_no_encryption_where_it_was_expected() -> None:
    with Wire() as wire:
        failure = fail(f"https://127.0.0.1:{wire.port}", policy=Policy(attempts=1, connect=0.3))

    assert failure.outcome is Outcome.PROVIDER_ERROR and "no connection" in str(failure)


def test_an_unusable_bundle_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    (tmp_path / "text.pem").write_text("not a certificate")

    for name, why in (("absent.pem", "no such file"), ("text.pem", "no certificates")):
        with pytest.raises(ProviderError, match=f"ca_bundle .*{name}: .*{why}"):
            session("https://studio.example", ca_bundle=tmp_path / name)


# --- shared ------------------------------------------------------------------------------------------------------


def test_sessions_of_one_service_and_key_share_their_limits() -> None:
    options = RemoteOptions.model_validate({"concurrency": 3, "per_minute": 30})
    one, same = (open_session("studio", "https://studio.example/", options, Secret(KEY)) for _ in range(2))
    other = open_session("studio", "https://studio.example", options, Secret("another-key"))

    assert one.limiter is same.limiter and one.limiter is not other.limiter
    assert one.redact(f"no {KEY}") == "no ***"


def test_threads_share_a_session() -> None:
    with Wire() as wire:
        service, limiter = session(wire.url, limiter=Limiter(4)), 12
        threads = [threading.Thread(target=service.send, args=(PAID,)) for _ in range(limiter)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert len(wire.received) == 12 and wire.connections <= 4
