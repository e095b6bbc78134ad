"""The models on this machine: the base alone, the base told every trait, and the LoRA under test."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image, ImageFilter

from harness.config.profile import ProviderConfig, extend_vocabulary, local_options
from harness.config.prompts.subject import describe_subject
from harness.core.errors import LoraError
from harness.core.values import Case, Generation, Lora, Outcome, Request, Suite
from harness.models.identity import hash_once, library_class
from harness.models.lora.header import read_header
from harness.models.requests import base_request
from harness.models.weighted_prompts import require_weights
from harness.providers import ProviderContext
from harness.providers.prompts import traits_of


class LocalProvider:
    """One way to use the shared pipeline: `harness.config.local_options` says which there are."""

    emulated = False

    def __init__(self, name: str, config: ProviderConfig, context: ProviderContext) -> None:
        self.name, self.context = name, context
        self.options = local_options(context.profile, name)
        self.use = self.options.use
        self.weighted = context.profile.prompts == "weighted"
        if self.weighted:
            require_weights()  # while planning, before any model is loaded
        self._files: dict[str, Path] = {}  # SHA-256 to the file that had it when it was asked for
        self._checked: set[Path] = set()  # files whose kind is known to be right

    def missing(self) -> str:
        return ""

    def requests(self, suite: Suite, case: Case, seeds: Sequence[int]) -> tuple[Request, ...]:
        """One request a seed. A LoRA at strength 0 is the base, and asks for the base's own pictures."""
        profile, models, options = self.context.profile, self.context.models, self.options
        sha, strength = self._lora(suite) if self.use == "lora" else ("", 0.0)
        beside = self._beside(suite, sha)
        optional = [*(["peft"] if sha or beside else []), *(["compel"] if self.weighted else [])]
        request = base_request(profile, models, options, self._prompt(suite, case), case.negative or suite.negative)
        template = replace(
            request,
            lora=sha,
            strength=strength,
            extra={**request.extra, **({"loras": beside} if beside else {})},
            libraries=library_class("torch", "diffusers", "transformers", *optional),
        )
        return tuple(Request(**{**template.__dict__, "seed": seed}) for seed in seeds)

    def draw(self, requests: Sequence[Request]) -> Iterator[Generation]:
        """Pictures in batches of at most the requests' own `batch`, in order.

        Raises:
            LoraError, ModelError: nothing of this provider can be drawn.
            MemoryError: the batch is too large; ask again with fewer.
        """
        for batch in batches(requests):
            pipeline = self.context.models.pipeline()
            started = time.perf_counter()
            pictures = pipeline.draw(batch, self._file(batch[0]))
            seconds = (time.perf_counter() - started) / len(batch)
            for request, picture in zip(batch, pictures, strict=True):
                cut = "" if self.weighted else pipeline.truncated(request.prompt)
                meta = {"truncated": cut} if cut else {}
                yield to_drawing(picture, seconds, request, meta | ({"memory": "short"} if pipeline.sparing else {}))

    def close(self) -> None:
        """The models belong to the run; nothing to give back."""

    def _prompt(self, suite: Suite, case: Case) -> str:
        if self.use != "prompt_only":
            return case.prompt
        vocabulary = extend_vocabulary(self.context.profile, suite).vocabulary
        return describe_subject(suite, case, traits_of(suite, self.context, vocabulary), vocabulary)

    def _lora(self, suite: Suite) -> tuple[str, float]:
        """Hash and strength of the LoRA under test."""
        lora = self.context.settings.under_test.of(suite, self.name)
        if lora is None:
            raise LoraError(f"{suite.path}: provider {self.name!r} needs a LoRA; set subject.lora or give --lora FILE")
        sha = self._look_at(lora.path)
        return (sha, float(lora.strength)) if lora.strength else ("", 0.0)

    def _beside(self, suite: Suite, tested: str) -> list[list[Any]]:
        """Hash and strength of every LoRA that is drawn with beside the one under test, in one order.

        They are the provider's own, the suite's for it, and for a provider that uses the LoRA under test the command
        line's too.
        """
        named = [*self.options.company, *suite.loras.get(self.name, ())]
        if self.use == "lora":
            lora = self.context.settings.under_test.of(suite, self.name)
            named += [*self.context.settings.beside, *(lora.beside if lora else ())]
        results = [(self._look_at(part.path), part) for lora in named for part in lora.parts]
        for number, (sha, part) in enumerate(results):
            if sha in (tested, *(earlier for earlier, _ in results[:number])):
                raise LoraError(f"provider {self.name!r}: LoRA {part.path} is named twice; say one strength")
        return sorted([sha, float(part.strength)] for sha, part in results)

    def _look_at(self, path: Path) -> str:
        """A file's hash; a wrong one is told while planning, before any model is loaded."""
        if path not in self._checked:
            read_header(path)
            self._checked.add(path)
        sha = hash_once(path)
        self._files[sha] = path
        return sha

    def _file(self, request: Request) -> Lora | None:
        """The LoRA files behind a request, still the same as when they were asked for."""
        named = [(request.lora, request.strength)] if request.lora else []
        parts = [Lora(self._same(sha), strength) for sha, strength in [*named, *request.extra.get("loras", ())]]
        return replace(parts[0], beside=tuple(parts[1:])) if parts else None

    def _same(self, sha: str) -> Path:
        path = self._files.get(sha)
        if path is None:
            raise LoraError(f"provider {self.name!r} was never given the LoRA {sha[:12]}; plan the case again")
        if hash_once(path) != sha:
            raise LoraError(f"LoRA {path}: the file changed during the run; run again")
        return path


def batches(requests: Sequence[Request]) -> Iterator[list[Request]]:
    """Neighbours that differ in nothing but prompt, negative and seed, at most `batch` of them together."""
    group: list[Request] = []
    for request in requests:
        if group and (len(group) >= group[0].batch or settings_of(group[0]) != settings_of(request)):
            yield group
            group = []
        group.append(request)
    if group:
        yield group


def settings_of(request: Request) -> Request:
    """A request without what may differ inside a batch."""
    return Request(**{**request.__dict__, "prompt": "", "negative": "", "seed": 0})


def to_drawing(picture: Image.Image | None, seconds: float, request: Request, meta: dict[str, str]) -> Generation:
    """A picture as PNG bytes; none means that the model overflowed."""
    if picture is None:
        message = f"the model produced NaN at {request.dtype}; set `dtype: float32` in the profile"
        return Generation(Outcome.BAD_IMAGE, message=message, seconds=seconds, meta=meta)
    if request.extra.get("blur"):
        picture = picture.filter(ImageFilter.GaussianBlur(request.extra["blur"]))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return Generation(Outcome.OK, buffer.getvalue(), seconds=seconds, meta=meta)
