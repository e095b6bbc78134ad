"""A model's tokenizers without the model: what of a prompt its text encoders read, and in which pieces."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import ModelError

if TYPE_CHECKING:
    from harness.profile import Profile

FOLDERS = ("tokenizer", "tokenizer_2")
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

        said = ByteLevel().decode([self.token.removesuffix(WORD_END)])
        return "" if "\N{REPLACEMENT CHARACTER}" in said else said


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
        found = self.tokenizer.encode(text, add_special_tokens=False)
        rows = zip(found.tokens, found.ids, found.offsets, strict=True)
        return tuple(Piece(token, number, start, end) for token, number, (start, end) in rows)


def find_encoders(profile: Profile, root: Path) -> tuple[Encoder, ...]:
    """The tokenizers of a profile's base model, the first encoder's first; neither torch nor transformers is imported.

    Raises:
        ModelError: the model or its tokenizers are not on this machine.
    """
    from harness.models import locate_model

    folder = locate_model(profile.models.base, root, profile.name)
    found = tuple(open_encoder(folder / name, profile.max_tokens) for name in FOLDERS if (folder / name).is_dir())
    if not found:
        raise ModelError(
            f"model {profile.models.base!r}: {folder} holds no tokenizer; run `harness fetch {profile.name}`"
        )
    return found


@lru_cache(maxsize=8)
def open_encoder(folder: Path, window: int) -> Encoder:
    """One tokenizer from its folder: tokenizer.json, or the older vocab.json with merges.txt.

    Args:
        window: tokens, where the tokenizer's own settings do not say.

    Raises:
        ModelError: the files are missing or broken.
    """
    from tokenizers import Tokenizer

    try:
        whole = folder / "tokenizer.json"
        tokenizer = Tokenizer.from_file(str(whole)) if whole.is_file() else build_clip(folder)
        settings = folder / "tokenizer_config.json"
        said = json.loads(settings.read_text(encoding="utf-8")) if settings.is_file() else {}
    except Exception as error:  # the tokenizers library raises bare Exception for a broken file
        raise ModelError(f"tokenizer {folder}: cannot be read ({error}); fetch the model again") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    length = said.get("model_max_length", window)
    return Encoder(folder.name, tokenizer, int(length) if 2 < length < 100_000 else window)  # "no limit" is 1e30


def build_clip(folder: Path) -> Any:
    """CLIP's tokenizer as transformers builds it from vocab.json and merges.txt."""
    from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers
    from tokenizers.models import BPE

    files = str(folder / "vocab.json"), str(folder / "merges.txt")
    settings = {"continuing_subword_prefix": "", "end_of_word_suffix": WORD_END, "unk_token": "<|endoftext|>"}
    model = BPE.from_file(*files, fuse_unk=False, **settings)
    tokenizer: Any = Tokenizer(model)
    spaces = normalizers.Replace(Regex(r"\s+"), " ")
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), spaces, normalizers.Lowercase()])
    words = pre_tokenizers.Split(Regex(CLIP_WORDS), behavior="removed", invert=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


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
    said = [piece.text for piece in word]
    if "" in said:
        numbers = "=" + ",".join(str(piece.id) for piece in word) if ids else ""
        return f"{text[word[0].start : word[-1].end]}<{len(word)}>{numbers}"
    return "|".join(f"{part}={piece.id}" if ids else part for part, piece in zip(said, word, strict=True))
