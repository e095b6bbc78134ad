"""Flat colours or stripes decided by prompt, seed and LoRA: no model, no network, the same pixels every time.

The provider for trying things out, and the control that every metric must condemn. Options: `pattern: stripes`
(default: one colour), `use: lora` (the LoRA under test decides too).
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import replace

from PIL import Image, ImageDraw

from harness.config.profile import ProviderConfig
from harness.core.errors import SuiteError, nearest
from harness.core.values import Case, Generation, Outcome, Request, Suite, digest, hash_file
from harness.providers import ProviderContext

ADAPTER = "flat/1"
OPTIONS = ("pattern", "use")


class FlatProvider:
    """Draws pictures of one colour, or of two in stripes."""

    emulated = False

    def __init__(self, name: str, config: ProviderConfig, context: ProviderContext) -> None:
        self.name, self.context = name, context
        for key in config.options:
            if key not in OPTIONS:
                raise SuiteError(f"provider {name!r}: no option called {key!r}; {nearest(key, OPTIONS)}")
        self.pattern = str(config.options.get("pattern", "colour"))
        self.use = str(config.options.get("use", ""))

    def missing(self) -> str:
        return ""

    def requests(self, suite: Suite, case: Case, seeds: Sequence[int]) -> tuple[Request, ...]:
        """One request a seed; a LoRA at strength 0 asks for the pictures without one."""
        profile = self.context.profile
        lora = self.context.settings.under_test.of(suite, self.name) if self.use == "lora" else None
        applied = lora if lora and lora.strength else None
        width, height = profile.size
        template = Request(
            adapter=ADAPTER,
            model=f"flat {self.pattern}",
            prompt=case.prompt,
            seed=0,
            width=width,
            height=height,
            lora=hash_file(applied.path) if applied else "",
            strength=applied.strength if applied else 0.0,
            batch=profile.batch,
        )
        return tuple(replace(template, seed=seed) for seed in seeds)

    def draw(self, requests: Sequence[Request]) -> Iterator[Generation]:
        for request in requests:
            yield Generation(Outcome.OK, flat_picture(request))

    def close(self) -> None:
        """Nothing to give back."""


def flat_picture(request: Request) -> bytes:
    """PNG in colours, and with stripes of a width, that the request decides."""
    code = bytes.fromhex(digest([request.prompt, request.seed, request.lora, request.strength]))
    image = Image.new("RGB", (request.width, request.height), tuple(code[:3]))
    if request.model.endswith("stripes"):
        pen, step = ImageDraw.Draw(image), 4 + code[6] % 8
        for left in range(0, request.width, 2 * step):
            pen.rectangle((left, 0, left + step - 1, request.height), fill=tuple(code[3:6]))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
