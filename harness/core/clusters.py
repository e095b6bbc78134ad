"""What counts as one prompt: whatever is drawn alike, under however many ids.

Twelve ids of one prompt show the same pictures twelve times. Wherever prompts are counted (means, intervals, sign
flips, copies, what a suite can prove) they are one, under the id that stands first.
"""

from __future__ import annotations

from collections.abc import Iterable

Drawn = tuple[str, str]  # the prompt with its trigger filled in, and the negative; the size is the profile's


def drawn_key(prompt: str, negative: str = "") -> Drawn:
    """What decides a picture beside its seed; encoders read neither capitals nor more than one space."""
    return fold(prompt), fold(negative)


def fold(text: str) -> str:
    return " ".join(text.split()).casefold()


def find_repeats(cases: Iterable[tuple[str, str, str]]) -> dict[str, str]:
    """Each case that draws what an earlier one draws, to the id under which their prompt counts.

    Args:
        cases: id, prompt and negative of each; where the prompt is not known ("") a case counts by itself.
    """
    firsts: dict[Drawn, str] = {}
    known = [(name, drawn_key(prompt, negative)) for name, prompt, negative in cases if prompt]
    return {name: first for name, key in known if (first := firsts.setdefault(key, name)) != name}
