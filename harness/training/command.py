"""`harness train SUITE`: the subject's LoRA, from scratch, with the profile's configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, UsageError
from harness.models import Models
from harness.references import set_hash
from harness.training.auto import Choice, Circumstances, choose, combine, device_memory, find_spread
from harness.training.data import Picture, train_pictures
from harness.training.registry import promote, read_champion
from harness.training.team import join_team
from harness.training.trainer import train
from harness.values import Subject, Suite, digest


def train_suite(
    suite: Suite,
    profile: Any,
    settings: Any,
    *,
    out: Path | None = None,
    changes: Mapping[str, Any] | None = None,
    command: str = "",
    progress: Callable[[str], None] = print,
) -> Path:
    """Train and write the LoRA; a killed call goes on where it was when it is repeated.

    Args:
        out: the file to write; without it the suite's own LoRA, if that does not exist yet.
        changes: settings that override the profile's, a preset's name among them.

    Raises:
        UsageError: there is a champion already; only an improve loop may replace it, or a person who removes it.
    """
    target = out or (suite.subject.lora.path if suite.subject.lora else None)
    if target is None:
        raise UsageError(f"{suite.path}: the suite names no lora; give --out FILE")
    if out is None and read_champion(target):
        raise UsageError(f"{target}: is the champion already; give --out FILE, or let `pytest --retrain` challenge it")
    pictures, models = train_pictures(suite.subject), Models(profile, settings)
    leads = join_team(str(models.device)).leads
    say = progress if leads else (lambda line: None)
    choice = choose_settings(combine(profile.training, changes or {}), suite.subject, pictures, profile, models)
    for line in choice.reasons:
        say(line)
    config, folder = choice.config, Path(settings.store) / "loras"
    matter = [suite.name, models.base_hash(), set_hash(picture.path for picture in pictures), config.to_record()]
    work = folder / f"work-{digest(matter)[:12]}"  # the same call goes on; another base or picture begins anew
    written = target if out else folder / f"{work.name}.safetensors"
    made = train(config, suite.subject, profile, models, written, work=work, progress=progress, command=command)
    if out is None and leads:
        promote(made.path, target, {}, "the first one")
    held_out = f", held-out loss {made.validation[-1][1]:.4f}" if made.validation else ""
    say(f"{made.steps} steps in {made.seconds:.0f} s{held_out}")
    return target


def choose_settings(
    training: Mapping[str, Any], subject: Subject, pictures: Sequence[Picture], profile: Any, models: Any
) -> Choice:
    """What is not given follows from the pictures and the machine."""
    width, height = profile.size
    about = Circumstances(
        pictures=len(pictures),
        kind=subject.kind,
        spread=None if "steps" in training else look_at(pictures, models),
        memory=device_memory(str(models.device)),
        megapixels=width * height / 1e6,
    )
    return choose(training, about)


def look_at(pictures: Sequence[Picture], models: Any) -> float | None:
    """How much the pictures differ to CLIP; None where CLIP is not at hand, because training needs no scorer."""
    from PIL import Image

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
        models.close()  # before the trainer's own models come
