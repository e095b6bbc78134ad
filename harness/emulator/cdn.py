"""Where the emulator's pictures are fetched: signed addresses, and the ways in which an address leads astray."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from harness.emulator.exchange import Answer, Asked

KEEP = 2000  # pictures; the oldest are forgotten
HUGE = 200_000_000  # bytes
CHUNK = bytes([32]) * 65_536
ENDINGS: dict[str, str] = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp", "image/gif": "gif"}
ELSEWHERE: dict[str, str] = {
    "url_to_link_local": "http://169.254.169.254/latest/meta-data/",
    "url_to_private": "http://10.0.0.1/picture.png",
    "url_to_mapped": "http://[::ffff:10.0.0.1]/picture.png",
    "url_to_file": "file:///etc/passwd",
}
"""Where a hop leads."""
NAMED: dict[str, str] = {
    "url_plain": "http://pictures.example/picture.png",
    "url_private": "http://10.0.0.1/picture.png",
    "url_file": "file:///etc/passwd",
}
"""What a reply names instead of an address of this server."""


@dataclass
class ServedPicture:
    """One picture that waits to be fetched."""

    data: bytes
    mime: str
    fault: str
    fetched: int = 0


class Cdn:
    """Keeps pictures in memory; no key is asked for, the signature must be right."""

    def __init__(self, url: Callable[[], str], ssrf_trap: Callable[[], str]) -> None:
        """`url`: of the emulator; `canary`: of the port that nobody may connect to."""
        self._url, self._ssrf_trap = url, ssrf_trap
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, ServedPicture] = OrderedDict()

    def publish(self, data: bytes, mime: str, fault: str = "ok") -> str:
        """The address of a picture, or of something else when the fault says so."""
        if fault in NAMED:
            return NAMED[fault]
        with self._lock:
            number = hashlib.sha256(data + fault.encode()).hexdigest()[:32]
            self._kept[number] = ServedPicture(data, mime, fault)
            self._kept.move_to_end(number)
            while len(self._kept) > KEEP:
                self._kept.popitem(last=False)
        path = f"/cdn/{number}.{ENDINGS.get(mime, 'bin')}?sig={sign(number)}"
        if fault == "relative_url":
            return path
        url = self._url()
        return (url.replace("http://", "http://user:secret@") if fault == "url_userinfo" else url) + path

    def fetch(self, asked: Asked) -> Answer:
        """GET /cdn/<id>.<ext>?sig=..., as the picture's fault has it."""
        number = asked.path.rpartition("/")[2].rpartition(".")[0]
        with self._lock:
            kept = self._kept.get(number)
            if kept:
                kept.fetched += 1
        if kept is None or asked.query.get("sig") != sign(number):
            return denied("SignatureDoesNotMatch")
        if kept.fault == "url_expired" or (kept.fault == "url_flaky" and kept.fetched == 1):
            return denied("Request has expired")
        if kept.fault == "url_huge":
            return Answer(200, b"", {"Content-Type": kept.mime}, stream=huge)
        target = self._target(asked, kept)
        if target:
            return Answer(302, b"", {"Location": target})
        return Answer(200, kept.data, {"Content-Type": kept.mime, "Cache-Control": "private, max-age=3600"})

    def _target(self, asked: Asked, kept: ServedPicture) -> str:
        here = f"{self._url()}/cdn/{asked.path.rpartition('/')[2]}?sig={asked.query['sig']}"
        if kept.fault == "url_loop":
            return here
        if kept.fault == "url_redirect" and "hop" not in asked.query:
            return f"{here}&hop=1"
        if kept.fault == "url_to_loopback":
            return f"{self._ssrf_trap()}/picture.png"
        return ELSEWHERE.get(kept.fault, "")


def sign(number: str) -> str:
    """The signature of an address: worth hiding, like a real one."""
    return hashlib.sha256(f"emulated {number}".encode()).hexdigest()[:32]


def denied(why: str) -> Answer:
    """How object stores say no."""
    body = f'<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>{why}</Message></Error>'
    return Answer(403, body.encode(), {"Content-Type": "application/xml"})


def huge() -> Iterator[bytes]:
    """200 MB in small pieces of one and the same bytes object."""
    for _ in range(HUGE // len(CHUNK)):
        yield CHUNK
