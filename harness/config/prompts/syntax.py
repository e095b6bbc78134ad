"""What people write into prompts besides words: weights, brackets, and the commands of other programs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

EMPHASIS = 1.1  # of one pair of round brackets; square ones divide by it
OPENING = {")": "(", "]": "["}
MARK = re.compile(r"\\[()\[\]\\]|:\s*(\d+\.?\d*|\.\d+)\s*\)|[()\[\]]|\\|[^()\[\]\\:]+|:")
WEIGHT = re.compile(r"\([^()]*:\s*(?:\d+\.?\d*|\.\d+)\s*\)")
EMPHASIZED = re.compile(r"\(\([^()]+\)\)|\[\[?[^\[\]|:]+\]")
FOREIGN: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"<(?:lora|lyco|hypernet):[^>]*>", re.I), "is AUTOMATIC1111's; name the LoRA under `subject.lora`"),
    (re.compile(r"\bBREAK\b"), "starts a new window in AUTOMATIC1111; here it is a word"),
    (re.compile(r"\bAND\b"), "joins prompts in AUTOMATIC1111; here it is a word: write `and` or a comma"),
    (re.compile(r"\[[^\[\]]*:[^\[\]]*:\s*\.?\d[^\[\]]*\]"), "switches words midway in AUTOMATIC1111; here it is text"),
    (re.compile(r"\[[^\[\]]*\|[^\[\]]*\]"), "alternates words in AUTOMATIC1111; here it is text"),
    (re.compile(r"\bembedding:[\w.-]+", re.I), "is ComfyUI's textual inversion; there is none here"),
    (re.compile(r"(?<!\w)__[\w/-]+__(?!\w)"), "is a wildcard of another program; use `matrix:`"),
    (re.compile(r"(?<!\S)--[a-z]+(?:\s+[\d.:]+)?"), "is an option of Midjourney; set it in the profile"),
    (re.compile(r"::\s*-?\d+\.?\d*"), "is Midjourney's weight; write (word:1.2) and `prompts: weighted`"),
    (re.compile(r"[\w)](?:\+\+?|--)(?=[\s,.]|$)"), "is compel's own weight; write (word:1.2) and `prompts: weighted`"),
    (re.compile(r"<\|(?:start|end)oftext\|>"), "ends the prompt for the encoder; remove it"),
)
"""What other programs understand, and what to do about it here."""


@dataclass(frozen=True)
class PromptPart:
    """A stretch of a prompt that counts alike."""

    text: str
    weight: float = 1.0


def parse_weights(text: str) -> tuple[PromptPart, ...]:
    r"""A prompt as stretches of equal weight, none of them blank; () for a blank prompt.

    `(word:1.2)` weighs 1.2, `(word)` 1.1, `[word]` 1/1.1; nested weights multiply; `\(` is a bracket and nothing more.
    A bracket without its partner is a character like any other.
    """
    parts: list[tuple[str, float]] = []
    opened: list[int] = []  # places in `parts` of brackets that wait for their partner
    for match in MARK.finditer(text):
        mark = match[0]
        pair = OPENING.get(mark[-1]) if mark[0] != "\\" else None
        if pair and opened and parts[opened[-1]][0] == pair:
            factor = float(match[1]) if match[1] else EMPHASIS if pair == "(" else 1 / EMPHASIS
            start = opened.pop()
            parts[start:] = [("", 1.0), *((message, weight * factor) for message, weight in parts[start + 1 :])]
            continue
        if mark in OPENING.values():
            opened.append(len(parts))
        parts.append((mark[1:] if len(mark) == 2 and mark[0] == "\\" else mark, 1.0))
    return join_parts(parts)


def join_parts(parts: list[tuple[str, float]]) -> tuple[PromptPart, ...]:
    """Neighbours of one weight become one; blanks go with what stands before them, else with what follows."""
    joined: list[PromptPart] = []
    for text, weight in parts:
        if not text:
            continue
        blank, last = not text.strip(), joined[-1] if joined else None
        if last and (blank or not last.text.strip() or round(last.weight, 4) == round(weight, 4)):
            joined[-1] = PromptPart(last.text + text, weight if not last.text.strip() else last.weight)
        else:
            joined.append(PromptPart(text, weight))
    return tuple(part for part in joined if part.text.strip())


def plain_text(text: str) -> str:
    """A prompt without its weights: what the words say, for encoders and services that know no weights."""
    return "".join(part.text for part in parse_weights(text))


def loose_brackets(text: str) -> list[str]:
    """The brackets that have no partner, in order; escaped ones are text."""
    opened, loose = list[str](), list[str]()
    for match in re.finditer(r"\\.|[()\[\]]", text):
        mark = match[0]
        if mark in OPENING.values():
            opened.append(mark)
        elif mark in OPENING:
            if opened and opened[-1] == OPENING[mark]:
                opened.pop()
            else:
                loose.append(mark)
    return [*loose, *opened]


def lint_syntax(text: str, *, weighted: bool) -> Iterator[str]:
    """What a prompt says to no one here: commands of other programs, weights where none are read, loose brackets."""
    covered: list[tuple[int, int]] = []
    for pattern, meaning in FOREIGN:
        for match in pattern.finditer(text):
            covered.append(match.span())
            yield f"{match[0].strip()!r} {meaning}"
    if not weighted:
        results = [*WEIGHT.finditer(text), *EMPHASIZED.finditer(text)]
        free = [m[0] for m in results if not any(a < m.end() and m.start() < b for a, b in covered)]
        if free:
            yield f"{free[0]!r} is read as it stands, brackets and all; set `prompts: weighted` in the profile"
    else:
        heavy = [part for part in parse_weights(text) if part.weight > 2]
        if heavy:
            yield f"weight {heavy[0].weight:.3g} of {heavy[0].text.strip()!r}: more than about 1.6 spoils pictures"
    if loose := loose_brackets(text):
        yield f"{' '.join(loose)!r} has no partner; close it or write it as \\{loose[0]}"
    yield from lint_spelling(text)


def lint_spelling(text: str) -> Iterator[str]:
    """Slips that a template leaves behind: doubled spaces, empty or repeated phrases, characters nobody sees."""
    if re.search(r"\S[ \t]{2,}\S", text):
        yield "two spaces in a row; is a word missing?"
    phrases = [" ".join(part.lower().split()) for part in plain_text(text).split(",")]
    if any(not phrase for phrase in phrases[:-1]):
        yield "nothing between two commas; is a value missing?"
    twice = sorted({phrase for phrase in phrases if phrase and phrases.count(phrase) > 1})
    if twice:
        yield f"said twice: {', '.join(twice)}"
    hidden = sorted(
        {f"U+{ord(char):04X}" for char in text if char in "\u00a0\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"}
    )
    if hidden:
        yield f"invisible characters ({', '.join(hidden)}) that the encoder reads; type the text anew"
