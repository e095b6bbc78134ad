"""What decides a training run: one frozen value, saved whole in the metadata of the weights it made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from harness.config.training import TrainingEntry
from harness.core.errors import UsageError, nearest

ATTENTION: tuple[str, ...] = ("to_q", "to_k", "to_v", "to_out.0")
"""The attention layers of an SDXL UNet: the usual place of a LoRA."""
FEED_FORWARD: tuple[str, ...] = ("ff.net.0.proj", "ff.net.2", "proj_in", "proj_out")
CONVOLUTIONS: tuple[str, ...] = ("conv1", "conv2", "conv_shortcut", "time_emb_proj", "conv")
TARGETS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "attention": ATTENTION,
        "attention+ff": (*ATTENTION, *FEED_FORWARD),
        "all": (*ATTENTION, *FEED_FORWARD, *CONVOLUTIONS),
    }
)
"""Which layers of the UNet learn, by preset; "all" are those that LyCORIS' LoCon changes."""


@dataclass(frozen=True)
class TrainConfig:
    """One LoRA run. Defaults fit real SDXL; a profile's `training` block overrides them."""

    steps: int = 400
    batch: int = 4  # pictures per pass, on each device
    rank: int = 16  # width of the update: more learns more detail and overfits sooner
    alpha: float = 16  # equal to the rank, so that the file means the same in every program
    learning_rate: float = 1e-4
    warmup: int = 20  # steps
    snr_gamma: float = 5.0  # min-SNR; 0: every noise level weighs the same
    caption_dropout: float = 0.1  # how often a picture is seen without its caption
    noise_offset: float = 0.0  # 0.0357 for very dark or very bright styles
    prior_weight: float = 1.0  # pull towards the base's own prediction when the trigger is not said; 0: none
    prior_every: int = 2  # every so many steps is such a prior step
    class_word: str = "a person"  # stands where the trigger stood in a prior step
    target_modules: tuple[str, ...] = ATTENTION
    seed: int = 0
    sampling: Mapping[str, float] = field(default_factory=dict)  # file name to weight; 1 where it is silent
    checkpoint_every: int = 50  # steps; each is kept as a LoRA of its own, for the choice of the best
    gradient_checkpointing: bool = False  # less memory, 27% more time
    dtype: str = "auto"  # of the frozen base; the LoRA itself is always float32
    accumulate: int = 1  # passes a step; exact: the same as so many times the batch
    dora: bool = False
    rslora: bool = False
    text_encoders: str = "none"
    text_learning_rate: float = 5e-5
    optimizer: str = "adamw"
    schedule: str = "cosine"
    weight_decay: float = 1e-2
    clip_norm: float = 1.0
    timesteps: str = "uniform"
    timestep_bias: float = 0.0  # added to the log-odds of the noise level
    caption_shuffle: bool = False
    phrase_dropout: float = 0.0
    prior_prompts: str = "others"  # in the profile's words; "captions": the pictures' own without the trigger
    class_pictures: int = 0  # drawn by the base for the prior steps; 0: the subject's own pictures
    class_folder: str = ""  # pictures of others for the prior steps
    buckets: bool = False  # False: all pictures are cut to the profile's size
    bucket_step: int = 64
    crops: int = 1
    flip: bool = False  # a scar, a parting or a badge would change sides
    background_weight: float = 1.0
    ema: float = 0.0
    validate_every: int = 50
    compile: bool = False
    channels_last: bool = True  # on a card; processors are no faster with it

    def __post_init__(self) -> None:
        object.__setattr__(self, "target_modules", targets(self.target_modules))
        object.__setattr__(self, "sampling", MappingProxyType(dict(self.sampling)))
        self._check()

    def _check(self) -> None:
        """Raises UsageError for a value that no profile could have given either."""
        record = {**self.to_record(), "class_folder": self.class_folder or None}
        if not self.target_modules:
            raise UsageError("training: target_modules is empty; name the layers that learn, to_q say")
        if self.warmup >= self.steps > 0:
            record["warmup"] = 0  # a run that was cut short: it ends before the full rate
        validate(record)

    @property
    def samples(self) -> int:
        """Pictures in one step of one device."""
        return self.batch * self.accumulate

    def to_record(self) -> dict[str, object]:
        """Plain JSON data; `config_from` reads it back."""
        record = {item.name: getattr(self, item.name) for item in fields(self)}
        return {**record, "target_modules": list(self.target_modules), "sampling": dict(self.sampling)}

    def to_json(self) -> str:
        return json.dumps(self.to_record(), sort_keys=True)


def targets(given: str | list[str] | tuple[str, ...]) -> tuple[str, ...]:
    """Layer names, from a preset or as given. Raises UsageError for no such preset."""
    if not isinstance(given, str):
        return tuple(given)
    if given not in TARGETS:
        raise UsageError(f"training: no target_modules called {given!r}; {nearest(given, TARGETS)}")
    return TARGETS[given]


def validate(record: Mapping[str, object]) -> TrainingEntry:
    """The record as a profile's block is read. Raises UsageError for the first value that cannot be."""
    try:
        return TrainingEntry.model_validate(dict(record))
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"][:1])
        where = f"training: {name} is {first['input']!r}; " if name else "training: "
        raise UsageError(f"{where}{first['msg'].removeprefix('Value error, ')}") from error


def read_setting(name: str, value: Any) -> Any:
    """A setting's value in its own type: YAML takes 1e-3 for a word. Raises UsageError for what it cannot be.

    A whole number stays one where any number may stand, so that records and what is named after them stay the same.
    """
    if name == "target_modules" and isinstance(value, str):
        targets(value)  # tells the nearest
    read = getattr(validate({name: value}), name)
    return value if type(value) is int and isinstance(read, float) else read


def config_from(record: Mapping[str, object]) -> TrainConfig:
    """A configuration from plain data. Raises UsageError for a key that no configuration has, or a wrong value."""
    known = {item.name for item in fields(TrainConfig)}
    for name in record:
        if name not in known:
            raise UsageError(f"training: no setting called {name!r}; {nearest(name, known)}")
    return TrainConfig(**{name: read_setting(name, value) for name, value in record.items() if value is not None})


def changes(before: TrainConfig, after: TrainConfig) -> dict[str, object]:
    """What differs, as {name: [before, after]}, plain JSON."""
    old, new = before.to_record(), after.to_record()
    return {name: [old[name], new[name]] for name in new if old[name] != new[name]}
