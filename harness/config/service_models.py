"""The services' models that we know of, and the day on which each ends: the one list of them, for adapters, emulator
and `harness doctor`.

Read from the services' own pages on the day below, where `source` does not say otherwise; no real service was asked. A
model that is not listed is not thereby wrong: services add models every month.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date

CHECKED = date(2026, 11, 30)
"""When somebody last compared this list with the services' pages."""
SNAPSHOT = r"(-\d{4}(-?\d{2}-?\d{2})?)?"  # gpt-5-2025-08-07 and gpt-4-0613 end with the model that they are of
OPENAI = "OpenAI's deprecations page"
GOOGLE = "Google's changelog and deprecations page"
UNCONFIRMED = "third parties; the service's own page could not be checked"


@dataclass(frozen=True)
class ServiceModel:
    """One model of one service."""

    name: str  # its id; dated snapshots of it are meant too
    ends: date | None = None  # the first day on which it answers no more; None: no day was announced
    gone: bool = False  # it has ended, on a day that we do not know
    deprecated: bool = False  # its end is announced without a day
    instead: str = ""  # what the service recommends
    source: str = ""
    draws: bool = True  # False: it writes

    def ended(self, today: date) -> bool:
        return self.gone or (self.ends is not None and today >= self.ends)

    def means(self, name: str) -> bool:
        """Whether a profile's `model` is this one, or a dated snapshot of it."""
        return re.fullmatch(re.escape(self.name) + SNAPSHOT, name) is not None


def until(day: str, names: str, instead: str, source: str, draws: bool = True) -> tuple[ServiceModel, ...]:
    """Models that end on one day; `names` with spaces between."""
    ends = date.fromisoformat(day)
    return tuple(ServiceModel(name, ends, False, False, instead, source, draws) for name in names.split())


def gone(names: str, instead: str = "") -> tuple[ServiceModel, ...]:
    """Models that ended, nobody here knows when."""
    return tuple(ServiceModel(name, gone=True, instead=instead, source=UNCONFIRMED) for name in names.split())


def current(names: str, draws: bool = True) -> tuple[ServiceModel, ...]:
    """Models whose end nobody has announced."""
    return tuple(ServiceModel(name, draws=draws) for name in names.split())


NEWEST = "gpt-image-2.6-sunburst"
BANANA = "gemini-nano-banana-2.1"
INSTEAD_OF_IMAGEN = f"adapter gemini with model {BANANA}"
MODELS: dict[str, tuple[ServiceModel, ...]] = {
    "openai": (
        *current(f"{NEWEST} gpt-image-2.6-flare gpt-image-2.5-sunburst gpt-image-2.5-flare gpt-image-2"),
        *until("2026-12-01", "gpt-image-1.5 gpt-image-1-mini chatgpt-image-latest", NEWEST, OPENAI),
        *until("2026-10-23", "gpt-image-1", NEWEST, OPENAI),
        *until("2026-05-12", "dall-e-2 dall-e-3", NEWEST, OPENAI),
        *current("gpt-6-luna gpt-6.1-sol gpt-6.1-terra gpt-5.4-mini", draws=False),
        *until("2026-12-11", "gpt-5 o3", "gpt-6.1-sol", OPENAI, draws=False),
        *until("2026-12-11", "gpt-5-mini", "gpt-6.1-terra", OPENAI, draws=False),
        *until("2026-12-11", "gpt-5-nano", "gpt-6-luna", OPENAI, draws=False),
        *until("2027-01-14", "gpt-4o gpt-4o-mini gpt-4.1 gpt-4.1-mini", "gpt-6-luna", OPENAI, draws=False),
        *until("2026-10-23", "gpt-4 gpt-4-turbo o1 o1-pro o3-mini o4-mini", "gpt-6.1-sol", OPENAI, draws=False),
        *until("2026-10-23", "gpt-4.1-nano", "gpt-6-luna", OPENAI, draws=False),
    ),
    "gemini": (
        *current(f"{BANANA} gemini-3-pro-image gemini-3.1-flash-lite-image"),
        ServiceModel(
            "gemini-3.1-flash-image",
            deprecated=True,
            instead=BANANA,
            source=f"{GOOGLE}, 2026-10-06, without a day; third parties say that it was shut down on 2026-10-29",
        ),
        *until("2026-06-25", "gemini-3.1-flash-image-preview", BANANA, GOOGLE),
        *until("2026-06-25", "gemini-3-pro-image-preview", "gemini-3-pro-image", GOOGLE),
        *until("2026-10-02", "gemini-2.5-flash-image", BANANA, f"{GOOGLE}, as the earliest day"),
        *gone("gemini-2.5-flash-image-preview gemini-2.0-flash-exp", BANANA),
    ),
    "imagen": (
        *until(
            "2026-08-17",
            "imagen-4.0-generate-001 imagen-4.0-ultra-generate-001 imagen-4.0-fast-generate-001",
            INSTEAD_OF_IMAGEN,
            UNCONFIRMED,
        ),
        *until("2025-11-10", "imagen-3.0-generate-001 imagen-3.0-generate-002", INSTEAD_OF_IMAGEN, GOOGLE),
        *gone("imagegeneration@005 imagegeneration@006", INSTEAD_OF_IMAGEN),
    ),
    "deepseek": (
        *current("deepseek-flash deepseek-v4-pro deepseek-v4-flash", draws=False),
        *until(
            "2026-07-24", "deepseek-chat deepseek-reasoner", "deepseek-flash", "DeepSeek's announcement", draws=False
        ),
    ),
    "gigachat": current("GigaChat-2-Pro GigaChat-2-Max GigaChat-2", draws=False),
    "freepik": gone("imagen3"),
    "bfl": (*current("flux-2-pro flux-2-flex flux-2-max flux-kontext-pro flux-pro-1.1"), *gone("flux-pro")),
    "together": (*current("black-forest-labs/FLUX.1-schnell"), *gone("stabilityai/stable-diffusion-xl-base-1.0")),
    "huggingface": (*current("black-forest-labs/FLUX.1-schnell"), *gone("runwayml/stable-diffusion-v1-5")),
    "replicate": (*current("black-forest-labs/flux-schnell"), *gone("stability-ai/sdxl-turbo")),
    "fal": (*current("fal-ai/flux/schnell"), *gone("fal-ai/lcm")),
    "stability": (*current("core ultra sd3"), *gone("sdxl")),
    "openrouter": current("google/gemini-3-pro-image bytedance-seed/seedream-4.5"),
    "studio": gone("studio-1"),
}
"""A service, by the emulator's name for it, to its models."""


def find_model(service: str, name: str) -> ServiceModel | None:
    """What is known of a profile's `model`; None when it is not listed. An id itself wins over a snapshot's."""
    known = MODELS.get(service, ())
    exact = next((model for model in known if model.name == name), None)
    return exact or next((model for model in known if model.means(name)), None)


def successor(service: str, name: str) -> str:
    """What took a model's place, for a message that says that it is gone; "" where nobody knows."""
    model = find_model(service, name)
    return f"; {model.instead} took its place" if model and model.instead else ""


def living(service: str, today: date, draws: bool = True) -> tuple[str, ...]:
    """The ids of a service's models that answer today, those that draw or those that write."""
    return tuple(model.name for model in MODELS.get(service, ()) if model.draws is draws and not model.ended(today))


def lifetime(service: str, name: str, today: date, ends: date | None = None) -> tuple[str, str]:
    """What a profile's author should hear of a model, and what to do; two empty texts when nothing is to be said.

    Args:
        ends: the day that the service itself names, which wins over the list's.
    """
    model = find_model(service, name) or ServiceModel(name)
    day, said = (ends, "so the service says") if ends else (model.ends, f"{model.source}; read {CHECKED}")
    instead = f"use {model.instead} in the profile" if model.instead else "choose another `model` in the profile"
    if day is not None:
        verb = "retired on" if today >= day else f"ends in {count_days((day - today).days)}, on"
        return f"{name} {verb} {day} ({said})", instead
    if model.gone:
        return f"{name} is retired ({model.source})", instead
    return (f"{name} is deprecated ({said})", instead) if model.deprecated else ("", "")


def count_days(number: int) -> str:
    return "1 day" if number == 1 else f"{number} days"
