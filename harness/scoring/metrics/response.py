"""Do pictures change with the prompt? An over-trained LoRA draws the same poses, outfits and places whatever is asked.

Who draws is held against the same base without the LoRA, in what changes from prompt to prompt: the mean CLIP embedding
of a prompt's pictures, minus the mean over all prompts. Subject and style are the same in all of them and cancel, and
no list of words is needed. A prompt is heard when its change is nearer to that of the base's pictures of the same
prompt than to those of its other prompts: 1 nearer than to all others, 0.5 by chance (the area under the curve). Copies
are not looked for, so pictures that nobody has seen, and that ignore what was asked, are caught as well.

The same is asked of the base by itself, one half of its seeds against the other: where its own pictures of these
prompts cannot be told apart, nothing can be said of anybody's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.core.arrays import Floats

DEAF = 0.75  # below it is an alarm; see docs/metrics.md for what good and over-trained LoRAs reach
TOLD = 0.85  # what the base must reach by itself, before its pictures are a measure
LEAST = 5  # different prompts; fewer say nothing


@dataclass(frozen=True)
class Response:
    """How far one provider's pictures follow the prompts."""

    cases: Mapping[str, float]  # by prompt: share of the others that its pictures are less like, 0 to 1
    usual: float | None  # the base's own halves against each other; None: it has one picture a prompt
    against: str = "base"  # whose pictures are the measure

    @property
    def heard(self) -> float | None:
        """Mean over prompts; None without any."""
        return float(np.mean(list(self.cases.values()))) if self.cases else None

    @property
    def doubt(self) -> str:
        """Why nothing is judged, or ""."""
        if len(self.cases) < LEAST:
            return (
                f"it takes {LEAST} different prompts that {self.against} has drawn as well, here are {len(self.cases)}"
            )
        if self.usual is None:
            return f"it takes two seeds a prompt by {self.against}"
        if self.usual < TOLD:
            return (
                f"these prompts' pictures cannot be told apart even without the LoRA ({self.usual:.2f}, {TOLD} needed)"
            )
        return ""

    @property
    def alarm(self) -> bool:
        return not self.doubt and self.heard is not None and self.heard < DEAF

    @property
    def sentence(self) -> str:
        """For people: what was found, and what to do."""
        if self.doubt:
            return f"not judged: {self.doubt}"
        shown = f"pictures follow their prompts to {self.heard:.2f} (0.5 is chance, {self.against} {self.usual:.2f})"
        remedy = "the same whatever is asked: over-trained; an earlier checkpoint, fewer steps or more varied pictures"
        return f"{shown}; {remedy}" if self.alarm else shown

    @property
    def record(self) -> dict[str, Any]:
        """As plain JSON data."""
        return {"cases": dict(self.cases), "heard": self.heard, "usual": self.usual, "against": self.against}


def measure_response(own: Mapping[str, Floats], usual: Mapping[str, Floats], against: str = "base") -> Response:
    """Both sides' CLIP unit vectors (n, d) by prompt; what only one side has is left out."""
    names = [name for name in own if name in usual and len(own[name]) and len(usual[name])]
    if len(names) < 2:
        return Response({}, None, against)
    heard = hear([own[name] for name in names], [usual[name] for name in names])
    halves = [(usual[name][::2], usual[name][1::2]) for name in names if len(usual[name]) > 1]
    by_itself = hear(*map(list, zip(*halves, strict=True))) if len(halves) > 1 else None
    return Response(
        dict(zip(names, heard, strict=True)), None if by_itself is None else float(np.mean(by_itself)), against
    )


def hear(own: list[Floats], usual: list[Floats]) -> list[float]:
    """By prompt: the share of the other prompts to whose pictures its own are less like, ties counting half."""
    changes = []
    for side in (own, usual):
        means = np.stack([vectors.mean(0) for vectors in side])
        means = means - means.mean(0)
        changes.append(means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-9))
    likeness = changes[0] @ changes[1].T
    count = len(likeness)
    return [
        float(sum((row[place] > other) + 0.5 * (row[place] == other) for at, other in enumerate(row) if at != place))
        / (count - 1)
        for place, row in enumerate(likeness)
    ]
