"""Prompts as the encoder's tokens, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.config.profile import Profile
from harness.config.prompts.lint import texts_of
from harness.config.prompts.syntax import parse_weights, plain_text
from harness.config.prompts.tokens import WORD_END, Encoder, Piece, group_alike, spell_word, split_windows
from harness.core.values import Suite

INDENT = " " * 4


def show_suite(suite: Suite, profile: Profile, encoders: Sequence[Encoder], *, ids: bool, width: int = 100) -> str:
    """Every prompt, and every negative once, with what is read of it and what is cut."""
    weighted = profile.prompts == "weighted"
    lines: list[str] = []
    for where, text, _ in texts_of(suite, profile):
        lines += [where, *show_text(text, encoders, weighted=weighted, ids=ids, width=width)]
    legend = "a|b: a word in tokens; word<6>: 6 scraps of letters, which mean nothing" + (
        ", =N: a token's number" * ids
    )
    return "\n".join([legend, *lines])


def show_text(text: str, encoders: Sequence[Encoder], *, weighted: bool, ids: bool, width: int) -> Iterator[str]:
    """One text: a heading with its length for each way in which the encoders read it, then the tokens."""
    message = plain_text(text) if weighted else text
    groups = group_alike(encoders, message)
    for names, encoder, pieces in groups:
        room = encoder.room
        who = f"{names}: " if len(groups) > 1 else ""
        windows = split_windows(pieces, room) if weighted else [pieces[:room]]
        heading = f"  {who}{len(pieces)} of {room} tokens"
        lost = len(pieces) - sum(map(len, windows))
        if lost:
            heading += f", {lost} cut"
        elif len(windows) > 1:
            heading += f", read in {len(windows)} windows"
        yield heading
        for number, window in enumerate(windows, 1):
            label = "read" if len(windows) == 1 else f"{number:4}"
            yield from wrap(label, spell(message, window, ids=ids), width)
        if lost:
            yield from wrap("CUT ", spell(message, pieces[room:], ids=ids), width)
    for part in parse_weights(text) if weighted else ():
        if part.weight != 1:
            yield f"{INDENT}x{part.weight:.4g} {part.text.strip()}"


def spell(text: str, pieces: Sequence[Piece], *, ids: bool) -> list[str]:
    """The words of a text as the encoder has them: whole, in tokens, or as the number of their scraps."""
    words: list[list[Piece]] = [[]]
    for piece in pieces:
        words[-1].append(piece)
        if piece.token.endswith(WORD_END):
            words.append([])
    return [spell_word(text, word, ids=ids) for word in words if word]


def wrap(label: str, words: Sequence[str], width: int) -> Iterator[str]:
    """Words in lines of at most `width`, the label before the first; a longer word has a line for itself."""
    line = f"{INDENT}{label} "
    margin = len(line)
    for word in words:
        if len(line) > margin and len(line) + 1 + len(word) > width:
            yield line
            line = " " * margin
        line += word if len(line) == margin else f" {word}"
    yield line.rstrip()
