"""The exact shape of a profile's `training:` block: every key, what it may hold, and what it means.

Read before anything is loaded, so that a misspelt key or an impossible value is told with its line, not after an hour.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from harness.core.errors import nearest

Optimizer = Literal["adamw", "adamw8bit", "prodigy"]
Schedule = Literal["cosine", "constant", "linear"]
Timesteps = Literal["uniform", "logit_normal"]
TextEncoders = Literal["none", "first", "second", "both"]
Targets = Literal["attention", "attention+ff", "all"]
PriorPrompts = Literal["others", "captions"]
Preset = Literal["seeds", "quick", "style", "small_card"]
Dtype = Literal["auto", "float32", "bfloat16", "float16"]
LAYERS = (
    *("to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2", "proj_in", "proj_out"),
    *("conv1", "conv2", "conv_shortcut", "time_emb_proj", "conv", "conv_in", "conv_out", "linear_1", "linear_2"),
)
"""How the layers of SDXL's UNet are called that a LoRA can change; before a name may stand where: attn2.to_k."""


def known_layer(name: str) -> str:
    """A layer's name, or a place and a layer's name."""
    if not any(f".{name}".endswith(f".{layer}") or f".{layer}".endswith(f".{name}") for layer in LAYERS):
        raise ValueError(f"no layer called {name!r}; {nearest(name, LAYERS)}")
    return name


Layer = Annotated[str, AfterValidator(known_layer)]


def above(least: float, most: float, about: str = "") -> Any:
    """A number that may be as large as `most`, and must be larger than `least`."""
    return Field(default=None, gt=least, le=most, description=about)


def within(least: float, most: float, about: str = "") -> Any:
    return Field(default=None, ge=least, le=most, description=about)


class TrainingEntry(BaseModel):
    """What a profile says of training; what it leaves out follows from the pictures and the machine."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    preset: Preset | None = Field(default=None, description="a named recipe; the keys beside it win")
    steps: int | None = above(0, 1_000_000, "updates of the weights")
    epochs: int | None = above(0, 100_000, "how often each picture is seen, instead of steps; prior steps come on top")
    batch: int | None = above(0, 1024, "pictures in one pass, on each device")
    accumulate: int | None = above(0, 1024, "passes a step: as good as so many times the batch, in its memory")
    rank: int | None = above(0, 1024, "width of the update")
    alpha: float | None = above(0, 65536, "the update counts alpha / rank; equal to the rank unless given")
    dora: bool | None = Field(
        default=None, description="learn magnitude and direction apart (arXiv 2402.09353); slower"
    )
    rslora: bool | None = Field(
        default=None, description="alpha / sqrt(rank) instead of alpha / rank (arXiv 2312.03732)"
    )
    target_modules: Targets | list[Layer] | None = Field(
        default=None, description="which layers learn: a preset, or names"
    )
    text_encoders: TextEncoders | None = Field(default=None, description="which text encoders learn too")
    text_learning_rate: float | None = above(0, 1e3, "of the text encoders; half the UNet's unless given")
    optimizer: Optimizer | None = Field(default=None, description="prodigy finds its own rate; adamw8bit saves memory")
    schedule: Schedule | None = Field(default=None, description="of the rate, behind the warm-up")
    learning_rate: float | None = above(0, 1e3, "1 for prodigy, which finds its own")
    weight_decay: float | None = within(0, 10, "pull of the LoRA's weights towards 0, each step")
    warmup: int | None = within(0, 1_000_000, "steps until the full rate")
    clip_norm: float | None = above(0, 1e6, "gradients longer than this are shortened to it")
    snr_gamma: float | None = within(0, 1e3, "min-SNR (arXiv 2303.09556); 0: every noise level weighs the same")
    noise_offset: float | None = within(0, 1, "0.0357 for very dark or very bright styles")
    timesteps: Timesteps | None = Field(default=None, description="how noise levels are drawn")
    timestep_bias: float | None = within(-5, 5, "above 0: more noise, shapes; below: less, details")
    caption_dropout: float | None = Field(
        default=None, ge=0, lt=1, description="how often a picture is seen without caption"
    )
    caption_shuffle: bool | None = Field(
        default=None, description="the caption's phrases in other orders, the trigger first"
    )
    phrase_dropout: float | None = Field(
        default=None, ge=0, lt=1, description="how often a phrase is left out; never the trigger"
    )
    prior_prompts: PriorPrompts | None = Field(
        default=None, description="what a prior step is about: others, or the captions"
    )
    prior_weight: float | None = within(0, 100, "pull towards the base's own prediction; 0: none")
    prior_every: int | None = above(0, 10_000, "every so many steps is such a prior step")
    class_pictures: int | None = within(0, 10_000, "pictures of others that the base draws for the prior steps")
    class_folder: str | None = Field(
        default=None, description="a folder of such pictures of your own, with captions beside them"
    )
    class_word: str | None = Field(default=None, description="stands where the trigger stood in a prior step")
    buckets: bool | None = Field(default=None, description="keep each picture's shape at the profile's area")
    bucket_step: int | None = Field(default=None, ge=8, le=256, multiple_of=8, description="pixels between two sides")
    crops: int | None = above(0, 64, "cuts of each picture that are kept, the first from the middle")
    flip: bool | None = Field(default=None, description="mirrored cuts too; wrong for whoever has a scar or a parting")
    background_weight: float | None = within(0, 1, "of the loss outside a picture's mask; 1: masks are not read")
    ema: float | None = Field(
        default=None, ge=0, lt=1, description="decay of the averaged weights that are saved; 0: none"
    )
    seed: int | None = Field(default=None, ge=0, lt=2**53, description="of weights, order and noise")
    sampling: dict[str, Annotated[float, Field(gt=0)]] | None = Field(default=None, description="file name to weight")
    checkpoint_every: int | None = above(0, 1_000_000, "steps; each is kept as a LoRA of its own")
    validate_every: int | None = within(0, 1_000_000, "steps between two looks at the held-out loss; 0: never")
    sample_every: int | None = within(
        0, 1_000_000, "steps between two looks at a few open cases, drawn and scored; 0: never; changes no weight"
    )
    gradient_checkpointing: bool | None = Field(default=None, description="less memory, 27% more time")
    compile: bool | None = Field(default=None, description="torch.compile: minutes at first, then faster on a GPU")
    channels_last: bool | None = Field(default=None, description="memory layout that convolutions of a GPU prefer")
    dtype: Dtype | None = Field(default=None, description="of the frozen base; the LoRA is always float32")

    @model_validator(mode="after")
    def agree(self) -> TrainingEntry:
        """Settings that exclude each other."""
        if self.steps is not None and self.warmup is not None and self.warmup >= self.steps:
            raise ValueError(f"warmup is {self.warmup} of {self.steps} steps: the full rate would never be reached")
        if self.steps is not None and self.epochs is not None:
            raise ValueError("steps and epochs say the same in two ways; remove one")
        if self.optimizer == "prodigy" and self.learning_rate is not None and self.learning_rate < 0.01:
            raise ValueError(
                f"prodigy finds its own rate; learning_rate is a factor of it: 1, not {self.learning_rate:g}"
            )
        if self.class_folder and self.class_pictures:
            raise ValueError("class_folder and class_pictures exclude each other; remove one")
        return self
