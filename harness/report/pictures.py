"""The report's pictures: small ones inside the page, the originals beside it."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Protocol

from harness.core.errors import HarnessError
from harness.core.pictures import STEPS, ThumbnailSize, shrink

LEAST = 9_000_000  # characters that all pictures may take in a page, which for a thousand stays under 12 MB
EACH = 2_400  # characters a picture, where there are so many that LEAST would leave nothing to see
TRIED = 12  # pictures whose size tells which step fits
SHA = re.compile(r"[0-9a-f]{64}")


class ImageStore(Protocol):
    """What the report asks of a store."""

    def image(self, sha: str) -> bytes: ...

    def derived(self, kind: str, suffix: str, sha: str, make: Callable[[bytes], bytes]) -> bytes: ...


class Pictures:
    """Thumbnails by hash, each made once; asking for one also puts its original into `folder`."""

    def __init__(self, store: ImageStore | None, folder: Path, beside: Sequence[Path] = ()) -> None:
        self._store, self._folder, self._beside = store, folder, beside
        self._thumbs: dict[str, str | None] = {}
        self._shared: dict[str, str] = {}  # class to data URI
        self._step = STEPS[0]

    def prepare(self, hashes: Iterable[object]) -> None:
        """Make the thumbnails of a whole page, on all cores, as good as the page's size allows."""
        everywhere = [str(sha) for sha in hashes if is_hash(sha)]  # a picture in two places is twice in the page
        self._step, wanted = self._fitting(everywhere), list(dict.fromkeys(everywhere))
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
            self._thumbs.update(zip(wanted, pool.map(self._make, wanted), strict=True))

    def _fitting(self, wanted: Sequence[str]) -> ThumbnailSize:
        """The best step at which all pictures stay within their share of the page, judged by a few of them."""
        room = max(LEAST, EACH * len(wanted))
        some = wanted[:: max(1, len(wanted) // TRIED)][:TRIED]
        for self._step in STEPS:
            sizes = [len(src) for sha in some if (src := self._make(sha))]
            if not sizes or sum(sizes) / len(sizes) * len(wanted) <= room:
                return self._step
        return STEPS[-1]

    @property
    def lost(self) -> tuple[int, int]:
        """How many of the page's pictures could not be had, and of how many."""
        return sum(src is None for src in self._thumbs.values()), len(self._thumbs)

    def thumb(self, sha: object) -> str | None:
        """A data URI, or None when there is no such picture."""
        if not is_hash(sha):
            return None  # a record is data: its hash becomes a path, so it must be one
        name = str(sha)
        if name not in self._thumbs:
            self._thumbs[name] = self._make(name)
        return self._thumbs[name]

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
                make = partial(shrink, step=self._step)
                thumb = self._store.derived("thumbs", self._step.suffix, sha, make)
                if not original.exists():
                    self._keep(original, self._store.image(sha))
                return thumb
            except (HarnessError, KeyError):
                pass
        data = self._read(sha)
        self._keep(original, data)
        return shrink(data, self._step)

    def _keep(self, original: Path, data: bytes) -> None:
        if not original.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            original.write_bytes(data)

    def _read(self, sha: str) -> bytes:
        """An original of an earlier report; KeyError when nobody has it."""
        for folder in (*self._beside, self._folder):
            if (folder / f"{sha}.png").is_file():
                return (folder / f"{sha}.png").read_bytes()
        raise KeyError(sha)


def lost_words(lost: int, every: int) -> str:
    """What to say of pictures that nobody has; "" when all are there."""
    if not lost:
        return ""
    return (
        f"{lost} of {every} pictures are not here: keep images/ beside results.json, or name the store that drew them "
        "(--store DIR)"
    )


def is_hash(sha: object) -> bool:
    """Whether it names a picture: 64 hexadecimal digits."""
    return isinstance(sha, str) and SHA.fullmatch(sha) is not None
