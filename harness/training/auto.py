"""What a profile does not say of training follows from the pictures and the machine, with the reason in words.

Figures: 60 to 100 samples a picture, 800 to 3,000 in all, rank 16 (32 for a style), alpha = rank and AdamW at 1e-4 are
what the trainers of the field advise (sd-scripts, OneTrainer, diffusers). Memory is that of SDXL's full UNet in
bfloat16: 4.8 GiB of weights, 7.7 GiB of activations a megapixel, 0.7 with gradient checkpointing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from PIL import Image

from harness.core.errors import HarnessError, UsageError, nearest
from harness.core.settings import launched_processes
from harness.core.values import Subject
from harness.models.lora.train_config import TrainConfig, config_from, read_setting
from harness.models.lora.training_pictures import TrainingPicture

SAMPLES_PER_PICTURE = 80
SAMPLES = (800, 3000)
ALIKE, VARIED = 0.10, 0.30  # mean 1 - cosine of CLIP embeddings between pictures: near-duplicates; all sorts
USUAL = 4  # pictures a step that 1e-4 is meant for
RESERVE, WEIGHTS = 1.5, 5.5  # GiB: of the driver and fragmentation; of the UNet and a rank 16 LoRA with its moments
FREE, CHECKPOINTED = 7.7, 0.7  # GiB a megapixel and picture, without and with gradient checkpointing
LENGTH = frozenset({"steps", "epochs"})  # two ways of saying how long a training is
ASIDE = ("preset", "sample_every")  # keys of a training block that are no setting of a run: they decide no weight

PRESETS: Mapping[str, Mapping[str, object]] = MappingProxyType(
    {
        "seeds": {"rank": 16, "alpha": 16, "learning_rate": 1e-4, "steps": 1000},
        "quick": {"rank": 8, "alpha": 8, "learning_rate": 2e-4, "steps": 200},
        "style": {"rank": 32, "alpha": 32, "target_modules": "attention+ff", "caption_dropout": 0.2},
        "small_card": {"batch": 1, "accumulate": 4, "gradient_checkpointing": True},
    }
)
"""Named recipes for a profile's `preset:` and `harness train --preset`."""


@dataclass(frozen=True)
class Circumstances:
    """What the choice depends on."""

    pictures: int  # to learn from
    kind: str = "character"  # or style
    spread: float | None = None  # mean 1 - cosine between the pictures' CLIP embeddings; None: nobody looked
    memory: float | None = None  # GiB of the card; None: no card, or unknown
    class_word: str = ""  # the suite's; "" where it names none
    megapixels: float = 1.0  # of a training picture
    devices: int = 1  # that train together


@dataclass(frozen=True)
class ChosenConfig:
    """A configuration, and why it is what it is."""

    config: TrainConfig
    reasons: tuple[str, ...] = field(default=())


def choose_settings(
    training: Mapping[str, object],
    subject: Subject,
    pictures: Sequence[TrainingPicture],
    profile: Any,
    models: Any,
    keep: bool = False,
) -> ChosenConfig:
    """What a training block leaves out follows from the pictures and the machine.

    Args:
        models: `harness.models.loading.Models`; CLIP looks at the pictures only where the block names no length.
        keep: whether what is loaded stays in memory, because a run goes on to draw and to score with it.
    """
    width, height = profile.size
    about = Circumstances(
        pictures=len(pictures),
        kind=subject.kind,
        class_word=subject.class_word,
        spread=None if expand(training).keys() & LENGTH else look_at(pictures, models, keep),
        memory=device_memory(str(models.device)),
        megapixels=width * height / 1e6,
        devices=launched_processes(),
    )
    return choose(training, about)


def look_at(pictures: Sequence[TrainingPicture], models: Any, keep: bool = False) -> float | None:
    """How much the pictures differ to CLIP; None where CLIP is not at hand, because training needs no scorer."""
    try:
        clip = models.clip()
        images = []
        for picture in pictures:
            with Image.open(picture.path) as opened:
                images.append(opened.convert("RGB"))
        return find_spread(clip.embed_images(images))
    except HarnessError:
        return None
    finally:
        if not keep:
            models.close()  # before the trainer's own models come


def choose(training: Mapping[str, object], about: Circumstances) -> ChosenConfig:
    """The configuration for these circumstances; whatever `training` gives is kept.

    Args:
        training: a profile's `training` block, a preset's name in it included.

    Raises:
        UsageError: no picture; a key or preset that there is not; a value out of range.
    """
    if about.pictures <= 0:
        raise UsageError("training: there is no picture to learn from")
    given, reasons = expand(training), []
    if preset := str(training.get("preset") or ""):
        reasons.append(f"preset {preset}: {spell(PRESETS[preset])}")
    for part in (batch_for, rank_for, rate_for, steps_for):
        result, reason = part(given, about)
        given |= result
        reasons += [reason] if reason else []
    given.pop("epochs", None)
    steps = whole(given, "steps")
    given.setdefault("warmup", min(max(1, steps // 20), max(0, steps - 1)))
    if word := about.class_word or ("a picture" if about.kind == "style" else ""):
        given.setdefault("class_word", word)
    return ChosenConfig(config_from(given), tuple(reasons))


def expand(training: Mapping[str, object]) -> dict[str, object]:
    """A training block with its preset's values; its own keys win. Raises UsageError for no such preset."""
    name = str(training.get("preset") or "")
    if name and name not in PRESETS:
        raise UsageError(f"training: no preset called {name!r}; {nearest(name, PRESETS)}")
    own = {key: value for key, value in training.items() if key not in ASIDE and value is not None}
    return over(PRESETS[name] if name else {}, own)


def over(base: Mapping[str, object], asked: Mapping[str, object]) -> dict[str, object]:
    """A block with another's keys instead; a length in epochs replaces one in steps, and the other way."""
    outdone = LENGTH if asked.keys() & LENGTH else frozenset()
    return {**{key: value for key, value in base.items() if key not in outdone}, **asked}


def combine(profile: Mapping[str, object], changes: Mapping[str, object]) -> dict[str, object]:
    """A profile's training block with what a person asks for instead.

    What the profile said only because of something that is now different goes: the alpha of another rank, the rate of
    another optimizer.
    """
    base, asked = expand(profile), expand(changes)
    if "rank" in asked:
        base.pop("alpha", None)
    if asked.get("optimizer", base.get("optimizer")) != base.get("optimizer"):
        base.pop("learning_rate", None)
        base.pop("text_learning_rate", None)
    return over(base, asked)


def whole(given: Mapping[str, object], name: str, otherwise: int = 1) -> int:
    """A setting that is a whole number. Raises UsageError for one that is none."""
    return int(read_setting(name, given.get(name, otherwise)))


def spell(values: Mapping[str, object]) -> str:
    return ", ".join(
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}" for name, value in values.items()
    )


def batch_for(given: Mapping[str, object], about: Circumstances) -> tuple[dict[str, object], str]:
    """As many pictures a pass as the card holds, up to four; passes are added up to four where it holds fewer."""
    if "batch" in given or about.memory is None:
        return {"batch": whole(given, "batch", USUAL)}, ""
    room = about.memory - RESERVE - WEIGHTS
    free, tight = FREE * about.megapixels, CHECKPOINTED * about.megapixels
    checkpointed = bool(given.get("gradient_checkpointing", room < free))
    batch = min(USUAL, max(1, int(room / (tight if checkpointed else free))))
    results: dict[str, object] = {"batch": batch, "gradient_checkpointing": checkpointed}
    if "accumulate" not in given and batch < USUAL:
        results["accumulate"] = -(-USUAL // batch)
    how = ", with gradient checkpointing" if checkpointed else ""
    return results, f"batch {batch}: what {about.memory:.0f} GiB hold at {about.megapixels:.2f} megapixels{how}"


def rank_for(given: Mapping[str, object], about: Circumstances) -> tuple[dict[str, object], str]:
    """A style is many things at once and gets more; a handful of pictures would be learnt by heart."""
    if "rank" in given:
        return {"rank": given["rank"], "alpha": given.get("alpha", given["rank"])}, ""
    if about.kind == "style":
        rank, why = 32, "a style is in everything"
    elif about.pictures <= 5:
        rank, why = 8, f"{about.pictures} pictures: more would learn them by heart"
    else:
        rank, why = 16, "what a character takes"
    return {"rank": rank, "alpha": given.get("alpha", rank)}, f"rank {rank}: {why}"


def rate_for(given: Mapping[str, object], about: Circumstances) -> tuple[dict[str, object], str]:
    """1e-4 at four pictures a step, with the square root of their number for Adam (arXiv 2205.10287)."""
    prodigy = given.get("optimizer") == "prodigy"
    text = {} if "text_learning_rate" in given else {"text_learning_rate": 0.5}
    if "learning_rate" in given:
        return {name: value * read_setting("learning_rate", given["learning_rate"]) for name, value in text.items()}, ""
    samples = whole(given, "batch") * whole(given, "accumulate")
    rate = 1.0 if prodigy else float(f"{1e-4 * math.sqrt(samples / USUAL):.2g}")
    why = "prodigy finds its own" if prodigy else f"the usual one for {samples} pictures a step"
    results: dict[str, object] = {"learning_rate": rate, **{name: value * rate for name, value in text.items()}}
    return results, f"learning rate {rate:g}: {why}"


def steps_for(given: Mapping[str, object], about: Circumstances) -> tuple[dict[str, object], str]:
    """So many samples of each picture; more where the pictures differ, fewer where they are nearly one."""
    if "steps" in given:
        return {}, ""
    if "epochs" in given:
        return steps_of_epochs(given, about)
    factor, how = 1.0, ""
    if about.spread is not None and about.spread < ALIKE:
        factor, how = 0.75, f", which are much alike (spread {about.spread:.2f})"
    elif about.spread is not None and about.spread > VARIED:
        factor, how = 1.25, f", which vary widely (spread {about.spread:.2f})"
    wanted = round(SAMPLES_PER_PICTURE * about.pictures * factor)
    samples = min(max(wanted, SAMPLES[0]), SAMPLES[1])
    a_step = whole(given, "batch") * whole(given, "accumulate")
    limit = "" if samples == wanted else f" ({SAMPLES[0]:,} to {SAMPLES[1]:,} in all)"
    steps = -(-samples // a_step)
    return {"steps": steps}, f"{steps} steps: {samples:,} samples of {about.pictures} pictures{how}{limit}"


def steps_of_epochs(given: Mapping[str, object], about: Circumstances) -> tuple[dict[str, object], str]:
    """As many steps as it takes to see each picture so often; steps of the base's prior are not counted."""
    epochs, every = whole(given, "epochs"), whole(given, "prior_every", TrainConfig.prior_every)
    weight = read_setting("prior_weight", given.get("prior_weight", TrainConfig.prior_weight))
    if weight and every == 1:
        raise UsageError("training: prior_every 1 leaves no step for the pictures; 2 or more, or prior_weight 0")
    samples = epochs * about.pictures
    own = -(-samples // (whole(given, "batch") * whole(given, "accumulate") * about.devices))
    steps = own + (own - 1) // (every - 1) if weight else own
    more = f", and {steps - own} of the prior" if steps > own else ""
    return {"steps": steps}, f"{steps} steps: {own} for {epochs} epochs of {about.pictures} pictures{more}"


def find_spread(vectors: Any) -> float | None:
    """Mean 1 - cosine between unit vectors (n, d); None for fewer than two."""
    n = len(vectors)
    if n < 2:
        return None
    cosines = vectors @ vectors.T
    return float(1 - (cosines.sum() - cosines.trace()) / (n * (n - 1)))


def device_memory(device: str) -> float | None:
    """GiB of a card; None for a processor."""
    if not device.startswith("cuda"):
        return None
    import torch

    return float(torch.cuda.get_device_properties(device).total_memory) / 2**30


def config_for(training: Mapping[str, object], pictures: int, kind: str = "character") -> TrainConfig:
    """The configuration of a profile for a set of that many pictures; what the profile leaves out follows from the set.

    Args:
        training: the profile's `training` block.
        pictures: how many pictures there are to learn from.
        kind: of the subject; a style has no class word.
    """
    return choose(training, Circumstances(pictures, kind)).config
