"""Files that are there whole or not at all, whoever reads them meanwhile and whenever the power is cut."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path, lasting: bool = True) -> Iterator[Path]:
    """A draft beside `path`, which takes its place when the block ends; when the block raises, nothing has changed.

    Args:
        path: its folder is made where there is none.
        lasting: on the disk when this returns; not worth the wait for what can be made again.

    Raises:
        OSError: the disk is full or the folder is not writable.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.part")  # others may write it, too
    try:
        yield draft
        if lasting:
            with draft.open("r+b") as stream:
                os.fsync(stream.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def write_file(path: Path, content: str | bytes, lasting: bool = True) -> None:
    """A text, in UTF-8 and as its lines end, or bytes; see `replacing`."""
    with replacing(path, lasting) as draft:
        # a lone surrogate in a service's message must not cost a whole report
        draft.write_bytes(content.encode("utf-8", "replace") if isinstance(content, str) else content)
