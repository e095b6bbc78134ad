"""Pictures as bytes: encoded as asked for, or as a fault has it."""

from __future__ import annotations

import io
import struct
import zlib

from PIL import Image

FORMATS: dict[str, str] = {"image/png": "PNG", "image/jpeg": "JPEG", "image/webp": "WEBP", "image/gif": "GIF"}
BOMB_SIDE = 50_000  # pixels
SVG = (
    b'<svg xmlns="http://www.w3.org/2000/svg" width="96" height="96">'
    b'<image href="http://127.0.0.1:9/x"/><rect width="96" height="96" fill="teal"/></svg>'
)


def encode(picture: Image.Image, mime: str = "image/png", quality: int = 90) -> bytes:
    """A picture's bytes; PNG is packed loosely, for speed."""
    buffer, form = io.BytesIO(), FORMATS[mime]
    options = {"compress_level": 1} if form == "PNG" else {"quality": quality} if form != "GIF" else {}
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def encode_faulty(picture: Image.Image, mime: str, fault: str) -> tuple[bytes, str]:
    """The bytes and the declared type, as the fault has them; without a picture's fault, as asked for."""
    if fault == "half_picture":
        data = encode(picture, mime)
        return data[: len(data) // 2], mime
    if fault == "blank":
        return encode(Image.new("RGB", picture.size, (128, 128, 128)), mime), mime
    if fault == "wrong_mime":
        return encode(picture, mime), "image/jpeg" if mime == "image/png" else "image/png"
    if fault == "svg":
        return SVG, "image/svg+xml"
    if fault == "pixel_bomb":
        return pixel_bomb(), "image/png"
    if fault in ("gif", "jpeg", "webp"):
        return encode(picture, f"image/{fault}"), f"image/{fault}"
    return encode(picture, mime), mime


def pixel_bomb(side: int = BOMB_SIDE) -> bytes:
    """A PNG of a few hundred bytes whose header promises `side` x `side` pixels."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(4096), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def chunk(kind: bytes, data: bytes) -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
