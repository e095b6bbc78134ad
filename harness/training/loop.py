"""The loop: cached latents and captions in, a LoRA out; a killed run goes on where it was and ends the same."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harness.core.errors import EngineError
from harness.models.lora.export import export_lora, read_tensors, write_tensors
from harness.models.lora.train_config import TrainConfig
from harness.training.adapter import all_trained, trained_weights, without_lora
from harness.training.batch_sampling import StepSample, draw, look
from harness.training.data import TrainingSet
from harness.training.distributed import ProcessGroup
from harness.training.ema import EmaWeights
from harness.training.losses import picture_error, snr_weights, true_target
from harness.training.optimizers import make_optimizer, set_rates
from harness.training.prompt_encoding import PromptEncoder
from harness.training.sampling import Sampler
from harness.training.state import Parts, load_state, save_state
from harness.training.validation import held_out_loss

CURVE = 100  # points of a loss curve that travels into a report
CHECK_EVERY = 10  # steps between looks at the loss: each look makes a card wait
LINE_EVERY = 5.0  # seconds between two lines of progress
SMALL = 1024  # places of a latent picture up to which plain attention is affordable
GRAPHS = 64  # shapes and modes that torch.compile may keep: buckets, with the LoRA and without it

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
    validation: tuple[tuple[int, float], ...] = field(default=(), repr=False)  # (step, held-out loss)


@dataclass(frozen=True)
class Setup:
    """All that a loop works with."""

    config: TrainConfig
    data: TrainingSet
    texts: PromptEncoder
    models: Mapping[str, Any]  # part to the model whose LoRA learns; `unet` is always there
    schedule: Any  # DDPMScheduler with the base's noise levels
    dtype: torch.dtype  # of the frozen base
    work: Path
    identity: str  # of everything that decides the weights; a state of another identity is not ours
    metadata: Mapping[str, str]
    processes: ProcessGroup = field(default_factory=ProcessGroup)
    say: Say = lambda line: None
    sampler: Sampler | None = None  # of the process that leads, where samples are asked for

    @property
    def device(self) -> str:
        return self.processes.device


class Loop:
    """One run: the place where configuration, pictures, models and work folder meet."""

    def __init__(self, setup: Setup) -> None:
        self.setup, self.config, self.data, self.processes = setup, setup.config, setup.data, setup.processes
        self.models, self.schedule, self.device = dict(setup.models), setup.schedule, setup.device
        self.unet = self.models["unet"]
        self.weights = all_trained(self.models)
        text = [w for part, model in self.models.items() if part != "unet" for w in trained_weights(model).values()]
        optimizer = make_optimizer(self.config, list(trained_weights(self.unet).values()), text, self.device)
        scaler = torch.amp.GradScaler(self.device.partition(":")[0], enabled=setup.dtype is torch.float16)
        self.average = EmaWeights(self.weights, self.config.ema)
        self.state = Parts(self.weights, self.average.mean, optimizer, scaler)
        self.forward: Any = torch.compile(self.unet, recompile_limit=GRAPHS) if self.config.compile else self.unet

    def finish(self, out: Path) -> Trained:
        """Train whatever is left to do, then write the LoRA to `out`."""
        state, config, done = self.state, self.config, self.resume()
        began = text = time.monotonic()
        first, fresh = done, list[Any]()
        for step in range(done, config.steps):
            fresh.append(self.step(step))
            last = step + 1 == config.steps
            due = last or (step + 1) % config.checkpoint_every == 0
            late = time.monotonic() - text > LINE_EVERY
            if due or late or len(fresh) >= CHECK_EVERY:
                self.take(fresh, step)
            if self.data.held_out and config.validate_every and (last or (step + 1) % config.validate_every == 0):
                state.validation.append((step + 1, self.validate()))
            pace = (time.monotonic() - began) / (step + 1 - first)  # before samples are drawn and files are written
            if (sampler := self.setup.sampler) and sampler.due(step + 1, last):
                began += self.show(sampler, step + 1)
            if due:
                state.seconds += time.monotonic() - began
                began, first = time.monotonic(), step + 1
                self.keep(step + 1)
            if due or late:  # whoever is told and stops the training finds what was kept
                self.tell(step + 1, pace)
                text = time.monotonic()
        if self.processes.leads:
            write_tensors(out, *read_tensors(self.setup.work / checkpoint_name(config.steps)))
        self.processes.wait()
        kept = tuple(sorted(self.setup.work.glob("step-*.safetensors")))
        return Trained(out, kept, config.steps, state.seconds, curve(state.losses), tuple(state.validation))

    def step(self, step: int) -> Tensor:
        """One update; the loss before it, of this process's pictures."""
        config, scaler = self.config, self.state.scaler
        set_rates(self.state.optimizer, step, config)
        levels = self.schedule.config.num_train_timesteps
        chance = draw(config, step, self.data, levels, self.processes.size)
        chance = chance.part(self.processes.rank * config.samples, config.samples)
        losses = []
        for place in range(config.accumulate):
            with self.autocast():
                loss = self.loss(chance.part(place * config.batch, config.batch))
            scaler.scale(loss / config.accumulate).backward()
            losses.append(loss.detach())
        self.update(step)
        return torch.stack(losses).mean()

    def update(self, step: int) -> None:
        """Move the weights along the gradients of all passes and processes."""
        optimizer, scaler, weights = self.state.optimizer, self.state.scaler, list(self.weights.values())
        self.processes.average(weight.grad for weight in weights)
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(weights, self.config.clip_norm)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
        self.average.update(step)

    def autocast(self) -> AbstractContextManager[Any]:
        """The base in its own dtype, the LoRA's weights in float32."""
        if self.setup.dtype is torch.float32:
            return nullcontext()
        stack = ExitStack()
        if self.device == "cpu" and all(item.shape[1] * item.shape[2] <= SMALL for item in self.data.items):
            # PyTorch's fused attention is slower than the plain one there: 6 ms against 1 for 36 places in bfloat16
            stack.enter_context(torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH))
        stack.enter_context(torch.autocast(torch.device(self.device).type, self.setup.dtype))
        return stack

    def loss(self, chance: StepSample) -> Tensor:
        """Min-SNR weighted error of the prediction: against the truth, or in a prior step against the base's own."""
        seen = look(self.data, chance)
        noisy = self.schedule.add_noise(seen.latents, chance.noise, chance.times)
        inputs = (noisy, chance.times, seen.texts, seen.ids)
        if chance.prior:
            with torch.no_grad(), without_lora(*self.models.values()):
                target = self.predict(*inputs).float()
        else:
            target = true_target(self.schedule, seen.latents, chance.noise, chance.times).to(self.device)
        masks = None if seen.masks is None else seen.masks.to(self.device)
        errors = picture_error(self.predict(*inputs), target, masks)
        weights = snr_weights(self.schedule, chance.times, self.config.snr_gamma).to(self.device)
        return (errors * weights).mean() * (self.config.prior_weight if chance.prior else 1.0)

    def predict(self, noisy: Tensor, times: Tensor, texts: Sequence[str | None], ids: Tensor) -> Any:
        """What the UNet says of noisy latents, on the loop's device and in its dtype."""
        tokens, pooled = self.setup.texts.read(texts)
        noisy, tokens, pooled, ids = (
            tensor.to(self.device, self.setup.dtype) for tensor in (noisy, tokens, pooled, ids)
        )
        if self.config.channels_last and self.device != "cpu":
            noisy = noisy.contiguous(memory_format=torch.channels_last)
        condition = {"text_embeds": pooled, "time_ids": ids}
        return self.forward(noisy, times.to(self.device), tokens, added_cond_kwargs=condition, return_dict=False)[0]

    def validate(self) -> float:
        """The held-out loss of the weights that would be saved now."""
        with self.average.in_place(), self.autocast():
            return round(held_out_loss(self.data.held_out, self.schedule, self.predict), 7)

    def show(self, sampler: Sampler, step: int) -> float:
        """Sample pictures of the weights that would be saved now; the seconds they took, which are no training."""
        began = time.monotonic()
        with self.average.in_place():
            line = sampler.show(step, self.setup.dtype, self.autocast)
        self.setup.say(line)
        return time.monotonic() - began

    # --- the record -------------------------------------------------------------------------------------------------

    def take(self, fresh: list[Any], step: int) -> None:
        """Move losses to the record; a loss that is not finite ends the run before it can be saved."""
        values = torch.stack(fresh).float().cpu().tolist()
        fresh.clear()
        if not all(math.isfinite(value) for value in values):
            rate = f"learning_rate {self.config.learning_rate:g} is too high"
            raise EngineError(f"training: the loss is not a number at step {step + 1}; {rate}")
        self.state.losses += values

    def tell(self, done: int, seconds: float) -> None:
        """One line of progress; `seconds` a step."""
        recent = self.state.losses[-CURVE // 4 :]
        loss = sum(recent) / len(recent)
        left = (self.config.steps - done) * seconds
        held_out = f"  held-out {self.state.validation[-1][1]:.4f}" if self.state.validation else ""
        pace = f"{seconds:.2f} s a step  {left:.0f} s left"
        self.setup.say(f"training {done}/{self.config.steps}  loss {loss:.4f}{held_out}  {pace}")

    def keep(self, step: int) -> None:
        """Write the LoRA of this step, then the state: a state never promises a LoRA that is not there."""
        if self.processes.leads:
            facts = {**self.setup.metadata, "harness.steps": str(step), "harness.seconds": f"{self.state.seconds:.1f}"}
            if self.state.validation:
                facts["harness.held_out_loss"] = f"{self.state.validation[-1][1]:.6f}"
            with self.average.in_place():
                export_lora(self.models, self.setup.work / checkpoint_name(step), facts)
            save_state(self.setup.work, self.setup.identity, step, self.state)
        self.processes.wait()

    def resume(self) -> int:
        """Take up the state of an unfinished run of the same identity; how many steps are done."""
        done = load_state(self.setup.work, self.setup.identity, self.state)
        self.processes.wait()
        if done:
            self.setup.say(f"resumed at step {done}")
        elif self.processes.leads:
            for stale in self.setup.work.glob("*.safetensors"):
                stale.unlink()
        if self.setup.sampler:
            self.setup.sampler.begin(done)
        self.processes.wait()
        return done


def checkpoint_name(step: int) -> str:
    return f"step-{step:06d}.safetensors"


def curve(losses: Sequence[float], points: int = CURVE) -> tuple[tuple[int, float], ...]:
    """A loss curve of at most `points` points: (last step, mean) of equal stretches."""
    stretch = max(1, math.ceil(len(losses) / points))
    parts = [losses[first : first + stretch] for first in range(0, len(losses), stretch)]
    ends = [min(len(losses), (index + 1) * stretch) for index in range(len(parts))]
    return tuple((end, round(sum(part) / len(part), 6)) for end, part in zip(ends, parts, strict=True))
