"""The one diffusion pipeline of a run: prompts encoded once, LoRAs swapped in place, pictures drawn in batches."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from harness.config.local_options import CLIP_SKIP
from harness.config.schedulers import make_scheduler
from harness.core.errors import ModelError
from harness.core.values import Lora, Request
from harness.models.hotswap import AdapterSlot, compile_unet
from harness.models.identity import quiet_libraries
from harness.models.memory import memory_errors_translated, memory_text, release_memory, spare_memory
from harness.models.resident_loras import ResidentLoras
from harness.models.weighted_prompts import encode_weighted, pad_windows

Pair = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]  # embeddings, pooled; the negative's

CACHED_PROMPTS = 4096


class LocalPipeline:
    """A StableDiffusionXLPipeline with its prompt cache and its resident LoRAs; one thread draws at a time."""

    def __init__(self, pipe: Any, device: str, compiled: bool = False) -> None:
        self.pipe, self.device = pipe, device
        self.lock = threading.RLock()  # whoever else uses `pipe` (training, say) holds it meanwhile
        self.sparing = False  # memory was short: attention in slices, autoencoder in tiles
        self._prompts: OrderedDict[tuple[str, str, bool, int], Any] = OrderedDict()
        pipe.set_progress_bar_config(disable=True)
        self.noise_schedule = dict(pipe.scheduler.config)  # the checkpoint's, before any other scheduler's options
        hold_latents_in_float32(pipe.unet)
        self.loras = ResidentLoras(pipe, AdapterSlot(pipe.unet) if compiled else None)
        if compiled:
            compile_unet(pipe.unet)

    def draw(self, requests: Sequence[Request], lora: Lora | None = None) -> list[Image.Image | None]:
        """One batch of pictures, alike in all but prompt, negative and seed; None where the model produced NaN.

        A single picture that does not fit into memory is tried once more with less of it: see `sparing`.

        Raises:
            LoraError: the file does not fit the model.
            MemoryError: too little memory for a batch of this size; for a single picture, with the figures.
        """
        with self.lock, quiet_libraries():
            try:
                return self._try(requests, lora)
            except MemoryError:
                if len(requests) > 1:
                    raise
            release_memory()  # here, because the error itself held the batch's tensors
            return self._try_sparingly(requests, lora)

    def _try(self, requests: Sequence[Request], lora: Lora | None) -> list[Image.Image | None]:
        with memory_errors_translated(len(requests)):
            self.loras.use(lora)
            with torch.inference_mode():
                return self._draw(requests)

    def _try_sparingly(self, requests: Sequence[Request], lora: Lora | None) -> list[Image.Image | None]:
        """Everything that saves memory; it stays on when it helps, because what is to come is as large."""
        before, self.sparing = self.sparing, True
        spare_memory(self.pipe, True)
        try:
            return self._try(requests, lora)
        except MemoryError as error:
            self.sparing = before
            spare_memory(self.pipe, before)
            first = requests[0]
            raise MemoryError(
                f"a batch of 1, a picture of {first.width}x{first.height} at {first.dtype or 'float32'}, does not fit, "
                f"not even with attention in slices and the autoencoder in tiles; {memory_text(self.device)} beside "
                f"the model: {error.__cause__ or error}"
            ) from error

    def _draw(self, requests: Sequence[Request]) -> list[Image.Image | None]:
        """Requests whose prompts are equally long go through the model together; plain ones always are."""
        texts = [self.encode_pair(request) for request in requests]
        pictures: dict[int, Image.Image | None] = {}
        for length in dict.fromkeys(pair[0].shape[1] for pair in texts):
            places = [place for place, pair in enumerate(texts) if pair[0].shape[1] == length]
            drawn = self._draw_alike([requests[place] for place in places], [texts[place] for place in places])
            pictures.update(zip(places, drawn, strict=True))
        return [pictures[place] for place in range(len(requests))]

    def _draw_alike(self, requests: Sequence[Request], texts: Sequence[Pair]) -> list[Image.Image | None]:
        first = requests[0]
        self.pipe.scheduler = make_scheduler(first.scheduler, self.noise_schedule, first.extra.get("scheduler"))
        return [to_picture(decode(self.pipe, latent[None])) for latent in denoise(self.pipe, requests, texts)]

    def encode_pair(self, request: Request) -> Pair:
        """A request's prompt and negative, padded to the same length: embeddings and pooled of each."""
        weighted = request.extra.get("prompts") == "weighted"
        skip = request.extra.get("clip_skip", CLIP_SKIP)
        prompt, pooled = self.encode(request.prompt, weighted=weighted, clip_skip=skip)
        negative, negative_pooled = self.encode(request.negative, negative=True, weighted=weighted, clip_skip=skip)
        if prompt.shape != negative.shape:
            length = max(prompt.shape[1], negative.shape[1])
            empty, _ = self.encode("", weighted=weighted)
            nothing, _ = self.encode("", negative=not request.negative, weighted=weighted)
            prompt, negative = pad_windows(prompt, length, empty), pad_windows(negative, length, nothing)
        return prompt, pooled, negative, negative_pooled

    def encode(
        self, text: str, *, negative: bool = False, weighted: bool = False, clip_skip: int = CLIP_SKIP
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """A text's embeddings and pooled [1, p], computed once and alone: batches never matter.

        The embeddings are [1, window, d]; of a weighted text, which may be longer, [1, n * window, d].

        Args:
            clip_skip: which layer from the end is read; a weighted text knows only 2.

        Raises:
            ModelError: the text encoders have fewer layers.
        """
        if negative and not text and self.pipe.config.force_zeros_for_empty_prompt:
            embeds, pooled = self.encode(text, weighted=weighted, clip_skip=clip_skip)
            return torch.zeros_like(embeds), torch.zeros_like(pooled)
        key = (text, self.loras.in_prompts(), weighted, clip_skip)
        if key not in self._prompts:
            with torch.inference_mode():
                if weighted:
                    embeds, pooled = encode_weighted(self.pipe, text, self.device)
                else:
                    embeds, pooled = self._encode_plain(text, clip_skip)
            self._prompts[key] = (embeds, pooled)
            if len(self._prompts) > CACHED_PROMPTS:
                self._prompts.popitem(last=False)
        return self._prompts[key]

    def _encode_plain(self, text: str, clip_skip: int) -> tuple[torch.Tensor, torch.Tensor]:
        skipped = {} if clip_skip == CLIP_SKIP else {"clip_skip": clip_skip - CLIP_SKIP}  # diffusers counts from SDXL's
        layers = min(encoder.config.num_hidden_layers for encoder in (self.pipe.text_encoder, self.pipe.text_encoder_2))
        if clip_skip > layers:
            raise ModelError(f"clip_skip {clip_skip}: the text encoders have {layers} layers; choose 1 to {layers}")
        embeds, _, pooled, _ = self.pipe.encode_prompt(
            text, device=self.device, do_classifier_free_guidance=False, **skipped
        )
        return embeds, pooled

    def truncated(self, text: str) -> str:
        """The end of a prompt that lies beyond the text encoders' window; "" when all of it is read."""
        for tokenizer in filter(None, (self.pipe.tokenizer, self.pipe.tokenizer_2)):
            tokens = tokenizer(text).input_ids
            room = tokenizer.model_max_length - 1  # the last place belongs to the end mark
            if len(tokens) > room + 1:
                return str(tokenizer.decode(tokens[room:-1])).strip()
        return ""


def denoise(
    pipe: Any, requests: Sequence[Request], texts: Sequence[Pair], start: torch.Tensor | None = None
) -> torch.Tensor:
    """Latents [n, c, h, w] of requests that are alike in all but prompt, negative and seed.

    Args:
        pipe: a StableDiffusionXLPipeline with the requests' own scheduler; text encoders are not asked.
        texts: of each request, embeddings and pooled of the prompt and of the negative, all of one length.
        start: latents [n, c, h, w] to begin with, in units of the scheduler's first noise; None: noise of the seeds.
    """
    first = requests[0]
    chances = [torch.Generator("cpu").manual_seed(request.seed) for request in requests]
    prompts, pooled, negatives, negatives_pooled = (torch.cat(parts) for parts in zip(*texts, strict=True))
    if start is None:
        start = torch.cat([noise(pipe, *pair) for pair in zip(requests, chances, strict=True)])
    latents: torch.Tensor = pipe(
        prompt_embeds=prompts,
        pooled_prompt_embeds=pooled,
        negative_prompt_embeds=negatives,
        negative_pooled_prompt_embeds=negatives_pooled,
        latents=start,
        generator=chances,  # of each picture: a scheduler's later noise does not depend on batch mates either
        num_inference_steps=first.steps,
        guidance_scale=first.guidance,
        guidance_rescale=first.extra.get("guidance_rescale", 0.0),
        width=first.width,
        height=first.height,
        output_type="latent",
    ).images
    return latents


def noise(pipe: Any, request: Request, chance: torch.Generator) -> torch.Tensor:
    """The first latents [1, c, h, w] of one seed, from a CPU generator: alike in any batch and on any device."""
    factor = pipe.vae_scale_factor
    shape = (1, pipe.unet.config.in_channels, request.height // factor, request.width // factor)
    return torch.randn(shape, generator=chance)


def decode(pipe: Any, latents: torch.Tensor) -> torch.Tensor:
    """Latents [1, c, h, w] to a picture [3, 8 h, 8 w] in [0, 1]; alone, so that a batch costs no more memory."""
    vae = pipe.vae
    centre, spread = vae.config.get("latents_mean"), vae.config.get("latents_std")
    if centre is not None and spread is not None:
        centre, spread = (torch.tensor(each).view(1, -1, 1, 1).to(latents) for each in (centre, spread))
        latents = latents * spread / vae.config.scaling_factor + centre
    else:
        latents = latents / vae.config.scaling_factor
    drawn = vae.decode(latents.to(vae.dtype), return_dict=False)[0]
    return pipe.image_processor.postprocess(drawn, output_type="pt")[0]


def encode_picture(image: Image.Image, vae: Any) -> torch.Tensor:
    """A picture's latents [1, c, h / 8, w / 8] in the UNet's scale, on the CPU: the posterior's mean.

    Raises:
        ModelError: the autoencoder answers with NaN.
    """
    pixels = torch.from_numpy(np.asarray(image, dtype=np.float32).copy()).permute(2, 0, 1)[None] / 127.5 - 1
    with torch.no_grad():
        mean = vae.encode(pixels.to(vae.device, vae.dtype)).latent_dist.mean.float().cpu()
    centre, spread = vae.config.get("latents_mean"), vae.config.get("latents_std")
    if centre is not None and spread is not None:
        mean = (mean - torch.tensor(centre).view(1, -1, 1, 1)) / torch.tensor(spread).view(1, -1, 1, 1)
    latents: torch.Tensor = mean * vae.config.scaling_factor
    if not bool(torch.isfinite(latents).all()):
        raise ModelError("the autoencoder answers with NaN; SDXL's own one needs float32 or the fp16-fix version")
    return latents


def hold_latents_in_float32(unet: Any) -> tuple[Any, Any]:
    """Let a half-precision UNet be called with float32 latents and answer in float32.

    Otherwise the latents themselves are rounded to 8 bits after each of the steps, which shows in fine lines.

    Returns:
        two handles, of which `remove()` undoes it.
    """

    def before(module: Any, args: tuple[Any, ...], kwargs: dict[str, object]) -> Any:
        return (args[0].to(module.dtype), *args[1:]), kwargs

    def after(module: Any, args: tuple[Any, ...], output: Any) -> Any:
        return (output[0].float(), *output[1:]) if isinstance(output, tuple) else output

    return unet.register_forward_pre_hook(before, with_kwargs=True), unet.register_forward_hook(after)


def to_picture(tensor: torch.Tensor) -> Image.Image | None:
    """[3, h, w] in [0, 1] to RGB; None when it holds NaN or infinity."""
    if not bool(tensor.isfinite().all()):
        return None
    return Image.fromarray((tensor.permute(1, 2, 0).float().cpu().numpy() * 255).round().astype("uint8"))
