"""What a key looks like, and what a variable's name, so that the one never stands where the other should."""

from __future__ import annotations

import re

STARS = "***"
SHAPED = re.compile(
    r"\b(?:sk-[\w-]{8,}|AIza[\w-]{20,}|ya29\.[\w.-]+|r8_\w{16,}|hf_\w{16,}|gh[pousr]_\w{16,}|FPSX\w{12,}"
    r"|eyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]+)?)"
)
"""Keys of services that have a shape of their own."""
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
RANDOM = 16  # letters and digits in a row that are no word
DIGITS = 6  # in a name at most; `SD35_API_KEY_2` has three
NOT_A_NAME = (
    "is not the name of a variable (letters, digits and _, as OPENAI_API_KEY); a key itself belongs into the "
    "environment or into .env, and its name here. What stands here is not shown, and was it a key, make a new one"
)


def variable_name(text: str) -> str:
    """The name of an environment variable; ValueError, which does not repeat it, for what may be a key."""
    if text and (not VARIABLE.fullmatch(text) or looks_like_key(text)):
        raise ValueError(NOT_A_NAME)
    return text


def looks_like_key(text: str) -> bool:
    """Whether a text is rather a credential than a word: shaped as one, or letters and digits mixed at length."""
    parts = [part for part in text.split("_") if len(part) >= RANDOM and any(char.isdigit() for char in part)]
    return bool(SHAPED.search(text) or parts or sum(char.isdigit() for char in text) > DIGITS)


def mask_keys(text: str) -> str:
    """A text without what is shaped as a key."""
    return SHAPED.sub(STARS, text)
