"""Reference pictures repainted by the base: style, palette and composition stay, who they show fades with the strength.

Image to image as in SDEdit (Meng et al., arXiv 2108.01073): a picture's latents are noised up to a share of the
schedule, and from there the base draws on under a prompt that knows nothing of the subject.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageOps

from harness.config.schedulers import make_scheduler
from harness.core.values import Request
from harness.models.identity import quiet_libraries

if TYPE_CHECKING:
    from harness.models.pipeline import LocalPipeline


def redraw(
    pipeline: LocalPipeline, requests: Sequence[Request], pictures: Sequence[Image.Image], strength: float
) -> list[Image.Image | None]:
    """Each picture repainted by the base without any LoRA; None where the model produced NaN.

    Args:
        requests: one a picture, alike in all but prompt, negative and seed; the pictures are brought to their size.
        strength: share of the schedule, above 0 to 1; at least one step is made.
    """
    import torch

    from harness.models.pipeline import decode, denoise, encode_picture, noise, to_picture

    first, pipe = requests[0], pipeline.pipe
    skipped = first.steps - max(1, round(first.steps * strength))
    with pipeline.lock, quiet_libraries(), torch.inference_mode():
        pipeline.loras.use(None)
        pipe.scheduler = start_later(
            make_scheduler(first.scheduler, pipeline.noise_schedule, first.extra.get("scheduler")), skipped
        )
        texts = [pipeline.encode_pair(request) for request in requests]
        pipe.scheduler.set_timesteps(first.steps)
        known = torch.cat([encode_picture(fit(picture, first), pipe.vae) for picture in pictures])
        chance = [torch.Generator("cpu").manual_seed(request.seed) for request in requests]
        fog = torch.cat([noise(pipe, *pair) for pair in zip(requests, chance, strict=True)]).to(known)
        begin = pipe.scheduler.timesteps[:1].repeat(len(requests))
        noised = pipe.scheduler.add_noise(known, fog, begin) / pipe.scheduler.init_noise_sigma
        return [to_picture(decode(pipe, latent[None])) for latent in denoise(pipe, requests, texts, noised)]


def start_later(scheduler: Any, skipped: int) -> Any:
    """The same scheduler, the first `skipped` of whose steps are left out whenever it plans them.

    The pipeline goes through the steps that are left; the scheduler itself counts all of them, as it does in diffusers'
    own image-to-image: by their number it knows which is the last.
    """
    plan, scale = scheduler.set_timesteps, scheduler.scale_model_input
    begin, first = getattr(scheduler, "set_begin_index", None), skipped * scheduler.order
    whole: list[Any] = []

    def set_timesteps(*args: Any, **kwargs: Any) -> None:
        plan(*args, **kwargs)
        whole[:] = [scheduler.timesteps]
        scheduler.timesteps = scheduler.timesteps[first:]
        if begin:
            begin(first)

    def scale_model_input(*args: Any, **kwargs: Any) -> Any:
        scheduler.timesteps = whole[0]  # the first thing that a step does
        return scale(*args, **kwargs)

    scheduler.set_timesteps, scheduler.scale_model_input = set_timesteps, scale_model_input
    if begin:
        scheduler.set_begin_index = lambda index=0: begin(first + index)  # a pipeline begins at 0
    return scheduler


def fit(picture: Image.Image, request: Request) -> Image.Image:
    """The middle of a picture at the request's size."""
    return ImageOps.fit(picture, (request.width, request.height), Image.Resampling.LANCZOS)
