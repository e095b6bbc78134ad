"""A model's tokenizers without the model: what of a prompt its text encoders read, and in which pieces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

WORD_END = "</w>"
CLOSED = 10_000  # tokens; a smaller vocabulary was made for a few words, and every other word is noise to it
PHRASE_ENDS = frozenset({".</w>", ",</w>", ";</w>", ":</w>"})
CLIP_WORDS = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


@dataclass(frozen=True)
class Piece:
    """One token and the characters [start, end) of the text that it stands for."""

    token: str  # as the vocabulary spells it
    id: int
    start: int
    end: int

    @property
    def text(self) -> str:
        """As people read it; "" for a scrap of a character's bytes."""
        from tokenizers.decoders import ByteLevel

        text = ByteLevel().decode([self.token.removesuffix(WORD_END)])
        return "" if "\N{REPLACEMENT CHARACTER}" in text else text


@dataclass(frozen=True)
class Encoder:
    """The tokenizer of one text encoder."""

    name: str  # the folder: "tokenizer" or "tokenizer_2"
    tokenizer: Any  # tokenizers.Tokenizer
    window: int  # tokens, start and end marks included

    @property
    def room(self) -> int:
        """Tokens that a text may use."""
        return self.window - 2

    @cached_property
    def closed(self) -> bool:
        """Whether it knows a few words only, so that one in pieces is one that it does not know."""
        return bool(self.tokenizer.get_vocab_size() < CLOSED)

    def read(self, text: str) -> tuple[Piece, ...]:
        """All tokens of a text without the marks, also those beyond the window."""
        result = self.tokenizer.encode(text, add_special_tokens=False)
        rows = zip(result.tokens, result.ids, result.offsets, strict=True)
        return tuple(Piece(token, number, start, end) for token, number, (start, end) in rows)


def split_windows(pieces: Sequence[Piece], room: int) -> list[Sequence[Piece]]:
    """A long prompt's windows, as weighted prompts are read: each ends with a phrase, else with a word, else full."""
    windows = []
    while len(pieces) > room:
        near = pieces[:room]
        phrase = [place for place, piece in enumerate(near) if piece.token in PHRASE_ENDS]
        word = [place for place, piece in enumerate(near) if piece.token.endswith(WORD_END)]
        end = (phrase or word or [room - 1])[-1] + 1
        windows.append(pieces[:end])
        pieces = pieces[end:]
    return [*windows, pieces]


def group_alike(encoders: Sequence[Encoder], text: str) -> list[tuple[str, Encoder, tuple[Piece, ...]]]:
    """How the encoders read a text, those that read it alike together: (names, one of them, its tokens)."""
    groups: dict[tuple[Any, ...], list[tuple[Encoder, tuple[Piece, ...]]]] = {}
    for encoder in encoders:
        pieces = encoder.read(text)
        groups.setdefault((encoder.room, tuple(piece.token for piece in pieces)), []).append((encoder, pieces))
    return [(" and ".join(encoder.name for encoder, _ in group), *group[0]) for group in groups.values()]


def spell_word(text: str, word: Sequence[Piece], *, ids: bool = False) -> str:
    """One word of a text: in tokens, `ze|p|pe|li|n`, or with the number of its scraps, `дом<6>`."""
    texts = [piece.text for piece in word]
    if "" in texts:
        numbers = "=" + ",".join(str(piece.id) for piece in word) if ids else ""
        return f"{text[word[0].start : word[-1].end]}<{len(word)}>{numbers}"
    return "|".join(f"{part}={piece.id}" if ids else part for part, piece in zip(texts, word, strict=True))
