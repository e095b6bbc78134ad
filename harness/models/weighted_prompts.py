"""Weights and long prompts through compel, an optional library: `pip install "lora-harness[prompts]"`."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from harness.config.prompts.syntax import PromptPart, parse_weights, plain_text
from harness.core.errors import ModelError

if TYPE_CHECKING:
    import torch


def require_weights() -> None:
    """Say what is missing before anything is drawn; compel itself is not imported yet.

    Raises:
        ModelError: compel is not installed.
    """
    if find_spec("compel") is None:
        remedy = '`pip install "lora-harness[prompts]"`, or set `prompts: plain` in the profile'
        raise ModelError(f"`prompts: weighted` needs the library compel; run {remedy}")


def encode_weighted(pipe: Any, text: str, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """A prompt of any length with its weights, for both encoders of SDXL.

    Args:
        pipe: a StableDiffusionXLPipeline.
        text: with weights; see `harness.config.prompts.syntax.parse_weights`.

    Returns:
        Embeddings [1, n * window, d] and the pooled [1, p] of the first window, which knows no weights.

    Raises:
        ModelError: compel is not installed.
    """
    import torch

    require_weights()
    compel = import_module("compel")
    parts = parse_weights(text) or (PromptPart(""),)
    halves = []
    for tokenizer, encoder in ((pipe.tokenizer, pipe.text_encoder), (pipe.tokenizer_2, pipe.text_encoder_2)):
        # made anew each time: it remembers the empty prompt, which another LoRA of the text encoder makes stale
        provider = compel.EmbeddingsProvider(
            tokenizer,
            encoder,
            truncate=False,
            returned_embeddings_type=compel.ReturnedEmbeddingsType.PENULTIMATE_HIDDEN_STATES_NON_NORMALIZED,
            split_long_text_mode=compel.SplitLongTextMode.PHRASES,  # as tokens.split_windows shows it
            device=device,
        )
        texts, weights = [[part.text for part in parts]], [[part.weight for part in parts]]
        halves.append(provider.get_embeddings_for_weighted_prompt_fragments(texts, weights, device=device))
    return torch.cat(halves, dim=-1), provider.get_pooled_embeddings([plain_text(text)], device=device)


def pad_windows(embeds: torch.Tensor, length: int, empty: torch.Tensor) -> torch.Tensor:
    """[1, n, d] to [1, length, d] with the embeddings of the empty prompt; both are multiples of the window."""
    import torch

    return torch.cat([embeds, *[empty] * ((length - embeds.shape[1]) // empty.shape[1])], dim=1)
