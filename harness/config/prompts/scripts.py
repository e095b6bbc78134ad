"""In which script a word is written, and which language that is likely to be."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

NAMES = {
    "LATIN": "Latin",
    "CYRILLIC": "Cyrillic",
    "GREEK": "Greek",
    "CJK": "Han",
    "HIRAGANA": "Kana",
    "KATAKANA": "Kana",
    "HANGUL": "Hangul",
    "ARABIC": "Arabic",
    "HEBREW": "Hebrew",
    "ARMENIAN": "Armenian",
    "GEORGIAN": "Georgian",
    "THAI": "Thai",
    "DEVANAGARI": "Devanagari",
    "BENGALI": "Bengali",
    "TAMIL": "Tamil",
}
SYLLABIC = frozenset({"Han", "Kana", "Hangul"})  # a character is a syllable or a word
LETTERS = (  # the first whose letters appear
    ("Cyrillic", "әғқңөұүһ", "Kazakh"),
    ("Cyrillic", "їєґ", "Ukrainian"),
    ("Cyrillic", "ў", "Belarusian"),
    ("Cyrillic", "", "Russian"),
    ("Kana", "", "Japanese"),
    ("Han", "", "Chinese"),
    ("Hangul", "", "Korean"),
    ("Devanagari", "", "Hindi"),
)


@lru_cache(maxsize=4096)
def script_of(char: str) -> str:
    """The script of one character: "Latin", "Cyrillic", "Han" ..., "emoji", or "" for what every script shares."""
    if not char.isalpha():
        return "emoji" if unicodedata.category(char) == "So" and ord(char) > 0x2600 else ""
    words = unicodedata.name(char, "").replace("-", " ").split()
    return next((NAMES[word] for word in words[:2] if word in NAMES), "another script")


def guess_language(script: str, text: str) -> str:
    """Which language a text of that script is likely to be in; "" when the script does not tell."""
    message = text.lower()
    for known, letters, language in LETTERS:
        if known == script and (not letters or any(letter in message for letter in letters)):
            return language
    return ""
