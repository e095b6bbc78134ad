"""What decides a training run: one frozen value, saved whole in the metadata of the weights it made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any

from harness.errors import UsageError, nearest

ATTENTION: tuple[str, ...] = ("to_q", "to_k", "to_v", "to_out.0")
"""The attention layers of an SDXL UNet: the usual place of a LoRA."""

SAMPLES_PER_PICTURE = 80  # 60 to 100 is what trainers advise; the sum is clamped below
SAMPLES = (800, 3000)


@dataclass(frozen=True)
class TrainConfig:
    """One LoRA run. Defaults fit real SDXL; a profile's `training` block overrides them."""

    steps: int = 400
    batch: int = 4  # pictures per step
    rank: int = 16  # width of the update: more learns more detail and overfits sooner
    alpha: int = 16  # equal to the rank, so that the file means the same in every program
    learning_rate: float = 1e-4
    warmup: int = 20  # steps
    snr_gamma: float = 5.0  # min-SNR; 0: every noise level weighs the same
    caption_dropout: float = 0.1  # how often a picture is seen without its caption
    noise_offset: float = 0.0  # 0.0357 for very dark or very bright styles
    prior_weight: float = 0.5  # pull towards the base's own prediction when the trigger is not said; 0: none
    prior_every: int = 4  # every so many steps is such a prior step
    class_word: str = "a person"  # stands where the trigger stood in a prior step
    target_modules: tuple[str, ...] = ATTENTION
    seed: int = 0
    sampling: Mapping[str, float] = field(default_factory=dict)  # file name to weight; 1 where it is silent
    checkpoint_every: int = 50  # steps; each is kept as a LoRA of its own, for the choice of the best
    gradient_checkpointing: bool = False  # less memory, 27% more time
    dtype: str = "auto"  # of the frozen base; the LoRA itself is always float32

    def __post_init__(self) -> None:
        object.__setattr__(self, "target_modules", tuple(self.target_modules))
        object.__setattr__(self, "sampling", MappingProxyType(dict(self.sampling)))
        for name in ("steps", "batch", "rank", "alpha", "learning_rate", "prior_every", "checkpoint_every"):
            if getattr(self, name) <= 0:
                raise UsageError(f"training: {name} is {getattr(self, name)}; it must be above 0")
        if not 0 <= self.caption_dropout < 1 or self.prior_weight < 0:
            raise UsageError("training: caption_dropout must be in [0, 1), prior_weight 0 or more")
        if not self.target_modules:
            raise UsageError("training: target_modules is empty; name the layers that learn, to_q say")
        if any(weight <= 0 for weight in self.sampling.values()):
            raise UsageError("training: sampling weights must be above 0")

    def to_record(self) -> dict[str, Any]:
        """Plain JSON data; `config_from` reads it back."""
        record = {item.name: getattr(self, item.name) for item in fields(self)}
        return {**record, "target_modules": list(self.target_modules), "sampling": dict(self.sampling)}

    def to_json(self) -> str:
        return json.dumps(self.to_record(), sort_keys=True)


def config_from(record: Mapping[str, Any]) -> TrainConfig:
    """A configuration from plain data. Raises UsageError for a key that no configuration has."""
    known = {item.name for item in fields(TrainConfig)}
    for name in record:
        if name not in known:
            raise UsageError(f"training: no setting called {name!r}; {nearest(name, known)}")
    return TrainConfig(**record)


def config_for(training: Mapping[str, Any], pictures: int, kind: str = "character") -> TrainConfig:
    """The configuration of a profile for a set of that many pictures; what the profile leaves out follows from the set.

    Args:
        training: the profile's `training` block.
        pictures: how many pictures there are to learn from.
        kind: of the subject; a style has no class word.
    """
    if pictures <= 0:
        raise UsageError("training: there is no picture to learn from")
    given = dict(training)
    batch = int(given.get("batch", TrainConfig.batch))
    samples = min(max(SAMPLES_PER_PICTURE * pictures, SAMPLES[0]), SAMPLES[1])
    given.setdefault("steps", -(-samples // batch))
    given.setdefault("warmup", max(1, int(given["steps"]) // 20))
    given.setdefault("alpha", given.get("rank", TrainConfig.rank))
    if kind == "style":
        given.setdefault("class_word", "a picture")
    return config_from(given)


def changes(before: TrainConfig, after: TrainConfig) -> dict[str, Any]:
    """What differs, as {name: [before, after]}, plain JSON."""
    old, new = before.to_record(), after.to_record()
    return {name: [old[name], new[name]] for name in new if old[name] != new[name]}
