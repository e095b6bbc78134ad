"""A profile that names another and only what differs: `extends: embedded`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.core.errors import SuiteError
from harness.core.yaml import Document, read_yaml

PATHS = (("traits",), ("impostors",), ("training", "class_folder"))  # from the file's folder on, whose ever it is


def read_extended(path: Path, find: Callable[[str, Sequence[Path]], Path], above: Sequence[Path] = ()) -> Document:
    """A file over the one that it extends, as one document: mappings key by key, everything else replaced.

    Args:
        find: a profile's file by its name, none of those files.
        above: the files that extend this one.

    Raises:
        SuiteError: a file cannot be read, or there is no other of that name.
    """
    document = read_yaml(path)
    own = document.data
    name = own.get("extends") if isinstance(own, dict) else None
    if not isinstance(name, str):
        return document
    try:
        base = find(name, (path, *above))
    except SuiteError as error:
        raise document.error(str(error), "extends") from None
    found = read_extended(base, find, (path, *above)).data
    if not isinstance(found, dict):
        return document
    merged = merge(from_folder(found, base.parent), {"profile": path.stem, **own})
    return replace(document, data=merged)


def merge(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Keys of both; of mappings on both sides too, of which the entries are whole."""
    both = [name for name in own if isinstance(own[name], dict) and isinstance(base.get(name), dict)]
    return {**base, **own, **{name: {**base[name], **own[name]} for name in both}}


def from_folder(data: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """With paths that hold from anywhere."""
    result = dict(data)
    for *outer, name in PATHS:
        inner = result
        for part in outer:
            inner[part] = dict(inner.get(part) or {})
            inner = inner[part]
        if isinstance(inner.get(name), str):
            inner[name] = (folder / inner[name]).resolve().as_posix()
    return result


def check_whole(document: Document, required: Sequence[str]) -> None:
    """Raises SuiteError: a file that extends none lacks keys, each of which would be complained of in turn."""
    absent = [name for name in required if isinstance(document.data, dict) and name not in document.data]
    if absent:
        words = f"{', '.join(absent)} {'are' if len(absent) > 1 else 'is'} missing"
        remedy = "`extends: embedded` (or another profile) takes over what this file does not name"
        raise document.error(f"{words}; add {'them' if len(absent) > 1 else 'it'}, or one line: {remedy}")
