"""`harness train SUITE`: the subject's LoRA, from scratch, with the profile's configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.models import Models
from harness.references import set_hash
from harness.training.config import config_for
from harness.training.data import train_pictures
from harness.training.registry import promote, read_champion
from harness.training.trainer import train
from harness.values import Suite, digest


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
        changes: settings that override the profile's.

    Raises:
        UsageError: there is a champion already; only an improve loop may replace it, or a person who removes it.
    """
    target = out or (suite.subject.lora.path if suite.subject.lora else None)
    if target is None:
        raise UsageError(f"{suite.path}: the suite names no lora; give --out FILE")
    if out is None and read_champion(target):
        raise UsageError(f"{target}: is the champion already; give --out FILE, or let `pytest --retrain` challenge it")
    pictures = train_pictures(suite.subject)
    config = config_for({**profile.training, **(changes or {})}, len(pictures), suite.subject.kind)
    folder = Path(settings.store) / "loras"
    models = Models(profile, settings)
    matter = [suite.name, models.base_hash(), set_hash(picture.path for picture in pictures), config.to_record()]
    work = folder / f"work-{digest(matter)[:12]}"  # the same call goes on; another base or picture begins anew
    made = train(
        config,
        suite.subject,
        profile,
        models,
        target if out else folder / f"{work.name}.safetensors",
        work=work,
        progress=progress,
        command=command,
    )
    if out is None:
        promote(made.path, target, {}, "the first one")
    progress(f"{made.steps} steps in {made.seconds:.0f} s")
    return target
