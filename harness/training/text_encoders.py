"""Text encoders that learn: captions go through them anew in every step, with their LoRA or without it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from harness.models.lora.train_config import TrainConfig
from harness.training.adapter import TEXT_PARTS, add_lora


class LiveTexts:
    """Both text encoders of the base, of which one or both have a LoRA."""

    def __init__(self, encoders: Any, config: TrainConfig, device: str, dtype: torch.dtype) -> None:
        self.device, self.dtype = device, dtype
        self.silent = bool(encoders.config.get("force_zeros_for_empty_prompt"))
        self.tokenizers = (encoders.tokenizer, encoders.tokenizer_2)
        self.encoders = tuple(each.to(device) for each in (encoders.text_encoder, encoders.text_encoder_2))
        names = ("text_encoder", "text_encoder_2")
        wanted = TEXT_PARTS[config.text_encoders]
        self.trained: Mapping[str, torch.nn.Module] = {
            name: model for name, model in zip(names, self.encoders, strict=True) if name in wanted
        }
        for model in self.encoders:
            model.requires_grad_(False)
        for name, model in self.trained.items():
            add_lora(model, config, name)
            if config.gradient_checkpointing:
                checkpoint_layers(model)
        self._tokens: dict[str, tuple[Tensor, Tensor]] = {}

    def read(self, texts: Sequence[str | None]) -> tuple[Tensor, Tensor]:
        """As the pipeline encodes: the last layer but one of both, side by side, and the second's pooled output."""
        pairs = [self.tokenize(text or "") for text in texts]
        hidden = []
        pooled: Any = None
        for place, encoder in enumerate(self.encoders):
            ids = torch.stack([pair[place] for pair in pairs]).to(self.device)
            out = encoder(ids, output_hidden_states=True)
            hidden.append(out.hidden_states[-2])
            pooled = out[0] if place else None
        tokens = torch.cat(hidden, dim=-1)
        if self.silent:
            spoken = torch.tensor([text is not None for text in texts], device=self.device)
            tokens, pooled = tokens * spoken[:, None, None], pooled * spoken[:, None]
        return tokens, pooled

    def tokenize(self, text: str) -> tuple[Tensor, Tensor]:
        """Token ids of both tokenizers, cut to their windows; remembered."""
        if text not in self._tokens:
            first, second = (
                tokenizer(
                    text,
                    padding="max_length",
                    max_length=tokenizer.model_max_length,
                    truncation=True,
                    return_tensors="pt",
                ).input_ids[0]
                for tokenizer in self.tokenizers
            )
            self._tokens[text] = (first, second)
        return self._tokens[text]


def checkpoint_layers(model: Any) -> None:
    """Have a layer's activations computed again where its gradients need them.

    Transformers does so in training mode only. The checkpointed layers alone are put into it, nothing within them: a
    text encoder whose configuration has dropout reads a caption in training as it does everywhere else.
    """
    # not the reentrant kind, older versions' default: it warns wherever nothing is learnt, in a validation say
    model.gradient_checkpointing_enable({"use_reentrant": False})
    for layer in model.modules():
        if getattr(layer, "gradient_checkpointing", False):
            layer.training = True
