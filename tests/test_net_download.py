"""Downloads from addresses that a stranger names: checked, pinned, capped, and told apart."""

from __future__ import annotations

import base64
import io
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from harness.core.settings import Secret
from harness.core.values import Outcome
from harness.providers.http_client.download import Downloader, closed_reason
from harness.providers.http_client.exchange import Deadline, Policy, Unanswered
from harness.providers.http_client.session import ApiKey, Session
from harness.providers.http_client.transport import Clients, parse_origin, usual_context
from tests.wire import Wire, cut, drip_body, drop, flood, hang, make_authority, reply, serve_tls

KEY = "planted-key"
QUICK = Policy(read=0.2, connect=0.5, backoff=0.001, longest_wait=0.05, max_bytes=1_000_000)


def picture(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "teal").save(buffer, kind)
    return buffer.getvalue()


PNG = picture("png")


class Net:
    """An internet of names and addresses in which every connection is written down, and leads to one server or none."""

    def __init__(self, names: dict[str, Sequence[Sequence[str]]], port: int = 0) -> None:
        self.names, self.port = {name: list(answers) for name, answers in names.items()}, port
        self.asked: list[str] = []
        self.connected: list[tuple[str, int]] = []

    def resolve(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        answers = self.names.get(host)
        if not answers:
            raise socket.gaierror("not known")
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def connect(self, address: str, port: int, seconds: float) -> socket.socket:
        self.connected.append((address, port))
        if not self.port:
            raise ConnectionRefusedError
        return socket.create_connection(("127.0.0.1", self.port), seconds)


def fetch(home: str, url: str, net: Net | None = None, deadline: float = 5.0, **more: Any) -> bytes:
    given: Any = {"resolver": net.resolve, "connector": net.connect} if net else {}
    service = Session("studio", home, QUICK, key=ApiKey("X-Api-Key", "", lambda: Secret(KEY)), **given, **more)
    return service.download(url, Deadline(deadline))


def fail(home: str, url: str, net: Net | None = None, deadline: float = 5.0, **more: Any) -> Unanswered:
    with pytest.raises(Unanswered) as caught:
        fetch(home, url, net, deadline, **more)
    assert caught.value.billed and not caught.value.final and KEY not in str(caught.value)
    return caught.value


# --- what comes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_a_picture_comes_without_the_key(kind: str) -> None:
    with Wire(reply(200, picture(kind), Content_Type="text/html")) as wire:
        data = fetch(f"{wire.url}/studio", f"{wire.url}/cdn/1.png?sig=signed")

    assert data == picture(kind)
    assert wire.received[0].line == "GET /cdn/1.png?sig=signed HTTP/1.1"
    assert "x-api-key" not in wire.received[0].headers and KEY.encode() not in wire.received[0].raw


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (picture("gif"), "a GIF"),
        (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "an SVG"),
        (b"\n <!doctype html><title>Sorry</title>", "an HTML or XML page"),
        (b'{"error": "expired"}', "JSON"),
        (b"\0\0\0\x20ftypavif", "an AVIF"),
        (b"", "nothing"),
        (b"what?", "something else"),
    ],
)
def test_what_is_no_picture_is_named(body: bytes, kind: str) -> None:
    with Wire(reply(200, body, Content_Type="image/png")) as wire:
        failure = fail(wire.url, f"{wire.url}/1.png")

    assert failure.outcome is Outcome.BAD_IMAGE and f"what came is {kind}" in str(failure)


@pytest.mark.parametrize(
    "trouble", [reply(403), reply(404), reply(500), reply(503), drop, cut, hang, reply(200, b"<p>")]
)
def test_a_first_failure_is_tried_again(trouble: Any) -> None:
    with Wire(trouble, reply(200, PNG)) as wire:
        assert fetch(wire.url, f"{wire.url}/1.png") == PNG


@pytest.mark.parametrize("status", [403, 404])
def test_an_address_that_has_expired_says_so(status: int) -> None:
    with Wire(reply(status)) as wire:
        failure = fail(wire.url, f"{wire.url}/1.png?sig=signed")

    assert failure.outcome is Outcome.BAD_IMAGE and len(wire.received) == 3
    assert f"the picture was made but cannot be fetched: HTTP {status} (its address may have expired)" in str(failure)


def test_what_cannot_help_is_not_tried_again() -> None:
    with Wire(reply(401)) as wire:
        failure = fail(wire.url, f"{wire.url}/1.png")

    assert "cannot be fetched: HTTP 401" in str(failure) and len(wire.received) == 1


@pytest.mark.parametrize(
    ("trouble", "outcome", "message"),
    [
        (hang, Outcome.TIMEOUT, "did not arrive in time"),
        (drip_body, Outcome.TIMEOUT, "did not arrive in time"),
        (drop, Outcome.BAD_IMAGE, "the connection broke off after 0 bytes"),
        (cut, Outcome.BAD_IMAGE, "the connection broke off after 500 bytes"),
        (flood, Outcome.BAD_IMAGE, "too large (at most 1000000 bytes)"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 200000000\r\n\r\n", Outcome.BAD_IMAGE, "too large"),
        (b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 200000000\r\n\r\n", Outcome.BAD_IMAGE, "too large"),
    ],
)
def test_every_other_ending_is_told(trouble: Any, outcome: Outcome, message: str) -> None:
    with Wire(trouble) as wire:
        failure = fail(wire.url, f"{wire.url}/1.png", deadline=0.5)

    assert failure.outcome is outcome and message in str(failure)


# --- data: addresses ----------------------------------------------------------------------------------------------


def test_a_picture_may_be_in_its_address() -> None:
    encoded = base64.b64encode(PNG).decode()

    assert fetch("https://studio.example", f"data:image/png;base64,{encoded}", Net({})) == PNG


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("data:image/png;base64,@@@@", "not base64"),
        ("data:image/svg+xml,<svg/>", "not base64"),
        ("data:image/png;base64," + base64.b64encode(b"<svg/>").decode(), "what came is an SVG"),
        ("data:image/png;base64," + "A" * 2_000_000, "larger than 1000000 bytes"),
    ],
)
def test_data_addresses_are_checked_alike(url: str, message: str) -> None:
    assert message in str(fail("https://studio.example", url, Net({})))


# --- where it may go ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://cdn.example/1.png", "not encrypted"),
        ("http://10.0.0.1/1.png", "not encrypted"),
        ("file:///etc/passwd", "its scheme is file"),
        ("ftp://cdn.example/1.png", "its scheme is ftp"),
        ("/cdn/1.png", "its scheme is missing"),
        ("", "its scheme is missing"),
        ("https://user:word@cdn.example/1.png", "names a user"),
        ("https://studio.example\\@10.0.0.1/1.png", "backslashes"),
        ("https://cdn.example/1 .png", "spaces"),
        ("https://cdn.example:22/1.png", "port 22"),
        ("https:///1.png", "no host"),
        ("https://[fe80::1%25eth0]/1.png", "no"),
        ("https://127.0.0.1/1.png", "loopback"),
        ("https://[::1]/1.png", "loopback"),
        ("https://169.254.169.254/latest/meta-data", "link-local"),
        ("https://10.0.0.1/1.png", "private"),
        ("https://[::ffff:10.0.0.1]/1.png", "private (10.0.0.1 inside)"),
        ("https://private.example/1.png", "private"),
        ("https://localhost/1.png", "loopback"),
        ("https://2130706433/1.png", "loopback"),
        ("https://both.example/1.png", "private"),
    ],
)
def test_an_address_that_is_not_public_is_not_connected_to(url: str, reason: str) -> None:
    net = Net(
        {
            "private.example": [["192.168.7.7"]],
            "localhost": [["127.0.0.1"]],
            "2130706433": [["127.0.0.1"]],
            "both.example": [["93.184.215.14", "10.0.0.1"]],
            "cdn.example": [["93.184.215.14"]],
        }
    )

    failure = fail("https://studio.example", url, net)

    assert failure.outcome is Outcome.BAD_IMAGE and "was not connected to" in str(failure)
    assert reason in str(failure) and not net.connected


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1:9/1.png",
        "https://127.0.0.1/1.png",
        "https://169.254.169.254/latest",
        "https://10.0.0.1/1.png",
        "https://[::ffff:10.0.0.1]/1.png",
        "https://private.example/1.png",
        "file:///etc/passwd",
        "https://user@cdn.example/1.png",
        "http://cdn.example/1.png",
        "//10.0.0.1/1.png",
    ],
)
def test_every_hop_is_checked(location: str) -> None:
    with Wire(reply(302, Location=location)) as wire:
        net = Net({"private.example": [["192.168.7.7"]], "cdn.example": [["93.184.215.14"]]}, wire.port)
        failure = fail(wire.url, f"{wire.url}/1.png", net)

    assert failure.outcome is Outcome.BAD_IMAGE and "was not connected to" in str(failure)
    assert net.connected == [("127.0.0.1", wire.port)]


def test_a_redirect_on_the_service_itself_is_followed() -> None:
    with Wire(reply(302, b"<p>moved</p>", Location="/cdn/2.png"), reply(200, PNG)) as wire:
        assert fetch(wire.url, f"{wire.url}/1.png") == PNG

    assert wire.received[1].line.startswith("GET /cdn/2.png ")


def test_redirects_come_to_an_end() -> None:
    with Wire(reply(302, Location="/again")) as wire:
        failure = fail(wire.url, f"{wire.url}/1.png")

    assert "more than 5 redirects" in str(failure) and len(wire.received) == 6


def test_another_port_of_this_machine_is_not_the_service() -> None:
    with Wire() as other, Wire() as wire:
        failure = fail(wire.url, f"{other.url}/1.png")

    assert "not encrypted" in str(failure) and other.connections == 0


def test_the_checked_address_is_the_one_connected_to() -> None:
    """The name answers with a public address when it is checked and with a private one ever after."""
    net = Net({"cdn.example": [["93.184.215.14"], ["10.0.0.1"]]})

    failure = fail("https://studio.example", "https://cdn.example/1.png", net)

    assert net.connected == [("93.184.215.14", 443)]
    assert "10.0.0.1, which is private" in str(failure)  # the next try asked again, and was stopped


def test_the_host_keeps_its_name_although_the_address_is_fixed(tmp_path: Path) -> None:
    """For the certificate, for the server's choice of one (SNI), and in the Host header."""
    folder, asked_for = make_authority(tmp_path), []
    context = serve_tls(folder)
    context.sni_callback = lambda connection, name, same: asked_for.append(name)
    with Wire(reply(200, PNG), tls=context) as wire:
        net = Net({"cdn.example": [["93.184.215.14"]], "other.example": [["93.184.215.14"]]}, wire.port)
        home, bundle = "https://studio.example", folder / "ca.pem"

        assert fetch(home, "https://cdn.example/1.png", net, ca_bundle=bundle) == PNG
        failure = fail(home, "https://other.example/1.png", net, ca_bundle=bundle)

    assert net.connected[0] == ("93.184.215.14", 443) and asked_for[0] == "cdn.example"
    assert wire.received[0].headers["host"] == "cdn.example"
    assert "certificate was not accepted" in str(failure) and len(wire.received) == 1


def test_a_stranger_may_not_send_us_back_to_a_local_service() -> None:
    home = "http://192.168.7.7:7860"
    net = Net({})
    downloader = Downloader(parse_origin(home), QUICK, Clients(usual_context), net.resolve, net.connect, str)

    with pytest.raises(Unanswered, match="not encrypted"):
        downloader._check(f"{home}/1.png", Deadline(5), at_home=False)
    assert downloader._check(f"{home}/1.png", Deadline(5), at_home=True).at_home


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("127.0.0.1", "loopback"),
        ("127.8.8.8", "loopback"),
        ("0.0.0.0", "unspecified"),
        ("0.1.2.3", "private"),
        ("10.1.2.3", "private"),
        ("172.16.0.1", "private"),
        ("192.168.0.1", "private"),
        ("169.254.169.254", "link-local"),
        ("100.64.0.1", "reserved"),
        ("192.0.2.1", "private"),
        ("198.18.0.1", "private"),
        ("192.88.99.1", "reserved"),
        ("224.0.0.1", "multicast"),
        ("240.0.0.1", "private"),
        ("255.255.255.255", "private"),
        ("::", "unspecified"),
        ("::1", "loopback"),
        ("::ffff:127.0.0.1", "loopback"),
        ("::ffff:169.254.169.254", "link-local"),
        ("::10.0.0.1", "private"),
        ("64:ff9b::10.0.0.1", "private"),
        ("64:ff9b:1::1", "reserved"),
        ("2002:0a00:0001::1", "private"),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "private"),
        ("fe80::1", "link-local"),
        ("fc00::1", "private"),
        ("fec0::1", "reserved"),
        ("ff02::1", "multicast"),
        ("2001:db8::1", "private"),
        ("3fff::1", "reserved"),
        ("5f00::1", "reserved"),
        ("no address", "no address"),
    ],
)
def test_addresses_that_are_not_public(address: str, kind: str) -> None:
    assert kind in closed_reason(address)


@pytest.mark.parametrize(
    "address",
    ["93.184.215.14", "1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::1.1.1.1", "2002:0101:0101::1"],
)
def test_addresses_that_are_public(address: str) -> None:
    assert closed_reason(address) == ""
