"""What a LoRA does to prompts that are none of its business: how far pictures move, and whether the subject leaks.

The same prompts and seeds are drawn with the LoRA and without it. Movement is relative to what another seed does;
the leak is how far the pictures of other people come nearer to the subject on the scale of `clip`.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.core import stats
from harness.core.arrays import Floats
from harness.core.stats.calibration import Separation
from harness.core.values import Interval, Vocabulary, to_record

FAR = 1.25  # movement in units of another seed's; a LoRA that learnt with prior preservation stays near 0.8
LEAK = 0.1  # of the way from strangers (0) to the subject (1); one of Aldar's three marks on everybody is 0.14
TAKEN = 0.5  # of that way: from here a stranger counts as drawn with the subject's looks
OFTEN = 0.2  # share of such strangers that is an alarm, however few the prompts


@dataclass(frozen=True)
class Drift:
    """What changed in pictures of others when the LoRA was turned on."""

    prompts: int
    pictures: int
    moved: float  # mean 1 - cosine of pairs of the same prompt and seed
    noise: float | None  # the same between two seeds without the LoRA; None: one seed a prompt
    leak: Interval  # rise of likeness to the subject, 0 strangers to 1 the subject, clustered by prompt
    taken: float  # share of pictures that look like the subject and did not without the LoRA

    @property
    def ratio(self) -> float | None:
        """Movement in units of another seed's: 0 nothing changed, 1 as another seed, more: another picture."""
        return self.moved / self.noise if self.noise else None

    @property
    def leaks(self) -> bool:
        """Surely more than LEAK (the mean decides where there are no bounds), or plain to see in many pictures."""
        least = self.leak.mean if self.leak.low is None else self.leak.low
        return least > LEAK or self.taken > OFTEN

    @property
    def alarm(self) -> bool:
        return self.leaks or (self.ratio is not None and self.ratio > FAR)

    @property
    def record(self) -> dict[str, object]:
        """As plain JSON data."""
        results = {"ratio": self.ratio, "leaks": self.leaks, "alarm": self.alarm, "sentence": self.sentence}
        return {**to_record(self), **results}

    @property
    def sentence(self) -> str:
        """For people: what was found, and what to do."""
        message = f"prompts about others move by {self.moved:.2f}"
        if self.ratio is not None:
            message += f", {self.ratio:.0%} of what another seed does"
        message += f"; they come {self.leak.mean:+.0%} nearer to the subject, {self.taken:.0%} of them wear his looks"
        if self.leaks:
            return (
                f"{message}: the subject leaks; train with prior preservation, fewer steps, or captions that name more"
            )
        return (
            f"{message}: the style drifts; a lower strength or rank, or prior preservation" if self.alarm else message
        )


def measure_drift(pairs: Mapping[str, tuple[Floats, Floats]], gallery: Floats, separation: Separation) -> Drift | None:
    """Prompt to the CLIP unit vectors (seeds, d) of its pictures with the LoRA and without it, seed by seed.

    Args:
        gallery: unit vectors (n, d) of the subject's held-out references.
        separation: of `Calibration.clip`.

    Returns:
        None without a pair, or where the impostors are as near as the references.
    """
    pairs = {prompt: both for prompt, both in pairs.items() if len(both[0])}
    if not pairs or separation.genuine <= separation.impostor:
        return None
    moved = [1 - np.sum(on * off, axis=1) for on, off in pairs.values()]
    noise = [_apart(off) for _, off in pairs.values() if len(off) > 1]
    likeness = {
        p: (_stand(on, gallery, separation), _stand(off, gallery, separation)) for p, (on, off) in pairs.items()
    }
    rises: dict[Hashable, Sequence[float]] = {prompt: list(on - off) for prompt, (on, off) in likeness.items()}
    taken = [(on >= TAKEN) & (off < TAKEN) for on, off in likeness.values()]
    return Drift(
        prompts=len(pairs),
        pictures=sum(map(len, moved)),
        moved=float(np.mean(np.concatenate(moved))),
        noise=float(np.mean(noise)) if noise else None,
        leak=stats.clustered(rises),
        taken=float(np.mean(np.concatenate(taken))),
    )


def unrelated_prompts(
    vocabulary: Mapping[str, Vocabulary], traits: Mapping[str, str], count: int = 6, seed: int = 0
) -> list[str]:
    """Prompts about other people in the profile's own words: no trigger, and none of the subject's traits."""
    rng = np.random.default_rng(seed)
    prompts = []
    for _ in range(count):
        phrases = []
        for category, words in vocabulary.items():
            others = [value for value in words.alternatives if value != traits.get(category)]
            if others:
                phrases.append(words.phrase(str(rng.choice(others))))
        prompts.append(", ".join(["a person", *phrases]))
    return prompts


def _stand(vectors: Floats, gallery: Floats, separation: Separation) -> Floats:
    """Where pictures stand between strangers (0) and the subject (1), unclipped."""
    span = separation.genuine - separation.impostor
    return np.asarray(((vectors @ gallery.T).mean(1) - separation.impostor) / span)


def _apart(vectors: Floats) -> float:
    """Mean 1 - cosine of all pairs."""
    n, cosines = len(vectors), vectors @ vectors.T
    return float(1 - (cosines.sum() - np.trace(cosines)) / (n * (n - 1)))
