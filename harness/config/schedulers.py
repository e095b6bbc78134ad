"""Schedulers by name, and what may be set on each; read without torch, so that a wrong name is told at collection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.core.errors import UsageError, nearest

SPACINGS = ("leading", "linspace", "trailing")
PREDICTIONS = ("epsilon", "sample", "v_prediction")
LCM_STEPS = 50  # the distilled schedule has no more


@dataclass(frozen=True)
class Scheduler:
    """One name of the table: a class of diffusers with options over the checkpoint's own noise schedule."""

    kind: str  # class in diffusers
    summary: str
    options: Mapping[str, Any] = field(default_factory=dict)  # that the name itself means
    accepts: tuple[str, ...] = ()  # further options, beside those of every scheduler
    noisy: bool = False  # adds noise while it draws: from each picture's own generator
    most_steps: int = 1000


COMMON = ("prediction_type", "rescale_betas_zero_snr", "timestep_spacing")
SIGMAS = ("use_beta_sigmas", "use_exponential_sigmas", "use_karras_sigmas")
MULTISTEP = (*SIGMAS, "euler_at_final", "final_sigmas_type", "solver_order")
ODE, SDE = {"algorithm_type": "dpmsolver++", "solver_order": 2}, {"algorithm_type": "sde-dpmsolver++"}
KARRAS = {"use_karras_sigmas": True}
DPM = "DPMSolverMultistepScheduler"

SCHEDULERS: dict[str, Scheduler] = {
    "ddim": Scheduler("DDIMScheduler", "DDIM, without noise"),
    "dpmpp_2m": Scheduler(DPM, "DPM++ 2M", ODE, MULTISTEP),
    "dpmpp_2m_karras": Scheduler(DPM, "DPM++ 2M Karras", ODE | KARRAS, MULTISTEP),
    "dpmpp_2m_sde": Scheduler(DPM, "DPM++ 2M SDE: noise at each step", SDE, MULTISTEP, noisy=True),
    "dpmpp_2m_sde_karras": Scheduler(DPM, "DPM++ 2M SDE Karras", SDE | KARRAS, MULTISTEP, noisy=True),
    "euler": Scheduler("EulerDiscreteScheduler", "Euler, SDXL's own", {}, (*SIGMAS, "final_sigmas_type")),
    "euler_a": Scheduler("EulerAncestralDiscreteScheduler", "Euler a: noise at each step", noisy=True),
    "euler_karras": Scheduler("EulerDiscreteScheduler", "Euler Karras", KARRAS, (*SIGMAS, "final_sigmas_type")),
    "lcm": Scheduler(
        "LCMScheduler", "4 to 8 steps with an LCM LoRA, guidance 1 to 2", {}, noisy=True, most_steps=LCM_STEPS
    ),
}
"""What a profile or a local provider calls `scheduler`."""

VALUES: Mapping[str, tuple[Any, ...]] = {
    "euler_at_final": (False, True),
    "final_sigmas_type": ("sigma_min", "zero"),
    "prediction_type": PREDICTIONS,
    "rescale_betas_zero_snr": (False, True),
    "solver_order": (1, 2, 3),
    "timestep_spacing": SPACINGS,
    **dict.fromkeys(SIGMAS, (False, True)),
}
"""What an option may be."""


def find_scheduler(name: str) -> Scheduler:
    """A line of the table.

    Raises:
        UsageError: there is none of that name; the text names the nearest.
    """
    if name not in SCHEDULERS:
        raise UsageError(f"no scheduler called {name!r}; {nearest(str(name), SCHEDULERS)}")
    return SCHEDULERS[name]


def check_options(name: str, options: Mapping[str, object], steps: int) -> tuple[str, str]:
    """What is wrong with a scheduler's options, as (key, message); ("", "") when nothing is.

    Raises:
        UsageError: no scheduler of that name.
    """
    scheduler = find_scheduler(name)
    accepted = (*COMMON, *scheduler.accepts)
    for key, value in options.items():
        if key not in accepted:
            return key, f"{name} has no option called {key!r}; {nearest(key, accepted)}"
        if not any(value == choice and type(value) is type(choice) for choice in VALUES[key]):
            return key, f"{key} is one of {', '.join(str(choice) for choice in VALUES[key])} (found {value!r:.40})"
    if sum(bool(({**scheduler.options, **options}).get(key)) for key in SIGMAS) > 1:
        return name, f"only one of {', '.join(SIGMAS)} at a time"
    if scheduler.noisy and scheduler.kind == DPM and options.get("solver_order") == 3:
        return "solver_order", "an SDE solver has order 1 or 2"
    if options.get("rescale_betas_zero_snr") and options.get("prediction_type") == "epsilon":
        return "rescale_betas_zero_snr", "noise cannot be predicted where there is nothing else: needs v_prediction"
    if steps > scheduler.most_steps:
        return "", f"{name} takes {scheduler.most_steps} steps at most (found {steps})"
    return "", ""


def config_of(name: str, options: Mapping[str, object]) -> dict[str, object]:
    """What a scheduler is given over the checkpoint's own noise schedule."""
    return {**find_scheduler(name).options, **options}


def make_scheduler(name: str, config: Mapping[str, object], options: Mapping[str, object] | None = None) -> Any:
    """A fresh scheduler of diffusers: they keep state from one drawing to the next.

    Args:
        config: the checkpoint's own.
        options: over the name's.

    Raises:
        UsageError: no scheduler of that name.
    """
    import diffusers

    kind = getattr(diffusers, find_scheduler(name).kind)
    return kind.from_config(dict(config), **config_of(name, options or {}))
