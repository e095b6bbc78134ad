"""Likeness to the references as DINOv2 sees it (Oquab et al. 2023): a second opinion beside CLIP, off by default.

Trained on pictures alone, it looks at shapes and textures where CLIP looks at what has a name; among the metrics that
need no labels it agrees best with people on whether two pictures show one subject, next to CLIP for human figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from harness.core.arrays import Floats
from harness.core.values import Score
from harness.models.embeddings import normalize
from harness.models.loading import load_options, translated
from harness.scoring.metrics.anchors import Anchors

BATCH = 16  # pictures a forward pass


@dataclass(frozen=True)
class Dino:
    """A DINOv2 model in float32 with its preprocessing."""

    model: Any  # Dinov2Model
    processor: Any  # BitImageProcessorPil
    device: str

    def embed_images(self, images: Sequence[Image.Image]) -> Floats:
        """Unit vectors (n, d), float32: the class token behind the last layer's norm."""
        import torch

        results = [np.zeros((0, self.model.config.hidden_size), np.float32)]
        for start in range(0, len(images), BATCH):
            inputs = self.processor(images=list(images[start : start + BATCH]), return_tensors="pt").to(self.device)
            with torch.inference_mode():
                results.append(self.model(**inputs).pooler_output.float().cpu().numpy())
        return normalize(np.concatenate(results))

    def embed_texts(self, texts: Sequence[str]) -> Floats:
        raise NotImplementedError("DINOv2 reads no text")

    @property
    def logit_scale(self) -> float:
        raise NotImplementedError("DINOv2 has no softmax")


def load_dino(folder: Path, name: str, device: str = "cpu") -> Dino:
    """A DINOv2 checkpoint in transformers' layout.

    Raises:
        ModelError: it is no such checkpoint.
    """
    import torch
    from transformers import BitImageProcessorPil, Dinov2Model

    with translated(name):
        model = Dinov2Model.from_pretrained(folder, dtype=torch.float32, **load_options(folder))
        processor = BitImageProcessorPil.from_pretrained(folder)
    return Dino(model.eval().to(device), processor, device)


def dino_score(vector: Floats, gallery: Floats, anchors: Anchors) -> Score:
    """Mean cosine to the held-out references (n, d), raw and between others (0) and genuine (1)."""
    raw, separation = float((gallery @ vector).mean()), anchors.clip
    value = separation.calibrate(raw)
    reason = "" if value is not None else "the impostors are as near to the references as these to each other"
    if anchors.sight and not anchors.sight.sees:
        value, reason = None, anchors.sight.reason.replace("CLIP", "DINO")
    details = {"d_prime": separation.d_prime, "eer": separation.eer}
    return Score("dino", value, raw, reason, details)
