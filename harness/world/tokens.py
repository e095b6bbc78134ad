"""A CLIP tokenizer for the world's few words: each one token, anything else in syllables, letters or bytes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise

from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTokenizer

LENGTH = 48  # tokens of a prompt; 77 would only add padding, and cross-attention pays for it
CONSONANTS, VOWELS = "bcdfghjklmnpqrstvwxyz", "aeiou"
START, END = "<|startoftext|>", "<|endoftext|>"
WORD_END = "</w>"

Pair = tuple[str, str]


def split_word(word: str) -> list[str]:
    """The letters of a word as BPE starts with them, the last one marked."""
    return [*word[:-1], word[-1] + WORD_END]


def apply_merges(pieces: list[str], ranks: dict[Pair, int]) -> list[str]:
    """Byte-pair encoding: join the earliest-ranked neighbours until none is left to join."""
    while len(pieces) > 1:
        places = [(ranks[pair], at) for at, pair in enumerate(pairwise(pieces)) if pair in ranks]
        if not places:
            break
        at = min(places)[1]
        pieces = [*pieces[:at], pieces[at] + pieces[at + 1], *pieces[at + 2 :]]
    return pieces


def learn_merges(words: Iterable[str]) -> list[Pair]:
    """Merges after which every word is one token; syllables come first, so that invented names fall into them.

    A merge added at the end never undoes an earlier word: it is only tried when no earlier one applies.
    """
    ranks: dict[Pair, int] = {}
    for consonant in CONSONANTS:
        for vowel in VOWELS:
            ranks[consonant, vowel] = len(ranks)
            ranks[consonant, vowel + WORD_END] = len(ranks)
    for word in sorted(set(words)):
        pieces = apply_merges(split_word(word), ranks)
        while len(pieces) > 1:
            ranks[pieces[0], pieces[1]] = len(ranks)
            pieces = apply_merges(pieces, ranks)
    return list(ranks)


def build_tokenizer(words: Iterable[str], length: int = LENGTH) -> CLIPTokenizer:
    """A tokenizer of SDXL's own class for these words; every byte has a token, so nothing is unknown.

    Args:
        words: texts are taken apart, so "wide-brimmed" gives two words.
        length: tokens, with both ends; what is longer is cut, what is shorter padded.
    """
    merges = learn_merges(word for text in words for word in re.findall(r"[a-z]+", text.lower()))
    letters = sorted(ByteLevel.alphabet())
    tokens = [*letters, *(letter + WORD_END for letter in letters)]
    tokens += dict.fromkeys(left + right for left, right in merges)
    tokens += [START, END]
    vocab = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=length)


def encode_texts(tokenizer: CLIPTokenizer, texts: list[str]) -> list[list[int]]:
    """Token numbers as the SDXL pipeline makes them: (B, length), cut and padded."""
    length = tokenizer.model_max_length
    return tokenizer(texts, padding="max_length", max_length=length, truncation=True).input_ids
