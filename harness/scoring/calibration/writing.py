"""Puts thresholds into a suite's YAML as its author would: values change in place, comments and order stay.

The text is edited at the places where the parser found the values, and the result is read again: when anything but the
thresholds differs, nothing is written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from harness.core.errors import SuiteError, UsageError
from harness.core.files import write_file

MARK = "# harness calibrate"  # how the comments with the provenance begin; old ones are replaced
BEHIND = ("weights", "seed", "samples", "gate", "providers")  # after which a suite expects its thresholds
Edit = tuple[int, int, str]  # from, to, what stands there instead
Wanted = Mapping[str, tuple[float, float]]  # metric to (fail, warn)


def write_thresholds(path: Path, wanted: Wanted, provenance: str) -> str:
    """Write them, the provenance as a comment above; the new text.

    Raises:
        SuiteError: the file cannot be read or written, or its thresholds are written in a way that cannot be edited.
    """
    data = path.read_bytes()
    bom = b"\xef\xbb\xbf" if data.startswith(b"\xef\xbb\xbf") else b""
    text = data[len(bom) :].decode("utf-8")
    changed = edit_thresholds(text, wanted, provenance)
    if not same_but_thresholds(text, changed, wanted):
        raise SuiteError(f"thresholds cannot be edited here; write them yourself: {shown(wanted)}", path)
    try:
        write_file(path, bom + changed.encode("utf-8"))
    except OSError as error:
        raise SuiteError(f"cannot be written: {error.strerror or error}", path) from error
    return changed


def edit_thresholds(text: str, wanted: Wanted, provenance: str) -> str:
    """The text with the thresholds in place."""
    newline = "\r\n" if "\r\n" in text else "\n"
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode) or root.flow_style:
        raise UsageError("the suite is not written as a block of keys; its thresholds cannot be edited")
    keys = {key.value: (key, value) for key, value in root.value}
    first, *more = provenance.splitlines()
    comment = newline.join([f"{MARK}, {first}", *(f"{MARK}: {line}" for line in more)])
    if "thresholds" not in keys:
        lines = [comment, "thresholds:", *(f"  {metric}: {pair(*both)}" for metric, both in wanted.items())]
        at = place_for_block(text, root)
        lead = "" if at == 0 or text[at - 1] == "\n" else newline
        return text[:at] + lead + newline.join(lines) + newline + text[at:]
    key, node = keys["thresholds"]
    edits = [comment_edit(text, key.start_mark.index, comment, newline), *value_edits(text, node, wanted, newline)]
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    return text


def comment_edit(text: str, at: int, comment: str, newline: str) -> Edit:
    """The provenance above the line that `at` stands in, in the place of an older one."""
    line = start = text.rfind("\n", 0, at) + 1
    while start:
        above = text.rfind("\n", 0, start - 1) + 1
        if not text[above:start].startswith(MARK):
            break
        start = above
    return start, line, comment + newline


def value_edits(text: str, node: Any, wanted: Wanted, newline: str) -> Iterator[Edit]:
    """The edits inside the mapping of thresholds."""
    if not isinstance(node, yaml.MappingNode):
        at = node.start_mark.index  # of nothing at all, right behind the colon
        yield at, node.end_mark.index, (" " if text[at - 1] == ":" else "") + flow(wanted)
        return
    known = {key.value: value for key, value in node.value}
    for metric, (fail, warn) in wanted.items():
        if metric in known:
            yield from bound_edits(text, known[metric], fail, warn, newline)
    fresh = {metric: both for metric, both in wanted.items() if metric not in known}
    if fresh and (node.flow_style or not node.value):
        last = node.value[-1][1].end_mark.index if node.value else node.start_mark.index + 1
        yield last, last, (", " if node.value else "") + flow(fresh)[1:-1]
    elif fresh:
        first = node.value[0][0].start_mark
        indent = " " * first.column
        yield first.index, first.index, "".join(f"{metric}: {pair(*b)}{newline}{indent}" for metric, b in fresh.items())


def bound_edits(text: str, node: Any, fail: float, warn: float, newline: str) -> Iterator[Edit]:
    """One metric's bounds: a number or a mapping in braces is replaced whole, a block keeps its lines."""
    if not isinstance(node, yaml.MappingNode) or node.flow_style:
        yield node.start_mark.index, node.end_mark.index, pair(fail, warn)
        return
    missing = {"fail": fail, "warn": warn}
    for key, value in node.value:
        yield value.start_mark.index, value.end_mark.index, f"{missing.pop(key.value):.2f}"
    first = node.value[0][0].start_mark
    more = "".join(f"{name}: {value:.2f}{newline}{' ' * first.column}" for name, value in missing.items())
    yield first.index, first.index, more


def place_for_block(text: str, root: Any) -> int:
    """The line behind the key that thresholds follow by custom; the lines after it may be comments of the next key."""
    keys = [key.value for key, _ in root.value]
    before = next((name for name in BEHIND if name in keys), keys[-1])
    place = keys.index(before)
    if place + 1 == len(keys):
        return len(text)
    at = text.rfind("\n", 0, root.value[place + 1][0].start_mark.index) + 1
    while at:  # comments right above the next key are its own
        above = text.rfind("\n", 0, at - 1) + 1
        if not re.match(r"\s*#", text[above:at]):
            return at
        at = above
    return at


def same_but_thresholds(before: str, after: str, wanted: Wanted) -> bool:
    """Whether the new text holds the old data but for the thresholds, and those as wanted."""
    try:
        old, new = yaml.safe_load(before), yaml.safe_load(after)
    except yaml.YAMLError:
        return False
    bounds = new.pop("thresholds", None) or {}
    kept = old.pop("thresholds", None) or {}
    expected = {**kept, **{metric: {"fail": fail, "warn": warn} for metric, (fail, warn) in wanted.items()}}
    return bool(old == new and bounds == expected)


def pair(fail: float, warn: float) -> str:
    return f"{{fail: {fail:.2f}, warn: {warn:.2f}}}"


def flow(wanted: Wanted) -> str:
    return "{" + ", ".join(f"{metric}: {pair(*both)}" for metric, both in wanted.items()) + "}"


def shown(wanted: Wanted) -> str:
    return f"thresholds: {flow(wanted)}"
