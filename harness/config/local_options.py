"""What a profile may say of a provider that draws on this machine, checked while the profile is read.

providers:
  lora: {adapter: local, use: lora}
  fast: {adapter: local, use: lora, scheduler: {name: lcm, lora: ../lcm.safetensors}, steps: 6, guidance: 1.5}
  inked: {adapter: local, use: lora, loras: [{file: ../ink.safetensors, strength: 0.6}]}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.config.schedulers import check_options, find_scheduler
from harness.core.errors import UsageError, nearest
from harness.core.values import Lora
from harness.core.yaml import path_text

USES = ("base", "lora", "prompt_only")
NUMBERS: Mapping[str, tuple[type, float, float]] = {
    "blur": (float, 0, 100),
    "clip_skip": (int, 1, 12),
    "guidance": (float, 0, 50),
    "guidance_rescale": (float, 0, 1),
    "steps": (int, 1, 1000),
}
"""Option to its kind and range."""
OPTIONS = (*NUMBERS, "loras", "scheduler", "use")
CLIP_SKIP = 2  # the layer before the last: what SDXL was trained with


class WrongOption(Exception):
    """An option that cannot be; `place` leads to it."""

    def __init__(self, message: str, *place: str | int) -> None:
        self.place = place
        super().__init__(message)


@dataclass(frozen=True)
class Scheduling:
    """A scheduler, what is set on it, and the LoRA that goes with it (LCM's)."""

    name: str = "euler"
    options: Mapping[str, Any] = field(default_factory=dict)
    lora: Lora | None = None


@dataclass(frozen=True)
class LocalOptions:
    """How one provider draws; what it does not say is the profile's."""

    use: str
    scheduling: Scheduling
    steps: int
    guidance: float
    guidance_rescale: float = 0.0
    clip_skip: int = CLIP_SKIP  # 1: the last layer of the text encoders, 2 (SDXL's): the one before
    blur: float = 0.0  # pixels; spoils the pictures as a control for the metrics
    loras: tuple[Lora, ...] = ()  # always on, beside the one under test

    @property
    def company(self) -> tuple[Lora, ...]:
        """Every LoRA beside the one under test."""
        own = self.scheduling.lora
        return (*((own,) if own else ()), *self.loras)


def read_scheduling(entry: Any, folder: Path, steps: int = 1) -> Scheduling:
    """A scheduler's name, or a mapping with `name`, options of the scheduler, and `lora`.

    Args:
        folder: that a LoRA's path is relative to.

    Raises:
        WrongOption: unknown or impossible.
    """
    options = dict(entry) if isinstance(entry, Mapping) else {"name": entry}
    name, lora = options.pop("name", None), options.pop("lora", None)
    if not isinstance(name, str):
        raise WrongOption("needs a name: euler, say", *(("name",) if isinstance(entry, Mapping) else ()))
    try:
        find_scheduler(name)
    except UsageError as error:
        raise WrongOption(str(error), *(("name",) if isinstance(entry, Mapping) else ())) from None
    key, message = check_options(name, options, steps)
    if message:
        raise WrongOption(message, *((key,) if key in options else ()))
    return Scheduling(name, options, read_lora(lora, folder, "lora") if lora is not None else None)


def read_lora(entry: Any, folder: Path, *place: str | int) -> Lora:
    """`FILE`, or `{file: FILE, strength: 0.8}`.

    Raises:
        WrongOption: neither.
    """
    given = {"file": entry} if isinstance(entry, str) else entry
    if not isinstance(given, Mapping) or not isinstance(given.get("file"), str):
        raise WrongOption("a LoRA is a file, or {file: FILE, strength: NUMBER}", *place)
    for key in given:
        if key not in ("file", "strength"):
            raise WrongOption(f"no key called {key!r}; {nearest(str(key), ('file', 'strength'))}", *place, str(key))
    strength = given.get("strength", 1.0)
    if isinstance(strength, bool) or not isinstance(strength, int | float) or not 0 <= strength <= 4:
        raise WrongOption(f"a strength is between 0 and 4 (found {strength!r:.40})", *place, "strength")
    if not given["file"].endswith(".safetensors"):
        raise WrongOption(f"{given['file']!r}: a LoRA is a .safetensors file; other formats can run code", *place)
    try:
        return Lora((folder / path_text(given["file"])).resolve(), float(strength))
    except ValueError as error:
        raise WrongOption(str(error), *place) from None


def read_loras(entry: Any, folder: Path, *place: str | int) -> tuple[Lora, ...]:
    """A list of LoRAs, each file once.

    Raises:
        WrongOption: it is none.
    """
    if not isinstance(entry, list | tuple):
        raise WrongOption("a list of LoRAs: [{file: FILE, strength: 0.6}]", *place)
    result = tuple(read_lora(item, folder, *place, number) for number, item in enumerate(entry))
    for number, lora in enumerate(result):
        if lora.path in [earlier.path for earlier in result[:number]]:
            raise WrongOption(f"{lora.path.name} stands here twice; say one strength", *place, number)
    return result


def read_local(name: str, options: Mapping[str, Any], defaults: LocalOptions, folder: Path) -> LocalOptions:
    """A local provider's options over the profile's own.

    Args:
        name: the provider's, which is its use where it says none.

    Raises:
        WrongOption: unknown or impossible; the text names the nearest right spelling.
    """
    for key, value in options.items():
        if key not in OPTIONS:
            raise WrongOption(f"no option called {key!r}; {nearest(key, OPTIONS)}", key)
        if key in NUMBERS:
            check_number(key, value)
    use = options.get("use", name)
    if use not in USES:
        raise WrongOption(f"no use called {use!r}; {nearest(str(use), USES)}", "use")
    steps, scheduling = options.get("steps", defaults.steps), defaults.scheduling
    try:
        if "scheduler" in options:
            scheduling = read_scheduling(options["scheduler"], folder, steps)
    except WrongOption as error:
        raise WrongOption(str(error), "scheduler", *error.place) from None
    if message := check_options(scheduling.name, scheduling.options, steps)[1]:
        raise WrongOption(message, "steps")
    return LocalOptions(
        use,
        scheduling,
        steps,
        float(options.get("guidance", defaults.guidance)),
        float(options.get("guidance_rescale", defaults.guidance_rescale)),
        options.get("clip_skip", defaults.clip_skip),
        options.get("blur", 0),
        read_loras(options.get("loras", ()), folder, "loras"),
    )


def check_number(key: str, value: Any) -> None:
    """A number of the right kind and range. Raises WrongOption."""
    kind, least, most = NUMBERS[key]
    fits = isinstance(value, int if kind is int else int | float) and not isinstance(value, bool)
    if not fits or not least <= value <= most:
        what = "a whole number" if kind is int else "a number"
        raise WrongOption(f"{key} {value!r:.40}: {what} from {least:g} to {most:g}", key)
