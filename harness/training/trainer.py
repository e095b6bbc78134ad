"""The loop: cached latents and embeddings in, a LoRA out; a killed run goes on where it was and ends the same.

Every draw of a step comes from a generator seeded with (seed, step), on the processor, so that a resumed run, and
the same run on another device, see the same pictures, noise and noise levels.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import EngineError, LoraError
from harness.models import load_options, locate_model, quiet_libraries, translated
from harness.references import set_hash
from harness.training.config import TrainConfig
from harness.training.data import (
    Picture,
    TrainingSet,
    free_memory,
    load_encoders,
    load_training_set,
    sampling_weights,
    train_pictures,
)
from harness.training.export import describe_lora, export_lora, read_tensors, write_tensors
from harness.values import Subject, digest, hash_file

if TYPE_CHECKING:
    import torch
    from torch import Tensor

STATE = "state.safetensors"
CURVE = 100  # points of a loss curve that travels into a report
CHECK_EVERY = 10  # steps between looks at the loss: each look makes a card wait
LINE_EVERY = 5.0  # seconds between two lines of progress

Say = Callable[[str], None]
"""Takes one line of progress; what it raises stops the training, which can be resumed."""


@dataclass(frozen=True)
class Trained:
    """What a training run leaves behind."""

    path: Path  # the LoRA after the last step
    checkpoints: tuple[Path, ...]  # LoRAs of earlier steps and the last, in order
    steps: int
    seconds: float  # of training, over all resumed parts
    losses: tuple[tuple[int, float], ...] = field(repr=False)  # (step, loss), thinned to a curve


def train(
    config: TrainConfig,
    subject: Subject,
    profile: Any,
    models: Any,
    out: Path,
    *,
    work: Path | None = None,
    start_from: Path | None = None,
    progress: Say | None = None,
    command: str = "",
) -> Trained:
    """Train a LoRA of `subject` on its train pictures and write it to `out`.

    Args:
        profile: says which base, autoencoder and size.
        models: knows the device, the dtype and the hash of the base.
        work: where the state of an unfinished run lies; a run with the same inputs goes on from it.
        start_from: a LoRA that this one continues; of the same rank and layers.
        command: what a person would type to get this file, for its metadata.

    Raises:
        ReferencesError, ModelError, LoraError: nothing to learn from, no base, a LoRA that does not fit.
        EngineError: the loss is no longer a number.
    """
    say = progress or (lambda line: None)
    pictures = train_pictures(subject)
    base = models.base_hash()
    record = {
        "config": config.to_record(),
        "pictures": [[hash_file(picture.path), picture.path.name, picture.caption] for picture in pictures],
        "base": base,
        "size": list(profile.size),
        "start": hash_file(start_from) if start_from else "",
    }
    work = work or out.parent / f"{out.stem}.work"
    metadata = describe_lora(
        config, subject, set_hash(picture.path for picture in pictures), base, profile.size, command
    )
    if start_from:
        metadata["harness.parent"] = record["start"]
    device, dtype = training_place(config, models)
    data, schedule = encode(pictures, config, subject, profile, models, dtype)
    say(f"encoded {len(pictures)} pictures")
    unet = open_unet(config, profile, models, dtype, start_from)
    run = Loop(config, data, unet, schedule, device, dtype, work, digest(record), metadata, say)
    return run.finish(out)


def training_place(config: TrainConfig, models: Any) -> tuple[str, torch.dtype]:
    """Device and dtype of the frozen base; float16 has no place in training without loss scaling."""
    import torch

    named = models.dtype if config.dtype == "auto" else config.dtype
    name = str(named).removeprefix("torch.")
    device = str(models.device)
    if name == "float16":
        name = "bfloat16" if device.startswith("cuda") else "float32"
    return device, {"bfloat16": torch.bfloat16, "float32": torch.float32}[name]


def encode(
    pictures: Sequence[Picture], config: TrainConfig, subject: Subject, profile: Any, models: Any, dtype: torch.dtype
) -> tuple[TrainingSet, Any]:
    """Pictures and captions as tensors, and the noise schedule; the encoders are freed on return."""
    from diffusers import DDPMScheduler

    encoders = load_encoders(profile, models, dtype)
    data = load_training_set(pictures, subject.trigger, config.class_word, profile.size, encoders, models.device)
    schedule = DDPMScheduler.from_config(encoders.scheduler.config)
    del encoders
    free_memory()
    return data, schedule


def open_unet(config: TrainConfig, profile: Any, models: Any, dtype: torch.dtype, start_from: Path | None) -> Any:
    """The base's UNet with a fresh float32 LoRA, or with the one to be continued."""
    import torch
    from diffusers import UNet2DConditionModel

    folder = locate_model(profile.models.base, models.root, profile.name)
    options = load_options(folder)
    with quiet_libraries(), translated(profile.models.base):
        unet = UNet2DConditionModel.from_pretrained(folder, subfolder="unet", torch_dtype=dtype, **options)
    unet.to(models.device, memory_format=torch.channels_last)
    add_lora(unet, config)
    if start_from:
        load_weights(unet, start_from)
    if config.gradient_checkpointing:
        unet.enable_gradient_checkpointing()
    return unet


def add_lora(unet: Any, config: TrainConfig) -> None:
    """A float32 LoRA that does nothing yet; its first values follow from the seed alone."""
    import torch
    from diffusers.training_utils import cast_training_params
    from peft import LoraConfig

    unet.requires_grad_(False)
    unet.add_adapter(LoraConfig(r=config.rank, lora_alpha=config.alpha, target_modules=list(config.target_modules)))
    cast_training_params(unet, dtype=torch.float32)
    # an own generator: the global one belongs to whoever draws pictures beside us
    generator = torch.Generator().manual_seed(config.seed)
    for name, weight in sorted(trained_weights(unet).items()):
        if "lora_A" in name:
            first = torch.randn(weight.shape, generator=generator) / config.rank
            weight.data.copy_(first)


def trained_weights(unet: Any) -> dict[str, Any]:
    """The parameters that learn, by name."""
    return {name: weight for name, weight in unet.named_parameters() if weight.requires_grad}


def load_weights(unet: Any, path: Path) -> None:
    """Put a LoRA of ours into the adapter. Raises LoraError when ranks, layers or names differ."""
    from peft import get_peft_model_state_dict, set_peft_model_state_dict
    from safetensors.torch import load_file

    tensors = {name.removeprefix("unet."): tensor.float() for name, tensor in load_file(path).items()}
    wanted = {name: tuple(tensor.shape) for name, tensor in get_peft_model_state_dict(unet).items()}
    if {name: tuple(tensor.shape) for name, tensor in tensors.items()} != wanted:
        raise LoraError(f"{path}: cannot be continued: its rank or its layers differ from the configuration's")
    set_peft_model_state_dict(unet, tensors)


@dataclass(frozen=True)
class Draw:
    """What chance decides in one step."""

    rows: Tensor  # (batch,) of the training set
    noise: Tensor  # like the latents
    times: Tensor  # (batch,) noise levels, 0 to the schedule's length
    unsaid: Tensor  # (batch,) bool: seen without a caption


def draw(config: TrainConfig, step: int, data: TrainingSet, levels: int) -> Draw:
    """All chance of one step, from (seed, step) alone."""
    import torch

    generator = torch.Generator().manual_seed(int(digest([config.seed, step])[:15], 16))
    weights = torch.tensor(sampling_weights(data.names, config.sampling), dtype=torch.float64)
    rows = torch.multinomial(weights, config.batch, replacement=True, generator=generator)
    noise = torch.randn((config.batch, *data.latents.shape[1:]), generator=generator)
    if config.noise_offset:
        noise = noise + config.noise_offset * torch.randn((*noise.shape[:2], 1, 1), generator=generator)
    times = torch.randint(levels, (config.batch,), generator=generator)
    unsaid = torch.rand(config.batch, generator=generator) < config.caption_dropout
    return Draw(rows, noise, times, unsaid)


def learning_rate_at(step: int, config: TrainConfig) -> float:
    """Linear warm-up, then a cosine that reaches zero just after the last step."""
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    progress = (step - config.warmup) / max(1, config.steps - config.warmup)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))


def is_prior(step: int, config: TrainConfig) -> bool:
    """Whether this step pulls towards the base instead of the pictures."""
    return config.prior_weight > 0 and step % config.prior_every == config.prior_every - 1


def snr_weights(schedule: Any, times: Tensor, gamma: float) -> Tensor:
    """Min-SNR weights, (batch,): min(snr, gamma) over what the prediction type already carries."""
    import torch
    from diffusers.training_utils import compute_snr

    snr = compute_snr(schedule, times)
    if gamma <= 0:
        return torch.ones_like(snr)
    kept = torch.clamp(snr, max=gamma)
    carried = snr + 1 if schedule.config.prediction_type == "v_prediction" else snr.clamp(min=1e-8)
    weights: Tensor = kept / carried
    return weights


class Loop:
    """One run: the place where configuration, pictures, UNet and work folder meet."""

    def __init__(
        self,
        config: TrainConfig,
        data: TrainingSet,
        unet: Any,
        schedule: Any,
        device: str,
        dtype: torch.dtype,
        work: Path,
        identity: str,  # of everything that decides the weights; a state of another identity is not ours
        metadata: Mapping[str, str],
        say: Say = lambda line: None,
    ) -> None:
        import torch

        self.config, self.data, self.unet, self.schedule = config, data, unet, schedule
        self.device, self.dtype, self.work = device, dtype, work
        self.identity, self.metadata, self.say = identity, dict(metadata), say
        self.weights = trained_weights(unet)
        self.optimizer = torch.optim.AdamW(self.weights.values(), lr=config.learning_rate, weight_decay=1e-2)
        self.losses: list[float] = []
        self.seconds = 0.0

    def finish(self, out: Path) -> Trained:
        """Train whatever is left to do, then write the LoRA to `out`."""
        done = self.resume()
        self.unet.train()
        began = said = time.monotonic()
        fresh: list[Tensor] = []
        for step in range(done, self.config.steps):
            fresh.append(self.step(step))
            last = step + 1 == self.config.steps
            due = last or (step + 1) % self.config.checkpoint_every == 0
            late = time.monotonic() - said > LINE_EVERY
            if due or late or len(fresh) >= CHECK_EVERY:
                self.take(fresh, step)
            if last or late:
                self.tell(step + 1, (time.monotonic() - began) / (step + 1 - done))
                said = time.monotonic()
            if due:
                self.seconds += time.monotonic() - began
                began, done = time.monotonic(), step + 1
                self.keep(step + 1)
        final = self.work / checkpoint_name(self.config.steps)
        write_tensors(out, *read_tensors(final))
        kept = tuple(sorted(self.work.glob("step-*.safetensors")))
        return Trained(out, kept, self.config.steps, self.seconds, curve(self.losses))

    def step(self, step: int) -> Tensor:
        """One update; the loss before it."""
        import torch

        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate_at(step, self.config)
        chance = draw(self.config, step, self.data, self.schedule.config.num_train_timesteps)
        with self.autocast():
            loss = self.loss(chance, is_prior(step, self.config))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.weights.values(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    def autocast(self) -> AbstractContextManager[Any]:
        """The base in its own dtype, the LoRA's weights in float32."""
        import torch

        if self.dtype is torch.float32:
            return nullcontext()
        return torch.autocast(torch.device(self.device).type, self.dtype)

    def loss(self, chance: Draw, prior: bool) -> Tensor:
        """Min-SNR weighted error of the prediction: against the noise, or in a prior step against the base's own."""
        import torch

        latents = self.data.latents[chance.rows]
        noisy = self.schedule.add_noise(latents, chance.noise, chance.times)
        texts = [(self.data.priors if prior else self.data.captions)[row] for row in chance.rows.tolist()]
        texts = [self.data.nothing if drop else text for text, drop in zip(texts, chance.unsaid.tolist(), strict=True)]
        inputs = [noisy, torch.stack([text.tokens for text in texts]), torch.stack([text.pooled for text in texts])]
        inputs.append(self.data.time_ids[chance.rows])
        where = [tensor.to(self.device, self.dtype) for tensor in inputs]
        times = chance.times.to(self.device)
        if prior:
            with torch.no_grad(), without_lora(self.unet):
                target = self.predict(times, *where).float()
        elif self.schedule.config.prediction_type == "v_prediction":
            target = self.schedule.get_velocity(latents, chance.noise, chance.times).to(self.device)
        else:
            target = chance.noise.to(self.device)
        error = (self.predict(times, *where).float() - target).square().mean(dim=(1, 2, 3))
        weights = snr_weights(self.schedule, chance.times, self.config.snr_gamma).to(self.device)
        return (error * weights).mean() * (self.config.prior_weight if prior else 1.0)

    def predict(self, times: Tensor, noisy: Tensor, tokens: Tensor, pooled: Tensor, ids: Tensor) -> Any:
        import torch

        condition = {"text_embeds": pooled, "time_ids": ids}
        noisy = noisy.contiguous(memory_format=torch.channels_last)
        return self.unet(noisy, times, tokens, added_cond_kwargs=condition, return_dict=False)[0]

    def take(self, fresh: list[Tensor], step: int) -> None:
        """Move losses to the record; a loss that is not finite ends the run before it can be saved."""
        import torch

        values = torch.stack(fresh).float().cpu().tolist()
        fresh.clear()
        if not all(math.isfinite(value) for value in values):
            rate = f"learning_rate {self.config.learning_rate:g} is too high"
            raise EngineError(f"training: the loss is not a number at step {step + 1}; {rate}")
        self.losses += values

    def tell(self, done: int, seconds: float) -> None:
        """One line of progress; `seconds` a step."""
        recent = self.losses[-CURVE // 4 :]
        loss = sum(recent) / len(recent)
        left = (self.config.steps - done) * seconds
        self.say(f"training {done}/{self.config.steps}  loss {loss:.4f}  {seconds:.2f} s a step  {left:.0f} s left")

    def keep(self, step: int) -> None:
        """Write the LoRA of this step, then the state: a state never promises a LoRA that is not there."""
        facts = {**self.metadata, "harness.steps": str(step), "harness.seconds": f"{self.seconds:.1f}"}
        export_lora(self.unet, self.work / checkpoint_name(step), facts)
        tensors = {f"lora.{name}": weight.detach() for name, weight in self.weights.items()}
        for name, weight in self.weights.items():
            moments = self.optimizer.state[weight]
            tensors |= {f"{key}.{name}": value for key, value in moments.items()}
        facts = {"identity": self.identity, "step": str(step), "seconds": str(self.seconds)}
        write_tensors(self.work / STATE, tensors, {**facts, "losses": json.dumps(self.losses)})

    def resume(self) -> int:
        """Take up the state of an unfinished run of the same identity; how many steps are done."""
        import torch

        path = self.work / STATE
        found = read_tensors(path) if path.exists() else ({}, {})
        if found[1].get("identity") != self.identity:
            for stale in self.work.glob("*.safetensors"):
                stale.unlink()
            return 0
        tensors, facts = found
        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(tensors[f"lora.{name}"])
                keys = ("exp_avg", "exp_avg_sq")
                moments = {key: tensors[f"{key}.{name}"].to(weight.device) for key in keys}
                self.optimizer.state[weight] = {"step": tensors[f"step.{name}"], **moments}
        self.losses, self.seconds = json.loads(facts["losses"]), float(facts["seconds"])
        self.say(f"resumed at step {facts['step']}")
        return int(facts["step"])


@contextmanager
def without_lora(unet: Any) -> Iterator[None]:
    """The base alone, inside the block."""
    unet.disable_adapters()
    try:
        yield
    finally:
        unet.enable_adapters()


def checkpoint_name(step: int) -> str:
    return f"step-{step:06d}.safetensors"


def curve(losses: Sequence[float], points: int = CURVE) -> tuple[tuple[int, float], ...]:
    """A loss curve of at most `points` points: (last step, mean) of equal stretches."""
    stretch = max(1, math.ceil(len(losses) / points))
    parts = [losses[first : first + stretch] for first in range(0, len(losses), stretch)]
    ends = [min(len(losses), (index + 1) * stretch) for index in range(len(parts))]
    return tuple((end, round(sum(part) / len(part), 6)) for end, part in zip(ends, parts, strict=True))
