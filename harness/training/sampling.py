"""Pictures and scores while a LoRA learns: a few open cases, drawn with the weights that would be saved now.

They are for people and decide nothing: seeds and noise are the cases' own, so the weights are the same bit for bit with
them and without. Locked cases are never drawn here.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, TypedDict

import torch
from PIL.Image import Image

from harness.config.local_options import LocalOptions
from harness.config.profile import local_options
from harness.config.schedulers import config_of, make_scheduler
from harness.core.contact_sheet import MUTED, Cell, SheetRow, draw_contact_sheet
from harness.core.errors import EngineError, HarnessError, ModelError, UsageError
from harness.core.files import write_file
from harness.core.values import Case, Request, Score, Suite
from harness.models.identity import quiet_libraries
from harness.models.memory import memory_errors_translated, release_memory
from harness.models.pipeline import decode, denoise, hold_latents_in_float32, to_picture
from harness.training.prompt_encoding import PromptEncoder

CASES = 4  # the first open ones
THUMB = 384  # pixels a side of a picture in the sheet, at most
SHOWN = ("quality", "clip")  # of the metrics, in the line of progress
NOTES = "samples.jsonl"

Judge = Callable[[Sequence[tuple[Case, bytes]]], Sequence[Mapping[str, Score]]]
"""Encoded pictures of cases to their scores, as `harness.scoring.metrics.Scorer.score` gives them."""

Precision = Callable[[], AbstractContextManager[Any]]


@dataclass(frozen=True)
class Samples:
    """What is asked for: which suite's cases, how often, and where the sheets go."""

    suite: Suite
    every: int  # steps; the last step is always one
    folder: Path
    judge: Judge | None = None  # None: pictures alone

    def __post_init__(self) -> None:
        if not self.cases:
            raise UsageError(f"{self.suite.path}: no open case to draw samples of; leave sample_every away")

    @property
    def cases(self) -> tuple[Case, ...]:
        """The first open cases. Never a locked one: whoever chooses by these must not know the held-out test."""
        return self.suite.open_prompts[:CASES]

    def negative(self, case: Case, profile: Any) -> str:
        return case.negative or self.suite.negative or profile.negative or ""

    def said(self, profile: Any) -> tuple[str, ...]:
        """Every text that has to be known before the text encoders leave memory."""
        negatives = (self.negative(case, profile) for case in self.cases)
        return tuple(dict.fromkeys([*(case.prompt for case in self.cases), *filter(None, negatives)]))


class SampleNote(TypedDict):
    """One line of the notes: what was seen at a step."""

    step: int
    sheet: str  # the file's name
    mean: Mapping[str, float]  # of the scores, by metric
    cases: Sequence[Mapping[str, object]]


def drawing_options(suite: Suite, profile: Any) -> LocalOptions:
    """How the gate's own local provider draws; where the gate has none, what the profile says."""
    local = [name for name in suite.gate if name in profile.providers and profile.providers[name].adapter == "local"]
    results = [options for options in (local_options(profile, name) for name in local) if options.use == "lora"]
    usual = LocalOptions("lora", profile.scheduling, profile.steps, profile.guidance, profile.guidance_rescale)
    return results[0] if results else usual


class Sampler:
    """Draws with the UNet that is in memory, as it is at that moment."""

    def __init__(
        self,
        samples: Samples,
        profile: Any,
        texts: PromptEncoder,
        unet: Any,
        vae: Any,
        noise_schedule: Mapping[str, object],
    ) -> None:
        """Args:
        texts: knows what `Samples.said` names.
        vae: an AutoencoderKL on the UNet's device.
        noise_schedule: the checkpoint's own scheduler configuration.
        """
        from diffusers import StableDiffusionXLPipeline

        self.samples, self.texts, self.unet = samples, texts, unet
        self.cases, self._judge = samples.cases, samples.judge
        self.requests = [make_request(samples, case, profile) for case in self.cases]
        self._noise_schedule = dict(noise_schedule)
        absent: dict[str, object] = dict.fromkeys(("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2"))
        parts = {"vae": vae, "unet": unet, "scheduler": self._scheduler(), **absent}
        with quiet_libraries():
            self.pipe = StableDiffusionXLPipeline(**parts, add_watermarker=False)
        self.pipe.set_progress_bar_config(disable=True)

    def _scheduler(self) -> Any:
        """A fresh one: they keep state from one drawing to the next."""
        first = self.requests[0]
        return make_scheduler(first.scheduler, self._noise_schedule, first.extra["scheduler"])

    def due(self, step: int, last: bool) -> bool:
        """Whether this step's weights are shown."""
        return last or step % self.samples.every == 0

    def begin(self, done: int) -> None:
        """Put away what a run that began anew, or was set back, has left of later steps."""
        for sheet in self.samples.folder.glob("step-*.png"):
            number = sheet.stem.removeprefix("step-")
            if number.isdecimal() and int(number) > done:
                sheet.unlink()
        self._write([note for note in self._notes() if note["step"] <= done])

    def show(self, step: int, dtype: torch.dtype, precision: Precision) -> str:
        """Draw, score and keep the pictures of a step. What is to be said of it, in a line.

        Args:
            dtype: of the frozen base.
            precision: what the UNet is called within, autocast say.
        """
        try:
            with quiet_libraries(), memory_errors_translated(len(self.cases)):
                pictures = self._draw(dtype, precision)
        except (MemoryError, ModelError) as error:  # the training itself may go on all the same
            release_memory()
            return f"step {step}: no samples, {error}"
        scores, doubt = self._score(pictures)
        path = self._keep(step, pictures, scores)
        mean = mean_of(scores)
        message = ", ".join(f"{name} {mean[name]:.2f}" for name in SHOWN if name in mean) or doubt or "drawn"
        return f"step {step}: {message} ({len(self.cases)} open cases) {path}"

    def _draw(self, dtype: torch.dtype, precision: Precision) -> list[Image | None]:
        """With the UNet as it learns, in float32 latents as everywhere else; afterwards it is as it was."""
        handles, learning = hold_latents_in_float32(self.unet), self.unet.training
        self.pipe.scheduler = self._scheduler()
        self.unet.eval()
        try:
            with torch.no_grad():
                with precision():
                    latents = denoise(self.pipe, self.requests, self._read(dtype))
                return [to_picture(decode(self.pipe, latent[None])) for latent in latents]
        finally:
            self.unet.train(learning)
            for handle in handles:
                handle.remove()

    def _read(self, dtype: torch.dtype) -> list[Any]:
        """Embeddings and pooled ones of each prompt and of its negative."""
        prompts = self.texts.read([request.prompt for request in self.requests])
        negatives = self.texts.read([request.negative or None for request in self.requests])
        parts = [part.to(self.unet.device, dtype).split(1) for part in (*prompts, *negatives)]
        return list(zip(*parts, strict=True))

    def _score(self, pictures: Sequence[Image | None]) -> tuple[list[Mapping[str, float]], str]:
        """Calibrated scores of each case, {} without a picture; and why there are none at all."""
        nothing: list[Mapping[str, float]] = [{} for _ in pictures]
        if self._judge is None:
            return nothing, "drawn, not scored"
        drawn = [(place, encoded(picture)) for place, picture in enumerate(pictures) if picture is not None]
        try:
            result = self._judge([(self.cases[place], data) for place, data in drawn])
        except HarnessError as error:  # training needs no scorer; without one the pictures are there all the same
            self._judge = None
            return nothing, f"drawn, not scored ({error})"
        for (place, _), scores in zip(drawn, result, strict=True):
            nothing[place] = {name: round(each.value, 4) for name, each in scores.items() if each.value is not None}
        return nothing, "" if drawn else "the model produced NaN"

    def _keep(self, step: int, pictures: Sequence[Image | None], scores: Sequence[Mapping[str, float]]) -> Path:
        """Write the sheet, then the line that names it."""
        path = self.samples.folder / f"step-{step:06d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        words = [", ".join(f"{name} {value[name]:.2f}" for name in SHOWN if name in value) for value in scores]
        cells = [Cell(picture, word, MUTED) for picture, word in zip(pictures, words, strict=True)]
        thumb = min(THUMB, max(self.requests[0].width, self.requests[0].height, 160))
        about = f"{self.samples.suite.subject.name}, seed {self.requests[0].seed}"
        draw_contact_sheet([case.id for case in self.cases], [SheetRow(f"step {step}", about, cells)], thumb).save(path)
        cases = [
            {"case": case.id, "prompt": case.prompt, "seed": request.seed, "scores": dict(result)}
            for case, request, result in zip(self.cases, self.requests, scores, strict=True)
        ]
        note: SampleNote = {"step": step, "sheet": path.name, "mean": mean_of(scores), "cases": cases}
        self._write([*(each for each in self._notes() if each["step"] < step), note])
        return path

    def _notes(self) -> list[SampleNote]:
        path = self.samples.folder / NOTES
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        return [json.loads(line) for line in lines]

    def _write(self, notes: Sequence[SampleNote]) -> None:
        """All lines at once: a killed run leaves none that is cut short, nor the same step twice."""
        path = self.samples.folder / NOTES
        if not notes and not path.exists():
            return
        write_file(path, "".join(json.dumps(note) + "\n" for note in notes))


def make_request(samples: Samples, case: Case, profile: Any) -> Request:
    """The case's first picture, as the gate's local provider asks for it.

    Raises:
        EngineError: a locked case.
    """
    if case.split != "open":
        raise EngineError(f"case {case.id!r} is locked; it must not be drawn while a LoRA is trained")
    options = drawing_options(samples.suite, profile)
    scheduling = options.scheduling
    return Request(
        adapter="sample",
        model="",
        prompt=case.prompt,
        negative=samples.negative(case, profile),
        seed=samples.suite.seeds(1)[0],
        width=profile.size[0],
        height=profile.size[1],
        steps=options.steps,
        guidance=options.guidance,
        scheduler=scheduling.name,
        extra={
            "scheduler": config_of(scheduling.name, scheduling.options),
            "guidance_rescale": options.guidance_rescale,
        },
    )


def mean_of(scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Of each metric over the pictures that have it."""
    names = dict.fromkeys(name for result in scores for name in result)
    return {name: round(fmean(result[name] for result in scores if name in result), 4) for name in names}


def encoded(picture: Image) -> bytes:
    """As PNG, which is what scorers read."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()
