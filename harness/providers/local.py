"""The models on this machine: the base alone, the base told every trait, and the LoRA under test."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import LoraError, SuiteError, nearest
from harness.lora import read_header
from harness.models import hash_once, library_class
from harness.profile import extend_vocabulary
from harness.prompting.weighted import require_weights
from harness.providers.prompts import describe_subject, traits_of
from harness.values import Case, Drawing, Lora, Outcome, Request, Suite

if TYPE_CHECKING:
    from PIL import Image

    from harness.profile import ProviderConfig
    from harness.providers import Context

ADAPTER = "local/1"
USES = ("base", "lora", "prompt_only")
OPTIONS = ("blur", "use")


class LocalProvider:
    """One way to use the shared pipeline: `use` says which, `blur` (pixels) spoils it as a control for the metrics."""

    emulated = False

    def __init__(self, name: str, config: ProviderConfig, context: Context) -> None:
        self.name, self.context = name, context
        for option in config.options:
            if option not in OPTIONS:
                raise self._wrong(f"no option called {option!r}; {nearest(option, OPTIONS)}")
        self.use, self.blur = config.options.get("use", name), config.options.get("blur", 0)
        if self.use not in USES:
            raise self._wrong(f"no use called {self.use!r}; {nearest(str(self.use), USES)}")
        if not isinstance(self.blur, int | float) or not 0 <= self.blur <= 100:
            raise self._wrong(f"blur {self.blur!r}: a radius of 0 to 100 pixels")
        self.weighted = context.profile.prompts == "weighted"
        if self.weighted:
            require_weights()  # while planning, before any model is loaded
        self._loras: dict[str, Lora] = {}  # SHA-256 to the file that had it when it was asked for
        self._checked: set[Path] = set()  # files whose kind is known to be right

    def missing(self) -> str:
        return ""

    def requests(self, suite: Suite, case: Case, seeds: Sequence[int]) -> tuple[Request, ...]:
        """One request a seed. A LoRA at strength 0 is the base, and asks for the base's own pictures."""
        profile, models = self.context.profile, self.context.models
        sha, strength = self._lora(suite) if self.use == "lora" else ("", 0.0)
        width, height = profile.size
        weights = {"prompts": "weighted"} if self.weighted else {}
        optional = [*(["peft"] if sha else []), *(["compel"] if self.weighted else [])]
        template = Request(
            adapter=ADAPTER,
            model=models.base_hash(),
            prompt=self._prompt(suite, case),
            negative=case.negative or suite.negative or profile.negative or "",
            seed=0,
            width=width,
            height=height,
            lora=sha,
            strength=strength,
            steps=profile.steps,
            guidance=profile.guidance,
            scheduler=profile.scheduler,
            dtype=models.dtype,
            batch=profile.batch,
            extra={**({"blur": self.blur} if self.blur else {}), **weights},
            libraries=library_class("torch", "diffusers", "transformers", *optional),
        )
        return tuple(Request(**{**template.__dict__, "seed": seed}) for seed in seeds)

    def draw(self, requests: Sequence[Request]) -> Iterator[Drawing]:
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
                yield to_drawing(picture, seconds, request, {"truncated": cut} if cut else {})

    def close(self) -> None:
        """The models belong to the run; nothing to give back."""

    def _wrong(self, message: str) -> SuiteError:
        return SuiteError(f"provider {self.name!r}: {message}", self.context.profile.path)

    def _prompt(self, suite: Suite, case: Case) -> str:
        if self.use != "prompt_only":
            return case.prompt
        vocabulary = extend_vocabulary(self.context.profile, suite).vocabulary
        return describe_subject(suite, case, traits_of(suite, self.context, vocabulary), vocabulary)

    def _lora(self, suite: Suite) -> tuple[str, float]:
        """Hash and strength of the LoRA under test: the command line's, else the suite's."""
        lora = self.context.settings.lora or suite.subject.lora
        if lora is None:
            raise LoraError(f"{suite.path}: provider {self.name!r} needs a LoRA; set subject.lora or give --lora FILE")
        if lora.path not in self._checked:
            read_header(lora.path)  # a wrong file is told while planning, before any model is loaded
            self._checked.add(lora.path)
        if lora.strength == 0:
            return "", 0.0
        sha = hash_once(lora.path)
        self._loras[sha] = lora
        return sha, float(lora.strength)

    def _file(self, request: Request) -> Lora | None:
        """The LoRA file behind a request, still the same as when it was asked for."""
        if not request.lora:
            return None
        lora = self._loras.get(request.lora)
        if lora is None:
            raise LoraError(f"provider {self.name!r} was never given the LoRA {request.lora[:12]}; plan the case again")
        if hash_once(lora.path) != request.lora:
            raise LoraError(f"LoRA {lora.path}: the file changed during the run; run again")
        return Lora(lora.path, request.strength)


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


def to_drawing(picture: Image.Image | None, seconds: float, request: Request, meta: dict[str, str]) -> Drawing:
    """A picture as PNG bytes; none means that the model overflowed."""
    if picture is None:
        message = f"the model produced NaN at {request.dtype}; set `dtype: float32` in the profile"
        return Drawing(Outcome.BAD_IMAGE, message=message, seconds=seconds, meta=meta)
    if request.extra.get("blur"):
        from PIL import ImageFilter

        picture = picture.filter(ImageFilter.GaussianBlur(request.extra["blur"]))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return Drawing(Outcome.OK, buffer.getvalue(), seconds=seconds, meta=meta)
