"""What the base on this machine is asked for: everything of a request but LoRAs, the same whoever asks."""

from __future__ import annotations

from harness.config.local_options import CLIP_SKIP, LocalOptions
from harness.config.profile import Profile
from harness.config.schedulers import config_of
from harness.core.values import Request
from harness.models.identity import library_class
from harness.models.loading import Models

ADAPTER = "local/1"


def base_request(
    profile: Profile, models: Models, options: LocalOptions, prompt: str, negative: str | None = None, seed: int = 0
) -> Request:
    """One picture by the base without any LoRA, in the profile's size; the negative is the profile's if not given."""
    width, height = profile.size
    optional = ["compel"] if profile.prompts == "weighted" else []
    return Request(
        adapter=ADAPTER,
        model=models.base_hash(),
        prompt=prompt,
        negative=negative or profile.negative or "",
        seed=seed,
        width=width,
        height=height,
        steps=options.steps,
        guidance=options.guidance,
        scheduler=options.scheduling.name,
        dtype=models.dtype,
        batch=profile.batch,
        extra=unusual(profile, options),
        libraries=library_class("torch", "diffusers", "transformers", *optional),
    )


def unusual(profile: Profile, options: LocalOptions) -> dict[str, object]:
    """What decides the pixels beside a request's own fields; nothing of it where it is as usual."""
    vae, scheduler = profile.models.vae_dtype, config_of(options.scheduling.name, options.scheduling.options)
    given = {
        "blur": (options.blur, 0),
        "clip_skip": (options.clip_skip, CLIP_SKIP),
        "compiled": (profile.compile, False),
        "guidance_rescale": (options.guidance_rescale, 0.0),
        "prompts": (profile.prompts, "plain"),
        "scheduler": (scheduler, {}),
        "vae": (vae, "float32"),
    }
    return {name: value for name, (value, usual) in given.items() if value != usual}
