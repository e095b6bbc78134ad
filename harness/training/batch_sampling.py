"""All that chance decides in a step, from (seed, step) alone and on the processor.

So a resumed run, another device and any number of devices see the same pictures, noise and noise levels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from harness.core.values import digest
from harness.models.lora.train_config import TrainConfig
from harness.training.data import Item, TrainingSet, sampling_weights


@dataclass(frozen=True)
class StepSample:
    """What chance decides in one step; n is the pictures of all passes and devices together."""

    prior: bool  # whether it pulls towards the base instead of the pictures
    rows: Tensor  # (n,) of the pictures, all of one shape
    views: Tensor  # (n,) in [0, 1): which view of each
    words: Tensor  # (n,) in [0, 1): which of the texts
    noise: Tensor  # (n, channels, height, width)
    times: Tensor  # (n,) noise levels, 0 to the schedule's length
    unsaid: Tensor  # (n,) bool: seen without a caption

    def part(self, index: int, count: int) -> StepSample:
        """The rows from `index` on, `count` of them."""
        names = ("rows", "views", "words", "noise", "times", "unsaid")
        return StepSample(self.prior, **{name: getattr(self, name)[index : index + count] for name in names})


def draw(config: TrainConfig, step: int, data: TrainingSet, levels: int, devices: int = 1) -> StepSample:
    """The draw of one step.

    Args:
        levels: noise levels of the schedule.
        devices: that train together, each with its part of the pictures.
    """
    generator = torch.Generator().manual_seed(int(digest([config.seed, step])[:15], 16))
    prior, n = is_prior(step, config), config.samples * devices
    items = data.shown(prior)
    rows = draw_rows(items, config, n, generator)
    noise = torch.randn((n, *items[int(rows[0])].shape), generator=generator)
    if config.noise_offset:
        noise = noise + config.noise_offset * torch.randn((*noise.shape[:2], 1, 1), generator=generator)
    times = draw_times(config, n, levels, generator)
    unsaid = torch.rand(n, generator=generator) < config.caption_dropout
    views, words = torch.rand((2, n), generator=generator)
    return StepSample(prior, rows, views, words, noise, times, unsaid)


@dataclass(frozen=True)
class Minibatch:
    """What the model gets to see and to read in a draw."""

    latents: Tensor  # (n, channels, height, width)
    ids: Tensor  # (n, 6)
    texts: tuple[str | None, ...]  # None: no caption
    masks: Tensor | None  # (n, 1, height, width); None: everything counts


def look(data: TrainingSet, chance: StepSample) -> Minibatch:
    """The pictures and texts that a draw means."""
    items = [data.shown(chance.prior)[row] for row in chance.rows.tolist()]
    views: list[Any] = [pick(item.views, place) for item, place in zip(items, chance.views.tolist(), strict=True)]
    texts = [text_of(data, item, chance.prior, place) for item, place in zip(items, chance.words.tolist(), strict=True)]
    message = tuple(None if drop else text for text, drop in zip(texts, chance.unsaid.tolist(), strict=True))
    masks = None
    if not chance.prior and any(view.mask is not None for view in views):
        whole = torch.ones(1, *views[0].latents.shape[1:])
        masks = torch.stack([whole if view.mask is None else view.mask for view in views])
    latents = torch.stack([view.latents for view in views])
    return Minibatch(latents, torch.stack([view.ids for view in views]), message, masks)


def text_of(data: TrainingSet, item: Item, prior: bool, place: float) -> str:
    """What is said of a picture: one of its captions, or in a prior step something about others."""
    if not prior:
        return str(pick(item.said, place))
    return item.unsaid if data.strangers or not data.others else str(pick(data.others, place))


def pick(choices: tuple[Any, ...], place: float) -> Any:
    """The choice at a place in [0, 1)."""
    return choices[min(int(place * len(choices)), len(choices) - 1)]


def draw_rows(items: tuple[Item, ...], config: TrainConfig, n: int, generator: torch.Generator) -> Tensor:
    """Pictures by their weights; the first decides the shape, so that each still comes as often as it should."""
    weights = torch.tensor(sampling_weights([item.name for item in items], config.sampling), dtype=torch.float64)
    first = torch.multinomial(weights, 1, generator=generator)
    alike = torch.tensor([item.shape == items[int(first)].shape for item in items])
    rest = torch.multinomial(weights * alike, n, replacement=True, generator=generator)
    return torch.cat([first, rest[1:]])


def draw_times(config: TrainConfig, n: int, levels: int, generator: torch.Generator) -> Tensor:
    """Noise levels: uniform, or logit-normal (arXiv 2403.03206); the bias moves their log-odds towards noise."""
    if config.timesteps == "uniform" and not config.timestep_bias:
        return torch.randint(levels, (n,), generator=generator)
    if config.timesteps == "uniform":
        odds = torch.logit(torch.rand(n, generator=generator, dtype=torch.float64), eps=1e-6)
    else:
        odds = torch.randn(n, generator=generator, dtype=torch.float64)
    return (torch.sigmoid(odds + config.timestep_bias) * levels).long().clamp(0, levels - 1)


def is_prior(step: int, config: TrainConfig) -> bool:
    """Whether this step pulls towards the base instead of the pictures."""
    return config.prior_weight > 0 and step % config.prior_every == config.prior_every - 1
