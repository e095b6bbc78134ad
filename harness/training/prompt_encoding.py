"""Captions: what is said of a picture in training, in which orders, and as the UNet reads it."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from harness.config.prompts.trigger import trigger_pattern
from harness.core.values import Vocabulary, digest
from harness.models.lora.train_config import TrainConfig

ORDERS = 8  # ways of saying one caption that are kept, where phrases are shuffled or left out
OTHERS = 48  # prompts about others that a prior step chooses from


@dataclass(frozen=True)
class Embedding:
    """One caption as the UNet reads it."""

    tokens: Tensor  # (length, width)
    pooled: Tensor  # (width of encoder 2,)


class PromptEncoder(Protocol):
    """Turns captions into what the UNet reads."""

    @property
    def trained(self) -> Mapping[str, torch.nn.Module]:
        """Part (`text_encoder`, `text_encoder_2`) to the text encoder whose LoRA learns; {} where none does."""
        ...

    def read(self, texts: Sequence[str | None]) -> tuple[Tensor, Tensor]:
        """Embeddings (batch, length, width) and pooled ones (batch, width); None is no caption at all."""
        ...


@dataclass(frozen=True)
class KnownTexts:
    """Captions that were encoded once; the text encoders are gone."""

    known: Mapping[str, Embedding]
    nothing: Embedding

    @property
    def trained(self) -> Mapping[str, torch.nn.Module]:
        return {}

    def read(self, texts: Sequence[str | None]) -> tuple[Tensor, Tensor]:
        results = [self.nothing if text is None else self.known[text] for text in texts]
        return torch.stack([each.tokens for each in results]), torch.stack([each.pooled for each in results])


def know_texts(texts: Iterable[str], encoders: Any, device: str) -> KnownTexts:
    """Encode each text once."""
    known = {text: embed(text, encoders, device) for text in dict.fromkeys(texts)}
    return KnownTexts(known, embed_nothing(encoders, device))


def embed(text: str, encoders: Any, device: str) -> Embedding:
    """One caption through both text encoders, as the pipeline itself does it."""
    with torch.no_grad():
        tokens, _, pooled, _ = encoders.encode_prompt(text, device=device, do_classifier_free_guidance=False)
    return Embedding(tokens[0].float().cpu(), pooled[0].float().cpu())


def embed_nothing(encoders: Any, device: str) -> Embedding:
    """What the pipeline gives the UNet for no prompt at all: zeros where it is configured so."""
    empty = embed("", encoders, device)
    if encoders.config.get("force_zeros_for_empty_prompt"):
        return Embedding(torch.zeros_like(empty.tokens), torch.zeros_like(empty.pooled))
    return empty


# --- what is said ---------------------------------------------------------------------------------------------------


def without_trigger(caption: str, trigger: str, class_word: str) -> str:
    """The same caption about anybody: the class word stands wherever the trigger stood."""
    text = trigger_pattern(trigger).sub(lambda _: class_word, caption)  # a function: a backslash is only a backslash
    return text.strip(" ,")


def split_phrases(caption: str, trigger: str) -> list[str]:
    """What stands between commas; a comma of the trigger's own separates nothing."""
    result = re.findall(rf"(?:{trigger_pattern(trigger).pattern}|[^,])+", caption, re.IGNORECASE)
    return [part.strip() for part in result if part.strip()]


def phrasings(caption: str, trigger: str, config: TrainConfig, name: str) -> tuple[str, ...]:
    """The caption as it stands, then its phrases shuffled or left out, each time with the trigger's phrase first."""
    phrases = split_phrases(caption, trigger)
    kept = [part for part in phrases if trigger_pattern(trigger).search(part)]
    others = [part for part in phrases if part not in kept]
    if not others or not (config.caption_shuffle or config.phrase_dropout):
        return (caption,)
    chance = random.Random(digest([config.seed, name, caption]))
    results = [caption]
    for _ in range(ORDERS - 1):
        texts = [part for part in others if chance.random() >= config.phrase_dropout]
        if config.caption_shuffle:
            chance.shuffle(texts)
        results.append(", ".join([*kept, *texts]))
    return tuple(results)


def prompts_about_others(vocabulary: Mapping[str, Vocabulary], config: TrainConfig) -> tuple[str, ...]:
    """Prompts without the trigger in the profile's own words, one value of each category; () without a vocabulary."""
    categories = [words for words in vocabulary.values() if words.alternatives]
    if not categories or config.prior_prompts != "others" or not config.prior_weight:
        return ()
    chance = random.Random(digest([config.seed, "others"]))
    drawn = ([words.phrase(chance.choice(list(words.alternatives))) for words in categories] for _ in range(OTHERS))
    return tuple(dict.fromkeys(", ".join([config.class_word, *phrases]) for phrases in drawn))
