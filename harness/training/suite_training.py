"""`harness train SUITE`: the subject's LoRA, from scratch, with the profile's configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from harness.core.errors import HarnessError, UsageError
from harness.core.values import Suite, digest
from harness.models.loading import Models
from harness.models.lora.registry import promote, read_champion
from harness.scoring.metrics.scorer import scorer_of
from harness.store import Store
from harness.training.auto import choose_settings, combine
from harness.training.data import train_pictures
from harness.training.distributed import join_processes
from harness.training.sampling import Judge, Samples
from harness.training.trainer import run_record, train

__all__ = ["choose_settings", "train_suite"]


def train_suite(
    suite: Suite,
    profile: Any,
    settings: Any,
    *,
    out: Path | None = None,
    changes: Mapping[str, object] | None = None,
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
    leads = join_processes(str(models.device)).leads
    say = progress if leads else (lambda line: None)
    choice = choose_settings(combine(profile.training, changes or {}), suite.subject, pictures, profile, models)
    for line in choice.reasons:
        say(line)
    config, folder = choice.config, Path(settings.store) / "loras"
    matter = [suite.name, run_record(config, suite.subject, profile, models)]
    work = folder / f"work-{digest(matter)[:12]}"  # the same call goes on; another base or picture begins anew
    written = target if out else folder / f"{work.name}.safetensors"
    every = int({**profile.training, **(changes or {})}.get("sample_every") or 0)
    with ExitStack() as stack:
        samples = None
        if every and leads:
            judge = open_judge(suite, profile, models, settings, stack, say)
            samples = Samples(suite, every, written.with_suffix(".samples"), judge)
        details: dict[str, Any] = {"progress": progress, "command": command, "samples": samples}
        made = train(config, suite.subject, profile, models, written, work=work, **details)
    if out is None and leads:
        promote(made.path, target, {}, "the first one")
    held_out = f", held-out loss {made.validation[-1][1]:.4f}" if made.validation else ""
    say(f"{made.steps} steps in {made.seconds:.0f} s{held_out}")
    return target


def open_judge(
    suite: Suite, profile: Any, models: Models, settings: Any, stack: ExitStack, say: Callable[[str], None]
) -> Judge | None:
    """What scores the samples as a run would; None, and why, where no scorer is at hand: training needs none."""
    try:
        scorer = scorer_of(suite, profile, models, stack.enter_context(Store(settings.store)), tell=say)
        scorer.calibration()
    except HarnessError as error:
        say(f"samples are drawn and not scored: {error}")
        return None
    return scorer.score
