"""Flat colours decided by prompt and seed: no model, no network, the same pixels every time.

The provider for trying things out, and the control that every metric must condemn.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from harness.values import Case, Drawing, Outcome, Request, Suite, digest

if TYPE_CHECKING:
    from harness.profile import ProviderConfig
    from harness.providers import Context

ADAPTER = "flat/1"


class FlatProvider:
    """Draws pictures of one colour."""

    emulated = False

    def __init__(self, name: str, config: ProviderConfig, context: Context) -> None:
        self.name, self.size = name, context.profile.size

    def missing(self) -> str:
        return ""

    def requests(self, suite: Suite, case: Case, seeds: Sequence[int]) -> tuple[Request, ...]:
        width, height = self.size
        return tuple(Request(ADAPTER, "flat colour", case.prompt, seed, width, height) for seed in seeds)

    def draw(self, requests: Sequence[Request]) -> Iterator[Drawing]:
        from PIL import Image

        for request in requests:
            color = "#" + digest([request.prompt, request.seed])[:6]
            buffer = io.BytesIO()
            Image.new("RGB", (request.width, request.height), color).save(buffer, "PNG")
            yield Drawing(Outcome.OK, buffer.getvalue())

    def close(self) -> None:
        """Nothing to give back."""
