"""Do pictures change with the prompt? An over-trained LoRA draws the same poses, outfits and places whatever is asked.

Who draws is held against the same base without the LoRA, in what changes from prompt to prompt: the mean CLIP embedding
of a prompt's pictures, minus the mean over all prompts. Subject and style are the same in all of them and cancel, and
no list of words is needed. The response is the slope of one side's changes on the other's: 1 where pictures change as
the base's do, 0 where they do not, or otherwise. Copies are not looked for, so pictures that nobody has seen, and that
ignore what was asked, are caught as well.

The base's pictures are a noisy measure. So its seeds are cut in halves, whose product over prompts is what chance
cannot make (an errors-in-variables slope); where they do not agree, the base itself does not change with these prompts,
or CLIP does not see it, and nothing is said of anybody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.core.arrays import Floats

DEAF = 0.5  # below it is an alarm; docs/metrics.md has what good and over-trained drawers reach
TOLD = 0.5  # correlation of the base's halves, before its pictures are a measure
LEAST = 5  # different prompts; fewer say nothing


@dataclass(frozen=True)
class PromptChange:
    """What one prompt changes, as products of embeddings."""

    shared: float  # of the pictures with the base's
    usual: float  # of the base's halves with each other


@dataclass(frozen=True)
class PromptResponse:
    """How far one provider's pictures follow the prompts."""

    cases: Mapping[str, PromptChange]  # by prompt
    agreement: float | None  # correlation of the base's halves, -1 to 1; None: it has one picture a prompt
    against: str = "base"  # whose pictures are the measure

    @property
    def slope(self) -> float | None:
        """Over all prompts; None where nothing is judged."""
        if self.doubt:
            return None
        return sum(each.shared for each in self.cases.values()) / sum(each.usual for each in self.cases.values())

    @property
    def doubt(self) -> str:
        """Why nothing is judged, or ""."""
        if len(self.cases) < LEAST:
            return (
                f"it takes {LEAST} different prompts that {self.against} has drawn as well, here are {len(self.cases)}"
            )
        if self.agreement is None:
            return f"it takes two seeds a prompt by {self.against}"
        if self.agreement < TOLD:
            told = f"{self.agreement:.2f}, {TOLD} needed"
            return f"without the LoRA pictures do not change with these prompts either, as far as CLIP sees ({told})"
        return ""

    @property
    def alarm(self) -> bool:
        return self.slope is not None and self.slope < DEAF

    @property
    def sentence(self) -> str:
        """For people: what was found, and what to do."""
        if self.slope is None:
            return f"not judged: {self.doubt}"
        shown = f"pictures change with the prompt by {self.slope:.0%} of what those of {self.against} do"
        remedy = "the same whatever is asked: over-trained; an earlier checkpoint, fewer steps or more varied pictures"
        return f"{shown}; {remedy}" if self.alarm else shown

    @property
    def record(self) -> dict[str, Any]:
        """As plain JSON data."""
        cases = {case: {"shared": each.shared, "usual": each.usual} for case, each in self.cases.items()}
        return {"cases": cases, "slope": self.slope, "agreement": self.agreement, "against": self.against}


def measure_response(own: Mapping[str, Floats], usual: Mapping[str, Floats], against: str = "base") -> PromptResponse:
    """Both sides' CLIP unit vectors (n, d) by prompt; what only one side has is left out."""
    names = [name for name in own if name in usual and len(own[name]) and len(usual[name])]
    if len(names) < 2 or min(len(usual[name]) for name in names) < 2:
        return PromptResponse({name: PromptChange(0.0, 0.0) for name in names}, None, against)
    ours = changes([own[name] for name in names])
    first, second = (changes([usual[name][start::2] for name in names]) for start in (0, 1))
    shared, both = (ours * (first + second) / 2).sum(1), (first * second).sum(1)
    length = float(np.sqrt((first**2).sum() * (second**2).sum()))
    agreement = float(both.sum()) / length if length > 0 else 0.0
    cases = {name: PromptChange(float(shared[place]), float(both[place])) for place, name in enumerate(names)}
    return PromptResponse(cases, agreement, against)


def changes(sides: list[Floats]) -> Floats:
    """What each prompt changes: its mean minus the mean of all, (prompts, d)."""
    means = np.stack([vectors.mean(0) for vectors in sides])
    return np.asarray(means - means.mean(0))
