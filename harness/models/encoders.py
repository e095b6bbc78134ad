"""A pipeline's tokenizers, found and opened without its weights."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE

from harness.config.profile import Profile
from harness.config.prompts.tokens import CLIP_WORDS, WORD_END, Encoder
from harness.core.errors import ModelError
from harness.models.loading import locate_model

FOLDERS = ("tokenizer", "tokenizer_2")


def find_encoders(profile: Profile, root: Path) -> tuple[Encoder, ...]:
    """The tokenizers of a profile's base model, the first encoder's first; neither torch nor transformers is imported.

    Raises:
        ModelError: the model or its tokenizers are not on this machine.
    """
    folder = locate_model(profile.models.base, root, profile.name)
    result = tuple(open_encoder(folder / name, profile.max_tokens) for name in FOLDERS if (folder / name).is_dir())
    if not result:
        raise ModelError(
            f"model {profile.models.base!r}: {folder} holds no tokenizer; run `harness fetch {profile.name}`"
        )
    return result


@lru_cache(maxsize=8)
def open_encoder(folder: Path, window: int) -> Encoder:
    """One tokenizer from its folder: tokenizer.json, or the older vocab.json with merges.txt.

    Args:
        window: tokens, where the tokenizer's own settings do not say.

    Raises:
        ModelError: the files are missing or broken.
    """
    try:
        whole = folder / "tokenizer.json"
        tokenizer = Tokenizer.from_file(str(whole)) if whole.is_file() else build_clip(folder)
        settings = folder / "tokenizer_config.json"
        text = json.loads(settings.read_text(encoding="utf-8")) if settings.is_file() else {}
    except Exception as error:  # the tokenizers library raises bare Exception for a broken file
        raise ModelError(f"tokenizer {folder}: cannot be read ({error}); fetch the model again") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    length = text.get("model_max_length", window)
    return Encoder(folder.name, tokenizer, int(length) if 2 < length < 100_000 else window)  # "no limit" is 1e30


def build_clip(folder: Path) -> Any:
    """CLIP's tokenizer as transformers builds it from vocab.json and merges.txt."""
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
