"""What providers send, checked before it is kept: a picture, of the right size, not a blank, not a web page."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from PIL import Image, ImageOps, UnidentifiedImageError

from harness.core.values import Request

FORMATS = ("PNG", "JPEG", "WEBP")
BYTES_CAP = 100_000_000
PIXEL_CAP = 64_000_000  # 8,000 x 8,000; decoding takes 3 bytes a pixel
ON_THIS_MACHINE = ("local/", "flat/")  # adapters whose size is exactly as asked for, and whose blanks are a finding


class BadPicture(ValueError):
    """Bytes that are refused; the text says why."""


@dataclass(frozen=True)
class CheckedPicture:
    """A checked picture: PNG without metadata, of the request's size."""

    png: bytes
    original: bytes | None = None  # PNG as it came, when its size was another
    meta: Mapping[str, Any] = field(default_factory=dict)


def check_picture(data: bytes | None, request: Request) -> CheckedPicture:
    """Bytes to a picture that can be scored.

    A service's picture of another size is cropped and resized for scoring and kept as it came besides. A blank from a
    model on this machine passes: it is what the model draws, and the `technical` metric says so; from a service it is
    a broken answer.

    Raises:
        BadPicture: no bytes, HTML or another type, truncated, too many pixels, a wrong size, blank.
    """
    image = decode(data or b"")
    local = request.adapter.startswith(ON_THIS_MACHINE)
    size = (request.width, request.height)
    if image.size != size and local:
        raise BadPicture(f"is {image.width}x{image.height}, not {size[0]}x{size[1]}")
    if not local and is_blank(image):
        raise BadPicture("is of one colour all over")
    if image.size == size:
        return CheckedPicture(encode(image))
    return CheckedPicture(encode(fit(image, size)), encode(image), {"original_size": list(image.size)})


def decode(data: bytes) -> Image.Image:
    """An RGB image, upright, with nothing but its pixels; nothing large is decoded before its size is known."""
    if not data:
        raise BadPicture("has no bytes")
    if len(data) > BYTES_CAP:
        raise BadPicture(f"has {len(data)} bytes; at most {BYTES_CAP} are accepted")
    if data.lstrip()[:1] in (b"<", b"{"):
        raise BadPicture(f"is text, not a picture: {data.lstrip()[:60].decode('utf-8', 'replace')!r}")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > PIXEL_CAP:
                raise BadPicture(f"has {image.width}x{image.height} pixels; at most {PIXEL_CAP} are accepted")
            image.load()
            upright = ImageOps.exif_transpose(image)
            if upright.has_transparency_data:
                clear = upright.convert("RGBA")
                upright = Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear)
            return upright.convert("RGB")
    except UnidentifiedImageError as error:
        raise BadPicture(f"is not {', '.join(FORMATS)}: it begins with {data[:12]!r}") from error
    except (OSError, SyntaxError, ValueError, MemoryError, Image.DecompressionBombError) as error:
        if isinstance(error, BadPicture):
            raise
        raise BadPicture(f"cannot be decoded: {error}") from error


def encode(image: Image.Image) -> bytes:
    """PNG with the pixels and nothing else, the same bytes for the same pixels."""
    image.info.clear()
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def is_blank(image: Image.Image) -> bool:
    return image.getcolors(1) is not None  # None: more than one colour


def fit(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Crop the middle to the wanted proportions, then resize."""
    return ImageOps.fit(image, size, Image.Resampling.LANCZOS)


THUMB = 256  # pixels of the longer side, at most


TINY = 128  # up to this size a picture is doubled pixel by pixel, so that a browser does not blur it


QUALITY = 80  # of WebP


class ThumbnailSize(NamedTuple):
    """How small and how plain thumbnails become."""

    side: int  # pixels of the longer side, at most
    quality: int

    @property
    def suffix(self) -> str:
        """Of kept thumbnails: other sizes are other files."""
        return f"{self.side}-{self.quality}.webp"


STEPS = (ThumbnailSize(THUMB, QUALITY), *map(ThumbnailSize, (256, 224, 192, 160, 128, 96), (66, 66, 66, 62, 60, 55)))
"""From the best to what ten thousand pictures can afford."""


def shrink(data: bytes, step: ThumbnailSize = STEPS[0]) -> bytes:
    """An encoded picture as a small WebP; raises OSError or ValueError for no picture."""
    with Image.open(io.BytesIO(data)) as opened:
        picture = opened.convert("RGB")
    if max(picture.size) <= TINY:
        picture = picture.resize((picture.width * 2, picture.height * 2), Image.Resampling.NEAREST)
    picture.thumbnail((step.side, step.side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=step.quality, method=2)
    return buffer.getvalue()
