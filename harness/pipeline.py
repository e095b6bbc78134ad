"""The one diffusion pipeline of a run: prompts encoded once, LoRAs swapped in place, pictures drawn in batches."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import LoraError, ModelError, UsageError, nearest
from harness.lora import check_fit, complain, read_weights
from harness.models import hash_once, quiet_libraries
from harness.prompting.weighted import encode_weighted, pad_windows
from harness.values import Lora, Request

if TYPE_CHECKING:
    import torch
    from PIL import Image

    Pair = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]  # embeddings, pooled; the negative's

RESIDENT_LORAS = 4  # kept in memory side by side; the one unused for longest goes first
CACHED_PROMPTS = 4096
PARTS = ("unet", "text_encoder", "text_encoder_2")


def euler(config: Mapping[str, Any]) -> Any:
    from diffusers import EulerDiscreteScheduler

    return EulerDiscreteScheduler.from_config(config)


def dpmpp_2m(config: Mapping[str, Any]) -> Any:
    from diffusers import DPMSolverMultistepScheduler

    return DPMSolverMultistepScheduler.from_config(config, algorithm_type="dpmsolver++", solver_order=2)


def dpmpp_2m_karras(config: Mapping[str, Any]) -> Any:
    from diffusers import DPMSolverMultistepScheduler

    options = {"algorithm_type": "dpmsolver++", "solver_order": 2, "use_karras_sigmas": True}
    return DPMSolverMultistepScheduler.from_config(config, **options)


def ddim(config: Mapping[str, Any]) -> Any:
    from diffusers import DDIMScheduler

    return DDIMScheduler.from_config(config)


SCHEDULERS: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "ddim": ddim,
    "dpmpp_2m": dpmpp_2m,
    "dpmpp_2m_karras": dpmpp_2m_karras,
    "euler": euler,
}
"""A profile's `scheduler` to a fresh one with the checkpoint's own noise schedule; all of them deterministic."""


class LocalPipeline:
    """A StableDiffusionXLPipeline with its prompt cache and its resident LoRAs; one thread draws at a time."""

    def __init__(self, pipe: Any, device: str) -> None:
        self.pipe, self.device = pipe, device
        self.lock = threading.RLock()  # whoever else uses `pipe` (training, say) holds it meanwhile
        self._prompts: OrderedDict[tuple[str, str, bool], Any] = OrderedDict()
        self._loras: OrderedDict[str, dict[str, set[str]]] = OrderedDict()  # adapter to the modules it changes
        self._natural: dict[tuple[str, int], float] = {}  # a layer's own scaling (alpha / rank), by adapter
        pipe.set_progress_bar_config(disable=True)
        pipe.vae.enable_slicing()  # one picture at a time: a batch costs no more memory to decode than a picture
        self._noise_schedule = dict(pipe.scheduler.config)  # the checkpoint's, before any other scheduler's options
        self._active = ""  # adapter@strength now in force
        hold_latents_in_float32(pipe.unet)

    def draw(self, requests: Sequence[Request], lora: Lora | None = None) -> list[Image.Image | None]:
        """One batch of pictures, alike in all but prompt, negative and seed; None where the model produced NaN.

        Raises:
            LoraError: the file does not fit the model.
            MemoryError: too little memory for a batch of this size.
        """
        import torch

        with self.lock, quiet_libraries(), memory_errors_translated(len(requests)):
            self.use_lora(lora)
            with torch.inference_mode():
                return self._draw(requests)

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
        import torch

        first = requests[0]
        self.pipe.scheduler = make_scheduler(first.scheduler, self._noise_schedule)
        prompts, pooled, negatives, negatives_pooled = (torch.cat(parts) for parts in zip(*texts, strict=True))
        pictures = self.pipe(
            prompt_embeds=prompts,
            pooled_prompt_embeds=pooled,
            negative_prompt_embeds=negatives,
            negative_pooled_prompt_embeds=negatives_pooled,
            latents=torch.cat([self.noise(request) for request in requests]),
            num_inference_steps=first.steps,
            guidance_scale=first.guidance,
            width=first.width,
            height=first.height,
            output_type="pt",
        ).images
        return [to_picture(picture) for picture in pictures]

    def noise(self, request: Request) -> torch.Tensor:
        """The first latents [1, c, h, w] of one seed, from a CPU generator: alike in any batch and on any device."""
        import torch

        factor = self.pipe.vae_scale_factor
        shape = (1, self.pipe.unet.config.in_channels, request.height // factor, request.width // factor)
        return torch.randn(shape, generator=torch.Generator("cpu").manual_seed(request.seed))

    def encode_pair(self, request: Request) -> Pair:
        """A request's prompt and negative, padded to the same length: embeddings and pooled of each."""
        weighted = request.extra.get("prompts") == "weighted"
        prompt, pooled = self.encode(request.prompt, weighted=weighted)
        negative, negative_pooled = self.encode(request.negative, negative=True, weighted=weighted)
        if prompt.shape != negative.shape:
            length = max(prompt.shape[1], negative.shape[1])
            empty, _ = self.encode("", weighted=weighted)
            nothing, _ = self.encode("", negative=not request.negative, weighted=weighted)
            prompt, negative = pad_windows(prompt, length, empty), pad_windows(negative, length, nothing)
        return prompt, pooled, negative, negative_pooled

    def encode(self, text: str, *, negative: bool = False, weighted: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        """A text's embeddings and pooled [1, p], computed once and alone: batches never matter.

        The embeddings are [1, window, d]; of a weighted text, which may be longer, [1, n * window, d].
        """
        import torch

        if negative and not text and self.pipe.config.force_zeros_for_empty_prompt:
            embeds, pooled = self.encode(text, weighted=weighted)
            return torch.zeros_like(embeds), torch.zeros_like(pooled)
        key = (text, self._text_lora(), weighted)
        if key not in self._prompts:
            with torch.inference_mode():
                if weighted:
                    embeds, pooled = encode_weighted(self.pipe, text, self.device)
                else:
                    embeds, _, pooled, _ = self.pipe.encode_prompt(
                        text, device=self.device, do_classifier_free_guidance=False
                    )
            self._prompts[key] = (embeds, pooled)
            if len(self._prompts) > CACHED_PROMPTS:
                self._prompts.popitem(last=False)
        found: tuple[torch.Tensor, torch.Tensor] = self._prompts[key]
        return found

    def truncated(self, text: str) -> str:
        """The end of a prompt that lies beyond the text encoders' window; "" when all of it is read."""
        for tokenizer in filter(None, (self.pipe.tokenizer, self.pipe.tokenizer_2)):
            tokens = tokenizer(text).input_ids
            room = tokenizer.model_max_length - 1  # the last place belongs to the end mark
            if len(tokens) > room + 1:
                return str(tokenizer.decode(tokens[room:-1])).strip()
        return ""

    # --- LoRA -------------------------------------------------------------------------------------------------------

    def use_lora(self, lora: Lora | None) -> None:
        """Draw with this LoRA from now on; None or strength 0 switches every LoRA off: bit for bit the base."""
        if lora is None or lora.strength == 0:
            self._active = ""
            for layer in self._layers():
                layer.enable_adapters(False)
            return
        name = self._load(lora.path)
        for layer in self._layers():
            layer.enable_adapters(True)
            layer.set_adapter([name])  # a layer without this adapter passes its input to the base
            if name in layer.scaling:
                layer.scaling[name] = lora.strength * self._natural.setdefault((name, id(layer)), layer.scaling[name])
        self._active = f"{name}@{lora.strength}"

    def _text_lora(self) -> str:
        """What of the LoRA reaches the prompts' embeddings: nothing, unless it trained a text encoder."""
        modules = self._loras.get(self._active.partition("@")[0], {})
        return self._active if set(modules) - {"unet"} else ""

    def _layers(self) -> Iterator[Any]:
        from peft.tuners.tuners_utils import BaseTunerLayer

        for part in PARTS:
            for module in getattr(self.pipe, part).modules():
                if isinstance(module, BaseTunerLayer):
                    yield module

    def _load(self, path: Path) -> str:
        """Bring a LoRA into memory unless it is there; the adapter's name comes from the file's content."""
        name = f"lora_{hash_once(path)[:24]}"
        if name in self._loras:
            self._loras.move_to_end(name)
            return name
        while len(self._loras) >= RESIDENT_LORAS:
            self._unload(next(iter(self._loras)))
        weights = read_weights(path)
        instead = self._mended(path, weights)
        modules = self._check(path, instead or weights)
        try:
            if instead is not None:
                self.pipe.load_lora_weights(instead, adapter_name=name)
            else:  # the file itself, because its metadata say the alpha
                self.pipe.load_lora_weights(
                    str(path.parent), weight_name=path.name, adapter_name=name, local_files_only=True
                )
        except (ValueError, RuntimeError, KeyError, OSError) as error:
            self._unload(name)
            raise LoraError(f"LoRA {path}: {error}") from error
        self._loras[name] = modules
        self._confirm(path, name, modules)
        return name

    @staticmethod
    def _mended(path: Path, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor] | None:
        """Tensors in place of a kohya file that diffusers would read wrongly: several alphas, or DoRA's norms."""
        if not any(key.startswith("lora_") for key in weights):
            return None
        from harness.loras.convert import load_instead
        from harness.loras.file import read_lora

        return load_instead(read_lora(path))

    def _check(self, path: Path, weights: Mapping[str, torch.Tensor]) -> dict[str, set[str]]:
        """Hold every key of the file against the model before anything is changed."""
        from diffusers.utils import convert_state_dict_to_peft, convert_unet_state_dict_to_peft

        try:
            named = self.pipe.lora_state_dict(weights, unet_config=self.pipe.unet.config)[0]
        except (ValueError, KeyError, IndexError, AttributeError) as error:
            raise LoraError(f"LoRA {path}: its keys are of no known kind ({error})") from error
        renamed: dict[str, torch.Tensor] = {}
        for part in PARTS:
            own = {key: value for key, value in named.items() if key.startswith(f"{part}.")}
            old = own and not any(".lora_A." in key for key in own)
            convert = convert_unet_state_dict_to_peft if part == "unet" else convert_state_dict_to_peft
            renamed.update(convert(own) if old else own)
        strangers = [key for key in named if not key.startswith(tuple(f"{part}." for part in PARTS))]
        complain(path, extra=strangers, missing=[], misshapen=[])
        return check_fit(path, renamed, {part: getattr(self.pipe, part) for part in PARTS})

    def _confirm(self, path: Path, name: str, modules: Mapping[str, set[str]]) -> None:
        """Every module that got an adapter must have got it from the file: the rest would be random or nothing."""
        missing, extra = [], []
        for part in PARTS:
            loaded = {
                key for key, module in getattr(self.pipe, part).named_modules() if name in getattr(module, "lora_A", ())
            }
            missing += [f"{part}.{key}" for key in loaded - modules.get(part, set())]
            extra += [f"{part}.{key}" for key in modules.get(part, set()) - loaded]
        try:
            complain(path, extra=extra, missing=missing, misshapen=[])
        except LoraError:
            self._unload(name)
            raise

    def _unload(self, name: str) -> None:
        """Forget a LoRA, wholly."""
        self._loras.pop(name, None)
        self._natural = {key: value for key, value in self._natural.items() if key[0] != name}
        for part in PARTS:
            model = getattr(self.pipe, part)
            if name in getattr(model, "peft_config", {}):
                model.delete_adapters(name) if part == "unet" else model.delete_adapter(name)


def make_scheduler(name: str, config: Mapping[str, Any]) -> Any:
    """A fresh scheduler: they keep state from one drawing to the next."""
    if name not in SCHEDULERS:
        raise UsageError(f"no scheduler called {name!r}; {nearest(name, SCHEDULERS)}")
    return SCHEDULERS[name](config)


def hold_latents_in_float32(unet: Any) -> None:
    """Let a half-precision UNet be called with float32 latents and answer in float32.

    Otherwise the latents themselves are rounded to 8 bits after each of the steps, which shows in fine lines.
    """

    def before(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return (args[0].to(module.dtype), *args[1:]), kwargs

    def after(module: Any, args: tuple[Any, ...], output: Any) -> Any:
        return (output[0].float(), *output[1:]) if isinstance(output, tuple) else output

    unet.register_forward_pre_hook(before, with_kwargs=True)
    unet.register_forward_hook(after)


def to_picture(tensor: torch.Tensor) -> Image.Image | None:
    """[3, h, w] in [0, 1] to RGB; None when it holds NaN or infinity."""
    from PIL import Image

    if not bool(tensor.isfinite().all()):
        return None
    return Image.fromarray((tensor.permute(1, 2, 0).float().cpu().numpy() * 255).round().astype("uint8"))


@contextmanager
def memory_errors_translated(batch: int) -> Iterator[None]:
    """Every backend's own way of saying "out of memory" becomes MemoryError; the engine then halves the batch."""
    import torch

    try:
        yield
    except torch.OutOfMemoryError as error:
        torch.cuda.empty_cache()
        raise MemoryError(f"a batch of {batch} does not fit into the GPU: {error}") from error
    except RuntimeError as error:
        said = str(error).lower()
        if "out of memory" in said or "can't allocate memory" in said or "not enough memory" in said:
            raise MemoryError(f"a batch of {batch} does not fit into memory: {error}") from error
        raise ModelError(f"the model could not draw a batch of {batch}: {error}") from error
