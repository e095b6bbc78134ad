"""Standard output as it really is: a terminal without our letters, a pipe whose reader goes away."""

from __future__ import annotations

import codecs
import io
import os
from typing import Any


def spell_out(*streams: object) -> None:
    """Letters that a stream lacks become `\\u0433` there, and no error."""
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def writes_unicode(stream: object) -> bool:
    """Whether every letter can be written as it is."""
    try:
        return codecs.lookup(getattr(stream, "encoding", None) or "ascii").name.startswith("utf")
    except LookupError:
        return False


def drop_buffer(stream: Any) -> None:
    """Empty a stream's buffer where nobody reads it any more.

    Otherwise Python would try again when it ends, and end with a status of its own.
    """
    try:
        descriptor = stream.fileno()
        kept, nowhere = os.dup(descriptor), os.open(os.devnull, os.O_WRONLY)
    except (OSError, ValueError):
        return
    try:
        os.dup2(nowhere, descriptor)
        stream.flush()
        os.dup2(kept, descriptor)  # pytest has copies of it, and puts them back
    finally:
        os.close(kept)
        os.close(nowhere)
