"""Files from addresses that a stranger names, a reply say: each hop is checked before it is connected to."""

from __future__ import annotations

import base64
import binascii
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urljoin

import requests

from harness.core.values import Outcome
from harness.providers.http_client.attempt import Attempt, Connector, Resolver, explain, resolve_within
from harness.providers.http_client.exchange import Deadline, Policy, Reply, Unanswered
from harness.providers.http_client.transport import Clients, Lost, Origin, RequestStage, exchange, parse_origin
from harness.providers.http_client.waits import asked_wait, backoff

HOPS = 5  # redirects followed, at most
TRIES = 3  # of an address that does not answer well; it may not be there yet
HEADERS = {"Accept-Encoding": "identity", "User-Agent": "lora-harness"}
AGAIN = frozenset({403, 404, 408, 425, 429, 500, 502, 503, 504})
EXPIRED = frozenset({403, 404, 410})
REDIRECTS = frozenset({301, 302, 303, 307, 308})
GLOBAL_UNICAST = ip_network("2000::/3")
NAT64 = ip_network("64:ff9b::/96")
CLOSED = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8",
            "100.64.0.0/10",  # carriers' own
            "192.0.0.0/24",
            "192.88.99.0/24",  # relays of 6to4
            "198.18.0.0/15",  # benchmarks
            "240.0.0.0/4",
            "2001::/23",  # protocols, Teredo among them
            "2001:db8::/32",
            "3fff::/20",  # documentation too
            "fec0::/10",
        ),
    )
)
"""Networks that no public service lives in, beside those that `ipaddress` knows in every version."""


OTHERS = (
    (b"GIF8", "a GIF"),
    (b"BM", "a BMP"),
    (b"II*\0", "a TIFF"),
    (b"MM\0*", "a TIFF"),
    (b"{", "JSON"),
    (b"[", "JSON"),
    (b"%PDF", "a PDF"),
    (b"PK\x03\x04", "a zip archive, maybe with a pickle in it, which could run code when loaded"),
    (b"\x80", "a pickle, which could run code when loaded"),
)


@dataclass(frozen=True)
class Wanted:
    """What a download has to turn out to be, whatever its headers call it."""

    noun: str
    kinds: str
    accept: str  # for the Accept header
    fits: Callable[[bytes], bool]
    lost: str  # begins the message when nothing came


@dataclass(frozen=True)
class Hop:
    """A request that may be sent, and where its host is."""

    request: requests.PreparedRequest
    resolver: Resolver
    at_home: bool  # at the configured service itself


class Downloader:
    """Fetches pictures, or whatever else is wanted.

    The configured service itself is exempt from the address check: it alone may be local.

    A host is refused when any one of its addresses is not public: a name that answers with both kinds is a trick.
    The addresses that were checked are the ones that are connected to, past any proxy.
    """

    def __init__(
        self,
        home: Origin,
        policy: Policy,
        clients: Clients,
        resolver: Resolver,
        connector: Connector,
        redact: Callable[[object], str],
        wanted: Wanted | None = None,
    ) -> None:
        """`clients` are for downloads alone: whatever connection they kept was checked when it was made."""
        self._home, self._policy, self._clients = home, policy, clients
        self._resolver, self._connector, self._redact = resolver, connector, redact
        self._wanted = wanted or PICTURE

    def fetch(self, url: str, deadline: Deadline) -> bytes:
        """The bytes of what is wanted, a PNG, JPEG or WebP picture; from a `data:` address without any connection.

        Raises:
            Unanswered: the address is not safe, or nothing usable came, also when asked again.
        """
        if url[:5].lower() == "data:":
            return self._decode(url)
        for attempt in range(1, TRIES + 1):
            result = self._follow(url, deadline)
            problem = self._judge(result)
            if problem is None and isinstance(result, Reply):
                return result.body
            wait = self._wait(attempt, result, deadline)
            if wait is None:
                break
            time.sleep(wait)
        raise problem or bad_image(f"the {self._wanted.noun} cannot be fetched")

    def close(self) -> None:
        """Close the connections."""
        self._clients.close()

    def _decode(self, url: str) -> bytes:
        """A `data:` address; the cap is looked at before anything is unpacked."""
        head, _, text = url.partition(",")
        if not head.lower().endswith(";base64"):
            raise bad_image(f"the {self._wanted.noun}'s data: address is not base64")
        if len(text) // 4 * 3 > self._policy.max_bytes:
            raise bad_image(f"the {self._wanted.noun} is larger than {self._policy.max_bytes} bytes")
        try:
            data = base64.b64decode(re.sub(r"\s+", "", text), validate=True)
        except (binascii.Error, ValueError):
            raise bad_image(f"the {self._wanted.noun}'s data: address is not base64") from None
        if not self._wanted.fits(data):
            raise bad_image(f"what came is {name_kind(data)}, not {self._wanted.kinds}")
        return data

    def _follow(self, url: str, deadline: Deadline) -> Reply | Lost:
        """What is at the end of a chain of redirects; each hop is checked like the first.

        Raises:
            Unanswered: a hop is not safe, or there are too many.
        """
        at_home = True
        for _ in range(HOPS + 1):
            try:
                hop = self._check(url, deadline, at_home)
            except OSError as error:
                return Lost(RequestStage.UNSENT, explain(error))
            attempt = Attempt(hop.resolver, self._connector, deadline)
            result = exchange(self._clients, hop.request, attempt, self._policy)
            if isinstance(result, Lost) or result.status not in REDIRECTS or not result.headers.get("location"):
                return result
            at_home = hop.at_home
            url = urljoin(hop.request.url or url, result.headers["location"])
        raise bad_image(f"the {self._wanted.noun}'s address leads on and on (more than {HOPS} redirects)")

    def _check(self, url: str, deadline: Deadline, at_home: bool) -> Hop:
        """The request for an address, bound to the host's addresses as they are now.

        Args:
            at_home: no hop before led away from the service; a stranger may not send us back to it unchecked.

        Raises:
            Unanswered: not to be connected to.
            OSError: the host's name is not known.
        """
        try:
            origin = parse_origin(url)
            request = requests.Request("GET", url, headers={**HEADERS, "Accept": self._wanted.accept}).prepare()
            if parse_origin(request.url or "") != origin:
                raise self._blocked(url, "it is read differently by different programs")
        except (requests.RequestException, ValueError) as error:
            raise self._blocked(url, str(error)) from None
        if at_home and origin == self._home:
            return Hop(request, self._resolver, True)
        if origin.scheme != "https":
            raise self._blocked(url, "it is not encrypted (https)")
        if origin.port not in (443, self._home.port):
            raise self._blocked(url, f"port {origin.port} is not the usual one")
        seconds = min(self._policy.connect, deadline.left)
        addresses = tuple(resolve_within(self._resolver, origin.host, origin.port, seconds))
        for address in addresses:
            if reason := closed_reason(address):
                raise self._blocked(url, f"its host is at {address}, {reason}")
        return Hop(request, pin_host(origin, addresses), False)

    def _blocked(self, url: str, reason: str) -> Unanswered:
        where = self._redact(url[:200])
        return bad_image(f"the {self._wanted.noun}'s address was not connected to, {self._redact(reason)}: {where}")

    def _wait(self, attempt: int, result: Reply | Lost, deadline: Deadline) -> float | None:
        """Seconds before the next try; None: there is none. A download costs nothing, so much may be tried."""
        if isinstance(result, Lost):
            hopeless = result.untrusted or result.stage is RequestStage.UNUSABLE
        else:
            hopeless = result.status >= 300 and result.status not in AGAIN
        if attempt >= TRIES or hopeless:
            return None
        wait = backoff(attempt, self._policy.backoff, self._policy.longest_wait)
        if isinstance(result, Reply):
            wait = max(wait, asked_wait(result.headers, b"", datetime.now(UTC)) or 0.0)
        return wait if wait <= self._policy.longest_wait and wait < deadline.left else None

    def _judge(self, result: Reply | Lost) -> Unanswered | None:
        """What is wrong with what came; None: nothing."""
        made = self._wanted.lost
        if isinstance(result, Lost):
            if result.stage is RequestStage.HUNG:
                message = f"{made}: it did not arrive in time ({result.reason})"
                return Unanswered(Outcome.TIMEOUT, message, billed=True)
            if result.stage is RequestStage.UNUSABLE:
                return bad_image(f"{made}: {result.reason} (at most {self._policy.max_bytes} bytes)")
            if result.stage is RequestStage.BROKE:
                return bad_image(f"{made}: the connection broke off {result.reason}")
            why = f"the certificate was not accepted ({result.reason})" if result.untrusted else result.reason
            return bad_image(f"{made}: {why}")
        if result.status >= 300:
            hint = " (its address may have expired)" if result.status in EXPIRED else ""
            return bad_image(f"{made}: HTTP {result.status}{hint}")
        if not self._wanted.fits(result.body):
            return bad_image(f"what came is {name_kind(result.body)}, not {self._wanted.kinds}")
        return None


def bad_image(message: str) -> Unanswered:
    """The service did its work, and there is nothing to show for it."""
    return Unanswered(Outcome.BAD_IMAGE, message, billed=True)


def pin_host(origin: Origin, addresses: Sequence[str]) -> Resolver:
    """A resolver that knows one host, by the addresses that were checked; names may change, this answer does not."""

    def pinned(host: str, port: int) -> Sequence[str]:
        if (host.strip("[]").rstrip("."), port) != (origin.host, origin.port):
            raise OSError("another host than the one that was checked")
        return addresses

    return pinned


def closed_reason(address: str) -> str:
    """Why an IP address is not on the public internet, also when it only carries another one inside; "": it is."""
    try:
        ip = ip_address(address)
    except ValueError:
        return "which is no address"
    inner = embedded_address(ip)
    if inner is not None:
        reason = closed_reason(str(inner))
        return f"{reason} ({inner} inside)" if reason else ""
    kinds = {
        "loopback": ip.is_loopback,
        "link-local": ip.is_link_local,
        "unspecified": ip.is_unspecified,
        "multicast": ip.is_multicast,
        "private": ip.is_private,
        "reserved": ip.is_reserved or not ip.is_global or any(ip in network for network in CLOSED),
    }
    kind = next((name for name, holds in kinds.items() if holds), "")
    if not kind and ip.version == 6 and ip not in GLOBAL_UNICAST:
        kind = "reserved"
    return f"which is {kind}" if kind else ""


def embedded_address(ip: IPv4Address | IPv6Address) -> IPv4Address | None:
    """The IPv4 address that a mapped, compatible, 6to4 or NAT64 address leads to."""
    if isinstance(ip, IPv4Address):
        return None
    if ip.ipv4_mapped is not None or ip.sixtofour is not None:
        return ip.ipv4_mapped or ip.sixtofour
    if ip in NAT64 or (int(ip) >> 32 == 0 and int(ip) > 1):
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return None


def is_picture(data: bytes) -> bool:
    """Whether the first bytes are those of a PNG, JPEG or WebP; what a header calls it does not matter."""
    png_or_jpeg = data.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"))
    return png_or_jpeg or (data[:4] == b"RIFF" and data[8:12] == b"WEBP")


PICTURE = Wanted(
    "picture",
    "a PNG, JPEG or WebP picture",
    "image/png, image/jpeg, image/webp",
    is_picture,
    "the picture was made but cannot be fetched",
)


def name_kind(data: bytes) -> str:
    """What bytes are that are no picture, for a message."""
    start = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not start:
        return "nothing"
    if b"<svg" in start:
        return "an SVG"
    if start.startswith(b"<"):
        return "an HTML or XML page"
    if data[4:8] == b"ftyp":
        return "an AVIF, HEIC or video"
    return next((name for magic, name in OTHERS if data.startswith(magic) or start.startswith(magic)), "something else")
