"""Everything that an unfinished run is made of, in one file that is there whole or not at all.

Weights, their running mean, the optimizer's and the loss scaler's state, the step, and the curves. Chance needs no
state: it follows from the seed and the step.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harness.models.lora.export import read_tensors, write_tensors

STATE = "state.safetensors"


@dataclass
class Parts:
    """What of a run changes from step to step."""

    weights: Mapping[str, Tensor]
    mean: Mapping[str, Tensor]  # of the weights; {} without one
    optimizer: Any
    scaler: Any  # torch.amp.GradScaler; switched off where nothing is float16
    losses: list[float] = field(default_factory=list)  # one a step
    validation: list[tuple[int, float]] = field(default_factory=list)  # (step, loss)
    seconds: float = 0.0


def save_state(folder: Path, identity: str, step: int, parts: Parts) -> None:
    """Write the state after so many steps."""
    tensors = {f"lora.{name}": weight.detach() for name, weight in parts.weights.items()}
    tensors |= {f"mean.{name}": weight for name, weight in parts.mean.items()}
    moments, numbers = split_state(parts.optimizer.state_dict())
    facts = {
        "identity": identity,
        "step": str(step),
        "seconds": str(parts.seconds),
        "losses": json.dumps(parts.losses),
        "validation": json.dumps(parts.validation),
        "optimizer": json.dumps(numbers),
        "scaler": json.dumps(parts.scaler.state_dict()),
    }
    write_tensors(folder / STATE, {**tensors, **moments}, facts)


def load_state(folder: Path, identity: str, parts: Parts) -> int:
    """Put a state of the same identity into the parts; how many steps are done, 0 when there is none."""
    path = folder / STATE
    tensors, facts = read_tensors(path) if path.exists() else ({}, {})
    if facts.get("identity") != identity:
        return 0
    with torch.no_grad():
        for name, weight in parts.weights.items():
            weight.copy_(tensors[f"lora.{name}"])
        for name, mean in parts.mean.items():
            mean.copy_(tensors[f"mean.{name}"])
    parts.optimizer.load_state_dict(join_state(tensors, json.loads(facts["optimizer"])))
    parts.scaler.load_state_dict(json.loads(facts["scaler"]))
    parts.losses[:] = json.loads(facts["losses"])
    parts.validation[:] = [(int(step), float(loss)) for step, loss in json.loads(facts["validation"])]
    parts.seconds = float(facts["seconds"])
    return int(facts["step"])


def split_state(state: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, object]]:
    """An optimizer's state as tensors by name and plain numbers, because no pickle is ever written."""
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, object] = {}
    for place, values in state["state"].items():
        for name, value in values.items():
            where = tensors if isinstance(value, torch.Tensor) else numbers
            where[f"optimizer.{place}.{name}"] = value
    groups = []
    for number, group in enumerate(state["param_groups"]):
        plain = {}
        for name, value in group.items():
            if isinstance(value, torch.Tensor):
                tensors[f"group.{number}.{name}"] = value
            else:
                plain[name] = value
        groups.append(plain)
    return tensors, {"numbers": numbers, "groups": groups}


def join_state(tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> dict[str, object]:
    """The way back."""
    state: dict[int, dict[str, object]] = {}
    groups = [dict(group) for group in record["groups"]]
    for key, value in [*tensors.items(), *record["numbers"].items()]:
        kind, _, rest = key.partition(".")
        place, _, name = rest.partition(".")
        if kind == "optimizer":
            state.setdefault(int(place), {})[name] = value
        elif kind == "group":
            groups[int(place)][name] = value
    return {"state": state, "param_groups": groups}
