"""Pictures as services take them: PNG or JPEG, upright, small enough, and without whatever a camera wrote into them."""

from __future__ import annotations

import io
from dataclasses import dataclass

from PIL import Image

from harness.core.pictures import BadPicture, decode
from harness.core.values import Outcome
from harness.providers.http_client.exchange import Unanswered

MAX_SIDE = 2048  # pixels: what models look at anyway, and less to send
QUALITY = 92
SHRINK = 0.75


@dataclass(frozen=True)
class EncodedPicture:
    """One picture ready to be sent."""

    data: bytes
    mime: str
    suffix: str  # of a file name, with its dot


def prepare(picture: bytes, max_bytes: int, max_side: int = MAX_SIDE) -> EncodedPicture:
    """PNG, JPEG or WebP as a PNG of at most `max_bytes`; as a JPEG when the PNG is larger, and smaller if need be.

    Encoded anew in any case, so no metadata (a place, a name) leaves the machine.

    Raises:
        Unanswered: bad_image, it cannot be decoded.
    """
    try:
        image = decode(picture)
    except BadPicture as error:
        raise Unanswered(Outcome.BAD_IMAGE, f"the picture {error}; replace or remove it") from error
    image.thumbnail((max_side, max_side))
    data = encode(image, "PNG")
    if len(data) <= max_bytes:
        return EncodedPicture(data, "image/png", ".png")
    while len(data := encode(image, "JPEG")) > max_bytes and max(image.size) > 1:
        image = image.resize((max(1, int(image.width * SHRINK)), max(1, int(image.height * SHRINK))))
    return EncodedPicture(data, "image/jpeg", ".jpg")


def encode(image: Image.Image, kind: str) -> bytes:
    """PNG or JPEG bytes."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **({"quality": QUALITY} if kind == "JPEG" else {}))
    return buffer.getvalue()
