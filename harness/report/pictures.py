"""The report's pictures: small ones inside the page, the originals beside it."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from harness.errors import HarnessError

THUMB = 256  # pixels of the longer side, at most
TINY = 128  # up to this size a picture is doubled pixel by pixel, so that a browser does not blur it
QUALITY = 80  # of WebP; 1,000 textured pictures of 256 px stay under 12 MB
SUFFIX = f"{THUMB}-{QUALITY}.webp"  # of kept thumbnails: other sizes are other files
SHA = re.compile(r"[0-9a-f]{64}")


class ImageStore(Protocol):
    """What the report asks of a store."""

    def image(self, sha: str) -> bytes: ...

    def derived(self, kind: str, suffix: str, sha: str, make: Callable[[bytes], bytes]) -> bytes: ...


class Pictures:
    """Thumbnails by hash, each made once; asking for one also puts its original into `folder`."""

    def __init__(self, store: ImageStore | None, folder: Path, beside: Path | None = None) -> None:
        self._store, self._folder, self._beside = store, folder, beside
        self._thumbs: dict[str, str | None] = {}
        self._shared: dict[str, str] = {}  # class to data URI

    def thumb(self, sha: object) -> str | None:
        """A data URI, or None when there is no such picture."""
        if not isinstance(sha, str) or not SHA.fullmatch(sha):
            return None  # a record is data: its hash becomes a path, so it must be one
        if sha not in self._thumbs:
            self._thumbs[sha] = self._make(sha)
        return self._thumbs[sha]

    def share(self, sha: object) -> str:
        """The class of a picture that is shown in many places and stands in the page once; "" without a picture."""
        src = self.thumb(sha)
        if src is None:
            return ""
        name = f"shared-{str(sha)[:16]}"
        self._shared[name] = src
        return name

    @property
    def shared_style(self) -> str:
        """The style rules of all shared pictures."""
        return "".join(f".{name}{{background-image:url({src})}}\n" for name, src in self._shared.items())

    def forget_others(self) -> None:
        """Remove the originals of earlier reports from the folder; nothing else in it is touched."""
        if self._folder.is_dir():
            for path in self._folder.iterdir():
                if path.suffix == ".png" and SHA.fullmatch(path.stem) and not self._thumbs.get(path.stem):
                    path.unlink(missing_ok=True)

    def _make(self, sha: str) -> str | None:
        try:
            thumb = self._thumb(sha)
        except (HarnessError, OSError, ValueError, KeyError):
            return None
        return "data:image/webp;base64," + base64.b64encode(thumb).decode()

    def _thumb(self, sha: str) -> bytes:
        """The small picture, from the store where it was made before; its original is put beside the page."""
        original = self._folder / f"{sha}.png"
        if self._store is not None:
            try:
                thumb = self._store.derived("thumbs", SUFFIX, sha, shrink)
                if not original.exists():
                    self._keep(original, self._store.image(sha))
                return thumb
            except (HarnessError, KeyError):
                pass
        data = self._read(sha)
        self._keep(original, data)
        return shrink(data)

    def _keep(self, original: Path, data: bytes) -> None:
        if not original.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            original.write_bytes(data)

    def _read(self, sha: str) -> bytes:
        """An original of an earlier report; KeyError when nobody has it."""
        for folder in (self._beside, self._folder):
            if folder and (folder / f"{sha}.png").is_file():
                return (folder / f"{sha}.png").read_bytes()
        raise KeyError(sha)


def shrink(data: bytes) -> bytes:
    """An encoded picture as WebP of at most THUMB pixels a side; raises OSError or ValueError for no picture."""
    from PIL import Image

    with Image.open(io.BytesIO(data)) as opened:
        picture = opened.convert("RGB")
    if max(picture.size) <= TINY:
        picture = picture.resize((picture.width * 2, picture.height * 2), Image.Resampling.NEAREST)
    picture.thumbnail((THUMB, THUMB), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=QUALITY, method=2)
    return buffer.getvalue()
