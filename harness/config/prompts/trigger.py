"""Where a text says a subject's trigger."""

from __future__ import annotations

import re


def trigger_pattern(trigger: str) -> re.Pattern[str]:
    """The trigger in any case and as a word of its own: no `toma` is in `tomatoes`.

    Not by `\\b`, which asks for a letter on one side and so misses a trigger that begins or ends with a sign.
    """
    return re.compile(rf"(?<!\w){re.escape(trigger)}(?!\w)", re.IGNORECASE)


def with_trigger(caption: str, trigger: str) -> str:
    """A caption that the trigger opens, unless its author put it in already."""
    if not caption:
        return trigger
    return caption if trigger_pattern(trigger).search(caption) else f"{trigger}, {caption}"
