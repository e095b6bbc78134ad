"""How models decline in words, where a service has no other sign for it."""

from __future__ import annotations

import re

BEGINNINGS = re.compile(
    r"(i['’]?m|i am) (really |very |so )?sorry|sorry\b|(i |my |we )?apolog"
    r"|i (can['’]?t|cannot|can not|won['’]?t|will not|do not|don['’]?t|am unable|am not able|must decline)\b"
    r"|(i['’]?m|i am) (unable|not able|not comfortable|not allowed)\b|unable to\b|unfortunately\b"
    r"|as an? (ai|language model|image model)\b"
    r"|(this|that|the|your) (request|prompt) (violates|goes against|is against|conflicts|cannot|can['’]?t|contains)\b"
    r"|к сожалению|извините|простите|приношу извинения|я не могу|не могу помочь|не могу создать",
    re.IGNORECASE,
)
"""How such answers begin, in English and Russian."""


def is_refusal(text: str) -> bool:
    """Whether an answer in words declines; one that announces a picture or describes one does not."""
    return BEGINNINGS.match(text.strip().lstrip("*_\"'“«").lstrip()) is not None
